//! Who gets which tokens, decided from values alone.
//!
//! The first rule that is meant for a subject, as it was proved and to whom, decides alone. Where none is, nothing is
//! given out.

use super::{
    pattern::Pattern,
    subject::{Origin, Subject},
};

/// The rules of a configuration, in its order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules(Vec<Rule>);

/// One rule.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// What may have proved the subject.
    pub(crate) origins: Vec<Origin>,
    /// Names of the subjects that it is for, as tokens have them.
    pub(crate) subjects: Vec<Pattern>,
    /// Accounts of the callers that it is for. Everybody who holds the proof, if there are none.
    pub(crate) callers: Vec<Pattern>,
    /// Who may act for its subjects.
    pub(crate) actors: Vec<Pattern>,
    /// What may have proved who acts.
    pub(crate) actor_origins: Vec<Origin>,
    /// Whether whoever holds a token of a subject may become it, without being named in the new one.
    pub(crate) impersonation: bool,
    /// Whom tokens may be for.
    pub(crate) audiences: Vec<String>,
    /// Whom a token is for, if nobody was asked for. One of `audiences`.
    pub(crate) default_audience: Option<String>,
    /// Whether a token may be for several at once.
    pub(crate) many_audiences: bool,
    /// What tokens may allow.
    pub(crate) scopes: Vec<String>,
    /// Whether scopes that are not there are left out, rather than refused.
    pub(crate) drops_scopes: bool,
    /// How long a token lasts at most, in seconds.
    pub(crate) max_lifetime: u64,
    /// Whether what proves a subject, where that is a token, does so once.
    pub(crate) one_time: bool,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) subject: &'a Subject,
    /// The account of the caller, where the kernel has said whose program it is.
    pub(crate) caller: Option<&'a str>,
    /// Who acts for the subject from now on.
    pub(crate) actor: Option<Acting<'a>>,
    /// Audiences and resources.
    pub(crate) audiences: &'a [String],
    pub(crate) scopes: &'a [String],
}

/// Who acts, and how that was proved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Acting<'a> {
    pub(crate) origin: &'a Origin,
    pub(crate) name: &'a str,
}

/// What a token may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    /// At least one, each once.
    pub(crate) audiences: Vec<String>,
    pub(crate) scopes: Vec<String>,
    /// In seconds.
    pub(crate) max_lifetime: u64,
    /// Whether the token that proved the subject is used up.
    pub(crate) one_time: bool,
}

/// Why nothing is given out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    #[error("no rule is for this subject")]
    NoRule,
    #[error("no rule for this subject is for this caller")]
    Caller,
    #[error("the rule does not let this actor act for the subject")]
    Actor,
    #[error("the rule demands an actor: the token of a subject alone is not exchanged")]
    Impersonation,
    #[error("no audience is asked for, and the rule has no default")]
    NoAudience,
    #[error("the rule does not allow the audience {0}")]
    Audience(String),
    #[error("the rule allows one audience in a token")]
    ManyAudiences,
    #[error("the scope {0} is not to be had")]
    Scope(String),
}

impl Denied {
    /// The stable code of the reason.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::NoRule => "token_rule_missing",
            Self::Caller => "token_caller_denied",
            Self::Actor => "token_actor_denied",
            Self::Impersonation => "token_impersonation_denied",
            Self::NoAudience => "token_audience_missing",
            Self::Audience(_) => "token_audience_denied",
            Self::ManyAudiences => "token_audiences_many",
            Self::Scope(_) => "token_scope_denied",
        }
    }
}

impl Rules {
    pub(crate) fn new(rules: Vec<Rule>) -> Self {
        Self(rules)
    }

    /// In their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter()
    }

    /// Decides what a token may have.
    pub(crate) fn decide(&self, asked: &Asked<'_>) -> Result<Granted, Denied> {
        let mut denied = Denied::NoRule;
        for rule in self.0.iter().filter(|rule| rule.is_for_subject(asked.subject)) {
            if rule.is_for_caller(asked.caller) {
                return rule.decide(asked);
            }
            denied = Denied::Caller;
        }
        Err(denied)
    }

    /// The audience that a subject's token is for if it asks for none, and what it may allow: for programs that
    /// cannot say.
    pub(crate) fn first_for(&self, subject: &Subject, caller: Option<&str>) -> Option<&Rule> {
        self.0.iter().find(|rule| rule.is_for_subject(subject) && rule.is_for_caller(caller))
    }
}

impl Rule {
    fn is_for_subject(&self, subject: &Subject) -> bool {
        self.origins.contains(&subject.origin)
            && self.subjects.iter().any(|pattern| pattern.matches(&subject.name))
    }

    fn is_for_caller(&self, caller: Option<&str>) -> bool {
        let named = |caller: &str| self.callers.iter().any(|pattern| pattern.matches(caller));
        self.callers.is_empty() || caller.is_some_and(named)
    }

    fn decide(&self, asked: &Asked<'_>) -> Result<Granted, Denied> {
        self.check_actor(asked)?;
        let audiences = self.audiences(asked.audiences)?;
        let scopes = self.scopes(asked)?;
        Ok(Granted { audiences, scopes, max_lifetime: self.max_lifetime, one_time: self.one_time })
    }

    fn check_actor(&self, asked: &Asked<'_>) -> Result<(), Denied> {
        match asked.actor {
            Some(Acting { origin, name }) => {
                let may = self.actor_origins.contains(origin)
                    && self.actors.iter().any(|pattern| pattern.matches(name));
                may.then_some(()).ok_or(Denied::Actor)
            }
            // Who asks for itself, by the kernel's word, is nobody else.
            None if asked.subject.origin == Origin::Local || self.impersonation => Ok(()),
            None => Err(Denied::Impersonation),
        }
    }

    fn audiences(&self, asked: &[String]) -> Result<Vec<String>, Denied> {
        if asked.is_empty() {
            return self.default_audience.clone().map(|one| vec![one]).ok_or(Denied::NoAudience);
        }
        let mut audiences: Vec<String> = Vec::new();
        for audience in asked {
            if !self.audiences.contains(audience) {
                return Err(Denied::Audience(audience.clone()));
            }
            if !audiences.contains(audience) {
                audiences.push(audience.clone());
            }
        }
        if audiences.len() > 1 && !self.many_audiences {
            return Err(Denied::ManyAudiences);
        }
        Ok(audiences)
    }

    /// What was asked for, of that what the rule has, and of that what the subject itself was granted.
    fn scopes(&self, asked: &Asked<'_>) -> Result<Vec<String>, Denied> {
        let has = |scope: &String| {
            self.scopes.contains(scope)
                && asked.subject.scopes.as_ref().is_none_or(|scopes| scopes.contains(scope))
        };
        let mut scopes: Vec<String> = Vec::new();
        for scope in asked.scopes {
            match has(scope) {
                true if !scopes.contains(scope) => scopes.push(scope.clone()),
                true => {}
                false if self.drops_scopes => {}
                false => return Err(Denied::Scope(scope.clone())),
            }
        }
        Ok(scopes)
    }
}

#[cfg(test)]
mod tests;
