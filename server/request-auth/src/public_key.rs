//! The public keys that we publish: always with `kid` and `alg`, and named by what they are.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    algorithm::Algorithm,
    base64url,
    jwk::{Key, Unusable},
    jwt_ring::{PublicHalf, sha256},
};

/// A public key as it stands in the set that we publish. Its `kid` is its thumbprint; one that says otherwise is not
/// deserialised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Jwk")]
pub struct PublicKey(Jwk);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Jwk {
    kty: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    crv: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    x: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    y: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    n: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    e: Option<String>,
    kid: String,
    alg: Algorithm,
    r#use: String,
}

impl PublicKey {
    pub(crate) fn new(alg: Algorithm, half: &PublicHalf) -> Self {
        let text = |octets: &[u8]| Some(base64url::encode(octets));
        let jwk = |kty: &str, crv: Option<&str>| Jwk {
            kty: kty.to_owned(),
            crv: crv.map(str::to_owned),
            x: None,
            y: None,
            n: None,
            e: None,
            kid: String::new(),
            alg,
            r#use: "sig".to_owned(),
        };
        let mut jwk = match half {
            PublicHalf::P256 { x, y } => Jwk { x: text(x), y: text(y), ..jwk("EC", Some("P-256")) },
            PublicHalf::Ed25519 { x } => Jwk { x: text(x), ..jwk("OKP", Some("Ed25519")) },
            PublicHalf::Rsa { n, e } => Jwk { n: text(n), e: text(e), ..jwk("RSA", None) },
        };
        jwk.kid = jwk.thumbprint();
        Self(jwk)
    }

    /// `kid`: the thumbprint.
    pub fn kid(&self) -> &str {
        &self.0.kid
    }

    /// `alg`: the only one that it verifies.
    pub fn algorithm(&self) -> Algorithm {
        self.0.alg
    }

    /// The SHA-256 thumbprint of RFC 7638, base64url.
    pub fn thumbprint(&self) -> String {
        self.0.thumbprint()
    }

    pub(crate) fn to_key(&self) -> Key {
        self.0.to_key().expect("it was read when it was deserialised, or is that of a private key in use")
    }
}

impl Jwk {
    /// Of the members that make the key, in the order of their names (RFC 7638, section 3).
    fn thumbprint(&self) -> String {
        let Self { kty, crv, x, y, n, e, .. } = self;
        let members = match &**kty {
            "EC" => json!({"crv": crv, "kty": kty, "x": x, "y": y}),
            "OKP" => json!({"crv": crv, "kty": kty, "x": x}),
            _ => json!({"e": e, "kty": kty, "n": n}),
        };
        base64url::encode(&sha256(members.to_string().as_bytes()))
    }

    fn to_key(&self) -> Result<Key, Unusable> {
        Key::read(&serde_json::to_value(self).unwrap_or(Value::Null))
    }
}

impl TryFrom<Jwk> for PublicKey {
    type Error = String;

    fn try_from(jwk: Jwk) -> Result<Self, String> {
        jwk.to_key().map_err(|why| format!("the public key {:?} cannot be used: {why}", jwk.kid))?;
        let present = [&jwk.crv, &jwk.x, &jwk.y, &jwk.n, &jwk.e].map(Option::is_some);
        let is_whole = match &*jwk.kty {
            "EC" => present == [true, true, true, false, false],
            "OKP" => present == [true, true, false, false, false],
            _ => present == [false, false, false, true, true],
        };
        if !is_whole {
            return Err(format!("the public key {:?} has other members than keys of its kind", jwk.kid));
        }
        let thumbprint = jwk.thumbprint();
        if thumbprint != jwk.kid {
            return Err(format!(
                "the public key {:?} is not the one that its kid says: {thumbprint}",
                jwk.kid
            ));
        }
        Ok(Self(jwk))
    }
}
