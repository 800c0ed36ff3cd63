//! What a stream promises. Most tests are with a [`script::Script`] below it, or with connections that are chopped by
//! [`script::Chopped`]; those of [`sockets`] are with sockets.

mod closing;
mod properties;
mod reading;
mod script;
mod sockets;
mod writing;

use std::io::IoSlice;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, DuplexStream, duplex};

use super::AltsStream;
use crate::{
    AltsAuthInfo, Side,
    established::Established,
    record::{FrameLimit, RecordError, RecordKey, RecordProtocol},
};

/// Bytes of a frame beside its payload.
const FRAME: usize = 24;

fn key() -> RecordKey {
    RecordKey::new(RecordProtocol::GcmAes128Rekey, (1..=44).collect()).expect("44 bytes are a key")
}

/// What `side` has after a handshake, with frames of at most 16 KiB.
fn established(side: Side) -> Established {
    Established {
        side,
        key: key(),
        send_limit: FrameLimit::MIN,
        receive_limit: FrameLimit::MIN,
        max_payload: None,
        rest: Bytes::new(),
        info: AltsAuthInfo::of_peer("peer@example.com"),
    }
}

/// The client's and the server's end of one connection.
fn pair<A, B>(client: A, server: B) -> (AltsStream<A>, AltsStream<B>) {
    (AltsStream::new(client, established(Side::Client)), AltsStream::new(server, established(Side::Server)))
}

/// The same over a pipe that holds `size` bytes each way.
fn piped(size: usize) -> (AltsStream<DuplexStream>, AltsStream<DuplexStream>) {
    let (client, server) = duplex(size);
    pair(client, server)
}

/// The frames that the server would send, one of each payload, also of those that are empty.
fn frames_of_server(payloads: &[&[u8]]) -> Vec<u8> {
    let (mut sealer, _) = key().ends(Side::Server, FrameLimit::MAX, FrameLimit::MAX);
    let mut frames = Vec::new();
    for payload in payloads {
        match payload {
            [] => sealer.seal_empty(&mut frames),
            _ => assert_eq!(sealer.seal(&[IoSlice::new(payload)], &mut frames), Ok(payload.len())),
        }
    }
    frames
}

/// Bytes that differ from place to place.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect()
}

async fn read_all<IO: tokio::io::AsyncRead + Unpin>(stream: &mut AltsStream<IO>) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.expect("the peer ends it cleanly");
    all
}

/// The record error inside `error`, which must be of the kind that goes with it.
fn record_error(error: &std::io::Error) -> &RecordError {
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData, "{error}");
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    inner.expect("a record error is inside")
}
