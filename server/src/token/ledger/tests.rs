//! What is revoked and used, over a store, as one node and as two.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use alts_store::{Change, Contact as Told, Listing, MemoryStore, ReplicaSettings, Watch, follow};
use pki_types::UnixTime;

use super::{parts::Ledger as _, *};
use crate::clock::SystemClock;

const NOW: u64 = 1_767_225_600;
const ISS: &str = "https://tokens.example.com";
const PATIENT: Duration = Duration::from_secs(60);

/// A clock that a test moves.
struct Moved {
    day: AtomicU64,
    gone: AtomicU64,
    begin: std::time::Instant,
}

impl Moved {
    fn new() -> Arc<Self> {
        Arc::new(Self { day: NOW.into(), gone: 0.into(), begin: SystemClock.monotonic() })
    }

    fn becomes(&self, day: u64) {
        let before = self.day.swap(day, Ordering::Relaxed);
        self.gone.fetch_add(day.saturating_sub(before), Ordering::Relaxed);
    }
}

impl Clock for Moved {
    fn now(&self) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(self.day.load(Ordering::Relaxed)))
    }

    fn monotonic(&self) -> std::time::Instant {
        self.begin + Duration::from_secs(self.gone.load(Ordering::Relaxed))
    }
}

/// A ledger that is told by the test what the store says.
struct Bench {
    ledger: Arc<Ledger>,
    keys: watch::Receiver<KeyRecords>,
    clock: Arc<Moved>,
    updates: mpsc::Sender<Update>,
    revision: u64,
}

impl Bench {
    /// Of a store that has said nothing.
    fn silent() -> Self {
        let (updates, received) = mpsc::channel(16);
        let clock = Moved::new();
        let (ledger, keys) = start(Parts {
            store: None,
            updates: Some(received),
            max_offline: Some(Duration::from_secs(100)),
            clock: clock.clone(),
        });
        Self { ledger, keys, clock, updates, revision: 0 }
    }

    /// Of a store that is there and holds this.
    async fn holding(entries: &[(String, String)]) -> Self {
        let mut bench = Self::silent();
        let entries = entries.iter().map(|(key, value)| entry(key, value)).collect();
        bench.say(Update::All { entries, revision: Revision(1) }).await;
        bench.revision = 1;
        bench.becomes(Told::Live).await;
        bench
    }

    async fn say(&self, update: Update) {
        self.updates.send(update).await.expect("it listens");
    }

    /// Says changes, and waits until they count.
    async fn says(&mut self, changes: Vec<Change>) {
        self.revision += 1;
        let revision = Revision(self.revision);
        self.say(Update::Changes { changes, revision }).await;
        assert!(self.ledger.applied(revision, PATIENT).await);
    }

    /// Says something about the store itself, and waits until it is known.
    async fn becomes(&mut self, contact: Told) {
        self.say(Update::Contact(contact)).await;
        self.says(vec![]).await;
    }

    fn revoked(&self, id: &str, sub: &str) -> Result<Option<RevokedBy>, LedgerProblem> {
        self.ledger.revoked(ISS, Some(id), sub)
    }
}

fn entry(key: &str, value: &str) -> Entry {
    Entry { key: key.to_owned(), value: value.to_owned().into(), revision: Revision(1) }
}

fn record(revoked: Named, expire_time: Option<u64>) -> Record {
    let (issuer, reason) = (ISS.to_owned(), "it is lost".to_owned());
    Record { issuer, revoked, reason, by: None, create_time: NOW, expire_time }
}

/// A record as it is kept.
fn kept(revoked: Named, expire_time: Option<u64>) -> (String, String) {
    let record = record(revoked, expire_time);
    let write = REVOCATION.put(&record.revoked().name(), &record, Expected::Anything).expect("it can be");
    let value = write.value.expect("it puts");
    (write.key, String::from_utf8(value.to_vec()).expect("it is JSON"))
}

fn token(id: &str, end: Option<u64>) -> (String, String) {
    kept(Named::Token(id.to_owned()), end)
}

fn subject(sub: &str, end: Option<u64>) -> (String, String) {
    kept(Named::Subject(sub.to_owned()), end)
}

fn put((key, value): (String, String)) -> Change {
    Change::Put(entry(&key, &value))
}

fn lost(since: Option<u64>) -> Told {
    Told::Lost { since, problem: "it is gone".to_owned() }
}

fn proof(id: &str) -> Proof {
    Proof { iss: ISS.to_owned(), id: id.to_owned(), expires: NOW + 600 }
}

#[tokio::test]
async fn a_revoked_token_is_refused_until_a_minute_after_its_end() {
    let bench = Bench::holding(&[token("j", Some(NOW + 600))]).await;
    for (now, expected) in [
        (NOW, Some(RevokedBy::Token)),
        (NOW + 600, Some(RevokedBy::Token)),
        (NOW + 660, Some(RevokedBy::Token)),
        (NOW + 661, None),
    ] {
        bench.clock.becomes(now);
        assert_eq!(bench.revoked("j", "s"), Ok(expected), "{now}");
    }
    bench.clock.becomes(NOW);
    let other_issuer = bench.ledger.revoked("https://tokens.example.co", Some("mj"), "s");
    assert_eq!((bench.revoked("J", "s"), other_issuer), (Ok(None), Ok(None)));
    assert_eq!(bench.ledger.revoked(ISS, None, "j"), Ok(None));
}

#[tokio::test]
async fn a_revoked_subject_is_refused_with_any_token_until_it_ends_or_is_taken_back() {
    let forever = subject("s", None);
    let mut bench = Bench::holding(&[subject("t", Some(NOW + 9)), forever.clone()]).await;
    assert_eq!(bench.ledger.revoked(ISS, None, "s"), Ok(Some(RevokedBy::Subject)));
    assert_eq!(bench.revoked("j", "t"), Ok(Some(RevokedBy::Subject)));
    assert_eq!(bench.ledger.revoked("https://other.example.com", None, "s"), Ok(None));
    assert_eq!(bench.revoked("s", "j"), Ok(None));
    bench.clock.becomes(NOW + 9);
    assert_eq!((bench.revoked("j", "t"), bench.revoked("j", "s")), (Ok(None), Ok(Some(RevokedBy::Subject))));
    bench.says(vec![Change::Deleted { key: forever.0, revision: Revision(2) }]).await;
    assert_eq!(bench.revoked("j", "s"), Ok(None));
}

#[tokio::test]
async fn a_record_that_cannot_be_read_revokes_what_its_key_names_without_end() {
    let (key, good) = token("j", Some(NOW + 1));
    let (_, of_another) = token("k", Some(NOW + 1));
    for value in [
        "".to_owned(),
        "{".to_owned(),
        good.replace("\"schema\":1", "\"schema\":2"),
        good.replace("\"create_time\"", "\"created\""),
        good.replace(ISS, "https://other.example.com"),
        of_another,
    ] {
        let mut bench = Bench::holding(&[(key.clone(), value.clone())]).await;
        bench.clock.becomes(NOW + 1_000_000);
        bench.becomes(Told::Live).await;
        assert_eq!(bench.revoked("j", "s"), Ok(Some(RevokedBy::Token)), "{value}");
        assert_eq!(bench.revoked("k", "s"), Ok(None), "{value}");
        bench.says(vec![put((key.clone(), good.clone()))]).await;
        assert_eq!(bench.revoked("j", "s"), Ok(None), "{value}");
    }
}

#[tokio::test]
async fn a_key_that_names_nothing_is_counted_and_revokes_nothing() {
    let (key, good) = token("j", None);
    let digits = key.rsplit('/').next().expect("it has parts").to_owned();
    let keys = [
        "token-revocations/".to_owned(),
        "token-revocations/tokens/".to_owned(),
        format!("token-revocations/tokens/{}", digits.to_uppercase()),
        format!("token-revocations/tokens/{}", &digits[2..]),
        format!("token-revocations/tokens/{digits}00"),
        format!("token-revocations/token/{digits}"),
    ];
    let entries: Vec<_> = keys.iter().map(|key| (key.clone(), good.clone())).collect();
    let mut bench = Bench::holding(&entries).await;
    assert_eq!(bench.ledger.counts(), Counts { foreign_keys: keys.len(), ..Counts::default() });
    assert_eq!(bench.revoked("j", "s"), Ok(None));
    let deleted = keys.iter().map(|key| Change::Deleted { key: key.clone(), revision: Revision(2) });
    bench.says(deleted.collect()).await;
    assert_eq!(bench.ledger.counts(), Counts::default());
}

#[tokio::test]
async fn what_the_store_says_whole_takes_the_place_of_what_it_said_before() {
    let mut bench = Bench::holding(&[token("j", None), subject("s", None)]).await;
    assert_eq!(bench.ledger.counts(), Counts { tokens: 1, subjects: 1, foreign_keys: 0 });
    let (key, value) = token("k", None);
    bench.say(Update::SetBack { known: Revision(9), found: Revision(2) }).await;
    bench.say(Update::All { entries: vec![entry(&key, &value)], revision: Revision(2) }).await;
    bench.revision = 2;
    bench.says(vec![]).await;
    assert_eq!((bench.revoked("j", "s"), bench.revoked("k", "s")), (Ok(None), Ok(Some(RevokedBy::Token))));
}

#[tokio::test]
async fn of_a_store_that_was_never_heard_of_nobody_can_say_what_is_revoked() {
    let bench = Bench::silent();
    let unknown = |bench: &Bench| matches!(bench.revoked("j", "s"), Err(LedgerProblem::Away(_)));
    assert!(unknown(&bench));
    bench.say(Update::Contact(lost(Some(NOW)))).await;
    let mut bench = bench;
    // The age of a copy is no copy.
    bench.says(vec![]).await;
    assert!(unknown(&bench));
    let (key, value) = token("j", None);
    bench.say(Update::All { entries: vec![entry(&key, &value)], revision: Revision(2) }).await;
    bench.revision = 2;
    bench.says(vec![]).await;
    assert_eq!(bench.revoked("j", "s"), Ok(Some(RevokedBy::Token)));
}

#[tokio::test]
async fn a_store_that_is_away_is_remembered_for_so_long_and_then_nobody_can_say() {
    let mut bench = Bench::holding(&[token("j", None)]).await;
    bench.becomes(lost(Some(NOW))).await;
    bench.clock.becomes(NOW + 99);
    assert_eq!((bench.revoked("j", "s"), bench.revoked("k", "s")), (Ok(Some(RevokedBy::Token)), Ok(None)));
    bench.clock.becomes(NOW + 100);
    let problem = bench.revoked("k", "s").expect_err("it is too long");
    assert!(problem.to_string().contains("2026-01-01T00:00:00Z"), "{problem}");
    // A clock that is set back makes nothing known for longer.
    bench.clock.becomes(NOW);
    bench.revoked("k", "s").expect_err("it was too long");
    bench.becomes(Told::Live).await;
    assert_eq!(bench.revoked("k", "s"), Ok(None));
}

#[tokio::test]
async fn keys_are_published_whenever_they_change_and_only_then() {
    let key = |name: &str| (format!("token-keys/{name}"), "x".to_owned());
    let mut bench = Bench::holding(&[key("a"), ("token-uses/a".to_owned(), "x".to_owned())]).await;
    let names = |keys: &KeyRecords| keys.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&bench.keys.borrow_and_update()), ["a"]);
    bench.says(vec![put(token("j", None))]).await;
    assert!(!bench.keys.has_changed().expect("it is followed"));
    bench.says(vec![put(key("b/c"))]).await;
    assert_eq!(names(&bench.keys.borrow_and_update()), ["a", "b/c"]);
    bench.says(vec![Change::Deleted { key: key("a").0, revision: Revision(2) }]).await;
    assert_eq!(names(&bench.keys.borrow_and_update()), ["b/c"]);
}

/// A store that can be cut off.
struct Cut {
    store: MemoryStore,
    is_away: AtomicBool,
}

impl Cut {
    fn new() -> Arc<Self> {
        Arc::new(Self { store: MemoryStore::new(), is_away: false.into() })
    }

    fn is(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::Relaxed);
    }

    fn reach(&self) -> Result<&MemoryStore, StoreError> {
        if self.is_away.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable("it is gone".to_owned()));
        }
        Ok(&self.store)
    }
}

#[async_trait]
impl Store for Cut {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.reach()?.get(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        self.reach()?.list(prefix).await
    }

    async fn transact(&self, writes: Vec<Write>) -> Result<Revision, StoreError> {
        self.reach()?.transact(writes).await
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, StoreError> {
        self.reach()?.watch(prefix, after).await
    }
}

/// A ledger of a node that follows this store, when it has heard of it.
async fn node(store: Arc<dyn Store>) -> Arc<Ledger> {
    let updates = follow(ReplicaSettings {
        source: store.clone(),
        identity: "test".to_owned(),
        prefix: String::new(),
        copy: None,
        now: Arc::new(|| NOW),
        seed: 0,
    });
    let Sides { mut policy, tokens } = split(updates);
    tokio::spawn(async move { while policy.recv().await.is_some() {} });
    let (max_offline, clock) = (None, Moved::new());
    let revision = store.list("").await.expect("it is there").revision;
    let (ledger, _) = start(Parts { store: Some(store), updates: Some(tokens), max_offline, clock });
    assert!(ledger.applied(revision, PATIENT).await);
    while ledger.revoked(ISS, None, "").is_err() {
        tokio::task::yield_now().await;
    }
    ledger
}

#[tokio::test]
async fn what_one_node_revokes_every_node_refuses_also_after_a_restart() {
    let store = Cut::new();
    let (one, two) = (node(store.clone()).await, node(store.clone()).await);
    one.revoke(&proof("j")).await.expect("the store is there");
    assert_eq!(one.revoked(ISS, Some("j"), "s"), Ok(Some(RevokedBy::Token)));
    assert!(two.applied(one.revision(), PATIENT).await);
    assert_eq!(two.revoked(ISS, Some("j"), "s"), Ok(Some(RevokedBy::Token)));
    let restarted = node(store).await;
    assert_eq!(restarted.revoked(ISS, Some("j"), "s"), Ok(Some(RevokedBy::Token)));
}

#[tokio::test]
async fn a_token_counts_once_on_whatever_node() {
    let store = Cut::new();
    let (one, two) = (node(store.clone()).await, node(store.clone()).await);
    one.use_once(&proof("j")).await.expect("it is the first");
    for ledger in [&one, &two, &node(store).await] {
        assert_eq!(ledger.use_once(&proof("j")).await, Err(LedgerProblem::Used));
    }
    let of_another = Proof { iss: "https://other.example.com".to_owned(), ..proof("j") };
    two.use_once(&of_another).await.expect("it is another token");
    two.use_once(&proof("k")).await.expect("it is another token");
    let last = proof("l");
    let both = tokio::join!(one.use_once(&last), two.use_once(&last));
    assert_eq!(u8::from(both.0.is_ok()) + u8::from(both.1.is_ok()), 1, "{both:?}");
}

#[tokio::test]
async fn a_revocation_is_never_shortened_and_is_made_longer_where_it_ends_too_early() {
    let store = Cut::new();
    let ledger = node(store.clone()).await;
    let ends: [(Option<u64>, Option<u64>); 4] = [
        (None, None),
        (Some(NOW + 9_999), Some(NOW + 9_999)),
        (Some(NOW + 600), Some(NOW + 600)),
        (Some(NOW - 100), Some(NOW + 600)),
    ];
    for (number, (before, after)) in ends.into_iter().enumerate() {
        let id = format!("j{number}");
        let (key, value) = token(&id, before);
        store.put(&key, value.into(), Expected::Absent).await.expect("there is room");
        ledger.revoke(&proof(&id)).await.expect("the store is there");
        let entry = store.get(&key).await.expect("it answers").expect("it is there");
        let record = Record::read(&Revoked::token(ISS, &id), &entry).expect("it can be read");
        assert_eq!((record.expire_time, &*record.reason), (after, "it is lost"), "{id}");
        assert_eq!(ledger.revoked(ISS, Some(&id), "s"), Ok(Some(RevokedBy::Token)), "{id}");
    }
    let (key, _) = token("unreadable", None);
    store.put(&key, "{".into(), Expected::Absent).await.expect("there is room");
    ledger.revoke(&proof("unreadable")).await.expect("it is revoked without end");
    let entry = store.get(&key).await.expect("it answers").expect("it is there");
    assert_eq!(&*entry.value, b"{");
}

#[tokio::test]
async fn a_store_that_is_away_takes_nothing_and_no_token_counts_then() {
    let store = Cut::new();
    let ledger = node(store.clone()).await;
    store.is(true);
    for problem in [ledger.revoke(&proof("j")).await, ledger.use_once(&proof("j")).await] {
        assert!(
            matches!(&problem, Err(LedgerProblem::Away(text)) if text.contains("it is gone")),
            "{problem:?}"
        );
    }
    store.is(false);
    ledger.use_once(&proof("j")).await.expect("it was not used");
    assert_eq!(ledger.revoked(ISS, Some("j"), "s"), Ok(None));
}

#[tokio::test]
async fn without_a_store_nothing_is_revoked_and_nothing_counts_once() {
    let parts = Parts { store: None, updates: None, max_offline: None, clock: Moved::new() };
    let (ledger, _) = start(parts);
    assert_eq!(ledger.revoked(ISS, Some("j"), "s"), Ok(None));
    assert_eq!(ledger.revoke(&proof("j")).await, Err(LedgerProblem::NoStore));
    assert_eq!(ledger.use_once(&proof("j")).await, Err(LedgerProblem::NoStore));
}

/// Notes how long what is written shall be kept.
#[derive(Default)]
struct Noting {
    store: MemoryStore,
    lifetimes: std::sync::Mutex<Vec<Option<u64>>>,
}

#[async_trait]
impl Store for Noting {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.store.get(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        self.store.list(prefix).await
    }

    async fn transact(&self, writes: Vec<Write>) -> Result<Revision, StoreError> {
        let seconds = writes.iter().map(|write| write.lifetime.map(|lifetime| lifetime.as_secs()));
        self.lifetimes.lock().expect("nobody panicked").extend(seconds);
        self.store.transact(writes).await
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, StoreError> {
        self.store.watch(prefix, after).await
    }
}

#[tokio::test]
async fn every_record_is_swept_up_by_the_store_when_nobody_can_need_it_any_more() {
    let store = Arc::new(Noting::default());
    let ledger = node(store.clone()).await;
    let of = |id: &str, expires| Proof { expires, ..proof(id) };
    for expires in [NOW + 600, NOW - 1_000, u64::MAX] {
        ledger.use_once(&of(&expires.to_string(), expires)).await.expect("it is the first");
        ledger.revoke(&of(&expires.to_string(), expires)).await.expect("the store is there");
    }
    let kept = [600 + 61 + 300, 300, 315_576_000].map(Some);
    let expected: Vec<_> = kept.into_iter().flat_map(|kept| [kept, kept]).collect();
    assert_eq!(*store.lifetimes.lock().expect("nobody panicked"), expected);
}

#[test]
fn a_hash_is_of_issuer_and_id_apart() {
    assert_ne!(Revoked::token("a", "bc"), Revoked::token("ab", "c"));
    assert_ne!(Revoked::token("a", "b"), Revoked::subject("a", "b"));
    for revoked in [Revoked::token("a", "b"), Revoked::subject("a", "b")] {
        assert_eq!(Revoked::of_key(&revoked.key()), Some(revoked));
    }
    assert_eq!(
        Revoked::token("https://a.example", "1").key(),
        format!(
            "token-revocations/tokens/{}",
            hex::encode(alts_handshake::sha256(b"https://a.example\x001"))
        )
    );
}

#[test]
fn what_cannot_be_of_a_token_is_not_revoked() {
    let good = || record(Named::Token("j".to_owned()), Some(NOW + 1));
    good().reasoned().expect("it is good");
    record(Named::Subject("s p/ü".to_owned()), None).reasoned().expect("it is good");
    // A token that has just ended counts for a minute longer with verifiers.
    record(Named::Token("j".to_owned()), Some(NOW - 60)).reasoned().expect("it is good");
    let named = |revoked| Record { revoked, ..good() };
    let long = || "x".repeat(2_049);
    for (record, code) in [
        (Record { issuer: String::new(), ..good() }, "field_missing"),
        (Record { issuer: long(), ..good() }, "text_too_long"),
        (Record { issuer: "a\0b".to_owned(), ..good() }, "text_unprintable"),
        (named(Named::Token(String::new())), "field_missing"),
        (named(Named::Token(long())), "text_too_long"),
        (named(Named::Token("a\nb".to_owned())), "text_unprintable"),
        (named(Named::Subject(String::new())), "field_missing"),
        (named(Named::Subject(long())), "text_too_long"),
        (named(Named::Subject("\u{7f}".to_owned())), "text_unprintable"),
        (Record { reason: " ".to_owned(), ..good() }, "reason_missing"),
        (Record { reason: "x".repeat(513), ..good() }, "text_too_long"),
        (Record { reason: "a\u{202e}b".to_owned(), ..good() }, "text_unprintable"),
        (Record { expire_time: Some(NOW - 61), ..good() }, "ends_before_it_begins"),
        (
            Record { revoked: Named::Subject("s".to_owned()), expire_time: Some(NOW), ..good() },
            "ends_before_it_begins",
        ),
    ] {
        let problem = record.clone().reasoned().expect_err(code);
        assert_eq!(problem.code(), code, "{record:?}");
    }
}

#[tokio::test]
async fn who_revokes_tokens_without_end_does_not_fill_the_store() {
    let bench = Bench::holding(&[token("known", Some(NOW + 600))]).await;
    let mut full = State::clone(&bench.ledger.state.load());
    for n in 1..MAX_OF_HOLDERS {
        // There is no store, which is what a revocation comes to as long as there is room.
        if n == MAX_OF_HOLDERS - 1 {
            bench.ledger.state.store(Arc::new(full.clone()));
            assert_eq!(bench.ledger.revoke(&proof("new")).await, Err(LedgerProblem::NoStore));
        }
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&n.to_le_bytes());
        full.revoked.put(Revoked { what: RevokedBy::Token, hash }, None);
    }
    bench.ledger.state.store(Arc::new(full));
    let refused = Err(LedgerProblem::Full { most: MAX_OF_HOLDERS });
    assert_eq!(bench.ledger.revoke(&proof("new")).await, refused);
    assert_eq!(bench.ledger.revoke(&proof("known")).await, Err(LedgerProblem::NoStore), "it is no more");
}

#[tokio::test]
async fn who_uses_tokens_without_end_does_not_fill_the_store() {
    let used = |n: usize| (format!("token-uses/{n:064x}"), "x".to_owned());
    let bench = Bench::holding(&[used(1), used(2), token("known", Some(NOW + 600))]).await;
    let mut state = State::clone(&bench.ledger.state.load());
    assert_eq!((state.uses, state.is_full()), (2, false));
    assert_eq!(bench.ledger.use_once(&proof("new")).await, Err(LedgerProblem::NoStore));
    state.uses = MAX_OF_HOLDERS - 1;
    bench.ledger.state.store(Arc::new(state));
    assert_eq!(bench.ledger.use_once(&proof("new")).await, Err(LedgerProblem::Full { most: MAX_OF_HOLDERS }));
}
