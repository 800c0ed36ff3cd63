//! What a token of ours says, and whether it counts (RFC 7662): for workloads, which the kernel attests.

use serde_json::{Map, Value};

use super::{
    door::{Door, Who},
    error::{Part, TokenError},
    own::{self, Own},
    request::{Requested, Token},
};

/// Claims that the answer repeats as they are.
const CLAIMS: [&str; 11] =
    ["iss", "sub", "aud", "exp", "iat", "nbf", "jti", "client_id", "azp", "scope", "act"];

impl Door {
    /// Refuses callers that are no workload: whoever may ask about tokens could try out which exist.
    pub(crate) fn may_introspect(&self, who: &Who) -> Result<(), TokenError> {
        if who.account().is_some() {
            return Ok(());
        }
        let (reason, text) = who.why_not();
        Err(TokenError::Caller { reason, text })
    }

    /// Tells a workload about a token. Of one that does not count nothing is told but that: not why, not whose it is.
    pub(crate) fn introspect(&self, who: &Who, token: &Token) -> Result<Value, TokenError> {
        self.may_introspect(who)?;
        let now = self.now();
        let keys = &self.keys.published().keys;
        let Ok(own) = own::read(token.expose(), &self.settings.issuer, keys, now) else {
            return Ok(inactive());
        };
        // There is no leeway in the past for who asks the issuer itself.
        if own.proof.expires <= now {
            return Ok(inactive());
        }
        match self.not_revoked(Part::Subject, &own.subject, now) {
            Ok(()) => Ok(active(&own)),
            // Nobody knows whether it counts, and so nobody may take it that it does, or that it never will.
            Err(error @ TokenError::Unavailable { .. }) => Err(error),
            Err(_) => Ok(inactive()),
        }
    }
}

fn inactive() -> Value {
    Value::Object(Map::from_iter([("active".to_owned(), Value::Bool(false))]))
}

fn active(own: &Own) -> Value {
    let claims = own.claims.all();
    let mut answer = Map::from_iter([("active".to_owned(), Value::Bool(true))]);
    for name in CLAIMS {
        if let Some(value) = claims.get(name) {
            answer.insert(name.to_owned(), value.clone());
        }
    }
    if own.typ == Requested::AccessToken {
        answer.insert("token_type".to_owned(), Value::from("Bearer"));
    }
    Value::Object(answer)
}
