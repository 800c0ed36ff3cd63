//! What comes of errors of a listener. Handshakes are tested with a real handshaker, in `server/tests/greeter`.

use std::collections::VecDeque;

use tokio::io::DuplexStream;
use tokio_stream::StreamExt as _;

use super::*;
use crate::Handshaker;

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
