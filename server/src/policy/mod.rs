//! Whom the accounts of this node may meet: peer lists, rules, target names and revocations.
//!
//! All of it is decided from values. Files and the store are read elsewhere; here are the records that they hold
//! ([`RuleRecord`] and its like), the model that they become, and the keys that the store keeps them under ([`Key`]).

mod compile;
mod decide;
mod document;
mod explain;
mod index;
mod keys;
mod model;
mod name;
mod pattern;
mod place;
mod problem;
mod record;
mod resources;
mod revocation;
mod revocations;
mod target;

pub(crate) use compile::{Policy, Sources};
pub(crate) use decide::{Decision, Question, Reason};
pub(crate) use document::{DocumentProblem, Format, check_complete, parse};
pub(crate) use explain::Explanation;
pub(crate) use keys::{Key, PEER_LISTS, REVOCATIONS, RULES, TARGET_NAMES};
pub(crate) use model::{Action, Mode, PeerList, Rule, Side};
pub(crate) use name::Name;
pub(crate) use pattern::PeerMatch;
pub(crate) use problem::{Problem, Refused, printable};
pub(crate) use record::{PeerListRecord, RevocationRecord, RuleRecord, TargetNameRecord};
pub(crate) use resources::{Entry, Named, Resource, Resources, effective};
pub(crate) use revocation::{MAX_REASON, Revocation, Revoked};
pub(crate) use revocations::Revocations;
pub(crate) use target::{TargetKey, TargetName};

#[cfg(test)]
mod tests;
