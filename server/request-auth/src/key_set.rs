//! Sets of public keys (RFC 7517, section 5).

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    algorithm::Algorithm,
    error::Error,
    json,
    jwk::{Key, Unusable},
    jwt_ring,
    public_key::PublicKey,
};

/// Most octets of a set.
const MAX_SET: usize = 1024 * 1024;

/// Most keys of a set. A fleet of a thousand nodes has some thousands, which its tokens name by `kid`.
const MAX_KEYS: usize = 10_000;

/// Most keys that a token without `kid` is tried with. Where more would fit, it has to name one.
const MAX_TRIED: usize = 100;

/// The keys of one issuer. A key that cannot be used is left out of it.
#[derive(Clone, Debug)]
pub struct KeySet {
    keys: Vec<Key>,
    skipped: Vec<SkippedKey>,
}

/// A key that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedKey {
    /// Its `kid`, if that is a string.
    pub kid: Option<String>,
    /// Why it cannot be used.
    pub why: Unusable,
}

/// Why a document is no set of keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// It is longer than 1 MiB.
    #[error("the key set has {0} octets, more than the {MAX_SET} that are read")]
    TooLong(usize),
    /// It is no JSON object, or has a member twice.
    #[error("the key set is no JSON object: {0}")]
    NotJson(String),
    /// It has no list `keys`.
    #[error("the key set has no list [keys]")]
    NoList,
    /// It has more than 10,000 keys.
    #[error("the key set has {0} keys, more than the {MAX_KEYS} that are read")]
    TooMany(usize),
    /// None of its keys can be used.
    #[error("the key set has no key that can be used: of {0} keys, the first is left out because {1}")]
    NoneUsable(usize, Unusable),
    /// It has no key at all.
    #[error("the key set is empty")]
    Empty,
    /// Two of its keys have one `kid`.
    #[error("the key set has more than one key with [kid] {0:?}")]
    SameKid(String),
    /// It has symmetric and asymmetric keys. Where both are, a public key may be taken for a secret.
    #[error("the key set has symmetric and asymmetric keys")]
    Mixed,
}

impl KeySetError {
    /// A stable code for logs and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TooLong(_) => "key_set_too_long",
            Self::NotJson(_) => "key_set_not_json",
            Self::NoList => "key_set_without_keys",
            Self::TooMany(_) => "key_set_too_many_keys",
            Self::NoneUsable(..) => "key_set_none_usable",
            Self::Empty => "key_set_empty",
            Self::SameKid(_) => "key_set_same_kid",
            Self::Mixed => "key_set_mixed",
        }
    }
}

impl KeySet {
    /// Reads a set. Every key of it that cannot be used is skipped; without one that can, it is an error.
    pub fn parse(document: &[u8]) -> Result<Self, KeySetError> {
        if document.len() > MAX_SET {
            return Err(KeySetError::TooLong(document.len()));
        }
        let set = json::object(document).map_err(|error| KeySetError::NotJson(error.to_string()))?;
        let listed = set.get("keys").and_then(Value::as_array).ok_or(KeySetError::NoList)?;
        if listed.len() > MAX_KEYS {
            return Err(KeySetError::TooMany(listed.len()));
        }
        let (mut keys, mut skipped) = (Vec::new(), Vec::new());
        for jwk in listed {
            match Key::read(jwk) {
                Ok(key) => keys.push(key),
                Err(why) => {
                    let kid = jwk.get("kid").and_then(Value::as_str).map(str::to_owned);
                    skipped.push(SkippedKey { kid, why });
                }
            }
        }
        if keys.is_empty() {
            let first = skipped.first().map(|key| key.why);
            return Err(first.map_or(KeySetError::Empty, |why| KeySetError::NoneUsable(listed.len(), why)));
        }
        check_kids(&keys, &skipped)?;
        let symmetric = keys.iter().filter(|key| key.is_symmetric()).count();
        if symmetric != 0 && symmetric != keys.len() {
            return Err(KeySetError::Mixed);
        }
        Ok(Self { keys, skipped })
    }

    /// The set of our own keys, which may be empty.
    pub fn of<'a>(keys: impl IntoIterator<Item = &'a PublicKey>) -> Self {
        Self { keys: keys.into_iter().map(PublicKey::to_key).collect(), skipped: Vec::new() }
    }

    /// How many keys can be used.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key can be used.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// What was left out, in the order of the set.
    pub fn skipped(&self) -> &[SkippedKey] {
        &self.skipped
    }

    /// Whether its keys are secrets, which whoever verifies could sign with.
    pub fn has_symmetric(&self) -> bool {
        self.keys.iter().any(Key::is_symmetric)
    }

    /// Whether a key that can be used has this `kid`.
    pub fn contains(&self, kid: &str) -> bool {
        self.keys.iter().any(|key| key.kid.as_deref() == Some(kid))
    }

    /// Whether a key of the set has signed the message. Keys count that have this `kid`, if there is one on both
    /// sides, and are for this algorithm.
    pub fn verify(
        &self,
        algorithm: Algorithm,
        kid: Option<&str>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Error> {
        if self.is_empty() {
            return Err(Error::NoKeys);
        }
        let named = |key: &&Key| match (kid, key.kid.as_deref()) {
            (Some(wanted), Some(own)) => wanted == own,
            _ => true,
        };
        let fitting = self.keys.iter().filter(named).filter(|key| key.is_for(algorithm));
        let fitting: Vec<_> = fitting.take(MAX_TRIED + 1).collect();
        if fitting.is_empty() || fitting.len() > MAX_TRIED {
            return Err(Error::NoMatchingKey);
        }
        if algorithm == Algorithm::EdDSA && signature.len() != 64 {
            return Err(Error::Ed25519Length);
        }
        let algorithm = algorithm.to_library();
        let good = fitting.iter().any(|key| jwt_ring::is_signed(algorithm, &key.key, message, signature));
        if good { Ok(()) } else { Err(Error::BadSignature) }
    }
}

/// No two keys may be called the same, whether or not both can be used. Keys for other purposes do not count: some
/// issuers name the key that they encrypt with like the one that they sign with.
fn check_kids(keys: &[Key], skipped: &[SkippedKey]) -> Result<(), KeySetError> {
    let skipped = skipped.iter().filter(|key| !key.why.is_other_purpose());
    let skipped = skipped.filter_map(|key| key.kid.as_deref()).filter(|kid| !kid.is_empty());
    let mut kids = BTreeSet::new();
    for kid in keys.iter().filter_map(|key| key.kid.as_deref()).chain(skipped) {
        if !kids.insert(kid) {
            return Err(KeySetError::SameKid(kid.to_owned()));
        }
    }
    Ok(())
}
