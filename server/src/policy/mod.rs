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

pub(crate) use compile::{Policy, PolicyProblem, Sources};
pub(crate) use decide::{Decision, Question, Reason, Shadow};
pub(crate) use document::{DocumentProblem, Format, MissingList, check_complete, parse};
pub(crate) use explain::{Explanation, RuleOutcome, RuleStep, TargetStep};
pub(crate) use keys::{Key, PEER_LISTS, REVOCATIONS, RULES, TARGET_NAMES};
pub(crate) use model::{
    Action, MAX_DESCRIPTION, MAX_PEERS, MAX_RECORD, MAX_RULE_LISTS, MAX_RULE_PEERS, Mode, PeerList, Rule,
    RuleParts, Side,
};
pub(crate) use name::{AccountName, Name};
pub(crate) use pattern::{AccountPattern, PeerMatch};
pub(crate) use problem::{Problem, Refused};
pub(crate) use record::{PeerListRecord, RevocationRecord, RuleRecord, TargetNameRecord};
pub(crate) use resources::{Entry, Listed, Named, Origin, Resource, Resources, listed};
pub(crate) use revocation::{MAX_REASON, Revocation, Revoked, Serial, Times};
pub(crate) use revocations::Revocations;
pub(crate) use target::{MAX_TARGET_ACCOUNTS, TargetKey, TargetName};

#[cfg(test)]
mod tests;
