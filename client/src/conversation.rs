//! One DoHandshake RPC.

use std::time::Duration;

use alts_proto::gcp::{
    HandshakerReq, HandshakerResp, HandshakerResult, HandshakerStatus, handshaker_req::ReqOneof,
};
use futures_util::FutureExt as _;
use tokio::{runtime::Handle, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::{
    Error, Handshaker,
    error::{Cause, bounded},
};

/// How altsd begins the details of a refusal that its peer has told it.
const PEER_ALERT: &str = "peer_alert:";

/// What a server of gRPC that is no handshaker says by its code alone, in words.
const NO_HANDSHAKER: &str =
    "what listens there does not know grpc.gcp.HandshakerService; is it the address of a handshaker?";

/// How long a handshaker may take to end an RPC in which there are no more requests, before it is cancelled.
const END: Duration = Duration::from_secs(5);

/// One RPC, of one handshake: requests and responses in turn. Dropping it says that there are no more requests.
pub(crate) struct Conversation<'a> {
    handshaker: &'a Handshaker,
    requests: mpsc::Sender<HandshakerReq>,
    /// There until it is dropped.
    responses: Option<Streaming<HandshakerResp>>,
}

/// What the handshaker answers to one request.
#[derive(Debug)]
pub(crate) struct Answer {
    /// For the peer, whatever the outcome is.
    pub(crate) out_frames: Vec<u8>,
    /// How many bytes of the request are used up; never more than it had.
    pub(crate) consumed: usize,
    pub(crate) outcome: Outcome,
}

/// How a handshake stands after an answer.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It goes on.
    Open,
    /// It is done.
    Done(Box<HandshakerResult>),
    /// It is over.
    Failed(Error),
}

impl<'a> Conversation<'a> {
    /// Opens an RPC by its first request: a handshaker need not say anything before that has come.
    ///
    /// # Errors
    /// When there is no answer, or none that the contract allows.
    pub(crate) async fn open(handshaker: &'a Handshaker, first: ReqOneof) -> Result<(Self, Answer), Error> {
        let (requests, receiver) = mpsc::channel(1);
        let sent = in_bytes(&first);
        requests
            .try_send(HandshakerReq { req_oneof: Some(first) })
            .expect("it is empty and has room for one");
        let unreachable = |source: Cause| Error::HandshakerUnreachable {
            address: handshaker.address().to_string(),
            source,
        };
        let mut client = handshaker.client().await.map_err(|error| unreachable(error.into()))?;
        let opened = client.do_handshake(ReceiverStream::new(receiver)).await;
        let responses = match opened {
            Ok(response) => response.into_inner(),
            Err(status) => return Err(failed(status, |status| unreachable(status.into()))),
        };
        let mut conversation = Self { handshaker, requests, responses: Some(responses) };
        let answer = conversation.answer(sent).await?;
        Ok((conversation, answer))
    }

    /// Sends a request, and returns its answer.
    ///
    /// # Errors
    /// When there is no answer, or none that the contract allows.
    pub(crate) async fn ask(&mut self, request: ReqOneof) -> Result<Answer, Error> {
        let sent = in_bytes(&request);
        // An RPC that is over takes no request, and what comes instead of an answer says why.
        let _ = self.requests.send(HandshakerReq { req_oneof: Some(request) }).await;
        self.answer(sent).await
    }

    async fn answer(&mut self, sent: usize) -> Result<Answer, Error> {
        let handshaker = self.handshaker;
        let lost = |status| Error::HandshakerLost {
            address: handshaker.address().to_string(),
            source: Box::new(status),
        };
        let responses = self.responses.as_mut().expect("it is there until this is dropped");
        let response = responses.message().await.map_err(|status| failed(status, lost))?;
        judge(response.ok_or_else(|| contract("response", "is missing: the RPC has ended without it"))?, sent)
    }
}

impl Drop for Conversation<'_> {
    /// Has the RPC read to its end, also when the handshake has failed. To cancel it while its end is under way would
    /// count as a fault of the connection that all handshakes share, and it is closed after so many (1,024 in HTTP/2 as
    /// it is used here).
    fn drop(&mut self) {
        let Some(mut responses) = self.responses.take() else { return };
        // Most often the end comes with the last response.
        if matches!(responses.message().now_or_never(), Some(Ok(None) | Err(_))) {
            return;
        }
        // Without a runtime there is nothing left that could be disturbed.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(tokio::time::timeout(END, async move {
                while let Ok(Some(_)) = responses.message().await {}
            }));
        }
    }
}

/// A breach of the contract.
pub(crate) fn contract(field: &'static str, problem: impl Into<String>) -> Error {
    Error::Contract { field, problem: problem.into() }
}

/// What a response to a request of so many bytes means.
fn judge(response: HandshakerResp, sent: usize) -> Result<Answer, Error> {
    let HandshakerResp { out_frames, bytes_consumed, result, status } = response;
    let HandshakerStatus { code, details } = status.ok_or_else(|| contract("status", "is missing"))?;
    if code != 0 {
        let code = i32::try_from(code).map_or(Code::Unknown, Code::from);
        return Ok(Answer { out_frames, consumed: 0, outcome: Outcome::Failed(refused(code, &details)) });
    }
    let consumed = usize::try_from(bytes_consumed).unwrap_or(usize::MAX);
    if consumed > sent {
        let problem = format!("is {bytes_consumed}, the request had {sent} bytes");
        return Err(contract("bytes_consumed", problem));
    }
    let outcome = result.map_or(Outcome::Open, |result| Outcome::Done(Box::new(result)));
    Ok(Answer { out_frames, consumed, outcome })
}

/// Why an RPC has failed. What a handshaker says comes without a cause; what the transport says has one.
fn failed(status: Status, of_transport: impl FnOnce(Status) -> Error) -> Error {
    if std::error::Error::source(&status).is_some() {
        of_transport(status)
    } else {
        match (status.message(), status.code()) {
            ("", Code::Unimplemented) => refused(Code::Unimplemented, NO_HANDSHAKER),
            ("", code) => refused(code, "it gives no reason"),
            (reason, code) => refused(code, reason),
        }
    }
}

fn refused(code: Code, details: &str) -> Error {
    Error::Refused { code, details: bounded(details), relayed: details.starts_with(PEER_ALERT) }
}

fn in_bytes(request: &ReqOneof) -> usize {
    match request {
        ReqOneof::ClientStart(_) => 0,
        ReqOneof::ServerStart(start) => start.in_bytes.len(),
        ReqOneof::Next(next) => next.in_bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(code: u32, bytes_consumed: u32) -> HandshakerResp {
        HandshakerResp {
            out_frames: b"out".to_vec(),
            bytes_consumed,
            result: Some(HandshakerResult::default()),
            status: Some(HandshakerStatus { code, details: "a: b".to_owned() }),
        }
    }

    #[test]
    fn a_response_without_a_status_or_with_more_bytes_than_were_sent_breaks_the_contract() {
        let cases = [
            (HandshakerResp { status: None, ..response(0, 0) }, 5, "status is missing"),
            (response(0, 6), 5, "bytes_consumed is 6, the request had 5 bytes"),
            (response(0, 1), 0, "bytes_consumed is 1, the request had 0 bytes"),
            (response(0, u32::MAX), 5, "bytes_consumed is 4294967295, the request had 5 bytes"),
        ];
        for (response, sent, expected) in cases {
            let error = judge(response, sent).expect_err(expected);
            assert_eq!(error.to_string(), format!("the handshaker broke its contract: {expected}"));
        }
    }

    #[test]
    fn a_response_says_how_much_is_used_up_and_whether_the_handshake_is_done() {
        for (consumed, sent) in [(0, 0), (0, 5), (3, 5), (5, 5)] {
            let done = judge(response(0, consumed), sent).expect("it is good");
            assert_eq!((done.consumed, &*done.out_frames), (consumed as usize, &b"out"[..]));
            assert!(matches!(done.outcome, Outcome::Done(_)), "{done:?}");
            let open = HandshakerResp { result: None, ..response(0, consumed) };
            let open = judge(open, sent).expect("it is good");
            assert!(matches!(open.outcome, Outcome::Open), "{open:?}");
        }
    }

    #[test]
    fn a_failure_is_none_the_less_one_for_having_a_result() {
        for (code, expected) in
            [(7, Code::PermissionDenied), (16, Code::Unauthenticated), (99, Code::Unknown)]
        {
            let answer = judge(response(code, 99), 5).expect("it is a refusal");
            assert_eq!(answer.out_frames, b"out", "they are for the peer");
            let Outcome::Failed(Error::Refused { code, details, relayed }) = answer.outcome else {
                panic!("{code} is a failure")
            };
            assert_eq!((code, &*details, relayed), (expected, "a: b", false));
        }
        let answer = judge(response(u32::MAX, 0), 0).expect("it is a refusal");
        assert!(matches!(answer.outcome, Outcome::Failed(Error::Refused { code: Code::Unknown, .. })));
    }

    #[test]
    fn what_the_peer_has_told_is_told_from_what_this_sides_handshaker_says() {
        let told = "peer_alert: the peer gave up with alert access_denied";
        for (details, expected) in [(told, true), ("peer_alerted: a", false), ("a: peer_alert: b", false)] {
            let Error::Refused { relayed, .. } = refused(Code::Aborted, details) else { panic!("{details}") };
            assert_eq!(relayed, expected, "{details}");
        }
    }

    #[test]
    fn a_status_without_a_text_is_explained() {
        let cases = [
            (Code::Unimplemented, NO_HANDSHAKER),
            (Code::Internal, "it gives no reason"),
            (Code::Unavailable, "it gives no reason"),
        ];
        for (code, expected) in cases {
            let error = failed(Status::new(code, ""), |status| panic!("{status} has no cause"));
            assert_eq!(error.to_string(), format!("this side's handshaker refused: {expected} ({code:?})"));
        }
        let error = failed(Status::unimplemented("a: b"), |status| panic!("{status} has no cause"));
        assert_eq!(error.to_string(), "this side's handshaker refused: a: b (Unimplemented)");
    }

    #[test]
    fn a_status_with_a_cause_is_no_refusal() {
        let lost =
            |status: Status| Error::HandshakerLost { address: "here".to_owned(), source: status.into() };
        let said = failed(Status::unavailable("a: b"), lost);
        assert!(matches!(said, Error::Refused { code: Code::Unavailable, .. }), "{said}");
        let broken = failed(Status::from_error(Box::new(std::io::Error::other("reset"))), lost);
        assert_eq!(
            broken.to_string(),
            "the connection to the handshaker here broke during the handshake: reset"
        );
    }
}
