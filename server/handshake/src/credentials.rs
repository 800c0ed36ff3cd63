//! An own identity: its certificate chain and the key to it.

use pki_types::{CertificateDer, PrivatePkcs8KeyDer, UnixTime};

use crate::{
    certificate::Chain,
    certificate_info::CertificateInfo,
    crypto::{SecureRandom, SignatureScheme, SigningKey},
    error::{Error, SetupError},
    frame::FrameType,
    identity::Identity,
    message::MAX_CHAIN,
    validity::Validity,
};

/// Largest chain, in bytes, that leaves room in a Finished message for the most that can stand beside it: the
/// lengths of the certificates, a ticket, an ECDSA signature, a MAC and a tag.
const MAX_CHAIN_BYTES: usize = FrameType::ServerFinished.max_payload() - 256;

/// What a workload is authenticated with. It has no `Debug`: it holds the private key.
pub struct Credentials {
    identity: Identity,
    certificates: Vec<Vec<u8>>,
    key: SigningKey,
    validity: Validity,
    info: CertificateInfo,
}

impl Credentials {
    /// Takes over a chain, leaf first, and the PKCS#8 key of the leaf. Whether the chain leads to a root is for
    /// [`Trust::check_own`](crate::Trust::check_own).
    pub fn new(
        certificates: &[CertificateDer<'_>],
        key: &PrivatePkcs8KeyDer<'_>,
        random: &dyn SecureRandom,
    ) -> Result<Self, SetupError> {
        if !(1..=MAX_CHAIN).contains(&certificates.len()) {
            return Err(SetupError::OwnChainLength { count: certificates.len() });
        }
        let certificates: Vec<_> = certificates.iter().map(|der| der.to_vec()).collect();
        let chain = Chain::read(&certificates).map_err(SetupError::OwnCertificateUnusable)?;
        let length = certificates.iter().map(Vec::len).sum();
        if length > MAX_CHAIN_BYTES {
            return Err(SetupError::OwnChainTooLarge { length, limit: MAX_CHAIN_BYTES });
        }
        let key = SigningKey::from_pkcs8(key.secret_pkcs8_der(), random).ok_or(SetupError::OwnKeyUnusable)?;
        if key.scheme() != chain.scheme || key.public_key() != chain.public_key {
            return Err(SetupError::OwnKeyForeign { account: chain.identity.account().to_owned() });
        }
        let info = CertificateInfo::of(&chain);
        let validity = chain.validity();
        Ok(Self { identity: chain.identity, certificates, key, validity, info })
    }

    /// Whom the leaf names.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The time in which the whole chain is valid: first and last second since 1970.
    pub fn validity(&self) -> (u64, u64) {
        (self.validity.not_before, self.validity.not_after)
    }

    /// What an operator may want to know of the leaf.
    pub fn certificate(&self) -> CertificateInfo {
        self.info.clone()
    }

    /// The chain as peers get it, leaf first, each certificate in DER.
    pub fn chain_der(&self) -> &[Vec<u8>] {
        &self.certificates
    }

    /// A handshake begins only with a certificate that is valid now.
    pub(crate) fn check_validity(&self, now: UnixTime) -> Result<(), Error> {
        if self.validity.contains(now) {
            return Ok(());
        }
        let Validity { not_before, not_after } = self.validity;
        let account = self.identity.account().to_owned();
        Err(Error::OwnCertificateNotValid { account, not_before, not_after, now: now.as_secs() })
    }

    pub(crate) fn scheme(&self) -> SignatureScheme {
        self.key.scheme()
    }

    pub(crate) fn sign(&self, message: &[u8], random: &dyn SecureRandom) -> Result<Vec<u8>, Error> {
        self.key.sign(message, random)
    }
}
