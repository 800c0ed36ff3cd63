//! The result of a run as values, which are written as text, JSON and HTML, and compared with each other.

pub(crate) mod chart;
pub(crate) mod compare;
pub(crate) mod html;
pub(crate) mod json;
pub(crate) mod text;

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::{
    cpu::Reading,
    run::{Measured, Use},
    sample::OfKind,
};

/// The version of the JSON form. A reader takes this one only.
pub(crate) const SCHEMA: u32 = 1;

/// The percentiles of tables and comparisons.
pub(crate) const PERCENTILES: [f64; 5] = [50.0, 90.0, 99.0, 99.9, 99.99];

/// All of a result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// [`SCHEMA`].
    pub(crate) schema: u32,
    /// Version of the program.
    pub(crate) version: String,
    /// When it began, as in RFC 3339.
    pub(crate) started: String,
    /// The arguments it was run with.
    pub(crate) command: Vec<String>,
    pub(crate) scenario: String,
    /// Addresses, after look-up.
    pub(crate) targets: Vec<String>,
    pub(crate) machine: Machine,
    pub(crate) load: LoadFacts,
    /// Whether it was ended early.
    pub(crate) interrupted: bool,
    /// What was measured, with the time in which the last operations ended.
    pub(crate) elapsed_seconds: f64,
    /// Operations of an open loop that were due and for which no worker was free until the end.
    pub(crate) unstarted: u64,
    /// By kind; before several `all` of them.
    pub(crate) kinds: Vec<KindReport>,
    pub(crate) server: ProcessReport,
    pub(crate) client: ProcessReport,
    /// Operations that succeeded, in each second.
    pub(crate) per_second: Vec<u64>,
    /// Memory of what is open and does nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) idle: Option<IdleReport>,
    #[serde(default)]
    pub(crate) expectations: Vec<Verdict>,
}

/// On what it ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LoadFacts {
    /// Operations per second, of an open loop.
    pub(crate) rate: Option<f64>,
    pub(crate) workers: usize,
    /// Connections to the handshaker; 0: a new one for each handshake.
    pub(crate) connections: Option<usize>,
    pub(crate) warm_up_seconds: f64,
    pub(crate) duration_seconds: f64,
    /// What else was set, as `name=value`.
    pub(crate) settings: Vec<String>,
}

/// Operations of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct KindReport {
    pub(crate) name: String,
    /// Those that succeeded.
    pub(crate) count: u64,
    /// Of them, per second.
    pub(crate) rate: f64,
    pub(crate) errors: u64,
    pub(crate) reasons: BTreeMap<String, ReasonReport>,
    pub(crate) bytes: u64,
    pub(crate) bytes_per_second: f64,
    pub(crate) frames: u64,
    /// Counted from when they were due; absent if none succeeded.
    pub(crate) latency: Option<Latency>,
    /// Counted from when they began; of open loops only.
    pub(crate) service: Option<Latency>,
}

/// How often operations failed for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReasonReport {
    pub(crate) count: u64,
    /// What the first of them said.
    pub(crate) text: String,
}

/// Times, in microseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) min: f64,
    pub(crate) mean: f64,
    pub(crate) max: f64,
    /// Percentile and time, rising: those of the tables, and enough for a curve.
    pub(crate) curve: Vec<(f64, f64)>,
}

/// What a process has used while it was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ProcessReport {
    /// Its id and name, if it was found.
    pub(crate) process: Option<String>,
    /// Why nothing is known of it.
    pub(crate) unknown: Option<String>,
    pub(crate) cpu_seconds: Option<f64>,
    /// CPU time for each operation that was begun, in microseconds.
    pub(crate) cpu_micros_per_operation: Option<f64>,
    /// Resident memory at the end, in bytes.
    pub(crate) resident_bytes: Option<u64>,
    pub(crate) threads: Option<u64>,
}

/// What is open and does nothing costs memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct IdleReport {
    /// `connections`, both of whose ends are in this process, or `handshakes` that wait for their other end.
    pub(crate) of: String,
    pub(crate) open: u64,
    /// Resident memory of this process before and after, in bytes.
    pub(crate) resident_before: u64,
    pub(crate) resident_after: u64,
    /// Growth of it for each end that is in this process, in bytes.
    pub(crate) client_bytes_each: f64,
    /// Growth of the resident memory of the server for each, in bytes, if it is known.
    pub(crate) server_bytes_each: Option<f64>,
}

/// An expectation and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    /// As it was written.
    pub(crate) expectation: String,
    /// What was measured instead, or as well.
    pub(crate) measured: String,
    pub(crate) held: bool,
}

/// What a report is of, beside what was measured.
pub(crate) struct Subject {
    pub(crate) started: String,
    pub(crate) command: Vec<String>,
    pub(crate) scenario: &'static str,
    pub(crate) targets: Vec<String>,
    pub(crate) machine: Machine,
    pub(crate) load: LoadFacts,
}

impl Report {
    /// Puts a report together.
    pub(crate) fn new(subject: Subject, measured: Measured) -> Self {
        let elapsed = measured.elapsed.as_secs_f64();
        let is_open = subject.load.rate.is_some();
        let kinds: Vec<_> = measured
            .samples
            .into_parts()
            .into_iter()
            .map(|(name, part)| KindReport::new(name, part, elapsed, is_open))
            .collect();
        let operations = kinds.first().map_or(0, |kind| kind.count + kind.errors);
        Self {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: subject.started,
            command: subject.command,
            scenario: subject.scenario.to_owned(),
            targets: subject.targets,
            machine: subject.machine,
            load: subject.load,
            interrupted: measured.interrupted,
            elapsed_seconds: elapsed,
            unstarted: measured.unstarted,
            kinds,
            server: ProcessReport::new(measured.server, operations),
            client: ProcessReport::new(measured.client, operations),
            per_second: measured.per_second,
            idle: measured.idle,
            expectations: Vec::new(),
        }
    }

    /// The operations of this kind; those of all kinds if none is named, or `all`.
    pub(crate) fn kind(&self, name: Option<&str>) -> Option<&KindReport> {
        match name {
            None | Some("all") => self.kinds.first(),
            Some(name) => self.kinds.iter().find(|kind| kind.name == name),
        }
    }

    /// Whether anything was tried and nothing has succeeded.
    pub(crate) fn is_in_vain(&self) -> bool {
        let errors: u64 = self.kinds.iter().map(|kind| kind.errors).sum();
        let good: u64 = self.kinds.iter().map(|kind| kind.count).sum();
        errors > 0 && good == 0
    }

    /// Whether all expectations held.
    pub(crate) fn is_as_expected(&self) -> bool {
        self.expectations.iter().all(|verdict| verdict.held)
    }
}

impl KindReport {
    fn new(name: &str, part: OfKind, elapsed: f64, is_open: bool) -> Self {
        let per_second = |number: u64| if elapsed > 0.0 { number as f64 / elapsed } else { 0.0 };
        let errors = part.failed();
        let reasons = part.failures.into_iter().map(|(code, failures)| {
            (code.into_owned(), ReasonReport { count: failures.count, text: failures.text })
        });
        Self {
            name: name.to_owned(),
            count: part.latency.len(),
            rate: per_second(part.latency.len()),
            errors,
            reasons: reasons.collect(),
            bytes: part.moved.bytes,
            bytes_per_second: per_second(part.moved.bytes),
            frames: part.moved.frames,
            latency: Latency::of(&part.latency),
            service: Latency::of(&part.service).filter(|_| is_open),
        }
    }
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Option<Self> {
        let micros = |nanos: u64| nanos as f64 / 1e3;
        (!histogram.is_empty()).then(|| Self {
            min: micros(histogram.min()),
            mean: histogram.mean() / 1e3,
            max: micros(histogram.max()),
            curve: curve(histogram)
                .into_iter()
                .map(|(percentile, nanos)| (percentile, micros(nanos)))
                .collect(),
        })
    }

    /// The time that so many per cent did not exceed. Between two that are known, the larger one.
    pub(crate) fn at(&self, percentile: f64) -> f64 {
        let known = self.curve.iter().find(|(known, _)| *known >= percentile - 1e-9);
        known.map_or(self.max, |(_, micros)| *micros)
    }
}

/// Percentiles and their values, found in one walk: to look each of them up would be as many.
fn curve(histogram: &Histogram<u64>) -> Vec<(f64, u64)> {
    let all = histogram.len();
    let mut wanted = percentiles(all).into_iter().peekable();
    let (mut seen, mut curve) = (0, Vec::new());
    for step in histogram.iter_recorded() {
        seen += step.count_since_last_iteration();
        let reached = |percentile: &f64| seen as f64 >= (percentile / 100.0 * all as f64).ceil();
        while let Some(percentile) = wanted.next_if(reached) {
            curve.push((percentile, histogram.highest_equivalent(step.value_iterated_to())));
        }
    }
    curve
}

/// The percentiles of a curve of so many values: more and more of them towards 100, as far as the values tell them apart.
fn percentiles(count: u64) -> Vec<f64> {
    let mut percentiles = PERCENTILES.to_vec();
    percentiles.extend((1..100).map(f64::from));
    // Ten steps for each further nine, as long as there are values behind it.
    let mut beyond = 1.0;
    while beyond * count as f64 >= 100.0 && beyond > 1e-6 {
        percentiles.extend((1..10).map(|step| 100.0 - beyond * f64::from(step) / 10.0));
        beyond /= 10.0;
    }
    percentiles.sort_by(f64::total_cmp);
    percentiles.dedup_by(|a, b| (*a - *b).abs() < 1e-9);
    percentiles
}

impl ProcessReport {
    fn new(used: Use, operations: u64) -> Self {
        let (process, spent) = match used {
            Ok((process, spent)) => (Some(process), spent),
            Err(unknown) => return Self { process: None, unknown: Some(unknown), ..Self::nothing() },
        };
        let Reading { cpu, resident, threads } = match spent {
            Ok(reading) => reading,
            Err(unknown) => return Self { process, unknown: Some(unknown), ..Self::nothing() },
        };
        Self {
            process,
            unknown: None,
            cpu_seconds: Some(cpu.as_secs_f64()),
            cpu_micros_per_operation: per_operation(cpu, operations),
            resident_bytes: Some(resident),
            threads: Some(threads),
        }
    }

    fn nothing() -> Self {
        Self {
            process: None,
            unknown: None,
            cpu_seconds: None,
            cpu_micros_per_operation: None,
            resident_bytes: None,
            threads: None,
        }
    }
}

/// In microseconds.
fn per_operation(cpu: Duration, operations: u64) -> Option<f64> {
    (operations > 0).then(|| cpu.as_secs_f64() * 1e6 / operations as f64)
}

#[cfg(test)]
pub(crate) mod tests;
