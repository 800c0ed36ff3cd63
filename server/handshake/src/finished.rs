//! ServerFinished and ClientFinished (specification sections 5 to 8): how an end proves itself, and how the
//! other one checks it. Both directions are the same but for the names.

use std::{sync::Arc, time::Duration};

use pki_types::UnixTime;

use crate::{
    Role,
    credentials::Credentials,
    crypto::{self, SecureRandom},
    error::Error,
    frame::{Frame, FrameType},
    identity::ExpectedPeers,
    key_schedule::{KeySchedule, SideKeys},
    message::{AuthBlock, Finished, FinishedRules},
    peer::{Admission, Peer},
    ticket::{self, Ticket, TicketId},
    transcript::{Transcript, TranscriptHash},
    trust::{Trust, VerifiedChain},
};

/// How an end proves who it is.
pub(crate) enum Proof<'a> {
    /// By a signature of its certificate's key, with a ticket if the server issues one.
    Certificates { credentials: &'a Credentials, ticket: Option<(TicketId, u32)> },
    /// By knowing the secret of a ticket.
    Ticket,
}

/// Makes the Finished frame of the end in this role, and adds its AuthBlock to the transcript.
pub(crate) fn prove(
    role: Role,
    proof: &Proof<'_>,
    keys: SideKeys,
    transcript: &mut Transcript,
    random: &dyn SecureRandom,
) -> Result<(Vec<u8>, TranscriptHash), Error> {
    let auth_block = match proof {
        Proof::Certificates { credentials, ticket } => {
            AuthBlock { certificates: credentials.chain_der().to_vec(), ticket: *ticket }
        }
        Proof::Ticket => AuthBlock::default(),
    };
    let auth_block = auth_block.encode();
    let hash = transcript.add_auth_block(&auth_block);
    let (scheme, signature) = match proof {
        Proof::Certificates { credentials, .. } => {
            (credentials.scheme().code(), credentials.sign(&signed_message(role, &hash), random)?)
        }
        Proof::Ticket => (0, Vec::new()),
    };
    let mac = crypto::hmac_sign(&keys.mac, &hash);
    let plaintext = Finished::encode(auth_block, scheme, &signature, &mac);
    let frame_type = frame_type(role);
    let header = frame_type.header(plaintext.len() + crypto::TAG_LEN);
    let sealed = keys.sealing.seal(&header, plaintext)?;
    Ok((frame_type.frame(&sealed), hash))
}

/// A peer that has proved itself and is acceptable.
pub(crate) struct ProvenPeer {
    pub(crate) peer: Peer,
    /// When its chain ends; with a ticket, when that does.
    pub(crate) not_after: UnixTime,
    /// How far its chain is outside its validity; zero with a ticket.
    pub(crate) clock_skew: Duration,
    /// The ticket that it issued, with the lifetime in seconds.
    pub(crate) ticket: Option<(TicketId, u32)>,
    pub(crate) hash: TranscriptHash,
}

impl ProvenPeer {
    /// The ticket that this handshake leaves behind, if one was announced.
    pub(crate) fn new_ticket(
        &self,
        announced: Option<(TicketId, u32)>,
        schedule: &KeySchedule,
        th_client: &TranscriptHash,
        now: UnixTime,
    ) -> Result<Option<Ticket>, Error> {
        let Some((id, lifetime)) = announced else { return Ok(None) };
        Ok(Some(Ticket {
            id,
            secret: schedule.ticket_secret(th_client)?,
            peer: self.peer.clone(),
            not_after: ticket::expiry(now, lifetime, self.not_after),
        }))
    }
}

/// What a Finished frame is checked against.
pub(crate) struct Check<'a> {
    /// Which end the peer is.
    pub(crate) peer: Role,
    /// The ticket that the handshake resumes from, if it does.
    pub(crate) resumed: Option<&'a Ticket>,
    pub(crate) trust: &'a Trust,
    pub(crate) expected: &'a ExpectedPeers,
    pub(crate) admission: &'a dyn Admission,
    pub(crate) now: UnixTime,
}

impl Check<'_> {
    /// Opens and checks the peer's frame, and adds its AuthBlock to the transcript.
    pub(crate) fn proof(
        &self,
        frame: &Frame,
        keys: SideKeys,
        transcript: &mut Transcript,
    ) -> Result<ProvenPeer, Error> {
        let plaintext = keys.sealing.open(frame.header(), frame.payload())?;
        let finished = Finished::decode(&plaintext, self.rules())?;
        let hash = transcript.add_auth_block(finished.auth_block_bytes);
        let (peer, not_after, clock_skew) = match self.resumed {
            Some(ticket) => (ticket.peer.clone(), ticket.not_after, Duration::ZERO),
            None => {
                let chain = self.certificates(&finished, &hash)?;
                let not_after = UnixTime::since_unix_epoch(Duration::from_secs(chain.not_after()));
                (chain.peer(), not_after, chain.clock_skew(self.now))
            }
        };
        crypto::hmac_verify(&keys.mac, &hash, &finished.mac)?;
        self.admission.admit(&peer, self.now)?;
        if !self.expected.accept(&peer.identity) {
            let accepted = self.expected.to_string();
            return Err(Error::PeerNotExpected { peer: peer.identity.to_string(), accepted });
        }
        Ok(ProvenPeer { peer, not_after, clock_skew, ticket: finished.auth_block.ticket, hash })
    }

    fn rules(&self) -> FinishedRules {
        let message = match self.peer {
            Role::Client => "ClientFinished",
            Role::Server => "ServerFinished",
        };
        FinishedRules { message, resumed: self.resumed.is_some(), ticket_allowed: self.peer == Role::Server }
    }

    fn certificates(
        &self,
        finished: &Finished<'_>,
        hash: &TranscriptHash,
    ) -> Result<Arc<VerifiedChain>, Error> {
        let chain = self.trust.verify(&finished.auth_block.certificates, self.peer, self.now)?;
        chain.verify_signature(finished.scheme, &signed_message(self.peer, hash), finished.signature)?;
        Ok(chain)
    }
}

fn frame_type(role: Role) -> FrameType {
    match role {
        Role::Client => FrameType::ClientFinished,
        Role::Server => FrameType::ServerFinished,
    }
}

/// What a signature covers. The prefix keeps it apart from TLS: the same certificate may serve both.
fn signed_message(role: Role, hash: &TranscriptHash) -> Vec<u8> {
    let context: &[u8] = match role {
        Role::Client => b"altsd1 client signature\0",
        Role::Server => b"altsd1 server signature\0",
    };
    [&[0x20; 64], context, hash].concat()
}
