use std::time::Duration;

use super::{super::line::write_dropped, *};
use crate::attest::Selector;

/// A client that was let through, with everything that can be known.
pub(crate) fn full() -> HandshakeRecord {
    let selectors = ["uid:1000", "path:/usr/bin/orders"];
    let parse = |text: &str| Selector::parse(text).expect("it is a selector");
    let peer = Identity::new(
        alts_handshake::MailAccount::parse("cart@prod.example.com").ok(),
        alts_handshake::SpiffeId::parse("spiffe://prod.example.com/cart").ok(),
    );
    HandshakeRecord {
        time: Duration::from_millis(1_769_903_999_123),
        listener: "unix:/run/altsd/altsd.sock".into(),
        caller: Who::Attested(Arc::new(selectors.map(parse).into())),
        side: Some(Role::Client),
        local: Some("orders@prod.example.com".to_owned()),
        decided: Decided {
            peer,
            rule: Some("orders-may-call".into()),
            reason: Some("rule_allows"),
            shadow: Some(Shadow { rule: "carts-closed".into(), verdict: Verdict::Refused }),
        },
        verdict: Verdict::Allowed,
        reason: Some("rule_allows"),
        text: None,
        duration: Some(Duration::from_micros(1_840)),
    }
}

/// A stream of which nothing came to be known.
fn empty() -> HandshakeRecord {
    HandshakeRecord {
        caller: Who::Unknown,
        side: None,
        local: None,
        decided: Decided::default(),
        verdict: Verdict::Refused,
        reason: Some("start_timeout"),
        text: Some("no start message came within 40s".to_owned()),
        duration: None,
        ..full()
    }
}

fn line_of(record: &HandshakeRecord) -> String {
    let mut line = Vec::new();
    record.write_to(&mut line);
    String::from_utf8(line).expect("JSON is text")
}

#[test]
fn a_record_is_exactly_this_line() {
    let of_user = HandshakeRecord {
        caller: Who::User(7),
        verdict: Verdict::Abandoned,
        reason: Some("caller_gone"),
        text: None,
        side: Some(Role::Server),
        ..empty()
    };
    let cases = [
        (
            full(),
            r#"{"time":"2026-01-31T23:59:59.123Z","event":"handshake","verdict":"allowed","reason":"rule_allows","side":"client","listener":"unix:/run/altsd/altsd.sock","caller":["uid:1000","path:/usr/bin/orders"],"local":"orders@prod.example.com","peer":"cart@prod.example.com","peer_spiffe_id":"spiffe://prod.example.com/cart","rule":"orders-may-call","shadow_rule":"carts-closed","shadow_verdict":"refused","duration_ms":1.84}"#,
        ),
        (
            empty(),
            r#"{"time":"2026-01-31T23:59:59.123Z","event":"handshake","verdict":"refused","reason":"start_timeout","text":"no start message came within 40s","listener":"unix:/run/altsd/altsd.sock"}"#,
        ),
        (
            of_user,
            r#"{"time":"2026-01-31T23:59:59.123Z","event":"handshake","verdict":"abandoned","reason":"caller_gone","side":"server","listener":"unix:/run/altsd/altsd.sock","caller":["uid:7"]}"#,
        ),
    ];
    for (record, expected) in cases {
        assert_eq!(line_of(&record), format!("{expected}\n"));
    }
    let mut line = Vec::new();
    write_dropped(Duration::from_secs(0), 12, &mut line);
    assert_eq!(line, b"{\"time\":\"1970-01-01T00:00:00.000Z\",\"event\":\"dropped\",\"count\":12}\n");
}

#[test]
fn no_character_of_others_ends_a_line_or_moves_a_cursor() {
    let forged = "a\n{\"verdict\":\"allowed\"}\r\0\x1b[2K\x7f\u{85}\u{9b}2K\u{2028}\u{2029}ü\\\"";
    let record = HandshakeRecord { local: Some(forged.to_owned()), text: Some(forged.to_owned()), ..full() };
    let line = line_of(&record);
    let (line, end) = line.split_at(line.len() - 1);
    assert_eq!(end, "\n");
    assert!(!line.contains(|char: char| char.is_control() || "\u{2028}\u{2029}".contains(char)), "{line}");
    let read: serde_json::Value = serde_json::from_str(line).expect("it is JSON");
    assert_eq!((&read["local"], &read["text"]), (&forged.into(), &forged.into()));
}

#[test]
fn every_field_is_bounded_and_says_where_it_was_cut() {
    let long = "ü".repeat(100_000);
    let many = (0..100).map(|number| format!("cgroup:/{number:03}{}", "x".repeat(4_000)));
    let selectors = many.map(|text| Selector::parse(&text).expect("it is one")).collect();
    let record = HandshakeRecord {
        listener: (&*long).into(),
        caller: Who::Attested(Arc::new(selectors)),
        local: Some(long.clone()),
        text: Some(long.clone()),
        decided: Decided {
            rule: Some((&*long).into()),
            shadow: Some(Shadow { rule: (&*long).into(), verdict: Verdict::Refused }),
            ..full().decided
        },
        ..full()
    };
    let line = line_of(&record);
    let read: serde_json::Value = serde_json::from_str(&line).expect("it is JSON");
    let cases =
        [("listener", 1_024), ("local", 2_048), ("text", 1_024), ("rule", 1_024), ("shadow_rule", 1_024)];
    for (name, max) in cases {
        let text = read[name].as_str().expect("it is text");
        assert!((max - 4..=max).contains(&text.len()) && text.ends_with('…'), "{name}: {}", text.len());
    }
    let facts = read["caller"].as_array().expect("it is a list");
    assert_eq!(facts.len(), 16);
    assert!(facts.iter().all(|fact| fact.as_str().is_some_and(|fact| fact.len() == 512)), "{facts:?}");
    assert_eq!(cut("abc", 3), "abc");
}
