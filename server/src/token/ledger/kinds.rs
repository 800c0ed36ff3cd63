//! How the records of tokens are written in the store. The key alone says what is revoked or used, so that a record that
//! cannot be read counts as well, without end.

use alts_handshake::sha256;
use alts_store::{Entry, Kind};
use serde::{Deserialize, Serialize};

use crate::{
    policy::{MAX_REASON, Problem, printable},
    token::parts::RevokedBy,
};

/// The version of all their schemas.
const SCHEMA: u64 = 1;

/// Where public keys are kept, for whoever signs tokens.
pub(crate) const KEYS: &str = "token-keys/";

/// Under which revocations are listed.
pub(crate) const REVOCATIONS: &str = "token-revocations/";

pub(crate) const REVOCATION: Kind<Record> = Kind::new(REVOCATIONS, SCHEMA);
pub(super) const USE: Kind<Use> = Kind::new("token-uses/", SCHEMA);

const TOKENS: &str = "tokens/";
const SUBJECTS: &str = "subjects/";

/// From how long after its end on a token counts nowhere, in seconds: verifiers forgive clocks a minute, the last second
/// of it included.
pub(crate) const LEEWAY: u64 = 61;

/// Longest issuer, and longest subject or id of a token, in bytes.
pub(crate) const MAX_NAME: usize = 2_048;

/// Whether what is kept there is of tokens, and none of the policy's.
pub(super) fn is_of_tokens(key: &str) -> bool {
    [KEYS, REVOCATIONS, USE.prefix()].iter().any(|prefix| key.starts_with(prefix))
}

/// What is revoked, by a hash of its issuer and its id or subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Revoked {
    pub(crate) what: RevokedBy,
    pub(crate) hash: [u8; 32],
}

impl Revoked {
    /// The token of this id, as [`crate::token::subject::Proof`] has it.
    pub(crate) fn token(iss: &str, id: &str) -> Self {
        Self { what: RevokedBy::Token, hash: hash(iss, id) }
    }

    /// All tokens of a subject.
    pub(crate) fn subject(iss: &str, sub: &str) -> Self {
        Self { what: RevokedBy::Subject, hash: hash(iss, sub) }
    }

    /// What a key of the store names, in its one spelling.
    pub(crate) fn of_key(key: &str) -> Option<Self> {
        let name = key.strip_prefix(REVOCATIONS)?;
        let (what, digits) = if let Some(digits) = name.strip_prefix(TOKENS) {
            (RevokedBy::Token, digits)
        } else {
            (RevokedBy::Subject, name.strip_prefix(SUBJECTS)?)
        };
        let mut hash = [0; 32];
        hex::decode_to_slice(digits, &mut hash).ok()?;
        let found = Self { what, hash };
        (found.name() == name).then_some(found)
    }

    /// The name of its record.
    pub(crate) fn name(&self) -> String {
        let kind = match self.what {
            RevokedBy::Token => TOKENS,
            RevokedBy::Subject => SUBJECTS,
        };
        format!("{kind}{}", hex::encode(self.hash))
    }

    /// The key of its record.
    pub(crate) fn key(&self) -> String {
        format!("{REVOCATIONS}{}", self.name())
    }
}

/// A revocation as it is kept. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// `iss` of what is revoked.
    pub(crate) issuer: String,
    pub(crate) revoked: Named,
    /// Why; empty where the holder of the token revoked it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) reason: String,
    /// The user who revoked it at the admin socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<u32>,
    pub(crate) create_time: u64,
    /// The end of the token, or the first second in which the subject is not revoked any more; for good if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expire_time: Option<u64>,
}

/// What of an issuer is revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Named {
    /// A token by its `jti`, or by `sha256:` and a hash, as `Proof` has it.
    Token(String),
    /// Everything of this `sub`.
    Subject(String),
}

/// What is wrong with a record, with a stable code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordProblem {
    #[error("{field} is empty; {way_out}")]
    Empty { field: &'static str, way_out: &'static str },
    #[error("{field} has {length} bytes; it may have at most {MAX_NAME}")]
    TooLong { field: &'static str, length: usize },
    #[error("{field} has a control character; no token that is taken here has one")]
    Control { field: &'static str },
    #[error("reason: {0}")]
    Reason(Problem),
    #[error("expire_time: {0}")]
    Times(Problem),
}

impl RecordProblem {
    /// The name of what is wrong, which does not change.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Empty { .. } => "field_missing",
            Self::TooLong { .. } => "text_too_long",
            Self::Control { .. } => "text_unprintable",
            Self::Reason(problem) | Self::Times(problem) => problem.code(),
        }
    }
}

impl Record {
    /// The same, if it can be revoked for somebody who gives a reason.
    pub(crate) fn reasoned(self) -> Result<Self, RecordProblem> {
        named("issuer", &self.issuer, "give the `iss` of what is revoked")?;
        match &self.revoked {
            Named::Token(id) => named("token_id", id, "give the `jti` of the token")?,
            Named::Subject(sub) => named("subject", sub, "give the `sub` of the tokens")?,
        }
        if self.reason.trim().is_empty() {
            return Err(RecordProblem::Reason(Problem::NoReason));
        }
        printable(&self.reason, MAX_REASON).map_err(RecordProblem::Reason)?;
        if let Some(expire_time) =
            self.expire_time.filter(|_| self.until().is_some_and(|until| until <= self.create_time))
        {
            let create_time = self.create_time;
            return Err(RecordProblem::Times(Problem::EndsBeforeItBegins { create_time, expire_time }));
        }
        Ok(self)
    }

    /// What it revokes.
    pub(crate) fn revoked(&self) -> Revoked {
        match &self.revoked {
            Named::Token(id) => Revoked::token(&self.issuer, id),
            Named::Subject(sub) => Revoked::subject(&self.issuer, sub),
        }
    }

    /// The first second in which it does not count any more.
    pub(crate) fn until(&self) -> Option<u64> {
        let leeway = match self.revoked {
            Named::Token(_) => LEEWAY,
            Named::Subject(_) => 0,
        };
        self.expire_time.map(|end| end.saturating_add(leeway))
    }

    /// What stands under the key of `revoked`; the problem of what cannot be read, or is of something else.
    pub(crate) fn read(revoked: &Revoked, entry: &Entry) -> Result<Self, String> {
        let record = REVOCATION.decode(entry).map_err(|problem| problem.to_string())?.value;
        if record.revoked() == *revoked {
            Ok(record)
        } else {
            Err("it is of something else than its key".to_owned())
        }
    }
}

/// That a token was used, which counts once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Use {
    /// The first second in which nobody takes the token any more, since 1970.
    pub(super) until: u64,
}

/// Issuers cannot have a NUL: with it between them, no other pair gives the same bytes.
fn hash(iss: &str, id: &str) -> [u8; 32] {
    sha256(&[iss.as_bytes(), b"\0", id.as_bytes()].concat())
}

/// The name of the record of a use.
pub(super) fn use_name(iss: &str, id: &str) -> String {
    hex::encode(hash(iss, id))
}

fn named(field: &'static str, text: &str, way_out: &'static str) -> Result<(), RecordProblem> {
    match text {
        "" => Err(RecordProblem::Empty { field, way_out }),
        _ if text.len() > MAX_NAME => Err(RecordProblem::TooLong { field, length: text.len() }),
        _ if text.chars().any(char::is_control) => Err(RecordProblem::Control { field }),
        _ => Ok(()),
    }
}
