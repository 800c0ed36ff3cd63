//! Why a token is good or bad: every check is made, whichever fails, by the code that verifies tokens, which is asked
//! for one part at a time. It takes values and returns values.

mod claims;

pub(super) use self::claims::distance;

use alts_request_auth::{Error, Expected, KeySet, MAX_TOKEN, Signed, Token};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use serde_json::{Map, Value};

/// A header, a payload and a signature that are good: they stand where another part alone is read.
const HEADER: &str = "eyJhbGciOiJFUzI1NiJ9";
const PAYLOAD: &str = "e30";
const SIGNATURE: &str = "AA";

/// Most characters of a value that are shown.
const MAX_SHOWN: usize = 160;

/// A token, and what it is compared with.
pub(super) struct Question<'a> {
    pub(super) token: &'a str,
    /// The keys, or why there are none.
    pub(super) keys: Result<&'a KeySet, &'a str>,
    pub(super) issuer: Option<&'a str>,
    pub(super) audiences: &'a [String],
    /// In seconds since 1970.
    pub(super) now: u64,
    pub(super) standing: Standing,
}

/// What the issuer itself says of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It was not asked: why.
    NotAsked(String),
    /// It counts.
    Counts,
    /// It does not: it has ended, is revoked, or is none of its tokens.
    CountsNot,
}

/// What was found.
#[derive(Debug, Serialize)]
pub(super) struct Explanation {
    pub(super) checks: Vec<Check>,
    pub(super) verdict: Verdict,
}

/// One check.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    /// What of the token is looked at.
    pub(super) of: &'static str,
    pub(super) finding: Finding,
    /// What it says, if it is there. Never anything of the signature.
    pub(super) value: Option<String>,
    pub(super) because: String,
}

/// How a check comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Finding {
    Ok,
    Bad,
    /// It decides nothing here.
    Note,
    NotChecked,
}

/// What a verifier would answer.
#[derive(Debug, Serialize)]
pub(super) struct Verdict {
    pub(super) outcome: Outcome,
    /// Of HTTP, if it is known.
    pub(super) status: Option<u16>,
    /// A stable code for a bad one.
    pub(super) reason: Option<&'static str>,
    pub(super) text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    Good,
    Bad,
    /// Not everything that decides could be checked.
    Unknown,
}

/// Explains a token, or what was given for one.
pub(super) fn explain(question: &Question<'_>) -> Explanation {
    let parts: Vec<&str> = question.token.split('.').collect();
    let mut checks = vec![form(question.token, &parts)];
    match parts[..] {
        [header, payload, signature] => {
            checks.extend(header_checks(header, question));
            checks.extend(claims::checks(payload, question));
            checks.push(signature_check(header, payload, signature, question.keys));
        }
        [header, payload] => {
            checks.extend(header_checks(header, question));
            checks.extend(claims::checks(payload, question));
            checks.push(check("signature", Finding::Bad, None, "it is missing"));
        }
        [header, _, _, _, _] => checks.extend(header_checks(header, question)),
        _ => {}
    }
    Explanation { checks, verdict: verdict(question) }
}

/// What it is, by its shape.
fn form(token: &str, parts: &[&str]) -> Check {
    let is_text = token.bytes().all(|byte| byte.is_ascii_graphic());
    let (finding, because) = match parts {
        _ if token.len() > MAX_TOKEN => {
            (Finding::Bad, format!("it is longer than the {MAX_TOKEN} octets that any token may have"))
        }
        _ if token.starts_with("Bearer ") || token.starts_with("bearer ") => {
            (Finding::Bad, "it is the value of a header: take off the first word".to_owned())
        }
        _ if token.starts_with("-----BEGIN ") => {
            (Finding::Bad, "it is PEM: a key or a certificate, and no token".to_owned())
        }
        _ if token.starts_with(['{', '[']) => {
            (Finding::Bad, "it is JSON: a token has three parts in base64url".to_owned())
        }
        _ if !is_text => {
            (Finding::Bad, "it has white space or other characters that no token has".to_owned())
        }
        [_, _, ""] => (Finding::Bad, "it is a JWT without a signature".to_owned()),
        [_, _, _] => (Finding::Ok, "three parts: a signed JWT".to_owned()),
        [_, _] => (Finding::Bad, "two parts of three: a JWT that has lost its signature".to_owned()),
        [_, _, _, _, _] => (Finding::Bad, "five parts: a JWE, which only its recipient can read".to_owned()),
        [_] => {
            (Finding::Bad, "one part, without a dot: no JWT; opaque tokens are for their issuer".to_owned())
        }
        parts => (Finding::Bad, format!("{} parts: a signed JWT has three", parts.len())),
    };
    check("form", finding, Some(format!("{} characters", token.chars().count())), because)
}

/// `alg`, `kid`, `typ` and what else of a header decides.
fn header_checks(segment: &str, question: &Question<'_>) -> Vec<Check> {
    let alone = format!("{segment}.{PAYLOAD}.{SIGNATURE}");
    let fault = Token::parse(&alone).err();
    let members = match members(segment) {
        Ok(members) => members,
        Err(problem) => return vec![check("header", Finding::Bad, None, problem)],
    };
    let mut checks = Vec::new();
    if fault == Some(Error::HeaderNotJson) {
        checks.push(check("header", Finding::Bad, None, "a member is there twice"));
    }
    let is_fault = |errors: &[Error]| fault.filter(|fault| errors.contains(fault));
    let (finding, because) = match is_fault(&[Error::AlgMissing, Error::AlgUnsupported]) {
        Some(error) => (Finding::Bad, error.to_string()),
        None => (Finding::Ok, "an algorithm that is verified here".to_owned()),
    };
    checks.push(check("alg", finding, shown(&members, "alg"), because));
    checks.push(kid(&members, question.keys));
    let because = match members.get("typ").and_then(Value::as_str) {
        Some("at+jwt" | "application/at+jwt") => "an access token (RFC 9068)",
        Some("JWT") => "a JWT of any kind",
        Some("dpop+jwt") => "a proof of DPoP: it goes beside a token, and is none",
        _ => "verifiers such as Envoy do not look at it",
    };
    checks.push(check("typ", Finding::Note, shown(&members, "typ"), because));
    for name in ["crit", "b64"] {
        if members.contains_key(name) {
            let because = "it changes how tokens are read, and is refused here; Envoy does not look at it";
            checks.push(check(name, Finding::Bad, shown(&members, name), because));
        }
    }
    for name in ["jku", "jwk", "x5u", "x5c"] {
        if members.contains_key(name) {
            let because = "a key that the token brings itself: it is never followed";
            checks.push(check(name, Finding::Note, None, because));
        }
    }
    checks
}

fn kid(members: &Map<String, Value>, keys: Result<&KeySet, &str>) -> Check {
    let value = shown(members, "kid");
    let (finding, because) = match (members.get("kid"), keys) {
        (Some(kid), _) if !kid.is_string() => (Finding::Bad, Error::KidNotString.to_string()),
        (_, Err(problem)) => (Finding::NotChecked, problem.to_owned()),
        (None, Ok(keys)) => (Finding::Note, format!("none: all that fit are tried, of {}", count(keys))),
        (Some(kid), Ok(keys)) => {
            let kid = kid.as_str().unwrap_or_default();
            let skipped = keys.skipped().iter().find(|key| key.kid.as_deref() == Some(kid));
            match skipped {
                _ if kid.is_empty() => (Finding::Note, "empty, which counts as none".to_owned()),
                _ if keys.contains(kid) => (Finding::Ok, format!("one of {}", count(keys))),
                Some(key) => (Finding::Bad, format!("the set has it, and it cannot be used: {}", key.why)),
                None => {
                    let known = count(keys);
                    let why = "it is of another issuer, has been withdrawn, or the set is old";
                    (Finding::Bad, format!("none of {known}: {why}"))
                }
            }
        }
    };
    check("kid", finding, value, because)
}

fn count(keys: &KeySet) -> String {
    match keys.len() {
        1 => "1 key of the set".to_owned(),
        count => format!("{count} keys of the set"),
    }
}

fn signature_check(header: &str, payload: &str, signature: &str, keys: Result<&KeySet, &str>) -> Check {
    let token = format!("{header}.{payload}.{signature}");
    let (finding, because) = match (Signed::parse(&token), keys) {
        _ if signature.is_empty() => (Finding::Bad, "it is missing".to_owned()),
        (Err(error @ Error::SignatureNotBase64), _) => (Finding::Bad, error.to_string()),
        (Err(_), _) => (Finding::NotChecked, "what it would be of cannot be read".to_owned()),
        (Ok(_), Err(problem)) => (Finding::NotChecked, problem.to_owned()),
        (Ok(signed), Ok(keys)) => match signed.verify(keys) {
            Ok(()) => (Finding::Ok, "a key of the set has made it".to_owned()),
            Err(error) => (Finding::Bad, error.to_string()),
        },
    };
    check("signature", finding, None, because)
}

/// What Envoy would answer, by the first fault.
fn verdict(question: &Question<'_>) -> Verdict {
    let expected = Expected { issuer: question.issuer, audiences: question.audiences, must_expire: false };
    let found = Token::parse(question.token).and_then(|token| {
        token.check_claims(&expected, question.now)?;
        question.keys.ok().map(|keys| token.verify_signature(keys)).transpose()
    });
    let (outcome, status, text) = match (found, &question.standing) {
        (Err(error), _) => (Outcome::Bad, Some(error.status()), error.to_string()),
        (Ok(None), _) => {
            (Outcome::Unknown, None, "its claims are good; its signature is not checked".to_owned())
        }
        (Ok(Some(())), Standing::CountsNot) => {
            let text = "its issuer says that it does not count, so it is revoked or has just ended; whoever looks at \
                        the keys alone takes it until it ends";
            (Outcome::Bad, None, text.to_owned())
        }
        (Ok(Some(())), _) => (Outcome::Good, Some(200), "it is good".to_owned()),
    };
    let reason = match found {
        Err(error) => Some(error.reason()),
        Ok(_) if outcome == Outcome::Bad => Some("token_inactive"),
        Ok(_) => None,
    };
    Verdict { outcome, status, reason, text }
}

/// The members of a segment, as far as it can be read at all: of a member that is there twice the last.
fn members(segment: &str) -> Result<Map<String, Value>, String> {
    let bytes = URL_SAFE_NO_PAD.decode(segment).map_err(|_| match segment.contains(['=', '+', '/']) {
        true => "it is base64 with padding or with + and /, and no base64url".to_owned(),
        false => "it is no base64url".to_owned(),
    })?;
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err("it is JSON, and no object".to_owned()),
        Err(_) => Err("it is no JSON".to_owned()),
    }
}

fn check(of: &'static str, finding: Finding, value: Option<String>, because: impl Into<String>) -> Check {
    Check { of, finding, value, because: because.into() }
}

/// A member as it is shown: strings without quotation marks, and nothing very long.
fn shown(members: &Map<String, Value>, name: &str) -> Option<String> {
    let text = match members.get(name)? {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    Some(shortened(&text))
}

fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(MAX_SHOWN).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    short
}

#[cfg(test)]
mod tests;
