//! What an operator may want to know of a certificate.

use std::fmt::Write;

use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use crate::{
    certificate::Chain,
    crypto::{HASH_LEN, SignatureScheme, sha256},
};

/// What names one certificate among all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Its serial number, in lower-case hex.
    pub serial: String,
    /// Whom it was issued to; control characters are escaped.
    pub subject: String,
    /// Who issued it; control characters are escaped.
    pub issuer: String,
    /// SHA-256 of its DER.
    pub sha256: [u8; HASH_LEN],
    /// SHA-256 of its key, as the DER of SubjectPublicKeyInfo.
    pub key_sha256: [u8; HASH_LEN],
}

impl CertificateFacts {
    /// What names a certificate, in DER, that is not verified: to speak of it, not to decide by it.
    ///
    /// # Errors
    ///
    /// That it is no certificate.
    pub fn of_der(der: &[u8]) -> Result<Self, &'static str> {
        match X509Certificate::from_der(der) {
            Ok(([], certificate)) => Ok(Self::of(&certificate, der)),
            _ => Err("it is no X.509 certificate"),
        }
    }

    pub(crate) fn of(certificate: &X509Certificate<'_>, der: &[u8]) -> Self {
        Self {
            serial: serial(certificate.raw_serial()),
            subject: printable(&certificate.subject().to_string()),
            issuer: printable(&certificate.issuer().to_string()),
            sha256: sha256(der),
            key_sha256: sha256(certificate.public_key().raw),
        }
    }
}

/// Facts of an own certificate, for an operator to read. Nothing is decided by them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateInfo {
    /// What names the leaf.
    pub facts: CertificateFacts,
    /// The first second of the leaf, since 1970.
    pub not_before: u64,
    /// The last second of the leaf, since 1970.
    pub not_after: u64,
    /// The kind of its key: `P-256` or `Ed25519`.
    pub key: &'static str,
    /// How many certificates the chain has.
    pub chain_len: usize,
}

impl CertificateInfo {
    /// Of the leaf of a chain.
    pub(crate) fn of(chain: &Chain) -> Self {
        let validity = chain.validity_of(1);
        Self {
            // A chain that was read has one.
            facts: chain.facts[0].clone(),
            not_before: validity.not_before,
            not_after: validity.not_after,
            key: match chain.scheme {
                SignatureScheme::EcdsaP256Sha256 => "P-256",
                SignatureScheme::Ed25519 => "Ed25519",
            },
            chain_len: chain.facts.len(),
        }
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
