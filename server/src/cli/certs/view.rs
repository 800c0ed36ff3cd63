//! Certificates as they are printed.

use alts_proto::{
    Timestamp,
    altsd::{
        Certificate,
        certificate::{Origin, State},
    },
};
use serde::Serialize;

use crate::{
    cli::output::{NOTHING, table},
    clock::utc,
};

/// A certificate as it is in JSON. What is not known is null.
#[derive(Debug, Serialize)]
pub(super) struct View {
    name: String,
    account: String,
    spiffe_id: Option<String>,
    origin: &'static str,
    state: &'static str,
    serial_number: Option<String>,
    subject: Option<String>,
    issuer: Option<String>,
    sha256_fingerprint: Option<String>,
    sha256_key_fingerprint: Option<String>,
    key_type: Option<String>,
    chain_length: Option<u32>,
    chain_pem: Option<String>,
    not_before_time: Option<String>,
    not_after_time: Option<String>,
    renew_time: Option<String>,
    last_failure: Option<Failure>,
}

#[derive(Debug, Serialize)]
struct Failure {
    reason: String,
    problem: String,
    since_time: Option<String>,
    attempts: u32,
    retry_time: Option<String>,
}

impl View {
    pub(super) fn chain_pem(&self) -> Option<&str> {
        self.chain_pem.as_deref()
    }
}

impl From<Certificate> for View {
    fn from(certificate: Certificate) -> Self {
        let origin = match certificate.origin() {
            Origin::Files => "files",
            Origin::SigningService => "signing_service",
            Origin::ExternalCa => "external_ca",
            Origin::Unspecified => "unknown",
        };
        let state = match certificate.state() {
            State::NotRequested => "not_requested",
            State::Valid => "valid",
            State::RenewalFailing => "renewal_failing",
            State::Expired => "expired",
            State::Unspecified => "unknown",
        };
        let failure = certificate.last_failure.map(|failure| Failure {
            reason: failure.reason,
            problem: failure.problem,
            since_time: failure.since_time.map(time),
            attempts: failure.attempts,
            retry_time: failure.retry_time.map(time),
        });
        Self {
            name: certificate.name,
            account: certificate.account,
            spiffe_id: known(certificate.spiffe_id),
            origin,
            state,
            serial_number: known(certificate.serial_number),
            subject: known(certificate.subject),
            issuer: known(certificate.issuer),
            sha256_fingerprint: known(certificate.sha256_fingerprint),
            sha256_key_fingerprint: known(certificate.sha256_key_fingerprint),
            key_type: known(certificate.key_type),
            chain_length: Some(certificate.chain_length).filter(|length| *length > 0),
            chain_pem: known(certificate.chain_pem),
            not_before_time: certificate.not_before_time.map(time),
            not_after_time: certificate.not_after_time.map(time),
            renew_time: certificate.renew_time.map(time),
            last_failure: failure,
        }
    }
}

fn known(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// No certificate is of the time before 1970; one that says so is shown as of then.
fn time(timestamp: Timestamp) -> String {
    utc(u64::try_from(timestamp.seconds).unwrap_or_default())
}

/// One line for each.
pub(super) fn list(certificates: &[View]) -> String {
    let header = ["ACCOUNT", "STATE", "ORIGIN", "EXPIRES", "RENEWS", "PROBLEM"].map(str::to_owned);
    let row = |view: &View| {
        vec![
            view.account.clone(),
            view.state.to_owned(),
            view.origin.to_owned(),
            or_nothing(&view.not_after_time),
            or_nothing(&view.renew_time),
            view.last_failure.as_ref().map_or_else(|| NOTHING.to_owned(), |failure| failure.problem.clone()),
        ]
    };
    let rows: Vec<_> = [header.to_vec()].into_iter().chain(certificates.iter().map(row)).collect();
    table(&rows)
}

/// One line for each field that is known.
pub(super) fn details(view: &View) -> String {
    let length = view.chain_length.map(|length| match length {
        1 => "1 certificate".to_owned(),
        length => format!("{length} certificates"),
    });
    let failure = view.last_failure.as_ref();
    let fields = [
        ("account", Some(view.account.clone())),
        // Where it is the account it is said already.
        ("spiffe id", view.spiffe_id.clone().filter(|id| *id != view.account)),
        ("state", Some(view.state.to_owned())),
        ("origin", Some(view.origin.to_owned())),
        ("subject", view.subject.clone()),
        ("issuer", view.issuer.clone()),
        ("serial number", view.serial_number.clone()),
        ("sha256", view.sha256_fingerprint.clone()),
        ("key", view.key_type.clone()),
        ("key sha256", view.sha256_key_fingerprint.clone()),
        ("chain", length),
        ("valid from", view.not_before_time.clone()),
        ("expires", view.not_after_time.clone()),
        ("renews", view.renew_time.clone()),
        ("problem", failure.map(|failure| failure.problem.clone())),
        ("reason", failure.map(|failure| failure.reason.clone())),
        ("failing since", failure.and_then(|failure| failure.since_time.clone())),
        ("attempts", failure.map(|failure| failure.attempts.to_string())),
        ("next attempt", failure.and_then(|failure| failure.retry_time.clone())),
    ];
    let rows: Vec<_> =
        fields.into_iter().filter_map(|(name, value)| Some(vec![name.to_owned(), value?])).collect();
    table(&rows)
}

fn or_nothing(text: &Option<String>) -> String {
    text.clone().unwrap_or_else(|| NOTHING.to_owned())
}

#[cfg(test)]
mod tests {
    use alts_proto::altsd::Failure as FailureMessage;

    use super::*;

    const NOW: i64 = 1_767_225_600;

    fn at(seconds: i64) -> Option<Timestamp> {
        Some(Timestamp { seconds, nanos: 0 })
    }

    fn failing() -> Certificate {
        Certificate {
            name: "certificates/orders@prod.example.com".to_owned(),
            account: "orders@prod.example.com".to_owned(),
            spiffe_id: "spiffe://prod.example.com/orders".to_owned(),
            origin: Origin::ExternalCa.into(),
            state: State::RenewalFailing.into(),
            serial_number: "0a1b".to_owned(),
            subject: "CN=orders".to_owned(),
            issuer: "CN=step".to_owned(),
            sha256_fingerprint: "ff00".to_owned(),
            sha256_key_fingerprint: "aa00".to_owned(),
            key_type: "ECDSA P-256".to_owned(),
            chain_length: 2,
            chain_pem: "-----BEGIN".to_owned(),
            not_before_time: at(NOW),
            not_after_time: at(NOW + 3_600),
            renew_time: at(NOW + 1_800),
            last_failure: Some(FailureMessage {
                problem: "the CA\nis down".to_owned(),
                since_time: at(NOW + 1_800),
                attempts: 3,
                retry_time: at(NOW + 1_860),
                reason: "timed_out".to_owned(),
            }),
        }
    }

    fn unasked() -> Certificate {
        Certificate {
            name: "certificates/spiffe://b.example/a".to_owned(),
            account: "spiffe://b.example/a".to_owned(),
            spiffe_id: "spiffe://b.example/a".to_owned(),
            origin: Origin::SigningService.into(),
            state: State::NotRequested.into(),
            ..Default::default()
        }
    }

    #[test]
    fn a_list_has_one_aligned_line_for_each() {
        let text = list(&[failing().into(), unasked().into()]);
        let expected = "\
ACCOUNT                  STATE            ORIGIN           EXPIRES               RENEWS                PROBLEM
orders@prod.example.com  renewal_failing  external_ca      2026-01-01T01:00:00Z  2026-01-01T00:30:00Z  the CA\\nis down
spiffe://b.example/a     not_requested    signing_service  -                     -                     -
";
        assert_eq!(text, expected);
    }

    #[test]
    fn details_are_what_is_known() {
        let expected = "\
account        orders@prod.example.com
spiffe id      spiffe://prod.example.com/orders
state          renewal_failing
origin         external_ca
subject        CN=orders
issuer         CN=step
serial number  0a1b
sha256         ff00
key            ECDSA P-256
key sha256     aa00
chain          2 certificates
valid from     2026-01-01T00:00:00Z
expires        2026-01-01T01:00:00Z
renews         2026-01-01T00:30:00Z
problem        the CA\\nis down
reason         timed_out
failing since  2026-01-01T00:30:00Z
attempts       3
next attempt   2026-01-01T00:31:00Z
";
        assert_eq!(details(&failing().into()), expected);
        let expected = "account  spiffe://b.example/a\nstate    not_requested\norigin   signing_service\n";
        assert_eq!(details(&unasked().into()), expected);
    }

    #[test]
    fn json_has_the_names_of_the_messages_and_every_field() {
        let json =
            |certificate: Certificate| serde_json::to_value(View::from(certificate)).expect("it is JSON");
        let full = json(failing());
        let expected = serde_json::json!({
            "name": "certificates/orders@prod.example.com",
            "account": "orders@prod.example.com",
            "spiffe_id": "spiffe://prod.example.com/orders",
            "origin": "external_ca",
            "state": "renewal_failing",
            "serial_number": "0a1b",
            "subject": "CN=orders",
            "issuer": "CN=step",
            "sha256_fingerprint": "ff00",
            "sha256_key_fingerprint": "aa00",
            "key_type": "ECDSA P-256",
            "chain_length": 2,
            "chain_pem": "-----BEGIN",
            "not_before_time": "2026-01-01T00:00:00Z",
            "not_after_time": "2026-01-01T01:00:00Z",
            "renew_time": "2026-01-01T00:30:00Z",
            "last_failure": {
                "reason": "timed_out",
                "problem": "the CA\nis down",
                "since_time": "2026-01-01T00:30:00Z",
                "attempts": 3,
                "retry_time": "2026-01-01T00:31:00Z",
            },
        });
        assert_eq!(full, expected);
        let empty = json(Certificate::default());
        let keys = |value: &serde_json::Value| {
            value.as_object().map(|object| object.keys().cloned().collect::<Vec<_>>())
        };
        assert_eq!(keys(&empty), keys(&full));
        assert_eq!((&empty["subject"], &empty["state"]), (&serde_json::Value::Null, &"unknown".into()));
    }

    #[test]
    fn each_state_and_origin_has_its_word() {
        let view = |state: State, origin: Origin| {
            View::from(Certificate { state: state.into(), origin: origin.into(), ..Default::default() })
        };
        for (state, origin, words) in [
            (State::Valid, Origin::Files, ("valid", "files")),
            (State::Expired, Origin::SigningService, ("expired", "signing_service")),
            (State::RenewalFailing, Origin::ExternalCa, ("renewal_failing", "external_ca")),
            (State::NotRequested, Origin::Files, ("not_requested", "files")),
        ] {
            let view = view(state, origin);
            assert_eq!((view.state, view.origin), words);
        }
    }
}
