//! Which roots vouch for whom, and the chains that were found good under them.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use pki_types::{CertificateDer, UnixTime};

use crate::{
    Role,
    certificate::{Chain, PathRules, Root, Validity},
    credentials::Credentials,
    crypto::{HASH_LEN, Sha256},
    error::{Error, SetupError},
    identity::{Authority, Identity},
};

/// Most verified chains that are remembered.
const MAX_CACHED: usize = 4_096;

/// The roots of each authority. A chain counts only if its root is configured for the authority of every name in
/// its leaf.
///
/// One `Trust` is one version of the roots: whoever changes them makes a new one, and with it an empty cache.
#[derive(Default)]
pub struct Trust {
    roots: HashMap<Authority, Vec<Root>>,
    verified: Mutex<Cache>,
}

/// A peer whose chain was found good.
pub(crate) struct VerifiedChain {
    chain: Chain,
    /// Of the path to the root.
    validity: Validity,
}

impl VerifiedChain {
    pub(crate) fn identity(&self) -> &Identity {
        &self.chain.identity
    }

    pub(crate) fn validity(&self) -> Validity {
        self.validity
    }

    /// Checks a signature of the leaf's key, made in the scheme that belongs to it.
    pub(crate) fn verify_signature(
        &self,
        scheme: u16,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Error> {
        let expected = self.chain.scheme;
        if scheme != expected.code() {
            return Err(Error::SignatureSchemeWrong { expected: expected.code(), found: scheme });
        }
        expected.verify(&self.chain.public_key, message, signature)
    }
}

impl Trust {
    /// Adds roots (DER) for an authority.
    pub fn add(&mut self, authority: Authority, roots: &[CertificateDer<'_>]) -> Result<(), SetupError> {
        let read = |der| {
            let unusable = |problem| SetupError::RootUnusable { authority: authority.to_string(), problem };
            Root::read(der).map_err(unusable)
        };
        let roots = roots.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        self.roots.entry(authority).or_default().extend(roots);
        Ok(())
    }

    /// Checks that own credentials lead to a configured root and are valid now, in at least one role.
    pub fn check_own(&self, credentials: &Credentials, now: UnixTime) -> Result<(), SetupError> {
        let as_client = self.validate(credentials.certificates(), Role::Client, now);
        as_client
            .or_else(|_| self.validate(credentials.certificates(), Role::Server, now))
            // Also what is not on the path: peers get all of it.
            .and_then(|_| credentials.check_validity(now))
            .map_err(SetupError::OwnCertificateUnusable)
    }

    /// Validates the chain of a peer in this role. A chain that was found good before is not validated again
    /// while all its certificates are valid.
    pub(crate) fn verify(
        &self,
        certificates: &[Vec<u8>],
        peer: Role,
        now: UnixTime,
    ) -> Result<Arc<VerifiedChain>, Error> {
        let key = cache_key(certificates, peer);
        // The lock is held for one look-up, some thousandth of a validation. A poisoned cache is still one of
        // good chains: no entry is ever half-made.
        let known = self.verified.lock().unwrap_or_else(PoisonError::into_inner).get(&key);
        if let Some(chain) = known.filter(|chain| chain.validity().contains(now)) {
            return Ok(chain);
        }
        let chain = Arc::new(self.validate(certificates, peer, now)?);
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).insert(key, chain.clone());
        Ok(chain)
    }

    fn validate(&self, certificates: &[Vec<u8>], peer: Role, now: UnixTime) -> Result<VerifiedChain, Error> {
        let chain = Chain::read(certificates)?;
        let roots = self.roots_for(&chain.identity)?;
        let authority = || {
            let names: Vec<_> = chain.identity.authorities().map(|authority| authority.to_string()).collect();
            names.join(" and ")
        };
        let rules = PathRules { roots: &roots, peer, authority: &authority, now };
        let on_path = rules.validate(certificates)?;
        Ok(VerifiedChain { validity: chain.validity_of(on_path), chain })
    }

    /// The roots that are configured for the authority of every name. One list each, never merged.
    fn roots_for(&self, identity: &Identity) -> Result<Vec<Root>, Error> {
        let mut common: Option<Vec<Root>> = None;
        for authority in identity.authorities() {
            let Some(roots) = self.roots.get(&authority) else {
                return Err(Error::PeerCertificateAuthorityUnknown { authority: authority.to_string() });
            };
            match &mut common {
                None => common = Some(roots.clone()),
                Some(common) => common.retain(|root| roots.iter().any(|other| other.der == root.der)),
            }
        }
        Ok(common.unwrap_or_default())
    }
}

type CacheKey = [u8; HASH_LEN];

fn cache_key(certificates: &[Vec<u8>], peer: Role) -> CacheKey {
    let mut hash = Sha256::new();
    hash.update(&[peer as u8]);
    for certificate in certificates {
        // At most 64 KiB: the length came as a u16.
        hash.update(&(certificate.len() as u32).to_le_bytes());
        hash.update(certificate);
    }
    hash.finish()
}

/// Verified chains, the oldest out first.
#[derive(Default)]
struct Cache {
    chains: HashMap<CacheKey, Arc<VerifiedChain>>,
    order: VecDeque<CacheKey>,
}

impl Cache {
    fn get(&self, key: &CacheKey) -> Option<Arc<VerifiedChain>> {
        self.chains.get(key).cloned()
    }

    fn insert(&mut self, key: CacheKey, chain: Arc<VerifiedChain>) {
        if self.chains.insert(key, chain).is_some() {
            return;
        }
        self.order.push_back(key);
        if self.order.len() > MAX_CACHED
            && let Some(oldest) = self.order.pop_front()
        {
            self.chains.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verified() -> Arc<VerifiedChain> {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../tests/handshake.json")).expect("the vectors are JSON");
        let leaf = vectors["refused_setup"]["server"]["certs"][0].as_str().expect("there is a leaf");
        let chain = Chain::read(&[hex::decode(leaf).expect("it is hex")]).expect("it is good");
        Arc::new(VerifiedChain { validity: chain.validity(), chain })
    }

    fn key(number: usize) -> CacheKey {
        let mut key = [0; HASH_LEN];
        key[..8].copy_from_slice(&number.to_le_bytes());
        key
    }

    #[test]
    fn the_cache_forgets_the_oldest_chain_when_it_is_full_and_no_other() {
        let (mut cache, chain) = (Cache::default(), verified());
        for number in 0..MAX_CACHED {
            cache.insert(key(number), chain.clone());
        }
        // A chain that is there already takes no further place.
        cache.insert(key(1), chain.clone());
        assert!((0..MAX_CACHED).all(|number| cache.get(&key(number)).is_some()));
        cache.insert(key(MAX_CACHED), chain);
        assert!(cache.get(&key(0)).is_none());
        assert!((1..=MAX_CACHED).all(|number| cache.get(&key(number)).is_some()));
        assert_eq!((cache.chains.len(), cache.order.len()), (MAX_CACHED, MAX_CACHED));
    }

    #[test]
    fn the_same_certificates_split_or_used_otherwise_are_another_chain() {
        let keys = [
            cache_key(&[b"ab".to_vec(), b"c".to_vec()], Role::Client),
            cache_key(&[b"a".to_vec(), b"bc".to_vec()], Role::Client),
            cache_key(&[b"abc".to_vec()], Role::Client),
            cache_key(&[b"abc".to_vec()], Role::Server),
            cache_key(&[b"c".to_vec(), b"ab".to_vec()], Role::Client),
        ];
        for (index, key) in keys.iter().enumerate() {
            assert!(!keys[..index].contains(key), "{index}");
        }
    }
}
