//! What can be said of a caller, in words that an operator writes and the kernel's word is compared with.

use std::{collections::BTreeSet, fmt};

/// Longest value of a selector: no path of the kernel is longer.
const MAX_VALUE: usize = 4_096;

/// What a selector speaks of. A caller has at most one value of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Uid,
    Gid,
    User,
    Group,
    Path,
    Sha256,
    Systemd,
    Cgroup,
    KubernetesNamespace,
    KubernetesServiceAccount,
    KubernetesPodName,
    KubernetesPodUid,
}

struct Rule {
    kind: Kind,
    prefix: &'static str,
    is_canonical: fn(&str) -> bool,
    expected: &'static str,
}

/// In the order of [`Kind`].
static RULES: [Rule; 12] = [
    rule(Kind::Uid, "uid:", is_id, "a user id from 0 to 4294967294, without leading zeros"),
    rule(Kind::Gid, "gid:", is_id, "a group id from 0 to 4294967294, without leading zeros"),
    rule(Kind::User, "user:", is_account_name, "the name of a user of this machine"),
    rule(Kind::Group, "group:", is_account_name, "the name of a group of this machine"),
    rule(Kind::Path, "path:", is_file_path, "an absolute path without `.`, `..`, `//` and a last `/`"),
    rule(Kind::Sha256, "sha256:", is_sha256, "64 lower-case hexadecimal digits"),
    rule(Kind::Systemd, "systemd:", is_unit, "the name of a .service or .scope"),
    rule(
        Kind::Cgroup,
        "cgroup:",
        is_cgroup_path,
        "an absolute path below the cgroup root without `.`, `..`, `//` and a last `/`",
    ),
    rule(Kind::KubernetesNamespace, "k8s:ns:", is_dns_label, "the name of a namespace"),
    rule(Kind::KubernetesServiceAccount, "k8s:sa:", is_dns_name, "the name of a service account"),
    rule(Kind::KubernetesPodName, "k8s:pod-name:", is_dns_name, "the name of a pod"),
    rule(Kind::KubernetesPodUid, "k8s:pod-uid:", is_dns_label, "the uid of a pod"),
];

const fn rule(
    kind: Kind,
    prefix: &'static str,
    is_canonical: fn(&str) -> bool,
    expected: &'static str,
) -> Rule {
    Rule { kind, prefix, is_canonical, expected }
}

/// One fact about a caller. There is one spelling of each, so that equal text is equal fact.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Selector {
    kind: Kind,
    value: String,
}

/// Why a text is no selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SelectorProblem {
    #[error("selector `{text}` is of no known kind; known are {}", known_kinds())]
    UnknownKind { text: String },
    #[error("selector `{text}` needs {expected} after `{prefix}`")]
    BadValue { text: String, prefix: &'static str, expected: &'static str },
}

impl Selector {
    /// Reads `kind:value`. Only the spelling that [`fmt::Display`] gives back is accepted.
    pub(crate) fn parse(text: &str) -> Result<Self, SelectorProblem> {
        let found = RULES.iter().find_map(|rule| Some((rule, text.strip_prefix(rule.prefix)?)));
        let Some((rule, value)) = found else {
            return Err(SelectorProblem::UnknownKind { text: shortened(text) });
        };
        Self::new(rule.kind, value).ok_or_else(|| SelectorProblem::BadValue {
            text: shortened(text),
            prefix: rule.prefix,
            expected: rule.expected,
        })
    }

    /// The selector of a value that was found, or nothing for a value that no selector can name.
    pub(crate) fn new(kind: Kind, value: &str) -> Option<Self> {
        let is_fine = value.len() <= MAX_VALUE && (kind.rule().is_canonical)(value);
        is_fine.then(|| Self { kind, value: value.to_owned() })
    }

    /// What it speaks of.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// What it says of that.
    pub(crate) fn value(&self) -> &str {
        &self.value
    }

    /// Whether it is true of a caller of whom `found` is true.
    pub(crate) fn holds(&self, found: &BTreeSet<Self>) -> bool {
        match self.kind {
            Kind::Cgroup => found.iter().any(|other| other.kind == Kind::Cgroup && self.covers(other)),
            _ => found.contains(self),
        }
    }

    /// Whether no caller can have both.
    pub(crate) fn contradicts(&self, other: &Self) -> bool {
        self.kind == other.kind
            && match self.kind {
                Kind::Cgroup => !self.covers(other) && !other.covers(self),
                _ => self.value != other.value,
            }
    }

    /// Whether the other cgroup is this one or below it.
    fn covers(&self, other: &Self) -> bool {
        let below = other.value.strip_prefix(self.value.trim_end_matches('/'));
        below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}", self.kind.rule().prefix, self.value)
    }
}

impl Kind {
    fn rule(self) -> &'static Rule {
        &RULES[self as usize]
    }
}

/// What is true of both: equal selectors, and the cgroup that both are in or below.
pub(crate) fn common(one: &BTreeSet<Selector>, other: &BTreeSet<Selector>) -> BTreeSet<Selector> {
    let cgroup = |found: &BTreeSet<Selector>| {
        found.iter().find(|selector| selector.kind == Kind::Cgroup).map(|selector| selector.value.clone())
    };
    let mut both: BTreeSet<_> = one.intersection(other).cloned().collect();
    if let (Some(one), Some(other)) = (cgroup(one), cgroup(other)) {
        both.extend(Selector::new(Kind::Cgroup, &common_ancestor(&one, &other)));
    }
    both
}

fn common_ancestor(one: &str, other: &str) -> String {
    let parts = |path: &'_ str| path.split('/').skip(1).map(str::to_owned).collect::<Vec<_>>();
    let same = parts(one).into_iter().zip(parts(other)).take_while(|(one, other)| one == other);
    format!("/{}", same.map(|(part, _)| part).collect::<Vec<_>>().join("/"))
}

fn is_id(value: &str) -> bool {
    // The highest number means "no id" to the kernel.
    value.parse::<u32>().is_ok_and(|id| id != u32::MAX && id.to_string() == value)
}

fn is_account_name(value: &str) -> bool {
    let is_fine = |c: char| !c.is_whitespace() && !c.is_control() && !":,/".contains(c);
    !value.is_empty() && value.len() <= 256 && value.chars().all(is_fine)
}

fn is_file_path(value: &str) -> bool {
    value != "/" && is_cgroup_path(value)
}

fn is_cgroup_path(value: &str) -> bool {
    let is_component =
        |part: &str| !part.is_empty() && part != "." && part != ".." && !part.chars().any(char::is_control);
    value == "/" || value.strip_prefix('/').is_some_and(|path| path.split('/').all(is_component))
}

fn is_sha256(value: &str) -> bool {
    value.len() == 64 && value.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// As systemd names what it runs processes in: a prefix, and one of the two kinds of unit that have processes.
pub(super) fn is_unit(value: &str) -> bool {
    let stem = value.strip_suffix(".service").or_else(|| value.strip_suffix(".scope"));
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    // The empty name and `@` alone, a template without its name, name no unit.
    stem.is_some_and(|stem| !stem.is_empty() && !stem.starts_with('@'))
        && value.len() < 256
        && value.bytes().all(is_fine)
}

fn is_dns_label(value: &str) -> bool {
    value.len() <= 63 && is_dns_part(value)
}

fn is_dns_name(value: &str) -> bool {
    value.len() <= 253 && value.split('.').all(is_dns_part)
}

/// A part of a dotted name may be as long as the name.
fn is_dns_part(part: &str) -> bool {
    let is_fine = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    !part.is_empty() && part.bytes().all(is_fine) && !part.starts_with('-') && !part.ends_with('-')
}

fn known_kinds() -> String {
    RULES.iter().map(|rule| format!("`{}`", rule.prefix)).collect::<Vec<_>>().join(", ")
}

/// Enough of a text to find it again.
fn shortened(text: &str) -> String {
    text.chars().take(200).flat_map(char::escape_debug).collect()
}
