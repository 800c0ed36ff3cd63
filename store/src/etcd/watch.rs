//! The changes under a prefix, and a proof every other second that etcd is still there.

use std::time::Duration;

use etcd_client::{
    Client, Error as Etcd, Event, EventType, GetOptions, WatchOptions, WatchResponse, WatchStream,
};
use futures_util::stream;
use tokio::time::timeout;

use super::{
    entry,
    error::{Meaning, meaning, told},
    header_revision, key,
    list::end_of,
    members::{Members, Repeat},
    revision,
};
use crate::{Batch, Change, Error, Revision, Watch};

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

/// Begins a watch of `range`, a prefix in etcd's terms, with keys as under `ours`.
pub(super) async fn watch(
    members: &Members,
    ours: &str,
    range: &str,
    after: Revision,
) -> Result<Watch, Error> {
    // etcd counts to i64::MAX, so nothing comes after what is beyond.
    let from = i64::try_from(after.0).unwrap_or(i64::MAX).max(1);
    // It begins with the revision that is already known, as etcd may have dropped a deletion from the oldest one that
    // it still accepts. What is told twice is left out below.
    let options = WatchOptions::new()
        .with_range(end_of(range.as_bytes()))
        .with_start_revision(from)
        .with_progress_notify();
    let begin = |client: Client| begin(client, range.to_owned(), options.clone());
    let (now, stream) = members.ask(Repeat::Safe, begin).await?;
    if header_revision(now)? < after {
        // etcd would wait for this revision and leave out all before it. It was begun anew, or set back to a backup.
        return Err(Error::Compacted { oldest: header_revision(now)? });
    }
    let watching = Watching { stream, ours: ours.to_owned(), told: after, questions: 0 };
    let batches = stream::unfold(Some(watching), |watching| async {
        let mut watching = watching?;
        let batch = watching.next().await;
        let going_on = batch.is_ok().then_some(watching);
        Some((batch, going_on))
    });
    Ok(Box::pin(batches))
}

/// Asks a member where it is, which also proves that it takes us for who we are and has a leader, then begins.
async fn begin(
    client: Client,
    range: String,
    options: WatchOptions,
) -> Result<(Option<i64>, WatchStream), Etcd> {
    let ask = GetOptions::new().with_keys_only();
    let answer = client.kv_client().get(range.clone(), Some(ask)).await?;
    let now = answer.header().map(etcd_client::ResponseHeader::revision);
    let mut client = client.watch_client().max_decoding_message_size(MAX_BYTES);
    Ok((now, client.watch(range, Some(options)).await?))
}

struct Watching {
    stream: WatchStream,
    ours: String,
    told: Revision,
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
        if response.created() {
            // The question before the watch may have been answered by another etcd than the one that watches now.
            let at = header_revision(response.header().map(etcd_client::ResponseHeader::revision))?;
            if at < self.told {
                return Err(Error::Compacted { oldest: at });
            }
        }
        let mut changes = Vec::new();
        for event in response.events() {
            // What was told by a listing is not even looked at: it may be of a key that is none of ours and gone by now.
            let revision = revision(event.kv().map_or(0, etcd_client::KeyValue::mod_revision));
            if event.kv().is_none() || revision > self.told {
                changes.push(change(event, &self.ours)?);
            }
        }
        match changes.last() {
            Some(last) => self.told = last.revision(),
            // Its own progress a watch is told in order.
            None if !response.created() && response.events().is_empty() && response.watch_id() != TO_ALL => {
                let at = header_revision(response.header().map(etcd_client::ResponseHeader::revision))?;
                self.told = self.told.max(at);
            }
            None => {}
        }
        Ok(Batch { changes, revision: self.told })
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

fn change(event: &Event, ours: &str) -> Result<Change, Error> {
    let found = event.kv().ok_or_else(|| Error::Corrupt("etcd tells a change of nothing".to_owned()))?;
    match event.event_type() {
        EventType::Put => entry(found, ours).map(Change::Put),
        EventType::Delete => {
            Ok(Change::Deleted { key: key(found, ours)?, revision: revision(found.mod_revision()) })
        }
    }
}
