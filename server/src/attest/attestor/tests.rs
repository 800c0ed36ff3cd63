use std::{fs, path::PathBuf};

use tempfile::TempDir;
use tokio::{net::TcpListener, task::yield_now};

use super::*;
use crate::{
    attest::{
        PodSource,
        tests::{program::Program, selectors, workload},
    },
    clock::SystemClock,
};

const UID: &str = "k8s:pod-uid:0f6b1c6e-1111-2222-3333-444455556666";

const PODS: &str = r#"{"kind": "PodList", "items": [{
    "metadata": {"uid": "0f6b1c6e-1111-2222-3333-444455556666", "namespace": "shop", "name": "cart-1"},
    "spec": {"serviceAccountName": "cart"}
}]}"#;

fn attestor(wanted: &str, pods: Option<PathBuf>) -> Result<Attestor, AttestorProblem> {
    let workloads = Workloads::new(vec![workload("a@example.com", [wanted])]).expect("there is no tie");
    let settings = pods.map(|path| KubernetesSettings { pods: PodSource::File(path) });
    Attestor::new(&workloads, settings, Arc::new(SystemClock))
}

#[tokio::test]
async fn a_process_in_a_pod_is_what_its_pod_is() {
    let directory = TempDir::new().expect("there is room");
    let path = directory.path().join("pods.json");
    fs::write(&path, PODS).expect("there is room");
    let attestor = attestor("k8s:ns:shop", Some(path)).expect("there is a source");
    let other = "k8s:pod-uid:0f6b1c6e-9999-2222-3333-444455556666";
    let mut found = [selectors(["uid:1", UID]), selectors(["uid:1", other]), selectors(["uid:1"])];
    attestor.0.add_pods(&mut found).await.expect("the file is there");
    let pod = ["uid:1", UID, "k8s:ns:shop", "k8s:sa:cart", "k8s:pod-name:cart-1"];
    assert_eq!(found, [selectors(pod), selectors(["uid:1", other]), selectors(["uid:1"])]);
}

#[tokio::test]
async fn a_source_of_pods_that_fails_is_our_fault_only_if_a_workload_wants_pods() {
    let missing = || Some(PathBuf::from("/nonexistent/pods.json"));
    for (wanted, fails) in
        [("k8s:ns:shop", true), ("k8s:sa:a", true), ("k8s:pod-name:a", true), (UID, false), ("uid:1", false)]
    {
        let attestor = attestor(wanted, missing()).expect("there is a source");
        let mut found = [selectors([UID])];
        match attestor.0.add_pods(&mut found).await {
            Ok(()) => assert!(!fails, "{wanted}"),
            Err(problem) => assert!(fails && problem.is_own_fault(), "{wanted}: {problem}"),
        }
        assert_eq!(found, [selectors([UID])]);
        // Whoever is in no pod is not kept from anything.
        assert!(attestor.0.add_pods(&mut [selectors(["uid:1"])]).await.is_ok());
    }
}

#[test]
fn workloads_that_want_pods_need_a_source_of_them() {
    assert!(matches!(attestor("k8s:ns:shop", None), Err(AttestorProblem::NoPods)));
    assert!(attestor(UID, None).is_ok() && attestor("uid:1", None).is_ok());
}

#[tokio::test]
async fn what_was_read_is_believed_only_of_a_caller_that_is_still_the_same() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
    let mut program = Program::puppet();
    program.tell(&format!("tcp {}", listener.local_addr().expect("it is bound")));
    let (socket, _) = listener.accept().await.expect("somebody connects");
    let attestor = attestor("uid:1", None).expect("it needs nothing");
    let (searches, checks) = (attestor.0.searches.clone(), attestor.0.checks.clone());

    // The search waits for its place, gets it when all are given back, and has ended when all are free again.
    let all_searches = searches.acquire_many(MAX_SEARCHES as u32).await.expect("it is open");
    let all_checks = checks.acquire_many(MAX_CHECKS as u32).await.expect("it is open");
    let caller = Caller::of_tcp(&socket);
    let own = attestor.0.searches_of_users.of(caller.user());
    let attested = tokio::spawn(async move { caller.attest(&attestor).await.map(|found| found.pids()) });
    // Who has one's own place waits for one of all.
    while own.available_permits() == MAX_SEARCHES_OF_ONE_USER {
        yield_now().await;
    }
    drop(all_searches);
    assert_eq!(searches.available_permits(), MAX_SEARCHES - 1);
    while searches.available_permits() < MAX_SEARCHES {
        yield_now().await;
    }
    program.become_program("/bin/cat");
    drop(all_checks);
    let problem = attested.await.expect("it ends").expect_err("it is another program");
    assert_eq!(problem.reason(), "caller_changed");
}

#[tokio::test]
async fn what_blocks_waits_for_room() {
    let places = Arc::new(Semaphore::new(0));
    let done = blocking([&places], || Ok(()));
    tokio::pin!(done);
    tokio::select! {
        biased;
        _ = &mut done => panic!("there is no room"),
        () = std::future::ready(()) => {}
    }
    places.add_permits(1);
    done.await.expect("there is room");
    assert_eq!(places.available_permits(), 1);
    assert!(
        blocking::<(), 1>([&places], || panic!("on purpose"))
            .await
            .is_err_and(|problem| problem.is_own_fault())
    );
    assert_eq!(places.available_permits(), 1);
}

#[tokio::test]
async fn who_waits_for_his_own_searches_takes_no_place_of_others() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
    let mut program = Program::puppet();
    program.tell(&format!("tcp {}", listener.local_addr().expect("it is bound")));
    let (socket, _) = listener.accept().await.expect("somebody connects");
    let attestor = attestor("uid:1", None).expect("it needs nothing");
    let caller = Caller::of_tcp(&socket);
    assert_eq!(caller.user(), Some(rustix::process::geteuid().as_raw()));

    let own = attestor.0.searches_of_users.of(caller.user());
    let own = own.acquire_many_owned(MAX_SEARCHES_OF_ONE_USER as u32).await.expect("it is open");
    {
        let attested = caller.attest(&attestor);
        tokio::pin!(attested);
        for _ in 0..10 {
            tokio::select! {
                biased;
                _ = &mut attested => panic!("another search of this user is not over"),
                () = yield_now() => {}
            }
        }
        assert_eq!(attestor.0.searches.available_permits(), MAX_SEARCHES);
    }
    drop(own);
    assert_eq!(caller.attest(&attestor).await.map(|found| found.pids()), Ok(vec![program.pid()]));
}
