//! A policy as a file: TOML or YAML with the same keys, taken whole or not at all.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::Deserialize;

use super::{
    model::{PeerList, Rule},
    place::Places,
    problem::Refused,
    record::{PeerListRecord, RuleRecord, TargetNameRecord},
    resources::{Entry, Named, Resource, Resources},
    target::TargetName,
};

/// Most problems that are told of one document.
const MAX_PROBLEMS: usize = 20;

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Toml,
    Yaml,
}

impl Format {
    /// By the end of a file's name: `toml`, `yaml` or `yml`.
    pub(crate) fn of_extension(extension: &str) -> Option<Self> {
        match extension {
            "toml" => Some(Self::Toml),
            "yaml" | "yml" => Some(Self::Yaml),
            _ => None,
        }
    }
}

/// What is wrong in a document, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DocumentProblem {
    /// Counted from 1.
    pub(crate) line: Option<usize>,
    /// Such as `rule[1].peers[0]`, counted from 0. Empty where the text could not be read so far.
    pub(crate) key: String,
    /// A name that does not change.
    pub(crate) code: &'static str,
    pub(crate) text: String,
}

/// `LINE: KEY: problem`, to be put behind the name of the file and a colon.
impl fmt::Display for DocumentProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "{line}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.text)
    }
}

/// The keys are singular in both formats: in TOML each is the header of one table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    peer_list: Option<Vec<PeerListRecord>>,
    rule: Option<Vec<RuleRecord>>,
    target_name: Option<Vec<TargetNameRecord>>,
}

/// Reads a document. The caller bounds the length of its text. On any problem nothing of it counts; of each resource
/// the first one is told, and at most 20 together.
pub(crate) fn parse(text: &str, format: Format) -> Result<Resources, Vec<DocumentProblem>> {
    let raw = read(text, format).map_err(|problem| vec![problem])?;
    if raw.peer_list.is_none() && raw.rule.is_none() && raw.target_name.is_none() {
        // What an editor leaves for a moment while it writes must not take every rule away.
        return Err(vec![DocumentProblem {
            line: Some(1),
            key: String::new(),
            code: "document_empty",
            text: "the document is empty; if it shall hold nothing, write `rule = []` (TOML) or `rule: []` (YAML)"
                .to_owned(),
        }]);
    }
    let mut found = Vec::new();
    let resources = Resources {
        peer_lists: collect::<_, PeerList>("peer_list", raw.peer_list, &mut found),
        rules: collect::<_, Rule>("rule", raw.rule, &mut found),
        target_names: collect::<_, TargetName>("target_name", raw.target_name, &mut found),
    };
    if found.is_empty() {
        return Ok(resources);
    }
    // Where things stand is looked for only when something is wrong.
    let places = Places::of(text, format);
    found.truncate(MAX_PROBLEMS);
    Err(found.into_iter().map(|problem| problem.placed(&places)).collect())
}

/// Checks a document that must stand for itself: each list that a rule names is one of its own.
pub(crate) fn check_complete(resources: &Resources) -> Result<(), Vec<MissingList>> {
    let good = |entry: &'_ Entry<Rule>| match entry {
        Entry::Good(rule) => Some(rule.clone()),
        Entry::Unreadable => None,
    };
    let mut missing = Vec::new();
    for rule in resources.rules.values().filter_map(good) {
        let unknown = rule.peer_lists().iter().filter(|list| !resources.peer_lists.contains_key(*list));
        missing.extend(
            unknown.map(|list| MissingList { rule: rule.name().to_string(), list: list.to_string() }),
        );
    }
    if missing.is_empty() { Ok(()) } else { Err(missing) }
}

/// A rule names a list that the document has not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "rule {rule} names list {list}, which there is not; add a peer_list of this name or remove it from the rule"
)]
pub(crate) struct MissingList {
    pub(crate) rule: String,
    pub(crate) list: String,
}

fn read(text: &str, format: Format) -> Result<Raw, DocumentProblem> {
    let problem = |line, key, text: &str| DocumentProblem {
        line,
        key,
        code: "document_unreadable",
        // A library may say in several lines what it expected.
        text: text.trim_end().replace('\n', ", "),
    };
    match format {
        Format::Toml => toml::from_str(text).map_err(|error| {
            let offset = error.span().unwrap_or_default().start;
            let places = Places::of(text, format);
            problem(Some(Places::line_of(text, offset)), places.key_at(offset), error.message())
        }),
        Format::Yaml => serde_saphyr::from_str_with_options(text, yaml_options(text)).map_err(|error| {
            let line = error.location().and_then(|at| usize::try_from(at.line()).ok());
            problem(line, String::new(), &error.without_snippet().to_string())
        }),
    }
}

/// Neither anchors nor merge keys nor several documents: nothing may grow beyond its text. A key that comes twice is
/// an error, and nothing but `true` and `false` is a boolean.
pub(super) fn yaml_options(text: &str) -> serde_saphyr::Options {
    // Each node and event takes at least a byte of the text, apart from those around the document.
    let nodes = text.len().saturating_mul(2).saturating_add(16);
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_anchors: 0,
            max_aliases: 0,
            max_merge_keys: 0,
            max_documents: 1,
            max_depth: 8,
            max_nodes: nodes,
            max_events: nodes.saturating_mul(2),
        },
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::Error,
        merge_keys: serde_saphyr::MergeKeyPolicy::Error,
        strict_booleans: true,
        no_schema: false,
        with_snippet: false,
    }
}

/// A problem of one resource, by its kind and number.
struct Found {
    key: String,
    code: &'static str,
    text: String,
}

impl Found {
    fn placed(self, places: &Places) -> DocumentProblem {
        DocumentProblem { line: places.line(&self.key), key: self.key, code: self.code, text: self.text }
    }
}

fn collect<R, T>(kind: &str, records: Option<Vec<R>>, found: &mut Vec<Found>) -> Named<T>
where
    T: Resource + TryFrom<R, Error = Refused>,
{
    let mut resources = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for (number, record) in records.into_iter().flatten().enumerate() {
        match T::try_from(record) {
            Ok(value) => {
                let name = value.key().clone();
                if !taken.insert(name.clone()) {
                    let text = format!("{name} is defined in this document already; names stand once");
                    found.push(Found { key: format!("{kind}[{number}].name"), code: "name_twice", text });
                }
                let entry = Entry::under(&name, Some(value));
                resources.insert(name, entry);
            }
            Err(Refused { field, problem }) => found.push(Found {
                key: format!("{kind}[{number}].{field}"),
                code: problem.code(),
                text: problem.to_string(),
            }),
        }
    }
    resources
}
