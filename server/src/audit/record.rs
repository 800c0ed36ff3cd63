//! One decision as a value, and as one line of JSON.

use std::{borrow::Cow, collections::BTreeSet, io, sync::Arc, time::Duration};

use alts_handshake::{Identity, Role};
use serde::Serialize;
use serde_json::ser::Formatter;
use time::OffsetDateTime;

use crate::attest::Selector;

/// Longest name of a workload, in bytes: no SPIFFE ID is longer.
const MAX_NAME: usize = 2_048;

/// Longest fact about a caller, in bytes. A path may have more; its beginning tells enough.
const MAX_FACT: usize = 512;

/// Most facts about a caller. Of each of the twelve kinds it has at most one.
const MAX_FACTS: usize = 16;

/// Longest text of a reason and longest name of a rule or a listener, in bytes.
const MAX_TEXT: usize = 1_024;

/// What stands at the end of what was cut.
const CUT: char = '…';

/// The event of a line that is a decision.
pub(crate) const HANDSHAKE: &str = "handshake";

/// What was decided about one handshake.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    /// When it was decided, since 1970.
    pub(crate) time: Duration,
    /// The address that the caller called on.
    pub(crate) listener: Arc<str>,
    pub(crate) caller: Who,
    /// Which end of its connection the caller is; `None` where it has not come to say.
    pub(crate) side: Option<Role>,
    /// The account that it handshakes as, once it is known.
    pub(crate) local: Option<String>,
    pub(crate) decided: Decided,
    pub(crate) verdict: Verdict,
    /// Stable, such as `peer_certificate_expired`.
    pub(crate) reason: Option<&'static str>,
    /// The reason in words.
    pub(crate) text: Option<String>,
    /// From the start message on.
    pub(crate) duration: Option<Duration>,
}

/// What is known of a caller.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Who {
    /// All that holds of its process.
    Attested(Arc<BTreeSet<Selector>>),
    /// The user that connected, by the kernel's word, and no more.
    User(u32),
    /// Nothing.
    Unknown,
}

/// What the rules of operators said about a peer that has proved who it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Decided {
    pub(crate) peer: Option<Identity>,
    /// The rule that decided.
    pub(crate) rule: Option<Arc<str>>,
    /// Why the peer is admitted. Why it is not is the reason of the refusal.
    pub(crate) reason: Option<&'static str>,
    pub(crate) shadow: Option<Shadow>,
}

/// What a rule that is only tried out would have done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shadow {
    pub(crate) rule: Arc<str>,
    pub(crate) verdict: Verdict,
}

/// How a handshake ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// The caller got a key.
    Allowed,
    /// It got a reason.
    Refused,
    /// It left before it got either.
    Abandoned,
}

/// A record as it is told: in words, each bounded in length. The names are stable: programs of others read them.
#[derive(Serialize)]
pub(crate) struct Fields<'r> {
    pub(crate) time: String,
    pub(crate) event: &'static str,
    pub(crate) verdict: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<Cow<'r, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) side: Option<&'r str>,
    pub(crate) listener: Cow<'r, str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) caller: Vec<Cow<'r, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) local: Option<Cow<'r, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer: Option<Cow<'r, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer_spiffe_id: Option<Cow<'r, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rule: Option<Cow<'r, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shadow_rule: Option<Cow<'r, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shadow_verdict: Option<Verdict>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) duration_ms: Option<f64>,
}

#[derive(Serialize)]
struct DroppedLine {
    time: String,
    event: &'static str,
    count: u64,
}

impl Record {
    /// Adds this decision to `out`, as one line with its end.
    pub(crate) fn write_to(&self, out: &mut Vec<u8>) {
        self.fields().write_to(out);
    }

    /// The same in words.
    pub(crate) fn fields(&self) -> Fields<'_> {
        let Decided { peer, rule, shadow, .. } = &self.decided;
        let spiffe_id = peer.as_ref().and_then(|peer| peer.spiffe_id());
        Fields {
            time: rfc3339(self.time),
            event: HANDSHAKE,
            verdict: self.verdict,
            reason: self.reason,
            text: self.text.as_deref().map(|text| cut(text, MAX_TEXT)),
            side: self.side.map(side),
            listener: cut(&self.listener, MAX_TEXT),
            caller: self.caller().into_iter().map(Cow::Owned).collect(),
            local: self.local.as_deref().map(|name| cut(name, MAX_NAME)),
            peer: peer.as_ref().map(|peer| cut(peer.account(), MAX_NAME)),
            peer_spiffe_id: spiffe_id.map(|id| cut(id.as_str(), MAX_NAME)),
            rule: rule.as_deref().map(|rule| cut(rule, MAX_TEXT)),
            shadow_rule: shadow.as_ref().map(|shadow| cut(&shadow.rule, MAX_TEXT)),
            shadow_verdict: shadow.as_ref().map(|shadow| shadow.verdict),
            duration_ms: self.duration.map(milliseconds),
        }
    }

    fn caller(&self) -> Vec<String> {
        match &self.caller {
            Who::Attested(selectors) => {
                selectors.iter().take(MAX_FACTS).map(|one| cut(&one.to_string(), MAX_FACT).into()).collect()
            }
            Who::User(uid) => vec![format!("uid:{uid}")],
            Who::Unknown => Vec::new(),
        }
    }
}

impl Fields<'_> {
    /// Adds them to `out`, as one line with its end.
    pub(crate) fn write_to(&self, out: &mut Vec<u8>) {
        write_line(self, out);
    }
}

/// The word for an end of a connection.
pub(crate) fn side(side: Role) -> &'static str {
    match side {
        Role::Client => "client",
        Role::Server => "server",
    }
}

/// Adds to `out` the line that says how many records are missing before it.
pub(crate) fn write_dropped(time: Duration, count: u64, out: &mut Vec<u8>) {
    write_line(&DroppedLine { time: rfc3339(time), event: "dropped", count }, out);
}

fn write_line(line: &impl Serialize, out: &mut Vec<u8>) {
    let begun = out.len();
    // Text, numbers and lists of text: there is always JSON of them. Whatever happens, no half of a line stays.
    match line.serialize(&mut serde_json::Serializer::with_formatter(&mut *out, OneLine)) {
        Ok(()) => out.push(b'\n'),
        Err(_) => out.truncate(begun),
    }
}

/// JSON as the library writes it, but that nothing in a text ends a line or moves a cursor for any reader: it escapes
/// U+0000 to U+001F by itself, and this the other control characters and the line ends of Unicode.
struct OneLine;

impl Formatter for OneLine {
    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let ends_a_line = |char: char| char.is_control() || matches!(char, '\u{2028}' | '\u{2029}');
        let mut rest = fragment;
        while let Some((at, char)) = rest.char_indices().find(|(_, char)| ends_a_line(*char)) {
            writer.write_all(&rest.as_bytes()[..at])?;
            // All of them are below U+10000, and so one escape.
            write!(writer, "\\u{:04x}", u32::from(char))?;
            rest = &rest[at + char.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

/// At most `max` bytes of a text, and a sign where some are missing.
fn cut(text: &str, max: usize) -> Cow<'_, str> {
    if text.len() <= max {
        return Cow::Borrowed(text);
    }
    let kept = text.floor_char_boundary(max - CUT.len_utf8());
    Cow::Owned(format!("{}{CUT}", &text[..kept]))
}

/// To the microsecond: most handshakes take less than one millisecond of ours.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1_000.0
}

/// A time in UTC with milliseconds, such as `2026-01-31T23:59:59.123Z`.
pub(crate) fn rfc3339(since_1970: Duration) -> String {
    // The last second of the year 9999: later ones are no such times.
    const LAST: u64 = 253_402_300_799;
    let seconds = since_1970.as_secs().min(LAST) as i64;
    let date = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (month, (hour, minute, second)) = (u8::from(date.month()), date.to_hms());
    format!(
        "{:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
        date.year(),
        date.day(),
        since_1970.subsec_millis()
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A client that was let through, with everything that can be known.
    pub(crate) fn full() -> Record {
        let selectors = ["uid:1000", "path:/usr/bin/orders"];
        let parse = |text: &str| Selector::parse(text).expect("it is a selector");
        let peer = Identity::new(
            alts_handshake::MailAccount::parse("cart@prod.example.com").ok(),
            alts_handshake::SpiffeId::parse("spiffe://prod.example.com/cart").ok(),
        );
        Record {
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
    fn empty() -> Record {
        Record {
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

    fn line_of(record: &Record) -> String {
        let mut line = Vec::new();
        record.write_to(&mut line);
        String::from_utf8(line).expect("JSON is text")
    }

    #[test]
    fn a_record_is_exactly_this_line() {
        let of_user = Record {
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
        let record = Record { local: Some(forged.to_owned()), text: Some(forged.to_owned()), ..full() };
        let line = line_of(&record);
        let (line, end) = line.split_at(line.len() - 1);
        assert_eq!(end, "\n");
        assert!(
            !line.contains(|char: char| char.is_control() || "\u{2028}\u{2029}".contains(char)),
            "{line}"
        );
        let read: serde_json::Value = serde_json::from_str(line).expect("it is JSON");
        assert_eq!((&read["local"], &read["text"]), (&forged.into(), &forged.into()));
    }

    #[test]
    fn every_field_is_bounded_and_says_where_it_was_cut() {
        let long = "ü".repeat(100_000);
        let many = (0..100).map(|number| format!("cgroup:/{number:03}{}", "x".repeat(4_000)));
        let selectors = many.map(|text| Selector::parse(&text).expect("it is one")).collect();
        let record = Record {
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

    #[test]
    fn times_are_those_of_rfc_3339_whatever_the_clock_says() {
        let cases = [
            (Duration::ZERO, "1970-01-01T00:00:00.000Z"),
            (Duration::from_micros(951_782_400_999_999), "2000-02-29T00:00:00.999Z"),
            (Duration::MAX, "9999-12-31T23:59:59.999Z"),
        ];
        for (time, expected) in cases {
            assert_eq!(rfc3339(time), expected);
        }
    }
}
