//! The commands against a served admin socket, as they are typed.

use std::{fs, sync::Arc};

use alts_store::{MemoryStore, Store};
use clap::Parser;

use super::*;
use crate::admin::tests::world::World;

const NOW: u64 = 1_767_225_600;

#[derive(Parser)]
struct Typed {
    #[command(flatten)]
    args: Args,
}

async fn world() -> World {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    World::of(Some(store)).await
}

async fn typed(world: &World, words: &[&str]) -> Result<(), Error> {
    let admin = format!("unix:{}", world.admin.socket().display());
    let words = [&["revoke"], words, &["--admin", &admin, "--output", "json"]].concat();
    run(Typed::try_parse_from(words).expect("it can be typed").args, NOW).await
}

async fn kept(world: &World) -> Vec<Revocation> {
    let all = world.revocations().list_revocations(ListRevocationsRequest::default()).await;
    all.expect("it answers").into_inner().revocations
}

#[tokio::test]
async fn each_kind_is_revoked_listed_and_taken_back() {
    let world = world().await;
    let key = "ab".repeat(32);
    for (words, name) in [
        (&["account", "a@x.example", "--reason", "lost"][..], "accounts/a@x.example".to_owned()),
        (&["key", &key, "--reason", "lost", "--for", "7d"], format!("keys/{key}")),
    ] {
        typed(&world, words).await.expect("it is good");
        assert_eq!(kept(&world).await[0].name, format!("revocations/{name}"));
        typed(&world, &["list"]).await.expect("it answers");
        typed(&world, &["undo", &name]).await.expect("it is there");
        assert!(kept(&world).await.is_empty());
    }
    let words = [
        "certificate",
        "--issuer",
        "CN=root",
        "--serial",
        "0a",
        "--reason",
        "r",
        "--expires",
        "2026-01-01T00:00:09Z",
    ];
    typed(&world, &words).await.expect("it is good");
    let one = kept(&world).await.remove(0);
    assert_eq!(one.expire_time.map(|end| end.seconds), Some(NOW as i64 + 9));
    typed(&world, &["undo", &one.name]).await.expect("the whole name does too");
}

#[tokio::test]
async fn a_certificate_in_pem_says_what_is_revoked() {
    let world = world().await;
    let service = crate::admin::tests::certificate_pem().await;
    let file = world.directory.path().join("leaf.pem");
    fs::write(&file, service.pem).expect("there is room");
    let file = file.to_str().expect("it is UTF-8");
    typed(&world, &["certificate", "--pem", file, "--reason", "lost"]).await.expect("it is good");
    typed(&world, &["key", "--pem", file, "--reason", "lost"]).await.expect("it is good");
    let subjects: Vec<_> = kept(&world).await.into_iter().filter_map(|one| one.subject).collect();
    let certificate = RevokedCertificate { issuer: service.issuer, serial_number: service.serial };
    assert_eq!(subjects, [Subject::Certificate(certificate), Subject::KeySha256(service.key_sha256)]);

    for (name, content) in
        [("empty.pem", ""), ("bad.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")]
    {
        let bad = world.directory.path().join(name);
        fs::write(&bad, content).expect("there is room");
        let words = ["key", "--pem", bad.to_str().expect("it is UTF-8"), "--reason", "lost"];
        let error = typed(&world, &words).await.expect_err(name).to_string();
        assert!(error.starts_with(&format!("{} cannot be read: ", bad.display())), "{error}");
    }
}

#[tokio::test]
async fn what_altsd_refuses_is_told_with_its_reason() {
    let world = world().await;
    for (words, reason) in [
        (&["account", "nobody", "--reason", "r"][..], "account_invalid"),
        (&["key", "00", "--reason", "r"], "sha256_invalid"),
        (&["account", "a@b", "--reason", ""], "reason_missing"),
        (&["account", "a@b", "--reason", "r", "--expires", "2000-01-01T00:00:00Z"], "ends_before_it_begins"),
        (&["undo", "accounts/a@b"], "revocation_unknown"),
        (&["undo", "a@b"], "name_invalid"),
    ] {
        let error = typed(&world, words).await.expect_err(reason).to_string();
        assert!(error.contains(&format!(" refuses: {reason}: ")), "{error}");
    }
    assert!(kept(&world).await.is_empty());
}

#[tokio::test]
async fn what_is_revoked_already_is_changed_only_if_that_is_said() {
    let world = world().await;
    let first = ["account", "a@x.example", "--reason", "lost", "--for", "7d"];
    typed(&world, &first).await.expect("it is good");
    let other = ["account", "a@x.example", "--reason", "stolen"];
    let error = typed(&world, &other).await.expect_err("it is there").to_string();
    assert!(error.contains(" refuses: revocation_exists: ") && error.contains("--replace"), "{error}");
    assert_eq!(kept(&world).await[0].reason, "lost");
    typed(&world, &[&other[..], &["--replace"]].concat()).await.expect("it is said");
    let all = kept(&world).await;
    assert_eq!((all.len(), &*all[0].reason, all[0].expire_time), (1, "stolen", None));
}

#[test]
fn what_cannot_be_meant_cannot_be_typed() {
    for words in [
        &["account", "a@b"][..],
        &["account", "--reason", "r"],
        &["certificate", "--reason", "r"],
        &["certificate", "--issuer", "CN=a", "--reason", "r"],
        &["certificate", "--serial", "0a", "--reason", "r"],
        &["certificate", "--pem", "f", "--serial", "0a", "--reason", "r"],
        &["key", "--reason", "r"],
        &["account", "a@b", "--reason", "r", "--for", "soon"],
        &["account", "a@b", "--reason", "r", "--expires", "tomorrow"],
        &["account", "a@b", "--reason", "r", "--for", "7d", "--expires", "2030-01-01T00:00:00Z"],
        &["undo"],
        &["undo", "accounts/a@b", "--replace"],
    ] {
        assert!(Typed::try_parse_from([&["revoke"], words].concat()).is_err(), "{words:?}");
    }
}
