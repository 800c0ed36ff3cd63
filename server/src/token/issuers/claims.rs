//! From the claims of a token that another has issued to a subject. Nothing of it is proved before the signature is.

use alts_handshake::sha256;
use alts_request_auth::Claims;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::template::SubjectTemplate;
use crate::token::{
    parts::SubjectProblem,
    subject::{Actor, MayAct, Origin, Proof, Subject},
};

/// Most actors behind each other.
const MAX_ACTORS: usize = 4;

/// Longest `iss` or `sub` of an actor, in bytes.
const MAX_ACTOR: usize = 2_048;

/// Most scopes of a token.
const MAX_SCOPES: usize = 256;

/// The subject of a token whose claims are good. `signed` is what its signature is over.
pub(super) fn subject(
    claims: &Claims,
    signed: &str,
    template: &SubjectTemplate,
) -> Result<Subject, SubjectProblem> {
    let (Some(issuer), Some(expires)) = (claims.issuer(), claims.expires()) else {
        return Err(refused("claim_missing", "the token has no iss or no exp"));
    };
    let sub = claims.subject().filter(|sub| !sub.is_empty());
    let sub = sub.ok_or_else(|| refused("claim_missing", "the token has no sub"))?;
    if sub.chars().any(char::is_control) {
        return Err(refused("claim_unprintable", "the sub of the token has a control character"));
    }
    let name = template.name(claims).map_err(|problem| refused(problem.reason(), &problem.to_string()))?;
    let actor = claims.all().get("act").map(|claim| actor(claim, issuer)).transpose()?;
    let may_act = claims.all().get("may_act").map(may_act).transpose()?;
    Ok(Subject {
        origin: Origin::Issuer(issuer.to_owned()),
        issuer: issuer.to_owned(),
        sub: sub.to_owned(),
        name,
        scopes: claims.all().get("scope").map(scopes).transpose()?,
        audiences: claims.audiences().to_vec(),
        expires: Some(expires),
        actor,
        may_act,
        proof: Some(Proof { iss: issuer.to_owned(), id: id(claims, signed), expires }),
    })
}

/// What the token is known by. Without a `jti` it is a hash of all but its signature: of that others can make another
/// that is as good, where the algorithm is ECDSA, and use the token once more.
fn id(claims: &Claims, signed: &str) -> String {
    match claims.id().filter(|id| !id.is_empty()) {
        Some(id) => id.to_owned(),
        None => format!("sha256:{}", hex::encode(sha256(signed.as_bytes()))),
    }
}

/// RFC 8693, section 4.2.
fn scopes(claim: &Value) -> Result<Vec<String>, SubjectProblem> {
    let text = claim.as_str().ok_or_else(|| {
        refused("scope_invalid", "the scope of the token is no text of scopes with spaces between them")
    })?;
    let scopes: Vec<_> = text.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned).collect();
    if scopes.len() > MAX_SCOPES {
        return Err(refused("scope_invalid", &format!("the token has more than {MAX_SCOPES} scopes")));
    }
    let is_scope =
        |scope: &String| scope.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e));
    if !scopes.iter().all(is_scope) {
        return Err(refused("scope_invalid", "a scope of the token has a character that no scope has"));
    }
    Ok(scopes)
}

/// Who acts by the word of an issuer. Whoever has no issuer of its own is of this one, and of no other that reads of it.
fn actor(claim: &Value, issuer: &str) -> Result<Actor, SubjectProblem> {
    let mut depth = 1;
    let mut inner = claim.get("act");
    while let Some(act) = inner {
        depth += 1;
        if depth > MAX_ACTORS {
            let text = format!("more than {MAX_ACTORS} have acted one for another in the token");
            return Err(refused("actors_too_many", &text));
        }
        inner = act.get("act");
    }
    let mut actor: Actor = read(claim, "act")?;
    let mut next = Some(&mut actor);
    while let Some(actor) = next {
        named(actor.iss.as_deref(), &actor.sub, "act")?;
        actor.iss.get_or_insert_with(|| issuer.to_owned());
        next = actor.act.as_deref_mut();
    }
    Ok(actor)
}

fn may_act(claim: &Value) -> Result<MayAct, SubjectProblem> {
    let may_act: MayAct = read(claim, "may_act")?;
    named(may_act.iss.as_deref(), &may_act.sub, "may_act")?;
    Ok(may_act)
}

fn read<T: DeserializeOwned>(claim: &Value, name: &str) -> Result<T, SubjectProblem> {
    // The text of the problem may hold some of the token.
    T::deserialize(claim).map_err(|_| malformed(name))
}

fn named(iss: Option<&str>, sub: &str, claim: &str) -> Result<(), SubjectProblem> {
    let is_name =
        |text: &str| !text.is_empty() && text.len() <= MAX_ACTOR && !text.chars().any(char::is_control);
    if is_name(sub) && iss.is_none_or(is_name) { Ok(()) } else { Err(malformed(claim)) }
}

fn malformed(claim: &str) -> SubjectProblem {
    let text =
        format!("the claim {claim} of the token is no object with a sub, and perhaps an iss, that are texts");
    refused("actor_invalid", &text)
}

/// The token is at fault.
pub(super) fn refused(reason: &'static str, text: &str) -> SubjectProblem {
    SubjectProblem::Refused { reason, text: text.to_owned() }
}
