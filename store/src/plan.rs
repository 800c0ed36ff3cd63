//! What a transaction may be, and what it would change. Decides only; the engines do it.

use std::collections::HashSet;

use crate::{
    Change, Entry, Error, Expected, MAX_KEY, MAX_LIFETIME, MAX_TRANSACTION, MAX_VALUE, MAX_WRITES, Revision,
    Write,
};

/// What is there under a key that shall be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// The transaction that wrote it.
    pub(crate) revision: Revision,
    /// Its key and its value, in bytes.
    pub(crate) bytes: u64,
}

/// One change that a transaction makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    /// What watchers are told.
    pub(crate) change: Change,
    /// How long it shall be there, in seconds.
    pub(crate) lifetime: Option<u64>,
}

/// All that a transaction changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The revision afterwards.
    pub(crate) revision: Revision,
    /// How many bytes of keys and values there are afterwards.
    pub(crate) bytes: u64,
    /// None: the transaction changes nothing.
    pub(crate) changes: Vec<Planned>,
}

impl Plan {
    /// What watchers are told.
    pub(crate) fn told(&self) -> Vec<Change> {
        self.changes.iter().map(|planned| planned.change.clone()).collect()
    }
}

/// How far a store is, and how much it may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    /// The last transaction.
    pub(crate) revision: Revision,
    /// Bytes of keys and values.
    pub(crate) bytes: u64,
    /// The most of them.
    pub(crate) limit: u64,
}

/// What `writes`, which were checked, change where `held` is there, one for each write.
///
/// # Errors
///
/// [`Error::Conflict`], and [`Error::Full`] if it would hold more than it may and more than it does: a store that is too
/// full can always be made smaller.
pub(crate) fn decide(writes: Vec<Write>, held: &[Option<Held>], now: Standing) -> Result<Plan, Error> {
    for (write, held) in writes.iter().zip(held) {
        let found = held.map(|held| held.revision);
        let holds = match write.expected {
            Expected::Anything => true,
            Expected::Absent => found.is_none(),
            Expected::At(revision) => found == Some(revision),
        };
        if !holds {
            return Err(Error::Conflict { key: write.key.clone(), found });
        }
    }
    let revision = Revision(now.revision.0 + 1);
    let mut bytes = now.bytes;
    let mut changes = Vec::with_capacity(writes.len());
    for (Write { key, value, lifetime, .. }, held) in writes.into_iter().zip(held) {
        bytes -= held.map_or(0, |held| held.bytes);
        let change = match value {
            Some(value) => {
                bytes += size(&key, &value);
                Change::Put(Entry { key, value, revision })
            }
            None if held.is_some() => Change::Deleted { key, revision },
            None => continue,
        };
        changes.push(Planned { change, lifetime: lifetime.map(|lifetime| lifetime.as_secs()) });
    }
    if bytes > now.limit && bytes > now.bytes {
        return Err(Error::Full { bytes, limit: now.limit });
    }
    let revision = if changes.is_empty() { now.revision } else { revision };
    Ok(Plan { revision, bytes, changes })
}

/// What a key and its value count against the limit.
pub(crate) fn size(key: &str, value: &[u8]) -> u64 {
    (key.len() + value.len()) as u64
}

/// Whether a transaction is within the bounds that all engines have.
pub(crate) fn check(writes: &[Write]) -> Result<(), Error> {
    if writes.is_empty() || writes.len() > MAX_WRITES {
        return Err(invalid(format!("a transaction has 1 to {MAX_WRITES} writes, not {}", writes.len())));
    }
    let mut keys = HashSet::with_capacity(writes.len());
    let mut bytes = 0;
    for write in writes {
        check_key(&write.key)?;
        if !keys.insert(&write.key) {
            return Err(invalid(format!("{} is written twice in one transaction", write.key)));
        }
        let value = write.value.as_ref().map_or(0, |value| value.len());
        if value > MAX_VALUE {
            return Err(invalid(format!(
                "the value of {} has {value} bytes, at most {MAX_VALUE} are kept",
                write.key
            )));
        }
        bytes += write.key.len() + value;
        check_lifetime(write)?;
    }
    if bytes > MAX_TRANSACTION {
        return Err(invalid(format!("a transaction has at most {MAX_TRANSACTION} bytes, not {bytes}")));
    }
    Ok(())
}

/// Whether this can be a key.
pub(crate) fn check_key(key: &str) -> Result<(), Error> {
    if key.is_empty() {
        return Err(invalid("a key is empty"));
    }
    check_prefix(key)
}

/// Whether keys can begin so.
pub(crate) fn check_prefix(prefix: &str) -> Result<(), Error> {
    if prefix.len() > MAX_KEY {
        return Err(invalid(format!("a key has {} bytes, at most {MAX_KEY} are kept", prefix.len())));
    }
    Ok(())
}

fn check_lifetime(write: &Write) -> Result<(), Error> {
    let Some(lifetime) = write.lifetime else { return Ok(()) };
    if write.value.is_none() {
        return Err(invalid(format!("{} is deleted and shall have a lifetime", write.key)));
    }
    if lifetime.subsec_nanos() != 0 || !(1..=MAX_LIFETIME).contains(&lifetime.as_secs()) {
        return Err(invalid(format!(
            "the lifetime of {} is {lifetime:?}, but must be 1 to {MAX_LIFETIME} whole seconds",
            write.key
        )));
    }
    Ok(())
}

fn invalid(text: impl Into<String>) -> Error {
    Error::Invalid(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Standing = Standing { revision: Revision(7), bytes: 10, limit: 12 };

    fn held(bytes: u64) -> Option<Held> {
        Some(Held { revision: Revision(3), bytes })
    }

    #[test]
    fn a_full_store_takes_what_makes_it_smaller_and_nothing_else() {
        let full = Standing { bytes: 20, ..NOW };
        let table = [
            (NOW, Write::put("a", "1", Expected::Anything), None, Ok(12)),
            (NOW, Write::put("a", "12", Expected::Anything), None, Err(13)),
            (NOW, Write::put("a", "12", Expected::Anything), held(2), Ok(11)),
            (full, Write::put("a", "1", Expected::Anything), held(2), Ok(20)),
            (full, Write::put("a", "", Expected::Anything), held(2), Ok(19)),
            (full, Write::put("a", "12", Expected::Anything), held(2), Err(21)),
            (full, Write::delete("a", Expected::Anything), held(2), Ok(18)),
            (full, Write::delete("a", Expected::Anything), None, Ok(20)),
        ];
        for (now, write, held, expected) in table {
            let what = format!("{now:?} {write:?} {held:?}");
            let got = decide(vec![write], &[held], now).map(|plan| plan.bytes);
            assert_eq!(got, expected.map_err(|bytes| Error::Full { bytes, limit: 12 }), "{what}");
        }
    }

    #[test]
    fn what_changes_nothing_has_no_revision_of_its_own() {
        let plan =
            decide(vec![Write::delete("a", Expected::Anything)], &[None], NOW).expect("nothing was expected");
        assert_eq!((plan.revision, plan.changes), (Revision(7), vec![]));
    }
}
