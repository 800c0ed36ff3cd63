//! Files that change under a running daemon: when a change is acted upon, and which roots and CRLs follow from it.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use alts_handshake::{Authority, SetupError, Trust};
use pki_types::{CertificateDer, CertificateRevocationListDer};

use super::files;
use crate::config::{Error, IdentityFiles, Place, Placed, Problem, TrustFiles};

/// A bad file that does not change is read again after so many looks: it may have been this process that could not
/// read it, such as for want of file descriptors, or another file that left it no room.
const LOOKS_UNTIL_AGAIN: u32 = 60;

/// What tells one content of some files from another, without reading them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint(Vec<Print>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Print {
    /// Device, inode, size, and the times of the last change of content and of attributes.
    File(u64, u64, u64, (i64, i64), (i64, i64)),
    None(io::ErrorKind),
}

impl Fingerprint {
    /// Through symbolic links: who swaps a link swaps the file.
    pub(crate) fn of<P: AsRef<Path>>(paths: &[P]) -> Self {
        let print = |path: &P| match fs::metadata(path) {
            Ok(file) => Print::File(
                file.dev(),
                file.ino(),
                file.size(),
                (file.mtime(), file.mtime_nsec()),
                (file.ctime(), file.ctime_nsec()),
            ),
            Err(problem) => Print::None(problem.kind()),
        };
        Self(paths.iter().map(print).collect())
    }
}

/// Decides when files have changed and are whole: a change counts once it is seen twice, so that a key and a chain
/// written one after the other are read together.
pub(crate) struct Watch {
    acted_upon: Fingerprint,
    seen: Fingerprint,
}

impl Watch {
    /// Begins with files that were read in this state.
    pub(crate) fn new(found: Fingerprint) -> Self {
        Self { acted_upon: found.clone(), seen: found }
    }

    /// Whether to read the files now. Each change is told once.
    pub(crate) fn poll(&mut self, found: Fingerprint) -> bool {
        if found != self.seen {
            self.seen = found;
            return false;
        }
        if found == self.acted_upon {
            return false;
        }
        self.acted_upon = found;
        true
    }

    /// What was read after the last poll did not stay: it is read again when it is whole.
    pub(crate) fn not_read(&mut self, found: Fingerprint) {
        self.seen = found;
        self.acted_upon = Fingerprint(Vec::new());
    }
}

/// Roots and CRLs of this node.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrustSettings {
    pub(crate) files: Vec<TrustFiles>,
    /// Roots that do not come from files, such as that of the signing service.
    pub(crate) fixed: Vec<(Authority, CertificateDer<'static>)>,
    pub(crate) skew_allowance: Duration,
}

/// The files of roots and CRLs, each with its last good content.
pub(crate) struct TrustFolder {
    fixed: Vec<(Authority, CertificateDer<'static>)>,
    skew_allowance: Duration,
    parts: Vec<Part>,
}

struct Part {
    authority: Authority,
    kind: Kind,
    path: PathBuf,
    place: Place,
    watch: Watch,
    content: Content,
    /// Why its newest content is not in use.
    bad: Option<Bad>,
}

struct Bad {
    code: &'static str,
    /// Since it was last read.
    looks: u32,
}

#[derive(Clone, Copy)]
enum Kind {
    Roots,
    Crls,
}

#[derive(Clone)]
enum Content {
    Roots(Vec<CertificateDer<'static>>),
    Crls(Vec<CertificateRevocationListDer<'static>>),
}

/// What a look at the files has found.
#[derive(Default)]
pub(crate) struct Found {
    /// If anything good is new.
    pub(crate) trust: Option<Trust>,
    pub(crate) notes: Vec<Note>,
}

/// One line for the operator. Each bad state gets one, and its end another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// What should take the place of something is no good. `old_serves` is whether that stays in use.
    Bad { what: String, code: &'static str, problem: String, old_serves: bool },
    /// It is good again.
    Good { what: String },
    /// There is a first or a newer one, and nothing was wrong before.
    Replaced { what: String },
}

impl TrustFolder {
    /// Reads all files. The first that does not hold what it should is the error.
    pub(crate) fn load(settings: TrustSettings) -> Result<(Self, Trust), Error> {
        let TrustSettings { files, fixed, skew_allowance } = settings;
        let mut folder = Self { fixed, skew_allowance, parts: Vec::new() };
        for entry in files {
            let authority = entry.authority.value;
            let roots = entry.roots.into_iter().map(|file| (Kind::Roots, file));
            for (kind, file) in roots.chain(entry.crls.into_iter().map(|file| (Kind::Crls, file))) {
                folder.parts.push(Part::load(authority.clone(), kind, file)?);
            }
        }
        let trust = folder.build().map_err(|(place, problem)| match place {
            Some(part) => folder.parts[part].place.refuse(Problem::Credentials(problem)),
            // Only ours are fixed, and they were made to be good.
            None => {
                Error::Unreadable { file: PathBuf::new(), problem: io::Error::other(problem.to_string()) }
            }
        })?;
        Ok((folder, trust))
    }

    /// Looks once.
    pub(crate) fn poll(&mut self) -> Found {
        let mut found = Found::default();
        for index in 0..self.parts.len() {
            let part = &mut self.parts[index];
            let before = Fingerprint::of(&[&part.path]);
            let has_changed = part.watch.poll(before.clone());
            if !has_changed && !part.is_tried_again() {
                continue;
            }
            let read = part.kind.read(&part.path);
            let after = Fingerprint::of(&[&part.path]);
            if after != before {
                part.watch.not_read(after);
                continue;
            }
            let taken = read.and_then(|content| self.try_content(index, content));
            let part = &mut self.parts[index];
            let what = part.what();
            let was_bad = part.bad.take().map(|bad| bad.code);
            match taken {
                Err(problem) => {
                    let code = files::code(&problem);
                    part.bad = Some(Bad { code, looks: 0 });
                    if has_changed || was_bad != Some(code) {
                        let problem = part.place.refuse(problem).to_string();
                        found.notes.push(Note::Bad { what, code, problem, old_serves: true });
                    }
                }
                Ok(trust) => {
                    found.trust = Some(trust);
                    found.notes.push(match was_bad {
                        Some(_) => Note::Good { what },
                        None => Note::Replaced { what },
                    });
                }
            }
        }
        found
    }

    /// How many files are not what they should be.
    pub(crate) fn bad(&self) -> usize {
        self.parts.iter().filter(|part| part.bad.is_some()).count()
    }

    /// Takes over new content of one file if all is good with it.
    fn try_content(&mut self, index: usize, content: Content) -> Result<Trust, Problem> {
        let old = std::mem::replace(&mut self.parts[index].content, content);
        self.build().map_err(|(_, problem)| {
            self.parts[index].content = old;
            Problem::Credentials(problem)
        })
    }

    /// All roots and CRLs together; or which part is at fault.
    fn build(&self) -> Result<Trust, (Option<usize>, SetupError)> {
        let mut trust = Trust::new(self.skew_allowance);
        for (authority, root) in &self.fixed {
            let added = trust.add(authority.clone(), std::slice::from_ref(root));
            added.map_err(|problem| (None, problem))?;
        }
        for (index, part) in self.parts.iter().enumerate() {
            let added = match &part.content {
                Content::Roots(roots) => trust.add(part.authority.clone(), roots),
                Content::Crls(lists) => trust.add_crls(part.authority.clone(), lists),
            };
            added.map_err(|problem| (Some(index), problem))?;
        }
        Ok(trust)
    }
}

impl Part {
    fn load(authority: Authority, kind: Kind, file: Placed<PathBuf>) -> Result<Self, Error> {
        let Placed { value: path, place } = file;
        // Before it is read: a change in between is seen then.
        let watch = Watch::new(Fingerprint::of(&[&path]));
        let content = kind.read(&path).map_err(|problem| place.refuse(problem))?;
        Ok(Self { authority, kind, path, place, watch, content, bad: None })
    }

    fn is_tried_again(&mut self) -> bool {
        let Some(bad) = &mut self.bad else { return false };
        bad.looks += 1;
        bad.looks >= LOOKS_UNTIL_AGAIN
    }

    fn what(&self) -> String {
        let kind = match self.kind {
            Kind::Roots => "roots",
            Kind::Crls => "CRLs",
        };
        format!("{kind} of {} in {}", self.authority, self.path.display())
    }
}

impl Kind {
    fn read(self, path: &Path) -> Result<Content, Problem> {
        Ok(match self {
            Self::Roots => Content::Roots(files::certificates(path)?),
            Self::Crls => Content::Crls(files::revocation_lists(path)?),
        })
    }
}

/// The chains and keys of all identities that come from files.
pub(crate) struct IdentityFolder(Vec<(String, Vec<PathBuf>, Watch)>);

impl IdentityFolder {
    /// Begins before the files are read.
    pub(crate) fn new(identities: &[IdentityFiles]) -> Self {
        let watched = |files: &IdentityFiles| {
            let paths = files::paths(files);
            let watch = Watch::new(Fingerprint::of(&paths));
            (files.account.value.account().to_owned(), paths, watch)
        };
        Self(identities.iter().map(watched).collect())
    }

    /// The accounts whose files have changed and are to be read.
    pub(crate) fn poll(&mut self) -> Vec<String> {
        let changed = |(account, paths, watch): &mut (String, Vec<PathBuf>, Watch)| {
            watch.poll(Fingerprint::of(paths)).then(|| account.clone())
        };
        self.0.iter_mut().filter_map(changed).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_once_it_is_seen_twice_and_is_told_once() {
        let print = |number: u64| Fingerprint(vec![Print::File(number, 0, 0, (0, 0), (0, 0))]);
        let gone = || Fingerprint(vec![Print::None(io::ErrorKind::NotFound)]);
        let mut watch = Watch::new(print(0));
        let table = [
            (print(0), false),
            (print(1), false),
            (print(1), true),
            (print(1), false),
            // While it changes, nothing is told.
            (print(2), false),
            (print(3), false),
            (print(4), false),
            (print(4), true),
            (print(4), false),
            // What comes back to what is in use has not changed.
            (print(5), false),
            (print(4), false),
            (print(4), false),
            (gone(), false),
            (gone(), true),
            (gone(), false),
            (print(4), false),
            (print(4), true),
        ];
        for (step, (found, expected)) in table.into_iter().enumerate() {
            assert_eq!(watch.poll(found), expected, "{step}");
        }
    }

    #[test]
    fn what_changed_while_it_was_read_is_read_again() {
        let print = |number: u64| Fingerprint(vec![Print::File(number, 0, 0, (0, 0), (0, 0))]);
        let mut watch = Watch::new(print(0));
        assert!(!watch.poll(print(1)) && watch.poll(print(1)));
        watch.not_read(print(2));
        assert!(watch.poll(print(2)), "it has been stable since then");
        assert!(!watch.poll(print(2)));
    }
}
