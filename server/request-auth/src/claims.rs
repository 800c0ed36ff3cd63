//! The claims of a token (RFC 7519, section 4): the registered ones have their types, all others are as they are.

use serde_json::{Map, Value};

use crate::{error::Error, json};

/// What a token says. Nothing of it is proved before the signature is.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims {
    all: Map<String, Value>,
    audiences: Vec<String>,
    expires: Option<u64>,
    not_before: Option<u64>,
    issued_at: Option<u64>,
}

impl Claims {
    /// Reads a payload. The order is that of Envoy, so that the first fault is the same.
    pub(crate) fn parse(payload: &[u8]) -> Result<Self, Error> {
        let all = json::object(payload).map_err(|_| Error::PayloadNotJson)?;
        string(&all, "iss")?;
        string(&all, "sub")?;
        let issued_at = seconds(&all, "iat")?;
        let not_before = seconds(&all, "nbf")?;
        let expires = seconds(&all, "exp")?.filter(|expires| *expires != 0);
        string(&all, "jti")?;
        let audiences = audiences(&all)?;
        Ok(Self { all, audiences, expires, not_before, issued_at })
    }

    /// `iss`.
    pub fn issuer(&self) -> Option<&str> {
        self.string("iss")
    }

    /// `sub`.
    pub fn subject(&self) -> Option<&str> {
        self.string("sub")
    }

    /// `jti`.
    pub fn id(&self) -> Option<&str> {
        self.string("jti")
    }

    /// `aud`, whether it is a string or a list.
    pub fn audiences(&self) -> &[String] {
        &self.audiences
    }

    /// `exp` in seconds since 1970; 0 is none.
    pub fn expires(&self) -> Option<u64> {
        self.expires
    }

    /// `nbf` in seconds since 1970.
    pub fn not_before(&self) -> Option<u64> {
        self.not_before
    }

    /// `iat` in seconds since 1970.
    pub fn issued_at(&self) -> Option<u64> {
        self.issued_at
    }

    /// All of them.
    pub fn all(&self) -> &Map<String, Value> {
        &self.all
    }

    /// One of them by its JSON pointer (RFC 6901), such as `/kubernetes.io/namespace`.
    pub fn pointer(&self, pointer: &str) -> Option<&Value> {
        let path = pointer.strip_prefix('/')?;
        let (name, rest) = path.split_at(path.find('/').unwrap_or(path.len()));
        self.all.get(&name.replace("~1", "/").replace("~0", "~"))?.pointer(rest)
    }

    fn string(&self, name: &str) -> Option<&str> {
        self.all.get(name).and_then(Value::as_str)
    }
}

fn string(all: &Map<String, Value>, name: &'static str) -> Result<(), Error> {
    match all.get(name) {
        None | Some(Value::String(_)) => Ok(()),
        Some(_) => Err(Error::NotString(name)),
    }
}

/// Fractions are cut off.
fn seconds(all: &Map<String, Value>, name: &'static str) -> Result<Option<u64>, Error> {
    let Some(value) = all.get(name) else { return Ok(None) };
    let Value::Number(number) = value else { return Err(Error::NotInteger(name)) };
    if let Some(seconds) = number.as_u64() {
        return Ok(Some(seconds));
    }
    let seconds = number.as_f64().ok_or(Error::OutOfRange(name))?;
    // 2^64 has an exact double; every double below it fits.
    let fits = (0.0..18_446_744_073_709_551_616.0).contains(&seconds);
    if fits { Ok(Some(seconds as u64)) } else { Err(Error::OutOfRange(name)) }
}

fn audiences(all: &Map<String, Value>) -> Result<Vec<String>, Error> {
    let one = |value: &Value| value.as_str().map(str::to_owned).ok_or(Error::AudNotStrings);
    match all.get("aud") {
        None => Ok(Vec::new()),
        Some(Value::Array(list)) => list.iter().map(one).collect(),
        Some(value) => Ok(vec![one(value)?]),
    }
}
