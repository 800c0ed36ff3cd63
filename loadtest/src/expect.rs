//! `--expect 'p99<20ms,errors=0'`: what a run must show, and whether it did. Pure.

use crate::{
    report::{Report, Verdict},
    units,
};

/// Most of them in one argument.
const MAX_COUNT: usize = 64;

/// What a run must show: all of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Expectations(Vec<Expectation>);

/// One of them.
#[derive(Clone, Debug, PartialEq)]
struct Expectation {
    /// As it was written.
    text: String,
    /// Operations of one kind only.
    kind: Option<String>,
    metric: Metric,
    order: Order,
    /// In the unit of the metric.
    bound: f64,
}

/// What is looked at, with its unit.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Metric {
    /// The latency that so many per cent do not exceed, in microseconds.
    Percentile(f64),
    /// In microseconds.
    Min,
    Mean,
    Max,
    /// How many operations failed.
    Errors,
    /// How many of all operations failed, from 0 to 1.
    ErrorShare,
    /// How many succeeded.
    Count,
    /// How many succeeded per second.
    Rate,
    /// Bytes per second.
    Throughput,
    /// How many were due and never begun.
    Unstarted,
    /// CPU time of the server for one operation, in microseconds.
    Cpu,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Less,
    AtMost,
    Equal,
    AtLeast,
    More,
}

/// How the orders are written. A longer one stands before the one that it begins with.
const ORDERS: [(&str, Order); 5] = [
    ("<=", Order::AtMost),
    (">=", Order::AtLeast),
    ("<", Order::Less),
    (">", Order::More),
    ("=", Order::Equal),
];

const KINDS: [&str; 4] = ["all", "handshake", "token", "record"];

const FORM: &str = "write such as p99<20ms,errors=0,rate>500: of p50 to p99.99, min, mean, max, errors, count, rate, \
                    throughput, unstarted and cpu, with <, <=, =, >= or >; token.p99 for one kind of mixed ones";

impl Expectations {
    /// Reads a list of them.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let list =
            text.split(',').map(|one| Expectation::parse(one.trim())).collect::<Result<Vec<_>, _>>()?;
        if list.len() > MAX_COUNT {
            return Err(format!("these are {} expectations, at most {MAX_COUNT} are taken", list.len()));
        }
        Ok(Self(list))
    }

    /// Holds them against a result. What is not known is not as expected.
    pub(crate) fn judge(&self, report: &Report) -> Vec<Verdict> {
        self.0.iter().map(|expectation| expectation.judge(report)).collect()
    }
}

impl Expectation {
    fn parse(text: &str) -> Result<Self, String> {
        let problem = |what: &str| format!("{text:?} is no expectation: {what}; {FORM}");
        let at = text.find(['<', '=', '>']).ok_or_else(|| problem("it compares nothing"))?;
        let (name, rest) = text.split_at(at);
        let (sign, order) =
            ORDERS.into_iter().find(|(sign, _)| rest.starts_with(sign)).ok_or_else(|| problem("no order"))?;
        let (name, value) = (name.trim(), rest[sign.len()..].trim());
        let (kind, name) = match name.split_once('.') {
            Some((kind, name)) if KINDS.contains(&kind) => (Some(kind.to_owned()), name),
            _ => (None, name),
        };
        let metric = Metric::parse(name).ok_or_else(|| problem("nothing of this name is measured"))?;
        let (metric, bound) = metric.bound(value).map_err(|what| problem(&what))?;
        Ok(Self { text: text.to_owned(), kind, metric, order, bound })
    }

    fn judge(&self, report: &Report) -> Verdict {
        let value = self.metric.of(report, self.kind.as_deref());
        let held = value.is_some_and(|value| self.order.holds(value, self.bound));
        let measured = value.map_or_else(|| "unknown".to_owned(), |value| self.metric.show(value));
        Verdict { expectation: self.text.clone(), measured, held }
    }
}

impl Order {
    fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Self::Less => value < bound,
            Self::AtMost => value <= bound,
            Self::Equal => value == bound,
            Self::AtLeast => value >= bound,
            Self::More => value > bound,
        }
    }
}

impl Metric {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "min" => Self::Min,
            "mean" => Self::Mean,
            "max" => Self::Max,
            "errors" => Self::Errors,
            "count" => Self::Count,
            "rate" => Self::Rate,
            "throughput" => Self::Throughput,
            "unstarted" => Self::Unstarted,
            "cpu" => Self::Cpu,
            percentile => {
                let percentile = percentile.strip_prefix('p')?.parse().ok()?;
                (1.0..=99.9999).contains(&percentile).then_some(Self::Percentile(percentile))?
            }
        })
    }

    /// Reads what it is compared with; of errors that may be a share of all.
    fn bound(self, text: &str) -> Result<(Self, f64), String> {
        let number =
            |text: &str| text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
        Ok(match self {
            Self::Percentile(_) | Self::Min | Self::Mean | Self::Max | Self::Cpu => {
                (self, units::duration(text)?.as_secs_f64() * 1e6)
            }
            Self::Errors if text.ends_with('%') => (Self::ErrorShare, units::percent(text)?),
            Self::Throughput => (self, units::size(text.strip_suffix("/s").unwrap_or(text))?),
            Self::Rate => {
                let bound = number(text.strip_suffix("/s").unwrap_or(text));
                (self, bound.ok_or_else(|| format!("{text:?} is no number"))?)
            }
            Self::Errors | Self::ErrorShare | Self::Count | Self::Unstarted => {
                (self, number(text).ok_or_else(|| format!("{text:?} is no number"))?)
            }
        })
    }

    /// Its value; `None` if nothing of the kind was measured.
    fn of(self, report: &Report, kind: Option<&str>) -> Option<f64> {
        match self {
            Self::Unstarted => return Some(report.unstarted as f64),
            Self::Cpu => return report.server.cpu_micros_per_operation.filter(|_| kind.is_none()),
            _ => {}
        }
        let kind = report.kind(kind)?;
        let latency = kind.latency.as_ref();
        let all = kind.count + kind.errors;
        match self {
            Self::Percentile(percentile) => latency.map(|latency| latency.at(percentile)),
            Self::Min => latency.map(|latency| latency.min),
            Self::Mean => latency.map(|latency| latency.mean),
            Self::Max => latency.map(|latency| latency.max),
            Self::Errors => Some(kind.errors as f64),
            Self::ErrorShare => (all > 0).then(|| kind.errors as f64 / all as f64),
            Self::Count => Some(kind.count as f64),
            Self::Rate => Some(kind.rate),
            Self::Throughput => Some(kind.bytes_per_second),
            Self::Unstarted | Self::Cpu => None,
        }
    }

    fn show(self, value: f64) -> String {
        match self {
            Self::Percentile(_) | Self::Min | Self::Mean | Self::Max | Self::Cpu => units::show_micros(value),
            Self::ErrorShare => format!("{}%", units::three_digits(value * 100.0)),
            Self::Rate => format!("{}/s", units::three_digits(value)),
            Self::Throughput => format!("{}/s", units::show_bytes(value)),
            Self::Errors | Self::Count | Self::Unstarted => format!("{value:.0}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::{mixed, report};

    /// What of a list is not held by a report with 1000 handshakes in 10 s, 5 errors, latencies of 0.1 to 100 ms, and 500
    /// us of the server's CPU each.
    fn broken(text: &str) -> Vec<String> {
        let verdicts = Expectations::parse(text).expect(text).judge(&report());
        verdicts.into_iter().filter(|verdict| !verdict.held).map(|verdict| verdict.expectation).collect()
    }

    #[test]
    fn what_a_run_shows_is_as_expected() {
        for text in [
            "p50<60ms",
            "p50 > 40ms",
            "p99<=100ms, p99.9<101ms",
            "min>=99us,max<=101ms,mean<1s",
            "errors=5",
            "errors<1%",
            "errors>0.1%",
            "count=1000",
            "rate>=99.9/s,rate<101",
            "throughput>1KB/s",
            "cpu<=500us",
            "unstarted=3",
            "all.errors=5",
        ] {
            assert_eq!(broken(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn what_a_run_does_not_show_is_broken() {
        for text in [
            "p50<40ms",
            "p99.9<1ms",
            "min<50us",
            "max=0s",
            "errors=0",
            "errors<0.1%",
            "count>1000",
            "rate>500",
            "throughput>1GB/s",
            "cpu<400us",
            "unstarted<3",
            "token.errors=0",
            "handshake.cpu<1s",
        ] {
            assert_eq!(broken(text), [text]);
        }
        assert_eq!(broken("errors=0,count=1000,rate>500"), ["errors=0", "rate>500"]);
    }

    #[test]
    fn each_kind_of_a_mixed_run_can_be_looked_at() {
        let verdicts = |text: &str| Expectations::parse(text).expect(text).judge(&mixed());
        let held: Vec<_> = verdicts("errors=5,handshake.errors=5,token.errors=0,record.errors=0")
            .into_iter()
            .map(|verdict| verdict.held)
            .collect();
        assert_eq!(held, [true, true, true, false]);
    }

    #[test]
    fn what_was_not_measured_is_not_as_expected() {
        let mut nothing = report();
        nothing.kinds.clear();
        nothing.server.cpu_micros_per_operation = None;
        for text in ["p99<1h", "errors=0", "count>=0", "rate>=0", "cpu<1h"] {
            let verdicts = Expectations::parse(text).expect(text).judge(&nothing);
            assert_eq!((verdicts[0].held, verdicts[0].measured.as_str()), (false, "unknown"), "{text}");
        }
    }

    #[test]
    fn what_is_no_expectation_is_refused_with_what_would_be_one() {
        for text in [
            "",
            ",",
            "p99",
            "p99<",
            "<20ms",
            "p99<20",
            "p99!20ms",
            "p99==20ms",
            "p0<1s",
            "p100<1s",
            "p<1s",
            "pinf<1s",
            "errors=none",
            "errors=-1",
            "rate>fast",
            "rate>-1",
            "speed>1",
            "cpu<5",
            "throughput>1m",
            "p99<20ms,",
            "other.p99<20ms",
            "count=nan",
        ] {
            let problem = Expectations::parse(text).expect_err(text);
            assert!(problem.contains("p99<20ms,errors=0"), "{text}: {problem}");
        }
        assert!(Expectations::parse(&["errors=0"; 65].join(",")).is_err());
    }
}
