//! One DoHandshake RPC.

use alts_proto::gcp::{
    HandshakerReq, HandshakerResp, HandshakerResult, HandshakerStatus, handshaker_req::ReqOneof,
};
use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::{Error, Handshaker, error::bounded};

/// How altsd begins the details of a refusal that its peer has told it.
const PEER_ALERT: &str = "peer_alert:";

/// One RPC, of one handshake: requests and responses in turn. Dropping it ends the RPC.
pub(crate) struct Conversation<'a> {
    handshaker: &'a Handshaker,
    requests: mpsc::Sender<HandshakerReq>,
    responses: Streaming<HandshakerResp>,
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
        let unreachable = |status| Error::HandshakerUnreachable {
            address: handshaker.address().to_string(),
            source: Box::new(status),
        };
        let opened = handshaker.client().do_handshake(ReceiverStream::new(receiver)).await;
        let responses = match opened {
            Ok(response) => response.into_inner(),
            Err(status) => return Err(failed(status, unreachable)),
        };
        let mut conversation = Self { handshaker, requests, responses };
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

    /// Says that there are no more requests.
    pub(crate) fn end(self) {
        let Self { requests, mut responses, .. } = self;
        drop(requests);
        // The end of the RPC most often comes with the last response. Then it need not be cancelled.
        let _ = responses.message().now_or_never();
    }

    async fn answer(&mut self, sent: usize) -> Result<Answer, Error> {
        let handshaker = self.handshaker;
        let lost = |status| Error::HandshakerLost {
            address: handshaker.address().to_string(),
            source: Box::new(status),
        };
        let response = self.responses.message().await.map_err(|status| failed(status, lost))?;
        judge(response.ok_or_else(|| contract("response", "is missing: the RPC has ended without it"))?, sent)
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
        refused(status.code(), status.message())
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
