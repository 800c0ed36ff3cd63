//! What is revoked is refused, whatever the rules say.

use alts_handshake::sha256;

use super::*;

const ALWAYS: Times = Times { create_time: 100, expire_time: None };

fn account(name: &str, times: Times) -> Revocation {
    Revocation::of_account(AccountName::parse(name).expect("it is an account"), "laptop stolen", times)
        .expect("it is valid")
}

fn serial(text: &str) -> Serial {
    Serial::parse(text).expect("it is a serial number")
}

fn certificate_of(issuer: &str, number: &str) -> Revocation {
    Revocation::of_certificate(issuer, serial(number), "laptop stolen", ALWAYS).expect("it is valid")
}

fn key(number: u8) -> Revocation {
    Revocation::of_key([number; 32], "laptop stolen", ALWAYS).expect("it is valid")
}

fn with(revocations: &[Revocation]) -> Policy {
    let mut all = Revocations::default();
    revocations.iter().for_each(|one| all.put(one.revoked(), Some(one)));
    of(all)
}

fn of(revocations: Revocations) -> Policy {
    let none = Resources::default();
    let revocations = Arc::new(revocations);
    let sources = Sources { default: Action::Allow, files: &none, store: &none, revocations: &revocations };
    Policy::compile(sources, None)
}

/// A peer whose leaf has the number `0a01` of `CN=issuing` and key `81…`, its issuer `0b02` of `CN=root` and `82…`.
const PEER: &str = "web@prod.example spiffe://td.example/web";

#[test]
fn a_peer_is_revoked_by_its_names_and_by_each_certificate_and_key_of_its_chain() {
    let cases = [
        (account("web@PROD.example", ALWAYS), Some(Reason::RevokedAccount)),
        (account("spiffe://td.example/web", ALWAYS), Some(Reason::RevokedAccount)),
        (account("Web@prod.example", ALWAYS), None),
        (account("spiffe://td.example/web/a", ALWAYS), None),
        (account("orders@prod.example.com", ALWAYS), Some(Reason::RevokedLocalAccount)),
        (certificate_of("CN=issuing", "0a01"), Some(Reason::RevokedCertificate)),
        (certificate_of("CN=issuing", "A:01"), Some(Reason::RevokedCertificate)),
        (certificate_of("CN=issuing", "00:0A:01"), Some(Reason::RevokedCertificate)),
        (certificate_of("CN=root", "b02"), Some(Reason::RevokedCertificate)),
        (certificate_of("CN=root", "0a01"), None),
        (certificate_of("CN=issuing", "0a"), None),
        (certificate_of("cn=issuing", "0a01"), None),
        (key(0x81), Some(Reason::RevokedKey)),
        (key(0x82), Some(Reason::RevokedKey)),
        (key(0x01), None),
    ];
    for (revocation, expected) in cases {
        let decision = serve(&with(std::slice::from_ref(&revocation)), PEER);
        assert_eq!(decision.reason, expected.unwrap_or(Reason::AllowedByDefault), "{revocation:?}");
        let is_revoked = matches!(decision.verdict, Err(NotAdmitted::Revoked(_)));
        assert_eq!(is_revoked, expected.is_some(), "{revocation:?}");
        assert_eq!(why(&decision).contains("laptop stolen"), expected.is_some(), "{}", why(&decision));
    }
}

#[test]
fn a_revocation_wins_over_a_rule_that_allows_and_over_the_called_name() {
    let files = resources(
        "[[rule]]\nname = \"a\"\nlocal = \"*\"\nside = \"client\"\naction = \"allow\"\npeers = [\"*\"]\n\
         [[target_name]]\nname = \"t\"\naccounts = [\"x@d\"]\n",
    );
    let mut revocations = Revocations::default();
    let revoked = account("web@d", ALWAYS);
    revocations.put(revoked.revoked(), Some(&revoked));
    let sources = Sources {
        default: Action::Allow,
        files: &files,
        store: &Resources::default(),
        revocations: &Arc::new(revocations),
    };
    let policy = Policy::compile(sources, None);
    assert_eq!(decide(&policy, Side::Client, LOCAL, "web@d", "t").reason, Reason::RevokedAccount);
    assert_eq!(decide(&policy, Side::Client, LOCAL, "new@d", "t").reason, Reason::TargetNameMismatch);
    assert_eq!(decide(&policy, Side::Client, LOCAL, "x@d", "t").reason, Reason::AllowedByRule);
}

#[test]
fn an_own_account_that_is_revoked_is_told_from_a_peer_that_is() {
    let decision = serve(&with(&[account(LOCAL, ALWAYS), account("web@prod.example", ALWAYS)]), PEER);
    assert_eq!(decision.reason, Reason::RevokedLocalAccount);
    assert_eq!(why(&decision), "orders@prod.example.com (this end) is revoked: laptop stolen");
}

#[test]
fn a_revocation_ends_with_the_second_that_it_names() {
    let ends = |expire_time| Times { create_time: 100, expire_time: Some(expire_time) };
    // The question is asked at second 1000; when a revocation was made does not matter.
    let late = Times { create_time: 5_000, expire_time: None };
    for (times, counts) in [(ends(999), false), (ends(1_000), false), (ends(1_001), true), (late, true)] {
        let decision = serve(&with(&[account("web@prod.example", times)]), PEER);
        assert_eq!(decision.verdict.is_err(), counts, "{times:?}");
    }
}

#[test]
fn one_that_has_ended_does_not_hide_one_that_counts() {
    let ended = Times { create_time: 100, expire_time: Some(200) };
    let policy = with(&[account("web@prod.example", ended), account("spiffe://td.example/web", ALWAYS)]);
    assert_eq!(serve(&policy, PEER).reason, Reason::RevokedAccount);
}

#[test]
fn a_record_that_cannot_be_read_revokes_what_its_key_names() {
    let issuer_sha256 = sha256(b"CN=root");
    let keys = [
        Revoked::Account(AccountName::parse("web@prod.example").expect("it is an account")),
        Revoked::Certificate { issuer_sha256, serial: serial("0b02") },
        Revoked::Key([0x81; 32]),
    ];
    for key in keys {
        let mut revocations = Revocations::default();
        revocations.put(&key, None);
        assert!(serve(&of(revocations.clone()), PEER).verdict.is_err(), "{key:?}");
        // A record that is of something else says nothing of its key.
        let foreign = account("else@d", Times { create_time: 1, expire_time: Some(2) });
        revocations.put(&key, Some(&foreign));
        assert!(serve(&of(revocations.clone()), PEER).verdict.is_err(), "{key:?}");
        assert!(serve(&of(revocations.clone()), "else@d spiffe://d/x").reason != Reason::RevokedAccount);
        assert_eq!(revocations.len(), 1);
        revocations.remove(&key);
        assert_eq!(revocations.len(), 0);
        assert!(serve(&of(revocations), PEER).verdict.is_ok(), "{key:?}");
    }
}

fn record() -> RevocationRecord {
    RevocationRecord {
        account: None,
        issuer: None,
        serial: None,
        key_sha256: None,
        reason: "x".to_owned(),
        create_time: 10,
        expire_time: None,
    }
}

#[test]
fn a_revocation_is_of_one_thing_has_a_reason_and_ends_after_it_begins() {
    let text = |text: &str| Some(text.to_owned());
    let good = RevocationRecord { account: text("a@d"), ..record() };
    let certificate = RevocationRecord { issuer: text("CN=a"), serial: text("01"), ..record() };
    let key = RevocationRecord { key_sha256: text(&"AB".repeat(32)), ..record() };
    for record in [good.clone(), certificate.clone(), key.clone()] {
        let revocation = Revocation::try_from(record).expect("it is valid");
        assert_eq!(Revocation::try_from(RevocationRecord::from(&revocation)), Ok(revocation.clone()));
        let id = revocation.revoked().to_id();
        assert_eq!(Revoked::parse(&id).as_ref(), Ok(revocation.revoked()));
    }
    let long = "x".repeat(MAX_REASON + 1);
    let refused = [
        (record(), "subject_invalid"),
        (RevocationRecord { serial: text("01"), ..record() }, "subject_invalid"),
        (RevocationRecord { issuer: text("CN=a"), ..record() }, "subject_invalid"),
        (RevocationRecord { serial: text("01"), ..good.clone() }, "subject_invalid"),
        (RevocationRecord { account: text("a@d"), ..key.clone() }, "subject_invalid"),
        (RevocationRecord { account: text("*@d"), ..record() }, "account_invalid"),
        (RevocationRecord { serial: text(""), ..certificate.clone() }, "serial_invalid"),
        (RevocationRecord { serial: text("0x01"), ..certificate.clone() }, "serial_invalid"),
        (RevocationRecord { serial: text("-1"), ..certificate.clone() }, "serial_invalid"),
        (RevocationRecord { serial: text(&"1".repeat(129)), ..certificate.clone() }, "serial_invalid"),
        (RevocationRecord { issuer: text(""), ..certificate.clone() }, "issuer_invalid"),
        (RevocationRecord { issuer: text("CN=a\n"), ..certificate }, "issuer_invalid"),
        (RevocationRecord { key_sha256: text("ab"), ..key }, "sha256_invalid"),
        (RevocationRecord { reason: String::new(), ..good.clone() }, "reason_missing"),
        (RevocationRecord { reason: "  ".to_owned(), ..good.clone() }, "reason_missing"),
        (RevocationRecord { reason: "a\u{1b}[0m".to_owned(), ..good.clone() }, "text_unprintable"),
        (RevocationRecord { reason: long, ..good.clone() }, "text_too_long"),
        (RevocationRecord { expire_time: Some(10), ..good.clone() }, "ends_before_it_begins"),
        (RevocationRecord { expire_time: Some(9), ..good }, "ends_before_it_begins"),
    ];
    for (record, code) in refused {
        let shown = format!("{record:?}");
        assert_eq!(Revocation::try_from(record).map_err(|it| it.problem.code()), Err(code), "{shown}");
    }
}
