//! A JSON Web Token, and whether it is good.

use crate::{
    claims::Claims,
    error::Error,
    header::Header,
    key_set::KeySet,
    signed::{Segments, Signed},
};

/// By how many seconds the clocks of two parties may differ, as Envoy has it.
pub const LEEWAY: u64 = 60;

/// A token that has been read, and proves nothing before [`Token::check`]. `Debug` shows header and claims, without the
/// signature.
#[derive(Clone, Debug)]
pub struct Token<'a> {
    signed: Signed<'a>,
    claims: Claims,
}

/// What a rule expects of a token.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// `iss`, compared octet by octet. `None`: any, or none.
    pub issuer: Option<&'a str>,
    /// One of these must be in `aud`, compared without a leading `http://` or `https://` and one trailing `/`.
    /// Empty: `aud` is not looked at.
    pub audiences: &'a [String],
    /// Whether tokens without `exp` are refused.
    pub must_expire: bool,
}

impl<'a> Token<'a> {
    /// Reads a token of at most [`MAX_TOKEN`](crate::MAX_TOKEN) octets: exactly three parts, strict base64url, strict
    /// JSON.
    pub fn parse(token: &'a str) -> Result<Self, Error> {
        let segments = Segments::split(token)?;
        if segments.payload.is_empty() {
            return Err(Error::NotThreeParts);
        }
        let (signed, claims) = Signed::read(&segments, Claims::parse)?;
        Ok(Self { signed, claims })
    }

    /// Its header.
    pub fn header(&self) -> &Header {
        self.signed.header()
    }

    /// Its claims.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Its payload as it was received: base64url without padding.
    pub fn payload_segment(&self) -> &'a str {
        self.signed.payload_segment()
    }

    /// Whether it is good: first its claims, then its signature. The first fault is the one told. `now` is in seconds
    /// since 1970.
    pub fn check(&self, expected: &Expected<'_>, keys: &KeySet, now: u64) -> Result<(), Error> {
        self.check_claims(expected, now)?;
        self.verify_signature(keys)
    }

    /// Whether its claims are good, if it is genuine: issuer, `nbf`, `exp`, audience, in this order. A token that
    /// fails here is not worth fetching keys for.
    pub fn check_claims(&self, expected: &Expected<'_>, now: u64) -> Result<(), Error> {
        if expected.issuer.is_some_and(|issuer| self.claims.issuer() != Some(issuer)) {
            return Err(Error::UnknownIssuer);
        }
        if self.claims.not_before().is_some_and(|start| now.saturating_add(LEEWAY) < start) {
            return Err(Error::NotYetValid);
        }
        match self.claims.expires() {
            Some(end) if now > end.saturating_add(LEEWAY) => return Err(Error::Expired),
            None if expected.must_expire => return Err(Error::NeverExpires),
            _ => {}
        }
        if expected.audiences.is_empty() || self.is_for_one_of(expected.audiences) {
            Ok(())
        } else {
            Err(Error::AudienceNotAllowed)
        }
    }

    /// Whether a key of the set has signed it; see [`KeySet::verify`].
    pub fn verify_signature(&self, keys: &KeySet) -> Result<(), Error> {
        self.signed.verify(keys)
    }

    fn is_for_one_of(&self, expected: &[String]) -> bool {
        let is_expected = |audience: &String| {
            let audience = bare(audience);
            // What is nothing but a scheme or a slash names nobody.
            !audience.is_empty() && expected.iter().any(|expected| bare(expected) == audience)
        };
        self.claims.audiences().iter().any(is_expected)
    }
}

/// An audience without what Envoy does not compare.
fn bare(audience: &str) -> &str {
    let host = audience.strip_prefix("https://").or_else(|| audience.strip_prefix("http://"));
    let host = host.unwrap_or(audience);
    host.strip_suffix('/').unwrap_or(host)
}
