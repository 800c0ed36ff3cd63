//! The only file of this crate that names `ring`.

use zeroize::Zeroizing;

use super::RecordError;

/// A record protocol that this crate speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordProtocol {
    /// AES-128-GCM, with a new key every 2^16 frames. What all programs use.
    GcmAes128Rekey,
    /// Integrity without privacy. Nothing of this crate offers it; a program must ask for it by name.
    Gmac128,
}

impl RecordProtocol {
    /// The protocol of this name.
    ///
    /// # Errors
    /// [`RecordError::UnknownProtocol`].
    pub fn parse(name: &str) -> Result<Self, RecordError> {
        match name {
            "ALTSRP_GCM_AES128_REKEY" => Ok(Self::GcmAes128Rekey),
            "ALTSRP_GMAC_128" => Ok(Self::Gmac128),
            other => Err(RecordError::UnknownProtocol(other.to_owned())),
        }
    }

    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::GcmAes128Rekey => "ALTSRP_GCM_AES128_REKEY",
            Self::Gmac128 => "ALTSRP_GMAC_128",
        }
    }

    /// Bytes of key that it wants.
    pub const fn key_len(self) -> usize {
        match self {
            Self::GcmAes128Rekey => 44,
            Self::Gmac128 => 16,
        }
    }
}

/// The key of one connection and the protocol that it is for. It wipes itself, and cannot be copied or printed.
pub struct RecordKey {
    pub(super) protocol: RecordProtocol,
    pub(super) bytes: Zeroizing<Vec<u8>>,
}

impl RecordKey {
    /// Takes as many of `bytes` as the protocol wants; a handshaker may send more. All of `bytes` are wiped.
    ///
    /// # Errors
    /// [`RecordError::KeyTooShort`].
    pub fn new(protocol: RecordProtocol, bytes: Vec<u8>) -> Result<Self, RecordError> {
        let bytes = Zeroizing::new(bytes);
        let wanted = protocol.key_len();
        let key = bytes.get(..wanted).ok_or(RecordError::KeyTooShort {
            protocol: protocol.name(),
            wanted,
            found: bytes.len(),
        })?;
        Ok(Self { protocol, bytes: Zeroizing::new(key.to_vec()) })
    }
}
