//! A server of keys on this machine, and a clock that a test moves.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{Response, StatusCode, Uri},
};
use pki_types::UnixTime;
use serde_json::Value;
use tokio::{net::TcpListener, sync::Semaphore, task::JoinHandle};
use url::Url;

use crate::clock::{Clock, SystemClock};

pub(super) const NOW: u64 = 1_767_225_600;

/// A clock that a test moves.
pub(super) struct Moved {
    gone: AtomicU64,
    begin: Instant,
}

impl Moved {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { gone: 0.into(), begin: SystemClock.monotonic() })
    }

    pub(super) fn passes(&self, seconds: u64) {
        self.gone.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl Clock for Moved {
    fn now(&self) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(NOW + self.gone.load(Ordering::Relaxed)))
    }

    fn monotonic(&self) -> Instant {
        self.begin + Duration::from_secs(self.gone.load(Ordering::Relaxed))
    }
}

/// A status, headers and a body.
type Answer = (StatusCode, Vec<(&'static str, String)>, String);

/// What is answered under every path but those that have an answer of their own.
struct Shared {
    asked: AtomicUsize,
    answer: Mutex<Answer>,
    description: Mutex<Option<String>>,
    /// Answers that may be given.
    gate: Semaphore,
}

pub(super) struct Server {
    shared: Arc<Shared>,
    port: u16,
    serving: JoinHandle<()>,
}

impl Server {
    /// Answers with this document.
    pub(super) async fn serving(document: &Value) -> Self {
        let server = Self::closed(document).await;
        server.open(Semaphore::MAX_PERMITS);
        server
    }

    /// Answers nothing until it is opened.
    pub(super) async fn closed(document: &Value) -> Self {
        let shared = Arc::new(Shared {
            asked: 0.into(),
            answer: Mutex::new((StatusCode::OK, Vec::new(), document.to_string())),
            description: Mutex::new(None),
            gate: Semaphore::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
        let port = listener.local_addr().expect("it is bound").port();
        let router = Router::new().fallback(answer).with_state(shared.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { shared, port, serving }
    }

    /// Lets so many answers more go.
    pub(super) fn open(&self, count: usize) {
        self.shared.gate.add_permits(count);
    }

    /// Answers so from now on.
    pub(super) fn answers(&self, status: u16, headers: &[(&'static str, &str)], body: &str) {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let status = StatusCode::from_u16(status).expect("it is one");
        *self.shared.answer.lock().expect("nobody panicked") = (status, headers, body.to_owned());
    }

    /// Describes an issuer so, under the path of discovery.
    pub(super) fn describes(&self, description: &Value) {
        *self.shared.description.lock().expect("nobody panicked") = Some(description.to_string());
    }

    pub(super) fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(super) fn url(&self) -> Url {
        format!("{}/keys", self.base()).parse().expect("it is an address")
    }

    /// How often keys were asked for.
    pub(super) fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(State(shared): State<Arc<Shared>>, uri: Uri) -> Response<Body> {
    if uri.path() == "/.well-known/openid-configuration" {
        let description = shared.description.lock().expect("nobody panicked").clone();
        return Response::new(description.unwrap_or_default().into());
    }
    shared.asked.fetch_add(1, Ordering::Relaxed);
    shared.gate.acquire().await.expect("it is never closed").forget();
    let (status, headers, body) = shared.answer.lock().expect("nobody panicked").clone();
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    response.body(body.into()).expect("it is one")
}
