//! The members of a cluster: which one is asked, how often, and as whom.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use etcd_client::{Client, Error as Etcd, GetOptions};
use tokio::{sync::Mutex, time::timeout};

use super::{
    error::{Meaning, meaning, told},
    last_write,
    settings::{EtcdSettings, EtcdUser, clients},
};
use crate::Error;

/// Whether a request may be made again when nobody knows whether it was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// To do it twice is as good as once.
    Safe,
    /// It may only be made again if it was certainly not done.
    Unsafe,
}

/// An answer that says which cluster gave it.
pub(super) trait Answer {
    /// The cluster. Nothing if it does not say.
    fn cluster(&self) -> Option<u64>;
}

/// A cluster. A request goes to the member that answered last, and from one that does not answer to the next.
pub(super) struct Members {
    members: Vec<Member>,
    /// Which one is asked first.
    current: AtomicUsize,
    user: Option<EtcdUser>,
    timeout: Duration,
    /// A key that we may read, to ask a member which cluster it is of.
    probe: Vec<u8>,
}

struct Member {
    endpoint: String,
    client: Client,
    /// How often we have told who we are. Held while we do, so that of many requests with an old token one gets a new.
    signing_in: Mutex<()>,
    sign_ins: AtomicU64,
    /// Which cluster its last answer was of; 0 before the first.
    cluster: AtomicU64,
}

/// Why a member did not do it.
struct Failure {
    problem: Error,
    meaning: Meaning,
}

impl Members {
    /// Connects to nobody yet. [`Error::Invalid`] if the settings cannot work.
    pub(super) async fn new(settings: EtcdSettings) -> Result<Self, Error> {
        let members = clients(&settings).await?.into_iter().map(|(endpoint, client)| Member {
            endpoint,
            client,
            signing_in: Mutex::default(),
            sign_ins: AtomicU64::new(0),
            cluster: AtomicU64::new(0),
        });
        let members = members.collect();
        let EtcdSettings { user, timeout, prefix, .. } = settings;
        Ok(Self { members, current: AtomicUsize::new(0), user, timeout, probe: last_write(&prefix) })
    }

    /// Makes a request. [`Error::Unavailable`] when no member has answered within the timeout of the settings;
    /// [`Error::Refused`] when members are of different clusters.
    pub(super) async fn ask<T, F>(&self, repeat: Repeat, request: impl Fn(Client) -> F) -> Result<T, Error>
    where
        T: Answer,
        F: Future<Output = Result<T, Etcd>>,
    {
        match timeout(self.timeout, self.ask_in_turn(repeat, request)).await {
            Ok(answer) => answer,
            Err(_) => {
                // Whoever it was, the next request begins with another.
                self.turn_from(self.current.load(Relaxed));
                Err(Error::Unavailable(format!("etcd did not answer within {:?}", self.timeout)))
            }
        }
    }

    async fn ask_in_turn<T, F>(&self, repeat: Repeat, request: impl Fn(Client) -> F) -> Result<T, Error>
    where
        T: Answer,
        F: Future<Output = Result<T, Etcd>>,
    {
        let mut tries = self.members.len();
        let mut patience = self.timeout;
        if repeat == Repeat::Safe {
            // A single member is asked again: what it did not answer was perhaps the end of an old connection.
            tries = tries.max(2);
            patience /= u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        }
        let mut problem = Error::Unavailable("etcd has no members".to_owned());
        for _ in 0..tries {
            let at = self.current.load(Relaxed);
            let Some(member) = self.members.get(at) else { break };
            let answer = timeout(patience, self.ask_one(member, repeat, &request)).await;
            let Failure { problem: told, meaning } = match answer {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(failure)) => failure,
                Err(_) => {
                    let problem = format!("etcd at {} did not answer within {patience:?}", member.endpoint);
                    Failure { problem: Error::Unavailable(problem), meaning: Meaning::Unknown }
                }
            };
            problem = told;
            match meaning {
                Meaning::Untouched => self.turn_from(at),
                Meaning::Unknown => {
                    self.turn_from(at);
                    if repeat == Repeat::Unsafe {
                        break;
                    }
                }
                // An answer, and every other member would give the same.
                _ => break,
            }
        }
        Err(problem)
    }

    /// Asks a member, and checks that it is of the same cluster as the others.
    async fn ask_one<T, F>(
        &self,
        member: &Member,
        repeat: Repeat,
        request: impl Fn(Client) -> F,
    ) -> Result<T, Failure>
    where
        T: Answer,
        F: Future<Output = Result<T, Etcd>>,
    {
        let is_alone = self.members.len() == 1;
        if repeat == Repeat::Unsafe && !is_alone && member.cluster.load(Relaxed) == 0 {
            // Nothing is written into a cluster that may not be ours.
            let cluster = self.cluster(member).await.map_err(|Failure { problem, meaning }| Failure {
                problem,
                meaning: if meaning == Meaning::Unknown { Meaning::Untouched } else { meaning },
            })?;
            self.compare(member, cluster).await?;
        }
        let answer = self.ask_as_us(member, request).await?;
        if let Some(cluster) = answer.cluster() {
            self.compare(member, cluster).await.map_err(|Failure { problem, meaning }| Failure {
                problem: match repeat {
                    Repeat::Safe => problem,
                    // It was done, and nobody can say what that is worth.
                    Repeat::Unsafe => Error::Unavailable(problem.to_string()),
                },
                meaning,
            })?;
        }
        Ok(answer)
    }

    /// Notes of which cluster a member is. A failure, if another member is known to be of another: what was written in
    /// one is not in the other, so none of it counts.
    async fn compare(&self, member: &Member, cluster: u64) -> Result<(), Failure> {
        let patience = self.timeout / 4 / u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        for other in &self.members {
            let mut known = other.cluster.load(Relaxed);
            if known != 0 && known != cluster && other.endpoint != member.endpoint {
                // A cluster that was set back has another name, and this member may be part of it by now.
                if let Ok(Ok(now)) = timeout(patience, self.cluster(other)).await {
                    other.cluster.store(now, Relaxed);
                    known = now;
                }
            }
            if known != 0 && known != cluster && other.endpoint != member.endpoint {
                // It is asked again before anything is written, and others go first.
                member.cluster.store(0, Relaxed);
                self.turn_from(self.current.load(Relaxed));
                let (one, another) = (&member.endpoint, &other.endpoint);
                let problem = format!(
                    "etcd at {one} is of the cluster {cluster:x}, and at {another} of {known:x}: name endpoints of one \
                     cluster only, and start altsd again if one of them is gone for good"
                );
                return Err(Failure { problem: Error::Refused(problem), meaning: Meaning::Refused });
            }
        }
        member.cluster.store(cluster, Relaxed);
        Ok(())
    }

    /// Asks a member which cluster it is of.
    async fn cluster(&self, member: &Member) -> Result<u64, Failure> {
        let ask = |client: Client| async move {
            let options = GetOptions::new().with_keys_only();
            client.kv_client().get(self.probe.clone(), Some(options)).await
        };
        let answer = self.ask_as_us(member, ask).await?;
        Ok(answer.cluster().unwrap_or(0))
    }

    /// Asks a member, as whom we are, and once more if it has forgotten that.
    async fn ask_as_us<T, F>(&self, member: &Member, request: impl Fn(Client) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Etcd>>,
    {
        let failure =
            |problem: Etcd| Failure { problem: told(&problem, &member.endpoint), meaning: meaning(&problem) };
        if member.sign_ins.load(Relaxed) == 0 {
            self.sign_in(member, 0).await?;
        }
        let sign_ins = member.sign_ins.load(Relaxed);
        match request(member.client.clone()).await {
            Err(problem) if self.user.is_some() && meaning(&problem) == Meaning::SignIn => {
                self.sign_in(member, sign_ins).await?;
                request(member.client.clone()).await.map_err(failure)
            }
            answer => answer.map_err(failure),
        }
    }

    /// Tells a member who we are, unless that was done since `seen`.
    async fn sign_in(&self, member: &Member, seen: u64) -> Result<(), Failure> {
        let Some(user) = &self.user else { return Ok(()) };
        let _alone = member.signing_in.lock().await;
        if member.sign_ins.load(Relaxed) != seen {
            return Ok(());
        }
        let password = String::from_utf8_lossy(user.password.expose()).into_owned();
        let signed_in = member.client.clone().update_user(Some((user.name.clone(), password))).await;
        signed_in.map_err(|problem| Failure {
            problem: told(&problem, &member.endpoint),
            // Whatever became of it, the request itself has not been made.
            meaning: match meaning(&problem) {
                Meaning::Unknown => Meaning::Untouched,
                meaning => meaning,
            },
        })?;
        member.sign_ins.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Goes to the next member, unless another request has.
    fn turn_from(&self, at: usize) {
        let next = (at + 1) % self.members.len().max(1);
        let _ = self.current.compare_exchange(at, next, Relaxed, Relaxed);
    }
}
