//! Times as operators write them.

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Longest span, in seconds: a hundred years.
const MAX_SPAN: u64 = 3_155_760_000;

/// A time of RFC 3339, such as `2026-12-31T00:00:00Z`, in seconds since 1970.
pub(super) fn parse_time(text: &str) -> Result<u64, String> {
    let form = "write it as 2026-12-31T00:00:00Z";
    let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|error| format!("{error}; {form}"))?;
    u64::try_from(time.unix_timestamp()).map_err(|_| format!("it is before 1970; {form}"))
}

/// A number and `s`, `m`, `h`, `d` or `w`, in seconds: at least one, and at most a hundred years.
pub(super) fn parse_span(text: &str) -> Result<u64, String> {
    let form = "write a number and s, m, h, d or w, such as 36h or 7d";
    let digits = text.trim_end_matches(|last: char| last.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return Err(form.to_owned()),
    };
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = digits.parse::<u64>().ok().filter(|_| is_number).and_then(|count| count.checked_mul(unit));
    match seconds {
        Some(seconds) if (1..=MAX_SPAN).contains(&seconds) => Ok(seconds),
        Some(_) => Err(format!("it must be one second to a hundred years; {form}")),
        None => Err(form.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_to_the_second() {
        let cases = [
            ("1970-01-01T00:00:00Z", 0),
            ("2026-01-01T00:00:00Z", 1_767_225_600),
            ("2026-01-01T02:00:00+02:00", 1_767_225_600),
            ("2026-01-01T00:00:00.9Z", 1_767_225_600),
        ];
        for (text, seconds) in cases {
            assert_eq!(parse_time(text), Ok(seconds), "{text}");
        }
        for text in
            ["", "2026-01-01", "2026-01-01 00:00", "2026-02-30T00:00:00Z", "1969-12-31T23:59:59Z", "7d"]
        {
            assert!(parse_time(text).expect_err(text).ends_with("write it as 2026-12-31T00:00:00Z"));
        }
    }

    #[test]
    fn spans_are_a_number_and_a_unit() {
        let cases = [("1s", 1), ("90m", 5_400), ("36h", 129_600), ("7d", 604_800), ("2w", 1_209_600)];
        for (text, seconds) in cases {
            assert_eq!(parse_span(text), Ok(seconds), "{text}");
        }
        for text in [
            "",
            "7",
            "d",
            "0d",
            "-1d",
            "+1d",
            "1.5h",
            "7 d",
            "7D",
            "7dd",
            "36525d1h",
            "99999999999999999999s",
            "5219w",
        ] {
            assert!(parse_span(text).is_err(), "{text}");
        }
    }
}
