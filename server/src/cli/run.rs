//! `altsd run`: from arguments, environment and file to a [`Launch`], which the daemon serves.

use std::{path::PathBuf, time::Duration};

use clap::value_parser;
use nix::unistd::{User, geteuid};

use crate::{
    app,
    attest::Workloads,
    audit,
    config::{
        self, Address, Callers, Launch, Limits, Listener, MAX_CLOCK_SKEW_SECONDS, MAX_SECONDS,
        PolicySettings, Source, StoreSettings,
    },
    identity::dev,
    policy::Action,
};

/// Where dev mode serves if nothing else is said: gRPC core and Python always ask port 8080.
const DEV_ADDRESS: &str = "127.0.0.1:8080";

/// Serve handshakes to the programs of this machine
///
/// What it serves comes from a configuration file, or in dev mode from nothing: then it makes an identity
/// USER@dev.altsd.internal in memory, with a certificate of one hour that is renewed, trusted by this one process
/// only.
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLE)]
pub(crate) struct Args {
    /// Serve what this file configures
    #[arg(long, env = "ALTSD_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Serve a throw-away identity, without any file
    #[arg(long)]
    dev: bool,
    /// In dev mode, serve here; IP:PORT (loopback or link-local) or unix:/PATH; may be repeated
    #[arg(long, requires = "dev", value_name = "ADDR", default_value = DEV_ADDRESS)]
    listen: Vec<Address>,
    #[command(flatten)]
    limits: LimitArgs,
}

const EXAMPLE: &str = "\
Examples:
  altsd run --dev
  altsd run --config /etc/altsd/altsd.toml

Flags override the environment, the environment overrides the file.";

/// The scalars of the section `handshaker`.
#[derive(clap::Args)]
struct LimitArgs {
    /// Connections of one listener [default: 1024]
    #[arg(long, env = "ALTSD_MAX_CONNECTIONS", value_name = "COUNT", value_parser = value_parser!(u32).range(1..))]
    max_connections: Option<u32>,
    /// Streams of one HTTP/2 connection [default: 1024]
    #[arg(long, env = "ALTSD_MAX_CONCURRENT_STREAMS", value_name = "COUNT", value_parser = value_parser!(u32).range(1..))]
    max_concurrent_streams: Option<u32>,
    /// From the start message of a handshake to its result [default: 10]
    #[arg(long, env = "ALTSD_HANDSHAKE_TIMEOUT_SECONDS", value_name = "SECONDS", value_parser = value_parser!(u64).range(1..=MAX_SECONDS))]
    handshake_timeout_seconds: Option<u64>,
    /// How long a stream may be open without a start message [default: 40]
    #[arg(long, env = "ALTSD_IDLE_TIMEOUT_SECONDS", value_name = "SECONDS", value_parser = value_parser!(u64).range(1..=MAX_SECONDS))]
    idle_timeout_seconds: Option<u64>,
    /// Handshakes in progress, in total [default: 4096]
    #[arg(long, env = "ALTSD_MAX_HANDSHAKES", value_name = "COUNT", value_parser = value_parser!(u32).range(1..))]
    max_handshakes: Option<u32>,
    /// Handshakes in progress, of one caller [default: 1024]
    #[arg(long, env = "ALTSD_MAX_HANDSHAKES_PER_CALLER", value_name = "COUNT", value_parser = value_parser!(u32).range(1..))]
    max_handshakes_per_caller: Option<u32>,
    /// How far the clock of a peer may be off [default: 60]
    #[arg(long, env = "ALTSD_CLOCK_SKEW_SECONDS", value_name = "SECONDS", value_parser = value_parser!(u64).range(0..=MAX_CLOCK_SKEW_SECONDS))]
    clock_skew_seconds: Option<u64>,
}

/// Why `run` does not come to serve.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(
        "nothing to serve: give --config FILE (or ALTSD_CONFIG), or --dev for a throw-away identity without any file"
    )]
    NothingToServe,
    #[error(
        "--dev does not go with the configuration {} (from --config or ALTSD_CONFIG), for dev roots never mix with \
         configured ones; drop --dev, or unset the other",
        .0.display()
    )]
    DevWithConfig(PathBuf),
    #[error("--listen {0} is given twice")]
    ListenTwice(Address),
    #[error(transparent)]
    Dev(#[from] dev::Error),
}

impl Error {
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::NothingToServe | Self::DevWithConfig(_) | Self::ListenTwice(_) => 2,
            Self::Dev(_) => 1,
        }
    }
}

pub(super) fn run(args: Args) -> Result<(), super::Error> {
    let launch = launch(args)?;
    Ok(app::serve(launch, super::runtime()?)?)
}

fn launch(args: Args) -> Result<Launch, super::Error> {
    let mut launch = match (args.config, args.dev) {
        (None, false) => return Err(Error::NothingToServe.into()),
        // Not clap's conflict: it would blame an argument that came from the environment.
        (Some(file), true) => return Err(Error::DevWithConfig(file).into()),
        (Some(file), false) => config::read(&file)?,
        (None, true) => dev_launch(args.listen)?,
    };
    launch.limits = args.limits.over(launch.limits);
    Ok(launch)
}

fn dev_launch(addresses: Vec<Address>) -> Result<Launch, Error> {
    let user = user();
    let identity = dev::identity(&user)?;
    let mut listeners: Vec<Listener> = Vec::new();
    for address in addresses {
        if listeners.iter().any(|listener| listener.address.same_place(&address)) {
            return Err(Error::ListenTwice(address));
        }
        listeners.push(Listener { address, callers: Callers::Fixed(identity.clone()) });
    }
    Ok(Launch {
        limits: Limits::default(),
        listeners,
        workloads: Workloads::default(),
        kubernetes: None,
        source: Source::Dev { user },
        policy: PolicySettings { default: Action::Allow, files: Vec::new() },
        store: Some(StoreSettings::Memory),
        admin: None,
        token: None,
        metrics: None,
        audit: audit::Settings::default(),
    })
}

/// The name of who runs this, or its number where it has no name.
fn user() -> String {
    let uid = geteuid();
    let name = User::from_uid(uid).ok().flatten().map(|user| user.name);
    name.unwrap_or_else(|| format!("uid-{uid}"))
}

impl LimitArgs {
    /// What the arguments say, and else what is below them.
    fn over(&self, below: Limits) -> Limits {
        let seconds = |value: Option<u64>, below| value.map_or(below, Duration::from_secs);
        let count = |value: Option<u32>, below| value.map_or(below, |value| value as usize);
        Limits {
            max_connections: count(self.max_connections, below.max_connections),
            max_concurrent_streams: self.max_concurrent_streams.unwrap_or(below.max_concurrent_streams),
            handshake_timeout: seconds(self.handshake_timeout_seconds, below.handshake_timeout),
            idle_timeout: seconds(self.idle_timeout_seconds, below.idle_timeout),
            max_handshakes: count(self.max_handshakes, below.max_handshakes),
            max_handshakes_per_caller: count(self.max_handshakes_per_caller, below.max_handshakes_per_caller),
            clock_skew: seconds(self.clock_skew_seconds, below.clock_skew),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::cli::{Cli, Command};

    fn launch_of(arguments: &[&str]) -> Launch {
        let cli = Cli::try_parse_from([&["altsd", "run"], arguments].concat()).expect("they are valid");
        let Command::Run(args) = cli.command else { panic!("it is run") };
        launch(args).expect("it can be served")
    }

    #[test]
    fn dev_mode_serves_one_identity_with_default_limits_on_the_port_that_grpc_core_asks() {
        let launch = launch_of(&["--dev"]);
        let [listener] = &*launch.listeners else { panic!("{:?}", launch.listeners) };
        assert_eq!(listener.address.to_string(), "127.0.0.1:8080");
        let Source::Dev { user } = launch.source else { panic!("it is dev mode") };
        assert_eq!(listener.callers, Callers::Fixed(dev::identity(&user).expect("it has one")));
        assert_eq!(launch.limits, Limits::default());
    }

    #[test]
    fn dev_mode_serves_where_it_is_told_to_and_nowhere_else() {
        let launch = launch_of(&["--dev", "--listen", "unix:/run/a.sock", "--listen", "127.0.0.7:0"]);
        let addresses: Vec<_> =
            launch.listeners.iter().map(|listener| listener.address.to_string()).collect();
        assert_eq!(addresses, ["unix:/run/a.sock", "127.0.0.7:0"]);
    }

    #[test]
    fn a_flag_overrides_the_file_and_what_no_flag_names_stays() {
        let directory = tempfile::tempdir().expect("there is room");
        let file = directory.path().join("altsd.toml");
        let text = "[handshaker]\nmax_handshakes = 3\nidle_timeout_seconds = 4\n\
                    [[handshaker.listener]]\naddress = \"127.0.0.1:0\"\nidentity = \"a@b\"\n\
                    [[identity]]\naccount = \"a@b\"\ncertificate_chain = \"c\"\nprivate_key = \"k\"\n[policy]\ndefault = \"allow\"\n";
        fs::write(&file, text).expect("there is room");
        let file = file.to_str().expect("it is UTF-8");
        let below = Limits { max_handshakes: 3, idle_timeout: Duration::from_secs(4), ..Limits::default() };
        let seconds = Duration::from_secs(9);
        let cases: [(&[&str], Limits); 8] = [
            (&[], below),
            (&["--max-handshakes", "9"], Limits { max_handshakes: 9, ..below }),
            (&["--idle-timeout-seconds", "9"], Limits { idle_timeout: seconds, ..below }),
            (&["--handshake-timeout-seconds", "9"], Limits { handshake_timeout: seconds, ..below }),
            (&["--max-concurrent-streams", "9"], Limits { max_concurrent_streams: 9, ..below }),
            (&["--max-connections", "9"], Limits { max_connections: 9, ..below }),
            (&["--max-handshakes-per-caller", "9"], Limits { max_handshakes_per_caller: 9, ..below }),
            (&["--clock-skew-seconds", "9"], Limits { clock_skew: seconds, ..below }),
        ];
        for (flags, expected) in cases {
            let launch = launch_of(&[&["--config", file], flags].concat());
            assert_eq!(launch.limits, expected, "{flags:?}");
        }
    }

    #[test]
    fn the_help_tells_the_defaults_as_they_are() {
        let Limits {
            max_connections,
            max_concurrent_streams,
            handshake_timeout,
            idle_timeout,
            max_handshakes,
            max_handshakes_per_caller,
            clock_skew,
        } = Limits::default();
        let defaults = [
            ("max-connections", max_connections as u64),
            ("max-concurrent-streams", u64::from(max_concurrent_streams)),
            ("handshake-timeout-seconds", handshake_timeout.as_secs()),
            ("idle-timeout-seconds", idle_timeout.as_secs()),
            ("max-handshakes", max_handshakes as u64),
            ("max-handshakes-per-caller", max_handshakes_per_caller as u64),
            ("clock-skew-seconds", clock_skew.as_secs()),
        ];
        let command = Cli::command();
        let run = command.find_subcommand("run").expect("there is one");
        for (flag, default) in defaults {
            let argument = run.get_arguments().find(|argument| argument.get_long() == Some(flag));
            let help = argument.and_then(|argument| argument.get_help()).map(ToString::to_string);
            let told = format!("[default: {default}]");
            assert!(help.as_ref().is_some_and(|help| help.ends_with(&told)), "{flag}: {help:?}");
        }
    }

    #[test]
    fn the_arguments_contradict_themselves_nowhere() {
        Cli::command().debug_assert();
    }
}
