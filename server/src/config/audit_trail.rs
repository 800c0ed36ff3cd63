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
