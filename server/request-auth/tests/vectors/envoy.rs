//! The cases of jwt_verify_lib, which is what Envoy verifies with, and tokens that Envoy itself was asked about.

use std::collections::BTreeMap;

use alts_request_auth::{Error, Expected, KeySet, Token};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;

use super::{Outcome, hold, text, vectors};

pub(crate) const SUITES: &[&str] = &["jwt_verify_lib", "envoy_jwt_authn"];

/// When cases without a time of their own are looked at: 2020-09-13.
const ANY_TIME: u64 = 1_600_000_000;

#[derive(Deserialize)]
struct Suite {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    test: String,
    /// What the library says in the end.
    message: String,
    jwt: Option<String>,
    jwks: Option<String>,
    args: Option<String>,
    now: Option<u64>,
    /// Whether the case is about the set alone.
    expect_jwks: Option<String>,
    #[serde(default)]
    signature_mutations_fail: bool,
}

impl Case {
    fn outcome(&self, id: String) -> Outcome {
        let found = match (&self.jwt, &self.jwks) {
            (None, Some(set)) => return self.outcome_of_set(id, set),
            (Some(token), None) => Token::parse(token).map(|_| ()).map_err(told),
            (Some(token), Some(set)) => self.verify(token, set),
            (None, None) => panic!("{id} has neither token nor keys"),
        };
        Outcome::with_text(id, &self.message, found)
    }

    /// What is wrong with one key is told with the key here; of the set it counts whether any can be used.
    fn outcome_of_set(&self, id: String, set: &str) -> Outcome {
        let found = KeySet::parse(set.as_bytes()).map(|_| ()).map_err(|error| error.reason());
        Outcome::good_or_bad(id, self.expect_jwks.as_deref() == Some("Ok"), found)
    }

    fn verify(&self, token: &str, set: &str) -> Result<(), (String, &'static str)> {
        let keys = KeySet::parse(set.as_bytes()).map_err(|error| (error.to_string(), error.reason()))?;
        let audiences: &[String] = match self.args.as_deref() {
            Some("audiences") => &["aud1".to_owned()],
            _ => &[],
        };
        let expected = Expected { issuer: None, audiences, must_expire: false };
        let check = |token: &str| {
            Token::parse(token).and_then(|token| token.check(&expected, &keys, self.now.unwrap_or(ANY_TIME)))
        };
        if self.signature_mutations_fail {
            for (what, mutated) in mutations(token) {
                assert!(check(&mutated).is_err(), "{}: {what} of the signature is not noticed", self.test);
            }
        }
        check(token).map_err(told)
    }
}

fn told(error: Error) -> (String, &'static str) {
    (error.to_string(), error.reason())
}

/// The token with every bit of its signature changed, and with every shorter and a longer signature.
fn mutations(token: &str) -> Vec<(String, String)> {
    let (message, signature) = token.rsplit_once('.').expect("a token has a signature");
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("a signature is base64url");
    let with = |what: String, octets: &[u8]| (what, format!("{message}.{}", URL_SAFE_NO_PAD.encode(octets)));
    let bits = (0..signature.len() * 8).map(|bit| {
        let mut changed = signature.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        with(format!("bit {bit}"), &changed)
    });
    let shorter = (0..signature.len()).map(|len| with(format!("cut to {len}"), &signature[..len]));
    let longer = with("one octet more".to_owned(), &[&signature[..], &[0]].concat());
    bits.chain(shorter).chain([longer]).collect()
}

#[test]
fn tokens_and_sets_come_to_what_jwt_verify_lib_says() {
    let Some(Suite { cases }) = vectors("jwt_verify_lib/cases.json") else { return };
    assert_eq!(cases.len(), 142);
    let outcomes = cases.iter().enumerate().map(|(at, case)| case.outcome(format!("{at} {}", case.test)));
    hold("jwt_verify_lib", &outcomes.collect::<Vec<_>>());
}

#[test]
fn key_sets_cut_short_or_changed_anywhere_are_answered() {
    for name in ["ec", "hmac", "okp", "rsa"] {
        let Some(seed) = text(&format!("jwt_verify_lib/corpus/jwks_{name}.txt")) else { return };
        // The set is one member of a text in another format.
        let (start, end) = (seed.find('{').expect("it has a set"), seed.rfind('}').expect("it has a set"));
        let set = &seed.as_bytes()[start..=end];
        assert!(KeySet::parse(set).is_ok(), "{name}: {:?}", KeySet::parse(set));
        for at in 0..set.len() {
            assert!(KeySet::parse(&set[..at]).is_err(), "{name} cut at {at}");
            let mut changed = set.to_vec();
            changed[at] ^= 1 << (at % 8);
            let _ = KeySet::parse(&changed);
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    jwt_rule: Rule,
    tokens: BTreeMap<String, Answered>,
}

#[derive(Deserialize)]
struct Rule {
    issuer: String,
    audiences: Vec<String>,
    jwks: String,
}

#[derive(Deserialize)]
struct Answered {
    token: String,
    status: u16,
    body: Option<String>,
}

#[test]
fn tokens_come_to_what_envoy_answered() {
    let Some(Asked { jwt_rule, tokens }) = vectors::<Asked>("envoy_jwt_authn/tokens.json") else { return };
    assert_eq!(tokens.len(), 7);
    let keys = KeySet::parse(jwt_rule.jwks.as_bytes()).expect("it is a set of keys");
    let expected =
        Expected { issuer: Some(&jwt_rule.issuer), audiences: &jwt_rule.audiences, must_expire: false };
    let outcomes = tokens.into_iter().map(|(name, Answered { token, status, body })| {
        let found = Token::parse(&token).and_then(|token| token.check(&expected, &keys, ANY_TIME));
        assert_eq!(found.map_or_else(|error| error.status(), |()| 200), status, "{name}");
        Outcome::with_text(name, body.as_deref().unwrap_or("OK"), found.map_err(told))
    });
    hold("envoy_jwt_authn", &outcomes.collect::<Vec<_>>());
}
