//! Handles of handshakes, and who may show them.

use std::{
    collections::HashSet,
    process::{Child, Command, Stdio},
    sync::{Arc, LazyLock},
};

use alts_handshake::SystemRandom;
use tokio::net::{TcpListener, TcpStream, UnixStream};

use super::{parts::Contexts as _, *};
use crate::{
    attest::{Attestor, Caller, Workloads},
    clock::SystemClock,
};

const NOW: u64 = 1_767_225_600;

/// What the kernel says of the other end.
async fn attested(caller: Caller) -> Arc<Attested> {
    let attestor =
        Attestor::new(&Workloads::default(), None, Arc::new(SystemClock)).expect("it needs nothing");
    caller.attest(&attestor).await.unwrap_or_else(|problem| panic!("{problem}"))
}

/// This very process. The connection is answered too: while it is open, its owner is known.
async fn myself() -> Arc<Attested> {
    let (one, _other) = UnixStream::pair().expect("there is room");
    attested(Caller::of_unix(&one)).await
}

/// Another process, and its connection.
struct Other {
    child: Child,
    _socket: TcpStream,
    attested: Arc<Attested>,
}

impl Other {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
        let port = listener.local_addr().expect("it is bound").port();
        let mut bash = Command::new("bash");
        bash.arg("-c").arg(format!("exec 3<>/dev/tcp/127.0.0.1/{port}; read")).stdin(Stdio::piped());
        let child = bash.spawn().expect("there is a bash");
        let (socket, _) = listener.accept().await.expect("it connects");
        let attested = attested(Caller::of_tcp(&socket)).await;
        Self { child, _socket: socket, attested }
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whom this process has met.
static WEB: LazyLock<Identity> =
    LazyLock::new(|| Identity::parse("web@x.example").expect("it is an account"));

fn noted(user: u32, processes: &SeenProcesses) -> Noted<'static> {
    Noted { peer: &WEB, local: "orders@x.example", user: Some(user), processes: processes.clone() }
}

fn note(contexts: &Contexts, user: u32, processes: &SeenProcesses, now: u64) -> String {
    contexts.note(noted(user, processes), now, &SystemRandom::new()).expect("there is randomness")
}

fn context(expires: u64) -> Option<Context> {
    Some(Context { peer: WEB.clone(), local: "orders@x.example".to_owned(), expires })
}

#[tokio::test]
async fn a_handle_is_worth_its_handshake_to_the_process_that_ran_it_and_to_no_other() {
    let (contexts, caller, other) = (Contexts::default(), myself().await, Other::start().await);
    let handle = note(&contexts, 7, &caller.seen(), NOW);
    // As often as it is shown: a program may want tokens for several audiences.
    for _ in 0..3 {
        assert_eq!(contexts.find(&handle, &caller, NOW), context(NOW + 300));
    }
    assert_eq!(contexts.find(&handle, &*myself().await, NOW), context(NOW + 300));
    assert_eq!(contexts.find(&handle, &other.attested, NOW), None);
    let of_other = note(&contexts, 7, &other.attested.seen(), NOW);
    assert_eq!(contexts.find(&of_other, &other.attested, NOW), context(NOW + 300));
    assert_eq!(contexts.find(&of_other, &caller, NOW), None);
}

#[tokio::test]
async fn a_handle_ends_after_five_minutes() {
    let (contexts, caller) = (Contexts::default(), myself().await);
    let handle = note(&contexts, 7, &caller.seen(), NOW);
    for (now, counts) in [(NOW + 299, true), (NOW + 300, false), (NOW + 301, false), (u64::MAX, false)] {
        assert_eq!(contexts.find(&handle, &caller, now).is_some(), counts, "{now}");
    }
}

#[tokio::test]
async fn what_is_no_handle_finds_nothing() {
    let (contexts, caller) = (Contexts::default(), myself().await);
    let handle = note(&contexts, 7, &caller.seen(), NOW);
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(&handle).expect("it is base64url");
    assert_eq!((handle.len(), bytes.len()), (43, 32));
    let (first, rest) = handle.split_at(1);
    let other = if first == "A" { "B" } else { "A" };
    let hash = hex::encode(sha256(handle.as_bytes()));
    for shown in [
        String::new(),
        format!("{other}{rest}"),
        rest.to_owned(),
        format!("{handle}="),
        format!(" {handle}"),
        handle.repeat(1_000),
        hash,
    ] {
        assert_eq!(contexts.find(&shown, &caller, NOW), None, "{shown:.50}");
    }
    assert!(contexts.find(&handle, &caller, NOW).is_some());
}

#[tokio::test]
async fn no_two_handles_are_the_same_and_none_of_them_is_kept() {
    let (contexts, caller) = (Contexts::default(), myself().await);
    let handles: HashSet<_> = (0..100).map(|_| note(&contexts, 7, &caller.seen(), NOW)).collect();
    assert_eq!(handles.len(), 100);
    let table = contexts.0.lock().expect("nobody panicked");
    assert_eq!(table.held.len(), 100);
    for handle in &handles {
        assert!(table.held.contains_key(&sha256(handle.as_bytes())));
    }
}

#[tokio::test]
async fn a_user_with_too_many_loses_his_oldest_and_nobody_else_loses_any() {
    let (contexts, caller) = (Contexts::default(), myself().await);
    let (processes, random) = (caller.seen(), SystemRandom::new());
    let of_another = note(&contexts, 8, &processes, NOW);
    let note = || contexts.note(noted(7, &processes), NOW, &random).expect("there is randomness");
    let (first, second) = (note(), note());
    (2..MAX_OF_ONE_USER).for_each(|_| drop(note()));
    assert!(contexts.find(&first, &caller, NOW).is_some());
    let last = note();
    assert!(contexts.find(&first, &caller, NOW).is_none());
    for handle in [&second, &last, &of_another] {
        assert!(contexts.find(handle, &caller, NOW).is_some());
    }
}

#[tokio::test]
async fn when_all_places_are_taken_the_user_with_the_most_makes_room() {
    let processes = myself().await.seen();
    let mut table = Table::default();
    let mut number = 0_u64;
    let mut put = |table: &mut Table, user| {
        number += 1;
        let context = Context { peer: WEB.clone(), local: String::new(), expires: NOW + 300 };
        let hash = sha256(&number.to_be_bytes());
        table.put(Some(user), hash, Held { context, processes: processes.clone() }, NOW);
        hash
    };
    let small = put(&mut table, 0);
    for user in 1..=8 {
        (0..MAX_OF_ONE_USER - usize::from(user == 8)).for_each(|_| _ = put(&mut table, user));
    }
    assert_eq!(table.held.len(), MAX_HANDLES);
    (0..100).for_each(|_| _ = put(&mut table, 99));
    assert_eq!(table.held.len(), MAX_HANDLES);
    assert!(table.held.contains_key(&small));
    assert_eq!(table.of_users[&Some(99)].len(), 100);
    assert_eq!(table.of_users.values().map(VecDeque::len).sum::<usize>(), MAX_HANDLES);
}

#[tokio::test]
async fn what_has_ended_is_forgotten_with_its_user() {
    let processes = myself().await.seen();
    let contexts = Contexts::default();
    (0..SWEEP as u32 / 2).for_each(|user| drop(note(&contexts, user, &processes, NOW)));
    (0..SWEEP / 2 + 1).for_each(|_| drop(note(&contexts, 9_999, &processes, NOW + 300)));
    let table = contexts.0.lock().expect("nobody panicked");
    assert_eq!((table.of_users.len(), table.held.len()), (1, SWEEP / 2 + 1));
}
