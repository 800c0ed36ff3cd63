//! Whatever comes is answered, and what was changed is not taken.

use alts_request_auth::{Algorithm, Expected, KeySet, PublicKey, Signed, SigningKey, Token};
use proptest::prelude::*;
use serde_json::Value;

use super::{encode, rfc_8037_key, token};

const EXPECTED: Expected<'_> = Expected { issuer: None, audiences: &[], must_expire: false };

/// Goes through everything that a token can be asked.
fn ask(text: &str, keys: &KeySet, now: u64) -> bool {
    let _ = Signed::parse(text).map(|signed| signed.verify(keys));
    let Ok(token) = Token::parse(text) else { return false };
    let claims = token.claims();
    for pointer in ["/iss", "/aud/0", "/~1", "/~", "//", "/a/b/c"] {
        let _ = claims.pointer(pointer);
    }
    let _ = (token.header().kid(), token.header().typ(), claims.issuer(), claims.subject(), claims.id());
    token.check(&EXPECTED, keys, now).is_ok()
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    let names = prop_oneof![
        "iss|sub|aud|exp|nbf|iat|jti|alg|kid|typ|crit|b64",
        "keys|kty|crv|x|y|n|e|k|use|key_ops|d",
        ".{0,4}",
    ];
    leaf.prop_recursive(4, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::btree_map(names.clone(), inner, 0..8)
                .prop_map(|members| members.into_iter().collect()),
        ]
    })
}

/// Something that is nearly a key.
fn key() -> impl Strategy<Value = Value> {
    let text = |choices: &'static [&'static str]| prop::sample::select(choices).prop_map(Value::from);
    let octets =
        || prop::collection::vec(any::<u8>(), 0..300).prop_map(|octets| Value::from(encode(&octets)));
    let members = (
        text(&["RSA", "EC", "OKP", "oct", "AKP"]),
        text(&["P-256", "P-384", "P-521", "Ed25519", ""]),
        prop::option::of(prop_oneof![text(&["RS256", "ES256", "ES384", "EdDSA", "HS256", "HS512"]), json()]),
        [octets(), octets(), octets(), octets(), octets()],
    );
    members.prop_map(|(kty, crv, alg, [x, y, n, e, k])| {
        let mut key = serde_json::json!({ "kty": kty, "crv": crv, "x": x, "y": y, "n": n, "e": e, "k": k });
        if let Some(alg) = alg {
            key["alg"] = alg;
        }
        key
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn any_octets_are_answered(octets in prop::collection::vec(any::<u8>(), 0..2_000), now in any::<u64>()) {
        let keys = KeySet::of([rfc_8037_key().public()]);
        prop_assert!(!ask(&String::from_utf8_lossy(&octets), &keys, now));
        prop_assert!(KeySet::parse(&octets).is_err());
        for algorithm in Algorithm::ALL {
            prop_assert!(SigningKey::from_pkcs8(algorithm, &octets).is_err());
            prop_assert!(keys.verify(algorithm, None, &octets, &octets).is_err());
        }
    }

    #[test]
    fn any_three_parts_are_answered(
        parts in [prop::collection::vec(any::<u8>(), 0..200), prop::collection::vec(any::<u8>(), 0..200), prop::collection::vec(any::<u8>(), 0..200)],
        now in any::<u64>(),
    ) {
        let keys = KeySet::of([rfc_8037_key().public()]);
        prop_assert!(!ask(&parts.map(|part| encode(&part)).join("."), &keys, now));
    }

    #[test]
    fn any_json_in_header_and_claims_is_answered(header in json(), claims in json(), now in any::<u64>()) {
        let keys = KeySet::of([rfc_8037_key().public()]);
        ask(&token(&header.to_string(), &claims.to_string()), &keys, now);
        ask(&token(r#"{"alg":"EdDSA"}"#, &claims.to_string()), &keys, now);
    }

    #[test]
    fn any_set_of_keys_is_answered_and_verifies_nothing(
        keys in prop::collection::vec(prop_oneof![key(), json()], 0..4),
        signature in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        for document in [serde_json::json!({ "keys": keys }), Value::from(keys)] {
            let _ = serde_json::from_value::<PublicKey>(document.clone());
            if let Ok(set) = KeySet::parse(document.to_string().as_bytes()) {
                for algorithm in Algorithm::ALL {
                    prop_assert!(set.verify(algorithm, None, b"message", &signature).is_err());
                }
            }
        }
    }

    #[test]
    fn a_token_that_was_changed_is_not_taken(at in any::<prop::sample::Index>(), change in 1_u8..=127, what in 0..3) {
        let key = rfc_8037_key();
        let keys = KeySet::of([key.public()]);
        let claims = br#"{"iss":"i","sub":"s","aud":["a","b"],"exp":1900000600}"#;
        let good = key.sign("at+jwt", claims, &ring::rand::SystemRandom::new()).expect("it is signed");
        prop_assert!(ask(&good, &keys, 1_900_000_000));
        let mut octets = good.clone().into_bytes();
        let at = at.index(octets.len());
        match what {
            0 => octets[at] ^= change,
            1 => octets.insert(at, change),
            _ => drop(octets.remove(at)),
        }
        let changed = String::from_utf8(octets).expect("it is ASCII");
        prop_assert!(changed == good || !ask(&changed, &keys, 1_900_000_000), "{changed}");
    }
}
