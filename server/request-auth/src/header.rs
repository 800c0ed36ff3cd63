//! The header of a token (RFC 7515, section 4), as far as it decides anything here.

use serde_json::{Map, Value};

use crate::{algorithm::Algorithm, base64url, error::Error, json};

/// What a token says of its own signature. Keys that it names (`jku`, `jwk`, `x5c`, `x5u`) are never followed.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    algorithm: Algorithm,
    raw: Map<String, Value>,
}

impl Header {
    pub(crate) fn parse(segment: &str) -> Result<Self, Error> {
        let octets = base64url::decode(segment).ok_or(Error::HeaderNotBase64)?;
        let raw = json::object(&octets).map_err(|_| Error::HeaderNotJson)?;
        let algorithm = raw.get("alg").and_then(Value::as_str).ok_or(Error::AlgMissing)?;
        let algorithm = algorithm.parse().map_err(|_| Error::AlgUnsupported)?;
        if raw.get("kid").is_some_and(|kid| !kid.is_string()) {
            return Err(Error::KidNotString);
        }
        // An unencoded payload (RFC 7797) must be named in `crit`; a signer who forgot that means it all the same.
        let plain_payload = raw.get("b64").is_some_and(|encoded| *encoded != Value::Bool(true));
        if raw.contains_key("crit") || plain_payload {
            return Err(Error::CritUnsupported);
        }
        Ok(Self { algorithm, raw })
    }

    /// `alg`.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// `kid`; an empty one is none.
    pub fn kid(&self) -> Option<&str> {
        self.string("kid").filter(|kid| !kid.is_empty())
    }

    /// `typ`, where it is a string.
    pub fn typ(&self) -> Option<&str> {
        self.string("typ")
    }

    /// All of it.
    pub fn raw(&self) -> &Map<String, Value> {
        &self.raw
    }

    fn string(&self, name: &str) -> Option<&str> {
        self.raw.get(name).and_then(Value::as_str)
    }
}
