//! Revocations of tokens as resources: from requests to records, and from records to messages.

use alts_proto::altsd::{ResourceState, TokenRevocation as Message, token_revocation};
use tonic::Status;

use crate::{
    admin::{
        refusal::missing,
        resource::{seconds, timestamp},
    },
    token::ledger::kinds::{Named, Record, Revoked},
};

/// What is known of a revocation at one moment.
pub(super) struct Shown<'a> {
    pub(super) revoked: &'a Revoked,
    /// `None` of a record that cannot be read.
    pub(super) record: Option<&'a Record>,
    pub(super) revision: i64,
    /// Whether this node goes by it.
    pub(super) is_applied: bool,
    /// Seconds since 1970.
    pub(super) now: u64,
}

/// The record that a request asks for.
pub(super) fn requested(message: Message, now: u64) -> Result<Record, Status> {
    let revoked = match message.revoked.ok_or_else(|| missing("token_id or subject"))? {
        token_revocation::Revoked::TokenId(id) => Named::Token(id),
        token_revocation::Revoked::Subject(sub) => Named::Subject(sub),
    };
    Ok(Record {
        issuer: message.issuer,
        revoked,
        reason: message.reason,
        by: None,
        create_time: now,
        expire_time: message.expire_time.map(seconds).transpose()?,
    })
}

/// The resource.
pub(super) fn message(shown: &Shown<'_>) -> Message {
    let Shown { revoked, record, revision, is_applied, now } = *shown;
    let state = match record {
        None => ResourceState::Unreadable,
        Some(record) if record.until().is_some_and(|until| until <= now) => ResourceState::Expired,
        Some(_) if is_applied => ResourceState::Active,
        Some(_) => ResourceState::Pending,
    };
    let mut message = Message { name: revoked.key(), state: state.into(), revision, ..Message::default() };
    if let Some(record) = record {
        message.issuer.clone_from(&record.issuer);
        message.revoked = Some(match record.revoked.clone() {
            Named::Token(id) => token_revocation::Revoked::TokenId(id),
            Named::Subject(sub) => token_revocation::Revoked::Subject(sub),
        });
        message.reason.clone_from(&record.reason);
        message.create_time = Some(timestamp(record.create_time));
        message.expire_time = record.expire_time.map(timestamp);
        message.uid = record.by;
    }
    message
}
