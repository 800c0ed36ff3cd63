//! The commands against a served admin socket, as they are typed.

use std::{fs, sync::Arc};

use alts_proto::altsd::{self as api, ResourceState};
use alts_store::{MemoryStore, Store};
use clap::Parser;

use super::*;
use crate::admin::tests::world::World;

const NOW: u64 = 1_767_225_600;

const DOCUMENT: &str = "\
[[peer_list]]
name = 'front-ends'
peers = ['web@x.example']
[[rule]]
name = 'callers'
local = 'orders@x.example'
side = 'server'
action = 'allow'
peer_lists = ['front-ends']
";

#[derive(Parser)]
struct Typed {
    #[command(flatten)]
    args: Args,
}

async fn world() -> World {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    World::of(Some(store)).await
}

/// Types a command at this socket.
async fn typed(world: &World, words: &[&str]) -> Result<ExitCode, Error> {
    let admin = format!("unix:{}", world.admin.socket().display());
    let asking: &[&str] = if words.contains(&"export") { &[] } else { &["--output", "json"] };
    let words = [&["policy"], words, &["--admin", &admin], asking].concat();
    run(Typed::try_parse_from(words).expect("it can be typed").args, NOW).await
}

async fn refused(world: &World, words: &[&str], reason: &str) {
    let error = typed(world, words).await.expect_err(reason).to_string();
    let admin = world.admin.socket();
    let expected = format!("altsd at unix:{} refuses: {reason}: ", admin.display());
    assert!(error.starts_with(&expected), "{error}");
}

/// `ExitCode` can be compared as text only.
fn is(code: &ExitCode, number: u8) -> bool {
    format!("{code:?}") == format!("{:?}", ExitCode::from(number))
}

const CHECK: [&str; 7] =
    ["check", "--local", "orders@x.example", "--side", "server", "--peer", "web@x.example"];

#[tokio::test]
async fn a_policy_is_made_shown_changed_and_taken_away_by_commands() {
    let world = world().await;
    for words in [
        &["create-list", "front-ends", "web@x.example"][..],
        &[
            "create-rule",
            "callers",
            "--local",
            "orders@x.example",
            "--side",
            "server",
            "--list",
            "front-ends",
        ],
        &["create-target", "orders.x.example:443", "orders@x.example"],
        &["peers", "add", "front-ends", "app@x.example"],
        &["peers", "remove", "front-ends", "app@x.example", "none@x.example", "--ignore-missing"],
        &["set-mode", "callers", "enforce"],
        &["list"],
        &["list", "--rules", "--lists"],
        &["show", "list", "front-ends"],
        &["show", "rule", "callers"],
        &["show", "target", "orders.x.example:443"],
        &CHECK,
        &["export"],
    ] {
        assert!(is(&typed(&world, words).await.expect("it is good"), 0), "{words:?}");
    }
    refused(&world, &["delete", "list", "front-ends"], "list_in_use").await;
    refused(&world, &["delete", "rule", "callers", "--revision", "1"], "revision_conflict").await;
    for words in [
        &["set-mode", "callers", "shadow"][..],
        &["delete", "rule", "callers"],
        &["delete", "rule", "callers", "--ignore-missing"],
        &["delete", "list", "front-ends"],
        &["delete", "target", "orders.x.example:443"],
    ] {
        typed(&world, words).await.expect("it is good");
    }
    let listed = world.policy().list_rules(api::ListRulesRequest::default()).await.expect("it answers");
    assert!(listed.into_inner().rules.is_empty());
}

#[tokio::test]
async fn what_altsd_refuses_is_told_with_its_reason() {
    let world = world().await;
    for (words, reason) in [
        (&["show", "list", "a"][..], "peer_list_unknown"),
        (&["show", "rule", "A"], "name_invalid"),
        (&["create-list", "a", "nobody"], "peer_match_invalid"),
        (&["create-rule", "a", "--local", "*", "--side", "client", "--list", "none"], "list_unknown"),
        (&["peers", "add", "none", "*"], "peer_list_unknown"),
        (&["set-mode", "none", "shadow"], "rule_unknown"),
        (&["delete", "target", "none"], "target_name_unknown"),
        (&["explain", "--local", "a@b", "--peer", "nobody", "--side", "server"], "account_invalid"),
    ] {
        refused(&world, words, reason).await;
    }
}

#[tokio::test]
async fn a_document_is_applied_and_exported_and_a_dry_run_changes_nothing() {
    let world = world().await;
    let file = world.directory.path().join("policy.toml");
    fs::write(&file, DOCUMENT).expect("there is room");
    let file = file.to_str().expect("it is UTF-8");
    typed(&world, &["apply", file, "--dry-run"]).await.expect("it is good");
    refused(&world, &["show", "rule", "callers"], "rule_unknown").await;
    typed(&world, &["apply", file]).await.expect("it is good");
    let request = api::GetRuleRequest { name: "rules/callers".to_owned() };
    let rule = world.policy().get_rule(request).await.expect("it is there").into_inner();
    assert_eq!(rule.state(), ResourceState::Active);
    typed(&world, &["export"]).await.expect("it answers");
}

#[tokio::test]
async fn the_exit_code_says_whether_a_peer_is_admitted() {
    let world = world().await;
    let explain: Vec<_> = ["explain"].iter().chain(&CHECK[1..]).copied().collect();
    for words in [&CHECK[..], &explain] {
        assert!(is(&typed(&world, words).await.expect("it can be said"), 3));
    }
    typed(&world, &["create-rule", "all", "--local", "*", "--side", "server", "--peer", "*"])
        .await
        .expect("it is good");
    for words in [&CHECK[..], &explain] {
        assert!(is(&typed(&world, words).await.expect("it can be said"), 0));
    }
}

/// Types a command that asks no daemon.
async fn offline(words: &[&str]) -> Result<ExitCode, Error> {
    let words = [&["policy"], &CHECK[..], words].concat();
    run(Typed::try_parse_from(words).expect("it can be typed").args, NOW).await
}

#[tokio::test]
async fn files_are_enough_to_check_without_a_daemon() {
    let directory = tempfile::tempdir().expect("there is room");
    let write = |name: &str, text: &str| {
        let file = directory.path().join(name);
        fs::write(&file, text).expect("there is room");
        file.to_str().expect("it is UTF-8").to_owned()
    };
    let (peers, other) = (write("peers.toml", DOCUMENT), write("other.yaml", "rule: []\n"));
    let twice = write("twice.toml", DOCUMENT);
    let empty = write("empty.toml", "rule = []\n");
    let code = offline(&["--file", &peers, "--file", &other, "--default", "deny"]).await;
    assert!(is(&code.expect("it can be said"), 0));
    for (default, code) in [("deny", 3), ("allow", 0)] {
        assert!(is(&offline(&["--file", &empty, "--default", default]).await.expect("it can be said"), code));
    }
    let error = offline(&["--file", &peers, "--file", &twice, "--default", "deny"])
        .await
        .expect_err("it is there twice");
    assert!(error.to_string().contains("front-ends is defined in another"), "{error}");
    let error =
        offline(&["--file", "/nowhere.toml", "--default", "deny"]).await.expect_err("it is not there");
    assert!(error.to_string().starts_with("/nowhere.toml cannot be read: "), "{error}");

    let config = "[[handshaker.listener]]\naddress = '127.0.0.1:0'\nidentity = 'a@b'\n[[identity]]\naccount = 'a@b'\n\
                  certificate_chain = 'c'\nprivate_key = 'k'\n[policy]\ndefault = 'deny'\nfiles = ['peers.toml']\n";
    let config = write("altsd.toml", config);
    assert!(is(&offline(&["--config", &config]).await.expect("it can be said"), 0));
    let error = offline(&["--config", &peers]).await.expect_err("it is no configuration");
    assert!(matches!(error, Error::Config(_)), "{error}");
}

#[test]
fn what_cannot_be_meant_cannot_be_typed() {
    for words in [
        &["check", "--local", "a@b", "--peer", "c@d"][..],
        &["check", "--local", "a@b", "--peer", "c@d", "--side", "both"],
        &["check", "--local", "a@b", "--peer", "c@d", "--side", "server", "--file", "f.toml"],
        &["check", "--local", "a@b", "--peer", "c@d", "--side", "server", "--default", "deny"],
        &["create-rule", "r", "--local", "*", "--side", "server"],
        &["create-target", "t"],
        &["peers", "add", "l"],
        &["set-mode", "r", "off"],
        &["show", "peers", "l"],
        &["delete", "rule"],
        &["delete", "rule", "r", "--revision", "-1"],
        &["apply"],
    ] {
        assert!(Typed::try_parse_from([&["policy"], words].concat()).is_err(), "{words:?}");
    }
}
