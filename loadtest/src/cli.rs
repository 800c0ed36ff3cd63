//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum, value_parser};

use crate::{
    expect::Expectations,
    progress,
    scenario::{mixed::Mix, record::Over},
    target::Named,
    units::{self, Rate, WriteSize},
};

/// Most workers.
const MAX_WORKERS: i64 = 10_000;

/// Most connections to a handshaker.
const MAX_CONNECTIONS: i64 = 1_000;

const EXAMPLES: &str = "\
Examples:
  alts-loadtest handshake --target 127.0.0.1:8080 --workers 16 --duration 30s --expect 'p99<20ms,errors=0'
  alts-loadtest handshake --target unix:/run/altsd/altsd.sock --rate 500 --json now.json --html now.html
  alts-loadtest token --target unix:/run/altsd/token.sock --audience https://cart.prod.example.com
  alts-loadtest record --target 127.0.0.1:8080 --workers 1 --write-size 64KiB --over tcp
  alts-loadtest record --target 127.0.0.1:8080 --idle 10000
  alts-loadtest mixed --target 127.0.0.1:8080 --token-target 127.0.0.1:8081 --audience https://a.example --mix handshake=8,token=1,record=1
  alts-loadtest compare before.json now.json --max-regression 10%

A closed loop has N workers, each of which begins the next operation when its last has ended. An open \
loop (--rate) begins operations when they are due, however slow the server is; latency is then counted from when they \
were due.

Without --expect, operations that fail do not change the exit code, unless all of them do. Ctrl-C ends a run early, and what was measured is \
reported; a second one ends the program at once.

Exit codes: 0 all is as expected; 1 an expectation is broken, or --max-regression exceeded; 2 the arguments are wrong; \
3 it could not run, or nothing has succeeded and nothing was said of it by --expect.";

/// Puts load on ALTS handshakers, token endpoints and connections, and measures what they do
#[derive(Parser)]
#[command(name = "alts-loadtest", version, after_long_help = EXAMPLES, after_help = "Examples: see --help")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Whole handshakes, both ends done by the service, or one by an engine in this process
    Handshake(Box<HandshakeArgs>),
    /// Token exchanges over HTTP
    Token(Box<TokenArgs>),
    /// Writes on ALTS connections between two ends in this process
    Record(Box<RecordArgs>),
    /// Handshakes, tokens and writes at once
    Mixed(Box<MixedArgs>),
    /// Compares two results that were written by --json
    Compare(CompareArgs),
}

#[derive(Args)]
pub(crate) struct HandshakeArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) service: ServiceArgs,
    /// Open a new connection to the handshaker for each end of each handshake
    #[arg(long, conflicts_with = "connections")]
    pub(crate) new_connection: bool,
    /// Which ends the service does; the other one is done by an engine in this process
    #[arg(long, value_enum, default_value = "both")]
    pub(crate) side: SideArg,
    #[command(flatten)]
    pub(crate) peer: PeerArgs,
    /// Begin N handshakes whose other end does not answer, and measure the memory of the server instead; it must allow so
    /// many, and for long enough: altsd run --max-handshakes, --max-handshakes-per-caller, --handshake-timeout-seconds
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..=1_000_000), conflicts_with_all = ["rate", "side", "new_connection"])]
    pub(crate) idle: Option<u64>,
}

/// Which ends of a handshake the service does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SideArg {
    Both,
    Client,
    Server,
}

impl SideArg {
    /// As it is written.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// The identity of an engine in this process.
#[derive(Args)]
pub(crate) struct PeerArgs {
    /// Certificate chain of the engine, leaf first, PEM
    #[arg(long, value_name = "FILE", required_if_eq_any = [("side", "client"), ("side", "server")])]
    pub(crate) peer_chain: Option<PathBuf>,
    /// Key of its leaf, PKCS#8, PEM
    #[arg(long, value_name = "FILE", required_if_eq_any = [("side", "client"), ("side", "server")])]
    pub(crate) peer_key: Option<PathBuf>,
    /// Roots that it trusts, PEM
    #[arg(long, value_name = "FILE", required_if_eq_any = [("side", "client"), ("side", "server")])]
    pub(crate) peer_roots: Option<PathBuf>,
    /// For whom these roots vouch, such as prod.example.com or spiffe://prod.example.com; may be repeated [default: who its
    /// own certificate is of]
    #[arg(long, value_name = "AUTHORITY")]
    pub(crate) peer_authority: Vec<String>,
}

#[derive(Args)]
pub(crate) struct TokenArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) exchange: ExchangeArgs,
    /// Open a new connection for each token
    #[arg(long)]
    pub(crate) new_connection: bool,
}

/// What token is asked for.
#[derive(Args)]
pub(crate) struct ExchangeArgs {
    /// Whom the token is for; may be repeated
    #[arg(long, value_name = "URI")]
    pub(crate) audience: Vec<String>,
    /// What the token is for, words with spaces between them
    #[arg(long, value_name = "SCOPE")]
    pub(crate) scope: Option<String>,
    /// The account to ask for, if this program has several
    #[arg(long, value_name = "ACCOUNT", default_value = "me", conflicts_with = "subject_token_file")]
    pub(crate) subject: String,
    /// Present the token in this file instead of asking as the workload that this program is
    #[arg(long, value_name = "FILE")]
    pub(crate) subject_token_file: Option<PathBuf>,
    /// What is in the file
    #[arg(
        long,
        value_name = "URN",
        default_value = "urn:ietf:params:oauth:token-type:jwt",
        requires = "subject_token_file"
    )]
    pub(crate) subject_token_type: String,
    /// Where tokens are exchanged
    #[arg(long, value_name = "PATH", default_value = "/token", value_parser = http_path)]
    pub(crate) token_path: String,
}

#[derive(Args)]
pub(crate) struct RecordArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) service: ServiceArgs,
    #[command(flatten)]
    pub(crate) stream: StreamArgs,
    /// Open N connections that do nothing, and measure their memory instead; not over a duplex
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..=1_000_000), conflicts_with_all = ["rate", "echo"])]
    pub(crate) idle: Option<u64>,
}

/// How connections are used.
#[derive(Args)]
pub(crate) struct StreamArgs {
    /// Bytes of one write
    #[arg(long, value_name = "SIZE", default_value = "16KiB", value_parser = WriteSize::parse)]
    pub(crate) write_size: WriteSize,
    /// Over what [default: duplex, a connection in memory; unix with --idle]
    #[arg(long, value_enum)]
    pub(crate) over: Option<Over>,
    /// Have each write sent back, and wait for it
    #[arg(long)]
    pub(crate) echo: bool,
    /// Largest frame that both ends take, in bytes
    #[arg(long, value_name = "BYTES", value_parser = value_parser!(u32).range(16_384..=1_048_576))]
    pub(crate) frame_size: Option<u32>,
}

#[derive(Args)]
pub(crate) struct MixedArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) service: ServiceArgs,
    /// How often each kind comes
    #[arg(long, value_name = "SHARES", default_value = "handshake=8,token=1,record=1", value_parser = Mix::parse)]
    pub(crate) mix: Mix,
    /// Where tokens are exchanged, HOST:PORT or unix:/PATH; needed if the mix has tokens
    #[arg(long, value_name = "ADDR", value_parser = Named::parse)]
    pub(crate) token_target: Option<Named>,
    #[command(flatten)]
    pub(crate) exchange: ExchangeArgs,
    #[command(flatten)]
    pub(crate) stream: StreamArgs,
}

#[derive(Args)]
pub(crate) struct CompareArgs {
    /// The earlier result
    #[arg(value_name = "BASELINE")]
    pub(crate) before: PathBuf,
    /// The later result
    #[arg(value_name = "NOW")]
    pub(crate) now: PathBuf,
    /// Exit with 1 if something is worse by more than this, such as 10%
    #[arg(long, value_name = "PERCENT", value_parser = units::percent)]
    pub(crate) max_regression: Option<f64>,
    /// Also write a page with both
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

/// How the handshaker is asked.
#[derive(Args)]
pub(crate) struct ServiceArgs {
    /// Connections to the handshaker, which workers share
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u64).range(1..=MAX_CONNECTIONS as u64))]
    pub(crate) connections: u64,
    /// The account that the accepting end must have
    #[arg(long, value_name = "ACCOUNT")]
    pub(crate) target_service_account: Option<String>,
    /// The name that the connecting end says it has connected to
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:443")]
    pub(crate) target_name: String,
}

/// What all scenarios take.
#[derive(Args)]
pub(crate) struct Common {
    /// Where the load goes: HOST:PORT or unix:/PATH; loopback, link-local or a socket
    #[arg(long, value_name = "ADDR", value_parser = Named::parse)]
    pub(crate) target: Named,
    /// Allow a target on another machine
    #[arg(long)]
    pub(crate) i_own_this_target: bool,
    /// Operations at once; of an open loop the most [default: 16, of an open loop 256]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=MAX_WORKERS))]
    pub(crate) workers: Option<u32>,
    /// Open loop: operations that begin in a second
    #[arg(long, value_name = "R", value_parser = Rate::parse)]
    pub(crate) rate: Option<Rate>,
    /// How long is measured
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = units::some_time)]
    pub(crate) duration: Duration,
    /// How long the load is on before it is measured
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = units::duration)]
    pub(crate) warmup: Duration,
    /// How long one operation may take
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = units::some_time)]
    pub(crate) timeout: Duration,
    /// Threads of this program [default: as many as there are cores]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=1024))]
    pub(crate) threads: Option<u32>,
    /// The process whose CPU time is read [default: who listens at the target]
    #[arg(long, value_name = "PID", value_parser = value_parser!(i32).range(1..))]
    pub(crate) server_pid: Option<i32>,
    /// What is printed
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) output: Output,
    /// Also write the result as JSON, for --baseline and compare
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Also write the result as a page
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Exit with 1 unless all of this is so, such as 'p99<20ms,errors=0,rate>500'
    #[arg(long, value_name = "LIST", value_parser = Expectations::parse)]
    pub(crate) expect: Option<Expectations>,
    /// Compare with this result, which was written by --json
    #[arg(long, value_name = "FILE")]
    pub(crate) baseline: Option<PathBuf>,
    /// Exit with 1 if something is worse than the baseline by more than this, such as 10%
    #[arg(long, value_name = "PERCENT", requires = "baseline", value_parser = units::percent)]
    pub(crate) max_regression: Option<f64>,
    /// When progress is shown
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) progress: progress::Mode,
}

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Text,
    /// For programs
    Json,
}

impl Command {
    /// What all scenarios take; a comparison takes nothing of it.
    pub(crate) fn common(&self) -> Option<&Common> {
        match self {
            Self::Handshake(args) => Some(&args.common),
            Self::Token(args) => Some(&args.common),
            Self::Record(args) => Some(&args.common),
            Self::Mixed(args) => Some(&args.common),
            Self::Compare(_) => None,
        }
    }

    /// How many are opened that do nothing, if that is what is measured.
    pub(crate) fn idle(&self) -> Option<u64> {
        match self {
            Self::Handshake(args) => args.idle,
            Self::Record(args) => args.idle,
            Self::Token(_) | Self::Mixed(_) | Self::Compare(_) => None,
        }
    }
}

fn http_path(text: &str) -> Result<String, String> {
    let is_path = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_path.then(|| text.to_owned()).ok_or_else(|| format!("{text:?} is no path: write such as /token"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    /// The arguments of each example in the help.
    fn examples() -> Vec<Vec<String>> {
        let commands = EXAMPLES.lines().filter_map(|line| line.strip_prefix("  alts-loadtest "));
        let words =
            |command: &str| command.split(' ').map(|word| word.trim_matches('\'').to_owned()).collect();
        commands.map(words).collect()
    }

    #[test]
    fn the_examples_of_the_help_are_taken() {
        assert!(examples().len() > 5);
        for example in examples() {
            let arguments = std::iter::once("alts-loadtest".to_owned()).chain(example.clone());
            if let Err(problem) = Cli::try_parse_from(arguments) {
                panic!("{example:?}: {problem}");
            }
        }
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        for arguments in [
            "handshake",
            "handshake --target localhost",
            "handshake --target localhost:1 --workers 0",
            "handshake --target localhost:1 --duration 0s",
            "handshake --target localhost:1 --duration 10",
            "handshake --target localhost:1 --rate 0",
            "handshake --target localhost:1 --side client",
            "handshake --target localhost:1 --side server --peer-chain a --peer-key b",
            "handshake --target localhost:1 --new-connection --connections 2",
            "handshake --target localhost:1 --expect p99",
            "handshake --target localhost:1 --max-regression 10%",
            "handshake --target localhost:1 --idle 5 --new-connection",
            "token --target localhost:1 --idle 5",
            "token --target localhost:1 --subject a --subject-token-file b",
            "token --target localhost:1 --subject-token-type urn:x",
            "token --target localhost:1 --token-path token",
            "record --target localhost:1 --idle 5 --echo",
            "record --target localhost:1 --idle 0",
            "record --target localhost:1 --write-size 0",
            "record --target localhost:1 --frame-size 100",
            "mixed --target localhost:1 --mix other=1",
            "compare one",
            "nothing",
        ] {
            let words = std::iter::once("alts-loadtest").chain(arguments.split(' '));
            let Err(problem) = Cli::try_parse_from(words) else { panic!("{arguments} is taken") };
            assert_eq!(problem.exit_code(), 2, "{arguments}");
        }
    }
}
