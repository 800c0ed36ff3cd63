//! Revoking a token (RFC 7009).
//!
//! Whoever has a token may revoke it, on every listener: it proves itself, and all that its holder can do with it is to
//! end it sooner. A stolen one is best revoked by whoever finds it.

use super::{
    door::{Door, Who},
    error::{Part, TokenError},
    own,
    request::Token,
};

impl Door {
    /// Revokes a token of ours. Of others, and of those that have ended, there is nothing to revoke: that is no error.
    pub(crate) async fn revoke(&self, who: &Who, token: &Token) -> Result<(), TokenError> {
        let now = self.now();
        let keys = &self.keys.published().keys;
        match own::read(token.expose(), &self.settings.issuer, keys, now) {
            Ok(own) => {
                let revoked = self.ledger.revoke(&own.proof).await;
                revoked.map_err(|problem| TokenError::of_ledger(Part::Subject, problem))?;
                let (subject, jti) = (&own.subject.sub, &own.proof.id);
                tracing::info!(subject, jti, client = who.account(), "token revoked");
            }
            Err(problem) => tracing::debug!(client = who.account(), "nothing to revoke: {problem}"),
        }
        Ok(())
    }
}
