//! Callers on unix sockets.

use std::{fs, process::Command, sync::Arc, time::Duration};

use tempfile::TempDir;
use tokio::net::{UnixListener, UnixStream};

use super::{
    super::{Attestor, Caller, Workloads},
    Hand, attested, attestor, is_root,
    program::{Orphan, Program},
    refusal,
};

/// The two ways to a pidfd: the kernel's own, and that of kernels before 6.5.
const WAYS: [fn(&UnixStream) -> Caller; 2] = [Caller::of_unix, Caller::of_unix_without_peer_pidfd];

struct Door {
    _directory: TempDir,
    path: String,
    listener: UnixListener,
}

impl Door {
    fn open() -> Self {
        let directory = TempDir::new().expect("there is room");
        let path = directory.path().join("socket").to_str().expect("it is text").to_owned();
        let listener = UnixListener::bind(&path).expect("nobody listens there");
        let everybody = std::os::unix::fs::PermissionsExt::from_mode;
        fs::set_permissions(directory.path(), everybody(0o755)).expect("it is ours");
        fs::set_permissions(&path, everybody(0o777)).expect("it is ours");
        Self { _directory: directory, path, listener }
    }

    async fn accept(&self) -> UnixStream {
        self.listener.accept().await.expect("somebody connects").0
    }

    /// A program that has connected, and our end of it.
    async fn caller(&self) -> (Program, UnixStream) {
        let mut program = Program::puppet();
        program.tell(&format!("unix {}", self.path));
        (program, self.accept().await)
    }
}

#[tokio::test]
async fn a_caller_is_what_the_kernel_says() {
    let door = Door::open();
    let (program, socket) = door.caller().await;
    for way in WAYS {
        let found = attested(&way(&socket)).await;
        assert_eq!(found.pids(), [program.pid()]);
        assert!(found.says(&format!("uid:{}", rustix::process::geteuid().as_raw())));
        assert!(found.says(&format!("gid:{}", rustix::process::getegid().as_raw())));
        let path = fs::canonicalize(std::env::current_exe().expect("it runs")).expect("it is there");
        assert!(found.says(&format!("path:{}", path.display())), "{:?}", found.selectors);
        assert_eq!(found.of_kind("sha256:").len(), 1);
    }
}

#[tokio::test]
async fn a_connection_is_attested_once_and_by_one() {
    let door = Door::open();
    let (_program, socket) = door.caller().await;
    let (caller, attestor) = (Caller::of_unix(&socket), attestor());
    let (one, other) = tokio::join!(caller.attest(&attestor), caller.attest(&attestor));
    let (Ok(one), Ok(other)) = (one, other) else { panic!("it is there") };
    assert!(Arc::ptr_eq(&one, &other));
}

#[tokio::test]
async fn a_caller_that_exits_before_its_first_message_is_refused() {
    let door = Door::open();
    for way in WAYS {
        let (mut program, socket) = door.caller().await;
        let caller = way(&socket);
        program.end();
        assert_eq!(refusal(&caller).await, "caller_exited");
    }
}

#[tokio::test]
async fn a_caller_that_exits_before_it_is_accepted_is_refused() {
    let door = Door::open();
    for way in WAYS {
        let mut program = Program::puppet();
        program.tell(&format!("unix {}", door.path));
        program.end();
        assert_eq!(refusal(&way(&door.accept().await)).await, "caller_exited");
    }
}

#[tokio::test]
async fn a_caller_that_exits_later_is_refused_from_then_on() {
    let door = Door::open();
    let (mut program, socket) = door.caller().await;
    let caller = Caller::of_unix(&socket);
    attested(&caller).await;
    attested(&caller).await;
    program.end();
    assert_eq!(refusal(&caller).await, "caller_exited");
}

#[tokio::test]
async fn who_a_caller_was_lately_counts_for_so_long_and_no_longer() {
    let door = Door::open();
    let (mut program, socket) = door.caller().await;
    let (caller, clock) = (Caller::of_unix(&socket), Arc::new(Hand::default()));
    let attestor = Attestor::new(&Workloads::default(), None, clock.clone()).expect("it needs nothing");
    let lately = Duration::from_secs(1);
    assert!(caller.attest_lately(&attestor, lately).await.is_ok());
    clock.forward(Duration::from_secs(5));
    assert!(caller.attest_lately(&attestor, lately).await.is_ok());
    program.end();
    clock.forward(Duration::from_millis(999));
    assert!(caller.attest_lately(&attestor, lately).await.is_ok());
    clock.forward(Duration::from_millis(1));
    let refused = caller.attest_lately(&attestor, lately).await;
    assert_eq!(refused.err().map(|error| error.reason()), Some("caller_exited"));
    assert!(caller.attest_lately(&attestor, lately).await.is_err());
}

#[tokio::test]
async fn a_child_that_has_the_socket_is_not_the_caller_that_has_exited() {
    let door = Door::open();
    for way in WAYS {
        let (mut program, socket) = door.caller().await;
        let child = Orphan(program.tell("child /bin/sleep 600"));
        let (first, later) = (way(&socket), way(&socket));
        assert_eq!(attested(&first).await.pids(), [program.pid()]);
        program.tell("leave");
        program.end();
        assert_eq!(refusal(&first).await, "caller_exited");
        assert_eq!(refusal(&later).await, "caller_exited");
        assert_eq!(refusal(&way(&socket)).await, "caller_exited");
        assert!(
            fs::exists(format!("/proc/{}/fd", child.0)).expect("we may look"),
            "it was there all the time"
        );
    }
}

#[tokio::test]
async fn a_caller_that_runs_another_program_is_another_caller() {
    let door = Door::open();
    for way in WAYS {
        let (mut program, socket) = door.caller().await;
        let caller = way(&socket);
        attested(&caller).await;
        program.become_program("/bin/cat");
        assert_eq!(refusal(&caller).await, "caller_changed");
    }
}

#[tokio::test]
async fn a_caller_that_changes_its_uid_is_another_caller() {
    if !is_root("a_caller_that_changes_its_uid_is_another_caller") {
        return;
    }
    let door = Door::open();
    for way in WAYS {
        // After it has been attested, and before.
        for is_attested_before in [true, false] {
            let (mut program, socket) = door.caller().await;
            let caller = way(&socket);
            if is_attested_before {
                attested(&caller).await;
            }
            program.tell("effective-user 61234");
            assert_eq!(refusal(&caller).await, "caller_changed");
        }
    }
}

#[tokio::test]
async fn a_caller_that_changes_its_group_is_another_caller() {
    if !is_root("a_caller_that_changes_its_group_is_another_caller") {
        return;
    }
    let door = Door::open();
    for is_attested_before in [true, false] {
        let (mut program, socket) = door.caller().await;
        let caller = Caller::of_unix(&socket);
        if is_attested_before {
            attested(&caller).await;
        }
        program.tell("effective-group 61042");
        assert_eq!(refusal(&caller).await, "caller_changed");
    }
}

#[tokio::test]
async fn callers_under_two_uids_are_told_apart() {
    if !is_root("callers_under_two_uids_are_told_apart") {
        return;
    }
    let door = Door::open();
    for uid in [61_001, 61_002] {
        let mut program = Program::puppet();
        program.tell(&format!("user {uid}"));
        program.tell(&format!("unix {}", door.path));
        let found = attested(&Caller::of_unix(&door.accept().await)).await;
        assert_eq!(found.of_kind("uid:"), [format!("uid:{uid}")]);
        assert_eq!(found.of_kind("gid:"), [format!("gid:{uid}")]);
        // There is no such user.
        assert!(found.of_kind("user:").is_empty());
    }
}

#[tokio::test]
async fn a_process_that_has_the_number_of_a_dead_caller_is_not_the_caller() {
    if !is_root("a_process_that_has_the_number_of_a_dead_caller_is_not_the_caller") {
        return;
    }
    let door = Door::open();
    for way in WAYS {
        for is_accepted_before in [true, false] {
            let mut program = Program::puppet();
            program.tell(&format!("unix {}", door.path));
            let socket = door.accept().await;
            let before = is_accepted_before.then(|| way(&socket));
            let pid = program.pid();
            program.end();
            let Some(successor) = with_number(pid) else {
                println!("skipped: no process can be given the number {pid} here");
                return;
            };
            assert_eq!(successor.pid(), pid);
            let caller = before.unwrap_or_else(|| way(&socket));
            assert_eq!(refusal(&caller).await, "caller_exited");
            assert!(fs::exists(format!("/proc/{pid}/fd")).expect("we may look"), "it was there all the time");
        }
    }
}

/// A process with this number, if it can be had: another may be faster.
fn with_number(pid: i32) -> Option<Program> {
    for _ in 0..500 {
        fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).ok()?;
        let program = Program::start(&mut Command::new("/bin/cat"));
        if program.pid() == pid {
            return Some(program);
        }
    }
    None
}

#[tokio::test]
async fn a_caller_without_a_number_here_is_refused() {
    if !is_root("a_caller_without_a_number_here_is_refused") {
        return;
    }
    // The other way round: a listener in a pid namespace of its own, with a caller outside of it. The test of it is
    // this binary once more, which has one test to do.
    let directory = TempDir::new().expect("there is room");
    let path = directory.path().join("socket");
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
    command.arg(std::env::current_exe().expect("it runs"));
    let mut inside = Program::test(&mut command, "unix::a_listener_in_another_pid_namespace");
    inside.tell(path.to_str().expect("it is text"));
    let _caller = UnixStream::connect(&path).await.expect("it listens");
    assert_eq!(inside.tell("go on"), "caller_hidden");
}

#[tokio::test]
#[ignore = "it is a program of another test"]
async fn a_listener_in_another_pid_namespace() {
    let mut lines = std::io::stdin().lines();
    let path = lines.next().expect("a path").expect("it is text");
    let listener = UnixListener::bind(path).expect("nobody listens there");
    println!("puppet: ok");
    let (socket, _) = listener.accept().await.expect("somebody connects");
    lines.next();
    let reasons = [refusal(&Caller::of_unix(&socket)).await, refusal(&WAYS[1](&socket)).await];
    println!("puppet: {}", if reasons[0] == reasons[1] { reasons[0] } else { "different" });
}

#[tokio::test]
async fn a_process_is_known_again_on_another_connection_and_no_other_is() {
    let door = Door::open();
    for way in WAYS {
        let (mut program, socket) = door.caller().await;
        let first = way(&socket);
        let seen = attested(&first).await.seen();
        program.tell(&format!("unix {}", door.path));
        let again = door.accept().await;
        assert!(seen.are_of(&*attested(&way(&again)).await));
        // Also when the first connection is closed.
        drop((first, socket));
        assert!(seen.are_of(&*attested(&way(&again)).await));

        let (other, socket) = door.caller().await;
        assert_ne!(other.pid(), program.pid());
        assert!(!seen.are_of(&*attested(&way(&socket)).await));
    }
}

#[tokio::test]
async fn a_process_that_runs_another_program_is_not_known_again() {
    let door = Door::open();
    let (mut program, socket) = door.caller().await;
    let seen = attested(&Caller::of_unix(&socket)).await.seen();
    // Bound to the process, which keeps its number, its start and its connection.
    program.become_program("/bin/cat");
    let changed = attested(&Caller::of_unix(&socket)).await;
    assert_eq!(changed.pids(), [program.pid()]);
    assert!(!seen.are_of(&changed));
}

#[tokio::test]
async fn a_process_that_becomes_another_user_is_not_known_again() {
    if !is_root("a process becomes another user") {
        return;
    }
    let door = Door::open();
    let (mut program, socket) = door.caller().await;
    let seen = attested(&Caller::of_unix(&socket)).await.seen();
    program.tell("user 12345");
    program.tell(&format!("unix {}", door.path));
    let changed = attested(&Caller::of_unix(&door.accept().await)).await;
    assert_eq!(changed.pids(), [program.pid()]);
    assert!(!seen.are_of(&changed));
}
