//! Finding what applies to a workload without looking at what does not.

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

use alts_handshake::{Identity, Peer};

use super::{
    name::{mail_domain, names_of},
    pattern::{AccountPattern, PeerMatch},
};

/// Values under patterns of accounts. Finding those of a workload takes a look-up for each of its names, and one for
/// each length that parents of SPIFFE IDs have here: as long for a hundred patterns as for a hundred thousand.
#[derive(Debug)]
pub(super) struct PatternIndex<V> {
    exact: HashMap<Box<str>, V>,
    domains: HashMap<Box<str>, V>,
    below: HashMap<Box<str>, V>,
    /// Of the texts in `below`, ascending and each once. They bound what a SPIFFE ID of many segments costs.
    below_lengths: Vec<usize>,
    any: Option<V>,
}

impl<V> Default for PatternIndex<V> {
    fn default() -> Self {
        Self {
            exact: HashMap::new(),
            domains: HashMap::new(),
            below: HashMap::new(),
            below_lengths: Vec::new(),
            any: None,
        }
    }
}

impl<V: Default> PatternIndex<V> {
    /// The value of a pattern, made if there is none.
    pub(super) fn entry(&mut self, pattern: &AccountPattern) -> &mut V {
        match pattern {
            AccountPattern::Exact(account) => self.exact.entry(account.as_str().into()).or_default(),
            AccountPattern::MailDomain(domain) => self.domains.entry(domain.clone()).or_default(),
            AccountPattern::Below(parent) => {
                if let Err(place) = self.below_lengths.binary_search(&parent.len()) {
                    self.below_lengths.insert(place, parent.len());
                }
                self.below.entry(parent.clone()).or_default()
            }
            AccountPattern::Any => self.any.get_or_insert_default(),
        }
    }
}

impl<V> PatternIndex<V> {
    /// The values of all patterns that match a workload, and how.
    pub(super) fn matching<'a>(
        &'a self,
        identity: &'a Identity,
    ) -> impl Iterator<Item = (Matched<'a>, &'a V)> {
        let exact = names_of(identity)
            .filter_map(|name| self.exact.get(name).map(|value| (Matched::Account(name), value)));
        let domain = mail_domain(identity)
            .and_then(|domain| self.domains.get(domain).map(|value| (Matched::MailDomain(domain), value)));
        let any = self.any.as_ref().map(|value| (Matched::Any, value));
        exact.chain(domain).chain(self.above(identity)).chain(any)
    }

    fn above<'a>(&'a self, identity: &'a Identity) -> impl Iterator<Item = (Matched<'a>, &'a V)> {
        let id = identity.spiffe_id().map_or("", alts_handshake::SpiffeId::as_str);
        let shorter = self.below_lengths.iter().take_while(|length| **length < id.len());
        shorter.filter_map(|length| {
            let (parent, rest) = id.split_at_checked(*length)?;
            let value = self.below.get(parent).filter(|_| rest.starts_with('/'))?;
            Some((Matched::Below(parent), value))
        })
    }
}

/// Peers, to be asked whether one is among them.
#[derive(Debug, Default)]
pub(super) struct Members {
    accounts: PatternIndex<()>,
    trust_domains: HashSet<Box<str>>,
    ca_keys: HashSet<[u8; 32]>,
    keys: HashSet<[u8; 32]>,
}

impl Members {
    pub(super) fn of(peers: &[PeerMatch]) -> Self {
        let mut members = Self::default();
        for peer in peers {
            match peer {
                PeerMatch::Account(pattern) => *members.accounts.entry(pattern) = (),
                PeerMatch::TrustDomain(domain) => {
                    members.trust_domains.insert(domain.clone());
                }
                PeerMatch::CaKeySha256(hash) => {
                    members.ca_keys.insert(*hash);
                }
                PeerMatch::KeySha256(hash) => {
                    members.keys.insert(*hash);
                }
            }
        }
        members
    }

    /// By which member a peer is among them. A name decides before a certificate, an exact one before a pattern.
    pub(super) fn find<'p>(&'p self, peer: &'p Peer) -> Option<Matched<'p>> {
        let by_name = || self.accounts.matching(&peer.identity).map(|(matched, ())| matched).next();
        by_name().or_else(|| self.by_trust_domain(peer)).or_else(|| self.by_key(peer))
    }

    /// Whether there are members that only certificates can match, which are not known of this peer.
    pub(super) fn lack_certificates(&self, peer: &Peer) -> bool {
        !self.keys.is_empty() && peer.certificates.is_empty()
            || !self.ca_keys.is_empty() && peer.certificates.len() < 2
    }

    fn by_trust_domain<'p>(&self, peer: &'p Peer) -> Option<Matched<'p>> {
        let domain = peer.identity.spiffe_id()?.trust_domain();
        self.trust_domains.contains(domain).then_some(Matched::TrustDomain(domain))
    }

    fn by_key<'p>(&self, peer: &Peer) -> Option<Matched<'p>> {
        let (leaf, authorities) = peer.certificates.split_first()?;
        if self.keys.contains(&leaf.key_sha256) {
            return Some(Matched::Key(leaf.key_sha256));
        }
        let mut of_authorities = authorities.iter().map(|authority| authority.key_sha256);
        of_authorities.find(|key| self.ca_keys.contains(key)).map(Matched::CaKey)
    }
}

/// The pattern that matched, in the texts of the workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Matched<'p> {
    Account(&'p str),
    MailDomain(&'p str),
    Below(&'p str),
    Any,
    TrustDomain(&'p str),
    CaKey([u8; 32]),
    Key([u8; 32]),
}

/// As the pattern is written.
impl fmt::Display for Matched<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(account) => f.write_str(account),
            Self::MailDomain(domain) => AccountPattern::MailDomain((*domain).into()).fmt(f),
            Self::Below(parent) => AccountPattern::Below((*parent).into()).fmt(f),
            Self::Any => AccountPattern::Any.fmt(f),
            Self::TrustDomain(domain) => PeerMatch::TrustDomain((*domain).into()).fmt(f),
            Self::CaKey(hash) => PeerMatch::CaKeySha256(*hash).fmt(f),
            Self::Key(hash) => PeerMatch::KeySha256(*hash).fmt(f),
        }
    }
}
