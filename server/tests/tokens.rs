//! The token door of a real daemon: who gets tokens of what, and what ends them.

mod support;

use std::{
    fs,
    io::{Read, Write},
    os::unix::process::CommandExt,
    os::unix::{fs::PermissionsExt, net::UnixStream},
    process::Stdio,
};

use alts_proto::gcp::HandshakerResult;
use alts_request_auth::{Algorithm, SecureRandom, SigningKey};
use nix::unistd::{geteuid, getuid};
use ring::rand::SystemRandom;
use serde_json::{Value, json};
use tempfile::TempDir;

use self::support::{
    daemon::wait_for,
    handshake::call,
    node::{NOBODY, Node, output},
    pki::write,
};

const ISSUER: &str = "https://tokens.x.example";
const CART: &str = "https://cart.x.example";
const IDP: &str = "https://idp.example";

/// A node with a token door, and an issuer beside it that it trusts.
struct Door {
    node: Node,
    idp: SigningKey,
}

impl Door {
    fn open() -> Self {
        Self::open_with("")
    }

    /// With more behind its configuration.
    fn open_with(more: &str) -> Self {
        let (idp, _) = SigningKey::generate(Algorithm::Es256, random()).expect("there is randomness");
        let directory = tempfile::tempdir().expect("there is room");
        let config = config(&directory, &idp, more);
        let node = Node::start_in(directory, &config);
        wait_for("the token door", || UnixStream::connect(node.at("token.sock")).ok());
        Self { node, idp }
    }

    /// Ends the daemon, and starts it again.
    fn again(self) -> Self {
        let config = config(&self.node.directory, &self.idp, "");
        let node = self.node.again(&config);
        wait_for("the token door", || UnixStream::connect(node.at("token.sock")).ok());
        Self { node, idp: self.idp }
    }

    /// Exit code and output of `altsd token …`, with a token on its standard input.
    fn token(&self, arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
        let mut command = self.node.command(&[&["token"], arguments].concat());
        command.args(["--socket", &format!("unix:{}", self.node.at("token.sock").display())]);
        if !input.is_empty() {
            let file = self.node.at("input.jwt");
            fs::write(&file, input).expect("there is room");
            command.stdin(Stdio::from(fs::File::open(file).expect("it was written")));
        }
        output(command)
    }

    fn mint(&self, arguments: &[&str]) -> String {
        let (code, stdout, stderr) = self.token(&[&["mint", "--audience", CART], arguments].concat(), "");
        assert_eq!(code, Some(0), "{stderr}\n{}", self.node.log());
        stdout.trim().to_owned()
    }

    fn claims(&self, token: &str) -> Value {
        let (code, stdout, stderr) = self.token(&["verify", "--audience", CART, "--output", "json"], token);
        assert_eq!(code, Some(0), "{stderr}");
        let answer: Value = serde_json::from_str(&stdout).expect("it is JSON");
        answer.get("claims").cloned().unwrap_or(answer)
    }

    /// A token of the other issuer for the subject.
    fn of_idp(&self, subject: &str, id: &str) -> String {
        let now = std::time::UNIX_EPOCH.elapsed().expect("it is later").as_secs();
        let claims = json!({
            "iss": IDP, "sub": subject, "aud": ISSUER, "exp": now + 300, "iat": now, "jti": id,
        });
        self.idp.sign("JWT", claims.to_string().as_bytes(), random()).expect("there is randomness")
    }

    fn is_active(&self, token: &str) -> bool {
        self.token(&["introspect"], token).0 == Some(0)
    }
}

fn config(directory: &TempDir, idp: &SigningKey, more: &str) -> String {
    let more = more.replace("DIRECTORY", &directory.path().display().to_string());
    let keys = json!({ "keys": [idp.public()] });
    write(directory.path(), "idp.json", &keys.to_string());
    format!(
        r#"
[signing_service]
authorities = ["x.example"]
[[workload]]
service_accounts = ["ours@x.example", "other@x.example"]
selectors = ["uid:{}"]
[[workload]]
service_account = "theirs@x.example"
selectors = ["uid:{NOBODY}"]
[token]
issuer = "{ISSUER}"
[[token.listener]]
address = "unix:{}"
mode = "0666"
[[token.trusted_issuer]]
issuer = "{IDP}"
jwks_file = "idp.json"
[[token.rule]]
issuers = ["local"]
subjects = ["*@x.example"]
audiences = ["{CART}", "{ISSUER}"]
scopes = ["read"]
[[token.rule]]
issuers = ["alts"]
subjects = ["other@x.example"]
actors = ["ours@x.example"]
audiences = ["{CART}"]
[[token.rule]]
issuers = ["{IDP}"]
subjects = ["once-*"]
impersonation = true
audiences = ["{CART}"]
one_time = true
[[token.rule]]
issuers = ["{IDP}"]
subjects = ["*"]
callers = ["ours@x.example"]
impersonation = true
audiences = ["{CART}"]
{more}"#,
        getuid(),
        directory.path().join("token.sock").display(),
    )
}

fn random() -> &'static dyn SecureRandom {
    static RANDOM: std::sync::LazyLock<SystemRandom> = std::sync::LazyLock::new(SystemRandom::new);
    &*RANDOM
}

fn kid(token: &str) -> String {
    let token = alts_request_auth::Token::parse(token).expect("it is a token");
    token.header().kid().expect("it has one").to_owned()
}

#[test]
fn a_workload_gets_a_token_about_itself_that_its_key_set_verifies() {
    let door = Door::open();
    let claims = door.claims(&door.mint(&["--scope", "read", "--scope", "write"]));
    assert_eq!((&claims["iss"], &claims["sub"]), (&json!(ISSUER), &json!("ours@x.example")));
    assert_eq!((&claims["aud"], &claims["scope"]), (&json!(CART), &json!("read")));
    assert_eq!(claims["exp"].as_u64().expect("a number") - claims["iat"].as_u64().expect("a number"), 600);
    let other = door.claims(&door.mint(&["--as", "other@x.example"]));
    assert_eq!(other["sub"], json!("other@x.example"));
}

#[test]
fn a_workload_gets_no_token_of_another_account_or_for_another_audience() {
    let door = Door::open();
    let cases: [(&[&str], &str); 4] = [
        (&["mint", "--audience", CART, "--as", "theirs@x.example"], "local_identity_not_owned"),
        (&["mint", "--audience", "https://bank.example"], "token_audience_denied"),
        (&["mint"], "token_audience_missing"),
        (&["mint", "--audience", CART, "--audience", ISSUER], "token_audiences_many"),
    ];
    for (arguments, reason) in cases {
        let (code, stdout, stderr) = door.token(arguments, "");
        assert_eq!((code, &*stdout), (Some(1), ""), "{arguments:?}");
        assert!(stderr.contains(reason), "{arguments:?}: {stderr}");
    }
}

#[test]
fn a_program_that_is_no_workload_gets_nothing() {
    if !geteuid().is_root() {
        return println!("skipped: to run programs as other users is for root");
    }
    let door = Door::open();
    let socket = format!("unix:{}", door.node.at("token.sock").display());
    let arguments = ["token", "mint", "--audience", CART, "--socket", &socket];
    for (uid, reason) in [(61_003, "workload_unknown"), (NOBODY, "")] {
        let mut command = door.node.command_of_anybody(&arguments);
        command.uid(uid).gid(uid);
        let (code, stdout, stderr) = output(command);
        assert_eq!(code, Some(i32::from(!reason.is_empty())), "{stderr}");
        assert_eq!(stdout.is_empty(), !reason.is_empty());
        assert!(stderr.contains(reason), "{stderr}");
    }
}

#[test]
fn a_token_of_a_trusted_issuer_is_exchanged_by_the_callers_of_its_rule() {
    let door = Door::open();
    let arguments = ["exchange", "--subject-token-type", "jwt", "--audience", CART];
    let (code, stdout, stderr) = door.token(&arguments, &door.of_idp("alice", "1"));
    assert_eq!(code, Some(0), "{stderr}");
    let claims = door.claims(stdout.trim());
    assert_eq!((&claims["sub"], &claims["client_id"]), (&json!("alice"), &json!("ours@x.example")));
    assert!(claims["exp"].as_u64() <= claims["iat"].as_u64().map(|at| at + 300), "{claims}");
    for wrong in ["alice", "a.b.c", &door.of_idp("alice", "1").replace('.', "A.")] {
        assert_eq!(door.token(&arguments, wrong).0, Some(1), "{wrong}");
    }
}

#[test]
fn a_token_that_counts_once_is_exchanged_once_also_after_a_restart() {
    let arguments = ["exchange", "--subject-token-type", "jwt", "--audience", CART];
    let door = Door::open();
    let token = door.of_idp("once-alice", "1");
    assert_eq!(door.token(&arguments, &token).0, Some(0));
    let (code, _, stderr) = door.token(&arguments, &token);
    assert!(code == Some(1) && stderr.contains("token_used"), "{stderr}");
    let door = door.again();
    let (code, _, stderr) = door.token(&arguments, &token);
    assert!(code == Some(1) && stderr.contains("token_used"), "{stderr}");
    assert_eq!(door.token(&arguments, &door.of_idp("once-alice", "2")).0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_handle_of_a_handshake_is_exchanged_by_the_process_that_did_it_alone() {
    let door = Door::open();
    let [of_client, _] =
        call(&door.node, "ours@x.example", "other@x.example", "").await.expect("they may meet");
    let handle = handle(&of_client);
    // This process did the handshake, and altsd token is another one.
    let arguments = ["exchange", "--subject-token-type", "alts-context", "--audience", CART];
    let (code, _, stderr) = door.token(&arguments, &handle);
    assert!(code == Some(1) && stderr.contains("context_unknown"), "{stderr}");

    let (status, answer) = support::http::exchange(
        &door.node.at("token.sock"),
        &[
            ("subject_token_type", "urn:altsd:token-type:alts-context"),
            ("subject_token", &handle),
            ("audience", CART),
        ],
    );
    assert_eq!(status, 200, "{answer}\n{}", door.node.log());
    let claims = door.claims(answer["access_token"].as_str().expect("it is there"));
    assert_eq!(claims["sub"], json!("other@x.example"));
    assert_eq!(claims["act"], json!({"iss": ISSUER, "sub": "ours@x.example"}));

    for wrong in [format!("{handle}A"), handle[1..].to_owned(), "A".repeat(43)] {
        let (status, answer) = support::http::exchange(
            &door.node.at("token.sock"),
            &[("subject_token_type", "urn:altsd:token-type:alts-context"), ("subject_token", &wrong)],
        );
        assert_eq!((status, &answer["error"]), (400, &json!("invalid_request")), "{answer}");
    }
}

fn handle(result: &HandshakerResult) -> String {
    let peer = result.peer_identity.as_ref().expect("there is a peer");
    peer.attributes.get("altsd.context").expect("there is a handle").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_revoked_after_its_handshake_is_nobodys_subject() {
    let door = Door::open();
    let [of_client, _] =
        call(&door.node, "ours@x.example", "other@x.example", "").await.expect("they may meet");
    let revoked = ["revoke", "account", "other@x.example", "--reason", "a test"];
    assert_eq!(door.node.ask(&revoked).0, Some(0));
    let (status, answer) = support::http::exchange(
        &door.node.at("token.sock"),
        &[
            ("subject_token_type", "urn:altsd:token-type:alts-context"),
            ("subject_token", &handle(&of_client)),
            ("audience", CART),
        ],
    );
    let description = answer["error_description"].as_str().unwrap_or_default();
    assert!(status == 400 && description.contains("account_revoked"), "{answer}");
    let (code, _, stderr) = door.token(&["mint", "--audience", CART, "--as", "other@x.example"], "");
    assert!(code == Some(1) && stderr.contains("account_revoked"), "{stderr}");
}

#[test]
fn a_revoked_token_counts_no_more_also_after_a_restart() {
    let door = Door::open();
    let (kept, revoked) = (door.mint(&[]), door.mint(&[]));
    assert!(door.is_active(&kept) && door.is_active(&revoked));
    assert_eq!(door.token(&["revoke"], &revoked).0, Some(0));
    assert!(door.is_active(&kept) && !door.is_active(&revoked));
    let door = door.again();
    assert!(door.is_active(&kept) && !door.is_active(&revoked));
}

#[test]
fn an_operator_revokes_a_token_by_its_id_and_all_tokens_of_a_subject() {
    let door = Door::open();
    let (one, two) = (door.mint(&[]), door.mint(&[]));
    let other = door.mint(&["--as", "other@x.example"]);
    let id = door.claims(&one)["jti"].as_str().expect("it is text").to_owned();
    let revoke = |arguments: &[&str]| {
        let (code, stdout, stderr) = door.token(&[&["revoke", "--output", "json"], arguments].concat(), "");
        assert_eq!(code, Some(0), "{stderr}");
        serde_json::from_str::<Value>(&stdout).expect("it is JSON")
    };
    // Whose tokens they are, the door says.
    let by_id = revoke(&["--id", &id, "--reason", "it was in a log", "--for", "1h"]);
    assert_eq!((&by_id["issuer"], &by_id["state"]), (&json!(ISSUER), &json!("active")));
    assert_eq!([&one, &two, &other].map(|token| door.is_active(token)), [false, true, true]);
    let by_subject = revoke(&["--subject", "ours@x.example", "--reason", "a test"]);
    assert_eq!([&one, &two, &other].map(|token| door.is_active(token)), [false, false, true]);
    let (code, _, stderr) = door.token(&["mint", "--audience", CART], "");
    assert!(code == Some(1) && stderr.contains("revoked"), "{stderr}");
    assert_eq!(revoke(&["--list"])["token_revocations"].as_array().map(Vec::len), Some(2));
    for revocation in [by_id, by_subject] {
        revoke(&["--lift", revocation["name"].as_str().expect("it is text")]);
    }
    assert_eq!([&one, &two, &other].map(|token| door.is_active(token)), [true; 3]);
}

#[test]
fn a_token_is_explained_with_what_the_door_knows() {
    let door = Door::open();
    let token = door.mint(&["--scope", "read"]);
    let explained = |token: &str, arguments: &[&str]| {
        let arguments = [&["explain", "--output", "json"], arguments].concat();
        let (code, stdout, stderr) = door.token(&arguments, token);
        for part in token.split('.').filter(|part| part.len() > 16) {
            assert!(!stdout.contains(part) && !stderr.contains(part), "{stdout}{stderr}");
        }
        let answer: Value = serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{stdout}{stderr}"));
        (code, answer["verdict"]["reason"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(explained(&token, &["--audience", CART]), (Some(0), String::new()));
    let forged = {
        let (said, signature) = token.rsplit_once('.').expect("it has three parts");
        format!("{said}.{}", signature.chars().rev().collect::<String>())
    };
    for (token, arguments, reason) in [
        (&*token, &["--audience", "https://bank.example"][..], "audience_not_allowed"),
        (&token, &["--issuer", IDP], "issuer_unknown"),
        (&door.of_idp("alice", "1"), &[], "issuer_unknown"),
        (&door.of_idp("alice", "1"), &["--issuer", IDP], "key_unknown"),
        (&forged[..forged.len() - 1], &[], "signature_not_base64url"),
        ("garbage", &[], "token_not_three_parts"),
    ] {
        assert_eq!(explained(token, arguments), (Some(1), reason.to_owned()), "{arguments:?}");
    }
    assert_eq!(door.token(&["revoke"], &token).0, Some(0));
    assert_eq!(explained(&token, &[]), (Some(1), "token_inactive".to_owned()));
}

#[test]
fn a_program_finds_its_account_and_a_token_where_googles_metadata_server_has_them() {
    let door = Door::open();
    let account = "/computeMetadata/v1/instance/service-accounts/default";
    let get = |path: &str, flavor: &str| {
        let mut socket = UnixStream::connect(door.node.at("token.sock")).expect("it listens");
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: metadata.google.internal\r\nMetadata-Flavor: {flavor}\r\nConnection: \
             close\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).expect("it is taken");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("it is text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("it has a body");
        assert!(head.contains("\r\nmetadata-flavor: Google"), "{head}");
        (head[9..12].to_owned(), body.to_owned())
    };
    let got = |path: &str| get(path, "Google");
    assert_eq!(got(&format!("{account}/email")), ("200".to_owned(), "ours@x.example".to_owned()));
    let (status, token) = got(&format!("{account}/identity?audience={CART}&format=full"));
    assert_eq!(status, "200", "{token}");
    let claims = door.claims(&token);
    assert_eq!((&claims["sub"], &claims["email"]), (&json!("ours@x.example"), &json!("ours@x.example")));
    for (path, flavor, status) in [
        (format!("{account}/identity?audience=https://bank.example"), "Google", "403"),
        // The rule has no default audience.
        (format!("{account}/token"), "Google", "403"),
        (format!("{account}/email"), "Other", "403"),
        ("/computeMetadata/v1/project/project-id".to_owned(), "Google", "404"),
    ] {
        assert_eq!(get(&path, flavor).0, status, "{path}");
    }
}

#[test]
fn the_signing_key_outlives_the_daemon() {
    let door = Door::open();
    let before = door.mint(&[]);
    let door = door.again();
    assert_eq!(kid(&before), kid(&door.mint(&[])));
    assert!(door.is_active(&before));
}

#[test]
fn each_token_issued_refused_or_revoked_is_one_line_of_the_trail_and_no_part_of_it_is_there() {
    let door = Door::open_with("[audit]\nfile = \"DIRECTORY/audit.log\"\n");
    let minted = door.mint(&["--scope", "read"]);
    assert_eq!(door.token(&["mint", "--audience", "https://bank.example"], "").0, Some(1));
    let (arguments, alice) =
        (["exchange", "--subject-token-type", "jwt", "--audience", CART], door.of_idp("alice", "1"));
    let (_, exchanged, _) = door.token(&arguments, &alice);
    let forged = alice.replace('.', "A.");
    assert_eq!(door.token(&arguments, &forged).0, Some(1));
    assert_eq!(door.token(&["revoke"], &minted).0, Some(0));
    let text = wait_for("five lines", || {
        let text = fs::read_to_string(door.node.at("audit.log")).ok()?;
        (text.lines().count() >= 5).then_some(text)
    });
    let lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect();
    let ours = "ours@x.example";
    let expected = [
        json!(["token", "allowed", null, ours, [CART]]),
        json!(["token", "refused", "token_audience_denied", ours, ["https://bank.example"]]),
        json!(["token", "allowed", null, "alice", [CART]]),
        json!(["token", "refused", lines[3]["reason"], null, [CART]]),
        json!(["token_revoked", "allowed", null, ours, [CART]]),
    ];
    let found = |line: &Value| {
        json!([line["event"], line["verdict"], line["reason"], line["subject"], line["audience"]])
    };
    assert_eq!(lines.iter().map(found).collect::<Vec<_>>(), expected, "{text}");
    let claims = [&minted, exchanged.trim()].map(|token| {
        let token = alts_request_auth::Token::parse(token).expect("it is a token");
        json!(token.claims().id())
    });
    assert_eq!([&lines[0]["jti"], &lines[2]["jti"]], [&claims[0], &claims[1]]);
    assert_eq!(lines[4]["jti"], claims[0]);
    for token in [&minted, exchanged.trim(), &alice, &forged] {
        for part in token.split('.') {
            assert!(part.len() > 16 && !text.contains(part), "{text}");
        }
    }
}

#[test]
fn an_operator_who_watches_sees_the_tokens_that_he_asks_for() {
    let door = Door::open();
    let arguments = ["audit", "tail", "--local", "other@x.example", "--count", "2"];
    let mut tail = door.node.command(&arguments).stdout(Stdio::piped()).spawn().expect("it starts");
    wait_for("two tokens to be seen", || {
        door.mint(&[]);
        door.mint(&["--as", "other@x.example"]);
        tail.try_wait().expect("it can be asked")
    });
    let output = tail.wait_with_output().expect("it has ended");
    let seen = String::from_utf8(output.stdout).expect("it is text");
    assert_eq!(seen.lines().count(), 2, "{seen}");
    for line in seen.lines() {
        assert!(
            line.contains(&format!("  allowed    token of other@x.example for {CART}  client ")),
            "{line}"
        );
    }
}

#[test]
fn no_log_holds_a_token_or_a_key() {
    let door = Door::open();
    let subject = door.of_idp("alice", "1");
    let arguments = ["exchange", "--subject-token-type", "jwt", "--audience", CART];
    let (_, exchanged, _) = door.token(&arguments, &subject);
    let minted = door.mint(&[]);
    door.token(&["revoke"], &minted);
    door.token(&arguments, &subject.replace('.', "A."));
    let log = door.node.log();
    assert!(log.contains("token issued") && log.contains("token refused"), "{log}");
    for token in [&subject, exchanged.trim(), &minted] {
        for part in token.split('.').filter(|part| part.len() > 16) {
            assert!(!log.contains(part), "{log}");
        }
    }
    let directory = door.node.at("state").join("token-keys");
    for file in fs::read_dir(directory).expect("it is there").flatten() {
        let text = fs::read_to_string(file.path()).unwrap_or_default();
        for word in text.split('"').filter(|word| word.len() > 100) {
            assert!(!log.contains(word), "the private key is in the log");
        }
    }
}

#[test]
fn after_an_emergency_only_tokens_of_the_new_key_count() {
    let door = Door::open();
    let stolen = door.mint(&[]);
    let (code, _, stderr) = door.node.ask(&["keys", "rotate", "--emergency"]);
    assert_eq!(code, Some(0), "{stderr}");
    let minted = door.mint(&[]);
    assert_ne!(kid(&stolen), kid(&minted));
    let log = door.node.log();
    for done in [
        format!("called for signing-keys/{}", kid(&minted)),
        format!("withdrawn signing-keys/{}", kid(&stolen)),
    ] {
        assert!(log.contains(&format!("an operator has {done} uid={}", geteuid())), "{log}");
    }
    assert!(!door.is_active(&stolen) && door.is_active(&minted));
    assert_eq!(door.token(&["verify", "--audience", CART], &stolen).0, Some(1));
    let door = door.again();
    assert!(!door.is_active(&stolen) && door.is_active(&minted));
    assert_eq!(kid(&minted), kid(&door.mint(&[])));
}

#[test]
fn validate_reads_the_signing_keys_as_a_start_does() {
    let door = Door::open();
    let kid = kid(&door.mint(&[]));
    let configuration = door.node.at("altsd.toml");
    let validate = || {
        let mut command = door.node.command(&["validate"]);
        command.arg("--config").arg(&configuration);
        output(command)
    };
    assert_eq!(validate().0, Some(0), "{}", validate().2);
    let file = door.node.at("state/token-keys").join(format!("{kid}.json"));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("it is ours");
    let (code, _, stderr) = validate();
    assert_eq!(code, Some(78), "{stderr}");
    assert!(
        stderr.contains(&format!(
            "has mode 0644, and others may not get at it; run: chmod 600 {}",
            file.display()
        )),
        "{stderr}"
    );
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("it is ours");
    let text = fs::read_to_string(&configuration).expect("it is there");
    let imported = format!("{text}\n[token.keys]\nprivate_key = \"none.pem\"\n");
    fs::write(&configuration, imported).expect("there is room");
    let (code, _, stderr) = validate();
    assert_eq!(code, Some(78), "{stderr}");
    assert!(stderr.contains("none.pem cannot be read: "), "{stderr}");
}

#[test]
fn a_node_whose_signing_keys_fail_or_do_not_sign_yet_says_so_in_its_status() {
    let door = Door::open();
    let status = |node: &Node| node.ask(&["status"]);
    assert_eq!(status(&door.node).0, Some(0), "{}", status(&door.node).1);
    // The store knows of keys that this node does not have any more, and so verifiers may know those alone.
    let keys = door.node.at("state/token-keys");
    fs::rename(&keys, door.node.at("state/away")).expect("it is ours");
    let door = door.again();
    let stdout = wait_for("its new key", || {
        let (code, stdout, _) = status(&door.node);
        (code == Some(4)).then_some(stdout)
    });
    assert!(
        stdout.contains("signing_key_too_new: no token is issued: the only key of this node signs from "),
        "{stdout}"
    );
    let (code, stdout, stderr) = door.node.ask(&["keys", "rotate", "--emergency"]);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert_eq!(status(&door.node).0, Some(0), "{}", status(&door.node).1);
}
