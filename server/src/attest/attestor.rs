//! Finds out who callers are, for all connections of the daemon.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    sync::Arc,
    time::{Duration, Instant},
};

use nix::unistd::{Gid, Group, Uid, User};
use rustix::fs::OFlags;
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

use super::{
    caller::{Attested, Caller, Processes, Transport},
    cgroup,
    error::AttestError,
    executable::Hashes,
    kubernetes::{Kubernetes, KubernetesProblem, KubernetesSettings},
    process::{Process, Seen},
    search::Search,
    selector::{Kind, Selector, common},
    unmapped::Unmapped,
    workload::{Wanted, Workloads},
};
use crate::{clock::Clock, shares::Shares};

/// How often processes are looked for that do not fit.
const MAX_LOOKS: usize = 3;

/// Callers that are looked into at once: each takes a thread that reads what is true of them, or hashes an executable.
const MAX_SEARCHES: usize = 4;

/// Of these, for callers of one user: who makes his own searches long keeps nobody else waiting.
const MAX_SEARCHES_OF_ONE_USER: usize = 2;

/// Known callers that are checked at once. Apart, so that they do not wait for those who must be looked for.
const MAX_CHECKS: usize = 4;

/// How long it may take to find out who calls. A file system that does not answer must not hold a caller for ever.
const PATIENCE: Duration = Duration::from_secs(10);

/// Largest `/proc/<pid>/cgroup` that is read.
const MAX_CGROUP_TEXT: u64 = 64 << 10;

/// What callers are looked for with. A clone is the same attestor.
#[derive(Clone)]
pub(crate) struct Attestor(Arc<Shared>);

struct Shared {
    wanted: Wanted,
    unmapped: Unmapped,
    hashes: Hashes,
    kubernetes: Option<Kubernetes>,
    clock: Arc<dyn Clock>,
    searches: Arc<Semaphore>,
    searches_of_users: Shares,
    search: Search,
    checks: Arc<Semaphore>,
}

/// Why callers cannot be looked for as the workloads want it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttestorProblem {
    #[error(
        "a workload has a `k8s:` selector, and there is no source of pods; name one, or use `k8s:pod-uid:` only"
    )]
    NoPods,
    #[error(transparent)]
    Kubernetes(#[from] KubernetesProblem),
}

/// What is true of one process.
type Found = BTreeSet<Selector>;

impl Attestor {
    /// Looks for all that these workloads ask for.
    pub(crate) fn new(
        workloads: &Workloads,
        kubernetes: Option<KubernetesSettings>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AttestorProblem> {
        let wanted = workloads.wanted();
        if wanted.pods && kubernetes.is_none() {
            return Err(AttestorProblem::NoPods);
        }
        let kubernetes = kubernetes.map(|settings| Kubernetes::new(settings, clock.clone())).transpose()?;
        Ok(Self(Arc::new(Shared {
            wanted,
            unmapped: Unmapped::here(),
            hashes: Hashes::default(),
            kubernetes,
            clock,
            searches: Arc::new(Semaphore::new(MAX_SEARCHES)),
            searches_of_users: Shares::new(MAX_SEARCHES_OF_ONE_USER),
            search: Search::default(),
            checks: Arc::new(Semaphore::new(MAX_CHECKS)),
        })))
    }

    pub(super) fn monotonic(&self) -> Instant {
        self.0.clock.monotonic()
    }

    /// Finds out who calls.
    pub(super) async fn attest(&self, caller: Caller) -> Result<Arc<Attested>, AttestError> {
        let mut found = self.look(&caller).await;
        // A process that is just being started can have a socket for a moment, on its way to another uid.
        for _ in 1..MAX_LOOKS {
            match found {
                Err(AttestError::Changed { .. }) if caller.transport() == Transport::Tcp => {
                    found = self.look(&caller).await;
                }
                _ => break,
            }
        }
        let (processes, mut found) = found?;
        self.0.add_pods(&mut found).await?;
        let selectors = found.into_iter().reduce(|one, other| common(&one, &other)).unwrap_or_default();
        let attested = Arc::new(Attested { selectors: Arc::new(selectors), processes });
        // All that was read is true of these processes only if they are still the same now.
        self.check(attested.clone()).await?;
        Ok(attested)
    }

    /// The processes at the other end, and what is true of each.
    async fn look(&self, caller: &Caller) -> Result<(Processes, Vec<Found>), AttestError> {
        let held = match caller.socket()? {
            Some(socket) => Some((socket, self.0.search.holders_of(socket).await?)),
            None => None,
        };
        let (shared, caller) = (self.0.clone(), caller.clone());
        // One's own place first: who waits for it takes none of the others.
        let places = [&self.0.searches_of_users.of(caller.user()), &self.0.searches];
        blocking(places, move || {
            let processes = caller.processes(held)?;
            let mut found = Vec::new();
            for process in processes.all() {
                match shared.selectors(process, &processes) {
                    Ok(one) => found.push(one),
                    // What could not be read of it any more does not matter; whether others are left, the check
                    // at the end tells.
                    Err(_) if !process.is_alive()? => {}
                    Err(problem) => return Err(problem),
                }
            }
            Ok((processes, found))
        })
        .await
    }

    /// Checks that a caller is who it was.
    pub(super) async fn check(&self, attested: Arc<Attested>) -> Result<(), AttestError> {
        blocking([&self.0.checks], move || attested.processes.still_the_same()).await
    }
}

impl Shared {
    /// What is true of one process by what the node itself knows. Blocks.
    fn selectors(&self, process: &Process, of: &Processes) -> Result<Found, AttestError> {
        let facts = process.facts();
        let mut found = Found::new();
        let mut say = |kind, value: &str| found.extend(Selector::new(kind, value));
        if !self.unmapped.is_uid(facts.uid) {
            say(Kind::Uid, &facts.uid.to_string());
            if let Some(name) = self.name(User::from_uid(Uid::from_raw(facts.uid)))? {
                say(Kind::User, &name.name);
            }
        }
        if of.is_gid_known(process) && !self.unmapped.is_gid(facts.gid) {
            say(Kind::Gid, &facts.gid.to_string());
            if let Some(name) = self.name(Group::from_gid(Gid::from_raw(facts.gid)))? {
                say(Kind::Group, &name.name);
            }
        }
        if self.wanted.executable && facts.executable == Seen::Hidden {
            let what = format!("the executable of process {}", process.pid());
            return Err(AttestError::NotPermitted { what });
        }
        if let Some(path) = process.executable().and_then(|executable| executable.path()) {
            say(Kind::Path, path);
        }
        if self.wanted.sha256
            && let Some(hash) = self.hashes.of(process, self.clock.now())?
        {
            say(Kind::Sha256, &hex::encode(hash));
        }
        found.extend(cgroup::selectors(&cgroup_text(process)?));
        Ok(found)
    }

    /// The name of an id. A machine that cannot tell it fails only those who asked for it.
    fn name<T>(&self, name: nix::Result<Option<T>>) -> Result<Option<T>, AttestError> {
        match name {
            Err(problem) if self.wanted.account_names => {
                Err(AttestError::failed("look up the name of an id", problem))
            }
            name => Ok(name.unwrap_or_default()),
        }
    }

    /// Adds what is known of the pods that the processes are in.
    async fn add_pods(&self, found: &mut [Found]) -> Result<(), AttestError> {
        let Some(kubernetes) = &self.kubernetes else { return Ok(()) };
        let mut pods = BTreeMap::new();
        for one in found {
            let is_uid = |selector: &&Selector| selector.kind() == Kind::KubernetesPodUid;
            let Some(uid) = one.iter().find(is_uid).map(|selector| selector.value().to_owned()) else {
                continue;
            };
            if !pods.contains_key(&uid) {
                let pod = match kubernetes.pod(&uid).await {
                    Ok(pod) => pod,
                    Err(problem) if self.wanted.pods => {
                        return Err(AttestError::failed(format!("look up pod {uid}"), problem));
                    }
                    Err(problem) => {
                        tracing::warn!(reason = "pod_unknown", "cannot look up pod {uid}: {problem}");
                        None
                    }
                };
                pods.insert(uid.clone(), pod);
            }
            one.extend(pods[&uid].iter().flat_map(|pod| pod.selectors()).cloned());
        }
        Ok(())
    }
}

/// Does what blocks on a thread for it, when there is room. It is waited for only so long; it keeps its place until
/// it has ended: who goes away and comes again does not start more.
async fn blocking<T: Send + 'static, const N: usize>(
    places: [&Arc<Semaphore>; N],
    work: impl FnOnce() -> Result<T, AttestError> + Send + 'static,
) -> Result<T, AttestError> {
    let done = async {
        let mut taken = Vec::new();
        for places in places {
            // The semaphore is never closed.
            taken.push(places.clone().acquire_owned().await.ok());
        }
        spawn_blocking(move || {
            let done = work();
            drop(taken);
            done
        })
        .await
    };
    let doing = "find out who is calling";
    match timeout(PATIENCE, done).await {
        Ok(Ok(done)) => done,
        Ok(Err(problem)) => Err(AttestError::failed(doing, problem)),
        Err(_) => Err(AttestError::failed(doing, format!("no answer within {} s", PATIENCE.as_secs()))),
    }
}

fn cgroup_text(process: &Process) -> Result<String, AttestError> {
    let mut text = Vec::new();
    let mut file = process.open("cgroup", OFlags::RDONLY)?.take(MAX_CGROUP_TEXT + 1);
    match file.read_to_end(&mut text) {
        // Half a name could be another name.
        Ok(length) if length as u64 > MAX_CGROUP_TEXT => Ok(String::new()),
        // A name that is no text is no name that a selector has.
        Ok(_) => Ok(String::from_utf8(text).unwrap_or_default()),
        Err(problem) if problem.raw_os_error() == Some(nix::libc::ESRCH) => {
            Err(AttestError::Exited { pid: process.pid() })
        }
        Err(problem) => Err(AttestError::failed("read the cgroup of the caller", problem)),
    }
}

#[cfg(test)]
mod tests;
