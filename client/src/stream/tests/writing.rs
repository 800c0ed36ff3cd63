//! What is written.

use std::{io::ErrorKind, task::Poll};

use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::{
    super::outgoing::{BACKLOG, GATHER},
    script::{Script, Step, now, once, write_vectored},
    *,
};

/// Most bytes of payload of a frame of [`established`].
const MOST: usize = (16 << 10) - FRAME;

fn server(script: Script) -> AltsStream<Script> {
    AltsStream::new(script, established(Side::Server))
}

#[test]
fn a_write_is_sent_at_once_when_the_connection_takes_it() {
    let mut stream = server(Script::default());
    assert_eq!(now(stream.write(b"hello")).ok(), Some(5));
    assert_eq!(stream.get_ref().written, frames_of_server(&[b"hello"]));
    assert_eq!((stream.get_ref().flushes, stream.frames_sent()), (0, 1));
    assert_eq!(stream.outgoing.capacity(), 0, "an idle stream holds no buffer");
}

#[test]
fn many_slices_are_one_frame() {
    let mut stream = server(Script::default());
    assert!(stream.is_write_vectored());
    let parts: Vec<&[u8]> = (0..300).flat_map(|_| [b"ab".as_slice(), b"", b"c"]).collect();
    assert_eq!(now(write_vectored(&mut stream, &parts)).ok(), Some(900));
    assert_eq!(stream.get_ref().written, frames_of_server(&[&parts.concat()]));
}

#[test]
fn a_frame_holds_at_most_what_the_program_and_the_peer_allow() {
    let data = pattern(MOST + 10);
    for (limit, most) in [(None, MOST), (Some(100), 100), (Some(1), 1), (Some(0), 1), (Some(1 << 30), MOST)] {
        let established = Established { max_payload: limit, ..established(Side::Server) };
        let mut stream = AltsStream::new(Script::default(), established);
        let data = &data[..most + 10];
        let (front, back) = data.split_at(most / 2);
        assert_eq!(now(write_vectored(&mut stream, &[front, b"", back])).ok(), Some(data.len()), "{limit:?}");
        let frames: Vec<_> = data.chunks(most).collect();
        assert_eq!(stream.get_ref().written, frames_of_server(&frames), "{limit:?}");
    }
}

#[test]
fn a_write_takes_one_frame_while_bytes_are_unsent_and_else_a_bounded_number() {
    let data = pattern(1 << 20);
    let mut stream = server(Script::writes([Step::Pending, Step::Pending]));
    assert_eq!(now(stream.write(b"unsent")).ok(), Some(6));
    assert_eq!(now(stream.write(&data)).ok(), Some(MOST));
    let mut stream = server(Script::default());
    assert_eq!(now(stream.write(&data)).ok(), Some(GATHER.div_ceil(MOST + FRAME) * MOST));
}

#[test]
fn the_last_frame_that_there_can_be_may_be_a_part_of_a_write() {
    let mut stream = server(Script::default());
    stream.outgoing.start_at(u64::MAX);
    assert_eq!(now(stream.write(&pattern(2 * MOST))).ok(), Some(MOST));
    let error = now(stream.write(b"b")).expect_err("there is no number for it");
    assert_eq!(record_error(&error).code(), "frame_counter_used_up");
}

#[test]
fn nothing_is_sent_of_nothing() {
    let mut stream = server(Script::default());
    assert_eq!(now(stream.write(b"")).ok(), Some(0));
    assert_eq!(now(write_vectored(&mut stream, &[])).ok(), Some(0));
    assert_eq!(now(write_vectored(&mut stream, &[b"", b""])).ok(), Some(0));
    assert_eq!((stream.frames_sent(), stream.get_ref().written.len()), (0, 0));
}

#[test]
fn what_the_connection_does_not_take_goes_with_a_flush() {
    let frame = frames_of_server(&[b"hello"]);
    for taken in 0..frame.len() {
        let mut stream = server(Script::writes([
            Step::Take(taken.max(1)),
            Step::Pending,
            Step::Pending,
            Step::Take(1),
            Step::Pending,
        ]));
        if taken == 0 {
            stream.get_mut().writes.pop_front();
        }
        assert_eq!(now(stream.write(b"hello")).ok(), Some(5));
        assert_eq!(stream.get_ref().written, frame[..taken]);
        assert!(once(stream.flush()).is_pending());
        assert_eq!(stream.get_ref().flushes, 0);
        while once(stream.flush()).is_pending() {}
        assert_eq!((&stream.get_ref().written, stream.get_ref().flushes), (&frame, 1));
        assert_eq!(stream.outgoing.capacity(), 0);
    }
}

#[test]
fn small_writes_that_wait_are_sent_together() {
    let mut stream = server(Script::writes([Step::Pending, Step::Pending, Step::Pending]));
    for part in [b"a", b"b", b"c"] {
        assert_eq!(now(stream.write(part)).ok(), Some(1));
    }
    assert_eq!(stream.get_ref().written, b"");
    assert!(now(stream.flush()).is_ok());
    assert_eq!(stream.get_ref().written, frames_of_server(&[b"a", b"b", b"c"]));
}

/// Writes `data` again and again in pieces of `len` until the stream takes no more; returns how much it took.
fn fill(stream: &mut AltsStream<DuplexStream>, data: &[u8]) -> usize {
    let mut taken = 0;
    while let Poll::Ready(count) = once(stream.write(data)) {
        taken += count.expect("the pipe is open");
    }
    taken
}

#[tokio::test]
async fn writes_wait_when_the_peer_never_reads() {
    for (pipe, piece) in [(1, 1), (1, 1 << 20), (1000, 10), (1000, 5000), (100_000, 1 << 20)] {
        let (mut client, _server) = piped(pipe);
        let data = pattern(piece);
        let taken = fill(&mut client, &data);
        let bound = pipe + GATHER.max(BACKLOG) + MOST;
        assert!(
            (1..=bound).contains(&taken),
            "{taken} bytes taken with a pipe of {pipe} and pieces of {piece}"
        );
        let held = client.outgoing.capacity();
        assert!(held <= 2 * (GATHER + MOST + FRAME), "{held} bytes held");
        assert_eq!(fill(&mut client, &data), 0, "it takes nothing by being asked again");
    }
}

#[tokio::test]
async fn writes_go_on_when_the_peer_reads_again() {
    let (mut client, mut server) = piped(1000);
    let data = pattern(5000);
    let taken = fill(&mut client, &data);
    let mut space = vec![0; taken + data.len()];
    let write = async {
        client.write_all(&data).await?;
        client.flush().await
    };
    let (written, read) = tokio::join!(write, server.read_exact(&mut space));
    assert!(written.is_ok() && read.is_ok());
    assert_eq!(taken % data.len(), 0, "whole pieces fit a frame");
    assert!(space.iter().eq(data.iter().cycle().take(space.len())));
}

#[test]
fn an_error_before_a_write_is_that_of_the_write_which_takes_nothing() {
    let mut stream = server(Script::writes([Step::Pending, Step::Fail(ErrorKind::ConnectionReset)]));
    assert_eq!(now(stream.write(b"a")).ok(), Some(1));
    let error = now(stream.write(b"b")).expect_err("the connection said so");
    assert_eq!((error.kind(), stream.frames_sent()), (ErrorKind::ConnectionReset, 1));
}

/// Else a program that tries again would send the same twice.
#[test]
fn an_error_after_a_write_was_taken_is_that_of_the_next_call() {
    type Next = fn(&mut AltsStream<Script>) -> std::io::Result<()>;
    let next: [Next; 3] = [
        |stream| now(stream.write(b"b")).map(drop),
        |stream| now(stream.flush()),
        |stream| now(stream.shutdown()),
    ];
    for call in next {
        let mut stream = server(Script::writes([Step::Take(1), Step::Fail(ErrorKind::ConnectionReset)]));
        assert_eq!(now(stream.write(b"a")).ok(), Some(1));
        let error = call(&mut stream).expect_err("the connection said so");
        assert_eq!((error.kind(), stream.get_ref().shut), (ErrorKind::ConnectionReset, false));
        assert!(now(stream.flush()).is_ok());
        assert_eq!(stream.get_ref().written, frames_of_server(&[b"a"]));
    }
}

#[test]
fn a_connection_that_takes_nothing_is_an_error() {
    let mut stream = server(Script::writes([Step::Take(0)]));
    assert_eq!(now(stream.write(b"a")).ok(), Some(1));
    assert_eq!(now(stream.flush()).map_err(|error| error.kind()), Err(ErrorKind::WriteZero));
}

#[test]
fn no_write_comes_after_the_last_frame_that_there_can_be() {
    let mut stream = server(Script::default());
    stream.outgoing.start_at(u64::MAX);
    assert_eq!(now(stream.write(b"a")).ok(), Some(1));
    let written = stream.get_ref().written.len();
    for _ in 0..2 {
        let error = now(stream.write(b"b")).expect_err("there is no number for it");
        assert_eq!(record_error(&error).code(), "frame_counter_used_up");
    }
    let error = now(stream.read(&mut [0; 9])).expect_err("it stays");
    assert_eq!(record_error(&error).code(), "frame_counter_used_up");
    assert_eq!(stream.get_ref().written.len(), written);
}

#[test]
fn debug_output_has_no_key_and_nothing_of_what_passes() {
    #[derive(Debug)]
    struct Io;
    let rest = frames_of_server(&[b"secret"]).into();
    let stream = AltsStream::new(Io, Established { rest, ..established(Side::Client) });
    let text = format!("{stream:?}");
    let expected = "AltsStream { io: Io, peer: \"peer@example.com\", frames_sent: 0, frames_received: 0, broken: None, .. }";
    assert_eq!(text, expected);
}
