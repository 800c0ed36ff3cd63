//! What is wrong with a text that shall become part of the policy, and the way out.

use std::fmt;

/// What is wrong with one value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    #[error(
        "{text:?} is no name: it must be 1 to 63 of a-z 0-9 -, begin with a letter and end with a letter or digit"
    )]
    Name { text: String },
    #[error("{text:?} is no account: {what}; write NAME@DOMAIN or spiffe://DOMAIN/PATH")]
    Account { text: String, what: &'static str },
    #[error(
        "{text:?} matches no local account: {what}; write NAME@DOMAIN, *@DOMAIN, spiffe://DOMAIN/PATH, spiffe://DOMAIN/PATH/* or *"
    )]
    AccountPattern { text: String, what: &'static str },
    #[error("{text:?} matches no peer: {what}; write {PEER_FORMS}")]
    PeerMatch { text: String, what: &'static str },
    #[error(
        "{text:?} is no target name: {what}; write HOST or HOST:PORT, such as orders.example.com:443 or [::1]:8080"
    )]
    TargetName { text: String, what: &'static str },
    #[error("{text:?} is none of {choices}")]
    Choice { text: String, choices: &'static str },
    #[error("the text has {length} bytes; it may have at most {limit}")]
    TooLong { length: usize, limit: usize },
    #[error("the text is empty; say why")]
    NoReason,
    #[error("the text has a character that cannot be printed (U+{code:04X}); remove it")]
    Unprintable { code: u32 },
    #[error("there are {count}; {limit} are the most")]
    TooMany { count: usize, limit: usize },
    #[error("it has {length} bytes; one record holds {limit}: make several of it")]
    TooLarge { length: usize, limit: usize },
    #[error("{text} is in line already at number {first} (counted from 0); remove one")]
    Twice { text: String, first: usize },
    #[error("the rule names no peers; add peer_lists or peers, such as peers = [\"*\"] for everybody")]
    NoPeers,
    #[error("no account is listed, so that nobody could be called by this name; add one")]
    NoAccounts,
    #[error("it must revoke one thing: account, or issuer and serial, or key_sha256")]
    Subject,
    #[error("{text:?} is no serial number: write it in hexadecimal digits, at most 128")]
    Serial { text: String },
    #[error("{text:?} is no SHA-256: write 64 hexadecimal digits")]
    Sha256 { text: String },
    #[error("{text:?} is no issuer: {what}")]
    Issuer { text: String, what: &'static str },
    #[error("it would end at {expire_time}, before it begins at {create_time}")]
    EndsBeforeItBegins { create_time: u64, expire_time: u64 },
    #[error("the record is of {found}, and stands where {expected} belongs")]
    Misplaced { found: String, expected: String },
}

/// All that can stand for peers.
const PEER_FORMS: &str = "NAME@DOMAIN, *@DOMAIN, spiffe://DOMAIN/PATH, spiffe://DOMAIN/PATH/*, \
     trust-domain:DOMAIN, ca-key-sha256:HEX, key-sha256:HEX or *";

impl Problem {
    /// The name of what is wrong, which does not change.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Name { .. } => "name_invalid",
            Self::Account { .. } => "account_invalid",
            Self::AccountPattern { .. } => "account_pattern_invalid",
            Self::PeerMatch { .. } => "peer_match_invalid",
            Self::TargetName { .. } => "target_name_invalid",
            Self::Choice { .. } => "choice_unknown",
            Self::TooLong { .. } => "text_too_long",
            Self::NoReason => "reason_missing",
            Self::Unprintable { .. } => "text_unprintable",
            Self::TooMany { .. } => "too_many",
            Self::TooLarge { .. } => "record_too_large",
            Self::Twice { .. } => "twice",
            Self::NoPeers => "peers_missing",
            Self::NoAccounts => "accounts_missing",
            Self::Subject => "subject_invalid",
            Self::Serial { .. } => "serial_invalid",
            Self::Sha256 { .. } => "sha256_invalid",
            Self::Issuer { .. } => "issuer_invalid",
            Self::EndsBeforeItBegins { .. } => "ends_before_it_begins",
            Self::Misplaced { .. } => "misplaced",
        }
    }

    /// The same, of a field.
    pub(super) fn at(self, field: impl Into<String>) -> Refused {
        Refused { field: field.into(), problem: self }
    }
}

/// Which field of a record is wrong, and what with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) struct Refused {
    /// Such as `peers[3]`, counted from 0.
    pub(crate) field: String,
    pub(crate) problem: Problem,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.problem)
    }
}

/// Enough of a text to find it again.
pub(super) fn shortened(text: &str) -> String {
    text.chars().take(200).collect()
}

/// Text for people: of at most `limit` bytes, and nothing in it that a terminal would obey or turn around.
pub(crate) fn printable(text: &str, limit: usize) -> Result<&str, Problem> {
    if text.len() > limit {
        return Err(Problem::TooLong { length: text.len(), limit });
    }
    match text.chars().find(|c| !is_printable(*c)) {
        Some(c) => Err(Problem::Unprintable { code: u32::from(c) }),
        None => Ok(text),
    }
}

/// Whether it is shown as itself: no control character, line separator, or mark that changes the direction of text.
pub(super) fn is_printable(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}
