//! Public test vectors, each through the layer that it is about. They are the data of other projects and no part of
//! this one: they are read where `ALTSD_VECTORS` says. What is not as they say is listed, with its reason, in
//! `tests/deviations.toml`; that list is held exactly.

mod envoy;
mod raw;
mod rfc;
mod wycheproof;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use alts_request_auth::{KeySet, KeySetError, Signed};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

/// Where we differ, and why.
const DEVIATIONS: &str = include_str!("../deviations.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Deviations {
    group: Vec<Group>,
}

/// Cases that differ for one reason.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    suite: String,
    reason: String,
    /// What they come to here: `taken`, or the reason code of a refusal.
    found: String,
    ids: Vec<String>,
}

/// One case of a suite.
struct Outcome {
    id: String,
    /// What the suite wants.
    expected: String,
    /// Whether that is what it came to.
    agrees: bool,
    /// `taken`, or the reason code of the refusal.
    found: String,
}

impl Outcome {
    /// A case of which the suite says no more than whether it is good.
    fn good_or_bad(id: impl ToString, is_good: bool, found: Result<(), &'static str>) -> Self {
        let expected = if is_good { "taken" } else { "refused" }.to_owned();
        Self { id: id.to_string(), expected, agrees: is_good == found.is_ok(), found: word(found) }
    }

    /// A case of which the suite says with which text it is refused.
    fn with_text(id: String, expected: &str, found: Result<(), (String, &'static str)>) -> Self {
        let agrees = found.as_ref().map_or_else(|(text, _)| text == expected, |()| expected == "OK");
        let found = word(found.map_err(|(_, reason)| reason));
        Self { id, expected: expected.to_owned(), agrees, found }
    }
}

fn word(found: Result<(), &'static str>) -> String {
    found.err().unwrap_or("taken").to_owned()
}

/// Holds a suite against the list of what differs.
fn hold(suite: &str, outcomes: &[Outcome]) {
    let all: Deviations = toml::from_str(DEVIATIONS).expect("the list of deviations is TOML");
    let mut listed = BTreeMap::new();
    for group in all.group.into_iter().filter(|group| group.suite == suite) {
        assert!(!group.reason.is_empty());
        for id in group.ids {
            assert!(listed.insert(id.clone(), group.found.clone()).is_none(), "{id} is listed twice");
        }
    }
    let ids: BTreeSet<_> = outcomes.iter().map(|outcome| &outcome.id).collect();
    assert_eq!(ids.len(), outcomes.len(), "two cases of {suite} have one name");
    let mut problems: Vec<_> =
        listed.keys().filter(|id| !ids.contains(id)).map(|id| format!("{id} is unknown")).collect();
    for Outcome { id, expected, agrees, found } in outcomes {
        match listed.get(id) {
            None if !agrees => problems.push(format!("{id:?}: expected {expected:?}, found {found:?}")),
            Some(_) if *agrees => problems.push(format!("{id:?} is listed without need")),
            Some(listed) if listed != found => {
                problems.push(format!("{id:?}: found {found:?}, listed {listed:?}"))
            }
            _ => {}
        }
    }
    println!("{suite}: {} cases, {} of them listed as different", outcomes.len(), listed.len());
    assert!(problems.is_empty(), "{suite}:\n{}", problems.join("\n"));
}

/// Every suite of the list is one that is held.
#[test]
fn the_list_of_deviations_names_only_suites_that_there_are() {
    let suites: BTreeSet<_> =
        [envoy::SUITES, raw::SUITES, rfc::SUITES, wycheproof::SUITES].concat().into_iter().collect();
    let all: Deviations = toml::from_str(DEVIATIONS).expect("the list of deviations is TOML");
    let unknown: Vec<_> =
        all.group.iter().map(|group| &*group.suite).filter(|suite| !suites.contains(suite)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

/// A file of JSON.
fn vectors<T: DeserializeOwned>(file: &str) -> Option<T> {
    let text = text(file)?;
    Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}")))
}

/// Nothing where nobody says where the vectors are. Where somebody does, they must be there.
#[expect(clippy::disallowed_methods, reason = "a test is told by the environment where its data are")]
fn text(file: &str) -> Option<String> {
    let Some(directory) = std::env::var_os("ALTSD_VECTORS") else {
        println!("skipped: ALTSD_VECTORS is not set, so that there is no {file}");
        return None;
    };
    // Tests run in the directory of their crate; the variable may count from that of the repository.
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(directory).join(file);
    Some(fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// A set of one key, or the set that it is.
fn key_set(key: &Value) -> Result<KeySet, KeySetError> {
    let set = if key.get("keys").is_some() { key.clone() } else { serde_json::json!({ "keys": [key] }) };
    KeySet::parse(set.to_string().as_bytes())
}

/// The public half of a key that a document gives with its private one: sets with private keys are refused here.
fn public_half(mut key: Value) -> Value {
    if let Some(members) = key.as_object_mut().filter(|members| members.get("kty") != Some(&"oct".into())) {
        members.retain(|name, _| !["d", "p", "q", "dp", "dq", "qi"].contains(&&**name));
    }
    key
}

/// A JWS whose payload is anything.
fn verify_signed(token: &str, key: &Value) -> Result<(), &'static str> {
    let keys = key_set(key).map_err(|error| error.reason())?;
    Signed::parse(token).and_then(|signed| signed.verify(&keys)).map_err(|error| error.reason())
}
