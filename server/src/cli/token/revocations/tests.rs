//! The commands against a served admin socket, as they are typed.

use std::sync::Arc;

use alts_proto::altsd::ListTokenRevocationsRequest;
use alts_store::{MemoryStore, Store};
use clap::Parser;

use super::*;
use crate::admin::tests::world::World;

const NOW: u64 = 1_767_225_600;
const ISS: &str = "https://t.example";

#[derive(Parser)]
struct Typed {
    #[command(flatten)]
    args: RevokeArgs,
}

fn parsed(words: &[&str]) -> Result<RevokeArgs, clap::Error> {
    Typed::try_parse_from([&["revoke"], words].concat()).map(|typed| typed.args)
}

async fn world() -> World {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    World::of(Some(store)).await
}

async fn typed(world: &World, words: &[&str]) -> Result<(), Error> {
    let admin = format!("unix:{}", world.admin.socket().display());
    let words =
        [words, &["--admin", &admin, "--output", "json", "--socket", "unix:/nowhere/t.sock"]].concat();
    revoke(&parsed(&words).expect("it can be typed"), NOW).await
}

async fn kept(world: &World) -> Vec<TokenRevocation> {
    let all = world.token_revocations().list_token_revocations(ListTokenRevocationsRequest::default()).await;
    all.expect("it answers").into_inner().token_revocations
}

#[tokio::test]
async fn tokens_and_subjects_are_revoked_listed_and_lifted() {
    let world = world().await;
    for (words, revoked, end) in [
        (
            &["--id", "j", "--until", "2026-01-01T00:10:00Z"][..],
            Revoked::TokenId("j".to_owned()),
            Some(NOW + 600),
        ),
        (&["--subject", "a@b.example"], Revoked::Subject("a@b.example".to_owned()), None),
        (
            &["--subject", "a@b.example", "--for", "7d"],
            Revoked::Subject("a@b.example".to_owned()),
            Some(NOW + 604_800),
        ),
    ] {
        typed(&world, &[words, &["--issuer", ISS, "--reason", "lost"]].concat()).await.expect("it is good");
        let one = kept(&world).await.remove(0);
        let until = one.expire_time.map(|end| end.seconds as u64);
        assert_eq!(
            (one.issuer.as_str(), one.reason.as_str(), one.revoked, until),
            (ISS, "lost", Some(revoked), end)
        );
        typed(&world, &["--list"]).await.expect("it answers");
        typed(&world, &["--lift", &one.name["token-revocations/".len()..]]).await.expect("it is there");
        assert!(kept(&world).await.is_empty());
    }
}

#[test]
fn an_id_may_begin_with_a_hyphen() {
    for id in ["-W", "--x", "_-"] {
        let args = parsed(&["--id", id, "--reason", "r"]).expect(id);
        assert_eq!(args.id.as_deref(), Some(id));
    }
}

#[tokio::test]
async fn what_is_revoked_already_is_changed_only_if_that_is_said() {
    let world = world().await;
    let words = |reason| ["--id", "j", "--issuer", ISS, "--reason", reason];
    typed(&world, &words("lost")).await.expect("it is good");
    let error = typed(&world, &words("stolen")).await.expect_err("it is there").to_string();
    assert!(error.contains(" refuses: revocation_exists: ") && error.contains("--replace"), "{error}");
    typed(&world, &[&words("stolen")[..], &["--replace"]].concat()).await.expect("it is said");
    assert_eq!(kept(&world).await[0].reason, "stolen");
}

#[tokio::test]
async fn what_altsd_refuses_is_told_with_its_reason() {
    let world = world().await;
    for (words, reason) in [
        (&["--id", "", "--issuer", ISS, "--reason", "r"][..], "field_missing"),
        (&["--id", "j", "--issuer", "", "--reason", "r"], "field_missing"),
        (&["--id", "j", "--issuer", ISS, "--reason", ""], "reason_missing"),
        (
            &["--subject", "s", "--issuer", ISS, "--reason", "r", "--until", "2000-01-01T00:00:00Z"],
            "ends_before_it_begins",
        ),
        (&["--lift", "tokens/00"], "name_invalid"),
        (
            &["--lift", "tokens/0000000000000000000000000000000000000000000000000000000000000000"],
            "revocation_unknown",
        ),
    ] {
        let error = typed(&world, words).await.expect_err(reason).to_string();
        assert!(error.contains(&format!(" refuses: {reason}: ")), "{error}");
    }
    // Whose token it is has to be known, and no door is there that says it.
    let error =
        typed(&world, &["--id", "j", "--reason", "r"]).await.expect_err("there is no door").to_string();
    assert!(error.contains("--issuer") && error.contains("unix:/nowhere/t.sock"), "{error}");
    assert!(kept(&world).await.is_empty());
}

#[test]
fn what_cannot_be_meant_cannot_be_typed() {
    for words in [
        &["--id", "j"][..],
        &["--subject", "s"],
        &["--id", "j", "--subject", "s", "--reason", "r"],
        &["f", "--id", "j", "--reason", "r"],
        &["f", "--list"],
        &["f", "--reason", "r"],
        &["f", "--issuer", "i"],
        &["--list", "--lift", "tokens/00"],
        &["--list", "--for", "7d"],
        &["--lift", "tokens/00", "--reason", "r"],
        &["--lift"],
        &["--id", "j", "--reason", "r", "--for", "soon"],
        &["--id", "j", "--reason", "r", "--for", "7d", "--until", "2030-01-01T00:00:00Z"],
        &["--replace"],
    ] {
        assert!(parsed(words).is_err(), "{words:?}");
    }
}
