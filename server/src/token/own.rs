//! Tokens that this node, or another of its fleet, has issued.

use alts_request_auth::{Claims, Error, Expected, KeySet, Token};
use serde::de::DeserializeOwned;

use super::{
    parts::SubjectProblem,
    request::Requested,
    subject::{Actor, MayAct, Origin, Proof, Subject},
};

/// A good token of ours, unless it is revoked.
pub(super) struct Own {
    pub(super) subject: Subject,
    pub(super) proof: Proof,
    pub(super) typ: Requested,
    pub(super) claims: Claims,
}

/// Whether a token says that it is of this issuer. It may say so and not be.
pub(super) fn claims_issuer(token: &str, issuer: &str) -> bool {
    Token::parse(token).is_ok_and(|token| token.claims().issuer() == Some(issuer))
}

/// Verifies an access token of ours: that alone proves a subject. `now` is in seconds since 1970.
pub(super) fn verify(token: &str, issuer: &str, keys: &KeySet, now: u64) -> Result<Own, SubjectProblem> {
    let own = read(token, issuer, keys, now)?;
    if own.typ != Requested::AccessToken {
        return Err(refused("token_not_access_token", "its typ is not that of an access token"));
    }
    Ok(own)
}

/// Verifies a token of ours, of any kind.
pub(super) fn read(token: &str, issuer: &str, keys: &KeySet, now: u64) -> Result<Own, SubjectProblem> {
    let of_error = |error: Error| refused(error.reason(), error.to_string());
    let token = Token::parse(token).map_err(of_error)?;
    let expected = Expected { issuer: Some(issuer), audiences: &[], must_expire: true };
    token.check_claims(&expected, now).map_err(of_error)?;
    // All of ours name their key. Without a name each key of the fleet would be tried, for whoever likes to ask.
    token.header().kid().ok_or(Error::NoMatchingKey).map_err(of_error)?;
    token.verify_signature(keys).map_err(of_error)?;
    let typ = [Requested::AccessToken, Requested::Jwt]
        .into_iter()
        .find(|kind| token.header().typ() == Some(kind.typ()))
        .ok_or_else(|| refused("token_typ_unknown", "its typ is none that is issued here"))?;
    let claims = token.claims();
    let (Some(sub), Some(id), Some(expires)) = (claims.subject(), claims.id(), claims.expires()) else {
        return Err(refused("claim_missing", "it has no sub or no jti"));
    };
    let proof = Proof { iss: issuer.to_owned(), id: id.to_owned(), expires };
    let subject = Subject {
        origin: Origin::Own,
        issuer: issuer.to_owned(),
        sub: sub.to_owned(),
        name: sub.to_owned(),
        // One without scopes allows nothing, and so does what it is exchanged for.
        scopes: Some(scopes(claims)?),
        audiences: claims.audiences().to_vec(),
        expires: Some(expires),
        actor: object::<Actor>(claims, "act")?,
        may_act: object::<MayAct>(claims, "may_act")?,
        proof: Some(proof.clone()),
    };
    Ok(Own { subject, proof, typ, claims: claims.clone() })
}

fn scopes(claims: &Claims) -> Result<Vec<String>, SubjectProblem> {
    let scope = object::<String>(claims, "scope")?.unwrap_or_default();
    Ok(scope.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned).collect())
}

/// A claim of a type of its own, if it is there.
fn object<T: DeserializeOwned>(claims: &Claims, name: &str) -> Result<Option<T>, SubjectProblem> {
    let value = claims.all().get(name).cloned().map(serde_json::from_value).transpose();
    value.map_err(|_| refused("claim_malformed", format!("its {name} is not what that has to be")))
}

fn refused(reason: &'static str, text: impl Into<String>) -> SubjectProblem {
    SubjectProblem::Refused { reason, text: text.into() }
}
