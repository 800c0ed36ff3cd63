//! Which caller is which workload. Nobody is one by default.

use std::collections::BTreeSet;

use alts_handshake::Identity;

use super::selector::{Kind, Selector};

/// Callers of whom all selectors hold, and the identities they may use.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    identities: Vec<Identity>,
    selectors: BTreeSet<Selector>,
}

/// Why an entry describes no workload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WorkloadProblem {
    #[error("a workload needs at least one identity")]
    NoIdentity,
    #[error("a workload without selectors would be every caller; give it at least one")]
    NoSelector,
    #[error("no caller is both `{first}` and `{second}`; remove one")]
    Contradiction { first: Selector, second: Selector },
}

/// All workloads of the node: no caller is two of them equally well.
#[derive(Clone, Debug, Default)]
pub(crate) struct Workloads(Vec<Workload>);

/// Two entries that one caller can match with equally many selectors, by their places in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "workloads {first} and {second} (counted from 0) have equally many selectors, and one caller can match both; \
     give one of them a further selector, or both different values of one kind"
)]
pub(crate) struct Tie {
    pub(crate) first: usize,
    pub(crate) second: usize,
}

/// Which kinds of selectors decide anything. Others that cost much need not be looked for, and a failure to look
/// for one of these is no answer: it could make a caller the less specific of two workloads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) account_names: bool,
    pub(crate) executable: bool,
    pub(crate) sha256: bool,
    /// What only the source of pods knows: the uid of a pod is in its cgroup.
    pub(crate) pods: bool,
}

impl Workload {
    /// The first identity is the one that a caller gets who asks for none.
    pub(crate) fn new(
        identities: Vec<Identity>,
        selectors: BTreeSet<Selector>,
    ) -> Result<Self, WorkloadProblem> {
        if identities.is_empty() {
            return Err(WorkloadProblem::NoIdentity);
        }
        if selectors.is_empty() {
            return Err(WorkloadProblem::NoSelector);
        }
        if let Some((first, second)) = contradiction(&selectors, &selectors) {
            return Err(WorkloadProblem::Contradiction { first: first.clone(), second: second.clone() });
        }
        Ok(Self { identities, selectors })
    }

    /// What it may be. Never empty; the first is the one it gets without asking.
    pub(crate) fn identities(&self) -> &[Identity] {
        &self.identities
    }

    /// What must hold of a caller, all of it.
    pub(crate) fn selectors(&self) -> &BTreeSet<Selector> {
        &self.selectors
    }

    fn matches(&self, found: &BTreeSet<Selector>) -> bool {
        self.selectors.iter().all(|selector| selector.holds(found))
    }
}

impl Workloads {
    /// Refuses two entries between which a caller could not be decided.
    pub(crate) fn new(entries: Vec<Workload>) -> Result<Self, Tie> {
        for (second, later) in entries.iter().enumerate() {
            let ties = |earlier: &Workload| {
                earlier.selectors.len() == later.selectors.len()
                    && contradiction(&earlier.selectors, &later.selectors).is_none()
            };
            if let Some(first) = entries[..second].iter().position(ties) {
                return Err(Tie { first, second });
            }
        }
        Ok(Self(entries))
    }

    /// The workload that a caller is: of those that match, the one with most selectors.
    pub(crate) fn of(&self, found: &BTreeSet<Selector>) -> Option<&Workload> {
        self.0.iter().filter(|workload| workload.matches(found)).max_by_key(|one| one.selectors.len())
    }

    /// In the order of the list.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Workload> {
        self.0.iter()
    }

    /// All that any workload may be.
    pub(crate) fn identities(&self) -> impl Iterator<Item = &Identity> {
        self.iter().flat_map(Workload::identities)
    }

    /// What has to be looked for.
    pub(crate) fn wanted(&self) -> Wanted {
        let wants = |kinds: &[Kind]| {
            self.iter().flat_map(Workload::selectors).any(|selector| kinds.contains(&selector.kind()))
        };
        Wanted {
            account_names: wants(&[Kind::User, Kind::Group]),
            executable: wants(&[Kind::Path, Kind::Sha256]),
            sha256: wants(&[Kind::Sha256]),
            pods: wants(&[
                Kind::KubernetesNamespace,
                Kind::KubernetesServiceAccount,
                Kind::KubernetesPodName,
            ]),
        }
    }
}

fn contradiction<'a>(
    some: &'a BTreeSet<Selector>,
    others: &'a BTreeSet<Selector>,
) -> Option<(&'a Selector, &'a Selector)> {
    let with = |one: &'a Selector| Some((one, others.iter().find(|other| one.contradicts(other))?));
    some.iter().find_map(with)
}
