//! `altsd exec` on the real kernel: what the program sees, and that the machine stays as it is.

use std::{
    fs,
    os::unix::{
        fs::PermissionsExt,
        process::{CommandExt, ExitStatusExt},
    },
    process::{Command, Output},
};

use tempfile::TempDir;

const PRODUCT_NAME: &str = "/sys/class/dmi/id/product_name";
const NAMES: &str = "metadata.google.internal metadata.google.internal.";

/// A user with no rights at all.
const NOBODY: u32 = 65_534;

fn exec(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_altsd"));
    command.arg("exec").args(arguments);
    command
}

fn output(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("it was built");
    let text = |bytes| String::from_utf8(bytes).expect("it is UTF-8");
    (status.code(), text(stdout), text(stderr))
}

/// Whether `probe`, which only runs `true`, may not do so on this kernel. Says why.
fn forbidden(probe: &mut Command) -> bool {
    let (code, _, stderr) = output(probe);
    let forbidden = code == Some(1) && (stderr.contains("forbids") || stderr.contains("refuses"));
    if forbidden {
        eprintln!("skipped: {stderr}");
    } else {
        assert_eq!((code, &*stderr), (Some(0), ""));
    }
    forbidden
}

fn machine() -> (Result<String, String>, String, Vec<String>) {
    let product = fs::read_to_string(PRODUCT_NAME).map_err(|error| error.to_string());
    let hosts = fs::read_to_string("/etc/hosts").expect("every machine has one");
    (product, hosts, classes())
}

fn classes() -> Vec<String> {
    let entry = |entry: std::io::Result<fs::DirEntry>| {
        entry.expect("it can be read").file_name().into_string().expect("it is ASCII")
    };
    let mut classes: Vec<_> = fs::read_dir("/sys/class").expect("sysfs is mounted").map(entry).collect();
    classes.sort();
    classes
}

#[test]
fn the_program_sees_google_s_product_and_the_handshaker_s_address_and_the_machine_does_not() {
    if forbidden(&mut exec(&["true"])) {
        return;
    }
    let before = machine();
    let look = format!("cat {PRODUCT_NAME} /etc/hosts");
    let (code, seen, stderr) =
        output(&mut exec(&["--handshaker", "127.0.0.7:8080", "--", "sh", "-c", &look]));
    assert_eq!((code, &*stderr), (Some(0), ""));
    let hosts = format!("127.0.0.7 {NAMES}\n::ffff:127.0.0.7 {NAMES}\n");
    assert!(seen.starts_with("Google Compute Engine\n") && seen.ends_with(&hosts), "{seen}");
    for line in before.1.lines().filter(|line| !line.contains("metadata.google.internal")) {
        assert!(seen.contains(line), "{line}");
    }
    assert_eq!(machine(), before);
}

#[test]
fn every_entry_of_sys_class_stays_and_leads_where_it_led() {
    if forbidden(&mut exec(&["true"])) {
        return;
    }
    let list = |command: &mut Command| {
        let (code, seen, stderr) = output(command);
        assert_eq!((code, &*stderr), (Some(0), ""));
        seen.lines().filter(|line| !line.contains("/dmi")).map(str::to_owned).collect::<Vec<_>>()
    };
    // An entry of a class is a link out of it: both its target and what is behind it must be as before.
    let script = "for each in /sys/class/* /sys/class/net/*/address; do echo $each; cat $each 2>&1; done";
    let outside = list(Command::new("sh").args(["-c", script]));
    let inside = list(&mut exec(&["sh", "-c", script]));
    assert_eq!(inside, outside);
}

#[test]
fn an_exec_inside_an_exec_counts_alone() {
    if forbidden(&mut exec(&["true"])) {
        return;
    }
    // The inner one finds the product's file there, as on a machine with DMI.
    let look = format!("cat {PRODUCT_NAME} /etc/hosts");
    let inner = ["--handshaker", "127.0.0.9:8080", env!("CARGO_BIN_EXE_altsd"), "exec", "sh", "-c", &look];
    let (code, seen, stderr) = output(&mut exec(&inner));
    assert_eq!((code, &*stderr), (Some(0), ""));
    assert!(seen.starts_with("Google Compute Engine\n"), "{seen}");
    assert!(seen.ends_with(&format!("127.0.0.1 {NAMES}\n::ffff:127.0.0.1 {NAMES}\n")), "{seen}");
    assert!(!seen.contains("127.0.0.9"), "{seen}");
}

#[test]
fn a_user_without_rights_runs_it_as_the_same_user_and_still_without_rights() {
    let directory = TempDir::new().expect("there is room");
    let open_for_all = |path: &std::path::Path| {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    };
    open_for_all(directory.path());
    let program = directory.path().join("altsd");
    // By another process: what this one has open for writing, programs that other tests are just starting have too,
    // and the kernel does not run it.
    let mut install = Command::new("install");
    install.args(["-m", "755", env!("CARGO_BIN_EXE_altsd")]).arg(&program);
    assert!(install.status().expect("coreutils are there").success());
    let as_nobody = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.arg("exec").args(arguments).current_dir("/");
        if fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0) {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    };
    if forbidden(&mut as_nobody(&["true"])) {
        return;
    }
    let look = format!("cat {PRODUCT_NAME}; id -u; grep CapEff /proc/self/status");
    let (code, seen, stderr) = output(&mut as_nobody(&["sh", "-c", &look]));
    assert_eq!((code, &*stderr), (Some(0), ""));
    let lines: Vec<_> = seen.lines().collect();
    assert_eq!(lines[0], "Google Compute Engine");
    assert_ne!(lines[1], "0");
    assert_eq!(lines[2], "CapEff:\t0000000000000000");
}

#[test]
fn exit_code_and_signal_are_the_program_s() {
    if forbidden(&mut exec(&["true"])) {
        return;
    }
    assert_eq!(output(&mut exec(&["sh", "-c", "exit 42"])).0, Some(42));
    let status = exec(&["sh", "-c", "kill -TERM $$"]).status().expect("it was built");
    assert_eq!(status.signal(), Some(15));
}

#[test]
fn arguments_reach_the_program_as_they_are() {
    if forbidden(&mut exec(&["true"])) {
        return;
    }
    for arguments in
        [&["printf", "%s|", "--handshaker", "-x", "--", "a b"][..], &["--", "printf", "%s|", "--help"]]
    {
        let (code, seen, _) = output(&mut exec(arguments));
        let expected = if arguments[0] == "--" { "--help|" } else { "--handshaker|-x|--|a b|" };
        assert_eq!((code, &*seen), (Some(0), expected));
    }
}

#[test]
fn the_handshaker_is_kept_from_every_proxy() {
    if forbidden(&mut exec(&["true"])) {
        return;
    }
    let mut command = exec(&["sh", "-c", "echo \"$no_proxy $NO_PROXY\""]);
    command.env("no_proxy", "a.example").env("NO_PROXY", "b.example");
    let names = NAMES.replace(' ', ",");
    assert_eq!(output(&mut command).1, format!("a.example,{names} b.example,{names}\n"));
}

#[test]
fn a_program_that_is_not_there_is_127_and_one_that_cannot_run_126() {
    if forbidden(&mut exec(&["true"])) {
        return;
    }
    for (program, expected) in
        [("altsd-test-no-such-program", 127), ("/nowhere/program", 127), ("/etc/hosts", 126), ("/etc", 126)]
    {
        // Directories that the kernel lets nobody look into would make a missing program one that cannot run.
        let (code, stdout, stderr) = output(exec(&[program]).env("PATH", "/usr/bin:/bin"));
        assert_eq!((code, &*stdout), (Some(expected), ""), "{program}");
        assert!(stderr.contains(program) && stderr.lines().count() == 1, "{stderr}");
    }
}
