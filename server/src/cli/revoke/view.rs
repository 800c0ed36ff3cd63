//! Revocations as they are printed.

use alts_proto::{
    Timestamp,
    altsd::{Revocation, revocation::Subject},
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
pub(super) const COLLECTION: &str = "revocations/";

/// A revocation as it is in JSON. What is not known is null.
#[derive(Debug, Serialize)]
pub(super) struct View {
    /// Without what all begin with.
    name: String,
    account: Option<String>,
    issuer: Option<String>,
    serial_number: Option<String>,
    key_sha256: Option<String>,
    reason: String,
    create_time: Option<String>,
    expire_time: Option<String>,
    state: &'static str,
    revision: i64,
}

impl From<Revocation> for View {
    fn from(revocation: Revocation) -> Self {
        let state = state_word(revocation.state());
        let mut view = Self {
            name: revocation.name.strip_prefix(COLLECTION).unwrap_or(&revocation.name).to_owned(),
            account: None,
            issuer: None,
            serial_number: None,
            key_sha256: None,
            reason: revocation.reason,
            create_time: revocation.create_time.map(time),
            expire_time: revocation.expire_time.map(time),
            state,
            revision: revocation.revision,
        };
        match revocation.subject {
            Some(Subject::Account(account)) => view.account = Some(account),
            Some(Subject::Certificate(certificate)) => {
                view.issuer = Some(certificate.issuer).filter(|issuer| !issuer.is_empty());
                view.serial_number = Some(certificate.serial_number);
            }
            Some(Subject::KeySha256(hash)) => view.key_sha256 = Some(hash),
            None => {}
        }
        view
    }
}

fn time(timestamp: Timestamp) -> String {
    utc(u64::try_from(timestamp.seconds).unwrap_or_default())
}

/// One line for each.
pub(super) fn list(revocations: &[View]) -> String {
    let header = ["NAME", "STATE", "SINCE", "UNTIL", "REASON"].map(str::to_owned);
    let row = |view: &View| {
        let [since, until] = [&view.create_time, &view.expire_time].map(or_nothing);
        vec![view.name.clone(), view.state.to_owned(), since, until, view.reason.clone()]
    };
    table(&[header.to_vec()].into_iter().chain(revocations.iter().map(row)).collect::<Vec<_>>())
}

/// One line for each field that is known.
pub(super) fn details(view: &View) -> String {
    let fields = [
        ("name", Some(view.name.clone())),
        ("account", view.account.clone()),
        ("issuer", view.issuer.clone()),
        ("serial number", view.serial_number.clone()),
        ("key sha256", view.key_sha256.clone()),
        ("reason", Some(view.reason.clone())),
        ("state", Some(view.state.to_owned())),
        ("since", view.create_time.clone()),
        ("until", view.expire_time.clone()),
    ];
    let rows = fields.into_iter().filter_map(|(name, value)| Some(vec![name.to_owned(), value?]));
    table(&rows.collect::<Vec<_>>())
}

fn or_nothing(text: &Option<String>) -> String {
    text.clone().unwrap_or_else(|| NOTHING.to_owned())
}

#[cfg(test)]
mod tests {
    use alts_proto::altsd::{ResourceState, RevokedCertificate};

    use super::*;

    fn revocations() -> [Revocation; 3] {
        let at = |seconds| Some(Timestamp { seconds, nanos: 0 });
        let base = Revocation {
            reason: "lost\nand found".to_owned(),
            create_time: at(1_767_225_600),
            state: ResourceState::Active.into(),
            revision: 7,
            ..Revocation::default()
        };
        [
            Revocation {
                name: "revocations/accounts/a@b.example".to_owned(),
                subject: Some(Subject::Account("a@b.example".to_owned())),
                expire_time: at(1_767_225_660),
                ..base.clone()
            },
            Revocation {
                name: "revocations/certificates/00ff/0a".to_owned(),
                subject: Some(Subject::Certificate(RevokedCertificate {
                    issuer: "CN=root".to_owned(),
                    serial_number: "0a".to_owned(),
                })),
                ..base.clone()
            },
            Revocation {
                name: "revocations/keys/00ff".to_owned(),
                subject: Some(Subject::KeySha256("00ff".to_owned())),
                state: ResourceState::Unreadable.into(),
                ..Revocation::default()
            },
        ]
    }

    #[test]
    fn a_list_has_one_aligned_line_for_each() {
        let expected = "\
NAME                  STATE       SINCE                 UNTIL                 REASON
accounts/a@b.example  active      2026-01-01T00:00:00Z  2026-01-01T00:01:00Z  lost\\nand found
certificates/00ff/0a  active      2026-01-01T00:00:00Z  -                     lost\\nand found
keys/00ff             unreadable  -                     -
";
        assert_eq!(list(&revocations().map(View::from)), expected);
    }

    #[test]
    fn details_are_what_is_known() {
        let [_, certificate, _] = revocations();
        let expected = "\
name           certificates/00ff/0a
issuer         CN=root
serial number  0a
reason         lost\\nand found
state          active
since          2026-01-01T00:00:00Z
";
        assert_eq!(details(&certificate.into()), expected);
    }

    #[test]
    fn json_has_every_field_of_every_kind() {
        let [account, certificate, key] =
            revocations().map(|one| serde_json::to_value(View::from(one)).expect("JSON"));
        assert_eq!(account["account"], "a@b.example");
        assert_eq!(
            (&certificate["issuer"], &certificate["serial_number"]),
            (&"CN=root".into(), &"0a".into())
        );
        assert_eq!((&key["key_sha256"], &key["account"]), (&"00ff".into(), &serde_json::Value::Null));
        assert_eq!(account["expire_time"], "2026-01-01T00:01:00Z");
    }
}
