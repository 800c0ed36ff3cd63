//! Who is refused, and what the user of a channel reads.

use std::error::Error;

use alts_client::{AllowedPeers, ConnectError};
use tokio::net::TcpListener;
use tonic::{Code, Status};

use super::{
    served::{CART, FRONTEND, Served, address_of, connector, greeter, hello},
    support::daemon::{Daemon, eventually},
};

#[tokio::test]
async fn who_is_not_on_the_list_is_denied() {
    let daemon = Daemon::start("");
    let lists: [&[&str]; 4] = [&[], &[CART], &["Frontend@prod.example"], &["frontend@prod.example.com", "*"]];
    for list in lists {
        let served = Served::with(&daemon, |mut setup| {
            setup.allowed = AllowedPeers::new(list.iter().copied());
            setup
        })
        .await;
        let status = refused(&daemon, &served).await;
        assert_eq!(status.code(), Code::PermissionDenied, "{list:?}");
        assert_eq!(status.message(), format!("{FRONTEND:?} may not call this service"));
        served.stop().await;
    }
}

#[tokio::test]
async fn a_server_of_another_account_is_not_spoken_to() {
    let daemon = Daemon::start("");
    let served = Served::start(&daemon).await;
    let connector = connector(&daemon).target_service_account("orders@prod.example");
    let status = greeter(&connector, served.address).say_hello(hello("world")).await.expect_err("refused");
    says(&status, &served.address.to_string(), &["orders@prod.example"]);
    served.stop().await;
}

#[tokio::test]
async fn a_server_that_the_programs_judge_refuses_is_not_spoken_to() {
    let daemon = Daemon::start("");
    let served = Served::start(&daemon).await;
    let connector = connector(&daemon).authorize(|_| Err("not on a Saturday".to_owned()));
    let status = greeter(&connector, served.address).say_hello(hello("world")).await.expect_err("refused");
    says(&status, &served.address.to_string(), &["not on a Saturday"]);
    served.stop().await;
}

#[tokio::test]
async fn a_client_that_the_servers_judge_refuses_is_not_served() {
    let daemon = Daemon::start("");
    let served = Served::with(&daemon, |mut setup| {
        setup.acceptor = setup.acceptor.authorize(|peer| match peer.peer_service_account() {
            FRONTEND => Err("the frontend is shut out".to_owned()),
            _ => Ok(()),
        });
        setup
    })
    .await;
    // Its own handshake was good: it only finds the connection closed.
    let status = refused(&daemon, &served).await;
    let text = format!("{status} {status:?}");
    assert!(text.contains(&format!("it may not accept {FRONTEND}, its log says why")), "{text}");
    assert!(!text.contains("shut out"), "the reason is the server's alone: {text}");
    let (_, code) = eventually("the server to tell why", async || {
        served.failures.lock().expect("nobody panics").first().cloned()
    })
    .await;
    assert_eq!(code, "not_authorized");
    served.stop().await;
}

#[tokio::test]
async fn a_server_that_is_away_is_named() {
    let daemon = Daemon::start("");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is an address");
    let address = listener.local_addr().expect("it has one");
    drop(listener);
    let status = greeter(&connector(&daemon), address).say_hello(hello("world")).await.expect_err("away");
    assert_eq!(status.code(), Code::Unavailable);
    let expected =
        format!("no connection to {address}: tcp connect error: Connection refused (os error 111)");
    assert_eq!(status.message(), expected);
    assert_eq!(cause(&status).expect("it is in the chain").code(), "transport_failed");
}

#[tokio::test]
async fn a_handshaker_that_is_away_is_named() {
    let mut daemon = Daemon::start("");
    let served = Served::start(&daemon).await;
    let (connector, handshaker) = (connector(&daemon), address_of(&daemon, "frontend"));
    daemon.stop();
    let status = greeter(&connector, served.address).say_hello(hello("world")).await.expect_err("away");
    says(&status, &served.address.to_string(), &["handshaker", &handshaker]);
    served.stop().await;
}

#[tokio::test]
async fn a_server_that_does_not_speak_alts_is_named() {
    let daemon = Daemon::start("");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is an address");
    let address = listener.local_addr().expect("it has one");
    let server = tokio::spawn(async move {
        let (mut peer, _) = listener.accept().await.expect("it is called");
        tokio::io::AsyncWriteExt::write_all(&mut peer, b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .expect("it reads");
        peer
    });
    let status = greeter(&connector(&daemon), address).say_hello(hello("world")).await.expect_err("no ALTS");
    says(&status, &address.to_string(), &[]);
    drop(server.await.expect("it does not panic"));
}

async fn refused(daemon: &Daemon, served: &Served) -> Status {
    greeter(&connector(daemon), served.address).say_hello(hello("world")).await.expect_err("refused")
}

/// A handshake that failed with this server: the status names it and says all of this, and has its cause.
fn says(status: &Status, server: &str, parts: &[&str]) {
    println!("{status}");
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    let begins = format!("no ALTS with {server}: ");
    assert!(status.message().starts_with(&begins), "{status}");
    for part in parts {
        assert!(status.message().contains(part), "{part} in {status}");
    }
    assert!(matches!(cause(status), Some(ConnectError::Handshake { .. })), "{status:?}");
}

/// What the connector said, for a program that wants more than a text.
fn cause(status: &Status) -> Option<&ConnectError> {
    let mut next = status.source();
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}
