//! The form for programs, and for comparisons later.

use std::{fs, path::Path};

use super::{Report, SCHEMA};

/// Largest file that is read.
const MAX_BYTES: u64 = 16 << 20;

/// Why a file holds no report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{path} cannot be read: {problem}")]
    Unreadable { path: String, problem: std::io::Error },
    #[error("{path} has {bytes} bytes, more than any report")]
    TooLarge { path: String, bytes: u64 },
    #[error("{path} is no report of alts-loadtest: {problem}; they are written by --json FILE")]
    Malformed { path: String, problem: serde_json::Error },
    #[error("{path} is a report of schema {found}, and this version reads schema {SCHEMA}; measure again")]
    OtherSchema { path: String, found: u32 },
}

/// A report as a JSON object.
pub(crate) fn write(report: &Report) -> String {
    // Our structures have string keys, and no number that JSON lacks is made of finite times.
    serde_json::to_string_pretty(report).expect("a report can be written") + "\n"
}

/// Reads what [`write()`] has written.
pub(crate) fn read(path: &Path) -> Result<Report, Error> {
    #[derive(serde::Deserialize)]
    struct Versioned {
        schema: u32,
    }
    let name = || path.display().to_string();
    let unreadable = |problem| Error::Unreadable { path: name(), problem };
    let bytes = fs::metadata(path).map_err(unreadable)?.len();
    if bytes > MAX_BYTES {
        return Err(Error::TooLarge { path: name(), bytes });
    }
    let text = fs::read(path).map_err(unreadable)?;
    let malformed = |problem| Error::Malformed { path: name(), problem };
    let Versioned { schema } = serde_json::from_slice(&text).map_err(malformed)?;
    if schema != SCHEMA {
        return Err(Error::OtherSchema { path: name(), found: schema });
    }
    serde_json::from_slice(&text).map_err(malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    fn read_text(text: &str) -> Result<Report, Error> {
        let directory = tempfile::tempdir().expect("there is room");
        let path = directory.path().join("r.json");
        fs::write(&path, text).expect("there is room");
        read(&path)
    }

    #[test]
    fn what_is_written_can_be_read() {
        let report = report();
        assert_eq!(read_text(&write(&report)).ok(), Some(report));
    }

    #[test]
    fn what_is_no_report_of_this_schema_is_refused() {
        let other = write(&report()).replacen("\"schema\": 1", "\"schema\": 2", 1);
        assert!(matches!(read_text(&other), Err(Error::OtherSchema { found: 2, .. })));
        for text in ["", "{}", "[]", "{\"schema\": 1}", "{\"schema\": \"1\"}"] {
            assert!(matches!(read_text(text), Err(Error::Malformed { .. })), "{text}");
        }
        assert!(matches!(read(Path::new("/nonexistent/r.json")), Err(Error::Unreadable { .. })));
    }
}
