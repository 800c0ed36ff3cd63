use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Command,
    thread,
};

use alts_handshake::{MailAccount, SpiffeId, SystemRandom, Trust};
use tempfile::TempDir;

use super::*;

const NOW: u64 = 1_767_225_600;
const YEAR: u64 = 365 * 24 * 3_600;

fn at(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

fn random() -> Random {
    Arc::new(SystemRandom::new())
}

fn authorities() -> Vec<Authority> {
    let parse = |name| Authority::parse(name).expect("it is an authority");
    ["prod.example", "spiffe://prod.example"].map(parse).to_vec()
}

fn settings(directory: &Path) -> SigningSettings {
    SigningSettings {
        directory: directory.to_owned(),
        authorities: authorities(),
        lifetime: DEFAULT_LIFETIME,
    }
}

/// A directory that is not there yet.
fn place() -> (TempDir, SigningSettings) {
    let outer = tempfile::tempdir().expect("there is room");
    let settings = settings(&outer.path().join("ca"));
    (outer, settings)
}

fn identity(mail: Option<&str>, spiffe_id: Option<&str>) -> Identity {
    let mail = mail.map(|mail| MailAccount::parse(mail).expect("it is an account"));
    let spiffe_id = spiffe_id.map(|id| SpiffeId::parse(id).expect("it is a SPIFFE ID"));
    Identity::new(mail, spiffe_id).expect("it has a name")
}

fn mail() -> Identity {
    identity(Some("cart@prod.example"), None)
}

fn trust_of(service: &SigningService) -> Trust {
    let mut trust = Trust::default();
    for (authority, root) in service.roots() {
        trust.add(authority, &[root]).expect("the root is usable");
    }
    trust
}

fn in_memory() -> SigningService {
    SigningService::in_memory(authorities(), DEFAULT_LIFETIME, at(NOW), random()).expect("it needs nothing")
}

#[test]
fn a_leaf_has_exactly_the_names_asked_for_and_leads_to_the_root() {
    let service = in_memory();
    let (account, id) = ("cart@prod.example", "spiffe://prod.example/sa/cart");
    for wanted in [mail(), identity(None, Some(id)), identity(Some(account), Some(id))] {
        let credentials = service.issue(&wanted, at(NOW)).expect("it is one of its authorities");
        assert_eq!(credentials.identity(), &wanted);
        assert_eq!(trust_of(&service).check_own(&credentials, at(NOW)), Ok(()), "{wanted}");
        assert_eq!(credentials.validity(), (NOW - 60, NOW + 3_600));
        assert_eq!(credentials.certificate().chain_len, 2, "leaf and issuer");
    }
}

#[test]
fn every_leaf_has_a_key_and_a_serial_number_of_its_own() {
    let service = in_memory();
    let issue = || service.issue(&mail(), at(NOW)).expect("it is one of its authorities").certificate();
    let (one, other) = (issue(), issue());
    assert_ne!(&one.facts, &other.facts);
    assert_eq!((one.facts.serial.len(), other.facts.serial.len()), (32, 32), "16 bytes, none of them lost");
}

#[test]
fn names_of_other_authorities_are_refused_by_name() {
    let service = in_memory();
    let table = [
        (identity(Some("cart@other.example"), None), "not for other.example"),
        (identity(Some("cart@sub.prod.example"), None), "not for sub.prod.example"),
        (identity(None, Some("spiffe://other.example/cart")), "not for spiffe://other.example"),
        (
            identity(Some("cart@prod.example"), Some("spiffe://other.example/cart")),
            "not for spiffe://other.example",
        ),
        (identity(Some("cart@other.example"), Some("spiffe://prod.example/cart")), "not for other.example"),
    ];
    for (wanted, problem) in table {
        let error = service.issue(&wanted, at(NOW)).map(drop).expect_err("it is another's").to_string();
        assert!(error.contains(problem) && error.contains("prod.example, spiffe://prod.example"), "{error}");
    }
    // The domain of a mail account is no trust domain.
    let only_mail = vec![Authority::parse("prod.example").expect("it is an authority")];
    let service = SigningService::in_memory(only_mail, DEFAULT_LIFETIME, at(NOW), random());
    let service = service.expect("it needs nothing");
    assert!(service.issue(&identity(None, Some("spiffe://prod.example/x")), at(NOW)).is_err());
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    for seconds in [0, 1, 299, 86_401, u64::MAX] {
        let lifetime = Duration::from_secs(seconds);
        let service = SigningService::in_memory(authorities(), lifetime, at(NOW), random());
        assert!(matches!(service, Err(Error::Lifetime(found)) if found == lifetime), "{seconds}");
    }
    for seconds in [300, 86_400] {
        let lifetime = Duration::from_secs(seconds);
        let service = SigningService::in_memory(authorities(), lifetime, at(NOW), random());
        let credentials = service.expect("it is in range").issue(&mail(), at(NOW)).expect("it can issue");
        assert_eq!(credentials.validity().1, NOW + seconds);
    }
    let nobody = SigningService::in_memory(Vec::new(), DEFAULT_LIFETIME, at(NOW), random());
    let issued = nobody.expect("it may be there").issue(&mail(), at(NOW));
    assert!(matches!(issued, Err(Error::AuthorityForeign { .. })));
}

#[test]
fn the_issuer_is_renewed_at_half_of_its_life_and_leaves_are_good_for_ten_years() {
    let (_outer, settings) = place();
    let service = SigningService::create(&settings, at(NOW), random()).expect("there is room");
    let trust = trust_of(&service);
    let first = service.describe();
    let mut issuers = vec![first.issuer.clone()];
    // Every week until the last one of the root.
    for week in 0..(10 * 365 / 7) {
        let now = at(NOW + week * 7 * 24 * 3_600);
        let credentials = service.issue(&mail(), now).expect("the root is valid");
        assert_eq!(trust.check_own(&credentials, now), Ok(()), "week {week}");
        let issuer = service.describe().issuer;
        if issuers.last() != Some(&issuer) {
            issuers.push(issuer);
        }
    }
    assert!((19..=22).contains(&issuers.len()), "{}", issuers.len());
    let root = &first.root;
    assert!(issuers.iter().all(|issuer| issuer.not_after <= root.not_after));
    assert_eq!(service.describe().root, first.root);
    // What the files hold is what was used last.
    let reopened = SigningService::open(&settings, at(NOW), random()).expect("it is there");
    assert_eq!(reopened.describe(), service.describe());
    // Behind its end it says so, and makes no other.
    let error = service.issue(&mail(), at(NOW + 11 * YEAR)).map(drop).expect_err("the root is over");
    assert!(matches!(error, Error::RootNotValid { .. }), "{error}");
}

#[test]
fn an_issuer_that_cannot_be_renewed_issues_to_its_end() {
    let (_outer, settings) = place();
    let service = SigningService::create(&settings, at(NOW), random()).expect("there is room");
    let first = service.describe().issuer;
    // Where the new one would be written.
    let obstacle = settings.directory.join(".issuer.pem.new");
    fs::create_dir(&obstacle).expect("there is room");
    for now in [NOW + YEAR / 2 + 60, NOW + YEAR / 2 + 61, NOW + 3 * YEAR / 4, first.not_after - 600] {
        let credentials = service.issue(&mail(), at(now)).expect("the issuer is still valid");
        assert_eq!(trust_of(&service).check_own(&credentials, at(now)), Ok(()), "{now}");
        assert_eq!(service.describe().issuer, first);
    }
    let error = service.issue(&mail(), at(first.not_after + 1)).map(drop).expect_err("it is over");
    assert!(matches!(error, Error::State(_)), "{error}");
    // It is tried again before long, and not for each leaf.
    fs::remove_dir(&obstacle).expect("it is empty");
    let last = first.not_after - 600;
    assert!(service.issue(&mail(), at(last + 1)).is_ok_and(|leaf| leaf.validity().1 == first.not_after));
    service.issue(&mail(), at(last - 3_600)).expect("it is valid");
    assert_ne!(service.describe().issuer, first);
}

#[test]
fn a_directory_that_inherits_its_group_lets_nobody_in_by_that() {
    let (_outer, settings) = place();
    SigningService::create(&settings, at(NOW), random()).expect("there is room");
    chmod(&settings.directory, 0o2700);
    assert!(SigningService::open(&settings, at(NOW), random()).is_ok());
}

#[test]
fn a_leaf_does_not_outlive_the_root() {
    let service = in_memory();
    let end = service.describe().root.not_after;
    let credentials = service.issue(&mail(), at(end - 600)).expect("it is still valid");
    assert_eq!(credentials.validity().1, end);
}

#[test]
fn what_was_created_is_opened_again_and_nothing_is_made_anew() {
    let (_outer, settings) = place();
    assert!(matches!(
        SigningService::open(&settings, at(NOW), random()).map(drop),
        Err(Error::Missing { .. })
    ));
    assert!(!settings.directory.exists(), "to look changes nothing");
    let made = SigningService::open_or_create(&settings, at(NOW), random()).expect("there is room");
    let again = SigningService::create(&settings, at(NOW), random()).map(drop);
    assert!(matches!(again, Err(Error::Exists { .. })), "{again:?}");
    let opened = SigningService::open(&settings, at(NOW + 5), random()).expect("it is there");
    assert_eq!(opened.describe(), made.describe());
    assert_eq!(opened.root_pem(), made.root_pem());
    let credentials = opened.issue(&mail(), at(NOW)).expect("it can issue");
    assert_eq!(trust_of(&made).check_own(&credentials, at(NOW)), Ok(()));
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o7777;
    assert_eq!(mode(&settings.directory), 0o700);
    for name in [ROOT, ISSUER, "lock"] {
        assert_eq!(mode(&settings.directory.join(name)), 0o600, "{name}");
    }
    let names: Vec<_> = fs::read_dir(&settings.directory).expect("it is there").collect();
    assert_eq!(names.len(), 3, "no temporary file is left: {names:?}");
}

#[test]
fn many_at_once_get_the_same_root() {
    let (_outer, settings) = place();
    let open = || SigningService::open_or_create(&settings, at(NOW), random()).expect("there is room");
    let all: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| open().describe())).collect();
        threads.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
    });
    assert!(all.iter().all(|one| one == &all[0]), "{all:#?}");
    // And when the issuer is due, all get the same new one, by one file.
    let half = NOW + YEAR / 2 + 1;
    let services: Vec<_> = (0..4).map(|_| open()).collect();
    let renewed: Vec<_> = thread::scope(|scope| {
        let renew = |service: &SigningService| {
            service.issue(&mail(), at(half)).expect("it can issue");
            service.describe().issuer
        };
        let threads: Vec<_> = services.iter().map(|one| scope.spawn(move || renew(one))).collect();
        threads.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
    });
    assert!(renewed.iter().all(|one| one == &renewed[0] && *one != all[0].issuer), "{renewed:#?}");
}

/// What is wrong with a directory, and what it must say.
type Spoil = fn(&Path);

#[test]
fn a_state_directory_that_is_not_as_it_was_made_is_refused_and_left_alone() {
    let cases: &[(&str, Spoil)] = &[
        ("DIR has mode 0750, and others may not get at it; run: chmod 700 DIR", |dir| chmod(dir, 0o750)),
        ("DIR has mode 0701, ", |dir| chmod(dir, 0o701)),
        ("DIR/root.pem has mode 0640, and others may not get at it; run: chmod 600 DIR/root.pem", |dir| {
            chmod(&dir.join(ROOT), 0o640);
        }),
        ("DIR/issuer.pem has mode 0604, ", |dir| chmod(&dir.join(ISSUER), 0o604)),
        ("DIR/root.pem is broken: it holds no certificate; ", |dir| put(dir, ROOT, "")),
        ("DIR/root.pem is broken: its certificate is no PEM; ", |dir| {
            let text = text(dir, ROOT);
            put(dir, ROOT, &text[..text.len() / 4]);
        }),
        ("DIR/root.pem is broken: it holds no key; ", |dir| {
            let text = text(dir, ROOT);
            put(dir, ROOT, text.split("-----BEGIN PRIVATE").next().unwrap_or_default());
        }),
        ("DIR/root.pem is broken: its key is no PEM; ", |dir| {
            let text = text(dir, ROOT);
            put(dir, ROOT, &text[..text.len() - 40]);
        }),
        ("DIR/root.pem is broken: its key does not belong to its certificate; ", |dir| {
            let (root, issuer) = (text(dir, ROOT), text(dir, ISSUER));
            let key = issuer.find("-----BEGIN PRIVATE").expect("there is one");
            let end = root.find("-----BEGIN PRIVATE").expect("there is one");
            put(dir, ROOT, &format!("{}{}", &root[..end], &issuer[key..]));
        }),
        ("DIR/root.pem is broken: its certificate is no root; ", |dir| {
            let issuer = text(dir, ISSUER);
            put(dir, ROOT, &issuer);
        }),
        ("DIR/root.pem is broken: its certificate does not parse; ", |dir| {
            put(
                dir,
                ROOT,
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            );
        }),
        ("DIR/root.pem is no file", |dir| {
            fs::remove_file(dir.join(ROOT)).expect("it is there");
            fs::create_dir(dir.join(ROOT)).expect("there is room");
        }),
        ("DIR/root.pem cannot be used: ", |dir| {
            fs::rename(dir.join(ROOT), dir.join("elsewhere")).expect("it is there");
            symlink(dir.join("elsewhere"), dir.join(ROOT)).expect("there is room");
        }),
        ("DIR/root.pem has 65537 bytes; ", |dir| put(dir, ROOT, &"x".repeat((64 << 10) + 1))),
        ("DIR holds issuer.pem but no root.pem; ", |dir| {
            fs::remove_file(dir.join(ROOT)).expect("it is there");
        }),
        ("DIR holds passwords but no root.pem; ", |dir| {
            fs::remove_file(dir.join(ROOT)).expect("it is there");
            fs::rename(dir.join(ISSUER), dir.join("passwords")).expect("it is there");
        }),
        (
            "DIR/issuer.pem is broken: it holds no certificate; to have the root make another, run: rm DIR/issuer.pem",
            |dir| {
                put(dir, ISSUER, "");
            },
        ),
        ("DIR/issuer.pem is broken: it was not issued by the root; ", |dir| {
            let (_outer, other) = place();
            SigningService::create(&other, at(NOW), random()).expect("there is room");
            put(dir, ISSUER, &text(&other.directory, ISSUER));
        }),
        ("DIR is no directory", |dir| {
            fs::remove_dir_all(dir).expect("it is there");
            fs::write(dir, "").expect("there is room");
        }),
    ];
    let mut wrong = Vec::new();
    for (problem, spoil) in cases {
        let (_outer, settings) = place();
        SigningService::create(&settings, at(NOW), random()).expect("there is room");
        spoil(&settings.directory);
        let path = settings.directory.to_str().expect("it is UTF-8");
        let expected = problem.replace("DIR", path);
        let before = contents(&settings.directory);
        for found in [
            SigningService::open(&settings, at(NOW), random()).map(drop),
            SigningService::open_or_create(&settings, at(NOW), random()).map(drop),
        ] {
            let found = found.map_err(|error| error.to_string());
            if !found.as_ref().is_err_and(|found| found.starts_with(&expected)) {
                wrong.push(format!("expected {expected}\n  found    {found:?}"));
            }
        }
        assert_eq!(contents(&settings.directory), before, "{problem}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_node_that_has_a_store_already_can_begin_to_sign() {
    let (_outer, settings) = place();
    for store in ["store", "etcd-copy"] {
        fs::create_dir_all(settings.directory.join(store)).expect("there is room");
    }
    chmod(&settings.directory, 0o700);
    SigningService::open_or_create(&settings, at(NOW), random())
        .map(drop)
        .expect("a store is nothing to overwrite");
}

#[test]
fn who_is_to_make_a_new_root_is_not_told_to_remove_the_store() {
    let (_outer, settings) = place();
    SigningService::create(&settings, at(NOW), random()).expect("there is room");
    put(&settings.directory, ROOT, "");
    let error =
        SigningService::open(&settings, at(NOW), random()).map(drop).expect_err("it is broken").to_string();
    assert!(error.contains("or remove it and issuer.pem beside it and run: altsd ca init"), "{error}");
}

#[test]
fn another_users_directory_is_refused() {
    let settings = settings(Path::new("/"));
    let error = SigningService::open_or_create(&settings, at(NOW), random()).map(drop).expect_err("no way");
    // Who runs the tests as root owns it, and others may still look into it.
    assert!(matches!(error, Error::State(state::Error::Owner { .. } | state::Error::Mode { .. })), "{error}");
    let texts = [("chown -R 7 /x", state::Error::Owner { path: "/x".into(), owner: 8, us: 7 })];
    for (text, error) in texts {
        assert!(error.to_string().contains(text), "{error}");
    }
}

#[test]
fn a_creation_that_was_cut_short_is_finished_or_begun_again() {
    // Before anything was in its place.
    let (_outer, settings) = place();
    fs::create_dir(&settings.directory).expect("there is room");
    chmod(&settings.directory, 0o700);
    put(&settings.directory, ".root.pem.new", "half");
    let made = SigningService::open_or_create(&settings, at(NOW), random()).expect("nothing is lost");
    // Between the root and the issuer.
    fs::remove_file(settings.directory.join(ISSUER)).expect("it is there");
    put(&settings.directory, ".issuer.pem.new", "half");
    let opened = SigningService::open_or_create(&settings, at(NOW), random()).expect("the root is there");
    assert_eq!(opened.describe().root, made.describe().root);
    assert_ne!(opened.describe().issuer, made.describe().issuer);
    let credentials = opened.issue(&mail(), at(NOW)).expect("it can issue");
    assert_eq!(trust_of(&made).check_own(&credentials, at(NOW)), Ok(()));
}

#[test]
fn a_lock_that_another_process_holds_is_waited_for() {
    let (_outer, settings) = place();
    SigningService::create(&settings, at(NOW), random()).expect("there is room");
    let directory = Directory::open(&settings.directory, false).expect("it is ours");
    let lock = directory.lock().expect("nobody has it");
    thread::scope(|scope| {
        let opening = scope.spawn(|| SigningService::open(&settings, at(NOW), random()).map(drop));
        drop(lock);
        assert!(opening.join().expect("it does not panic").is_ok());
    });
}

#[test]
fn openssl_finds_the_chain_good() {
    let (_outer, settings) = place();
    let service = SigningService::create(&settings, at(NOW), random()).expect("there is room");
    let id = identity(Some("cart@prod.example"), Some("spiffe://prod.example/sa/cart"));
    let credentials = service.issue(&id, at(NOW)).expect("it can issue");
    let dir = &settings.directory;
    for (name, der) in ["leaf.der", "issuer.der"].iter().zip(credentials.chain_der()) {
        fs::write(dir.join(name), der).expect("there is room");
    }
    fs::write(dir.join("trusted.pem"), service.root_pem()).expect("there is room");
    let Some(text) = openssl(dir, &["x509", "-inform", "DER", "-in", "leaf.der", "-noout", "-text"]) else {
        return;
    };
    for expected in [
        "email:cart@prod.example, URI:spiffe://prod.example/sa/cart",
        "X509v3 Key Usage: critical\n                Digital Signature\n",
        "TLS Web Server Authentication, TLS Web Client Authentication\n",
        "X509v3 Subject Key Identifier",
        "X509v3 Authority Key Identifier",
        "CA:FALSE",
    ] {
        assert!(text.contains(expected), "{expected} is not in {text}");
    }
    openssl(dir, &["x509", "-inform", "DER", "-in", "issuer.der", "-out", "issuer.crt"]);
    openssl(dir, &["x509", "-inform", "DER", "-in", "leaf.der", "-out", "leaf.crt"]);
    let now = NOW.to_string();
    let verified = openssl(
        dir,
        &[
            "verify",
            "-x509_strict",
            "-attime",
            &now,
            "-CAfile",
            "trusted.pem",
            "-untrusted",
            "issuer.crt",
            "leaf.crt",
        ],
    );
    assert_eq!(verified.as_deref(), Some("leaf.crt: OK\n"));
    let root = openssl(dir, &["x509", "-in", "trusted.pem", "-noout", "-text", "-fingerprint", "-sha256"]);
    let root = root.expect("it is there");
    for expected in ["CA:TRUE, pathlen:1", "Certificate Sign, CRL Sign"] {
        assert!(root.contains(expected), "{expected} is not in {root}");
    }
    assert!(!root.contains("Name Constraints"), "{root}");
    let fingerprint = root.replace(':', "").to_lowercase();
    assert!(fingerprint.contains(&service.describe().root.fingerprint), "{root}");
}

/// What openssl printed; nothing if it is not here, which is said.
pub(in crate::identity) fn openssl(directory: &Path, arguments: &[&str]) -> Option<String> {
    let output = match Command::new("openssl").args(arguments).current_dir(directory).output() {
        Ok(output) => output,
        Err(problem) => {
            #[expect(
                clippy::disallowed_methods,
                reason = "the gate says by its environment that nothing is skipped"
            )]
            let in_ci = std::env::var_os("CI").is_some() || std::env::var_os("ALTSD_VECTORS").is_some();
            assert!(!in_ci, "openssl is needed here: {problem}");
            println!("skipped: there is no openssl: {problem}");
            return None;
        }
    };
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).expect("it is UTF-8"))
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
}

fn put(directory: &Path, name: &str, text: &str) {
    fs::write(directory.join(name), text).expect("there is room");
    chmod(&directory.join(name), 0o600);
}

fn text(directory: &Path, name: &str) -> String {
    fs::read_to_string(directory.join(name)).expect("it is there")
}

/// Every file but the lock, with its content.
fn contents(directory: &Path) -> Vec<(PathBuf, Option<String>)> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut all: Vec<_> = entries
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| !path.ends_with("lock"))
        .map(|path| (path.clone(), fs::read_to_string(path).ok()))
        .collect();
    all.sort();
    all
}
