//! A compact JWS (RFC 7515, section 7.1): three parts, of which the second may be anything.

use crate::{base64url, error::Error, header::Header, key_set::KeySet};

/// Most octets of a token. Headers of HTTP requests are seldom allowed more.
pub const MAX_TOKEN: usize = 16 * 1024;

/// What is signed, and by its own word how. Nothing of it is proved before [`Signed::verify`].
#[derive(Clone, Debug)]
pub struct Signed<'a> {
    header: Header,
    payload: Vec<u8>,
    signature: Vec<u8>,
    /// The two segments with the dot between them, as they were signed.
    message: &'a str,
    payload_segment: &'a str,
}

impl<'a> Signed<'a> {
    /// Reads exactly three parts, all of them strict base64url and none of them empty.
    pub fn parse(token: &'a str) -> Result<Self, Error> {
        Self::parse_with(token, |_| Ok(())).map(|(signed, ())| signed)
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
    pub(crate) fn parse_with<T>(
        token: &'a str,
        read: impl FnOnce(&[u8]) -> Result<T, Error>,
    ) -> Result<(Self, T), Error> {
        if token.len() > MAX_TOKEN {
            return Err(Error::TooLong);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(Error::NotThreeParts)?;
        let (header, payload_segment) = message.split_once('.').ok_or(Error::NotThreeParts)?;
        let parts = [header, payload_segment, signature];
        if parts.iter().any(|part| part.is_empty() || part.contains('.')) {
            return Err(Error::NotThreeParts);
        }
        let header = Header::parse(header)?;
        let payload = base64url::decode(payload_segment).ok_or(Error::PayloadNotBase64)?;
        let content = read(&payload)?;
        let signature = base64url::decode(signature).ok_or(Error::SignatureNotBase64)?;
        Ok((Self { header, payload, signature, message, payload_segment }, content))
    }
}
