//! The keys that tokens are signed with.

use jsonwebtoken::signature::Signer as _;
use zeroize::Zeroizing;

use crate::{
    algorithm::Algorithm,
    base64url,
    jwt_ring::{PrivateKey, SecureRandom},
    public_key::PublicKey,
};

/// The `typ` of tokens whose headers are encoded in advance: access tokens (RFC 9068) and all others.
const USUAL_TYPES: [&str; 2] = ["at+jwt", "JWT"];

/// A private key that has been read once, and what every token that it signs begins with.
pub struct SigningKey {
    key: PrivateKey,
    public: PublicKey,
    /// The encoded header with the dot behind it, for each of [`USUAL_TYPES`].
    headers: [String; USUAL_TYPES.len()],
}

/// Why there is no key, or no signature of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Tokens are not signed with it here.
    #[error("{0} is not signed with; use ES256, EdDSA or RS256")]
    Unsupported(Algorithm),
    /// Keys of this kind are not generated here.
    #[error("{0} keys are not generated; use ES256 or EdDSA, or import a key as PKCS#8")]
    NotGenerated(Algorithm),
    /// It is no such key, or too short: RSA keys have 2048 bits or more.
    #[error("it is no PKCS#8 key for {algorithm}: {problem}")]
    Unreadable {
        /// What it should be for.
        algorithm: Algorithm,
        /// What the crypto library says of it.
        problem: String,
    },
    /// The system gave no randomness.
    #[error("the system gave no randomness for a key")]
    Randomness,
    /// The crypto library did not sign.
    #[error("nothing was signed: the system gave no randomness, or the key is unusable")]
    Signature,
}

impl KeyError {
    /// A stable code for logs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unsupported(_) => "signing_algorithm_unsupported",
            Self::NotGenerated(_) => "signing_key_not_generated",
            Self::Unreadable { .. } => "signing_key_unreadable",
            Self::Randomness => "randomness_unavailable",
            Self::Signature => "signing_failed",
        }
    }
}

impl SigningKey {
    /// A new key for ES256 or EdDSA, and its PKCS#8 DER.
    pub fn generate(
        algorithm: Algorithm,
        random: &dyn SecureRandom,
    ) -> Result<(Self, Zeroizing<Vec<u8>>), KeyError> {
        let der = PrivateKey::generate(algorithm, random).ok_or(KeyError::NotGenerated(algorithm))?;
        let der = der.map_err(|_| KeyError::Randomness)?;
        Ok((Self::from_pkcs8(algorithm, &der)?, der))
    }

    /// Reads PKCS#8 DER: for ES256, EdDSA, and RS256 with 2048 bits or more.
    pub fn from_pkcs8(algorithm: Algorithm, der: &[u8]) -> Result<Self, KeyError> {
        let key = PrivateKey::from_pkcs8(algorithm, der).ok_or(KeyError::Unsupported(algorithm))?;
        let key = key.map_err(|problem| KeyError::Unreadable { algorithm, problem })?;
        let public = PublicKey::new(algorithm, &key.public());
        let headers = USUAL_TYPES.map(|typ| encoded_header(algorithm, public.kid(), typ));
        Ok(Self { key, public, headers })
    }

    /// What the header of its tokens says: the thumbprint of its public key.
    pub fn kid(&self) -> &str {
        self.public.kid()
    }

    /// What it signs with.
    pub fn algorithm(&self) -> Algorithm {
        self.public.algorithm()
    }

    /// What verifiers need.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// A compact JWT of these claims, which are signed as they are: the text of a JSON object. It costs one signature
    /// and little more for `typ` `at+jwt` and `JWT`; for another the header is encoded anew.
    pub fn sign(&self, typ: &str, claims_json: &[u8], random: &dyn SecureRandom) -> Result<String, KeyError> {
        let usual = USUAL_TYPES.iter().position(|usual| *usual == typ).and_then(|at| self.headers.get(at));
        let made;
        let header = match usual {
            Some(header) => header,
            None => {
                made = encoded_header(self.algorithm(), self.kid(), typ);
                &made
            }
        };
        let rest = base64url::encoded_len(claims_json.len());
        let signature = base64url::encoded_len(self.key.signature_len());
        let mut token = String::with_capacity(header.len() + rest + 1 + signature);
        token.push_str(header);
        base64url::append(claims_json, &mut token);
        let signature = self.signature(token.as_bytes(), random)?;
        token.push('.');
        base64url::append(&signature, &mut token);
        Ok(token)
    }

    /// The bare signature of a message.
    pub fn signature(&self, message: &[u8], random: &dyn SecureRandom) -> Result<Vec<u8>, KeyError> {
        self.key.signer(random).try_sign(message).map_err(|_| KeyError::Signature)
    }
}

/// The header with the dot behind it.
fn encoded_header(algorithm: Algorithm, kid: &str, typ: &str) -> String {
    let mut header = jsonwebtoken::Header::new(algorithm.to_library());
    header.typ = Some(typ.to_owned());
    header.kid = Some(kid.to_owned());
    let json = serde_json::to_vec(&header).expect("a header of three texts is JSON");
    let mut text = base64url::encode(&json);
    text.push('.');
    text
}
