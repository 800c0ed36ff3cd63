//! Revocations, over a real socket, a real store and a real verifier.

use std::sync::Arc;

use alts_proto::{
    Timestamp,
    altsd::{self as api, ResourceState, Revocation, RevokedCertificate, revocation::Subject, rule},
};
use alts_store::{Expected, MemoryStore, Store};
use tonic::Code::{Aborted, AlreadyExists, FailedPrecondition, InvalidArgument, NotFound};

use super::{
    NOW,
    world::{World, refused},
};

const ALLOW: &str = "[[rule]]\nname = 'all'\nlocal = '*'\nside = 'server'\naction = 'allow'\npeers = ['*']\n";

fn of(subject: Subject) -> Revocation {
    Revocation { subject: Some(subject), reason: "it is lost".to_owned(), ..Revocation::default() }
}

fn account(name: &str) -> Revocation {
    of(Subject::Account(name.to_owned()))
}

fn certificate(issuer: &str, serial: &str) -> Revocation {
    of(Subject::Certificate(RevokedCertificate {
        issuer: issuer.to_owned(),
        serial_number: serial.to_owned(),
    }))
}

fn create(revocation: Revocation) -> api::CreateRevocationRequest {
    api::CreateRevocationRequest { revocation: Some(revocation), allow_existing: false }
}

fn replace(revocation: Revocation) -> api::CreateRevocationRequest {
    api::CreateRevocationRequest { allow_existing: true, ..create(revocation) }
}

fn until(seconds: i64, nanos: i32, revocation: Revocation) -> Revocation {
    Revocation { expire_time: Some(Timestamp { seconds, nanos }), ..revocation }
}

fn delete(name: &str, revision: i64, allow_missing: bool) -> api::DeleteRevocationRequest {
    api::DeleteRevocationRequest { name: name.to_owned(), revision, allow_missing }
}

async fn world() -> (World, Arc<dyn Store>) {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    (World::with(Some(store.clone()), ALLOW).await, store)
}

async fn reason_of(world: &World, certificate: api::CheckedCertificate) -> String {
    let request = api::CheckPeerRequest {
        local: "orders@x.example".to_owned(),
        peer: "web@x.example".to_owned(),
        side: rule::Side::Server.into(),
        certificates: vec![certificate],
        ..Default::default()
    };
    world.policy().check_peer(request).await.expect("it can be said").into_inner().reason
}

#[tokio::test]
async fn whatever_is_revoked_is_refused_when_the_answer_comes_and_admitted_when_it_is_taken_back() {
    let (world, _) = world().await;
    let mut client = world.revocations();
    let checked = || api::CheckedCertificate {
        issuer: "CN=root".to_owned(),
        serial_number: "0A1B".to_owned(),
        sha256_key_fingerprint: "ab".repeat(32),
        ..Default::default()
    };
    assert_eq!(reason_of(&world, checked()).await, "allowed_by_rule");
    for (revocation, prefix, reason) in [
        (account("web@X.example"), "revocations/accounts/web@x.example", "revoked_account"),
        (certificate("CN=root", "0a:1b"), "revocations/certificates/", "revoked_certificate"),
        (of(Subject::KeySha256("AB".repeat(32))), "revocations/keys/abab", "revoked_key"),
    ] {
        let created = client.create_revocation(create(revocation)).await.expect("it is good").into_inner();
        assert!(created.name.starts_with(prefix), "{}", created.name);
        assert_eq!(
            (created.state(), created.create_time),
            (ResourceState::Active, Some(Timestamp { seconds: NOW as i64, nanos: 0 }))
        );
        assert_eq!(reason_of(&world, checked()).await, reason);
        let request = api::GetRevocationRequest { name: created.name.clone() };
        assert_eq!(client.get_revocation(request).await.expect("it is there").into_inner(), created);
        let deleted = client.delete_revocation(delete(&created.name, created.revision, false)).await;
        assert!(deleted.expect("it is there").into_inner().applied);
        assert_eq!(reason_of(&world, checked()).await, "allowed_by_rule");
    }
}

#[tokio::test]
async fn what_cannot_be_revoked_is_refused_and_nothing_is_kept() {
    let (world, store) = world().await;
    let mut client = world.revocations();
    let now = NOW as i64;
    let good = || account("web@x.example");
    for (revocation, reason) in [
        (Revocation { subject: None, ..good() }, "field_missing"),
        (account("*@x.example"), "account_invalid"),
        (certificate("", "0a"), "issuer_invalid"),
        (certificate(" CN=root", "0a"), "issuer_invalid"),
        (certificate("CN=root", ""), "serial_invalid"),
        (certificate("CN=root", "xyz"), "serial_invalid"),
        (of(Subject::KeySha256("00".to_owned())), "sha256_invalid"),
        (Revocation { reason: " ".to_owned(), ..good() }, "reason_missing"),
        (Revocation { reason: "a\nb".to_owned(), ..good() }, "text_unprintable"),
        (Revocation { reason: "x".repeat(513), ..good() }, "text_too_long"),
        (until(now, 0, good()), "ends_before_it_begins"),
        (until(-1, 0, good()), "expire_time_invalid"),
        (until(now + 9, -1, good()), "expire_time_invalid"),
        (until(now + 9, 1_000_000_000, good()), "expire_time_invalid"),
    ] {
        refused(client.create_revocation(create(revocation)).await, InvalidArgument, reason);
    }
    let request = api::CreateRevocationRequest::default();
    refused(client.create_revocation(request).await, InvalidArgument, "field_missing");
    assert!(store.list("").await.expect("it answers").entries.is_empty());
    let alone = World::of(None).await;
    refused(alone.revocations().create_revocation(create(good())).await, FailedPrecondition, "store_missing");
}

#[tokio::test]
async fn there_is_one_of_each_and_one_that_has_ended_makes_room() {
    let (world, store) = world().await;
    let mut client = world.revocations();
    let first =
        client.create_revocation(create(account("web@x.example"))).await.expect("it is good").into_inner();
    refused(
        client.create_revocation(create(account("web@x.example"))).await,
        AlreadyExists,
        "revocation_exists",
    );
    refused(
        client.delete_revocation(delete(&first.name, first.revision + 1, false)).await,
        Aborted,
        "revision_conflict",
    );
    refused(
        client.delete_revocation(delete(&first.name, -1, false)).await,
        InvalidArgument,
        "revision_invalid",
    );

    let ended = format!(
        "{{\"schema\":1,\"value\":{{\"account\":\"old@x.example\",\"reason\":\"r\",\"create_time\":1,\"expire_time\":{NOW}}}}}"
    );
    store
        .put("revocations/accounts/old@x.example", ended.into(), Expected::Absent)
        .await
        .expect("there is room");
    let request = || api::GetRevocationRequest { name: "revocations/accounts/old@x.example".to_owned() };
    let old = client.get_revocation(request()).await.expect("it is kept").into_inner();
    assert_eq!(old.state(), ResourceState::Expired);
    client.create_revocation(create(account("old@x.example"))).await.expect("it has ended");
    let new = client.get_revocation(request()).await.expect("it is there").into_inner();
    assert_eq!((&*new.reason, new.expire_time), ("it is lost", None));
}

#[tokio::test]
async fn reason_and_end_of_what_is_revoked_change_without_a_moment_in_between() {
    let (world, _) = world().await;
    let mut client = world.revocations();
    let now = NOW as i64;
    let web = || account("web@x.example");
    let reason = |reason: &str, revocation| Revocation { reason: reason.to_owned(), ..revocation };
    let first = client.create_revocation(replace(web())).await.expect("none is there").into_inner();
    let status = client.create_revocation(create(reason("other", web()))).await.expect_err("one is there");
    assert!(status.message().starts_with("revocation_exists: "), "{status}");
    assert!(status.message().contains("--replace"), "{status}");
    let mut seen = first.revision;
    for (asked, end) in [
        (until(now + 100, 0, reason("b", web())), Some(now + 100)),
        (until(now + 1_000, 0, reason("c", web())), Some(now + 1_000)),
        (until(now + 1, 0, reason("d", web())), Some(now + 1)),
        (reason("e", web()), None),
    ] {
        let changed = client.create_revocation(replace(asked.clone())).await.expect("it may").into_inner();
        assert_eq!(
            (&changed.reason, changed.expire_time.map(|end| end.seconds)),
            (&asked.reason, end),
            "{asked:?}"
        );
        assert_eq!((changed.state(), changed.create_time), (ResourceState::Active, first.create_time));
        // One write of the store each: it is never deleted, and what was refused wrote nothing.
        assert_eq!(changed.revision, seen + 1);
        seen = changed.revision;
    }

    refused(
        client.create_revocation(replace(until(now, 0, web()))).await,
        InvalidArgument,
        "ends_before_it_begins",
    );
    let kept = client.get_revocation(api::GetRevocationRequest { name: first.name.clone() }).await;
    assert_eq!(kept.expect("it is there").into_inner().reason, "e");
}

#[tokio::test]
async fn a_revocation_that_is_replaced_keeps_the_moment_it_was_made_in() {
    let (world, store) = world().await;
    let mut client = world.revocations();
    let record = |create_time: u64| {
        format!(
            "{{\"schema\":1,\"value\":{{\"account\":\"web@x.example\",\"reason\":\"r\",\"create_time\":{create_time}}}}}"
        )
    };
    // The second is of a node whose clock is ahead of ours; the third cannot be read.
    let end = NOW + 5;
    for (kept, since) in [(record(NOW - 70), NOW - 70), (record(NOW + 70), NOW), ("{".to_owned(), NOW)] {
        let key = "revocations/accounts/web@x.example";
        store.put(key, kept.clone().into(), Expected::Anything).await.expect("there is room");
        let asked = replace(until(end as i64, 0, account("web@x.example")));
        let made = client.create_revocation(asked).await.expect("it may be replaced").into_inner();
        assert_eq!(made.create_time.map(|time| time.seconds), Some(since as i64), "{kept}");
        assert_eq!(made.state(), ResourceState::Active, "{kept}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found_and_what_cannot_be_read_is_shown_and_can_go() {
    let (world, store) = world().await;
    let mut client = world.revocations();
    let name = "revocations/accounts/web@x.example";
    refused(client.delete_revocation(delete(name, 0, false)).await, NotFound, "revocation_unknown");
    refused(client.delete_revocation(delete(name, 4, true)).await, Aborted, "revision_conflict");
    client.delete_revocation(delete(name, 0, true)).await.expect("it is allowed");
    let request = api::GetRevocationRequest { name: name.to_owned() };
    refused(client.get_revocation(request).await, NotFound, "revocation_unknown");

    store.put(name, "{".into(), Expected::Absent).await.expect("there is room");
    let all = client.list_revocations(api::ListRevocationsRequest::default()).await.expect("it answers");
    let all = all.into_inner().revocations;
    assert_eq!((all.len(), all[0].state()), (1, ResourceState::Unreadable));
    refused(
        client.create_revocation(create(account("web@x.example"))).await,
        AlreadyExists,
        "revocation_exists",
    );
    client.delete_revocation(delete(name, 0, false)).await.expect("it goes");
}

#[tokio::test]
async fn pages_together_are_all_revocations() {
    let (world, _) = world().await;
    let mut client = world.revocations();
    for number in 0..5 {
        let revocation = account(&format!("a{number}@x.example"));
        client.create_revocation(create(revocation)).await.expect("it is good");
    }
    let (mut names, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = api::ListRevocationsRequest { page_size: 2, page_token };
        let page = client.list_revocations(request).await.expect("it is a page").into_inner();
        names.extend(page.revocations.into_iter().map(|revocation| revocation.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let expected: Vec<_> = (0..5).map(|number| format!("revocations/accounts/a{number}@x.example")).collect();
    assert_eq!(names, expected);
    for token in ["a", "revocations/", "accounts/a0@x.example"] {
        let request = api::ListRevocationsRequest { page_size: 0, page_token: token.to_owned() };
        refused(client.list_revocations(request).await, InvalidArgument, "page_token_invalid");
    }
}
