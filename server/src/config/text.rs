//! The text of a configuration file, which knows where in it something stands.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use toml::Spanned;

use super::{
    error::{Error, Place, Placed, Problem},
    raw,
};

pub(super) struct Text<'a> {
    pub(super) file: Arc<Path>,
    pub(super) text: &'a str,
}

impl Text<'_> {
    pub(super) fn deserialize(&self) -> Result<raw::Config, Error> {
        toml::from_str(self.text).map_err(|error| {
            let span = error.span().unwrap_or_default();
            let key = raw::key_at(self.text, span.start).unwrap_or_default();
            // The library may say in several lines what it expected; ours is one.
            let mut problem = error.message().trim_end().replace('\n', ", ");
            let found = self.text.get(span.clone()).unwrap_or_default();
            // Without a key, as of a key that comes twice, it helps to read what stands there.
            if key.is_empty() && !found.trim().is_empty() && !found.contains('\n') {
                problem += &format!(": `{found}`");
            }
            self.place(span.start, key).refuse(Problem::Toml(problem))
        })
    }

    pub(super) fn place(&self, offset: usize, key: impl Into<String>) -> Place {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Place { file: self.file.clone(), line, key: key.into() }
    }

    /// Where a value stands.
    pub(super) fn at<T>(&self, value: &Spanned<T>, key: impl Into<String>) -> Place {
        self.place(value.span().start, key)
    }

    /// A value and where it stands.
    pub(super) fn placed<'v, T>(&self, value: &'v Spanned<T>, key: impl Into<String>) -> Placed<&'v T> {
        Placed { value: value.as_ref(), place: self.at(value, key) }
    }

    /// The value of a key that must be there. `table` is where it is missed.
    pub(super) fn required<'v, T>(
        &self,
        value: &'v Option<Spanned<T>>,
        table: usize,
        key: String,
    ) -> Result<Placed<&'v T>, Error> {
        match value {
            Some(value) => Ok(self.placed(value, key)),
            None => Err(self.place(table, key).refuse(Problem::Missing)),
        }
    }

    /// A number in a range, if the key is there.
    pub(super) fn number(
        &self,
        value: &Option<Spanned<u64>>,
        key: String,
        least: u64,
        most: u64,
    ) -> Result<Option<u64>, Error> {
        match value {
            None => Ok(None),
            Some(value) if (least..=most).contains(value.as_ref()) => Ok(Some(*value.as_ref())),
            Some(value) => {
                let units = [("_seconds", " seconds"), ("_mebibytes", " MiB")];
                let unit = units.iter().find(|(end, _)| key.ends_with(end)).map_or("", |(_, unit)| *unit);
                let problem = Problem::OutOfRange { value: *value.as_ref(), least, most, unit };
                Err(self.at(value, key).refuse(problem))
            }
        }
    }

    /// Paths are relative to the file that names them, wherever the daemon is started.
    pub(super) fn relative(&self, path: Placed<&PathBuf>) -> Placed<PathBuf> {
        let directory = self.file.parent().unwrap_or(Path::new(""));
        Placed { value: directory.join(path.value), place: path.place }
    }

    /// Each path of a list, and where it stands.
    pub(super) fn relatives(&self, list: &[Spanned<PathBuf>], key: &str) -> Vec<Placed<PathBuf>> {
        let one = |(number, path)| self.relative(self.placed(path, format!("{key}[{number}]")));
        list.iter().enumerate().map(one).collect()
    }
}
