use std::{path::PathBuf, time::Duration};

use alts_handshake::Identity;

use super::*;

mod policy;
mod token;

const GOOD: &str = r#"[handshaker]
max_concurrent_streams = 7

[[handshaker.listener]]
address = "127.0.0.7:8080"
identity = "orders@PROD.example.com"

[[handshaker.listener]]
address = "unix:/run/altsd/orders.sock"
mode = "0660"
identity = "spiffe://prod.example.com/cart"

[[identity]]
account = "orders@prod.Example.com"
certificate_chain = "orders.pem"
private_key = "/elsewhere/orders.key"

[[identity]]
account = "spiffe://prod.example.com/cart"
certificate_chain = "certs/cart.pem"
private_key = "certs/cart.key"

[[trust]]
authority = "prod.example.com"
roots = ["root.pem", "/next/root.pem"]

[policy]
default = "allow"
"#;

fn fixed(account: &str) -> Callers {
    Callers::Fixed(Identity::parse(account).expect("it is an account"))
}

fn read_text(text: &str) -> Result<Launch, Error> {
    parse(Path::new("etc/altsd.toml"), text)
}

#[test]
fn a_good_file_gives_what_it_says() {
    let launch = read_text(GOOD).expect("it is valid");
    assert_eq!(launch.limits, Limits { max_concurrent_streams: 7, ..Limits::default() });
    let listeners: Vec<_> = launch
        .listeners
        .iter()
        .map(|listener| (listener.address.to_string(), listener.callers.clone()))
        .collect();
    assert_eq!(
        listeners,
        [
            ("127.0.0.7:8080".to_owned(), fixed("orders@prod.example.com")),
            ("unix:/run/altsd/orders.sock".to_owned(), fixed("spiffe://prod.example.com/cart"),),
        ]
    );
    assert!(matches!(launch.listeners[1].address, Address::Unix { mode: 0o660, .. }));
    let Source::Configured(configured) = launch.source else { panic!("a file is no dev mode") };
    assert!(configured.issued.is_empty() && configured.ca.is_none());
    let files = configured.files;
    let paths: Vec<_> = files
        .identities
        .iter()
        .flat_map(|identity| [&identity.certificate_chain, &identity.private_key])
        .chain(files.trust.iter().flat_map(|trust| &trust.roots))
        .map(|path| path.value.to_str().expect("it is UTF-8"))
        .collect();
    assert_eq!(
        paths,
        [
            "etc/orders.pem",
            "/elsewhere/orders.key",
            "etc/certs/cart.pem",
            "etc/certs/cart.key",
            "etc/root.pem",
            "/next/root.pem",
        ]
    );
}

#[test]
fn every_limit_is_read_from_its_own_key() {
    let limits = "max_concurrent_streams = 1\nhandshake_timeout_seconds = 2\nidle_timeout_seconds = 3\n\
                  max_handshakes = 4\nmax_handshakes_per_caller = 5\nmax_connections = 6\nclock_skew_seconds = 0";
    let launch = read_text(&GOOD.replace("max_concurrent_streams = 7", limits)).expect("it is valid");
    let expected = Limits {
        max_concurrent_streams: 1,
        handshake_timeout: Duration::from_secs(2),
        idle_timeout: Duration::from_secs(3),
        max_handshakes: 4,
        max_handshakes_per_caller: 5,
        max_connections: 6,
        clock_skew: Duration::ZERO,
    };
    assert_eq!(launch.limits, expected);
}

#[test]
fn a_port_that_the_kernel_chooses_is_not_taken() {
    let text = GOOD
        .replace("127.0.0.7:8080", "127.0.0.1:0")
        .replace("unix:/run/altsd/orders.sock\"\nmode = \"0660\"", "127.0.0.1:0\"");
    assert_eq!(read_text(&text).expect("it is valid").listeners.len(), 2);
}

#[test]
fn a_change_of_the_good_file_that_makes_it_bad_is_refused_at_its_line_and_key() {
    // What is replaced, by what; then line, key and how the problem begins.
    let cases = [
        // No TOML, or none of the right form.
        ("[handshaker]", "[handshaker", "1", "unclosed table"),
        ("[handshaker]", "[handshaker]\n[handshaker]", "2", "duplicate key: `handshaker`"),
        ("max_concurrent_streams = 7", "a = 1\na = 2", "3", "duplicate key: `a`"),
        ("[handshaker]", "[handshake]", "1: handshake", "unknown field `handshake`"),
        ("max_concurrent_streams", "max_streams", "2: handshaker.max_streams", "unknown field `max_streams`"),
        ("mode = \"0660\"", "modes = \"0660\"", "10: handshaker.listener[1].modes", "unknown field `modes`"),
        ("account = \"spiffe", "name = \"spiffe", "19: identity[1].name", "unknown field `name`"),
        ("authority = ", "domain = ", "24: trust[0].domain", "unknown field `domain`"),
        ("= 7", "= \"7\"", "2: handshaker.max_concurrent_streams", "invalid type: string \"7\""),
        ("= 7", "= 7.5", "2: handshaker.max_concurrent_streams", "invalid type: floating point"),
        ("= 7", "= -7", "2: handshaker.max_concurrent_streams", "invalid value: integer `-7`"),
        ("mode = \"0660\"", "mode = 0o660", "10: handshaker.listener[1].mode", "invalid type: integer"),
        (
            "[\"root.pem\", \"/next/root.pem\"]",
            "[\"root.pem\",\n 1]",
            "26: trust[0].roots[1]",
            "invalid type: integer",
        ),
        ("[\"root.pem\", \"/next/root.pem\"]", "\"root.pem\"", "25: trust[0].roots", "invalid type: string"),
        // Limits.
        (
            "= 7",
            "= 0",
            "2: handshaker.max_concurrent_streams",
            "0 is out of range; it must be 1 to 4294967295",
        ),
        ("= 7", "= 4294967296", "2: handshaker.max_concurrent_streams", "4294967296 is out of range"),
        (
            "max_concurrent_streams = 7",
            "handshake_timeout_seconds = 0",
            "2: handshaker.handshake_timeout_seconds",
            "0 is out of range; it must be 1 to 3600 seconds",
        ),
        (
            "max_concurrent_streams = 7",
            "idle_timeout_seconds = 3601",
            "2: handshaker.idle_timeout_seconds",
            "3601 is out of range",
        ),
        ("max_concurrent_streams = 7", "max_handshakes = 0", "2: handshaker.max_handshakes", "0 is out"),
        (
            "max_concurrent_streams = 7",
            "max_handshakes_per_caller = 0",
            "2: handshaker.max_handshakes_per_caller",
            "0 is out",
        ),
        (
            "max_concurrent_streams = 7",
            "clock_skew_seconds = 61",
            "2: handshaker.clock_skew_seconds",
            "61 is out of range; it must be 0 to 60 seconds",
        ),
        // Listeners.
        ("127.0.0.7:8080", "0.0.0.0:8080", "5: handshaker.listener[0].address", "0.0.0.0:8080 is not local"),
        (
            "127.0.0.7:8080",
            "10.1.2.3:8080",
            "5: handshaker.listener[0].address",
            "10.1.2.3:8080 is not local",
        ),
        ("127.0.0.7:8080", "localhost:8080", "5: handshaker.listener[0].address", "\"localhost:8080\" is no"),
        ("unix:/run", "unix:run", "9: handshaker.listener[1].address", "\"run/altsd/orders.sock\" is not"),
        ("0660", "0o660", "10: handshaker.listener[1].mode", "\"0o660\" is no mode"),
        (
            "unix:/run/altsd/orders.sock",
            "127.0.0.1:1",
            "10: handshaker.listener[1].mode",
            "a mode is for unix",
        ),
        ("address = \"127.0.0.7:8080\"\n", "", "4: handshaker.listener[0].address", "is missing"),
        ("identity = \"spiffe", "# \"spiffe", "8: handshaker.listener[1].identity", "is missing"),
        (
            "unix:/run/altsd/orders.sock\"\nmode = \"0660\"",
            "127.0.0.7:8080\"",
            "9: handshaker.listener[1].address",
            "127.0.0.7:8080 is taken by the listener of line 5",
        ),
        (
            "127.0.0.7:8080",
            "unix:/run//altsd/orders.sock",
            "9: handshaker.listener[1].address",
            "unix:/run/altsd/orders.sock is taken by the listener of line 5",
        ),
        (
            "identity = \"orders@PROD",
            "identity = \"Orders@PROD",
            "6: handshaker.listener[0].identity",
            "no [[identity]] and no [[workload]] has account Orders@prod.example.com",
        ),
        (
            "orders@PROD.example.com",
            "orders",
            "6: handshaker.listener[0].identity",
            "\"orders\" is no account",
        ),
        // Identities.
        (
            "orders@prod.Example.com",
            "@prod",
            "14: identity[0].account",
            "\"@prod\" is no account: before the @",
        ),
        ("account = \"orders@prod.Example.com\"\n", "", "13: identity[0].account", "is missing"),
        ("certificate_chain = \"orders.pem\"", "", "13: identity[0].certificate_chain", "is missing"),
        ("private_key = \"certs/cart.key\"", "", "18: identity[1].private_key", "is missing"),
        (
            "account = \"spiffe://prod.example.com/cart\"",
            "account = \"orders@prod.example.com\"",
            "19: identity[1].account",
            "orders@prod.example.com is defined in line 14 already",
        ),
        // Roots.
        (
            "authority = \"prod",
            "authority = \"-prod",
            "24: trust[0].authority",
            "\"-prod.example.com\" is no",
        ),
        ("authority = \"prod.example.com\"", "", "23: trust[0].authority", "is missing"),
        ("roots = [\"root.pem\", \"/next/root.pem\"]", "", "23: trust[0].roots", "is missing"),
        ("[\"root.pem\", \"/next/root.pem\"]", "[]", "25: trust[0].roots", "the list is empty"),
        (
            "[[trust]]",
            "[[trust]]\nauthority = \"PROD.example.com\"\nroots = [\"r\"]\n[[trust]]",
            "27: trust[1].authority",
            "prod.example.com is defined in line 24 already",
        ),
    ];
    refused_all(GOOD, &cases);
}

/// What is replaced, by what; then line and key, and how the problem begins.
type Change<'c> = (&'c str, &'c str, &'c str, &'c str);

fn refused_all(good: &str, changes: &[Change<'_>]) {
    let mut wrong = Vec::new();
    for (from, to, place, problem) in changes {
        assert!(good.contains(from), "{from}");
        let found = read_text(&good.replacen(from, to, 1)).map(drop).map_err(|error| error.to_string());
        let expected = format!("etc/altsd.toml:{place}: {problem}");
        if !found.as_ref().is_err_and(|found| found.starts_with(&expected)) {
            wrong.push(format!("{to:?}\n  expected {expected}\n  found    {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const WORKLOADS: &str = r#"state_directory = "state"

[[handshaker.listener]]
address = "127.0.0.7:8080"

[[handshaker.listener]]
address = "127.0.0.8:8080"
identity = "cart@prod.example.com"

[[workload]]
service_account = "orders@prod.example.com"
spiffe_id = "spiffe://prod.example.com/orders"
selectors = ["uid:1000", "path:/usr/bin/orders"]

[[workload]]
service_accounts = ["cart@prod.example.com", "stock@PROD.example.com"]
selectors = ["uid:1001"]

[[workload]]
spiffe_id = "spiffe://prod.example.com/batch"
selectors = ["uid:1002"]

[[identity]]
account = "stock@prod.example.com"
certificate_chain = "stock.pem"
private_key = "stock.key"

[[identity]]
account = "spare@prod.example.com"

[signing_service]
authorities = ["prod.example.com", "spiffe://prod.example.com"]

[kubernetes]
pods_file = "pods.json"

[admin]
address = "unix:/run/altsd/admin.sock"

[metrics]
address = "127.0.0.1:9464"

[policy]
default = "allow"
"#;

#[test]
fn workloads_get_what_their_entries_grant_and_the_ca_issues_what_has_no_files() {
    let launch = read_text(WORKLOADS).expect("it is valid");
    let callers: Vec<_> = launch.listeners.iter().map(|listener| listener.callers.clone()).collect();
    assert_eq!(callers, [Callers::Attested, fixed("cart@prod.example.com")]);
    let granted: Vec<Vec<_>> = launch
        .workloads
        .iter()
        .map(|workload| workload.identities().iter().map(ToString::to_string).collect())
        .collect();
    assert_eq!(
        granted,
        [
            vec!["orders@prod.example.com (spiffe://prod.example.com/orders)"],
            vec!["cart@prod.example.com", "stock@prod.example.com"],
            vec!["spiffe://prod.example.com/batch"],
        ]
    );
    let Source::Configured(configured) = launch.source else { panic!("a file is no dev mode") };
    let issued: Vec<_> = configured.issued.iter().map(Identity::account).collect();
    assert_eq!(
        issued,
        [
            "spare@prod.example.com",
            "orders@prod.example.com",
            "cart@prod.example.com",
            "spiffe://prod.example.com/batch"
        ]
    );
    assert_eq!(configured.files.identities.len(), 1);
    let Some(Ca::SigningService(settings)) = configured.ca else { panic!("there is one") };
    assert_eq!(settings.directory, PathBuf::from("etc/state"));
    assert_eq!(settings.lifetime, Duration::from_secs(3_600));
    assert_eq!(launch.metrics.map(|address| address.to_string()).as_deref(), Some("127.0.0.1:9464"));
}

#[test]
fn a_change_of_the_workloads_that_makes_them_ambiguous_or_empty_is_refused() {
    let cases = [
        // Names.
        ("service_accounts = [", "service_account = \"a@b\"\nx = [", "17: workload[1].x", "unknown field"),
        (
            "service_accounts = [",
            "service_account = \"a@prod.example.com\"\nservice_accounts = [",
            "15: workload[1].service_account",
            "a workload has either service_account",
        ),
        (
            "spiffe_id = \"spiffe://prod.example.com/batch\"",
            "",
            "19: workload[2].service_account",
            "a workload",
        ),
        (
            "\"stock@PROD",
            "\"stock PROD",
            "16: workload[1].service_accounts[1]",
            "\"stock PROD.example.com\" is",
        ),
        (
            "\"spiffe://prod.example.com/orders\"",
            "\"spiffe://prod.example.com\"",
            "12: workload[0].spiffe_id",
            "\"spiffe://prod.example.com\" is no account: a SPIFFE ID has a path",
        ),
        (
            "service_accounts = [\"cart@prod.example.com\", \"stock@PROD.example.com\"]",
            "service_account = \"stock@prod.example.com\"\nspiffe_id = \"spiffe://prod.example.com/stock\"",
            "16: workload[1].service_account",
            "line 25 defines it as stock@prod.example.com; give both the same spiffe_id",
        ),
        (
            "account = \"stock@prod.example.com\"",
            "account = \"spiffe://prod.example.com/stock\"\nspiffe_id = \"spiffe://prod.example.com/stock\"",
            "25: identity[0].spiffe_id",
            "spiffe://prod.example.com/stock is a SPIFFE ID and so the only name",
        ),
        (
            "service_accounts = [\"cart@prod.example.com\", \"stock@PROD.example.com\"]",
            "service_account = \"a@prod.example.com\"\nspiffe_id = \"spiffe://prod.example.com/orders\"",
            "16: workload[1].service_account",
            "spiffe://prod.example.com/orders is a name of orders@prod.example.com in line 11 already",
        ),
        (
            "\"spiffe://prod.example.com/batch\"",
            "\"spiffe://prod.example.com/orders\"",
            "20: workload[2].spiffe_id",
            "spiffe://prod.example.com/orders is a name of orders@prod.example.com in line 11 already",
        ),
        // Selectors.
        ("selectors = [\"uid:1001\"]", "", "15: workload[1].selectors", "is missing"),
        ("[\"uid:1001\"]", "[]", "17: workload[1].selectors", ""),
        ("[\"uid:1001\"]", "[\"uid:one\"]", "17: workload[1].selectors[0]", ""),
        ("[\"uid:1001\"]", "[\"colour:red\"]", "17: workload[1].selectors[0]", ""),
        ("[\"uid:1001\"]", "[\"uid:1001\", \"uid:1000\"]", "17: workload[1].selectors", ""),
        (
            "[\"uid:1001\"]",
            "[\"uid:1002\"]",
            "19: workload[2]",
            "the workload of line 15 has as many selectors",
        ),
        ("[\"uid:1001\"]", "[\"gid:7\"]", "19: workload[2]", "the workload of line 15 has as many selectors"),
        // Issuers.
        ("[signing_service]", "[signing]", "31: signing", "unknown field"),
        (
            "[signing_service]\nauthorities = [\"prod.example.com\", \"spiffe://prod.example.com\"]",
            "",
            "29: identity[1].account",
            "spare@prod.example.com has no certificate_chain and private_key, and nothing issues",
        ),
        (
            "[\"prod.example.com\", \"spiffe://prod.example.com\"]",
            "[\"prod.example.com\"]",
            "11: workload[0].service_account",
            "spiffe://prod.example.com is none of the authorities of [signing_service]",
        ),
        (
            "[\"prod.example.com\", \"spiffe",
            "[\"prod_example\", \"spiffe",
            "32: signing_service.authorities[0]",
            "\"prod",
        ),
        (
            "[\"prod.example.com\", \"spiffe://prod.example.com\"]",
            "[]",
            "32: signing_service.authorities",
            "the list",
        ),
        (
            "state_directory = \"state\"",
            "",
            "31: state_directory",
            "is missing; the signing service keeps its keys",
        ),
        (
            "[admin]",
            "[external_ca]\ncommand = [\"/bin/ca\"]\n[admin]",
            "37: external_ca",
            "goes not together with",
        ),
        (
            "\n[kubernetes]",
            "certificate_lifetime_seconds = 299\n[kubernetes]",
            "33: signing_service.certificate_lifetime_seconds",
            "299 is out of range; it must be 300 to 86400 seconds",
        ),
        (
            "[kubernetes]",
            "[[trust]]\nauthority = \"prod.example.com\"\nroots = [\"r\"]\ncrls = [\"c\"]\n[kubernetes]",
            "37: trust[0].crls[0]",
            "the signing service issues for prod.example.com and makes no revocation lists",
        ),
        // Operation.
        (
            "127.0.0.8:8080\"",
            "unix:/run/altsd//admin.sock\"",
            "38: admin.address",
            "unix:/run/altsd/admin.sock is taken by a listener",
        ),
        ("unix:/run/altsd/admin.sock", "127.0.0.1:1", "38: admin.address", "must be a unix socket"),
        ("\"127.0.0.1:9464\"", "\":9464\"", "41: metrics.address", "\":9464\" is no address"),
        ("pods_file = \"pods.json\"", "", "34: kubernetes", "has either pods_file, or kubelet"),
        (
            "pods_file = \"pods.json\"",
            "kubelet = \"http://10.0.0.1:10255\"",
            "35: kubernetes.kubelet",
            "\"http://10.0.0.1",
        ),
        (
            "pods_file = \"pods.json\"",
            "pods_file = \"p\"\nkubelet_ca = \"c\"",
            "34: kubernetes",
            "has either",
        ),
    ];
    refused_all(WORKLOADS, &cases);
}

#[test]
fn a_listener_without_identity_needs_workloads_to_tell_callers_apart_by() {
    let text = "[[handshaker.listener]]\naddress = '127.0.0.1:0'\n[[identity]]\naccount='a@b'\n\
                certificate_chain='c'\nprivate_key='k'";
    let error = read_text(text).expect_err("nobody could be served").to_string();
    assert!(
        error.starts_with(
            "etc/altsd.toml:1: handshaker.listener[0].identity: is missing, and there is no [[workload]]"
        ),
        "{error}"
    );
}

#[test]
fn an_external_ca_is_a_program_by_its_absolute_path() {
    let text = WORKLOADS.replace(
        "[signing_service]\nauthorities = [\"prod.example.com\", \"spiffe://prod.example.com\"]",
        "[external_ca]\ncommand = [\"/usr/bin/sign\", \"--now\"]\ntimeout_seconds = 3\n\
         [[trust]]\nauthority = \"prod.example.com\"\nroots = [\"r\"]\n\
         [[trust]]\nauthority = \"spiffe://prod.example.com\"\nroots = [\"r\"]",
    );
    let launch = read_text(&text).expect("it is valid");
    let Source::Configured(Configured { ca: Some(Ca::External(settings)), .. }) = launch.source else {
        panic!("there is one")
    };
    assert_eq!((settings.program, settings.arguments), ("/usr/bin/sign".into(), vec!["--now".to_owned()]));
    assert_eq!(settings.timeout, Duration::from_secs(3));
    let cases = [
        (
            "\"/usr/bin/sign\"",
            "\"sign\"",
            "32: external_ca.command",
            "the command must begin with the absolute path",
        ),
        ("[\"/usr/bin/sign\", \"--now\"]", "[]", "32: external_ca.command", "the command must begin with"),
        ("command = [\"/usr/bin/sign\", \"--now\"]", "", "31: external_ca.command", "is missing"),
        (
            "authority = \"spiffe://prod.example.com\"",
            "authority = \"spiffe://x.example.com\"",
            "11: workload[0].service_account",
            "no [[trust]] has the authority spiffe://prod.example.com",
        ),
        (
            "timeout_seconds = 3",
            "timeout_seconds = 26",
            "33: external_ca.timeout_seconds",
            "26 is out of range",
        ),
    ];
    refused_all(&text, &cases);
}

#[test]
fn a_file_without_a_listener_is_refused() {
    for text in ["", "[handshaker]\n", "[[identity]]\naccount='a@b'\ncertificate_chain='c'\nprivate_key='k'"]
    {
        let error = read_text(text).expect_err("there is no listener").to_string();
        assert!(
            error.starts_with("etc/altsd.toml:1: handshaker.listener: there is no listener"),
            "{text:?}: {error}"
        );
    }
}

#[test]
fn a_file_that_cannot_be_read_is_refused_by_its_name() {
    let error = read(Path::new("/nowhere/altsd.toml")).expect_err("it is not there").to_string();
    assert_eq!(error, "/nowhere/altsd.toml: cannot be read: No such file or directory (os error 2)");
}
