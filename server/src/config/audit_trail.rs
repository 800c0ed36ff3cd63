//! Where the audit trail is written.

use toml::Spanned;

use super::{
    error::{Error, Problem},
    raw,
    text::Text,
};
use crate::audit::{FileSettings, Output, Settings};

/// As many as fit a mail or a view of one's own, and hold some hundred thousand handshakes.
const MAX_FILE_MEBIBYTES: u64 = 64;

/// Half a gibibyte in all: days of most nodes, and no disk that a flood of refused handshakes could fill.
const MAX_FILES: u32 = 8;

/// Twice the handshakes that may be in progress: all of them can end at once while a disk takes a moment. Some MiB.
const QUEUE_RECORDS: usize = 8_192;

/// A MiB.
const MEBIBYTE: u64 = 1 << 20;

/// The largest that the numbers may be set to. Larger ones are slips of the pen.
const MOST_FILE_MEBIBYTES: u64 = 65_536;
const MOST_FILES: u64 = 1_000;
const MOST_QUEUE_RECORDS: u64 = 1_000_000;

/// Without a section: the log has every refusal, and `altsd audit tail` shows all decisions as they come.
impl Default for Settings {
    fn default() -> Self {
        Self { output: Output::None, queue_records: QUEUE_RECORDS }
    }
}

impl Text<'_> {
    pub(super) fn audit(&self, table: Option<&Spanned<raw::Audit>>) -> Result<Settings, Error> {
        let default = Settings::default();
        let Some(table) = table else { return Ok(default) };
        let place = self.at(table, "audit");
        let table = table.as_ref();
        let number = |name: &str, value: &Option<Spanned<u64>>, most| {
            self.number(value, format!("audit.{name}"), 1, most)
        };
        let mebibytes = number("max_file_mebibytes", &table.max_file_mebibytes, MOST_FILE_MEBIBYTES)?;
        let max_files = number("max_files", &table.max_files, MOST_FILES)?;
        let queue_records = number("queue_records", &table.queue_records, MOST_QUEUE_RECORDS)?;
        let stdout = table.stdout.as_ref().is_some_and(|stdout| *stdout.as_ref());
        let output = match (&table.file, stdout) {
            (Some(file), false) => Output::File(FileSettings {
                path: self.relative(self.placed(file, "audit.file")).value,
                max_bytes: mebibytes.unwrap_or(MAX_FILE_MEBIBYTES) * MEBIBYTE,
                // MOST_FILES fits.
                max_files: max_files.map_or(MAX_FILES, |files| files as u32),
            }),
            (None, true) => {
                let of_file =
                    [("max_file_mebibytes", &table.max_file_mebibytes), ("max_files", &table.max_files)];
                if let Some((name, Some(value))) = of_file.into_iter().find(|(_, value)| value.is_some()) {
                    return Err(self.at(value, format!("audit.{name}")).refuse(Problem::AuditFileMissing));
                }
                Output::Stdout
            }
            _ => return Err(place.refuse(Problem::AuditOutput)),
        };
        let queue_records = queue_records.map_or(default.queue_records, |records| records as usize);
        Ok(Settings { output, queue_records })
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use super::*;

    fn read(text: &str) -> Result<Settings, Error> {
        let source = Text { file: Arc::from(Path::new("etc/altsd.toml")), text };
        source.audit(source.deserialize()?.audit.as_ref())
    }

    #[test]
    fn without_a_section_nothing_is_written() {
        assert_eq!(read("").expect("it is valid"), Settings { output: Output::None, queue_records: 8_192 });
    }

    #[test]
    fn a_section_says_where_and_the_rest_has_defaults() {
        let file = |path: &str, max_bytes, max_files| {
            Output::File(FileSettings { path: path.into(), max_bytes, max_files })
        };
        let cases = [
            ("file = \"audit.log\"", file("etc/audit.log", 64 << 20, 8), 8_192),
            (
                "file = \"/a\"\nmax_file_mebibytes = 1\nmax_files = 2\nqueue_records = 3\nstdout = false",
                file("/a", 1 << 20, 2),
                3,
            ),
            ("stdout = true\nqueue_records = 1000000", Output::Stdout, 1_000_000),
        ];
        for (text, output, queue_records) in cases {
            let read = read(&format!("[audit]\n{text}\n")).expect("it is valid");
            assert_eq!(read, Settings { output, queue_records }, "{text}");
        }
    }

    #[test]
    fn a_section_that_contradicts_itself_is_refused_at_its_line_and_key() {
        let cases = [
            ("", "1: audit: has either file, or stdout = true"),
            ("stdout = false", "1: audit: has either file, or stdout = true"),
            ("file = \"/a\"\nstdout = true", "1: audit: has either file, or stdout = true"),
            ("stdout = true\nmax_files = 2", "3: audit.max_files: is of a file that is rotated; remove it"),
            (
                "stdout = true\nmax_file_mebibytes = 2",
                "3: audit.max_file_mebibytes: is of a file that is rotated; remove it",
            ),
            ("file = \"/a\"\nmax_files = 0", "3: audit.max_files: 0 is out of range; it must be 1 to 1000"),
            (
                "file = \"/a\"\nmax_file_mebibytes = 65537",
                "3: audit.max_file_mebibytes: 65537 is out of range; it must be 1 to 65536 MiB",
            ),
            ("stdout = true\nqueue_records = 0", "3: audit.queue_records: 0 is out of range"),
            ("stdout = true\nqueue_records = 1000001", "3: audit.queue_records: 1000001 is out of range"),
            ("stdout = \"yes\"", "2: audit.stdout: invalid type"),
            ("path = \"/a\"", "2: audit.path: unknown field"),
        ];
        for (text, expected) in cases {
            let error = read(&format!("[audit]\n{text}\n")).expect_err("it is wrong").to_string();
            assert!(error.starts_with(&format!("etc/altsd.toml:{expected}")), "{text:?}: {error}");
        }
    }
}
