//! The only file of this crate that names `ring`.

use pki_types::SignatureVerificationAlgorithm;
pub use ring::rand::{SecureRandom, SystemRandom};
use ring::{
    aead, agreement, digest, hkdf, hmac,
    signature::{self, KeyPair},
};

use crate::{
    error::Error,
    secret::{KeyData, Secret},
};

/// Bytes of a SHA-256 hash, an HMAC-SHA256 tag, and every secret of the key schedule.
pub(crate) const HASH_LEN: usize = 32;

/// Bytes that AES-128-GCM adds to a plaintext.
pub(crate) const TAG_LEN: usize = 16;

/// Bytes of an X25519 public key.
pub(crate) const X25519_LEN: usize = 32;

/// What may sign a certificate (specification section 10). Nothing with SHA-1.
pub(crate) static CERTIFICATE_ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    webpki::ring::ECDSA_P256_SHA256,
    webpki::ring::ECDSA_P256_SHA384,
    webpki::ring::ECDSA_P384_SHA256,
    webpki::ring::ECDSA_P384_SHA384,
    webpki::ring::ED25519,
    webpki::ring::RSA_PKCS1_2048_8192_SHA256,
    webpki::ring::RSA_PKCS1_2048_8192_SHA384,
    webpki::ring::RSA_PKCS1_2048_8192_SHA512,
];

fn failed(operation: &'static str) -> Error {
    Error::CryptoFailed { operation }
}

/// `N` bytes from the system's generator, or from what a test has put in its place.
pub(crate) fn random_bytes<const N: usize>(random: &dyn SecureRandom) -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    random.fill(&mut bytes).map_err(|_| failed("random generation"))?;
    Ok(bytes)
}

/// A running SHA-256. Public, so that there is one of it in all that is built on this crate.
#[derive(Clone)]
pub struct Sha256(digest::Context);

impl Sha256 {
    /// Of nothing yet.
    #[expect(clippy::new_without_default, reason = "a hash of nothing is no value to fall back on")]
    pub fn new() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }

    /// Takes in further bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all bytes taken in.
    pub fn finish(self) -> [u8; HASH_LEN] {
        let mut hash = [0; HASH_LEN];
        hash.copy_from_slice(self.0.finish().as_ref());
        hash
    }
}

/// SHA-256 of `bytes`, such as the fingerprint of a certificate.
pub fn sha256(bytes: &[u8]) -> [u8; HASH_LEN] {
    let mut hash = Sha256::new();
    hash.update(bytes);
    hash.finish()
}

/// HKDF-Extract of RFC 5869 section 2.2.
pub(crate) fn hkdf_extract(salt: &[u8], input: &[u8]) -> Secret<HASH_LEN> {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, salt), input);
    Secret::copied_from(tag.as_ref())
}

/// HKDF-Expand of RFC 5869 section 2.3, over the concatenation of `info`, as long as `out`.
pub(crate) fn hkdf_expand(secret: &Secret<HASH_LEN>, info: &[&[u8]], out: &mut [u8]) -> Result<(), Error> {
    struct Length(usize);
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, secret.expose())
        .expand(info, Length(out.len()))
        .and_then(|okm| okm.fill(out))
        .map_err(|_| failed("key derivation"))
}

/// HMAC-SHA256.
pub(crate) fn hmac_sign(key: &Secret<HASH_LEN>, message: &[u8]) -> [u8; HASH_LEN] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.expose()), message);
    let mut bytes = [0; HASH_LEN];
    bytes.copy_from_slice(tag.as_ref());
    bytes
}

/// Checks an HMAC-SHA256 in constant time.
pub(crate) fn hmac_verify(key: &Secret<HASH_LEN>, message: &[u8], tag: &[u8]) -> Result<(), Error> {
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, key.expose()), message, tag)
        .map_err(|_| Error::MacInvalid)
}

/// An AES-128-GCM key with its nonce. Sealing and opening consume it: it is for exactly one message.
pub(crate) struct SealingKey {
    pub(crate) key: Secret<16>,
    pub(crate) nonce: [u8; 12],
}

impl SealingKey {
    /// The ciphertext of `message`, its tag behind it.
    pub(crate) fn seal(self, associated: &[u8], mut message: Vec<u8>) -> Result<Vec<u8>, Error> {
        let nonce = aead::Nonce::assume_unique_for_key(self.nonce);
        self.aes()
            .and_then(|key| key.seal_in_place_append_tag(nonce, aead::Aad::from(associated), &mut message))
            .map_err(|_| failed("encryption"))?;
        Ok(message)
    }

    /// The plaintext of `sealed`.
    pub(crate) fn open(self, associated: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Error> {
        let nonce = aead::Nonce::assume_unique_for_key(self.nonce);
        let key = self.aes().map_err(|_| failed("decryption"))?;
        let mut buffer = sealed.to_vec();
        let length = key
            .open_in_place(nonce, aead::Aad::from(associated), &mut buffer)
            .map_err(|_| Error::MessageNotAuthentic)?
            .len();
        buffer.truncate(length);
        Ok(buffer)
    }

    fn aes(&self) -> Result<aead::LessSafeKey, ring::error::Unspecified> {
        aead::UnboundKey::new(&aead::AES_128_GCM, self.key.expose()).map(aead::LessSafeKey::new)
    }
}

/// An X25519 key pair for one handshake.
pub(crate) struct KeyExchange {
    private: agreement::EphemeralPrivateKey,
    public: [u8; X25519_LEN],
}

impl KeyExchange {
    pub(crate) fn generate(random: &dyn SecureRandom) -> Result<Self, Error> {
        let pair = agreement::EphemeralPrivateKey::generate(&agreement::X25519, random)
            .and_then(|private| private.compute_public_key().map(|public| (private, public)));
        let (private, public) = pair.map_err(|_| failed("key generation"))?;
        let public = public.as_ref().try_into().map_err(|_| failed("key generation"))?;
        Ok(Self { private, public })
    }

    pub(crate) fn public(&self) -> &[u8; X25519_LEN] {
        &self.public
    }

    /// The shared secret. A result of all zeros, which a share of low order gives, is refused (RFC 7748 section 6.1).
    pub(crate) fn agree(self, peer: &[u8]) -> Result<Secret<32>, Error> {
        let peer = agreement::UnparsedPublicKey::new(&agreement::X25519, peer);
        agreement::agree_ephemeral(self.private, &peer, Secret::copied_from)
            .map_err(|_| Error::KeyShareInvalid)
    }
}

/// How a leaf certificate's key signs (specification section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum SignatureScheme {
    /// ECDSA on P-256 with SHA-256, signature in DER.
    EcdsaP256Sha256 = 0x0403,
    /// Ed25519.
    Ed25519 = 0x0807,
}

impl SignatureScheme {
    pub(crate) fn code(self) -> u16 {
        self as u16
    }

    pub(crate) fn verify(self, public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), Error> {
        let algorithm: &dyn signature::VerificationAlgorithm = match self {
            Self::EcdsaP256Sha256 => &signature::ECDSA_P256_SHA256_ASN1,
            Self::Ed25519 => &signature::ED25519,
        };
        signature::UnparsedPublicKey::new(algorithm, public_key)
            .verify(message, signature)
            .map_err(|_| Error::SignatureInvalid)
    }
}

/// The private key of an own certificate. It has no `Debug` and never leaves this type.
pub(crate) enum SigningKey {
    Ed25519(signature::Ed25519KeyPair),
    EcdsaP256(Box<signature::EcdsaKeyPair>),
}

impl SigningKey {
    /// Reads PKCS#8, versions 1 and 2. `None` if it is neither an Ed25519 nor a P-256 key.
    pub(crate) fn from_pkcs8(der: &[u8], random: &dyn SecureRandom) -> Option<Self> {
        // "Maybe unchecked" is about the public key in the file, which version 1 has not; the key is compared
        // with the leaf certificate's before it is used.
        if let Ok(key) = signature::Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            return Some(Self::Ed25519(key));
        }
        signature::EcdsaKeyPair::from_pkcs8(&signature::ECDSA_P256_SHA256_ASN1_SIGNING, der, random)
            .ok()
            .map(|key| Self::EcdsaP256(Box::new(key)))
    }

    pub(crate) fn scheme(&self) -> SignatureScheme {
        match self {
            Self::Ed25519(_) => SignatureScheme::Ed25519,
            Self::EcdsaP256(_) => SignatureScheme::EcdsaP256Sha256,
        }
    }

    pub(crate) fn public_key(&self) -> &[u8] {
        match self {
            Self::Ed25519(key) => key.public_key().as_ref(),
            Self::EcdsaP256(key) => key.public_key().as_ref(),
        }
    }

    pub(crate) fn sign(&self, message: &[u8], random: &dyn SecureRandom) -> Result<Vec<u8>, Error> {
        match self {
            Self::Ed25519(key) => Ok(key.sign(message).as_ref().to_vec()),
            Self::EcdsaP256(key) => {
                let signature = key.sign(random, message).map_err(|_| failed("signing"))?;
                Ok(signature.as_ref().to_vec())
            }
        }
    }
}

/// As many bytes of key as the record protocol wants.
pub(crate) fn expand_key_data(
    secret: &Secret<HASH_LEN>,
    info: &[&[u8]],
    length: usize,
) -> Result<KeyData, Error> {
    KeyData::filled_by(length, |out| hkdf_expand(secret, info, out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_derivation_longer_than_hkdf_allows_is_an_internal_error() {
        let mut too_long = vec![0; 255 * HASH_LEN + 1];
        let result = hkdf_expand(&Secret::new([1; HASH_LEN]), &[b"info"], &mut too_long);
        assert_eq!(result, Err(Error::CryptoFailed { operation: "key derivation" }));
    }
}
