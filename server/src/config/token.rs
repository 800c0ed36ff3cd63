//! The token door: the section `token`.

mod issuers;
mod keys;
mod rules;

use toml::Spanned;
use url::{Host, Url};

pub(crate) use self::issuers::{IssuerSettings, KeySource};
use self::keys::TokenKeySettings;
use super::{
    address::Address,
    error::{Error, Problem},
    identities::Identities,
    listeners::Listener,
    operation::Admin,
    raw,
    text::Text,
};
use crate::token::rule::Rules;

/// Tokens that last longer than gRPC-Go's five minutes of reserve, and not much: nobody can take them back everywhere.
const DEFAULT_LIFETIME: u64 = 600;
const DEFAULT_MAX_LIFETIME: u64 = 900;

/// Shortest and longest lifetime of a token, in seconds.
const LIFETIMES: (u64, u64) = (60, 3_600);

/// Longest issuer, audience or subject, in bytes.
const MAX_NAME: usize = 512;

/// What the token door needs to know.
#[derive(Clone, Debug)]
pub(crate) struct TokenSettings {
    /// `iss` of every token.
    pub(crate) issuer: String,
    /// How long a token lasts if nobody says otherwise, in seconds.
    pub(crate) lifetime: u64,
    /// How long one lasts at most, in seconds.
    pub(crate) max_lifetime: u64,
    pub(crate) listeners: Vec<TokenListener>,
    pub(crate) keys: TokenKeySettings,
    pub(crate) issuers: Vec<IssuerSettings>,
    pub(crate) rules: Rules,
}

/// An address that tokens are asked for at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenListener {
    pub(crate) address: Address,
    /// Further names that requests may give it in `Host`.
    pub(crate) hosts: Vec<String>,
    /// Whether the kernel says who the callers are. Where it does not, only presented tokens count.
    pub(crate) attested: bool,
}

impl Text<'_> {
    pub(super) fn token(
        &self,
        raw: &raw::Config,
        identities: &Identities,
        listeners: &[Listener],
        admin: Option<&Admin>,
    ) -> Result<Option<TokenSettings>, Error> {
        let Some(table) = &raw.token else { return Ok(None) };
        let at = table.span().start;
        let table = table.as_ref();
        let issuer = self.required(&table.issuer, at, "token.issuer".to_owned())?;
        let issuer = issuer.map(|text| issuer_name(text))?.value;
        let (least, most) = LIFETIMES;
        let max_lifetime =
            self.number(&table.max_lifetime_seconds, "token.max_lifetime_seconds".to_owned(), least, most)?;
        let max_lifetime = max_lifetime.unwrap_or(DEFAULT_MAX_LIFETIME);
        let lifetime =
            self.number(&table.lifetime_seconds, "token.lifetime_seconds".to_owned(), least, max_lifetime)?;
        let issuers = self.token_issuers(&table.trusted_issuer, &issuer)?;
        let rules = self.token_rules(&table.rule, &issuers, max_lifetime)?;
        let listeners = self.token_listeners(table, at, identities.has_workloads(), listeners, admin)?;
        let keys = self.token_keys(raw, table.keys.as_ref(), at)?;
        let lifetime = lifetime.unwrap_or_else(|| DEFAULT_LIFETIME.min(max_lifetime));
        Ok(Some(TokenSettings { issuer, lifetime, max_lifetime, listeners, keys, issuers, rules }))
    }

    fn token_listeners(
        &self,
        table: &raw::Token,
        at: usize,
        has_workloads: bool,
        handshakers: &[Listener],
        admin: Option<&Admin>,
    ) -> Result<Vec<TokenListener>, Error> {
        if table.listener.is_empty() {
            return Err(self.place(at, "token.listener").refuse(Problem::NoTokenListener));
        }
        let mut listeners: Vec<TokenListener> = Vec::new();
        for (index, table) in table.listener.iter().enumerate() {
            let key = |name: &str| format!("token.listener[{index}].{name}");
            let one = self.token_listener(table, has_workloads, &key)?;
            let others = handshakers.iter().map(|listener| &listener.address);
            let others = others.chain(admin.map(|admin| &admin.address));
            let mut others = others.chain(listeners.iter().map(|listener| &listener.address));
            if others.any(|other| other.same_place(&one.address)) {
                let place = self.place(table.span().start, key("address"));
                return Err(place.refuse(Problem::TokenAddressTaken(one.address.to_string())));
            }
            listeners.push(one);
        }
        Ok(listeners)
    }

    fn token_listener(
        &self,
        table: &Spanned<raw::TokenListener>,
        has_workloads: bool,
        key: &dyn Fn(&str) -> String,
    ) -> Result<TokenListener, Error> {
        let at = table.span().start;
        let table = table.as_ref();
        let text = self.required(&table.address, at, key("address"))?;
        let mut address = text.map(|text| Address::parse(text).map_err(Problem::Address))?.value;
        if let Some(mode) = &table.mode {
            let refuse = |problem| self.at(mode, key("mode")).refuse(Problem::Address(problem));
            address = address.with_mode(mode.as_ref()).map_err(refuse)?;
        }
        let is_unix = matches!(address, Address::Unix { .. });
        let attested = match &table.attested {
            Some(attested) if *attested.as_ref() && !has_workloads => {
                return Err(self.at(attested, key("attested")).refuse(Problem::NoWorkloads));
            }
            Some(attested) => *attested.as_ref(),
            None => is_unix && has_workloads,
        };
        let host = |(number, host): (usize, &Spanned<String>)| {
            let placed = self.placed(host, format!("{}[{number}]", key("hosts")));
            Ok(placed.map(|text| host_name(text))?.value)
        };
        let hosts = table.hosts.iter().enumerate().map(host).collect::<Result<_, _>>()?;
        Ok(TokenListener { address, hosts, attested })
    }
}

/// The name of an issuer as tokens and discovery have it: verifiers compare it to the letter.
fn issuer_name(text: &str) -> Result<String, Problem> {
    let refuse = |what| Problem::TokenIssuer { text: text.chars().take(80).collect(), what };
    let url = Url::parse(text).map_err(|_| refuse("it is no URL"))?;
    let local = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => return Err(refuse("it has no host")),
    };
    match url.scheme() {
        "https" => {}
        "http" if local => {}
        _ => return Err(refuse("it must be https, or http on a loopback address")),
    }
    if url.query().is_some()
        || url.fragment().is_some()
        || !url.username().is_empty()
        || url.password().is_some()
    {
        return Err(refuse("it has a query, a fragment or a user"));
    }
    if text.ends_with('/') {
        return Err(refuse("it ends with a slash, which verifiers would compare; leave it out"));
    }
    if text.len() > MAX_NAME {
        return Err(refuse("it is longer than 512 bytes"));
    }
    // What the library would write otherwise, such as a port that is the default, somebody's verifier does too.
    if url.as_str().trim_end_matches('/') != text {
        return Err(refuse("it is not in the plain spelling of its URL"));
    }
    Ok(text.to_owned())
}

/// A name or address, with a port or without, as `Host` has it.
fn host_name(text: &str) -> Result<String, Problem> {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte));
    let good = plain && !text.is_empty() && text.len() <= MAX_NAME;
    good.then(|| text.to_ascii_lowercase()).ok_or_else(|| Problem::HostName(text.chars().take(80).collect()))
}

/// A name without control characters that is not too long.
fn plain_name(text: &str) -> Result<String, Problem> {
    let good = !text.is_empty() && text.len() <= MAX_NAME && !text.chars().any(char::is_control);
    good.then(|| text.to_owned()).ok_or_else(|| Problem::TokenName(text.chars().take(80).collect()))
}
