//! Whether an authenticated peer is acceptable.
//!
//! In this order: what is revoked is refused; a client refuses a peer that is none of those that the called name
//! stands for; then the rules for the local account on its side. Of these a denial wins; else an allowance; else,
//! where any rule allows somebody, nobody but them; else the default of the node.

use std::sync::Arc;

use alts_handshake::{Identity, NotAdmitted, Peer};

use super::{
    compile::{CompiledList, CompiledRule, Policy, RuleBody},
    index::Matched,
    model::{Action, Mode, Side},
    name::Name,
    resources::Entry,
    target::{TargetName, spellings},
};

/// Who asks for whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    /// Which end the local account is.
    pub(crate) side: Side,
    pub(crate) local: &'a Identity,
    /// With its whole chain. Without one, what is said of certificates matches nobody: only to explain.
    pub(crate) peer: &'a Peer,
    /// What the program has called, `HOST:PORT`; empty where it called nothing. Only a client has one.
    pub(crate) target_name: &'a str,
    /// Seconds since 1970.
    pub(crate) now: u64,
}

/// The answer, and what it was decided by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    /// The text of a refusal names the rule, and never peers other than the one that asked.
    pub(crate) verdict: Result<(), NotAdmitted>,
    pub(crate) reason: Reason,
    /// The rule that decided: of several with the same say, the one with the lowest name. Where nobody is listed, the
    /// first of the rules that list others.
    pub(crate) rule: Option<Arc<str>>,
    /// What would have been if shadow rules counted; `None` if there are none for this account and side, or something
    /// other than rules decided.
    pub(crate) shadow: Option<Shadow>,
}

/// What would have been decided with shadow rules in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shadow {
    pub(crate) allowed: bool,
    pub(crate) reason: Reason,
    pub(crate) rule: Option<Arc<str>>,
}

/// What decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reason {
    AllowedByRule,
    AllowedByDefault,
    DeniedByRule,
    DeniedNotListed,
    DeniedByDefault,
    RevokedAccount,
    RevokedCertificate,
    RevokedKey,
    RevokedLocalAccount,
    TargetNameMismatch,
}

impl Reason {
    /// A name that does not change, for logs, labels and programs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::AllowedByRule => "allowed_by_rule",
            Self::AllowedByDefault => "allowed_by_default",
            Self::DeniedByRule => "denied_by_rule",
            Self::DeniedNotListed => "denied_not_listed",
            Self::DeniedByDefault => "denied_by_default",
            Self::RevokedAccount => "revoked_account",
            Self::RevokedCertificate => "revoked_certificate",
            Self::RevokedKey => "revoked_key",
            Self::RevokedLocalAccount => "revoked_local_account",
            Self::TargetNameMismatch => "target_name_mismatch",
        }
    }

    /// Whether the peer is admitted.
    pub(crate) fn allows(self) -> bool {
        matches!(self, Self::AllowedByRule | Self::AllowedByDefault)
    }
}

impl Policy {
    /// Whether an account is revoked, by any of its names. `now` is in seconds since 1970.
    pub(crate) fn is_revoked(&self, account: &Identity, now: u64) -> bool {
        self.revocations.of_account(account, now).is_some()
    }

    /// Decides. What it costs depends on the rules of this account and side alone.
    pub(crate) fn decide(&self, question: &Question<'_>) -> Decision {
        let refused = |(reason, why)| Decision { verdict: Err(why), reason, rule: None, shadow: None };
        self.revoked(question)
            .or_else(|| self.not_target(question))
            .map_or_else(|| self.by_rules(question), refused)
    }

    fn revoked(&self, question: &Question<'_>) -> Option<(Reason, NotAdmitted)> {
        let Question { local, peer, now, .. } = *question;
        let account = peer.identity.account();
        let revoked = |reason, text| Some((reason, NotAdmitted::Revoked(text)));
        if let Some(terms) = self.revocations.of_account(local, now) {
            let text = format!("{} (this end) is revoked: {}", local.account(), terms.reason);
            return revoked(Reason::RevokedLocalAccount, text);
        }
        if let Some(terms) = self.revocations.of_account(&peer.identity, now) {
            return revoked(Reason::RevokedAccount, format!("{account} is revoked: {}", terms.reason));
        }
        if let Some((certificate, terms)) = self.revocations.of_certificate(&peer.certificates, now) {
            let (serial, issuer) = (&certificate.serial, &certificate.issuer);
            let text = format!(
                "certificate {serial} of issuer {issuer}, in the chain of {account}, is revoked: {}",
                terms.reason
            );
            return revoked(Reason::RevokedCertificate, text);
        }
        let (certificate, terms) = self.revocations.of_key(&peer.certificates, now)?;
        let key = hex::encode(certificate.key_sha256);
        let text =
            format!("the key with SHA-256 {key}, in the chain of {account}, is revoked: {}", terms.reason);
        revoked(Reason::RevokedKey, text)
    }

    fn not_target(&self, question: &Question<'_>) -> Option<(Reason, NotAdmitted)> {
        let (name, entry) = self.target_entry(question)?;
        let account = question.peer.identity.account();
        let text = match entry {
            Entry::Good(target) => {
                if target.accounts().iter().any(|account| account.names(&question.peer.identity)) {
                    return None;
                }
                format!("{account} is none of the accounts that may be called as {name}")
            }
            Entry::Unreadable => {
                format!("the accounts that may be called as {name} cannot be read, so that {account} is none")
            }
        };
        Some((Reason::TargetNameMismatch, NotAdmitted::NotTarget(text)))
    }

    /// The entry that the called name has: that of its port before that of its host.
    pub(super) fn target_entry(&self, question: &Question<'_>) -> Option<(&str, &Entry<TargetName>)> {
        if question.side != Side::Client || self.target_names.is_empty() || question.target_name.is_empty() {
            return None;
        }
        let (with_port, host) = spellings(question.target_name);
        let find = |name: &str| self.target_names.get_key_value(name);
        let (name, entry) = with_port.and_then(|name| find(&name)).or_else(|| find(&host))?;
        Some((name, entry))
    }

    fn by_rules(&self, question: &Question<'_>) -> Decision {
        let mut enforced = Tally::default();
        let mut with_shadow = Tally::default();
        let mut has_shadow = false;
        for (number, rule) in self.applying(question.side, question.local) {
            // Whether it matches is looked up once for both.
            let matches = with_shadow.is_open_to(number, rule) || enforced.is_open_to(number, rule);
            let matches = matches && rule.find(question.peer).is_some();
            with_shadow.count(number, rule, matches);
            match rule.mode {
                Mode::Enforce => enforced.count(number, rule, matches),
                Mode::Shadow => has_shadow = true,
            }
        }
        let shadow = has_shadow.then(|| {
            let (reason, number) = with_shadow.ruling(self.default);
            Shadow { allowed: reason.allows(), reason, rule: self.name_of(number) }
        });
        let (reason, number) = enforced.ruling(self.default);
        let rule = number.and_then(|number| self.rule(number));
        let verdict = if reason.allows() {
            Ok(())
        } else {
            let others = enforced.allow_rules.saturating_sub(1);
            Err(NotAdmitted::Denied(denial(question, reason, rule, others)))
        };
        Decision { verdict, reason, rule: self.name_of(number), shadow }
    }

    fn name_of(&self, number: Option<u32>) -> Option<Arc<str>> {
        number.and_then(|number| self.rule(number)).map(|rule| rule.name.to_shared())
    }
}

/// What the rules seen so far amount to, by the lowest numbers.
#[derive(Default)]
struct Tally {
    denied_by: Option<u32>,
    allowed_by: Option<u32>,
    /// The first rule that allows somebody, whether it is this peer or not, and how many there are.
    first_allow: Option<u32>,
    allow_rules: usize,
}

impl Tally {
    /// Whether it makes a difference that this rule matches.
    fn is_open_to(&self, number: u32, rule: &CompiledRule) -> bool {
        let known = match rule.action {
            Action::Deny => self.denied_by,
            Action::Allow => self.allowed_by,
        };
        known.is_none_or(|known| number < known)
    }

    fn count(&mut self, number: u32, rule: &CompiledRule, matches: bool) {
        let lower = |known: Option<u32>| Some(known.map_or(number, |known| known.min(number)));
        if rule.action == Action::Allow {
            self.first_allow = lower(self.first_allow);
            self.allow_rules += 1;
        }
        match rule.action {
            Action::Deny if matches => self.denied_by = lower(self.denied_by),
            Action::Allow if matches => self.allowed_by = lower(self.allowed_by),
            _ => (),
        }
    }

    fn ruling(&self, default: Action) -> (Reason, Option<u32>) {
        match (self.denied_by, self.allowed_by, self.first_allow, default) {
            (Some(rule), ..) => (Reason::DeniedByRule, Some(rule)),
            (None, Some(rule), ..) => (Reason::AllowedByRule, Some(rule)),
            (None, None, Some(rule), _) => (Reason::DeniedNotListed, Some(rule)),
            (None, None, None, Action::Allow) => (Reason::AllowedByDefault, None),
            (None, None, None, Action::Deny) => (Reason::DeniedByDefault, None),
        }
    }
}

impl CompiledRule {
    /// By what a peer is one of those that the rule names.
    pub(super) fn find<'a>(&'a self, peer: &'a Peer) -> Option<Hit<'a>> {
        match &self.body {
            None => Some(Hit::RuleUnreadable),
            Some(body) => body.find(peer, self.action),
        }
    }
}

impl RuleBody {
    fn find<'a>(&'a self, peer: &'a Peer, action: Action) -> Option<Hit<'a>> {
        let in_list = |(name, list): &'a (Name, Option<Arc<CompiledList>>)| match list {
            Some(list) => list.members.find(peer).map(|member| Hit::List(name, member)),
            // Nobody is let in by a list that is not there, and nobody gets past one.
            None => (action == Action::Deny).then_some(Hit::ListMissing(name)),
        };
        self.own.find(peer).map(Hit::Own).or_else(|| self.lists.iter().find_map(in_list))
    }
}

/// By what a rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hit<'a> {
    Own(Matched<'a>),
    List(&'a Name, Matched<'a>),
    ListMissing(&'a Name),
    RuleUnreadable,
}

/// Why a peer is denied, for the screen of who develops the program at this end. `others` are the rules that allow
/// somebody beside the named one.
fn denial(question: &Question<'_>, reason: Reason, rule: Option<&CompiledRule>, others: usize) -> String {
    let (local, peer) = (question.local.account(), question.peer.identity.account());
    let (caller, called) = match question.side {
        Side::Server => (peer, local),
        Side::Client => (local, peer),
    };
    let Some(rule) = rule else {
        return format!("no rule lets {caller} call {called}, and the default of this node is deny");
    };
    let (name, say) = (&rule.name, if others == 0 { "says" } else { "and others say" });
    match (reason, question.side, rule.find(question.peer)) {
        (Reason::DeniedNotListed, Side::Server, _) => {
            format!("{name} {say} who may call {local}, and {peer} is not among them")
        }
        (Reason::DeniedNotListed, Side::Client, _) => {
            format!("{name} {say} whom {local} may call, and {peer} is not among them")
        }
        (_, _, Some(Hit::RuleUnreadable)) => format!("rule {name} cannot be read, and so denies everybody"),
        (_, _, Some(Hit::ListMissing(list))) => {
            format!("{name} denies whom list {list} names, which there is not, and so everybody")
        }
        _ => format!("{name} denies {caller} to call {called}"),
    }
}
