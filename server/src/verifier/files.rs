//! The documents of peer lists, rules and target names that the configuration names: taken all together or not at all,
//! and read again when one of them changes.

use std::{collections::HashSet, path::PathBuf, sync::Arc};

use crate::{
    config::{Error, Placed, Problem},
    identity::{Fingerprint, Watch, files},
    policy::{DocumentProblem, Format, Key, Named, Resource, Resources, parse},
};

/// Largest document, in bytes: a hundred thousand peers have a quarter of it.
const MAX_FILE: u64 = 16 << 20;

/// Bad files that do not change are read again after so many looks: it may have been for want of file descriptors.
const LOOKS_UNTIL_AGAIN: u32 = 60;

/// The documents, with their last good content.
pub(crate) struct PolicyFiles {
    files: Vec<Placed<PathBuf>>,
    watch: Watch,
    resources: Arc<Resources>,
    keys: Vec<Arc<HashSet<Key>>>,
    states: Arc<[FileState]>,
    /// Since the files were last found bad.
    looks: Option<u32>,
}

/// How one document stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileState {
    pub(crate) path: PathBuf,
    /// Why its newest content is not in use.
    pub(crate) problem: Option<String>,
    /// What it defines, as of its content in use.
    pub(crate) keys: Arc<HashSet<Key>>,
}

impl PolicyFiles {
    /// Reads all documents. The first that does not hold what it should is the error.
    pub(crate) fn load(files: Vec<Placed<PathBuf>>) -> Result<Self, Error> {
        let watch = Watch::new(fingerprint(&files));
        let (resources, keys) = read(&files).map_err(|(_, error)| error)?;
        let states = states(&files, &keys, None);
        Ok(Self { files, watch, resources: Arc::new(resources), keys, states, looks: None })
    }

    /// What the last good documents say.
    pub(crate) fn resources(&self) -> Arc<Resources> {
        self.resources.clone()
    }

    /// How each document stands.
    pub(crate) fn states(&self) -> Arc<[FileState]> {
        self.states.clone()
    }

    /// Looks once. Nothing, if nothing has changed; else what the documents say now, or that one of them is bad, and
    /// then what they said before goes on to hold.
    pub(crate) fn poll(&mut self) -> Option<Result<Arc<Resources>, ()>> {
        let before = fingerprint(&self.files);
        let has_changed = self.watch.poll(before.clone());
        if !has_changed && !self.is_tried_again() {
            return None;
        }
        let read = read(&self.files);
        let after = fingerprint(&self.files);
        if after != before {
            self.watch.not_read(after);
            return None;
        }
        Some(match read {
            Ok((resources, keys)) => {
                self.resources = Arc::new(resources);
                self.keys = keys;
                self.states = states(&self.files, &self.keys, None);
                self.looks = None;
                Ok(self.resources.clone())
            }
            Err((number, error)) => {
                self.states = states(&self.files, &self.keys, Some((number, error.to_string())));
                self.looks = Some(0);
                Err(())
            }
        })
    }

    fn is_tried_again(&mut self) -> bool {
        let Some(looks) = &mut self.looks else { return false };
        *looks += 1;
        *looks >= LOOKS_UNTIL_AGAIN
    }
}

fn fingerprint(files: &[Placed<PathBuf>]) -> Fingerprint {
    Fingerprint::of(&files.iter().map(|file| &file.value).collect::<Vec<_>>())
}

fn states(
    files: &[Placed<PathBuf>],
    keys: &[Arc<HashSet<Key>>],
    bad: Option<(usize, String)>,
) -> Arc<[FileState]> {
    let state = |(number, (file, keys)): (usize, (&Placed<PathBuf>, &Arc<HashSet<Key>>))| FileState {
        path: file.value.clone(),
        problem: bad.as_ref().filter(|(bad, _)| *bad == number).map(|(_, problem)| problem.clone()),
        keys: keys.clone(),
    };
    files.iter().zip(keys).enumerate().map(state).collect()
}

/// All documents as one, and what each of them defines.
type Content = (Resources, Vec<Arc<HashSet<Key>>>);

/// All documents as one, and what each defines; or the number of the one that is at fault.
fn read(files: &[Placed<PathBuf>]) -> Result<Content, (usize, Error)> {
    let mut all = Resources::default();
    let mut keys = Vec::with_capacity(files.len());
    for (number, file) in files.iter().enumerate() {
        let refuse = |error| (number, error);
        let resources = read_one(file).map_err(refuse)?;
        keys.push(Arc::new(defined(&resources)));
        add(&mut all.peer_lists, resources.peer_lists, "peer list", file).map_err(refuse)?;
        add(&mut all.rules, resources.rules, "rule", file).map_err(refuse)?;
        add(&mut all.target_names, resources.target_names, "target name", file).map_err(refuse)?;
    }
    Ok((all, keys))
}

fn defined(resources: &Resources) -> HashSet<Key> {
    let lists = resources.peer_lists.keys().cloned().map(Key::PeerList);
    let rules = resources.rules.keys().cloned().map(Key::Rule);
    lists.chain(rules).chain(resources.target_names.keys().cloned().map(Key::TargetName)).collect()
}

fn read_one(file: &Placed<PathBuf>) -> Result<Resources, Error> {
    let path = &file.value;
    let refuse = |problem| file.place.refuse(problem);
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let format = Format::of_extension(extension)
        .ok_or_else(|| refuse(Problem::PolicyFormat { file: path.clone() }))?;
    let content = files::content(path, MAX_FILE).map_err(refuse)?;
    let text = str::from_utf8(&content).map_err(|_| refuse(Problem::PolicyText { file: path.clone() }))?;
    parse(text, format).map_err(|problems| document_error(path.clone(), &problems))
}

/// The first problem, and how many more there are.
fn document_error(file: PathBuf, problems: &[DocumentProblem]) -> Error {
    let first = problems.first().map(ToString::to_string).unwrap_or_default();
    let more = match problems.len() {
        0 | 1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    Error::Document { file, problem: first + &more }
}

fn add<T: Resource>(
    all: &mut Named<T>,
    of_file: Named<T>,
    kind: &'static str,
    file: &Placed<PathBuf>,
) -> Result<(), Error> {
    for (name, entry) in of_file {
        if all.contains_key(&name) {
            let name = name.to_string();
            return Err(file.place.refuse(Problem::PolicyNameTwice { kind, name, file: file.value.clone() }));
        }
        all.insert(name, entry);
    }
    Ok(())
}
