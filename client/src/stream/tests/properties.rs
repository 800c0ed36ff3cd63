//! What holds for all sequences of calls, under all ways in which a connection may chop them.

use std::{io, io::ErrorKind};

use proptest::{collection::vec, prelude::*};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::{
    script::{Chopped, write_vectored},
    *,
};

/// Something that a program does to write.
#[derive(Clone, Debug)]
enum Action {
    Write(usize),
    Vectored(Vec<usize>),
    Flush,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        (0..200_usize).prop_map(Action::Write),
        (0..20_000_usize).prop_map(Action::Write),
        vec(0..300_usize, 0..8).prop_map(Action::Vectored),
        Just(Action::Flush),
    ];
    vec(action, 0..6)
}

fn row() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![Just(0_u8), 1..4_u8, any::<u8>()], 0..12)
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime needs nothing");
    runtime.block_on(future)
}

/// Does all of `actions`, with the bytes of [`pattern`] in order, then ends the direction; returns what was written.
/// Each future is dropped when it waits, and made anew.
async fn act<IO: AsyncWrite + Unpin>(io: &mut IO, actions: &[Action]) -> io::Result<Vec<u8>> {
    let mut done = Vec::new();
    for action in actions {
        let lens = match action {
            Action::Write(len) => vec![*len],
            Action::Vectored(lens) => lens.clone(),
            Action::Flush => {
                while once_or_yield(io.flush()).await.transpose()?.is_none() {}
                continue;
            }
        };
        let data = pattern(done.len() + lens.iter().sum::<usize>()).split_off(done.len());
        let mut left = data.as_slice();
        let mut first = true;
        while !left.is_empty() {
            let mut parts = Vec::new();
            let mut rest = left;
            // A write that took a part only goes on with one slice: it is the same to the stream.
            for len in lens.iter().take(if first { lens.len() } else { 0 }) {
                let (part, behind) = rest.split_at(*len);
                parts.push(part);
                rest = behind;
            }
            let parts = if first { parts } else { vec![left] };
            if let Some(taken) = once_or_yield(write_vectored(io, &parts)).await.transpose()? {
                left = &left[taken..];
                first = false;
            }
        }
        done.extend_from_slice(&data);
    }
    while once_or_yield(io.shutdown()).await.transpose()?.is_none() {}
    Ok(done)
}

/// Polls once and drops `future`; lets others run when it was not ready.
async fn once_or_yield<T>(future: impl Future<Output = T>) -> Option<T> {
    let result = tokio::select! {
        biased;
        value = future => Some(value),
        () = std::future::ready(()) => None,
    };
    if result.is_none() {
        tokio::task::yield_now().await;
    }
    result
}

/// Reads to the end in pieces of `len`, with futures that are dropped when they wait.
async fn take<IO: AsyncRead + Unpin>(io: &mut IO, len: usize) -> (Vec<u8>, io::Result<()>) {
    let mut all = Vec::new();
    let mut space = vec![0; len];
    loop {
        match once_or_yield(io.read(&mut space)).await {
            None => {}
            Some(Ok(0)) => return (all, Ok(())),
            Some(Ok(count)) => all.extend_from_slice(&space[..count]),
            Some(Err(error)) => return (all, Err(error)),
        }
    }
}

/// What a client reads that gets these bytes in the pieces of `row`.
fn read_by_client(bytes: &[u8], row: Vec<u8>, len: usize) -> (Vec<u8>, io::Result<()>) {
    let mut client = AltsStream::new(Chopped::new(bytes, row), established(Side::Client));
    run(take(&mut client, len))
}

/// The number of the frame in which the byte at `at` of their frames is, and its place there.
fn frame_at(payloads: &[Vec<u8>], mut at: usize) -> (usize, usize) {
    for (number, payload) in payloads.iter().enumerate() {
        if at < payload.len() + FRAME {
            return (number, at);
        }
        at -= payload.len() + FRAME;
    }
    (payloads.len(), 0)
}

fn frames(payloads: &[Vec<u8>]) -> Vec<u8> {
    frames_of_server(&payloads.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_written_arrives_both_ways_at_once(
        (there, back) in (actions(), actions()),
        rows in (row(), row()),
        pipe in prop_oneof![Just(1_usize), 1..100_usize, 1..20_000_usize],
        limits in (20..20_000_usize, 20..20_000_usize),
        len in 1..5000_usize,
    ) {
        let (client, server) = duplex(pipe);
        let client_end = Established { max_payload: Some(limits.0), ..established(Side::Client) };
        let server_end = Established { max_payload: Some(limits.1), ..established(Side::Server) };
        let client = AltsStream::new(Chopped::new(client, rows.0), client_end);
        let server = AltsStream::new(Chopped::new(server, rows.1), server_end);
        let (mut client, mut server) = (tokio::io::split(client), tokio::io::split(server));
        let (sent, answered, got, answer) = run(async {
            tokio::join!(
                act(&mut client.1, &there),
                act(&mut server.1, &back),
                take(&mut server.0, len),
                take(&mut client.0, len),
            )
        });
        prop_assert!(got.1.is_ok() && answer.1.is_ok(), "{:?} {:?}", got.1, answer.1);
        prop_assert!(sent.expect("the pipe is open") == got.0);
        prop_assert!(answered.expect("the pipe is open") == answer.0);
    }

    #[test]
    fn a_flipped_bit_never_makes_a_wrong_byte(
        payloads in vec(vec(any::<u8>(), 0..200), 1..6),
        place in any::<prop::sample::Index>(),
        bit in 0..8_u8,
        row in row(),
        len in 1..500_usize,
    ) {
        let mut bytes = frames(&payloads);
        let at = place.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let (read, result) = read_by_client(&bytes, row, len);
        let (bad, place) = frame_at(&payloads, at);
        prop_assert_eq!(read, payloads[..bad].concat());
        let kind = result.expect_err("a bit was flipped").kind();
        // A length that grew may ask for more than comes.
        let asks_for_more = kind == ErrorKind::UnexpectedEof && place < 4;
        prop_assert!(kind == ErrorKind::InvalidData || asks_for_more, "{kind:?} at {place}");
    }

    #[test]
    fn a_cut_is_an_error_but_between_two_frames(
        payloads in vec(vec(any::<u8>(), 0..200), 1..6),
        place in any::<prop::sample::Index>(),
        row in row(),
        len in 1..500_usize,
    ) {
        let bytes = frames(&payloads);
        let at = place.index(bytes.len() + 1);
        let (read, result) = read_by_client(&bytes[..at], row, len);
        let (cut, place) = frame_at(&payloads, at);
        prop_assert_eq!(read, payloads[..cut].concat());
        let expected = if place == 0 { None } else { Some(ErrorKind::UnexpectedEof) };
        prop_assert_eq!(result.err().map(|error| error.kind()), expected);
    }
}
