use std::{fs, path::Path, sync::Arc, thread};

use alts_handshake::{Authority, MailAccount, SpiffeId, SystemRandom, Trust};
use tempfile::TempDir;

use super::*;
use crate::{
    clock::{Clock, SystemClock},
    identity::{install, pki, signing::tests::openssl},
};

const ACCOUNT: &str = "cart@prod.example";

fn identity() -> Identity {
    Identity::parse(ACCOUNT).expect("it is an account")
}

fn source(program: &str, arguments: &[&str], limit: Duration) -> ExecSource {
    let settings = ExecSettings {
        program: program.into(),
        arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
        timeout: limit,
        lifetime: Duration::from_secs(3_600),
        search_path: DEFAULT_SEARCH_PATH.into(),
    };
    ExecSource::new(settings, Arc::new(SystemRandom::new())).expect("the settings are good")
}

/// A script with all the time that it may have, so that only what hangs is ended.
fn script(text: &str) -> ExecSource {
    source("/bin/sh", &["-c", text], MAX_TIMEOUT)
}

async fn error(source: &ExecSource) -> Error {
    source.issue(&identity()).await.map(drop).expect_err("there is no such certificate")
}

fn place() -> (TempDir, String) {
    let directory = tempfile::tempdir().expect("there is room");
    let path = directory.path().to_str().expect("it is UTF-8").to_owned();
    (directory, path)
}

#[tokio::test]
async fn what_is_no_certificate_is_an_error_with_a_name() {
    let (_directory, dir) = place();
    let chain = pki::Pki::new().leaf(ACCOUNT).certificate;
    fs::write(format!("{dir}/chain.pem"), &chain).expect("there is room");
    let print = format!("cat {dir}/chain.pem");
    let table = [
        ("exit 1", "exec_failed", "ended with exit status: 1"),
        ("echo 'no luck\x1b[2J' >&2; echo more >&2; exit 7", "exec_failed", "exit status: 7: no luck?[2J"),
        (&format!("{print}; exit 1"), "exec_failed", "exit status: 1"),
        ("kill -9 $$", "exec_failed", "signal: 9"),
        ("exit 0", "exec_without_certificate", "printed no certificate (BEGIN CERTIFICATE)"),
        ("echo sorry >&2", "exec_without_certificate", "(BEGIN CERTIFICATE): sorry"),
        ("echo garbage", "exec_without_certificate", "printed no certificate"),
        ("head -c 9999 /dev/urandom", "exec_without_certificate", "printed no certificate"),
        ("cat", "exec_without_certificate", "printed no certificate"),
        ("echo '-----BEGIN CERTIFICATE-----'; echo AAAA", "exec_output_malformed", "no PEM that can be read"),
        (
            "echo '-----BEGIN CERTIFICATE-----'; echo AAAA; echo '-----END CERTIFICATE-----'",
            "peer_certificate_malformed",
            "cannot be used: certificate 0",
        ),
        ("yes", "exec_output_too_large", "more than 65536 bytes and was killed"),
        ("head -c 9999999 /dev/zero; sleep 1000", "exec_output_too_large", "more than 65536 bytes"),
        ("yes complaint | head -c 9999999 >&2; exit 3", "exec_failed", "exit status: 3: complaint"),
        // The request was for another key.
        (&print, "own_key_foreign", "does not belong to the leaf certificate of cart@prod.example"),
        // Nobody reads the request, and what is left behind keeps the output open.
        (&format!("exec <&-; sleep 1000 & {print}"), "own_key_foreign", "does not belong"),
        (&format!("{print}; (sleep 1000; echo late) & exit 0"), "own_key_foreign", "does not belong"),
    ];
    for (text, code, problem) in table {
        let error = error(&script(text)).await;
        assert_eq!(error.code(), code, "{text}: {error}");
        assert!(error.to_string().contains(problem), "{text}: {error}");
        assert!(error.to_string().contains("/bin/sh") && error.to_string().len() < 500, "{error}");
    }
}

#[tokio::test]
async fn what_cannot_be_run_is_an_error_with_a_name() {
    let (_directory, dir) = place();
    fs::write(format!("{dir}/no-program"), "").expect("there is room");
    for program in ["/nowhere/at/all", &dir, &format!("{dir}/no-program")] {
        let error = error(&source(program, &[], DEFAULT_TIMEOUT)).await;
        assert_eq!(error.code(), "exec_not_startable", "{error}");
        assert!(error.to_string().starts_with(&format!("{program} cannot be run: ")), "{error}");
    }
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let new = |program: &str, timeout| {
        let mut settings = source("/bin/sh", &[], DEFAULT_TIMEOUT).settings;
        (settings.program, settings.timeout) = (program.into(), timeout);
        ExecSource::new(settings, Arc::new(SystemRandom::new())).map(drop).map_err(|error| error.code())
    };
    assert_eq!(new("sh", DEFAULT_TIMEOUT), Err("exec_not_absolute"));
    assert_eq!(new("./sh", DEFAULT_TIMEOUT), Err("exec_not_absolute"));
    assert_eq!(new("/bin/sh", Duration::ZERO), Err("exec_timeout_invalid"));
    assert_eq!(new("/bin/sh", MAX_TIMEOUT + Duration::from_millis(1)), Err("exec_timeout_invalid"));
    assert_eq!(new("/bin/sh", MAX_TIMEOUT), Ok(()));
}

#[tokio::test]
async fn what_hangs_is_ended_with_all_its_children() {
    let (_directory, dir) = place();
    let text = format!("sleep 1000 & echo $! >{dir}/child; echo $$ >{dir}/own; echo waiting >&2; wait");
    // Time enough to write two files, on a machine that is busy with other tests.
    let error = error(&source("/bin/sh", &["-c", &text], Duration::from_secs(3))).await;
    assert_eq!(error.code(), "exec_timed_out", "{error}");
    assert!(error.to_string().ends_with("did not end within 3s and was killed: waiting"), "{error}");
    for name in ["own", "child"] {
        let id = fs::read_to_string(format!("{dir}/{name}")).expect("it was written");
        assert!(ends(id.trim()), "{name} still runs");
    }
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_ended() {
    let (_directory, dir) = place();
    let text = format!("sleep 1000 & echo $! >{dir}/new; mv {dir}/new {dir}/child; wait");
    let source = script(&text);
    let wanted = identity();
    let child = Path::new(&dir).join("child");
    tokio::select! {
        _ = source.issue(&wanted) => panic!("it hangs"),
        () = async { while !child.exists() { tokio::time::sleep(Duration::from_millis(5)).await } } => {}
    }
    let id = fs::read_to_string(child).expect("it was written");
    assert!(ends(id.trim()), "it still runs");
}

/// Whether a process ends within ten seconds; one that nobody has waited for has ended.
fn ends(id: &str) -> bool {
    let ended = || {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_none_or(|state| state.is_empty() || state.starts_with(['Z', 'X']))
    };
    (0..1_000).any(|_| {
        thread::sleep(Duration::from_millis(10));
        ended()
    })
}

#[tokio::test]
async fn the_command_gets_the_request_and_no_more_of_the_environment_than_it_needs() {
    let mail = MailAccount::parse(ACCOUNT).ok();
    let id = SpiffeId::parse("spiffe://prod.example/sa/cart").ok();
    let both = Identity::new(mail, id.clone()).expect("it has names");
    let alone = Identity::new(None, id).expect("it has a name");
    let request = x509::request(&both).expect("a key can be made");
    let (output, _) = source("/bin/cat", &[], MAX_TIMEOUT).run(&both, &request).await.expect("it reads all");
    assert_eq!(output, request.pem.as_bytes());
    assert!(request.pem.starts_with("-----BEGIN CERTIFICATE REQUEST-----"), "{}", request.pem);
    let table = [
        (
            &both,
            vec!["ALTSD_SERVICE_ACCOUNT=cart@prod.example", "ALTSD_SPIFFE_ID=spiffe://prod.example/sa/cart"],
        ),
        (&identity(), vec!["ALTSD_SERVICE_ACCOUNT=cart@prod.example"]),
        (&alone, vec!["ALTSD_SPIFFE_ID=spiffe://prod.example/sa/cart"]),
    ];
    for (identity, names) in table {
        let run = source("/usr/bin/env", &[], MAX_TIMEOUT);
        let (output, _) = run.run(identity, &request).await.expect("it prints all");
        let output = String::from_utf8(output).expect("it is UTF-8");
        let mut found: Vec<_> = output.lines().collect();
        found.sort_unstable();
        let path = format!("PATH={DEFAULT_SEARCH_PATH}");
        let expected: Vec<_> =
            ["ALTSD_LIFETIME_SECONDS=3600"].into_iter().chain(names).chain([&*path]).collect();
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn the_command_inherits_neither_files_nor_sockets_of_ours() {
    let (_directory, dir) = place();
    let _file = fs::File::create(format!("{dir}/open")).expect("there is room");
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&socket));
    let socket = fs::read_link(link).expect("it is open").display().to_string();
    let request = x509::request(&identity()).expect("a key can be made");
    let list = source("/bin/ls", &["-l", "/proc/self/fd"], MAX_TIMEOUT);
    let (output, _) = list.run(&identity(), &request).await.expect("it prints all");
    let output = String::from_utf8(output).expect("it is UTF-8");
    assert!(socket.starts_with("socket:[") && output.contains("-> pipe:["), "{socket} {output}");
    assert!(!output.contains(&socket) && !output.contains(&dir), "{output}");
}

#[tokio::test]
async fn no_more_than_four_run_at_once() {
    let (_directory, dir) = place();
    fs::create_dir(format!("{dir}/running")).expect("there is room");
    let text = format!(
        "touch {dir}/running/$$; ls {dir}/running | wc -l >>{dir}/counts; sleep 0.3; rm {dir}/running/$$; exit 1"
    );
    let source = Arc::new(script(&text));
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..9 {
        let source = source.clone();
        all.spawn(async move { error(&source).await.code() });
    }
    assert!(all.join_all().await.iter().all(|code| *code == "exec_failed"));
    let counts = fs::read_to_string(format!("{dir}/counts")).expect("it was written");
    let counts: Vec<usize> =
        counts.lines().map(|line| line.trim().parse().expect("it is a number")).collect();
    assert_eq!(counts.len(), 9);
    assert!(counts.iter().all(|count| *count <= AT_ONCE), "{counts:?}");
}

/// An authority made by openssl; nothing if there is none.
fn authority() -> Option<(TempDir, String, Trust)> {
    let (directory, dir) = place();
    openssl(
        directory.path(),
        &[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
            "-days",
            "2",
            "-subj",
            "/CN=test",
            "-addext",
            "basicConstraints=critical,CA:TRUE",
            "-addext",
            "keyUsage=critical,keyCertSign,cRLSign",
        ],
    )?;
    let root = CertificateDer::from_pem_file(directory.path().join("ca.pem")).expect("it is PEM");
    let mut trust = Trust::default();
    for authority in ["prod.example", "spiffe://prod.example"] {
        let authority = Authority::parse(authority).expect("it is an authority");
        trust.add(authority, std::slice::from_ref(&root)).expect("it is a root");
    }
    Some((directory, dir, trust))
}

#[tokio::test]
async fn openssl_can_be_the_authority() {
    let Some((_directory, dir, trust)) = authority() else { return };
    let sign =
        format!("exec openssl x509 -req -CA {dir}/ca.pem -CAkey {dir}/ca.key -days 1 -copy_extensions copy");
    let source = script(&sign);
    let mail = MailAccount::parse(ACCOUNT).ok();
    let id = SpiffeId::parse("spiffe://prod.example/sa/cart").ok();
    let identities = [(mail.clone(), None), (None, id.clone()), (mail, id)];
    for (mail, id) in identities {
        let wanted = Identity::new(mail, id).expect("it has a name");
        let credentials = source.obtain(&wanted, SystemClock.now()).await.expect("openssl signs all");
        // It begins when openssl was run.
        let now = SystemClock.now();
        let checked = install::check(&credentials, &wanted, Origin::ExternalCa, &trust, now);
        assert!(checked.is_ok(), "{wanted}: {checked:?}");
        assert_eq!(credentials.identity(), &wanted);
    }
}

#[tokio::test]
async fn what_openssl_signs_otherwise_than_asked_is_not_used() {
    let Some((_directory, dir, trust)) = authority() else { return };
    let sign = format!("openssl x509 -req -CA {dir}/ca.pem -CAkey {dir}/ca.key");
    let usage = "keyUsage=critical,digitalSignature";
    let table = [
        (format!("subjectAltName=email:admin@prod.example\\n{usage}"), "-days 1", "certificate_foreign"),
        (
            format!("subjectAltName=email:{ACCOUNT},URI:spiffe://prod.example/x\\n{usage}"),
            "-days 1",
            "certificate_foreign",
        ),
        (format!("subjectAltName=URI:spiffe://prod.example/x\\n{usage}"), "-days 1", "certificate_foreign"),
        (format!("subjectAltName=email:{ACCOUNT}"), "-days 1", "peer_certificate_key_usage_wrong"),
        (usage.to_owned(), "-days 1", "peer_certificate_without_identity"),
        (
            format!("subjectAltName=email:{ACCOUNT}\\n{usage}\\nextendedKeyUsage=codeSigning"),
            "-days 1",
            "peer_certificate_purpose_wrong",
        ),
        (
            format!("subjectAltName=email:{ACCOUNT}\\n{usage}\\nbasicConstraints=CA:TRUE"),
            "-days 1",
            "peer_certificate_is_ca",
        ),
    ];
    for (extensions, days, code) in table {
        let text = format!("printf '{extensions}\\n' >{dir}/ext; exec {sign} {days} -extfile {dir}/ext");
        let wanted = identity();
        let found = match script(&text).obtain(&wanted, SystemClock.now()).await {
            Ok(credentials) => {
                install::check(&credentials, &wanted, Origin::ExternalCa, &trust, SystemClock.now())
                    .map_err(|refused| refused.code())
            }
            Err(error) => Err(error.code()),
        };
        assert_eq!(found, Err(code), "{extensions} {days}");
    }
    // Another authority's.
    let Some((_other_directory, other, _)) = authority() else { return };
    let text = format!(
        "exec openssl x509 -req -CA {other}/ca.pem -CAkey {other}/ca.key -days 1 -copy_extensions copy"
    );
    let wanted = identity();
    let credentials = script(&text).obtain(&wanted, SystemClock.now()).await.expect("openssl signs all");
    let now = SystemClock.now();
    let refused = install::check(&credentials, &wanted, Origin::ExternalCa, &trust, now)
        .map_err(|refused| refused.code());
    assert_eq!(refused, Err("peer_certificate_untrusted"));
}
