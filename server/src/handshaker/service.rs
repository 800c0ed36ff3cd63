//! Moves the messages of streams between tonic and [`Session`], and keeps their limits.

use std::{
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use alts_handshake::{Established, SecureRandom};
use alts_proto::gcp::{
    HandshakerReq, HandshakerResp,
    handshaker_req::ReqOneof,
    handshaker_service_server::{HandshakerService, HandshakerServiceServer},
};
use futures_util::{Stream, stream};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::sleep,
};
use tonic::{Code, Request, Response, Status, Streaming};
use tracing::field;

use super::{
    refusal::{Refusal, Style},
    session::{Answer, MAX_IN_BYTES, Session},
};
use crate::{clock::Clock, snapshot::Snapshot};

/// Largest request message, in bytes: the largest input and what stands around it.
const MAX_MESSAGE: usize = MAX_IN_BYTES + (64 << 10);

/// What all listeners share.
pub(crate) struct Shared {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) clock: Box<dyn Clock>,
    pub(crate) random: Box<dyn SecureRandom + Send + Sync>,
    /// One permit for each handshake that may be in progress at once.
    pub(crate) handshakes: Arc<Semaphore>,
    pub(crate) timeouts: Timeouts,
}

/// How long a stream may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// From the start message to the result.
    pub(crate) handshake: Duration,
    /// Without a start message. A gRPC-Go server opens a stream before its peer has sent anything.
    pub(crate) idle: Duration,
}

/// The service on one listener: everyone who reaches it is the same caller.
pub(crate) struct Handshaker {
    shared: Arc<Shared>,
    account: Arc<str>,
    /// As `Shared::handshakes`, for this caller.
    handshakes: Arc<Semaphore>,
}

impl Handshaker {
    /// Serves callers that own `account`, with at most `max_handshakes` of theirs in progress.
    pub(crate) fn new(shared: Arc<Shared>, account: &str, max_handshakes: usize) -> Self {
        Self { shared, account: account.into(), handshakes: Arc::new(Semaphore::new(max_handshakes)) }
    }

    /// The service as a listener serves it.
    pub(crate) fn into_server(self) -> HandshakerServiceServer<Self> {
        HandshakerServiceServer::new(self).max_decoding_message_size(MAX_MESSAGE)
    }
}

#[tonic::async_trait]
impl HandshakerService for Handshaker {
    type DoHandshakeStream = Pin<Box<dyn Stream<Item = Item> + Send>>;

    async fn do_handshake(
        &self,
        request: Request<Streaming<HandshakerReq>>,
    ) -> Result<Response<Self::DoHandshakeStream>, Status> {
        let Some(credentials) = self.shared.snapshot.credentials(&self.account) else {
            let text = format!("there is no certificate for {}", self.account);
            let refusal = Refusal::of_limit(Code::Unavailable, "own_certificate_missing", text);
            report_failure(&refusal, None, &self.account);
            return Err(refusal.into_status());
        };
        let user_agent = request.metadata().get("user-agent").and_then(|agent| agent.to_str().ok());
        let driver = Driver {
            style: Style::for_user_agent(user_agent),
            session: Session::new(credentials.clone(), self.shared.snapshot.trust().clone()),
            shared: self.shared.clone(),
            caller_handshakes: self.handshakes.clone(),
            running: None,
        };
        let (responses, receiver) = mpsc::channel(1);
        tokio::spawn(driver.run(request.into_inner(), responses));
        Ok(Response::new(Box::pin(stream::unfold(Some(receiver), |receiver| async {
            let mut receiver = receiver?;
            let (item, more) = receiver.recv().await?;
            Some((item, more.then_some(receiver)))
        }))))
    }
}

type Item = Result<HandshakerResp, Status>;

/// One stream. It runs in a task of its own: its time passes also while the caller takes no response.
struct Driver {
    shared: Arc<Shared>,
    caller_handshakes: Arc<Semaphore>,
    session: Session,
    style: Style,
    running: Option<Running>,
}

/// A handshake in progress. Dropped without a verdict it is one whose caller has gone.
struct Running {
    shared: Arc<Shared>,
    account: String,
    /// Which end of its connection the caller is.
    side: &'static str,
    since: Instant,
    verdict: bool,
    _permits: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

/// A response, and whether another may follow it. The end of the RPC goes out together with the last one.
type Reply = (Item, bool);

impl Driver {
    /// Answers requests until the stream is over, its time is up, or the caller has gone.
    async fn run(mut self, mut inbound: Streaming<HandshakerReq>, responses: mpsc::Sender<Reply>) {
        // Ends the stream: first when no start comes, then when the handshake takes too long.
        let mut limit = Box::pin(sleep(self.shared.timeouts.idle));
        loop {
            let received = tokio::select! {
                // The limit first: a caller that never pauses cannot keep it from being looked at.
                biased;
                () = &mut limit => break self.time_is_up(&responses),
                received = inbound.message() => received,
                () = responses.closed() => break,
            };
            let awaited_start = self.session.awaits_start();
            let Some(reply) = self.reply(received) else { break };
            if awaited_start {
                limit = Box::pin(sleep(self.shared.timeouts.handshake));
            }
            let last = !reply.1;
            tokio::select! {
                biased;
                () = &mut limit => break self.time_is_up(&responses),
                sent = responses.send(reply) => if sent.is_err() || last { break },
            }
        }
    }

    /// The answer to what was received; nothing if the caller is done or gone.
    fn reply(&mut self, received: Result<Option<HandshakerReq>, Status>) -> Option<Reply> {
        let request = match received {
            Ok(request) => request?,
            Err(status) => return Some((self.refuse(unreadable(&status)?, 0), false)),
        };
        let in_bytes = in_bytes_len(&request);
        if self.session.awaits_start() {
            match self.admit(side(&request)) {
                Ok(running) => self.running = Some(running),
                Err(refusal) => return Some((self.refuse(refusal, in_bytes), false)),
            }
        }
        let answer = self.session.answer(request, self.shared.clock.now(), &*self.shared.random);
        Some(match answer {
            Answer::GoOn(response) => (Ok(response), true),
            Answer::Done(response, established) => {
                self.report_success(&established);
                (Ok(response), false)
            }
            Answer::Refused(refusal) => (self.refuse(refusal, in_bytes), false),
        })
    }

    /// Takes the permits for a handshake, or refuses it at once, before any public-key operation.
    fn admit(&self, side: &'static str) -> Result<Running, Refusal> {
        let permit = |semaphore: &Arc<Semaphore>, whose: &str| {
            semaphore.clone().try_acquire_owned().map_err(|_| {
                let text = format!("too many handshakes in progress {whose}");
                Refusal::of_limit(Code::ResourceExhausted, "handshakes_too_many", text)
            })
        };
        Ok(Running {
            shared: self.shared.clone(),
            account: self.session.account().to_owned(),
            side,
            since: self.shared.clock.monotonic(),
            verdict: false,
            _permits: (
                permit(&self.caller_handshakes, "for this caller")?,
                permit(&self.shared.handshakes, "in total")?,
            ),
        })
    }

    /// Tells the caller that it took too long, if it still takes anything.
    fn time_is_up(&mut self, responses: &mpsc::Sender<Reply>) {
        let refusal = if self.session.awaits_start() {
            let text = format!("no start message came within {:?}", self.shared.timeouts.idle);
            Refusal::of_limit(Code::DeadlineExceeded, "start_timeout", text)
        } else {
            let text = format!("the handshake took longer than {:?}", self.shared.timeouts.handshake);
            Refusal::of_limit(Code::DeadlineExceeded, "handshake_timeout", text)
        };
        self.report_failure(&refusal);
        // By the end of the RPC in every style: a response that answers no request is one too many.
        let _ = responses.try_send((Err(refusal.into_status()), false));
    }

    fn refuse(&mut self, refusal: Refusal, in_bytes: usize) -> Item {
        self.report_failure(&refusal);
        match self.style {
            Style::Rpc => Err(refusal.into_status()),
            // tonic bounds the message, and with it its input, far below u32::MAX.
            Style::InBand => Ok(refusal.into_response(in_bytes as u32)),
        }
    }

    fn report_success(&mut self, established: &Established) {
        let Some(running) = &mut self.running else { return };
        running.verdict = true;
        tracing::debug!(
            side = running.side,
            local = running.account,
            peer = %established.peer,
            record_protocol = established.record_protocol.name(),
            duration = ?running.shared.clock.since(running.since),
            "handshake established"
        );
    }

    fn report_failure(&mut self, refusal: &Refusal) {
        report_failure(refusal, self.running.as_ref(), self.session.account());
        if let Some(running) = &mut self.running {
            running.verdict = true;
        }
    }
}

/// One line for each failure.
fn report_failure(refusal: &Refusal, running: Option<&Running>, account: &str) {
    tracing::warn!(
        reason = refusal.reason,
        side = running.map(|running| running.side),
        local = account,
        duration = running.map(|running| field::debug(running.shared.clock.since(running.since))),
        "handshake refused: {}",
        refusal.text
    );
}

/// What a request that tonic could not read is refused with; nothing where it was not read because its caller, or
/// the connection to it, has gone.
fn unreadable(status: &Status) -> Option<Refusal> {
    if status.code() == Code::OutOfRange {
        let text = format!("a request has at most {MAX_MESSAGE} bytes");
        return Some(Refusal::of_request(Code::ResourceExhausted, "request_too_large", text));
    }
    let gone = matches!(status.code(), Code::Cancelled | Code::Unavailable | Code::Unknown);
    (!gone).then(|| Refusal::of_request(Code::InvalidArgument, "request_malformed", status.message()))
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.verdict {
            tracing::info!(
                reason = "caller_gone",
                side = self.side,
                local = self.account,
                duration = ?self.shared.clock.since(self.since),
                "handshake abandoned by its caller"
            );
        }
    }
}

fn side(request: &HandshakerReq) -> &'static str {
    match &request.req_oneof {
        Some(ReqOneof::ClientStart(_)) => "client",
        Some(ReqOneof::ServerStart(_)) => "server",
        Some(ReqOneof::Next(_)) | None => "unknown",
    }
}

fn in_bytes_len(request: &HandshakerReq) -> usize {
    match &request.req_oneof {
        Some(ReqOneof::ServerStart(start)) => start.in_bytes.len(),
        Some(ReqOneof::Next(next)) => next.in_bytes.len(),
        Some(ReqOneof::ClientStart(_)) | None => 0,
    }
}
