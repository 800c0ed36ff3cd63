//! Names: of resources, and of workloads.

use std::{borrow::Borrow, fmt, sync::Arc};

use alts_handshake::Identity;

use super::problem::{Problem, shortened};

/// Longest name of a resource, in bytes.
const MAX_NAME: usize = 63;

/// The name of a list or rule: 1 to 63 of `a-z 0-9 -`, a letter first, a letter or digit last. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name(Arc<str>);

impl Name {
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        let is_fine = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        let is_name = text.len() <= MAX_NAME
            && text.bytes().all(is_fine)
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && !text.ends_with('-');
        if is_name { Ok(Self(text.into())) } else { Err(Problem::Name { text: shortened(text) }) }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, shared.
    pub(crate) fn to_shared(&self) -> Arc<str> {
        self.0.clone()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// One name of a workload: a mail account, its domain in lower case, or a SPIFFE ID.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AccountName(Box<str>);

impl AccountName {
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        match Identity::parse(text) {
            Ok(identity) => Ok(Self(identity.account().into())),
            Err(what) => Err(Problem::Account { text: shortened(text), what }),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a name of this workload.
    pub(crate) fn names(&self, identity: &Identity) -> bool {
        names_of(identity).any(|name| *name == *self.0)
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Each name of a workload once: what programs are told, and the SPIFFE ID if that is another one.
pub(super) fn names_of(identity: &Identity) -> impl Iterator<Item = &str> {
    let account = identity.account();
    let spiffe_id = identity.spiffe_id().map(alts_handshake::SpiffeId::as_str);
    std::iter::once(account).chain(spiffe_id.filter(move |id| *id != account))
}

/// The domain of its mail account, if it has one.
pub(super) fn mail_domain(identity: &Identity) -> Option<&str> {
    // A SPIFFE ID has no @.
    identity.account().split_once('@').map(|(_, domain)| domain)
}
