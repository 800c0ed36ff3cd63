//! Which workloads are meant, in words that an operator writes. There is one spelling of each pattern, which
//! [`fmt::Display`] gives back, so that equal text is equal meaning.

use std::fmt;

use alts_handshake::{Authority, MailAccount, SpiffeId};

use super::{
    name::AccountName,
    problem::{Problem, shortened},
};

const SPIFFE_SCHEME: &str = "spiffe://";
const TRUST_DOMAIN: &str = "trust-domain:";
const CA_KEY_SHA256: &str = "ca-key-sha256:";
const KEY_SHA256: &str = "key-sha256:";

/// Workloads by their names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum AccountPattern {
    /// The one workload that has this name: `orders@prod.example.com`, `spiffe://prod.example.com/orders`.
    Exact(AccountName),
    /// Every mail account of this domain, and none of a domain below it: `*@prod.example.com`.
    MailDomain(Box<str>),
    /// Every SPIFFE ID that goes on after this text with a slash: `spiffe://prod.example.com/shop/*`. The text is
    /// without the last slash and star, and may be a trust domain alone.
    Below(Box<str>),
    /// Every workload: `*`.
    Any,
}

/// Peers by what is known of them once they are authenticated.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum PeerMatch {
    /// By a name: one is enough of a peer that has two.
    Account(AccountPattern),
    /// Everybody whose SPIFFE ID is of this trust domain: `trust-domain:prod.example.com`. A mail account that has
    /// this domain is not meant, for another authority vouches for it: that is `*@prod.example.com`.
    TrustDomain(Box<str>),
    /// Everybody for whom the CA with this key vouches, be it the issuer, another one on the path, or the root:
    /// `ca-key-sha256:HEX`, of its SubjectPublicKeyInfo. Not by its name, which another CA can give itself.
    CaKeySha256([u8; 32]),
    /// Who has the one key whose SubjectPublicKeyInfo has this hash: `key-sha256:HEX`. Not by the hash of a
    /// certificate: ECDSA signatures can be changed by anybody into others that are good as well.
    KeySha256([u8; 32]),
}

impl AccountPattern {
    /// The pattern of a local account. Domains may be written in any case.
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        Self::read(text).map_err(|what| Problem::AccountPattern { text: shortened(text), what })
    }

    fn read(text: &str) -> Result<Self, &'static str> {
        if text == "*" {
            return Ok(Self::Any);
        }
        if let Some(domain) = text.strip_prefix("*@") {
            // Whatever is valid before the @ does.
            let account = MailAccount::parse(&format!("x@{domain}"))?;
            return Ok(Self::MailDomain(account.domain().into()));
        }
        if let Some(parent) = text.strip_suffix("/*").filter(|text| text.starts_with(SPIFFE_SCHEME)) {
            SpiffeId::parse(&format!("{parent}/x"))?;
            return Ok(Self::Below(parent.into()));
        }
        if text.contains('*') {
            return Err("a star stands alone, before the @, or behind the last slash of a SPIFFE ID");
        }
        match AccountName::parse(text) {
            Ok(account) => Ok(Self::Exact(account)),
            Err(Problem::Account { what, .. }) => Err(what),
            Err(_) => Err("it is no account"),
        }
    }
}

impl PeerMatch {
    /// Reads one of the forms that its variants show.
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        Self::read(text).map_err(|what| Problem::PeerMatch { text: shortened(text), what })
    }

    fn read(text: &str) -> Result<Self, &'static str> {
        if let Some(domain) = text.strip_prefix(TRUST_DOMAIN) {
            return match Authority::parse(&format!("{SPIFFE_SCHEME}{domain}")) {
                Ok(_) => Ok(Self::TrustDomain(domain.into())),
                Err(_) => Err("a trust domain is 1 to 255 of a-z 0-9 . - _"),
            };
        }
        if let Some(hash) = text.strip_prefix(CA_KEY_SHA256) {
            return parse_sha256(hash).map(Self::CaKeySha256);
        }
        if let Some(hash) = text.strip_prefix(KEY_SHA256) {
            return parse_sha256(hash).map(Self::KeySha256);
        }
        AccountPattern::read(text).map(Self::Account)
    }
}

impl fmt::Display for AccountPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(account) => account.fmt(f),
            Self::MailDomain(domain) => write!(f, "*@{domain}"),
            Self::Below(parent) => write!(f, "{parent}/*"),
            Self::Any => f.write_str("*"),
        }
    }
}

impl fmt::Display for PeerMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(pattern) => pattern.fmt(f),
            Self::TrustDomain(domain) => write!(f, "{TRUST_DOMAIN}{domain}"),
            Self::CaKeySha256(hash) => write!(f, "{CA_KEY_SHA256}{}", hex::encode(hash)),
            Self::KeySha256(hash) => write!(f, "{KEY_SHA256}{}", hex::encode(hash)),
        }
    }
}

/// 64 hexadecimal digits in any case.
pub(super) fn parse_sha256(text: &str) -> Result<[u8; 32], &'static str> {
    let mut hash = [0; 32];
    hex::decode_to_slice(text, &mut hash).map_err(|_| "a SHA-256 is 64 hexadecimal digits")?;
    Ok(hash)
}
