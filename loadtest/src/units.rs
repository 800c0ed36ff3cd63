//! Quantities as people write and read them: `20ms`, `64KiB`, `500/s`.

use std::time::Duration;

/// Longest duration that can be written.
const MAX_SECONDS: f64 = 24.0 * 3600.0;

/// Most operations per second that can be asked for.
const MAX_RATE: f64 = 1e6;

/// Fewest operations per second that can be asked for.
const MIN_RATE: f64 = 0.01;

/// Largest size of one write.
const MAX_SIZE: f64 = 16.0 * 1024.0 * 1024.0;

/// Units of time and how many seconds each has. A longer name stands before the names that it ends with.
const TIMES: [(&str, f64); 7] =
    [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];

/// Units of size and how many bytes each has.
const SIZES: [(&str, f64); 7] = [
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("B", 1.0),
];

/// How many operations a second begin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rate(f64);

impl Rate {
    /// Reads `500`, `500/s` or `0.5`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix("/s").unwrap_or(text);
        let rate = number.trim().parse().ok().filter(|rate| (MIN_RATE..=MAX_RATE).contains(rate));
        rate.map(Self).ok_or_else(|| {
            format!(
                "{text:?} is no rate: write operations per second from {MIN_RATE} to {MAX_RATE}, such as 500"
            )
        })
    }

    /// In operations per second.
    pub(crate) fn per_second(self) -> f64 {
        self.0
    }
}

/// Bytes of one write, 1 to 16 MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WriteSize(usize);

impl WriteSize {
    /// Reads `1`, `16KiB`, `1MiB`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let bytes = size(text)?;
        if (1.0..=MAX_SIZE).contains(&bytes) {
            // It is a whole number after this, and far below what an f64 holds exactly.
            Ok(Self(bytes.round() as usize))
        } else {
            Err(format!("{text:?} is no size of a write: write 1B to 16MiB"))
        }
    }

    /// In bytes.
    pub(crate) fn bytes(self) -> usize {
        self.0
    }
}

/// Reads `20ms`, `1.5s`, `500us`; also `0s`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let problem =
        || format!("{text:?} is no duration: write a number and ns, us, ms, s, m or h, such as 20ms or 1.5s");
    let seconds = with_unit(text, &TIMES).ok_or_else(problem)?;
    if seconds > MAX_SECONDS {
        return Err(format!("{text:?} is too long: at most 24h"));
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| problem())
}

/// The same, for what must take some time.
pub(crate) fn some_time(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err(format!("{text:?} is no time at all: write more than 0")),
        duration => Ok(duration),
    }
}

/// Reads `16384`, `16KiB`, `2.5GB` into bytes.
pub(crate) fn size(text: &str) -> Result<f64, String> {
    let plain = text.parse().ok().filter(|bytes: &f64| bytes.is_finite() && *bytes >= 0.0);
    plain.or_else(|| with_unit(text, &SIZES)).ok_or_else(|| {
        format!(
            "{text:?} is no size: write bytes, or a number and KB, MB, GB, KiB, MiB or GiB, such as 16KiB"
        )
    })
}

/// Reads `10%` into 0.1.
pub(crate) fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').and_then(|number| number.trim().parse().ok());
    number
        .filter(|percent: &f64| (0.0..=1000.0).contains(percent))
        .map(|percent| percent / 100.0)
        .ok_or_else(|| format!("{text:?} is no percentage: write 0% to 1000%, such as 10%"))
}

/// A number that is not negative, times its unit.
fn with_unit(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let split = text.find(|char: char| char.is_alphabetic())?;
    let (number, unit) = text.split_at(split);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    let number: f64 = number.trim().parse().ok()?;
    (number.is_finite() && number >= 0.0).then_some(number * factor)
}

/// Microseconds as people read them: three digits that count.
pub(crate) fn show_micros(micros: f64) -> String {
    match micros {
        us if us < 1.0 => format!("{:.0} ns", us * 1e3),
        us if us < 1e3 => format!("{} us", three_digits(us)),
        us if us < 1e6 => format!("{} ms", three_digits(us / 1e3)),
        us => format!("{} s", three_digits(us / 1e6)),
    }
}

/// Bytes as people read them.
pub(crate) fn show_bytes(bytes: f64) -> String {
    match bytes {
        b if b < 1e3 => format!("{b:.0} B"),
        b if b < 1e6 => format!("{} KB", three_digits(b / 1e3)),
        b if b < 1e9 => format!("{} MB", three_digits(b / 1e6)),
        b => format!("{} GB", three_digits(b / 1e9)),
    }
}

/// A number with as many decimals as make three digits.
pub(crate) fn three_digits(number: f64) -> String {
    let decimals = match number.abs() {
        n if n >= 99.95 => 0,
        n if n >= 9.995 => 1,
        _ => 2,
    };
    format!("{number:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        let cases = [
            ("20ms", 20_000_000),
            ("1.5s", 1_500_000_000),
            ("500us", 500_000),
            ("500µs", 500_000),
            ("7ns", 7),
            ("2m", 120_000_000_000),
            ("1h", 3_600_000_000_000),
            ("0s", 0),
            ("24h", 86_400_000_000_000),
            ("3 s", 3_000_000_000),
        ];
        for (text, nanos) in cases {
            assert_eq!(duration(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_what_would_be_one() {
        for text in ["", "20", "ms", "-1s", "1d", "1.5", "1s2", "1 5s", "infs", "nans", "1e400s", "1M", "١s"]
        {
            let problem = duration(text).expect_err(text);
            assert!(problem.contains("20ms") && problem.contains(&format!("{text:?}")), "{problem}");
        }
        assert!(duration("25h").expect_err("too long").contains("24h"));
        assert!(some_time("0ms").is_err() && some_time("1ns").is_ok());
    }

    #[test]
    fn rates_and_sizes_have_bounds() {
        for text in ["0.01", "1", "500/s", "1000000"] {
            assert!(Rate::parse(text).is_ok(), "{text}");
        }
        for text in ["0", "-1", "1000001", "nan", "inf", "", "5/m"] {
            assert!(Rate::parse(text).is_err(), "{text}");
        }
        for (text, bytes) in [("1", 1), ("16KiB", 16_384), ("1.5KB", 1_500), ("16MiB", 16_777_216), ("3B", 3)]
        {
            assert_eq!(WriteSize::parse(text), Ok(WriteSize(bytes)), "{text}");
        }
        for text in ["0", "0B", "17MiB", "-1", "1kib", "KiB", "", "1 TB"] {
            assert!(WriteSize::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn percentages_have_their_sign() {
        assert_eq!(percent("10%"), Ok(0.1));
        for text in ["10", "%", "-1%", "1001%", "nan%"] {
            assert!(percent(text).is_err(), "{text}");
        }
    }

    #[test]
    fn quantities_are_shown_with_three_digits() {
        let cases = [
            (0.25, "250 ns"),
            (1.0, "1.00 us"),
            (999.0, "999 us"),
            (1_000.0, "1.00 ms"),
            (12_345.0, "12.3 ms"),
            (99_990.0, "100 ms"),
            (2_500_000.0, "2.50 s"),
        ];
        for (micros, text) in cases {
            assert_eq!(show_micros(micros), text);
        }
        assert_eq!(show_bytes(1_234_567.0), "1.23 MB");
        assert_eq!(show_bytes(12.0), "12 B");
    }
}
