//! Selectors of a program that calls: its file, its control group, its pod; over a unix socket and over TCP.

mod support;

use std::{
    ffi::OsString,
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use nix::unistd::geteuid;
use serde_json::Value;
use tempfile::TempDir;

use self::support::{
    daemon::{altsd, install},
    node::{Node, output},
    pki::write,
};

const ACCOUNT: &str = "app@x.example";

/// Serves one workload. `more` stands behind all.
fn serve(directory: TempDir, selectors: &[String], more: &str) -> Node {
    let config = format!(
        "[signing_service]\nauthorities = [\"x.example\"]\n\
         [[workload]]\nservice_account = \"{ACCOUNT}\"\nselectors = {selectors:?}\n{more}"
    );
    Node::start_in(directory, &config)
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("there is room")
}

/// A program that calls: `altsd whoami`, and how it is started.
struct Caller<'a> {
    program: &'a Path,
    group: Option<&'a Group>,
}

impl Caller<'_> {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = match self.group {
            None => Command::new(self.program),
            // It goes into the group by itself, and then becomes the program.
            Some(group) => {
                let mut command = Command::new("/bin/sh");
                command.args(["-c", "echo $$ >\"$0\" && exec \"$@\""]);
                command.arg(group.0.join("cgroup.procs")).arg(self.program);
                command
            }
        };
        command.env_clear().args(arguments);
        command
    }

    /// What it is to this node, the same over both transports: its accounts, and what was found out about it.
    fn told(&self, node: &Node) -> (Vec<String>, Vec<String>) {
        let told = node.handshakers().map(|handshaker| {
            let arguments = ["whoami", "--handshaker", &handshaker, "--output", "json"];
            let (code, stdout, stderr) = output(self.command(&arguments));
            let told: Value = serde_json::from_str(&stdout).expect(&stderr);
            let all = |name: &str| -> Vec<String> {
                let list = told[name].as_array().expect("it is a list");
                list.iter().map(|one| one.as_str().expect("it is a text").to_owned()).collect()
            };
            let accounts = all("accounts");
            assert_eq!(code, Some(i32::from(accounts.is_empty())), "{told}");
            if accounts.is_empty() {
                assert_eq!(told["denial"]["reason"], "workload_unknown", "{told}");
            }
            let (code, _, stderr) = output(self.command(&["handshake", "--handshaker", &handshaker]));
            assert_eq!(code == Some(0), !accounts.is_empty(), "{stderr}");
            (accounts, all("selectors"))
        });
        assert_eq!(told[0], told[1], "the transport makes no difference");
        let [told, _] = told;
        told
    }

    fn is_the_workload(&self, node: &Node) -> bool {
        let (accounts, found) = self.told(node);
        assert!(accounts.is_empty() || accounts == [ACCOUNT], "{found:?}");
        !accounts.is_empty()
    }
}

fn caller(program: &Path) -> Caller<'_> {
    Caller { program, group: None }
}

/// A copy of altsd.
fn copy(directory: &TempDir, name: &str) -> PathBuf {
    let path = fs::canonicalize(directory.path()).expect("it is there").join(name);
    install(Path::new(env!("CARGO_BIN_EXE_altsd")), &path);
    path
}

#[test]
fn a_path_is_that_very_file_and_no_copy_link_or_successor_of_it() {
    let directory = directory();
    let (right, wrong) = (copy(&directory, "right"), copy(&directory, "wrong"));
    let link = right.with_file_name("link");
    std::os::unix::fs::symlink(&right, &link).expect("there is room");
    let node = serve(directory, &[format!("path:{}", right.display())], "");
    assert!(caller(&right).is_the_workload(&node));
    assert!(!caller(&wrong).is_the_workload(&node));
    assert!(!caller(Path::new(env!("CARGO_BIN_EXE_altsd"))).is_the_workload(&node));
    // What is run is the file behind the link.
    assert!(caller(&link).is_the_workload(&node));
    // A name that is made to fit is only a name.
    let mut named = caller(&wrong).command(&["whoami", "--handshaker", &node.handshakers()[0]]);
    std::os::unix::process::CommandExt::arg0(&mut named, &right);
    assert_eq!(output(named).0, Some(1));
}

#[test]
fn a_hash_is_that_of_the_file_that_runs_wherever_it_lies() {
    let directory = directory();
    let changed = copy(&directory, "changed");
    let mut file = OpenOptions::new().append(true).open(&changed).expect("it is ours");
    // It runs as before, and is another file.
    file.write_all(b"one more line\n").expect("there is room");
    drop(file);
    let ours = changed.with_file_name("ours");
    install(&changed, &ours);
    let moved = ours.with_file_name("moved");
    install(&ours, &moved);
    let mut sum = Command::new("sha256sum");
    sum.arg(&ours);
    let (code, sum, _) = output(sum);
    assert_eq!(code, Some(0), "coreutils are there");
    let hash = format!("sha256:{}", sum.split(' ').next().expect("it begins with the sum"));
    let node = serve(directory, std::slice::from_ref(&hash), "");
    for same in [&ours, &moved] {
        let (accounts, found) = caller(same).told(&node);
        assert_eq!(accounts, [ACCOUNT]);
        assert!(found.contains(&hash), "{found:?}");
    }
    assert!(!caller(Path::new(env!("CARGO_BIN_EXE_altsd"))).is_the_workload(&node));
}

/// A control group of this test's own, which goes with it.
struct Group(PathBuf);

impl Group {
    /// Makes it, unless that cannot be done here, which is told.
    fn make(path: &str) -> Option<Self> {
        if !geteuid().is_root() {
            println!("skipped: to make control groups is for root");
            return None;
        }
        // That of systemd, or the unified one.
        for root in ["/sys/fs/cgroup/systemd", "/sys/fs/cgroup"] {
            let root = Path::new(root);
            if !root.join("cgroup.procs").exists() {
                continue;
            }
            let group = Self(root.join(path));
            // Another test may take away what is above it before it is there.
            let made = (0..100).any(|_| fs::create_dir_all(&group.0).is_ok());
            if made && group.is_seen_as(path) {
                return Some(group);
            }
        }
        println!("skipped: no control groups can be made here, or not seen under their names");
        None
    }

    fn is_seen_as(&self, path: &str) -> bool {
        let show = Caller { program: Path::new("/bin/cat"), group: Some(self) };
        let (_, seen, _) = output(show.command(&["/proc/self/cgroup"]));
        let path = format!("/{path}");
        // Where processes are in a group of the unified hierarchy, that is what counts.
        let unified = seen.lines().find_map(|line| line.strip_prefix("0::"));
        seen.lines().any(|line| line.ends_with(&format!(":{path}")))
            && unified.is_none_or(|unified| unified == "/" || unified == path)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The kernel keeps those that others use, and those of the machine itself.
        let mut path = self.0.as_path();
        while fs::remove_dir(path).is_ok() {
            let Some(above) = path.parent() else { return };
            path = above;
        }
    }
}

/// A name that no other run of the tests uses.
fn unique(name: &str) -> String {
    format!("altsd-test-{name}-{}", std::process::id())
}

fn altsd_program() -> PathBuf {
    PathBuf::from(OsString::from(altsd().get_program()))
}

#[test]
fn a_control_group_is_all_that_is_in_it_and_below() {
    let name = unique("group");
    let (Some(inside), Some(below), Some(beside)) = (
        Group::make(&name),
        Group::make(&format!("{name}/below/it")),
        Group::make(&format!("{name}-beside")),
    ) else {
        return;
    };
    let node = serve(directory(), &[format!("cgroup:/{name}")], "");
    let program = altsd_program();
    for (group, expected) in [(&inside, true), (&below, true), (&beside, false)] {
        let caller = Caller { program: &program, group: Some(group) };
        assert_eq!(caller.is_the_workload(&node), expected, "{}", group.0.display());
    }
    assert!(!caller(&program).is_the_workload(&node), "it is in no such group");
}

#[test]
fn a_unit_is_where_systemd_puts_it_and_not_where_it_is_only_called_so() {
    let unit = format!("{}.service", unique("unit"));
    let groups = [
        (format!("system.slice/{unit}"), true),
        (format!("system.slice/system-a.slice/{unit}"), true),
        (format!("system.slice/{unit}/inner"), true),
        (unit.clone(), true),
        // Made by the unit of somebody else, such as the manager of a user.
        (format!("user.slice/user-1.slice/user@1.service/app.slice/{unit}"), false),
        (format!("system.slice/other-{unit}"), false),
        (format!("machine/{unit}"), false),
    ];
    let node = serve(directory(), &[format!("systemd:{unit}")], "");
    let program = altsd_program();
    for (path, expected) in groups {
        let Some(group) = Group::make(&path) else { return };
        let (accounts, found) = Caller { program: &program, group: Some(&group) }.told(&node);
        assert_eq!(!accounts.is_empty(), expected, "{path}: {found:?}");
        assert_eq!(found.contains(&format!("systemd:{unit}")), expected, "{path}: {found:?}");
    }
}

/// A list of pods, as kubectl prints it.
fn pods(pods: &[(&str, &str, &str, &str)]) -> String {
    let item = |(uid, namespace, name, account): &(&str, &str, &str, &str)| {
        serde_json::json!({
            "metadata": { "uid": uid, "namespace": namespace, "name": name },
            "spec": { "serviceAccountName": account },
        })
    };
    let items: Vec<_> = pods.iter().map(item).collect();
    serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()
}

#[test]
fn a_pod_is_what_the_list_of_pods_says_of_its_uid() {
    let end = format!("{:012}", std::process::id());
    let [cart, till, unlisted] =
        ["aaaa", "bbbb", "cccc"].map(|part| format!("1b9d6bcd-bbfd-4b2d-{part}-{end}"));
    let listed = pods(&[(&cart, "shop", "cart-0", "cart"), (&till, "shop", "till-0", "till")]);
    let directory = directory();
    write(directory.path(), "pods.json", &listed);
    let selectors = ["k8s:ns:shop", "k8s:sa:cart"].map(str::to_owned);
    let node = serve(directory, &selectors, "[kubernetes]\npods_file = \"pods.json\"\n");
    let program = altsd_program();
    let container = "0f1e2d3c4b5a";
    let cases = [
        (format!("kubepods/besteffort/pod{cart}/{container}"), true),
        (
            format!(
                "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{}.slice/cri-{container}.scope",
                cart.replace('-', "_")
            ),
            true,
        ),
        (format!("kubepods/besteffort/pod{till}/{container}"), false),
        (format!("kubepods/pod{unlisted}/{container}"), false),
        (format!("system.slice/x.service/kubepods/pod{cart}"), false),
    ];
    for (path, expected) in &cases {
        let Some(group) = Group::make(path) else { return };
        let (accounts, found) = Caller { program: &program, group: Some(&group) }.told(&node);
        assert_eq!(!accounts.is_empty(), *expected, "{path}: {found:?}");
        assert_eq!(found.contains(&"k8s:pod-name:cart-0".to_owned()), *expected, "{path}: {found:?}");
    }
    // The list counts as it is now.
    write(node.path(), "pods.json", &pods(&[(&till, "shop", "cart-1", "cart")]));
    for ((path, was), is) in cases.iter().zip([false, false, true]) {
        let Some(group) = Group::make(path) else { return };
        let caller = Caller { program: &program, group: Some(&group) };
        assert_eq!(caller.is_the_workload(&node), is, "{path}, which was {was}");
    }
}
