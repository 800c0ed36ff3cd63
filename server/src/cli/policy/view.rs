//! Resources of the policy as they are printed.

use alts_proto::altsd::{self as api, Origin, ResourceState, apply_policy_response::change, rule};
use serde::Serialize;

use crate::cli::output::{NOTHING, table};

/// A peer list as it is in JSON. What is not known is null.
#[derive(Debug, Serialize)]
pub(super) struct ListView {
    name: String,
    description: String,
    peer_count: i32,
    /// Not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    peers: Option<Vec<String>>,
    #[serde(flatten)]
    place: Place,
}

#[derive(Debug, Serialize)]
pub(super) struct RuleView {
    name: String,
    description: String,
    local: String,
    side: &'static str,
    action: &'static str,
    mode: &'static str,
    peer_lists: Vec<String>,
    peers: Vec<String>,
    #[serde(flatten)]
    place: Place,
}

#[derive(Debug, Serialize)]
pub(super) struct TargetView {
    name: String,
    description: String,
    accounts: Vec<String>,
    #[serde(flatten)]
    place: Place,
}

/// Where a resource comes from, and what it does.
#[derive(Debug, Serialize)]
pub(super) struct Place {
    origin: &'static str,
    file: Option<String>,
    state: &'static str,
    /// None of a file's.
    revision: Option<i64>,
}

impl Place {
    fn of(origin: Origin, file: String, state: ResourceState, revision: i64) -> Self {
        let origin = match origin {
            Origin::File => "file",
            Origin::Store => "store",
            Origin::Unspecified => "unknown",
        };
        let file = Some(file).filter(|file| !file.is_empty());
        Self { origin, file, state: state_word(state), revision: Some(revision).filter(|at| *at > 0) }
    }

    fn cells(&self) -> [String; 2] {
        [self.file.clone().unwrap_or_else(|| self.origin.to_owned()), self.state.to_owned()]
    }
}

/// The word of a state.
pub(in crate::cli) fn state_word(state: ResourceState) -> &'static str {
    match state {
        ResourceState::Active => "active",
        ResourceState::Pending => "pending",
        ResourceState::Overridden => "overridden",
        ResourceState::Unreadable => "unreadable",
        ResourceState::Expired => "expired",
        ResourceState::Unspecified => "unknown",
    }
}

/// A name without what stands before it in the name of its resource.
pub(super) fn short(name: &str) -> String {
    name.split_once('/').map_or(name, |(_, name)| name).to_owned()
}

impl ListView {
    /// As it is among others: without its peers.
    pub(super) fn brief(mut list: api::PeerList) -> Self {
        list.peers = Vec::new();
        Self { peers: None, ..Self::from(list) }
    }
}

impl From<api::PeerList> for ListView {
    fn from(list: api::PeerList) -> Self {
        let place = Place::of(list.origin(), list.file.clone(), list.state(), list.revision);
        Self {
            name: short(&list.name),
            description: list.description,
            peer_count: list.peer_count,
            peers: Some(list.peers),
            place,
        }
    }
}

impl From<api::Rule> for RuleView {
    fn from(rule: api::Rule) -> Self {
        let place = Place::of(rule.origin(), rule.file.clone(), rule.state(), rule.revision);
        let (side, action, mode) = (side(rule.side()), action(rule.action()), mode(rule.mode()));
        Self {
            name: short(&rule.name),
            description: rule.description,
            local: rule.local,
            side,
            action,
            mode,
            peer_lists: rule.peer_lists.iter().map(|list| short(list)).collect(),
            peers: rule.peers,
            place,
        }
    }
}

impl From<api::TargetName> for TargetView {
    fn from(target: api::TargetName) -> Self {
        let place = Place::of(target.origin(), target.file.clone(), target.state(), target.revision);
        Self { name: short(&target.name), description: target.description, accounts: target.accounts, place }
    }
}

pub(super) fn side(side: rule::Side) -> &'static str {
    match side {
        rule::Side::Server => "server",
        rule::Side::Client => "client",
        rule::Side::Unspecified => "unknown",
    }
}

pub(super) fn action(action: rule::Action) -> &'static str {
    match action {
        rule::Action::Allow => "allow",
        rule::Action::Deny => "deny",
        rule::Action::Unspecified => "unknown",
    }
}

pub(super) fn mode(mode: rule::Mode) -> &'static str {
    match mode {
        rule::Mode::Enforce => "enforce",
        rule::Mode::Shadow => "shadow",
        rule::Mode::Unspecified => "unknown",
    }
}

/// All that there is; what was not asked for is left out.
#[derive(Debug, Default, Serialize)]
pub(super) struct All {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) peer_lists: Option<Vec<ListView>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rules: Option<Vec<RuleView>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) target_names: Option<Vec<TargetView>>,
}

/// One table for each kind.
pub(super) fn all(all: &All) -> String {
    let tables = [
        all.peer_lists.as_ref().map(|lists| {
            rows("PEER LIST", &["PEERS"], lists, |list| {
                (&list.name, vec![list.peer_count.to_string()], &list.place, &list.description)
            })
        }),
        all.rules.as_ref().map(|rules| {
            rows("RULE", &["MODE", "SIDE", "LOCAL", "ACTION", "PEERS"], rules, |rule| {
                let words = [rule.mode, rule.side, &rule.local, rule.action].map(str::to_owned);
                let mut cells = words.to_vec();
                cells.push(peers(rule));
                (&rule.name, cells, &rule.place, &rule.description)
            })
        }),
        all.target_names.as_ref().map(|targets| {
            rows("TARGET NAME", &["ACCOUNTS"], targets, |target| {
                (&target.name, vec![some(&target.accounts)], &target.place, &target.description)
            })
        }),
    ];
    tables.into_iter().flatten().collect::<Vec<_>>().join("\n")
}

/// Where it is, and for people, behind what is of the kind alone.
fn rows<T>(
    kind: &str,
    header: &[&str],
    items: &[T],
    row: impl Fn(&T) -> (&String, Vec<String>, &Place, &String),
) -> String {
    let mut head = vec![kind.to_owned()];
    head.extend(header.iter().map(|cell| (*cell).to_owned()));
    head.extend(["FROM", "STATE", "DESCRIPTION"].map(str::to_owned));
    let line = |item: &T| {
        let (name, cells, place, description) = row(item);
        let mut line = vec![name.clone()];
        line.extend(cells);
        line.extend(place.cells());
        line.push(if description.is_empty() { NOTHING.to_owned() } else { description.clone() });
        line
    };
    table(&[head].into_iter().chain(items.iter().map(line)).collect::<Vec<_>>())
}

/// The peers of a rule: lists by name, and the first of its own.
fn peers(rule: &RuleView) -> String {
    let lists = rule.peer_lists.iter().map(|list| format!("list {list}"));
    some(&lists.chain(rule.peers.iter().cloned()).collect::<Vec<_>>())
}

/// The first of many.
fn some(items: &[String]) -> String {
    const SHOWN: usize = 3;
    let mut text = items.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if items.len() > SHOWN {
        text += &format!(" and {} more", items.len() - SHOWN);
    }
    text
}

/// One line for each field, and for each peer.
pub(super) fn list(list: &ListView) -> String {
    let peers = list.peers.iter().flatten();
    let mut rows = fields(&list.name, &list.description, &list.place);
    rows.push(["peers".to_owned(), list.peer_count.to_string()].to_vec());
    table(&rows) + &peers.map(|peer| table(&[vec![peer.clone()]])).collect::<String>()
}

pub(super) fn rule(rule: &RuleView) -> String {
    let mut rows = fields(&rule.name, &rule.description, &rule.place);
    for (name, value) in
        [("local", &*rule.local), ("side", rule.side), ("action", rule.action), ("mode", rule.mode)]
    {
        rows.push([name, value].map(str::to_owned).to_vec());
    }
    rows.extend(rule.peer_lists.iter().map(|list| ["list", list].map(str::to_owned).to_vec()));
    rows.extend(rule.peers.iter().map(|peer| ["peer", peer].map(str::to_owned).to_vec()));
    table(&rows)
}

pub(super) fn target(target: &TargetView) -> String {
    let mut rows = fields(&target.name, &target.description, &target.place);
    rows.extend(target.accounts.iter().map(|account| ["account", account].map(str::to_owned).to_vec()));
    table(&rows)
}

fn fields(name: &str, description: &str, place: &Place) -> Vec<Vec<String>> {
    let [from, state] = place.cells();
    let mut fields = vec![("name", name.to_owned()), ("from", from), ("state", state)];
    fields.extend(place.revision.map(|revision| ("revision", revision.to_string())));
    if !description.is_empty() {
        fields.push(("description", description.to_owned()));
    }
    fields.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect()
}

/// What an application has changed, or would.
#[derive(Debug, Serialize)]
pub(super) struct Applied {
    changes: Vec<ChangeView>,
    transactions: i32,
    revision: Option<i64>,
    applied: bool,
    dry_run: bool,
}

#[derive(Debug, Serialize)]
struct ChangeView {
    name: String,
    change: &'static str,
    overrides_file: Option<String>,
}

impl Applied {
    pub(super) fn new(answer: api::ApplyPolicyResponse, dry_run: bool) -> Self {
        let view = |one: api::apply_policy_response::Change| ChangeView {
            change: match one.kind() {
                change::Kind::Created => "created",
                change::Kind::Updated => "updated",
                change::Kind::Unchanged => "unchanged",
                change::Kind::Unspecified => "unknown",
            },
            name: one.name,
            overrides_file: Some(one.overrides_file).filter(|file| !file.is_empty()),
        };
        Self {
            changes: answer.changes.into_iter().map(view).collect(),
            transactions: answer.transactions,
            revision: Some(answer.revision).filter(|revision| *revision > 0),
            applied: answer.applied,
            dry_run,
        }
    }

    /// One line for each change, and what they amount to.
    pub(super) fn text(&self) -> String {
        let changed = self.changes.iter().filter(|change| change.change != "unchanged");
        let rows: Vec<_> = changed
            .map(|change| {
                let over = change.overrides_file.as_ref().map(|file| format!("overrides {file}"));
                vec![change.change.to_owned(), change.name.clone(), over.unwrap_or_default()]
            })
            .collect();
        let (changed, all) = (rows.len(), self.changes.len());
        let end = match (changed, self.dry_run, self.applied) {
            (0, ..) => format!("the store has all {all} of them already\n"),
            (_, true, _) if self.transactions > 1 => format!(
                "{changed} of {all} would change, in {} transactions, which needs --in-parts; nothing is changed \
                 yet\n",
                self.transactions
            ),
            (_, true, _) => {
                format!("{changed} of {all} would change, in one transaction; nothing is changed yet\n")
            }
            (_, false, true) => format!("{changed} of {all} have changed, and this node decides by it\n"),
            (_, false, false) => {
                format!("{changed} of {all} have changed; this node does not decide by it yet\n")
            }
        };
        table(&rows) + &end
    }
}
