//! What an operator may want to know of a certificate.

use std::fmt::Write;

use crate::{
    certificate::{self, Chain},
    crypto::{HASH_LEN, Sha256, SignatureScheme},
    error::Error,
};

/// Facts of an own certificate, for an operator to read. Nothing is decided by them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateInfo {
    /// The serial number of the leaf, in lower-case hex.
    pub serial: String,
    /// Whom the leaf was issued to; control characters are escaped.
    pub subject: String,
    /// Who issued the leaf; control characters are escaped.
    pub issuer: String,
    /// The first second of the leaf, since 1970.
    pub not_before: u64,
    /// The last second of the leaf, since 1970.
    pub not_after: u64,
    /// SHA-256 of the leaf's DER.
    pub sha256: [u8; HASH_LEN],
    /// The kind of its key: `P-256` or `Ed25519`.
    pub key: &'static str,
    /// How many certificates the chain has.
    pub chain_len: usize,
}

impl CertificateInfo {
    /// Of a chain that was read before.
    pub(crate) fn of(chain: &Chain, certificates: &[Vec<u8>]) -> Result<Self, Error> {
        let der = certificates.first().map(Vec::as_slice).unwrap_or_default();
        let leaf = certificate::parse(0, der)?;
        let validity = chain.validity_of(1);
        let mut hash = Sha256::new();
        hash.update(der);
        Ok(Self {
            serial: serial(leaf.raw_serial()),
            subject: printable(&leaf.subject().to_string()),
            issuer: printable(&leaf.issuer().to_string()),
            not_before: validity.not_before,
            not_after: validity.not_after,
            sha256: hash.finish(),
            key: match chain.scheme {
                SignatureScheme::EcdsaP256Sha256 => "P-256",
                SignatureScheme::Ed25519 => "Ed25519",
            },
            chain_len: certificates.len(),
        })
    }
}

/// A serial number in hex, without the zero byte that DER puts before a high bit.
pub(crate) fn serial(der: &[u8]) -> String {
    let bytes = match der {
        [0, rest @ ..] if !rest.is_empty() => rest,
        bytes => bytes,
    };
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// With everything escaped that a terminal might obey or not show, and with the backslash that escapes begin with.
fn printable(name: &str) -> String {
    let escaped = |c: char| match c {
        '\'' | '"' => c.to_string(),
        c => c.escape_debug().collect(),
    };
    name.chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_number_is_hex_without_the_sign_byte_of_der() {
        let cases: [(&[u8], &str); 5] =
            [(&[7], "07"), (&[0], "00"), (&[0, 0xab], "ab"), (&[1, 0, 2], "010002"), (&[0, 0, 1], "0001")];
        for (der, text) in cases {
            assert_eq!(serial(der), text);
        }
    }

    #[test]
    fn a_name_holds_nothing_that_a_terminal_would_obey() {
        let cases = [
            ("CN=orders", "CN=orders"),
            ("CN=Grüße \"x\"", "CN=Grüße \"x\""),
            ("CN=a\x1b[2Jb\nc", "CN=a\\u{1b}[2Jb\\nc"),
            ("CN=a\u{202e}b", "CN=a\\u{202e}b"),
            ("CN=a\\nb", "CN=a\\\\nb"),
            ("CN=\0\u{9b}", "CN=\\0\\u{9b}"),
        ];
        for (name, expected) in cases {
            assert_eq!(printable(name), expected);
        }
    }
}
