//! A certificate that ends while altsd runs, and what is told of it.

mod support;

use std::time::Duration;

use alts_proto::altsd::certificate::State;
use rcgen::CertificateParams;
use time::OffsetDateTime;
use tokio::time::timeout;
use tonic::{Code, Streaming, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus::{self, NotServing, Serving},
    health_client::HealthClient,
};

use self::support::{
    admin::Certificates,
    daemon::eventually,
    files::{account_of, directory, put, serve},
    handshake::{Begun, Refused, handshake},
    node::Node,
    pki::Pki,
    stream::{CORE, GO, connect},
};

/// How long the certificate holds, in seconds: long enough for the daemon to start with it.
const SHORT: i64 = 8;

/// More than any answer takes, and less than as many handshakes of which each waits in vain.
const PATIENCE: Duration = Duration::from_secs(60);
const MANY: usize = 30;

fn ends_soon(params: &mut CertificateParams) {
    params.serial_number = Some(1.into());
    params.not_after = OffsetDateTime::now_utc() + time::Duration::seconds(SHORT);
}

async fn check(channel: &Channel) -> ServingStatus {
    let asked = HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await;
    asked.expect("it is known").into_inner().status()
}

async fn told(watch: &mut Streaming<HealthCheckResponse>) -> ServingStatus {
    let told = timeout(PATIENCE, watch.message()).await.expect("it is told in time");
    told.expect("it is no error").expect("it goes on").status()
}

/// What a whole handshake of clients of this kind comes to.
async fn refused(node: &Node, agent: &str) -> Option<Refused> {
    let channel = connect(&node.at("s.sock"), agent).await;
    handshake(&channel, &channel, None).await.err()
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_the_end_of_a_certificate_all_is_refused_at_once_until_there_is_a_new_one() {
    let pki = Pki::new();
    let (directory, account) = (directory(&pki, &["cart"]), account_of("cart"));
    put(directory.path(), "cart", &pki.leaf_with(&account, ends_soon));
    let node = serve(directory, &["cart"], "");
    let mut admin = Certificates::of(&node).await;
    let channel = connect(&node.at("s.sock"), CORE).await;
    let service = "grpc.gcp.HandshakerService".to_owned();
    let watch = HealthClient::new(channel.clone()).watch(HealthCheckRequest { service }).await;
    let mut watch = watch.expect("it can be watched").into_inner();
    assert_eq!((check(&channel).await, told(&mut watch).await), (Serving, Serving));
    let begun = Begun::new(&channel, &channel, None).await.expect("it is valid still");
    assert_eq!(refused(&node, CORE).await, None);

    assert_eq!(told(&mut watch).await, NotServing);
    assert_eq!(check(&channel).await, NotServing);
    admin.becomes(&account, State::Expired).await;
    let zero = async || (node.metric("altsd_ready") == Some(0.0)).then_some(());
    eventually("the metric to say so", zero).await;
    let all = async {
        for _ in 0..MANY {
            for (agent, text) in [(CORE, "in band"), (GO, "by the status of the RPC")] {
                let refused = refused(&node, agent).await.expect(text);
                assert_eq!(
                    (refused.code, refused.reason()),
                    (Code::Unavailable, "own_certificate_not_valid")
                );
                assert_eq!(refused.end, "client");
            }
        }
    };
    timeout(PATIENCE, all).await.expect("none of them waits");
    // What has begun in time is for its peer to judge, who allows for clocks that are off.
    begun.finish().await.expect("it keeps what it began with");

    put(node.path(), "cart", &pki.numbered(&account, 2));
    assert_eq!(told(&mut watch).await, Serving);
    assert_eq!(check(&channel).await, Serving);
    admin.renewed(&account, 2).await;
    for agent in [CORE, GO] {
        assert_eq!(refused(&node, agent).await, None);
    }
    let one = async || (node.metric("altsd_ready") == Some(1.0)).then_some(());
    eventually("the metric to say so", one).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_expired_certificate_makes_the_node_not_ready_and_refuses_only_its_own() {
    let pki = Pki::new();
    let names = ["cart", "till"];
    let directory = directory(&pki, &names);
    put(directory.path(), "cart", &pki.leaf_with(&account_of("cart"), ends_soon));
    let node = serve(directory, &names, "");
    let channel = connect(&node.at("s.sock"), GO).await;
    let over = async || (check(&channel).await == NotServing).then_some(());
    eventually("the end of a certificate", over).await;
    for (name, served) in [("cart", false), ("till", true), ("cart", false)] {
        let result = handshake(&channel, &channel, Some(&account_of(name))).await;
        assert_eq!(result.is_ok(), served, "{name}");
    }
}
