//! Moves the messages of streams between tonic and [`Session`], and keeps their limits.

use std::{collections::HashMap, pin::Pin, sync::Arc, time::Duration};

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

use super::{
    caller::{self, Entitlement},
    ending::Ending,
    refusal::{Refusal, Style},
    request::{self, Start},
    response::add_context,
    session::{Answer, MAX_IN_BYTES, Session},
};
use crate::{
    attest::Caller,
    audit::Trail,
    clock::Clock,
    config::Address,
    identity::keeper::Keeper,
    shares::Shares,
    snapshot::Current,
    token::contexts::{Contexts, Noted},
    verifier::Verifier,
};

/// Largest request message, in bytes: the largest input and what stands around it.
const MAX_MESSAGE: usize = MAX_IN_BYTES + (64 << 10);

/// What all listeners share.
pub(crate) struct Shared {
    pub(crate) current: Arc<Current>,
    pub(crate) keeper: Keeper,
    /// Knows whom the accounts of this node may meet.
    pub(crate) verifier: Arc<Verifier>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Gets a record of each handshake.
    pub(crate) trail: Trail,
    pub(crate) random: Arc<dyn SecureRandom + Send + Sync>,
    /// One permit for each handshake that may be in progress at once.
    pub(crate) handshakes: Arc<Semaphore>,
    /// The same for each account, so that one caller cannot keep out the others.
    pub(crate) handshakes_of: HashMap<String, Arc<Semaphore>>,
    /// The same for each user, while it is not known yet which account its programs have.
    pub(crate) unknown_of: Shares,
    pub(crate) timeouts: Timeouts,
    /// Where finished handshakes are noted, if tokens are given for them.
    pub(crate) contexts: Option<Arc<Contexts>>,
}

/// How long a stream may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// From the start message to the result.
    pub(crate) handshake: Duration,
    /// Without a start message. A gRPC-Go server opens a stream before its peer has sent anything.
    pub(crate) idle: Duration,
}

/// The service on one listener.
pub(crate) struct Handshaker {
    shared: Arc<Shared>,
    entitlement: Entitlement,
    /// The address of the listener.
    address: Arc<str>,
}

impl Handshaker {
    /// Serves the callers of the listener at `address`.
    pub(crate) fn new(shared: Arc<Shared>, entitlement: Entitlement, address: &Address) -> Self {
        Self { shared, entitlement, address: address.to_string().into() }
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
        let user_agent = request.metadata().get("user-agent").and_then(|agent| agent.to_str().ok());
        let caller = request.extensions().get::<Caller>().cloned();
        let (shared, address) = (self.shared.clone(), self.address.clone());
        let driver = Driver {
            ending: Ending::new(shared.clone(), address, caller.clone(), self.entitlement.account()),
            style: Style::for_user_agent(user_agent),
            caller,
            entitlement: self.entitlement.clone(),
            session: Session::default(),
            shared,
            permits: Vec::new(),
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
    caller: Option<Caller>,
    entitlement: Entitlement,
    session: Session,
    style: Style,
    ending: Ending,
    /// Its places among the handshakes in progress.
    permits: Vec<OwnedSemaphorePermit>,
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
            if self.session.awaits_start() {
                limit = Box::pin(sleep(self.shared.timeouts.handshake));
            }
            let reply = tokio::select! {
                biased;
                () = &mut limit => break self.time_is_up(&responses),
                reply = self.reply(received) => reply,
                () = responses.closed() => break,
            };
            let Some(reply) = reply else { break };
            let last = !reply.1;
            tokio::select! {
                biased;
                () = &mut limit => break self.time_is_up(&responses),
                sent = responses.send(reply) => if sent.is_err() || last { break },
            }
        }
    }

    /// The answer to what was received; nothing if the caller is done or gone.
    async fn reply(&mut self, received: Result<Option<HandshakerReq>, Status>) -> Option<Reply> {
        let request = match received {
            Ok(request) => request?,
            Err(status) => return Some((self.refuse(unreadable(&status)?, 0), false)),
        };
        let in_bytes = in_bytes_len(&request);
        let mut answer = self.session.answer(request, self.shared.clock.now(), &*self.shared.random);
        if let Answer::Begin(start) = answer {
            answer = self.begin(*start).await.unwrap_or_else(Answer::Refused);
        }
        Some(match answer {
            Answer::GoOn(response) => (Ok(response), true),
            Answer::Done(mut response, established) => {
                self.ending.established(&established);
                if let Some(handle) = self.noted(&established) {
                    add_context(&mut response, handle);
                }
                (Ok(response), false)
            }
            Answer::Refused(refusal) => (self.refuse(refusal, in_bytes), false),
            // begin() gives no other start.
            Answer::Begin(_) => return None,
        })
    }

    /// Begins a handshake as the identity that its caller is entitled to. Who the caller is comes first, then what
    /// limits it: a user whose programs are nobody, in whatever number, takes no place of a workload.
    async fn begin(&mut self, start: Start) -> Result<Answer, Refusal> {
        self.ending.begin(start.role);
        let user = self.caller.as_ref().and_then(Caller::user);
        let unknown = permit(&self.shared.unknown_of.of(user), "for this user")?;
        let entitled = self.entitlement.of(self.caller.as_ref()).await?;
        drop(unknown);
        self.permits.push(permit(&self.shared.handshakes, "in total")?);
        let identity = request::choose(&entitled, &start.wished)?;
        let decision = self.ending.is_of(identity.account());
        // Every account of the configuration has its own; others are not given out.
        if let Some(permits) = self.shared.handshakes_of.get(identity.account()) {
            self.permits.push(permit(permits, "for this caller")?);
        }
        let grant = caller::grant(&self.shared, identity, &start, decision).await?;
        Ok(self.session.begin(start, grant, self.shared.clock.now(), &*self.shared.random))
    }

    /// The handle of a finished handshake, for a program that the kernel has identified: it alone can come back with it.
    fn noted(&self, established: &Established) -> Option<String> {
        let contexts = self.shared.contexts.as_ref()?;
        if self.entitlement.account().is_some() {
            return None;
        }
        let caller = self.caller.as_ref()?;
        let noted = Noted {
            peer: &established.peer,
            local: established.local.account(),
            user: caller.user(),
            processes: caller.found()?.seen(),
        };
        contexts.note(noted, self.shared.clock.now().as_secs(), &*self.shared.random)
    }

    /// Tells the caller that it took too long, if it still takes anything.
    fn time_is_up(&mut self, responses: &mpsc::Sender<Reply>) {
        let refusal = if !self.ending.has_begun() {
            let text = format!("no start message came within {:?}", self.shared.timeouts.idle);
            Refusal::of_limit(Code::DeadlineExceeded, "start_timeout", text)
        } else {
            let text = format!("the handshake took longer than {:?}", self.shared.timeouts.handshake);
            Refusal::of_limit(Code::DeadlineExceeded, "handshake_timeout", text)
        };
        self.ending.refused(&refusal);
        // By the end of the RPC in every style: a response that answers no request is one too many.
        let _ = responses.try_send((Err(refusal.into_status()), false));
    }

    fn refuse(&mut self, refusal: Refusal, in_bytes: usize) -> Item {
        self.ending.refused(&refusal);
        match self.style {
            Style::Rpc => Err(refusal.into_status()),
            // tonic bounds the message, and with it its input, far below u32::MAX.
            Style::InBand => Ok(refusal.into_response(in_bytes as u32)),
        }
    }
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

/// A place among the handshakes in progress, or a refusal at once.
fn permit(places: &Arc<Semaphore>, whose: &str) -> Result<OwnedSemaphorePermit, Refusal> {
    places.clone().try_acquire_owned().map_err(|_| {
        let text = format!("too many handshakes in progress {whose}");
        Refusal::of_limit(Code::ResourceExhausted, "handshakes_too_many", text)
    })
}

fn in_bytes_len(request: &HandshakerReq) -> usize {
    match &request.req_oneof {
        Some(ReqOneof::ServerStart(start)) => start.in_bytes.len(),
        Some(ReqOneof::Next(next)) => next.in_bytes.len(),
        Some(ReqOneof::ClientStart(_)) | None => 0,
    }
}
