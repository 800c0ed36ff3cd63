//! The keyring as a whole: a real store, real files, and a clock that is moved.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use alts_handshake::SystemRandom;
use alts_request_auth::{Expected as Wanted, KeySet, Token};
use alts_store::{Expected, Listing, MemoryStore, Past, Revision, Watch, Write};
use pki_types::UnixTime;
use serde_json::json;
use tempfile::TempDir;

use super::{
    record::{KeyRecord, SIGNING_KEY},
    *,
};
use crate::token::keys::State;

mod damage;
mod fleet;
mod operators;
mod rotations;
mod way;

const NOW: u64 = 1_767_225_600;

/// A clock that is moved, and one that can be set beside it.
pub(super) struct Moved {
    passed: AtomicU64,
    set: AtomicI64,
    began: Instant,
}

impl Moved {
    pub(super) fn new() -> Arc<Self> {
        #[expect(clippy::disallowed_methods, reason = "it is only what others are counted from")]
        let began = Instant::now();
        Arc::new(Self { passed: AtomicU64::new(0), set: AtomicI64::new(0), began })
    }

    pub(super) fn pass(&self, seconds: u64) {
        self.passed.fetch_add(seconds, Ordering::SeqCst);
    }

    /// Sets the time of day, so many seconds from where it is.
    fn set(&self, by: i64) {
        self.set.fetch_add(by, Ordering::SeqCst);
    }

    pub(super) fn seconds(&self) -> u64 {
        let passed = NOW + self.passed.load(Ordering::SeqCst);
        passed.saturating_add_signed(self.set.load(Ordering::SeqCst))
    }
}

impl Clock for Moved {
    fn now(&self) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(self.seconds()))
    }

    fn monotonic(&self) -> Instant {
        self.began + Duration::from_secs(self.passed.load(Ordering::SeqCst))
    }
}

/// A store that can be away.
struct Away {
    store: MemoryStore,
    is_away: AtomicBool,
}

impl Away {
    fn new() -> Arc<Self> {
        Arc::new(Self { store: MemoryStore::default(), is_away: AtomicBool::new(false) })
    }

    fn go(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::SeqCst);
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.is_away.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("it is away".to_owned()));
        }
        Ok(())
    }

    async fn records(&self) -> BTreeMap<String, KeyRecord> {
        let listing = self.store.list("token-keys/").await.expect("it is there");
        let read = |entry: &Entry| SIGNING_KEY.decode(entry).ok().map(|record| (record.name, record.value));
        listing.entries.iter().filter_map(read).collect()
    }

    /// As if it was begun anew.
    async fn empty(&self) {
        for entry in self.store.list("").await.expect("it is there").entries {
            self.store.delete(&entry.key, Expected::Anything).await.expect("it can be deleted");
        }
    }
}

#[async_trait::async_trait]
impl Store for Away {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.check()?;
        self.store.get(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        self.check()?;
        self.store.list(prefix).await
    }

    async fn transact(&self, writes: Vec<Write>) -> Result<Revision, StoreError> {
        self.check()?;
        self.store.transact(writes).await
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, StoreError> {
        self.check()?;
        self.store.watch(prefix, after).await
    }

    async fn watch_on(&self, prefix: &str, after: Revision, past: Past) -> Result<Watch, StoreError> {
        self.check()?;
        self.store.watch_on(prefix, after, past).await
    }
}

struct Unobserved;

impl Observe for Unobserved {}

/// A node: its directory outlives its process.
struct Node {
    directory: TempDir,
    clock: Arc<Moved>,
    store: Option<Arc<Away>>,
    settings: KeySettings,
    feed: watch::Sender<Arc<BTreeMap<String, Entry>>>,
    keyring: Option<Arc<Keyring>>,
}

impl Node {
    fn settings(name: &str) -> (TempDir, KeySettings) {
        let directory = tempfile::tempdir().expect("there is room");
        let settings = KeySettings {
            algorithm: Algorithm::Es256,
            state_directory: Some(directory.path().join("state")),
            private_key: None,
            rotate: 86_400,
            publish_ahead: 1_800,
            verifier_cache: 1_200,
            max_lifetime: 900,
            sign_at_once: false,
            node: name.to_owned(),
        };
        (directory, settings)
    }

    fn stopped(name: &str, clock: &Arc<Moved>, store: Option<&Arc<Away>>) -> Self {
        let (directory, settings) = Self::settings(name);
        let (feed, _) = watch::channel(Arc::default());
        Self { directory, clock: clock.clone(), store: store.cloned(), settings, feed, keyring: None }
    }

    async fn new(name: &str, clock: &Arc<Moved>, store: Option<&Arc<Away>>) -> Self {
        let mut node = Self::stopped(name, clock, store);
        node.start().await.expect("it starts");
        node
    }

    async fn start(&mut self) -> Result<(), Error> {
        self.keyring = None;
        let store = self.store.clone().map(|store| -> Arc<dyn Store> { store });
        let parts = Parts {
            settings: self.settings.clone(),
            feed: store.as_ref().map(|_| self.feed.subscribe()),
            store,
            clock: self.clock.clone(),
            random: Arc::new(SystemRandom::new()),
            observer: Arc::new(Unobserved),
        };
        let (keyring, _) = Keyring::start(parts)?;
        keyring.turn().await;
        self.keyring = Some(keyring);
        Ok(())
    }

    fn keyring(&self) -> &Keyring {
        self.keyring.as_ref().expect("it runs")
    }

    async fn turn(&self) {
        self.keyring().turn().await;
    }

    /// Time passes, and the node looks at the end.
    async fn pass(&self, seconds: u64) {
        self.clock.pass(seconds);
        self.turn().await;
    }

    /// The node hears what the store says now.
    async fn hear(&self) {
        let store = self.store.as_ref().expect("it has one");
        let listing = store.store.list("token-keys/").await.expect("it is there");
        let named = |entry: Entry| Some((SIGNING_KEY.name(&entry.key)?.to_owned(), entry));
        self.feed.send_replace(Arc::new(listing.entries.into_iter().filter_map(named).collect()));
        self.turn().await;
    }

    /// A token of ten minutes, or why there is none.
    fn token(&self) -> Result<String, NoKey> {
        let now = self.clock.seconds();
        let claims =
            json!({"iss": "https://i.example", "sub": "a", "aud": "b", "exp": now + 900, "iat": now});
        self.keyring().sign("JWT", claims.to_string().as_bytes())
    }

    fn signing(&self) -> String {
        kid_of(&self.token().expect("it signs"))
    }

    fn published(&self) -> Vec<String> {
        kids(&self.keyring().published().document)
    }

    /// The states of the keys of this node, each with the first letters of its `kid`.
    fn own(&self, state: State) -> Vec<String> {
        let status = self.keyring().status();
        let own = status.keys.iter().filter(|key| key.own && key.state == state);
        own.map(|key| key.kid.clone()).collect()
    }

    fn failure(&self) -> Option<&'static str> {
        self.keyring().status().failure.as_ref().map(|failure| failure.code)
    }

    fn keys_directory(&self) -> PathBuf {
        self.directory.path().join("state/token-keys")
    }

    fn file(&self, kid: &str) -> PathBuf {
        self.keys_directory().join(format!("{kid}.json"))
    }
}

fn kid_of(token: &str) -> String {
    Token::parse(token).expect("it is one").header().kid().expect("it has one").to_owned()
}

fn kids(document: &[u8]) -> Vec<String> {
    let set: serde_json::Value = serde_json::from_slice(document).expect("it is JSON");
    let keys = set["keys"].as_array().expect("it has keys");
    keys.iter().map(|key| key["kid"].as_str().expect("each has one").to_owned()).collect()
}

/// What a verifier says of a token.
fn verdict(token: &str, keys: &KeySet, now: u64) -> Result<(), alts_request_auth::Error> {
    let audiences = ["b".to_owned()];
    let wanted = Wanted { issuer: Some("https://i.example"), audiences: &audiences, must_expire: true };
    Token::parse(token).expect("it is one").check(&wanted, keys, now)
}
