//! `altsd policy check` and `explain`: by a running daemon, or by files alone.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use alts_handshake::CertificateFacts;
use alts_proto::altsd::{CheckPeerRequest, CheckPeerResponse, CheckedCertificate};
use clap::ValueEnum;
use serde::Serialize;

use super::{Error, Side, document, output, show::Session, view};
use crate::{
    admin,
    cli::{client::Asking, pem},
    config,
    policy::{Action, Named, Policy, Resource, Resources, Revocations, Sources},
};

/// What it exits with if the peer is refused. 2 are wrong arguments.
const REFUSED: u8 = 3;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The local account
    #[arg(long, value_name = "ACCOUNT")]
    local: String,
    /// The account of the peer
    #[arg(long, value_name = "ACCOUNT")]
    peer: String,
    /// Which end the local account is
    #[arg(long, value_enum)]
    side: Side,
    /// What the program at this end has called, HOST:PORT
    #[arg(long, value_name = "NAME", default_value = "")]
    target_name: String,
    /// The certificates of the peer in PEM, leaf first and the root last: what rules and revocations say of
    /// certificates and keys is checked against these
    #[arg(long, value_name = "FILE")]
    peer_chain: Option<PathBuf>,
    /// SHA-256 of the peer's key, where its certificates are not at hand
    #[arg(long, value_name = "HEX", conflicts_with = "peer_chain")]
    key_sha256: Option<String>,
    /// Decide by this policy file, without a daemon; may be given several times
    #[arg(long = "file", value_name = "FILE", requires = "default")]
    files: Vec<PathBuf>,
    /// What becomes of peers that no rule of the files decides
    #[arg(long, value_enum, requires = "files")]
    default: Option<Default>,
    /// Decide by the section `policy` of this configuration, without a daemon
    #[arg(long, value_name = "FILE", conflicts_with = "files")]
    config: Option<PathBuf>,
    #[command(flatten)]
    asking: Asking,
}

/// What becomes of peers that no rule decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Default {
    Deny,
    Allow,
}

/// A decision as it is in JSON.
#[derive(Serialize)]
struct View {
    allowed: bool,
    reason: String,
    rule: Option<String>,
    message: Option<String>,
    shadow: Option<Shadow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    steps: Option<Vec<String>>,
}

#[derive(Serialize)]
struct Shadow {
    allowed: bool,
    reason: String,
    rule: Option<String>,
}

/// Decides and prints it, with its steps if that is wanted.
pub(super) async fn run(args: Args, now: u64, explains: bool) -> Result<ExitCode, Error> {
    let request = request(&args)?;
    let answer = match policy_of_files(&args)? {
        Some(policy) => admin::check_peer(request, &policy, None, Vec::new(), now)
            .map_err(|status| Error::NotChecked(status.message().to_owned()))?,
        None => {
            let mut session = Session::open(&args.asking).await?;
            session.daemon.ask(session.client.check_peer(request)).await?
        }
    };
    let view = View::new(answer, explains);
    output::print(args.asking.output, || view.text(), &view)?;
    Ok(if view.allowed { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
}

fn request(args: &Args) -> Result<CheckPeerRequest, Error> {
    let certificates = match (&args.peer_chain, &args.key_sha256) {
        (Some(file), _) => pem::certificates(file)
            .map_err(|problem| Error::File { file: file.clone(), problem })?
            .into_iter()
            .map(checked)
            .collect(),
        (None, Some(key)) => {
            vec![CheckedCertificate { sha256_key_fingerprint: key.clone(), ..CheckedCertificate::default() }]
        }
        (None, None) => Vec::new(),
    };
    Ok(CheckPeerRequest {
        local: args.local.clone(),
        peer: args.peer.clone(),
        side: args.side.message().into(),
        target_name: args.target_name.clone(),
        certificates,
    })
}

fn checked(facts: CertificateFacts) -> CheckedCertificate {
    CheckedCertificate {
        issuer: facts.issuer,
        serial_number: facts.serial,
        sha256_fingerprint: hex::encode(facts.sha256),
        sha256_key_fingerprint: hex::encode(facts.key_sha256),
    }
}

/// What the files say, if it shall be decided by files. The store and its revocations are no part of it.
fn policy_of_files(args: &Args) -> Result<Option<Policy>, Error> {
    let (default, files) = match (&args.config, args.default) {
        (Some(file), _) => {
            let policy = config::read(file)?.policy;
            (policy.default, policy.files.into_iter().map(|file| file.value).collect())
        }
        (None, Some(Default::Deny)) => (Action::Deny, args.files.clone()),
        (None, Some(Default::Allow)) => (Action::Allow, args.files.clone()),
        (None, None) => return Ok(None),
    };
    let mut all = Resources::default();
    for file in files {
        let resources = document::read(&file)?;
        let twice = add(&mut all.peer_lists, resources.peer_lists)
            .or(add(&mut all.rules, resources.rules))
            .or(add(&mut all.target_names, resources.target_names));
        if let Some(name) = twice {
            let problem = format!(" {name} is defined in another of the files already; names stand once");
            return Err(Error::Document { file, problem });
        }
    }
    let (store, revocations) = (Resources::default(), Arc::new(Revocations::default()));
    let sources = Sources { default, files: &all, store: &store, revocations: &revocations };
    Ok(Some(Policy::compile(sources, None)))
}

/// The first name that is there already.
fn add<T: Resource>(all: &mut Named<T>, of_file: Named<T>) -> Option<String> {
    let twice = of_file.keys().find(|name| all.contains_key(*name)).map(ToString::to_string);
    all.extend(of_file);
    twice
}

impl View {
    fn new(answer: CheckPeerResponse, explains: bool) -> Self {
        let rule = |rule: String| Some(view::short(&rule)).filter(|rule| !rule.is_empty());
        Self {
            allowed: answer.allowed,
            reason: answer.reason,
            rule: rule(answer.rule),
            message: Some(answer.message).filter(|message| !message.is_empty()),
            shadow: answer.shadow.map(|shadow| Shadow {
                allowed: shadow.allowed,
                reason: shadow.reason,
                rule: rule(shadow.rule),
            }),
            steps: explains.then_some(answer.steps),
        }
    }

    fn text(&self) -> String {
        if let Some(steps) = &self.steps {
            return steps.iter().map(|step| format!("{step}\n")).collect();
        }
        let mut text = verdict(self.allowed, &self.reason, self.rule.as_deref());
        if let Some(message) = &self.message {
            text += &format!("  {message}\n");
        }
        if let Some(shadow) = self.shadow.as_ref().filter(|shadow| shadow.allowed != self.allowed) {
            let verdict = verdict(shadow.allowed, &shadow.reason, shadow.rule.as_deref());
            text += &format!("  with shadow rules in force: {verdict}");
        }
        text
    }
}

fn verdict(allowed: bool, reason: &str, rule: Option<&str>) -> String {
    let by = rule.map(|rule| format!(" by rule {rule}")).unwrap_or_default();
    format!("{}{by} ({reason})\n", if allowed { "allowed" } else { "refused" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(allowed: bool, rule: &str, shadow: bool) -> CheckPeerResponse {
        CheckPeerResponse {
            allowed,
            reason: "denied_by_rule".to_owned(),
            rule: rule.to_owned(),
            message: if allowed { String::new() } else { "a denies b".to_owned() },
            shadow: shadow.then(|| alts_proto::altsd::check_peer_response::Shadow {
                allowed: !allowed,
                reason: "allowed_by_default".to_owned(),
                rule: String::new(),
            }),
            steps: vec!["one".to_owned(), "two".to_owned()],
        }
    }

    #[test]
    fn a_decision_is_told_with_its_rule_reason_and_shadow() {
        let text = |answer, explains| View::new(answer, explains).text();
        assert_eq!(
            text(answer(false, "rules/a", false), false),
            "refused by rule a (denied_by_rule)\n  a denies b\n"
        );
        assert_eq!(text(answer(true, "", false), false), "allowed (denied_by_rule)\n");
        assert_eq!(
            text(answer(true, "rules/a", true), false),
            "allowed by rule a (denied_by_rule)\n  with shadow rules in force: refused (allowed_by_default)\n"
        );
        assert_eq!(text(answer(false, "rules/a", true), true), "one\ntwo\n");
    }

    #[test]
    fn json_has_every_field_and_steps_only_if_explained() {
        let json =
            |explains| serde_json::to_value(View::new(answer(false, "", true), explains)).expect("JSON");
        assert_eq!(json(true)["steps"], serde_json::json!(["one", "two"]));
        assert_eq!(json(true)["rule"], serde_json::Value::Null);
        assert!(json(false).get("steps").is_none());
    }
}
