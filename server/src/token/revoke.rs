//! Revoking a token (RFC 7009).
//!
//! Whoever has a token may revoke it, on every listener: it proves itself, and all that its holder can do with it is to
//! end it sooner. A stolen one is best revoked by whoever finds it.

use super::{
    case::Case,
    door::{Door, Who},
    error::{Part, TokenError},
    own,
    request::Token,
};

impl Door {
    /// Revokes a token of ours. Of others, and of those that have ended, there is nothing to revoke: that is no error.
    pub(crate) async fn revoke(&self, who: &Who, token: &Token, mut case: Case) -> Result<(), TokenError> {
        case.comes_from(who);
        let now = self.now();
        let keys = &self.keys.published().keys;
        match own::read(token.expose(), &self.settings.issuer, keys, now) {
            Ok(own) => {
                let revoked = self.ledger.revoke(&own.proof).await;
                let revoked = revoked.map_err(|problem| TokenError::of_ledger(Part::Subject, problem));
                self.tell_revoked(case, &own, revoked.as_ref().err());
                revoked
            }
            Err(problem) => {
                tracing::debug!(client = who.account(), "nothing to revoke: {problem}");
                Ok(())
            }
        }
    }
}
