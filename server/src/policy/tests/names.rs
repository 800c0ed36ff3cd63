//! Whom each form of a peer matches, and whom it does not; and secure naming.

use super::*;

fn matches(pattern: &str, names: &str) -> bool {
    let policy = policy(Action::Deny, &rule("r", "allow", "enforce", pattern));
    serve(&policy, names).verdict.is_ok()
}

const BOTH: &str = "web@prod.example spiffe://td.example/shop/web";

#[test]
fn each_form_matches_whom_it_names_and_nobody_else() {
    let key = format!("key-sha256:{}", "81".repeat(32));
    let key_of_issuer = format!("key-sha256:{}", "82".repeat(32));
    let key_of_root = format!("key-sha256:{}", "83".repeat(32));
    let [ca_of_leaf, ca_issuing, ca_root, ca_unknown] =
        ["81", "82", "83", "84"].map(|byte| format!("ca-key-sha256:{}", byte.repeat(32)));
    let ca_certificate = format!("ca-key-sha256:{}", "02".repeat(32));
    let cases = [
        ("web@prod.example", "web@prod.example", true),
        ("web@PROD.example", "web@prod.example", true),
        ("web@prod.example", BOTH, true),
        ("web@prod.example", "Web@prod.example", false),
        ("web@prod.example", "web@prod.example.org", false),
        ("web@prod.example", "web@sub.prod.example", false),
        ("web@prod.example", "web2@prod.example", false),
        ("web@prod.example", "eb@prod.example", false),
        ("web@prod.example", "spiffe://prod.example/web", false),
        ("*@prod.example", "web@prod.example", true),
        ("*@PROD.example", BOTH, true),
        ("*@prod.example", "web@sub.prod.example", false),
        ("*@prod.example", "web@xprod.example", false),
        ("*@prod.example", "web@prod.example.org", false),
        ("*@prod.example", "web@example", false),
        ("*@td.example", BOTH, false),
        ("*@prod.example", "spiffe://prod.example/web", false),
        ("spiffe://td.example/shop/web", BOTH, true),
        ("spiffe://td.example/shop/web", "spiffe://td.example/shop/web", true),
        ("spiffe://td.example/shop/web", "spiffe://td.example/shop/Web", false),
        ("spiffe://td.example/shop/web", "spiffe://td.example/shop/web/a", false),
        ("spiffe://td.example/shop/web", "spiffe://td.example/shop", false),
        ("spiffe://td.example/shop/*", BOTH, true),
        ("spiffe://td.example/shop/*", "spiffe://td.example/shop/a", true),
        ("spiffe://td.example/shop/*", "spiffe://td.example/shop/a/b/c", true),
        ("spiffe://td.example/shop/*", "spiffe://td.example/shop", false),
        ("spiffe://td.example/shop/*", "spiffe://td.example/shop2/a", false),
        ("spiffe://td.example/shop/*", "spiffe://td.example/sho/a", false),
        ("spiffe://td.example/shop/*", "spiffe://td.example/a/shop/b", false),
        ("spiffe://td.example/shop/*", "spiffe://other.example/shop/a", false),
        ("spiffe://d/a/*", "spiffe://d/ab", false),
        ("spiffe://d/a/*", "spiffe://d/ab/c", false),
        ("spiffe://d/*", "spiffe://d/a", true),
        ("spiffe://d/*", "spiffe://d/a/b", true),
        ("spiffe://d/*", "spiffe://d2/a", false),
        ("spiffe://d/*", "spiffe://d.e/a", false),
        ("spiffe://d/*", "a@d", false),
        ("trust-domain:td.example", BOTH, true),
        ("trust-domain:td.example", "spiffe://td.example/any", true),
        ("trust-domain:td.example", "spiffe://a.td.example/any", false),
        ("trust-domain:td.example", "spiffe://td.example.org/any", false),
        ("trust-domain:prod.example", BOTH, false),
        ("trust-domain:prod.example", "web@prod.example", false),
        (&key, "web@prod.example", true),
        (&key_of_issuer, "web@prod.example", false),
        (&key_of_root, "web@prod.example", false),
        (&ca_issuing, "web@prod.example", true),
        (&ca_root, "web@prod.example", true),
        (&ca_root, BOTH, true),
        (&ca_of_leaf, "web@prod.example", false),
        (&ca_unknown, "web@prod.example", false),
        (&ca_certificate, "web@prod.example", false),
        ("*", "web@prod.example", true),
        ("*", "spiffe://d/a", true),
    ];
    let wrong: Vec<_> =
        cases.iter().filter(|(pattern, names, expected)| matches(pattern, names) != *expected).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Names of the local account: the same forms.
#[test]
fn a_rule_applies_to_the_local_accounts_that_it_matches() {
    let applies = |pattern: &str, local: &str| {
        let toml = rule("r", "deny", "enforce", "*").replace(LOCAL, pattern);
        !decide(&policy(Action::Allow, &toml), Side::Server, local, "web@prod.example", "").reason.allows()
    };
    let cases = [
        ("*", "a@d", true),
        ("a@d", "a@d", true),
        ("a@d", "b@d", false),
        ("*@d", "a@d", true),
        ("*@d", "a@e.d", false),
        ("spiffe://d/a", "x@d spiffe://d/a", true),
        ("x@d", "x@d spiffe://d/a", true),
        ("spiffe://d/a/*", "x@d spiffe://d/a/b", true),
        ("spiffe://d/a/*", "x@d spiffe://d/a", false),
        ("spiffe://d/a/*", "x@d spiffe://d/ab/c", false),
    ];
    for (pattern, local, expected) in cases {
        assert_eq!(applies(pattern, local), expected, "{pattern} {local}");
    }
}

#[test]
fn rules_of_one_side_say_nothing_of_the_other() {
    let policy = policy(Action::Allow, &rule("r", "deny", "enforce", "*"));
    assert!(decide(&policy, Side::Server, LOCAL, "web@d", "").verdict.is_err());
    assert!(decide(&policy, Side::Client, LOCAL, "web@d", "").verdict.is_ok());
}

fn target(name: &str, account: &str) -> String {
    format!("[[target_name]]\nname = {name:?}\naccounts = [{account:?}]\n")
}

#[test]
fn a_client_meets_only_whom_the_called_name_stands_for() {
    let toml = [
        target("orders.example.com", "orders@d"),
        target("orders.example.com:8443", "admin@d"),
        target("[::1]:8080", "local@d"),
        target("10.0.0.1", "spiffe://d/ten"),
    ]
    .concat();
    let policy = policy(Action::Allow, &toml);
    let cases = [
        ("orders.example.com:443", "orders@d", true),
        ("orders.example.com", "orders@d", true),
        ("ORDERS.example.COM:443", "orders@d", true),
        ("orders.example.com.:443", "orders@d", true),
        ("orders.example.com:https", "orders@d", true),
        ("orders.example.com:443", "admin@d", false),
        ("Orders.example.com:443", "Orders@d", false),
        ("orders.example.com.", "admin@d", false),
        ("orders.example.com:https", "admin@d", false),
        ("orders.example.com:99999", "admin@d", false),
        // The entry with the port counts alone.
        ("orders.example.com:8443", "admin@d", true),
        ("orders.example.com:08443", "admin@d", true),
        ("orders.example.com.:8443", "admin@d", true),
        ("orders.example.com:8443", "orders@d", false),
        ("[::1]:8080", "local@d", true),
        ("[0:0::1]:8080", "local@d", true),
        ("[::1]:8080", "other@d", false),
        ("[0::1]:8080", "other@d", false),
        ("[::1%lo]:8080", "other@d", false),
        ("10.0.0.1:1", "x@d spiffe://d/ten", true),
        ("10.0.0.1:1", "x@d", false),
        // No entry.
        ("[::1]:8081", "other@d", true),
        ("[::1]", "other@d", true),
        ("10.0.0.2:1", "x@d", true),
        ("xorders.example.com:443", "x@d", true),
        ("", "x@d", true),
    ];
    let wrong: Vec<_> = cases
        .iter()
        .filter(|(called, by, expected)| {
            let decision = decide(&policy, Side::Client, LOCAL, by, called);
            decision.verdict.is_ok() != *expected
                || (!expected && decision.reason != Reason::TargetNameMismatch)
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn an_entry_with_the_port_443_holds_for_every_spelling_that_reaches_it() {
    let entry = policy(Action::Allow, &target("orders.example.com:443", "orders@d"));
    let reaching = [
        "orders.example.com:443",
        "orders.example.com",
        "orders.example.com.",
        "Orders.Example.com:",
        "orders.example.com:https",
        "orders.example.com:HTTPS",
        "orders.example.com:000443",
        "orders.example.com:00000000000000000000000000443",
        "orders.example.com:+443",
        "orders.example.com:443/",
        " orders.example.com:443",
        "[orders.example.com]:443",
        "dns:orders.example.com",
        "dns:orders.example.com:443",
        "dns:/orders.example.com",
        "dns:///orders.example.com",
        "dns:///orders.example.com:443",
        "DNS:///orders.example.com:https",
        "dns://8.8.8.8/orders.example.com",
        "dns://8.8.8.8:53/orders.example.com:443",
        "dns://[2001:4860:4860::8888]:53/orders.example.com:0443",
    ];
    let passed: Vec<_> = reaching
        .into_iter()
        .filter(|called| {
            let decision = |by| decide(&entry, Side::Client, LOCAL, by, called);
            decision("mallory@d").reason != Reason::TargetNameMismatch
                || decision("orders@d").verdict.is_err()
        })
        .collect();
    assert!(passed.is_empty(), "{passed:#?}");
    let others = [
        "orders.example.com:80",
        "orders.example.com:http",
        "orders.example.com:8443",
        "orders.example.com:4430",
        "orders.example.com:44300",
        "orders.example.com:0",
        "xorders.example.com",
        "orders.example.com.org",
        "dns:///orders.example.com:8443",
        "dns://orders.example.com/other.example.com",
        "xdns:orders.example.com",
        "dns",
        "dns:443",
    ];
    let held: Vec<_> = others
        .into_iter()
        .filter(|called| decide(&entry, Side::Client, LOCAL, "mallory@d", called).verdict.is_err())
        .collect();
    assert!(held.is_empty(), "{held:#?}");
}

#[test]
fn of_a_name_without_a_port_the_entry_with_443_counts_before_that_of_the_host() {
    let toml = [
        target("orders.example.com:443", "secure@d"),
        target("orders.example.com:80", "plain@d"),
        target("orders.example.com", "any@d"),
        target("[::1]:443", "local@d"),
        target("dns:53", "resolver@d"),
        target("10.0.0.1:443", "ten@d"),
    ]
    .concat();
    let policy = policy(Action::Allow, &toml);
    let cases = [
        ("orders.example.com", "secure@d", true),
        ("orders.example.com", "any@d", false),
        ("orders.example.com:", "any@d", false),
        ("orders.example.com:https", "any@d", false),
        ("orders.example.com:http", "plain@d", true),
        ("orders.example.com:http", "secure@d", false),
        ("orders.example.com:8443", "any@d", true),
        ("orders.example.com:8443", "secure@d", false),
        ("orders.example.com:ldap", "any@d", true),
        ("orders.example.com:ldap", "secure@d", false),
        ("[::1]", "local@d", true),
        ("[::1]", "other@d", false),
        ("::1", "other@d", false),
        ("dns:[::1]", "other@d", false),
        ("dns:///[0::1]:443", "other@d", false),
        ("dns:10.0.0.1", "other@d", false),
        ("dns:10.0.0.1:443", "other@d", false),
        ("dns:10.0.0.1:443", "ten@d", true),
        // A host may have this name too.
        ("dns:53", "resolver@d", true),
        ("dns:0053", "other@d", false),
        ("dns:///dns:53", "other@d", false),
        ("dns:dns:53", "other@d", false),
    ];
    let wrong: Vec<_> = cases
        .iter()
        .filter(|(called, by, expected)| {
            decide(&policy, Side::Client, LOCAL, by, called).verdict.is_ok() != *expected
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_server_has_no_called_name() {
    let policy = policy(Action::Allow, &target("orders", "orders@d"));
    assert!(decide(&policy, Side::Server, LOCAL, "web@d", "orders:443").verdict.is_ok());
}

#[test]
fn who_stands_behind_the_called_name_must_be_allowed_as_well() {
    let toml =
        rule("r", "deny", "enforce", "orders@d").replace("server", "client") + &target("orders", "orders@d");
    let decision = decide(&policy(Action::Allow, &toml), Side::Client, LOCAL, "orders@d", "orders:1");
    assert_eq!(decision.reason, Reason::DeniedByRule);
    let decision = decide(&policy(Action::Allow, &toml), Side::Client, LOCAL, "web@d", "orders:1");
    assert_eq!(
        decision.verdict,
        Err(NotAdmitted::NotTarget("web@d is none of the accounts that may be called as orders".to_owned()))
    );
}
