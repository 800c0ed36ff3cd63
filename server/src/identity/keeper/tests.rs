//! The handle of the keeper, with its task at work.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
};

use alts_handshake::{
    AdmitAll, ClientSetup, ExpectedPeers, Handshake, Outcome, Preferences, RpcVersions, ServerSetup, Setup,
    SystemRandom,
};

use super::{
    bench::{Memory, Mode, NOW, Scripted, TestClock, at, identity, random, signing_service},
    *,
};
use crate::config::Files;

const CLIENT: &str = "frontend@prod.example.com";
const SERVER: &str = "cart@prod.example.com";

struct Node {
    keeper: Keeper,
    current: Arc<Current>,
    clock: Arc<TestClock>,
    memory: Arc<Memory>,
}

fn start(issued: Vec<Issued>, files: Files, trust: TrustSettings) -> Result<Node, config::Error> {
    let clock = Arc::new(TestClock(AtomicU64::new(NOW)));
    let memory = Arc::new(Memory::default());
    let (keeper, current) = Keeper::start(Parts {
        clock: clock.clone(),
        random: random(),
        observer: memory.clone(),
        trust: TrustSettings { files: files.trust, ..trust },
        files: files.identities,
        issued,
        // The clock of a test is moved by hand: it is looked at often.
        poll: Duration::from_millis(2),
    })?;
    Ok(Node { keeper, current, clock, memory })
}

fn none() -> Files {
    Files { identities: Vec::new(), trust: Vec::new() }
}

fn issuing(source: &Arc<Scripted>, at_start: bool) -> Node {
    let issued = [CLIENT, SERVER].map(|account| Issued {
        identity: identity(account),
        source: source.clone(),
        at_start,
    });
    let trust = TrustSettings { fixed: source.service.roots(), ..TrustSettings::default() };
    start(issued.into(), none(), trust).expect("there are no files")
}

/// Waits until it is so, with a bound.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..5_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("still not: {what}");
}

fn setup(current: &Current, account: &str) -> Setup {
    let snapshot = current.load();
    let versions = RpcVersions { max: (2, 1), min: (2, 1) };
    Setup {
        credentials: snapshot.credentials(account).expect("it has some").clone(),
        trust: snapshot.trust().clone(),
        expected: ExpectedPeers::default(),
        admission: Arc::new(AdmitAll),
        preferences: Preferences::new(&["ALTSRP_GCM_AES128_REKEY"], &["grpc"], &[], versions, 16_384)
            .expect("they are valid"),
    }
}

/// A handshake that has begun: both ends hold what was current.
struct Begun {
    client: Handshake,
    server: Handshake,
    to_server: Vec<u8>,
}

fn begin(current: &Current) -> Begun {
    let client = ClientSetup { common: setup(current, CLIENT), ticket: None, grease: None };
    let (client, to_server) =
        Handshake::client(client, at(NOW), &SystemRandom::new()).expect("a client can begin");
    let server = Handshake::server(ServerSetup { common: setup(current, SERVER), resumption: None });
    Begun { client, server, to_server }
}

impl Begun {
    fn finish(mut self) -> Result<(), alts_handshake::Error> {
        let random = SystemRandom::new();
        let mut to_server = self.to_server;
        loop {
            let step = self.server.step(&to_server, at(NOW), &random);
            match step.outcome {
                Outcome::NeedsInput => {}
                Outcome::Done(_) => return Ok(()),
                Outcome::Failed(error) => return Err(error),
            }
            let step = self.client.step(&step.out_frames, at(NOW), &random);
            if let Outcome::Failed(error) = step.outcome {
                return Err(error);
            }
            to_server = step.out_frames;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_rotations_break_no_handshake() {
    let service = signing_service();
    let issued = [CLIENT, SERVER].map(|account| Issued {
        identity: identity(account),
        source: Arc::new(service.clone()),
        at_start: true,
    });
    let trust = TrustSettings { fixed: service.roots(), ..TrustSettings::default() };
    let node = start(issued.into(), none(), trust).expect("there are no files");
    node.keeper.ready().wait_for(|ready| *ready).await.expect("it runs");
    let (stop, made) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (stop, made) = (Arc::new(stop), Arc::new(made));
    let handshakes = {
        let (current, stop, made) = (node.current.clone(), stop.clone(), made.clone());
        thread::spawn(move || {
            let mut failures = Vec::new();
            while !stop.load(Ordering::SeqCst) {
                failures.extend(begin(&current).finish().err());
                made.fetch_add(1, Ordering::SeqCst);
            }
            failures
        })
    };
    for number in 0..1_000 {
        let account = if number % 2 == 0 { CLIENT } else { SERVER };
        let status = node.keeper.rotate(account).await.expect("the service works");
        let held = node.current.load().credentials(account).expect("it has some").certificate();
        assert_eq!(status.certificate, Some(held), "{number}");
    }
    until("some handshakes", || made.load(Ordering::SeqCst) >= 20).await;
    stop.store(true, Ordering::SeqCst);
    let failures = handshakes.join().expect("it does not panic");
    println!("1,000 rotations, {} handshakes, {} failed", made.load(Ordering::SeqCst), failures.len());
    assert_eq!(failures, []);
    // Two at the start, and each rotation is one.
    assert_eq!(node.memory.rotations(), vec![(Origin::SigningService, true); 1_002]);
}

#[tokio::test]
async fn a_handshake_under_way_keeps_what_it_began_with() {
    let source = Scripted::new(&signing_service());
    let node = issuing(&source, true);
    node.keeper.ready().wait_for(|ready| *ready).await.expect("it runs");
    let begun = begin(&node.current);
    let before = node.current.load();
    for account in [CLIENT, SERVER] {
        node.keeper.rotate(account).await.expect("the source works");
    }
    let after = node.current.load();
    for account in [CLIENT, SERVER] {
        let [old, new] = [&before, &after].map(|one| one.credentials(account).expect("it has some"));
        assert!(!Arc::ptr_eq(old, new));
    }
    assert!(Arc::ptr_eq(before.trust(), after.trust()), "the chains found good are still known");
    assert_eq!(begun.finish(), Ok(()));
}

#[tokio::test]
async fn a_demand_is_met_once_for_all_and_costs_nothing_from_then_on() {
    let source = Scripted::new(&signing_service());
    let node = issuing(&source, false);
    assert!(node.current.load().credentials(CLIENT).is_none());
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let keeper = node.keeper.clone();
        all.spawn(async move { keeper.demand(CLIENT).await });
    }
    assert!(all.join_all().await.into_iter().all(|met| met == Ok(())));
    assert!(node.current.load().credentials(CLIENT).is_some());
    assert_eq!(node.keeper.demand(CLIENT).await, Ok(()));
    assert_eq!(source.calls(), 1);
    let unknown = node.keeper.demand("nobody@prod.example.com").await.expect_err("it is no identity");
    assert!(matches!(unknown, DemandError::Unknown { .. }), "{unknown}");
    assert_eq!(unknown.to_string(), "nobody@prod.example.com is no identity of this node");
}

#[tokio::test]
async fn a_demand_during_an_outage_fails_with_the_problem_and_without_another_try() {
    let source = Scripted::new(&signing_service());
    source.set(Mode::Fail);
    let node = issuing(&source, false);
    let first = node.keeper.demand(CLIENT).await.expect_err("the source fails");
    let text = "there is no valid certificate for frontend@prod.example.com (timed_out); altsd certs list tells more";
    assert_eq!(first.to_string(), text);
    for _ in 0..20 {
        assert_eq!(node.keeper.demand(CLIENT).await, Err(first.clone()));
    }
    assert_eq!(source.calls(), 1);
    assert!(!*node.keeper.ready().borrow(), "it is needed and there is none");
    // When the pause is over it comes by itself.
    source.set(Mode::Issue);
    node.clock.set(NOW + 10);
    node.keeper.ready().wait_for(|ready| *ready).await.expect("it runs");
    assert_eq!(node.keeper.demand(CLIENT).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_does_not_answer_holds_up_nobody_for_long() {
    let source = Scripted::new(&signing_service());
    source.gate.forget_permits(usize::MAX >> 3);
    let node = issuing(&source, false);
    let late = node.keeper.demand(CLIENT).await.expect_err("nothing comes");
    assert!(matches!(late, DemandError::TimedOut { .. }), "{late}");
    // What comes late is used all the same.
    source.gate.add_permits(1);
    until("a certificate", || node.current.load().credentials(CLIENT).is_some()).await;
    assert_eq!(source.calls(), 1);
}

#[tokio::test]
async fn readiness_follows_the_certificates_and_not_the_tries() {
    let source = Scripted::new(&signing_service());
    let node = issuing(&source, true);
    let mut ready = node.keeper.ready();
    ready.wait_for(|ready| *ready).await.expect("it runs");
    source.set(Mode::Fail);
    let before = source.calls();
    node.clock.set(NOW + 3_000);
    until("tries", || source.calls() >= before + 2).await;
    until("failures", || node.memory.state().failing == 2).await;
    assert!(*ready.borrow(), "the old ones are still good");
    node.clock.set(NOW + 3_601);
    ready.wait_for(|ready| !*ready).await.expect("it runs");
    source.set(Mode::Issue);
    node.clock.set(NOW + 4_000);
    ready.wait_for(|ready| *ready).await.expect("it runs");
    let status = node.keeper.status();
    assert_eq!(status.len(), 2);
    assert!(
        status.iter().all(|one| one.failure.is_none() && one.not_after == Some(NOW + 7_600)),
        "{status:?}"
    );
}

#[tokio::test]
async fn a_source_that_panics_takes_nothing_with_it() {
    let source = Scripted::new(&signing_service());
    source.set(Mode::Panic);
    let node = issuing(&source, false);
    let error = node.keeper.rotate(CLIENT).await.map(drop).expect_err("it panics").to_string();
    assert!(error.contains("has failed unexpectedly"), "{error}");
    source.set(Mode::Issue);
    assert!(node.keeper.rotate(CLIENT).await.is_ok(), "also in the pause");
    let unknown = node.keeper.rotate("nobody@prod.example.com").await.map(drop);
    assert_eq!(unknown, Err(RotateError::Unknown { account: "nobody@prod.example.com".to_owned() }));
}

#[tokio::test]
async fn the_task_ends_with_its_last_handle() {
    let source = Scripted::new(&signing_service());
    let node = issuing(&source, true);
    let mut ready = node.keeper.ready();
    let other = node.keeper.clone();
    drop(node.keeper);
    assert!(other.rotate(CLIENT).await.is_ok());
    drop(other);
    until("the end", || ready.has_changed().is_err()).await;
    drop(ready.borrow_and_update());
}

#[tokio::test]
async fn a_mistake_in_a_file_at_the_start_is_the_error_with_its_place() {
    let directory = tempfile::tempdir().expect("there is room");
    let text = "[[handshaker.listener]]\naddress = \"127.0.0.7:8080\"\nidentity = \"a@x.example\"\n[[identity]]\n\
                account = \"a@x.example\"\ncertificate_chain = \"a.pem\"\nprivate_key = \"a.key\"\n[policy]\ndefault = \"allow\"\n";
    std::fs::write(directory.path().join("altsd.toml"), text).expect("there is room");
    let launch = config::read(&directory.path().join("altsd.toml")).expect("it is good");
    let config::Source::Configured(config::Configured { files, .. }) = launch.source else {
        panic!("a file is no dev mode")
    };
    let error = start(Vec::new(), files, TrustSettings::default()).map(drop).expect_err("there are no files");
    let place =
        format!("{}:6: identity[0].certificate_chain: ", directory.path().join("altsd.toml").display());
    assert!(error.to_string().starts_with(&place), "{error}");
}
