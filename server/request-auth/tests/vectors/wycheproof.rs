//! Wycheproof: JSON Web Signatures and Keys. The payload of its tokens is no JSON.

use serde::Deserialize;
use serde_json::Value;

use super::{Outcome, hold, vectors, verify_signed};

pub(crate) const SUITES: &[&str] =
    &["wycheproof/json_web_signature", "wycheproof/json_web_key", "wycheproof/json_web_crypto"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Suite {
    test_groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    /// Given for asymmetric keys.
    public: Option<Value>,
    private: Value,
    tests: Vec<Test>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Test {
    tc_id: u32,
    /// Missing in tests of encryption; an object where it is the JSON serialisation.
    jws: Option<Value>,
    result: String,
}

fn run(suite: &str, cases: usize) {
    let Some(Suite { test_groups }) = vectors(&format!("{suite}_test.json")) else { return };
    let mut outcomes = Vec::new();
    for Group { public, private, tests } in test_groups {
        let key = public.unwrap_or(private);
        for Test { tc_id, jws, result } in tests {
            let Some(jws) = jws else { continue };
            let token = jws.as_str().map_or_else(|| jws.to_string(), str::to_owned);
            assert!(["valid", "invalid"].contains(&&*result));
            outcomes.push(Outcome::good_or_bad(tc_id, result == "valid", verify_signed(&token, &key)));
        }
    }
    assert_eq!(outcomes.len(), cases);
    hold(suite, &outcomes);
}

#[test]
fn signatures_are_taken_and_refused_as_wycheproof_says() {
    run("wycheproof/json_web_signature", 401);
}

#[test]
fn keys_are_taken_and_refused_as_wycheproof_says() {
    run("wycheproof/json_web_key", 26);
}

#[test]
fn mixed_cases_are_taken_and_refused_as_wycheproof_says() {
    run("wycheproof/json_web_crypto", 49);
}
