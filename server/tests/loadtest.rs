//! The load tester against a real daemon: each scenario for a moment. What it measures is not looked at, only
//! that it measures.

mod support;

use std::{fs, os::unix::net::UnixStream, path::Path};

use alts_loadtest::Exit;
use nix::unistd::getuid;
use serde_json::Value;

use self::support::{
    daemon::{Daemon, wait_for},
    node::Node,
    pki::write,
};

const AUDIENCE: &str = "https://cart.x.example";

/// A node whose only workload is whoever runs this test, with a token door.
fn node() -> Node {
    let directory = tempfile::tempdir().expect("there is room");
    let door = directory.path().join("token.sock");
    let config = format!(
        "[[workload]]\nservice_account = \"ours@x.example\"\nselectors = [\"uid:{}\"]\n\
         [signing_service]\nauthorities = [\"x.example\"]\n\
         [token]\nissuer = \"https://tokens.x.example\"\n\
         [[token.listener]]\naddress = \"unix:{}\"\n\
         [[token.rule]]\nissuers = [\"local\"]\nsubjects = [\"*\"]\naudiences = [\"{AUDIENCE}\"]\n",
        getuid(),
        door.display()
    );
    let node = Node::start_in(directory, &config);
    wait_for("the token door", || UnixStream::connect(&door).ok());
    node
}

/// A socket of a node, as the load tester takes it.
fn socket(node: &Node, name: &str) -> String {
    format!("unix:{}", node.at(name).display())
}

/// Runs the load tester with these arguments, words with spaces between them; returns how it ended and what it printed.
fn run(arguments: &str) -> (Exit, String) {
    let mut out = Vec::new();
    let words = std::iter::once("alts-loadtest").chain(arguments.split_whitespace());
    let exit = alts_loadtest::run(words, &mut out);
    (exit, String::from_utf8(out).expect("it prints text"))
}

/// The same for a short run that must be good; its result as JSON.
fn good(arguments: &str) -> Value {
    let short = "--warmup 0s --duration 300ms --output json --expect errors=0,count>0";
    let (exit, text) = run(&format!("{arguments} {short}"));
    assert_eq!(exit, Exit::Good, "{arguments}: {text}");
    serde_json::from_str(&text).expect("it is JSON")
}

fn number(report: &Value, pointer: &str) -> f64 {
    let value = report.pointer(pointer).and_then(Value::as_f64);
    value.unwrap_or_else(|| panic!("no number at {pointer} of {report:#}"))
}

#[test]
fn handshakes_are_measured_over_tcp_and_unix_sockets() {
    let node = node();
    for target in [node.address.to_string(), socket(&node, "s.sock")] {
        for how in ["--connections 3", "--new-connection --target-service-account ours@x.example"] {
            let report = good(&format!("handshake --target {target} --workers 4 {how}"));
            assert_eq!(number(&report, "/schema"), 1.0);
            assert!(number(&report, "/kinds/0/latency/max") > 0.0);
            assert!(number(&report, "/kinds/0/bytes") > 0.0);
            let server = report.pointer("/server/process").and_then(Value::as_str).expect("it is found");
            assert!(server.contains("(altsd)"), "{server}");
            assert!(number(&report, "/server/cpu_seconds") >= 0.0);
            assert!(number(&report, "/server/resident_bytes") > 0.0);
        }
    }
}

#[test]
fn an_engine_does_one_end_of_a_handshake() {
    let daemon = Daemon::start("");
    let leaf = daemon.pki.leaf("peer@prod.example");
    let at = |name: &str| daemon.directory.path().join(name).display().to_string();
    write(daemon.directory.path(), "peer.pem", &leaf.certificate);
    write(daemon.directory.path(), "peer.key", &leaf.key);
    let peer = format!(
        "--peer-chain {} --peer-key {} --peer-roots {}",
        at("peer.pem"),
        at("peer.key"),
        at("root.pem")
    );
    let target = format!("unix:{}", daemon.socket("cart").display());
    for side in ["client", "server"] {
        good(&format!("handshake --target {target} --workers 2 --side {side} {peer}"));
        good(&format!(
            "handshake --target {target} --workers 2 --side {side} {peer} --peer-authority prod.example"
        ));
        let arguments =
            format!("handshake --target {target} --side {side} {peer} --peer-authority other.example");
        let (exit, text) =
            run(&format!("{arguments} --warmup 0s --duration 300ms --output json --expect count>0"));
        assert_eq!(exit, Exit::Broken);
        // Who trusts nobody refuses; its end or the other one is the first to say so.
        assert!(text.contains("engine_peer_") || text.contains("refused_by_peer"), "{text}");
    }
    let (exit, _) =
        run(&format!("handshake --target {target} --side client {peer} --peer-authority not/one"));
    assert_eq!(exit, Exit::CouldNotRun);
}

#[test]
fn an_open_loop_begins_as_many_as_are_due() {
    let node = node();
    let report = good(
        &format!("handshake --target {} --rate 50 --duration 1s", node.address).replace("--duration 1s", ""),
    );
    // 50 a second for 700 ms.
    let begun = number(&report, "/kinds/0/count") + number(&report, "/unstarted");
    assert_eq!(begun, 15.0, "{report:#}");
    assert!(number(&report, "/kinds/0/service/max") <= number(&report, "/kinds/0/latency/max"));
}

#[test]
fn tokens_are_measured_and_refusals_counted_by_their_codes() {
    let node = node();
    let door = socket(&node, "token.sock");
    for how in ["", "--new-connection --rate 50", "--subject ours@x.example"] {
        let report = good(&format!("token --target {door} --audience {AUDIENCE} --workers 4 {how}"));
        assert!(!report.to_string().contains("eyJ"), "a token is in the report");
    }
    let arguments =
        format!("token --target {door} --audience https://other.example --warmup 0s --duration 300ms");
    let (exit, text) = run(&format!("{arguments} --expect errors=0"));
    assert_eq!(exit, Exit::Broken);
    assert!(text.contains("invalid_target/token_audience_denied"), "{text}");
    assert!(text.contains("BROKEN"), "{text}");
    assert_eq!(run(&arguments).0, Exit::CouldNotRun, "nothing has succeeded");
}

#[test]
fn a_token_of_a_file_is_presented_and_never_shown() {
    let node = node();
    write(node.path(), "subject.jwt", "secret-that-is-no-token");
    let file = node.at("subject.jwt");
    let arguments = format!(
        "token --target {} --audience {AUDIENCE} --subject-token-file {} --warmup 0s --duration 300ms --output json",
        socket(&node, "token.sock"),
        file.display()
    );
    let (exit, text) = run(&format!("{arguments} --expect count=0"));
    assert_eq!(exit, Exit::Good, "{text}");
    assert!(text.contains("invalid_request/") && !text.contains("secret-that"), "{text}");
}

#[test]
fn writes_are_measured_over_all_kinds_of_connections() {
    let node = node();
    for over in ["duplex", "tcp", "unix"] {
        for how in ["--write-size 100KB", "--write-size 1B --echo --frame-size 16384"] {
            let report = good(&format!("record --target {} --workers 2 --over {over} {how}", node.address));
            assert!(number(&report, "/kinds/0/frames") > 0.0, "{over} {how}: {report:#}");
            assert!(number(&report, "/kinds/0/bytes_per_second") > 0.0);
        }
    }
}

#[test]
fn what_is_open_and_idle_is_weighed() {
    let node = node();
    for how in ["record --over unix", "record --over tcp", "handshake --connections 2"] {
        let report = good(&format!("{how} --target {} --idle 50", node.address));
        assert_eq!(number(&report, "/idle/open"), 50.0, "{how}");
        assert_eq!(number(&report, "/kinds/0/count"), 50.0, "{how}");
        number(&report, "/idle/client_bytes_each");
        number(&report, "/idle/server_bytes_each");
    }
    let (exit, _) = run(&format!("record --target {} --idle 50 --over duplex", node.address));
    assert_eq!(exit, Exit::Usage);
}

#[test]
fn a_mixed_load_has_a_part_for_each_kind_and_one_for_all() {
    let node = node();
    let report = good(&format!(
        "mixed --target {} --token-target {} --audience {AUDIENCE} --mix handshake=2,token=1,record=1 --workers 4",
        node.address,
        socket(&node, "token.sock")
    ));
    let names = report["kinds"].as_array().expect("a list").iter().map(|kind| kind["name"].clone());
    assert_eq!(names.collect::<Vec<_>>(), ["all", "handshake", "token", "record"]);
    let count = |index: usize| number(&report, &format!("/kinds/{index}/count"));
    assert_eq!(count(0), count(1) + count(2) + count(3));
    let (exit, _) = run(&format!("mixed --target {}", node.address));
    assert_eq!(exit, Exit::Usage);
}

#[test]
fn results_are_written_as_files_and_compared() {
    let node = node();
    let file = |name: &str| node.at(name).display().to_string();
    let (before, now, page) = (file("before.json"), file("now.json"), file("now.html"));
    let handshake = format!("handshake --target {} --workers 2", node.address);
    good(&format!("{handshake} --json {before}"));
    let arguments =
        format!("{handshake} --warmup 0s --duration 300ms --json {now} --html {page} --baseline {before}");
    let (exit, text) = run(&arguments);
    assert_eq!(exit, Exit::Good, "{text}");
    assert!(text.contains("BASELINE") && text.contains("verdict: "), "{text}");
    let page = fs::read_to_string(page).expect("it was written");
    assert!(page.contains("<svg") && page.contains("Against the baseline"));
    let (exit, text) = run(&format!("compare {before} {now} --html {}", file("both.html")));
    assert_eq!(exit, Exit::Good);
    assert!(text.contains("verdict: ") && Path::new(&file("both.html")).exists());
    // Nothing is a thousand times faster than itself: the baseline is made so.
    let text = fs::read_to_string(&before).expect("it was written");
    let mut faster: Value = serde_json::from_str(&text).expect("it is JSON");
    faster["kinds"][0]["rate"] = Value::from(1e12);
    fs::write(&before, faster.to_string()).expect("there is room");
    let (exit, text) = run(&format!("compare {before} {now} --max-regression 50%"));
    assert_eq!(exit, Exit::Broken, "{text}");
    assert!(text.contains("worse"), "{text}");
    let door = socket(&node, "token.sock");
    let (exit, _) = run(&format!("token --target {door} --audience {AUDIENCE} --baseline {now}"));
    assert_eq!(exit, Exit::Usage);
}

#[test]
fn what_cannot_run_says_so_by_its_exit_code() {
    let node = node();
    let absent = socket(&node, "absent.sock");
    for (arguments, expected) in [
        // An address for documentation: nothing is sent to it.
        ("handshake --target 192.0.2.1:80".to_owned(), Exit::CouldNotRun),
        ("token --target [2001:db8::1]:80 --audience x".to_owned(), Exit::CouldNotRun),
        (format!("handshake --target {absent}"), Exit::CouldNotRun),
        (format!("handshake --target {} --baseline {absent}", node.address), Exit::CouldNotRun),
        (format!("handshake --target {} --server-pid 2147483647", node.address), Exit::CouldNotRun),
        (format!("handshake --target {} --expect p99", node.address), Exit::Usage),
        (format!("handshake --target {} --json {absent}/a.json", node.address), Exit::CouldNotRun),
        (format!("handshake --target {} --html /", node.address), Exit::CouldNotRun),
        (format!("handshake --target {} --json {absent} --html {absent}", node.address), Exit::Usage),
        ("compare /nonexistent/a /nonexistent/b".to_owned(), Exit::CouldNotRun),
    ] {
        let (exit, text) = run(&arguments);
        assert_eq!((exit, text.as_str()), (expected, ""), "{arguments}");
    }
}
