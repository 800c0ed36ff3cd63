//! The examples of RFC 7515, 7520, 7638, 7797 and 8037.

use alts_request_auth::{Error, PublicKey, Signed};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Outcome, hold, public_half, vectors, verify_signed};

pub(crate) const SUITES: &[&str] = &["rfc/jws", "rfc/cookbook"];

#[derive(Deserialize)]
struct Jws {
    id: String,
    jwk: Option<Value>,
    compact: String,
    expect: String,
}

#[test]
fn signatures_of_rfc_7515_and_8037_are_taken_and_refused_as_they_say() {
    let Some(examples) = vectors::<Vec<Jws>>("rfc/jws.json") else { return };
    assert_eq!(examples.len(), 7);
    let outcomes = examples.into_iter().map(|Jws { id, jwk, compact, expect }| {
        // Those without a key are refused whatever the key is.
        let found = match jwk {
            Some(jwk) => verify_signed(&compact, &public_half(jwk)),
            None => Signed::parse(&compact).map(|_| ()).map_err(|error| error.reason()),
        };
        Outcome::good_or_bad(id, expect == "verify", found)
    });
    hold("rfc/jws", &outcomes.collect::<Vec<_>>());
}

#[derive(Deserialize)]
struct Example {
    input: Input,
    output: Output,
}

#[derive(Deserialize)]
struct Input {
    key: Value,
}

#[derive(Deserialize)]
struct Output {
    compact: Option<String>,
    json: Value,
}

#[test]
fn the_cookbook_is_taken_where_it_is_compact_and_whole() {
    let cases = [
        ("jws/4_1.rsa_v15_signature", true),
        ("jws/4_2.rsa-pss_signature", true),
        ("jws/4_3.ecdsa_signature", true),
        ("jws/4_4.hmac-sha2_integrity_protection", true),
        // The payload is elsewhere.
        ("jws/4_5.signature_with_detached_content", false),
        // JSON serialisation alone.
        ("jws/4_6.protecting_specific_header_fields", false),
        ("jws/4_7.protecting_content_only", false),
        ("jws/4_8.multiple_signatures", false),
        // The payload is not encoded.
        ("rfc7797/4.2.hmac-sha2_b64_false", false),
        ("rfc7797/hmac-sha2_b64_false", false),
        ("curve25519/jws", true),
    ];
    let mut outcomes = Vec::new();
    for (name, is_good) in cases {
        let Some(example) = vectors::<Example>(&format!("rfc/cookbook/{name}.json")) else { return };
        let key = match &example.input.key {
            Value::Array(keys) => {
                json!({ "keys": keys.iter().cloned().map(public_half).collect::<Vec<_>>() })
            }
            key => public_half(key.clone()),
        };
        let json = example.output.json.to_string();
        assert_eq!(Signed::parse(&json).map(|_| ()), Err(Error::NotThreeParts), "{name}: JSON serialisation");
        let token = example.output.compact.unwrap_or(json);
        outcomes.push(Outcome::good_or_bad(name, is_good, verify_signed(&token, &key)));
    }
    hold("rfc/cookbook", &outcomes);
}

#[derive(Deserialize)]
struct Thumbprint {
    jwk: Value,
    sha256: String,
}

#[test]
fn the_thumbprints_of_rfc_7638_and_8037_are_ours() {
    let Some(examples) = vectors::<Vec<Thumbprint>>("rfc/thumbprints.json") else { return };
    assert_eq!(examples.len(), 2);
    for Thumbprint { mut jwk, sha256 } in examples {
        let algorithm = if jwk["kty"] == "RSA" { "RS256" } else { "EdDSA" };
        let members = jwk.as_object_mut().expect("a key is an object");
        members.insert("alg".into(), algorithm.into());
        members.insert("use".into(), "sig".into());
        members.insert("kid".into(), sha256.as_str().into());
        let key: PublicKey = serde_json::from_value(jwk.clone()).expect("its kid is its thumbprint");
        assert_eq!(key.thumbprint(), sha256);
        jwk["kid"] = "2011-04-29".into();
        assert!(serde_json::from_value::<PublicKey>(jwk).is_err());
    }
}
