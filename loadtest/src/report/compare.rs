//! Two results beside each other. Pure.

use super::{KindReport, PERCENTILES, ProcessReport, Report};
use crate::units::{show_bytes, show_micros, three_digits};

/// How far two results may differ and still be called the same, if nothing else is said: 10 %.
pub(crate) const TOLERANCE: f64 = 0.1;

/// Percentiles that are judged. Those beyond are shown only: few values make them.
const JUDGED: f64 = 99.0;

/// Two results beside each other.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Comparison {
    pub(crate) lines: Vec<Line>,
    /// In what the two differ that was not measured: another machine, another load.
    pub(crate) notes: Vec<String>,
    /// One sentence.
    pub(crate) verdict: String,
    /// Whether something that is judged is worse by more than the tolerance.
    pub(crate) is_worse: bool,
}

/// One figure in both.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line {
    pub(crate) name: String,
    unit: Unit,
    pub(crate) before: f64,
    pub(crate) now: f64,
    is_judged: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// Less is better.
    Micros,
    /// More is better.
    PerSecond,
    /// More is better.
    BytesPerSecond,
    /// Less is better.
    Count,
}

/// Why two results are not compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("a result of the scenario {before} is no baseline for one of {now}")]
    OtherScenario { before: String, now: String },
    #[error("the two results have no figure in common")]
    NothingInCommon,
}

/// Compares two results of one scenario; differences up to `tolerance`, 0.1 for 10 %, count as none.
pub(crate) fn compare(before: &Report, now: &Report, tolerance: f64) -> Result<Comparison, Error> {
    if before.scenario != now.scenario {
        return Err(Error::OtherScenario { before: before.scenario.clone(), now: now.scenario.clone() });
    }
    let mut lines = Vec::new();
    for kind in &now.kinds {
        if let Some(earlier) = before.kinds.iter().find(|earlier| earlier.name == kind.name) {
            // A closed loop has a rate of its own; that of an open one is what was asked for.
            let is_rate_judged = now.load.rate.is_none();
            kind_lines(&mut lines, earlier, kind, is_rate_judged, now.kinds.len() > 1);
        }
    }
    cpu_line(&mut lines, "server CPU each", &before.server, &now.server, true);
    cpu_line(&mut lines, "client CPU each", &before.client, &now.client, false);
    if lines.is_empty() {
        return Err(Error::NothingInCommon);
    }
    let judged = |is: fn(&Line, f64) -> bool| -> Vec<&Line> {
        lines.iter().filter(|line| line.is_judged && is(line, tolerance)).collect()
    };
    let (worse, better) = (judged(Line::is_worse), judged(Line::is_better));
    let verdict = verdict(&worse, &better, tolerance);
    Ok(Comparison { notes: notes(before, now), verdict, is_worse: !worse.is_empty(), lines })
}

fn kind_lines(
    lines: &mut Vec<Line>,
    before: &KindReport,
    now: &KindReport,
    is_rate_judged: bool,
    named: bool,
) {
    let prefix = if named { format!("{} ", now.name) } else { String::new() };
    let mut line = |name: &str, unit, before, now, is_judged| {
        lines.push(Line { name: format!("{prefix}{name}"), unit, before, now, is_judged });
    };
    line("rate", Unit::PerSecond, before.rate, now.rate, is_rate_judged);
    if now.name == "record" {
        line(
            "throughput",
            Unit::BytesPerSecond,
            before.bytes_per_second,
            now.bytes_per_second,
            is_rate_judged,
        );
    }
    line("errors", Unit::Count, before.errors as f64, now.errors as f64, true);
    if let (Some(earlier), Some(latency)) = (&before.latency, &now.latency) {
        for percentile in PERCENTILES {
            let (before, now) = (earlier.at(percentile), latency.at(percentile));
            line(&format!("p{percentile}"), Unit::Micros, before, now, percentile <= JUDGED);
        }
        line("max", Unit::Micros, earlier.max, latency.max, false);
    }
}

fn cpu_line(lines: &mut Vec<Line>, name: &str, before: &ProcessReport, now: &ProcessReport, is_judged: bool) {
    if let (Some(before), Some(now)) = (before.cpu_micros_per_operation, now.cpu_micros_per_operation) {
        lines.push(Line { name: name.to_owned(), unit: Unit::Micros, before, now, is_judged });
    }
}

fn verdict(worse: &[&Line], better: &[&Line], tolerance: f64) -> String {
    let list = |lines: &[&Line]| {
        let each = |line: &&Line| match line.ratio() {
            Some(ratio) => format!("{} x {}", line.name, three_digits(ratio)),
            None => format!("{} {} instead of {}", line.name, line.show(line.now), line.show(line.before)),
        };
        lines.iter().map(each).collect::<Vec<_>>().join(", ")
    };
    let within = format!("within {} %", three_digits(tolerance * 100.0));
    match (worse, better) {
        ([], []) => format!("the same, {within}"),
        (worse, []) => format!("worse: {}", list(worse)),
        ([], better) => format!("better: {}", list(better)),
        (worse, better) => format!("mixed: worse in {}; better in {}", list(worse), list(better)),
    }
}

fn notes(before: &Report, now: &Report) -> Vec<String> {
    let mut notes = Vec::new();
    if before.machine != now.machine {
        notes.push("the baseline is of another machine or kernel".to_owned());
    }
    if before.load != now.load {
        notes.push("the baseline had another load".to_owned());
    }
    for (name, report) in [("the baseline", before), ("this run", now)] {
        if report.interrupted {
            notes.push(format!("{name} was ended early"));
        }
    }
    notes
}

impl Line {
    /// The later figure over the earlier one; `None` if the earlier is zero.
    pub(crate) fn ratio(&self) -> Option<f64> {
        (self.before > 0.0).then(|| self.now / self.before)
    }

    fn is_worse(&self, tolerance: f64) -> bool {
        match self.unit {
            Unit::Micros | Unit::Count => self.now > self.before * (1.0 + tolerance),
            Unit::PerSecond | Unit::BytesPerSecond => self.now < self.before / (1.0 + tolerance),
        }
    }

    fn is_better(&self, tolerance: f64) -> bool {
        let turned = Self { before: self.now, now: self.before, ..self.clone() };
        turned.is_worse(tolerance)
    }

    /// A figure of this line, with its unit.
    pub(crate) fn show(&self, value: f64) -> String {
        match self.unit {
            Unit::Micros => show_micros(value),
            Unit::PerSecond => format!("{}/s", three_digits(value)),
            Unit::BytesPerSecond => format!("{}/s", show_bytes(value)),
            Unit::Count => format!("{value:.0}"),
        }
    }

    /// Name, both figures and their ratio.
    pub(crate) fn cells(&self) -> [String; 4] {
        let ratio = self.ratio().map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
        [self.name.clone(), self.show(self.before), self.show(self.now), ratio]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::{mixed, report};

    #[test]
    fn a_result_is_the_same_as_itself() {
        for report in [report(), mixed()] {
            let comparison = compare(&report, &report, 0.0).expect("they can be compared");
            assert_eq!((comparison.is_worse, comparison.notes), (false, Vec::new()));
            assert!(comparison.verdict.starts_with("the same"), "{}", comparison.verdict);
            assert!(comparison.lines.iter().all(|line| line.ratio() == Some(1.0) || line.before == 0.0));
        }
    }

    /// A report with all latencies and the server's CPU times so much.
    fn times(factor: f64) -> Report {
        let mut report = report();
        report.load.rate = None;
        report.kinds[0].rate /= factor;
        for latency in report.kinds[0].latency.iter_mut() {
            latency.curve.iter_mut().for_each(|(_, micros)| *micros *= factor);
        }
        report.server.cpu_micros_per_operation = Some(500.0 * factor);
        report
    }

    #[test]
    fn what_is_slower_by_more_than_the_tolerance_is_worse() {
        let cases = [
            (1.09, 0.1, false, "the same"),
            (1.11, 0.1, true, "worse: rate x 0.90, p50 x 1.11"),
            (1.11, 0.2, false, "the same"),
            (0.92, 0.1, false, "the same"),
            (0.5, 0.1, false, "better: rate x 2.00, p50 x 0.50"),
            (1.001, 0.0, true, "worse"),
        ];
        for (factor, tolerance, is_worse, verdict) in cases {
            let comparison = compare(&times(1.0), &times(factor), tolerance).expect("they can be compared");
            assert_eq!(comparison.is_worse, is_worse, "{factor}");
            assert!(comparison.verdict.starts_with(verdict), "{factor}: {}", comparison.verdict);
        }
    }

    #[test]
    fn the_rate_of_an_open_loop_and_the_longest_times_are_shown_and_not_judged() {
        let (before, mut now) = (report(), report());
        now.kinds[0].rate = 50.0;
        for latency in now.kinds[0].latency.iter_mut() {
            latency.max *= 9.0;
        }
        let comparison = compare(&before, &now, 0.1).expect("they can be compared");
        assert!(!comparison.is_worse, "{}", comparison.verdict);
        assert!(comparison.lines.iter().any(|line| line.cells() == ["rate", "100/s", "50.0/s", "0.50"]));
    }

    #[test]
    fn new_errors_are_worse_though_no_ratio_can_tell() {
        let (mut before, mut now) = (report(), report());
        before.kinds[0].errors = 0;
        now.kinds[0].errors = 1;
        let comparison = compare(&before, &now, 0.1).expect("they can be compared");
        assert_eq!(comparison.verdict, "worse: errors 1 instead of 0");
    }

    #[test]
    fn what_was_not_measured_alike_is_said() {
        let (before, mut now) = (report(), report());
        now.machine.cores = 64;
        now.load.workers = 1;
        now.interrupted = true;
        let notes = compare(&before, &now, 0.1).expect("they can be compared").notes;
        assert_eq!(notes.len(), 3, "{notes:?}");
    }

    #[test]
    fn results_of_two_scenarios_are_not_compared() {
        assert!(matches!(compare(&report(), &mixed(), 0.1), Err(Error::OtherScenario { .. })));
        let (mut before, mut now) = (report(), report());
        for report in [&mut before, &mut now] {
            report.kinds.clear();
            report.server.cpu_micros_per_operation = None;
            report.client.cpu_micros_per_operation = None;
        }
        assert_eq!(compare(&before, &now, 0.1), Err(Error::NothingInCommon));
    }
}
