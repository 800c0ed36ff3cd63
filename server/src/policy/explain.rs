//! Why a decision is what it is: every rule that applies, and what it makes of the peer.

use std::fmt;

use alts_handshake::{NotAdmitted, Peer};

use super::{
    compile::{CompiledRule, Policy},
    decide::{Decision, Hit, Question},
    model::{Action, Mode, Side},
    name::Name,
    resources::Entry,
};

/// The decision and the way to it. It names peers that others may not read of: for operators alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Explanation {
    pub(crate) side: Side,
    /// With both names, if there are two.
    pub(crate) local: String,
    pub(crate) peer: String,
    pub(crate) target: TargetStep,
    /// Every rule that applies to the local account on this side, by name.
    pub(crate) rules: Vec<RuleStep>,
    /// For peers that no rule decides.
    pub(crate) default: Action,
    pub(crate) decision: Decision,
    /// What limits the explanation.
    pub(crate) notes: Vec<&'static str>,
}

/// What secure naming says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TargetStep {
    /// A server is called, or nothing is.
    NotAsked,
    /// The called name has no entry: everybody may be called by it.
    NoEntry { called: String },
    /// It has this one.
    Entry { called: String, name: String, accounts: Vec<String> },
    /// It has one that cannot be read.
    Unreadable { called: String, name: String },
}

/// One rule, and what it makes of the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RuleStep {
    pub(crate) rule: Name,
    pub(crate) action: Action,
    pub(crate) mode: Mode,
    /// The pattern by which it applies to the local account; empty of a rule that cannot be read.
    pub(crate) local: String,
    pub(crate) outcome: RuleOutcome,
    /// Whether it is the rule that decided.
    pub(crate) decides: bool,
}

/// Whether a rule is of the peer, and by what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RuleOutcome {
    /// The peer is this member of the list, or of the rule's own peers if there is no list.
    Matches {
        list: Option<Name>,
        member: String,
    },
    /// A list that it names is not there, and it denies.
    MatchesForMissingList {
        list: Name,
    },
    /// It cannot be read, and so denies.
    MatchesUnreadable,
    DoesNotMatch,
    /// Not by what is known; there are members that only certificates decide which are not.
    NeedsCertificate,
}

const WITHOUT_CERTIFICATE: &str = "the certificates of the peer are not known: rules and revocations of certificates and keys are not decided";

const WITHOUT_AUTHORITIES: &str = "the authorities of the peer are not known: rules and revocations of their certificates and keys are not decided";

impl Policy {
    /// Decides as [`Policy::decide`] does, and tells how. A peer without certificates is possible here.
    pub(crate) fn explain(&self, question: &Question<'_>) -> Explanation {
        let decision = self.decide(question);
        let mut rules: Vec<_> = self.applying(question.side, question.local).collect();
        rules.sort_by_key(|(number, _)| *number);
        let rules =
            rules.into_iter().map(|(_, rule)| rule.step(question.peer, decision.rule.as_deref())).collect();
        let notes = match question.peer.certificates.len() {
            0 => vec![WITHOUT_CERTIFICATE],
            1 => vec![WITHOUT_AUTHORITIES],
            _ => Vec::new(),
        };
        Explanation {
            side: question.side,
            local: question.local.to_string(),
            peer: question.peer.identity.to_string(),
            target: self.target_step(question),
            rules,
            default: self.default,
            decision,
            notes,
        }
    }

    fn target_step(&self, question: &Question<'_>) -> TargetStep {
        if question.side != Side::Client || question.target_name.is_empty() {
            return TargetStep::NotAsked;
        }
        let called = question.target_name.to_owned();
        match self.target_entry(question) {
            None => TargetStep::NoEntry { called },
            Some((name, Entry::Unreadable)) => TargetStep::Unreadable { called, name: name.to_owned() },
            Some((name, Entry::Good(target))) => TargetStep::Entry {
                called,
                name: name.to_owned(),
                accounts: target.accounts().iter().map(ToString::to_string).collect(),
            },
        }
    }
}

impl Explanation {
    /// Whether a revocation decided, before anything else was looked at.
    pub(crate) fn is_revoked(&self) -> bool {
        matches!(self.decision.verdict, Err(NotAdmitted::Revoked(_)))
    }
}

impl CompiledRule {
    fn step(&self, peer: &Peer, decided_by: Option<&str>) -> RuleStep {
        let outcome = match self.find(peer) {
            Some(Hit::Own(member)) => RuleOutcome::Matches { list: None, member: member.to_string() },
            Some(Hit::List(list, member)) => {
                RuleOutcome::Matches { list: Some(list.clone()), member: member.to_string() }
            }
            Some(Hit::ListMissing(list)) => RuleOutcome::MatchesForMissingList { list: list.clone() },
            Some(Hit::RuleUnreadable) => RuleOutcome::MatchesUnreadable,
            None if self.lacks_certificates(peer) => RuleOutcome::NeedsCertificate,
            None => RuleOutcome::DoesNotMatch,
        };
        RuleStep {
            rule: self.name.clone(),
            action: self.action,
            mode: self.mode,
            local: self.body.as_ref().map(|body| body.source.local().to_string()).unwrap_or_default(),
            outcome,
            decides: decided_by == Some(self.name.as_str()),
        }
    }

    fn lacks_certificates(&self, peer: &Peer) -> bool {
        self.body.as_ref().is_some_and(|body| {
            let mut lists = body.lists.iter().filter_map(|(_, list)| list.as_ref());
            body.own.lack_certificates(peer) || lists.any(|list| list.members.lack_certificates(peer))
        })
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (caller, called) = match self.side {
            Side::Server => (&self.peer, &self.local),
            Side::Client => (&self.local, &self.peer),
        };
        writeln!(f, "{caller} calls {called}, decided on the {} side", self.side)?;
        writeln!(f, "revocations: {}", if self.is_revoked() { "one applies" } else { "none applies" })?;
        writeln!(f, "target name: {}", self.target)?;
        if self.rules.is_empty() {
            writeln!(f, "rules: none applies to {} on this side", self.local)?;
        }
        for step in &self.rules {
            writeln!(f, "{step}")?;
        }
        let verdict = if self.decision.verdict.is_ok() { "allowed" } else { "denied" };
        writeln!(f, "default: {}", self.default)?;
        writeln!(f, "=> {verdict} ({}){}", self.decision.reason.as_str(), by(self.decision.rule.as_deref()))?;
        if let Err(refusal) = &self.decision.verdict {
            writeln!(f, "   {}", why(refusal))?;
        }
        if let Some(shadow) = &self.decision.shadow {
            let verdict = if shadow.allowed { "allowed" } else { "denied" };
            let by = by(shadow.rule.as_deref());
            writeln!(f, "   with shadow rules in force: {verdict} ({}){by}", shadow.reason.as_str())?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "note: {note}"))
    }
}

impl fmt::Display for TargetStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAsked => f.write_str("not asked"),
            Self::NoEntry { called } => write!(f, "{called} has no entry, everybody may be called by it"),
            Self::Entry { called, name, accounts } => {
                write!(f, "{called} has the entry {name}: {}", accounts.join(", "))
            }
            Self::Unreadable { called, name } => {
                write!(f, "{called} has the entry {name}, which cannot be read: nobody")
            }
        }
    }
}

impl fmt::Display for RuleStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, action, mode, local, outcome, decides } = self;
        write!(f, "rule {rule} ({action}, {mode}, local {local:?}): {outcome}")?;
        if *decides { f.write_str(" <= decides") } else { Ok(()) }
    }
}

impl fmt::Display for RuleOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Matches { list: Some(list), member } => write!(f, "matches by {member} of list {list}"),
            Self::Matches { list: None, member } => write!(f, "matches by {member}"),
            Self::MatchesForMissingList { list } => {
                write!(f, "matches everybody, because there is no list {list}")
            }
            Self::MatchesUnreadable => f.write_str("matches everybody, because it cannot be read"),
            Self::DoesNotMatch => f.write_str("does not match"),
            Self::NeedsCertificate => {
                f.write_str("does not match by what is known; the certificates that decide are not")
            }
        }
    }
}

fn by(rule: Option<&str>) -> String {
    rule.map(|rule| format!(" by rule {rule}")).unwrap_or_default()
}

fn why(refusal: &NotAdmitted) -> &str {
    match refusal {
        NotAdmitted::Denied(why)
        | NotAdmitted::Revoked(why)
        | NotAdmitted::NotTarget(why)
        | NotAdmitted::Unknown(why) => why,
    }
}
