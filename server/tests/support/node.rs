//! A real altsd process that tells its callers apart, with an admin socket and metrics.

use std::{
    fs::{self, File},
    io::{Read, Write},
    mem,
    net::{SocketAddr, TcpStream},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::atomic::{AtomicU16, Ordering},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, getuid},
};
use serde_json::Value;
use tempfile::TempDir;

use super::{
    daemon::{altsd, install, wait_for},
    pki::write,
};

/// A uid that nobody has here.
pub(crate) const NOBODY: u32 = 4_000_000_123;

/// A running altsd, which is ended with its test.
pub(crate) struct Node {
    child: Child,
    pub(crate) directory: TempDir,
    /// Where it serves over TCP.
    pub(crate) address: SocketAddr,
    pub(crate) metrics: SocketAddr,
}

impl Node {
    /// Its signing service makes the certificates of two workloads: one for programs of the user who runs the test,
    /// one for nobody.
    pub(crate) fn start() -> Self {
        Self::start_with(&format!(
            "[signing_service]\nauthorities = [\"x.example\"]\n\
             [[workload]]\nservice_accounts = [\"ours@x.example\", \"other@x.example\"]\nselectors = [\"uid:{}\"]\n\
             [[workload]]\nservice_account = \"theirs@x.example\"\nselectors = [\"uid:{NOBODY}\"]\n",
            getuid()
        ))
    }

    /// Serves this configuration, which says all but where it listens.
    pub(crate) fn start_with(config: &str) -> Self {
        Self::start_in(tempfile::tempdir().expect("there is room"), config)
    }

    /// The same, with files that are in the directory already.
    pub(crate) fn start_in(directory: TempDir, config: &str) -> Self {
        // Programs of other users may come in; what is theirs alone has modes of its own.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        let at = |name: &str| directory.path().join(name).display().to_string();
        // An address of this node alone: nothing else on the machine listens, or calls from, there.
        static NODES: AtomicU16 = AtomicU16::new(0);
        let [.., high, low] = std::process::id().to_be_bytes();
        let number = NODES.fetch_add(1, Ordering::Relaxed);
        let [address, metrics] = [18_080, 19_464]
            .map(|port| SocketAddr::from(([127, 77 + (number % 100) as u8, high, low], port)));
        let config = format!(
            "state_directory = \"{}\"\n\
             [admin]\naddress = \"unix:{}\"\n\
             [metrics]\naddress = \"{metrics}\"\n\
             [[handshaker.listener]]\naddress = \"unix:{}\"\nmode = \"0666\"\n\
             [[handshaker.listener]]\naddress = \"{address}\"\n{config}",
            at("state"),
            at("admin.sock"),
            at("s.sock"),
        );
        let policy = if config.contains("[policy]") { "" } else { "[policy]\ndefault = \"allow\"\n" };
        write(directory.path(), "altsd.toml", &format!("{config}\n{policy}"));
        let log = File::create(directory.path().join("log")).expect("there is room");
        let child =
            altsd().args(["run", "--config", &at("altsd.toml")]).stderr(log).spawn().expect("it starts");
        let node = Self { child, directory, address, metrics };
        for socket in ["s.sock", "admin.sock"] {
            wait_for("the daemon to listen", || UnixStream::connect(node.at(socket)).ok());
        }
        node
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.at("log")).expect("the log can be read")
    }

    /// How many lines of the log hold all of `parts`.
    pub(crate) fn lines(&self, parts: &[&str]) -> usize {
        self.log().lines().filter(|line| parts.iter().all(|part| line.contains(part))).count()
    }

    /// What Prometheus is told of a metric with all of these labels, in all its lines together.
    pub(crate) fn labelled(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let of_this = |line: &&str| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{'))
                && labels.iter().all(|label| line.contains(label))
        };
        let text = self.scraped()?;
        let values =
            text.lines().filter(of_this).filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
        values.reduce(|sum, value| sum + value)
    }

    /// What Prometheus is told of a metric without labels.
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
        self.scraped()?.lines().find_map(value)
    }

    fn scraped(&self) -> Option<String> {
        let mut connection = TcpStream::connect(self.metrics).ok()?;
        connection.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").ok()?;
        let mut text = String::new();
        connection.read_to_string(&mut text).ok()?;
        Some(text)
    }

    /// Tells it to stop, and waits until it has.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        let pid = Pid::from_raw(self.child.id().try_into().expect("a pid is an i32"));
        kill(pid, Signal::SIGTERM).expect("it can be signalled");
        self.child.wait().expect("it can be waited for")
    }

    /// Ends it, and starts another in its directory, with another configuration.
    pub(crate) fn again(mut self, config: &str) -> Self {
        assert!(self.stop().success(), "{}", self.log());
        let emptied = tempfile::tempdir().expect("there is room");
        Self::start_in(mem::replace(&mut self.directory, emptied), config)
    }

    /// The addresses of its handshaker, as a command line has them.
    pub(crate) fn handshakers(&self) -> [String; 2] {
        [format!("unix:{}", self.at("s.sock").display()), self.address.to_string()]
    }

    /// A command that asks this daemon.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = altsd();
        self.prepare(&mut command, arguments);
        command
    }

    fn prepare(&self, command: &mut Command, arguments: &[&str]) {
        command
            .args(arguments)
            .env("ALTSD_ADMIN", format!("unix:{}", self.at("admin.sock").display()))
            .env("ALTSD_HANDSHAKER", &self.handshakers()[0])
            .stdin(Stdio::null());
    }

    /// The same, as another program: a copy of altsd to which every user has a way.
    pub(crate) fn command_of_anybody(&self, arguments: &[&str]) -> Command {
        let copy = self.at("altsd");
        if !copy.exists() {
            install(Path::new(env!("CARGO_BIN_EXE_altsd")), &copy);
        }
        let mut command = Command::new(copy);
        command.env_clear();
        self.prepare(&mut command, arguments);
        command
    }

    /// Exit code and output of a command that asks this daemon.
    pub(crate) fn ask(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        output(self.command(arguments))
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let (code, stdout, stderr) = self.ask(&[arguments, &["--output", "json"]].concat());
        assert_eq!((code, &*stderr), (Some(0), ""), "{arguments:?}");
        serde_json::from_str(&stdout).expect("it is JSON")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Exit code, stdout and stderr.
pub(crate) fn output(mut command: Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("it was built");
    let text = |bytes| String::from_utf8(bytes).expect("it writes UTF-8");
    (status.code(), text(stdout), text(stderr))
}
