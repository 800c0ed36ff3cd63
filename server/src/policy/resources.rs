//! The resources of one origin, and of both together.

use std::{collections::BTreeMap, fmt, sync::Arc};

use super::{
    model::{PeerList, Rule},
    name::Name,
    target::{TargetKey, TargetName},
};

/// What stands under a name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Entry<T> {
    Good(Arc<T>),
    /// A record that cannot be read. It keeps its name, and nobody gets anything by it: a list names nobody who is
    /// allowed and everybody who is denied, a rule denies everybody, a target name is nobody.
    Unreadable,
}

impl<T> Clone for Entry<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Good(value) => Self::Good(value.clone()),
            Self::Unreadable => Self::Unreadable,
        }
    }
}

/// What has a name in the policy.
pub(crate) trait Resource {
    type Key: Ord + Clone + fmt::Display;

    fn key(&self) -> &Self::Key;
}

impl Resource for PeerList {
    type Key = Name;

    fn key(&self) -> &Name {
        self.name()
    }
}

impl Resource for Rule {
    type Key = Name;

    fn key(&self) -> &Name {
        self.name()
    }
}

impl Resource for TargetName {
    type Key = TargetKey;

    fn key(&self) -> &TargetKey {
        self.name()
    }
}

impl<T: Resource> Entry<T> {
    /// What stands under a key. A value that is of another name than its key counts as one that cannot be read.
    pub(crate) fn under(key: &T::Key, value: Option<T>) -> Self {
        value.filter(|value| value.key() == key).map_or(Self::Unreadable, |value| Self::Good(Arc::new(value)))
    }
}

/// Resources by name.
pub(crate) type Named<T> = BTreeMap<<T as Resource>::Key, Entry<T>>;

/// All resources of one origin. Clones share them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resources {
    pub(crate) peer_lists: Named<PeerList>,
    pub(crate) rules: Named<Rule>,
    pub(crate) target_names: Named<TargetName>,
}

/// The resources that count, in the order of their names: where both have one of a name, that is the store's.
pub(crate) fn effective<'a, T: Resource>(
    files: &'a Named<T>,
    store: &'a Named<T>,
) -> impl Iterator<Item = (&'a T::Key, &'a Entry<T>)> {
    let mut all: BTreeMap<_, _> = files.iter().collect();
    all.extend(store);
    all.into_iter()
}
