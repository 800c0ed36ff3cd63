//! The signing service of dev mode. It lives in memory and dies with the process: nothing is written to disk, and
//! its root is trusted by nobody else.

use std::time::Duration;

use alts_handshake::{Authority, Credentials, SecureRandom, SetupError, Trust};
use pki_types::{PrivatePkcs8KeyDer, UnixTime};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::snapshot::Snapshot;

/// Who vouches for dev identities. `.internal` is reserved for private use: no real workload has such a name.
const AUTHORITY: &str = "dev.altsd.internal";

/// Certificates begin this much earlier, for programs on the same machine whose clock was just set back.
const CUSHION: Duration = Duration::from_secs(60);

/// How long an identity of dev mode holds, from the start of the daemon: it is not renewed.
pub(crate) const LIFETIME: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Longest local part of an account.
const MAX_USER: usize = 64;

/// Why dev mode cannot start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("dev mode cannot make a certificate: {0}")]
    Signing(#[from] rcgen::Error),
    #[error("dev mode cannot use its own certificate: {0}")]
    Setup(#[from] SetupError),
    #[error("dev mode cannot make a certificate for the time {0} s since 1970; set the clock")]
    Time(u64),
}

/// The account of a user in dev mode. Characters that an account cannot have become hyphens.
pub(crate) fn account(user: &str) -> String {
    let local = |char: char| if char.is_ascii_alphanumeric() || "._+-".contains(char) { char } else { '-' };
    let user: String = user.chars().take(MAX_USER).map(local).collect();
    format!("{}@{AUTHORITY}", if user.is_empty() { "nobody" } else { &user })
}

/// The one identity of dev mode and the root it leads to.
pub(crate) fn load(user: &str, now: UnixTime, random: &dyn SecureRandom) -> Result<Snapshot, Error> {
    let service = SigningService::new(now)?;
    let credentials = service.issue(&account(user), now, random)?;
    let mut trust = Trust::default();
    trust.add(Authority::parse(AUTHORITY)?, &[service.root.der().clone()])?;
    trust.check_own(&credentials, now)?;
    Ok(Snapshot::new([credentials], trust))
}

struct SigningService {
    root: CertifiedIssuer<'static, KeyPair>,
}

impl SigningService {
    fn new(now: UnixTime) -> Result<Self, Error> {
        let mut params = params("altsd dev mode root", now)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        Ok(Self { root: CertifiedIssuer::self_signed(params, key)? })
    }

    fn issue(&self, account: &str, now: UnixTime, random: &dyn SecureRandom) -> Result<Credentials, Error> {
        let mut params = params("altsd dev mode", now)?;
        params.subject_alt_names = vec![SanType::Rfc822Name(account.try_into()?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let leaf = params.signed_by(&key, &self.root)?;
        let key = Zeroizing::new(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok(Credentials::new(&[leaf.der().clone()], &key, random)?)
    }
}

fn params(name: &str, now: UnixTime) -> Result<CertificateParams, Error> {
    let date = |seconds: u64| {
        let seconds = i64::try_from(seconds).ok();
        let date = seconds.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
        date.ok_or(Error::Time(now.as_secs()))
    };
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date(now.as_secs().saturating_sub(CUSHION.as_secs()))?;
    params.not_after = date(now.as_secs().saturating_add(LIFETIME.as_secs()))?;
    Ok(params)
}

#[cfg(test)]
mod tests {
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
            let identity = alts_handshake::Identity::parse(&account);
            assert_eq!(identity.as_ref().map(|identity| identity.account()), Ok(&*account), "{user:?}");
        }
        assert_eq!(account("DOM\\bob"), "DOM-bob@dev.altsd.internal");
    }

    #[test]
    fn the_dev_identity_holds_for_thirty_days_and_begins_a_minute_early() {
        let random = SystemRandom::new();
        let snapshot = load("alice", at(NOW), &random).expect("it needs nothing");
        let credentials = snapshot.credentials("alice@dev.altsd.internal").expect("it was made");
        let end = NOW + LIFETIME.as_secs();
        assert_eq!(credentials.validity(), (NOW - 60, end));
        for (time, good) in [(NOW - 61, false), (NOW - 60, true), (NOW, true), (end, true), (end + 1, false)]
        {
            assert_eq!(snapshot.trust().check_own(credentials, at(time)).is_ok(), good, "{time}");
        }
    }

    #[test]
    fn two_dev_modes_do_not_trust_each_other() {
        let random = SystemRandom::new();
        let snapshots = [(); 2].map(|()| load("alice", at(NOW), &random).expect("it needs nothing"));
        let [one, other] = snapshots;
        let credentials = one.credentials("alice@dev.altsd.internal").expect("it was made");
        assert!(other.trust().check_own(credentials, at(NOW)).is_err());
    }

    #[test]
    fn a_time_that_no_certificate_can_hold_is_an_error() {
        for time in [u64::MAX, i64::MAX as u64, 400_000_000_000] {
            assert!(load("alice", at(time), &SystemRandom::new()).is_err(), "{time}");
        }
    }
}
