//! What is written for each entry, and what all entries add up to.

use bytes::Bytes;

use crate::{Entry, Revision, plan};

/// The only format so far. It stands first in all that is written.
pub(super) const FORMAT: u8 = 1;

/// Format, revision, lifetime, checksum.
const HEAD: usize = 1 + 8 + 8 + 4;

/// Format, four numbers, checksum.
pub(super) const TOTALS_LEN: usize = 1 + 4 * 8 + 4;

/// An entry as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) entry: Entry,
    /// In seconds, at least 1.
    pub(super) lifetime: Option<u64>,
}

impl Kept {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD + self.entry.value.len());
        bytes.push(FORMAT);
        bytes.extend(self.entry.revision.0.to_be_bytes());
        bytes.extend(self.lifetime.unwrap_or(0).to_be_bytes());
        bytes.extend(self.checksum().to_be_bytes());
        bytes.extend(&self.entry.value);
        bytes
    }

    /// Fails with what is wrong.
    pub(super) fn decode(key: &str, bytes: &[u8]) -> Result<Self, String> {
        let problem = || format!("the entry {key:?} is damaged");
        check_format(bytes, &format!("the entry {key:?}"))?;
        let revision = Revision(number(bytes, 1).ok_or_else(problem)?);
        let lifetime = number(bytes, 9).ok_or_else(problem)?;
        let checksum = bytes.get(17..HEAD).ok_or_else(problem)?;
        let entry = Entry { key: key.to_owned(), value: Bytes::copy_from_slice(&bytes[HEAD..]), revision };
        let kept = Self { entry, lifetime: (lifetime > 0).then_some(lifetime) };
        if kept.checksum().to_be_bytes() != checksum {
            return Err(problem());
        }
        Ok(kept)
    }

    /// Of all that it is, the key too: an entry in another's place is damaged.
    fn checksum(&self) -> u32 {
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&[FORMAT]);
        checksum.update(&self.entry.revision.0.to_be_bytes());
        checksum.update(&self.lifetime.unwrap_or(0).to_be_bytes());
        checksum.update(&(self.entry.key.len() as u64).to_be_bytes());
        checksum.update(self.entry.key.as_bytes());
        checksum.update(&self.entry.value);
        checksum.finalize()
    }
}

/// What all entries add up to after a transaction. A database that lost one, or went back to an older state of one,
/// adds up to something else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// The last transaction.
    pub(super) revision: Revision,
    /// How many entries there are.
    pub(super) count: u64,
    /// Bytes of keys and values.
    pub(super) bytes: u64,
    /// The sum of a number for each entry, whatever their order.
    sum: u64,
}

impl Totals {
    /// Nothing, after so many transactions.
    pub(super) fn none_at(revision: Revision) -> Self {
        Self { revision, ..Self::default() }
    }

    pub(super) fn add(&mut self, kept: &Kept) {
        self.count += 1;
        self.bytes += plan::size(&kept.entry.key, &kept.entry.value);
        self.sum = self.sum.wrapping_add(mixed(kept));
    }

    /// Takes out what was added.
    pub(super) fn remove(&mut self, kept: &Kept) {
        self.count -= 1;
        self.bytes -= plan::size(&kept.entry.key, &kept.entry.value);
        self.sum = self.sum.wrapping_sub(mixed(kept));
    }

    pub(super) fn encode(&self) -> [u8; TOTALS_LEN] {
        let mut bytes = [0; TOTALS_LEN];
        bytes[0] = FORMAT;
        let numbers = [self.revision.0, self.count, self.bytes, self.sum];
        for (place, number) in bytes[1..].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_be_bytes());
        }
        let checksum = crc32fast::hash(&bytes[..TOTALS_LEN - 4]);
        bytes[TOTALS_LEN - 4..].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    /// Fails with what is wrong.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let problem = || "the record of what it holds is damaged".to_owned();
        let checksum = bytes.get(TOTALS_LEN - 4..).ok_or_else(problem)?;
        if crc32fast::hash(&bytes[..TOTALS_LEN - 4]).to_be_bytes() != checksum {
            return Err(problem());
        }
        // After the checksum: a newer format has its checksum at the same place, or is damaged to us.
        check_format(bytes, "the record of what it holds")?;
        let number = |at| number(bytes, at).ok_or_else(problem);
        Ok(Self { revision: Revision(number(1)?), count: number(9)?, bytes: number(17)?, sum: number(25)? })
    }
}

fn check_format(bytes: &[u8], what: &str) -> Result<(), String> {
    match bytes.first() {
        Some(&FORMAT) => Ok(()),
        Some(other) => Err(format!("{what} is of format {other}, and format {FORMAT} is known here")),
        None => Err(format!("{what} is empty")),
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes)
}

/// Checksums are not far apart for entries that are much alike; this spreads them, so that a sum tells.
fn mixed(kept: &Kept) -> u64 {
    let mut number = u64::from(kept.checksum()) << 32 ^ kept.entry.revision.0;
    for (shift, factor) in [(30, 0xbf58_476d_1ce4_e5b9), (27, 0x94d0_49bb_1331_11eb)] {
        number = (number ^ (number >> shift)).wrapping_mul(factor);
    }
    number ^ (number >> 31)
}
