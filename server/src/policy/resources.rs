//! The resources of one origin, and of both together.

use std::{collections::BTreeMap, fmt, iter, sync::Arc};

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

/// Where a resource comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    File,
    Store,
}

impl Origin {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Store => "store",
        }
    }
}

/// One resource, and whether it counts.
#[derive(Debug)]
pub(crate) struct Listed<'a, T: Resource> {
    pub(crate) name: &'a T::Key,
    pub(crate) origin: Origin,
    /// The store has another of this name, which counts instead.
    pub(crate) overridden: bool,
    pub(crate) entry: &'a Entry<T>,
}

/// The resources of files and store in the order of their names, with those of files that the store overrides.
pub(crate) fn listed<'a, T: Resource>(
    files: &'a Named<T>,
    store: &'a Named<T>,
) -> impl Iterator<Item = Listed<'a, T>> {
    let mut files = files.iter().peekable();
    let mut stored = store.iter().peekable();
    iter::from_fn(move || {
        let is_file = match (files.peek(), stored.peek()) {
            (Some((file, _)), Some((stored, _))) => file <= stored,
            (file, _) => file.is_some(),
        };
        if is_file {
            let (name, entry) = files.next()?;
            let overridden = stored.peek().is_some_and(|(stored, _)| *stored == name);
            return Some(Listed { name, origin: Origin::File, overridden, entry });
        }
        let (name, entry) = stored.next()?;
        Some(Listed { name, origin: Origin::Store, overridden: false, entry })
    })
}
