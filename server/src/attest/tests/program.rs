//! Programs that call: this test binary once more, doing what it is told on its standard input, or others.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    os::{
        fd::AsFd,
        unix::{net::UnixStream, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread::yield_now,
};

use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use rustix::{
    io::FdFlags,
    process::{Pid, Signal, kill_process},
};

/// A program that this test has started. It ends with the test, at the latest.
pub(in super::super) struct Program {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Program {
    /// This binary, waiting to be told what to do.
    pub(in super::super) fn puppet() -> Self {
        Self::test(
            &mut Command::new(std::env::current_exe().expect("it runs")),
            "program::puppet_of_other_tests",
        )
    }

    /// A test of this binary that only other tests run.
    pub(in super::super) fn test(binary: &mut Command, name: &str) -> Self {
        let name = format!("attest::tests::{name}");
        Self::start(binary.args(["--exact", &name, "--ignored", "--nocapture", "--test-threads=1"]))
    }

    /// Any program that reads its standard input and ends when that does.
    pub(in super::super) fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("it is a pipe"));
        Self { child, input, output }
    }

    /// A bash, of whatever name, that connects to a TCP address and keeps the connection.
    pub(in super::super) fn bash(bash: &mut Command, address: std::net::SocketAddr) -> Self {
        let script = format!("exec 3<>/dev/tcp/{}/{}; echo puppet: ok; read", address.ip(), address.port());
        let mut program = Self::start(bash.arg("-c").arg(script));
        program.ready();
        program
    }

    pub(in super::super) fn pid(&self) -> i32 {
        self.child.id().try_into().expect("it is a number of a process")
    }

    /// Has the puppet do something, and waits until it is done.
    pub(in super::super) fn tell(&mut self, what: &str) -> String {
        self.say(what);
        self.answer()
    }

    pub(in super::super) fn say(&mut self, what: &str) {
        writeln!(self.input.as_mut().expect("it has not been ended"), "{what}").expect("it reads");
    }

    /// Waits until it says that it is ready.
    pub(in super::super) fn ready(&mut self) -> String {
        self.answer()
    }

    fn answer(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).expect("it writes") > 0, "the program has ended");
            // The test runner begins its line and does not end it.
            if let Some((_, answer)) = line.trim_end().split_once("puppet: ") {
                return answer.to_owned();
            }
        }
    }

    /// Has the puppet become another program, and waits until it is.
    pub(in super::super) fn become_program(&mut self, program: &str) {
        self.say(&format!("exec {program}"));
        wait_until_it_runs(self.pid(), program);
    }

    /// Kills it and waits until it is gone. Only what this test has started.
    pub(in super::super) fn end(&mut self) {
        self.input = None;
        let _ = self.child.kill();
        self.child.wait().expect("it is ours");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.end();
    }
}

/// Waits until a process runs this program.
pub(in super::super) fn wait_until_it_runs(pid: i32, program: &str) {
    let program = fs::canonicalize(program).expect("it is there");
    for _ in 0..10_000_000 {
        if fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|path| path == program) {
            return;
        }
        yield_now();
    }
    panic!("process {pid} does not come to run {}", program.display());
}

/// A copy of bash in a new place.
pub(in super::super) fn bash_at(path: &Path) -> PathBuf {
    fs::create_dir_all(path.parent().expect("it is in a directory")).expect("it can be made");
    // By another process: what this one has open for writing, the programs that other tests are just starting have
    // too, and the kernel does not run it.
    let mut install = Command::new("install");
    install.args(["-m", "755"]).arg(fs::canonicalize("/bin/bash").expect("there is a bash")).arg(path);
    assert!(install.status().expect("coreutils are there").success());
    path.to_owned()
}

/// What the other tests have this binary do. It ends when its input does, and its children with it.
#[test]
#[ignore = "it is a program of other tests"]
fn puppet_of_other_tests() {
    let mut unix = Vec::new();
    let mut tcp = Vec::new();
    let mut children = BTreeMap::new();
    for line in std::io::stdin().lines() {
        let line = line.expect("it is text");
        let (what, how) = line.split_once(' ').unwrap_or((&line, ""));
        let mut answer = "ok".to_owned();
        match what {
            "unix" => unix.push(inherited(UnixStream::connect(how).expect("it listens"))),
            "tcp" => tcp.push(inherited(TcpStream::connect(how).expect("it listens"))),
            "close" => (unix, tcp) = (Vec::new(), Vec::new()),
            "user" => become_user(how.parse().expect("it is a number")),
            "effective-user" => {
                nix::unistd::seteuid(Uid::from_raw(how.parse().expect("it is a number")))
                    .expect("it is root");
            }
            "effective-group" => {
                nix::unistd::setegid(Gid::from_raw(how.parse().expect("it is a number")))
                    .expect("it is root");
            }
            "child" => {
                let child = command(how).spawn().expect("it starts");
                answer = child.id().to_string();
                children.insert(answer.clone(), child);
            }
            "child-of-user" => {
                let (user, how) = how.split_once(' ').expect("a uid and a program");
                let user = user.parse().expect("it is a number");
                let child = command(how).uid(user).spawn().expect("it starts");
                answer = child.id().to_string();
                children.insert(answer.clone(), child);
            }
            "end" => {
                let mut child = children.remove(how).expect("it is a child");
                child.kill().expect("it is ours");
                child.wait().expect("it is ours");
            }
            // Without its children, who then live on.
            "leave" => {
                println!("puppet: ok");
                std::process::exit(0);
            }
            "exec" => panic!("{}", Command::new(how).exec()),
            other => panic!("a puppet cannot {other}"),
        }
        println!("puppet: {answer}");
    }
    for mut child in children.into_values() {
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
    }
}

fn command(words: &str) -> Command {
    let mut words = words.split_whitespace();
    let mut command = Command::new(words.next().expect("a program"));
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::null());
    command
}

/// A socket that programs started by this one have too.
fn inherited<T: AsFd>(socket: T) -> T {
    rustix::io::fcntl_setfd(&socket, FdFlags::empty()).expect("it is open");
    socket
}

pub(in super::super) fn become_user(id: u32) {
    let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
    setgroups(&[gid]).expect("it is root");
    setresgid(gid, gid, gid).expect("it is root");
    setresuid(uid, uid, uid).expect("it is root");
}

/// A process that a puppet leaves behind. It ends with the test, at the latest.
pub(in super::super) struct Orphan(pub(in super::super) String);

impl Drop for Orphan {
    fn drop(&mut self) {
        if let Some(pid) = self.0.parse().ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}
