//! The examples of RFC 7515, 7520, 7638, 7797 and 8037.

use alts_request_auth::{Algorithm, Error, KeySet, PublicKey, Signed, SigningKey, Token};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
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

#[test]
fn the_rsa_key_of_rfc_7515_signs_what_its_appendix_shows() {
    let Some(examples) = vectors::<Vec<Jws>>("rfc/jws.json") else { return };
    let example = examples.iter().find(|example| example.id == "RFC 7515 A.2").expect("it is there");
    let jwk = example.jwk.as_ref().expect("it has a key");
    let random = SystemRandom::new();
    let key = SigningKey::from_pkcs8(Algorithm::Rs256, &pkcs8(jwk)).expect("it is a key");
    let (message, signature) = example.compact.rsplit_once('.').expect("it has a signature");
    let made = key.signature(message.as_bytes(), &random).expect("it is signed");
    assert_eq!(URL_SAFE_NO_PAD.encode(made), signature);
    let token = key.sign("JWT", b"{}", &random).expect("it is signed");
    let keys = KeySet::of([key.public()]);
    assert_eq!(Token::parse(&token).and_then(|token| token.verify_signature(&keys)), Ok(()));
    let public = serde_json::to_value(key.public()).expect("it is JSON");
    assert_eq!((&public["n"], &public["e"], &public["alg"]), (&jwk["n"], &jwk["e"], &json!("RS256")));
    assert!(public.get("d").is_none());
}

/// A private RSA key as PKCS#8 DER (RFC 5208, section 5; RFC 8017, appendix A.1.2).
fn pkcs8(jwk: &Value) -> Vec<u8> {
    let number = |name: &str| {
        let octets =
            URL_SAFE_NO_PAD.decode(jwk[name].as_str().expect("it is there")).expect("it is base64url");
        // A number whose first bit is set would be negative.
        der(0x02, &[&[0][..], &octets].concat()[usize::from(octets[0] < 0x80)..])
    };
    let version = der(0x02, &[0]);
    let numbers = ["n", "e", "d", "p", "q", "dp", "dq", "qi"].map(number).concat();
    let key = der(0x30, &[&version[..], &numbers].concat());
    let rsa_encryption = hex::decode("300d06092a864886f70d0101010500").expect("it is hex");
    der(0x30, &[&version[..], &rsa_encryption, &der(0x04, &key)].concat())
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = u16::try_from(content.len()).expect("it is short").to_be_bytes();
    let head = if content.len() < 0x80 { vec![tag, len[1]] } else { vec![tag, 0x82, len[0], len[1]] };
    // The shortest form is demanded: between 128 and 255 octets the length takes one.
    let head = if (0x80..0x100).contains(&content.len()) { vec![tag, 0x81, len[1]] } else { head };
    [head, content.to_vec()].concat()
}
