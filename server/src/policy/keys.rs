//! Where in the store each resource is kept. The key alone says what a record is of, so that one that cannot be read
//! is still known by its name: it revokes what its key names, without end.

use super::{
    name::{AccountName, Name},
    pattern::parse_sha256,
    problem::{Problem, shortened},
    revocation::{Revoked, Serial},
    target::TargetKey,
};

/// Under which each kind is listed and watched.
pub(crate) const PEER_LISTS: &str = "peer-lists/";
pub(crate) const RULES: &str = "rules/";
pub(crate) const TARGET_NAMES: &str = "target-names/";
pub(crate) const REVOCATIONS: &str = "revocations/";

const ACCOUNTS: &str = "accounts/";
const CERTIFICATES: &str = "certificates/";
const KEYS: &str = "keys/";

/// What a key of the store names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Key {
    /// `peer-lists/NAME`
    PeerList(Name),
    /// `rules/NAME`
    Rule(Name),
    /// `target-names/HOST:PORT`
    TargetName(TargetKey),
    /// `revocations/accounts/ACCOUNT`, `revocations/certificates/SHA-256 OF THE ISSUER/SERIAL`, or
    /// `revocations/keys/SHA-256`
    Revocation(Revoked),
}

impl Key {
    /// The resource that a key names; the problem of a key that names none, or not in its one spelling.
    pub(crate) fn parse(key: &str) -> Result<Self, Problem> {
        let found = if let Some(name) = key.strip_prefix(PEER_LISTS) {
            Self::PeerList(Name::parse(name)?)
        } else if let Some(name) = key.strip_prefix(RULES) {
            Self::Rule(Name::parse(name)?)
        } else if let Some(name) = key.strip_prefix(TARGET_NAMES) {
            Self::TargetName(TargetKey::parse(name)?)
        } else if let Some(revoked) = key.strip_prefix(REVOCATIONS) {
            Self::Revocation(Revoked::parse(revoked)?)
        } else {
            return Err(foreign(key));
        };
        if found.to_text() == key { Ok(found) } else { Err(foreign(key)) }
    }

    /// The key itself.
    pub(crate) fn to_text(&self) -> String {
        match self {
            Self::PeerList(name) => format!("{PEER_LISTS}{name}"),
            Self::Rule(name) => format!("{RULES}{name}"),
            Self::TargetName(name) => format!("{TARGET_NAMES}{name}"),
            Self::Revocation(revoked) => format!("{REVOCATIONS}{}", revoked.to_id()),
        }
    }
}

impl Revoked {
    /// Reads what [`Self::to_id`] writes.
    pub(crate) fn parse(id: &str) -> Result<Self, Problem> {
        let hash = |text: &str| parse_sha256(text).map_err(|_| Problem::Sha256 { text: shortened(text) });
        if let Some(account) = id.strip_prefix(ACCOUNTS) {
            return AccountName::parse(account).map(Self::Account);
        }
        if let Some((issuer, serial)) = id.strip_prefix(CERTIFICATES).and_then(|rest| rest.split_once('/')) {
            return Ok(Self::Certificate { issuer_sha256: hash(issuer)?, serial: Serial::parse(serial)? });
        }
        match id.strip_prefix(KEYS) {
            Some(key) => hash(key).map(Self::Key),
            None => Err(foreign(id)),
        }
    }

    /// Its name among revocations: `accounts/…`, `certificates/…/…` or `keys/…`.
    pub(crate) fn to_id(&self) -> String {
        match self {
            Self::Account(account) => format!("{ACCOUNTS}{account}"),
            Self::Certificate { issuer_sha256, serial } => {
                format!("{CERTIFICATES}{}/{serial}", hex::encode(issuer_sha256))
            }
            Self::Key(hash) => format!("{KEYS}{}", hex::encode(hash)),
        }
    }
}

fn foreign(key: &str) -> Problem {
    Problem::Misplaced {
        found: shortened(key),
        expected: "a list, rule, target name or revocation".to_owned(),
    }
}
