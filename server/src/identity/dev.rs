//! Dev mode: a signing service in memory, with one identity. It dies with the process: nothing is written to disk,
//! and its root is trusted by nobody else.

use alts_handshake::{Authority, Identity, SetupError, Trust};
use pki_types::UnixTime;

use super::{
    Random, signing,
    signing::{DEFAULT_LIFETIME, SigningService},
};
use crate::snapshot::Snapshot;

/// Who vouches for dev identities. `.internal` is reserved for private use: no real workload has such a name.
const AUTHORITY: &str = "dev.altsd.internal";

/// Longest local part of an account.
const MAX_USER: usize = 64;

/// Why dev mode cannot start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("dev mode cannot make a certificate: {0}")]
    Signing(#[from] signing::Error),
    #[error("dev mode cannot use its own certificate: {0}")]
    Setup(#[from] SetupError),
    #[error("dev mode has no identity for {account}: {problem}")]
    Account { account: String, problem: &'static str },
}

/// The account of a user in dev mode. Characters that an account cannot have become hyphens.
pub(crate) fn account(user: &str) -> String {
    let local = |char: char| if char.is_ascii_alphanumeric() || "._+-".contains(char) { char } else { '-' };
    let user: String = user.chars().take(MAX_USER).map(local).collect();
    format!("{}@{AUTHORITY}", if user.is_empty() { "nobody" } else { &user })
}

/// The signing service of dev mode, and the one identity that it is asked for.
pub(crate) fn service(
    user: &str,
    now: UnixTime,
    random: Random,
) -> Result<(SigningService, Identity), Error> {
    let authorities = vec![Authority::parse(AUTHORITY)?];
    let service = SigningService::in_memory(authorities, DEFAULT_LIFETIME, now, random)?;
    let account = account(user);
    let identity = Identity::parse(&account).map_err(|problem| Error::Account { account, problem })?;
    Ok((service, identity))
}

/// The one identity of dev mode and the root it leads to, as they are at the start.
pub(crate) fn load(user: &str, now: UnixTime, random: Random) -> Result<Snapshot, Error> {
    let (service, identity) = service(user, now, random)?;
    let credentials = service.issue(&identity, now)?;
    let mut trust = Trust::default();
    for (authority, root) in service.roots() {
        trust.add(authority, &[root])?;
    }
    trust.check_own(&credentials, now)?;
    Ok(Snapshot::new([credentials], trust))
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use alts_handshake::SystemRandom;

    use super::*;

    const NOW: u64 = 1_767_225_600;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    #[test]
    fn every_user_name_becomes_an_account() {
        let long = "x".repeat(65);
        let users =
            ["alice", "Alice.B_c+d-1", "DOM\\bob", "carl@corp", "zoë", "uid-1000", "", " ", "a b", &long];
        for user in users {
            let account = account(user);
            let identity = Identity::parse(&account);
            assert_eq!(identity.as_ref().map(|identity| identity.account()), Ok(&*account), "{user:?}");
        }
        assert_eq!(account("DOM\\bob"), "DOM-bob@dev.altsd.internal");
    }

    fn random() -> Random {
        Arc::new(SystemRandom::new())
    }

    #[test]
    fn the_dev_identity_holds_for_an_hour_and_begins_a_minute_early() {
        let snapshot = load("alice", at(NOW), random()).expect("it needs nothing");
        let credentials = snapshot.credentials("alice@dev.altsd.internal").expect("it was made");
        let end = NOW + 3_600;
        assert_eq!(credentials.validity(), (NOW - 60, end));
        for (time, good) in [(NOW - 61, false), (NOW - 60, true), (NOW, true), (end, true), (end + 1, false)]
        {
            assert_eq!(snapshot.trust().check_own(credentials, at(time)).is_ok(), good, "{time}");
        }
    }

    #[test]
    fn two_dev_modes_do_not_trust_each_other() {
        let snapshots = [(); 2].map(|()| load("alice", at(NOW), random()).expect("it needs nothing"));
        let [one, other] = snapshots;
        let credentials = one.credentials("alice@dev.altsd.internal").expect("it was made");
        assert!(other.trust().check_own(credentials, at(NOW)).is_err());
    }

    #[test]
    fn a_time_that_no_certificate_can_hold_is_an_error() {
        for time in [u64::MAX, i64::MAX as u64, 400_000_000_000] {
            assert!(load("alice", at(time), random()).is_err(), "{time}");
        }
    }
}
