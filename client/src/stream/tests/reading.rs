//! What is read.

use std::{
    io::ErrorKind,
    sync::{Arc, atomic::Ordering},
    task::{Context, Waker},
};

use tokio::io::AsyncWriteExt;

use super::{
    super::incoming::{READ_BUFFER, STEPS},
    script::{Bell, Script, Step, now, once},
    *,
};

fn client(script: Script) -> AltsStream<Script> {
    AltsStream::new(script, established(Side::Client))
}

/// A client that has got these bytes in one piece, and then the end.
fn client_with(bytes: Vec<u8>) -> AltsStream<Script> {
    client(Script::reads([Step::Bytes(bytes)]))
}

fn read_to_end(stream: &mut AltsStream<Script>) -> (Vec<u8>, std::io::Result<usize>) {
    let mut all = Vec::new();
    let result = now(stream.read_to_end(&mut all));
    (all, result)
}

#[test]
fn all_frames_that_are_there_come_with_one_read() {
    let payloads: Vec<_> = (0..100).map(|at| vec![at; 10]).collect();
    let frames = frames_of_server(&payloads.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let mut stream = client_with(frames);
    let mut space = [0; 2000];
    assert_eq!(now(stream.read(&mut space)).ok(), Some(1000));
    assert_eq!(space[..1000], payloads.concat());
    assert_eq!((stream.get_ref().read_calls, stream.frames_received()), (1, 100));
}

#[test]
fn a_payload_comes_in_as_many_reads_as_the_reader_likes() {
    let mut stream = client_with(frames_of_server(&[b"hello", b"world"]));
    let mut space = [0; 3];
    let mut all = Vec::new();
    for expected in [3, 3, 3, 1, 0, 0] {
        let count = now(stream.read(&mut space)).expect("it is a clean end");
        assert_eq!(count, expected);
        all.extend_from_slice(&space[..count]);
    }
    assert_eq!(all, b"helloworld");
}

#[test]
fn a_frame_that_comes_byte_by_byte_is_whole_in_the_end() {
    let frame = frames_of_server(&[b"hello"]);
    let last = frame.len() - 1;
    let steps = frame.into_iter().flat_map(|byte| [Step::Pending, Step::Bytes(vec![byte])]);
    let mut stream = client(Script::reads(steps));
    let mut space = [0; 10];
    for _ in 0..=last {
        assert!(once(stream.read(&mut space)).is_pending());
    }
    assert_eq!(now(stream.read(&mut space)).ok(), Some(5));
    assert_eq!(&space[..5], b"hello");
}

#[test]
fn what_came_behind_the_handshake_is_read_first() {
    let frames = frames_of_server(&[b"hello", b"world"]);
    for split in 0..=frames.len() {
        let (rest, later) = frames.split_at(split);
        let reads = if later.is_empty() { vec![] } else { vec![Step::Bytes(later.to_vec())] };
        let established = Established { rest: rest.to_vec().into(), ..established(Side::Client) };
        let mut stream = AltsStream::new(Script::reads(reads), established);
        assert_eq!(read_to_end(&mut stream).0, b"helloworld", "split at {split}");
    }
}

#[test]
fn the_peer_is_not_asked_for_more_while_payload_is_there() {
    let established = Established { rest: frames_of_server(&[b"hello"]).into(), ..established(Side::Client) };
    let mut stream = AltsStream::new(Script::default(), established);
    assert_eq!(now(stream.read_u8()).ok(), Some(b'h'));
    assert_eq!(now(stream.read(&mut [0; 100])).ok(), Some(4));
    assert_eq!(stream.get_ref().read_calls, 0);
}

#[test]
fn a_read_into_nothing_does_nothing() {
    let mut stream = client_with(frames_of_server(&[b"hello"]));
    assert_eq!(now(stream.read(&mut [])).ok(), Some(0));
    assert_eq!(stream.get_ref().read_calls, 0);
}

#[test]
fn frames_without_payload_are_skipped() {
    let mut stream = client_with(frames_of_server(&[b"", b"a", b"", b"", b"b", b""]));
    let (all, result) = read_to_end(&mut stream);
    assert_eq!((all.as_slice(), result.ok()), (b"ab".as_slice(), Some(2)));
    assert_eq!(stream.frames_received(), 6);
}

/// Polls until something comes; returns how many polls that took. Each before the last has asked to be polled again.
fn polls_until_payload(stream: &mut AltsStream<Script>) -> usize {
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    for polls in 1.. {
        let mut read = std::pin::pin!(stream.read_u8());
        if read.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            return polls;
        }
        assert_eq!(bell.0.load(Ordering::Relaxed), polls, "it is woken once by each poll");
    }
    unreachable!("it comes to an end")
}

#[test]
fn many_frames_without_payload_do_not_keep_other_tasks_from_running() {
    let mut payloads: Vec<&[u8]> = vec![b""; 10 * STEPS];
    payloads.push(b"x");
    let polls = polls_until_payload(&mut client_with(frames_of_server(&payloads)));
    assert!((10..=12).contains(&polls), "{polls} polls");
}

#[test]
fn many_single_bytes_do_not_keep_other_tasks_from_running() {
    let frame = frames_of_server(&[&pattern(10 * STEPS)]);
    let mut stream = client(Script::reads(frame.into_iter().map(|byte| Step::Bytes(vec![byte]))));
    let polls = polls_until_payload(&mut stream);
    assert!((10..=12).contains(&polls), "{polls} polls");
}

#[test]
fn the_buffer_grows_with_what_has_come_and_not_with_what_is_claimed() {
    let payload = pattern(FrameLimit::MAX.bytes() - FRAME);
    let frame = frames_of_server(&[&payload]);
    let mut steps = Vec::new();
    for part in frame.chunks(10_000) {
        steps.extend([Step::Bytes(part.to_vec()), Step::Pending]);
    }
    let established = Established { receive_limit: FrameLimit::MAX, ..established(Side::Client) };
    let mut stream = AltsStream::new(Script::reads(steps), established);
    let mut space = vec![0; payload.len() + 1];
    let mut come = 0;
    let read = loop {
        come = frame.len().min(come + 10_000);
        match once(stream.read(&mut space)) {
            std::task::Poll::Ready(read) => break read,
            std::task::Poll::Pending => {
                let capacity = stream.incoming.capacity();
                assert!(capacity <= READ_BUFFER.max(2 * come), "{capacity} bytes for {come}");
                assert!(capacity <= frame.len(), "{capacity} bytes for a frame of {}", frame.len());
            }
        }
    };
    assert_eq!(read.ok(), Some(payload.len()));
    assert_eq!(space[..payload.len()], payload);
}

#[test]
fn an_idle_stream_holds_no_buffer() {
    let mut stream = client(Script::reads([
        Step::Pending,
        Step::Bytes(frames_of_server(&[&[7; 5000]])),
        Step::Pending,
        Step::Pending,
    ]));
    let mut space = [0; 5000];
    assert!(once(stream.read(&mut space)).is_pending());
    assert_eq!(stream.incoming.capacity(), 0);
    assert_eq!(now(stream.read_exact(&mut space)).ok(), Some(5000));
    assert!(once(stream.read(&mut space)).is_pending());
    assert_eq!(stream.incoming.capacity(), 0);
}

#[test]
fn a_connection_that_ends_between_frames_has_ended_and_stays_so() {
    let mut stream = client_with(frames_of_server(&[b"hello"]));
    assert_eq!(read_to_end(&mut stream).0, b"hello");
    let calls = stream.get_ref().read_calls;
    stream.get_mut().reads.push_back(Step::Bytes(frames_of_server(&[b"hello"])));
    assert_eq!(now(stream.read(&mut [0; 9])).ok(), Some(0));
    assert_eq!((stream.get_ref().read_calls, stream.incoming.capacity()), (calls, 0));
}

#[test]
fn a_connection_that_ends_inside_a_frame_was_cut() {
    let frames = frames_of_server(&[b"hello", b"world"]);
    let first = frames.len() / 2;
    for cut in 1..first {
        let mut stream = client_with(frames[..first + cut].to_vec());
        let (all, result) = read_to_end(&mut stream);
        assert_eq!(all, b"hello");
        let text = format!("the connection was cut in the middle of a frame, after {cut} bytes of it");
        let error = result.expect_err("it was cut");
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::UnexpectedEof, text));
        let again = now(stream.read(&mut [0; 9])).expect_err("it was cut");
        assert_eq!(again.kind(), ErrorKind::UnexpectedEof);
    }
}

#[test]
fn an_error_of_the_connection_is_passed_on_and_loses_nothing() {
    let frame = frames_of_server(&[b"hello"]);
    for split in 0..frame.len() {
        let (front, back) = frame.split_at(split);
        let mut stream = client(Script::reads([Step::Bytes(back.to_vec())]));
        stream.get_mut().reads.push_front(Step::Fail(ErrorKind::TimedOut));
        if !front.is_empty() {
            stream.get_mut().reads.push_front(Step::Bytes(front.to_vec()));
        }
        let error = now(stream.read(&mut [0; 9])).expect_err("the connection said so");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(read_to_end(&mut stream).0, b"hello", "split at {split}");
    }
}

#[test]
fn a_bad_frame_ends_both_directions_for_good() {
    let good = frames_of_server(&[b"hello", b"world", b"again"]);
    let frame = good.len() / 3;
    let length = |byte, value| move |bytes: &mut Vec<u8>| bytes[frame + byte] = value;
    type Spoil<'a> = &'a dyn Fn(&mut Vec<u8>);
    let cases: [(&str, Spoil<'_>, &str); 8] = [
        ("a byte of the ciphertext", &|bytes| bytes[frame + 9] ^= 1, "frame_not_authentic"),
        ("a byte of the tag", &|bytes| bytes[2 * frame - 1] ^= 0x80, "frame_not_authentic"),
        ("a frame is lost", &|bytes| drop(bytes.drain(frame..2 * frame)), "frame_not_authentic"),
        ("a frame comes again", &|bytes| bytes.copy_within(..frame, frame), "frame_not_authentic"),
        ("too short", &length(0, 19), "frame_too_short"),
        ("too long", &length(2, 1), "frame_too_long"),
        ("another type", &length(4, 7), "frame_type_unknown"),
        ("another type, last byte", &length(7, 1), "frame_type_unknown"),
    ];
    for (what, spoil, code) in cases {
        let mut bytes = good.clone();
        spoil(&mut bytes);
        let mut stream = client_with(bytes);
        let (all, result) = read_to_end(&mut stream);
        assert_eq!(all, b"hello", "{what}");
        assert_eq!(record_error(&result.expect_err(what)).code(), code, "{what}");
        assert_eq!(read_to_end(&mut stream).0, b"", "{what}");
        let (written, flushed) = (now(stream.write(b"x")), now(stream.flush()));
        for error in [now(stream.read(&mut [0; 9])), written].map(|result| result.expect_err(what)) {
            assert_eq!(record_error(&error).code(), code, "{what}");
        }
        assert_eq!(record_error(&flushed.expect_err(what)).code(), code, "{what}");
        assert_eq!(stream.get_ref().written, b"", "{what}");
        let shut = now(stream.shutdown()).expect_err(what);
        assert_eq!((record_error(&shut).code(), stream.get_ref().shut), (code, true), "{what}");
    }
}

#[test]
fn a_bad_header_is_an_error_before_its_frame_has_come() {
    let mut stream = client(Script::reads([Step::Bytes(b"HTTP".to_vec()), Step::Pending]));
    let error = now(stream.read(&mut [0; 9])).expect_err("it is not ALTS");
    assert_eq!(record_error(&error).code(), "frame_too_long");
}

#[test]
fn frames_of_this_end_are_not_taken_for_the_peers() {
    let mut stream = AltsStream::new(
        Script::reads([Step::Bytes(frames_of_server(&[b"hello"]))]),
        established(Side::Server),
    );
    let error = now(stream.read(&mut [0; 9])).expect_err("it is a reflection");
    assert_eq!(record_error(&error), &RecordError::NotAuthentic);
}

#[test]
fn a_frame_is_as_long_as_this_end_has_said_and_no_longer() {
    let longest = FrameLimit::MIN.bytes() + 4 - FRAME;
    let (fits, over) = (pattern(longest), pattern(longest + 1));
    assert_eq!(read_to_end(&mut client_with(frames_of_server(&[&fits]))).0, fits);
    let (all, result) = read_to_end(&mut client_with(frames_of_server(&[&over])));
    assert_eq!(all, b"");
    assert_eq!(record_error(&result.expect_err("it is over")).code(), "frame_too_long");
}
