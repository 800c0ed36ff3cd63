//! What is sent after a handshake, and around its end.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional, duplex},
    sync::oneshot,
};

use super::pair::{CART, FRONTEND, TARGET, connected, meet, programs, tcp};
use crate::support::daemon::Daemon;

#[tokio::test]
async fn both_ends_read_what_the_other_has_written_until_it_shuts_down() {
    let daemon = Daemon::start("");
    let (connector, acceptor) = programs(&daemon);
    let (client, server) = meet(&connector, &acceptor, tcp().await).await;
    let (mut client, mut server) = (connected(client), connected(server));
    let (question, answer) = (vec![1; 300_000], vec![2; 100_000]);
    let asking = async {
        client.write_all(&question).await.expect("the server reads");
        client.shutdown().await.expect("the server reads");
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.expect("the server answers");
        answer
    };
    let answering = async {
        let mut question = Vec::new();
        server.read_to_end(&mut question).await.expect("the client asks");
        server.write_all(&answer).await.expect("the client reads");
        server.shutdown().await.expect("the client reads");
        question
    };
    let (got_answer, got_question) = tokio::join!(asking, answering);
    assert!(got_question == question && got_answer == answer);
}

#[tokio::test]
async fn data_in_one_segment_with_the_end_of_the_handshake_is_not_lost() {
    let daemon = Daemon::start("");
    let (connector, acceptor) = programs(&daemon);
    let (client, mut client_wire) = duplex(1 << 16);
    let (mut server_wire, server) = duplex(1 << 16);
    let (has_written, was_written) = oneshot::channel();
    let client = async {
        let mut client = connected(connector.connect(client, TARGET).await);
        assert_eq!(client.auth_info().peer_service_account(), CART);
        client.write_all(b"hello").await.expect("there is room");
        client.flush().await.expect("there is room");
        has_written.send(()).expect("the wire is there");
        let mut answer = [0; 3];
        client.read_exact(&mut answer).await.expect("the server answers");
        assert_eq!(&answer, b"bye");
    };
    let server = async {
        let mut server = connected(acceptor.accept(server).await);
        assert_eq!(server.auth_info().peer_service_account(), FRONTEND);
        let mut hello = [0; 5];
        server.read_exact(&mut hello).await.expect("the client speaks");
        assert_eq!(&hello, b"hello");
        server.write_all(b"bye").await.expect("the client reads");
        server.flush().await.expect("the client reads");
    };
    let wire = async {
        let mut bytes = vec![0; 1 << 16];
        let init = client_wire.read(&mut bytes).await.expect("the client begins");
        server_wire.write_all(&bytes[..init]).await.expect("there is room");
        let flight = server_wire.read(&mut bytes).await.expect("the server answers");
        client_wire.write_all(&bytes[..flight]).await.expect("there is room");
        was_written.await.expect("the client writes");
        let end_and_data = client_wire.read(&mut bytes).await.expect("it is written");
        server_wire.write_all(&bytes[..end_and_data]).await.expect("there is room");
        // Until both ends are gone.
        let _ = copy_bidirectional(&mut client_wire, &mut server_wire).await;
    };
    tokio::join!(client, server, wire);
}
