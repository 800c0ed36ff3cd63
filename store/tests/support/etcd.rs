//! Real etcd processes on loopback, for tests. It needs `tempfile` and nothing else, so that other crates can include it.

use std::{
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

use tempfile::TempDir;

/// How often, and how far apart, a member that shall answer is asked.
const LOOKS: usize = 600;
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// Lines of a log that a test which fails shows.
const LOG_LINES: usize = 20;

/// A cluster of members, each a process with a directory of its own. They end with it.
pub(crate) struct Etcd {
    members: Vec<Member>,
    directory: TempDir,
    tls: Option<Tls>,
    arguments: Vec<String>,
    user: Option<String>,
}

/// The files that members and `etcdctl` need for TLS.
#[derive(Clone)]
pub(crate) struct Tls {
    /// The authority of members and of clients.
    pub(crate) ca: PathBuf,
    /// The certificate of the members, which `etcdctl` shows too.
    pub(crate) certificate: PathBuf,
    /// Its key.
    pub(crate) key: PathBuf,
}

struct Member {
    client: u16,
    peer: u16,
    child: Option<Child>,
}

impl Etcd {
    /// Whether there is an etcd to start. If not, it says so, and the test that asks has to pass.
    #[must_use]
    pub(crate) fn is_there(test: &str) -> bool {
        let there =
            Command::new("etcd").arg("--version").output().is_ok_and(|output| output.status.success());
        if !there {
            println!("skipped: {test} needs the program etcd on the PATH");
        }
        there
    }

    /// Starts a cluster of so many members and waits until each answers.
    pub(crate) fn start(members: usize) -> Self {
        Self::start_with(members, None, &[])
    }

    /// The same with TLS, if it is given, for clients, who need a certificate of the same authority; and with more
    /// arguments for each member.
    pub(crate) fn start_with(members: usize, tls: Option<Tls>, arguments: &[&str]) -> Self {
        // All ports are held until all are known, so that they differ.
        let held: Vec<_> =
            (0..2 * members).map(|_| TcpListener::bind("127.0.0.1:0").expect("loopback")).collect();
        let ports: Vec<_> = held.iter().map(|held| held.local_addr().expect("it is bound").port()).collect();
        drop(held);
        let members = ports.chunks(2).map(|ports| Member { client: ports[0], peer: ports[1], child: None });
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let mut etcd = Self { members: members.collect(), directory, tls, arguments, user: None };
        (0..etcd.members.len()).for_each(|at| etcd.spawn(at));
        (0..etcd.members.len()).for_each(|at| etcd.wait_for(at));
        etcd
    }

    /// Where the members listen for clients, as URLs.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        (0..self.members.len()).map(|at| self.endpoint(at)).collect()
    }

    /// Where one listens.
    pub(crate) fn endpoint(&self, at: usize) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.members[at].client)
    }

    /// Ends a member as a power cut would (SIGKILL).
    pub(crate) fn kill(&mut self, at: usize) {
        self.members[at].kill();
    }

    /// Stops a member without ending it (SIGSTOP), so that its connections stay and say nothing.
    pub(crate) fn freeze(&self, at: usize) {
        self.signal(at, "-STOP");
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self, at: usize) {
        self.signal(at, "-CONT");
    }

    /// Starts a member again that was ended, with what it has on disk, and waits until it answers.
    pub(crate) fn restart(&mut self, at: usize) {
        self.spawn(at);
        self.wait_for(at);
    }

    /// The same for several that need each other to answer.
    pub(crate) fn start_others(&mut self, members: &[usize]) {
        members.iter().for_each(|&at| self.spawn(at));
        members.iter().for_each(|&at| self.wait_for(at));
    }

    /// The same for a member that has lost its disk.
    pub(crate) fn restart_empty(&mut self, at: usize) {
        self.kill(at);
        std::fs::remove_dir_all(self.data(at)).expect("it was there");
        self.restart(at);
    }

    /// Keeps what the only member holds in a file, and gives its path.
    pub(crate) fn snapshot(&self) -> PathBuf {
        let file = self.directory.path().join("snapshot");
        self.control(&["snapshot", "save", &file.to_string_lossy()]);
        file
    }

    /// Sets the only member back to a snapshot.
    pub(crate) fn restore(&mut self, snapshot: &Path) {
        self.kill(0);
        std::fs::remove_dir_all(self.data(0)).expect("it was there");
        let peer = format!("http://127.0.0.1:{}", self.members[0].peer);
        let mut restore = Command::new("etcdctl");
        restore.env("ETCDCTL_API", "3").args(["snapshot", "restore"]).arg(snapshot);
        restore.args(["--name", "member-0", "--initial-cluster", &format!("member-0={peer}")]);
        restore.args(["--initial-advertise-peer-urls", &peer]).arg("--data-dir").arg(self.data(0));
        let output = restore.output().expect("etcdctl is installed beside etcd");
        assert!(output.status.success(), "{output:?}");
        self.restart(0);
    }

    /// Runs `etcdctl`, which must succeed, and gives what it prints.
    pub(crate) fn control(&self, arguments: &[&str]) -> String {
        let output = self.try_control(&self.endpoints().join(","), arguments);
        assert!(output.status.success(), "etcdctl {arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The same through one member, when others are away.
    pub(crate) fn control_at(&self, at: usize, arguments: &[&str]) -> String {
        let output = self.try_control(&self.endpoint(at), arguments);
        assert!(output.status.success(), "etcdctl {arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// From now on `etcdctl` is this user, `name:password`.
    pub(crate) fn act_as(&mut self, user: &str) {
        self.user = Some(user.to_owned());
    }

    /// Which member leads.
    pub(crate) fn leader(&self) -> usize {
        for _ in 0..LOOKS {
            for at in 0..self.members.len() {
                let status = self.try_control(&self.endpoint(at), &["endpoint", "status"]);
                // Endpoint, id, version, size, is leader, …
                if String::from_utf8_lossy(&status.stdout).split(", ").nth(4) == Some("true") {
                    return at;
                }
            }
            thread::sleep(BETWEEN_LOOKS);
        }
        panic!("no member leads");
    }

    fn try_control(&self, endpoints: &str, arguments: &[&str]) -> Output {
        let mut control = Command::new("etcdctl");
        control.env("ETCDCTL_API", "3").args(["--endpoints", endpoints]).args(arguments);
        if let Some(tls) = &self.tls {
            control
                .arg("--cacert")
                .arg(&tls.ca)
                .arg("--cert")
                .arg(&tls.certificate)
                .arg("--key")
                .arg(&tls.key);
        }
        if let Some(user) = &self.user {
            control.args(["--user", user]);
        }
        control.output().expect("etcdctl is installed beside etcd")
    }

    fn data(&self, at: usize) -> PathBuf {
        self.directory.path().join(format!("member-{at}"))
    }

    fn spawn(&mut self, at: usize) {
        let peers: Vec<_> =
            self.members.iter().map(|member| format!("http://127.0.0.1:{}", member.peer)).collect();
        let cluster: Vec<_> =
            peers.iter().enumerate().map(|(at, peer)| format!("member-{at}={peer}")).collect();
        let mut command = Command::new("etcd");
        command.arg("--name").arg(format!("member-{at}")).arg("--data-dir").arg(self.data(at));
        command.args(["--listen-client-urls", &self.endpoint(at)]);
        command.args(["--advertise-client-urls", &self.endpoint(at)]);
        command.args(["--listen-peer-urls", &peers[at], "--initial-advertise-peer-urls", &peers[at]]);
        command.args(["--initial-cluster", &cluster.join(","), "--logger", "zap"]).args(&self.arguments);
        if let Some(tls) = &self.tls {
            command.arg("--cert-file").arg(&tls.certificate).arg("--key-file").arg(&tls.key);
            command.arg("--trusted-ca-file").arg(&tls.ca).arg("--client-cert-auth");
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("etcd is on the PATH");
        let log = child.stderr.take().expect("it is a pipe");
        let kept = self.directory.path().join(format!("member-{at}.log"));
        thread::spawn(move || keep(log, &kept));
        self.members[at].child = Some(child);
    }

    fn wait_for(&mut self, at: usize) {
        let mut said = String::new();
        for _ in 0..LOOKS {
            let health = self.try_control(&self.endpoint(at), &["endpoint", "health"]);
            if health.status.success() {
                return;
            }
            said = String::from_utf8_lossy(&health.stderr).into_owned();
            let child = self.members[at].child.as_mut().expect("it was started");
            if let Some(status) = child.try_wait().expect("it is our child") {
                panic!("etcd has ended with {status}: {}", self.log(at));
            }
            thread::sleep(BETWEEN_LOOKS);
        }
        panic!("etcd does not answer, {said}: {}", self.log(at));
    }

    fn log(&self, at: usize) -> String {
        let log = self.directory.path().join(format!("member-{at}.log"));
        let log = std::fs::read_to_string(log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    fn signal(&self, at: usize, signal: &str) {
        let id = self.members[at].child.as_ref().expect("it runs").id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().expect("kill is there").success());
    }
}

impl Member {
    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only if it has ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.members.iter_mut().for_each(Member::kill);
    }
}

/// Keeps the log of a member for the message of a test that fails.
fn keep(log: impl Read, file: &Path) {
    let mut lines = BufReader::new(log).lines().map_while(Result::ok);
    let Ok(mut file) = std::fs::OpenOptions::new().create(true).append(true).open(file) else { return };
    // A full disk loses the log, and etcd must not wait for us.
    lines
        .by_ref()
        .for_each(|line| drop(std::io::Write::write_all(&mut file, format!("{line}\n").as_bytes())));
}
