//! The client's end (specification section 8): each state holds what it needs and is consumed by the frame that
//! it waits for.

use std::sync::Arc;

use pki_types::UnixTime;

use crate::{
    Role,
    crypto::{self, KeyExchange, SecureRandom},
    engine::{Established, Setup},
    error::Error,
    finished::{self, Check, Proof},
    frame::{Frame, FrameType},
    key_schedule::{KeySchedule, SideKeys},
    message::{ClientInit, ClientShare, Extension, ServerInit},
    negotiate::{self, Choices, Suite, VERSION},
    ticket::Ticket,
    transcript::Transcript,
};

/// What a client end is set up with.
pub struct ClientSetup {
    /// What both ends are set up with.
    pub common: Setup,
    /// A ticket of this account for this target, to resume from if it is still good.
    pub ticket: Option<Arc<Ticket>>,
    /// A number that stands for no version and no extension, put into both lists, so that peers stay tolerant of
    /// what they do not know (as RFC 8701 does for TLS). Below 0x8000.
    pub grease: Option<u16>,
}

/// ClientInit is sent.
pub(crate) struct AwaitServerInit {
    setup: Setup,
    ticket: Option<Arc<Ticket>>,
    exchange: KeyExchange,
    sent: ClientInit,
    sent_frame: Vec<u8>,
}

impl AwaitServerInit {
    /// Makes the ClientInit frame.
    pub(crate) fn start(
        setup: ClientSetup,
        now: UnixTime,
        random: &dyn SecureRandom,
    ) -> Result<(Self, Vec<u8>), Error> {
        let ClientSetup { common: setup, ticket, grease } = setup;
        setup.credentials.check_validity(now)?;
        let usable =
            |ticket: &Arc<Ticket>| ticket.not_after > now && setup.expected.accept(&ticket.peer.identity);
        let ticket = ticket.filter(usable);

        let client_random = crypto::random_bytes(random)?;
        let exchange = KeyExchange::generate(random)?;
        let preferences = &setup.preferences;
        let sent = ClientInit {
            versions: grease.into_iter().chain([VERSION]).collect(),
            random: client_random,
            shares: vec![ClientShare { suite: Suite::X25519.code(), share: exchange.public().to_vec() }],
            record_protocols: preferences.record_protocols.clone(),
            application_protocols: preferences.application_protocols.clone(),
            transport_protocols: preferences.transport_protocols.clone(),
            rpc_versions: preferences.rpc_versions,
            max_frame_size: preferences.max_frame_size,
            ticket_id: ticket.as_ref().map(|ticket| ticket.id),
            extensions: grease.map(|kind| Extension { kind, data: b"grease".to_vec() }).into_iter().collect(),
        };
        let sent_frame = FrameType::ClientInit.frame(&sent.encode());
        let out = sent_frame.clone();
        Ok((Self { setup, ticket, exchange, sent, sent_frame }, out))
    }

    pub(crate) fn handle(self, frame: &Frame) -> Result<AwaitServerFinished, Error> {
        let server = ServerInit::decode(frame.payload())?;
        let choices = negotiate::check(&server, &self.sent)?;
        let shared_secret = match choices.suite {
            Suite::X25519 => self.exchange.agree(&server.share)?,
        };
        let ticket = self.ticket.filter(|_| server.resumed);
        let schedule =
            KeySchedule::new(ticket.as_ref().map(|ticket| &ticket.secret), shared_secret.expose())?;
        let transcript = Transcript::of_inits(&self.sent_frame, frame.bytes());
        let th_init = transcript.hash();
        Ok(AwaitServerFinished {
            client_keys: schedule.side_keys(Role::Client, &th_init)?,
            server_keys: schedule.side_keys(Role::Server, &th_init)?,
            setup: self.setup,
            ticket,
            choices,
            server,
            schedule,
            transcript,
        })
    }
}

/// ServerInit was good.
pub(crate) struct AwaitServerFinished {
    setup: Setup,
    /// The ticket that the server resumes from, if it does.
    ticket: Option<Arc<Ticket>>,
    choices: Choices,
    server: ServerInit,
    schedule: KeySchedule,
    transcript: Transcript,
    client_keys: SideKeys,
    server_keys: SideKeys,
}

impl AwaitServerFinished {
    /// Checks the server and only then makes the ClientFinished frame and the result.
    pub(crate) fn handle(
        mut self,
        frame: &Frame,
        now: UnixTime,
        random: &dyn SecureRandom,
    ) -> Result<(Vec<u8>, Established), Error> {
        let check = Check {
            peer: Role::Server,
            resumed: self.ticket.as_deref(),
            trust: &self.setup.trust,
            expected: &self.setup.expected,
            admission: &*self.setup.admission,
            now,
        };
        let peer = check.proof(frame, self.server_keys, &mut self.transcript)?;
        let proof = match self.ticket {
            Some(_) => Proof::Ticket,
            None => Proof::Certificates { credentials: &self.setup.credentials, ticket: None },
        };
        let (out, th_client) =
            finished::prove(Role::Client, &proof, self.client_keys, &mut self.transcript, random)?;
        let ticket = peer.new_ticket(peer.ticket, &self.schedule, &th_client, now)?;
        let established = Established {
            key_data: self.schedule.key_data(self.choices.record_protocol, &th_client)?,
            peer: peer.peer.identity,
            peer_clock_skew: peer.clock_skew,
            local: self.setup.credentials.identity().clone(),
            record_protocol: self.choices.record_protocol,
            application_protocol: self.choices.application_protocol,
            transport_protocol: self.choices.transport_protocol,
            peer_rpc_versions: self.server.rpc_versions,
            peer_max_frame_size: self.server.max_frame_size,
            resumed: self.ticket.is_some(),
            ticket,
        };
        Ok((out, established))
    }
}
