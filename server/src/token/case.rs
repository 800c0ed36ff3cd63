//! How a request at the door came out: counted, logged and written down in the audit trail, together and once.

use std::{sync::Arc, time::Duration};

use super::{
    door::{Door, Who},
    error::TokenError,
    exchange::Issued,
    own::Own,
    request::TokenKind,
    subject::Subject,
};
use crate::{
    attest::Caller,
    audit::{self, MAX_AUDIENCES, TokenEvent, TokenRecord, Verdict},
    metrics::Metrics,
};

/// What metrics call the proof of a request that could not be read.
const NO_KIND: &str = "none";

/// What has come to be known of a request. It never holds a token.
pub(crate) struct Case {
    /// The address that the caller called on.
    listener: Arc<str>,
    caller: Option<Caller>,
    kind: Option<TokenKind>,
    client: Option<String>,
    subject: Option<String>,
    subject_issuer: Option<String>,
    actor: Option<String>,
    audiences: Vec<String>,
    scopes: Vec<String>,
}

impl Case {
    /// A request of which nothing is known yet but where it came from.
    pub(crate) fn new(listener: Arc<str>, caller: Option<Caller>) -> Self {
        Self {
            listener,
            caller,
            kind: None,
            client: None,
            subject: None,
            subject_issuer: None,
            actor: None,
            audiences: Vec::new(),
            scopes: Vec::new(),
        }
    }

    /// What is presented.
    pub(super) fn presents(&mut self, kind: TokenKind) {
        self.kind = Some(kind);
    }

    /// What the token shall be for, and what it shall allow.
    pub(super) fn asks_for(&mut self, audiences: &[String], scopes: &[String]) {
        self.audiences = audiences.to_vec();
        self.scopes = scopes.to_vec();
    }

    /// Who calls.
    pub(super) fn comes_from(&mut self, who: &Who) {
        self.client = who.account().map(str::to_owned);
    }

    /// Whom it is about, once that is proved.
    pub(super) fn is_about(&mut self, subject: &Subject) {
        self.subject = Some(subject.name.clone());
        self.subject_issuer = Some(subject.issuer.clone());
        self.actor = subject.actor.as_ref().map(|actor| actor.sub.clone());
    }

    /// Who acts for that one, once that is proved.
    pub(super) fn is_by(&mut self, actor: &Subject) {
        let outermost = actor.actor.as_ref().map_or(&actor.sub, |first| &first.sub);
        self.actor = Some(outermost.clone());
    }

    /// The record of it, so far.
    fn record(&self, time: Duration, event: TokenEvent, error: Option<&TokenError>) -> TokenRecord {
        let caller = audit::Who::of(self.caller.as_ref()).facts();
        TokenRecord {
            time,
            event,
            verdict: error.map_or(Verdict::Allowed, |_| Verdict::Refused),
            reason: error.map(|error| error.row().reason.into()),
            text: error.map(|error| (&*error.to_string()).into()),
            listener: (&*self.listener).into(),
            caller: caller.iter().map(|fact| fact.as_str().into()).collect(),
            client: self.client.as_deref().map(Into::into),
            subject_token_type: self.kind.map(|kind| kind.label().into()),
            subject: self.subject.as_deref().map(Into::into),
            subject_issuer: self.subject_issuer.as_deref().map(Into::into),
            actor: self.actor.as_deref().map(Into::into),
            audience: self.audiences.iter().take(MAX_AUDIENCES).map(|one| one.as_str().into()).collect(),
            scope: Some(&*self.scopes.join(" ")).filter(|scope| !scope.is_empty()).map(Into::into),
            jti: None,
            expires: None,
        }
    }
}

impl Door {
    /// Tells how a request for a token came out. Never a token.
    pub(super) fn tell(&self, mut case: Case, outcome: Result<&Issued, &TokenError>) {
        let error = outcome.err();
        let kind = case.kind.map_or(NO_KIND, TokenKind::label);
        Metrics.token_exchanged(kind, error.map_or(Ok(()), |error| Err(error.row().reason)));
        match outcome {
            Ok(issued) => {
                let Issued { claims, lifetime, scopes, .. } = issued;
                tracing::info!(
                    subject = claims.subject,
                    audience = claims.audiences.join(" "),
                    scope = scopes.join(" "),
                    actor = claims.actor,
                    client = claims.client,
                    jti = claims.id,
                    seconds = lifetime,
                    "token issued"
                );
                case.asks_for(&claims.audiences, scopes);
                case.client = Some(claims.client.clone());
                case.actor = claims.actor.clone();
                let record = case.record(self.clock.since_1970(), TokenEvent::Issue, None);
                self.trail.record(TokenRecord {
                    jti: Some((&*claims.id).into()),
                    expires: Some(Duration::from_secs(claims.expires)),
                    ..record
                });
            }
            Err(error) => {
                let attested = case.caller.as_ref().and_then(Caller::found);
                tracing::warn!(
                    reason = error.row().reason,
                    kind,
                    client = case.client,
                    pids = attested.map(|attested| tracing::field::debug(attested.pids())),
                    detail = error.detail(),
                    "token refused: {error}"
                );
                self.trail.record(case.record(self.clock.since_1970(), TokenEvent::Issue, Some(error)));
            }
        }
    }

    /// Tells that a token of ours is revoked, or why it is not.
    pub(super) fn tell_revoked(&self, mut case: Case, own: &Own, error: Option<&TokenError>) {
        let (subject, jti) = (&own.subject, &own.proof.id);
        if error.is_none() {
            tracing::info!(subject = subject.sub, jti, client = case.client, "token revoked");
        }
        case.is_about(subject);
        case.asks_for(&subject.audiences, subject.scopes.as_deref().unwrap_or_default());
        let record = case.record(self.clock.since_1970(), TokenEvent::Revoke, error);
        self.trail.record(TokenRecord {
            jti: Some(jti.as_str().into()),
            expires: Some(Duration::from_secs(own.proof.expires)),
            ..record
        });
    }
}
