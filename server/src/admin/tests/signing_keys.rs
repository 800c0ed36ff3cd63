//! The service of signing keys, over a real socket and real keys.

use alts_proto::altsd::{
    ListSigningKeysRequest, RetireSigningKeyRequest, RotateSigningKeyRequest, signing_key::State as Shown,
};

use super::{
    keys_world::KeysWorld,
    world::{World, refused},
    *,
};
use crate::token::keys::State;

fn list(page_size: i32, page_token: &str) -> ListSigningKeysRequest {
    ListSigningKeysRequest { page_size, page_token: page_token.to_owned() }
}

fn retire(name: impl Into<String>) -> RetireSigningKeyRequest {
    RetireSigningKeyRequest { name: name.into() }
}

#[tokio::test]
async fn keys_are_listed_with_their_dates_in_pages() {
    let world = KeysWorld::new().await;
    let active = world.signing();
    world
        .client()
        .rotate_signing_key(RotateSigningKeyRequest { emergency: false })
        .await
        .expect("it is done");
    let all = world.client().list_signing_keys(list(0, "")).await.expect("it is allowed").into_inner();
    assert_eq!((all.signing_keys.len(), &*all.problem, all.verifier_cache_seconds), (2, "", 1_200));
    let key = all.signing_keys.iter().find(|key| key.key_id == active).expect("it is listed");
    assert_eq!((key.state(), key.own, &*key.node, &*key.algorithm), (Shown::Active, true, "a", "ES256"));
    assert_eq!(key.name, format!("signing-keys/{active}"));
    assert!(key.publish_time.is_some() && key.sign_time.is_some() && key.delete_time.is_none());
    let next = all.signing_keys.iter().find(|key| key.state() == Shown::Next).expect("it is listed");
    assert_eq!(next.sign_time.map(|time| time.seconds), Some(NOW as i64 + 1_800));
    let first = world.client().list_signing_keys(list(1, "")).await.expect("it is allowed").into_inner();
    let rest =
        world.client().list_signing_keys(list(1, &first.next_page_token)).await.expect("it is allowed");
    assert_eq!([first.signing_keys, rest.into_inner().signing_keys].concat(), all.signing_keys);
}

#[tokio::test]
async fn an_emergency_tells_what_is_withdrawn_and_how_long_verifiers_believe_it() {
    let world = KeysWorld::new().await;
    let old = world.signing();
    let changed = world.client().rotate_signing_key(RotateSigningKeyRequest { emergency: true }).await;
    let changed = changed.expect("it is done").into_inner();
    assert_eq!(changed.signing_key.expect("there is one").key_id, world.signing());
    assert_eq!((changed.withdrawn[0].key_id.clone(), changed.verifier_cache_seconds), (old.clone(), 1_200));
    assert_eq!(world.of_state(State::Withdrawn), [old]);
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_with_its_reason() {
    let world = KeysWorld::new().await;
    let mut client = world.client();
    refused(client.retire_signing_key(retire("signing-keys/x")).await, Code::NotFound, "signing_key_unknown");
    let long = format!("signing-keys/{}", "x".repeat(257));
    for name in ["", "x", "signing-keys/", "signing-keys/a/b", "signing-keys/é", &long] {
        let text =
            refused(client.retire_signing_key(retire(name)).await, Code::InvalidArgument, "name_invalid");
        assert!(text.contains("altsd keys list"), "{text}");
    }
    refused(client.list_signing_keys(list(-1, "")).await, Code::InvalidArgument, "page_size_invalid");
    refused(client.list_signing_keys(list(0, "x")).await, Code::InvalidArgument, "page_token_invalid");
}

#[tokio::test]
async fn a_node_without_a_token_door_has_no_keys() {
    let world = World::of(None).await;
    let mut client = alts_proto::altsd::signing_keys_client::SigningKeysClient::new(world.channel.clone());
    let text =
        refused(client.list_signing_keys(list(0, "")).await, Code::FailedPrecondition, "token_door_shut");
    assert!(text.contains("[token]"), "{text}");
    refused(client.retire_signing_key(retire("x")).await, Code::FailedPrecondition, "token_door_shut");
    let rotate = RotateSigningKeyRequest { emergency: true };
    refused(client.rotate_signing_key(rotate).await, Code::FailedPrecondition, "token_door_shut");
}
