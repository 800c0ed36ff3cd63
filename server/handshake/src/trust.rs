//! Which roots vouch for whom, what they have revoked, and the chains that were found good under them.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};

use crate::{
    Role,
    certificate::Chain,
    certificate_info::CertificateFacts,
    credentials::Credentials,
    crypto::{HASH_LEN, Sha256},
    error::{Error, SetupError},
    identity::{Authority, Identity},
    path::{GoodPath, PathRules, Root},
    peer::Peer,
    revocation::{AuthorityCrls, Crl},
    validity::{Clock, Validity},
};

/// The most that a peer's clock and the own one may differ: specification section 10.
pub const MAX_SKEW_ALLOWANCE: Duration = Duration::from_secs(60);

/// Most CRLs of one authority.
const MAX_CRLS: usize = 256;

/// Most verified chains that are remembered.
const MAX_CACHED: usize = 4_096;

/// The roots and CRLs of each authority. A chain counts only if its root is configured for the authority of every
/// name in its leaf, and no CRL of these authorities stands against it.
///
/// One `Trust` is one version of the roots and CRLs: whoever changes them makes a new one, and with it an empty
/// cache.
#[derive(Default)]
pub struct Trust {
    roots: HashMap<Authority, Vec<Root>>,
    crls: HashMap<Authority, Vec<Crl>>,
    /// In seconds.
    skew_allowance: u64,
    verified: Mutex<Cache>,
}

/// A peer whose chain was found good.
pub(crate) struct VerifiedChain {
    chain: Chain,
    path: GoodPath,
    /// Those that were sent, and behind them the root, unless that was sent too.
    certificates: Arc<[CertificateFacts]>,
    /// When it need not be validated again.
    usable: Validity,
}

impl VerifiedChain {
    pub(crate) fn peer(&self) -> Peer {
        Peer { identity: self.chain.identity.clone(), certificates: self.certificates.clone() }
    }

    /// The last second in which both the certificates and the CRLs they were held against are good.
    pub(crate) fn not_after(&self) -> u64 {
        self.path.certificates.not_after.min(self.usable.not_after)
    }

    /// How far `now` lies outside the validity of the certificates.
    pub(crate) fn clock_skew(&self, now: UnixTime) -> Duration {
        self.path.certificates.distance(now)
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
    /// Trust in nobody yet. A peer's chain that is not yet valid, or not any more, is taken all the same if that is by
    /// at most `skew_allowance`, and CRLs are good for so much longer: clocks differ. Whole seconds count, and at
    /// most [`MAX_SKEW_ALLOWANCE`].
    pub fn new(skew_allowance: Duration) -> Self {
        Self { skew_allowance: skew_allowance.min(MAX_SKEW_ALLOWANCE).as_secs(), ..Self::default() }
    }

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

    /// Adds CRLs (DER) for an authority. With the first of them, every leaf of this authority must be covered by one;
    /// certificates above it are looked up where one covers them. A covering CRL past its nextUpdate refuses the chain.
    pub fn add_crls(
        &mut self,
        authority: Authority,
        crls: &[CertificateRevocationListDer<'_>],
    ) -> Result<(), SetupError> {
        let read = |der| {
            let unusable = |problem| SetupError::CrlUnusable { authority: authority.to_string(), problem };
            Crl::read(der).map_err(unusable)
        };
        let count = self.crls.get(&authority).map_or(0, Vec::len) + crls.len();
        if count > MAX_CRLS {
            return Err(SetupError::CrlsTooMany { authority: authority.to_string(), count });
        }
        let crls = crls.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        if !crls.is_empty() {
            self.crls.entry(authority).or_default().extend(crls);
        }
        Ok(())
    }

    /// The earliest nextUpdate of all CRLs, in seconds since 1970.
    pub fn next_crl_update(&self) -> Option<u64> {
        self.crls.values().flatten().map(Crl::next_update).min()
    }

    /// Checks that own credentials lead to a configured root, are valid now, with no allowance, and not revoked, in at
    /// least one role. A CRL that is outdated, or not there, says nothing of them: it would keep this node from renewing
    /// what its peers may well accept.
    pub fn check_own(&self, credentials: &Credentials, now: UnixTime) -> Result<(), SetupError> {
        let clock = Clock::strict(now);
        let as_one = |role| match self.validate(credentials.chain_der(), role, clock) {
            Err(error) if !is_for_want_of_a_crl(&error) => Err(error),
            _ => Ok(()),
        };
        as_one(Role::Client)
            .or_else(|_| as_one(Role::Server))
            // Also what is not on the path: peers get all of it.
            .and_then(|()| credentials.check_validity(now))
            .map_err(SetupError::OwnCertificateUnusable)
    }

    /// Validates the chain of a peer in this role. A chain that was found good before is not validated again
    /// while all its certificates, and the CRLs they were held against, are good.
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
        if let Some(chain) = known.filter(|chain| chain.usable.contains(now)) {
            return Ok(chain);
        }
        let clock = Clock { now, allowance: self.skew_allowance };
        let chain = Arc::new(self.validate(certificates, peer, clock)?);
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).insert(key, chain.clone());
        Ok(chain)
    }

    fn validate(&self, certificates: &[Vec<u8>], peer: Role, clock: Clock) -> Result<VerifiedChain, Error> {
        self.validate_chain(Chain::read(certificates)?, certificates, peer, clock)
    }

    /// Validates the path of a chain that was read from these certificates.
    fn validate_chain(
        &self,
        chain: Chain,
        certificates: &[Vec<u8>],
        peer: Role,
        clock: Clock,
    ) -> Result<VerifiedChain, Error> {
        let roots = self.roots_for(&chain.identity)?;
        let crls = self.crls_for(&chain.identity);
        let authority = || {
            let names: Vec<_> = chain.identity.authorities().map(|authority| authority.to_string()).collect();
            names.join(" and ")
        };
        let rules = PathRules { roots: &roots, crls: &crls, peer, authority: &authority, clock };
        let path = rules.validate(&chain, certificates)?;
        let usable = path.certificates.widened(clock.allowance).and(path.crls);
        let is_sent = chain.facts.contains(&path.root);
        let root = (!is_sent).then(|| path.root.clone());
        let certificates = chain.facts.iter().cloned().chain(root).collect();
        Ok(VerifiedChain { chain, path, certificates, usable })
    }

    /// The CRLs of each authority that a name belongs to. They are never merged: each authority that has any must
    /// have one that covers the leaf, and all of them count.
    fn crls_for(&self, identity: &Identity) -> Vec<AuthorityCrls<'_>> {
        let of = |authority| {
            let crls = self.crls.get(&authority)?;
            Some(AuthorityCrls { authority, crls })
        };
        identity.authorities().filter_map(of).collect()
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

/// Whether a path was good, and only its revocation could not be looked up.
fn is_for_want_of_a_crl(error: &Error) -> bool {
    matches!(
        error,
        Error::PeerCertificateRevocationUnknown { .. }
            | Error::PeerCertificateCrlExpired { .. }
            | Error::PeerCertificateCrlInvalid { .. }
    )
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
mod limbo_tests;

#[cfg(test)]
mod tests {
    use super::*;

    fn vectors() -> serde_json::Value {
        serde_json::from_str(include_str!("../tests/handshake.json")).expect("the vectors are JSON")
    }

    fn der(value: &serde_json::Value) -> Vec<u8> {
        hex::decode(value.as_str().expect("it is a string")).expect("it is hex")
    }

    fn certificates() -> Vec<Vec<u8>> {
        let vectors = vectors();
        let chain = vectors["refused_setup"]["server"]["certs"].as_array().expect("there is a chain");
        chain.iter().map(der).collect()
    }

    fn verified() -> Arc<VerifiedChain> {
        let chain = Chain::read(&certificates()).expect("it is good");
        let root = chain.facts[0].clone();
        let path = GoodPath { certificates: chain.validity(), crls: Validity::ALWAYS, root };
        let certificates = chain.facts.clone();
        Arc::new(VerifiedChain { usable: path.certificates, path, certificates, chain })
    }

    #[test]
    fn a_chain_is_validated_once_for_its_validity_with_the_allowance() {
        let mut trust = Trust::new(MAX_SKEW_ALLOWANCE);
        for (name, roots) in vectors()["trust"].as_object().expect("there are roots") {
            let roots: Vec<_> = roots.as_array().expect("they are a list").iter().map(der).collect();
            let roots: Vec<_> = roots.into_iter().map(CertificateDer::from).collect();
            trust.add(Authority::parse(name).expect("it is one"), &roots).expect("they are usable");
        }
        let (certificates, Validity { not_before, not_after }) = (certificates(), verified().usable);
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let verify =
            |time| trust.verify(&certificates, Role::Server, at(time)).map_err(|error| error.reason());
        let first = verify(not_after + 60).expect("it is within the allowance");
        for time in [not_before - 60, not_before, not_after, not_after + 60] {
            assert!(verify(time).is_ok_and(|again| Arc::ptr_eq(&first, &again)), "{time}");
        }
        for time in [not_before - 61, not_after + 61] {
            assert!(verify(time).is_err(), "{time}");
        }
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
