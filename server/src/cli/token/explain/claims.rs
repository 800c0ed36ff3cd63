//! The claims of a token, one by one.

use alts_request_auth::{Claims, Error, Expected, LEEWAY, Token};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use super::{Check, Finding, HEADER, Question, SIGNATURE, Standing, check, members, shortened, shown};
use crate::clock::utc;

/// Most actors that are followed. The exchange takes fewer.
const MAX_ACTORS: usize = 16;

/// Claims that have a check of their own.
const KNOWN: [&str; 13] =
    ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "azp", "scope", "act", "may_act", "cnf"];

/// What any token meets, as far as no time is asked for.
const NOTHING: Expected<'static> = Expected { issuer: None, audiences: &[], must_expire: false };

/// All that is said of a payload.
pub(super) fn checks(segment: &str, question: &Question<'_>) -> Vec<Check> {
    let members = match members(segment) {
        Ok(members) => members,
        Err(problem) => return vec![check("payload", Finding::Bad, None, problem)],
    };
    let mut checks = Vec::new();
    if Token::parse(&format!("{HEADER}.{segment}.{SIGNATURE}")).err() == Some(Error::PayloadNotJson) {
        checks.push(check("payload", Finding::Bad, None, "a member is there twice"));
    }
    let now = question.now;
    checks.push(issuer(&members, question));
    checks.push(subject(&members));
    checks.push(audience(&members, question));
    checks.push(time(&members, "exp", now, Claims::expires, end));
    checks.push(time(&members, "nbf", now, Claims::not_before, start));
    checks.push(time(&members, "iat", now, Claims::issued_at, issue));
    checks.push(id(&members));
    checks.push(standing(&question.standing));
    checks.extend(delegation(&members));
    checks.extend(others(&members));
    checks
}

/// A claim alone, as the verification reads it, and how its check comes out.
fn alone(
    members: &Map<String, Value>,
    name: &str,
    expected: &Expected<'_>,
    now: u64,
) -> Result<(Claims, Result<(), Error>), Error> {
    let one = members.get_key_value(name).map(|(name, value)| (name.clone(), value.clone()));
    let payload = URL_SAFE_NO_PAD.encode(Value::Object(one.into_iter().collect()).to_string());
    let token = format!("{HEADER}.{payload}.{SIGNATURE}");
    let token = Token::parse(&token)?;
    Ok((token.claims().clone(), token.check_claims(expected, now)))
}

fn issuer(members: &Map<String, Value>, question: &Question<'_>) -> Check {
    let expected = Expected { issuer: question.issuer, ..NOTHING };
    let (finding, because) = match (alone(members, "iss", &expected, 0), question.issuer) {
        (Err(error), _) => (Finding::Bad, error.to_string()),
        (Ok(_), None) => (Finding::NotChecked, "say by --issuer which one is expected".to_owned()),
        (Ok((_, Ok(()))), Some(_)) => (Finding::Ok, "the issuer that is expected".to_owned()),
        (Ok((claims, Err(error))), Some(wanted)) => {
            let because = match claims.issuer() {
                None => format!("missing, and {wanted} is expected"),
                Some(own) if own.trim_end_matches('/') == wanted.trim_end_matches('/') => {
                    format!("it differs from {wanted} by a slash at its end")
                }
                Some(own) if own.eq_ignore_ascii_case(wanted) => {
                    format!("it differs from {wanted} by capital letters")
                }
                Some(_) => format!("{wanted} is expected"),
            };
            (Finding::Bad, format!("{error}: {because}"))
        }
    };
    check("iss", finding, shown(members, "iss"), because)
}

fn subject(members: &Map<String, Value>) -> Check {
    let read = alone(members, "sub", &NOTHING, 0);
    let (finding, because) = match read.as_ref().map(|(claims, _)| claims.subject()) {
        Err(error) => (Finding::Bad, error.to_string()),
        Ok(None | Some("")) => (Finding::Note, "missing: such a token is nobody to Istio's rules".to_owned()),
        Ok(Some(sub)) if sub.contains('/') => {
            let because = "it has a slash: Istio's rules cannot name it exactly as a principal";
            (Finding::Note, because.to_owned())
        }
        Ok(Some(_)) => (Finding::Ok, "whom it is about".to_owned()),
    };
    check("sub", finding, shown(members, "sub"), because)
}

fn audience(members: &Map<String, Value>, question: &Question<'_>) -> Check {
    let expected = Expected { audiences: question.audiences, ..NOTHING };
    let (finding, because) = match alone(members, "aud", &expected, 0) {
        Err(error) => (Finding::Bad, error.to_string()),
        Ok(_) if question.audiences.is_empty() => {
            (Finding::NotChecked, "say by --audience which one is expected".to_owned())
        }
        Ok((_, Ok(()))) => (Finding::Ok, "one that is expected".to_owned()),
        Ok((_, Err(error))) => {
            (Finding::Bad, format!("{error}: {} is expected", question.audiences.join(" or ")))
        }
    };
    check("aud", finding, shown(members, "aud"), because)
}

/// A time: its type first, and then what `say` says of it. The error is that of the verification, if it has one.
fn time(
    members: &Map<String, Value>,
    name: &'static str,
    now: u64,
    of: impl FnOnce(&Claims) -> Option<u64>,
    say: impl FnOnce(Option<u64>, u64, Option<Error>) -> (Finding, String),
) -> Check {
    let (at, (finding, because)) = match alone(members, name, &NOTHING, now) {
        Err(error) => (None, (Finding::Bad, error.to_string())),
        Ok((claims, checked)) => {
            let at = of(&claims);
            (at, say(at, now, checked.err()))
        }
    };
    let value = shown(members, name).map(|value| match at {
        Some(at) => format!("{value} = {}", utc(at)),
        None => value,
    });
    check(name, finding, value, because)
}

fn end(at: Option<u64>, now: u64, error: Option<Error>) -> (Finding, String) {
    let Some(at) = at else {
        return (
            Finding::Note,
            "missing or 0: it never ends, which Envoy takes and altsd does not".to_owned(),
        );
    };
    let when = distance(now, at);
    match error {
        Some(error) => (Finding::Bad, format!("{error}: it ended {when}")),
        None if at < now => (Finding::Ok, format!("it ended {when}, within the leeway of {LEEWAY} s")),
        None => (Finding::Ok, format!("it ends {when}")),
    }
}

fn start(at: Option<u64>, now: u64, error: Option<Error>) -> (Finding, String) {
    let Some(at) = at else {
        return (Finding::Note, "missing: it counts from any time on".to_owned());
    };
    let when = distance(now, at);
    match error {
        Some(error) => (Finding::Bad, format!("{error}: it begins {when}")),
        None if at > now => (Finding::Ok, format!("it begins {when}, within the leeway of {LEEWAY} s")),
        None => (Finding::Ok, format!("it began {when}")),
    }
}

/// `iat` decides nothing.
fn issue(at: Option<u64>, now: u64, _: Option<Error>) -> (Finding, String) {
    match at {
        None => (Finding::Note, "missing".to_owned()),
        Some(at) if at > now => {
            let because = format!("it was made {} by this clock: one of two is wrong", distance(now, at));
            (Finding::Note, because)
        }
        Some(at) => (Finding::Ok, format!("it was made {}", distance(now, at))),
    }
}

fn id(members: &Map<String, Value>) -> Check {
    let (finding, because) = match alone(members, "jti", &NOTHING, 0) {
        Err(error) => (Finding::Bad, error.to_string()),
        Ok((claims, _)) if claims.id().is_none_or(str::is_empty) => {
            (Finding::Note, "missing: it is known by its hash alone".to_owned())
        }
        Ok(_) => (Finding::Ok, "what it can be revoked by".to_owned()),
    };
    check("jti", finding, shown(members, "jti"), because)
}

fn standing(standing: &Standing) -> Check {
    let (finding, because) = match standing {
        Standing::NotAsked(why) => (Finding::NotChecked, why.as_str()),
        Standing::Counts => (Finding::Ok, "its issuer says that it counts"),
        Standing::CountsNot => (
            Finding::Bad,
            "its issuer says that it does not count: it has ended, is revoked, or is none of its own",
        ),
    };
    check("revoked", finding, None, because)
}

/// Who acts, who may, and what the token allows.
fn delegation(members: &Map<String, Value>) -> Vec<Check> {
    let mut checks = Vec::new();
    for (name, because) in [
        ("client_id", "the workload that it was given to"),
        ("azp", "the workload that it was given to: Istio's presenter"),
        ("scope", "what it allows"),
        ("may_act", "who alone may act for the subject"),
    ] {
        if members.contains_key(name) {
            checks.push(check(name, Finding::Note, shown(members, name), because));
        }
    }
    if let Some(act) = members.get("act") {
        checks.push(match actors(act) {
            Some(line) => {
                let because = "who acts for the subject now, and who did before; Envoy does not look at it";
                check("act", Finding::Note, Some(shortened(&line)), because)
            }
            None => {
                let because =
                    "it is no chain of objects with a sub: altsd refuses it, Envoy does not look at it";
                check("act", Finding::Bad, shown(members, "act"), because)
            }
        });
    }
    if members.contains_key("cnf") {
        let because =
            "it is bound to a key of its holder; Envoy does not check that, and takes it from everybody";
        checks.push(check("cnf", Finding::Note, shown(members, "cnf"), because));
    }
    checks
}

/// The actors, the one of now first. `None` if one of them has no name.
fn actors(act: &Value) -> Option<String> {
    let (mut names, mut next) = (Vec::new(), Some(act));
    while let Some(actor) = next {
        if names.len() == MAX_ACTORS {
            return None;
        }
        names.push(actor.get("sub")?.as_str()?);
        next = actor.get("act");
    }
    Some(names.join(", before it "))
}

/// Claims without a check, by their names.
fn others(members: &Map<String, Value>) -> Option<Check> {
    let names: Vec<_> = members.keys().map(String::as_str).filter(|name| !KNOWN.contains(name)).collect();
    let value = Some(shortened(&names.join(" ")));
    (!names.is_empty()).then(|| check("others", Finding::Note, value, "claims that nothing here looks at"))
}

/// How far a time is from now, by its two largest units: `in 9 min 30 s`, `2 d 3 h ago`.
pub(in super::super) fn distance(now: u64, then: u64) -> String {
    let seconds = now.abs_diff(then);
    let (mut rest, mut words) = (seconds, Vec::new());
    for (size, unit) in [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")] {
        if rest >= size && words.len() < 2 {
            words.push(format!("{} {unit}", rest / size));
        }
        rest %= size;
    }
    let words = words.join(" ");
    match then > now {
        _ if seconds == 0 => "now".to_owned(),
        true => format!("in {words}"),
        false => format!("{words} ago"),
    }
}
