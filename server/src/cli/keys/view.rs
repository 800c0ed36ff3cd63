//! Signing keys as they are printed.

use alts_proto::{
    Timestamp,
    altsd::{ChangedSigningKeys, SigningKey, signing_key::State},
};
use serde::Serialize;

use crate::{
    cli::output::{NOTHING, printable, table},
    clock::utc,
};

/// What resource names begin with.
pub(super) const COLLECTION: &str = "signing-keys/";

/// What `list` prints in JSON.
#[derive(Debug, Default, Serialize)]
pub(super) struct Listed {
    pub(super) keys: Vec<View>,
    pub(super) problem: Option<String>,
}

/// What `rotate` and `retire` print in JSON.
#[derive(Debug, Serialize)]
pub(super) struct Changed {
    /// The new key, or the one that signs now.
    key: Option<View>,
    withdrawn: Vec<View>,
    /// How long verifiers may go by what they have read before.
    verifier_cache_seconds: u64,
}

/// A key as it is in JSON. What is not known is null.
#[derive(Debug, Serialize)]
pub(super) struct View {
    key_id: String,
    algorithm: Option<String>,
    node: Option<String>,
    own: bool,
    state: &'static str,
    create_time: Option<String>,
    publish_time: Option<String>,
    sign_time: Option<String>,
    renew_time: Option<String>,
    retire_time: Option<String>,
    withdraw_time: Option<String>,
    delete_time: Option<String>,
    next: Option<String>,
    problem: Option<String>,
}

impl From<SigningKey> for View {
    fn from(key: SigningKey) -> Self {
        let state = match key.state() {
            State::Next => "next",
            State::Active => "active",
            State::Retired => "retired",
            State::Withdrawn => "withdrawn",
            State::Unreadable => "unreadable",
            State::Unspecified => "unknown",
        };
        let time =
            |time: Option<Timestamp>| time.map(|time| utc(u64::try_from(time.seconds).unwrap_or_default()));
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        Self {
            key_id: key.key_id,
            algorithm: some(key.algorithm),
            node: some(key.node),
            own: key.own,
            state,
            create_time: time(key.create_time),
            publish_time: time(key.publish_time),
            sign_time: time(key.sign_time),
            renew_time: time(key.renew_time),
            retire_time: time(key.retire_time),
            withdraw_time: time(key.withdraw_time),
            delete_time: time(key.delete_time),
            next: some(key.next),
            problem: some(key.problem),
        }
    }
}

impl From<ChangedSigningKeys> for Changed {
    fn from(changed: ChangedSigningKeys) -> Self {
        Self {
            key: changed.signing_key.map(View::from),
            withdrawn: changed.withdrawn.into_iter().map(View::from).collect(),
            verifier_cache_seconds: changed.verifier_cache_seconds,
        }
    }
}

/// One line for each, the one that signs here first.
pub(super) fn list(listed: &Listed) -> String {
    let mut keys: Vec<_> = listed.keys.iter().collect();
    let rank = |view: &View| {
        ["active", "next", "retired", "withdrawn"].iter().position(|state| *state == view.state)
    };
    keys.sort_by_key(|view| (!view.own, view.node.clone(), rank(view)));
    let header = ["KEY", "STATE", "ALGORITHM", "NODE", "SIGNS FROM", "NEXT"].map(str::to_owned);
    let row = |view: &&View| {
        let node = view.node.clone().unwrap_or_else(|| NOTHING.to_owned());
        vec![
            view.key_id.clone(),
            view.state.to_owned(),
            or_nothing(&view.algorithm),
            if view.own { format!("{node} (this one)") } else { node },
            or_nothing(&view.sign_time),
            view.problem.clone().or_else(|| view.next.clone()).unwrap_or_else(|| NOTHING.to_owned()),
        ]
    };
    let mut text = table(&[header.to_vec()].into_iter().chain(keys.iter().map(row)).collect::<Vec<_>>());
    if let Some(problem) = &listed.problem {
        text += &format!("\nnot as it should be, and tried again: {}\n", printable(problem));
    }
    text
}

/// What was done, and what verifiers know of it.
pub(super) fn changed(changed: &Changed) -> String {
    let mut text = String::new();
    if let Some(key) = &changed.key {
        text += &format!("{} is {}: {}\n", key.key_id, key.state, key.next.as_deref().unwrap_or(NOTHING));
    }
    for key in &changed.withdrawn {
        text += &format!("{} is withdrawn\n", key.key_id);
    }
    if !changed.withdrawn.is_empty() {
        text += &format!(
            "verifiers keep what they have read for up to {} s: so long they may believe a withdrawn key, and refuse a new \
             one\n",
            changed.verifier_cache_seconds
        );
    }
    text
}

fn or_nothing(text: &Option<String>) -> String {
    text.clone().unwrap_or_else(|| NOTHING.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kid: &str, state: State, own: bool) -> SigningKey {
        SigningKey {
            name: format!("{COLLECTION}{kid}"),
            key_id: kid.to_owned(),
            algorithm: "ES256".to_owned(),
            node: if own { "a" } else { "b\n" }.to_owned(),
            own,
            state: state.into(),
            sign_time: Some(Timestamp { seconds: 1_767_225_600, nanos: 0 }),
            next: "signs on".to_owned(),
            ..SigningKey::default()
        }
    }

    fn unreadable() -> SigningKey {
        let (key_id, problem) = ("x".to_owned(), "it is garbage".to_owned());
        SigningKey { key_id, problem, state: State::Unreadable.into(), ..SigningKey::default() }
    }

    #[test]
    fn a_list_begins_with_the_key_that_signs_here() {
        let keys = [
            unreadable(),
            key("k1", State::Active, false),
            key("k2", State::Retired, true),
            key("k3", State::Active, true),
        ];
        let listed = Listed {
            keys: keys.into_iter().map(View::from).collect(),
            problem: Some("store_unavailable: away".to_owned()),
        };
        let expected = "\
KEY  STATE       ALGORITHM  NODE          SIGNS FROM            NEXT
k3   active      ES256      a (this one)  2026-01-01T00:00:00Z  signs on
k2   retired     ES256      a (this one)  2026-01-01T00:00:00Z  signs on
x    unreadable  -          -             -                     it is garbage
k1   active      ES256      b\\n           2026-01-01T00:00:00Z  signs on

not as it should be, and tried again: store_unavailable: away
";
        assert_eq!(list(&listed), expected);
    }

    #[test]
    fn what_verifiers_still_believe_is_said_of_what_is_withdrawn() {
        let message = ChangedSigningKeys {
            signing_key: Some(key("k1", State::Active, true)),
            withdrawn: vec![key("k2", State::Withdrawn, true)],
            verifier_cache_seconds: 1_200,
        };
        let text = changed(&message.into());
        let expected =
            "k1 is active: signs on\nk2 is withdrawn\nverifiers keep what they have read for up to 1200 s: ";
        assert!(text.starts_with(expected), "{text}");
        let only_next = ChangedSigningKeys {
            signing_key: Some(key("k1", State::Next, true)),
            ..ChangedSigningKeys::default()
        };
        assert_eq!(changed(&only_next.into()), "k1 is next: signs on\n");
    }

    #[test]
    fn json_has_every_field_of_every_key() {
        let value = serde_json::to_value(View::from(unreadable())).expect("it is JSON");
        let fields = value.as_object().expect("it is an object");
        assert_eq!(
            (fields.len(), &fields["state"], &fields["algorithm"]),
            (14, &"unreadable".into(), &serde_json::Value::Null)
        );
    }
}
