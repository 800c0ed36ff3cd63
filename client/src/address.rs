//! Where a handshaker listens.

mod near;

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use tonic::transport::{Channel, Endpoint};

use crate::AddressError;

/// An address that a handshaker can be asked at.
#[derive(Debug)]
pub(crate) struct Address {
    /// As the program gave it.
    given: String,
    /// As tonic takes it.
    endpoint: Endpoint,
    /// Whether it is a name which must lead to a near address.
    must_be_near: bool,
}

impl Address {
    /// Reads `HOST:PORT`, `unix:/PATH` or `unix:///PATH`. What is not surely on this machine must be `allow_remote`.
    ///
    /// # Errors
    /// Says what is wrong, and what is right.
    pub(crate) fn parse(given: &str, allow_remote: bool) -> Result<Self, AddressError> {
        let malformed = |problem| AddressError::Malformed { address: given.to_owned(), problem };
        let made = |uri: String, must_be_near| match Endpoint::from_shared(uri) {
            Ok(endpoint) => Ok(Self { given: given.to_owned(), endpoint, must_be_near }),
            Err(_) => Err(malformed("it cannot be written as a URI")),
        };
        if let Some(path) = given.strip_prefix("unix:") {
            // The slashes are those of the scheme: without them tonic takes two of the path for them.
            return made(format!("unix://{}", unix_path(path).map_err(malformed)?), false);
        }
        let host = Host::parse(given).map_err(malformed)?;
        if !allow_remote && !host.is_near() {
            return Err(AddressError::Remote { address: given.to_owned() });
        }
        made(format!("http://{given}"), !allow_remote && matches!(host, Host::Name(_)))
    }

    /// Connections to it, one after the other, each made within `timeout` by a program that calls itself `user_agent`.
    pub(crate) fn channel(&self, user_agent: &'static str, timeout: Duration) -> Channel {
        let endpoint = self.endpoint.clone().connect_timeout(timeout);
        let endpoint = endpoint.user_agent(user_agent).expect("it is a header's value");
        if self.must_be_near {
            endpoint.connect_with_connector_lazy(near::connector())
        } else {
            endpoint.connect_lazy()
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.given)
    }
}

/// The path of a socket, of what comes behind `unix:`.
fn unix_path(rest: &str) -> Result<&str, &'static str> {
    let path = match rest.strip_prefix("//") {
        Some(path) if path.starts_with('/') => path,
        Some(_) => return Err("behind unix:// comes an absolute path, as in unix:///run/altsd/altsd.sock"),
        None => rest,
    };
    if path.starts_with('@') || path.contains('\0') {
        return Err("abstract sockets are not supported");
    }
    if !path.starts_with('/') || path.ends_with('/') {
        return Err("behind unix: comes the absolute path of a socket");
    }
    Ok(path)
}

/// What stands in front of a port.
#[derive(Debug, PartialEq, Eq)]
enum Host<'a> {
    Literal(IpAddr),
    Name(&'a str),
}

impl<'a> Host<'a> {
    fn parse(address: &'a str) -> Result<Self, &'static str> {
        if address.contains("://") {
            return Err("it has a scheme");
        }
        let (host, port) = address.rsplit_once(':').ok_or("it has no port")?;
        let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number || port.parse::<u16>().map_or(true, |port| port == 0) {
            return Err("its port is not a number from 1 to 65535");
        }
        if address.contains('%') {
            return Err("an address with a zone is not supported");
        }
        if let Ok(literal) = address.parse::<SocketAddr>() {
            return Ok(Self::Literal(literal.ip()));
        }
        if host.parse::<Ipv6Addr>().is_ok() || address.parse::<Ipv6Addr>().is_ok() {
            return Err("an IPv6 address stands in brackets, as in [::1]:8080");
        }
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        let name = host.strip_suffix('.').unwrap_or(host);
        if name.is_empty() {
            return Err("it has no host");
        }
        // The last label of a name has a letter: what has none is an address in a form that resolvers disagree on.
        let is_numeric =
            name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
        if name.len() > 253 || is_numeric || !name.split('.').all(is_label) {
            return Err("its host is neither a name nor an IP address");
        }
        Ok(Self::Name(name))
    }

    /// Whether it is near; a name, as far as it tells.
    fn is_near(&self) -> bool {
        match self {
            Self::Literal(literal) => near::is_near(*literal),
            Self::Name(name) => {
                ["localhost", "metadata.google.internal"].iter().any(|near| name.eq_ignore_ascii_case(near))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_this_machine_is_taken() {
        let cases = [
            "127.0.0.1:8080",
            "127.3.2.1:1",
            "169.254.169.254:8080",
            "[::1]:65535",
            "[::ffff:127.0.0.1]:80",
            "[fe80::1]:80",
            "localhost:8080",
            "LocalHost:8080",
            "metadata.google.internal:8080",
            "metadata.google.internal.:8080",
        ];
        for given in cases {
            let address = Address::parse(given, false).expect(given);
            assert_eq!(address.to_string(), given);
            let uri = address.endpoint.uri();
            assert_eq!(uri.authority().map(|authority| authority.as_str()), Some(given));
        }
    }

    #[test]
    fn the_path_of_a_socket_is_taken_with_and_without_slashes_in_front() {
        let cases = [
            ("/run/altsd/altsd.sock", "/run/altsd/altsd.sock"),
            ("///run/altsd/altsd.sock", "/run/altsd/altsd.sock"),
            ("/with a space/ü", "/with a space/ü"),
        ];
        for (rest, path) in cases {
            assert_eq!(unix_path(rest), Ok(path));
            Address::parse(&format!("unix:{rest}"), false).expect(rest);
        }
    }

    /// Else whoever may choose the working directory of the program chooses its handshaker.
    #[tokio::test]
    async fn the_path_of_a_socket_stays_absolute_however_many_slashes_it_begins_with() {
        let directory = tempfile::tempdir().expect("there is room");
        let path = directory.path().join("socket");
        let _listener = tokio::net::UnixListener::bind(&path).expect("nobody has it");
        for slashes in ["", "//", "///", "////"] {
            let given = format!("unix:{slashes}{}", path.display());
            let address = Address::parse(&given, false).expect("it is an address");
            address.endpoint.connect().await.expect(&given);
        }
    }

    #[test]
    fn a_name_must_lead_somewhere_near_unless_another_machine_is_allowed() {
        for (given, allow_remote, expected) in [
            ("localhost:80", false, true),
            ("metadata.google.internal.:80", false, true),
            ("localhost:80", true, false),
            ("127.0.0.1:80", false, false),
            ("unix:/run/altsd.sock", false, false),
        ] {
            let address = Address::parse(given, allow_remote).expect(given);
            assert_eq!(address.must_be_near, expected, "{given}");
        }
    }

    #[test]
    fn an_address_of_another_machine_must_be_allowed() {
        let cases = [
            "10.0.0.1:8080",
            "0.0.0.0:8080",
            "128.0.0.1:8080",
            "169.253.0.1:8080",
            "[::]:8080",
            "[::ffff:10.0.0.1]:80",
            "[fec0::1]:80",
            "[2001:db8::1]:80",
            "altsd.example:8080",
            "localhost.example:8080",
            "notlocalhost:8080",
            "google.internal:8080",
            "a.metadata.google.internal:8080",
            "node_1:8080",
        ];
        for given in cases {
            let error = Address::parse(given, false).expect_err(given);
            assert_eq!(error, AddressError::Remote { address: given.to_owned() });
            Address::parse(given, true).expect(given);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_what_is_wrong() {
        let cases = [
            ("", "it has no port"),
            ("localhost", "it has no port"),
            ("127.0.0.1", "it has no port"),
            ("/run/altsd.sock", "it has no port"),
            (":8080", "it has no host"),
            (".:8080", "it has no host"),
            ("localhost:", "its port is not a number from 1 to 65535"),
            ("localhost:0", "its port is not a number from 1 to 65535"),
            ("localhost:65536", "its port is not a number from 1 to 65535"),
            ("localhost:+80", "its port is not a number from 1 to 65535"),
            ("localhost:http", "its port is not a number from 1 to 65535"),
            ("localhost:80/", "its port is not a number from 1 to 65535"),
            ("http://localhost:80", "it has a scheme"),
            ("unix-abstract:name", "its port is not a number from 1 to 65535"),
            ("::1:8080", "an IPv6 address stands in brackets, as in [::1]:8080"),
            ("fe80::1%eth0:80", "an address with a zone is not supported"),
            ("[fe80::1%1]:80", "an address with a zone is not supported"),
            ("[127.0.0.1]:80", "its host is neither a name nor an IP address"),
            ("127.0.0.1.:80", "its host is neither a name nor an IP address"),
            ("127.1:80", "its host is neither a name nor an IP address"),
            ("2130706433:80", "its host is neither a name nor an IP address"),
            ("256.0.0.1:80", "its host is neither a name nor an IP address"),
            ("user@localhost:80", "its host is neither a name nor an IP address"),
            ("a b:80", "its host is neither a name nor an IP address"),
            (" localhost:80", "its host is neither a name nor an IP address"),
            ("a..b:80", "its host is neither a name nor an IP address"),
            ("ü:80", "its host is neither a name nor an IP address"),
            ("unix:", "behind unix: comes the absolute path of a socket"),
            ("unix:altsd.sock", "behind unix: comes the absolute path of a socket"),
            ("unix:/", "behind unix: comes the absolute path of a socket"),
            ("unix:/run/", "behind unix: comes the absolute path of a socket"),
            ("unix:@altsd", "abstract sockets are not supported"),
            ("unix:\0altsd", "abstract sockets are not supported"),
            ("unix:/run/\0", "abstract sockets are not supported"),
            ("unix://run/a", "behind unix:// comes an absolute path, as in unix:///run/altsd/altsd.sock"),
        ];
        for (given, expected) in cases {
            for allow_remote in [false, true] {
                let error = Address::parse(given, allow_remote).expect_err(given);
                let AddressError::Malformed { address, problem } = &error else { panic!("{error}") };
                assert_eq!((&**address, *problem), (given, expected));
                let text = error.to_string();
                assert!(text.ends_with("; it is HOST:PORT or unix:/PATH"), "{text}");
            }
        }
    }
}
