//! `altsd exec`: starts a program where it finds what gRPC's ALTS credentials look for, and leaves the machine as it
//! is. What the program then sees is made by `machine`; here are its environment and its start.

mod machine;

use std::{
    ffi::{OsStr, OsString},
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    os::unix::process::CommandExt,
    process::Command,
};

use crate::config::is_local;

/// The port that gRPC core and Java always ask.
const PORT: u16 = 8_080;

/// What gRPC asks for its handshaker. It does so with the dot; others that look for this name leave it out.
const NAMES: [&str; 2] = ["metadata.google.internal", "metadata.google.internal."];

/// Run a program so that its gRPC finds this machine's handshaker
///
/// The program sees the two things that gRPC takes for Google Cloud: /sys/class/dmi/id/product_name reads "Google
/// Compute Engine", and metadata.google.internal is the handshaker's address. Both are in a mount namespace of its
/// own; the machine stays as it is. Exit code and signals are the program's.
///
/// This needs root, or a kernel that lets everybody make user namespaces. In one of these, files of other users
/// seem to be nobody's, and setuid programs such as sudo gain no rights.
///
/// Google's real metadata server, where there is one, is out of the program's reach under its name.
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLE)]
pub(crate) struct Args {
    /// Where the handshaker listens; the port must be 8080, the only one that gRPC core asks
    #[arg(long, env = "ALTSD_HANDSHAKER", value_name = "IP:8080", default_value = "127.0.0.1:8080", value_parser = handshaker)]
    handshaker: Ipv4Addr,
    /// What to run, with its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "PROGRAM")]
    program: Vec<OsString>,
}

const EXAMPLE: &str = "Example:\n  altsd exec --handshaker 127.0.0.1:8080 -- python app.py";

/// Why the program does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Machine(#[from] machine::Error),
    #[error("{program:?} cannot be run: {problem}")]
    Program { program: OsString, problem: io::Error },
}

impl Error {
    /// As shells and env(1) have it: 127 for no such program, 126 for one that cannot be run.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Machine(_) => 1,
            Self::Program { problem, .. } if problem.kind() == io::ErrorKind::NotFound => 127,
            Self::Program { .. } => 126,
        }
    }
}

pub(super) fn run(args: &Args) -> Result<(), super::Error> {
    // clap sees to it that there is one.
    let Some((program, arguments)) = args.program.split_first() else { return Ok(()) };
    machine::enter_private(args.handshaker).map_err(Error::from)?;
    let mut command = Command::new(program);
    command.args(arguments).envs(without_proxy(&environment));
    let problem = command.exec();
    Err(Error::Program { program: program.clone(), problem }.into())
}

/// Reads the address of a handshaker that every client finds.
fn handshaker(text: &str) -> Result<Ipv4Addr, String> {
    if text.starts_with("unix:") {
        return Err("a unix socket cannot be found under a host name, and gRPC core has no other way; \
                    let altsd listen on IP:8080 of a loopback address too"
            .to_owned());
    }
    let address: SocketAddr = text.parse().map_err(|_| "write IP:8080, such as 127.0.0.1:8080".to_owned())?;
    if !is_local(address.ip()) {
        return Err("keys come from there in clear, so it must be loopback or link-local".to_owned());
    }
    let SocketAddr::V4(address) = address else {
        return Err(
            "it must be IPv4: a host name with an IPv6 address alone sends gRPC to DNS for the other, \
                    which takes seconds"
                .to_owned(),
        );
    };
    let port = address.port();
    if port != PORT {
        return Err(format!(
            "gRPC core and Java ask port {PORT} whatever the name, and this is port {port}; let altsd listen on \
             {} or on port {PORT} of another loopback address, such as 127.0.0.7:{PORT}",
            SocketAddrV4::new(*address.ip(), PORT)
        ));
    }
    Ok(*address.ip())
}

#[expect(clippy::disallowed_methods, reason = "the program's environment is made from this one's")]
fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// Variables that keep the connection to the handshaker, with the keys in it, away from any proxy.
fn without_proxy(environment: &dyn Fn(&str) -> Option<OsString>) -> Vec<(&'static str, OsString)> {
    let set = |name| environment(name).filter(|value| !value.is_empty());
    let (lower, upper) = (set("no_proxy"), set("NO_PROXY"));
    let mut variables = vec![
        // A variable that is new here would hide the other spelling from programs that prefer it.
        ("no_proxy", with_names(lower.as_ref().or(upper.as_ref()))),
        ("NO_PROXY", with_names(upper.as_ref().or(lower.as_ref()))),
    ];
    // gRPC core prefers its own variable where there is one.
    if let Some(own) = set("no_grpc_proxy") {
        variables.push(("no_grpc_proxy", with_names(Some(&own))));
    }
    variables
}

fn with_names(value: Option<&OsString>) -> OsString {
    let names = NAMES.map(OsStr::new);
    value.map(OsString::as_os_str).into_iter().chain(names).collect::<Vec<_>>().join(OsStr::new(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshaker_that_grpc_core_cannot_find_is_refused_with_the_reason() {
        let cases = [
            ("127.0.0.1:8081", "127.0.0.1:8080 or on port 8080 of another loopback address"),
            ("127.0.0.1:0", "port 8080"),
            ("unix:/run/altsd.sock", "unix socket"),
            ("[::1]:8080", "must be IPv4"),
            ("10.0.0.1:8080", "loopback or link-local"),
            ("0.0.0.0:8080", "loopback or link-local"),
            ("localhost:8080", "127.0.0.1:8080"),
            ("127.0.0.1", "127.0.0.1:8080"),
            ("", "127.0.0.1:8080"),
        ];
        for (address, reason) in cases {
            let refusal = handshaker(address).expect_err(address);
            assert!(refusal.contains(reason), "{address}: {refusal}");
        }
        assert_eq!(handshaker("127.0.0.7:8080"), Ok(Ipv4Addr::new(127, 0, 0, 7)));
        assert_eq!(handshaker("169.254.169.254:8080"), Ok(Ipv4Addr::new(169, 254, 169, 254)));
    }

    #[test]
    fn the_handshaker_is_kept_from_proxies_and_what_was_kept_before_stays() {
        const BOTH: &str = "metadata.google.internal,metadata.google.internal.";
        type Variables = [(&'static str, &'static str)];
        let cases: [(&Variables, &Variables); 5] = [
            (&[], &[("no_proxy", ""), ("NO_PROXY", "")]),
            (&[("no_proxy", ""), ("no_grpc_proxy", "")], &[("no_proxy", ""), ("NO_PROXY", "")]),
            (&[("no_proxy", "a,.b")], &[("no_proxy", "a,.b,"), ("NO_PROXY", "a,.b,")]),
            (&[("no_proxy", "a"), ("NO_PROXY", "b")], &[("no_proxy", "a,"), ("NO_PROXY", "b,")]),
            (
                &[("NO_PROXY", "b"), ("no_grpc_proxy", "g")],
                &[("no_proxy", "b,"), ("NO_PROXY", "b,"), ("no_grpc_proxy", "g,")],
            ),
        ];
        for (before, after) in cases {
            let find =
                |name: &str| before.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
            let expected: Vec<_> =
                after.iter().map(|(name, kept)| (*name, OsString::from(format!("{kept}{BOTH}")))).collect();
            assert_eq!(without_proxy(&find), expected, "{before:?}");
        }
    }
}
