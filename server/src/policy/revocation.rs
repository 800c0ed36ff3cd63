//! What is no longer trusted, whatever the rules say.

use std::fmt;

use alts_handshake::sha256;

use super::{
    name::AccountName,
    problem::{Problem, Refused, is_printable, printable, shortened},
};

/// Longest reason, in bytes.
pub(crate) const MAX_REASON: usize = 512;

/// Longest serial number, in hexadecimal digits. RFC 5280 lets authorities have 40; some have more.
const MAX_SERIAL: usize = 128;

/// Longest distinguished name of an issuer, in bytes of its text.
const MAX_ISSUER: usize = 2_048;

/// What a revocation is of. There is one for each at most.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Revoked {
    /// Everybody who has this name.
    Account(AccountName),
    /// The certificate of this number, in every chain that holds it: of an authority, all that it issued.
    Certificate {
        /// SHA-256 of the text of its issuer's distinguished name.
        issuer_sha256: [u8; 32],
        serial: Serial,
    },
    /// The key whose SubjectPublicKeyInfo has this SHA-256, in every chain that holds it.
    Key([u8; 32]),
}

/// A serial number: lower-case hex of its bytes, without zero bytes at the front.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Serial(Box<str>);

impl Serial {
    /// Reads hexadecimal digits in any case, with or without colons between the bytes: at most [`MAX_SERIAL`].
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        let mut digits: String = text.chars().filter(|c| *c != ':').collect();
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !(1..=MAX_SERIAL).contains(&digits.len()) || !is_hex {
            return Err(Problem::Serial { text: shortened(text) });
        }
        digits.make_ascii_lowercase();
        if digits.len() % 2 == 1 {
            digits.insert(0, '0');
        }
        Ok(Self(without_zeros(&digits).into()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The hex of a number without zero bytes at its front; zero has one.
pub(super) fn without_zeros(mut digits: &str) -> &str {
    while let Some(rest) = digits.strip_prefix("00").filter(|rest| !rest.is_empty()) {
        digits = rest;
    }
    digits
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A revocation with its reason. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Revocation {
    revoked: Revoked,
    issuer: Option<Box<str>>,
    reason: Box<str>,
    create_time: u64,
    expire_time: Option<u64>,
}

impl Revocation {
    /// Of an account.
    pub(crate) fn of_account(account: AccountName, reason: &str, times: Times) -> Result<Self, Refused> {
        Self::new(Revoked::Account(account), None, reason, times)
    }

    /// Of a certificate, by its issuer as `altsd certs show` prints it, and its number.
    pub(crate) fn of_certificate(
        issuer: &str,
        serial: Serial,
        reason: &str,
        times: Times,
    ) -> Result<Self, Refused> {
        let issuer = issuer_text(issuer)
            .map_err(|what| Problem::Issuer { text: shortened(issuer), what }.at("issuer"))?;
        let revoked = Revoked::Certificate { issuer_sha256: sha256(issuer.as_bytes()), serial };
        Self::new(revoked, Some(issuer.into()), reason, times)
    }

    /// Of a key, by the SHA-256 of its SubjectPublicKeyInfo.
    pub(crate) fn of_key(key_sha256: [u8; 32], reason: &str, times: Times) -> Result<Self, Refused> {
        Self::new(Revoked::Key(key_sha256), None, reason, times)
    }

    fn new(revoked: Revoked, issuer: Option<Box<str>>, reason: &str, times: Times) -> Result<Self, Refused> {
        if reason.trim().is_empty() {
            return Err(Problem::NoReason.at("reason"));
        }
        let reason = printable(reason, MAX_REASON).map_err(|it| it.at("reason"))?.into();
        let Times { create_time, expire_time } = times;
        if let Some(expire_time) = expire_time.filter(|end| *end <= create_time) {
            return Err(Problem::EndsBeforeItBegins { create_time, expire_time }.at("expire_time"));
        }
        Ok(Self { revoked, issuer, reason, create_time, expire_time })
    }

    /// The same, which has counted since `create_time`, if that is earlier.
    pub(crate) fn since(self, create_time: u64) -> Self {
        Self { create_time: self.create_time.min(create_time), ..self }
    }

    pub(crate) fn revoked(&self) -> &Revoked {
        &self.revoked
    }

    /// The issuer of a revoked certificate.
    pub(crate) fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }

    pub(crate) fn create_time(&self) -> u64 {
        self.create_time
    }

    /// The first second in which it does not count any more.
    pub(crate) fn expire_time(&self) -> Option<u64> {
        self.expire_time
    }
}

/// From when to when a revocation counts, in seconds since 1970. It counts as soon as it is known, whenever it was
/// made; the first second that `expire_time` names is no longer part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) create_time: u64,
    pub(crate) expire_time: Option<u64>,
}

/// The text of a distinguished name as it is printed, which has nothing around it and nothing unprintable in it.
fn issuer_text(text: &str) -> Result<&str, &'static str> {
    if text.is_empty() {
        return Err("the name of the issuer is missing");
    }
    if text.len() > MAX_ISSUER {
        return Err("the name of an issuer has at most 2048 bytes");
    }
    if text.trim() != text || !text.chars().all(is_printable) {
        return Err("write the name of the issuer exactly as `altsd certs show` prints it");
    }
    Ok(text)
}
