//! Texts that become values, and those that do not.

use super::*;

#[test]
fn a_name_is_short_lower_case_and_begins_with_a_letter() {
    let longest = "a".repeat(63);
    for name in ["a", "a1", "orders-callers", "a--b", &longest] {
        assert_eq!(Name::parse(name).map(|name| name.to_string()), Ok(name.to_owned()));
    }
    let too_long = "a".repeat(64);
    let refused = [
        "", "-", "1a", "-a", "a-", "A", "aB", "a_b", "a.b", "a/b", "a b", " a", "a ", "ä", "a\n", "a\0",
        &too_long,
    ];
    let taken: Vec<_> = refused.iter().filter(|name| Name::parse(name).is_ok()).collect();
    assert!(taken.is_empty(), "{taken:?}");
}

#[test]
fn a_match_is_shown_in_its_one_spelling() {
    let hash = "0123456789abcdef".repeat(4);
    let cases = [
        ("Orders@PROD.Example.com".to_owned(), "Orders@prod.example.com".to_owned()),
        ("*@PROD.example".to_owned(), "*@prod.example".to_owned()),
        ("spiffe://prod.example/a/B".to_owned(), "spiffe://prod.example/a/B".to_owned()),
        ("spiffe://prod.example/*".to_owned(), "spiffe://prod.example/*".to_owned()),
        ("spiffe://prod.example/a/b/*".to_owned(), "spiffe://prod.example/a/b/*".to_owned()),
        ("trust-domain:prod_1.example".to_owned(), "trust-domain:prod_1.example".to_owned()),
        (format!("ca-key-sha256:{}", hash.to_uppercase()), format!("ca-key-sha256:{hash}")),
        (format!("key-sha256:{hash}"), format!("key-sha256:{hash}")),
        ("*".to_owned(), "*".to_owned()),
    ];
    for (text, shown) in cases {
        let parsed = PeerMatch::parse(&text);
        assert_eq!(parsed.as_ref().map(ToString::to_string), Ok(shown.clone()));
        assert_eq!(PeerMatch::parse(&shown), parsed, "{shown} is read as what it is shown for");
    }
}

#[test]
fn what_matches_no_peer_is_refused_and_the_forms_are_told() {
    let short_ca_hash = format!("ca-key-sha256:{}", "a".repeat(63));
    let ca_hash_and_more = format!("ca-key-sha256:{} ", "a".repeat(64));
    let upper_case_form = format!("CA-key-sha256:{}", "a".repeat(64));
    // Any CA can give itself the name of another, and anybody can make another DER of a certificate.
    let of_a_certificate = format!("certificate-sha256:{}", "a".repeat(64));
    let short_hash = format!("key-sha256:{}", "a".repeat(63));
    let long_hash = format!("key-sha256:{}", "a".repeat(65));
    let no_hex = format!("ca-key-sha256:{}", "g".repeat(64));
    let refused = [
        "",
        " ",
        " *",
        "**",
        "orders",
        "@",
        "orders@",
        "@prod.example",
        "*@",
        "*@*",
        "*@*.example",
        "*@.example",
        "*@prod.example.",
        "*@prod..example",
        "*@prod_example",
        "*@prod.example@x",
        "*orders@prod.example",
        "ord*@prod.example",
        "orders@*",
        "orders@*.example",
        "orders@prod.example.",
        "örders@prod.example",
        "orders@prod.exämple",
        "orders@prod.example\n",
        "orders@prod.example\0",
        "orders\u{202e}@prod.example",
        "spiffe://",
        "spiffe://*",
        "spiffe://*/a",
        "spiffe:///*",
        "spiffe://prod.example",
        "spiffe://prod.example/",
        "spiffe://prod.example/a*",
        "spiffe://prod.example/*/a",
        "spiffe://prod.example/a/*/*",
        "spiffe://prod.example/a//*",
        "spiffe://prod.example/../*",
        "spiffe://prod.example/a/",
        "spiffe://PROD.example/a",
        "spiffe://PROD.example/*",
        "SPIFFE://prod.example/*",
        "https://prod.example/*",
        "/*",
        "trust-domain:",
        "trust-domain:*",
        "trust-domain:PROD.example",
        "trust-domain:prod.example/a",
        "trust-domain: prod.example",
        "Trust-domain:prod.example",
        "certificate-issuer:CN=a",
        "ca-key-sha256:",
        "ca-key-sha256:CN=a",
        &of_a_certificate,
        "certificate-serial:01",
        "key-sha256:",
        "sha256:00",
        &short_ca_hash,
        &ca_hash_and_more,
        &upper_case_form,
        &short_hash,
        &long_hash,
        &no_hex,
    ];
    for text in refused {
        let problem = PeerMatch::parse(text).expect_err(text);
        assert_eq!(problem.code(), "peer_match_invalid");
        assert!(problem.to_string().contains("trust-domain:DOMAIN"), "{problem}");
        assert!(!problem.to_string().chars().any(char::is_control), "{problem}");
    }
}

#[test]
fn a_local_account_is_matched_by_its_names_alone() {
    for text in ["*", "*@prod.example", "a@prod.example", "spiffe://d/a", "spiffe://d/*"] {
        assert_eq!(AccountPattern::parse(text).map(|pattern| pattern.to_string()), Ok(text.to_owned()));
    }
    for text in ["", "trust-domain:d", "ca-key-sha256:00", "a@*", "*@*", "spiffe://d", "key-sha256:00"] {
        let problem = AccountPattern::parse(text).expect_err(text);
        assert_eq!(problem.code(), "account_pattern_invalid");
    }
}

#[test]
fn a_target_name_has_one_spelling() {
    let cases = [
        ("orders", "orders"),
        ("Orders.Example.COM:443", "orders.example.com:443"),
        ("orders.example.com.", "orders.example.com"),
        ("orders.example.com.:1", "orders.example.com:1"),
        ("my_service.ns:65535", "my_service.ns:65535"),
        ("127.0.0.1:8080", "127.0.0.1:8080"),
        ("[::1]", "[::1]"),
        ("[0:0:0:0:0:0:0:1]:8080", "[::1]:8080"),
        ("[FE80::AB]:1", "[fe80::ab]:1"),
        ("a:0443", "a:443"),
    ];
    for (text, shown) in cases {
        assert_eq!(TargetKey::parse(text).map(|key| key.to_string()), Ok(shown.to_owned()), "{text}");
        assert!(TargetKey::parse(shown).is_ok_and(|key| key.as_str() == shown));
    }
    let (long_label, long_host) = ("a".repeat(64), vec!["abcdefg"; 33].join("."));
    let refused = [
        "",
        ".",
        ":443",
        "a:",
        "a:0",
        "a:65536",
        "a:+1",
        "a:-1",
        "a: 1",
        "a:https",
        "a:1:2",
        "a..b",
        ".a",
        "a..",
        "a b",
        "a/b",
        "a*",
        "*.a",
        "ä",
        "a\n",
        "a\u{202e}",
        "::1",
        "[::1",
        "::1]:80",
        "[]",
        "[]:80",
        "[a]:80",
        "[127.0.0.1]:80",
        "[fe80::1%eth0]:80",
        "https://a",
        "dns:///a:443",
        "unix:/run/a",
        &long_label,
        &long_host,
    ];
    let taken: Vec<_> = refused.iter().filter(|text| TargetKey::parse(text).is_ok()).collect();
    assert!(taken.is_empty(), "{taken:?}");
}

fn list(peers: Vec<PeerMatch>) -> Result<PeerList, Refused> {
    PeerList::new(Name::parse("a").expect("it is a name"), "", peers)
}

fn account(number: usize) -> PeerMatch {
    PeerMatch::parse(&format!("a{number}@prod.example")).expect("it is an account")
}

#[test]
fn a_list_has_at_most_ten_thousand_peers_each_once() {
    assert!(list((0..MAX_PEERS).map(account).collect()).is_ok());
    let refused = list((0..=MAX_PEERS).map(account).collect()).expect_err("it is too long");
    assert_eq!(refused.to_string(), "peers: there are 10001; 10000 are the most");
    let refused = list(vec![account(1), account(2), account(1)]).expect_err("one is there twice");
    assert_eq!((refused.field.as_str(), refused.problem.code()), ("peers[2]", "twice"));
}

#[test]
fn a_list_fits_into_a_value_of_the_store() {
    let long = |number: usize| {
        let text = format!("spiffe://d/{}{number:04}", "a".repeat(1_982));
        PeerMatch::parse(&text).expect("it is a SPIFFE ID")
    };
    // In JSON each takes 11 + 1982 + 4 + 3 bytes.
    let fits = MAX_RECORD / 2_000;
    let good = list((0..fits).map(long).collect()).expect("it fits");
    let written = serde_json::to_vec(&PeerListRecord::from(&good)).expect("it can be written");
    assert!(written.len() <= MAX_RECORD + 100 && written.len() < 1 << 20, "{}", written.len());
    let refused = list((0..=fits).map(long).collect()).expect_err("it is too large");
    assert_eq!(refused.problem.code(), "record_too_large");
}

#[test]
fn texts_for_people_are_bounded_and_printable() {
    let name = || Name::parse("a").expect("it is a name");
    let description = "ä".repeat(MAX_DESCRIPTION / 2);
    assert!(PeerList::new(name(), &description, Vec::new()).is_ok());
    for bad in [&format!("{description}."), "a\nb", "\u{1b}[2J", "a\u{202e}b", "\u{feff}", "\0"] {
        let refused = PeerList::new(name(), bad, Vec::new()).expect_err("it is refused");
        assert_eq!(refused.field, "description", "{bad:?}");
    }
}

#[test]
fn records_come_back_as_they_went() {
    let example = resources(include_str!("example.toml"));
    for entry in example.rules.values() {
        let Entry::Good(rule) = entry else { panic!("{entry:?}") };
        let text = serde_json::to_string(&RuleRecord::from(&**rule)).expect("it can be written");
        let record: RuleRecord = serde_json::from_str(&text).expect("it can be read");
        assert_eq!(Rule::try_from(record).as_ref(), Ok(&**rule));
    }
    for entry in example.peer_lists.values() {
        let Entry::Good(list) = entry else { panic!("{entry:?}") };
        assert_eq!(PeerList::try_from(PeerListRecord::from(&**list)).as_ref(), Ok(&**list));
    }
    for entry in example.target_names.values() {
        let Entry::Good(target) = entry else { panic!("{entry:?}") };
        assert_eq!(TargetName::try_from(TargetNameRecord::from(&**target)).as_ref(), Ok(&**target));
    }
}

#[test]
fn keys_of_the_store_name_what_they_hold() {
    let hash = "0123456789abcdef".repeat(4);
    let keys = [
        "peer-lists/shop".to_owned(),
        "rules/orders-callers".to_owned(),
        "target-names/orders.example.com:443".to_owned(),
        "target-names/[::1]:8080".to_owned(),
        "revocations/accounts/a@prod.example".to_owned(),
        "revocations/accounts/spiffe://prod.example/a/b".to_owned(),
        format!("revocations/certificates/{hash}/0a01"),
        format!("revocations/keys/{hash}"),
    ];
    for key in keys {
        assert_eq!(Key::parse(&key).map(|found| found.to_text()), Ok(key));
    }
    let refused = [
        String::new(),
        "rules/".to_owned(),
        "rules/A".to_owned(),
        "rules/a/b".to_owned(),
        "rule/a".to_owned(),
        "/rules/a".to_owned(),
        "target-names/Orders".to_owned(),
        "target-names/orders.".to_owned(),
        "revocations/".to_owned(),
        "revocations/accounts/".to_owned(),
        "revocations/accounts/a@PROD.example".to_owned(),
        "revocations/accounts/*@prod.example".to_owned(),
        format!("revocations/certificates/{hash}"),
        format!("revocations/certificates/{hash}/"),
        format!("revocations/certificates/{hash}/0A"),
        format!("revocations/certificates/{hash}/1"),
        format!("revocations/certificates/{hash}/0001"),
        format!("revocations/keys/{}", hash.to_uppercase()),
        format!("revocations/keys/{hash}/"),
    ];
    let taken: Vec<_> = refused.iter().filter(|key| Key::parse(key).is_ok()).collect();
    assert!(taken.is_empty(), "{taken:?}");
}
