//! What jsonwebtoken asks of a crypto library, answered by ring. The only file of this crate that names ring.

pub use ring::rand::SecureRandom;

use jsonwebtoken::{
    Algorithm, DecodingKey, DecodingKeyKind,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::{Error, ErrorKind, new_error},
    jwk::ThumbprintHash,
    signature::{self, Signer, Verifier},
};
use ring::{
    digest, hmac, rand,
    rsa::PublicKeyComponents,
    signature::{
        self as sig, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RsaKeyPair,
        VerificationAlgorithm,
    },
};
use zeroize::Zeroizing;

/// Makes jsonwebtoken verify with ring, in the whole process. Calls after the first do nothing. This crate itself does
/// not need it: it asks ring through the same types, with keys that have been read before.
///
/// It does not sign: that takes a key that is read once and the randomness of the caller, which is
/// [`SigningKey`](crate::SigningKey).
pub fn install_provider() {
    // An error says that there is a provider, which is ours: no other is in the tree.
    let _ = PROVIDER.install_default();
}

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(new_error(ErrorKind::Signing("use alts_request_auth::SigningKey".to_owned()))),
    verifier_factory: |algorithm, key| Ok(Box::new(KeyVerifier { algorithm: *algorithm, key: key.clone() })),
    key_utils: KeyUtils {
        rsa_pub_components_from_private_key: |_| Err(unsupported()),
        rsa_pub_components_from_public_key: |_| Err(unsupported()),
        ec_pub_components_from_private_key: |_, _| Err(unsupported()),
        ed_pub_components_from_private_key: |_, _| Err(unsupported()),
        compute_digest: |data, hash| match hash {
            ThumbprintHash::SHA256 => Ok(sha256(data).to_vec()),
            _ => Err(unsupported()),
        },
    },
};

fn unsupported() -> Error {
    new_error(ErrorKind::UnsupportedAlgorithm)
}

/// The SHA-256 hash of something.
pub(crate) fn sha256(data: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, data).as_ref());
    hash
}

/// A key and what it is used for.
struct KeyVerifier {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl Verifier<Vec<u8>> for KeyVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let good = is_signed(self.algorithm, &self.key, message, signature);
        if good { Ok(()) } else { Err(signature::Error::new()) }
    }
}

impl JwtVerifier for KeyVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

/// Whether this key has signed the message. `false` also for a key of another kind, and for an EC point that is not on
/// the curve. Points are uncompressed, signatures of ECDSA r and s in full length (RFC 7518, section 3.4).
pub(crate) fn is_signed(algorithm: Algorithm, key: &DecodingKey, message: &[u8], signature: &[u8]) -> bool {
    let plain = |with: &'static dyn VerificationAlgorithm| match key.kind() {
        DecodingKeyKind::SecretOrDer(point) => {
            sig::UnparsedPublicKey::new(with, point).verify(message, signature).is_ok()
        }
        DecodingKeyKind::RsaModulusExponent { .. } => false,
    };
    let rsa = |with: &'static sig::RsaParameters| match key.kind() {
        DecodingKeyKind::RsaModulusExponent { n, e } => {
            PublicKeyComponents { n, e }.verify(with, message, signature).is_ok()
        }
        DecodingKeyKind::SecretOrDer(_) => false,
    };
    let mac = |with: hmac::Algorithm| match key.kind() {
        DecodingKeyKind::SecretOrDer(secret) => {
            hmac::verify(&hmac::Key::new(with, secret), message, signature).is_ok()
        }
        DecodingKeyKind::RsaModulusExponent { .. } => false,
    };
    if key.family() != algorithm.family() {
        return false;
    }
    match algorithm {
        Algorithm::HS256 => mac(hmac::HMAC_SHA256),
        Algorithm::HS384 => mac(hmac::HMAC_SHA384),
        Algorithm::HS512 => mac(hmac::HMAC_SHA512),
        Algorithm::ES256 => plain(&sig::ECDSA_P256_SHA256_FIXED),
        Algorithm::ES384 => plain(&sig::ECDSA_P384_SHA384_FIXED),
        Algorithm::RS256 => rsa(&sig::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => rsa(&sig::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => rsa(&sig::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => rsa(&sig::RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => rsa(&sig::RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => rsa(&sig::RSA_PSS_2048_8192_SHA512),
        Algorithm::EdDSA => plain(&sig::ED25519),
        _ => false,
    }
}

const P256: &EcdsaSigningAlgorithm = &sig::ECDSA_P256_SHA256_FIXED_SIGNING;

/// A private key, read and ready.
pub(crate) enum PrivateKey {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(Box<RsaKeyPair>),
}

/// The public half of a private key.
pub(crate) enum PublicHalf {
    P256 { x: Vec<u8>, y: Vec<u8> },
    Ed25519 { x: Vec<u8> },
    Rsa { n: Vec<u8>, e: Vec<u8> },
}

impl PrivateKey {
    /// PKCS#8 DER of a new key, if keys of this kind can be generated.
    pub(crate) fn generate(
        algorithm: crate::Algorithm,
        random: &dyn SecureRandom,
    ) -> Option<Result<Zeroizing<Vec<u8>>, ring::error::Unspecified>> {
        let document = match algorithm {
            crate::Algorithm::Es256 => EcdsaKeyPair::generate_pkcs8(P256, random),
            crate::Algorithm::EdDSA => Ed25519KeyPair::generate_pkcs8(random),
            _ => return None,
        };
        Some(document.map(|document| Zeroizing::new(document.as_ref().to_vec())))
    }

    /// Reads PKCS#8 DER, if keys of this kind are signed with. What is wrong with the key is in ring's words.
    pub(crate) fn from_pkcs8(algorithm: crate::Algorithm, der: &[u8]) -> Option<Result<Self, String>> {
        let key = match algorithm {
            // ring draws here once what it mixes with the randomness that the caller gives to each signature.
            crate::Algorithm::Es256 => {
                EcdsaKeyPair::from_pkcs8(P256, der, &rand::SystemRandom::new()).map(Self::P256)
            }
            // Most tools write version 1, without the public key; where there is one it is compared.
            crate::Algorithm::EdDSA => Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map(Self::Ed25519),
            crate::Algorithm::Rs256 => RsaKeyPair::from_pkcs8(der).map(|key| Self::Rsa(Box::new(key))),
            _ => return None,
        };
        Some(key.map_err(|error| error.to_string()))
    }

    pub(crate) fn public(&self) -> PublicHalf {
        match self {
            Self::P256(key) => {
                // Uncompressed: 4, x, y.
                let point = key.public_key().as_ref().get(1..).unwrap_or_default();
                let (x, y) = point.split_at(point.len() / 2);
                PublicHalf::P256 { x: x.to_vec(), y: y.to_vec() }
            }
            Self::Ed25519(key) => PublicHalf::Ed25519 { x: key.public_key().as_ref().to_vec() },
            Self::Rsa(key) => {
                let public = PublicKeyComponents::<Vec<u8>>::from(key.public());
                PublicHalf::Rsa { n: public.n, e: public.e }
            }
        }
    }

    /// Octets of a signature.
    pub(crate) fn signature_len(&self) -> usize {
        match self {
            Self::P256(_) | Self::Ed25519(_) => 64,
            Self::Rsa(key) => key.public().modulus_len(),
        }
    }

    /// This key as jsonwebtoken wants signers.
    pub(crate) fn signer<'a>(&'a self, random: &'a dyn SecureRandom) -> impl JwtSigner + 'a {
        KeySigner { key: self, random }
    }
}

struct KeySigner<'a> {
    key: &'a PrivateKey,
    random: &'a dyn SecureRandom,
}

impl Signer<Vec<u8>> for KeySigner<'_> {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        let failed = |_| signature::Error::new();
        match self.key {
            PrivateKey::P256(key) => {
                key.sign(self.random, message).map(|signature| signature.as_ref().to_vec()).map_err(failed)
            }
            PrivateKey::Ed25519(key) => Ok(key.sign(message).as_ref().to_vec()),
            PrivateKey::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&sig::RSA_PKCS1_SHA256, self.random, message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

impl JwtSigner for KeySigner<'_> {
    fn algorithm(&self) -> Algorithm {
        match self.key {
            PrivateKey::P256(_) => Algorithm::ES256,
            PrivateKey::Ed25519(_) => Algorithm::EdDSA,
            PrivateKey::Rsa(_) => Algorithm::RS256,
        }
    }
}
