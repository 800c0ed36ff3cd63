//! The kinds of resources that the service `altsd.v1.Policy` manages: their names, and their messages from and to
//! the records of the store.

use alts_proto::altsd::{self as api, Origin, ResourceState, rule};
use alts_store::Kind;
use prost::Message;
use serde::{Serialize, de::DeserializeOwned};
use tonic::{Code, Status};

use super::refusal::refuse;
use crate::{
    policy::{
        Key, Name, Named, PeerList, PeerListRecord, Problem, Refused, Resource, Resources, Rule, RuleRecord,
        TargetKey, TargetName, TargetNameRecord,
    },
    verifier::kinds,
};

/// Longest name of a resource, in bytes.
const MAX_NAME: usize = 512;

/// Fills a mask that means everything.
const ALL: &str = "*";

/// A kind of resource: its model is the type itself, its message is what operators see, its record what is kept.
pub(super) trait Managed:
    Resource<Key: Send + Sync> + PartialEq + Sized + Send + Sync + 'static
{
    type Record: Serialize + DeserializeOwned + Clone + Send + Sync + 'static;
    type Message: Message + Default + Clone;

    /// What resource names begin with.
    const COLLECTION: &'static str;
    /// How it is kept.
    const KIND: Kind<Self::Record>;
    /// For texts.
    const WORD: &'static str;
    /// The reason where there is none of a name.
    const UNKNOWN: &'static str;
    /// What can be changed.
    const FIELDS: &'static [&'static str];

    fn parse_key(text: &str) -> Result<Self::Key, Problem>;
    fn stored_under(key: &Self::Key) -> Key;
    fn of(resources: &Resources) -> &Named<Self>;
    fn to_record(&self) -> Self::Record;
    fn from_record(record: Self::Record) -> Result<Self, Refused>;
    /// What a request says, under a name.
    fn requested(message: Self::Message, name: &Self::Key) -> Result<Self::Record, Status>;
    /// What an answer says, without the stamp.
    fn message(record: Self::Record) -> Self::Message;
    /// The resource name and the revision of a message.
    fn seen(message: &Self::Message) -> (&str, i64);
    fn stamp(message: &mut Self::Message, stamp: Stamp);
    /// Takes one field over.
    fn take(field: &str, from: &Self::Record, into: &mut Self::Record);
    /// Takes off what lists do not show.
    fn brief(_: &mut Self::Message) {}
    /// Peer lists that it names.
    fn lists(&self) -> &[Name] {
        &[]
    }

    /// The resource name of a key.
    fn name(key: &Self::Key) -> String {
        format!("{}{key}", Self::COLLECTION)
    }

    /// The key that a resource name stands for.
    fn key_of(name: &str) -> Result<Self::Key, Status> {
        let form = format!("a name is {}NAME", Self::COLLECTION);
        let text = match name.strip_prefix(Self::COLLECTION) {
            _ if name.len() > MAX_NAME => format!("a name has at most {MAX_NAME} bytes; {form}"),
            None => format!("{name:?} is no {}; {form}", Self::WORD),
            Some(key) => match Self::parse_key(key) {
                Ok(key) => return Ok(key),
                Err(problem) => format!("{name:?} is no {}: {problem}; {form}", Self::WORD),
            },
        };
        Err(refuse(Code::InvalidArgument, "name_invalid", &text))
    }
}

/// What only answers say.
pub(super) struct Stamp {
    pub(super) name: String,
    pub(super) origin: Origin,
    pub(super) file: String,
    pub(super) state: ResourceState,
    pub(super) revision: i64,
}

/// Which fields an update names: all of them, if it names none.
pub(super) fn masked<T: Managed>(mask: Option<alts_proto::FieldMask>) -> Result<Vec<String>, Status> {
    let paths = mask.unwrap_or_default().paths;
    if paths.is_empty() || paths == [ALL] {
        return Ok(T::FIELDS.iter().map(|field| (*field).to_owned()).collect());
    }
    match paths.iter().find(|path| !T::FIELDS.contains(&path.as_str())) {
        None => Ok(paths),
        Some(path) => {
            let path: String = path.chars().take(100).collect();
            let text = format!("{path:?} is no field that can be changed; they are {}", T::FIELDS.join(", "));
            Err(refuse(Code::InvalidArgument, "update_mask_invalid", &text))
        }
    }
}

impl Managed for PeerList {
    type Record = PeerListRecord;
    type Message = api::PeerList;

    const COLLECTION: &'static str = "peerLists/";
    const KIND: Kind<PeerListRecord> = kinds::PEER_LIST;
    const WORD: &'static str = "peer list";
    const UNKNOWN: &'static str = "peer_list_unknown";
    const FIELDS: &'static [&'static str] = &["description", "peers"];

    fn parse_key(text: &str) -> Result<Name, Problem> {
        Name::parse(text)
    }

    fn stored_under(key: &Name) -> Key {
        Key::PeerList(key.clone())
    }

    fn of(resources: &Resources) -> &Named<Self> {
        &resources.peer_lists
    }

    fn to_record(&self) -> PeerListRecord {
        self.into()
    }

    fn from_record(record: PeerListRecord) -> Result<Self, Refused> {
        record.try_into()
    }

    fn requested(message: api::PeerList, name: &Name) -> Result<PeerListRecord, Status> {
        let api::PeerList { description, peers, .. } = message;
        Ok(PeerListRecord { name: name.to_string(), description, peers })
    }

    fn message(record: PeerListRecord) -> api::PeerList {
        let PeerListRecord { description, peers, .. } = record;
        // A list has at most ten thousand.
        let peer_count = peers.len() as i32;
        api::PeerList { description, peers, peer_count, ..api::PeerList::default() }
    }

    fn seen(message: &api::PeerList) -> (&str, i64) {
        (&message.name, message.revision)
    }

    fn stamp(message: &mut api::PeerList, stamp: Stamp) {
        message.name = stamp.name;
        message.origin = stamp.origin.into();
        message.file = stamp.file;
        message.state = stamp.state.into();
        message.revision = stamp.revision;
    }

    fn take(field: &str, from: &PeerListRecord, into: &mut PeerListRecord) {
        match field {
            "description" => into.description.clone_from(&from.description),
            _ => into.peers.clone_from(&from.peers),
        }
    }

    fn brief(message: &mut api::PeerList) {
        message.peers = Vec::new();
    }
}

impl Managed for Rule {
    type Record = RuleRecord;
    type Message = api::Rule;

    const COLLECTION: &'static str = "rules/";
    const KIND: Kind<RuleRecord> = kinds::RULE;
    const WORD: &'static str = "rule";
    const UNKNOWN: &'static str = "rule_unknown";
    const FIELDS: &'static [&'static str] =
        &["description", "local", "side", "action", "mode", "peer_lists", "peers"];

    fn parse_key(text: &str) -> Result<Name, Problem> {
        Name::parse(text)
    }

    fn stored_under(key: &Name) -> Key {
        Key::Rule(key.clone())
    }

    fn of(resources: &Resources) -> &Named<Self> {
        &resources.rules
    }

    fn to_record(&self) -> RuleRecord {
        self.into()
    }

    fn from_record(record: RuleRecord) -> Result<Self, Refused> {
        record.try_into()
    }

    fn requested(message: api::Rule, name: &Name) -> Result<RuleRecord, Status> {
        let api::Rule { description, local, side, action, mode, peer_lists, peers, .. } = message;
        let lists = peer_lists.iter().map(|list| Ok(PeerList::key_of(list)?.to_string()));
        Ok(RuleRecord {
            name: name.to_string(),
            description,
            local,
            side: side_word(side).to_owned(),
            action: action_word(action).to_owned(),
            mode: mode_word(mode).to_owned(),
            peer_lists: lists.collect::<Result<_, Status>>()?,
            peers,
        })
    }

    fn message(record: RuleRecord) -> api::Rule {
        let side = match record.side.as_str() {
            "server" => rule::Side::Server,
            "client" => rule::Side::Client,
            _ => rule::Side::Unspecified,
        };
        let action = match record.action.as_str() {
            "allow" => rule::Action::Allow,
            "deny" => rule::Action::Deny,
            _ => rule::Action::Unspecified,
        };
        let mode = match record.mode.as_str() {
            "enforce" => rule::Mode::Enforce,
            "shadow" => rule::Mode::Shadow,
            _ => rule::Mode::Unspecified,
        };
        let lists = record.peer_lists.iter().map(|list| format!("{}{list}", PeerList::COLLECTION));
        api::Rule {
            description: record.description,
            local: record.local,
            side: side.into(),
            action: action.into(),
            mode: mode.into(),
            peer_lists: lists.collect(),
            peers: record.peers,
            ..api::Rule::default()
        }
    }

    fn seen(message: &api::Rule) -> (&str, i64) {
        (&message.name, message.revision)
    }

    fn stamp(message: &mut api::Rule, stamp: Stamp) {
        message.name = stamp.name;
        message.origin = stamp.origin.into();
        message.file = stamp.file;
        message.state = stamp.state.into();
        message.revision = stamp.revision;
    }

    fn take(field: &str, from: &RuleRecord, into: &mut RuleRecord) {
        match field {
            "description" => into.description.clone_from(&from.description),
            "local" => into.local.clone_from(&from.local),
            "side" => into.side.clone_from(&from.side),
            "action" => into.action.clone_from(&from.action),
            "mode" => into.mode.clone_from(&from.mode),
            "peer_lists" => into.peer_lists.clone_from(&from.peer_lists),
            _ => into.peers.clone_from(&from.peers),
        }
    }

    fn lists(&self) -> &[Name] {
        self.peer_lists()
    }
}

impl Managed for TargetName {
    type Record = TargetNameRecord;
    type Message = api::TargetName;

    const COLLECTION: &'static str = "targetNames/";
    const KIND: Kind<TargetNameRecord> = kinds::TARGET_NAME;
    const WORD: &'static str = "target name";
    const UNKNOWN: &'static str = "target_name_unknown";
    const FIELDS: &'static [&'static str] = &["description", "accounts"];

    fn parse_key(text: &str) -> Result<TargetKey, Problem> {
        TargetKey::parse(text)
    }

    fn stored_under(key: &TargetKey) -> Key {
        Key::TargetName(key.clone())
    }

    fn of(resources: &Resources) -> &Named<Self> {
        &resources.target_names
    }

    fn to_record(&self) -> TargetNameRecord {
        self.into()
    }

    fn from_record(record: TargetNameRecord) -> Result<Self, Refused> {
        record.try_into()
    }

    fn requested(message: api::TargetName, name: &TargetKey) -> Result<TargetNameRecord, Status> {
        let api::TargetName { description, accounts, .. } = message;
        Ok(TargetNameRecord { name: name.to_string(), description, accounts })
    }

    fn message(record: TargetNameRecord) -> api::TargetName {
        let TargetNameRecord { description, accounts, .. } = record;
        api::TargetName { description, accounts, ..api::TargetName::default() }
    }

    fn seen(message: &api::TargetName) -> (&str, i64) {
        (&message.name, message.revision)
    }

    fn stamp(message: &mut api::TargetName, stamp: Stamp) {
        message.name = stamp.name;
        message.origin = stamp.origin.into();
        message.file = stamp.file;
        message.state = stamp.state.into();
        message.revision = stamp.revision;
    }

    fn take(field: &str, from: &TargetNameRecord, into: &mut TargetNameRecord) {
        match field {
            "description" => into.description.clone_from(&from.description),
            _ => into.accounts.clone_from(&from.accounts),
        }
    }
}

/// The word of a side; none for what is not given or not known, which the model refuses.
pub(super) fn side_word(side: i32) -> &'static str {
    match rule::Side::try_from(side) {
        Ok(rule::Side::Server) => "server",
        Ok(rule::Side::Client) => "client",
        Ok(rule::Side::Unspecified) | Err(_) => "",
    }
}

fn action_word(action: i32) -> &'static str {
    match rule::Action::try_from(action) {
        Ok(rule::Action::Allow) => "allow",
        Ok(rule::Action::Deny) => "deny",
        Ok(rule::Action::Unspecified) | Err(_) => "",
    }
}

/// A rule that is written is meant.
fn mode_word(mode: i32) -> &'static str {
    match rule::Mode::try_from(mode) {
        Ok(rule::Mode::Enforce | rule::Mode::Unspecified) => "enforce",
        Ok(rule::Mode::Shadow) => "shadow",
        Err(_) => "",
    }
}
