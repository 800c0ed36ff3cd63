//! The greeter of client/examples, and the other examples there, over ALTS by a real altsd.

mod bounds;
mod others;
mod refusals;
mod served;
#[path = "../support/mod.rs"]
mod support;

#[allow(dead_code, reason = "its main is for cargo run")]
#[path = "../../../client/examples/greeter_server.rs"]
mod greeter_server;

use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};

use self::{
    greeter_server::helloworld::HelloRequest,
    served::{CART, FRONTEND, Served, connector, greeter, hello},
    support::daemon::Daemon,
};

#[tokio::test]
async fn one_call_is_greeted_by_its_account() {
    let daemon = Daemon::start("");
    let served = Served::start(&daemon).await;
    let reply = greeter(&connector(&daemon), served.address).say_hello(hello("world")).await;
    let message = reply.expect("it is answered").into_inner().message;
    assert_eq!(message, format!("Hello world, you are {FRONTEND}"));
    served.stop().await;
}

#[tokio::test]
async fn both_sides_of_a_stream_speak_in_turn() {
    let daemon = Daemon::start("");
    let served = Served::start(&daemon).await;
    let (requests, receiver) = tokio::sync::mpsc::channel(1);
    let mut greeter = greeter(&connector(&daemon), served.address);
    let replies = greeter.say_hello_stream(ReceiverStream::new(receiver)).await.expect("it opens");
    let mut replies = replies.into_inner();
    for number in 0..100 {
        let name = number.to_string();
        requests.send(HelloRequest { name: name.clone() }).await.expect("it is open");
        let reply = replies.next().await.expect("there is an answer").expect("it is good");
        assert_eq!(reply.message, format!("Hello {name}, you are {FRONTEND}"));
    }
    drop(requests);
    assert!(replies.next().await.is_none(), "the server ends when the client has");
    served.stop().await;
}

#[tokio::test]
async fn many_clients_come_in_side_by_side() {
    let daemon = Daemon::start("");
    let served = Served::start(&daemon).await;
    let connector = connector(&daemon);
    let calls = (0..30).map(|number| {
        let mut greeter = greeter(&connector, served.address);
        async move { greeter.say_hello(hello(&number.to_string())).await }
    });
    for (number, reply) in join_all(calls).await.into_iter().enumerate() {
        let message = reply.expect("it is answered").into_inner().message;
        assert_eq!(message, format!("Hello {number}, you are {FRONTEND}"));
    }
    assert!(served.failures.lock().expect("nobody panics").is_empty());
    served.stop().await;
}

#[tokio::test]
async fn a_client_learns_the_servers_account_before_it_speaks() {
    let daemon = Daemon::start("");
    let served = Served::start(&daemon).await;
    let learned = Arc::new(Mutex::new(Vec::new()));
    let seen = learned.clone();
    let connector = connector(&daemon).target_service_account(CART).authorize(move |server| {
        let accounts = [server.peer_service_account(), server.local_service_account()];
        seen.lock().expect("nobody panics").push(accounts.map(str::to_owned));
        Ok(())
    });
    let mut greeter = greeter(&connector, served.address);
    for _ in 0..2 {
        greeter.say_hello(hello("world")).await.expect("it is answered");
    }
    assert_eq!(*learned.lock().expect("nobody panics"), [[CART, FRONTEND].map(str::to_owned)]);
    served.stop().await;
}

#[tokio::test]
async fn requests_have_the_scheme_and_the_authority_that_grpcs_stacks_send() {
    let daemon = Daemon::start("");
    let (seen, mut uris) = tokio::sync::mpsc::unbounded_channel();
    let served = Served::with(&daemon, |mut setup| {
        setup.server = setup.server.trace_fn(move |request| {
            // The test may have ended.
            let _ = seen.send(request.uri().to_string());
            tracing::Span::none()
        });
        setup
    })
    .await;
    greeter(&connector(&daemon), served.address).say_hello(hello("world")).await.expect("it is answered");
    let expected = format!("https://{}/helloworld.Greeter/SayHello", served.address);
    assert_eq!(uris.recv().await, Some(expected));
    served.stop().await;
}

#[tokio::test]
async fn a_channel_connects_again_to_a_server_that_was_restarted() {
    let daemon = Daemon::start("");
    let served = Served::start(&daemon).await;
    let address = served.address;
    let mut greeter = greeter(&connector(&daemon), address);
    greeter.say_hello(hello("first")).await.expect("it is answered");
    served.stop().await;

    let away = greeter.say_hello(hello("nobody")).await.expect_err("nobody is there");
    assert_eq!(away.code(), tonic::Code::Unavailable, "{away}");

    let served = Served::at(&daemon, address).await;
    let reply = greeter.say_hello(hello("second")).await.expect("it is answered");
    assert_eq!(reply.into_inner().message, format!("Hello second, you are {FRONTEND}"));
    served.stop().await;
}

#[tokio::test]
async fn a_shutdown_lets_calls_finish_and_handshakes_go() {
    let daemon = Daemon::start("");
    let served = Served::start(&daemon).await;
    let (requests, receiver) = tokio::sync::mpsc::channel(1);
    let mut greeter = greeter(&connector(&daemon), served.address);
    let mut replies =
        greeter.say_hello_stream(ReceiverStream::new(receiver)).await.expect("it opens").into_inner();
    let mut idle = served::idle(served.address, b"").await;

    let stopping = tokio::spawn(served.stop());
    served::is_closed(&mut idle).await;
    requests.send(HelloRequest { name: "late".to_owned() }).await.expect("it is open");
    let reply = replies.next().await.expect("there is an answer").expect("it is good");
    assert_eq!(reply.message, format!("Hello late, you are {FRONTEND}"));
    assert!(!stopping.is_finished(), "the call is still open");
    drop(requests);
    assert!(replies.next().await.is_none());
    drop((greeter, replies));
    stopping.await.expect("it ends well");
}
