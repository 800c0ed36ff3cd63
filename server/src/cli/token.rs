//! `altsd token`: tokens of the token door, for programs without a library for them and for whoever looks for what is
//! wrong with one.

mod ask;
mod check;
mod explain;
mod http;
mod revocations;
mod source;
mod view;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Subcommand, ValueEnum};

use self::http::Door;
use super::{client, output::Format, when};

/// Get, exchange and examine tokens
///
/// A token of altsd is a signed JWT that says which workload holds it; Istio, Envoy and whoever has its public keys
/// check it. The token door of a node gives one to each workload that the kernel, a handshake or a trusted issuer
/// has identified, as its rules say.
///
/// Tokens are never arguments, for everybody on the machine can read those: they come from a file, from the standard
/// input, or from the variable ALTSD_TOKEN.
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLE)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLE: &str = "\
Examples:
  altsd token mint --audience https://orders.example.com
  altsd token exchange --subject-token-file user.jwt --subject-token-type jwt --audience https://orders.example.com
  altsd token explain token.jwt --audience https://orders.example.com
  altsd token verify token.jwt --jwks keys.json --issuer https://tokens.example.com
  altsd token introspect token.jwt
  altsd token revoke token.jwt
  altsd token revoke --subject batch@prod.example.com --reason 'its machine was stolen'";

#[derive(Subcommand)]
enum Command {
    /// Get a token for this program itself
    ///
    /// The kernel says who asks, so that nothing has to be presented: run it as the user, in the unit or in the
    /// container of the workload. Only the token is printed to stdout.
    #[command(
        after_long_help = "Examples:\n  altsd token mint --audience https://orders.example.com\n  altsd token mint --audience https://orders.example.com --scope orders.read --scope orders.write --jwt\n  altsd token mint --as cart@prod.example.com --output json | jq -r .expires_in\n\nIn a shell:\n  curl -H \"Authorization: Bearer $(altsd token mint --audience https://orders.example.com)\" https://orders.example.com/"
    )]
    Mint(MintArgs),
    /// Exchange a token of somebody else, or the handle of a handshake, for one of altsd (RFC 8693)
    ///
    /// Only the token is printed to stdout.
    #[command(
        after_long_help = "Examples:\n  altsd token exchange --subject-token-file /var/run/secrets/tokens/altsd --subject-token-type jwt --audience https://orders.example.com\n  altsd token exchange --subject-token-type access-token --actor-token-type local-peer --audience https://orders.example.com\n  altsd token exchange --subject-token-file - --subject-token-type alts-context --scope orders.read"
    )]
    Exchange(ExchangeArgs),
    /// Check a token against a set of keys, and print its claims
    ///
    /// As a verifier would: the first fault ends it. Exit code 0: good, 1: bad, or it cannot be said.
    #[command(
        after_long_help = "Examples:\n  altsd token verify token.jwt --audience https://orders.example.com\n  altsd token verify token.jwt --jwks keys.json --issuer https://tokens.example.com\n  altsd token verify --jwks http://127.0.0.1:8081 | jq -r .sub"
    )]
    Verify(check::Args),
    /// Say why a token is good or bad, claim by claim
    ///
    /// Makes every check, whichever fails, and says at the end what Envoy would answer. It takes anything, also what is
    /// no token at all, and prints neither the signature nor the token. Exit code 0: good, 1: bad, or it cannot be said.
    #[command(
        after_long_help = "Examples:\n  altsd token explain token.jwt --audience https://orders.example.com\n  altsd token explain token.jwt --jwks keys.json --issuer https://tokens.example.com --output json\n  altsd token explain - --offline"
    )]
    Explain(check::ExplainArgs),
    /// Ask altsd whether a token of its own counts (RFC 7662)
    ///
    /// Of one that does not count nothing else is said. Exit code 0: it counts, 1: it does not, or it cannot be said.
    #[command(
        after_long_help = "Examples:\n  altsd token introspect token.jwt\n  altsd token introspect --output json | jq -r .sub"
    )]
    Introspect(PresentArgs),
    /// Revoke a token by itself (RFC 7009), or, for operators, a token by its id or all tokens of a subject
    ///
    /// What is revoked counts for altsd no more, on every node that shares the store; verifiers that look at the keys
    /// alone take it until it ends. By the token itself the token door is asked, and one that has ended, or is none of
    /// altsd's, is no error; all else is asked on the admin socket.
    #[command(
        after_long_help = "Examples:\n  altsd token revoke token.jwt\n  altsd token revoke --id GTnr0yGgRMqcbXyTYgBZ0A --reason 'it was in a log' --for 1h\n  altsd token revoke --subject batch@prod.example.com --reason 'its machine was stolen'\n  altsd token revoke --subject system:serviceaccount:shop:web --issuer https://kubernetes.default.svc.cluster.local --reason 'until it is rebuilt' --until 2026-12-31T00:00:00Z\n  altsd token revoke --list\n  altsd token revoke --lift subjects/8a3f0c1d2e4b5a69788796a5b4c3d2e1f00112233445566778899aabbccddeef"
    )]
    Revoke(RevokeArgs),
}

/// Where the door is, and how to print what it says.
#[derive(clap::Args)]
struct Asking {
    /// The token door: unix:/PATH, or http://ADDRESS:PORT of this machine
    #[arg(long = "socket", value_name = "ADDR", env = "ALTSD_TOKEN_SOCKET", default_value = "unix:/run/altsd/token.sock", value_parser = Door::parse)]
    door: Door,
    /// Seconds to wait for each answer
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout_seconds: u64,
    /// Form of the result
    #[arg(long, value_enum, value_name = "FORM", default_value_t = Format::Text)]
    output: Format,
}

impl Asking {
    fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds)
    }
}

/// What a new token shall be.
#[derive(clap::Args)]
struct Wish {
    /// Whom it is for; the rule's default if nothing is said. May be repeated where the rule allows several
    #[arg(long = "audience", value_name = "AUDIENCE")]
    audiences: Vec<String>,
    /// What it is for, as a URI: an audience by another name. May be repeated where the rule allows several
    #[arg(long = "resource", value_name = "URI")]
    resources: Vec<String>,
    /// What it shall allow. May be repeated
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// A token of type JWT rather than at+jwt, for verifiers that demand it
    #[arg(long)]
    jwt: bool,
    /// Tell on stderr what the token says, also if stdout is no terminal
    #[arg(long, short)]
    verbose: bool,
}

#[derive(clap::Args)]
struct MintArgs {
    #[command(flatten)]
    wish: Wish,
    /// The account to be, of those that this workload may be; its first if nothing is said
    #[arg(long = "as", value_name = "ACCOUNT")]
    account: Option<String>,
    #[command(flatten)]
    asking: Asking,
}

#[derive(clap::Args)]
struct ExchangeArgs {
    /// What proves the subject: a file, or - for the standard input
    ///
    /// If nothing is said, the variable ALTSD_TOKEN, or else the standard input.
    #[arg(long, value_name = "FILE")]
    subject_token_file: Option<PathBuf>,
    /// What kind of proof it is
    #[arg(long, value_enum, value_name = "TYPE")]
    subject_token_type: TokenType,
    /// What proves who acts for the subject: a file, or - for the standard input
    #[arg(long, value_name = "FILE", requires = "actor_token_type")]
    actor_token_file: Option<PathBuf>,
    /// What kind of proof that is; local-peer needs no file
    #[arg(long, value_enum, value_name = "TYPE")]
    actor_token_type: Option<TokenType>,
    #[command(flatten)]
    wish: Wish,
    #[command(flatten)]
    asking: Asking,
}

/// A kind of proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TokenType {
    /// A JWT of an issuer that altsd trusts, such as Kubernetes
    Jwt,
    /// The same by another name
    IdToken,
    /// An access token of altsd
    AccessToken,
    /// The handle of a handshake that altsd has done for this program
    AltsContext,
    /// This program itself, by the kernel's word
    LocalPeer,
}

impl TokenType {
    /// Its name in requests.
    fn urn(self) -> &'static str {
        match self {
            Self::Jwt => "urn:ietf:params:oauth:token-type:jwt",
            Self::IdToken => "urn:ietf:params:oauth:token-type:id_token",
            Self::AccessToken => "urn:ietf:params:oauth:token-type:access_token",
            Self::AltsContext => "urn:altsd:token-type:alts-context",
            Self::LocalPeer => "urn:altsd:token-type:local-peer",
        }
    }
}

#[derive(clap::Args)]
struct PresentArgs {
    /// The file that holds the token, or - for the standard input
    ///
    /// If nothing is said, the variable ALTSD_TOKEN, or else the standard input.
    file: Option<PathBuf>,
    #[command(flatten)]
    asking: Asking,
}

#[derive(clap::Args)]
struct RevokeArgs {
    /// The file that holds the token, or - for the standard input
    ///
    /// If nothing is said, and none of --id, --subject, --list and --lift, the variable ALTSD_TOKEN, or else the
    /// standard input.
    #[arg(group = "what")]
    file: Option<PathBuf>,
    /// Revoke the token of this id (jti)
    // One of 64 ids of altsd begins with a hyphen.
    #[arg(long, value_name = "JTI", allow_hyphen_values = true, groups = ["what", "named"], requires = "reason")]
    id: Option<String>,
    /// Revoke all tokens of this subject (sub), those to come among them
    #[arg(long, value_name = "SUB", groups = ["what", "named"], requires = "reason")]
    subject: Option<String>,
    /// List what is revoked
    #[arg(long, group = "what")]
    list: bool,
    /// Take a revocation back, by its name as --list prints it
    #[arg(long, value_name = "NAME", group = "what")]
    lift: Option<String>,
    #[command(flatten)]
    terms: Terms,
    /// The admin socket
    #[arg(long, value_name = "ADDR", env = "ALTSD_ADMIN", default_value = "unix:/run/altsd/admin.sock")]
    admin: String,
    #[command(flatten)]
    asking: Asking,
}

/// Of what, why and until when.
#[derive(clap::Args)]
struct Terms {
    /// The issuer of the token, or of the tokens of the subject; the door's own if nothing is said
    #[arg(long, value_name = "ISSUER", requires = "named")]
    issuer: Option<String>,
    /// Why: it stands in the list
    #[arg(long, value_name = "TEXT", requires = "named")]
    reason: Option<String>,
    /// When it ends, such as 2026-12-31T00:00:00Z; for good, if nothing is said
    #[arg(long, value_name = "TIME", value_parser = when::parse_time, requires = "named")]
    until: Option<u64>,
    /// How long it lasts, such as 36h or 7d
    #[arg(long = "for", value_name = "SPAN", value_parser = when::parse_span, conflicts_with = "until", requires = "named")]
    span: Option<u64>,
    /// If it is revoked already, change its reason and end to these
    #[arg(long, requires = "named")]
    replace: bool,
}

/// Why a command about tokens failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Source(#[from] source::Error),
    #[error(transparent)]
    Door(#[from] http::Error),
    #[error(transparent)]
    Asked(#[from] client::Error),
    #[error("the standard input holds one token, and two are wanted from it; write one of them to a file")]
    OneInput,
    #[error("an actor of type {0} needs --actor-token-file")]
    ActorMissing(String),
    #[error("the answer of {door} is none of a token door: {problem}")]
    Answer { door: String, problem: String },
    #[error("{file} cannot be read: {problem}")]
    File { file: PathBuf, problem: String },
    #[error("{origin} holds no set of keys: {problem}")]
    Keys { origin: String, problem: String },
    #[error("{door} does not say whose tokens are meant: name the issuer by --issuer")]
    NoIssuer { door: String },
    #[error("the token is bad: {reason}: {text}")]
    Bad { reason: &'static str, text: String },
    #[error("the output cannot be written: {0}")]
    Output(#[from] std::io::Error),
}

/// Runs one of them. The exit codes of `verify`, `explain` and `introspect` say what is found.
pub(super) async fn run(args: Args, now: u64) -> Result<ExitCode, Error> {
    match args.command {
        Command::Mint(args) => ask::mint(&args, now).await?,
        Command::Exchange(args) => ask::exchange(&args, now).await?,
        Command::Verify(args) => check::verify(&args, now).await?,
        Command::Explain(args) => return check::explain(&args, now).await,
        Command::Introspect(args) => return ask::introspect(&args).await,
        Command::Revoke(args) => revocations::revoke(&args, now).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether a name stands for the standard input.
fn is_input(name: Option<&Path>) -> bool {
    name.is_some_and(|name| name.as_os_str() == "-")
}

#[cfg(test)]
mod tests;
