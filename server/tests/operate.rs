//! What a running daemon tells its operator and its callers, asked by the real command line.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use nix::unistd::getuid;
use serde_json::Value;

use self::support::{daemon::wait_for, node::Node};

mod support;

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
