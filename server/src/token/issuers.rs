//! Issuers whose tokens prove subjects: what of their tokens is taken, and by which keys.

mod address;
mod claims;
mod fetch;
mod keys;
mod template;

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use alts_request_auth::{Error as TokenError, Expected, KeySet, Token};
use async_trait::async_trait;

pub(crate) use self::template::{SubjectTemplate, TemplateProblem};
use self::{
    claims::refused,
    keys::{Keys, KeysProblem, Source},
};
use super::{
    parts::{self, SubjectProblem},
    subject::Subject,
};
use crate::{
    clock::Clock,
    config::{self, KeySource},
};

/// An issuer whose tokens prove subjects.
#[derive(Clone, Debug)]
pub(crate) struct IssuerSettings {
    /// `iss` of its tokens, exactly.
    pub(crate) issuer: String,
    /// One of which its tokens must be for; never none.
    pub(crate) audiences: Vec<String>,
    pub(crate) keys: Source,
    /// What the server of its keys must be vouched for by, in PEM; the system's roots, if nothing.
    pub(crate) ca_certificates: Option<PathBuf>,
    /// What its subjects are called in tokens of ours.
    pub(crate) subject: SubjectTemplate,
}

/// Why an issuer cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IssuersProblem {
    #[error("issuer {issuer}: subject: {problem}")]
    Subject { issuer: String, problem: TemplateProblem },
    #[error("issuer {issuer}: {problem}")]
    Keys { issuer: String, problem: KeysProblem },
    #[error("issuer {0} is there twice; leave out one")]
    Twice(String),
    #[error("issuer {0} has no audiences, so that its tokens for anybody would be taken; name one")]
    NoAudiences(String),
}

impl IssuerSettings {
    /// What the configuration says, with keys of files read. Nothing is fetched. Blocks.
    pub(crate) fn of(configured: &config::IssuerSettings) -> Result<Self, IssuersProblem> {
        let issuer = configured.issuer.value.clone();
        let wrong = |problem| IssuersProblem::Keys { issuer: issuer.clone(), problem };
        let keys = match &configured.keys {
            KeySource::Inline(text) => {
                let set = KeySet::parse(text.value.as_bytes());
                let problem = |problem: alts_request_auth::KeySetError| KeysProblem::Set {
                    url: "jwks".to_owned(),
                    problem: problem.to_string(),
                };
                Source::Inline(set.map_err(|set| wrong(problem(set)))?)
            }
            KeySource::File(path) => {
                keys::read(&path.value).map_err(wrong)?;
                Source::File(path.value.clone())
            }
            KeySource::Uri(uri) => {
                Source::Uri(fetch::parse(&uri.value).map_err(|problem| wrong(problem.into()))?)
            }
            KeySource::Discovery => {
                let at = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
                let at = fetch::parse(&at).map_err(|problem| wrong(problem.into()))?;
                Source::Discovery { issuer: issuer.clone(), at }
            }
        };
        let subject = match &configured.subject {
            Some(text) => SubjectTemplate::parse(&text.value)
                .map_err(|problem| IssuersProblem::Subject { issuer: issuer.clone(), problem })?,
            None => SubjectTemplate::default(),
        };
        let ca_certificates = configured.ca_certificates.as_ref().map(|path| path.value.clone());
        Ok(Self { issuer, audiences: configured.audiences.clone(), keys, ca_certificates, subject })
    }
}

/// All of them, by their names.
pub(crate) struct Issuers(HashMap<String, Issuer>);

struct Issuer {
    audiences: Vec<String>,
    subject: SubjectTemplate,
    keys: Keys,
}

impl Issuers {
    /// Begins to get their keys, for as long as this is there, and waits for none. Must be called in a tokio runtime.
    pub(crate) fn start(
        settings: Vec<IssuerSettings>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, IssuersProblem> {
        let mut issuers = HashMap::new();
        for IssuerSettings { issuer, audiences, keys, ca_certificates, subject } in settings {
            if audiences.is_empty() {
                return Err(IssuersProblem::NoAudiences(issuer));
            }
            if issuers.contains_key(&issuer) {
                return Err(IssuersProblem::Twice(issuer));
            }
            let keys = Keys::start(issuer.clone(), keys, ca_certificates, clock.clone());
            issuers.insert(issuer, Issuer { audiences, subject, keys });
        }
        Ok(Self(issuers))
    }
}

#[async_trait]
impl parts::Issuers for Issuers {
    async fn verify(&self, text: &str, now: u64) -> Result<Subject, SubjectProblem> {
        let token = Token::parse(text).map_err(at_fault)?;
        let known = token.claims().issuer().and_then(|issuer| self.0.get_key_value(issuer));
        let (name, issuer) = known.ok_or_else(|| at_fault(TokenError::UnknownIssuer))?;
        let expected = Expected { issuer: Some(name), audiences: &issuer.audiences, must_expire: true };
        token.check_claims(&expected, now).map_err(at_fault)?;
        // A token that is of no use makes nobody fetch a key.
        let signed = text.rsplit_once('.').map_or(text, |(signed, _)| signed);
        let subject = claims::subject(token.claims(), signed, &issuer.subject)?;
        let keys = issuer.keys.for_kid(token.header().kid()).await.ok_or_else(|| {
            SubjectProblem::Unavailable(format!("the keys of {name} cannot be had at this moment; try again"))
        })?;
        token.verify_signature(&keys).map_err(at_fault)?;
        Ok(subject)
    }
}

/// The words are those of Envoy, and hold nothing of the token.
fn at_fault(problem: TokenError) -> SubjectProblem {
    refused(problem.reason(), &problem.to_string())
}

#[cfg(test)]
mod tests;
