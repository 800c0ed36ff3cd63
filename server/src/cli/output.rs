//! How results are printed: aligned for people, JSON for programs.

use std::io::{self, Write};

use serde::Serialize;

/// In which form a command prints its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// For people
    Text,
    /// For programs: stable names, and times as in RFC 3339
    Json,
}

/// Prints a result in the form that is wanted.
pub(super) fn print(format: Format, text: impl FnOnce() -> String, json: &impl Serialize) -> io::Result<()> {
    let text = match format {
        Format::Text => text(),
        // Our structures have string keys and no value that JSON lacks.
        Format::Json => serde_json::to_string_pretty(json).map_err(io::Error::other)? + "\n",
    };
    io::stdout().lock().write_all(text.as_bytes())
}

/// What stands where nothing is known.
pub(super) const NOTHING: &str = "-";

/// Rows under each other in columns, each as wide as its widest cell.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| printable(cell)).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line += &format!("{cell:width$}  ");
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// Control characters escaped: what others named themselves moves no cursor.
pub(super) fn printable(text: &str) -> String {
    let mut line = String::new();
    for char in text.chars() {
        if char.is_control() { line.extend(char.escape_default()) } else { line.push(char) }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[&[&str]]) -> Vec<Vec<String>> {
        rows.iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect()).collect()
    }

    #[test]
    fn columns_are_aligned_and_lines_end_with_their_text() {
        let text = table(&rows(&[&["ACCOUNT", "STATE"], &["zoë@b", "valid"], &["a", ""], &["é"]]));
        assert_eq!(text, "ACCOUNT  STATE\nzoë@b    valid\na\né\n");
        assert_eq!(table(&[]), "");
    }

    #[test]
    fn a_cell_cannot_leave_its_place() {
        let text = table(&rows(&[&["CN=\u{1b}[2Jevil\nvalid\t", "b"]]));
        assert_eq!(text, "CN=\\u{1b}[2Jevil\\nvalid\\t  b\n");
    }
}
