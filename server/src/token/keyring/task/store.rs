//! The store, as far as the keys need it. It is never waited for without an end.

use std::time::Duration;

use alts_store::{Entry, Error as StoreError, Expected, Revision, Write};
use tokio::time::timeout;

use super::{Problem, Task};
use crate::token::keyring::record::{KeyRecord, SIGNING_KEY};

/// How long the store may take for one answer.
const STORE_PATIENCE: Duration = Duration::from_secs(5);

impl Task {
    pub(super) async fn list(&mut self) -> Result<(), StoreError> {
        let Some(store) = self.store.clone() else { return Ok(()) };
        let listing = self.ask(store.list(SIGNING_KEY.prefix())).await?;
        let named = |entry: Entry| Some((SIGNING_KEY.name(&entry.key)?.to_owned(), entry));
        self.fleet.merge(&listing.entries.into_iter().filter_map(named).collect());
        self.has_told = true;
        Ok(())
    }

    /// Writes a record over the one that is known. `false`: there was another, which is known now.
    pub(super) async fn put(&mut self, kid: &str, record: KeyRecord) -> Result<bool, Problem> {
        let write = SIGNING_KEY.put(kid, &record, self.fleet.expected(kid))?;
        match self.transact(kid, write).await? {
            Some(revision) => self.fleet.put(record, revision),
            None => return Ok(false),
        }
        Ok(true)
    }

    /// Deletes the record that is known. `false`: there was another, which is known now.
    pub(super) async fn delete(&mut self, kid: &str) -> Result<bool, Problem> {
        let expected = match self.fleet.expected(kid) {
            Expected::Absent => return Ok(true),
            expected => expected,
        };
        let write = SIGNING_KEY.delete(kid, expected)?;
        Ok(self.transact(kid, write).await?.is_some())
    }

    /// `None`: somebody else was first, and what they wrote is known now.
    async fn transact(&mut self, kid: &str, write: Write) -> Result<Option<Revision>, Problem> {
        let Some(store) = self.store.clone() else { return Ok(None) };
        let key = write.key.clone();
        match self.ask(store.transact(vec![write])).await {
            Ok(revision) => Ok(Some(revision)),
            Err(StoreError::Conflict { .. }) => {
                match self.ask(store.get(&key)).await? {
                    Some(entry) => self.fleet.take(kid, &entry),
                    None => self.fleet.is_missing(kid),
                }
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for the store, but not for ever, and in each turn only until it has failed once.
    async fn ask<T>(&mut self, call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        if let Some(error) = &self.away {
            return Err(error.clone());
        }
        let silent = |_| StoreError::Unavailable(format!("no answer within {} s", STORE_PATIENCE.as_secs()));
        let answer = timeout(STORE_PATIENCE, call).await.map_err(silent).flatten();
        if let Err(error) = &answer
            && !matches!(error, StoreError::Conflict { .. })
        {
            self.away = Some(error.clone());
        }
        answer
    }
}
