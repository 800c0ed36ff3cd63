//! Peer lists and rules, as values that cannot be invalid.

use std::{collections::HashMap, fmt, hash::Hash};

use super::{
    name::Name,
    pattern::{AccountPattern, PeerMatch},
    problem::{Problem, Refused, printable, shortened},
};

/// Most peers of one list.
pub(crate) const MAX_PEERS: usize = 10_000;

/// Most peers that a rule may name itself, without a list.
pub(crate) const MAX_RULE_PEERS: usize = 1_000;

/// Most lists of one rule.
pub(crate) const MAX_RULE_LISTS: usize = 100;

/// Longest description, in bytes.
pub(crate) const MAX_DESCRIPTION: usize = 1_024;

/// Most bytes that the texts of a record take as JSON. A value of the store has 1 MiB; the rest is for keys, braces
/// and the schema version.
pub(crate) const MAX_RECORD: usize = 1_000_000;

/// A named list of peers. Each stands in it once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PeerList {
    name: Name,
    description: Box<str>,
    peers: Vec<PeerMatch>,
}

impl PeerList {
    /// At most [`MAX_PEERS`], none of them twice, and all together at most [`MAX_RECORD`]. It may be empty.
    pub(crate) fn new(name: Name, description: &str, peers: Vec<PeerMatch>) -> Result<Self, Refused> {
        let description = printable(description, MAX_DESCRIPTION).map_err(|it| it.at("description"))?.into();
        at_most(peers.len(), MAX_PEERS).map_err(|it| it.at("peers"))?;
        each_once(&peers, "peers")?;
        small_enough(&peers)?;
        Ok(Self { name, description, peers })
    }

    pub(crate) fn name(&self) -> &Name {
        &self.name
    }

    pub(crate) fn description(&self) -> &str {
        &self.description
    }

    /// In the order they were written.
    pub(crate) fn peers(&self) -> &[PeerMatch] {
        &self.peers
    }
}

/// Who may call a local account, or whom it may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    name: Name,
    description: Box<str>,
    local: AccountPattern,
    side: Side,
    action: Action,
    mode: Mode,
    peer_lists: Vec<Name>,
    peers: Vec<PeerMatch>,
}

/// All that a rule says, not yet checked together.
#[derive(Clone, Debug)]
pub(crate) struct RuleParts {
    pub(crate) name: Name,
    pub(crate) description: String,
    pub(crate) local: AccountPattern,
    pub(crate) side: Side,
    pub(crate) action: Action,
    pub(crate) mode: Mode,
    pub(crate) peer_lists: Vec<Name>,
    pub(crate) peers: Vec<PeerMatch>,
}

impl Rule {
    /// At least one list or peer, none twice, at most [`MAX_RULE_LISTS`] and [`MAX_RULE_PEERS`].
    pub(crate) fn new(parts: RuleParts) -> Result<Self, Refused> {
        let RuleParts { name, description, local, side, action, mode, peer_lists, peers } = parts;
        let description = printable(&description, MAX_DESCRIPTION).map_err(|it| it.at("description"))?.into();
        if peer_lists.is_empty() && peers.is_empty() {
            return Err(Problem::NoPeers.at("peers"));
        }
        at_most(peer_lists.len(), MAX_RULE_LISTS).map_err(|it| it.at("peer_lists"))?;
        at_most(peers.len(), MAX_RULE_PEERS).map_err(|it| it.at("peers"))?;
        each_once(&peer_lists, "peer_lists")?;
        each_once(&peers, "peers")?;
        small_enough(&peers)?;
        Ok(Self { name, description, local, side, action, mode, peer_lists, peers })
    }

    pub(crate) fn name(&self) -> &Name {
        &self.name
    }

    pub(crate) fn description(&self) -> &str {
        &self.description
    }

    /// The accounts of this node that it speaks of.
    pub(crate) fn local(&self) -> &AccountPattern {
        &self.local
    }

    pub(crate) fn side(&self) -> Side {
        self.side
    }

    pub(crate) fn action(&self) -> Action {
        self.action
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    /// Lists whose peers it means, beside its own.
    pub(crate) fn peer_lists(&self) -> &[Name] {
        &self.peer_lists
    }

    /// Peers that it names itself.
    pub(crate) fn peers(&self) -> &[PeerMatch] {
        &self.peers
    }
}

/// Which end the local account is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Side {
    /// It is called: the rule says by whom.
    Server,
    /// It calls: the rule says whom.
    Client,
}

/// What a rule does with the peers it names, and a node with those that no rule decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Action {
    Allow,
    Deny,
}

/// Whether a rule decides, or only says what it would decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Mode {
    Enforce,
    Shadow,
}

/// A choice between words, each written in one way.
macro_rules! words {
    ($type:ty, $choices:literal, $($variant:ident = $word:literal),+) => {
        impl $type {
            pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(Problem::Choice { text: shortened(text), choices: $choices }),
                }
            }

            pub(crate) fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words!(Side, "server (who may call it) and client (whom it may call)", Server = "server", Client = "client");
words!(Action, "allow and deny", Allow = "allow", Deny = "deny");
words!(Mode, "enforce and shadow", Enforce = "enforce", Shadow = "shadow");

pub(super) fn at_most(count: usize, limit: usize) -> Result<(), Problem> {
    if count > limit { Err(Problem::TooMany { count, limit }) } else { Ok(()) }
}

fn each_once<T: Eq + Hash + fmt::Display>(items: &[T], field: &str) -> Result<(), Refused> {
    let mut seen = HashMap::with_capacity(items.len());
    for (number, item) in items.iter().enumerate() {
        if let Some(first) = seen.insert(item, number) {
            return Err(Problem::Twice { text: item.to_string(), first }.at(format!("{field}[{number}]")));
        }
    }
    Ok(())
}

/// Quotes and a comma around each text, and a backslash before what JSON escapes.
fn small_enough(peers: &[PeerMatch]) -> Result<(), Refused> {
    let in_json = |peer: &PeerMatch| {
        let text = peer.to_string();
        3 + text.len() + text.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count()
    };
    let length = peers.iter().map(in_json).sum();
    if length > MAX_RECORD {
        return Err(Problem::TooLarge { length, limit: MAX_RECORD }.at("peers"));
    }
    Ok(())
}
