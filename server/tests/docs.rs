//! Documents and code say the same: the configurations of docs/CONFIGURING.md are valid, and the reason codes of
//! docs/PROTOCOL.md are those that exist.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use alts_handshake::{Alert, Reason, SetupReason};
use rcgen::SanType;
use strum::IntoEnumIterator;
use tempfile::TempDir;
use toml::{Table, Value};

use self::pki::{Pki, write};

#[path = "support/pki.rs"]
mod pki;

const CONFIGURING: &str = include_str!("../../docs/CONFIGURING.md");
const PROTOCOL: &str = include_str!("../../docs/PROTOCOL.md");
const OPERATING: &str = include_str!("../../docs/OPERATING.md");
const TOKENS: &str = include_str!("../../docs/TOKENS.md");

/// A set of the keys of RFC 7515, appendix A.3.
const KEY_SET: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"1","alg":"ES256",
"x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

/// Made for these tests: the daemon makes none.
const RSA_KEY: &str = include_str!("support/rsa.pem");

/// Where the guide says that its complete configuration is.
const INSTALLED: &str = "/etc/altsd";

#[test]
fn every_configuration_of_the_guide_is_valid() {
    let configurations = blocks("toml");
    assert!(
        configurations.len() >= 3,
        "the guide has a small and a complete configuration, and one with a CA"
    );
    for text in configurations {
        let directory = installed(text);
        let (code, stdout, stderr) = altsd(&["validate", "--config"], &directory);
        if text.contains("engine = \"etcd\"") && !cfg!(feature = "etcd") {
            assert_eq!(code, Some(78));
            assert!(stderr.contains("this altsd is built without etcd"), "{stderr}");
            continue;
        }
        assert_eq!(code, Some(0), "{stderr}\n{text}");
        assert!(stdout.contains(" is valid\n"), "{stdout}");
    }
}

#[test]
fn the_output_of_validate_in_the_guide_is_that_of_its_complete_configuration() {
    let directory = installed(complete());
    let (_, stdout, _) = altsd(&["validate", "--config"], &directory);
    let shown = blocks("text");
    assert_eq!(without_dates(shown[0]), without_dates(&at_home(&stdout, &directory)));

    let key = directory.path().join("batch.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("the file is ours");
    let (code, _, stderr) = altsd(&["validate", "--config"], &directory);
    assert_eq!((code, shown[1]), (Some(78), &*at_home(&stderr, &directory)));
}

#[test]
fn the_configurations_of_the_guide_have_every_key_with_its_default() {
    let keys = include_str!("../src/config/raw.rs")
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub(super) ")?.split_once(": "))
        .map(|(key, _)| key)
        .filter(|key| !key.starts_with("fn "));
    for key in keys {
        // Some exclude each other.
        let found = blocks("toml").into_iter().flat_map(str::lines).any(|line| {
            line.starts_with(&format!("{key} = "))
                || line.starts_with('[') && line.trim_matches(['[', ']']).split('.').any(|part| part == key)
        });
        assert!(found, "{key} is in no configuration");
    }
    let (_, help, _) = altsd(&["run", "--help"], &tempfile::tempdir().expect("there is room"));
    let mut defaults = 0;
    // A flag of a limit, its text with the default in it, and its variable.
    for part in help.split("\n      --").skip(1) {
        let (Some((flag, _)), Some((_, default))) = (part.split_once(' '), part.split_once(" [default: "))
        else {
            continue;
        };
        let (Some((default, _)), Some((_, variable))) = (default.split_once(']'), part.split_once("[env: "))
        else {
            continue;
        };
        let line = format!("{} = {default}\n", flag.replace('-', "_"));
        if default.parse::<u32>().is_ok() {
            defaults += 1;
            assert!(complete().contains(&line), "{line}");
            let variable = variable.split('=').next().unwrap_or_default();
            assert!(CONFIGURING.contains(&format!("`--{flag}` | `{variable}` |")), "{flag} {variable}");
        }
    }
    assert_eq!(defaults, 7, "{help}");
}

#[test]
fn the_table_of_reasons_lists_every_reason_that_exists_and_no_other() {
    let rows = reason_rows();
    let listed: BTreeSet<_> = rows.iter().map(|row| row[0].clone()).collect();
    assert_eq!(listed.len(), rows.len(), "a reason is listed twice");
    let engine = Reason::iter().map(|reason| reason.code().to_owned());
    let setup = SetupReason::iter().map(|reason| <&str>::from(reason).to_owned());
    let service = reasons_of_the_service();
    assert!(service.len() >= 10, "{service:?}");
    let existing: BTreeSet<_> = engine.chain(setup).chain(service).collect();
    let missing: Vec<_> = existing.difference(&listed).collect();
    let invented: Vec<_> = listed.difference(&existing).collect();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "not in the table: {missing:?}; only there: {invented:?}"
    );
}

#[test]
fn the_table_of_reasons_names_the_alert_that_the_peer_gets() {
    let alerts: BTreeMap<_, _> = Reason::iter().map(|reason| (reason.code(), reason.alert())).collect();
    for row in reason_rows() {
        let alert = alerts.get(&*row[0]).copied().flatten().map_or("–", <&str>::from);
        assert_eq!(row[3], alert, "{}", row[0]);
    }
    for alert in Alert::iter() {
        let line = format!("\n| {} | {} | ", alert.code(), <&str>::from(alert));
        assert!(PROTOCOL.contains(&line), "{line}");
    }
}

#[test]
fn the_table_of_metrics_lists_every_metric_that_exists_and_no_other() {
    let (source, _) =
        include_str!("../src/metrics.rs").split_once("#[cfg(test)]").expect("production code comes first");
    let named = source.match_indices("\"altsd_").filter_map(|(at, _)| literal(&source[at..]));
    let existing: Vec<_> = named.collect();
    let (_, table) = OPERATING.split_once("## Metrics\n").expect("there is a table of metrics");
    let (table, _) = table.split_once("\n## ").expect("something follows");
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .map(|row| row.split('|').map(|cell| cell.trim().trim_matches('`')).collect())
        .collect();
    let listed: BTreeSet<_> = rows.iter().map(|row| row[0]).collect();
    assert_eq!(listed.len(), rows.len(), "a metric is listed twice");
    assert_eq!(listed, existing.iter().map(String::as_str).collect());
    assert!(existing.len() >= 9, "{existing:?}");
    for row in rows {
        // The constant of this name, and the kind it is described with.
        let (before, _) = source.split_once(&format!("= \"{}\"", row[0])).expect("it exists");
        let constant =
            before.rsplit("const ").next().and_then(|text| text.split(':').next()).unwrap_or_default();
        let kind = source.split_once(&format!("({constant}, Kind::")).map(|(_, rest)| rest).or_else(|| {
            // The formatter breaks long rows.
            let (_, rest) = source.split_once(&format!("        {constant},\n        Kind::"))?;
            Some(rest)
        });
        let kind = kind.and_then(|rest| rest.split(',').next()).unwrap_or_default();
        assert_eq!(row[1], kind.to_lowercase(), "{}", row[0]);
    }
}

#[test]
fn the_table_of_the_audit_trail_lists_every_field_that_a_line_can_have_and_no_other() {
    let lines = [
        (include_str!("../src/audit/record/handshake.rs"), "struct Fields<'r> {"),
        (include_str!("../src/audit/record/token.rs"), "struct TokenRecord {"),
        (include_str!("../src/audit/record/line.rs"), "struct DroppedLine {"),
    ];
    let fields = lines.map(|(source, begin)| {
        let (_, rest) = source.split_once(begin).expect("there is such a line");
        let (fields, _) = rest.split_once("\n}").expect("it has an end");
        let name = |line: &str| {
            let (name, _) = line.trim().split_once(": ")?;
            Some(name.trim_start_matches("pub(crate) ").to_owned())
        };
        fields
            .lines()
            .filter(|line| !line.trim().starts_with(['#', '/']))
            .filter_map(name)
            .collect::<BTreeSet<_>>()
    });
    assert!(fields[..2].iter().all(|fields| fields.len() >= 10), "{fields:?}");
    let existing: BTreeSet<_> = fields.into_iter().flatten().collect();
    let (_, section) = OPERATING.split_once("## Audit trail\n").expect("there is a section");
    let (section, _) = section.split_once("\n## ").expect("something follows");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" |"));
    let listed = rows.flat_map(|(names, _)| names.split(", ")).map(|name| name.trim_matches('`').to_owned());
    assert_eq!(listed.collect::<BTreeSet<_>>(), existing);
    // The examples have only fields that exist.
    let (_, examples) = section.split_once("```json\n").expect("there are examples");
    let (examples, _) = examples.split_once("```").expect("they end");
    for line in examples.lines() {
        let line: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(line).expect("it is JSON");
        let unknown: Vec<_> = line.keys().filter(|name| !existing.contains(*name)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
}

#[test]
fn the_table_of_tokens_lists_every_reason_that_exists_and_no_other() {
    let (_, table) = TOKENS.split_once("\n## Reasons\n").expect("there is a table of reasons");
    let first_cells = table.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let names = first_cells.flat_map(|cell| cell.split(", ")).map(|name| name.trim_matches('`').to_owned());
    let names: Vec<String> = names.collect();
    let listed: BTreeSet<_> = names.iter().cloned().collect();
    assert_eq!(listed.len(), names.len(), "a reason is listed twice");
    let existing = reasons_of_tokens();
    let missing: Vec<_> = existing.difference(&listed).collect();
    let invented: Vec<_> = listed.difference(&existing).collect();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "not in the table: {missing:?}; only there: {invented:?}"
    );
}

/// Every literal in the rooms that refuse tokens that looks like a reason, but for names of parameters and of OAuth.
fn reasons_of_tokens() -> BTreeSet<String> {
    let server = Path::new(env!("CARGO_MANIFEST_DIR"));
    let token = server.join("src/token");
    let files = [
        "door",
        "error",
        "exchange",
        "own",
        "prove",
        "rule",
        "metadata/answer",
        "issuers/claims",
        "issuers/template",
    ];
    let files = files.iter().map(|file| token.join(file).with_extension("rs"));
    let mut reasons = BTreeSet::new();
    for file in files.chain([server.join("request-auth/src/error.rs")]) {
        let text = fs::read_to_string(&file).expect("it can be read");
        let production = text.split("#[cfg(test)]").next().unwrap_or_default();
        // What stands between two literals is no name.
        let literals = production.split('"');
        let is_name = |text: &&str| {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            text.contains('_') && text.bytes().all(plain) && !text.starts_with('_')
        };
        reasons.extend(literals.filter(is_name).map(str::to_owned));
    }
    for other in NO_REASONS {
        reasons.remove(other);
    }
    reasons
}

/// Names of parameters, of members of answers, and of the errors of OAuth.
const NO_REASONS: [&str; 13] = [
    "access_token",
    "actor_token",
    "expires_in",
    "invalid_client",
    "invalid_request",
    "invalid_scope",
    "invalid_target",
    "may_act",
    "subject_token",
    "temporarily_unavailable",
    "token_type",
    "unauthorized_client",
    "unsupported_grant_type",
];

#[test]
fn the_guide_for_operators_shows_commands_that_exist() {
    let commands = OPERATING.lines().filter_map(|line| line.trim().strip_prefix("$ altsd "));
    let mut shown = 0;
    for command in commands {
        shown += 1;
        let mut words = words(command);
        words.push("--help".to_owned());
        let Output { status, stderr, .. } = Command::new(env!("CARGO_BIN_EXE_altsd"))
            .env_clear()
            .args(&words)
            .output()
            .expect("it was built");
        assert!(status.success(), "{command}: {}", String::from_utf8_lossy(&stderr));
    }
    assert!(shown >= 6, "{shown}");
}

#[test]
fn the_table_of_the_admin_api_lists_every_reason_that_exists_and_no_other() {
    let (_, table) = OPERATING.split_once("### The admin API\n").expect("there is a section");
    let (table, _) = table.split_once("\n## ").expect("something follows");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" | "));
    let listed: BTreeSet<_> = rows
        .flat_map(|(reasons, _)| reasons.split(", "))
        .map(|reason| reason.trim_matches('`').to_owned())
        .collect();
    let existing = reasons_of_the_admin_api();
    let missing: Vec<_> = existing.difference(&listed).collect();
    let invented: Vec<_> = listed.difference(&existing).collect();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "not in the table: {missing:?}; only there: {invented:?}"
    );
}

/// Every reason that stands as a literal where the admin API refuses, and those of the policy and the store.
fn reasons_of_the_admin_api() -> BTreeSet<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin");
    let mut reasons = BTreeSet::from(["admin_denied".to_owned()]);
    for directory in [directory.clone(), directory.join("revocations"), directory.join("shelf")] {
        for entry in fs::read_dir(directory).expect("it is there") {
            let path = entry.expect("it can be listed").path();
            if path.is_dir() || path.file_name().is_some_and(|name| name == "tests.rs") {
                continue;
            }
            let source = fs::read_to_string(&path).expect("it can be read");
            let source = source.split("#[cfg(test)]").next().unwrap_or_default();
            // `refuse(code, "reason", …)`, `invalid("reason", …)`, and constants of kinds.
            let calls = after(source, "refuse(").filter(|(declared, _)| !declared);
            let of_calls = calls.filter_map(|(_, text)| literal(text.split_once(", ")?.1));
            let of_check = after(source, "invalid(").filter_map(|(_, text)| literal(text));
            let of_kinds = after(source, "UNKNOWN: &'static str =").filter_map(|(_, text)| literal(text));
            let of_tables = after(source, "=> (Code::")
                .filter_map(|(_, text)| literal(text.split_once(", ")?.1))
                .filter(|reason| reason.contains('_'));
            reasons.extend(of_calls.chain(of_check).chain(of_kinds).chain(of_tables));
        }
    }
    let tables = [
        (include_str!("../src/policy/problem.rs"), "fn code(&self)"),
        (include_str!("../../store/src/lib.rs"), "fn reason(&self)"),
        (include_str!("../src/token/keyring/files.rs"), "fn code(&self)"),
    ];
    for (source, function) in tables {
        let (_, table) = source.split_once(function).expect("each error has a reason");
        let (table, _) = table.split_once("\n    }\n").expect("it ends");
        reasons.extend(after(table, "=> ").filter_map(|(_, text)| literal(text)));
    }
    // A conflict of the store is told as one of revisions.
    reasons.remove("store_conflict");
    reasons.insert("revision_conflict".to_owned());
    reasons
}

/// The words of a line, as far as the guide uses a shell: quotes, and nothing from a pipe or a file on.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for char in line.chars() {
        match char {
            '\'' => quoted = !quoted,
            '|' | '>' if !quoted => break,
            ' ' if !quoted => words.push(std::mem::take(&mut word)),
            char => word.push(char),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

/// The cells of each row of the table.
fn reason_rows() -> Vec<Vec<String>> {
    let (_, table) = PROTOCOL.split_once("### Reason codes\n").expect("there is a table of reasons");
    let (table, _) = table.split_once("\n## ").expect("something follows");
    let cells = |row: &str| row.split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect();
    table.lines().filter_map(|line| line.strip_prefix("| `")).map(cells).collect()
}

/// Every reason that stands as a literal in the service, before the tests of each file.
fn reasons_of_the_service() -> BTreeSet<String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    // Why it is not known who calls.
    let (_, attestation) = include_str!("../src/attest/error.rs")
        .split_once("fn reason(&self)")
        .expect("each of its errors has a reason");
    let mut reasons: BTreeSet<_> = after(attestation, "=> ").filter_map(|(_, text)| literal(text)).collect();
    assert!(reasons.len() >= 5, "{reasons:?}");
    let entries = ["handshaker", "listen"].map(|room| fs::read_dir(source.join(room)).expect("it is a room"));
    for entry in entries.into_iter().flatten() {
        let path = entry.expect("it can be listed").path();
        let text = fs::read_to_string(&path).expect("it is text");
        let production = text.split("#[cfg(test)]").next().unwrap_or_default();
        // The constructors of a refusal, with the arguments before the reason.
        for (constructor, before) in [("of_request(", 1), ("of_limit(", 1), ("misplaced(", 0)] {
            for (declared, arguments) in after(production, constructor) {
                let reason = arguments.splitn(before + 2, ',').nth(before).unwrap_or_default().trim();
                match literal(reason) {
                    Some(reason) => _ = reasons.insert(reason),
                    // A reason that was found elsewhere, handed on.
                    None => assert!(
                        declared || ["reason", "error.code()", "error.reason()"].contains(&reason),
                        "{}: {constructor}…{reason}…) has a reason that this test cannot read",
                        path.display()
                    ),
                }
            }
        }
        reasons.extend(after(production, "reason = ").filter_map(|(_, text)| literal(text)));
        // The end of an RPC, whose text begins with the reason.
        for (_, arguments) in after(production, "Status::unavailable(format!(") {
            let text = literal(arguments).expect("it has a text");
            reasons.insert(text.split(':').next().unwrap_or_default().to_owned());
        }
    }
    reasons
}

/// What follows each `word`, and whether the word is declared there.
fn after<'t>(text: &'t str, word: &'t str) -> impl Iterator<Item = (bool, &'t str)> {
    text.match_indices(word)
        .map(move |(at, _)| (text[..at].ends_with("fn "), text[at + word.len()..].trim_start()))
}

/// The string literal that `text` begins with.
fn literal(text: &str) -> Option<String> {
    let (literal, _) = text.strip_prefix('"')?.split_once('"')?;
    Some(literal.to_owned())
}

/// The blocks of the guide in this language.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("\n```{language}\n");
    let mut rest = CONFIGURING;
    let mut blocks = Vec::new();
    while let Some((_, begun)) = rest.split_once(&fence) {
        let end = begun.find("```").expect("a block has an end");
        blocks.push(&begun[..end]);
        rest = &begun[end..];
    }
    blocks
}

fn complete() -> &'static str {
    blocks("toml")[1]
}

/// A directory with this configuration and every file it names.
fn installed(configuration: &str) -> TempDir {
    let directory = tempfile::tempdir().expect("there is room");
    let pki = Pki::new();
    write(directory.path(), "altsd.toml", configuration);
    let table: Table = configuration.parse().expect("it is TOML");
    for identity in tables(&table, "identity") {
        let account = text(identity, "account");
        let leaf = pki.leaf_with("replaced@prod.example", |leaf| {
            let name = account.try_into().expect("it is ASCII");
            let uri = account.starts_with("spiffe://");
            leaf.subject_alt_names = vec![if uri { SanType::URI(name) } else { SanType::Rfc822Name(name) }];
        });
        write(directory.path(), text(identity, "certificate_chain"), &leaf.certificate);
        write(directory.path(), text(identity, "private_key"), &leaf.key);
    }
    for trust in tables(&table, "trust") {
        for file in trust["roots"].as_array().expect("roots are a list") {
            write(directory.path(), file.as_str().expect("a file is a string"), &pki.root());
        }
        for file in trust.get("crls").and_then(Value::as_array).into_iter().flatten() {
            write(directory.path(), file.as_str().expect("a file is a string"), &pki.crl(&[]));
        }
    }
    if let Some(etcd) = table.get("store").and_then(|store| store.get("etcd")).and_then(Value::as_table) {
        let client = pki.leaf_with("replaced@prod.example", |_| {});
        write(directory.path(), text(etcd, "ca_certificates"), &pki.root());
        write(directory.path(), text(etcd, "client_certificate"), &client.certificate);
        write(directory.path(), text(etcd, "client_key"), &client.key);
        write(directory.path(), text(etcd, "password_file"), "a password\n");
    }
    if let Some(token) = table.get("token").and_then(Value::as_table) {
        for issuer in tables(token, "trusted_issuer") {
            if issuer.contains_key("ca_certificates") {
                write(directory.path(), text(issuer, "ca_certificates"), &pki.root());
            }
            if issuer.contains_key("jwks_file") {
                write(directory.path(), text(issuer, "jwks_file"), KEY_SET);
            }
        }
        if token.get("keys").is_some_and(|keys| keys.get("private_key").is_some()) {
            write(
                directory.path(),
                text(token["keys"].as_table().expect("it is a table"), "private_key"),
                RSA_KEY,
            );
        }
    }
    let files = table["policy"].get("files").and_then(Value::as_array);
    for file in files.into_iter().flatten() {
        let file = file.as_str().expect("a file is a string");
        let [document] = blocks(&format!("toml title={file}"))[..] else {
            panic!("the guide shows {file} once")
        };
        write(directory.path(), file, document);
    }
    directory
}

fn tables<'t>(table: &'t Table, key: &str) -> impl Iterator<Item = &'t Table> {
    let list = table.get(key).map(|list| list.as_array().expect("it is a list"));
    list.into_iter().flatten().map(|table| table.as_table().expect("it is a table"))
}

fn text<'t>(table: &'t Table, key: &str) -> &'t str {
    table[key].as_str().expect("it is a string")
}

/// Exit code and output. After `--config` comes the file of the directory.
fn altsd(arguments: &[&str], directory: &TempDir) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_altsd"));
    // Variables of whoever runs the tests are no part of them.
    command.env_clear().args(arguments);
    if arguments.last() == Some(&"--config") {
        command.arg(directory.path().join("altsd.toml"));
    }
    let Output { status, stdout, stderr } = command.output().expect("it was built");
    let text = |bytes| String::from_utf8(bytes).expect("it writes UTF-8");
    (status.code(), text(stdout), text(stderr))
}

/// An output as it would be where the guide says.
fn at_home(output: &str, directory: &TempDir) -> String {
    output.replace(directory.path().to_str().expect("it is UTF-8"), INSTALLED)
}

fn without_dates(output: &str) -> String {
    let line = |line: &str| line.split(" expires ").next().unwrap_or_default().to_owned();
    output.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// The load tester is a program too.
#[test]
fn what_a_newcomer_runs_is_altsd() {
    let readme = include_str!("../../README.md");
    assert!(readme.contains("\ncargo run --release -- run --dev\n"), "the README has another first command");
    let manifest: Table = include_str!("../../Cargo.toml").parse().expect("it is TOML");
    assert_eq!(manifest["workspace"]["default-members"], Value::from(vec!["server"]));
}
