//! Decisions about tokens, as lines.

use alts_proto::altsd::{AuditTokenRecord, TokenEvent as TokenEventMessage};

use super::{since_1970, verdict, word};
use crate::{
    audit::{self, Bounded, TokenEvent, TokenRecord, Verdict},
    cli::output::{Format, NOTHING, printable},
};

/// What a record of the admin API says, as the trail in a file has it; `None` if this program does not know what it is
/// about.
pub(super) fn record(record: &AuditTokenRecord) -> Option<TokenRecord> {
    let event = match record.event() {
        TokenEventMessage::Unspecified => return None,
        TokenEventMessage::Issue => TokenEvent::Issue,
        TokenEventMessage::Revoke => TokenEvent::Revoke,
    };
    Some(TokenRecord {
        time: record.time.as_ref().map(since_1970).unwrap_or_default(),
        event,
        verdict: verdict(record.verdict()).unwrap_or(Verdict::Refused),
        reason: text(&record.reason),
        text: text(&record.text),
        listener: (&*record.listener).into(),
        caller: texts(&record.caller),
        client: text(&record.client),
        subject_token_type: text(&record.subject_token_type),
        subject: text(&record.subject),
        subject_issuer: text(&record.subject_issuer),
        actor: text(&record.actor),
        audience: texts(&record.audience),
        scope: text(&record.scope),
        jti: text(&record.jti),
        expires: record.expires.as_ref().map(since_1970),
    })
}

/// Adds it to `out`, as one line with its end.
pub(super) fn write(record: &TokenRecord, format: Format, out: &mut Vec<u8>) {
    match format {
        Format::Json => record.write_to(out),
        Format::Text => {
            out.extend_from_slice(sentence(record).as_bytes());
            out.push(b'\n');
        }
    }
}

/// One line for people: whom the token is about, for whom it is, and who has asked.
fn sentence(record: &TokenRecord) -> String {
    let what = match record.event {
        TokenEvent::Issue => "token",
        TokenEvent::Revoke => "revocation of a token",
    };
    let time = audit::rfc3339(record.time);
    let mut line = format!("{time}  {:9}  {what} of {}", word(record.verdict), shown(&record.subject));
    if !record.audience.is_empty() {
        let audiences: Vec<_> = record.audience.iter().map(|one| printable(one.as_str())).collect();
        line += &format!(" for {}", audiences.join(", "));
    }
    if record.actor.is_some() {
        line += &format!("  actor {}", shown(&record.actor));
    }
    line += &format!("  client {}", shown(&record.client));
    match (&record.reason, &record.text) {
        (Some(_), Some(_)) => line += &format!("  {}: {}", shown(&record.reason), shown(&record.text)),
        (Some(_), None) => line += &format!("  {}", shown(&record.reason)),
        (None, _) => {}
    }
    line
}

fn shown<const MAX: usize>(text: &Option<Bounded<MAX>>) -> String {
    printable(text.as_ref().map_or(NOTHING, Bounded::as_str)).to_string()
}

fn text<const MAX: usize>(text: &str) -> Option<Bounded<MAX>> {
    (!text.is_empty()).then(|| text.into())
}

fn texts<const MAX: usize>(texts: &[String]) -> Vec<Bounded<MAX>> {
    texts.iter().map(|text| text.as_str().into()).collect()
}

#[cfg(test)]
mod tests {
    use alts_proto::{Timestamp, altsd::Verdict as VerdictMessage};

    use super::*;

    fn issued() -> AuditTokenRecord {
        AuditTokenRecord {
            time: Some(Timestamp { seconds: 1_769_903_999, nanos: 123_456_789 }),
            event: TokenEventMessage::Issue.into(),
            verdict: VerdictMessage::Allowed.into(),
            listener: "unix:/t".to_owned(),
            caller: vec!["uid:7".to_owned()],
            client: "a@x.example".to_owned(),
            subject_token_type: "alts_context".to_owned(),
            subject: "b@x.example".to_owned(),
            subject_issuer: "https://t.example".to_owned(),
            actor: "a@x.example".to_owned(),
            audience: vec!["https://c.example".to_owned()],
            scope: "read".to_owned(),
            jti: "id".to_owned(),
            expires: Some(Timestamp { seconds: 1_769_904_599, nanos: 0 }),
            ..Default::default()
        }
    }

    fn refused() -> AuditTokenRecord {
        AuditTokenRecord {
            verdict: VerdictMessage::Refused.into(),
            reason: "token_audience_denied".to_owned(),
            text: "not\nfor you".to_owned(),
            subject: String::new(),
            actor: String::new(),
            client: String::new(),
            audience: vec!["a\x1b[2K".to_owned(), "b".to_owned()],
            ..issued()
        }
    }

    #[test]
    fn a_decision_about_a_token_is_one_line_for_people() {
        let revoked = AuditTokenRecord {
            event: TokenEventMessage::Revoke.into(),
            audience: Vec::new(),
            actor: String::new(),
            ..issued()
        };
        let cases = [
            (
                issued(),
                "2026-01-31T23:59:59.123Z  allowed    token of b@x.example for https://c.example  \
                 actor a@x.example  client a@x.example",
            ),
            (
                refused(),
                "2026-01-31T23:59:59.123Z  refused    token of - for a\\u{1b}[2K, b  client -  \
                 token_audience_denied: not\\nfor you",
            ),
            (
                revoked,
                "2026-01-31T23:59:59.123Z  allowed    revocation of a token of b@x.example  client a@x.example",
            ),
        ];
        for (message, expected) in cases {
            assert_eq!(sentence(&record(&message).expect("it is known")), expected);
        }
    }

    #[test]
    fn a_decision_about_a_token_in_json_is_the_line_of_the_file() {
        let mut line = Vec::new();
        write(&record(&issued()).expect("it is known"), Format::Json, &mut line);
        let expected = "{\"time\":\"2026-01-31T23:59:59.123Z\",\"event\":\"token\",\"verdict\":\"allowed\",\
                        \"listener\":\"unix:/t\",\"caller\":[\"uid:7\"],\"client\":\"a@x.example\",\
                        \"subject_token_type\":\"alts_context\",\"subject\":\"b@x.example\",\
                        \"subject_issuer\":\"https://t.example\",\"actor\":\"a@x.example\",\
                        \"audience\":[\"https://c.example\"],\"scope\":\"read\",\"jti\":\"id\",\
                        \"expires\":\"2026-02-01T00:09:59.000Z\"}\n";
        assert_eq!(String::from_utf8_lossy(&line), expected);
    }

    #[test]
    fn what_is_neither_issued_nor_revoked_is_of_a_newer_altsd() {
        assert_eq!(record(&AuditTokenRecord { event: 9, ..issued() }), None);
    }
}
