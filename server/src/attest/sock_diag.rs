//! What the kernel knows of sockets. The only file that names netlink.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd,
};

use netlink_packet_core::{
    NLM_F_REQUEST, NLMSG_ERROR, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload, Parseable,
};
use netlink_packet_sock_diag::{
    AF_INET, AF_INET6, IPPROTO_TCP, SOCK_DIAG_BY_FAMILY, SockDiagMessage, TCP_ESTABLISHED, TCP_LISTEN,
    inet::{ExtensionFlags, InetRequest, InetResponseHeader, SocketId, StateFlags},
    unix::{self, ShowFlags, UnixRequest, UnixResponse},
};
use nix::{
    errno::Errno,
    sys::{
        socket::{
            AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recvfrom, sendto,
            setsockopt, socket, sockopt::ReceiveTimeout,
        },
        time::TimeVal,
    },
};

/// How long the kernel may take. It answers while we send; the limit is for what we did not foresee.
const PATIENCE: TimeVal = TimeVal::new(2, 0);

/// Any socket with this address or inode: we know of no other proof of which one.
const NO_COOKIE: [u8; 8] = [0xff; 8];

/// Messages that are read before the one that answers.
const MAX_STRAY: usize = 16;

const SEQUENCE: u32 = 1;

/// The end of a TCP connection that is not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TcpEnds {
    /// Where the caller's socket is bound.
    pub(super) caller: SocketAddr,
    /// What it is connected to.
    pub(super) ours: SocketAddr,
}

/// A socket as the kernel describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TcpSocket {
    pub(super) inode: u32,
    pub(super) uid: u32,
}

/// What the kernel says of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TcpAnswer {
    /// A process has it.
    Open(TcpSocket),
    /// It was of this network namespace, and its processes have closed it.
    Closed,
    /// No such socket in this network namespace.
    Unknown,
}

/// Asks for the socket at the other end of a connection.
pub(super) fn tcp(ends: TcpEnds) -> io::Result<TcpAnswer> {
    let ends = ends.canonical();
    let request = InetRequest {
        family: if ends.caller.is_ipv4() { AF_INET } else { AF_INET6 },
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::empty(),
        states: StateFlags::all(),
        socket_id: SocketId {
            source_port: ends.caller.port(),
            destination_port: ends.ours.port(),
            source_address: ends.caller.ip(),
            destination_address: ends.ours.ip(),
            interface_id: scope(ends.caller),
            cookie: NO_COOKIE,
        },
    };
    let Some(answer) = ask(SockDiagMessage::InetRequest(request))? else { return Ok(TcpAnswer::Unknown) };
    Ok(judge(ends, &InetResponseHeader::parse(&answer[..]).map_err(invalid)?))
}

/// The inode of the other end of a connected unix socket, if it is still there.
pub(super) fn unix_peer(inode: u32) -> io::Result<Option<u32>> {
    let request = UnixRequest {
        state_flags: unix::StateFlags::all(),
        inode,
        show_flags: ShowFlags::PEER,
        cookie: NO_COOKIE,
    };
    let Some(answer) = ask(SockDiagMessage::UnixRequest(request))? else { return Ok(None) };
    let answer = UnixResponse::parse(&answer[..]).map_err(invalid)?;
    if answer.header.inode != inode {
        return Err(invalid(format!("asked for unix socket {inode}, got {}", answer.header.inode)));
    }
    Ok(answer.peer().filter(|peer| *peer != 0))
}

impl TcpEnds {
    /// With IPv4 addresses as such: a program may write them as IPv6, `::ffff:127.0.0.1`, and so does a listener
    /// for both.
    fn canonical(self) -> Self {
        Self { caller: canonical(self.caller), ours: canonical(self.ours) }
    }
}

/// Whether the socket is the one asked for. The kernel answers with a listening socket when no other fits.
fn judge(asked: TcpEnds, answer: &InetResponseHeader) -> TcpAnswer {
    let id = &answer.socket_id;
    let is_it = same(asked.caller, id.source_address, id.source_port)
        && same(asked.ours, id.destination_address, id.destination_port)
        && (scope(asked.caller) == 0 || scope(asked.caller) == id.interface_id);
    match answer.state {
        _ if !is_it => TcpAnswer::Unknown,
        TCP_LISTEN => TcpAnswer::Unknown,
        // A socket that no process has any more has no inode.
        TCP_ESTABLISHED if answer.inode != 0 => {
            TcpAnswer::Open(TcpSocket { inode: answer.inode, uid: answer.uid })
        }
        _ => TcpAnswer::Closed,
    }
}

fn same(asked: SocketAddr, ip: IpAddr, port: u16) -> bool {
    (asked.ip(), asked.port()) == (ip.to_canonical(), port)
}

fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        // As it was: it may have a scope.
        IpAddr::V6(_) => address,
    }
}

/// The interface that a link-local address is of.
fn scope(address: SocketAddr) -> u32 {
    match address {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(address) => address.scope_id(),
    }
}

/// One question to the kernel about one socket; nothing if it knows of none.
fn ask(question: SockDiagMessage) -> io::Result<Option<Vec<u8>>> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST;
    header.sequence_number = SEQUENCE;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(question));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);

    let protocol = SockProtocol::NetlinkSockDiag;
    let socket = socket(AddressFamily::Netlink, SockType::Datagram, SockFlag::SOCK_CLOEXEC, protocol)?;
    setsockopt(&socket, ReceiveTimeout, &PATIENCE)?;
    sendto(socket.as_raw_fd(), &bytes, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut buffer = vec![0; 8 << 10];
    for _ in 0..MAX_STRAY {
        let (length, from) = recvfrom::<NetlinkAddr>(socket.as_raw_fd(), &mut buffer)?;
        // Any process may send to a netlink socket. The kernel is port 0, and nobody else can be.
        if from.is_some_and(|from| from.pid() == 0) {
            let message = NetlinkBuffer::new_checked(&buffer[..length]).map_err(invalid)?;
            if message.sequence_number() == SEQUENCE {
                return answer(&message);
            }
        }
    }
    Err(invalid("no answer among the messages of the socket"))
}

fn answer(message: &NetlinkBuffer<&[u8]>) -> io::Result<Option<Vec<u8>>> {
    match message.message_type() {
        SOCK_DIAG_BY_FAMILY => Ok(Some(message.payload().to_vec())),
        NLMSG_ERROR => {
            let code = message.payload().first_chunk().ok_or_else(|| invalid("an error without its code"))?;
            match Errno::from_raw(i32::from_ne_bytes(*code).saturating_neg()) {
                Errno::ENOENT => Ok(None),
                problem => Err(problem.into()),
            }
        }
        other => Err(invalid(format!("an answer of type {other}"))),
    }
}

fn invalid(problem: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("sock_diag: {}", problem.to_string()))
}

#[cfg(test)]
mod tests;
