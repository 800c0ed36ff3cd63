//! What the store has under one key: read, written, and what is said where it is not as a request would have it.

use alts_store::{Entry as StoreEntry, Error as StoreError, Expected, Revision, Store};
use tonic::{Code, Status};

use crate::{
    admin::{
        decisions::Decided,
        managed::Managed,
        refusal::{conflict, refuse},
    },
    policy::{Entry, Name, Resource},
};

/// A resource of the store.
pub(in crate::admin) struct Held<T: Resource> {
    pub(in crate::admin) entry: Entry<T>,
    pub(in crate::admin) revision: Revision,
}

/// Neither the store nor a file has this list.
pub(in crate::admin) fn list_unknown(list: &Name) -> Status {
    let text = format!("there is no list {list}; create it first, or remove it from the rule");
    refuse(Code::FailedPrecondition, "list_unknown", &text)
}

/// The revision that a request has seen; `None` if it says none.
pub(in crate::admin) fn revision(seen: i64) -> Result<Option<Revision>, Status> {
    match u64::try_from(seen) {
        Ok(0) => Ok(None),
        Ok(seen) => Ok(Some(Revision(seen))),
        Err(_) => {
            let text = format!("revision is {seen}; give the one that was seen, or 0 for whatever is there");
            Err(refuse(Code::InvalidArgument, "revision_invalid", &text))
        }
    }
}

/// A revision as messages have it: stores count to far less than 2^63.
pub(in crate::admin) fn number(revision: Revision) -> i64 {
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}

/// What the store has under a key.
pub(super) async fn held<T: Managed>(store: &dyn Store, key: &T::Key) -> Result<Option<Held<T>>, StoreError> {
    let entry = store.get(&T::stored_under(key).to_text()).await?;
    Ok(entry.map(|entry| read::<T>(key, &entry)))
}

/// Puts a resource where `expected` holds.
pub(super) async fn write<T: Managed>(
    store: &dyn Store,
    key: &T::Key,
    value: &T,
    expected: Expected,
) -> Result<Revision, StoreError> {
    store.transact(vec![T::KIND.put(&key.to_string(), &value.to_record(), expected)?]).await
}

/// What an entry says. Of another name than its key it cannot be read.
pub(super) fn read<T: Managed>(key: &T::Key, entry: &StoreEntry) -> Held<T> {
    let value = T::KIND.decode(entry).ok().and_then(|record| T::from_record(record.value).ok());
    Held { entry: Entry::under(key, value), revision: entry.revision }
}

/// What this node decides by, when the store does not answer.
pub(super) fn remembered<T: Managed>(decided: &Decided, key: &T::Key) -> Option<Held<T>> {
    let entry = T::of(&decided.stored).get(key)?.clone();
    Some(Held { entry, revision: Revision(0) })
}

pub(super) fn unknown<T: Managed>(key: &T::Key) -> Status {
    let text = format!("there is no {} {key}; `altsd policy list` shows what there is", T::WORD);
    refuse(Code::NotFound, T::UNKNOWN, &text)
}

pub(super) fn unreadable<T: Managed>(key: &T::Key) -> Status {
    let text = format!("the record of {} {key} cannot be read; replace or delete it", T::WORD);
    refuse(Code::FailedPrecondition, "record_unreadable", &text)
}

pub(super) fn changed_since<T: Managed>(key: &T::Key, found: Option<Revision>) -> Status {
    let now =
        found.map_or("it is not in the store any more".to_owned(), |at| format!("it has revision {at}"));
    conflict(&format!("{} {key} has changed: {now}", T::WORD))
}
