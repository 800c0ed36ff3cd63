//! A line of the trail: JSON that nothing in a text can end, of texts within bounds.

use std::{borrow::Cow, io, time::Duration};

use serde::Serialize;
use serde_json::ser::Formatter;
use time::OffsetDateTime;

/// What stands at the end of what was cut.
const CUT: char = '…';

/// A text of at most so many bytes, with a sign at its end where some are missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Bounded<const MAX: usize>(Box<str>);

impl<const MAX: usize> Bounded<MAX> {
    /// The text, as far as it was kept.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> From<&str> for Bounded<MAX> {
    fn from(text: &str) -> Self {
        Self(cut(text, MAX).into())
    }
}

#[derive(Serialize)]
struct DroppedLine {
    time: String,
    event: &'static str,
    count: u64,
}

/// Adds to `out` the line that says how many records are missing before it.
pub(crate) fn write_dropped(time: Duration, count: u64, out: &mut Vec<u8>) {
    write_line(&DroppedLine { time: rfc3339(time), event: "dropped", count }, out);
}

/// Adds a line with its end to `out`.
pub(super) fn write_line(line: &impl Serialize, out: &mut Vec<u8>) {
    let begun = out.len();
    // Text, numbers and lists of text: there is always JSON of them. Whatever happens, no half of a line stays.
    match line.serialize(&mut serde_json::Serializer::with_formatter(&mut *out, OneLine)) {
        Ok(()) => out.push(b'\n'),
        Err(_) => out.truncate(begun),
    }
}

/// JSON as the library writes it, but that nothing in a text ends a line or moves a cursor for any reader: it escapes
/// U+0000 to U+001F by itself, and this the other control characters and the line ends of Unicode.
struct OneLine;

impl Formatter for OneLine {
    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let ends_a_line = |char: char| char.is_control() || matches!(char, '\u{2028}' | '\u{2029}');
        let mut rest = fragment;
        while let Some((at, char)) = rest.char_indices().find(|(_, char)| ends_a_line(*char)) {
            writer.write_all(&rest.as_bytes()[..at])?;
            // All of them are below U+10000, and so one escape.
            write!(writer, "\\u{:04x}", u32::from(char))?;
            rest = &rest[at + char.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

/// At most `max` bytes of a text, and a sign where some are missing.
pub(super) fn cut(text: &str, max: usize) -> Cow<'_, str> {
    if text.len() <= max {
        return Cow::Borrowed(text);
    }
    let kept = text.floor_char_boundary(max - CUT.len_utf8());
    Cow::Owned(format!("{}{CUT}", &text[..kept]))
}

/// To the microsecond: most handshakes take less than one millisecond of ours.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1_000.0
}

/// A time in UTC with milliseconds, such as `2026-01-31T23:59:59.123Z`.
pub(crate) fn rfc3339(since_1970: Duration) -> String {
    // The last second of the year 9999: later ones are no such times.
    const LAST: u64 = 253_402_300_799;
    let seconds = since_1970.as_secs().min(LAST) as i64;
    let date = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (month, (hour, minute, second)) = (u8::from(date.month()), date.to_hms());
    format!(
        "{:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
        date.year(),
        date.day(),
        since_1970.subsec_millis()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_rfc_3339_whatever_the_clock_says() {
        let cases = [
            (Duration::ZERO, "1970-01-01T00:00:00.000Z"),
            (Duration::from_micros(951_782_400_999_999), "2000-02-29T00:00:00.999Z"),
            (Duration::MAX, "9999-12-31T23:59:59.999Z"),
        ];
        for (time, expected) in cases {
            assert_eq!(rfc3339(time), expected);
        }
    }
}
