//! The handshake as its driver sees it: bytes in, bytes out, and at the end a result or an error.

use std::{mem, sync::Arc, time::Duration};

use pki_types::UnixTime;

use crate::{
    client_side::{AwaitServerFinished, AwaitServerInit, ClientSetup},
    credentials::Credentials,
    crypto::SecureRandom,
    error::Error,
    frame::{Frame, FrameType, Gatherer},
    identity::{ExpectedPeers, Identity},
    negotiate::{Preferences, ProtocolName, RecordProtocol, RpcVersions},
    peer::Admission,
    secret::KeyData,
    server_side::{AwaitClientFinished, AwaitClientInit, ServerSetup},
    ticket::Ticket,
    trust::Trust,
};

/// What either end is set up with.
pub struct Setup {
    /// The own identity.
    pub credentials: Arc<Credentials>,
    /// Who vouches for peers.
    pub trust: Arc<Trust>,
    /// The peers that the request accepts.
    pub expected: ExpectedPeers,
    /// Decides whether a peer that has proved itself is acceptable.
    pub admission: Arc<dyn Admission>,
    /// What the program wants or allows.
    pub preferences: Preferences,
}

/// One end of one handshake. It is used once, and after a result or a failure takes nothing more.
pub struct Handshake {
    gatherer: Gatherer,
    state: State,
}

/// Boxed, so that waiting for more input moves a pointer only.
enum State {
    AwaitServerInit(Box<AwaitServerInit>),
    AwaitServerFinished(Box<AwaitServerFinished>),
    AwaitClientInit(Box<AwaitClientInit>),
    AwaitClientFinished(Box<AwaitClientFinished>),
    Finished,
}

/// What one input led to.
pub struct Step {
    /// Frames for the peer. After a failure at most an Alert.
    pub out_frames: Vec<u8>,
    /// How many bytes of the input are part of the handshake. All of them, but with [`Outcome::Done`] for the
    /// application data that may follow, and with [`Outcome::Failed`] for what was not looked at.
    pub consumed: usize,
    /// How the handshake stands.
    pub outcome: Outcome,
}

/// How a handshake stands.
pub enum Outcome {
    /// The peer has not said all yet.
    NeedsInput,
    /// Both ends have proved themselves.
    Done(Box<Established>),
    /// It is over, without a result.
    Failed(Error),
}

/// The result. It has no `Debug`: it holds the key.
pub struct Established {
    /// The key of the record protocol, the same at both ends.
    pub key_data: KeyData,
    /// The authenticated peer.
    pub peer: Identity,
    /// How far its chain was outside its validity when it was taken, by the allowance of [`Trust::new`]: zero,
    /// unless clocks differ or a certificate is renewed too late.
    pub peer_clock_skew: Duration,
    /// The own identity.
    pub local: Identity,
    /// The record protocol agreed on.
    pub record_protocol: RecordProtocol,
    /// The application protocol agreed on.
    pub application_protocol: ProtocolName,
    /// The transport protocol agreed on, if any.
    pub transport_protocol: Option<ProtocolName>,
    /// The RPC protocol versions that the peer sent.
    pub peer_rpc_versions: RpcVersions,
    /// The largest record frame that the peer can receive, in bytes; 0 if it did not say.
    pub peer_max_frame_size: u32,
    /// Whether the handshake resumed from a ticket.
    pub resumed: bool,
    /// A ticket to store under the own account.
    pub ticket: Option<Ticket>,
}

impl Handshake {
    /// Begins as the end that opened the connection. Also returns the first frame for the peer.
    pub fn client(
        setup: ClientSetup,
        now: UnixTime,
        random: &dyn SecureRandom,
    ) -> Result<(Self, Vec<u8>), Error> {
        let (state, out_frames) = AwaitServerInit::start(setup, now, random)?;
        Ok((Self::in_state(State::AwaitServerInit(Box::new(state))), out_frames))
    }

    /// Begins as the end that accepted the connection.
    pub fn server(setup: ServerSetup) -> Self {
        Self::in_state(State::AwaitClientInit(Box::new(AwaitClientInit { setup })))
    }

    fn in_state(state: State) -> Self {
        Self { gatherer: Gatherer::default(), state }
    }

    /// Takes further bytes from the peer, in any split. Incomplete frames are kept, at most one.
    pub fn step(&mut self, input: &[u8], now: UnixTime, random: &dyn SecureRandom) -> Step {
        let mut rest = input;
        let (out_frames, outcome) = match self.advance(&mut rest, now, random) {
            Ok((out_frames, None)) => (out_frames, Outcome::NeedsInput),
            Ok((out_frames, Some(established))) => (out_frames, Outcome::Done(established)),
            Err(error) => (alert_frame(&error), Outcome::Failed(error)),
        };
        if !matches!(outcome, Outcome::NeedsInput) {
            self.gatherer = Gatherer::default();
        }
        Step { out_frames, consumed: input.len() - rest.len(), outcome }
    }

    fn advance(
        &mut self,
        rest: &mut &[u8],
        now: UnixTime,
        random: &dyn SecureRandom,
    ) -> Result<(Vec<u8>, Option<Box<Established>>), Error> {
        let mut out_frames = Vec::new();
        loop {
            // Finished stands in its place from here on: an error leaves nothing that could be resumed.
            let state = mem::replace(&mut self.state, State::Finished);
            let Some(frame) = self.gatherer.next(rest, state.expects()?)? else {
                self.state = state;
                return Ok((out_frames, None));
            };
            match state.handle(&frame, now, random)? {
                Next::Wait(out, state) => {
                    out_frames.extend(out);
                    self.state = state;
                }
                Next::Done(out, established) => {
                    out_frames.extend(out);
                    return Ok((out_frames, Some(established)));
                }
            }
        }
    }
}

enum Next {
    Wait(Vec<u8>, State),
    Done(Vec<u8>, Box<Established>),
}

impl State {
    fn expects(&self) -> Result<FrameType, Error> {
        match self {
            Self::AwaitServerInit(_) => Ok(FrameType::ServerInit),
            Self::AwaitServerFinished(_) => Ok(FrameType::ServerFinished),
            Self::AwaitClientInit(_) => Ok(FrameType::ClientInit),
            Self::AwaitClientFinished(_) => Ok(FrameType::ClientFinished),
            Self::Finished => Err(Error::HandshakeOver),
        }
    }

    fn handle(self, frame: &Frame, now: UnixTime, random: &dyn SecureRandom) -> Result<Next, Error> {
        Ok(match self {
            Self::AwaitServerInit(state) => {
                Next::Wait(Vec::new(), Self::AwaitServerFinished(Box::new(state.handle(frame)?)))
            }
            Self::AwaitServerFinished(state) => {
                let (out, established) = state.handle(frame, now, random)?;
                Next::Done(out, Box::new(established))
            }
            Self::AwaitClientInit(state) => {
                let (out, next) = state.handle(frame, now, random)?;
                Next::Wait(out, Self::AwaitClientFinished(Box::new(next)))
            }
            Self::AwaitClientFinished(state) => Next::Done(Vec::new(), Box::new(state.handle(frame, now)?)),
            Self::Finished => return Err(Error::HandshakeOver),
        })
    }
}

fn alert_frame(error: &Error) -> Vec<u8> {
    error.alert().map(|alert| FrameType::Alert.frame(&alert.code().to_le_bytes())).unwrap_or_default()
}
