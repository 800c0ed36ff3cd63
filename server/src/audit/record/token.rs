//! One request for a token, or to revoke one.

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::{
    MAX_FACT, MAX_NAME, MAX_TEXT, Verdict,
    line::{Bounded, rfc3339, write_line},
};

/// What was decided about one token. All that may be long is cut here already: it waits in memory, and others have
/// chosen how long it is. The names are stable: programs of others read them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct TokenRecord {
    /// When it was decided, since 1970.
    #[serde(serialize_with = "as_time")]
    pub(crate) time: Duration,
    pub(crate) event: TokenEvent,
    pub(crate) verdict: Verdict,
    /// Stable, such as `token_audience_denied`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<Bounded<MAX_TEXT>>,
    /// The reason in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<Bounded<MAX_TEXT>>,
    /// The address that the caller called on.
    pub(crate) listener: Bounded<MAX_TEXT>,
    /// What is known of the caller.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) caller: Vec<Bounded<MAX_FACT>>,
    /// The account of the caller, or in a token that was issued its `client_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client: Option<Bounded<MAX_NAME>>,
    /// The kind of the proof, such as `local_peer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) subject_token_type: Option<Bounded<MAX_TEXT>>,
    /// Whom the token is about, as tokens of ours call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<Bounded<MAX_NAME>>,
    /// Who says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) subject_issuer: Option<Bounded<MAX_NAME>>,
    /// Who acts for the subject, outermost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) actor: Option<Bounded<MAX_NAME>>,
    /// Whom the token is for; where it was refused, whom it was asked for. There are at most 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) audience: Vec<Bounded<MAX_FACT>>,
    /// What it allows, or should have, with spaces between.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) scope: Option<Bounded<MAX_TEXT>>,
    /// What the token is known by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) jti: Option<Bounded<MAX_FACT>>,
    /// When it ends, since 1970.
    #[serde(serialize_with = "as_time_if_any", skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<Duration>,
}

/// What was to be done with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum TokenEvent {
    /// To issue it.
    #[serde(rename = "token")]
    Issue,
    #[serde(rename = "token_revoked")]
    Revoke,
}

impl TokenRecord {
    /// Adds this decision to `out`, as one line with its end.
    pub(crate) fn write_to(&self, out: &mut Vec<u8>) {
        write_line(self, out);
    }
}

fn as_time<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*time))
}

fn as_time_if_any<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    as_time(&time.unwrap_or_default(), serializer)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A token of a peer, with everything that can be known.
    pub(crate) fn full_token() -> TokenRecord {
        TokenRecord {
            time: Duration::from_millis(1_769_903_999_123),
            event: TokenEvent::Issue,
            verdict: Verdict::Allowed,
            reason: None,
            text: None,
            listener: "unix:/run/altsd/token.sock".into(),
            caller: vec!["uid:1000".into(), "path:/usr/bin/orders".into()],
            client: Some("orders@prod.example.com".into()),
            subject_token_type: Some("alts_context".into()),
            subject: Some("cart@prod.example.com".into()),
            subject_issuer: Some("https://tokens.example.com".into()),
            actor: Some("stock@prod.example.com".into()),
            audience: vec!["https://bank.example.com".into()],
            scope: Some("read write".into()),
            jti: Some("AAECAwQFBgcICQoLDA0ODw".into()),
            expires: Some(Duration::from_secs(1_769_904_599)),
        }
    }

    /// A request of which nothing came to be known.
    fn empty() -> TokenRecord {
        TokenRecord {
            verdict: Verdict::Refused,
            reason: Some("parameter_missing".into()),
            text: Some("grant_type is missing".into()),
            caller: Vec::new(),
            client: None,
            subject_token_type: None,
            subject: None,
            subject_issuer: None,
            actor: None,
            audience: Vec::new(),
            scope: None,
            jti: None,
            expires: None,
            ..full_token()
        }
    }

    fn line_of(record: &TokenRecord) -> String {
        let mut line = Vec::new();
        record.write_to(&mut line);
        String::from_utf8(line).expect("JSON is text")
    }

    #[test]
    fn a_record_of_a_token_is_exactly_this_line() {
        let revoked = TokenRecord {
            event: TokenEvent::Revoke,
            verdict: Verdict::Allowed,
            reason: None,
            text: None,
            jti: Some("AAECAwQFBgcICQoLDA0ODw".into()),
            ..empty()
        };
        let cases = [
            (
                full_token(),
                r#"{"time":"2026-01-31T23:59:59.123Z","event":"token","verdict":"allowed","listener":"unix:/run/altsd/token.sock","caller":["uid:1000","path:/usr/bin/orders"],"client":"orders@prod.example.com","subject_token_type":"alts_context","subject":"cart@prod.example.com","subject_issuer":"https://tokens.example.com","actor":"stock@prod.example.com","audience":["https://bank.example.com"],"scope":"read write","jti":"AAECAwQFBgcICQoLDA0ODw","expires":"2026-02-01T00:09:59.000Z"}"#,
            ),
            (
                empty(),
                r#"{"time":"2026-01-31T23:59:59.123Z","event":"token","verdict":"refused","reason":"parameter_missing","text":"grant_type is missing","listener":"unix:/run/altsd/token.sock"}"#,
            ),
            (
                revoked,
                r#"{"time":"2026-01-31T23:59:59.123Z","event":"token_revoked","verdict":"allowed","listener":"unix:/run/altsd/token.sock","jti":"AAECAwQFBgcICQoLDA0ODw"}"#,
            ),
        ];
        for (record, expected) in cases {
            assert_eq!(line_of(&record), format!("{expected}\n"));
        }
    }

    #[test]
    fn no_audience_or_scope_of_others_ends_a_line() {
        let forged = "a\n{\"verdict\":\"allowed\"}\r\x1b[2K\u{85}\u{2028}";
        let record =
            TokenRecord { audience: vec![forged.into()], scope: Some(forged.into()), ..full_token() };
        let line = line_of(&record);
        let line = line.strip_suffix('\n').expect("it has an end");
        assert!(!line.contains(|char: char| char.is_control() || char == '\u{2028}'), "{line}");
        let read: serde_json::Value = serde_json::from_str(line).expect("it is JSON");
        assert_eq!((&read["audience"][0], &read["scope"]), (&forged.into(), &forged.into()));
    }

    #[test]
    fn what_is_too_long_is_cut_before_it_waits() {
        let long = "ü".repeat(100_000);
        let record = TokenRecord {
            text: Some((&*long).into()),
            subject: Some((&*long).into()),
            audience: vec![(&*long).into()],
            ..full_token()
        };
        let texts = [
            (record.text.as_ref().map(Bounded::as_str), 1_024),
            (record.subject.as_ref().map(Bounded::as_str), 2_048),
            (record.audience.first().map(Bounded::as_str), 512),
        ];
        for (text, max) in texts {
            let text = text.expect("it is there");
            assert!((max - 4..=max).contains(&text.len()) && text.ends_with('…'), "{}", text.len());
        }
    }
}
