//! Channels of tonic over ALTS.

use hyper::Uri;
use tonic::transport::{Channel, Endpoint};

use crate::{AltsConnector, ConnectError};

impl AltsConnector {
    /// A channel to `target`, `HOST:PORT`, with tonic's usual settings; it connects when it is first used, and again
    /// whenever the connection has gone. Why it has none, the `Status` of a call says; of a refusal by the server's side see
    /// [the crate](crate#a-client-of-tonic).
    ///
    /// # Errors
    /// When it is no such target.
    ///
    /// # Panics
    /// Outside of a tokio runtime, as all channels of tonic: make it in the runtime that its calls are made in.
    pub fn channel(&self, target: &str) -> Result<Channel, ConnectError> {
        Ok(Self::endpoint(target)?.connect_with_connector_lazy(self.clone()))
    }

    /// An endpoint for `target`, `HOST:PORT`, to be set up further and given to `connect_with_connector` or its lazy
    /// sister, with this connector. Its requests have the scheme `https`, as those of gRPC's other stacks over ALTS.
    ///
    /// # Errors
    /// When it is no such target.
    pub fn endpoint(target: &str) -> Result<Endpoint, ConnectError> {
        let uri = |scheme: &str| {
            let is_target = |uri: &Uri| {
                uri.authority().is_some_and(|authority| authority == target)
                    && uri.port_u16().is_some_and(|port| port != 0)
                    && uri.host().is_some_and(|host| !host.is_empty())
                    && !target.contains('@')
            };
            let uri = format!("{scheme}://{target}").parse().ok();
            uri.filter(is_target).ok_or_else(|| ConnectError::Target(target.to_owned()))
        };
        // What is connected to has `http`, since tonic wants TLS of its own for `https` as soon as some crate of the
        // program has switched that on; requests have the scheme of the origin.
        Ok(Endpoint::from(uri("http")?).origin(uri("https")?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_calls_by_http_and_asks_by_https() {
        for target in ["greeter.example:50051", "127.0.0.1:1", "[::1]:65535", "localhost:80"] {
            let endpoint = AltsConnector::endpoint(target).expect("it is a target");
            assert_eq!(endpoint.uri().to_string(), format!("http://{target}/"));
        }
    }

    #[test]
    fn what_is_no_host_and_port_is_no_endpoint() {
        let cases = [
            "",
            ":",
            ":50051",
            "greeter.example",
            "greeter.example:",
            "greeter.example:0",
            "greeter.example:65536",
            "greeter.example:port",
            "greeter.example:50051/",
            "greeter.example:50051?query",
            "greeter.example:50051#part",
            "http://greeter.example:50051",
            "unix:/run/greeter.sock",
            "user@greeter.example:50051",
            "greeter example:50051",
            "::1:50051",
            "[::1]",
        ];
        for target in cases {
            let error = AltsConnector::endpoint(target).expect_err(target);
            assert_eq!(error.to_string(), format!("{target:?} is no target, write HOST:PORT"));
        }
    }
}
