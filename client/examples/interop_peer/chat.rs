//! Channels to the server, and calls on them.

use std::{
    error::Error,
    sync::{Arc, Mutex},
    time::Duration,
};

use alts_client::AltsConnector;
use bytes::Bytes;
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status, Streaming,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};

use crate::{
    echo::{CHAT, GIVE, RawCodec, WHO_AM_I},
    options::ClientOptions,
    watched::WatchedConnector,
};

/// How many messages may wait to be sent.
const AHEAD: usize = 4;
/// How long connections may take to be closed.
const CLOSING: Duration = Duration::from_secs(5);

/// Makes channels, each with a connection of its own.
pub(crate) struct Channels {
    endpoint: Endpoint,
    connector: WatchedConnector,
    closed: mpsc::Receiver<()>,
    server: Arc<Mutex<Option<String>>>,
}

impl Channels {
    pub(crate) fn new(options: &ClientOptions) -> Result<Self, Box<dyn Error>> {
        let server = Arc::new(Mutex::new(None));
        let seen = Arc::clone(&server);
        let mut connector = AltsConnector::new(options.common.handshaker()?).authorize(move |peer| {
            *seen.lock().map_err(|error| error.to_string())? = Some(peer.peer_service_account().to_owned());
            Ok(())
        });
        for account in &options.service_account {
            connector = connector.target_service_account(account);
        }
        if let Some(bytes) = options.common.frames.max_sent_payload {
            connector = connector.max_sent_payload(bytes);
        }
        if let Some(bytes) = options.common.frames.max_frame_size {
            connector = connector.max_frame_size(bytes);
        }
        let endpoint = AltsConnector::endpoint(&options.target)?;
        let (open, closed) = mpsc::channel(1);
        Ok(Self { endpoint, connector: WatchedConnector { connector, open }, closed, server })
    }

    pub(crate) fn open(&self) -> Channel {
        self.endpoint.connect_with_connector_lazy(self.connector.clone())
    }

    /// The account of the server, as the last handshake has shown it.
    pub(crate) fn server(&self) -> Option<String> {
        self.server.lock().ok()?.clone()
    }

    /// Waits until all connections are closed, whose channels were dropped.
    pub(crate) async fn closed(mut self) {
        drop(self.connector);
        if timeout(CLOSING, self.closed.recv()).await.is_err() {
            eprintln!("connections are open still");
        }
    }
}

/// What one reply tells: the account and the connection as the server saw them.
pub(crate) struct Seen {
    pub(crate) account: String,
    pub(crate) connection: String,
}

/// A reply as it came, and what it answers.
pub(crate) struct Reply {
    pub(crate) seen: Seen,
    pub(crate) echoed: Bytes,
}

impl Reply {
    fn parse(reply: &Bytes) -> Result<Self, Status> {
        let mut parts = reply.splitn(3, |byte| *byte == b'\n');
        let (Some(account), Some(connection), Some(echoed)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(Status::data_loss(format!("{} bytes are no reply", reply.len())));
        };
        let text = |part: &[u8]| String::from_utf8_lossy(part).into_owned();
        let seen = Seen { account: text(account), connection: text(connection) };
        Ok(Self { seen, echoed: reply.slice_ref(echoed) })
    }

    pub(crate) fn answers(self, payload: &[u8]) -> Result<Seen, Status> {
        if self.echoed == payload {
            Ok(self.seen)
        } else {
            Err(Status::data_loss(format!("{} bytes did not come back as they were", payload.len())))
        }
    }
}

pub(crate) async fn who_am_i(channel: Channel) -> Result<Seen, Status> {
    let payload = Bytes::from_static(b"hello");
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.map_err(not_ready)?;
    let request = Request::new(payload.clone());
    let reply = grpc.unary(request, PathAndQuery::from_static(WHO_AM_I), RawCodec).await?;
    Reply::parse(reply.get_ref())?.answers(&payload)
}

/// So many large messages of the server's making, and what it says their hash is.
pub(crate) async fn given(channel: Channel, messages: usize) -> Result<Streaming<Bytes>, Status> {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.map_err(not_ready)?;
    let request = Request::new(Bytes::from(messages.to_string()));
    Ok(grpc.server_streaming(request, PathAndQuery::from_static(GIVE), RawCodec).await?.into_inner())
}

/// One Chat.
pub(crate) struct Chat {
    requests: Option<mpsc::Sender<Bytes>>,
    replies: Replies,
}

enum Replies {
    /// Some servers say nothing before they were asked something.
    Awaited(JoinHandle<Result<Response<Streaming<Bytes>>, Status>>),
    Open(Box<Streaming<Bytes>>),
}

impl Chat {
    pub(crate) fn open(channel: Channel) -> Self {
        let (requests, queue) = mpsc::channel(AHEAD);
        let call = tokio::spawn(async move {
            let mut grpc = Grpc::new(channel);
            grpc.ready().await.map_err(not_ready)?;
            let request = Request::new(ReceiverStream::new(queue));
            grpc.streaming(request, PathAndQuery::from_static(CHAT), RawCodec).await
        });
        Self { requests: Some(requests), replies: Replies::Awaited(call) }
    }

    pub(crate) async fn exchange(&mut self, payload: Bytes) -> Result<Seen, Status> {
        if let Some(requests) = &self.requests {
            // Why it cannot be sent, receiving tells.
            let _ = requests.send(payload.clone()).await;
        }
        let reply = self.receive().await?;
        reply.ok_or_else(|| Status::data_loss("the server ended the chat early"))?.answers(&payload)
    }

    /// The end that sends, for another task to use; the chat ends when it is dropped.
    pub(crate) fn take_sender(&mut self) -> Option<mpsc::Sender<Bytes>> {
        self.requests.take()
    }

    /// The next reply, `None` at the end.
    pub(crate) async fn receive(&mut self) -> Result<Option<Reply>, Status> {
        if let Replies::Awaited(call) = &mut self.replies {
            let response = call.await.map_err(|error| Status::internal(error.to_string()))?;
            self.replies = Replies::Open(Box::new(response?.into_inner()));
        }
        match &mut self.replies {
            Replies::Open(replies) => replies.message().await?.as_ref().map(Reply::parse).transpose(),
            Replies::Awaited(_) => Ok(None),
        }
    }

    pub(crate) async fn finish(mut self) -> Result<(), Status> {
        self.requests = None;
        match self.receive().await? {
            None => Ok(()),
            Some(_) => Err(Status::data_loss("the server said more than it was asked")),
        }
    }
}

fn not_ready(error: tonic::transport::Error) -> Status {
    Status::from_error(error.into())
}
