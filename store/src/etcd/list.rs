//! All entries under a prefix, in pages that are bounded and of one revision.

use etcd_client::{Client, GetOptions, GetResponse};

use super::{
    cluster, entry,
    error::{Meaning, meaning},
    header, last_write,
    members::{Answer, Members, Repeat},
    written,
};
use crate::{Error, Listing, Past, Revision};

/// Entries of the first page.
const FIRST_PAGE: i64 = 512;

/// Most entries of a page.
const LARGEST_PAGE: i64 = 8_192;

/// Most bytes of a page that are taken. The largest entry fits many times, so a smaller page helps.
const MAX_PAGE_BYTES: usize = 16 << 20;

/// Bytes that a page shall have.
const PAGE_BYTES: usize = 2 << 20;

/// How often a listing begins again because etcd has forgotten the revision that it was of.
const ATTEMPTS: usize = 5;

enum Page {
    Is(GetResponse),
    TooLarge,
    Compacted,
}

impl Answer for Page {
    fn cluster(&self) -> Option<u64> {
        match self {
            Self::Is(page) => cluster(page.header()),
            Self::TooLarge | Self::Compacted => None,
        }
    }
}

/// Lists `range`, a prefix in etcd's terms, with keys as under `ours`, of at most `most` bytes of keys and values.
pub(super) async fn list(members: &Members, ours: &str, range: &str, most: u64) -> Result<Listing, Error> {
    for _ in 0..ATTEMPTS {
        if let Some(listing) = list_once(members, ours, range, most).await? {
            return Ok(listing);
        }
    }
    Err(Error::Unavailable("etcd forgets its history faster than it can be listed".to_owned()))
}

/// Nothing if etcd has forgotten the revision half way, or was replaced.
async fn list_once(members: &Members, ours: &str, range: &str, most: u64) -> Result<Option<Listing>, Error> {
    let end = end_of(range.as_bytes());
    let mut entries = Vec::new();
    let mut from = range.as_bytes().to_vec();
    let mut of: Option<(Revision, Past)> = None;
    let mut limit = FIRST_PAGE;
    let mut total = 0;
    loop {
        let mut options = GetOptions::new().with_range(end.clone()).with_limit(limit);
        if let Some((Revision(revision), _)) = of {
            // It came from etcd as an i64.
            options = options.with_revision(i64::try_from(revision).unwrap_or(i64::MAX));
        }
        let page = match page(members, &from, options).await? {
            Page::Is(page) => page,
            Page::TooLarge if limit > 1 => {
                limit = (limit / 8).max(1);
                continue;
            }
            Page::TooLarge => {
                return Err(Error::Corrupt("etcd holds an entry larger than any of ours".to_owned()));
            }
            Page::Compacted => return Ok(None),
        };
        let begun = match of {
            Some(begun) => begun,
            None => {
                let (revision, _) = header(page.header())?;
                let Some(past) = past(members, ours, revision).await? else { return Ok(None) };
                (revision, past)
            }
        };
        of = Some(begun);
        let mut bytes = 0;
        for found in page.kvs() {
            bytes += found.key().len() + found.value().len();
            entries.extend(entry(found, ours)?);
        }
        total += bytes as u64;
        if total > most {
            return Err(Error::Full { bytes: total, limit: most });
        }
        let (revision, past) = begun;
        let Some(last) = page.kvs().last().filter(|_| page.more()) else {
            // Pages of two etcds are no listing.
            let is_same = self::past(members, ours, revision).await? == Some(past);
            return Ok(is_same.then_some(Listing { entries, revision, past }));
        };
        from = [last.key(), b"\0"].concat();
        limit = next_limit(page.kvs().len(), bytes);
    }
}

async fn page(members: &Members, from: &[u8], options: GetOptions) -> Result<Page, Error> {
    let get = |client: Client| {
        let (from, options) = (from.to_vec(), options.clone());
        async move {
            let mut client = client.kv_client().max_decoding_message_size(MAX_PAGE_BYTES);
            match client.get(from, Some(options)).await {
                Ok(page) => Ok(Page::Is(page)),
                Err(problem) => match meaning(&problem) {
                    Meaning::TooLarge => Ok(Page::TooLarge),
                    Meaning::Compacted => Ok(Page::Compacted),
                    _ => Err(problem),
                },
            }
        }
    };
    members.ask(Repeat::Safe, get).await
}

/// What etcd was at a revision; nothing if it has forgotten that.
async fn past(members: &Members, ours: &str, Revision(revision): Revision) -> Result<Option<Past>, Error> {
    let options = GetOptions::new().with_revision(i64::try_from(revision).unwrap_or(i64::MAX));
    match page(members, &last_write(ours), options).await? {
        Page::Is(found) => {
            let (_, store) = header(found.header())?;
            Ok(Some(Past { store, write: found.kvs().first().map_or(0, written) }))
        }
        Page::TooLarge | Page::Compacted => Ok(None),
    }
}

/// How many entries the next page shall have, after one with these.
fn next_limit(entries: usize, bytes: usize) -> i64 {
    let limit = PAGE_BYTES * entries / bytes.max(1);
    i64::try_from(limit).unwrap_or(LARGEST_PAGE).clamp(1, LARGEST_PAGE)
}

/// The first key after all that begin with `prefix`, which is not empty and is UTF-8, so has no byte 255.
pub(super) fn end_of(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_ends_where_its_prefix_does() {
        assert_eq!(end_of(b"altsd/"), b"altsd0");
        assert!("ä".as_bytes() < end_of("ä".as_bytes()).as_slice());
    }

    #[test]
    fn pages_are_as_large_as_the_entries_allow() {
        for (entries, bytes, limit) in [
            (512, 512 << 20, 2),
            (1, 1 << 20, 2),
            (1, 5 << 20, 1),
            (512, 51_200, 8_192),
            (512, 512_000, 2_097),
        ] {
            assert_eq!(next_limit(entries, bytes), limit, "{entries} with {bytes}");
        }
    }
}
