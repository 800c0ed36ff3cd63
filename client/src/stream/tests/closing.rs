//! How a connection ends.

use std::{io::ErrorKind, task::Poll};

use tokio::io::AsyncWriteExt;

use super::{
    script::{Script, Step, now, once},
    *,
};

#[test]
fn a_shutdown_sends_what_is_sealed_and_then_shuts_the_connection_down() {
    let writes = [Step::Pending, Step::Pending, Step::Take(3), Step::Pending];
    let mut stream = AltsStream::new(Script::writes(writes), established(Side::Server));
    assert_eq!(now(stream.write(b"hello")).ok(), Some(5));
    for _ in 0..2 {
        assert!(once(stream.shutdown()).is_pending());
        assert!(!stream.get_ref().shut);
    }
    assert!(now(stream.shutdown()).is_ok());
    assert_eq!((&stream.get_ref().written, stream.get_ref().shut), (&frames_of_server(&[b"hello"]), true));
}

#[test]
fn nothing_is_written_after_a_shutdown_was_begun() {
    for writes in [vec![], vec![Step::Pending, Step::Pending]] {
        let mut stream = AltsStream::new(Script::writes(writes), established(Side::Server));
        assert_eq!(now(stream.write(b"hello")).ok(), Some(5));
        let _ = once(stream.shutdown());
        let error = now(stream.write(b"more")).expect_err("it is shut down");
        assert_eq!((error.kind(), stream.frames_sent()), (ErrorKind::BrokenPipe, 1));
        while once(stream.shutdown()).is_pending() {}
        assert_eq!(stream.get_ref().written, frames_of_server(&[b"hello"]));
    }
}

#[tokio::test]
async fn the_other_direction_goes_on_after_a_shutdown() {
    for client_is_first in [true, false] {
        let (client, server) = piped(64);
        let (mut first, mut second) = if client_is_first { (client, server) } else { (server, client) };
        first.write_all(b"question").await.expect("the pipe is open");
        let (shut, question) = tokio::join!(first.shutdown(), read_all(&mut second));
        assert!(shut.is_ok());
        assert_eq!(question, b"question");
        let data = pattern(100_000);
        let answer = async {
            second.write_all(&data).await?;
            second.shutdown().await
        };
        let (answered, read) = tokio::join!(answer, read_all(&mut first));
        assert!(answered.is_ok());
        assert_eq!(read, data);
    }
}

#[tokio::test]
async fn both_may_shut_down_at_once() {
    let (mut client, mut server) = piped(1);
    client.write_all(b"a").await.expect("the pipe is open");
    server.write_all(b"b").await.expect("the pipe is open");
    let (mut from_server, mut from_client) = (tokio::io::split(client), tokio::io::split(server));
    let (mut b, mut a) = (Vec::new(), Vec::new());
    let results = tokio::join!(
        from_server.1.shutdown(),
        from_client.1.shutdown(),
        from_server.0.read_to_end(&mut b),
        from_client.0.read_to_end(&mut a),
    );
    assert!(results.0.is_ok() && results.1.is_ok() && results.2.is_ok() && results.3.is_ok());
    assert_eq!((a.as_slice(), b.as_slice()), (b"a".as_slice(), b"b".as_slice()));
}

#[tokio::test]
async fn a_stream_that_is_dropped_with_unsent_bytes_has_cut_the_connection() {
    let (mut client, mut server) = piped(10);
    assert!(matches!(once(client.write(b"hello")), Poll::Ready(Ok(5))));
    drop(client);
    let error = server.read(&mut [0; 9]).await.expect_err("a part of the frame has come");
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn a_write_to_a_peer_that_is_gone_is_an_error() {
    let (mut client, server) = piped(1000);
    drop(server);
    let error = client.write_all(&pattern(100_000)).await.expect_err("nobody is there");
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn reads_go_on_after_the_peer_takes_no_more() {
    let (mut client, mut server) = piped(1000);
    server.write_all(b"last words").await.expect("the pipe is open");
    drop(server);
    assert!(client.write_all(&pattern(100_000)).await.is_err());
    assert_eq!(read_all(&mut client).await, b"last words");
}
