//! What files and a store say becomes what handshakes are decided by.

use std::{
    fs,
    sync::atomic::{AtomicU64, Ordering},
};

use alts_handshake::{Identity, NotAdmitted, Peer};
use alts_store::{Contact as Told, Entry as StoredEntry, MemoryStore, ReplicaSettings, Store, Write, follow};
use bytes::Bytes;
use pki_types::UnixTime;
use tempfile::TempDir;

use super::*;
use crate::{
    clock::SystemClock,
    policy::{Decision, PeerListRecord, Question, Reason, RevocationRecord, RuleRecord, Side},
    verifier::Certainty,
};

const WEB: &str = "web@x.example";
const ORDERS: &str = "orders@x.example";
const NOW: u64 = 1_767_225_600;
const PATIENT: Duration = Duration::from_secs(60);

/// A clock that a test moves.
struct Moved {
    /// The time of day.
    day: AtomicU64,
    /// Seconds that have gone by.
    gone: AtomicU64,
    begin: std::time::Instant,
}

impl Moved {
    fn at(day: u64) -> Arc<Self> {
        Arc::new(Self { day: day.into(), gone: 0.into(), begin: SystemClock.monotonic() })
    }

    /// Time goes by until then, or the clock is set back.
    fn becomes(&self, day: u64) {
        let before = self.day.swap(day, Ordering::Relaxed);
        self.gone.fetch_add(day.saturating_sub(before).min(1 << 32), Ordering::Relaxed);
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

struct Unheard;

impl Observe for Unheard {
    fn published(&self, _: &State) {}
}

/// A verifier that is told by the test what the store says.
struct Bench {
    verifier: Arc<Verifier>,
    clock: Arc<Moved>,
    updates: mpsc::Sender<Update>,
    revision: u64,
    _ended: oneshot::Receiver<()>,
}

impl Bench {
    /// The first that the store says is `first`.
    async fn start(default: Action, first: Vec<Update>) -> Self {
        let (updates, received) = mpsc::channel(16);
        for update in first {
            updates.send(update).await.expect("there is room");
        }
        let clock = Moved::at(NOW);
        let parts = Parts {
            default,
            files: PolicyFiles::load(Vec::new()).expect("there are none"),
            store: Some(received),
            max_offline: Some(Duration::from_secs(100)),
            clock: clock.clone(),
            observer: Arc::new(Unheard),
        };
        let (verifier, ended) = start(parts).await;
        Self { verifier, clock, updates, revision: 1, _ended: ended }
    }

    /// A store that is there and empty.
    async fn empty(default: Action) -> Self {
        Self::start(default, vec![all(&[]), Update::Contact(Told::Live)]).await
    }

    /// Says a change, and waits until it is decided by.
    async fn says(&mut self, changes: Vec<Change>) {
        self.revision += 1;
        let revision = Revision(self.revision);
        self.updates.send(Update::Changes { changes, revision }).await.expect("it listens");
        assert!(self.verifier.applied(revision, PATIENT).await);
    }

    /// Says something about the store itself, and waits until it is known.
    async fn becomes(&mut self, contact: Told) {
        self.updates.send(Update::Contact(contact)).await.expect("it listens");
        // Updates are taken in order.
        self.says(vec![Change::Deleted { key: "rules/nothing".to_owned(), revision: Revision(0) }]).await;
    }

    /// Decides then.
    fn decide(&self, now: u64) -> Result<Decision, String> {
        self.clock.becomes(now);
        let identity = |account| Identity::parse(account).expect("it is valid");
        let peer = Peer { identity: identity(WEB), certificates: Arc::new([]) };
        let (side, local) = (Side::Server, &identity(ORDERS));
        self.verifier.decide(&Question { side, local, peer: &peer, target_name: "", now })
    }

    fn certainty(&self, now: u64) -> Certainty {
        self.clock.becomes(now);
        self.verifier.certainty()
    }

    fn reason(&self) -> Reason {
        self.decide(NOW).expect("somebody knows").reason
    }
}

fn all(entries: &[StoredEntry]) -> Update {
    Update::All { entries: entries.to_vec(), revision: Revision(1) }
}

fn entry(write: Result<Write, alts_store::Error>) -> StoredEntry {
    let Write { key, value, .. } = write.expect("it can be written");
    StoredEntry { key, value: value.expect("it puts"), revision: Revision(1) }
}

fn rule(action: &str, lists: &[&str], peers: &[&str]) -> StoredEntry {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let record = RuleRecord {
        name: "r".to_owned(),
        description: String::new(),
        local: ORDERS.to_owned(),
        side: "server".to_owned(),
        action: action.to_owned(),
        mode: "enforce".to_owned(),
        peer_lists: texts(lists),
        peers: texts(peers),
    };
    entry(kinds::RULE.put("r", &record, alts_store::Expected::Anything))
}

fn list(peers: &[&str]) -> StoredEntry {
    let peers = peers.iter().map(|text| (*text).to_owned()).collect();
    let record = PeerListRecord { name: "l".to_owned(), description: String::new(), peers };
    entry(kinds::PEER_LIST.put("l", &record, alts_store::Expected::Anything))
}

fn revocation(expire_time: Option<u64>) -> StoredEntry {
    let record = RevocationRecord {
        account: Some(WEB.to_owned()),
        issuer: None,
        serial: None,
        key_sha256: None,
        reason: "stolen".to_owned(),
        create_time: NOW,
        expire_time,
    };
    entry(kinds::REVOCATION.put(&format!("accounts/{WEB}"), &record, alts_store::Expected::Anything))
}

fn spoiled(mut entry: StoredEntry) -> StoredEntry {
    entry.value = Bytes::from_static(b"{\"schema\":2,\"value\":{}}");
    entry
}

fn deleted(entry: &StoredEntry) -> Vec<Change> {
    vec![Change::Deleted { key: entry.key.clone(), revision: Revision(9) }]
}

#[tokio::test]
async fn what_the_store_says_decides_from_then_on() {
    let mut bench = Bench::empty(Action::Deny).await;
    assert_eq!(bench.reason(), Reason::DeniedByDefault);
    bench.says(vec![Change::Put(rule("allow", &["l"], &[])), Change::Put(list(&[WEB]))]).await;
    assert_eq!(bench.reason(), Reason::AllowedByRule);
    bench.says(vec![Change::Put(list(&["other@x.example"]))]).await;
    assert_eq!(bench.reason(), Reason::DeniedNotListed);
    bench.says(deleted(&rule("allow", &[], &[]))).await;
    assert_eq!(bench.reason(), Reason::DeniedByDefault);
    bench.says(vec![Change::Put(rule("allow", &[], &[WEB]))]).await;
    assert_eq!(bench.reason(), Reason::AllowedByRule);
    // A store that was lost may have forgotten anything.
    bench.updates.send(all(&[])).await.expect("it listens");
    bench.says(deleted(&list(&[]))).await;
    assert_eq!(bench.reason(), Reason::DeniedByDefault);
}

#[tokio::test]
async fn a_revocation_counts_at_once_until_its_end_and_no_longer_than_it_is_there() {
    let mut bench = Bench::empty(Action::Allow).await;
    assert_eq!(bench.reason(), Reason::AllowedByDefault);
    bench.says(vec![Change::Put(revocation(Some(NOW + 10)))]).await;
    let reason = |bench: &Bench, now| bench.decide(now).expect("somebody knows").reason;
    assert_eq!(reason(&bench, NOW + 9), Reason::RevokedAccount);
    assert_eq!(reason(&bench, NOW + 10), Reason::AllowedByDefault);
    bench.says(vec![Change::Put(revocation(None))]).await;
    assert_eq!(reason(&bench, u64::MAX), Reason::RevokedAccount);
    bench.says(deleted(&revocation(None))).await;
    assert_eq!(bench.reason(), Reason::AllowedByDefault);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_lets_nobody_in() {
    let mut bench = Bench::empty(Action::Allow).await;
    bench.says(vec![Change::Put(rule("allow", &["l"], &[])), Change::Put(spoiled(list(&[WEB])))]).await;
    assert_eq!(bench.reason(), Reason::DeniedNotListed);
    bench.says(vec![Change::Put(rule("deny", &["l"], &[]))]).await;
    assert_eq!(bench.reason(), Reason::DeniedByRule);
    bench.says(vec![Change::Put(spoiled(rule("allow", &[], &[WEB])))]).await;
    assert_eq!(bench.reason(), Reason::DeniedByRule);
    assert!(!bench.verifier.state().policy.problems().is_empty());
    bench.says(deleted(&rule("allow", &[], &[]))).await;
    assert_eq!(bench.reason(), Reason::AllowedByDefault);
    bench.says(vec![Change::Put(spoiled(revocation(None)))]).await;
    assert_eq!(bench.reason(), Reason::RevokedAccount);
}

#[tokio::test]
async fn a_key_that_names_nothing_is_counted_and_changes_nothing() {
    let mut bench = Bench::empty(Action::Allow).await;
    let foreign = StoredEntry { key: "rules/Not A Name".to_owned(), ..rule("deny", &[], &["*"]) };
    bench.says(vec![Change::Put(foreign.clone())]).await;
    assert_eq!((bench.reason(), bench.verifier.state().foreign_keys), (Reason::AllowedByDefault, 1));
    bench.says(deleted(&foreign)).await;
    assert_eq!(bench.verifier.state().foreign_keys, 0);
}

#[tokio::test]
async fn a_node_goes_by_what_it_remembers_for_the_configured_time_and_then_admits_nobody() {
    let mut bench = Bench::empty(Action::Allow).await;
    bench.becomes(Told::Lost { since: Some(NOW), problem: "it is gone".to_owned() }).await;
    assert_eq!(bench.reason(), Reason::AllowedByDefault);
    assert_eq!(bench.certainty(NOW), Certainty::Remembered);
    assert!(bench.decide(NOW + 99).is_ok());
    let problem = bench.decide(NOW + 100).expect_err("a revocation may have been missed");
    assert!(problem.contains("has not been heard of since 2026-01-01T00:00:00Z"), "{problem}");
    assert_eq!(bench.certainty(NOW + 100), Certainty::Unknown);
    // A clock that is set back makes it no younger, and what is told again neither.
    assert_eq!(bench.certainty(NOW - 1_000), Certainty::Unknown);
    bench.becomes(Told::Lost { since: Some(NOW), problem: "it is still gone".to_owned() }).await;
    assert_eq!(bench.certainty(NOW - 1_000), Certainty::Unknown);
    bench.becomes(Told::Live).await;
    assert!(bench.decide(NOW + 1_000_000).is_ok());
    assert_eq!(bench.certainty(NOW + 1_000_000), Certainty::Current);
}

#[tokio::test]
async fn a_copy_is_gone_by_from_the_start_and_without_one_nobody_is_admitted() {
    let lost = |since| Update::Contact(Told::Lost { since, problem: "it is gone".to_owned() });
    let kept =
        Bench::start(Action::Deny, vec![lost(Some(NOW - 50)), all(&[rule("allow", &[], &[WEB])])]).await;
    assert_eq!(kept.reason(), Reason::AllowedByRule);
    assert!(kept.decide(NOW + 49).is_ok() && kept.decide(NOW + 50).is_err());

    let mut new = Bench::start(Action::Allow, vec![lost(None)]).await;
    let problem = new.decide(NOW).expect_err("nobody knows");
    assert!(problem.contains("has not been heard of yet"), "{problem}");
    new.updates.send(all(&[])).await.expect("it listens");
    new.becomes(Told::Live).await;
    assert_eq!(new.reason(), Reason::AllowedByDefault);
}

#[tokio::test]
async fn the_age_of_a_copy_is_no_copy() {
    let lost = || Told::Lost { since: Some(NOW - 50), problem: "it is gone".to_owned() };
    let bench = Bench::start(Action::Allow, vec![Update::Contact(lost())]).await;
    assert_eq!(bench.certainty(NOW), Certainty::Unknown);
    let problem = bench.decide(NOW).expect_err("nothing of the store is known");
    assert!(problem.contains("has not been heard of yet"), "{problem}");
    let mut bench = Bench::start(Action::Allow, vec![Update::Contact(Told::Live)]).await;
    assert_eq!(bench.certainty(NOW), Certainty::Unknown);
    bench.becomes(lost()).await;
    assert_eq!(bench.certainty(NOW), Certainty::Unknown);
    bench.updates.send(all(&[revocation(None)])).await.expect("it listens");
    bench.becomes(lost()).await;
    assert_eq!((bench.certainty(NOW), bench.reason()), (Certainty::Remembered, Reason::RevokedAccount));
    assert_eq!(bench.certainty(NOW + 50), Certainty::Unknown);
}

#[tokio::test]
async fn a_copy_of_the_future_is_not_believed() {
    let lost = |since| Told::Lost { since: Some(since), problem: "it is gone".to_owned() };
    for (ahead, expected) in
        [(0, true), (300, true), (301, false), (1_000_000, false), (u64::MAX - NOW, false)]
    {
        let since = NOW + ahead;
        let mut bench = Bench::start(Action::Allow, vec![Update::Contact(lost(since)), all(&[])]).await;
        assert_eq!(bench.decide(NOW).is_ok(), expected, "{ahead}");
        // It does not become believable by waiting for that time to come.
        let then = since.min(NOW + 2_000_000);
        bench.clock.becomes(then);
        bench.becomes(Told::Lost { since: Some(since), problem: "it is still gone".to_owned() }).await;
        let still = expected && ahead < 100;
        assert_eq!(bench.decide(then).is_ok(), still, "{ahead}");
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_makes_nothing_known_for_longer() {
    let mut bench = Bench::empty(Action::Allow).await;
    bench.becomes(Told::Lost { since: Some(NOW), problem: "it is gone".to_owned() }).await;
    assert_eq!(bench.certainty(NOW + 60), Certainty::Remembered);
    assert_eq!(bench.certainty(NOW - 3_600), Certainty::Remembered);
    bench.becomes(Told::Lost { since: Some(NOW), problem: "it is still gone".to_owned() }).await;
    assert_eq!(bench.certainty(NOW - 3_561), Certainty::Remembered);
    assert_eq!(bench.certainty(NOW - 3_560), Certainty::Unknown);
}

#[tokio::test]
async fn a_store_that_is_not_followed_any_more_is_told_of() {
    let Bench { verifier: _verifier, updates, _ended: ended, .. } = Bench::empty(Action::Allow).await;
    drop(updates);
    timeout(PATIENT, ended).await.expect("it is told").expect_err("nothing is sent");
}

#[tokio::test]
async fn who_waits_for_a_change_hears_of_it_or_that_it_took_too_long() {
    let mut bench = Bench::empty(Action::Allow).await;
    assert!(bench.verifier.applied(Revision(1), PATIENT).await);
    assert!(!bench.verifier.applied(Revision(2), Duration::ZERO).await);
    let waiting = {
        let verifier = bench.verifier.clone();
        tokio::spawn(async move { verifier.applied(Revision(2), PATIENT).await })
    };
    bench.says(vec![Change::Put(list(&[]))]).await;
    assert!(waiting.await.expect("it ends"));
}

#[tokio::test]
async fn a_store_of_this_node_is_followed_from_its_first_entry_on() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let StoredEntry { key, value, .. } = rule("deny", &[], &[WEB]);
    store.put(&key, value, alts_store::Expected::Absent).await.expect("there is room");
    let updates = follow(ReplicaSettings {
        source: store.clone(),
        identity: "memory".to_owned(),
        prefix: String::new(),
        copy: None,
        now: Arc::new(|| NOW),
        seed: 0,
    });
    let directory = tempfile::tempdir().expect("there is room");
    let parts = Parts {
        default: Action::Allow,
        files: documents(&directory, "rule = []\n"),
        store: Some(updates),
        max_offline: None,
        clock: Moved::at(NOW),
        observer: Arc::new(Unheard),
    };
    let (verifier, _ended) = start(parts).await;
    let (updates, _) = mpsc::channel(1);
    let bench = Bench { verifier: verifier.clone(), clock: Moved::at(NOW), updates, revision: 0, _ended };
    assert_eq!(bench.reason(), Reason::DeniedByRule);
    let revision = store.delete(&key, alts_store::Expected::Anything).await.expect("it is there");
    assert!(verifier.applied(revision, PATIENT).await);
    assert_eq!(bench.reason(), Reason::AllowedByDefault);
}

fn documents(directory: &TempDir, text: &str) -> PolicyFiles {
    fs::write(directory.path().join("peers.toml"), text).expect("there is room");
    let text = "[[handshaker.listener]]\naddress = '127.0.0.1:0'\nidentity = 'a@b'\n[[identity]]\naccount = 'a@b'\n\
                certificate_chain = 'c'\nprivate_key = 'k'\n[policy]\ndefault = 'deny'\nfiles = ['peers.toml']\n";
    let file = directory.path().join("altsd.toml");
    fs::write(&file, text).expect("there is room");
    let files = crate::config::read(&file).expect("it is good").policy.files;
    PolicyFiles::load(files).expect("the document is good")
}

#[tokio::test]
async fn a_refusal_that_nobody_can_reason_is_no_denial() {
    let (verifier, local) = {
        let bench = Bench::start(
            Action::Allow,
            vec![Update::Contact(Told::Lost { since: None, problem: "it is gone".to_owned() })],
        )
        .await;
        (bench.verifier, Identity::parse(ORDERS).expect("it is valid"))
    };
    let decided = Arc::default();
    let judge = crate::verifier::Judge::new(
        verifier,
        alts_handshake::Role::Server,
        local,
        String::new(),
        Arc::clone(&decided),
    );
    let peer = Peer { identity: Identity::parse(WEB).expect("it is valid"), certificates: Arc::new([]) };
    let now = UnixTime::since_unix_epoch(Duration::from_secs(NOW));
    let answer = alts_handshake::Admission::admit(&judge, &peer, now);
    assert!(matches!(answer, Err(NotAdmitted::Unknown(_))), "{answer:?}");
    let noted = decided.get().expect("the peer is noted all the same");
    assert_eq!((noted.peer.as_ref(), noted.reason), (Some(&peer.identity), None));
}
