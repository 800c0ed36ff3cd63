//! Many handshakes at once.

use alts_client::{AltsAcceptor, AltsConnector, Handshaker};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::pair::{TARGET, info, node_of_orders};
use crate::support::node::Node;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_handshakes_of_a_program_with_itself_take_turns_on_few_places() {
    let node = Node::start_with(&node_of_orders(""));
    let [unix, tcp] = node.handshakers();
    for (address, connections, places) in [(unix, 300, 4), (tcp, 30, 1)] {
        let handshaker = Handshaker::builder(&address).timeout(super::pair::TIMEOUT).max_concurrent(places);
        let handshaker = handshaker.build().expect("it is an address");
        let (connector, acceptor) = (AltsConnector::new(handshaker.clone()), AltsAcceptor::new(handshaker));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
        let server = listener.local_addr().expect("it is bound");
        let mut ends = JoinSet::new();
        for _ in 0..connections {
            let connector = connector.clone();
            ends.spawn(async move {
                let io = TcpStream::connect(server).await.expect("it is listening");
                connector.connect(io, TARGET).await
            });
        }
        for _ in 0..connections {
            let (io, _) = listener.accept().await.expect("they connect");
            let acceptor = acceptor.clone();
            ends.spawn(async move { acceptor.accept(io).await });
        }
        let ends = ends.join_all().await;
        assert_eq!(ends.len(), 2 * connections);
        for end in &ends {
            assert_eq!(info(end).peer_service_account(), "orders@x.example");
        }
    }
}
