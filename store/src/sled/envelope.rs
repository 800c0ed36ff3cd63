//! What is written for each entry, and what all entries add up to.

use crate::{Entry, MAX_VALUE, Revision, plan};

/// The only format so far. It stands first in all that is written.
pub(super) const FORMAT: u8 = 1;

/// Format, revision, place, lifetime, length, checksum.
const HEAD: usize = 1 + 8 + 1 + 8 + 4 + 4;

/// Most bytes of a value in one row. The library keeps 16 rows in a page, and a page of more than 128 KiB in a file of
/// its own, which it writes anew with every change and does not remove for a long time.
const PIECE: usize = 4_096;

/// What the names of rows with pieces of values begin with.
const PIECES: u8 = b'p';

/// Format, five numbers, checksum.
pub(super) const TOTALS_LEN: usize = 1 + 5 * 8 + 4;

/// An entry as it is kept: one row, and if its value is large, a row for each piece of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) entry: Entry,
    /// Which change of its transaction it was. With the revision it names the pieces.
    pub(super) place: u8,
    /// In seconds, at least 1.
    pub(super) lifetime: Option<u64>,
}

impl Kept {
    /// Its row.
    pub(super) fn encode(&self) -> Vec<u8> {
        let value = &self.entry.value;
        let mut bytes = self.head().to_vec();
        bytes.extend(self.checksum().to_be_bytes());
        if value.len() <= PIECE {
            bytes.extend(value);
        }
        bytes
    }

    /// The rows of its pieces: names and contents. None if the value is not large.
    pub(super) fn pieces(&self) -> impl Iterator<Item = (Vec<u8>, &[u8])> {
        let value: &[u8] = if self.entry.value.len() > PIECE { &self.entry.value } else { &[] };
        let name = |number| piece_name(self.entry.revision, self.place, number);
        value.chunks(PIECE).zip(0..).map(move |(piece, number)| (name(number), piece))
    }

    /// Reads a row, and the pieces of its value with `read`. Fails with what is wrong.
    pub(super) fn decode<P: AsRef<[u8]>>(
        key: &str,
        bytes: &[u8],
        mut read: impl FnMut(&[u8]) -> Result<Option<P>, String>,
    ) -> Result<Self, String> {
        let problem = || format!("the entry {key:?} is damaged");
        check_format(bytes, &format!("the entry {key:?}"))?;
        let revision = Revision(number(bytes, 1).ok_or_else(problem)?);
        let place = *bytes.get(9).ok_or_else(problem)?;
        let lifetime = number(bytes, 10).ok_or_else(problem)?;
        let length = bytes.get(18..22).and_then(|length| length.try_into().ok()).map(u32::from_be_bytes);
        let length =
            length.and_then(|length| usize::try_from(length).ok()).filter(|length| *length <= MAX_VALUE);
        let length = length.ok_or_else(problem)?;
        let checksum = bytes.get(22..HEAD).ok_or_else(problem)?;
        let mut value = bytes[HEAD..].to_vec();
        if length > PIECE {
            for number in 0..length.div_ceil(PIECE) as u64 {
                let piece = read(&piece_name(revision, place, number))?;
                value.extend(piece.ok_or_else(|| format!("a piece of the entry {key:?} is lost"))?.as_ref());
            }
        }
        let entry = Entry { key: key.to_owned(), value: value.into(), revision };
        let kept = Self { entry, place, lifetime: (lifetime > 0).then_some(lifetime) };
        if kept.entry.value.len() != length || kept.checksum().to_be_bytes() != checksum {
            return Err(problem());
        }
        Ok(kept)
    }

    fn head(&self) -> [u8; HEAD - 4] {
        let mut head = [FORMAT; HEAD - 4];
        head[1..9].copy_from_slice(&self.entry.revision.0.to_be_bytes());
        head[9] = self.place;
        head[10..18].copy_from_slice(&self.lifetime.unwrap_or(0).to_be_bytes());
        // Values have at most a MiB.
        head[18..].copy_from_slice(&(self.entry.value.len() as u32).to_be_bytes());
        head
    }

    /// Of all that it is, the key too: an entry in another's place is damaged.
    fn checksum(&self) -> u32 {
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&self.head());
        checksum.update(self.entry.key.as_bytes());
        checksum.update(&self.entry.value);
        checksum.finalize()
    }
}

fn piece_name(revision: Revision, place: u8, number: u64) -> Vec<u8> {
    [&[PIECES], &revision.0.to_be_bytes()[..], &[place], &number.to_be_bytes()].concat()
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
    /// How many pieces of large values there are.
    pub(super) pieces: u64,
    /// The sum of a number for each entry, whatever their order.
    sum: u64,
}

impl Totals {
    /// The same after so many transactions.
    pub(super) fn at(&self, revision: Revision) -> Self {
        Self { revision, ..self.clone() }
    }

    pub(super) fn add(&mut self, kept: &Kept) {
        self.count += 1;
        self.bytes += plan::size(&kept.entry.key, &kept.entry.value);
        self.pieces += kept.pieces().count() as u64;
        self.sum = self.sum.wrapping_add(mixed(kept));
    }

    /// Takes out what was added.
    pub(super) fn remove(&mut self, kept: &Kept) {
        self.count -= 1;
        self.bytes -= plan::size(&kept.entry.key, &kept.entry.value);
        self.pieces -= kept.pieces().count() as u64;
        self.sum = self.sum.wrapping_sub(mixed(kept));
    }

    pub(super) fn encode(&self) -> [u8; TOTALS_LEN] {
        let mut bytes = [0; TOTALS_LEN];
        bytes[0] = FORMAT;
        let numbers = [self.revision.0, self.count, self.bytes, self.pieces, self.sum];
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
        Ok(Self {
            revision: Revision(number(1)?),
            count: number(9)?,
            bytes: number(17)?,
            pieces: number(25)?,
            sum: number(33)?,
        })
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn kept(key: &str, size: usize) -> Kept {
        let value = (0..size).map(|at| (at % 251) as u8).collect::<Vec<_>>().into();
        let entry = Entry { key: key.to_owned(), value, revision: Revision(7) };
        Kept { entry, place: 3, lifetime: (size % 2 == 1).then_some(60) }
    }

    fn decode(key: &str, row: &[u8], rows: &HashMap<Vec<u8>, Vec<u8>>) -> Result<Kept, String> {
        Kept::decode(key, row, |name| Ok(rows.get(name)))
    }

    fn pieces(kept: &Kept) -> HashMap<Vec<u8>, Vec<u8>> {
        kept.pieces().map(|(name, piece)| (name, piece.to_vec())).collect()
    }

    #[test]
    fn a_value_of_any_size_is_read_as_it_was_written() {
        for (size, count) in [(0, 0), (1, 0), (PIECE, 0), (PIECE + 1, 2), (2 * PIECE, 2), (MAX_VALUE, 256)] {
            let kept = kept("a", size);
            let pieces = pieces(&kept);
            assert_eq!(pieces.len(), count, "{size}");
            assert!(pieces.values().all(|piece| piece.len() <= PIECE) && kept.encode().len() <= HEAD + PIECE);
            assert_eq!(decode("a", &kept.encode(), &pieces).as_ref(), Ok(&kept), "{size}");
        }
    }

    #[test]
    fn a_row_that_is_not_as_it_was_written_is_refused() {
        for size in [0, 5, PIECE + 1] {
            let kept = kept("a", size);
            let (row, rows) = (kept.encode(), pieces(&kept));
            for at in 0..row.len() {
                decode("a", &row[..at], &rows).expect_err("it is cut short");
                for bit in 0..8 {
                    let mut row = row.clone();
                    row[at] ^= 1 << bit;
                    decode("a", &row, &rows).expect_err("a bit is flipped");
                }
            }
            decode("b", &row, &rows).expect_err("it is in another's place");
            decode("a", &[&row[..], b"x"].concat(), &rows).expect_err("there is more");
        }
    }

    #[test]
    fn a_value_with_a_piece_that_is_not_as_it_was_written_is_refused() {
        let kept = kept("a", 3 * PIECE);
        let (row, rows) = (kept.encode(), pieces(&kept));
        for (name, piece) in &rows {
            let with = |piece: Option<Vec<u8>>| {
                let mut rows = rows.clone();
                rows.remove(name);
                rows.extend(piece.map(|piece| (name.clone(), piece)));
                decode("a", &row, &rows)
            };
            assert_eq!(with(None), Err("a piece of the entry \"a\" is lost".to_owned()));
            for other in [vec![], piece[1..].to_vec(), [&piece[..], b"x"].concat(), vec![0; PIECE]] {
                with(Some(other)).expect_err("it is another piece");
            }
        }
    }

    #[test]
    fn a_newer_format_is_named() {
        let mut row = kept("a", 5).encode();
        row[0] = 2;
        let error = decode("a", &row, &HashMap::new());
        assert_eq!(error, Err("the entry \"a\" is of format 2, and format 1 is known here".to_owned()));
        let mut totals = Totals::default().encode();
        totals[0] = 2;
        let end = TOTALS_LEN - 4;
        let checksum = crc32fast::hash(&totals[..end]).to_be_bytes();
        totals[end..].copy_from_slice(&checksum);
        let error = Totals::decode(&totals);
        assert_eq!(
            error,
            Err("the record of what it holds is of format 2, and format 1 is known here".to_owned())
        );
    }

    #[test]
    fn totals_tell_an_older_state_of_an_entry_from_a_newer_one() {
        let (old, new) = (kept("a", 5), kept("b", 5));
        let mut newer = old.clone();
        newer.entry.revision = Revision(8);
        let sum = |entries: &[&Kept]| {
            let mut totals = Totals::default();
            entries.iter().for_each(|kept| totals.add(kept));
            totals
        };
        assert_eq!(sum(&[&old, &new]), sum(&[&new, &old]));
        assert_ne!(sum(&[&old, &new]), sum(&[&newer, &new]));
        assert_ne!(sum(&[&old, &old]), sum(&[&old, &new]));
        let mut totals = sum(&[&old, &new]);
        totals.remove(&new);
        assert_eq!((Totals::decode(&totals.encode()), sum(&[&old])), (Ok(totals.clone()), totals));
    }
}
