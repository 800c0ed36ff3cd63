//! The section `token`.

use std::path::PathBuf;

use alts_request_auth::Algorithm;

use super::{super::*, GOOD, WORKLOADS, read_text};
use crate::token::subject::Origin;

/// Behind the workloads of [`WORKLOADS`]; its first line is found by [`line_of`].
const DOOR: &str = r#"
[token]
issuer = "https://tokens.example.com"

[[token.listener]]
address = "unix:/run/altsd/token.sock"
mode = "0666"

[[token.listener]]
address = "127.0.0.9:8081"
hosts = ["Tokens.Internal", "tokens.internal:8081"]

[[token.trusted_issuer]]
issuer = "https://idp.example.com"
jwks_uri = "https://idp.example.com/keys"

[[token.rule]]
issuers = ["local", "alts", "self", "https://idp.example.com"]
subjects = ["*@prod.example.com"]
audiences = ["https://shop.example.com"]
scopes = ["read"]
"#;

fn whole() -> String {
    format!("{WORKLOADS}\n{DOOR}")
}

fn settings(text: &str) -> TokenSettings {
    read_text(text).expect("it is valid").token.expect("it has a token door")
}

#[test]
fn without_the_section_there_is_no_token_door() {
    assert!(read_text(WORKLOADS).expect("it is valid").token.is_none());
}

#[test]
fn what_is_not_said_has_a_default() {
    let token = settings(&whole());
    assert_eq!(token.issuer, "https://tokens.example.com");
    assert_eq!((token.lifetime, token.max_lifetime), (600, 900));
    assert_eq!(token.keys.algorithm, Algorithm::Es256);
    let keys = &token.keys;
    assert_eq!((keys.rotate, keys.publish_ahead, keys.verifier_cache), (86_400, 1_800, 1_200));
    assert!(!keys.sign_at_once && keys.private_key.is_none());
    assert_eq!(keys.state_directory, PathBuf::from("etc/state"));
    let [idp] = &*token.issuers else { panic!("{:?}", token.issuers) };
    assert_eq!(idp.audiences, ["https://tokens.example.com"]);
    assert!(matches!(&idp.keys, KeySource::Uri(uri) if uri.value == "https://idp.example.com/keys"));
    let rule = token.rules.iter().next().expect("there is one");
    let idp = Origin::Issuer("https://idp.example.com".to_owned());
    assert_eq!(rule.origins, [Origin::Local, Origin::Alts, Origin::Own, idp]);
    assert_eq!(rule.actor_origins, [Origin::Local]);
    assert!(rule.drops_scopes && !rule.impersonation && !rule.many_audiences && !rule.one_time);
    assert_eq!((rule.max_lifetime, rule.default_audience.clone()), (900, None));
}

#[test]
fn callers_are_attested_on_unix_sockets_and_elsewhere_where_it_is_said() {
    let attested =
        |text: &str| settings(text).listeners.iter().map(|listener| listener.attested).collect::<Vec<_>>();
    assert_eq!(attested(&whole()), [true, false]);
    let tcp = "address = \"127.0.0.9:8081\"";
    assert_eq!(attested(&whole().replace(tcp, &format!("{tcp}\nattested = true"))), [true, true]);
    let hosts = &settings(&whole()).listeners[1].hosts;
    assert_eq!(*hosts, ["tokens.internal", "tokens.internal:8081"]);
}

#[test]
fn nobody_is_attested_where_there_are_no_workloads() {
    let good = format!("state_directory = \"state\"\n{GOOD}{DOOR}");
    assert!(settings(&good).listeners.iter().all(|listener| !listener.attested));
    let refused = good.replace("mode = \"0666\"", "attested = true");
    let error = read_text(&refused).expect_err("there are none").to_string();
    assert!(error.contains("token.listener[0].attested: there is no [[workload]]"), "{error}");
}

#[test]
fn keys_of_rsa_are_imported() {
    let with = |keys: &str| format!("{}\n[token.keys]\n{keys}", whole());
    let error = read_text(&with("algorithm = \"RS256\"")).expect_err("it has no key").to_string();
    assert!(error.contains("token.keys.private_key: is missing: keys for RS256"), "{error}");
    let keys = settings(&with("algorithm = \"RS256\"\nprivate_key = \"rsa.pem\"")).keys;
    assert_eq!(keys.private_key.expect("it is named").value, PathBuf::from("etc/rsa.pem"));
    assert_eq!(settings(&with("algorithm = \"EdDSA\"")).keys.algorithm, Algorithm::EdDSA);
}

#[test]
fn a_token_door_that_cannot_be_is_refused() {
    let issuer = "issuer = \"https://tokens.example.com\"";
    let uri = "jwks_uri = \"https://idp.example.com/keys\"";
    let idp = "issuer = \"https://idp.example.com\"";
    let subjects = "subjects = [\"*@prod.example.com\"]";
    let audiences = "audiences = [\"https://shop.example.com\"]";
    let unix = "address = \"unix:/run/altsd/token.sock\"\nmode = \"0666\"";
    let rule = "[[token.rule]]";
    let keys = |text: &str| format!("[token.keys]\n{text}\n[[token.rule]]");
    let more = |line: &str, text: &str| format!("{line}\n{text}");
    let cases = [
        (issuer, String::new(), "token.issuer: is missing"),
        (
            issuer,
            "issuer = \"tokens\"".into(),
            "token.issuer: \"tokens\" is no name of an issuer: it is no URL",
        ),
        (
            issuer,
            "issuer = \"http://tokens.example.com\"".into(),
            "token.issuer: \"http://tokens.example.com\" is no name of an issuer: it must be https",
        ),
        (
            issuer,
            "issuer = \"https://tokens.example.com/\"".into(),
            "token.issuer: \"https://tokens.example.com/\" is no name of an issuer: it ends with a slash",
        ),
        (
            issuer,
            "issuer = \"https://tokens.example.com?a\"".into(),
            "token.issuer: \"https://tokens.example.com?a\" is no name of an issuer: it has a query",
        ),
        (
            issuer,
            "issuer = \"https://Tokens.example.com\"".into(),
            "token.issuer: \"https://Tokens.example.com\" is no name of an issuer: it is not in the plain spelling",
        ),
        (
            issuer,
            "issuer = \"https://tokens.example.com:443\"".into(),
            "token.issuer: \"https://tokens.example.com:443\" is no name of an issuer: it is not in the plain",
        ),
        (
            issuer,
            "issuer = \"ftp://127.0.0.1\"".into(),
            "token.issuer: \"ftp://127.0.0.1\" is no name of an issuer: it must be https",
        ),
        (
            issuer,
            more(issuer, "max_lifetime_seconds = 3601"),
            "token.max_lifetime_seconds: 3601 is out of range",
        ),
        (issuer, more(issuer, "lifetime_seconds = 901"), "token.lifetime_seconds: 901 is out of range"),
        (issuer, more(issuer, "lifetime_seconds = 59"), "token.lifetime_seconds: 59 is out of range"),
        (issuer, more(issuer, "life = 1"), "token.life: unknown field `life`"),
        (unix, "address = \"127.0.0.7:8080\"".into(), "token.listener[0].address: 127.0.0.7:8080 is taken"),
        (
            "127.0.0.9:8081",
            "unix:/run/altsd/token.sock".into(),
            "token.listener[1].address: unix:/run/altsd/token.sock is taken",
        ),
        ("127.0.0.9:8081", "10.0.0.1:80".into(), "token.listener[1].address: 10.0.0.1:80 is not local"),
        (unix, "mode = \"0666\"".into(), "token.listener[0].address: is missing"),
        ("tokens.internal:8081", "a b".into(), "token.listener[1].hosts[1]: \"a b\" is no name of a host"),
        (rule, keys("algorithm = \"HS256\""), "token.keys.algorithm: \"HS256\" is none of"),
        (rule, keys("rotate_seconds = 299"), "token.keys.rotate_seconds: 299 is out of range"),
        (
            rule,
            keys("rotate_seconds = 1800"),
            "token.keys.publish_ahead_seconds: a key is published 1800 seconds",
        ),
        (
            idp,
            "issuer = \"https://tokens.example.com\"".into(),
            "token.trusted_issuer[0].issuer: is our own issuer",
        ),
        (idp, "issuer = \"local\"".into(), "token.trusted_issuer[0].issuer: \"local\" is a word"),
        (idp, "issuer = \"\"".into(), "token.trusted_issuer[0].issuer: \"\" is no name"),
        (idp, more(idp, "audiences = []"), "token.trusted_issuer[0].audiences: the list is empty"),
        (uri, more(uri, "jwks = '{}'"), "token.trusted_issuer[0].jwks: has either jwks"),
        (
            uri,
            "jwks_uri = \"http://idp.example.com/keys\"".into(),
            "token.trusted_issuer[0].jwks_uri: \"http://idp.example.com/keys\" is no place",
        ),
        (
            uri,
            "jwks_uri = \"http://localhost/keys\"".into(),
            "token.trusted_issuer[0].jwks_uri: \"http://localhost/keys\" is no place",
        ),
        (subjects, String::new(), "token.rule[0].subjects: is missing"),
        (subjects, "subjects = []".into(), "token.rule[0].subjects: the list is empty"),
        (subjects, "subjects = [\"a*b\"]".into(), "token.rule[0].subjects[0]: \"a*b\" is no pattern"),
        (audiences, String::new(), "token.rule[0].audiences: is missing"),
        (
            audiences,
            more(audiences, "default_audience = \"x\""),
            "token.rule[0].default_audience: \"x\" is none of the audiences",
        ),
        (
            "\"alts\"",
            "\"https://other.example\"".into(),
            "token.rule[0].issuers[1]: \"https://other.example\" is neither",
        ),
        ("\"read\"", "\"re ad\"".into(), "token.rule[0].scopes[0]: \"re ad\" is no scope"),
        (
            subjects,
            more(subjects, "unknown_scopes = \"ignore\""),
            "token.rule[0].unknown_scopes: \"ignore\" is neither",
        ),
        (
            subjects,
            more(subjects, "max_lifetime_seconds = 901"),
            "token.rule[0].max_lifetime_seconds: 901 is out of range",
        ),
        (subjects, more(subjects, "callers = []"), "token.rule[0].callers: the list is empty"),
        (subjects, more(subjects, "caller = []"), "token.rule[0].caller: unknown field"),
    ];
    let whole = whole();
    let mut wrong = Vec::new();
    for (from, to, expected) in cases {
        assert!(whole.contains(from), "{from}");
        let found = read_text(&whole.replacen(from, &to, 1)).map(drop).map_err(|error| error.to_string());
        if !found.as_ref().is_err_and(|found| found.contains(&format!(": {expected}"))) {
            wrong.push(format!("{to:?}\n  expected {expected}\n  found    {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_issuer_without_keys_says_where_they_are_if_it_can() {
    let uri = "jwks_uri = \"https://idp.example.com/keys\"";
    let found = settings(&whole().replace(uri, "")).issuers.remove(0);
    assert!(matches!(found.keys, KeySource::Discovery));
    let nameless = whole().replace(uri, "").replace("https://idp.example.com", "idp");
    let error = read_text(&nameless).expect_err("it is no URL").to_string();
    assert!(error.contains("token.trusted_issuer[0].jwks_uri: is missing"), "{error}");
}

#[test]
fn the_state_directory_is_needed_for_private_keys() {
    let error = read_text(&format!("{GOOD}{DOOR}")).expect_err("it has none").to_string();
    assert!(error.contains("state_directory: is missing; the token door keeps its private keys"), "{error}");
}
