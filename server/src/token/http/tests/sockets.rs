//! The door on real sockets.

use std::path::PathBuf;

use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    sync::oneshot,
    task::JoinHandle,
};

use super::support::*;
use crate::{
    config::Address,
    listen::{Listener, ListenerLimits},
};

/// A listener that serves until it is told to stop.
struct Served {
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

fn serve(world: &World, listener: Listener, address: &Address, attests: bool) -> Served {
    let limits =
        ListenerLimits { users: None, connections: 4, connections_of_one_user: 3, streams_per_connection: 1 };
    let (stop, stopped) = oneshot::channel();
    let stopped = async { _ = stopped.await };
    let serving = tokio::spawn(listener.serve_http(world.router(address, attests), limits, stopped));
    Served { stop, serving }
}

async fn unix(world: &World) -> (Served, tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("there is room");
    let path = directory.path().join("token.sock");
    let address = Address::Unix { path: path.clone(), mode: 0o600 };
    let listener = Listener::open(&address).expect("it can be opened");
    (serve(world, listener, &address, true), directory, path)
}

async fn tcp(world: &World, attests: bool) -> (Served, std::net::SocketAddr) {
    let listener =
        Listener::open(&Address::parse("127.0.0.1:0").expect("it is one")).expect("there is a port");
    let Listener::Tcp(socket) = &listener else { panic!("it is TCP") };
    let address = socket.local_addr().expect("it is bound");
    (serve(world, listener, &Address::Tcp(address), attests), address)
}

/// Sends text, and reads until the other end closes.
async fn told(mut stream: impl AsyncRead + AsyncWrite + Unpin, text: &str) -> String {
    stream.write_all(text.as_bytes()).await.expect("it is taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it is text");
    answer
}

fn post(more: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST /token HTTP/1.1\r\nHost: localhost\r\n{more}Content-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
}

fn local() -> String {
    form(&[("grant_type", EXCHANGE), ("subject_token", "me"), ("subject_token_type", LOCAL)])
}

fn token_of(answer: &str) -> String {
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").expect("it has a body");
    let body: serde_json::Value = serde_json::from_str(body).expect("it is JSON");
    body["access_token"].as_str().expect("it is text").to_owned()
}

#[tokio::test]
async fn a_program_on_a_unix_socket_gets_tokens_for_itself_and_for_a_jwt() {
    let world = World::new();
    let (_served, _directory, path) = unix(&world).await;
    let connect = async || UnixStream::connect(&path).await.expect("it is served");
    let answer = told(connect().await, &post("Connection: close\r\n", &local())).await;
    let claims = world.claims(&token_of(&answer));
    assert_eq!((&claims["sub"], &claims["client_id"]), (&json!(GATEWAY), &json!(GATEWAY)));

    let jwt = world.idp.token(json!({}));
    let body = form(&[("grant_type", EXCHANGE), ("subject_token", &jwt), ("subject_token_type", JWT)]);
    let answer = told(connect().await, &post("Connection: close\r\n", &body)).await;
    let claims = world.claims(&token_of(&answer));
    assert_eq!((&claims["sub"], &claims["client_id"]), (&json!(ALICE), &json!(GATEWAY)));
}

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other() {
    let world = World::new();
    let (_served, _directory, path) = unix(&world).await;
    let stream = UnixStream::connect(&path).await.expect("it is served");
    let chunked = format!(
        "POST /v1/token HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n{:x}\r\n{}\r\n0\r\n\r\n",
        local().len(),
        local()
    );
    let answers = told(stream, &format!("{}{}{chunked}", post("", &local()), post("", &local()))).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 3, "{answers}");
}

#[tokio::test]
async fn a_program_on_tcp_is_attested_where_the_listener_does_that() {
    let world = World::new();
    for (attests, status) in [(true, "200 OK"), (false, "400 Bad Request")] {
        let (_served, address) = tcp(&world, attests).await;
        let stream = TcpStream::connect(address).await.expect("it is served");
        let answer = told(stream, &post("Connection: close\r\n", &local())).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
        assert!(attests || answer.contains("caller_not_attested"), "{answer}");
    }
}

#[tokio::test]
async fn a_body_without_end_is_cut_off() {
    let world = World::new();
    let (_served, address) = tcp(&world, false).await;
    let mut stream = TcpStream::connect(address).await.expect("it is served");
    let head = "POST /token HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\
                Content-Type: application/json\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("it is taken");
    let (mut reading, mut writing) = stream.into_split();
    let endless = tokio::spawn(async move {
        let piece = format!("1000\r\n{}\r\n", " ".repeat(4_096));
        while writing.write_all(piece.as_bytes()).await.is_ok() {}
    });
    let mut answer = vec![0; 64];
    let length = reading.read(&mut answer).await.expect("it answers");
    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    // It ends because the door has closed the connection.
    endless.await.expect("it ends");
}

#[tokio::test(start_paused = true)]
async fn who_is_silent_is_let_go() {
    let world = World::new();
    let (_served, address) = tcp(&world, false).await;
    let head = "POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    let get = "GET /jwks HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let cases = [
        ("", ""),
        ("POST /tok", ""),
        (head, ""),
        (get, "HTTP/1.1 200 OK"),
        (&*format!("{head}Content-Length: 9\r\n\r\n{{"), "HTTP/1.1 408 Request Timeout"),
    ];
    for (sent, expected) in cases {
        let stream = TcpStream::connect(address).await.expect("it is served");
        let answer = told(stream, sent).await;
        assert_eq!(answer.lines().next().unwrap_or_default(), expected, "{sent}");
    }
}

#[tokio::test]
async fn a_head_too_large_is_refused() {
    let world = World::new();
    let (_served, address) = tcp(&world, false).await;
    let stream = TcpStream::connect(address).await.expect("it is served");
    let answer =
        told(stream, &format!("GET /jwks HTTP/1.1\r\nHost: localhost\r\nX: {}", "x".repeat(40 << 10))).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test]
async fn a_stop_ends_idle_connections_and_lets_answers_be_given() {
    let world = World::new();
    let (served, _directory, path) = unix(&world).await;
    let mut idle = UnixStream::connect(&path).await.expect("it is served");
    idle.write_all(post("", &local()).as_bytes()).await.expect("it is taken");
    // The answer shows that it is being served; its connection is kept open.
    assert_ne!(idle.read(&mut [0; 4_096]).await.expect("it answers"), 0);
    let mut asking = UnixStream::connect(&path).await.expect("it is served");
    let whole = post("", &local());
    let (head, rest) = whole.split_at(whole.len() - 5);
    asking.write_all(head.as_bytes()).await.expect("it is taken");
    // Served after the other one, whose answer is therefore a sign that this one is accepted.
    let other = UnixStream::connect(&path).await.expect("it is served");
    assert!(told(other, &post("Connection: close\r\n", &local())).await.starts_with("HTTP/1.1 200"));
    served.stop.send(()).expect("it is served");
    assert!(told(asking, rest).await.starts_with("HTTP/1.1 200 OK"));
    served.serving.await.expect("it ends");
    assert_eq!(idle.read(&mut [0; 1]).await.expect("it is closed"), 0);
}
