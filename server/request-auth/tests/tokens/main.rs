//! What this crate promises of tokens, keys and signatures beyond the public vectors.

mod claims;
mod keys;
mod properties;
mod reading;
mod signing;

use alts_request_auth::{Algorithm, SigningKey};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;

/// The private key of RFC 8037, appendix A.1, as PKCS#8 version 1.
const RFC_8037_KEY: &str =
    "302e020100300506032b6570042204209d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";

fn rfc_8037_key() -> SigningKey {
    let der = hex::decode(RFC_8037_KEY).expect("it is hex");
    SigningKey::from_pkcs8(Algorithm::EdDSA, &der).expect("it is a key")
}

/// A token of any header and payload, signed with the key of RFC 8037.
fn token(header: &str, payload: &str) -> String {
    let message = format!("{}.{}", encode(header.as_bytes()), encode(payload.as_bytes()));
    let signature = rfc_8037_key().signature(message.as_bytes(), &SystemRandom::new()).expect("it is signed");
    format!("{message}.{}", encode(&signature))
}

/// A token with these claims and the plainest header.
fn token_with(claims: &str) -> String {
    token(r#"{"alg":"EdDSA"}"#, claims)
}

fn encode(octets: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(octets)
}
