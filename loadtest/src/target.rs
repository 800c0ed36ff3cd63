//! Where the load goes, and where it may not go.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use tokio::net::{TcpStream, UnixStream};

/// Most addresses of one name that are looked at.
const MAX_ADDRESSES: usize = 64;

/// What a user names as the target. Nothing is known of it yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// `HOST:PORT`, not looked up.
    Host(String),
    /// `unix:/PATH`.
    Unix(PathBuf),
}

/// Where the load goes: checked, and reached at least once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// An address, never a name: what was checked is what is connected to.
    Tcp(SocketAddr),
    /// A socket by its path.
    Unix(PathBuf),
}

/// Why nothing is sent to a target.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{name:?} cannot be looked up: {problem}")]
    Unknown { name: String, problem: io::Error },
    #[error("{name:?} has no address")]
    NoAddress { name: String },
    #[error("{name:?} has more than {MAX_ADDRESSES} addresses; name one of them")]
    TooMany { name: String },
    #[error(
        "{name:?} has the address {address}, which is neither loopback nor link-local: load is sent to other machines \
         only with --i-own-this-target, and only if you do"
    )]
    Foreign { name: String, address: IpAddr },
    #[error("nothing answers at {target}: {problem}; is the server running, and is this its address?")]
    Absent { target: String, problem: io::Error },
    #[error("nothing answers at {target} within {seconds} s")]
    Silent { target: String, seconds: u64 },
}

impl Error {
    /// The stable name of this reason.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "target_unknown",
            Self::NoAddress { .. } => "target_without_address",
            Self::TooMany { .. } => "target_with_too_many_addresses",
            Self::Foreign { .. } => "target_foreign",
            Self::Absent { .. } => "target_absent",
            Self::Silent { .. } => "target_silent",
        }
    }
}

impl Named {
    /// Reads `HOST:PORT` or `unix:/PATH`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        const FORM: &str = "write HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080, or unix:/PATH";
        if let Some(path) = text.strip_prefix("unix:") {
            let is_path = path.starts_with('/') && !path.contains('\0');
            return is_path.then(|| Self::Unix(PathBuf::from(path))).ok_or_else(|| FORM.to_owned());
        }
        let (host, port) = text.rsplit_once(':').ok_or(FORM)?;
        let in_brackets = host.starts_with('[') && host.ends_with(']');
        let is_host = !host.is_empty() && (in_brackets || !host.contains([':', '/', '[', ']']));
        let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
        (is_host && is_port).then(|| Self::Host(text.to_owned())).ok_or_else(|| FORM.to_owned())
    }

    /// Looks the name up, checks every address that it has, and finds one that answers.
    pub(crate) async fn find(&self, owned: bool, patience: Duration) -> Result<Target, Error> {
        let candidates = match self {
            Self::Unix(path) => vec![Target::Unix(path.clone())],
            Self::Host(name) => {
                let unknown = |problem| Error::Unknown { name: name.clone(), problem };
                let addresses = tokio::net::lookup_host(name).await.map_err(unknown)?;
                let addresses: Vec<_> = addresses.take(MAX_ADDRESSES + 1).collect();
                allowed(name, &addresses, owned)?;
                addresses.into_iter().map(Target::Tcp).collect()
            }
        };
        let mut problem = Error::NoAddress { name: self.to_string() };
        for target in candidates {
            match target.answers(patience).await {
                Ok(()) => return Ok(target),
                Err(absent) => problem = absent,
            }
        }
        Err(problem)
    }
}

/// Whether load may be sent to a name with these addresses: every one of them must qualify, or another look-up might
/// lead elsewhere.
fn allowed(name: &str, addresses: &[SocketAddr], owned: bool) -> Result<(), Error> {
    if addresses.is_empty() {
        return Err(Error::NoAddress { name: name.to_owned() });
    }
    if addresses.len() > MAX_ADDRESSES {
        return Err(Error::TooMany { name: name.to_owned() });
    }
    let foreign = addresses.iter().map(SocketAddr::ip).find(|address| !is_local(*address));
    match foreign.filter(|_| !owned) {
        Some(address) => Err(Error::Foreign { name: name.to_owned(), address }),
        None => Ok(()),
    }
}

/// Whether an address is of this machine or of the cable it is on.
fn is_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_loopback() || address.is_link_local(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unicast_link_local(),
    }
}

impl Target {
    /// Opens a connection and closes it.
    async fn answers(&self, patience: Duration) -> Result<(), Error> {
        let connected = async {
            match self {
                Self::Tcp(address) => TcpStream::connect(address).await.map(drop),
                Self::Unix(path) => UnixStream::connect(path).await.map(drop),
            }
        };
        match tokio::time::timeout(patience, connected).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(problem)) => Err(Error::Absent { target: self.to_string(), problem }),
            Err(_) => Err(Error::Silent { target: self.to_string(), seconds: patience.as_secs() }),
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(name) => f.write_str(name),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().expect("it is an address")).collect()
    }

    #[test]
    fn load_goes_to_this_machine_and_its_cable() {
        let cases: [&[&str]; 6] = [
            &["127.0.0.1:1"],
            &["127.255.0.9:1", "[::1]:1"],
            &["169.254.1.2:1"],
            &["[fe80::1]:1"],
            &["[febf::1]:1"],
            &["[::ffff:127.0.0.1]:1"],
        ];
        for case in cases {
            assert!(allowed("x", &addresses(case), false).is_ok(), "{case:?}");
        }
    }

    #[test]
    fn one_foreign_address_is_enough_to_refuse_a_name() {
        let cases: [&[&str]; 12] = [
            &["10.0.0.1:1"],
            &["192.168.1.1:1"],
            &["8.8.8.8:1"],
            &["0.0.0.0:1"],
            &["[::]:1"],
            &["[2001:db8::1]:1"],
            &["[fc00::1]:1"],
            &["[::ffff:10.0.0.1]:1"],
            &["[::127.0.0.1]:1"],
            &["127.0.0.1:1", "10.0.0.1:1"],
            &["10.0.0.1:1", "127.0.0.1:1"],
            &["127.0.0.1:1", "[::1]:1", "169.254.0.1:1", "[fec0::1]:1"],
        ];
        for case in cases {
            let refused = allowed("x", &addresses(case), false).map_err(|error| error.code());
            assert_eq!(refused, Err("target_foreign"), "{case:?}");
            assert!(allowed("x", &addresses(case), true).is_ok(), "{case:?}");
        }
    }

    #[test]
    fn a_name_without_addresses_or_with_very_many_is_refused_whoever_owns_it() {
        for owned in [false, true] {
            let none = allowed("x", &[], owned).map_err(|error| error.code());
            assert_eq!(none, Err("target_without_address"));
            let many = vec![SocketAddr::from(([127, 0, 0, 1], 1)); MAX_ADDRESSES + 1];
            let many = allowed("x", &many, owned).map_err(|error| error.code());
            assert_eq!(many, Err("target_with_too_many_addresses"));
        }
    }

    #[test]
    fn what_is_no_target_is_refused_with_what_would_be_one() {
        for text in [
            "",
            ":",
            "localhost",
            "localhost:",
            "localhost:0",
            "localhost:65536",
            ":80",
            "::1:80",
            "[::1:80",
            "unix:",
            "unix:relative",
            "http://localhost:80",
            "a/b:80",
        ] {
            assert!(Named::parse(text).expect_err(text).contains("HOST:PORT"), "{text}");
        }
        for text in ["localhost:8080", "127.0.0.1:1", "[::1]:65535", "unix:/run/altsd/altsd.sock"] {
            assert_eq!(Named::parse(text).map(|named| named.to_string()), Ok(text.to_owned()));
        }
    }
}
