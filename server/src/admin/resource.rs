//! Certificates as resources: from what is known of an identity to the message that says it.

use alts_handshake::Identity;
use alts_proto::{
    Timestamp,
    altsd::{
        Certificate, Failure as FailureMessage,
        certificate::{Origin as OriginMessage, State},
    },
};
use pem::{EncodeConfig, LineEnding, Pem};
use tonic::{Code, Status as RpcStatus};

use super::refusal::refuse;
use crate::identity::{
    Origin,
    keeper::{Failure, Status},
};

/// What a resource name begins with; the account follows.
pub(super) const PREFIX: &str = "certificates/";

/// The account that a resource name stands for, in its one spelling.
pub(super) fn account(name: &str) -> Result<String, String> {
    let example = "a name is certificates/ACCOUNT, such as certificates/orders@prod.example.com";
    let account =
        name.strip_prefix(PREFIX).ok_or_else(|| format!("{name:?} is no certificate; {example}"))?;
    let identity = Identity::parse(account)
        .map_err(|problem| format!("{name:?} is no certificate: {problem}; {example}"))?;
    Ok(identity.account().to_owned())
}

/// The resource of an identity, without its chain.
pub(super) fn certificate(status: &Status, now: u64) -> Certificate {
    let account = status.identity.account();
    let origin = match status.origin {
        Origin::Files => OriginMessage::Files,
        Origin::SigningService => OriginMessage::SigningService,
        Origin::ExternalCa => OriginMessage::ExternalCa,
    };
    let mut certificate = Certificate {
        name: format!("{PREFIX}{account}"),
        account: account.to_owned(),
        spiffe_id: status.identity.spiffe_id().map(|id| id.as_str().to_owned()).unwrap_or_default(),
        origin: origin.into(),
        state: state(status, now).into(),
        renew_time: status.renew_at.map(timestamp),
        last_failure: status.failure.as_ref().map(failure),
        ..Default::default()
    };
    if let Some(info) = &status.certificate {
        certificate.serial_number.clone_from(&info.facts.serial);
        certificate.subject.clone_from(&info.facts.subject);
        certificate.issuer.clone_from(&info.facts.issuer);
        certificate.sha256_fingerprint = hex::encode(info.facts.sha256);
        certificate.sha256_key_fingerprint = hex::encode(info.facts.key_sha256);
        info.key.clone_into(&mut certificate.key_type);
        // A chain has at most four.
        certificate.chain_length = info.chain_len as u32;
        certificate.not_before_time = Some(timestamp(info.not_before));
        // An issuer may end before the leaf; then nobody takes the leaf.
        certificate.not_after_time = Some(timestamp(status.not_after.unwrap_or(info.not_after)));
    }
    certificate
}

fn state(status: &Status, now: u64) -> State {
    match (status.not_after, &status.failure) {
        (Some(end), _) if now > end => State::Expired,
        (_, Some(_)) => State::RenewalFailing,
        (Some(_), None) => State::Valid,
        (None, None) => State::NotRequested,
    }
}

/// A chain in PEM, of its certificates in DER.
pub(super) fn chain_pem(chain: &[Vec<u8>]) -> String {
    let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
    let encode = |der: &Vec<u8>| pem::encode_config(&Pem::new("CERTIFICATE", der.as_slice()), config);
    chain.iter().map(encode).collect()
}

fn failure(failure: &Failure) -> FailureMessage {
    FailureMessage {
        problem: failure.problem.clone(),
        since_time: Some(timestamp(failure.since)),
        attempts: failure.attempts,
        retry_time: Some(timestamp(failure.retry_at)),
        reason: failure.code.to_owned(),
    }
}

/// The seconds since 1970 of a time when something shall end. Parts of a second are left out.
pub(super) fn seconds(time: Timestamp) -> Result<u64, RpcStatus> {
    let seconds = u64::try_from(time.seconds).ok().filter(|_| (0..1_000_000_000).contains(&time.nanos));
    seconds.ok_or_else(|| {
        let text = format!("expire_time: {} s and {} ns is no time after 1970", time.seconds, time.nanos);
        refuse(Code::InvalidArgument, "expire_time_invalid", &text)
    })
}

/// A time in seconds since 1970.
pub(super) fn timestamp(seconds: u64) -> Timestamp {
    // The last second of the year 9999: later ones are no timestamps, and nothing lasts longer.
    const LAST: u64 = 253_402_300_799;
    Timestamp { seconds: seconds.min(LAST) as i64, nanos: 0 }
}

#[cfg(test)]
mod tests {
    use alts_handshake::{CertificateFacts, CertificateInfo};

    use super::*;

    const NOW: u64 = 1_767_225_600;

    fn status() -> Status {
        Status {
            identity: Identity::parse("orders@prod.example.com").expect("it is valid"),
            origin: Origin::SigningService,
            certificate: Some(CertificateInfo {
                facts: CertificateFacts {
                    serial: "0a1b".to_owned(),
                    subject: "CN=orders".to_owned(),
                    issuer: "CN=node".to_owned(),
                    sha256: [0xa0; 32],
                    key_sha256: [0xb0; 32],
                },
                not_before: NOW - 60,
                not_after: NOW + 3_600,
                key: "P-256",
                chain_len: 2,
            }),
            not_after: Some(NOW + 1_800),
            renew_at: Some(NOW + 900),
            failure: None,
        }
    }

    fn failed() -> Option<Failure> {
        Some(Failure {
            code: "timed_out",
            problem: "the CA is down".to_owned(),
            since: NOW - 9,
            attempts: 3,
            retry_at: NOW + 9,
        })
    }

    #[test]
    fn a_resource_says_what_is_known() {
        let at = |seconds: u64| Some(Timestamp { seconds: seconds as i64, nanos: 0 });
        let shown = certificate(&Status { failure: failed(), ..status() }, NOW);
        let expected = Certificate {
            name: "certificates/orders@prod.example.com".to_owned(),
            account: "orders@prod.example.com".to_owned(),
            spiffe_id: String::new(),
            origin: OriginMessage::SigningService.into(),
            state: State::RenewalFailing.into(),
            serial_number: "0a1b".to_owned(),
            subject: "CN=orders".to_owned(),
            issuer: "CN=node".to_owned(),
            sha256_fingerprint: "a0".repeat(32),
            sha256_key_fingerprint: "b0".repeat(32),
            key_type: "P-256".to_owned(),
            chain_length: 2,
            chain_pem: String::new(),
            not_before_time: at(NOW - 60),
            not_after_time: at(NOW + 1_800),
            renew_time: at(NOW + 900),
            last_failure: Some(FailureMessage {
                problem: "the CA is down".to_owned(),
                since_time: at(NOW - 9),
                attempts: 3,
                retry_time: at(NOW + 9),
                reason: "timed_out".to_owned(),
            }),
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_state_is_the_worst_that_is_true() {
        let end = NOW + 1_800;
        let none = || Status { certificate: None, not_after: None, ..status() };
        let cases = [
            (status(), NOW, State::Valid),
            (status(), end, State::Valid),
            (status(), end + 1, State::Expired),
            (Status { failure: failed(), ..status() }, NOW, State::RenewalFailing),
            (Status { failure: failed(), ..status() }, end + 1, State::Expired),
            (none(), NOW, State::NotRequested),
            (Status { failure: failed(), ..none() }, NOW, State::RenewalFailing),
        ];
        for (status, now, state) in cases {
            assert_eq!(certificate(&status, now).state(), state, "{status:?} {now}");
        }
    }

    #[test]
    fn a_spiffe_id_and_each_origin_are_told() {
        let spiffe = "spiffe://prod.example.com/orders";
        let identity = Identity::parse(spiffe).expect("it is valid");
        for (origin, told) in [
            (Origin::Files, OriginMessage::Files),
            (Origin::SigningService, OriginMessage::SigningService),
            (Origin::ExternalCa, OriginMessage::ExternalCa),
        ] {
            let shown = certificate(&Status { identity: identity.clone(), origin, ..status() }, NOW);
            assert_eq!((shown.origin(), &*shown.spiffe_id), (told, spiffe));
            assert_eq!(account(&shown.name).as_deref(), Ok(spiffe));
        }
    }

    #[test]
    fn a_name_is_read_in_its_one_spelling() {
        let read = account("certificates/orders@PROD.example.com");
        assert_eq!(read.as_deref(), Ok("orders@prod.example.com"));
    }

    #[test]
    fn what_is_no_name_is_refused_with_the_way_out() {
        for name in [
            "",
            "certificates",
            "certificates/",
            "orders@prod.example.com",
            "Certificates/a@b",
            "certificates/a",
            "certificates/certificates/a@b",
        ] {
            let problem = account(name).expect_err(name);
            assert!(problem.contains(&format!("{name:?} is no certificate")), "{problem}");
            assert!(problem.ends_with("such as certificates/orders@prod.example.com"), "{problem}");
        }
    }

    #[test]
    fn a_chain_is_read_back_as_it_was() {
        use pki_types::{CertificateDer, pem::PemObject};
        let chain = [vec![1; 100], vec![2; 3]];
        let text = chain_pem(&chain);
        let read: Vec<_> = CertificateDer::pem_slice_iter(text.as_bytes())
            .map(|der| der.expect("it is PEM").to_vec())
            .collect();
        assert_eq!(read, chain);
        assert!(text.starts_with("-----BEGIN CERTIFICATE-----\n") && text.ends_with("-----\n"), "{text}");
        assert!(!text.contains('\r'), "{text}");
    }

    #[test]
    fn a_time_beyond_all_calendars_is_cut() {
        assert_eq!(timestamp(u64::MAX), Timestamp { seconds: 253_402_300_799, nanos: 0 });
    }
}
