//! The only file of this crate that names `ring`.

use ring::{
    aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hmac,
};
use zeroize::Zeroizing;

use super::{
    RecordError,
    counter::{COUNTER_LEN, FrameNumber},
    frame::TAG_LEN,
};

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

/// The key of one connection and the protocol that it is for; [`Self::ends`] uses it up. It wipes itself, and cannot be
/// copied or printed.
pub struct RecordKey {
    pub(super) protocol: RecordProtocol,
    pub(super) bytes: Zeroizing<Vec<u8>>,
}

impl RecordKey {
    /// Takes as many of `bytes` as the protocol wants; a handshaker may send more. All of `bytes` are wiped.
    ///
    /// They are for one connection: each of its ends makes one key of them, once. Made again of the same bytes, a key
    /// would seal with nonces that have been used.
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

/// Bytes of the key that other keys are derived from. What follows it in a key is the mask of the nonces.
const KDF_KEY_LEN: usize = 32;
const AES_KEY_LEN: usize = 16;

/// The end of what a key is derived from, so that it is not the counter alone.
const KDF_SUFFIX: u8 = 1;

/// Seals or opens frames, one after the other.
pub(super) struct Crypter(Scheme);

// What ring keeps of a key is not wiped, for ring offers no way to: the round keys of the AES key in use, wherever a
// stream has been moved from, and what the stack holds of a derivation until other calls write over it. What all keys
// are derived from is wiped here, and is boxed, so that a stream that is moved leaves no copy of it.
enum Scheme {
    Rekey {
        kdf_key: Box<Zeroizing<[u8; KDF_KEY_LEN]>>,
        nonce_mask: Box<Zeroizing<[u8; COUNTER_LEN]>>,
        /// The key in use and what it was derived for.
        current: Option<([u8; 6], LessSafeKey)>,
    },
    Gmac(LessSafeKey),
}

impl Crypter {
    pub(super) fn new(key: &RecordKey) -> Self {
        Self(match key.protocol {
            RecordProtocol::GcmAes128Rekey => {
                let mut kdf_key = Box::new(Zeroizing::new([0; KDF_KEY_LEN]));
                let mut nonce_mask = Box::new(Zeroizing::new([0; COUNTER_LEN]));
                // A `RecordKey` has as many bytes as its protocol wants.
                kdf_key.copy_from_slice(&key.bytes[..KDF_KEY_LEN]);
                nonce_mask.copy_from_slice(&key.bytes[KDF_KEY_LEN..]);
                Scheme::Rekey { kdf_key, nonce_mask, current: None }
            }
            RecordProtocol::Gmac128 => Scheme::Gmac(aes_key(&key.bytes)),
        })
    }

    /// Seals `payload` in place and returns its tag.
    pub(super) fn seal(&mut self, number: &FrameNumber, payload: &mut [u8]) -> [u8; TAG_LEN] {
        let sealed = match &mut self.0 {
            Scheme::Rekey { kdf_key, nonce_mask, current } => {
                let key = key_of(number, kdf_key, current);
                key.seal_in_place_separate_tag(masked(number, nonce_mask), Aad::empty(), payload)
            }
            Scheme::Gmac(key) => key.seal_in_place_separate_tag(plain(number), Aad::from(payload), &mut []),
        };
        let tag = sealed.expect("a frame is shorter than the 64 GiB that GCM takes");
        tag.as_ref().try_into().expect("a GCM tag has 16 bytes")
    }

    /// Opens the payload and tag that `sealed` is, in place; the payload stays at its front.
    ///
    /// # Errors
    /// [`RecordError::NotAuthentic`]. What is in `sealed` then is not to be used.
    pub(super) fn open(&mut self, number: &FrameNumber, sealed: &mut [u8]) -> Result<(), RecordError> {
        let opened = match &mut self.0 {
            Scheme::Rekey { kdf_key, nonce_mask, current } => {
                let key = key_of(number, kdf_key, current);
                key.open_in_place(masked(number, nonce_mask), Aad::empty(), sealed)
            }
            Scheme::Gmac(key) => {
                let at = sealed.len().checked_sub(TAG_LEN).ok_or(RecordError::NotAuthentic)?;
                let (payload, tag) = sealed.split_at_mut(at);
                key.open_in_place(plain(number), Aad::from(payload), tag)
            }
        };
        opened.map(drop).map_err(|_| RecordError::NotAuthentic)
    }
}

/// The AES key for this frame: the one in use, or the next, derived now.
fn key_of<'a>(
    number: &FrameNumber,
    kdf_key: &[u8; KDF_KEY_LEN],
    current: &'a mut Option<([u8; 6], LessSafeKey)>,
) -> &'a LessSafeKey {
    let epoch = number.epoch();
    if current.as_ref().is_some_and(|(of, _)| *of != epoch) {
        *current = None;
    }
    &current.get_or_insert_with(|| (epoch, derive(kdf_key, epoch))).1
}

fn derive(kdf_key: &[u8; KDF_KEY_LEN], epoch: [u8; 6]) -> LessSafeKey {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, kdf_key));
    context.update(&epoch);
    context.update(&[KDF_SUFFIX]);
    aes_key(&context.sign().as_ref()[..AES_KEY_LEN])
}

/// Of 16 bytes.
fn aes_key(bytes: &[u8]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_128_GCM, bytes).expect("a key of AES-128 has 16 bytes"))
}

fn masked(number: &FrameNumber, mask: &[u8; COUNTER_LEN]) -> Nonce {
    let mut nonce = *number.bytes();
    nonce.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
    Nonce::assume_unique_for_key(nonce)
}

fn plain(number: &FrameNumber) -> Nonce {
    Nonce::assume_unique_for_key(*number.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value that moves leaves its bytes behind, and only those where it ends are wiped.
    #[test]
    fn the_key_that_others_come_from_stays_where_it_is_wiped_when_a_stream_moves() {
        let place = |crypter: &Crypter| match &crypter.0 {
            Scheme::Rekey { kdf_key, nonce_mask, .. } => (kdf_key.as_ptr(), nonce_mask.as_ptr()),
            Scheme::Gmac(_) => panic!("another protocol was asked for"),
        };
        let key = RecordKey::new(RecordProtocol::GcmAes128Rekey, vec![7; 44]).expect("it is long enough");
        let crypter = Crypter::new(&key);
        let before = place(&crypter);
        let moved = Box::new(crypter);
        assert_eq!(place(&moved), before);
    }
}
