//! The keys of one issuer, as they are now: got by one task, in time, and kept while its server is away.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use alts_request_auth::KeySet;
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use serde::Deserialize;
use tokio::{
    sync::{Notify, watch},
    task::{JoinHandle, spawn_blocking},
    time::{sleep, timeout},
};
use url::Url;

use super::fetch::{self, Document, FetchProblem};
use crate::{clock::Clock, identity::files};

/// How long a set is good for whose server does not say, and the least and most that it may say.
const FRESH: Duration = Duration::from_secs(300);
const LEAST_FRESH: Duration = Duration::from_secs(60);
const MOST_FRESH: Duration = Duration::from_secs(3_600);

/// How often a file is read.
const FILE_FRESH: Duration = Duration::from_secs(60);

/// How long the last good set counts while no newer one can be had.
const MOST_KEPT: Duration = Duration::from_secs(86_400);

/// The pauses after failures: the first, and the longest, each of which is up to twice as long by chance.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How often a `kid` that no key has makes the set be got again.
const KID_PAUSE: Duration = Duration::from_secs(30);

/// How long all that it takes to get a set may take, and how long a request waits for one.
const PATIENCE: Duration = fetch::PATIENCE;

/// Where the keys of an issuer come from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// This set, for good.
    Inline(KeySet),
    /// A file, which is read again as it changes.
    File(PathBuf),
    /// A set at an address.
    Uri(Url),
    /// The issuer at this address says where the set is (OpenID Connect Discovery 1.0).
    Discovery { issuer: String, at: Url },
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeysProblem {
    #[error(transparent)]
    Fetch(#[from] FetchProblem),
    #[error("{0}")]
    File(String),
    #[error("{url}: {problem}")]
    Set { url: String, problem: String },
    #[error("{url} has secrets in it, which whoever verifies could sign with")]
    Symmetric { url: String },
    #[error("{url} is no description of an issuer: {problem}")]
    Discovery { url: String, problem: String },
    #[error("{url} is of another issuer than {expected}")]
    Issuer { url: String, expected: String },
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Silent,
}

/// The keys of one issuer. The task that gets them ends with this.
pub(super) struct Keys {
    shared: Arc<Shared>,
    getting: Option<JoinHandle<()>>,
}

struct Shared {
    issuer: String,
    source: Source,
    /// What vouches for its server; the system's roots, if nothing.
    roots: Option<PathBuf>,
    clock: Arc<dyn Clock>,
    known: watch::Sender<Known>,
    wanted: Notify,
}

/// What is known of the keys.
#[derive(Clone, Default)]
struct Known {
    set: Option<Arc<KeySet>>,
    /// When it was got; of one that is for good never.
    at: Option<Instant>,
    /// How often it was tried.
    attempts: u64,
    /// Whether it is being tried for somebody.
    is_awaited: bool,
    /// When it was last tried for a `kid` that no key has.
    tried_for_kid: Option<Instant>,
}

impl Keys {
    /// Of an issuer. Keys that have to be fetched are fetched from now on, and nothing is waited for.
    pub(super) fn start(
        issuer: String,
        source: Source,
        roots: Option<PathBuf>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let inline = match &source {
            Source::Inline(set) => Some(Arc::new(set.clone())),
            _ => None,
        };
        let is_fixed = inline.is_some();
        let known = watch::Sender::new(Known { set: inline, ..Known::default() });
        let shared = Arc::new(Shared { issuer, source, roots, clock, known, wanted: Notify::new() });
        let getting = (!is_fixed).then(|| tokio::spawn(shared.clone().run()));
        Self { shared, getting }
    }

    /// The keys for a token with this `kid`. Nothing if there are none: then nobody can say whose the token is.
    pub(super) async fn for_kid(&self, kid: Option<&str>) -> Option<Arc<KeySet>> {
        let set = match self.shared.set() {
            Some(set) => set,
            None => {
                // The first is being got; after a failure it is tried when it is time, for nobody in particular.
                self.shared.wait_until(|known| known.attempts > 0 && !known.is_awaited).await;
                self.shared.set()?
            }
        };
        match kid {
            Some(kid) if !set.contains(kid) && self.getting.is_some() => {
                self.shared.try_for_kid().await;
                self.shared.set()
            }
            _ => Some(set),
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        if let Some(getting) = &self.getting {
            getting.abort();
        }
    }
}

impl Shared {
    /// The last good set, unless it is too old.
    fn set(&self) -> Option<Arc<KeySet>> {
        let known = self.known.borrow();
        let is_kept = known.at.is_none_or(|at| self.clock.since(at) < MOST_KEPT);
        known.set.clone().filter(|_| is_kept)
    }

    /// Has the set got again, if that has not been for long, and waits for it. Who comes meanwhile waits as well.
    async fn try_for_kid(&self) {
        let mut is_awaited = false;
        self.known.send_if_modified(|known| {
            let may = known.tried_for_kid.is_none_or(|at| self.clock.since(at) >= KID_PAUSE);
            if may && !known.is_awaited {
                known.tried_for_kid = Some(self.clock.monotonic());
                known.is_awaited = true;
                self.wanted.notify_one();
            }
            is_awaited = known.is_awaited;
            false
        });
        if is_awaited {
            self.wait_until(|known| !known.is_awaited).await;
        }
    }

    async fn wait_until(&self, is_so: impl FnMut(&Known) -> bool) {
        // What came of it is looked at by who waits, also if it took too long.
        let _ = timeout(PATIENCE, self.known.subscribe().wait_for(is_so)).await;
    }

    /// Gets the keys again and again.
    async fn run(self: Arc<Self>) {
        let mut pauses = pauses();
        loop {
            let got = timeout(PATIENCE, self.get()).await.unwrap_or(Err(KeysProblem::Silent));
            let pause = match got {
                Ok((set, fresh)) => {
                    pauses = self::pauses();
                    self.note(Some(set));
                    fresh
                }
                Err(problem) => {
                    tracing::warn!(
                        reason = "issuer_keys_unavailable",
                        issuer = self.issuer,
                        "the keys of an issuer cannot be had, and the last are kept for a day: {problem}"
                    );
                    self.note(None);
                    pauses.next().unwrap_or(LONGEST_PAUSE)
                }
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = self.wanted.notified() => {}
            }
        }
    }

    fn note(&self, set: Option<KeySet>) {
        self.known.send_modify(|known| {
            if let Some(set) = set {
                known.set = Some(Arc::new(set));
                known.at = Some(self.clock.monotonic());
            }
            known.attempts += 1;
            known.is_awaited = false;
        });
    }

    /// Gets the keys once, and for how long they are good.
    async fn get(&self) -> Result<(KeySet, Duration), KeysProblem> {
        match &self.source {
            Source::Inline(set) => Ok((set.clone(), MOST_FRESH)),
            Source::File(path) => {
                let path = path.clone();
                let read = spawn_blocking(move || read(&path)).await;
                let set = read.unwrap_or_else(|problem| Err(KeysProblem::File(problem.to_string())))?;
                Ok((set, FILE_FRESH))
            }
            Source::Uri(url) => self.fetch(url).await,
            Source::Discovery { issuer, at } => {
                let Document { body, .. } = fetch::get(at, self.roots.as_deref()).await?;
                self.fetch(&described(at, issuer, &body)?).await
            }
        }
    }

    async fn fetch(&self, url: &Url) -> Result<(KeySet, Duration), KeysProblem> {
        let Document { body, max_age } = fetch::get(url, self.roots.as_deref()).await?;
        let set = KeySet::parse(&body).map_err(|problem| KeysProblem::Set {
            url: url.to_string(),
            problem: fetch::shortened(&problem.to_string()),
        })?;
        if set.has_symmetric() {
            return Err(KeysProblem::Symmetric { url: url.to_string() });
        }
        Ok((set, fresh(max_age)))
    }
}

/// Reads a file of keys. Blocks.
pub(super) fn read(path: &std::path::Path) -> Result<KeySet, KeysProblem> {
    let content = files::content(path, fetch::MAX_DOCUMENT as u64);
    let content = content.map_err(|problem| KeysProblem::File(problem.to_string()))?;
    KeySet::parse(&content).map_err(|problem| KeysProblem::File(format!("{}: {problem}", path.display())))
}

/// What an issuer says of itself, as far as it is of use.
#[derive(Deserialize)]
struct Description {
    issuer: String,
    jwks_uri: String,
}

/// Where the keys are, by the description at `at`.
fn described(at: &Url, issuer: &str, body: &[u8]) -> Result<Url, KeysProblem> {
    let wrong =
        |problem: String| KeysProblem::Discovery { url: at.to_string(), problem: fetch::shortened(&problem) };
    let description: Description =
        serde_json::from_slice(body).map_err(|problem| wrong(problem.to_string()))?;
    if description.issuer != issuer {
        return Err(KeysProblem::Issuer { url: at.to_string(), expected: issuer.to_owned() });
    }
    let url = fetch::parse(&description.jwks_uri)?;
    // Who describes an issuer of elsewhere has no business with the servers of this machine.
    if url.scheme() != at.scheme() {
        return Err(wrong("its jwks_uri is not https, as it is itself".to_owned()));
    }
    Ok(url)
}

/// For how long a set is good: what its server says, within bounds.
fn fresh(max_age: Option<Duration>) -> Duration {
    max_age.unwrap_or(FRESH).clamp(LEAST_FRESH, MOST_FRESH)
}

fn pauses() -> ExponentialBackoff {
    let pauses = ExponentialBuilder::new().with_min_delay(FIRST_PAUSE).with_max_delay(LONGEST_PAUSE);
    pauses.without_max_times().with_jitter().build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_description_that_is_none_the_log_has_a_line_and_not_the_whole() {
        let at = fetch::parse("https://idp.example/.well-known/openid-configuration").expect("it is one");
        let long = "x".repeat(fetch::MAX_DOCUMENT / 2);
        for body in [format!("\"{long}\""), format!("{{\"issuer\": \"i\", \"jwks_uri\": \"{long}\"}}")] {
            let problem = described(&at, "i", body.as_bytes()).expect_err("it is none").to_string();
            assert!(problem.len() < 500, "{} bytes", problem.len());
        }
    }
}
