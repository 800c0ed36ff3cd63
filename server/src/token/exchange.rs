//! From a proven subject to a signed token: what is asked for is decided by the rules.

use alts_handshake::Identity;

use super::{
    case::Case,
    door::{Door, Who},
    error::{Part, TokenError},
    mint::{Claims, Facts},
    request::{ExchangeRequest, Requested},
    rule::{Acting, Asked, Granted},
    subject::{Actor, Origin, Subject},
};

/// The least that must be left of a proof, in seconds: a token that ends sooner helps nobody.
const LEAST_LEFT: u64 = 30;

/// Who may act for a subject, one for the other.
const MAX_ACTORS: usize = 4;

/// A token that was issued.
pub(crate) struct Issued {
    /// The compact JWT.
    pub(crate) token: String,
    pub(crate) requested: Requested,
    /// In seconds.
    pub(crate) lifetime: u64,
    pub(crate) scopes: Vec<String>,
    pub(crate) claims: Said,
}

/// What a token says, for who is told that it was issued.
pub(crate) struct Said {
    /// `sub`.
    pub(crate) subject: String,
    pub(crate) audiences: Vec<String>,
    /// Who acts for the subject, outermost.
    pub(crate) actor: Option<String>,
    /// `client_id`.
    pub(crate) client: String,
    /// `jti`.
    pub(crate) id: String,
    /// In seconds since 1970.
    pub(crate) expires: u64,
}

/// What a token is wished for, beside whom it is about.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) requested: Requested,
    /// Audiences and resources; the rule's default, if there are none.
    pub(crate) targets: Vec<String>,
    pub(crate) scopes: Vec<String>,
    /// Whether the token says the mail account of its subject once more, as `email`.
    pub(crate) with_email: bool,
}

/// Who acts from now on: outermost of the new token, and the only one whom rules look at.
struct Outermost {
    origin: Origin,
    issuer: String,
    sub: String,
    name: String,
}

impl Door {
    /// Exchanges proofs for a token. What comes to be known goes to the case; its end is told by who calls this.
    pub(crate) async fn exchange(
        &self,
        who: &Who,
        request: ExchangeRequest,
        case: &mut Case,
    ) -> Result<Issued, TokenError> {
        let now = self.now();
        let subject = self.prove(Part::Subject, &request.subject, who, now).await?;
        case.is_about(&subject);
        let actor = match &request.actor {
            Some(actor) => Some(self.prove(Part::Actor, actor, who, now).await?),
            None => None,
        };
        if let Some(actor) = &actor {
            case.is_by(actor);
        }
        let ExchangeRequest { requested, targets, scopes, .. } = request;
        let wish = Wish { requested, targets, scopes: scopes.unwrap_or_default(), with_email: false };
        self.issue(who, subject, actor, &wish).await
    }

    /// Issues a token to the caller about itself, as one of its accounts: the first, if none is named. Its case is
    /// told of by who calls this.
    pub(crate) async fn issue_for_caller(
        &self,
        who: &Who,
        account: Option<&str>,
        wish: Wish,
        case: &mut Case,
    ) -> Result<Issued, TokenError> {
        case.asks_for(&wish.targets, &wish.scopes);
        let mut identities = who.identities().iter();
        let is_meant = |identity: &&Identity| account.is_none_or(|account| identity.account() == account);
        let Some(identity) = identities.find(is_meant) else {
            let (reason, text) = match who.account() {
                Some(_) => ("local_identity_not_owned", "the caller does not have this account".to_owned()),
                None => who.why_not(),
            };
            return Err(TokenError::proof(Part::Subject, reason, text));
        };
        let subject = self.local(identity);
        case.is_about(&subject);
        self.issue(who, subject, None, &wish).await
    }

    /// Decides, and signs.
    async fn issue(
        &self,
        who: &Who,
        subject: Subject,
        actor: Option<Subject>,
        wish: &Wish,
    ) -> Result<Issued, TokenError> {
        let now = self.now();
        self.not_revoked(Part::Subject, &subject, now)?;
        if let Some(actor) = &actor {
            self.not_revoked(Part::Actor, actor, now)?;
        }
        let caller = caller_account(who, &subject, actor.as_ref());
        if let Some(account) = caller.as_deref().and_then(|account| self.identity(account)) {
            self.not_revoked(Part::Caller, &self.local(&account), now)?;
        }
        let outermost = self.outermost(who, &subject, actor.as_ref())?;
        let acting = outermost.as_ref().map(|one| Acting { origin: &one.origin, name: &one.name });
        self.check_audience(&subject, actor.as_ref(), outermost.as_ref(), caller.as_deref())?;
        self.check_may_act(&subject, outermost.as_ref(), caller.as_deref())?;
        let act = line(&subject, actor.as_ref());
        if length(act.as_ref()) > MAX_ACTORS {
            return Err(TokenError::TooManyActors { most: MAX_ACTORS });
        }
        let granted = self.rules.decide(&Asked {
            subject: &subject,
            caller: caller.as_deref(),
            actor: acting,
            audiences: &wish.targets,
            scopes: &wish.scopes,
        })?;
        for (part, proved) in [(Part::Subject, Some(&subject)), (Part::Actor, actor.as_ref())] {
            let left = proved.and_then(|proved| proved.expires).map(|expires| expires.saturating_sub(now));
            if left.is_some_and(|left| left < LEAST_LEFT) {
                return Err(TokenError::EndsTooSoon { part, least: LEAST_LEFT });
            }
        }
        let client = caller.as_deref().or(acting.map(|acting| acting.name));
        let issued = self.sign(now, &subject, act.as_ref(), client, &granted, wish)?;
        // Last, so that nothing else can fail once it counts as used; a token that is not handed out is none.
        if let Some(proof) = subject.proof.as_ref().filter(|_| granted.one_time) {
            let used = self.ledger.use_once(proof).await;
            used.map_err(|problem| TokenError::of_ledger(Part::Subject, problem))?;
        }
        Ok(issued)
    }

    fn sign(
        &self,
        now: u64,
        subject: &Subject,
        act: Option<&Actor>,
        client: Option<&str>,
        granted: &Granted,
        wish: &Wish,
    ) -> Result<Issued, TokenError> {
        let left = subject.expires.map_or(u64::MAX, |expires| expires.saturating_sub(now));
        let most = granted.max_lifetime.min(self.settings.max_lifetime);
        let lifetime = self.settings.lifetime.min(most).min(left);
        let mut id = [0; 16];
        self.random.fill(&mut id).map_err(|_| {
            let text = "there is no randomness now; ask again";
            TokenError::unavailable("randomness_unavailable", text, String::new())
        })?;
        let claims = Claims::of(Facts {
            with_email: wish.with_email,
            issuer: &self.settings.issuer,
            subject: &subject.name,
            audiences: &granted.audiences,
            scopes: &granted.scopes,
            actor: act,
            client,
            now,
            lifetime,
            id,
        });
        let token = self.keys.sign(wish.requested.typ(), &claims.to_json())?;
        let said = Said {
            subject: claims.sub.to_owned(),
            audiences: claims.aud.to_vec(),
            actor: act.map(|actor| actor.sub.clone()),
            client: claims.client_id.to_owned(),
            expires: claims.exp,
            id: claims.jti,
        };
        let scopes = granted.scopes.clone();
        Ok(Issued { token, requested: wish.requested, lifetime, scopes, claims: said })
    }

    /// Who acts: the actor, or who acts for that one already; without an actor, the account that met the peer of a
    /// handshake.
    fn outermost(
        &self,
        who: &Who,
        subject: &Subject,
        actor: Option<&Subject>,
    ) -> Result<Option<Outermost>, TokenError> {
        let by_handshake = Some(subject).filter(|subject| subject.origin == Origin::Alts);
        let Some(proved) = actor.or(by_handshake) else { return Ok(None) };
        let Some(first) = &proved.actor else {
            return Ok(Some(Outermost {
                origin: proved.origin.clone(),
                issuer: proved.issuer.clone(),
                sub: proved.sub.clone(),
                name: proved.name.clone(),
            }));
        };
        // Rules have names of ours. What another issuer calls somebody may be the name of somebody else here.
        let is_ours = first.iss.as_ref() == Some(&self.settings.issuer);
        if !is_ours || !matches!(proved.origin, Origin::Own | Origin::Alts) {
            let text = "somebody acts for the actor whose name is not of this issuer";
            return Err(TokenError::proof(Part::Actor, "actor_not_direct", text));
        }
        // The kernel says of a caller that it is the account that met the peer.
        let is_caller = who.identities().iter().any(|identity| identity.account() == first.sub);
        let is_local = proved.origin == Origin::Alts && is_caller;
        Ok(Some(Outermost {
            origin: if is_local { Origin::Local } else { proved.origin.clone() },
            issuer: self.settings.issuer.clone(),
            sub: first.sub.clone(),
            name: first.sub.clone(),
        }))
    }

    /// Our own tokens are for whom they name: nobody else exchanges them. That of an actor may also be for us, or be
    /// the caller's own.
    fn check_audience(
        &self,
        subject: &Subject,
        actor: Option<&Subject>,
        outermost: Option<&Outermost>,
        caller: Option<&str>,
    ) -> Result<(), TokenError> {
        let refused = |part| {
            let text = "who presents it is none of those that it is for";
            Err(TokenError::proof(part, "token_not_for_actor", text))
        };
        let is_for = |token: &Subject, name: &str| token.audiences.iter().any(|audience| audience == name);
        if subject.origin == Origin::Own {
            let acting = outermost.map(|one| one.name.as_str()).or(caller);
            if !acting.is_some_and(|acting| is_for(subject, acting)) {
                return refused(Part::Subject);
            }
        }
        if let Some(actor) = actor.filter(|actor| actor.origin == Origin::Own) {
            let of_caller = |caller: &str| actor.name == caller || is_for(actor, caller);
            if !is_for(actor, &self.settings.issuer) && !caller.is_some_and(of_caller) {
                return refused(Part::Actor);
            }
        }
        Ok(())
    }

    /// Where a subject says who alone may act for it, that one acts; also without being named in the new token.
    fn check_may_act(
        &self,
        subject: &Subject,
        outermost: Option<&Outermost>,
        caller: Option<&str>,
    ) -> Result<(), TokenError> {
        let Some(may_act) = &subject.may_act else { return Ok(()) };
        let acting = match outermost {
            Some(one) => Some((one.issuer.as_str(), one.sub.as_str())),
            None => caller.map(|caller| (self.settings.issuer.as_str(), caller)),
        };
        let is_named = acting.is_some_and(|(issuer, sub)| {
            let is_meant = match &may_act.iss {
                Some(named) => named == issuer,
                None => issuer == subject.issuer || issuer == self.settings.issuer,
            };
            may_act.sub == sub && is_meant
        });
        is_named.then_some(()).ok_or(TokenError::MayAct)
    }
}

/// The account that the caller has here: the one it has named, or else the one it gets without asking.
fn caller_account(who: &Who, subject: &Subject, actor: Option<&Subject>) -> Option<String> {
    let named = [Some(subject), actor].into_iter().flatten().find(|one| one.origin == Origin::Local);
    named.map(|one| one.name.clone()).or_else(|| who.account().map(str::to_owned))
}

/// `act` of the new token: who acts for the actor, the actor, and who acted for the subject.
fn line(subject: &Subject, actor: Option<&Subject>) -> Option<Actor> {
    let Some(actor) = actor else { return subject.actor.clone() };
    let inner = subject.actor.clone().map(Box::new);
    let itself = Actor { iss: Some(actor.issuer.clone()), sub: actor.sub.clone(), act: inner };
    let Some(mut outer) = actor.actor.clone() else { return Some(itself) };
    let mut last = &mut outer;
    while last.act.is_some() {
        last = last.act.as_mut().expect("it was there a line above");
    }
    last.act = Some(Box::new(itself));
    Some(outer)
}

fn length(act: Option<&Actor>) -> usize {
    std::iter::successors(act, |actor| actor.act.as_deref()).count()
}
