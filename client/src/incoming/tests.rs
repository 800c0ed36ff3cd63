//! What comes of errors of a listener. Handshakes are tested with a real handshaker, in `server/tests/greeter`.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use tokio::io::DuplexStream;
use tokio_stream::StreamExt as _;
use tracing::{Event, Level, Metadata, Subscriber, span, subscriber};

use super::*;
use crate::{Handshaker, WaitingFor};

/// Fails in these ways, one after the other, and ends.
struct Failing(VecDeque<io::Error>);

impl Listener for Failing {
    type Io = DuplexStream;

    fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<Option<Accepted<DuplexStream>>> {
        Poll::Ready(self.0.pop_front().map(Err))
    }
}

fn incoming(errors: impl IntoIterator<Item = io::Error>) -> AltsIncoming<Failing> {
    let handshaker = Handshaker::new("127.0.0.1:1").expect("it is an address");
    AltsIncoming::new(Failing(errors.into_iter().collect()), AltsAcceptor::new(handshaker))
}

#[tokio::test(start_paused = true)]
async fn errors_of_the_moment_end_nothing() {
    // EMFILE, ENFILE, ECONNABORTED, ENOBUFS, ENOMEM, EPROTO, EOPNOTSUPP, ENETDOWN, ENOPROTOOPT, EHOSTDOWN, ENONET,
    // EHOSTUNREACH, ENETUNREACH: from EPROTO on, accept(2) has them of a connection that is gone.
    let codes = [24, 23, 103, 105, 12, 71, 95, 100, 92, 112, 64, 113, 101].map(io::Error::from_raw_os_error);
    let kinds = [ErrorKind::ConnectionReset, ErrorKind::Interrupted, ErrorKind::PermissionDenied];
    let mut incoming = incoming(codes.into_iter().chain(kinds.map(io::Error::from)));
    assert!(incoming.next().await.is_none(), "no error comes out, only the end");
    assert!(incoming.next().await.is_none(), "it stays the end");
}

#[tokio::test(start_paused = true)]
async fn nothing_to_listen_to_is_the_last_that_is_told() {
    for kind in [ErrorKind::InvalidInput, ErrorKind::NotConnected] {
        let mut incoming = incoming([io::Error::from(kind), io::Error::from(kind)]);
        let told = incoming.next().await.expect("it is told").err().map(|error| error.kind());
        assert_eq!(told, Some(kind));
        assert!(incoming.next().await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_connections_is_a_listener() {
    let errors = [ErrorKind::ConnectionAborted, ErrorKind::InvalidInput].map(io::Error::from);
    let stream = tokio_stream::iter(errors.map(Err::<DuplexStream, _>));
    let handshaker = Handshaker::new("127.0.0.1:1").expect("it is an address");
    let mut incoming = AltsIncoming::from_stream(stream, AltsAcceptor::new(handshaker));
    assert!(incoming.next().await.expect("the second is told").is_err());
    assert!(incoming.next().await.is_none());
}

#[test]
fn pauses_grow_up_to_a_second() {
    let mut last = None;
    let mut lengths = Vec::new();
    for _ in 0..9 {
        last = Some(longer(last));
        lengths.extend(last.map(|length| length.as_millis()));
    }
    assert_eq!(lengths, [10, 20, 40, 80, 160, 320, 640, 1_000, 1_000]);
}

#[test]
fn at_least_one_connection_may_be_unfinished() {
    assert_eq!(incoming([]).max_unfinished(0).max_unfinished, 1);
}

/// Keeps the levels of what this crate logs.
#[derive(Clone, Default)]
struct Levels(Arc<Mutex<Vec<Level>>>);

impl Levels {
    fn take(&self) -> Vec<Level> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Subscriber for Levels {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target().starts_with("alts_client")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(*event.metadata().level());
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[test]
fn only_a_peer_that_has_gone_without_a_word_is_logged_at_debug() {
    let cases = [
        (Error::PeerClosed { received: 0 }, Level::DEBUG),
        (Error::PeerClosed { received: 1 }, Level::WARN),
        (Error::Connection(ErrorKind::TimedOut.into()), Level::WARN),
        (Error::TimedOut { seconds: 1.0, waiting_for: WaitingFor::Peer }, Level::WARN),
        (Error::TooMuchInput { bytes: 0, limit: 0 }, Level::WARN),
    ];
    let levels = Levels::default();
    let counted = Mutex::new(Vec::new());
    let observer = |failed: &FailedHandshake<'_>| {
        counted.lock().unwrap_or_else(PoisonError::into_inner).push(failed.error.code());
    };
    subscriber::with_default(levels.clone(), || {
        for (error, level) in &cases {
            tell("192.0.2.1:1", error, Some(&observer));
            assert_eq!(levels.take(), [*level], "{error:?}");
        }
    });
    let counted = counted.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(counted, cases.each_ref().map(|(error, _)| error.code()), "each is counted");
}

#[tokio::test]
async fn a_connection_that_only_opens_and_closes_is_counted_and_not_warned_of() {
    let levels = Levels::default();
    let _default = subscriber::set_default(levels.clone());
    let handshaker = Handshaker::new("127.0.0.1:1").expect("it is an address");
    let (opened, peer) = tokio::io::duplex(1);
    drop(peer);
    let counted = Arc::new(Mutex::new(Vec::new()));
    let seen = counted.clone();
    let mut incoming =
        AltsIncoming::from_stream(tokio_stream::iter([Ok(opened)]), AltsAcceptor::new(handshaker))
            .on_failure(move |failed| {
                seen.lock().unwrap_or_else(PoisonError::into_inner).push(failed.error.code());
            });
    assert!(incoming.next().await.is_none());
    assert_eq!(*counted.lock().unwrap_or_else(PoisonError::into_inner), ["peer_closed"]);
    assert_eq!(levels.take(), [Level::DEBUG]);
}
