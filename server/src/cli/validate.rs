//! `altsd validate`: everything that `run` checks before it serves, and nothing else.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use crate::{
    app,
    clock::utc,
    config::{self, Ca, Configured, Files, Launch, Source},
    policy::{Action, check_complete},
    snapshot::Snapshot,
    verifier::PolicyFiles,
};

/// Check a configuration and the files it names
///
/// Prints what it would serve. A mistake is reported as FILE:LINE: KEY: PROBLEM, with exit code 78.
#[derive(clap::Args)]
#[command(after_long_help = "Example:\n  altsd validate --config /etc/altsd/altsd.toml")]
pub(crate) struct Args {
    /// The file to check
    #[arg(long, env = "ALTSD_CONFIG", value_name = "FILE")]
    config: PathBuf,
}

pub(super) fn run(args: &Args) -> Result<(), super::Error> {
    let launch = config::read(&args.config)?;
    let checked = app::check(&launch)?;
    let mut out = io::stdout().lock();
    writeln!(out, "{} is valid", args.config.display())
        .and_then(|()| summarize(&launch, &checked.snapshot, &mut out))
        .and_then(|()| summarize_policy(&launch, &checked.policy, &mut out))
        .and_then(|()| summarize_tokens(&launch, &mut out))
        .map_err(super::Error::Output)
}

fn summarize(launch: &Launch, snapshot: &Snapshot, out: &mut impl Write) -> io::Result<()> {
    for listener in &launch.listeners {
        writeln!(out, "listener  {}: callers are {}", listener.address, listener.callers)?;
    }
    for workload in launch.workloads.iter() {
        let accounts: Vec<_> = workload.identities().iter().map(ToString::to_string).collect();
        let selectors: Vec<_> = workload.selectors().iter().map(ToString::to_string).collect();
        writeln!(out, "workload  {}: {}", accounts.join(", "), selectors.join(" "))?;
    }
    let Source::Configured(Configured { files: Files { identities, trust }, issued, ca }) = &launch.source
    else {
        return Ok(());
    };
    for identity in identities {
        let account = identity.account.value.account();
        if let Some(credentials) = snapshot.credentials(account) {
            let (_, not_after) = credentials.validity();
            writeln!(out, "identity  {account}: certificate expires {}", utc(not_after))?;
        }
    }
    for identity in issued {
        writeln!(
            out,
            "identity  {identity}: certificate made when it is needed, by {}",
            issuer(ca.as_ref())
        )?;
    }
    if let Some(Ca::SigningService(settings)) = ca {
        for authority in &settings.authorities {
            writeln!(out, "authority {authority}: the root of the signing service")?;
        }
    }
    for entry in trust {
        let files =
            |number: usize, what| format!("{number} file{} of {what}", if number == 1 { "" } else { "s" });
        write!(out, "authority {}: {}", entry.authority.value, files(entry.roots.len(), "roots"))?;
        match entry.crls.len() {
            0 => writeln!(out)?,
            number => writeln!(out, ", {}", files(number, "revocation lists"))?,
        }
    }
    Ok(())
}

fn summarize_policy(launch: &Launch, files: &PolicyFiles, out: &mut impl Write) -> io::Result<()> {
    let default = match launch.policy.default {
        Action::Allow => "allowed",
        Action::Deny => "refused",
    };
    let resources = files.resources();
    let counts = [
        (resources.peer_lists.len(), "peer list"),
        (resources.rules.len(), "rule"),
        (resources.target_names.len(), "target name"),
    ];
    let held: Vec<_> = counts
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, what)| format!("{number} {what}{}", if number == 1 { "" } else { "s" }))
        .collect();
    let held = if held.is_empty() { "no rules".to_owned() } else { held.join(", ") };
    writeln!(out, "policy    peers that no rule decides on are {default}; {held} in files")?;
    for missing in check_complete(&resources).err().unwrap_or_default() {
        let (rule, list) = (missing.rule, missing.list);
        writeln!(
            out,
            "policy    rule {rule} names list {list}, which is in no file: the store must have it"
        )?;
    }
    match &launch.store {
        None => writeln!(out, "store     none: there is no state_directory"),
        Some(store) => writeln!(out, "store     {store}"),
    }
}

fn summarize_tokens(launch: &Launch, out: &mut impl Write) -> io::Result<()> {
    let Some(token) = &launch.token else { return Ok(()) };
    let count = |number: usize, what| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    writeln!(
        out,
        "tokens    issuer {}: {}, {}, {}",
        token.issuer,
        token.keys.algorithm,
        count(token.rules.iter().count(), "rule"),
        count(token.issuers.len(), "trusted issuer")
    )?;
    for listener in &token.listeners {
        let callers = if listener.attested { "attested" } else { "whoever presents a token" };
        writeln!(out, "tokens    {}: callers are {callers}", listener.address)?;
    }
    if token.keys.publish_ahead < token.keys.verifier_cache {
        writeln!(
            out,
            "tokens    keys sign {} s after they are published, but verifiers may keep the set before for {} s",
            token.keys.publish_ahead, token.keys.verifier_cache
        )?;
    }
    Ok(())
}

fn issuer(ca: Option<&Ca>) -> String {
    match ca {
        Some(Ca::SigningService(settings)) => {
            format!("the signing service in {}", settings.directory.display())
        }
        Some(Ca::External(settings)) => settings.program.display().to_string(),
        None => "nobody".to_owned(),
    }
}
