//! The audit trail of a real altsd process: one line for each handshake, of what was decided and nothing more.

mod support;

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Output, Stdio},
};

use alts_proto::gcp::{HandshakerResult, StartClientHandshakeReq, handshaker_req::ReqOneof};
use nix::unistd::getuid;
use serde_json::{Value, json};
use support::{
    daemon::{eventually, wait_for},
    handshake::within,
    node::Node,
    stream::{CORE, GO, Stream, account, client_start, connect, next, server_start},
};
use tempfile::TempDir;
use tonic::transport::Endpoint;

/// A node as [`Node::start`] makes it, with this in front of its sections.
fn node(handshaker: &str, audit: &str) -> Node {
    node_in(tempfile::tempdir().expect("there is room"), handshaker, audit)
}

/// The same, with files that are in the directory already.
fn node_in(directory: TempDir, handshaker: &str, audit: &str) -> Node {
    let audit = audit.replace("FILE", &directory.path().join("audit.log").display().to_string());
    let config = format!(
        "{handshaker}[signing_service]\nauthorities = [\"x.example\"]\n\
         [[workload]]\nservice_accounts = [\"ours@x.example\", \"other@x.example\"]\nselectors = [\"uid:{}\"]\n{audit}",
        getuid()
    );
    Node::start_in(directory, &config)
}

const FILE: &str = "[audit]\nfile = \"FILE\"\n";

/// The lines of the trail, once there are so many.
fn lines(node: &Node, number: usize) -> Vec<Value> {
    let lines = || -> Vec<Value> {
        let text = fs::read_to_string(node.at("audit.log")).expect("it is there");
        text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
    };
    let lines = wait_for(&format!("{number} lines"), || Some(lines()).filter(|lines| lines.len() >= number));
    assert_eq!(lines.len(), number, "{lines:?}");
    lines
}

/// A line without what differs from run to run, after a look at that.
fn settled(node: &Node, line: &Value) -> Value {
    let mut line = line.clone();
    let fields = line.as_object_mut().expect("it is an object");
    let time = fields.remove("time").expect("it has a time");
    let time = time.as_str().expect("it is text").as_bytes();
    assert!(time.len() == 24 && time.starts_with(b"20") && time.ends_with(b"Z"), "{time:?}");
    assert_eq!(fields.remove("listener"), Some(json!(format!("unix:{}", node.at("s.sock").display()))));
    if let Some(duration) = fields.remove("duration_ms") {
        assert!(duration.as_f64().is_some_and(|duration| duration > 0.0), "{duration}");
    }
    let caller = fields.remove("caller").expect("the caller is known");
    let caller = caller.as_array().expect("it is a list");
    assert!(caller.contains(&json!(format!("uid:{}", getuid()))), "{caller:?}");
    line
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_leaves_a_line_of_each_end_and_none_of_its_secrets() {
    let node = node("", FILE);
    let results = within(&node, None).await.expect("it succeeds");
    let lines = lines(&node, 2);
    let mut found: Vec<_> = lines.iter().map(|line| settled(&node, line)).collect();
    found.sort_by_key(|line| line["side"].to_string());
    let expected = ["client", "server"].map(|side| {
        json!({
            "event": "handshake", "verdict": "allowed", "side": side, "reason": "allowed_by_default",
            "local": "ours@x.example", "peer": "ours@x.example",
        })
    });
    assert_eq!(found, expected);
    let trail = fs::read(node.at("audit.log")).expect("it is there");
    let text = String::from_utf8(trail.clone()).expect("it is text");
    for HandshakerResult { key_data, .. } in results {
        assert_eq!(key_data.len(), 44);
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let list = |bytes: &[u8]| bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(",");
        for part in key_data.chunks_exact(11) {
            assert!(!trail.windows(part.len()).any(|window| window == part));
            assert!(!text.to_lowercase().contains(&hex(part)) && !text.contains(&list(part)));
            assert!(!text.contains(base64(part).trim_end_matches('=')));
        }
    }
}

/// As RFC 4648 has it: nothing else here needs a library for it.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |group: &[u8]| {
        let at = |index: usize| u32::from(group.get(index).copied().unwrap_or_default());
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        let digit = |number: usize| DIGITS[(bits >> (18 - 6 * number)) as usize & 63] as char;
        (0..=group.len()).map(digit).collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}

#[test]
fn the_base64_that_is_searched_for_is_that_of_the_specification() {
    for (bytes, expected) in [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
        assert_eq!(base64(bytes.as_bytes()), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_to_get_no_result_leaves_one_line_with_its_reason() {
    let node = node("", FILE);
    let channel = connect(&node.at("s.sock"), CORE).await;
    // Whom it wishes to be is not its own.
    let mut stream = Stream::open(&channel).await;
    let wish = StartClientHandshakeReq {
        local_identity: Some(account("root@x.example\n{\"verdict\":\"allowed\"}")),
        ..client_start()
    };
    assert!(stream.try_ask(ReqOneof::ClientStart(wish)).await.is_err());
    stream.ended().await;
    let refused = settled(&node, &lines(&node, 1)[0]);
    assert_eq!(refused["reason"], "local_identity_not_owned");
    assert!(refused["text"].as_str().is_some_and(|text| text.contains(r"root@x.example\n{")), "{refused}");
    assert_eq!((&refused["verdict"], &refused["side"]), (&json!("refused"), &json!("client")));
    assert_eq!(refused.get("local"), None);

    // What its peer says is no handshake.
    let mut stream = Stream::open(&channel).await;
    stream.ask(ReqOneof::ClientStart(client_start())).await;
    assert!(stream.try_ask(next(b"GET / HTTP/1.1\r\n")).await.is_err());
    stream.ended().await;
    let refused = settled(&node, &lines(&node, 2)[1]);
    assert_eq!(refused["reason"], "frame_length_invalid");
    assert_eq!(refused["local"], "ours@x.example");

    // It leaves.
    let mut stream = Stream::open(&channel).await;
    stream.ask(ReqOneof::ClientStart(client_start())).await;
    drop(stream);
    let abandoned = settled(&node, &lines(&node, 3)[2]);
    let expected = json!({
        "event": "handshake", "verdict": "abandoned", "reason": "caller_gone", "side": "client",
        "local": "ours@x.example",
    });
    assert_eq!(abandoned, expected);

    // It says nothing that begins one. The caller is known as far as the kernel noted it.
    let mut stream = Stream::open(&connect(&node.at("s.sock"), GO).await).await;
    assert!(stream.try_ask(next(b"")).await.is_err());
    let refused = settled(&node, &lines(&node, 4)[3]);
    assert_eq!((&refused["reason"], refused.get("side")), (&json!("start_missing"), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_has_proved_itself_is_named_also_where_it_is_refused() {
    let node = node("", FILE);
    let channel = connect(&node.at("s.sock"), CORE).await;
    let (mut client, mut server) = (Stream::open(&channel).await, Stream::open(&channel).await);
    let start =
        StartClientHandshakeReq { target_identities: vec![account("another@x.example")], ..client_start() };
    let init = client.ask(ReqOneof::ClientStart(start)).await.out_frames;
    let flight = server.ask(ReqOneof::ServerStart(server_start(&init))).await.out_frames;
    let (_, details) = client.try_ask(next(&flight)).await.expect_err("it is not the target");
    assert!(details.starts_with("peer_not_expected: "), "{details}");
    let refused = settled(&node, &lines(&node, 1)[0]);
    assert_eq!(refused["reason"], "peer_not_expected");
    assert_eq!(refused["peer"], "ours@x.example");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_nobody_takes_until_the_time_is_up_is_one_end_and_not_two() {
    let node = node("[handshaker]\nhandshake_timeout_seconds = 1\nidle_timeout_seconds = 1\n", FILE);
    let address = format!("unix:{}", node.at("s.sock").display());
    let endpoint = Endpoint::from_shared(address).expect("it is an address").initial_stream_window_size(0);
    let stuck = endpoint.connect().await.expect("altsd listens");
    let stream = Stream::open(&stuck).await;
    stream.send(Some(ReqOneof::ClientStart(client_start()))).await;
    stream.send(Some(next(b"GET / HTTP/1.1\r\n"))).await;
    assert_eq!(lines(&node, 1)[0]["reason"], "frame_length_invalid");
    // One that says nothing later has its time up later.
    let silent = Stream::open(&connect(&node.at("s.sock"), CORE).await).await;
    silent.send(Some(ReqOneof::ClientStart(client_start()))).await;
    assert_eq!(lines(&node, 2)[1]["reason"], "handshake_timeout");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_records_what_it_cuts_off() {
    let mut node = node("", FILE);
    let channel = connect(&node.at("s.sock"), CORE).await;
    let mut stream = Stream::open(&channel).await;
    stream.ask(ReqOneof::ClientStart(client_start())).await;
    assert!(node.stop().success());
    assert_eq!(lines(&node, 1)[0]["reason"], "caller_gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_stops_no_handshake_and_is_told_of_in_metric_and_log() {
    let node = node("", "[audit]\nfile = \"/dev/full\"\n");
    for _ in 0..2 {
        within(&node, None).await.expect("it succeeds");
    }
    let metric = "altsd_audit_records_dropped_total{reason=\"write_failed\"}";
    wait_for("all of them to be counted", || node.metric(metric).filter(|dropped| *dropped == 4.0));
    assert_eq!(node.lines(&["ERROR", "audit_unwritable", "No space left on device"]), 1, "{}", node.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_is_rotated_and_stays_whole() {
    let directory = tempfile::tempdir().expect("there is room");
    // Nearly as much as a file may have.
    let before = [&[b' '; (1 << 20) - 1_000][..], b"\n"].concat();
    fs::write(directory.path().join("audit.log"), before).expect("there is room");
    let node = node_in(directory, "", "[audit]\nfile = \"FILE\"\nmax_file_mebibytes = 1\nmax_files = 2\n");
    let mut handshakes = 0;
    eventually("the file to be rotated", async || {
        within(&node, None).await.expect("it succeeds");
        handshakes += 1;
        node.at("audit.log.1").exists().then_some(())
    })
    .await;
    let read = |name| fs::read_to_string(node.at(name)).expect("it is there");
    let text = wait_for("all lines", || {
        let text = read("audit.log.1") + &read("audit.log");
        (text.lines().count() == 1 + 2 * handshakes).then_some(text)
    });
    assert!(text.lines().skip(1).all(|line| serde_json::from_str::<Value>(line).is_ok()), "{text}");
    assert!(read("audit.log.1").len() <= 1 << 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_who_watches_sees_the_lines_of_the_file_that_he_asks_for() {
    let node = node("", FILE);
    let wanted = ["--local", "ours@x.example", "--verdict", "allowed"];
    let arguments = [&["audit", "tail", "--output", "json", "--count", "3"][..], &wanted].concat();
    let mut tail = node.command(&arguments).stdout(Stdio::piped()).spawn().expect("it starts");
    eventually("three decisions to be seen", async || {
        for account in ["other@x.example", "ours@x.example"] {
            within(&node, Some(account)).await.expect("it succeeds");
        }
        tail.try_wait().expect("it can be asked")
    })
    .await;
    let Output { status, stdout, .. } = tail.wait_with_output().expect("it has ended");
    assert!(status.success());
    let seen = String::from_utf8(stdout).expect("it is text");
    assert_eq!(seen.lines().count(), 3, "{seen}");
    let file = fs::read_to_string(node.at("audit.log")).expect("it is there");
    for line in seen.lines() {
        assert!(line.contains("\"local\":\"ours@x.example\""), "{line}");
        wait_for("the same line in the file", || {
            let file = fs::read_to_string(node.at("audit.log")).ok()?;
            file.lines().any(|written| written == line).then_some(())
        });
    }
    assert!(file.contains("other@x.example"), "{file}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_a_daemon_that_stops_is_told_and_keeps_it_from_nothing() {
    let mut node = node("", "");
    let mut tail = node.command(&["audit", "tail"]);
    let mut tail = tail.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut line = String::new();
    let mut seen = BufReader::new(tail.stdout.take().expect("it is a pipe"));
    // Without a file, too.
    let reading = tokio::task::spawn_blocking(move || seen.read_line(&mut line).map(|_| (line, seen)));
    eventually("a decision to be seen", async || {
        within(&node, None).await.expect("it succeeds");
        reading.is_finished().then_some(())
    })
    .await;
    // The pipe stays open: it is not the reader that ends this.
    let (line, _seen) = reading.await.expect("it ends well").expect("it can be read");
    assert!(line.contains("  allowed    ours@x.example "), "{line}");
    assert!(node.stop().success());
    assert!(!node.log().contains("still open"), "{}", node.log());
    let Output { status, stderr, .. } = tail.wait_with_output().expect("it ends");
    assert_eq!(status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&stderr).contains(" has stopped"),
        "{}",
        String::from_utf8_lossy(&stderr)
    );
}
