//! `altsd policy apply` and `export`: the policy as a document; and reading documents without a daemon.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use alts_proto::altsd::{self as api, Origin, ResourceState};
use serde::Serialize;

use super::{
    Error, output,
    show::Session,
    view::{self, Applied},
};
use crate::{
    cli::{client::Asking, output::Format as Printed},
    policy::{
        Entry, Format, Named, PeerListRecord, Resource, Resources, RuleRecord, TargetNameRecord, parse,
    },
};

/// Largest document, in bytes, as for policy files.
const MAX_FILE: u64 = 16 << 20;

#[derive(clap::Args)]
pub(super) struct ApplyArgs {
    /// A document that ends with .toml, .yaml or .yml
    file: PathBuf,
    /// Say what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Where it is more than one transaction of the store holds, take several: if one fails, those before it stay
    #[arg(long)]
    in_parts: bool,
    #[command(flatten)]
    asking: Asking,
}

#[derive(clap::Args)]
pub(super) struct ExportArgs {
    /// The admin socket
    #[arg(long, value_name = "ADDR", env = "ALTSD_ADMIN", default_value = "unix:/run/altsd/admin.sock")]
    admin: String,
    /// Seconds to wait for each answer
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout_seconds: u64,
}

pub(super) async fn apply(args: &ApplyArgs) -> Result<(), Error> {
    let mut request = request(&read(&args.file)?);
    request.validate_only = args.dry_run;
    request.in_parts = args.in_parts;
    let mut session = Session::open(&args.asking).await?;
    let answer = session.daemon.ask(session.client.apply_policy(request)).await?;
    let applied = Applied::new(answer, args.dry_run);
    Ok(output::print(args.asking.output, || applied.text(), &applied)?)
}

pub(super) async fn export(args: &ExportArgs) -> Result<(), Error> {
    let (admin, timeout_seconds) = (args.admin.clone(), args.timeout_seconds);
    let asking = Asking { admin, timeout_seconds, output: Printed::Text };
    let mut session = Session::open(&asking).await?;
    let mut document = Document::default();
    for list in session.lists().await? {
        if is_exported(list.origin(), list.state()) {
            let request = api::GetPeerListRequest { name: list.name };
            let list = session.daemon.ask(session.client.get_peer_list(request)).await?;
            document.peer_list.push(PeerListRecord {
                name: view::short(&list.name),
                description: list.description,
                peers: list.peers,
            });
        }
    }
    let rules = session.rules().await?;
    document
        .rule
        .extend(rules.into_iter().filter(|rule| is_exported(rule.origin(), rule.state())).map(rule_record));
    let targets = session.targets().await?;
    let targets = targets.into_iter().filter(|target| is_exported(target.origin(), target.state()));
    document.target_name.extend(targets.map(|target| TargetNameRecord {
        name: view::short(&target.name),
        description: target.description,
        accounts: target.accounts,
    }));
    let text = document.to_toml()?;
    Ok(output::print(Printed::Text, || text, &())?)
}

/// What stands in a document that is written.
#[derive(Default, Serialize)]
struct Document {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    peer_list: Vec<PeerListRecord>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rule: Vec<RuleRecord>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    target_name: Vec<TargetNameRecord>,
}

impl Document {
    fn to_toml(&self) -> Result<String, Error> {
        if self.peer_list.is_empty() && self.rule.is_empty() && self.target_name.is_empty() {
            // A document that holds nothing says so.
            return Ok("rule = []\n".to_owned());
        }
        toml::to_string_pretty(self).map_err(|error| Error::Output(std::io::Error::other(error)))
    }
}

fn is_exported(origin: Origin, state: ResourceState) -> bool {
    origin == Origin::Store && state != ResourceState::Unreadable
}

fn rule_record(rule: api::Rule) -> RuleRecord {
    RuleRecord {
        name: view::short(&rule.name),
        side: view::side(rule.side()).to_owned(),
        action: view::action(rule.action()).to_owned(),
        mode: view::mode(rule.mode()).to_owned(),
        description: rule.description,
        local: rule.local,
        peer_lists: rule.peer_lists.iter().map(|list| view::short(list)).collect(),
        peers: rule.peers,
    }
}

/// The resources of a document.
pub(super) fn read(file: &Path) -> Result<Resources, Error> {
    let unreadable = |problem: String| Error::File { file: file.to_owned(), problem };
    let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let format = Format::of_extension(extension)
        .ok_or_else(|| unreadable("its name must end with .toml, .yaml or .yml".to_owned()))?;
    let mut text = String::new();
    let opened = File::open(file).map_err(|error| unreadable(error.to_string()))?;
    opened.take(MAX_FILE + 1).read_to_string(&mut text).map_err(|error| unreadable(error.to_string()))?;
    if text.len() as u64 > MAX_FILE {
        return Err(unreadable(format!("it has more than {MAX_FILE} bytes; make several of it")));
    }
    parse(&text, format).map_err(|problems| {
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        let problem = lines.join(&format!("\n{}:", file.display()));
        Error::Document { file: file.to_owned(), problem }
    })
}

/// What a document asks for, in the order of names.
fn request(resources: &Resources) -> api::ApplyPolicyRequest {
    let list = |record: PeerListRecord| api::PeerList {
        name: super::Kind::List.resource(&record.name),
        description: record.description,
        peers: record.peers,
        ..api::PeerList::default()
    };
    let target = |record: TargetNameRecord| api::TargetName {
        name: super::Kind::Target.resource(&record.name),
        description: record.description,
        accounts: record.accounts,
        ..api::TargetName::default()
    };
    api::ApplyPolicyRequest {
        peer_lists: values(&resources.peer_lists).map(|value| list(value.into())).collect(),
        rules: values(&resources.rules).map(|value| rule(value.into())).collect(),
        target_names: values(&resources.target_names).map(|value| target(value.into())).collect(),
        ..api::ApplyPolicyRequest::default()
    }
}

fn rule(record: RuleRecord) -> api::Rule {
    use api::rule::{Action, Mode, Side};
    let side = if record.side == "server" { Side::Server } else { Side::Client };
    let action = if record.action == "allow" { Action::Allow } else { Action::Deny };
    let mode = if record.mode == "shadow" { Mode::Shadow } else { Mode::Enforce };
    api::Rule {
        name: super::Kind::Rule.resource(&record.name),
        description: record.description,
        local: record.local,
        side: side.into(),
        action: action.into(),
        mode: mode.into(),
        peer_lists: record.peer_lists.iter().map(|list| super::Kind::List.resource(list)).collect(),
        peers: record.peers,
        ..api::Rule::default()
    }
}

/// Everything of a document that was read can be read.
fn values<T: Resource>(named: &Named<T>) -> impl Iterator<Item = &T> {
    named.values().filter_map(|entry| match entry {
        Entry::Good(value) => Some(&**value),
        Entry::Unreadable => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = r#"[[peer_list]]
name = "front-ends"
description = "they call us"
peers = [
    "web@prod.example.com",
    "*@edge.example.com",
]

[[rule]]
name = "orders-callers"
local = "orders@prod.example.com"
side = "server"
action = "allow"
mode = "shadow"
peer_lists = ["front-ends"]

[[target_name]]
name = "orders.example.com:443"
accounts = ["orders@prod.example.com"]
"#;

    fn records(resources: &Resources) -> Document {
        let request = request(resources);
        let list = |list: api::PeerList| PeerListRecord {
            name: view::short(&list.name),
            description: list.description,
            peers: list.peers,
        };
        let target = |target: api::TargetName| TargetNameRecord {
            name: view::short(&target.name),
            description: target.description,
            accounts: target.accounts,
        };
        Document {
            peer_list: request.peer_lists.into_iter().map(list).collect(),
            rule: request.rules.into_iter().map(rule_record).collect(),
            target_name: request.target_names.into_iter().map(target).collect(),
        }
    }

    #[test]
    fn a_document_that_goes_through_the_api_is_written_as_it_was_read() {
        let resources = parse(DOCUMENT, Format::Toml).expect("it is valid");
        assert_eq!(records(&resources).to_toml().expect("it can be written"), DOCUMENT);
    }

    #[test]
    fn an_empty_document_says_that_it_is_meant() {
        let text = Document::default().to_toml().expect("it can be written");
        assert_eq!(parse(&text, Format::Toml), Ok(Resources::default()));
    }

    #[test]
    fn a_document_that_is_not_good_is_told_with_file_line_and_key() {
        let directory = tempfile::tempdir().expect("there is room");
        let write = |name: &str, text: &str| {
            let file = directory.path().join(name);
            std::fs::write(&file, text).expect("there is room");
            file
        };
        let bad = write("bad.toml", "[[peer_list]]\nname = \"A\"\npeers = []\n");
        let error = read(&bad).expect_err("it is not valid").to_string();
        assert!(error.starts_with(&format!("{}:2: peer_list[0].name: ", bad.display())), "{error}");
        for (file, problem) in [
            (write("peers.txt", ""), "its name must end with"),
            (directory.path().join("none.toml"), "No such file"),
            (write("bytes.toml", "\0"), ""),
            (write("empty.yaml", ""), "the document is empty"),
        ] {
            let error = read(&file).expect_err(problem).to_string();
            assert!(error.starts_with(&file.display().to_string()) && error.contains(problem), "{error}");
        }
    }
}
