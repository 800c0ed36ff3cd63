use super::*;

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
"#;

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
        .map(|listener| (listener.address.to_string(), listener.identity.as_str()))
        .collect();
    assert_eq!(
        listeners,
        [
            ("127.0.0.7:8080".to_owned(), "orders@prod.example.com"),
            ("unix:/run/altsd/orders.sock".to_owned(), "spiffe://prod.example.com/cart"),
        ]
    );
    assert!(matches!(launch.listeners[1].address, Address::Unix { mode: 0o660, .. }));
    let Source::Files(files) = launch.source else { panic!("a file is no dev mode") };
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
                  max_handshakes = 4\nmax_handshakes_per_caller = 5\nmax_connections = 6";
    let launch = read_text(&GOOD.replace("max_concurrent_streams = 7", limits)).expect("it is valid");
    let expected = Limits {
        max_concurrent_streams: 1,
        handshake_timeout: Duration::from_secs(2),
        idle_timeout: Duration::from_secs(3),
        max_handshakes: 4,
        max_handshakes_per_caller: 5,
        max_connections: 6,
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
            "no [[identity]] has account Orders@prod.example.com",
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
    let mut wrong = Vec::new();
    for (good, bad, place, problem) in cases {
        assert!(GOOD.contains(good), "{good}");
        let found = read_text(&GOOD.replacen(good, bad, 1)).map(drop).map_err(|error| error.to_string());
        let expected = format!("etc/altsd.toml:{place}: {problem}");
        if !found.as_ref().is_err_and(|found| found.starts_with(&expected)) {
            wrong.push(format!("{bad:?}\n  expected {expected}\n  found    {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
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
