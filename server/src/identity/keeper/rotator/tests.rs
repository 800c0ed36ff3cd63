//! The rotator, driven by hand: each step is over before the next begins, so that notes can be counted.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    sync::atomic::AtomicU64,
};

use alts_handshake::Trust;
use rcgen::{
    CertificateRevocationListParams, Issuer, KeyIdMethod, KeyPair, PKCS_ECDSA_P256_SHA256, RevokedCertParams,
    SerialNumber, date_time_ymd,
};
use tempfile::TempDir;

use super::*;
use crate::{
    config::{self, Files, IdentityFiles},
    identity::{
        Origin,
        files::{self, FileSource},
        keeper::bench::{Memory, Mode, NOW, Scripted, TestClock, at, identity, random, signing_service},
        keeper::entry::MAX_WAITING,
        pki::{self, Pki, write},
        rotation::LONGEST_PAUSE,
        watch::TrustSettings,
    },
    snapshot::{Current, Snapshot},
};

mod issued;
mod trust;

const ORDERS: &str = "orders@prod.example.com";
const CART: &str = "cart@prod.example.com";

const CONFIG: &str = r#"[[handshaker.listener]]
address = "127.0.0.7:8080"
identity = "orders@prod.example.com"

[[identity]]
account = "orders@prod.example.com"
certificate_chain = "orders.pem"
private_key = "orders.key"

[[identity]]
account = "cart@prod.example.com"
certificate_chain = "cart.pem"
private_key = "cart.key"

[[trust]]
authority = "prod.example.com"
roots = ["root.pem", "more.pem"]

[policy]
default = "allow"
"#;

struct Bench {
    rotator: Rotator,
    clock: Arc<TestClock>,
    memory: Arc<Memory>,
    ready: watch::Receiver<bool>,
    current: Arc<Current>,
}

impl Bench {
    fn new(identities: Vec<Issued>, files: Files, fixed: TrustSettings) -> Self {
        let clock = Arc::new(TestClock(AtomicU64::new(NOW)));
        let memory = Arc::new(Memory::default());
        let identity_folder = IdentityFolder::new(&files.identities);
        let (trust_folder, trust) =
            TrustFolder::load(TrustSettings { files: files.trust, ..fixed }).expect("all is good");
        let load =
            |entry: &IdentityFiles| files::checked(entry, &trust, at(NOW), &*random()).expect("all is good");
        let credentials: Vec<_> = files.identities.iter().map(load).collect();
        let current = Arc::new(Current::new(Snapshot::new(credentials, trust)));
        let from_files = files.identities.into_iter().map(|entry| Issued {
            identity: entry.account.value.clone(),
            source: Arc::new(FileSource::new(entry, random())),
            at_start: true,
        });
        let shared = Arc::new(Shared {
            current: current.clone(),
            clock: clock.clone(),
            statuses: arc_swap::ArcSwap::from_pointee(Vec::new()),
        });
        let (is_ready, ready) = watch::channel(false);
        let rotator = Rotator::new(Parts {
            shared,
            random: random(),
            observer: memory.clone(),
            identities: from_files.chain(identities).collect(),
            trust_folder,
            identity_folder,
            is_ready,
        });
        Self { rotator, clock, memory, ready, current }
    }

    fn with_files(directory: &Path) -> Self {
        let launch = config::read(&directory.join("altsd.toml")).expect("it is good");
        let config::Source::Configured(config::Configured { files, .. }) = launch.source else {
            panic!("a file is no dev mode")
        };
        Self::new(Vec::new(), files, TrustSettings::default())
    }

    /// Identities that a source makes for us, and the root of it.
    fn with_source(source: &Arc<Scripted>, accounts: &[&str], at_start: bool) -> Self {
        let issued = accounts.iter().map(|account| Issued {
            identity: identity(account),
            source: source.clone(),
            at_start,
        });
        let files = Files { identities: Vec::new(), trust: Vec::new() };
        let trust = TrustSettings { fixed: source.service.roots(), ..TrustSettings::default() };
        Self::new(issued.collect(), files, trust)
    }

    /// Does what is due, to the end of all jobs. Returns how long nothing else is due.
    async fn settle(&mut self) -> Duration {
        for _ in 0..1_000 {
            let wait = self.rotator.turn();
            match self.rotator.jobs.join_next().await {
                Some(done) => self.rotator.finish(done),
                None => return wait,
            }
        }
        panic!("there is always something due");
    }

    /// Looks at the files once, and does what follows.
    async fn poll(&mut self) {
        self.rotator.look();
        let looked = self.rotator.looks.join_next().await.expect("it was started");
        self.rotator.looked(looked);
        self.settle().await;
    }

    /// Looks often enough for every change to be acted upon, and more.
    async fn polls(&mut self) -> Vec<Note> {
        for _ in 0..5 {
            self.poll().await;
        }
        self.memory.notes()
    }

    fn held(&self, account: &str) -> Arc<Credentials> {
        self.current.load().credentials(account).expect("it has some").clone()
    }

    fn status(&self, account: &str) -> Status {
        let statuses = self.rotator.shared.statuses.load();
        statuses.iter().find(|status| status.identity.account() == account).expect("it is there").clone()
    }

    fn demand(&mut self, account: &str) -> oneshot::Receiver<Result<(), DemandError>> {
        let (answer, answered) = oneshot::channel();
        self.rotator.obey(Command::Demand { account: account.to_owned(), answer });
        answered
    }

    fn rotate(&mut self, account: &str) -> oneshot::Receiver<Result<Status, RotateError>> {
        let (answer, answered) = oneshot::channel();
        self.rotator.obey(Command::Rotate { account: account.to_owned(), answer });
        answered
    }
}

/// A directory in which everything is good, and who issued it.
fn good() -> (TempDir, Pki) {
    let directory = tempfile::tempdir().expect("there is room");
    let pki = Pki::new();
    write(directory.path(), "altsd.toml", CONFIG);
    write(directory.path(), "root.pem", &pki.root());
    write(directory.path(), "more.pem", &Pki::new().root());
    for account in [ORDERS, CART] {
        issue(directory.path(), account, &pki.leaf(account));
    }
    (directory, pki)
}

fn issue(directory: &Path, account: &str, issued: &pki::Issued) {
    let name = account.split('@').next().expect("it has a name");
    write(directory, &format!("{name}.pem"), &issued.certificate);
    write(directory, &format!("{name}.key"), &issued.key);
}

fn codes(notes: &[Note]) -> Vec<&'static str> {
    let code = |note: &Note| match note {
        Note::Bad { code, .. } => *code,
        Note::Good { .. } => "good",
        Note::Replaced { .. } => "replaced",
    };
    notes.iter().map(code).collect()
}

#[tokio::test]
async fn files_that_change_well_are_taken_over_once_and_the_others_stay() {
    let (directory, pki) = good();
    let mut bench = Bench::with_files(directory.path());
    assert_eq!(bench.polls().await, []);
    let (orders, cart, trust) = (bench.held(ORDERS), bench.held(CART), bench.current.load().trust().clone());
    issue(directory.path(), ORDERS, &pki.leaf(ORDERS));
    bench.poll().await;
    assert!(Arc::ptr_eq(&bench.held(ORDERS), &orders), "a change counts once it is seen twice");
    assert_eq!(codes(&bench.polls().await), ["replaced"]);
    assert!(!Arc::ptr_eq(&bench.held(ORDERS), &orders));
    assert!(Arc::ptr_eq(&bench.held(CART), &cart));
    assert!(Arc::ptr_eq(bench.current.load().trust(), &trust));
    assert_eq!(bench.memory.rotations(), [(Origin::Files, true)]);
}

#[tokio::test]
async fn a_key_and_a_chain_written_one_after_the_other_do_no_harm_in_any_order() {
    for chain_first in [true, false] {
        let (directory, pki) = good();
        let mut bench = Bench::with_files(directory.path());
        let issued = pki.leaf(ORDERS);
        let mut files = [("orders.pem", &issued.certificate), ("orders.key", &issued.key)];
        if !chain_first {
            files.reverse();
        }
        for (name, text) in files {
            write(directory.path(), name, text);
            bench.poll().await;
        }
        assert_eq!(codes(&bench.polls().await), ["replaced"], "{chain_first}");
    }
}

/// What spoils the files of one identity.
type Spoil = fn(&Path, &Pki);

const BAD: &[(&str, Spoil)] = &[
    ("own_key_foreign", |dir, pki| write(dir, "orders.pem", &pki.leaf(ORDERS).certificate)),
    ("own_key_foreign", |dir, pki| write(dir, "orders.key", &pki.leaf(ORDERS).key)),
    ("pem_invalid", |dir, pki| {
        let text = pki.leaf(ORDERS).certificate;
        write(dir, "orders.pem", &text[..text.len() / 2]);
    }),
    ("pem_invalid", |dir, pki| {
        let text = pki.leaf(ORDERS).key;
        write(dir, "orders.key", &text[..text.len() / 2]);
    }),
    ("certificate_missing", |dir, _| write(dir, "orders.pem", "")),
    ("key_missing", |dir, _| write(dir, "orders.key", "")),
    ("file_unreadable", |dir, _| fs::remove_file(dir.join("orders.pem")).expect("it is there")),
    ("file_unreadable", |dir, _| fs::remove_file(dir.join("orders.key")).expect("it is there")),
    ("key_exposed", |dir, pki| {
        issue(dir, ORDERS, &pki.leaf(ORDERS));
        let mode = fs::Permissions::from_mode(0o644);
        fs::set_permissions(dir.join("orders.key"), mode).expect("it is ours");
    }),
    ("peer_certificate_expired", |dir, pki| {
        issue(dir, ORDERS, &pki.leaf_with(ORDERS, |leaf| leaf.not_after = date_time_ymd(2025, 12, 31)));
    }),
    ("peer_certificate_not_yet_valid", |dir, pki| {
        issue(dir, ORDERS, &pki.leaf_with(ORDERS, |leaf| leaf.not_before = date_time_ymd(2027, 1, 1)));
    }),
    ("certificate_foreign", |dir, pki| issue(dir, ORDERS, &pki.leaf(CART))),
    ("peer_certificate_untrusted", |dir, _| issue(dir, ORDERS, &Pki::new().leaf(ORDERS))),
    ("own_chain_length", |dir, pki| write(dir, "orders.pem", &pki.root().repeat(5))),
];

#[tokio::test]
async fn bad_files_leave_the_old_identity_with_one_line_each_and_good_ones_end_that() {
    for (code, spoil) in BAD {
        let (directory, pki) = good();
        let mut bench = Bench::with_files(directory.path());
        let old = bench.held(ORDERS);
        spoil(directory.path(), &pki);
        // The identity beside it is renewed at the same time.
        issue(directory.path(), CART, &pki.leaf(CART));
        let notes = bench.polls().await;
        let (bad, other): (Vec<_>, Vec<_>) = notes.iter().partition(|note| matches!(note, Note::Bad { .. }));
        assert_eq!((bad.len(), other.len()), (1, 1), "{code}: {notes:?}");
        let Note::Bad { what, code: found, problem, old_serves: true } = bad[0] else { unreachable!() };
        assert_eq!((&**what, *found), (&*format!("certificate of {ORDERS}"), *code), "{problem}");
        assert!(problem.contains("altsd.toml:") && problem.contains("identity[0]"), "{problem}");
        assert!(Arc::ptr_eq(&bench.held(ORDERS), &old), "{code}");
        let failure = bench.status(ORDERS).failure.expect("it has failed");
        assert_eq!((failure.code, &failure.problem), (*code, problem));
        assert_eq!(bench.memory.state().failing, 1);
        assert!(*bench.ready.borrow(), "the old one is still valid");
        // An hour later it is still the same bad state.
        for _ in 0..10 {
            bench.clock.set(bench.clock.get() + 360);
            bench.poll().await;
        }
        assert_eq!(bench.memory.notes(), [], "{code}");
        issue(directory.path(), ORDERS, &pki.leaf(ORDERS));
        assert_eq!(codes(&bench.polls().await), ["good"], "{code}");
        assert!(!Arc::ptr_eq(&bench.held(ORDERS), &old), "{code}");
        assert!(bench.status(ORDERS).failure.is_none());
    }
}

#[tokio::test]
async fn one_bad_state_after_the_other_is_one_line_each() {
    let (directory, pki) = good();
    let mut bench = Bench::with_files(directory.path());
    let old = bench.held(ORDERS);
    let mut expected = Vec::new();
    let mut found = Vec::new();
    for (_, spoil) in BAD {
        issue(directory.path(), ORDERS, &pki.leaf(ORDERS));
        spoil(directory.path(), &pki);
        found.extend(bench.polls().await);
        expected.push(bench.status(ORDERS).failure.expect("it has failed").code);
    }
    assert_eq!(codes(&found), expected);
    assert!(Arc::ptr_eq(&bench.held(ORDERS), &old));
}

#[tokio::test]
async fn a_certificate_that_was_not_yet_valid_is_taken_when_it_is() {
    let (directory, pki) = good();
    let mut bench = Bench::with_files(directory.path());
    let old = bench.held(ORDERS);
    let early = pki.leaf_with(ORDERS, |leaf| leaf.not_before = date_time_ymd(2026, 1, 2));
    issue(directory.path(), ORDERS, &early);
    assert_eq!(codes(&bench.polls().await), ["peer_certificate_not_yet_valid"]);
    bench.clock.set(NOW + 24 * 3_600 + 60);
    assert_eq!(codes(&bench.polls().await), ["good"]);
    assert!(!Arc::ptr_eq(&bench.held(ORDERS), &old));
}

#[tokio::test]
async fn a_swap_of_the_symbolic_link_above_the_files_is_seen() {
    let (directory, pki) = good();
    let dir = directory.path();
    let version = |name: &str| {
        fs::create_dir(dir.join(name)).expect("there is room");
        issue(&dir.join(name), ORDERS, &pki.leaf(ORDERS));
    };
    version("one");
    version("two");
    symlink("one", dir.join("..data")).expect("there is room");
    for name in ["orders.pem", "orders.key"] {
        fs::remove_file(dir.join(name)).expect("it is there");
        symlink(Path::new("..data").join(name), dir.join(name)).expect("there is room");
    }
    let mut bench = Bench::with_files(dir);
    let old = bench.held(ORDERS);
    symlink("two", dir.join("..data_tmp")).expect("there is room");
    fs::rename(dir.join("..data_tmp"), dir.join("..data")).expect("it is there");
    fs::remove_dir_all(dir.join("one")).expect("it is there");
    assert_eq!(codes(&bench.polls().await), ["replaced"]);
    assert!(!Arc::ptr_eq(&bench.held(ORDERS), &old));
}

#[tokio::test]
async fn files_are_read_at_once_when_an_operator_says_so() {
    let (directory, pki) = good();
    let mut bench = Bench::with_files(directory.path());
    let old = bench.held(ORDERS);
    issue(directory.path(), ORDERS, &pki.leaf(ORDERS));
    let answer = bench.rotate(ORDERS);
    bench.settle().await;
    let status = answer.await.expect("it is answered").expect("the files are good");
    assert_ne!(status.certificate, Some(old.certificate()));
    assert_eq!((status.origin, status.renew_at), (Origin::Files, None));
    write(directory.path(), "orders.key", "");
    let answer = bench.rotate(ORDERS);
    bench.settle().await;
    let error = answer.await.expect("it is answered").map(drop).expect_err("there is no key").to_string();
    assert!(
        error.starts_with("orders@prod.example.com was not renewed: ") && error.contains("no PKCS#8 key"),
        "{error}"
    );
}

#[tokio::test]
async fn files_that_have_expired_are_an_error_at_once_and_not_ready() {
    let (directory, _) = good();
    let mut bench = Bench::with_files(directory.path());
    bench.settle().await;
    assert!(*bench.ready.borrow());
    bench.clock.set(bench.held(ORDERS).validity().1);
    bench.settle().await;
    assert!(*bench.ready.borrow(), "its last second");
    assert_eq!(bench.memory.state().outage_budget_seconds, Some(0));
    bench.clock.set(bench.clock.get() + 1);
    bench.settle().await;
    assert!(!*bench.ready.borrow());
    let answer = bench.demand(ORDERS).await.expect("it is answered");
    assert!(
        matches!(&answer, Err(DemandError::Failed { code: "peer_certificate_expired", .. })),
        "{answer:?}"
    );
    // The operator is told once, of each.
    bench.clock.set(bench.clock.get() + 600);
    let notes = bench.polls().await;
    let is_end =
        |note: &Note| matches!(note, Note::Bad { code: "peer_certificate_expired", old_serves: false, .. });
    assert!(notes.len() == 2 && notes.iter().all(is_end), "{notes:?}");
    assert_eq!(bench.memory.state().failing, 2);
}

#[tokio::test]
async fn files_that_change_behind_the_back_of_a_job_are_read_again() {
    let (directory, pki) = good();
    let mut bench = Bench::with_files(directory.path());
    let answer = bench.rotate(ORDERS);
    bench.rotator.turn();
    let done = bench.rotator.jobs.join_next().await.expect("it was started");
    // The job has read the old files; before it is heard, the watch tells of new ones.
    let new = pki.leaf(ORDERS);
    issue(directory.path(), ORDERS, &new);
    for _ in 0..2 {
        bench.rotator.look();
        let looked = bench.rotator.looks.join_next().await.expect("it was started");
        bench.rotator.looked(looked);
    }
    bench.rotator.finish(done);
    assert!(answer.await.expect("it is answered").is_ok());
    bench.settle().await;
    assert_eq!(bench.held(ORDERS).chain_der(), new.credentials().chain_der());
}
