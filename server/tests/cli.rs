//! The command line of the real program: what it says, and what it exits with.

use std::{
    fs,
    process::{Command, Output},
};

use rcgen::date_time_ymd;
use tempfile::TempDir;

use self::pki::{Pki, write};

#[path = "support/pki.rs"]
mod pki;

const CONFIG: &str = r#"# A comment
[[handshaker.listener]]
address = "127.0.0.7:8080"
identity = "orders@prod.example.com"

[[handshaker.listener]]
address = "unix:/run/altsd/orders.sock"
identity = "orders@PROD.example.com"

[[identity]]
account = "orders@prod.example.com"
certificate_chain = "orders.pem"
private_key = "orders.key"

[[trust]]
authority = "prod.example.com"
roots = ["root.pem"]

[policy]
default = "allow"
"#;

struct Answer {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn altsd(arguments: &[&str], environment: &[(&str, &str)]) -> Answer {
    let mut command = Command::new(env!("CARGO_BIN_EXE_altsd"));
    // Variables of whoever runs the tests are no part of them.
    command.env_clear().args(arguments).envs(environment.iter().copied());
    let Output { status, stdout, stderr } = command.output().expect("it was built");
    let text = |bytes| String::from_utf8(bytes).expect("it writes UTF-8");
    Answer { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

/// A directory with a configuration and all it names.
fn configured() -> (TempDir, String) {
    let directory = tempfile::tempdir().expect("there is room");
    let pki = Pki::new();
    let account = "orders@prod.example.com";
    let leaf = pki.leaf_with(account, |leaf| leaf.not_after = date_time_ymd(2098, 7, 6));
    write(directory.path(), "altsd.toml", CONFIG);
    write(directory.path(), "root.pem", &pki.root());
    write(directory.path(), "orders.pem", &leaf.certificate);
    write(directory.path(), "orders.key", &leaf.key);
    write(directory.path(), "other.key", &pki.leaf(account).key);
    let file = directory.path().join("altsd.toml");
    (directory, file.to_str().expect("it is UTF-8").to_owned())
}

#[test]
fn a_valid_configuration_is_summarized() {
    let (_directory, file) = configured();
    let expected = format!(
        "{file} is valid\n\
         listener  127.0.0.7:8080: callers are orders@prod.example.com\n\
         listener  unix:/run/altsd/orders.sock: callers are orders@prod.example.com\n\
         identity  orders@prod.example.com: certificate expires 2098-07-06T00:00:00Z\n\
         authority prod.example.com: 1 file of roots\n\
         policy    peers that no rule decides on are allowed; no rules in files\n\
         store     none: there is no state_directory\n"
    );
    for (arguments, environment) in
        [(vec!["validate", "--config", &file], vec![]), (vec!["validate"], vec![("ALTSD_CONFIG", &*file)])]
    {
        let answer = altsd(&arguments, &environment);
        assert_eq!((answer.code, &*answer.stdout, &*answer.stderr), (Some(0), &*expected, ""));
    }
}

#[test]
fn a_mistake_in_a_configuration_is_one_line_on_stderr_and_exit_code_78() {
    let cases = [
        ("[[trust]]", "[[trusts]]", "15: trusts[0]: unknown field"),
        ("127.0.0.7", "192.0.2.1", "3: handshaker.listener[0].address: 192.0.2.1:8080 is not local"),
        (
            "\"orders@PROD",
            "\"cart@PROD",
            "8: handshaker.listener[1].identity: no [[identity]] and no [[workload]] has account",
        ),
        ("orders.pem", "none.pem", "12: identity[0].certificate_chain: "),
        ("orders.key", "other.key", "13: identity[0].private_key: the private key does not belong"),
        ("root.pem", "orders.pem", "17: trust[0].roots[0]: a root for prod.example.com is unusable"),
    ];
    let (directory, file) = configured();
    for (good, bad, problem) in cases {
        write(directory.path(), "altsd.toml", &CONFIG.replace(good, bad));
        let validate = altsd(&["validate", "--config", &file], &[]);
        let expected = format!("altsd: {file}:{problem}");
        assert!(validate.stderr.starts_with(&expected), "{expected}\n{}", validate.stderr);
        assert_eq!((validate.code, validate.stdout.len()), (Some(78), 0), "{bad}");
        assert_eq!(validate.stderr.lines().count(), 1, "{}", validate.stderr);
        let run = altsd(&["run", "--config", &file], &[]);
        assert_eq!((run.code, run.stderr), (Some(78), validate.stderr), "{bad}");
    }
}

#[test]
fn a_configuration_that_is_not_there_is_exit_code_78() {
    for command in ["validate", "run"] {
        let answer = altsd(&[command, "--config", "/nowhere/altsd.toml"], &[]);
        assert_eq!(answer.code, Some(78));
        assert!(answer.stderr.contains("/nowhere/altsd.toml: cannot be read"), "{}", answer.stderr);
    }
}

#[test]
fn wrong_arguments_are_exit_code_2_and_say_the_way_out() {
    /// Arguments, environment, and what is said.
    type Case = (&'static [&'static str], &'static [(&'static str, &'static str)], &'static [&'static str]);
    let cases: &[Case] = &[
        (&[], &[], &["Usage:"]),
        (&["serve"], &[], &["unrecognized subcommand 'serve'"]),
        (&["validate"], &[], &["--config <FILE>"]),
        (&["run"], &[], &["--config FILE", "ALTSD_CONFIG", "--dev"]),
        (&["run", "--dev", "--config", "a.toml"], &[], &["a.toml", "never mix", "drop --dev"]),
        (
            &["run", "--dev"],
            &[("ALTSD_CONFIG", "/etc/altsd.toml")],
            &["/etc/altsd.toml", "ALTSD_CONFIG", "never mix"],
        ),
        (&["run", "--config", "a", "--listen", "127.0.0.1:1"], &[], &["--dev"]),
        (&["run", "--dev", "--listen", "0.0.0.0:8080"], &[], &["0.0.0.0:8080 is not local", "in clear"]),
        (&["run", "--dev", "--listen", "8080"], &[], &["unix:/PATH"]),
        (
            &["run", "--dev", "--listen", "127.0.0.1:1", "--listen", "127.0.0.1:1"],
            &[],
            &["127.0.0.1:1 is given twice"],
        ),
        (&["run", "--dev", "--max-handshakes", "0"], &[], &["--max-handshakes"]),
        (&["run", "--dev", "--idle-timeout-seconds", "3601"], &[], &["1..=3600"]),
        (&["run", "--dev"], &[("ALTSD_MAX_CONCURRENT_STREAMS", "many")], &["--max-concurrent-streams"]),
        (&["--log-level", "loud=loud", "run", "--dev"], &[], &["--log-level"]),
        (&["run", "--dev"], &[("ALTSD_LOG", "altsd=9")], &["--log-level"]),
        (&["certs"], &[], &["Usage:"]),
        (&["certs", "show"], &[], &["<ACCOUNT>"]),
        (&["certs", "show", "a@b", "--pem", "--output", "json"], &[], &["--pem", "--output"]),
        (&["certs", "rotate"], &[], &["<ACCOUNT>"]),
        (&["certs", "rotate", "a@b", "--all"], &[], &["--all"]),
        (&["certs", "list", "--output", "yaml"], &[], &["text, json"]),
        (&["certs", "list", "--timeout-seconds", "0"], &[], &["1..=600"]),
        (&["whoami", "--output", "yaml"], &[], &["text, json"]),
        (&["whoami", "--timeout-seconds", "301"], &[], &["1..=300"]),
        (&["ca"], &[], &["Usage:"]),
        (&["ca", "init"], &[], &["--config <FILE>"]),
        (&["ca", "export-root", "--output", "json"], &[], &["--output"]),
        (&["exec"], &[], &["PROGRAM"]),
        (&["exec", "--handshaker", "127.0.0.1:8081", "--", "true"], &[], &["8080"]),
        (&["exec", "--handshaker", "unix:/s", "--", "true"], &[], &["unix socket"]),
    ];
    for (arguments, environment, said) in cases {
        let answer = altsd(arguments, environment);
        assert_eq!((answer.code, &*answer.stdout), (Some(2), ""), "{arguments:?}");
        for word in *said {
            assert!(answer.stderr.contains(word), "{arguments:?} {word:?}\n{}", answer.stderr);
        }
    }
}

#[test]
fn every_command_explains_itself_with_an_example() {
    let commands: [&[&str]; 13] = [
        &["run"],
        &["validate"],
        &["exec"],
        &["handshake"],
        &["whoami"],
        &["certs"],
        &["certs", "list"],
        &["certs", "show"],
        &["certs", "rotate"],
        &["ca"],
        &["ca", "init"],
        &["ca", "show"],
        &["ca", "export-root"],
    ];
    for command in commands {
        let answer = altsd(&[command, &["--help"]].concat(), &[]);
        assert_eq!(answer.code, Some(0), "{command:?}");
        assert!(answer.stdout.contains(&format!("\n  altsd {}", command.join(" "))), "{}", answer.stdout);
    }
    let answer = altsd(&["--help"], &[]);
    assert!(answer.stdout.contains("altsd run --dev"), "{}", answer.stdout);
    assert_eq!(altsd(&["--version"], &[]).stdout, format!("altsd {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_daemon_that_cannot_be_asked_is_named_with_the_way_out_and_exit_code_1() {
    let socket = "unix:/nowhere/admin.sock";
    let admin = ["no altsd answers", socket, "[admin] address = \"unix:/nowhere/admin.sock\""];
    let handshaker = ["no handshaker answers at unix:/nowhere/s.sock", "is `altsd run` running"];
    /// Arguments, environment, and what is said.
    type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a [&'a str]);
    let cases: [Case<'_>; 8] = [
        (&["certs", "list", "--admin", socket], &[], &admin),
        (&["certs", "list"], &[("ALTSD_ADMIN", socket)], &admin),
        (&["certs", "show", "a@b", "--admin", socket, "--output", "json"], &[], &admin),
        (&["certs", "rotate", "--all", "--admin", socket], &[], &admin),
        (
            &["certs", "list", "--admin", "127.0.0.1:1"],
            &[],
            &["\"127.0.0.1:1\" is no admin socket", "unix:/PATH"],
        ),
        (&["whoami", "--handshaker", "unix:/nowhere/s.sock"], &[], &handshaker),
        (&["whoami", "--output", "json"], &[("ALTSD_HANDSHAKER", "unix:/nowhere/s.sock")], &handshaker),
        (&["whoami", "--handshaker", "a b"], &[], &["\"a b\" is no address of a handshaker", "HOST:PORT"]),
    ];
    for (arguments, environment, said) in cases {
        let answer = altsd(arguments, environment);
        assert_eq!((answer.code, &*answer.stdout), (Some(1), ""), "{arguments:?}");
        assert_eq!(answer.stderr.lines().count(), 1, "{}", answer.stderr);
        for word in said {
            assert!(answer.stderr.contains(word), "{arguments:?} {word:?}\n{}", answer.stderr);
        }
    }
}

#[test]
fn a_signing_service_is_made_once_and_hands_out_its_root() {
    let directory = tempfile::tempdir().expect("there is room");
    let config = directory.path().join("altsd.toml");
    let text = "state_directory = 'state'\n[[handshaker.listener]]\naddress = '127.0.0.1:0'\n\
                [[workload]]\nservice_account = 'a@prod.example.com'\nselectors = ['uid:1']\n\
                [signing_service]\nauthorities = ['prod.example.com']\n[policy]\ndefault = 'deny'\n";
    fs::write(&config, text).expect("there is room");
    let place = ["--config", config.to_str().expect("it is UTF-8")];
    let ca = |command: &[&str], more: &[&str]| altsd(&[&["ca"], command, &place, more].concat(), &[]);

    for command in ["show", "export-root"] {
        let answer = ca(&[command], &[]);
        assert_eq!((answer.code, &*answer.stdout), (Some(1), ""), "{command}");
        assert!(
            answer.stderr.contains("there is no root in") && answer.stderr.contains("altsd ca init"),
            "{}",
            answer.stderr
        );
    }
    let made = ca(&["init"], &[]);
    assert_eq!((made.code, &*made.stderr), (Some(0), ""));
    let lines: Vec<_> = made.stdout.lines().map(|line| line.split("  ").next().unwrap_or_default()).collect();
    let expected = [
        "root",
        "root sha256",
        "root expires",
        "issuer",
        "issuer sha256",
        "issuer expires",
        "issues for",
        "certificates",
    ];
    assert_eq!(lines, expected, "{}", made.stdout);
    let again = ca(&["init"], &[]);
    assert_eq!((again.code, &*again.stdout), (Some(1), ""));
    assert!(again.stderr.contains("there is a root in"), "{}", again.stderr);

    let shown = ca(&["show"], &[]);
    assert_eq!((shown.code, &shown.stdout), (Some(0), &made.stdout));
    let shown = ca(&["show"], &["--output", "json"]);
    assert!(shown.stdout.contains("\"authorities\": [\n    \"prod.example.com\"\n  ]"), "{}", shown.stdout);
    let roots = [ca(&["export-root"], &[]).stdout, ca(&["export-root"], &[]).stdout];
    assert!(roots[0].starts_with("-----BEGIN CERTIFICATE-----\n"), "{}", roots[0]);
    assert!(!roots[0].contains("PRIVATE"), "a key is for nobody else");
    assert_eq!(roots[0], roots[1]);
}
