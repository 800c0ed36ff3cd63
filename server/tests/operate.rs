//! What a running daemon tells its operator and its callers, asked by the real command line.

use std::{
    fs::File,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicU16, Ordering},
};

use nix::unistd::getuid;
use serde_json::Value;
use tempfile::TempDir;

use self::support::{
    daemon::{altsd, wait_for},
    pki::write,
};

mod support;

/// A daemon whose signing service makes the certificates of two accounts: one for programs of the user who runs the
/// test, one for nobody.
struct Node {
    child: Child,
    directory: TempDir,
    metrics: SocketAddr,
}

impl Node {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("there is room");
        let at = |name: &str| directory.path().join(name).display().to_string();
        // An address of this node alone: nothing else on the machine listens, or calls from, there.
        static NODES: AtomicU16 = AtomicU16::new(0);
        let [.., high, low] = std::process::id().to_be_bytes();
        let metrics = SocketAddr::from(([127, 77, high, low], 9_464 + NODES.fetch_add(1, Ordering::Relaxed)));
        let config = format!(
            "state_directory = \"{}\"\n\
             [signing_service]\nauthorities = [\"x.example\"]\n\
             [admin]\naddress = \"unix:{}\"\n\
             [metrics]\naddress = \"{metrics}\"\n\
             [[handshaker.listener]]\naddress = \"unix:{}\"\n\
             [[workload]]\nservice_accounts = [\"ours@x.example\", \"other@x.example\"]\nselectors = [\"uid:{}\"]\n\
             [[workload]]\nservice_account = \"theirs@x.example\"\nselectors = [\"uid:4000000123\"]\n",
            at("state"),
            at("admin.sock"),
            at("s.sock"),
            getuid(),
        );
        write(directory.path(), "altsd.toml", &config);
        let log = File::create(directory.path().join("log")).expect("there is room");
        let child =
            altsd().args(["run", "--config", &at("altsd.toml")]).stderr(log).spawn().expect("it starts");
        let node = Self { child, directory, metrics };
        for socket in ["s.sock", "admin.sock"] {
            wait_for("the daemon to listen", || UnixStream::connect(node.at(socket)).ok());
        }
        node
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Exit code and output of a command that asks this daemon.
    fn ask(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command: Command = altsd();
        let address = |name| format!("unix:{}", self.at(name).display());
        command
            .args(arguments)
            .env("ALTSD_ADMIN", address("admin.sock"))
            .env("ALTSD_HANDSHAKER", address("s.sock"));
        let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().expect("it was built");
        let text = |bytes| String::from_utf8(bytes).expect("it writes UTF-8");
        (status.code(), text(stdout), text(stderr))
    }

    fn json(&self, arguments: &[&str]) -> Value {
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

#[test]
fn a_program_is_told_its_identities_and_handshakes_as_the_first() {
    let node = Node::start();
    let told = node.json(&["whoami"]);
    assert_eq!(told["mode"], "attested");
    assert_eq!(told["accounts"], serde_json::json!(["ours@x.example", "other@x.example"]));
    assert_eq!(told["workload_selectors"], serde_json::json!([format!("uid:{}", getuid())]));
    assert_eq!(told["denial"], Value::Null);
    assert!(!told.to_string().contains("theirs"), "{told}");
    let (code, stdout, stderr) = node.ask(&["handshake"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("server account        ours@x.example"), "{stdout}");
}

#[test]
fn certificates_are_listed_made_on_demand_and_renewed() {
    let node = Node::start();
    let states = || -> Vec<String> {
        let listed = node.json(&["certs", "list"]);
        let all = listed["certificates"].as_array().expect("it is a list").clone();
        all.iter().map(|one| format!("{} {}", one["account"], one["state"]).replace('"', "")).collect()
    };
    let fresh =
        ["other@x.example", "ours@x.example", "theirs@x.example"].map(|one| format!("{one} not_requested"));
    assert_eq!(states(), fresh);
    let (code, _, stderr) = node.ask(&["handshake"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(states()[1], "ours@x.example valid");

    let before = node.json(&["certs", "show", "ours@x.example"]);
    let rotated = node.json(&["certs", "rotate", "ours@x.example"]);
    let after = node.json(&["certs", "show", "ours@x.example"]);
    assert_ne!(before["serial_number"], after["serial_number"]);
    assert_eq!(rotated["rotated"][0]["serial_number"], after["serial_number"]);
    let (code, pem, _) = node.ask(&["certs", "show", "ours@x.example", "--pem"]);
    assert_eq!((code, Some(&*pem)), (Some(0), after["chain_pem"].as_str()));
    assert_eq!(node.json(&["certs", "rotate", "--all"])["rotated"].as_array().map(Vec::len), Some(3));
    assert!(states().iter().all(|state| state.ends_with(" valid")));

    let (code, stdout, stderr) = node.ask(&["certs", "show", "nobody@x.example"]);
    assert_eq!((code, &*stdout), (Some(1), ""));
    assert!(stderr.contains("certificate_unknown: nobody@x.example"), "{stderr}");
}

#[test]
fn prometheus_is_told_how_the_node_is_and_nothing_of_who_is_on_it() {
    let node = Node::start();
    assert_eq!(node.ask(&["certs", "rotate", "ours@x.example"]).0, Some(0));
    let scraped = wait_for("the rotation to be counted", || {
        let mut connection = TcpStream::connect(node.metrics).ok()?;
        connection.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").ok()?;
        let mut text = String::new();
        connection.read_to_string(&mut text).ok()?;
        (text.contains("altsd_certificate_rotations_total{") && text.contains("\naltsd_ready 1\n"))
            .then_some(text)
    });
    for line in [
        "altsd_certificate_rotations_total{origin=\"signing_service\",result=\"ok\"} 1",
        "# TYPE altsd_build_info gauge",
    ] {
        assert!(scraped.lines().any(|found| found.trim() == line), "{line}\n{scraped}");
    }
    assert!(!scraped.contains("x.example"), "{scraped}");
}
