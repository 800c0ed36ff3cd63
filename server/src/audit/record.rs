//! What was decided, as a value and as one line of JSON: `handshake` and `token` are the two kinds of it, `line` is what
//! their lines have in common.

mod handshake;
mod line;
mod token;

use std::{collections::BTreeSet, sync::Arc};

use serde::Serialize;

#[cfg(test)]
pub(crate) use self::{handshake::tests::full, token::tests::full_token};
pub(crate) use self::{
    handshake::{Decided, Fields, HANDSHAKE, HandshakeRecord, Shadow, side},
    line::{Bounded, milliseconds, rfc3339, write_dropped},
    token::{TokenEvent, TokenRecord},
};
use crate::attest::{Caller, Selector};

/// Longest name of a workload, in bytes: no SPIFFE ID is longer.
const MAX_NAME: usize = 2_048;

/// Longest fact about a caller, in bytes. A path may have more; its beginning tells enough.
const MAX_FACT: usize = 512;

/// Most facts about a caller. Of each of the twelve kinds it has at most one.
const MAX_FACTS: usize = 16;

/// Longest text of a reason, longest name of a rule or a listener, and longest list of scopes, in bytes.
const MAX_TEXT: usize = 1_024;

/// Most audiences of a token: no request has more.
pub(crate) const MAX_AUDIENCES: usize = 16;

/// One line of the trail.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Record {
    Handshake(HandshakeRecord),
    Token(TokenRecord),
}

/// What is known of a caller.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Who {
    /// All that holds of its process.
    Attested(Arc<BTreeSet<Selector>>),
    /// The user that connected, by the kernel's word, and no more.
    User(u32),
    /// Nothing.
    Unknown,
}

/// How a handshake or a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// The caller got a key or a token, or a token is revoked.
    Allowed,
    /// It got a reason.
    Refused,
    /// It left before it got either.
    Abandoned,
}

impl Record {
    /// Adds this decision to `out`, as one line with its end.
    pub(crate) fn write_to(&self, out: &mut Vec<u8>) {
        match self {
            Self::Handshake(handshake) => handshake.write_to(out),
            Self::Token(token) => token.write_to(out),
        }
    }
}

impl From<HandshakeRecord> for Record {
    fn from(handshake: HandshakeRecord) -> Self {
        Self::Handshake(handshake)
    }
}

impl From<TokenRecord> for Record {
    fn from(token: TokenRecord) -> Self {
        Self::Token(token)
    }
}

impl Who {
    /// The caller as it was found when its connection was first asked about; where it was not, who connected.
    pub(crate) fn of(caller: Option<&Caller>) -> Self {
        match caller.map(|caller| (caller.found(), caller.uid())) {
            Some((Some(attested), _)) => Self::Attested(attested.selectors.clone()),
            Some((None, Some(uid))) => Self::User(uid),
            Some((None, None)) | None => Self::Unknown,
        }
    }

    /// What is known, as selectors, all of it within bounds.
    pub(crate) fn facts(&self) -> Vec<String> {
        match self {
            Self::Attested(selectors) => {
                let cut = |one: &Selector| line::cut(&one.to_string(), MAX_FACT).into_owned();
                selectors.iter().take(MAX_FACTS).map(cut).collect()
            }
            Self::User(uid) => vec![format!("uid:{uid}")],
            Self::Unknown => Vec::new(),
        }
    }
}
