//! Resumption (specification section 9) as the engine sees it. The stores are the caller's: it gives the ticket
//! to resume from, or a way to look one up, and gets a new one with the result.

use std::{sync::Arc, time::Duration};

use pki_types::UnixTime;

use crate::{crypto::HASH_LEN, peer::Peer, secret::Secret};

/// The name of a ticket: 16 random bytes of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TicketId(pub [u8; 16]);

/// What both ends of a handshake remember of it. It belongs to the account that did the handshake.
pub struct Ticket {
    /// Its name.
    pub id: TicketId,
    /// What the next handshake starts from.
    pub secret: Secret<HASH_LEN>,
    /// Who the other end was.
    pub peer: Peer,
    /// When it ends.
    pub not_after: UnixTime,
}

/// A client cuts longer lifetimes down to this many seconds.
pub(crate) const MAX_LIFETIME: u32 = 3_600;

/// Where a server finds the tickets of one account.
pub trait TicketLookup: Send + Sync {
    /// The ticket of this name that belongs to `account`. A ticket of another account must be as unknown as one
    /// that never was: anything else lets one workload of the node resume what another began.
    fn find(&self, account: &str, id: &TicketId) -> Option<Arc<Ticket>>;
}

/// When a new ticket ends: with its lifetime or with the peer's chain, whichever is first.
pub(crate) fn expiry(now: UnixTime, lifetime: u32, chain_end: UnixTime) -> UnixTime {
    let seconds = now.as_secs().saturating_add(lifetime.min(MAX_LIFETIME).into());
    UnixTime::since_unix_epoch(Duration::from_secs(seconds)).min(chain_end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_ends_with_its_lifetime_an_hour_or_the_chain_whichever_is_first() {
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let cases = [
            (600, 99_999, 1_600),
            (3_600, 99_999, 4_600),
            (3_601, 99_999, 4_600),
            (u32::MAX, 99_999, 4_600),
            (600, 1_599, 1_599),
            (600, 1_000, 1_000),
        ];
        for (lifetime, chain_end, expected) in cases {
            assert_eq!(expiry(at(1_000), lifetime, at(chain_end)), at(expected), "{lifetime} {chain_end}");
        }
    }
}
