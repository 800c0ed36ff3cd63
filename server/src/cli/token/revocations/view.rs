//! Revocations of tokens as they are printed.

use alts_proto::{
    Timestamp,
    altsd::{TokenRevocation, token_revocation::Revoked},
};
use serde::Serialize;

use crate::{
    cli::{
        output::{NOTHING, table},
        policy::state_word,
    },
    clock::utc,
};

/// What resource names begin with.
pub(super) const COLLECTION: &str = "token-revocations/";

/// A revocation as it is in JSON. What is not known is null.
#[derive(Debug, Serialize)]
pub(super) struct View {
    /// Without what all begin with.
    name: String,
    issuer: Option<String>,
    token_id: Option<String>,
    subject: Option<String>,
    /// Null of one that the holder of the token has made.
    reason: Option<String>,
    create_time: Option<String>,
    expire_time: Option<String>,
    state: &'static str,
    uid: Option<u32>,
    revision: i64,
}

impl From<TokenRevocation> for View {
    fn from(revocation: TokenRevocation) -> Self {
        let state = state_word(revocation.state());
        let (token_id, subject) = match revocation.revoked {
            Some(Revoked::TokenId(id)) => (Some(id), None),
            Some(Revoked::Subject(subject)) => (None, Some(subject)),
            None => (None, None),
        };
        let said = |text: String| Some(text).filter(|text| !text.is_empty());
        Self {
            name: revocation.name.strip_prefix(COLLECTION).unwrap_or(&revocation.name).to_owned(),
            issuer: said(revocation.issuer),
            token_id,
            subject,
            reason: said(revocation.reason),
            create_time: revocation.create_time.map(time),
            expire_time: revocation.expire_time.map(time),
            state,
            uid: revocation.uid,
            revision: revocation.revision,
        }
    }
}

fn time(timestamp: Timestamp) -> String {
    utc(u64::try_from(timestamp.seconds).unwrap_or_default())
}

/// One line for each.
pub(super) fn list(revocations: &[View]) -> String {
    let header = ["REVOKED", "ISSUER", "STATE", "SINCE", "UNTIL", "REASON", "NAME"].map(str::to_owned);
    let row = |view: &View| {
        let revoked = match (&view.token_id, &view.subject) {
            (Some(id), _) => format!("token {id}"),
            (_, Some(subject)) => format!("subject {subject}"),
            _ => NOTHING.to_owned(),
        };
        let [issuer, since, until, reason] =
            [&view.issuer, &view.create_time, &view.expire_time, &view.reason]
                .map(|text| text.clone().unwrap_or_else(|| NOTHING.to_owned()));
        vec![revoked, issuer, view.state.to_owned(), since, until, reason, view.name.clone()]
    };
    table(&[header.to_vec()].into_iter().chain(revocations.iter().map(row)).collect::<Vec<_>>())
}

/// One line for each field that is known.
pub(super) fn details(view: &View) -> String {
    let fields = [
        ("name", Some(view.name.clone())),
        ("issuer", view.issuer.clone()),
        ("token", view.token_id.clone()),
        ("subject", view.subject.clone()),
        ("reason", view.reason.clone()),
        ("state", Some(view.state.to_owned())),
        ("since", view.create_time.clone()),
        ("until", view.expire_time.clone()),
        ("by uid", view.uid.map(|uid| uid.to_string())),
    ];
    let rows = fields.into_iter().filter_map(|(name, value)| Some(vec![name.to_owned(), value?]));
    table(&rows.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use alts_proto::altsd::ResourceState;

    use super::*;

    fn revocations() -> [TokenRevocation; 3] {
        let at = |seconds| Some(Timestamp { seconds, nanos: 0 });
        let base = TokenRevocation {
            issuer: "https://t.example".to_owned(),
            create_time: at(1_767_225_600),
            state: ResourceState::Active.into(),
            revision: 7,
            ..TokenRevocation::default()
        };
        [
            TokenRevocation {
                name: "token-revocations/tokens/00ff".to_owned(),
                revoked: Some(Revoked::TokenId("j\u{1b}[2J".to_owned())),
                expire_time: at(1_767_225_660),
                ..base.clone()
            },
            TokenRevocation {
                name: "token-revocations/subjects/00ff".to_owned(),
                revoked: Some(Revoked::Subject("a@b.example".to_owned())),
                reason: "lost\nand found".to_owned(),
                uid: Some(0),
                ..base
            },
            TokenRevocation {
                name: "token-revocations/tokens/0a".to_owned(),
                state: ResourceState::Unreadable.into(),
                ..TokenRevocation::default()
            },
        ]
    }

    #[test]
    fn a_list_has_one_aligned_line_for_each() {
        let expected = "\
REVOKED              ISSUER             STATE       SINCE                 UNTIL                 REASON           NAME
token j\\u{1b}[2J     https://t.example  active      2026-01-01T00:00:00Z  2026-01-01T00:01:00Z  -                tokens/00ff
subject a@b.example  https://t.example  active      2026-01-01T00:00:00Z  -                     lost\\nand found  subjects/00ff
-                    -                  unreadable  -                     -                     -                tokens/0a
";
        assert_eq!(list(&revocations().map(View::from)), expected);
    }

    #[test]
    fn details_are_what_is_known() {
        let [_, subject, _] = revocations();
        let expected = "\
name     subjects/00ff
issuer   https://t.example
subject  a@b.example
reason   lost\\nand found
state    active
since    2026-01-01T00:00:00Z
by uid   0
";
        assert_eq!(details(&subject.into()), expected);
    }

    #[test]
    fn json_has_every_field_of_every_kind() {
        let [token, subject, unreadable] =
            revocations().map(|one| serde_json::to_value(View::from(one)).expect("JSON"));
        let null = serde_json::Value::Null;
        assert_eq!((&token["token_id"], &token["subject"]), (&"j\u{1b}[2J".into(), &null));
        assert_eq!((&subject["subject"], &subject["uid"]), (&"a@b.example".into(), &0.into()));
        assert_eq!((&unreadable["issuer"], &unreadable["reason"]), (&null, &null));
        assert_eq!(token["expire_time"], "2026-01-01T00:01:00Z");
    }
}
