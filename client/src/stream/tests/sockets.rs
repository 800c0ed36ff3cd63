//! Over sockets of the system.

use std::os::fd::{AsFd, AsRawFd};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream, UnixStream},
};

use super::*;

async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback is there");
    let address = listener.local_addr().expect("it is bound");
    let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
    (client.expect("it listens"), server.expect("one connects").0)
}

fn unix() -> (UnixStream, UnixStream) {
    UnixStream::pair().expect("the system makes pairs")
}

/// Sends `data` each way at once and compares; both ends shut down.
async fn exchange<A, B>((client, server): (AltsStream<A>, AltsStream<B>), data: &[u8])
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    async fn send<W: AsyncWrite + Unpin>(to: &mut W, data: &[u8]) -> std::io::Result<()> {
        to.write_all(data).await?;
        to.shutdown().await
    }
    let (mut client, mut server) = (tokio::io::split(client), tokio::io::split(server));
    let (mut there, mut back) = (Vec::new(), Vec::new());
    let results = tokio::join!(
        send(&mut client.1, data),
        send(&mut server.1, data),
        server.0.read_to_end(&mut there),
        client.0.read_to_end(&mut back),
    );
    assert!(results.0.is_ok() && results.1.is_ok(), "{results:?}");
    assert!(results.2.is_ok() && results.3.is_ok(), "{results:?}");
    assert!(there == data && back == data);
}

#[tokio::test]
async fn megabytes_pass_both_ways_over_tcp_and_unix_sockets() {
    let data = pattern(3 << 20);
    let (client, server) = tcp().await;
    exchange(pair(client, server), &data).await;
    let (client, server) = unix();
    exchange(pair(client, server), &data).await;
}

#[tokio::test]
async fn a_relay_carries_megabytes_past_a_change_of_keys() {
    let small = |side| Established { max_payload: Some(48), ..established(side) };
    // More than 65,536 frames each way, on both sides of the relay.
    let data = pattern(65_700 * 48);
    let (client, relay_in) = tcp().await;
    let (relay_out, server) = unix();
    let mut relay_in = AltsStream::new(relay_in, small(Side::Server));
    let mut relay_out = AltsStream::new(relay_out, small(Side::Client));
    let ends = (AltsStream::new(client, small(Side::Client)), AltsStream::new(server, small(Side::Server)));
    let (relayed, ()) =
        tokio::join!(copy_bidirectional(&mut relay_in, &mut relay_out), exchange(ends, &data));
    assert_eq!(relayed.ok(), Some((data.len() as u64, data.len() as u64)));
    for (name, frames) in [
        ("in, sent", relay_in.frames_sent()),
        ("in, received", relay_in.frames_received()),
        ("out, sent", relay_out.frames_sent()),
        ("out, received", relay_out.frames_received()),
    ] {
        assert!(frames > 65_600, "{name}: {frames}");
    }
}

#[tokio::test]
async fn the_descriptor_is_that_of_the_socket() {
    let (client, _server) = unix();
    let number = client.as_raw_fd();
    let stream = AltsStream::new(client, established(Side::Client));
    assert_eq!((stream.as_raw_fd(), stream.as_fd().as_raw_fd()), (number, number));
}
