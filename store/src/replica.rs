//! A part of another store, kept up to date and kept at hand for when that store is away.
//!
//! [`follow`] tells what a source holds under a prefix, and each change of it. What it heard it keeps in a copy, in a
//! store of this node: if the source is away at the start, the copy is told instead, with its age.

use std::{mem, pin::pin, sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use futures_util::StreamExt;
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use crate::{Batch, Change, Entry, Error, Listing, Past, Revision, Store};

mod copier;
mod copy;
#[cfg(test)]
mod tests;

use copier::{Copier, Job};
use copy::{Copy, Kept};

/// How long the source may take at the start before the copy is told.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long a listing or the beginning of a watch may take before it is tried again.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The pause after the first failure; the next are longer, and each is up to twice as long by chance.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause, twice which is the longest by chance: so much later than the source we may be back.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How old the age that the copy says may be wrong, in seconds.
const AGE_GRAIN: u64 = 10;

/// Updates that wait for the receiver. After that the source waits too.
const UPDATES: usize = 64;

/// What is followed, and where it is kept.
pub struct ReplicaSettings {
    /// The store to follow.
    pub source: Arc<dyn Store>,
    /// Which store and prefix that is: whatever tells it from others, its endpoints say. A copy that was made under
    /// another identity is not believed.
    pub identity: String,
    /// What the keys to follow begin with.
    pub prefix: String,
    /// Where to keep a copy.
    pub copy: Option<CopySettings>,
    /// Seconds since 1970.
    pub now: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Any number, another on each node: it moves the pauses, so that a fleet does not come back at once.
    pub seed: u64,
}

/// Where a copy is kept.
pub struct CopySettings {
    /// The store of this node.
    pub store: Arc<dyn Store>,
    /// What the keys of the copy begin with. Nothing else may be kept there. It and the keys of the source together
    /// must leave 17 bytes of the longest key, and a value 8 bytes of the largest: what is beyond cannot be copied.
    pub at: String,
}

/// What a replica tells, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// Everything there is. What was told before is to be forgotten.
    All {
        /// Ordered by key.
        entries: Vec<Entry>,
        /// The last transaction of the source that they hold.
        revision: Revision,
    },
    /// What has changed since.
    Changes {
        /// In the order of their revisions; a transaction is never split. Never none.
        changes: Vec<Change>,
        /// Everything up to here has been told.
        revision: Revision,
    },
    /// The source does not go on from what it said before: it was begun anew, set back to a backup, or is another one. What
    /// was decided there may be lost. Comes before everything that it holds now.
    SetBack {
        /// How far it was known.
        known: Revision,
        /// How far it is.
        found: Revision,
    },
    /// Whether the source is there, whenever that changes. The first comes before what the copy holds, and after what the
    /// source holds.
    Contact(Contact),
    /// What keeps the copy from being as new as what was told, or nothing if it is again; whenever that changes.
    Copy(Option<String>),
}

/// Whether a source is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contact {
    /// What was told is what the source holds.
    Live,
    /// It may hold something else by now.
    Lost {
        /// When it was last heard of, in seconds since 1970, also before a restart; then perhaps 10 s too early. Nothing
        /// if never.
        since: Option<u64>,
        /// Why, in words for operators.
        problem: String,
    },
}

/// Follows a part of a store until the receiver is dropped. Must be called in a tokio runtime.
pub fn follow(settings: ReplicaSettings) -> mpsc::Receiver<Update> {
    let (updates, receiver) = mpsc::channel(UPDATES);
    let follower = Follower::new(settings, updates.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = updates.closed() => {}
            () = follower.run() => {}
        }
    });
    receiver
}

struct Follower {
    source: Arc<dyn Store>,
    prefix: String,
    now: Arc<dyn Fn() -> u64 + Send + Sync>,
    updates: mpsc::Sender<Update>,
    copy: Option<Copy>,
    copier: Option<Copier>,
    seed: u64,
    pauses: ExponentialBackoff,
    /// Everything up to here was told, by the source itself.
    at: Option<(Revision, Past)>,
    /// How far the source was ever known, also by the copy.
    known: Option<(Revision, Past)>,
    /// Whether the source has said that it is not what was known.
    replaced: bool,
    /// When the source was last heard of.
    heard: Option<u64>,
    /// When the copy was last told that.
    noted: u64,
    /// What the receiver was last told.
    contact: Option<Contact>,
    /// Whether contact may break once without being lost.
    grace: bool,
}

impl Follower {
    fn new(settings: ReplicaSettings, updates: mpsc::Sender<Update>) -> Self {
        let ReplicaSettings { source, identity, prefix, copy, now, seed } = settings;
        Self {
            source,
            prefix,
            now,
            updates,
            copy: copy.map(|copy| Copy::new(copy, identity)),
            copier: None,
            seed,
            pauses: pauses(seed),
            at: None,
            known: None,
            replaced: false,
            heard: None,
            noted: 0,
            contact: None,
            grace: false,
        }
    }

    async fn run(mut self) {
        let mut kept = self.open().await;
        loop {
            let problem = self.listen(&mut kept).await;
            self.replaced |= matches!(problem, Error::Replaced { .. });
            if matches!(problem, Error::Compacted { .. } | Error::Replaced { .. }) {
                self.at = None;
            } else if matches!(problem, Error::Corrupt(_)) {
                // A watch from where we are would come upon the same again, also when it has long been removed.
                self.at = None;
                self.lose(problem.to_string(), &mut kept).await;
            } else if self.grace {
                // When a source changes its leader, contact breaks and is there again at once.
                self.grace = false;
            } else {
                self.lose(problem.to_string(), &mut kept).await;
            }
            sleep(self.pauses.next().unwrap_or(LONGEST_PAUSE)).await;
        }
    }

    /// Reads the copy and begins to keep it.
    async fn open(&mut self) -> Option<Kept> {
        let mut copy = self.copy.take()?;
        let (kept, problem) = match copy.open().await {
            Ok(kept) => (kept, None),
            Err(problem) => (None, Some(format!("the copy cannot be read: {problem}"))),
        };
        if problem.is_some() {
            self.tell(Update::Copy(problem.clone())).await;
        }
        self.heard = kept.as_ref().map(|kept| kept.heard);
        self.known = kept.as_ref().map(|kept| (kept.revision, kept.past));
        self.copier = Some(Copier::start(copier::Parts {
            copy,
            source: self.source.clone(),
            prefix: self.prefix.clone(),
            now: self.now.clone(),
            updates: self.updates.clone(),
            seed: self.seed,
            problem,
        }));
        kept
    }

    /// Tells what the source tells until it ends, and why.
    async fn listen(&mut self, kept: &mut Option<Kept>) -> Error {
        let at = match self.at {
            Some(at) => at,
            None => match self.list(kept).await {
                Ok(at) => at,
                Err(problem) => return problem,
            },
        };
        let (at, past) = at;
        let watch = self.source.watch_on(&self.prefix, at, past);
        let mut watch = match timeout(LONGEST_WAIT, watch).await {
            Ok(Ok(watch)) => watch,
            Ok(Err(problem)) => return problem,
            Err(_) => return silent(LONGEST_WAIT),
        };
        self.find().await;
        let mut begun = false;
        loop {
            match watch.next().await {
                Some(Ok(batch)) => {
                    // That it begins is no proof: one that always breaks then would never count as lost.
                    if mem::replace(&mut begun, true) || !batch.changes.is_empty() {
                        self.pauses = pauses(self.seed);
                        self.grace = true;
                    }
                    self.hear(batch).await;
                }
                Some(Err(problem)) => return problem,
                None => return Error::Unavailable("a watch has ended".to_owned()),
            }
        }
    }

    /// Tells everything that the source holds, and what the copy holds if that takes too long.
    async fn list(&mut self, kept: &mut Option<Kept>) -> Result<(Revision, Past), Error> {
        let (source, prefix) = (self.source.clone(), self.prefix.clone());
        let mut listing = pin!(source.list(&prefix));
        let answer = match timeout(PATIENCE, &mut listing).await {
            Ok(answer) => answer,
            Err(_) => {
                self.lose(silent(PATIENCE).to_string(), kept).await;
                timeout(LONGEST_WAIT, listing).await.unwrap_or_else(|_| Err(silent(LONGEST_WAIT)))
            }
        };
        let Listing { entries, revision, past } = answer?;
        // From here on the copy is of no use to anybody who listens.
        *kept = None;
        if let Some((known, before)) = self.known
            && (self.replaced || revision < known || is_another(before, past))
        {
            self.tell(Update::SetBack { known, found: revision }).await;
        }
        self.replaced = false;
        self.at = Some((revision, past));
        self.known = self.at;
        let job = Job::All { entries: entries.clone(), revision, past, heard: self.note() };
        self.tell(Update::All { entries, revision }).await;
        self.give(job);
        self.find().await;
        Ok((revision, past))
    }

    /// Takes what a watch tells.
    async fn hear(&mut self, Batch { changes, revision, past }: Batch) {
        if self.at.is_none_or(|(at, _)| at <= revision) {
            self.at = Some((revision, past));
            self.known = self.at;
        }
        let noted = self.noted;
        if !changes.is_empty() {
            let job = Job::Changes { changes: changes.clone(), revision, past, heard: self.note() };
            self.tell(Update::Changes { changes, revision }).await;
            self.give(job);
            return;
        }
        let now = (self.now)();
        self.heard = Some(now);
        if now.abs_diff(noted) >= AGE_GRAIN {
            let heard = self.note();
            self.give(Job::Heard(heard));
        }
    }

    /// The source was heard of now, and the copy is about to learn that.
    fn note(&mut self) -> u64 {
        self.noted = (self.now)();
        self.heard = Some(self.noted);
        self.noted
    }

    /// The source is there.
    async fn find(&mut self) {
        self.heard = Some((self.now)());
        self.turn(Contact::Live).await;
    }

    /// The source is not there. What the copy holds is told, if nothing has been told yet.
    async fn lose(&mut self, problem: String, kept: &mut Option<Kept>) {
        self.turn(Contact::Lost { since: self.heard, problem }).await;
        if let Some(Kept { entries, revision, .. }) = kept.take() {
            self.tell(Update::All { entries, revision }).await;
        }
    }

    async fn turn(&mut self, contact: Contact) {
        if self.contact.as_ref() != Some(&contact) {
            self.contact = Some(contact.clone());
            self.tell(Update::Contact(contact)).await;
        }
    }

    fn give(&self, job: Job) {
        if let Some(copier) = &self.copier {
            copier.give(job);
        }
    }

    /// Waits for the receiver. When it is dropped, all of this ends.
    async fn tell(&self, update: Update) {
        let _ = self.updates.send(update).await;
    }
}

/// Whether two stores are certainly not the same. A copy of an older form does not say which it is of.
fn is_another(before: Past, now: Past) -> bool {
    before.store != 0 && before.store != now.store
}

fn pauses(seed: u64) -> ExponentialBackoff {
    let pauses = ExponentialBuilder::new().with_min_delay(FIRST_PAUSE).with_max_delay(LONGEST_PAUSE);
    pauses.without_max_times().with_jitter().with_jitter_seed(seed).build()
}

fn silent(waited: Duration) -> Error {
    Error::Unavailable(format!("no answer within {waited:?}"))
}
