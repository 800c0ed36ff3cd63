//! The changes under a prefix, and a proof every other second that etcd is still there.

use std::time::Duration;

use etcd_client::{
    Client, Error as Etcd, Event, EventType, GetOptions, GetResponse, WatchOptions, WatchResponse,
    WatchStream,
};
use futures_util::stream;
use tokio::time::timeout;

use super::{
    cluster, entry,
    error::{Meaning, meaning, told},
    header, key, last_write,
    list::end_of,
    members::{Answer, Members, Repeat},
    revision, written,
};
use crate::{Batch, Change, Error, Past, Revision, Watch};

/// How long a watch may be quiet before etcd is asked whether it is there.
const QUIET: Duration = Duration::from_millis(1_500);

/// How many times it is asked in vain before it counts as gone: after 4.5 s.
const QUESTIONS: u32 = 3;

/// Most bytes told at once. etcd tells up to 1,000 transactions at once to a watch that is behind; if they are more
/// than this, a listing is the better way to catch up.
const MAX_BYTES: usize = 32 << 20;

/// What etcd calls an answer to our question. In 3.4 up to .24 and 3.5 up to .7 it may overtake changes, so its revision
/// says nothing about what has been told.
const TO_ALL: i64 = -1;

/// Begins a watch of what is under `ours`, and tells of it what begins with `prefix`. `known` is what etcd has to have
/// been at that revision, if it is not all 0.
pub(super) async fn watch(
    members: &Members,
    ours: &str,
    prefix: &str,
    after: Revision,
    known: Past,
) -> Result<Watch, Error> {
    // etcd counts to i64::MAX, so nothing comes after what is beyond.
    let from = i64::try_from(after.0).unwrap_or(i64::MAX).max(1);
    // It begins with the revision that is already known, as etcd may have dropped a deletion from the oldest one that
    // it still accepts. What is told twice is left out below. The prefix is watched whole, for its last write.
    let options = WatchOptions::new()
        .with_range(end_of(ours.as_bytes()))
        .with_start_revision(from)
        .with_progress_notify();
    let begin = |client: Client| begin(client, ours.to_owned(), from, options.clone());
    let Begun { now, then, stream } = members.ask(Repeat::Safe, begin).await?;
    let (found, store) = header(now.header())?;
    if found < after || known != Past::default() && known.store != store {
        // Of a revision to come, etcd would wait for it and leave out all before.
        return Err(Error::Replaced { known: after, found });
    }
    let past = match then {
        Some(write) => Past { store, write },
        // The watch is about to say the same.
        None => Past { store, write: known.write },
    };
    if known != Past::default() && known != past {
        return Err(Error::Replaced { known: after, found });
    }
    let watching = Watching {
        stream,
        ours: ours.to_owned(),
        prefix: prefix.to_owned(),
        told: after,
        past,
        questions: 0,
    };
    let batches = stream::unfold(Some(watching), |watching| async {
        let mut watching = watching?;
        let batch = watching.next().await;
        let going_on = batch.is_ok().then_some(watching);
        Some((batch, going_on))
    });
    Ok(Box::pin(batches))
}

/// A watch that has begun, and how etcd was then.
struct Begun {
    now: GetResponse,
    /// The last write up to the revision where the watch begins; nothing if etcd has forgotten that revision.
    then: Option<u64>,
    stream: WatchStream,
}

impl Answer for Begun {
    fn cluster(&self) -> Option<u64> {
        cluster(self.now.header())
    }
}

/// Asks a member where it is, which also proves that it takes us for who we are and has a leader, then begins.
async fn begin(client: Client, ours: String, from: i64, options: WatchOptions) -> Result<Begun, Etcd> {
    let mut asking = client.kv_client();
    let now = asking.get(last_write(&ours), None).await?;
    let is_there = now.header().is_some_and(|header| header.revision() >= from);
    let then = match now.kvs().first() {
        Some(last) if last.mod_revision() > from && is_there => {
            let then = GetOptions::new().with_revision(from);
            match asking.get(last_write(&ours), Some(then)).await {
                Ok(then) => Some(then.kvs().first().map_or(0, written)),
                Err(problem) if meaning(&problem) == Meaning::Compacted => None,
                Err(problem) => return Err(problem),
            }
        }
        last => Some(last.map_or(0, written)),
    };
    let mut client = client.watch_client().max_decoding_message_size(MAX_BYTES);
    Ok(Begun { now, then, stream: client.watch(ours, Some(options)).await? })
}

struct Watching {
    stream: WatchStream,
    ours: String,
    /// What is told begins with this.
    prefix: String,
    told: Revision,
    /// Of what was told.
    past: Past,
    /// Asked and not answered.
    questions: u32,
}

impl Watching {
    async fn next(&mut self) -> Result<Batch, Error> {
        loop {
            let heard = timeout(QUIET, self.stream.message()).await;
            let response = match heard {
                Err(_) if self.questions == QUESTIONS => {
                    return Err(Error::Unavailable("etcd has gone quiet under a watch".to_owned()));
                }
                Err(_) => {
                    self.questions += 1;
                    self.ask().await?;
                    continue;
                }
                Ok(Ok(Some(response))) => response,
                Ok(Ok(None)) => return Err(Error::Unavailable("etcd has ended a watch".to_owned())),
                Ok(Err(problem)) => return Err(self.failure(&problem)),
            };
            self.questions = 0;
            return self.read(&response);
        }
    }

    async fn ask(&mut self) -> Result<(), Error> {
        // The queue of questions is longer than we ever make it, so this does not wait.
        let asked = self.stream.request_progress().await;
        asked.map_err(|_| Error::Unavailable("etcd has ended a watch".to_owned()))
    }

    fn failure(&self, problem: &Etcd) -> Error {
        match meaning(problem) {
            Meaning::TooLarge | Meaning::Compacted => Error::Compacted { oldest: self.told },
            _ => told(problem, "the other end of a watch"),
        }
    }

    fn read(&mut self, response: &WatchResponse) -> Result<Batch, Error> {
        if response.compact_revision() > 0 {
            return Err(Error::Compacted { oldest: revision(response.compact_revision()) });
        }
        if response.canceled() {
            return Err(cancelled(response.cancel_reason()));
        }
        let (at, store) = header(response.header())?;
        // The question before the watch may have been answered by another etcd than the one that watches now.
        if store != self.past.store || response.created() && at < self.told {
            return Err(Error::Replaced { known: self.told, found: at });
        }
        let changes = self.changes(response.events())?;
        // Its own progress a watch is told in order.
        if !response.created() && response.events().is_empty() && response.watch_id() != TO_ALL {
            self.told = self.told.max(at);
        }
        Ok(Batch { changes, revision: self.told, past: self.past })
    }

    /// What has not been told yet.
    fn changes(&mut self, events: &[Event]) -> Result<Vec<Change>, Error> {
        let mut changes = Vec::new();
        let mut told = self.told;
        for event in events {
            let found =
                event.kv().ok_or_else(|| Error::Corrupt("etcd tells a change of nothing".to_owned()))?;
            let at = revision(found.mod_revision());
            if at <= self.told {
                continue;
            }
            told = told.max(at);
            if found.key() == last_write(&self.ours) {
                self.past.write = written(found);
            }
            let change = match event.event_type() {
                EventType::Put => entry(found, &self.ours)?.map(Change::Put),
                EventType::Delete => key(found, &self.ours)?.map(|key| Change::Deleted { key, revision: at }),
            };
            changes.extend(change.filter(|change| change.key().starts_with(&self.prefix)));
        }
        self.told = told;
        Ok(changes)
    }
}

/// A watch that etcd ended, with its reason: in 3.4 only text.
fn cancelled(reason: &str) -> Error {
    let refused = reason.contains("PermissionDenied") || reason.contains("permission denied");
    match refused {
        true => Error::Refused(format!("etcd has refused a watch: {reason}")),
        false => Error::Unavailable(format!("etcd has ended a watch: {reason}")),
    }
}
