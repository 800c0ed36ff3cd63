//! Types over bytes: records of one kind under one prefix, each with the version of its schema.

use std::{marker::PhantomData, sync::Arc};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{Entry, Error, Expected, Revision, Store, Watch, Write, plan};

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<T> {
    /// Its key without the prefix of its kind.
    pub name: String,
    /// What it says.
    pub value: T,
    /// The transaction that wrote it last.
    pub revision: Revision,
}

/// All records of a kind, as they were at one moment.
#[derive(Clone, Debug)]
pub struct RecordListing<T> {
    /// Ordered by name. Those that cannot be read are errors, for the caller to decide about.
    pub records: Vec<Result<Record<T>, RecordError>>,
    /// A watch goes on from here.
    pub revision: Revision,
}

/// Why there is no record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The store said so.
    #[error(transparent)]
    Store(#[from] Error),
    /// It was written with another schema.
    #[error(
        "{key} at revision {revision} has schema {found}, and schema {known} is known here; if it was written by a newer \
         altsd, start that one"
    )]
    SchemaUnknown {
        /// Its key in the store.
        key: String,
        /// Where it was found.
        revision: Revision,
        /// The schema it has.
        found: u64,
        /// The only one that can be read.
        known: u64,
    },
    /// It is no record of this kind.
    #[error("{key} at revision {revision} cannot be read: {problem}")]
    Unreadable {
        /// Its key in the store.
        key: String,
        /// Where it was found.
        revision: Revision,
        /// What is wrong, and where.
        problem: String,
    },
}

impl RecordError {
    /// The stable code of the failure.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Store(error) => error.reason(),
            Self::SchemaUnknown { .. } => "record_schema_unknown",
            Self::Unreadable { .. } => "record_unreadable",
        }
    }
}

/// A kind of records: where they are, and how they are written. Turns entries, also those that a watch tells, into
/// records and back, without a store.
#[derive(Debug)]
pub struct Kind<T> {
    prefix: &'static str,
    schema: u64,
    value: PhantomData<fn(T) -> T>,
}

impl<T> Clone for Kind<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Kind<T> {}

/// How a record is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<T> {
    schema: u64,
    value: T,
}

/// What every version of an envelope has.
#[derive(Deserialize)]
struct Head {
    schema: u64,
}

impl<T: Serialize + DeserializeOwned> Kind<T> {
    /// Records under a prefix that ends with `/`, of a schema.
    ///
    /// # Panics
    ///
    /// If the prefix ends with anything else: a kind is a constant, and `list/` would hold `list2/`'s otherwise.
    #[must_use]
    pub const fn new(prefix: &'static str, schema: u64) -> Self {
        assert!(matches!(prefix.as_bytes(), [.., b'/']), "the prefix of a kind ends with /");
        Self { prefix, schema, value: PhantomData }
    }

    /// What the keys of its records begin with.
    #[must_use]
    pub const fn prefix(&self) -> &'static str {
        self.prefix
    }

    /// The name of the record under a key; none if the key is of another kind.
    #[must_use]
    pub fn name<'a>(&self, key: &'a str) -> Option<&'a str> {
        key.strip_prefix(self.prefix).filter(|name| !name.is_empty())
    }

    /// The key of a record.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the name is empty or too long.
    pub fn key(&self, name: &str) -> Result<String, Error> {
        if name.is_empty() {
            return Err(Error::Invalid(format!("the name of a record under {} is empty", self.prefix)));
        }
        let key = format!("{}{name}", self.prefix);
        plan::check_key(&key)?;
        Ok(key)
    }

    /// Reads a record.
    ///
    /// # Errors
    ///
    /// [`RecordError::SchemaUnknown`] and [`RecordError::Unreadable`].
    pub fn decode(&self, entry: &Entry) -> Result<Record<T>, RecordError> {
        let unreadable = |problem: String| RecordError::Unreadable {
            key: entry.key.clone(),
            revision: entry.revision,
            problem,
        };
        let name =
            self.name(&entry.key).ok_or_else(|| unreadable(format!("it is not under {}", self.prefix)))?;
        let head: Head =
            serde_json::from_slice(&entry.value).map_err(|error| unreadable(error.to_string()))?;
        if head.schema != self.schema {
            let (key, revision) = (entry.key.clone(), entry.revision);
            return Err(RecordError::SchemaUnknown { key, revision, found: head.schema, known: self.schema });
        }
        let envelope: Envelope<T> =
            serde_json::from_slice(&entry.value).map_err(|error| unreadable(error.to_string()))?;
        Ok(Record { name: name.to_owned(), value: envelope.value, revision: entry.revision })
    }

    /// The write that puts a record, for a transaction.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the name cannot be a key or the value cannot be written as JSON.
    pub fn put(&self, name: &str, value: &T, expected: Expected) -> Result<Write, Error> {
        let key = self.key(name)?;
        let json = serde_json::to_vec(&Envelope { schema: self.schema, value });
        let json = json.map_err(|error| Error::Invalid(format!("{key} cannot be written: {error}")))?;
        Ok(Write::put(key, json, expected))
    }

    /// The write that deletes a record, for a transaction.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the name cannot be a key.
    pub fn delete(&self, name: &str, expected: Expected) -> Result<Write, Error> {
        Ok(Write::delete(self.key(name)?, expected))
    }
}

/// The records of one kind in a store.
pub struct Records<T> {
    store: Arc<dyn Store>,
    kind: Kind<T>,
}

impl<T> Clone for Records<T> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), kind: self.kind }
    }
}

impl<T: Serialize + DeserializeOwned> Records<T> {
    /// Of a kind, in a store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, kind: Kind<T>) -> Self {
        Self { store, kind }
    }

    /// One record.
    ///
    /// # Errors
    ///
    /// Those of [`Kind::decode`], and those of [`Store::get`].
    pub async fn get(&self, name: &str) -> Result<Option<Record<T>>, RecordError> {
        let entry = self.store.get(&self.kind.key(name)?).await?;
        entry.map(|entry| self.kind.decode(&entry)).transpose()
    }

    /// All records, also those that cannot be read.
    ///
    /// # Errors
    ///
    /// Those of [`Store::list`].
    pub async fn list(&self) -> Result<RecordListing<T>, Error> {
        let listing = self.store.list(self.kind.prefix).await?;
        let records = listing.entries.iter().map(|entry| self.kind.decode(entry)).collect();
        Ok(RecordListing { records, revision: listing.revision })
    }

    /// Puts a record: [`Expected::Absent`] creates it, [`Expected::At`] updates the one that was read.
    ///
    /// # Errors
    ///
    /// Those of [`Kind::put`] and [`Store::transact`].
    pub async fn put(&self, name: &str, value: &T, expected: Expected) -> Result<Revision, Error> {
        self.store.transact(vec![self.kind.put(name, value, expected)?]).await
    }

    /// Deletes a record, whatever it says: also one that cannot be read.
    ///
    /// # Errors
    ///
    /// Those of [`Store::delete`].
    pub async fn delete(&self, name: &str, expected: Expected) -> Result<Revision, Error> {
        self.store.transact(vec![self.kind.delete(name, expected)?]).await
    }

    /// The changes of records after a revision. [`Kind::decode`] and [`Kind::name`] read them.
    ///
    /// # Errors
    ///
    /// Those of [`Store::watch`].
    pub async fn watch(&self, after: Revision) -> Result<Watch, Error> {
        self.store.watch(self.kind.prefix, after).await
    }
}
