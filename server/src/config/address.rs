//! Where a handshaker may listen: where only programs of this machine, or of this pod, reach it.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

/// A unix socket is its owner's alone, unless the configuration opens it.
const DEFAULT_MODE: u32 = 0o600;

/// Longest path that fits into the kernel's `sockaddr_un`, in bytes.
const MAX_SOCKET_PATH: usize = 107;

/// The address of a listener.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    /// A loopback or link-local address.
    Tcp(SocketAddr),
    /// A unix socket and its permission bits.
    Unix { path: PathBuf, mode: u32 },
}

/// Why an address is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressProblem {
    #[error("{0:?} is no address; write IP:PORT, such as 127.0.0.1:8080, or unix:/PATH")]
    Syntax(String),
    #[error(
        "{0} is not local: programs get their keys from here in clear, so it must be loopback or link-local \
         (127.0.0.0/8, ::1, 169.254.0.0/16, fe80::/10)"
    )]
    NotLocal(SocketAddr),
    #[error("{0:?} is not absolute; write unix:/PATH")]
    PathNotAbsolute(String),
    #[error("{path:?} has {length} bytes; the kernel's limit for a unix socket is 107", length = path.len())]
    PathTooLong { path: String },
    #[error("{0:?} is no mode; write the permission bits in octal, such as \"0600\"")]
    Mode(String),
    #[error("a mode is for unix sockets only; remove it, or listen on unix:/PATH")]
    ModeOnTcp,
}

impl Address {
    /// Reads `IP:PORT` or `unix:/PATH`.
    pub(crate) fn parse(text: &str) -> Result<Self, AddressProblem> {
        let Some(path) = text.strip_prefix("unix:") else {
            let address: SocketAddr = text.parse().map_err(|_| AddressProblem::Syntax(text.to_owned()))?;
            let local = is_local(address.ip()).then_some(Self::Tcp(address));
            return local.ok_or(AddressProblem::NotLocal(address));
        };
        if path.contains('\0') {
            return Err(AddressProblem::Syntax(text.to_owned()));
        }
        if !path.starts_with('/') {
            return Err(AddressProblem::PathNotAbsolute(path.to_owned()));
        }
        if path.len() > MAX_SOCKET_PATH {
            return Err(AddressProblem::PathTooLong { path: path.to_owned() });
        }
        Ok(Self::Unix { path: PathBuf::from(path), mode: DEFAULT_MODE })
    }

    /// The same address with these permission bits, in octal.
    pub(super) fn with_mode(self, text: &str) -> Result<Self, AddressProblem> {
        let Self::Unix { path, .. } = self else {
            return Err(AddressProblem::ModeOnTcp);
        };
        let octal = text.bytes().all(|byte| byte.is_ascii_digit());
        match u32::from_str_radix(text, 8) {
            Ok(mode) if octal && mode <= 0o777 => Ok(Self::Unix { path, mode }),
            _ => Err(AddressProblem::Mode(text.to_owned())),
        }
    }

    /// Whether two listeners cannot have both. The kernel gives out a new port for each port 0.
    pub(crate) fn same_place(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(one), Self::Tcp(two)) => one == two && one.port() != 0,
            (Self::Unix { path: one, .. }, Self::Unix { path: two, .. }) => one == two,
            _ => false,
        }
    }
}

impl FromStr for Address {
    type Err = AddressProblem;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix { path, .. } => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Whether an address is reached from this machine or its link alone.
pub(crate) fn is_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_loopback() || address.is_link_local(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_address_is_taken_and_written_as_it_was_read() {
        let taken = [
            "127.0.0.1:8080",
            "127.255.0.7:1",
            "[::1]:8080",
            "[::ffff:127.0.0.1]:8080",
            "169.254.169.254:8080",
            "[fe80::1%2]:8080",
            "[febf::1]:8080",
            "unix:/run/altsd/orders.sock",
        ];
        for text in taken {
            assert_eq!(Address::parse(text).map(|address| address.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn a_tcp_address_that_is_not_local_is_refused() {
        let refused = [
            "0.0.0.0:8080",
            "[::]:8080",
            "10.0.0.1:8080",
            "128.0.0.1:8080",
            "169.253.0.1:8080",
            "[::ffff:10.0.0.1]:8080",
            "[fec0::1]:8080",
            "[fd00::1]:8080",
            "224.0.0.1:8080",
        ];
        for text in refused {
            assert!(matches!(Address::parse(text), Err(AddressProblem::NotLocal(_))), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = format!("unix:/{}", "x".repeat(MAX_SOCKET_PATH));
        let refused = [
            "",
            "localhost:8080",
            "127.0.0.1",
            "127.0.0.1:",
            "127.0.0.1:65536",
            "::1:8080",
            ":8080",
            "8080",
            "http://127.0.0.1:8080",
            "127.0.0.1:8080 ",
            "unix:",
            "unix:run/altsd.sock",
            "UNIX:/run/altsd.sock",
            "unix-abstract:altsd",
            &long,
        ];
        for text in refused {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_mode_is_octal_permission_bits_of_a_unix_socket() {
        let unix = || Address::parse("unix:/s").expect("it is valid");
        let path = PathBuf::from("/s");
        for (text, mode) in [("0600", 0o600), ("660", 0o660), ("0777", 0o777), ("0", 0)] {
            assert_eq!(unix().with_mode(text), Ok(Address::Unix { path: path.clone(), mode }));
        }
        for text in ["", "0o600", "0800", "1000", "-600", "+600", "rw-------", "99999999999999"] {
            assert_eq!(unix().with_mode(text), Err(AddressProblem::Mode(text.to_owned())));
        }
        let tcp = Address::parse("127.0.0.1:1").expect("it is valid");
        assert_eq!(tcp.with_mode("0600"), Err(AddressProblem::ModeOnTcp));
    }
}
