//! The status of a node, and what reflection tells of its services.

use std::sync::Arc;

use alts_proto::altsd::{self as api, node_status::State, rule};
use alts_store::{Expected, MemoryStore, Store};
use prost::Message;
use prost_types::FileDescriptorProto;
use tokio_stream::StreamExt;
use tonic::Code;
use tonic_reflection::pb::{v1, v1alpha};

use super::{NOBODY, channel_over, connect_as_nobody, world::World};

#[tokio::test]
async fn a_status_says_what_is_decided_by_and_what_is_wrong() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let document = "[[peer_list]]\nname = 'shops'\npeers = ['a@x.example', 'b@x.example']\n\
                    [[rule]]\nname = 'r'\nlocal = '*'\nside = 'server'\naction = 'allow'\nmode = 'shadow'\npeers = ['*']\n";
    let world = World::with(Some(store.clone()), document).await;
    let mut client = world.node();
    let status = client.get_status(api::GetStatusRequest {}).await.expect("it answers").into_inner();
    assert_eq!((status.state(), status.reasons), (State::Ready, vec![]));
    assert_eq!((&*status.version, status.handshakes_in_progress), (env!("CARGO_PKG_VERSION"), 2));
    let policy = status.policy.expect("it has one");
    assert_eq!(policy.default_action(), rule::Action::Deny);
    assert_eq!((policy.peer_lists, policy.peers, policy.rules, policy.shadow_rules), (1, 3, 1, 1));
    assert_eq!(policy.files[0].path, world.directory.path().join("peers.toml").display().to_string());
    let kept = status.store.expect("there is one");
    assert_eq!((&*kept.engine, kept.connected), ("memory", true));
    assert_eq!(status.listeners[0].address, "unix:/h");

    store.put("rules/bad", "{".into(), Expected::Absent).await.expect("there is room");
    // A write over the API waits for all that was written before it.
    let request = api::CreatePeerListRequest {
        peer_list_id: "a".to_owned(),
        peer_list: Some(api::PeerList::default()),
    };
    world.policy().create_peer_list(request).await.expect("it is good");
    let status = client.get_status(api::GetStatusRequest {}).await.expect("it answers").into_inner();
    assert_eq!((status.state(), &*status.reasons[0].code), (State::Degraded, "policy_problem"));
    let policy = status.policy.expect("it has one");
    assert_eq!(policy.problem_count, 1);
    assert!(policy.problems[0].contains("rule bad cannot be read"), "{:?}", policy.problems);
}

#[tokio::test]
async fn reflection_tells_of_the_services_and_their_files() {
    let world = World::of(None).await;
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(world.channel.clone());
    let mut ask = async |question| {
        let request = v1::ServerReflectionRequest { host: String::new(), message_request: Some(question) };
        let mut answers = client
            .server_reflection_info(tokio_stream::once(request))
            .await
            .expect("it answers")
            .into_inner();
        answers.next().await.expect("there is one").expect("it is good").message_response.expect("it is one")
    };
    use v1::{server_reflection_request::MessageRequest, server_reflection_response::MessageResponse};
    let MessageResponse::ListServicesResponse(list) = ask(MessageRequest::ListServices(String::new())).await
    else {
        panic!("it is a list")
    };
    let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    names.sort();
    assert_eq!(
        names,
        ["Audit", "Certificates", "Node", "Policy", "Revocations", "SigningKeys", "TokenRevocations"]
            .map(|name| format!("altsd.v1.{name}"))
    );

    for symbol in [
        "altsd.v1.Policy",
        "altsd.v1.PeerList",
        "altsd.v1.Revocations.CreateRevocation",
        "google.protobuf.FieldMask",
    ] {
        let answer = ask(MessageRequest::FileContainingSymbol(symbol.to_owned())).await;
        let MessageResponse::FileDescriptorResponse(found) = answer else { panic!("{symbol}: {answer:?}") };
        let file = FileDescriptorProto::decode(&*found.file_descriptor_proto[0]).expect("it is one");
        // Whatever it imports is there too.
        for import in file.dependency {
            let answer = ask(MessageRequest::FileByFilename(import.clone())).await;
            assert!(matches!(answer, MessageResponse::FileDescriptorResponse(_)), "{import}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn reflection_of_the_older_version_is_there_too() {
    let world = World::of(None).await;
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(world.channel.clone());
    let question =
        v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol("altsd.v1.Node".to_owned());
    let request = v1alpha::ServerReflectionRequest { host: String::new(), message_request: Some(question) };
    let mut answers =
        client.server_reflection_info(tokio_stream::once(request)).await.expect("it answers").into_inner();
    let answer = answers.next().await.expect("there is one").expect("it is good").message_response;
    use v1alpha::server_reflection_response::MessageResponse::FileDescriptorResponse;
    assert!(matches!(answer, Some(FileDescriptorResponse(_))), "{answer:?}");
}

#[tokio::test]
async fn every_new_service_asks_who_sends_a_request() {
    let admin = super::open_to_all(super::nobody_else()).await;
    let Some(foreign) = connect_as_nobody(&admin) else { return };
    let (channel, relay) = channel_over(&admin, foreign).await;
    assert_ne!(NOBODY, 0);
    let denied = |status: tonic::Status| assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    use api::{node_client::NodeClient, policy_client::PolicyClient, revocations_client::RevocationsClient};
    denied(NodeClient::new(channel.clone()).get_status(api::GetStatusRequest {}).await.expect_err("status"));
    let list = api::ListRulesRequest::default();
    denied(PolicyClient::new(channel.clone()).list_rules(list).await.expect_err("policy"));
    let list = api::ListRevocationsRequest::default();
    denied(RevocationsClient::new(channel.clone()).list_revocations(list).await.expect_err("revocations"));
    let list = api::ListTokenRevocationsRequest::default();
    let mut tokens = api::token_revocations_client::TokenRevocationsClient::new(channel.clone());
    denied(tokens.list_token_revocations(list).await.expect_err("token revocations"));
    let rotate = api::RotateSigningKeyRequest { emergency: true };
    let mut keys = api::signing_keys_client::SigningKeysClient::new(channel.clone());
    denied(keys.rotate_signing_key(rotate).await.expect_err("signing keys"));
    let mut reflection = v1::server_reflection_client::ServerReflectionClient::new(channel);
    let none = tokio_stream::empty::<v1::ServerReflectionRequest>();
    denied(reflection.server_reflection_info(none).await.expect_err("reflection"));
    relay.abort();
}
