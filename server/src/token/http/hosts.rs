//! Which host names a listener is called by. A web page can have its own name lead to this node, and then ask here with
//! the browser's connection: what such a request says in `Host` is the name of the page.

use hyper::{HeaderMap, Uri, header};

use crate::{config::Address, token::error::TokenError};

/// The names that programs know the metadata server of a machine by: gRPC core ends it with a dot.
const METADATA: [&str; 2] = ["metadata.google.internal", "metadata.google.internal."];

/// The host names of one listener.
#[derive(Clone, Debug)]
pub(crate) struct Hosts {
    /// In lower case, without ports; an address of IPv6 with its brackets.
    names: Vec<String>,
    /// Whether a request may name none.
    or_none: bool,
}

impl Hosts {
    /// Those of a listener at this address: itself, `localhost`, and `further` ones; of one that attests its callers,
    /// the name of the metadata server too. On a unix socket, where no page gets, there may be none.
    pub(crate) fn of(address: &Address, further: &[String], attests: bool) -> Self {
        let mut names = vec!["localhost".to_owned()];
        names.extend(further.iter().map(|name| without_port(name).to_ascii_lowercase()));
        names.extend(METADATA.iter().filter(|_| attests).map(|name| (*name).to_owned()));
        let or_none = match address {
            Address::Unix { .. } => true,
            Address::Tcp(address) if address.is_ipv6() => {
                names.push(format!("[{}]", address.ip()));
                false
            }
            Address::Tcp(address) => {
                names.push(address.ip().to_string());
                false
            }
        };
        Self { names, or_none }
    }

    /// Refuses requests that name another host, in `Host` or in the address of the request.
    pub(super) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), TokenError> {
        let mut named = headers.get_all(header::HOST).iter();
        let host = match (named.next(), named.next()) {
            (_, Some(_)) => return Err(TokenError::NoHost),
            (Some(host), None) => host.to_str().map_err(|_| TokenError::Host)?,
            (None, None) => "",
        };
        let authority = uri.authority().map(|authority| authority.as_str());
        for named in [Some(host), authority].into_iter().flatten() {
            if named.is_empty() {
                self.or_none.then_some(()).ok_or(TokenError::NoHost)?;
            } else if !self.names.contains(&without_port(named).to_ascii_lowercase()) {
                return Err(TokenError::Host);
            }
        }
        Ok(())
    }
}

/// The port says nothing of who asks: it is what the connection leads to, or the port of a forwarder before it.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}
