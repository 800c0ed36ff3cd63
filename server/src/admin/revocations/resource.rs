//! Revocations as resources: from requests to records, and from records to messages.

use alts_proto::altsd::{ResourceState, Revocation as Message, RevokedCertificate, revocation::Subject};
use alts_store::Entry;
use tonic::Status;

use crate::{
    admin::{
        refusal::missing,
        resource::{seconds, timestamp},
    },
    policy::{REVOCATIONS, Revocation, RevocationRecord, Revoked},
    verifier::kinds::REVOCATION,
};

/// What is known of a revocation at one moment.
pub(super) struct Shown<'a> {
    pub(super) revoked: &'a Revoked,
    /// `None` of a record that cannot be read.
    pub(super) revocation: Option<&'a Revocation>,
    pub(super) revision: i64,
    pub(super) is_decided_by: bool,
    /// Seconds since 1970.
    pub(super) now: u64,
}

/// What is kept under the key of `revoked`; nothing if it cannot be read, or is of something else.
pub(super) fn read(revoked: &Revoked, entry: &Entry) -> Option<Revocation> {
    let record = REVOCATION.decode(entry).ok()?;
    let revocation = Revocation::try_from(record.value).ok()?;
    (revocation.revoked() == revoked).then_some(revocation)
}

/// The record that a request asks for.
pub(super) fn requested(message: Message, now: u64) -> Result<RevocationRecord, Status> {
    let mut record = RevocationRecord {
        account: None,
        issuer: None,
        serial: None,
        key_sha256: None,
        reason: message.reason,
        create_time: now,
        expire_time: message.expire_time.map(seconds).transpose()?,
    };
    match message.subject.ok_or_else(|| missing("account, certificate or key_sha256"))? {
        Subject::Account(account) => record.account = Some(account),
        Subject::Certificate(RevokedCertificate { issuer, serial_number }) => {
            record.issuer = Some(issuer);
            record.serial = Some(serial_number);
        }
        Subject::KeySha256(hash) => record.key_sha256 = Some(hash),
    }
    Ok(record)
}

/// The resource.
pub(super) fn message(shown: &Shown<'_>) -> Message {
    let Shown { revoked, revocation, revision, is_decided_by, now } = *shown;
    let subject = match revoked {
        Revoked::Account(account) => Subject::Account(account.to_string()),
        Revoked::Certificate { serial, .. } => Subject::Certificate(RevokedCertificate {
            issuer: revocation.and_then(Revocation::issuer).unwrap_or_default().to_owned(),
            serial_number: serial.to_string(),
        }),
        Revoked::Key(hash) => Subject::KeySha256(hex::encode(hash)),
    };
    let state = match revocation {
        None => ResourceState::Unreadable,
        Some(revocation) if revocation.expire_time().is_some_and(|end| end <= now) => ResourceState::Expired,
        Some(_) if is_decided_by => ResourceState::Active,
        Some(_) => ResourceState::Pending,
    };
    Message {
        name: format!("{REVOCATIONS}{}", revoked.to_id()),
        reason: revocation.map(Revocation::reason).unwrap_or_default().to_owned(),
        create_time: revocation.map(|revocation| timestamp(revocation.create_time())),
        expire_time: revocation.and_then(Revocation::expire_time).map(timestamp),
        state: state.into(),
        revision,
        subject: Some(subject),
    }
}
