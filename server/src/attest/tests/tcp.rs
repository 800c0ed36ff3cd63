//! Callers on TCP sockets.

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    os::unix::process::CommandExt,
    path::Path,
    process::Command,
};

use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};

use super::{
    super::Caller,
    attested, is_root,
    program::{Orphan, Program, bash_at, wait_until_it_runs},
    refusal,
};

struct Door(TcpListener);

impl Door {
    async fn open(address: impl Into<SocketAddr>) -> Self {
        Self(TcpListener::bind(address.into()).await.expect("the address is ours"))
    }

    async fn on_loopback() -> Self {
        Self::open(([127, 0, 0, 1], 0)).await
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("it is bound")
    }

    async fn accept(&self) -> (Caller, TcpStream) {
        let (socket, _) = self.0.accept().await.expect("somebody connects");
        (Caller::of_tcp(&socket), socket)
    }

    async fn puppet(&self) -> (Program, Caller, TcpStream) {
        let mut program = Program::puppet();
        program.tell(&format!("tcp {}", self.address()));
        let (caller, socket) = self.accept().await;
        (program, caller, socket)
    }
}

#[tokio::test]
async fn a_caller_is_the_process_that_has_its_socket() {
    for address in [SocketAddr::from(([127, 0, 0, 7], 0)), SocketAddr::from((Ipv6Addr::LOCALHOST, 0))] {
        let door = Door::open(address).await;
        let (program, caller, _socket) = door.puppet().await;
        let found = attested(&caller).await;
        assert_eq!(found.pids(), [program.pid()]);
        assert!(found.says(&format!("uid:{}", rustix::process::geteuid().as_raw())));
        let path = fs::canonicalize(std::env::current_exe().expect("it runs")).expect("it is there");
        assert!(found.says(&format!("path:{}", path.display())), "{:?}", found.selectors);
    }
}

#[tokio::test]
async fn ipv4_written_as_ipv6_is_the_same_address() {
    // The caller writes it so, the listener, both.
    let mapped = Ipv4Addr::new(127, 0, 0, 7).to_ipv6_mapped();
    let v4 = Ipv4Addr::new(127, 0, 0, 7);
    let cases: [(SocketAddr, std::net::IpAddr); 3] = [
        ((v4, 0).into(), mapped.into()),
        ((Ipv6Addr::UNSPECIFIED, 0).into(), v4.into()),
        ((Ipv6Addr::UNSPECIFIED, 0).into(), mapped.into()),
    ];
    for (listen, call) in cases {
        let door = Door::open(listen).await;
        let mut program = Program::puppet();
        program.tell(&format!("tcp {}", SocketAddr::new(call, door.address().port())));
        let (caller, _socket) = door.accept().await;
        assert_eq!(attested(&caller).await.pids(), [program.pid()], "{listen} {call}");
    }
}

#[tokio::test]
async fn callers_under_two_uids_are_told_apart() {
    if !is_root("callers_under_two_uids_are_told_apart") {
        return;
    }
    let door = Door::on_loopback().await;
    for uid in [61_011, 61_012] {
        let _program = Program::bash(Command::new("/bin/bash").uid(uid).gid(uid), door.address());
        let (caller, _socket) = door.accept().await;
        let found = attested(&caller).await;
        assert_eq!(found.of_kind("uid:"), [format!("uid:{uid}")]);
        assert_eq!(found.of_kind("gid:"), [format!("gid:{uid}")]);
    }
}

#[tokio::test]
async fn a_caller_that_exits_before_its_first_message_is_refused() {
    let door = Door::on_loopback().await;
    let (mut program, caller, _socket) = door.puppet().await;
    program.end();
    assert_eq!(refusal(&caller).await, "caller_exited");
}

#[tokio::test]
async fn a_caller_that_exits_later_is_refused_from_then_on() {
    let door = Door::on_loopback().await;
    let (mut program, caller, _socket) = door.puppet().await;
    attested(&caller).await;
    attested(&caller).await;
    program.end();
    assert_eq!(refusal(&caller).await, "caller_exited");
}

#[tokio::test]
async fn a_listening_socket_is_not_the_caller() {
    // A connection that was reset leaves nothing behind; the kernel then offers who listens on its address.
    let door = Door::on_loopback().await;
    let call = TcpStream::connect(door.address()).await.expect("it listens");
    let address = call.local_addr().expect("it is bound");
    let (caller, _socket) = door.accept().await;
    call.set_zero_linger().expect("it is open");
    drop(call);
    let socket = tokio::net::TcpSocket::new_v4().expect("there is room");
    socket.set_reuseaddr(true).expect("it is open");
    socket.bind(address).expect("nobody has it any more");
    let _listener = socket.listen(1).expect("it is bound");
    assert_eq!(refusal(&caller).await, "caller_not_local");
}

#[tokio::test]
async fn of_several_holders_only_what_is_true_of_all_is_attested() {
    let door = Door::on_loopback().await;
    let (mut program, caller, _socket) = door.puppet().await;
    let child = program.tell("child /bin/cat");
    let found = attested(&caller).await;
    let mut pids = [program.pid(), child.parse().expect("it is a number")];
    pids.sort_unstable();
    let mut holders = found.pids();
    holders.sort_unstable();
    assert_eq!(holders, pids);
    assert!(
        found.of_kind("path:").is_empty() && found.of_kind("sha256:").is_empty(),
        "{:?}",
        found.selectors
    );
    assert_eq!(found.of_kind("uid:").len(), 1);

    // One may go, not all.
    program.tell(&format!("end {child}"));
    attested(&caller).await;
    program.end();
    assert_eq!(refusal(&caller).await, "caller_exited");
}

#[tokio::test]
async fn holders_of_one_executable_have_its_path() {
    let door = Door::on_loopback().await;
    let (mut program, caller, _socket) = door.puppet().await;
    program.become_program("/bin/cat");
    let path = fs::canonicalize("/bin/cat").expect("it is there");
    assert!(attested(&caller).await.says(&format!("path:{}", path.display())));

    let script = "exec 3<>/dev/tcp/127.0.0.1/$0 4<&0; (read <&4) & echo puppet: $!; read <&4";
    let mut two = Program::start(
        Command::new("/bin/bash").arg("-c").arg(script).arg(door.address().port().to_string()),
    );
    let child = two.ready().parse().expect("it is a number");
    let (caller, _socket) = door.accept().await;
    let found = attested(&caller).await;
    assert!(found.pids().contains(&child) && found.pids().contains(&two.pid()));
    assert_eq!(found.of_kind("path:").len(), 1, "{:?}", found.selectors);
}

#[tokio::test]
async fn a_holder_of_another_uid_is_refused() {
    if !is_root("a_holder_of_another_uid_is_refused") {
        return;
    }
    let door = Door::on_loopback().await;
    let (mut program, caller, _socket) = door.puppet().await;
    let _child = Orphan(program.tell("child-of-user 61021 /bin/sleep 600"));
    assert_eq!(refusal(&caller).await, "caller_changed");
    // Nor when the one that connected leaves it to him.
    program.tell("leave");
    program.end();
    assert_eq!(refusal(&caller).await, "caller_changed");
}

#[tokio::test]
async fn more_holders_than_can_be_told_apart_are_refused() {
    let door = Door::on_loopback().await;
    let (mut program, caller, _socket) = door.puppet().await;
    for _ in 0..16 {
        program.tell("child /bin/cat");
    }
    assert_eq!(refusal(&caller).await, "caller_ambiguous");
}

#[tokio::test]
async fn a_caller_that_runs_another_program_is_another_caller() {
    let door = Door::on_loopback().await;
    let (mut program, caller, _socket) = door.puppet().await;
    attested(&caller).await;
    program.become_program("/bin/cat");
    assert_eq!(refusal(&caller).await, "caller_changed");
}

#[tokio::test]
async fn a_former_holder_may_do_what_it_likes() {
    // A child that has closed the socket is not the caller any more, whatever program it runs then.
    let door = Door::on_loopback().await;
    let script = "exec 3<>/dev/tcp/127.0.0.1/$0 4<&0; (read <&4; exec 3>&-; exec cat <&4) & \
                  echo puppet: $!; wait";
    let mut program = Program::start(
        Command::new("/bin/bash").arg("-c").arg(script).arg(door.address().port().to_string()),
    );
    let child = program.ready().parse().expect("it is a number");
    let (caller, _socket) = door.accept().await;
    assert!(attested(&caller).await.pids().contains(&child));
    program.say("");
    wait_until_it_runs(child, "/bin/cat");
    assert!(attested(&caller).await.pids().contains(&child));
    program.end();
    assert_eq!(refusal(&caller).await, "caller_exited");
}

#[tokio::test]
async fn a_deleted_or_replaced_executable_has_no_path() {
    let door = Door::on_loopback().await;
    let directory = TempDir::new().expect("there is room");
    let bash = bash_at(&directory.path().join("orders"));
    let selector = format!("path:{}", bash.display());
    let _program = Program::bash(&mut Command::new(&bash), door.address());
    let (caller, socket) = door.accept().await;
    let found = attested(&caller).await;
    assert!(found.says(&selector), "{:?}", found.selectors);

    fs::remove_file(&bash).expect("it is ours");
    let found = attested(&Caller::of_tcp(&socket)).await;
    assert!(found.of_kind("path:").is_empty(), "{:?}", found.selectors);
    assert_eq!(found.of_kind("sha256:").len(), 1);

    bash_at(&bash);
    let found = attested(&Caller::of_tcp(&socket)).await;
    assert!(found.of_kind("path:").is_empty(), "{:?}", found.selectors);
}

#[tokio::test]
async fn a_private_mount_namespace_gives_no_path_of_ours() {
    if !is_root("a_private_mount_namespace_gives_no_path_of_ours") {
        return;
    }
    let door = Door::on_loopback().await;
    let directory = TempDir::new().expect("there is room");
    let theirs = bash_at(&directory.path().join("theirs"));
    let ours = bash_at(&directory.path().join("ours"));
    let script = "mount --bind \"$1\" \"$2\"; name=$2; shift 2; exec \"$name\" \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(&theirs).arg(&ours);
    let program = Program::bash(&mut command, door.address());
    let (caller, _socket) = door.accept().await;
    let found = attested(&caller).await;
    assert_eq!(fs::read_link(format!("/proc/{}/exe", program.pid())).expect("it runs"), ours);
    assert!(found.of_kind("path:").is_empty(), "{:?}", found.selectors);
}

#[tokio::test]
async fn another_root_directory_gives_no_path_of_ours() {
    if !is_root("another_root_directory_gives_no_path_of_ours") {
        return;
    }
    let door = Door::on_loopback().await;
    let directory = TempDir::new().expect("there is room");
    let theirs = bash_at(&directory.path().join("usr/bin/cat"));
    let libraries = Command::new("ldd").arg(&theirs).output().expect("there is an ldd").stdout;
    let libraries = String::from_utf8(libraries).expect("it is text");
    for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
        let copy = directory.path().join(library.trim_start_matches('/'));
        fs::create_dir_all(copy.parent().expect("it is in a directory")).expect("it can be made");
        fs::copy(library, copy).expect("it can be copied");
    }
    let mut command = Command::new("chroot");
    command.arg(directory.path()).arg("/usr/bin/cat");
    let _program = Program::bash(&mut command, door.address());
    let (caller, _socket) = door.accept().await;
    let found = attested(&caller).await;
    assert_eq!(found.of_kind("path:"), [format!("path:{}", theirs.display())]);
    assert!(Path::new("/usr/bin/cat").exists());
}

/// A network namespace of its own, with one cable to ours. Both go with the process in it.
struct Elsewhere {
    process: Program,
    cable: String,
}

impl Elsewhere {
    fn new(cable: &str, ours: &str, theirs: &str) -> Self {
        let script = "echo puppet: ok; read";
        let mut process = Program::start(Command::new("unshare").args(["--net", "bash", "-c", script]));
        process.ready();
        let there = process.pid().to_string();
        let (here, far) = (format!("{cable}a"), format!("{cable}b"));
        ip(&["link", "add", &here, "type", "veth", "peer", "name", &far, "netns", &there]);
        ip(&["addr", "add", ours, "dev", &here, "nodad"]);
        ip(&["link", "set", &here, "up"]);
        let inside = Self { process, cable: here };
        inside.run(&["ip", "addr", "add", theirs, "dev", &far, "nodad"]);
        inside.run(&["ip", "link", "set", &far, "up"]);
        inside
    }

    fn command(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--target", &self.process.pid().to_string()]);
        command
    }

    fn run(&self, words: &[&str]) {
        assert!(self.command().args(words).status().expect("it runs").success(), "{words:?}");
    }
}

fn ip(words: &[&str]) {
    assert!(Command::new("ip").args(words).status().expect("there is an ip").success(), "{words:?}");
}

#[tokio::test]
async fn a_caller_in_another_network_namespace_is_refused() {
    if !is_root("a_caller_in_another_network_namespace_is_refused") {
        return;
    }
    let elsewhere = Elsewhere::new("altsd4", "169.254.77.1/30", "169.254.77.2/30");
    let door = Door::open(([169, 254, 77, 1], 0)).await;
    let _program = Program::bash(elsewhere.command().arg("bash"), door.address());
    let (caller, socket) = door.accept().await;
    assert_eq!(refusal(&caller).await, "caller_not_local");

    // Nor when somebody listens here on the port it calls from, whom the kernel then offers.
    let port = socket.peer_addr().expect("it is connected").port();
    let _listener = Door::open(([0, 0, 0, 0], port)).await;
    assert_eq!(refusal(&caller).await, "caller_not_local");

    // A caller of this namespace is known on the same address.
    let here = Program::bash(&mut Command::new("bash"), door.address());
    let (caller, _socket) = door.accept().await;
    assert_eq!(attested(&caller).await.pids(), [here.pid()]);
}

#[tokio::test]
async fn a_link_local_address_is_one_of_an_interface() {
    if !is_root("a_link_local_address_is_one_of_an_interface") {
        return;
    }
    let elsewhere = Elsewhere::new("altsd6", "fe80::77:1/64", "fe80::77:2/64");
    let index =
        fs::read_to_string(format!("/sys/class/net/{}/ifindex", elsewhere.cable)).expect("it is there");
    let scope = index.trim().parse().expect("it is a number");
    let address = SocketAddrV6::new(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0x77, 1), 0, 0, scope);
    let door = Door::open(address).await;
    let (program, caller, _socket) = door.puppet().await;
    assert_eq!(attested(&caller).await.pids(), [program.pid()]);

    let there = SocketAddrV6::new(*address.ip(), door.address().port(), 0, 0);
    let script = format!("exec 3<>/dev/tcp/{}%altsd6b/{}; echo puppet: ok; read", there.ip(), there.port());
    let mut program = Program::start(elsewhere.command().args(["bash", "-c", &script]));
    program.ready();
    let (caller, _socket) = door.accept().await;
    assert_eq!(refusal(&caller).await, "caller_not_local");
}
