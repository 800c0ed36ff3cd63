//! Signing keys as resources.

use alts_proto::altsd::{SigningKey, signing_key};

use crate::{
    admin::resource::timestamp,
    token::{keyring::KeyStatus, keys::State},
};

/// What resource names begin with.
pub(super) const PREFIX: &str = "signing-keys/";

/// Longest `kid`, in bytes: ours have 43.
const MAX_KID: usize = 256;

/// The `kid` of a resource name.
pub(super) fn kid(name: &str) -> Result<&str, String> {
    let kid = name.strip_prefix(PREFIX).filter(|kid| (1..=MAX_KID).contains(&kid.len()));
    kid.filter(|kid| kid.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))).ok_or_else(|| {
        format!("a name is {PREFIX}KID, where KID is made of letters, digits, - and _, as `altsd keys list` prints it")
    })
}

/// The resource.
pub(super) fn message(key: &KeyStatus) -> SigningKey {
    let state = match key.state {
        State::Next => signing_key::State::Next,
        State::Active => signing_key::State::Active,
        State::Retired => signing_key::State::Retired,
        State::Withdrawn => signing_key::State::Withdrawn,
    };
    SigningKey {
        name: format!("{PREFIX}{}", key.kid),
        key_id: key.kid.clone(),
        algorithm: key.algorithm.to_owned(),
        node: key.node.clone(),
        own: key.own,
        state: state.into(),
        create_time: Some(timestamp(key.created)),
        publish_time: key.published.map(timestamp),
        sign_time: key.signs_from.map(timestamp),
        renew_time: key.signs_until.map(timestamp),
        retire_time: key.retired.map(timestamp),
        withdraw_time: key.withdrawn.map(timestamp),
        delete_time: key.gone_after.map(timestamp),
        next: key.next.clone(),
        problem: String::new(),
    }
}

/// What is in the store under a name and is no key.
pub(super) fn unreadable(name: &str, problem: &str) -> SigningKey {
    SigningKey {
        name: format!("{PREFIX}{name}"),
        key_id: name.to_owned(),
        state: signing_key::State::Unreadable.into(),
        problem: problem.to_owned(),
        ..SigningKey::default()
    }
}
