//! Revocations of tokens, over a real socket, a real store and a real ledger.

use std::sync::Arc;

use alts_proto::{
    Timestamp,
    altsd::{self as api, ResourceState, TokenRevocation, token_revocation::Revoked},
};
use alts_store::{Expected, MemoryStore, Store};
use tonic::Code::{Aborted, AlreadyExists, FailedPrecondition, InvalidArgument, NotFound};

use super::{
    NOW,
    world::{World, refused},
};
use crate::token::parts::{Ledger as _, RevokedBy};

const ISS: &str = "https://tokens.example.com";

fn of(revoked: Revoked) -> TokenRevocation {
    let (issuer, reason) = (ISS.to_owned(), "it is lost".to_owned());
    TokenRevocation { issuer, revoked: Some(revoked), reason, ..TokenRevocation::default() }
}

fn token(id: &str) -> TokenRevocation {
    of(Revoked::TokenId(id.to_owned()))
}

fn subject(sub: &str) -> TokenRevocation {
    of(Revoked::Subject(sub.to_owned()))
}

fn until(seconds: u64, revocation: TokenRevocation) -> TokenRevocation {
    let expire_time = Some(Timestamp { seconds: seconds as i64, nanos: 0 });
    TokenRevocation { expire_time, ..revocation }
}

fn create(revocation: TokenRevocation) -> api::CreateTokenRevocationRequest {
    api::CreateTokenRevocationRequest { token_revocation: Some(revocation), allow_existing: false }
}

fn replace(revocation: TokenRevocation) -> api::CreateTokenRevocationRequest {
    api::CreateTokenRevocationRequest { allow_existing: true, ..create(revocation) }
}

fn delete(name: &str, revision: i64, allow_missing: bool) -> api::DeleteTokenRevocationRequest {
    api::DeleteTokenRevocationRequest { name: name.to_owned(), revision, allow_missing }
}

async fn world() -> (World, Arc<dyn Store>) {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    (World::of(Some(store.clone())).await, store)
}

fn revoked(world: &World, id: &str, sub: &str) -> Option<RevokedBy> {
    world.ledger.revoked(ISS, Some(id), sub).expect("the store is there")
}

#[tokio::test]
async fn what_is_revoked_is_refused_when_the_answer_comes_and_counts_again_when_it_is_taken_back() {
    let (world, _) = world().await;
    let mut client = world.token_revocations();
    for (revocation, collection, by) in [
        (until(NOW + 600, token("j")), "token-revocations/tokens/", RevokedBy::Token),
        (subject("s"), "token-revocations/subjects/", RevokedBy::Subject),
    ] {
        assert_eq!(revoked(&world, "j", "s"), None);
        let created = client.create_token_revocation(create(revocation.clone())).await;
        let created = created.expect("it is good").into_inner();
        assert_eq!(revoked(&world, "j", "s"), Some(by));
        assert!(created.name.starts_with(collection), "{}", created.name);
        let expected = TokenRevocation {
            name: created.name.clone(),
            create_time: Some(Timestamp { seconds: NOW as i64, nanos: 0 }),
            state: ResourceState::Active.into(),
            revision: created.revision,
            uid: Some(nix::unistd::geteuid().as_raw()),
            ..revocation
        };
        assert_eq!(created, expected);
        let listed = client.list_token_revocations(api::ListTokenRevocationsRequest::default()).await;
        assert_eq!(
            listed.expect("it answers").into_inner().token_revocations,
            std::slice::from_ref(&created)
        );
        let deleted = client.delete_token_revocation(delete(&created.name, created.revision, false)).await;
        assert!(deleted.expect("it is there").into_inner().applied);
    }
    assert_eq!(revoked(&world, "j", "s"), None);
}

#[tokio::test]
async fn what_is_of_tokens_is_nothing_foreign_to_the_policy_and_its_changes_do_not_hold_that_up() {
    let (world, store) = world().await;
    let mut client = world.token_revocations();
    client.create_token_revocation(create(token("j"))).await.expect("it is good");
    for key in ["token-keys/a", "token-uses/b", "token-revocations/c"] {
        store.put(key, "x".into(), Expected::Absent).await.expect("there is room");
    }
    let list = api::PeerList { peers: vec!["a@b.example".to_owned()], ..api::PeerList::default() };
    let request = api::CreatePeerListRequest { peer_list_id: "l".to_owned(), peer_list: Some(list) };
    let created = world.policy().create_peer_list(request).await.expect("it is good").into_inner();
    assert_eq!(created.state(), ResourceState::Active);
    let last = store.put("token-uses/d", "x".into(), Expected::Absent).await.expect("there is room");
    assert!(world.ledger.applied(last, std::time::Duration::from_secs(60)).await);
    // To delete what is not there answers the last revision, whoever made it.
    let none = api::DeleteRevocationRequest {
        name: "revocations/accounts/a@b.example".to_owned(),
        revision: 0,
        allow_missing: true,
    };
    world.revocations().delete_revocation(none).await.expect("it is allowed");
    let status =
        world.node().get_status(api::GetStatusRequest::default()).await.expect("it answers").into_inner();
    let text = format!("{status:?}");
    assert!(!text.contains("foreign_keys: 1") && !text.contains("foreign_keys: 2"), "{text}");
}

#[tokio::test]
async fn what_cannot_be_revoked_is_refused_and_nothing_is_kept() {
    let (world, store) = world().await;
    let mut client = world.token_revocations();
    let good = || token("j");
    let at = |seconds, nanos| TokenRevocation { expire_time: Some(Timestamp { seconds, nanos }), ..good() };
    for (revocation, reason) in [
        (TokenRevocation { revoked: None, ..good() }, "field_missing"),
        (TokenRevocation { issuer: String::new(), ..good() }, "field_missing"),
        (token(""), "field_missing"),
        (subject(""), "field_missing"),
        (token("a\0b"), "text_unprintable"),
        (subject(&"x".repeat(2_049)), "text_too_long"),
        (TokenRevocation { reason: String::new(), ..good() }, "reason_missing"),
        (TokenRevocation { reason: "x".repeat(513), ..good() }, "text_too_long"),
        (until(NOW - 61, good()), "ends_before_it_begins"),
        (until(NOW, subject("s")), "ends_before_it_begins"),
        (at(-1, 0), "expire_time_invalid"),
        (at(NOW as i64 + 9, 1_000_000_000), "expire_time_invalid"),
    ] {
        refused(client.create_token_revocation(create(revocation)).await, InvalidArgument, reason);
    }
    let request = api::CreateTokenRevocationRequest::default();
    refused(client.create_token_revocation(request).await, InvalidArgument, "field_missing");
    assert!(store.list("").await.expect("it answers").entries.is_empty());
    let alone = World::of(None).await;
    let mut client = alone.token_revocations();
    refused(client.create_token_revocation(create(good())).await, FailedPrecondition, "store_missing");
    let request = api::ListTokenRevocationsRequest::default();
    refused(client.list_token_revocations(request).await, FailedPrecondition, "store_missing");
}

#[tokio::test]
async fn there_is_one_of_each_which_can_be_replaced_and_one_that_has_ended_makes_room() {
    let (world, store) = world().await;
    let mut client = world.token_revocations();
    let first = client.create_token_revocation(create(token("j"))).await.expect("it is good").into_inner();
    let status =
        refused(client.create_token_revocation(create(token("j"))).await, AlreadyExists, "revocation_exists");
    assert!(status.contains("--replace"), "{status}");
    let asked = replace(until(NOW + 9, TokenRevocation { reason: "b".to_owned(), ..token("j") }));
    let changed = client.create_token_revocation(asked).await.expect("it may").into_inner();
    assert_eq!((&*changed.reason, changed.expire_time.map(|end| end.seconds)), ("b", Some(NOW as i64 + 9)));
    assert_eq!(changed.revision, first.revision + 1);

    let old = format!(
        "{{\"schema\":1,\"value\":{{\"issuer\":\"{ISS}\",\"revoked\":{{\"token\":\"j\"}},\"create_time\":1,\"expire_time\":{}}}}}",
        NOW - 61
    );
    store.put(&first.name, old.into(), Expected::Anything).await.expect("there is room");
    let request = api::ListTokenRevocationsRequest::default();
    let listed = client.list_token_revocations(request).await.expect("it answers").into_inner();
    assert_eq!(listed.token_revocations[0].state(), ResourceState::Expired);
    client.create_token_revocation(create(token("j"))).await.expect("it has ended");
    assert_eq!(revoked(&world, "j", "s"), Some(RevokedBy::Token));
}

#[tokio::test]
async fn what_is_not_there_is_not_found_and_what_cannot_be_read_is_shown_and_can_go() {
    let (world, store) = world().await;
    let mut client = world.token_revocations();
    let hash = "ab".repeat(32);
    let name = format!("token-revocations/subjects/{hash}");
    refused(client.delete_token_revocation(delete(&name, 0, false)).await, NotFound, "revocation_unknown");
    refused(client.delete_token_revocation(delete(&name, 4, true)).await, Aborted, "revision_conflict");
    client.delete_token_revocation(delete(&name, 0, true)).await.expect("it is allowed");
    for name in
        ["", "j", "token-revocations/", &name[..name.len() - 1], &name.to_uppercase(), "revocations/keys/00"]
    {
        refused(client.delete_token_revocation(delete(name, 0, true)).await, InvalidArgument, "name_invalid");
    }

    store.put(&name, "{".into(), Expected::Absent).await.expect("there is room");
    let request = api::ListTokenRevocationsRequest::default();
    let all = client.list_token_revocations(request).await.expect("it answers").into_inner();
    let shown: Vec<_> = all.token_revocations.iter().map(|shown| (&*shown.name, shown.state())).collect();
    assert_eq!(shown, [(&*name, ResourceState::Unreadable)]);
    client.delete_token_revocation(delete(&name, 0, false)).await.expect("it goes");
    assert!(store.list("").await.expect("it answers").entries.is_empty());
}

#[tokio::test]
async fn pages_together_are_all_revocations() {
    let (world, _) = world().await;
    let mut client = world.token_revocations();
    let mut expected = Vec::new();
    for number in 0..5 {
        let revocation =
            if number % 2 == 0 { token(&number.to_string()) } else { subject(&number.to_string()) };
        let created = client.create_token_revocation(create(revocation)).await.expect("it is good");
        expected.push(created.into_inner().name);
    }
    expected.sort();
    let (mut names, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = api::ListTokenRevocationsRequest { page_size: 2, page_token };
        let page = client.list_token_revocations(request).await.expect("it is a page").into_inner();
        names.extend(page.token_revocations.into_iter().map(|revocation| revocation.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(names, expected);
    for token in ["a", "token-revocations/", "token-revocations/tokens/00"] {
        let request = api::ListTokenRevocationsRequest { page_size: 0, page_token: token.to_owned() };
        refused(client.list_token_revocations(request).await, InvalidArgument, "page_token_invalid");
    }
}
