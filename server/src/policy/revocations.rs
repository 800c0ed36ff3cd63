//! All revocations, and whether one of them is of a peer.

use std::{collections::HashMap, sync::Arc};

use alts_handshake::{CertificateFacts, Identity, sha256};

use super::{
    name::names_of,
    revocation::{Revocation, Revoked, without_zeros},
};

/// What is revoked, found by name, number and key alone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Revocations {
    accounts: HashMap<Box<str>, Terms>,
    /// By the hash of the issuer, then by serial number.
    certificates: HashMap<[u8; 32], HashMap<Box<str>, Terms>>,
    keys: HashMap<[u8; 32], Terms>,
}

/// Why and until when.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) reason: Arc<str>,
    /// The first second that it does not count in, since 1970.
    expire_time: Option<u64>,
}

impl Terms {
    fn count_at(&self, now: u64) -> bool {
        self.expire_time.is_none_or(|end| now < end)
    }
}

impl Revocations {
    /// Takes in what stands under a key. A record that cannot be read (`None`), or that is of something else than its
    /// key says, revokes what the key names, without end.
    pub(crate) fn put(&mut self, key: &Revoked, record: Option<&Revocation>) {
        let terms = match record.filter(|record| record.revoked() == key) {
            Some(record) => Terms { reason: record.reason().into(), expire_time: record.expire_time() },
            None => {
                Terms { reason: "the record of this revocation cannot be read".into(), expire_time: None }
            }
        };
        match key {
            Revoked::Account(account) => {
                self.accounts.insert(account.as_str().into(), terms);
            }
            Revoked::Certificate { issuer_sha256, serial } => {
                self.certificates.entry(*issuer_sha256).or_default().insert(serial.as_str().into(), terms);
            }
            Revoked::Key(hash) => {
                self.keys.insert(*hash, terms);
            }
        }
    }

    /// Takes back what a key names.
    pub(crate) fn remove(&mut self, key: &Revoked) {
        match key {
            Revoked::Account(account) => {
                self.accounts.remove(account.as_str());
            }
            Revoked::Certificate { issuer_sha256, serial } => {
                if let Some(serials) = self.certificates.get_mut(issuer_sha256) {
                    serials.remove(serial.as_str());
                    if serials.is_empty() {
                        self.certificates.remove(issuer_sha256);
                    }
                }
            }
            Revoked::Key(hash) => {
                self.keys.remove(hash);
            }
        }
    }

    /// How many there are, with those that have ended.
    pub(crate) fn len(&self) -> usize {
        self.accounts.len() + self.keys.len() + self.certificates.values().map(HashMap::len).sum::<usize>()
    }

    /// The revocation of one of the names of a workload.
    pub(super) fn of_account(&self, identity: &Identity, now: u64) -> Option<&Terms> {
        names_of(identity).filter_map(|name| self.accounts.get(name)).find(|terms| terms.count_at(now))
    }

    /// The first certificate of a chain that is revoked.
    pub(super) fn of_certificate<'c>(
        &self,
        chain: &'c [CertificateFacts],
        now: u64,
    ) -> Option<(&'c CertificateFacts, &Terms)> {
        if self.certificates.is_empty() {
            return None;
        }
        chain.iter().find_map(|certificate| {
            let serials = self.certificates.get(&sha256(certificate.issuer.as_bytes()))?;
            let terms = serials.get(without_zeros(&certificate.serial))?;
            terms.count_at(now).then_some((certificate, terms))
        })
    }

    /// The first certificate of a chain whose key is revoked.
    pub(super) fn of_key<'c>(
        &self,
        chain: &'c [CertificateFacts],
        now: u64,
    ) -> Option<(&'c CertificateFacts, &Terms)> {
        chain.iter().find_map(|certificate| {
            let terms = self.keys.get(&certificate.key_sha256)?;
            terms.count_at(now).then_some((certificate, terms))
        })
    }
}
