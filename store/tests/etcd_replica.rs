//! A replica of a real etcd, through whatever happens to its members.
#![cfg(feature = "etcd")]

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use alts_store::{
    Change, Contact, CopySettings, Entry, EtcdSettings, EtcdStore, Expected, MemoryStore, ReplicaSettings,
    Revision, SledStore, Store, Update, follow,
};
use tokio::{sync::mpsc::Receiver, task::JoinHandle, time::timeout};

#[expect(dead_code, reason = "other tests need the rest of it")]
#[path = "support/etcd.rs"]
mod etcd;

use etcd::Etcd;

/// How long an event may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// When the tests begin.
const START: u64 = 1_800_000_000;

async fn connect(endpoints: Vec<String>) -> Arc<EtcdStore> {
    let mut settings = EtcdSettings::new(endpoints, "altsd/");
    settings.timeout = Duration::from_secs(2);
    Arc::new(EtcdStore::connect(settings).await.expect("the settings are good"))
}

async fn put(store: &EtcdStore, key: &str, value: &str) -> Revision {
    store.put(key, value.to_owned().into(), Expected::Anything).await.expect("etcd is there")
}

/// A replica and what it has told.
struct Told {
    updates: Receiver<Update>,
    entries: BTreeMap<String, Entry>,
    /// Every change, to find one that is told twice.
    changes: Vec<(Revision, String)>,
    contact: Option<Contact>,
    /// How often everything was told.
    alls: usize,
    /// How often the source was not what it was.
    set_backs: usize,
}

impl Told {
    fn follow(source: Arc<EtcdStore>, copy: Option<Arc<dyn Store>>, clock: &Arc<AtomicU64>) -> Self {
        let clock = clock.clone();
        let updates = follow(ReplicaSettings {
            source,
            identity: "one cluster".to_owned(),
            prefix: "p/".to_owned(),
            copy: copy.map(|store| CopySettings { store, at: "copy/".to_owned() }),
            now: Arc::new(move || clock.load(SeqCst)),
            seed: 1,
        });
        Self { updates, entries: BTreeMap::new(), changes: Vec::new(), contact: None, alls: 0, set_backs: 0 }
    }

    /// Takes updates until something holds.
    async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        while !holds(self) {
            let update = timeout(PATIENCE, self.updates.recv()).await;
            let update = update.unwrap_or_else(|_| panic!("waited in vain for {what}: {:?}", self.contact));
            self.take(update.expect("a replica goes on as long as somebody listens"));
        }
    }

    fn take(&mut self, update: Update) {
        match update {
            Update::All { entries, .. } => {
                self.alls += 1;
                self.entries = entries.into_iter().map(|entry| (entry.key.clone(), entry)).collect();
            }
            Update::Changes { changes, revision } => {
                assert!(changes.iter().all(|change| change.revision() <= revision));
                for change in changes {
                    self.changes.push((change.revision(), change.key().to_owned()));
                    match change {
                        Change::Put(entry) => self.entries.insert(entry.key.clone(), entry),
                        Change::Deleted { key, .. } => self.entries.remove(&key),
                    };
                }
            }
            Update::SetBack { .. } => self.set_backs += 1,
            Update::Contact(contact) => self.contact = Some(contact),
            Update::Copy(problem) => assert_eq!(problem, None),
        }
    }

    fn is_live(&self) -> bool {
        self.contact == Some(Contact::Live)
    }

    fn is_lost(&self) -> bool {
        matches!(self.contact, Some(Contact::Lost { .. }))
    }

    fn value(&self, key: &str) -> Option<&[u8]> {
        self.entries.get(key).map(|entry| &*entry.value)
    }
}

/// Writes one key after the other until it is stopped, and gives those that were acknowledged.
fn write_until(store: Arc<EtcdStore>, stop: Arc<AtomicBool>) -> JoinHandle<Vec<(String, Revision)>> {
    tokio::spawn(async move {
        let mut acknowledged = Vec::new();
        for n in 0.. {
            if stop.load(SeqCst) {
                break;
            }
            let key = format!("p/{n:06}");
            let put = store.put(&key, "1".into(), Expected::Anything);
            match timeout(PATIENCE, put).await.expect("a write hangs") {
                Ok(revision) => acknowledged.push((key, revision)),
                Err(alts_store::Error::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(problem) => panic!("{problem}"),
            }
        }
        acknowledged
    })
}

/// Kills whoever `victim` names, twice, under writes and under a replica. Each time the writes go on after it.
async fn storm(mut etcd: Etcd, victim: impl Fn(&Etcd) -> usize) {
    let writer = connect(etcd.endpoints()).await;
    let mut told = Told::follow(connect(etcd.endpoints()).await, None, &Arc::new(START.into()));
    told.until("contact", Told::is_live).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writing = write_until(writer.clone(), stop.clone());
    for _ in 0..2 {
        let enough = told.changes.len() + 50;
        told.until("changes", |told| told.changes.len() >= enough).await;
        let victim = victim(&etcd);
        etcd.kill(victim);
        if etcd.endpoints().len() == 1 {
            told.until("the loss", Told::is_lost).await;
        } else {
            let enough = told.changes.len() + 200;
            told.until("changes without the leader", |told| told.changes.len() >= enough).await;
        }
        etcd.restart(victim);
    }
    let enough = told.changes.len() + 50;
    told.until("changes", |told| told.changes.len() >= enough).await;
    stop.store(true, SeqCst);
    let acknowledged = writing.await.expect("the writer has not panicked");
    let listing = writer.list("p/").await.expect("etcd is back");
    let last = listing.entries.last().expect("much was written").clone();
    told.until("the last change", |told| told.entries.contains_key(&last.key)).await;
    let listed: BTreeMap<_, _> = listing.entries.iter().map(|entry| (&entry.key, entry.revision)).collect();
    let missing: Vec<_> =
        acknowledged.iter().filter(|(key, revision)| listed.get(key) != Some(revision)).collect();
    assert!(missing.is_empty(), "acknowledged and lost: {missing:?} of {}", acknowledged.len());
    assert_eq!(told.entries.into_values().collect::<Vec<_>>(), listing.entries, "told and held");
    let told_twice = told.changes.windows(2).find(|pair| pair[0] >= pair[1]);
    assert_eq!(told_twice, None, "of {}", told.changes.len());
    assert_eq!((told.alls, told.changes.len()), (1, listing.entries.len()), "each change was told once");
}

#[tokio::test]
async fn a_member_killed_under_writes_loses_none_and_the_replica_hears_each_once() {
    if Etcd::is_there("a member that is killed") {
        storm(Etcd::start(1), |_| 0).await;
    }
}

#[tokio::test]
async fn leaders_killed_under_writes_lose_none_and_the_replica_hears_each_once() {
    if Etcd::is_there("a leader that is killed") {
        storm(Etcd::start(3), Etcd::leader).await;
    }
}

#[tokio::test]
async fn a_member_cut_off_from_the_others_is_left_for_one_that_is_not() {
    if !Etcd::is_there("a member that is cut off") {
        return;
    }
    let etcd = Etcd::start(3);
    let store = connect(etcd.endpoints()).await;
    let mut told = Told::follow(connect(etcd.endpoints()).await, None, &Arc::new(START.into()));
    told.until("contact", Told::is_live).await;
    // The first endpoint is the one that both use. It keeps its connections and says nothing.
    etcd.freeze(0);
    let mut written = false;
    for _ in 0..10 {
        let put = store.put("p/a", "1".into(), Expected::Anything);
        written = timeout(PATIENCE, put).await.expect("a write hangs").is_ok();
        if written {
            break;
        }
    }
    assert!(written, "two of three members are there");
    told.until("the change", |told| told.value("p/a").is_some()).await;
    etcd.thaw(0);
}

#[tokio::test]
async fn a_member_without_the_others_does_not_look_alive() {
    if !Etcd::is_there("a member without a leader") {
        return;
    }
    let mut etcd = Etcd::start(3);
    // Only this one is known to the replica, so it cannot go to another.
    let mut told = Told::follow(connect(vec![etcd.endpoint(0)]).await, None, &Arc::new(START.into()));
    told.until("contact", Told::is_live).await;
    etcd.kill(1);
    etcd.kill(2);
    told.until("the loss", Told::is_lost).await;
    etcd.start_others(&[1, 2]);
    told.until("contact", Told::is_live).await;
    assert_eq!(told.alls, 1);
}

#[tokio::test]
async fn what_was_compacted_while_the_replica_was_away_is_told_anew() {
    if !Etcd::is_there("compaction under a replica") {
        return;
    }
    let mut etcd = Etcd::start(3);
    let others = connect(vec![etcd.endpoint(1), etcd.endpoint(2)]).await;
    put(&others, "p/old", "1").await;
    let copy: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let source = connect(vec![etcd.endpoint(0)]).await;
    let mut told = Told::follow(source, Some(copy), &Arc::new(START.into()));
    told.until("what is there", |told| told.value("p/old").is_some() && told.is_live()).await;
    etcd.kill(0);
    told.until("the loss", Told::is_lost).await;
    // The cluster goes on without the member that the replica knows, and may elect a leader first.
    let mut result = others.delete("p/old", Expected::Anything).await;
    for _ in 0..10 {
        if result.is_ok() {
            break;
        }
        result = others.delete("p/old", Expected::Anything).await;
    }
    result.expect("two of three members are there");
    let revision = put(&others, "p/new", "1").await;
    etcd.control_at(1, &["compact", "--physical", &revision.to_string()]);
    etcd.restart(0);
    told.until("what is there now", |told| told.value("p/new").is_some() && told.is_live()).await;
    assert_eq!((told.alls, told.value("p/old"), told.changes.len()), (2, None, 0));
}

#[tokio::test]
async fn without_etcd_a_node_starts_with_its_copy_and_catches_up() {
    if !Etcd::is_there("a replica without its source") {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let copy: Arc<dyn Store> = Arc::new(SledStore::open(directory.path(), 1 << 30).expect("it is new"));
    let clock = Arc::new(AtomicU64::new(START));
    let mut etcd = Etcd::start(1);
    let store = connect(etcd.endpoints()).await;
    put(&store, "p/a", "1").await;
    put(&store, "q/a", "1").await;
    let mut told = Told::follow(store.clone(), Some(copy.clone()), &clock);
    told.until("what is there", |told| told.value("p/a").is_some() && told.is_live()).await;
    put(&store, "p/b", "1").await;
    told.until("the change", |told| told.value("p/b").is_some()).await;
    let copied = async || {
        copy.list("copy/")
            .await
            .expect("sled is there")
            .entries
            .iter()
            .any(|entry| entry.key.ends_with("/p/b"))
    };
    while !copied().await {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(told);
    etcd.kill(0);

    clock.fetch_add(7_200, SeqCst);
    let mut told = Told::follow(connect(etcd.endpoints()).await, Some(copy.clone()), &clock);
    told.until("the copy", |told| told.alls == 1).await;
    let Some(Contact::Lost { since: Some(START), problem }) = &told.contact else {
        panic!("{:?}", told.contact)
    };
    assert!(problem.contains("refused"), "{problem}");
    assert_eq!(told.entries.keys().collect::<Vec<_>>(), ["p/a", "p/b"]);
    etcd.restart(0);
    put(&store, "p/c", "1").await;
    told.until("the change", |told| told.value("p/c").is_some() && told.is_live()).await;

    // A cluster that has lost everything is believed: what it does not hold is not there.
    etcd.restart_empty(0);
    told.until("the end of all entries", |told| told.entries.is_empty() && told.is_live()).await;
    assert_eq!(told.set_backs, 1);
    put(&store, "p/d", "1").await;
    told.until("the change", |told| told.value("p/d").is_some()).await;
}

#[tokio::test]
async fn a_source_that_was_set_back_is_told_anew_and_that_it_was() {
    if !Etcd::is_there("a source that is set back") {
        return;
    }
    let copy: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let mut etcd = Etcd::start(1);
    let store = connect(etcd.endpoints()).await;
    put(&store, "p/old", "1").await;
    let snapshot = etcd.snapshot();
    let lost = put(&store, "p/lost", "1").await;
    let mut told = Told::follow(connect(etcd.endpoints()).await, Some(copy), &Arc::new(START.into()));
    told.until("what is there", |told| told.value("p/lost").is_some() && told.is_live()).await;
    etcd.freeze(0);
    told.until("the loss", Told::is_lost).await;
    etcd.restore(&snapshot);
    // As many writes as before, so that the revisions say nothing.
    assert_eq!(put(&*connect(etcd.endpoints()).await, "p/new", "1").await, lost);
    told.until("what is there now", |told| told.value("p/new").is_some() && told.is_live()).await;
    assert_eq!((told.alls, told.set_backs, told.value("p/lost")), (2, 1, None));
}
