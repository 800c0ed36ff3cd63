//! Whom a presented proof is of.

use alts_handshake::Identity;

use super::{
    door::{Door, Who},
    error::{Part, TokenError},
    own,
    parts::RevokedBy,
    request::{Presented, TokenKind},
    subject::{Actor, Origin, Subject},
};

impl Door {
    /// Verifies a proof, whose kind decides how. What it proves may be revoked all the same.
    pub(super) async fn prove(
        &self,
        part: Part,
        presented: &Presented,
        who: &Who,
        now: u64,
    ) -> Result<Subject, TokenError> {
        let token = presented.token.expose();
        match presented.kind {
            TokenKind::LocalPeer => self.local_peer(part, token, who),
            TokenKind::AltsContext => self.alts_context(part, token, who, now),
            TokenKind::AccessToken => {
                let own = own::verify(token, &self.settings.issuer, &self.keys.published().keys, now);
                own.map(|own| own.subject).map_err(|problem| TokenError::of_subject(part, problem))
            }
            TokenKind::Jwt | TokenKind::IdToken => {
                if own::claims_issuer(token, &self.settings.issuer) {
                    let text = "it is a token of this issuer; present it as an access_token";
                    return Err(TokenError::proof(part, "token_of_our_own", text));
                }
                let verified = self.issuers.verify(token, now).await;
                let subject = verified.map_err(|problem| TokenError::of_subject(part, problem))?;
                self.check_foreign_actors(part, &subject)?;
                Ok(subject)
            }
        }
    }

    /// Another issuer says who of elsewhere acts: that an account of ours does, only tokens of ours say.
    fn check_foreign_actors(&self, part: Part, subject: &Subject) -> Result<(), TokenError> {
        let mut actors = std::iter::successors(subject.actor.as_ref(), |actor| actor.act.as_deref());
        if actors.any(|actor| actor.iss.as_ref().is_none_or(|issuer| *issuer == self.settings.issuer)) {
            let text = "another issuer cannot say that an account of this one acts";
            return Err(TokenError::proof(part, "actor_of_our_own", text));
        }
        Ok(())
    }

    /// The caller itself. The word it says chooses among its accounts.
    fn local_peer(&self, part: Part, word: &str, who: &Who) -> Result<Subject, TokenError> {
        let identities = who.identities();
        let Some(first) = identities.first() else {
            let (reason, text) = who.why_not();
            return Err(TokenError::proof(part, reason, text));
        };
        // Who names an account that it does not have must not get another.
        let named = identities.iter().find(|identity| identity.account() == word);
        let is_name = word.contains(['@', ':', '/']);
        let Some(identity) = named.or((!is_name).then_some(first)) else {
            let text = "the caller does not have the account that it names";
            return Err(TokenError::proof(part, "local_identity_not_owned", text));
        };
        Ok(self.local(identity))
    }

    /// A caller, as one of the identities that it has.
    pub(super) fn local(&self, identity: &Identity) -> Subject {
        self.of_this_node(Origin::Local, identity.account())
    }

    /// The peer of a handshake, for whom the account that met it acts.
    fn alts_context(&self, part: Part, handle: &str, who: &Who, now: u64) -> Result<Subject, TokenError> {
        let Some(attested) = who.attested() else {
            let (reason, text) = who.why_not();
            return Err(TokenError::proof(part, reason, text));
        };
        let context = self.contexts.find(handle, attested, now).ok_or_else(|| {
            let text = "no handshake of this caller has this handle, or it has ended";
            TokenError::proof(part, "context_unknown", text)
        })?;
        // By any of its names: the new token has one of them.
        self.identity_not_revoked(part, &context.peer, now)?;
        let local = Actor { iss: Some(self.settings.issuer.clone()), sub: context.local, act: None };
        Ok(Subject {
            expires: Some(context.expires),
            actor: Some(local),
            ..self.of_this_node(Origin::Alts, context.peer.account())
        })
    }

    fn of_this_node(&self, origin: Origin, account: &str) -> Subject {
        Subject {
            origin,
            issuer: self.settings.issuer.clone(),
            sub: account.to_owned(),
            name: account.to_owned(),
            scopes: None,
            audiences: Vec::new(),
            expires: None,
            actor: None,
            may_act: None,
            proof: None,
        }
    }

    /// Refuses what is revoked: the token, whom it is of by any of its names, and who acts for it.
    pub(super) fn not_revoked(&self, part: Part, subject: &Subject, now: u64) -> Result<(), TokenError> {
        let own = &self.settings.issuer;
        let (issuer, id) = match &subject.proof {
            Some(proof) => (&proof.iss, Some(proof.id.as_str())),
            None => (&subject.issuer, None),
        };
        self.not_in_ledger(part, issuer, id, &subject.sub)?;
        self.not_in_ledger(part, own, None, &subject.name)?;
        self.account_not_revoked(part, &subject.name, now)?;
        let mut next = subject.actor.as_ref();
        while let Some(actor) = next {
            let issuer = actor.iss.as_ref().unwrap_or(own);
            self.not_in_ledger(part, issuer, None, &actor.sub)?;
            if issuer == own {
                self.account_not_revoked(part, &actor.sub, now)?;
            }
            next = actor.act.as_deref();
        }
        Ok(())
    }

    fn not_in_ledger(&self, part: Part, issuer: &str, id: Option<&str>, sub: &str) -> Result<(), TokenError> {
        let revoked = self.ledger.revoked(issuer, id, sub);
        match revoked.map_err(|problem| TokenError::of_ledger(part, problem))? {
            None => Ok(()),
            Some(RevokedBy::Token) => Err(TokenError::proof(part, "token_revoked", "the token is revoked")),
            Some(RevokedBy::Subject) => {
                Err(TokenError::proof(part, "subject_revoked", "its subject is revoked"))
            }
        }
    }

    /// Refuses accounts that operators have revoked for handshakes. Names that are no accounts cannot be.
    fn account_not_revoked(&self, part: Part, account: &str, now: u64) -> Result<(), TokenError> {
        match self.identity(account) {
            Some(identity) => self.identity_not_revoked(part, &identity, now),
            None => Ok(()),
        }
    }

    fn identity_not_revoked(&self, part: Part, identity: &Identity, now: u64) -> Result<(), TokenError> {
        match self.verifier.is_revoked(identity, now) {
            Ok(false) => Ok(()),
            Ok(true) => Err(TokenError::proof(part, "account_revoked", "the account is revoked")),
            Err(detail) => Err(TokenError::unavailable(
                "policy_unavailable",
                "which accounts are revoked is not known now; ask again",
                detail,
            )),
        }
    }
}
