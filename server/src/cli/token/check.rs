//! Checking a token with the keys of its issuer: of the door of this node, or of a file.

use std::{fs::File, io::Read, path::PathBuf, process::ExitCode, time::Duration};

use alts_request_auth::{Expected, KeySet, Token};
use serde_json::{Map, Value};

use super::{
    Asking, Error, ask,
    explain::{self, Outcome, Question, Standing},
    http::{self, Door},
    source::{self, Secret},
    view,
};
use crate::cli::output;

/// Most bytes of a file of keys that are read: as many as a set may have.
const MAX_KEYS: u64 = 1024 * 1024;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The file that holds the token, or - for the standard input
    ///
    /// If nothing is said, the variable ALTSD_TOKEN, or else the standard input.
    file: Option<PathBuf>,
    /// The set of keys: a file, or a token door of this machine; that of --socket if nothing is said
    #[arg(long, value_name = "FILE|ADDR", value_parser = KeysFrom::parse)]
    jwks: Option<KeysFrom>,
    /// The issuer that is expected; the door's, if the keys are the door's
    #[arg(long, value_name = "ISSUER")]
    issuer: Option<String>,
    /// An audience that is expected. One of several does
    #[arg(long = "audience", value_name = "AUDIENCE")]
    audiences: Vec<String>,
    #[command(flatten)]
    asking: Asking,
}

#[derive(clap::Args)]
pub(super) struct ExplainArgs {
    /// Ask no door, neither for keys nor whether the token is revoked
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    args: Args,
}

/// Where a set of keys comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KeysFrom {
    File(PathBuf),
    Door(Door),
}

impl KeysFrom {
    /// Reads a path, or the address of a door of this machine.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with("https:") {
            return Err(
                "keys of other machines are not fetched: fetch them to a file, and name that".to_owned()
            );
        }
        if text.starts_with("http:") || text.starts_with("unix:") {
            let address = ["/.well-known/jwks.json", "/jwks"]
                .iter()
                .find_map(|path| text.strip_suffix(path).filter(|address| address.starts_with("http:")));
            return Door::parse(address.unwrap_or(text)).map(Self::Door);
        }
        if text.is_empty() { Err("it names no file".to_owned()) } else { Ok(Self::File(text.into())) }
    }
}

/// Prints the claims of a good token. A bad one is an error that says why.
pub(super) async fn verify(args: &Args, now: u64) -> Result<(), Error> {
    let token = source::read(args.file.as_deref())?;
    let keys = args.keys().await?;
    let issuer = args.expected_issuer().await;
    let expected = Expected { issuer: issuer.as_deref(), audiences: &args.audiences, must_expire: false };
    let bad =
        |error: alts_request_auth::Error| Error::Bad { reason: error.reason(), text: error.to_string() };
    let token = Token::parse(token.expose()).map_err(bad)?;
    token.check(&expected, &keys, now).map_err(bad)?;
    let claims = token.claims().all();
    Ok(output::print(output::Format::Text, || view::json(claims), claims)?)
}

/// Says why a token is good or bad. The exit code says which.
pub(super) async fn explain(args: &ExplainArgs, now: u64) -> Result<ExitCode, Error> {
    let ExplainArgs { offline, args } = args;
    let token = source::read(args.file.as_deref())?;
    let asks = !offline && !matches!(args.jwks, Some(KeysFrom::File(_)));
    let keys = match &args.jwks {
        None | Some(KeysFrom::Door(_)) if *offline => {
            Err("no keys: --offline without a file of --jwks".to_owned())
        }
        Some(KeysFrom::File(_)) => Ok(args.keys().await?),
        // A door that is away is one of the things that are explained.
        None | Some(KeysFrom::Door(_)) => args.keys().await.map_err(|error| format!("no keys: {error}")),
    };
    let issuer = if asks && keys.is_ok() { args.expected_issuer().await } else { args.issuer.clone() };
    let standing = match asks && keys.is_ok() {
        true => args.standing(&token).await,
        false => Standing::NotAsked("no door is asked".to_owned()),
    };
    let explanation = explain::explain(&Question {
        token: token.expose(),
        keys: keys.as_ref().map_err(String::as_str),
        issuer: issuer.as_deref(),
        audiences: &args.audiences,
        now,
        standing,
    });
    output::print(args.asking.output, || view::explanation(&explanation), &explanation)?;
    let is_good = explanation.verdict.outcome == Outcome::Good;
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Args {
    /// The door that the keys are of, if they are of one.
    fn door(&self) -> Option<&Door> {
        match &self.jwks {
            None => Some(&self.asking.door),
            Some(KeysFrom::Door(door)) => Some(door),
            Some(KeysFrom::File(_)) => None,
        }
    }

    async fn keys(&self) -> Result<KeySet, Error> {
        let (origin, document) = match (&self.jwks, self.door()) {
            (Some(KeysFrom::File(file)), _) => (file.display().to_string(), read(file)?),
            (_, door) => {
                let door = door.unwrap_or(&self.asking.door);
                (door.to_string(), http::get(door, "/jwks", self.asking.timeout()).await?)
            }
        };
        KeySet::parse(&document).map_err(|problem| Error::Keys { origin, problem: problem.to_string() })
    }

    /// The issuer that was named, or that the door says it is.
    async fn expected_issuer(&self) -> Option<String> {
        if self.issuer.is_some() {
            return self.issuer.clone();
        }
        // Without it the signature alone says whose token it is, which is no less.
        issuer_of(self.door()?, self.asking.timeout()).await
    }

    async fn standing(&self, token: &Secret) -> Standing {
        // Whoever asks shows the token: only to the door that is asked anyway, and only what may be one.
        if Token::parse(token.expose()).is_err() {
            return Standing::NotAsked("what cannot be read is not asked for".to_owned());
        }
        match ask::standing(&self.asking, token).await {
            Ok(answer) if ask::counts(&answer) => Standing::Counts,
            Ok(_) => Standing::CountsNot,
            Err(error) => Standing::NotAsked(format!("the door does not say: {error}")),
        }
    }
}

/// The issuer that a door says it is, if it answers.
pub(super) async fn issuer_of(door: &Door, timeout: Duration) -> Option<String> {
    let document = http::get(door, "/.well-known/openid-configuration", timeout).await.ok()?;
    let document: Map<String, Value> = serde_json::from_slice(&document).ok()?;
    document.get("issuer")?.as_str().map(str::to_owned)
}

fn read(file: &PathBuf) -> Result<Vec<u8>, Error> {
    let refused = |problem: String| Error::File { file: file.clone(), problem };
    let open = File::open(file).map_err(|problem| refused(problem.to_string()))?;
    let mut document = Vec::new();
    open.take(MAX_KEYS + 1).read_to_end(&mut document).map_err(|problem| refused(problem.to_string()))?;
    Ok(document)
}
