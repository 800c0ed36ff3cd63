//! A load tester for ALTS handshakers, token endpoints and connections: it does one thing over and over, from many
//! workers, and measures how long each takes and what the server spends on it.
//!
//! It is a user of `alts-client`, and never of the server; the engine of handshakes is used as the other end of one, where
//! a handshake shall cost the server one side only. The program is `alts-loadtest`; [`run()`] is all of it but the reading
//! of its arguments.

mod app;
mod cli;
mod clock;
mod cpu;
mod expect;
mod pace;
mod progress;
mod report;
mod run;
mod sample;
mod scenario;
mod target;
mod units;

use std::{ffi::OsString, io::Write, process::ExitCode};

use clap::Parser;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All is as expected: 0.
    Good,
    /// An expectation is broken, or something is worse than the baseline by more than is allowed: 1.
    Broken,
    /// The arguments are wrong: 2.
    Usage,
    /// It could not run, or nothing has succeeded and nothing was expected: 3.
    CouldNotRun,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Good => 0,
            Exit::Broken => 1,
            Exit::Usage => 2,
            Exit::CouldNotRun => 3,
        })
    }
}

/// Runs the program with these arguments, the first of which is its name. Results go to `out`, what went wrong to standard
/// error.
pub fn run<A: Into<OsString> + Clone>(arguments: impl IntoIterator<Item = A>, out: &mut dyn Write) -> Exit {
    let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    let command: Vec<String> = arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let cli = match cli::Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(problem) => {
            let exit = if problem.exit_code() == 0 { Exit::Good } else { Exit::Usage };
            // Nobody is left to tell it to if that fails.
            let _ = problem.print();
            return exit;
        }
    };
    match app::run(cli.command, command, out) {
        Ok(exit) => exit,
        Err(problem) => {
            eprintln!("alts-loadtest: {problem} ({})", problem.code());
            problem.exit()
        }
    }
}
