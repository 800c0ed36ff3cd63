//! What a store says of itself, and what that is worth.

use alts_store::{Contact as Told, Revision};

use crate::{clock::utc, verifier::Contact};

/// Tells operators that the store lost something.
pub(super) fn set_back(known: Revision, found: Revision) {
    tracing::error!(
        reason = "store_rolled_back",
        known = known.0,
        found = found.0,
        "the store does not go on from what this node knew of it: it was begun anew or set back to a backup, and \
         revocations may be lost; compare it with what was decided, and revoke again what is missing"
    );
}

/// What the store says of itself, which operators are told as well.
pub(super) fn told(contact: Told) -> Contact {
    match &contact {
        Told::Live => tracing::info!("the store is heard of"),
        Told::Lost { since, problem } => {
            tracing::warn!(
                reason = "store_lost",
                since = since.map(utc),
                "the store is not heard of, and the node goes by what it knows: {problem}"
            );
        }
    }
    contact.into()
}
