use std::{
    net::{TcpListener, TcpStream},
    os::{fd::AsFd, unix::net::UnixStream},
};

use netlink_packet_sock_diag::{TCP_CLOSE_WAIT, TCP_SYN_SENT, TCP_TIME_WAIT};

use super::*;

fn at(text: &str) -> SocketAddr {
    text.parse().expect("it is an address")
}

fn answer(state: u8, caller: &str, ours: &str) -> InetResponseHeader {
    let (caller, ours) = (at(caller), at(ours));
    let socket_id = SocketId {
        source_port: caller.port(),
        destination_port: ours.port(),
        source_address: caller.ip(),
        destination_address: ours.ip(),
        interface_id: scope(caller),
        cookie: [0; 8],
    };
    let family = if caller.is_ipv4() { AF_INET } else { AF_INET6 };
    let (uid, inode) = (1_000, 77);
    InetResponseHeader { family, state, timer: None, socket_id, recv_queue: 0, send_queue: 0, uid, inode }
}

#[test]
fn only_an_established_socket_between_the_same_ends_is_the_caller() {
    const OPEN: TcpAnswer = TcpAnswer::Open(TcpSocket { inode: 77, uid: 1_000 });
    let asked = |caller, ours| TcpEnds { caller: at(caller), ours: at(ours) }.canonical();
    let (caller, ours) = ("127.0.0.1:5000", "127.0.0.1:8080");
    let mapped = ("[::ffff:127.0.0.1]:5000", "[::ffff:127.0.0.1]:8080");
    let scoped = ("[fe80::1%3]:5000", "[fe80::1%3]:8080");
    let open = TCP_ESTABLISHED;
    for (asked, answer, expected) in [
        (asked(caller, ours), answer(open, caller, ours), OPEN),
        (asked(caller, ours), answer(open, mapped.0, mapped.1), OPEN),
        (asked(mapped.0, mapped.1), answer(open, caller, ours), OPEN),
        (asked(scoped.0, scoped.1), answer(open, scoped.0, scoped.1), OPEN),
        // Others.
        (asked(scoped.0, scoped.1), answer(open, "[fe80::1%4]:5000", scoped.1), TcpAnswer::Unknown),
        (asked(caller, ours), answer(open, ours, caller), TcpAnswer::Unknown),
        (asked(caller, ours), answer(open, "127.0.0.1:5001", ours), TcpAnswer::Unknown),
        (asked(caller, ours), answer(open, "127.0.0.2:5000", ours), TcpAnswer::Unknown),
        (asked(caller, ours), answer(open, caller, "127.0.0.1:8081"), TcpAnswer::Unknown),
        (asked(caller, ours), answer(open, caller, "127.0.0.2:8080"), TcpAnswer::Unknown),
        (asked(caller, ours), answer(open, caller, "0.0.0.0:0"), TcpAnswer::Unknown),
        // Who listens, and calls from nowhere.
        (asked(caller, ours), answer(TCP_LISTEN, caller, "0.0.0.0:0"), TcpAnswer::Unknown),
        (asked(caller, ours), answer(TCP_LISTEN, "0.0.0.0:5000", "0.0.0.0:0"), TcpAnswer::Unknown),
        (asked(caller, ours), answer(TCP_LISTEN, "[::]:5000", "[::]:0"), TcpAnswer::Unknown),
        (asked(caller, ours), answer(TCP_LISTEN, caller, ours), TcpAnswer::Unknown),
        // The caller, who has gone.
        (asked(caller, ours), answer(TCP_TIME_WAIT, caller, ours), TcpAnswer::Closed),
        (asked(caller, ours), answer(TCP_CLOSE_WAIT, caller, ours), TcpAnswer::Closed),
        (asked(caller, ours), answer(TCP_SYN_SENT, caller, ours), TcpAnswer::Closed),
    ] {
        assert_eq!(judge(asked, &answer), expected, "{asked:?} {answer:?}");
    }
    let nobodys = InetResponseHeader { inode: 0, ..answer(open, caller, ours) };
    assert_eq!(judge(asked(caller, ours), &nobodys), TcpAnswer::Closed);
}

#[test]
fn the_kernel_knows_the_ends_of_a_connection_and_no_other() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let ours = listener.local_addr().expect("it is bound");
    let call = TcpStream::connect(ours).expect("it listens");
    let caller = call.local_addr().expect("it is bound");
    let inode = rustix::fs::fstat(call.as_fd()).expect("it is open").st_ino;
    let uid = rustix::process::geteuid().as_raw();
    let inode = u32::try_from(inode).expect("it is the number of a socket");
    assert_eq!(tcp(TcpEnds { caller, ours }).expect("it answers"), TcpAnswer::Open(TcpSocket { inode, uid }));
    // The kernel itself would name the listener here.
    let nobody = TcpEnds { caller: ours, ours: at("127.0.0.1:1") };
    assert_eq!(tcp(nobody).expect("it answers"), TcpAnswer::Unknown);
}

#[test]
fn the_kernel_knows_the_other_end_of_a_unix_socket_until_it_is_closed() {
    let inode = |socket: &UnixStream| {
        u32::try_from(rustix::fs::fstat(socket).expect("it is open").st_ino).expect("it is that of a socket")
    };
    let (one, other) = UnixStream::pair().expect("there is room");
    assert_eq!(unix_peer(inode(&one)).expect("it answers"), Some(inode(&other)));
    assert_eq!(unix_peer(u32::MAX).expect("it answers"), None);
    let closed = inode(&other);
    drop(other);
    assert_ne!(unix_peer(inode(&one)).expect("it answers"), Some(closed));
}

#[test]
fn an_answer_that_is_none_is_an_error() {
    let message = |kind: u16, payload: &[u8]| {
        let mut bytes = vec![0; 16 + payload.len()];
        bytes[16..].copy_from_slice(payload);
        let mut message = NetlinkBuffer::new(&mut bytes[..]);
        message.set_length(u32::try_from(16 + payload.len()).expect("it is short"));
        message.set_message_type(kind);
        bytes
    };
    let read = |bytes: &[u8]| answer_of(bytes);
    assert_eq!(read(&message(20, b"x")).expect("it is one"), Some(b"x".to_vec()));
    assert_eq!(read(&message(NLMSG_ERROR, &(-2_i32).to_ne_bytes())).expect("it is none"), None);
    for bad in [
        message(NLMSG_ERROR, &(-1_i32).to_ne_bytes()),
        message(NLMSG_ERROR, &0_i32.to_ne_bytes()),
        message(NLMSG_ERROR, &i32::MIN.to_ne_bytes()),
        message(NLMSG_ERROR, b"ab"),
        message(3, b""),
    ] {
        assert!(read(&bad).is_err(), "{bad:?}");
    }
}

fn answer_of(bytes: &[u8]) -> io::Result<Option<Vec<u8>>> {
    super::answer(&NetlinkBuffer::new_checked(bytes).map_err(invalid)?)
}
