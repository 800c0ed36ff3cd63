//! Wycheproof's bare signatures: keys as JWK, messages and signatures as they are.

use alts_request_auth::Algorithm;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Outcome, hold, key_set, vectors};

pub(crate) const SUITES: &[&str] = &[
    "wycheproof/ed25519",
    "wycheproof/ecdsa_secp256r1_sha256_p1363",
    "wycheproof/ecdsa_secp384r1_sha384_p1363",
    "wycheproof/rsa_signature_2048_sha256",
    "wycheproof/rsa_pss_2048_sha256_mgf1_32",
    "wycheproof/hmac_sha256",
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Suite {
    test_groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    public_key: Option<PublicKey>,
    tests: Vec<Test>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PublicKey {
    pk: Option<String>,
    uncompressed: Option<String>,
    modulus: Option<String>,
    public_exponent: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Test {
    tc_id: u32,
    /// Of tests of MACs.
    key: Option<String>,
    msg: String,
    #[serde(alias = "tag")]
    sig: String,
    result: String,
}

impl PublicKey {
    fn to_jwk(&self, algorithm: Algorithm) -> Value {
        let hex =
            |text: &Option<String>| hex::decode(text.as_ref().expect("it is there")).expect("it is hex");
        match algorithm {
            Algorithm::EdDSA => json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(&hex(&self.pk)) }),
            Algorithm::Es256 | Algorithm::Es384 => {
                let point = hex(&self.uncompressed);
                let (x, y) = point[1..].split_at(point.len() / 2);
                let curve = if algorithm == Algorithm::Es256 { "P-256" } else { "P-384" };
                json!({ "kty": "EC", "crv": curve, "x": encode(x), "y": encode(y) })
            }
            _ => {
                let (n, e) = (hex(&self.modulus), hex(&self.public_exponent));
                json!({ "kty": "RSA", "n": encode(&n), "e": encode(&e) })
            }
        }
    }
}

fn encode(octets: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(octets)
}

fn run(suite: &str, algorithm: Algorithm, cases: usize) {
    let Some(Suite { test_groups }) = vectors(&format!("{suite}_test.json")) else { return };
    let mut outcomes = Vec::new();
    for Group { public_key, tests } in test_groups {
        for Test { tc_id, key, msg, sig, result } in tests {
            let jwk = match (&public_key, key) {
                (Some(key), _) => key.to_jwk(algorithm),
                (None, key) => {
                    let secret = hex::decode(key.expect("a MAC has a key")).expect("it is hex");
                    json!({ "kty": "oct", "k": encode(&secret) })
                }
            };
            let (message, signature) = (hex::decode(msg), hex::decode(sig));
            let (message, signature) = (message.expect("it is hex"), signature.expect("it is hex"));
            let found = key_set(&jwk).map_err(|error| error.reason()).and_then(|keys| {
                keys.verify(algorithm, None, &message, &signature).map_err(|error| error.reason())
            });
            // Either answer is right for what is acceptable.
            let is_good = if result == "acceptable" { found.is_ok() } else { result == "valid" };
            outcomes.push(Outcome::good_or_bad(tc_id, is_good, found));
        }
    }
    assert_eq!(outcomes.len(), cases);
    hold(suite, &outcomes);
}

#[test]
fn ed25519_is_verified_as_wycheproof_says() {
    run("wycheproof/ed25519", Algorithm::EdDSA, 151);
}

#[test]
fn es256_is_verified_as_wycheproof_says() {
    run("wycheproof/ecdsa_secp256r1_sha256_p1363", Algorithm::Es256, 262);
}

#[test]
fn es384_is_verified_as_wycheproof_says() {
    run("wycheproof/ecdsa_secp384r1_sha384_p1363", Algorithm::Es384, 280);
}

#[test]
fn rs256_is_verified_as_wycheproof_says() {
    run("wycheproof/rsa_signature_2048_sha256", Algorithm::Rs256, 259);
}

#[test]
fn ps256_is_verified_as_wycheproof_says() {
    run("wycheproof/rsa_pss_2048_sha256_mgf1_32", Algorithm::Ps256, 108);
}

#[test]
fn hs256_is_verified_as_wycheproof_says() {
    run("wycheproof/hmac_sha256", Algorithm::Hs256, 174);
}
