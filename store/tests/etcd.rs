//! What holds for the engine in etcd alone, with real members.
#![cfg(feature = "etcd")]

use std::{path::Path, sync::Arc, time::Duration};

use alts_store::{
    Batch, Change, Error, EtcdClientCertificate, EtcdSecret, EtcdSettings, EtcdStore, EtcdTls, EtcdUser,
    Expected, MAX_VALUE, Revision, Store, Watch, Write,
};
use futures_util::StreamExt;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::time::timeout;

#[expect(dead_code, reason = "other tests need the rest of it")]
#[path = "support/etcd.rs"]
mod etcd;

use etcd::{Etcd, Tls};

/// How long an event may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

fn settings(etcd: &Etcd) -> EtcdSettings {
    EtcdSettings::new(etcd.endpoints(), "altsd/")
}

async fn connect(settings: EtcdSettings) -> EtcdStore {
    EtcdStore::connect(settings).await.expect("the settings are good")
}

async fn put(store: &EtcdStore, key: &str, value: &str) -> Result<Revision, Error> {
    let put = store.put(key, value.to_owned().into(), Expected::Anything);
    timeout(PATIENCE, put).await.expect("a write hangs")
}

/// Puts as often as it takes an etcd that is back. The first write may go to a connection that nobody knows yet to be
/// broken, and then nobody can say whether it was done.
async fn put_at_last(store: &EtcdStore, key: &str, value: &str) {
    let mut result = put(store, key, value).await;
    for _ in 0..20 {
        match result {
            Err(Error::Unavailable(_)) => result = put(store, key, value).await,
            _ => break,
        }
    }
    result.expect("etcd is back");
}

/// The next word of a watch.
async fn next(watch: &mut Watch) -> Result<Batch, Error> {
    timeout(PATIENCE, watch.next()).await.expect("a watch hangs").expect("a watch ends with an error")
}

/// The key of the next change.
async fn next_key(watch: &mut Watch) -> String {
    loop {
        if let Some(change) = next(watch).await.expect("etcd is there").changes.first() {
            return change.key().to_owned();
        }
    }
}

fn keys(listing: &alts_store::Listing) -> Vec<&str> {
    listing.entries.iter().map(|entry| entry.key.as_str()).collect()
}

#[tokio::test]
async fn nothing_outside_the_prefix_is_seen() {
    if !Etcd::is_there("the prefix") {
        return;
    }
    let etcd = Etcd::start(1);
    let store = connect(settings(&etcd)).await;
    let mut watch = store.watch("", Revision(1)).await.expect("etcd is there");
    for key in ["altsd", "altsd.", "altsd0", "altse/a", "a", "altsd/a"] {
        etcd.control(&["put", key, "1"]);
    }
    assert_eq!(keys(&store.list("").await.expect("etcd is there")), ["a"]);
    assert_eq!(store.get("/a").await, Ok(None));
    assert_eq!(next_key(&mut watch).await, "a");
    put(&store, "b", "1").await.expect("etcd is there");
    assert_eq!(next_key(&mut watch).await, "b");
    assert!(etcd.control(&["get", "--keys-only", "altsd/b"]).contains("altsd/b"));
}

#[tokio::test]
async fn a_long_listing_comes_in_pages_and_whole() {
    if !Etcd::is_there("long listings") {
        return;
    }
    let etcd = Etcd::start(1);
    let store = connect(settings(&etcd)).await;
    // The small ones fill several pages, the large ones are more than one page takes.
    let mut wanted = Vec::new();
    for many in 0..40 {
        let small = (0..60).map(|n| Write::put(format!("small/{many:02}{n:02}"), "1", Expected::Absent));
        store.transact(small.collect()).await.expect("etcd is there");
        let large = vec![many; MAX_VALUE];
        store.put(&format!("large/{many:02}"), large.into(), Expected::Absent).await.expect("etcd is there");
        wanted.push(many);
    }
    let listing = store.list("").await.expect("etcd is there");
    let larges: Vec<_> = listing.entries.iter().take(40).map(|entry| entry.value[MAX_VALUE - 1]).collect();
    assert_eq!((larges, listing.entries.len()), (wanted, 40 * 61));
    assert!(listing.entries.is_sorted_by_key(|entry| &entry.key));
    assert_eq!(Some(listing.revision), listing.entries.iter().map(|entry| entry.revision).max());
    // What a watch is behind by more than it takes at once, it asks to list.
    let mut watch = store.watch("", Revision(1)).await.expect("etcd is there");
    let told = loop {
        match next(&mut watch).await {
            Ok(batch) => assert_eq!(batch.changes, []),
            Err(problem) => break problem,
        }
    };
    assert!(matches!(told, Error::Compacted { .. }), "{told:?}");
    // A listing that etcd forgets half way begins again.
    let etcd = Arc::new(etcd);
    for _ in 0..4 {
        let forgetful = etcd.clone();
        let forgetting = tokio::task::spawn_blocking(move || {
            for _ in 0..4 {
                let put = forgetful.control(&["put", "elsewhere", "1", "-w", "fields"]);
                let revision = put.split("\"Revision\" : ").nth(1).and_then(|rest| rest.lines().next());
                forgetful.control(&["compact", revision.expect("etcdctl tells it")]);
            }
        });
        while !forgetting.is_finished() {
            let listing = store.list("").await.expect("it begins again often enough");
            assert_eq!(listing.entries.len(), 40 * 61);
        }
        forgetting.await.expect("etcd forgets");
    }
}

#[tokio::test]
async fn a_lease_that_was_not_needed_is_taken_back() {
    if !Etcd::is_there("leases") {
        return;
    }
    let etcd = Etcd::start(1);
    let store = connect(settings(&etcd)).await;
    let write =
        |expected| Write { lifetime: Some(Duration::from_secs(1_000)), ..Write::put("a", "1", expected) };
    put(&store, "a", "0").await.expect("etcd is there");
    let refused = store.transact(vec![write(Expected::Absent)]).await;
    assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
    assert!(etcd.control(&["lease", "list"]).starts_with("found 0"));
    store.transact(vec![write(Expected::Anything)]).await.expect("etcd is there");
    assert!(etcd.control(&["lease", "list"]).starts_with("found 1"));
}

#[tokio::test]
async fn an_etcd_that_does_not_answer_is_unavailable() {
    if !Etcd::is_there("an etcd that is away") {
        return;
    }
    let mut etcd = Etcd::start(1);
    let mut impatient = settings(&etcd);
    impatient.timeout = Duration::from_millis(500);
    let store = connect(impatient).await;
    put(&store, "a", "1").await.expect("etcd is there");
    let mut watch = store.watch("", Revision(1)).await.expect("etcd is there");
    assert_eq!(next_key(&mut watch).await, "a");
    // Its connections stay, and it says nothing.
    etcd.freeze(0);
    for what in ["frozen", "ended"] {
        let unavailable = |result: Result<(), Error>| {
            let Err(Error::Unavailable(problem)) = result else { panic!("{what}: {result:?}") };
            problem
        };
        unavailable(put(&store, "a", "2").await.map(drop));
        unavailable(timeout(PATIENCE, store.get("a")).await.expect("a read hangs").map(drop));
        unavailable(timeout(PATIENCE, store.list("")).await.expect("a listing hangs").map(drop));
        unavailable(timeout(PATIENCE, store.watch("", Revision(1))).await.expect("it hangs").map(drop));
        if what == "frozen" {
            let end = loop {
                if let Err(end) = next(&mut watch).await {
                    break end;
                }
            };
            unavailable(Err(end));
            etcd.kill(0);
        }
    }
    etcd.restart(0);
    put_at_last(&store, "b", "1").await;
}

#[tokio::test]
async fn a_quiet_watch_proves_that_etcd_is_there_and_how_far() {
    if !Etcd::is_there("quiet watches") {
        return;
    }
    let etcd = Etcd::start(1);
    let store = connect(settings(&etcd)).await;
    let revision = put(&store, "a", "1").await.expect("etcd is there");
    let mut watch = store.watch("", revision).await.expect("etcd is there");
    for _ in 0..3 {
        let batch = next(&mut watch).await.expect("etcd is there");
        assert_eq!((batch.changes, batch.revision), (vec![], revision));
    }
    let revision = store.delete("a", Expected::Anything).await.expect("etcd is there");
    let deleted = Change::Deleted { key: "a".to_owned(), revision };
    let batch = next(&mut watch).await.expect("etcd is there");
    assert_eq!((batch.changes, batch.revision), (vec![deleted], revision));
}

#[tokio::test]
async fn the_oldest_revision_that_can_be_watched_hides_no_deletion() {
    if !Etcd::is_there("compaction") {
        return;
    }
    let etcd = Etcd::start(1);
    let store = connect(settings(&etcd)).await;
    let before = put(&store, "a", "1").await.expect("etcd is there");
    let deleted = store.delete("a", Expected::Anything).await.expect("etcd is there");
    put(&store, "b", "1").await.expect("etcd is there");
    etcd.control(&["compact", "--physical", &deleted.to_string()]);
    // etcd itself accepts a watch of everything from the deletion on, and leaves the deletion out.
    let mut watch = store.watch("", before).await.expect("etcd is there");
    let told = loop {
        match next(&mut watch).await {
            Ok(batch) => assert_eq!(batch.changes, []),
            Err(problem) => break problem,
        }
    };
    assert_eq!(told, Error::Compacted { oldest: deleted });
    let mut watch = store.watch("", deleted).await.expect("etcd is there");
    assert_eq!(next_key(&mut watch).await, "b");
}

#[tokio::test]
async fn an_etcd_that_was_begun_anew_is_not_waited_for() {
    if !Etcd::is_there("an etcd without its past") {
        return;
    }
    let mut etcd = Etcd::start(1);
    let store = connect(settings(&etcd)).await;
    for _ in 0..5 {
        put(&store, "a", "1").await.expect("etcd is there");
    }
    let revision = store.list("").await.expect("etcd is there").revision;
    etcd.restart_empty(0);
    let watch = store.watch("", revision).await.map(drop);
    assert_eq!(watch, Err(Error::Replaced { known: revision, found: Revision(1) }));
}

#[tokio::test]
async fn a_full_etcd_refuses_and_says_why() {
    if !Etcd::is_there("a full etcd") {
        return;
    }
    let etcd = Etcd::start_with(1, None, &["--quota-backend-bytes", "16777216"]);
    let store = connect(settings(&etcd)).await;
    let value = vec![0; MAX_VALUE];
    let mut refused = Ok(Revision(0));
    for _ in 0..64 {
        refused = store.put("a", value.clone().into(), Expected::Anything).await;
        if refused.is_err() {
            break;
        }
    }
    let Err(Error::Refused(problem)) = refused else { panic!("{refused:?}") };
    assert!(problem.contains("database space exceeded"), "{problem}");
    assert!(store.get("a").await.is_ok());
}

fn user(name: &str, password: &str) -> EtcdUser {
    EtcdUser { name: name.to_owned(), password: EtcdSecret::new(password.as_bytes().to_vec()) }
}

#[tokio::test]
async fn users_do_what_they_may_and_nothing_else() {
    if !Etcd::is_there("users") {
        return;
    }
    let mut etcd = Etcd::start(1);
    for command in [
        "user add root:geheim",
        "user grant-role root root",
        "role add node",
        "role grant-permission --prefix node readwrite altsd/",
        "user add node:hunter2",
        "user grant-role node node",
        "auth enable",
    ] {
        etcd.control(&command.split(' ').collect::<Vec<_>>());
    }
    etcd.act_as("root:geheim");
    let store_as = async |user, prefix: &str| {
        let mut settings = settings(&etcd);
        settings.user = user;
        prefix.clone_into(&mut settings.prefix);
        connect(settings).await
    };
    let store = store_as(Some(user("node", "hunter2")), "altsd/").await;
    for (refused, what) in [
        (store_as(None, "altsd/").await, "nobody"),
        (store_as(Some(user("node", "hunter3")), "altsd/").await, "wrong password"),
        (store_as(Some(user("nodes", "hunter2")), "altsd/").await, "wrong name"),
        (store_as(Some(user("node", "hunter2")), "other/").await, "wrong prefix"),
    ] {
        for result in [
            put(&refused, "a", "1").await.map(drop),
            refused.get("a").await.map(drop),
            refused.list("").await.map(drop),
            refused.watch("", Revision(1)).await.map(drop),
        ] {
            let Err(Error::Refused(problem)) = result else { panic!("{what}: {result:?}") };
            assert!(!problem.contains("hunter"), "{problem}");
        }
    }
    let before = put(&store, "a", "1").await.expect("it may");
    assert_eq!(keys(&store.list("").await.expect("it may")), ["a"]);
    // Etcd forgets whom it knew when it ends, so all of these have to say it again.
    for again in 0..3 {
        etcd.kill(0);
        etcd.restart(0);
        let watch = store.watch("", before).await;
        let mut watch = watch.unwrap_or_else(|problem| panic!("{again}: {problem}"));
        etcd.kill(0);
        etcd.restart(0);
        put_at_last(&store, "b", &again.to_string()).await;
        while next(&mut watch).await.is_ok() {}
    }
}

#[tokio::test]
async fn members_and_clients_know_each_other_by_their_authority() {
    if !Etcd::is_there("TLS") {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let (ours, foreign) = (Authority::new(), Authority::new());
    let (certificate, key) = ours.issue("127.0.0.1");
    let file = |name: &str, content: &str| write(directory.path(), name, content);
    let tls = Tls {
        ca: file("ca.pem", &ours.pem),
        certificate: file("member.pem", &certificate),
        key: file("member.key", &key),
    };
    let etcd = Etcd::start_with(1, Some(tls), &[]);
    let store_with = async |ca: &str, client: Option<(String, String)>, server_name: Option<&str>| {
        let mut settings = settings(&etcd);
        settings.tls = Some(EtcdTls {
            ca: ca.as_bytes().to_vec(),
            client: client.map(|(chain, key)| EtcdClientCertificate {
                chain: chain.into_bytes(),
                key: EtcdSecret::new(key.into_bytes()),
            }),
            server_name: server_name.map(str::to_owned),
        });
        connect(settings).await
    };
    let store = store_with(&ours.pem, Some(ours.issue("node")), None).await;
    put(&store, "a", "1").await.expect("both are known");
    for (stranger, what) in [
        (store_with(&ours.pem, None, None).await, "no certificate"),
        (store_with(&ours.pem, Some(foreign.issue("node")), None).await, "a client of a foreign authority"),
        (store_with(&foreign.pem, Some(ours.issue("node")), None).await, "a member of a foreign authority"),
        (store_with(&ours.pem, Some(ours.issue("node")), Some("etcd.example")).await, "another name"),
    ] {
        let result = put(&stranger, "a", "1").await;
        assert!(matches!(result, Err(Error::Unavailable(_))), "{what}: {result:?}");
    }
}

/// A certification authority.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("there is randomness");
        let pem = params.self_signed(&key).expect("the key fits").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate and its key.
    fn issue(&self, name: &str) -> (String, String) {
        let params = CertificateParams::new([name.to_owned()]).expect("the name is one");
        let key = KeyPair::generate().expect("there is randomness");
        (params.signed_by(&key, &self.issuer).expect("the key fits").pem(), key.serialize_pem())
    }
}

fn write(directory: &Path, name: &str, content: &str) -> std::path::PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, content).expect("the directory can be written");
    path
}
