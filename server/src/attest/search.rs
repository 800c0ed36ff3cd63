//! Searches for the processes that have a socket, shared by those who search at the same time.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, oneshot},
    task::spawn_blocking,
    time::timeout,
};

use super::{
    error::AttestError,
    holders::{self, Holders},
    sock_diag::TcpSocket,
};

/// Users whose sockets are searched for at once: each takes a thread that reads all of `/proc`.
const MAX_AT_ONCE: usize = 4;

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(10);

const DOING: &str = "look through /proc";

/// A search looks at every process of the machine, which takes some 30 us for each. So one serves all sockets of a user
/// that wait for it: a hundred connections at once cost what two of them do. Users have searches of their own: who has
/// millions of open files makes nobody else's long.
#[derive(Clone)]
pub(super) struct Search {
    /// What waits, for each user for whom a task is searching.
    users: Arc<Mutex<HashMap<u32, Vec<Wish>>>>,
    places: Arc<Semaphore>,
}

struct Wish {
    inode: u32,
    answer: oneshot::Sender<Result<Holders, AttestError>>,
}

impl Default for Search {
    fn default() -> Self {
        Self { users: Arc::default(), places: Arc::new(Semaphore::new(MAX_AT_ONCE)) }
    }
}

impl Search {
    /// The processes that have this socket, by a search that begins after this is called.
    pub(super) async fn holders_of(&self, socket: TcpSocket) -> Result<Holders, AttestError> {
        let TcpSocket { inode, uid } = socket;
        let (answer, answered) = oneshot::channel();
        if self.wish(uid, Wish { inode, answer }) {
            // In a task of its own: whoever caused it may go away, and others wait for it.
            tokio::spawn(self.clone().serve(uid));
        }
        match timeout(PATIENCE, answered).await {
            Ok(answer) => answer.unwrap_or_else(|_| Err(AttestError::failed(DOING, "it broke off"))),
            Err(_) => Err(AttestError::failed(DOING, format!("no answer within {} s", PATIENCE.as_secs()))),
        }
    }

    /// Whether somebody has to serve this user.
    fn wish(&self, uid: u32, wish: Wish) -> bool {
        match self.users().entry(uid) {
            Entry::Occupied(mut waiting) => {
                waiting.get_mut().push(wish);
                false
            }
            Entry::Vacant(none) => {
                none.insert(vec![wish]);
                true
            }
        }
    }

    /// Searches until nobody waits for a socket of this user.
    async fn serve(self, uid: u32) {
        loop {
            // The semaphore is never closed.
            let place = self.places.clone().acquire_owned().await.ok();
            let Some(wishes) = self.next(uid) else { break };
            let inodes: HashSet<_> = wishes.iter().map(|wish| wish.inode).collect();
            let searched = spawn_blocking(move || {
                let found = holders::of(&inodes, uid);
                drop(place);
                found
            });
            let found = searched.await.unwrap_or_else(|problem| Err(AttestError::failed(DOING, problem)));
            for Wish { inode, answer } in wishes {
                let holders = found.as_ref().map(|found| found.get(&inode).cloned().unwrap_or_default());
                // Who asked may have gone.
                let _ = answer.send(holders.map_err(Clone::clone));
            }
        }
    }

    /// Takes what waits, or ends the service of this user if nothing does.
    fn next(&self, uid: u32) -> Option<Vec<Wish>> {
        let mut users = self.users();
        let wishes = mem::take(users.get_mut(&uid)?);
        if wishes.is_empty() {
            users.remove(&uid);
            return None;
        }
        Some(wishes)
    }

    fn users(&self) -> MutexGuard<'_, HashMap<u32, Vec<Wish>>> {
        // Whatever has panicked: a wish is put in whole.
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream},
        os::fd::AsFd,
    };

    use super::*;

    fn own() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    fn inode(socket: &impl AsFd) -> u32 {
        let status = rustix::fs::fstat(socket).expect("it is open");
        status.st_ino.try_into().expect("the kernel numbers sockets with 32 bits")
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn all_who_search_at_once_find_what_each_asked_for() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is room");
        let address = listener.local_addr().expect("it is bound");
        let sockets: Vec<_> =
            (0..50).map(|_| TcpStream::connect(address).expect("it is listened on")).collect();
        let search = Search::default();
        let mut searches = tokio::task::JoinSet::new();
        for inode in sockets.iter().map(inode).chain([0, u32::MAX]) {
            let search = search.clone();
            searches.spawn(async move {
                let found = search.holders_of(TcpSocket { inode, uid: own() }).await;
                (inode, found.expect("it is looked for"))
            });
        }
        let me = i32::try_from(std::process::id()).expect("a pid is an i32");
        while let Some(found) = searches.join_next().await {
            let (inode, holders) = found.expect("nobody panics");
            let nobody = inode == 0 || inode == u32::MAX;
            assert_eq!(holders.pids.contains(&me), !nobody, "{inode}");
        }
        assert!(search.users().is_empty(), "nobody is served any more");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_place_in_vain_is_told() {
        let search = Search { places: Arc::new(Semaphore::new(0)), ..Search::default() };
        let found = search.holders_of(TcpSocket { inode: 1, uid: own() }).await;
        let problem = found.expect_err("there is no place");
        assert_eq!(problem.reason(), "attestation_failed");
        assert!(problem.to_string().contains("within 10 s"), "{problem}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_goes_away_takes_nothing_from_those_who_wait_with_him() {
        let search = Search { places: Arc::new(Semaphore::new(0)), ..Search::default() };
        let wish = |inode| {
            let search = search.clone();
            async move { search.holders_of(TcpSocket { inode, uid: own() }).await }
        };
        let first = tokio::spawn(wish(1));
        let second = tokio::spawn(wish(2));
        while search.users().values().map(Vec::len).sum::<usize>() < 2 {
            tokio::task::yield_now().await;
        }
        first.abort();
        let _ = first.await;
        search.places.add_permits(1);
        let found = second.await.expect("nobody panics").expect("it was looked for");
        assert!(found.pids.is_empty());
    }
}
