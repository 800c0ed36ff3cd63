//! Which keys a set takes, and which of them a token may be verified with.

use alts_request_auth::{Algorithm, Error, KeySet, KeySetError, SigningKey};
use ring::rand::SystemRandom;
use serde_json::{Value, json};

use super::{encode, rfc_8037_key};

/// The public key of RFC 8037, appendix A.2.
fn okp() -> Value {
    json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" })
}

/// A modulus of so many bits that no signature is ever checked with.
fn rsa(bits: usize) -> Value {
    let mut modulus = vec![0xB7; bits / 8];
    modulus[bits / 8 - 1] |= 1;
    json!({ "kty": "RSA", "n": encode(&modulus), "e": "AQAB" })
}

fn ec() -> Value {
    json!({ "kty": "EC", "crv": "P-256", "x": encode(&[7; 32]), "y": encode(&[9; 32]) })
}

fn oct(octets: usize) -> Value {
    json!({ "kty": "oct", "k": encode(&vec![5; octets]) })
}

/// The key with other members; null takes one away.
fn with(mut key: Value, changes: Value) -> Value {
    let members = key.as_object_mut().expect("a key is an object");
    for (name, value) in changes.as_object().expect("changes are an object") {
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.clone(), value.clone());
        }
    }
    key
}

fn set(keys: &[Value]) -> Result<KeySet, KeySetError> {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
}

#[test]
fn a_key_that_cannot_be_used_is_skipped_with_its_reason_and_the_others_are_not() {
    let long = "its [x] has another length than keys of its curve";
    let bits = "it has less than 2048 or more than 8192 bits";
    let algorithm = "its [alg] is not supported, or not for its [kty] and [crv]";
    let private = "it is a private key, which everybody can sign with now";
    let purpose = "its [use] is not for signatures of tokens";
    let operations = "its [key_ops] does not allow to verify";
    let cases = [
        (json!("key"), "it is no object"),
        (json!([okp()]), "it is no object"),
        (json!({}), "its [kty] is missing or no string"),
        (with(okp(), json!({ "kty": 1 })), "its [kty] is missing or no string"),
        (with(okp(), json!({ "kty": "AKP" })), "its [kty] is not supported"),
        (with(okp(), json!({ "kty": "okp" })), "its [kty] is not supported"),
        (with(okp(), json!({ "kid": 7 })), "its [kid] is missing or no string"),
        (with(okp(), json!({ "alg": 7 })), "its [alg] is missing or no string"),
        (with(okp(), json!({ "alg": "none" })), algorithm),
        (with(okp(), json!({ "alg": "ES256" })), algorithm),
        (with(okp(), json!({ "alg": "Ed25519" })), algorithm),
        (with(okp(), json!({ "crv": "X25519" })), "its [crv] is not supported"),
        (with(okp(), json!({ "crv": "Ed448" })), "its [crv] is not supported"),
        (with(okp(), json!({ "crv": null })), "its [crv] is missing or no string"),
        (with(okp(), json!({ "x": null })), "its [x] is missing or no string"),
        (with(okp(), json!({ "x": "" })), "its [x] is no base64url"),
        (
            with(okp(), json!({ "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo=" })),
            "its [x] is no base64url",
        ),
        (
            with(okp(), json!({ "x": "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo" })),
            "its [x] is no base64url",
        ),
        (with(okp(), json!({ "x": encode(&[1; 31]) })), long),
        (with(okp(), json!({ "x": encode(&[1; 33]) })), long),
        (with(okp(), json!({ "d": encode(&[1; 32]) })), private),
        (with(okp(), json!({ "use": "enc" })), purpose),
        (with(okp(), json!({ "use": "x509-svid" })), purpose),
        (with(okp(), json!({ "use": ["sig"] })), purpose),
        (with(okp(), json!({ "use": "" })), purpose),
        (with(okp(), json!({ "key_ops": ["sign"] })), operations),
        (with(okp(), json!({ "key_ops": [] })), operations),
        (with(okp(), json!({ "key_ops": "verify" })), operations),
        (with(okp(), json!({ "use": "enc", "key_ops": ["verify"] })), purpose),
        (with(ec(), json!({ "crv": "P-521" })), "its [crv] is not supported"),
        (with(ec(), json!({ "crv": "secp256k1" })), "its [crv] is not supported"),
        (with(ec(), json!({ "crv": null, "alg": "ES512" })), "its [crv] is not supported"),
        (with(ec(), json!({ "crv": 256 })), "its [crv] is missing or no string"),
        (with(ec(), json!({ "alg": "ES384" })), algorithm),
        (with(ec(), json!({ "crv": "P-384", "alg": "ES256" })), algorithm),
        (with(ec(), json!({ "alg": "HS256" })), algorithm),
        (with(ec(), json!({ "x": encode(&[1; 33]) })), long),
        (with(ec(), json!({ "y": null })), "its [y] is missing or no string"),
        (with(ec(), json!({ "d": encode(&[1; 32]) })), private),
        (rsa(1024), bits),
        (rsa(2040), bits),
        (rsa(8200), bits),
        (with(rsa(2048), json!({ "n": encode(&[0; 256]) })), bits),
        (with(rsa(2048), json!({ "e": "AQ" })), "its [e] is neither 3 nor 65537"),
        (with(rsa(2048), json!({ "e": "AQAC" })), "its [e] is neither 3 nor 65537"),
        (with(rsa(2048), json!({ "e": "AA" })), "its [e] is neither 3 nor 65537"),
        (with(rsa(2048), json!({ "e": null })), "its [e] is missing or no string"),
        (with(rsa(2048), json!({ "alg": "RSA-OAEP" })), algorithm),
        (with(rsa(2048), json!({ "alg": "ES256" })), algorithm),
        (with(rsa(2048), json!({ "p": "AQ" })), private),
        (with(rsa(2048), json!({ "qi": "AQ" })), private),
    ];
    for (key, why) in cases {
        let keys = set(&[key.clone(), with(okp(), json!({ "kid": "good" }))]).expect("one key is good");
        let skipped: Vec<_> = keys.skipped().iter().map(|key| key.why.to_string()).collect();
        assert_eq!(skipped, [why], "{key}");
        assert_eq!((keys.len(), keys.contains("good")), (1, true), "{key}");
        let alone = set(&[key]).map(|_| ()).map_err(|error| error.reason());
        assert_eq!(alone, Err("key_set_none_usable"));
    }
}

#[test]
fn keys_that_say_no_more_than_they_must_are_taken() {
    let cases = [
        okp(),
        with(okp(), json!({ "alg": "EdDSA", "use": "sig", "key_ops": ["verify"], "x5c": ["MII"] })),
        with(okp(), json!({ "use": "jwt-svid", "kid": "" })),
        ec(),
        with(ec(), json!({ "crv": null })),
        with(ec(), json!({ "crv": null, "alg": "ES256" })),
        with(ec(), json!({ "crv": "P-384", "x": encode(&[7; 48]), "y": encode(&[9; 48]), "alg": "ES384" })),
        rsa(2048),
        rsa(8192),
        with(rsa(3072), json!({ "e": "Aw", "alg": "PS512" })),
        // A zero in front, as some libraries write it.
        with(rsa(2048), json!({ "e": "AAEAAQ" })),
        oct(32),
        with(oct(64), json!({ "alg": "HS512" })),
    ];
    for key in cases {
        let keys = set(std::slice::from_ref(&key)).unwrap_or_else(|error| panic!("{key}: {error}"));
        assert_eq!((keys.len(), keys.skipped().len(), keys.has_symmetric()), (1, 0, key["kty"] == "oct"));
    }
}

#[test]
fn a_document_that_is_no_set_is_refused_with_its_reason() {
    let good = okp().to_string();
    let kid = |key: Value, kid: &str| with(key, json!({ "kid": kid }));
    let same = [kid(okp(), "a"), kid(ec(), "a")];
    // The second cannot be used, and has the name all the same.
    let same_and_bad = [kid(okp(), "a"), kid(with(ec(), json!({ "x": "?" })), "a")];
    let mixed = [kid(okp(), "a"), kid(oct(32), "b")];
    let short = with(oct(47), json!({ "alg": "HS384" }));
    let documents = [
        (String::new(), "key_set_not_json"),
        ("not json".to_owned(), "key_set_not_json"),
        ("[]".to_owned(), "key_set_not_json"),
        (format!("[{good}]"), "key_set_not_json"),
        (format!(r#"{{"keys":[{good},]}}"#), "key_set_not_json"),
        (format!(r#"{{"keys":[{good}],"keys":[]}}"#), "key_set_not_json"),
        (format!(r#"{{"keys":[{good}]}}{{}}"#), "key_set_not_json"),
        (r#"{"keys":[{"kty":"OKP","kty":"OKP"}]}"#.to_owned(), "key_set_not_json"),
        (format!(r#"{{"keys":[{}{}]}}"#, "[".repeat(100_000), "]".repeat(100_000)), "key_set_not_json"),
        (good.clone(), "key_set_without_keys"),
        ("{}".to_owned(), "key_set_without_keys"),
        (format!(r#"{{"keys":{good}}}"#), "key_set_without_keys"),
        (r#"{"keys":null}"#.to_owned(), "key_set_without_keys"),
        (r#"{"Keys":[]}"#.to_owned(), "key_set_without_keys"),
        (r#"{"keys":[]}"#.to_owned(), "key_set_empty"),
        (json!({ "keys": [short] }).to_string(), "key_set_none_usable"),
        (json!({ "keys": [oct(31)] }).to_string(), "key_set_none_usable"),
        (json!({ "keys": [{ "kty": "oct", "k": "" }] }).to_string(), "key_set_none_usable"),
        (json!({ "keys": same }).to_string(), "key_set_same_kid"),
        (json!({ "keys": same_and_bad }).to_string(), "key_set_same_kid"),
        (json!({ "keys": mixed }).to_string(), "key_set_mixed"),
        (json!({ "keys": vec![okp(); 10_001] }).to_string(), "key_set_too_many_keys"),
        (format!("{good}{}", " ".repeat(1024 * 1024)), "key_set_too_long"),
    ];
    for (document, reason) in documents {
        let found = KeySet::parse(document.as_bytes()).map(|_| ()).map_err(|error| error.reason());
        assert_eq!(found, Err(reason), "{}", document.chars().take(200).collect::<String>());
    }
    assert_eq!(set(&vec![okp(); 100]).expect("they have no names").len(), 100);
    // The name of a key for another purpose does not count.
    let enc = kid(with(rsa(2048), json!({ "use": "enc" })), "a");
    assert_eq!(set(&[kid(okp(), "a"), enc]).expect("one is for signatures").len(), 1);
}

#[test]
fn a_secret_is_not_told() {
    let keys = set(&[with(oct(32), json!({ "kid": "a" }))]).expect("it is a key");
    assert!(!format!("{keys:?}").contains("5, 5"), "{keys:?}");
}

#[test]
fn a_key_counts_that_has_the_name_and_is_for_the_algorithm() {
    let key = rfc_8037_key();
    let signature = key.signature(b"message", &SystemRandom::new()).expect("it is signed");
    let named = |kid: Value, alg: Value| with(okp(), json!({ "kid": kid, "alg": alg }));
    let other = |kid: Value| with(okp(), json!({ "x": encode(&[3; 32]), "kid": kid }));
    let (null, a) = (Value::Null, Some("a"));
    let cases = [
        (vec![named(null.clone(), null.clone())], a, Algorithm::EdDSA, Ok(())),
        (vec![named(json!("a"), null.clone())], None, Algorithm::EdDSA, Ok(())),
        (vec![named(json!("a"), json!("EdDSA"))], a, Algorithm::EdDSA, Ok(())),
        // Every key that fits is tried.
        (vec![other(null.clone()), named(null.clone(), null.clone())], a, Algorithm::EdDSA, Ok(())),
        (vec![other(json!("b")), named(json!("a"), null.clone())], None, Algorithm::EdDSA, Ok(())),
        (vec![named(json!("b"), null.clone())], a, Algorithm::EdDSA, Err(Error::NoMatchingKey)),
        (vec![named(json!("A"), null.clone())], a, Algorithm::EdDSA, Err(Error::NoMatchingKey)),
        (
            vec![other(json!("a")), named(json!("b"), null.clone())],
            a,
            Algorithm::EdDSA,
            Err(Error::BadSignature),
        ),
        (vec![other(null.clone())], None, Algorithm::EdDSA, Err(Error::BadSignature)),
        // The kind of a key that names no algorithm decides which it is for.
        (vec![named(null.clone(), null.clone())], a, Algorithm::Es256, Err(Error::NoMatchingKey)),
        (vec![named(null.clone(), null.clone())], a, Algorithm::Hs256, Err(Error::NoMatchingKey)),
        (vec![named(null.clone(), null)], a, Algorithm::Rs256, Err(Error::NoMatchingKey)),
        (vec![ec()], None, Algorithm::Es384, Err(Error::NoMatchingKey)),
        // A point that is not on the curve.
        (vec![ec()], None, Algorithm::Es256, Err(Error::BadSignature)),
        (vec![with(rsa(2048), json!({ "alg": "RS256" }))], None, Algorithm::Ps256, Err(Error::NoMatchingKey)),
        (vec![rsa(2048)], None, Algorithm::Ps256, Err(Error::BadSignature)),
        // Long enough for one hash and not for another.
        (vec![oct(32)], None, Algorithm::Hs256, Err(Error::BadSignature)),
        (vec![oct(32)], None, Algorithm::Hs384, Err(Error::NoMatchingKey)),
    ];
    for (keys, kid, algorithm, result) in cases {
        let found = set(&keys).expect("it is a set").verify(algorithm, kid, b"message", &signature);
        assert_eq!(found, result, "{keys:?} {kid:?} {algorithm}");
    }
    let keys = KeySet::of([key.public()]);
    for len in [0, 63, 65] {
        let found = keys.verify(Algorithm::EdDSA, None, b"message", &vec![1; len]);
        assert_eq!(found, Err(Error::Ed25519Length));
    }
    assert_eq!(KeySet::of([]).verify(Algorithm::EdDSA, None, b"message", &signature), Err(Error::NoKeys));
}

#[test]
fn a_public_key_is_no_secret_for_hmac() {
    // The known confusion: the octets of a public key as the key of an HMAC.
    let public = rfc_8037_key().public().clone();
    let x = serde_json::to_value(&public).expect("it is JSON")["x"].as_str().expect("it has x").to_owned();
    let mac = ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, x.as_bytes()), b"message");
    let found = KeySet::of([&public]).verify(Algorithm::Hs256, None, b"message", mac.as_ref());
    assert_eq!(found, Err(Error::NoMatchingKey));
}

#[test]
fn coordinates_get_their_leading_zeros_back() {
    let random = SystemRandom::new();
    let zero_led = (0..100_000).find_map(|_| {
        let (key, _) = SigningKey::generate(Algorithm::Es256, &random).expect("a key is generated");
        let jwk = serde_json::to_value(key.public()).expect("it is JSON");
        // Six bits of zeros.
        jwk["x"].as_str().is_some_and(|x| x.starts_with("AA")).then_some((key, jwk))
    });
    let (key, jwk) = zero_led.expect("one key of 4,096 is led by zeros");
    let signature = key.signature(b"message", &random).expect("it is signed");
    let x = jwk["x"].as_str().map(base64_octets).expect("it has x");
    for (x, good) in [(x[1..].to_vec(), true), (x.clone(), true), ([&[0][..], &x].concat(), false)] {
        let changed = with(jwk.clone(), json!({ "x": encode(&x) }));
        let found = set(&[changed]).map(|keys| keys.verify(Algorithm::Es256, None, b"message", &signature));
        assert_eq!(found == Ok(Ok(())), good, "{}", x.len());
    }
}

fn base64_octets(text: &str) -> Vec<u8> {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    URL_SAFE_NO_PAD.decode(text).expect("it is base64url")
}
