//! What files and the store have of a kind of resource, and how the store's is changed: by compare and set always, and
//! nothing invalid ever.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use alts_proto::{
    FieldMask,
    altsd::{DeleteResponse, Origin, ResourceState},
};
use alts_store::{Error as StoreError, Expected, Revision, Store};
use tonic::{Code, Status};

use self::held::{Held, changed_since, held, read, remembered, unknown, unreadable, write};
pub(super) use self::held::{list_unknown, number, revision};
use super::{
    access::Operator,
    decisions::{Decided, Decisions},
    managed::{Managed, Stamp, masked},
    page,
    refusal::{by_store, conflict, invalid, refuse, store_missing},
};
use crate::policy::{Entry, Name, PeerList, Resource, Rule};

mod held;

/// How long an answer waits for this node to decide by what was written.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// How often a change is tried while others change the same resource.
const ATTEMPTS: usize = 16;

/// Behind the name in the token of a page that ends with a resource of a file.
const OF_FILE: &str = "#file";

/// Files, the store, and who decides by them.
#[derive(Clone)]
pub(super) struct Shelf {
    store: Option<Arc<dyn Store>>,
    decisions: Arc<dyn Decisions>,
}

/// A resource and whether it counts.
pub(super) struct Row<T: Resource> {
    pub(super) key: T::Key,
    pub(super) entry: Entry<T>,
    /// The revision of the store; `None` of one that a file has.
    pub(super) revision: Option<Revision>,
    pub(super) overridden: bool,
}

/// What an update shall do.
struct Edit<'a> {
    seen: i64,
    by: &'a Operator,
}

impl Shelf {
    pub(super) fn new(store: Option<Arc<dyn Store>>, decisions: Arc<dyn Decisions>) -> Self {
        Self { store, decisions }
    }

    pub(super) fn decisions(&self) -> &dyn Decisions {
        &*self.decisions
    }

    pub(super) fn store(&self) -> Result<&dyn Store, Status> {
        self.store.as_deref().ok_or_else(store_missing)
    }

    /// A page of all resources of a kind.
    pub(super) async fn list<T: Managed>(
        &self,
        page_size: i32,
        page_token: &str,
    ) -> Result<(Vec<T::Message>, String), Status> {
        let size = page::size(page_size)?;
        let after = after::<T>(page_token)?;
        let decided = self.decisions.current();
        let rows = self.rows::<T>(&decided).await?;
        let behind = |row: &Row<T>| after.as_ref().is_none_or(|after| place(row) > (&after.0, after.1));
        let message = |row: &Row<T>| {
            let mut message = self.show(row, &decided);
            T::brief(&mut message);
            message
        };
        let token = |row: &Row<T>| {
            let end = if row.revision.is_none() { OF_FILE } else { "" };
            format!("{}{end}", T::name(&row.key))
        };
        Ok(page::fill(rows.into_iter().filter(behind), size, message, token))
    }

    /// The resource of a name that counts.
    pub(super) async fn get<T: Managed>(&self, name: &str) -> Result<T::Message, Status> {
        let key = T::key_of(name)?;
        let decided = self.decisions.current();
        let held = match &self.store {
            Some(store) => match held::<T>(&**store, &key).await {
                Err(StoreError::Unavailable(_) | StoreError::Refused(_)) => remembered::<T>(&decided, &key),
                held => held.map_err(|error| by_store(&error))?,
            },
            None => None,
        };
        let row = match (held, T::of(&decided.files).get(&key)) {
            (Some(Held { entry, revision }), _) => {
                Row { key, entry, revision: Some(revision), overridden: false }
            }
            (None, Some(entry)) => Row { key, entry: entry.clone(), revision: None, overridden: false },
            (None, None) => return Err(unknown::<T>(&key)),
        };
        Ok(self.show(&row, &decided))
    }

    pub(super) async fn create<T: Managed>(
        &self,
        by: &Operator,
        id: &str,
        message: T::Message,
    ) -> Result<T::Message, Status> {
        let store = self.store()?;
        let key = T::key_of(&format!("{}{id}", T::COLLECTION))?;
        let record = T::requested(message, &key)?;
        let value = T::from_record(record).map_err(|refused| invalid(&refused))?;
        self.know_lists(value.lists()).await?;
        match write(store, &key, &value, Expected::Absent).await {
            Ok(revision) => Ok(self.written(by, "created", &key, value, revision).await),
            Err(StoreError::Conflict { .. }) => {
                let text = format!("the store has a {} {key} already; update it instead", T::WORD);
                Err(refuse(Code::AlreadyExists, "already_exists", &text))
            }
            Err(error) => Err(by_store(&error)),
        }
    }

    pub(super) async fn update<T: Managed>(
        &self,
        by: &Operator,
        message: T::Message,
        mask: Option<FieldMask>,
        allow_missing: bool,
    ) -> Result<T::Message, Status> {
        let (name, seen) = T::seen(&message);
        let (key, fields) = (T::key_of(name)?, masked::<T>(mask)?);
        let record = T::requested(message, &key)?;
        let files = self.decisions.current().files;
        let change = |held: Option<&Held<T>>| {
            let record = match held.map(|held| &held.entry) {
                None if allow_missing => record.clone(),
                None => return Err(self.not_in_store::<T>(&key, T::of(&files).contains_key(&key))),
                Some(Entry::Good(before)) => {
                    let mut after = before.to_record();
                    fields.iter().for_each(|field| T::take(field, &record, &mut after));
                    after
                }
                Some(Entry::Unreadable) if fields.len() == T::FIELDS.len() => record.clone(),
                Some(Entry::Unreadable) => return Err(unreadable::<T>(&key)),
            };
            T::from_record(record).map_err(|refused| invalid(&refused))
        };
        self.edit(&key, Edit { seen, by }, change).await
    }

    /// Changes a resource by what it is now. Where no revision was seen it is done again as often as others are first.
    pub(super) async fn change<T: Managed>(
        &self,
        by: &Operator,
        key: &T::Key,
        change: impl Fn(&T) -> Result<T, Status> + Send + Sync,
    ) -> Result<T::Message, Status> {
        let files = self.decisions.current().files;
        let change = |held: Option<&Held<T>>| match held.map(|held| &held.entry) {
            None => Err(self.not_in_store::<T>(key, T::of(&files).contains_key(key))),
            Some(Entry::Good(before)) => change(before),
            Some(Entry::Unreadable) => Err(unreadable::<T>(key)),
        };
        self.edit(key, Edit { seen: 0, by }, change).await
    }

    async fn edit<T: Managed>(
        &self,
        key: &T::Key,
        Edit { seen, by }: Edit<'_>,
        change: impl Fn(Option<&Held<T>>) -> Result<T, Status> + Send + Sync,
    ) -> Result<T::Message, Status> {
        let seen = revision(seen)?;
        let store = self.store()?;
        for _ in 0..ATTEMPTS {
            let held = held::<T>(store, key).await.map_err(|error| by_store(&error))?;
            let found = held.as_ref().map(|held| held.revision);
            if seen.is_some() && seen != found {
                return Err(changed_since::<T>(key, found));
            }
            let value = change(held.as_ref())?;
            if let Some(Held { entry: Entry::Good(before), revision }) = &held
                && **before == value
            {
                let row = Row {
                    key: key.clone(),
                    entry: Entry::Good(before.clone()),
                    revision: Some(*revision),
                    overridden: false,
                };
                return Ok(self.show(&row, &self.decisions.current()));
            }
            self.know_lists(value.lists()).await?;
            let what = if found.is_some() { "updated" } else { "created" };
            match write(store, key, &value, found.map_or(Expected::Absent, Expected::At)).await {
                Ok(revision) => return Ok(self.written(by, what, key, value, revision).await),
                Err(StoreError::Conflict { .. }) if seen.is_none() => {}
                Err(error) => return Err(by_store(&error)),
            }
        }
        Err(conflict(&format!("others change {} {key} all the time", T::WORD)))
    }

    pub(super) async fn delete<T: Managed>(
        &self,
        by: &Operator,
        name: &str,
        seen: i64,
        allow_missing: bool,
    ) -> Result<DeleteResponse, Status> {
        let (key, seen) = (T::key_of(name)?, revision(seen)?);
        let store = self.store()?;
        let found = store.get(&T::stored_under(&key).to_text()).await.map_err(|error| by_store(&error))?;
        let found = found.map(|entry| entry.revision);
        let Some(at) = found else {
            let decided = self.decisions.current();
            let in_file = T::of(&decided.files).contains_key(&key);
            if seen.is_some() {
                return Err(changed_since::<T>(&key, None));
            }
            if allow_missing && !in_file {
                return Ok(DeleteResponse { revision: number(decided.revision), applied: true });
            }
            return Err(self.not_in_store::<T>(&key, in_file));
        };
        if seen.is_some_and(|seen| seen != at) {
            return Err(changed_since::<T>(&key, found));
        }
        let expected = seen.map_or(Expected::Anything, Expected::At);
        let deleted = store.delete(&T::stored_under(&key).to_text(), expected).await;
        let revision = deleted.map_err(|error| by_store(&error))?;
        by.did("deleted", &T::name(&key), revision);
        let applied = self.decisions.applied(revision, PATIENCE).await;
        Ok(DeleteResponse { revision: number(revision), applied })
    }

    /// Refuses to delete a list that rules name, where no file has one to take its place.
    pub(super) async fn is_free(&self, name: &str) -> Result<(), Status> {
        let list = PeerList::key_of(name)?;
        let decided = self.decisions.current();
        if decided.files.peer_lists.contains_key(&list) {
            return Ok(());
        }
        let rules = self.rows::<Rule>(&decided).await?;
        let counting = rules.iter().filter(|row| !row.overridden);
        let users: Vec<_> = counting
            .filter(|row| matches!(&row.entry, Entry::Good(rule) if rule.peer_lists().contains(&list)))
            .map(|row| row.key.as_str())
            .collect();
        if users.is_empty() {
            return Ok(());
        }
        let text = format!("list {list} is named by: {}; change or delete those first", users.join(", "));
        Err(refuse(Code::FailedPrecondition, "list_in_use", &text))
    }

    /// Refuses lists that neither the store nor a file has.
    async fn know_lists(&self, lists: &[Name]) -> Result<(), Status> {
        let files = self.decisions.current().files;
        for list in lists.iter().filter(|list| !files.peer_lists.contains_key(*list)) {
            let key = PeerList::stored_under(list).to_text();
            if self.store()?.get(&key).await.map_err(|error| by_store(&error))?.is_none() {
                return Err(list_unknown(list));
            }
        }
        Ok(())
    }

    /// All resources of a kind in order; of one name the one that counts comes first. If the store does not answer,
    /// what this node remembers of it.
    pub(super) async fn rows<T: Managed>(&self, decided: &Decided) -> Result<Vec<Row<T>>, Status> {
        let mut stored = BTreeMap::new();
        if let Some(store) = &self.store {
            match store.list(T::KIND.prefix()).await {
                Ok(listing) => stored.extend(listing.entries.iter().filter_map(|entry| {
                    // What is under a key that names nothing is counted as a problem of the policy.
                    let key = T::parse_key(T::KIND.name(&entry.key)?).ok()?;
                    let held = read::<T>(&key, entry);
                    Some((key, held))
                })),
                Err(StoreError::Unavailable(_) | StoreError::Refused(_)) => {
                    stored.extend(T::of(&decided.stored).iter().map(|(key, entry)| {
                        (key.clone(), Held { entry: entry.clone(), revision: Revision(0) })
                    }))
                }
                Err(error) => return Err(by_store(&error)),
            }
        }
        let files = T::of(&decided.files).iter().map(|(key, entry)| Row {
            key: key.clone(),
            entry: entry.clone(),
            revision: None,
            overridden: stored.contains_key(key),
        });
        let mut rows: Vec<_> = files.collect();
        rows.extend(stored.into_iter().map(|(key, Held { entry, revision })| Row {
            key,
            entry,
            revision: Some(revision),
            overridden: false,
        }));
        rows.sort_by(|one, other| place(one).cmp(&place(other)));
        Ok(rows)
    }

    /// The message of a resource, as of now.
    pub(super) fn show<T: Managed>(&self, row: &Row<T>, decided: &Decided) -> T::Message {
        let state = match (&row.entry, row.revision) {
            (Entry::Unreadable, _) => ResourceState::Unreadable,
            _ if row.overridden => ResourceState::Overridden,
            (_, Some(revision)) if revision > decided.revision => ResourceState::Pending,
            _ => ResourceState::Active,
        };
        let mut message = match &row.entry {
            Entry::Good(value) => T::message(value.to_record()),
            Entry::Unreadable => T::Message::default(),
        };
        let file = row.revision.is_none().then(|| self.file_of::<T>(&row.key));
        T::stamp(
            &mut message,
            Stamp {
                name: T::name(&row.key),
                origin: if file.is_some() { Origin::File } else { Origin::Store },
                file: file.unwrap_or_default(),
                state,
                revision: number(row.revision.unwrap_or_default()),
            },
        );
        message
    }

    /// Waits for what was written to be decided by, and shows it.
    async fn written<T: Managed>(
        &self,
        by: &Operator,
        what: &str,
        key: &T::Key,
        value: T,
        revision: Revision,
    ) -> T::Message {
        by.did(what, &T::name(key), revision);
        self.decisions.applied(revision, PATIENCE).await;
        let row = Row {
            key: key.clone(),
            entry: Entry::Good(Arc::new(value)),
            revision: Some(revision),
            overridden: false,
        };
        self.show(&row, &self.decisions.current())
    }

    pub(super) fn file_of<T: Managed>(&self, key: &T::Key) -> String {
        let file = self.decisions.file_of(&T::stored_under(key));
        file.map(|file| file.display().to_string()).unwrap_or_default()
    }

    fn not_in_store<T: Managed>(&self, key: &T::Key, in_file: bool) -> Status {
        if !in_file {
            return unknown::<T>(key);
        }
        let file = self.file_of::<T>(key);
        let text = format!("{} {key} is defined in {file}; change it there", T::WORD);
        refuse(Code::FailedPrecondition, "defined_in_file", &text)
    }
}

fn place<T: Managed>(row: &Row<T>) -> (&T::Key, bool) {
    (&row.key, row.revision.is_none())
}

/// The place behind which a page begins.
fn after<T: Managed>(token: &str) -> Result<Option<(T::Key, bool)>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let (name, of_file) = token.strip_suffix(OF_FILE).map_or((token, false), |name| (name, true));
    let key = T::key_of(name).map_err(|_| page::token_invalid())?;
    Ok(Some((key, of_file)))
}

#[cfg(test)]
mod tests;
