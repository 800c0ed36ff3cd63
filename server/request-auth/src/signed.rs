//! A compact JWS (RFC 7515, section 7.1): three parts, of which the second may be anything.

use std::fmt;

use crate::{base64url, error::Error, header::Header, key_set::KeySet};

/// Most octets of a token. Headers of HTTP requests are seldom allowed more.
pub const MAX_TOKEN: usize = 16 * 1024;

/// What is signed, and by its own word how. Nothing of it is proved before [`Signed::verify`]. `Debug` shows the header
/// alone: whoever has the rest can present it.
#[derive(Clone)]
pub struct Signed<'a> {
    header: Header,
    payload: Vec<u8>,
    signature: Vec<u8>,
    /// The two segments with the dot between them, as they were signed.
    message: &'a str,
    payload_segment: &'a str,
}

impl<'a> Signed<'a> {
    /// Reads exactly three parts, all of them strict base64url. Only the second may be empty.
    pub fn parse(token: &'a str) -> Result<Self, Error> {
        let segments = Segments::split(token)?;
        Self::read(&segments, |_| Ok(())).map(|(signed, ())| signed)
    }

    /// Its header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Its payload.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Its payload as it was received: base64url without padding.
    pub fn payload_segment(&self) -> &'a str {
        self.payload_segment
    }

    /// Whether a key of the set has signed it; see [`KeySet::verify`].
    pub fn verify(&self, keys: &KeySet) -> Result<(), Error> {
        keys.verify(self.header.algorithm(), self.header.kid(), self.message.as_bytes(), &self.signature)
    }

    /// Reads the payload between header and signature: of several faults the first one decides the text.
    pub(crate) fn read<T>(
        segments: &Segments<'a>,
        content: impl FnOnce(&[u8]) -> Result<T, Error>,
    ) -> Result<(Self, T), Error> {
        let header = Header::parse(segments.header)?;
        let payload = base64url::decode(segments.payload).ok_or(Error::PayloadNotBase64)?;
        let content = content(&payload)?;
        let signature = base64url::decode(segments.signature).ok_or(Error::SignatureNotBase64)?;
        let (message, payload_segment) = (segments.message, segments.payload);
        Ok((Self { header, payload, signature, message, payload_segment }, content))
    }
}

impl fmt::Debug for Signed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signed").field("header", &self.header).finish_non_exhaustive()
    }
}

/// A token at its dots.
pub(crate) struct Segments<'a> {
    header: &'a str,
    pub(crate) payload: &'a str,
    signature: &'a str,
    /// Header and payload with the dot between them.
    message: &'a str,
}

impl<'a> Segments<'a> {
    pub(crate) fn split(token: &'a str) -> Result<Self, Error> {
        if token.len() > MAX_TOKEN {
            return Err(Error::TooLong);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(Error::NotThreeParts)?;
        let (header, payload) = message.split_once('.').ok_or(Error::NotThreeParts)?;
        if header.is_empty() || signature.is_empty() || payload.contains('.') {
            return Err(Error::NotThreeParts);
        }
        Ok(Self { header, payload, signature, message })
    }
}
