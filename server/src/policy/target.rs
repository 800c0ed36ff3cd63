//! Secure naming: which accounts may stand behind a name that a program calls.

use std::{fmt, net::Ipv6Addr};

use super::{
    model::{MAX_DESCRIPTION, at_most},
    name::AccountName,
    problem::{Problem, Refused, printable, shortened},
};

/// Most accounts of one name.
pub(crate) const MAX_TARGET_ACCOUNTS: usize = 1_000;

/// A host, or a port of it, in one spelling: lower case, no dot at the end, an IPv6 address in brackets and as short
/// as it gets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TargetKey(Box<str>);

impl TargetKey {
    /// Reads `HOST` or `HOST:PORT`.
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        Self::read(text).map_err(|what| Problem::TargetName { text: shortened(text), what })
    }

    fn read(text: &str) -> Result<Self, &'static str> {
        if text.contains("//") {
            return Err("it has a scheme");
        }
        let (host, port) = split(text);
        let host = match bracketed(host) {
            Some(address) => {
                let address: Ipv6Addr = address.parse().map_err(|_| "in brackets stands an IPv6 address")?;
                format!("[{address}]")
            }
            None => host_name(host)?,
        };
        Ok(Self(match port {
            None => host.into(),
            Some(port) => format!("{host}:{}", port_number(port).ok_or("a port is 1 to 65535")?).into(),
        }))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TargetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The accounts that a program may meet when it calls a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TargetName {
    name: TargetKey,
    description: Box<str>,
    accounts: Vec<AccountName>,
}

impl TargetName {
    /// At least one account and at most [`MAX_TARGET_ACCOUNTS`].
    pub(crate) fn new(
        name: TargetKey,
        description: &str,
        accounts: Vec<AccountName>,
    ) -> Result<Self, Refused> {
        let description = printable(description, MAX_DESCRIPTION).map_err(|it| it.at("description"))?.into();
        if accounts.is_empty() {
            return Err(Problem::NoAccounts.at("accounts"));
        }
        at_most(accounts.len(), MAX_TARGET_ACCOUNTS).map_err(|it| it.at("accounts"))?;
        Ok(Self { name, description, accounts })
    }

    pub(crate) fn name(&self) -> &TargetKey {
        &self.name
    }

    pub(crate) fn description(&self) -> &str {
        &self.description
    }

    pub(crate) fn accounts(&self) -> &[AccountName] {
        &self.accounts
    }
}

/// How a called name is looked up: the texts of the entries that can stand for it, the more exact one first. Programs
/// reach the port 443 of a host if they name none. What no entry can name has no exact one.
pub(super) fn spellings(called: &str) -> (Option<String>, String) {
    let (host, port) = split(without_dns(called.trim()));
    let host = match bracketed(host) {
        Some(inside) => ipv6(inside).unwrap_or_else(|| lower_host(inside)),
        // Some name an address without brackets where no port follows.
        None => ipv6(host).unwrap_or_else(|| lower_host(host)),
    };
    (called_port(port.unwrap_or_default()).map(|port| format!("{host}:{port}")), host)
}

/// A called name without the scheme of gRPC's DNS resolver, and the DNS server that may stand in it:
/// `dns:NAME`, `dns:///NAME`, `dns://SERVER/NAME`. What is `dns:PORT` is a host of this name.
fn without_dns(called: &str) -> &str {
    let Some((scheme, name)) = called.split_once(':') else { return called };
    let is_port = name.bytes().all(|byte| byte.is_ascii_digit())
        || ["http", "https"].iter().any(|port| name.eq_ignore_ascii_case(port));
    if !scheme.eq_ignore_ascii_case("dns") || is_port {
        return called;
    }
    match name.strip_prefix("//") {
        Some(rest) => rest.split_once('/').map_or(rest, |(_server, name)| name),
        None => name.strip_prefix('/').unwrap_or(name),
    }
}

fn lower_host(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// The port that programs come to by what they write behind the colon. They read it more leniently than entries are
/// read: 443 if there is nothing, the names of two, and a number with a sign, more zeros or something behind it.
fn called_port(text: &str) -> Option<u16> {
    if text.is_empty() || text.eq_ignore_ascii_case("https") {
        return Some(443);
    }
    if text.eq_ignore_ascii_case("http") {
        return Some(80);
    }
    let text = text.trim_start().trim_start_matches('+');
    let digits = text.find(|c: char| !c.is_ascii_digit()).map_or(text, |end| &text[..end]);
    digits.trim_start_matches('0').parse().ok()
}

/// An address without the zone that it may carry: the same host is meant.
fn ipv6(text: &str) -> Option<String> {
    let address = text.split('%').next().unwrap_or(text);
    address.parse::<Ipv6Addr>().ok().map(|address| format!("[{address}]"))
}

/// Host and port; an address with colons and without brackets is a host.
fn split(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    }
}

fn bracketed(host: &str) -> Option<&str> {
    host.strip_prefix('[')?.strip_suffix(']')
}

fn port_number(text: &str) -> Option<u16> {
    let is_number = (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| is_number && *port != 0)
}

/// Labels of letters, digits, hyphens and underscores, as services are named too.
fn host_name(text: &str) -> Result<String, &'static str> {
    let host = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    if text.contains(':') {
        return Err("an IPv6 address stands in brackets");
    }
    if host.len() > 253 || !host.split('.').all(label) {
        return Err("a host is labels of letters, digits, - and _, at most 253 bytes");
    }
    Ok(host.to_ascii_lowercase())
}
