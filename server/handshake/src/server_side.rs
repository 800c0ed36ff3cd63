//! The server's end (specification section 8): each state holds what it needs and is consumed by the frame that
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
    message::{ClientInit, ServerInit},
    negotiate::{self, Choices, RpcVersions, Suite, VERSION},
    ticket::{self, Ticket, TicketId, TicketLookup},
    transcript::Transcript,
};

/// What a server end is set up with.
pub struct ServerSetup {
    /// What both ends are set up with.
    pub common: Setup,
    /// Resumption; without it, no ticket is issued and none is accepted.
    pub resumption: Option<Resumption>,
}

/// How a server resumes.
pub struct Resumption {
    /// Where it looks tickets up.
    pub tickets: Arc<dyn TicketLookup>,
    /// How long a new ticket holds, in seconds; at most 3,600 count. With 0 none is issued.
    pub lifetime: u32,
}

/// Nothing was received.
pub(crate) struct AwaitClientInit {
    pub(crate) setup: ServerSetup,
}

impl AwaitClientInit {
    /// Makes the ServerInit and ServerFinished frames: one key exchange and one signature for a client that is
    /// nobody yet.
    pub(crate) fn handle(
        self,
        frame: &Frame,
        now: UnixTime,
        random: &dyn SecureRandom,
    ) -> Result<(Vec<u8>, AwaitClientFinished), Error> {
        let ServerSetup { common: setup, resumption } = self.setup;
        let client = ClientInit::decode(frame.payload())?;
        let choices = negotiate::choose(&client, &setup.preferences)?;
        setup.credentials.check_validity(now)?;
        let resumed = resumption.as_ref().and_then(|resumption| {
            let account = setup.credentials.identity().account();
            let ticket = resumption.tickets.find(account, client.ticket_id.as_ref()?)?;
            (ticket.not_after > now).then_some(ticket)
        });

        let server_random = crypto::random_bytes(random)?;
        let exchange = KeyExchange::generate(random)?;
        let share = exchange.public().to_vec();
        let shared_secret = match choices.suite {
            Suite::X25519 => exchange.agree(client.share_of(choices.suite).unwrap_or_default())?,
        };
        let init_frame = FrameType::ServerInit.frame(
            &ServerInit {
                version: VERSION,
                random: server_random,
                suite: choices.suite.code(),
                share,
                record_protocol: choices.record_protocol.into(),
                application_protocol: choices.application_protocol.clone(),
                transport_protocol: choices.transport_protocol.clone(),
                rpc_versions: setup.preferences.rpc_versions,
                max_frame_size: setup.preferences.max_frame_size,
                resumed: resumed.is_some(),
                extensions: Vec::new(),
            }
            .encode(),
        );

        let schedule =
            KeySchedule::new(resumed.as_ref().map(|ticket| &ticket.secret), shared_secret.expose())?;
        let mut transcript = Transcript::of_inits(frame.bytes(), &init_frame);
        let th_init = transcript.hash();
        let server_keys = schedule.side_keys(Role::Server, &th_init)?;
        let client_keys = schedule.side_keys(Role::Client, &th_init)?;
        let new_ticket = match &resumption {
            Some(resumption) if resumed.is_none() && resumption.lifetime > 0 => {
                Some((TicketId(crypto::random_bytes(random)?), resumption.lifetime.min(ticket::MAX_LIFETIME)))
            }
            _ => None,
        };
        let proof = match resumed {
            Some(_) => Proof::Ticket,
            None => Proof::Certificates { credentials: &setup.credentials, ticket: new_ticket },
        };
        let (finished_frame, _) =
            finished::prove(Role::Server, &proof, server_keys, &mut transcript, random)?;
        let next = AwaitClientFinished {
            setup,
            resumed,
            new_ticket,
            choices,
            client_rpc_versions: client.rpc_versions,
            client_max_frame_size: client.max_frame_size,
            schedule,
            transcript,
            client_keys,
        };
        Ok(([init_frame, finished_frame].concat(), next))
    }
}

/// ServerInit and ServerFinished are sent.
pub(crate) struct AwaitClientFinished {
    setup: Setup,
    resumed: Option<Arc<Ticket>>,
    /// The ticket announced. It becomes one only when the client has proved itself.
    new_ticket: Option<(TicketId, u32)>,
    choices: Choices,
    client_rpc_versions: RpcVersions,
    client_max_frame_size: u32,
    schedule: KeySchedule,
    transcript: Transcript,
    client_keys: SideKeys,
}

impl AwaitClientFinished {
    pub(crate) fn handle(mut self, frame: &Frame, now: UnixTime) -> Result<Established, Error> {
        let check = Check {
            peer: Role::Client,
            resumed: self.resumed.as_deref(),
            trust: &self.setup.trust,
            expected: &self.setup.expected,
            admission: &*self.setup.admission,
            now,
        };
        let peer = check.proof(frame, self.client_keys, &mut self.transcript)?;
        let ticket = peer.new_ticket(self.new_ticket, &self.schedule, &peer.hash, now)?;
        Ok(Established {
            key_data: self.schedule.key_data(self.choices.record_protocol, &peer.hash)?,
            peer: peer.peer.identity,
            peer_clock_skew: peer.clock_skew,
            local: self.setup.credentials.identity().clone(),
            record_protocol: self.choices.record_protocol,
            application_protocol: self.choices.application_protocol,
            transport_protocol: self.choices.transport_protocol,
            peer_rpc_versions: self.client_rpc_versions,
            peer_max_frame_size: self.client_max_frame_size,
            resumed: self.resumed.is_some(),
            ticket,
        })
    }
}
