//! Arguments, and one subcommand each in a file of its own. Only here and in `main` is the environment read.

mod audit;
mod ca;
mod certs;
mod client;
mod exec;
mod handshake;
mod keys;
mod output;
mod pem;
mod policy;
mod revoke;
mod run;
mod status;
mod token;
mod validate;
mod when;
mod whoami;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::filter::Targets;

use crate::{app, config};

/// A node-local ALTS handshaker for unmodified gRPC programs
///
/// Programs that use gRPC's ALTS credentials ask a handshaker on their machine to authenticate each connection. On
/// Google Cloud the platform has one; altsd is one for any other machine.
#[derive(Parser)]
#[command(version, after_long_help = EXAMPLES)]
pub(crate) struct Cli {
    /// What to log to stderr: a level (error, warn, info, debug, trace), or TARGET=LEVEL,…
    #[arg(long, global = true, env = "ALTSD_LOG", default_value = "info", value_name = "LEVEL")]
    pub(crate) log_level: Targets,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Try it without any configuration, in two terminals:
  altsd run --dev
  altsd exec --handshaker 127.0.0.1:8080 -- python app.py";

#[derive(Subcommand)]
pub(crate) enum Command {
    Run(run::Args),
    Validate(validate::Args),
    Handshake(handshake::Args),
    Exec(exec::Args),
    Whoami(whoami::Args),
    Certs(certs::Args),
    Policy(policy::Args),
    Revoke(revoke::Args),
    Keys(keys::Args),
    Token(token::Args),
    Status(status::Args),
    Audit(audit::Args),
    Ca(ca::Args),
}

impl Command {
    pub(crate) fn run(self) -> Result<ExitCode, Error> {
        match self {
            Self::Run(args) => run::run(args)?,
            Self::Validate(args) => validate::run(&args)?,
            Self::Handshake(args) => runtime()?.block_on(handshake::run(args, &*app::clock()))?,
            Self::Exec(args) => exec::run(&args)?,
            Self::Whoami(args) => return Ok(runtime()?.block_on(whoami::run(args))?),
            Self::Certs(args) => runtime()?.block_on(certs::run(args))?,
            Self::Policy(args) => return Ok(runtime()?.block_on(policy::run(args, now()))?),
            Self::Revoke(args) => runtime()?.block_on(revoke::run(args, now()))?,
            Self::Keys(args) => runtime()?.block_on(keys::run(args))?,
            Self::Token(args) => return Ok(runtime()?.block_on(token::run(args, now()))?),
            Self::Status(args) => return Ok(runtime()?.block_on(status::run(args))?),
            Self::Audit(args) => runtime()?.block_on(audit::run(args, &*app::clock()))?,
            Self::Ca(args) => ca::run(args)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    app::clock().now().as_secs()
}

fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::Runtime)
}

/// Why a subcommand failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Run(#[from] run::Error),
    #[error(transparent)]
    App(#[from] app::Error),
    #[error(transparent)]
    Config(#[from] config::Error),
    #[error(transparent)]
    Exec(#[from] exec::Error),
    #[error(transparent)]
    Handshake(#[from] handshake::Error),
    #[error(transparent)]
    Whoami(#[from] whoami::Error),
    #[error(transparent)]
    Certs(#[from] certs::Error),
    #[error(transparent)]
    Policy(#[from] policy::Error),
    #[error(transparent)]
    Revoke(#[from] revoke::Error),
    #[error(transparent)]
    Keys(#[from] keys::Error),
    #[error(transparent)]
    Token(#[from] token::Error),
    #[error(transparent)]
    Status(#[from] status::Error),
    #[error(transparent)]
    Audit(#[from] audit::Error),
    #[error(transparent)]
    Ca(#[from] ca::Error),
    #[error("the runtime does not start: {0}")]
    Runtime(std::io::Error),
    #[error("the output cannot be written: {0}")]
    Output(std::io::Error),
}

impl Error {
    /// What the process exits with: 78 is `EX_CONFIG` of sysexits.h, 2 is what clap gives for wrong arguments.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_)
            | Self::App(app::Error::Config(_) | app::Error::TokenIssuers(_) | app::Error::TokenKeys(_))
            | Self::Policy(policy::Error::Config(_)) => 78,
            Self::Run(error) => error.exit_code(),
            Self::Exec(error) => error.exit_code(),
            Self::App(_)
            | Self::Handshake(_)
            | Self::Whoami(_)
            | Self::Certs(_)
            | Self::Policy(_)
            | Self::Revoke(_)
            | Self::Keys(_)
            | Self::Token(_)
            | Self::Status(_)
            | Self::Audit(_)
            | Self::Ca(_)
            | Self::Runtime(_)
            | Self::Output(_) => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// The words of a line of a shell, as far as examples use one: quotes, and what comes before a pipe or a file.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
        for char in line.chars() {
            match char {
                '\'' => quoted = !quoted,
                '|' | '>' if !quoted => break,
                ' ' if !quoted => words.push(std::mem::take(&mut word)),
                char => word.push(char),
            }
        }
        words.push(word);
        words.retain(|word| !word.is_empty());
        words
    }

    fn examples(command: &clap::Command, found: &mut Vec<String>) {
        let help = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
        found.extend(
            help.lines().filter_map(|line| line.strip_prefix("  altsd ")).map(|line| format!("altsd {line}")),
        );
        command.get_subcommands().for_each(|command| examples(command, found));
    }

    #[test]
    fn every_example_of_the_help_can_be_typed() {
        let mut found = Vec::new();
        examples(&Cli::command(), &mut found);
        assert!(found.len() > 40, "{}", found.len());
        for example in found {
            if let Err(error) = Cli::try_parse_from(words(&example)) {
                panic!("{example}: {error}");
            }
        }
    }

    #[test]
    fn every_command_has_an_example() {
        fn check(command: &clap::Command) {
            let mut commands = command.get_subcommands().peekable();
            if commands.peek().is_none() {
                assert!(command.get_after_long_help().is_some(), "{}", command.get_name());
            }
            commands.for_each(check);
        }
        check(&Cli::command());
    }
}
