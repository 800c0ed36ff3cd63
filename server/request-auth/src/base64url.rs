//! Base64url as JOSE has it (RFC 7515, section 2): no padding, no line breaks, no bits left over.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// What text stands for, if it is exactly what [`encode`] makes.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

pub(crate) fn encode(octets: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(octets)
}

/// Encodes at the end of a text.
pub(crate) fn append(octets: &[u8], text: &mut String) {
    URL_SAFE_NO_PAD.encode_string(octets, text);
}

/// Octets of the encoding of so many.
pub(crate) fn encoded_len(octets: usize) -> usize {
    // Far from overflow: what is encoded has limits. The rounding up is at most two too much.
    octets.saturating_mul(4) / 3 + 2
}
