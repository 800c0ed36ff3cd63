//! The conversation of one stream: exactly one answer to each request, and an end after a result or a refusal.

use std::sync::Arc;

use alts_handshake::{
    Admission, ClientSetup, Credentials, Established, Handshake, Outcome, Role, SecureRandom, ServerSetup,
    Setup, Trust,
};
use alts_proto::gcp::{HandshakerReq, HandshakerResp, handshaker_req::ReqOneof};
use pki_types::UnixTime;
use tonic::Code;

use super::{
    refusal::Refusal,
    request::{self, Start},
    response::response,
};

/// Most bytes from the peer in one request.
pub(crate) const MAX_IN_BYTES: usize = 1 << 20;

/// Most requests of one stream: a handshake that arrives byte by byte needs about 1,300.
const MAX_REQUESTS: u32 = 8_192;

/// One stream of a caller.
#[derive(Default)]
pub(crate) struct Session {
    requests: u32,
    state: State,
}

#[derive(Default)]
enum State {
    #[default]
    AwaitStart,
    Handshaking(Box<Handshake>),
    Over,
}

/// What a handshake is begun with, once it is known who the caller is.
pub(crate) struct Grant {
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) trust: Arc<Trust>,
    /// Decides whether the peer is acceptable to the identity of the credentials.
    pub(crate) admission: Arc<dyn Admission>,
}

/// The answer to one request.
pub(crate) enum Answer {
    /// A start message: the caller is to be identified, then comes [`Session::begin`].
    Begin(Box<Start>),
    /// The stream goes on.
    GoOn(HandshakerResp),
    /// The stream ends with a result.
    Done(HandshakerResp, Box<Established>),
    /// The stream ends without one.
    Refused(Refusal),
}

impl Session {
    /// Whether the next request has to be a start message.
    pub(crate) fn awaits_start(&self) -> bool {
        matches!(self.state, State::AwaitStart)
    }

    /// Answers one request.
    pub(crate) fn answer(
        &mut self,
        request: HandshakerReq,
        now: UnixTime,
        random: &dyn SecureRandom,
    ) -> Answer {
        let answer = self.try_answer(request, now, random);
        self.settle(answer)
    }

    /// Begins the handshake that a start message asked for.
    pub(crate) fn begin(
        &mut self,
        start: Start,
        grant: Grant,
        now: UnixTime,
        random: &dyn SecureRandom,
    ) -> Answer {
        let Start { role, preferences, expected, in_bytes, .. } = start;
        let Grant { credentials, trust, admission } = grant;
        let setup = Setup { credentials, trust, expected, admission, preferences };
        let answer = match role {
            Role::Client => self.begin_client(setup, now, random),
            Role::Server => self.begin_server(setup, &in_bytes, now, random),
        };
        self.settle(answer)
    }

    /// Ends the stream after a result or a refusal.
    fn settle(&mut self, answer: Result<Answer, Refusal>) -> Answer {
        let answer = answer.unwrap_or_else(Answer::Refused);
        if matches!(answer, Answer::Done(..) | Answer::Refused(_)) {
            self.state = State::Over;
        }
        answer
    }

    fn try_answer(
        &mut self,
        request: HandshakerReq,
        now: UnixTime,
        random: &dyn SecureRandom,
    ) -> Result<Answer, Refusal> {
        self.requests += 1;
        if self.requests > MAX_REQUESTS {
            let text = format!("a stream has at most {MAX_REQUESTS} requests");
            return Err(Refusal::of_limit(Code::ResourceExhausted, "requests_too_many", text));
        }
        let request = request.req_oneof.ok_or_else(|| {
            let text = "the request holds none of client_start, server_start, next";
            Refusal::of_request(Code::InvalidArgument, "request_empty", text)
        })?;
        match (&mut self.state, request) {
            (State::AwaitStart, ReqOneof::ClientStart(start)) => {
                Ok(Answer::Begin(Box::new(request::client_start(&start)?)))
            }
            (State::AwaitStart, ReqOneof::ServerStart(start)) => {
                check_in_bytes(&start.in_bytes)?;
                Ok(Answer::Begin(Box::new(request::server_start(start)?)))
            }
            (State::AwaitStart, ReqOneof::Next(_)) => {
                Err(misplaced("start_missing", "next came before client_start or server_start"))
            }
            (State::Handshaking(handshake), ReqOneof::Next(next)) => {
                check_in_bytes(&next.in_bytes)?;
                step(handshake, &next.in_bytes, now, random)
            }
            (State::Handshaking(_), _) => {
                Err(misplaced("start_repeated", "a start message came after the first request"))
            }
            (State::Over, _) => Err(misplaced("stream_over", "the stream has its result or its failure")),
        }
    }

    fn begin_client(
        &mut self,
        setup: Setup,
        now: UnixTime,
        random: &dyn SecureRandom,
    ) -> Result<Answer, Refusal> {
        let setup = ClientSetup { common: setup, ticket: None, grease: None };
        let (handshake, out_frames) = Handshake::client(setup, now, random)
            .map_err(|error| Refusal::of_handshake(&error, Vec::new()))?;
        self.state = State::Handshaking(Box::new(handshake));
        Ok(Answer::GoOn(response(out_frames, 0, None)))
    }

    fn begin_server(
        &mut self,
        setup: Setup,
        in_bytes: &[u8],
        now: UnixTime,
        random: &dyn SecureRandom,
    ) -> Result<Answer, Refusal> {
        let setup = ServerSetup { common: setup, resumption: None };
        let mut handshake = Box::new(Handshake::server(setup));
        let answer = step(&mut handshake, in_bytes, now, random);
        self.state = State::Handshaking(handshake);
        answer
    }
}

fn step(
    handshake: &mut Handshake,
    in_bytes: &[u8],
    now: UnixTime,
    random: &dyn SecureRandom,
) -> Result<Answer, Refusal> {
    let step = handshake.step(in_bytes, now, random);
    // check_in_bytes() keeps this far below u32::MAX.
    let consumed = step.consumed as u32;
    match step.outcome {
        Outcome::NeedsInput => Ok(Answer::GoOn(response(step.out_frames, consumed, None))),
        Outcome::Done(established) => {
            Ok(Answer::Done(response(step.out_frames, consumed, Some(&established)), established))
        }
        Outcome::Failed(error) => Err(Refusal::of_handshake(&error, step.out_frames)),
    }
}

fn misplaced(reason: &'static str, text: &str) -> Refusal {
    Refusal::of_request(Code::FailedPrecondition, reason, text)
}

fn check_in_bytes(in_bytes: &[u8]) -> Result<(), Refusal> {
    if in_bytes.len() <= MAX_IN_BYTES {
        return Ok(());
    }
    let text = format!("in_bytes has {} bytes, the limit is {MAX_IN_BYTES}", in_bytes.len());
    Err(Refusal::of_request(Code::ResourceExhausted, "in_bytes_too_many", text))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use alts_handshake::SystemRandom;

    use super::*;

    #[test]
    fn a_stream_that_is_over_answers_nothing_more() {
        let (now, random) =
            (UnixTime::since_unix_epoch(Duration::from_secs(1_767_225_600)), SystemRandom::new());
        let mut session = Session::default();
        let next = || HandshakerReq { req_oneof: Some(ReqOneof::Next(Default::default())) };
        for reason in ["start_missing", "stream_over", "stream_over"] {
            match session.answer(next(), now, &random) {
                Answer::Refused(refusal) => {
                    assert_eq!((refusal.code, refusal.reason), (Code::FailedPrecondition, reason));
                }
                _ => panic!("it was taken"),
            }
        }
    }
}
