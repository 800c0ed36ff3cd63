//! `altsd policy`: who may talk to whom, for operators.

use std::{path::PathBuf, process::ExitCode};

use clap::{Subcommand, ValueEnum};

use super::{client, output};
use crate::config;

mod change;
mod check;
mod document;
mod show;
mod view;

pub(super) use self::{change::Deleted, view::state_word};

/// Show, check and change who may talk to whom
///
/// Peer lists name peers; rules say which peers a local account may be called by (side server) or may call (side
/// client); target names say which accounts may stand behind a name that programs call. They come from the policy files
/// of the configuration and from the store; where both have one of a name, the store's counts. Changes go to the store,
/// count from the next handshake on, and need no restart.
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLE)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLE: &str = "\
Examples:
  altsd policy list
  altsd policy create-list front-ends web@prod.example.com '*@edge.example.com'
  altsd policy create-rule orders-callers --local orders@prod.example.com --side server --list front-ends
  altsd policy peers add front-ends app@prod.example.com
  altsd policy check --local orders@prod.example.com --peer web@prod.example.com --side server
  altsd policy apply policy.toml --dry-run";

#[derive(Subcommand)]
enum Command {
    /// List peer lists, rules and target names, and where they come from
    ///
    /// States: active (this node decides by it), pending (the store has it, this node does not decide by it yet),
    /// overridden (a file has it, and the store has another of this name), unreadable (nobody gets anything by it).
    #[command(
        after_long_help = "Examples:\n  altsd policy list\n  altsd policy list --rules --output json | jq -r '.rules[] | select(.mode == \"shadow\").name'"
    )]
    List(show::ListArgs),
    /// Show one peer list, rule or target name
    #[command(
        after_long_help = "Examples:\n  altsd policy show list front-ends\n  altsd policy show target orders.example.com:443"
    )]
    Show(show::ShowArgs),
    /// Create a peer list in the store
    #[command(
        after_long_help = "Examples:\n  altsd policy create-list front-ends web@prod.example.com spiffe://prod.example.com/shop/*\n  altsd policy create-list laptops --description 'by key, until the fleet has SPIFFE IDs'"
    )]
    CreateList(change::ListArgs),
    /// Create a rule in the store
    #[command(
        after_long_help = "Examples:\n  altsd policy create-rule orders-callers --local orders@prod.example.com --side server --list front-ends\n  altsd policy create-rule no-batch --local '*' --side server --deny --peer 'batch@prod.example.com' --mode shadow"
    )]
    CreateRule(change::RuleArgs),
    /// Create a target name in the store: the accounts that may stand behind a name that programs call
    #[command(
        after_long_help = "Examples:\n  altsd policy create-target orders.example.com:443 orders@prod.example.com"
    )]
    CreateTarget(change::TargetArgs),
    /// Add peers to a list of the store, or remove them
    Peers(change::PeersArgs),
    /// Make a rule of the store decide, or only tell what it would decide
    #[command(after_long_help = "Examples:\n  altsd policy set-mode no-batch enforce")]
    SetMode(change::ModeArgs),
    /// Delete from the store
    #[command(
        after_long_help = "Examples:\n  altsd policy delete rule no-batch\n  altsd policy delete list front-ends"
    )]
    Delete(change::DeleteArgs),
    /// Put every resource of a document into the store
    ///
    /// What the document names is created or replaced, all in one transaction; what it does not name stays. The
    /// document is TOML or YAML, as policy files are.
    #[command(
        after_long_help = "Examples:\n  altsd policy apply policy.toml --dry-run\n  altsd policy apply policy.yaml\n  altsd policy apply large.toml --in-parts"
    )]
    Apply(document::ApplyArgs),
    /// Print what the store has, as a TOML document
    #[command(after_long_help = "Examples:\n  altsd policy export > policy.toml")]
    Export(document::ExportArgs),
    /// Say whether a peer is admitted, and by which rule
    ///
    /// Asks the running daemon; or decides by files alone, without one: by --file and --default, or by what the section
    /// `policy` of --config says. Exit code 0: allowed, 3: refused, 1: it cannot be said.
    #[command(
        after_long_help = "Examples:\n  altsd policy check --local orders@prod.example.com --peer web@prod.example.com --side server\n  altsd policy check --local web@prod.example.com --peer orders@prod.example.com --side client --target-name orders.example.com:443\n  altsd policy check --local a@b.example --peer c@b.example --side server --file policy.toml --default deny"
    )]
    Check(check::Args),
    /// Say how it is decided whether a peer is admitted, step by step
    ///
    /// As `check`, with every rule that is looked at.
    #[command(
        after_long_help = "Examples:\n  altsd policy explain --local orders@prod.example.com --peer web@prod.example.com --side server\n  altsd policy explain --local a@b.example --peer c@b.example --side server --config altsd.toml"
    )]
    Explain(check::Args),
}

/// A kind of resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// A peer list
    List,
    /// A rule
    Rule,
    /// A target name
    Target,
}

/// Which end the local account is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Side {
    /// It is called
    Server,
    /// It calls
    Client,
}

/// Whether a rule decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// It decides
    Enforce,
    /// It is counted and logged what it would decide
    Shadow,
}

/// Why a command about the policy failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Asked(#[from] client::Error),
    #[error(transparent)]
    Config(#[from] config::Error),
    #[error("{file} cannot be read: {problem}")]
    File { file: PathBuf, problem: String },
    #[error("{file}:{problem}")]
    Document { file: PathBuf, problem: String },
    #[error("it cannot be checked: {0}")]
    NotChecked(String),
    #[error("the output cannot be written: {0}")]
    Output(#[from] std::io::Error),
}

/// Runs one of them. The exit code of `check` and `explain` says what is decided.
pub(super) async fn run(args: Args, now: u64) -> Result<ExitCode, Error> {
    match args.command {
        Command::List(args) => show::list(&args).await?,
        Command::Show(args) => show::show(&args).await?,
        Command::CreateList(args) => change::create_list(args).await?,
        Command::CreateRule(args) => change::create_rule(args).await?,
        Command::CreateTarget(args) => change::create_target(args).await?,
        Command::Peers(args) => change::peers(args).await?,
        Command::SetMode(args) => change::set_mode(args).await?,
        Command::Delete(args) => change::delete(args).await?,
        Command::Apply(args) => document::apply(&args).await?,
        Command::Export(args) => document::export(&args).await?,
        Command::Check(args) => return check::run(args, now, false).await,
        Command::Explain(args) => return check::run(args, now, true).await,
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests;
