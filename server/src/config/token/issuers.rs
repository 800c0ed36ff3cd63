//! Other issuers, whose tokens prove subjects: the sections `token.trusted_issuer`.

use std::path::PathBuf;

use toml::Spanned;
use url::Url;

use super::{issuer_name, plain_name};
use crate::config::{
    error::{Error, Placed, Problem},
    raw,
    text::Text,
};

/// Most issuers of a node.
const MAX_ISSUERS: usize = 256;

/// An issuer whose tokens prove subjects.
#[derive(Clone, Debug)]
pub(crate) struct IssuerSettings {
    /// `iss` of its tokens.
    pub(crate) issuer: Placed<String>,
    /// One of which its tokens must be for.
    pub(crate) audiences: Vec<String>,
    pub(crate) keys: KeySource,
    /// What the server of its keys must be vouched for by; the system's roots if there is none.
    pub(crate) ca_certificates: Option<Placed<PathBuf>>,
    /// How subjects are called in tokens of ours: a template.
    pub(crate) subject: Option<Placed<String>>,
}

/// Where the keys of an issuer come from.
#[derive(Clone, Debug)]
pub(crate) enum KeySource {
    /// The configuration has them.
    Inline(Placed<String>),
    File(Placed<PathBuf>),
    /// They are fetched from here.
    Uri(Placed<String>),
    /// The issuer says where they are, as OpenID Connect Discovery has it.
    Discovery,
}

impl Text<'_> {
    pub(super) fn token_issuers(
        &self,
        raw: &[Spanned<raw::TokenIssuer>],
        own: &str,
    ) -> Result<Vec<IssuerSettings>, Error> {
        let mut issuers: Vec<IssuerSettings> = Vec::new();
        for (index, table) in raw.iter().enumerate() {
            let key = |name: &str| format!("token.trusted_issuer[{index}].{name}");
            if index == MAX_ISSUERS {
                return Err(self
                    .at(table, "token.trusted_issuer")
                    .refuse(Problem::TooMany { limit: MAX_ISSUERS }));
            }
            let one = self.token_issuer(table, own, &key)?;
            let name = &one.issuer.value;
            if let Some(other) = issuers.iter().find(|other| other.issuer.value == *name) {
                let line = other.issuer.place.line;
                return Err(one.issuer.place.refuse(Problem::IssuerTwice { issuer: name.clone(), line }));
            }
            issuers.push(one);
        }
        Ok(issuers)
    }

    fn token_issuer(
        &self,
        table: &Spanned<raw::TokenIssuer>,
        own: &str,
        key: &dyn Fn(&str) -> String,
    ) -> Result<IssuerSettings, Error> {
        let at = table.span().start;
        let table = table.as_ref();
        let issuer =
            self.required(&table.issuer, at, key("issuer"))?.map(|text| match plain_name(text)? {
                name if name == own => Err(Problem::IssuerIsOwn),
                name if matches!(name.as_str(), "local" | "alts" | "self") => {
                    Err(Problem::IssuerReserved(name))
                }
                name => Ok(name),
            })?;
        let audience = |(number, text): (usize, &Spanned<String>)| {
            let placed = self.placed(text, format!("{}[{number}]", key("audiences")));
            Ok(placed.map(|text| plain_name(text))?.value)
        };
        let audiences = match &table.audiences {
            Some(list) if list.as_ref().is_empty() => {
                return Err(self.at(list, key("audiences")).refuse(Problem::NoAudiences));
            }
            Some(list) => list.as_ref().iter().enumerate().map(audience).collect::<Result<_, _>>()?,
            None => vec![own.to_owned()],
        };
        let keys = self.key_source(table, at, &issuer, key)?;
        let file = |path: &Spanned<PathBuf>| self.relative(self.placed(path, key("ca_certificates")));
        let ca_certificates = table.ca_certificates.as_ref().map(file);
        let subject = table
            .subject
            .as_ref()
            .map(|text| Placed { value: text.as_ref().clone(), place: self.at(text, key("subject")) });
        Ok(IssuerSettings { issuer, audiences, keys, ca_certificates, subject })
    }

    fn key_source(
        &self,
        table: &raw::TokenIssuer,
        at: usize,
        issuer: &Placed<String>,
        key: &dyn Fn(&str) -> String,
    ) -> Result<KeySource, Error> {
        match (&table.jwks, &table.jwks_file, &table.jwks_uri) {
            (Some(text), None, None) => Ok(KeySource::Inline(Placed {
                value: text.as_ref().clone(),
                place: self.at(text, key("jwks")),
            })),
            (None, Some(path), None) => {
                Ok(KeySource::File(self.relative(self.placed(path, key("jwks_file")))))
            }
            (None, None, Some(uri)) => {
                let uri = self.placed(uri, key("jwks_uri")).map(|uri| fetched(uri).map(|()| uri.clone()))?;
                Ok(KeySource::Uri(uri))
            }
            (None, None, None) => {
                // Discovery asks the issuer by its name.
                issuer_name(issuer.value.trim_end_matches('/'))
                    .map_err(|_| self.place(at, key("jwks_uri")).refuse(Problem::KeysMissing))?;
                Ok(KeySource::Discovery)
            }
            _ => Err(self.place(at, key("jwks")).refuse(Problem::KeysTwice)),
        }
    }
}

/// Keys that come in clear would be anybody's.
fn fetched(uri: &str) -> Result<(), Problem> {
    let refuse = || Problem::JwksUri(uri.chars().take(80).collect());
    let url = Url::parse(uri).map_err(|_| refuse())?;
    let loopback = match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        _ => false,
    };
    let good = url.scheme() == "https" || (url.scheme() == "http" && loopback);
    (good && uri.len() <= 2_048).then_some(()).ok_or_else(refuse)
}
