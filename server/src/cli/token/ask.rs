//! What is asked of the token door: a new token, whether one counts, and that one shall count no more.

use std::{
    io::{self, IsTerminal, Write},
    path::Path,
    process::ExitCode,
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    Asking, Error, ExchangeArgs, MintArgs, PresentArgs, TokenType, Wish, http, is_input, source,
    source::Secret, view,
};
use crate::cli::output::{self, Format};

/// The word that a local workload presents where it names no account.
const SELF: &str = "self";

/// The answer to an exchange, as far as it is known here.
#[derive(Deserialize, Serialize)]
struct Issued {
    access_token: String,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

pub(super) async fn mint(args: &MintArgs, now: u64) -> Result<(), Error> {
    let subject = Secret::new(args.account.as_deref().unwrap_or(SELF));
    issue(&args.asking, &args.wish, (TokenType::LocalPeer, &subject), None, now).await
}

pub(super) async fn exchange(args: &ExchangeArgs, now: u64) -> Result<(), Error> {
    let (subject_file, actor_file) = (args.subject_token_file.as_deref(), args.actor_token_file.as_deref());
    if is_input(actor_file) && (is_input(subject_file) || subject_file.is_none()) {
        return Err(Error::OneInput);
    }
    let subject = proof(args.subject_token_type, subject_file)?;
    let actor = match args.actor_token_type {
        None => None,
        Some(TokenType::LocalPeer) => Some((TokenType::LocalPeer, proof(TokenType::LocalPeer, actor_file)?)),
        Some(kind) if actor_file.is_none() => return Err(Error::ActorMissing(format!("{kind:?}"))),
        Some(kind) => Some((kind, proof(kind, actor_file)?)),
    };
    let actor = actor.as_ref().map(|(kind, token)| (*kind, token));
    issue(&args.asking, &args.wish, (args.subject_token_type, &subject), actor, now).await
}

/// What is presented: of a program itself no more than a word.
fn proof(kind: TokenType, file: Option<&Path>) -> Result<Secret, Error> {
    match (kind, file) {
        (TokenType::LocalPeer, None) => Ok(Secret::new(SELF)),
        _ => Ok(source::read(file)?),
    }
}

async fn issue(
    asking: &Asking,
    wish: &Wish,
    (subject_type, subject): (TokenType, &Secret),
    actor: Option<(TokenType, &Secret)>,
    now: u64,
) -> Result<(), Error> {
    let requested = if wish.jwt { TokenType::Jwt } else { TokenType::AccessToken };
    let scope = wish.scopes.join(" ");
    let mut fields = vec![
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("requested_token_type", requested.urn()),
        ("subject_token_type", subject_type.urn()),
        ("subject_token", subject.expose()),
    ];
    if let Some((kind, token)) = actor {
        fields.extend([("actor_token_type", kind.urn()), ("actor_token", token.expose())]);
    }
    fields.extend(wish.audiences.iter().map(|audience| ("audience", audience.as_str())));
    fields.extend(wish.resources.iter().map(|resource| ("resource", resource.as_str())));
    if !scope.is_empty() {
        fields.push(("scope", &scope));
    }
    let issued: Issued = post(asking, "/token", &fields).await?;
    print(asking.output, wish.verbose, &issued, now)
}

/// The token alone to stdout, so that it can stand in a command; what it says to stderr, for people.
fn print(format: Format, verbose: bool, issued: &Issued, now: u64) -> Result<(), Error> {
    let token = || format!("{}\n", output::printable(&issued.access_token));
    output::print(format, token, issued)?;
    if format == Format::Text && (verbose || io::stdout().is_terminal()) {
        io::stderr().lock().write_all(view::facts(&issued.access_token, &issued.rest, now).as_bytes())?;
    }
    Ok(())
}

/// The exit code says whether the token counts.
pub(super) async fn introspect(args: &PresentArgs) -> Result<ExitCode, Error> {
    let token = source::read(args.file.as_deref())?;
    let answer = standing(&args.asking, &token).await?;
    output::print(args.asking.output, || view::members(&answer), &answer)?;
    Ok(if counts(&answer) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the door says of a token.
pub(super) async fn standing(asking: &Asking, token: &Secret) -> Result<Map<String, Value>, Error> {
    let answer: Map<String, Value> = post(asking, "/introspect", &[("token", token.expose())]).await?;
    match answer.get("active") {
        Some(Value::Bool(_)) => Ok(answer),
        _ => Err(Error::Answer { door: asking.door.to_string(), problem: "it has no `active`".to_owned() }),
    }
}

/// Whether an answer says that a token counts.
pub(super) fn counts(answer: &Map<String, Value>) -> bool {
    answer.get("active") == Some(&Value::Bool(true))
}

/// Revokes a token by itself.
pub(super) async fn revoke(asking: &Asking, file: Option<&Path>) -> Result<(), Error> {
    #[derive(Serialize)]
    struct Revoked {
        revoked: bool,
    }
    let token = source::read(file)?;
    let form = http::form(&[("token", token.expose())]);
    http::post(&asking.door, "/revoke", form, asking.timeout()).await?;
    let text = || "done: if it was a token of altsd that counted, it counts no more\n".to_owned();
    Ok(output::print(asking.output, text, &Revoked { revoked: true })?)
}

/// Sends a form, and reads the JSON that comes back.
async fn post<T: for<'a> Deserialize<'a>>(
    asking: &Asking,
    path: &str,
    fields: &[(&str, &str)],
) -> Result<T, Error> {
    let answer = http::post(&asking.door, path, http::form(fields), asking.timeout()).await?;
    serde_json::from_slice(&answer).map_err(|problem| {
        // What serde says of a value may hold some of it.
        let problem = format!("no such JSON, at line {} column {}", problem.line(), problem.column());
        Error::Answer { door: asking.door.to_string(), problem }
    })
}
