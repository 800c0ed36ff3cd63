//! What a program asks for: a request of RFC 8693 that cannot be invalid, from the bytes that it sent.
//!
//! Parameters without a value count as if they were not there (RFC 6749, section 3.1), and so do those that nobody
//! knows. Only `audience` and `resource` may be repeated.

mod body;

use std::fmt;

use zeroize::Zeroizing;

use self::body::{Parameter, Sent};

/// The grant type of token exchange.
pub(crate) const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// Longest token, in bytes.
const MAX_TOKEN: usize = 16 << 10;

/// Longest `scope`, in bytes, and most scopes in it.
const MAX_SCOPE: usize = 4 << 10;
const MAX_SCOPES: usize = 64;

/// Longest audience, resource or type, in bytes, and most audiences and resources together.
const MAX_TARGET: usize = 2 << 10;
const MAX_TARGETS: usize = 16;

/// A request for a token.
#[derive(Debug)]
pub(crate) struct ExchangeRequest {
    /// What proves whom the token shall be about.
    pub(crate) subject: Presented,
    /// What proves who acts for that one.
    pub(crate) actor: Option<Presented>,
    pub(crate) requested: Requested,
    /// `audience` and then `resource`, each once, in the order of the request. Each is wanted.
    pub(crate) targets: Vec<String>,
    /// Each once, in the order of the request; `None` if it asks for none.
    pub(crate) scopes: Option<Vec<String>>,
}

/// A proof as it was presented.
#[derive(Debug)]
pub(crate) struct Presented {
    pub(crate) kind: TokenKind,
    pub(crate) token: Token,
}

/// The text of a token: never empty, at most 16 KiB of visible ASCII. It shows nothing of itself, and is wiped when it is
/// dropped; the buffers that it came in are not.
pub(crate) struct Token(Zeroizing<String>);

impl Token {
    /// Reads a token; whitespace around it is none of it.
    pub(crate) fn parse(name: &'static str, text: &str) -> Result<Self, RequestProblem> {
        let text = text.trim();
        if text.len() > MAX_TOKEN {
            return Err(RequestProblem::TooLong { name, most: MAX_TOKEN });
        }
        if text.is_empty() {
            return Err(RequestProblem::Missing { name });
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(RequestProblem::Characters { name });
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// The text, for who verifies it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// What kind of proof is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// A JWT of a configured issuer.
    Jwt,
    /// The same by another name.
    IdToken,
    /// An access token of ours.
    AccessToken,
    /// None: the caller is the subject, by the kernel's word.
    LocalPeer,
    /// The handle of a finished handshake.
    AltsContext,
}

/// Each kind by its name. Other kinds there are, and none of them proves anything here.
const TOKEN_KINDS: [(&str, TokenKind); 5] = [
    ("urn:ietf:params:oauth:token-type:jwt", TokenKind::Jwt),
    ("urn:ietf:params:oauth:token-type:id_token", TokenKind::IdToken),
    ("urn:ietf:params:oauth:token-type:access_token", TokenKind::AccessToken),
    ("urn:altsd:token-type:local-peer", TokenKind::LocalPeer),
    ("urn:altsd:token-type:alts-context", TokenKind::AltsContext),
];

impl TokenKind {
    /// A short name, for the log and for metrics.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::IdToken => "id_token",
            Self::AccessToken => "access_token",
            Self::LocalPeer => "local_peer",
            Self::AltsContext => "alts_context",
        }
    }

    fn named(name: &str) -> Option<Self> {
        TOKEN_KINDS.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
    }
}

/// What kind of token is asked for. Both are JWTs; they differ in `typ`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Requested {
    /// What is given to who asks for nothing.
    AccessToken,
    Jwt,
}

impl Requested {
    /// Its name in requests and answers.
    pub(crate) fn urn(self) -> &'static str {
        match self {
            Self::AccessToken => "urn:ietf:params:oauth:token-type:access_token",
            Self::Jwt => "urn:ietf:params:oauth:token-type:jwt",
        }
    }

    /// `typ` of its header: that of RFC 9068, or the only one that a JWT-SVID may have.
    pub(crate) fn typ(self) -> &'static str {
        match self {
            Self::AccessToken => "at+jwt",
            Self::Jwt => "JWT",
        }
    }
}

/// Why bytes are no request. No text holds anything that was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RequestProblem {
    #[error("the body has to be application/x-www-form-urlencoded or application/json")]
    ContentType,
    #[error("the body cannot be read: {0}")]
    Malformed(String),
    #[error("{name} is missing")]
    Missing { name: &'static str },
    #[error("{name} is there more than once")]
    Repeated { name: &'static str },
    #[error("{name} has to be a string{}", if *.list { ", or a list of strings" } else { "" })]
    WrongType { name: &'static str, list: bool },
    #[error("{name} has more than {most} bytes")]
    TooLong { name: &'static str, most: usize },
    #[error("there are more than {most} of {name}")]
    TooMany { name: &'static str, most: usize },
    #[error("{name} has characters that it must not have")]
    Characters { name: &'static str },
    #[error("grant_type is none that is served here; the one there is: {TOKEN_EXCHANGE}")]
    GrantType,
    #[error(
        "{name} is none that is taken here; there are {}",
        TOKEN_KINDS.map(|(name, _)| name).join(", ")
    )]
    TokenKind { name: &'static str },
    #[error(
        "requested_token_type is none that is issued here; there are {} and {}",
        Requested::AccessToken.urn(),
        Requested::Jwt.urn()
    )]
    RequestedKind,
    #[error("{there} needs {missing} beside it")]
    HalfAnActor { there: &'static str, missing: &'static str },
    #[error("resource has to be an absolute URI without fragment")]
    Resource,
    #[error("scope has to be words of printable ASCII without quotation marks and backslashes")]
    Scope,
    #[error("scope has more than {MAX_SCOPES} words, or more than {MAX_SCOPE} bytes")]
    TooManyScopes,
}

impl ExchangeRequest {
    /// Reads the body of a request.
    pub(crate) fn parse(content_type: &str, body: &[u8]) -> Result<Self, RequestProblem> {
        let mut sent = Parameters::read(content_type, body)?;
        match sent.one("grant_type")?.as_deref() {
            Some(TOKEN_EXCHANGE) => {}
            Some(_) => return Err(RequestProblem::GrantType),
            None => return Err(RequestProblem::Missing { name: "grant_type" }),
        }
        let subject = sent.presented("subject_token", "subject_token_type")?;
        let subject = subject.map_err(|missing| RequestProblem::Missing { name: missing.missing })?;
        let actor = match sent.presented("actor_token", "actor_token_type")? {
            Ok(actor) => Some(actor),
            Err(Half { there: None, .. }) => None,
            Err(Half { there: Some(there), missing }) => {
                return Err(RequestProblem::HalfAnActor { there, missing });
            }
        };
        let requested = match sent.one("requested_token_type")?.as_deref() {
            None => Requested::AccessToken,
            Some(name) => [Requested::AccessToken, Requested::Jwt]
                .into_iter()
                .find(|requested| requested.urn() == name)
                .ok_or(RequestProblem::RequestedKind)?,
        };
        let targets = sent.targets()?;
        let scopes = sent.one("scope")?.map(|text| scopes(&text)).transpose()?.flatten();
        Ok(Self { subject, actor, requested, targets, scopes })
    }
}

/// The token of a request to `/introspect` or `/revoke`: the parameter `token`, of a form or of JSON.
pub(crate) fn token_of(content_type: &str, body: &[u8]) -> Result<Token, RequestProblem> {
    let mut sent = Parameters::read(content_type, body)?;
    // It is a hint only, and we have one kind of token.
    sent.one("token_type_hint")?;
    let text = sent.one("token")?.ok_or(RequestProblem::Missing { name: "token" })?;
    Token::parse("token", &text)
}

/// Parameters that have a value and were not looked at yet.
struct Parameters(Vec<Parameter>);

/// A token without its type, or the other way round, or neither.
struct Half {
    there: Option<&'static str>,
    missing: &'static str,
}

impl Parameters {
    fn read(content_type: &str, body: &[u8]) -> Result<Self, RequestProblem> {
        let mut parameters = body::read(content_type, body)?;
        parameters.retain_mut(|parameter| match &mut parameter.value {
            Sent::Text(text) => !text.trim().is_empty(),
            Sent::List(texts) => {
                texts.retain(|text| !text.trim().is_empty());
                true
            }
            Sent::Other => true,
        });
        Ok(Self(parameters))
    }

    fn all(&mut self, name: &str) -> Vec<Sent> {
        self.0.extract_if(.., |parameter| parameter.name == name).map(|parameter| parameter.value).collect()
    }

    /// A parameter that is there once at most.
    fn one(&mut self, name: &'static str) -> Result<Option<String>, RequestProblem> {
        let mut all = self.all(name).into_iter();
        match (all.next(), all.next()) {
            (None, _) => Ok(None),
            (Some(Sent::Text(text)), None) => Ok(Some(text)),
            (Some(_), None) => Err(RequestProblem::WrongType { name, list: false }),
            (Some(_), Some(_)) => Err(RequestProblem::Repeated { name }),
        }
    }

    /// A parameter that may be repeated.
    fn many(&mut self, name: &'static str) -> Result<Vec<String>, RequestProblem> {
        let mut values = Vec::new();
        for sent in self.all(name) {
            match sent {
                Sent::Text(text) => values.push(text),
                Sent::List(texts) => values.extend(texts),
                Sent::Other => return Err(RequestProblem::WrongType { name, list: true }),
            }
        }
        Ok(values)
    }

    fn presented(
        &mut self,
        token: &'static str,
        kind: &'static str,
    ) -> Result<Result<Presented, Half>, RequestProblem> {
        let (text, type_name) = (self.one(token)?, self.one(kind)?);
        let (text, type_name) = match (text, type_name) {
            (Some(text), Some(type_name)) => (text, type_name),
            (Some(_), None) => return Ok(Err(Half { there: Some(token), missing: kind })),
            (None, Some(_)) => return Ok(Err(Half { there: Some(kind), missing: token })),
            (None, None) => return Ok(Err(Half { there: None, missing: token })),
        };
        let kind = TokenKind::named(&type_name).ok_or(RequestProblem::TokenKind { name: kind })?;
        Ok(Ok(Presented { kind, token: Token::parse(token, &text)? }))
    }

    fn targets(&mut self) -> Result<Vec<String>, RequestProblem> {
        let audiences = self.many("audience")?;
        let resources = self.many("resource")?;
        if audiences.len() + resources.len() > MAX_TARGETS {
            return Err(RequestProblem::TooMany { name: "audience and resource", most: MAX_TARGETS });
        }
        if !resources.iter().all(|resource| is_absolute_uri(resource)) {
            return Err(RequestProblem::Resource);
        }
        let names = audiences.iter().map(|_| "audience").chain(resources.iter().map(|_| "resource"));
        for (target, name) in audiences.iter().chain(&resources).zip(names) {
            if target.len() > MAX_TARGET {
                return Err(RequestProblem::TooLong { name, most: MAX_TARGET });
            }
            if target.chars().any(char::is_control) {
                return Err(RequestProblem::Characters { name });
            }
        }
        Ok(each_once(audiences.into_iter().chain(resources)))
    }
}

/// Reads a list of scopes (RFC 6749, section 3.3). Spaces too many say nothing.
fn scopes(text: &str) -> Result<Option<Vec<String>>, RequestProblem> {
    if text.len() > MAX_SCOPE {
        return Err(RequestProblem::TooManyScopes);
    }
    let is_scope = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    let scopes = each_once(text.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned));
    if !scopes.iter().all(|scope| scope.bytes().all(is_scope)) {
        return Err(RequestProblem::Scope);
    }
    if scopes.len() > MAX_SCOPES {
        return Err(RequestProblem::TooManyScopes);
    }
    Ok(Some(scopes).filter(|scopes| !scopes.is_empty()))
}

/// Few values, the first of each.
fn each_once(values: impl Iterator<Item = String>) -> Vec<String> {
    let mut once = Vec::new();
    for value in values {
        if !once.contains(&value) {
            once.push(value);
        }
    }
    once
}

/// As RFC 3986 has it in section 4.3, as far as it matters: a scheme, something behind it, and no fragment.
fn is_absolute_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let is_rest = |byte: u8| {
        byte.is_ascii_graphic()
            && !matches!(byte, b'#' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}')
    };
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(is_scheme)
        && !rest.is_empty()
        && rest.bytes().all(is_rest)
}

#[cfg(test)]
mod tests;
