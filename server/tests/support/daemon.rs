//! A real altsd process with a configuration of the test's own.

use std::{
    fs::{self, File},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use super::pki::{Pki, write};

/// The domain of the two accounts.
const AUTHORITY: &str = "prod.example";

/// How often, and how far apart, a test looks for what must come.
const LOOKS: usize = 1_000;
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// Looks until `found` finds something.
pub(crate) fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    for _ in 0..LOOKS {
        if let Some(found) = found() {
            return found;
        }
        thread::sleep(BETWEEN_LOOKS);
    }
    panic!("waited in vain for {what}");
}

/// The same for what has to be asked for.
pub(crate) async fn eventually<T>(what: &str, mut found: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..LOOKS {
        if let Some(found) = found().await {
            return found;
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    panic!("waited in vain for {what}");
}

/// Puts a copy of a program where it can be run at once. Another process writes it: what this one has open for writing,
/// the programs that other tests are just starting have too, and the kernel does not run it.
pub(crate) fn install(program: &Path, copy: &Path) {
    let mut install = Command::new("install");
    install.args(["-m", "755"]).arg(program).arg(copy);
    assert!(install.status().expect("coreutils are there").success());
}

/// A running altsd, which is ended with its test. Its two listeners are unix sockets of the accounts
/// `frontend@prod.example` and `cart@prod.example`.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) directory: TempDir,
    pub(crate) pki: Pki,
}

impl Daemon {
    /// Starts with the limits as in `[handshaker]`, one TOML line each.
    pub(crate) fn start(limits: &str) -> Self {
        Self::start_logging("info", limits)
    }

    pub(crate) fn start_logging(level: &str, limits: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let pki = Pki::new();
        write(directory.path(), "altsd.toml", &config_text(directory.path(), limits));
        write(directory.path(), "root.pem", &pki.root());
        for name in ["frontend", "cart"] {
            let leaf = pki.leaf(&format!("{name}@{AUTHORITY}"));
            write(directory.path(), &format!("{name}.pem"), &leaf.certificate);
            write(directory.path(), &format!("{name}.key"), &leaf.key);
        }
        let log = File::create(directory.path().join("log")).expect("it can be written");
        let child = altsd()
            .args(["--log-level", level, "run", "--config"])
            .arg(directory.path().join("altsd.toml"))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("altsd can be started");
        let daemon = Self { child, directory, pki };
        for name in ["frontend", "cart"] {
            wait_for("the daemon to listen", || UnixStream::connect(daemon.socket(name)).ok());
        }
        daemon
    }

    pub(crate) fn socket(&self, name: &str) -> PathBuf {
        self.directory.path().join(format!("{name}.sock"))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).expect("the log can be read")
    }

    /// Waits for a line of the log that holds all of `parts`.
    pub(crate) fn logged(&self, parts: &[&str]) -> String {
        wait_for(&format!("a log line with {parts:?}"), || {
            let log = self.log();
            let line = log.lines().find(|line| parts.iter().all(|part| line.contains(part)));
            line.map(str::to_owned)
        })
    }

    /// Tells it to stop, and waits until it has.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.child.wait().expect("it can be waited for")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().expect("a pid is an i32"));
        kill(pid, signal).expect("it can be signalled");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program under test, without the settings of whoever runs the test.
pub(crate) fn altsd() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_altsd"));
    command.env_clear();
    command
}

fn config_text(directory: &Path, limits: &str) -> String {
    let mut text = format!("[handshaker]\n{limits}\n");
    for name in ["frontend", "cart"] {
        let socket = directory.join(format!("{name}.sock"));
        text += &format!(
            "[[handshaker.listener]]\naddress = \"unix:{}\"\nidentity = \"{name}@{AUTHORITY}\"\n",
            socket.display()
        );
    }
    for name in ["frontend", "cart"] {
        text += &format!(
            "[[identity]]\naccount = \"{name}@{AUTHORITY}\"\ncertificate_chain = \"{name}.pem\"\n\
             private_key = \"{name}.key\"\n"
        );
    }
    text + &format!(
        "[[trust]]\nauthority = \"{AUTHORITY}\"\nroots = [\"root.pem\"]\n[policy]\ndefault = \"allow\"\n"
    )
}
