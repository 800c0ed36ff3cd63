//! How the keys of the fleet stand, as values.

use super::{fleet::Fleet, own::Held, record::KeyRecord};
use crate::{
    clock::utc,
    token::keys::{Settings, State},
};

/// How all keys stand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Status {
    /// Ordered by `kid`.
    pub(crate) keys: Vec<KeyStatus>,
    /// Records that cannot be read, by their names, and why. Their keys are not published.
    pub(crate) unreadable: Vec<(String, String)>,
    /// What could not be done. What counted before counts on.
    pub(crate) failure: Option<Failure>,
}

/// Something that could not be done, and is tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// A stable code.
    pub(crate) code: &'static str,
    pub(crate) problem: String,
    /// In seconds since 1970.
    pub(crate) since: u64,
}

/// How one key stands. Times are in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyStatus {
    pub(crate) kid: String,
    pub(crate) algorithm: &'static str,
    /// The node that signs with it.
    pub(crate) node: String,
    /// Whether that is this one.
    pub(crate) own: bool,
    pub(crate) state: State,
    pub(crate) created: u64,
    pub(crate) published: Option<u64>,
    pub(crate) signs_from: Option<u64>,
    /// Until when the store lets its node sign with it, unless that is renewed.
    pub(crate) signs_until: Option<u64>,
    pub(crate) retired: Option<u64>,
    pub(crate) withdrawn: Option<u64>,
    /// When its record is deleted, if that is known.
    pub(crate) gone_after: Option<u64>,
    /// What happens to it next.
    pub(crate) next: String,
}

impl KeyStatus {
    /// Since when it is in its state.
    pub(crate) fn since(&self) -> u64 {
        let since = match self.state {
            State::Next => None,
            State::Active => self.signs_from,
            State::Retired => self.retired,
            State::Withdrawn => self.withdrawn,
        };
        since.unwrap_or(self.created)
    }
}

/// How the keys of this node and of others stand.
pub(super) fn keys(own: &[Held], fleet: &Fleet, node: &str, settings: &Settings) -> Vec<KeyStatus> {
    let is_own = |kid: &str| own.iter().any(|held| held.kid() == kid);
    let mut keys: Vec<_> = own.iter().map(|held| of_own(held, node, settings)).collect();
    if !keys.iter().any(|key| key.state == State::Active) {
        for key in keys.iter_mut().filter(|key| key.state == State::Next && key.published.is_some()) {
            key.next = soon(key.signs_from);
        }
    }
    keys.extend(fleet.foreign(is_own).map(of_other));
    keys.sort_by(|one, other| one.kid.cmp(&other.kid));
    keys
}

pub(super) fn of_own(held: &Held, node: &str, settings: &Settings) -> KeyStatus {
    let facts = &held.facts;
    let (signs_from, gone_after) = (facts.signs_from(settings), facts.gone_after());
    let next = match facts.state() {
        State::Next if facts.published.is_none() => {
            "waits for the store: it signs so long after its record is there".to_owned()
        }
        State::Next if facts.soon || facts.at_once => soon(signs_from),
        State::Next => format!("{}, when the active key is old enough", soon(signs_from)),
        State::Active => {
            let old = facts.activated.unwrap_or_default().saturating_add(settings.rotate);
            match (settings.origin, facts.fits) {
                (_, false) => "signs until the next key may".to_owned(),
                (crate::token::keys::Origin::Imported, true) => {
                    "signs until its file holds another key".to_owned()
                }
                (crate::token::keys::Origin::Generated, true) => format!("signs until about {}", utc(old)),
            }
        }
        State::Retired | State::Withdrawn => ended(facts.state(), gone_after),
    };
    KeyStatus {
        kid: facts.kid.clone(),
        algorithm: held.public.algorithm().as_str(),
        node: node.to_owned(),
        own: true,
        state: facts.state(),
        created: facts.created,
        published: facts.published,
        signs_from,
        signs_until: Some(facts.promised).filter(|promised| (1..u64::MAX).contains(promised)),
        retired: facts.retired,
        withdrawn: facts.withdrawn,
        gone_after,
        next,
    }
}

pub(super) fn of_other(record: &KeyRecord) -> KeyStatus {
    let state = record.state();
    let gone_after = Some(record.gone_after());
    let next = match state {
        State::Next => soon(Some(record.signs_from)),
        State::Active => "its node decides".to_owned(),
        State::Retired | State::Withdrawn => ended(state, gone_after),
    };
    KeyStatus {
        kid: record.key.kid().to_owned(),
        algorithm: record.key.algorithm().as_str(),
        node: record.node.clone(),
        own: false,
        state,
        created: record.created,
        published: Some(record.published),
        signs_from: Some(record.signs_from),
        signs_until: Some(record.signs_until),
        retired: record.retired,
        withdrawn: record.withdrawn,
        gone_after,
        next,
    }
}

fn soon(from: Option<u64>) -> String {
    from.map_or_else(|| "signs later".to_owned(), |from| format!("signs from {} on", utc(from)))
}

fn ended(state: State, gone_after: Option<u64>) -> String {
    let until = gone_after.map(utc).unwrap_or_default();
    match state {
        State::Withdrawn => format!("nobody shall believe it; its record is deleted after {until}"),
        _ => format!("tokens of it are good until they end; published until {until}"),
    }
}
