//! Names that count as near by what they are called must lead somewhere near.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
};

use hyper_util::client::legacy::connect::{HttpConnector, dns::Name};
use tower_service::Service;

/// Whether what is sent there stays on this machine or the link that it is on. A machine in a cloud has its host alone
/// on its link-local addresses.
pub(super) fn is_near(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local(),
    }
}

/// What connects to near addresses of names alone. Literal addresses it does not look at.
pub(super) fn connector() -> HttpConnector<NearResolver> {
    let mut connector = HttpConnector::new_with_resolver(NearResolver);
    connector.set_nodelay(true);
    connector
}

/// Looks names up, and leaves out what is far away: the answer of a name server that others can reach, or an
/// entry of a hosts file, must not lead keys away in plaintext.
#[derive(Clone)]
pub(super) struct NearResolver;

impl Service<Name> for NearResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(async move {
            // The port is that of the URI; it is put in later.
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(near(name.as_str(), found.collect())?.into_iter())
        })
    }
}

/// Those of the addresses of `name` that are near.
///
/// # Errors
/// [`io::ErrorKind::PermissionDenied`] when all are far away.
fn near(name: &str, mut found: Vec<SocketAddr>) -> io::Result<Vec<SocketAddr>> {
    let first = found.first().map(SocketAddr::ip);
    found.retain(|address| is_near(address.ip()));
    match first {
        Some(far) if found.is_empty() => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!(
                "{name} leads to {far}, which may be another machine: have it lead to the handshaker of this \
                 machine, or call allow_remote(true) if nobody can listen between the two"
            ),
        )),
        _ => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_near_addresses_of_a_name_are_used() {
        let cases: [(&[&str], &[&str]); 5] = [
            (&[], &[]),
            (&["127.0.0.1:0"], &["127.0.0.1:0"]),
            (&["[::1]:0", "192.0.2.1:0", "127.0.0.1:0"], &["[::1]:0", "127.0.0.1:0"]),
            (&["[2001:db8::1]:0", "169.254.169.254:0"], &["169.254.169.254:0"]),
            (&["[::ffff:192.0.2.1]:0", "[fe80::1]:0"], &["[fe80::1]:0"]),
        ];
        let parsed = |all: &[&str]| -> Vec<SocketAddr> {
            all.iter().map(|address| address.parse().expect("it is an address")).collect()
        };
        for (found, expected) in cases {
            assert_eq!(near("localhost", parsed(found)).ok(), Some(parsed(expected)), "{found:?}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_far_away_is_an_error() {
        for far in ["192.0.2.1", "0.0.0.0", "::", "::ffff:192.0.2.1", "2001:db8::1"] {
            // A literal is looked up as itself.
            let error = NearResolver.call(far.parse().expect("it passes for a name")).await.expect_err(far);
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
            assert!(error.to_string().starts_with(&format!("{far} leads to {far}, ")), "{error}");
        }
        let near = NearResolver.call("localhost".parse().expect("it is a name")).await;
        assert!(near.expect("every machine knows it").all(|address| address.ip().is_loopback()));
    }
}
