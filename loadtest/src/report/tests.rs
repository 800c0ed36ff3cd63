//! Reports for tests, and what is read out of them.

use std::{collections::BTreeMap, sync::LazyLock};

use hdrhistogram::Histogram;

use super::*;

fn hundred(micros: f64) -> Latency {
    let mut histogram = Histogram::new(3).expect("three digits can be had");
    for step in 1..=1_000_u32 {
        histogram.record((f64::from(step) * micros * 100.0) as u64).expect("it resizes itself");
    }
    Latency::of(&histogram).expect("it has values")
}

/// 1000 handshakes in 10 s and 5 errors; latencies rise evenly to 100 ms, and half the operations begin 20 ms late.
pub(crate) fn report() -> Report {
    static MADE: LazyLock<Report> = LazyLock::new(make);
    MADE.clone()
}

fn make() -> Report {
    let reason = ReasonReport { count: 5, text: "the peer <b>\"gone\"</b> & away".to_owned() };
    Report {
        schema: SCHEMA,
        version: "0.1.0".to_owned(),
        started: "2026-01-31T23:59:59Z".to_owned(),
        command: ["alts-loadtest", "handshake", "--expect", "p99<20ms"].map(str::to_owned).to_vec(),
        scenario: "handshake".to_owned(),
        targets: vec!["127.0.0.1:8080".to_owned()],
        machine: Machine { cpu: "Test CPU".to_owned(), cores: 2, kernel: "6.1".to_owned() },
        load: LoadFacts {
            rate: Some(100.0),
            workers: 16,
            connections: Some(1),
            warm_up_seconds: 1.0,
            duration_seconds: 10.0,
            settings: vec!["side=both".to_owned()],
        },
        interrupted: false,
        elapsed_seconds: 10.0,
        unstarted: 3,
        kinds: vec![KindReport {
            name: "handshake".to_owned(),
            count: 1_000,
            rate: 100.0,
            errors: 5,
            reasons: BTreeMap::from([("peer_closed".to_owned(), reason)]),
            bytes: 2_000_000,
            bytes_per_second: 200_000.0,
            frames: 0,
            latency: Some(hundred(1_000.0)),
            service: Some(hundred(800.0)),
        }],
        server: ProcessReport {
            process: Some("4711 (altsd)".to_owned()),
            unknown: None,
            cpu_seconds: Some(0.5),
            cpu_micros_per_operation: Some(500.0),
            resident_bytes: Some(20_000_000),
            threads: Some(5),
        },
        client: ProcessReport {
            process: Some("4712 (alts-loadtest)".to_owned()),
            unknown: None,
            cpu_seconds: Some(0.25),
            cpu_micros_per_operation: Some(250.0),
            resident_bytes: Some(10_000_000),
            threads: Some(3),
        },
        per_second: vec![100; 10],
        idle: None,
        expectations: Vec::new(),
    }
}

/// The same with tokens, none of which failed.
pub(crate) fn mixed() -> Report {
    let mut report = report();
    let handshakes = report.kinds[0].clone();
    let tokens =
        KindReport { name: "token".to_owned(), errors: 0, reasons: BTreeMap::new(), ..handshakes.clone() };
    report.kinds.push(handshakes.clone());
    report.kinds.push(tokens);
    report.kinds[0] = KindReport { name: "all".to_owned(), count: 2_000, ..handshakes };
    report.scenario = "mixed".to_owned();
    report
}

#[test]
fn percentiles_are_those_of_the_values() {
    let latency = hundred(1_000.0);
    for (percentile, micros) in [(50.0, 50_000.0), (90.0, 90_000.0), (99.0, 99_000.0), (99.9, 99_900.0)] {
        let found = latency.at(percentile);
        assert!((found - micros).abs() < micros / 500.0, "{percentile}: {found}");
    }
    // Between two points of the curve the larger one counts.
    assert!(latency.at(98.51) >= latency.at(98.0) && latency.at(99.99999) <= latency.max);
}

#[test]
fn a_curve_has_the_values_that_the_histogram_finds_one_by_one() {
    let mut histogram = Histogram::new(3).expect("three digits can be had");
    for value in [1_u64, 1, 7, 2_000, 2_001, 55_000, 55_000, 1_234_567, 987_654_321] {
        histogram.record(value).expect("it resizes itself");
    }
    let curve = curve(&histogram);
    assert_eq!(curve.len(), percentiles(histogram.len()).len());
    for (percentile, value) in curve {
        assert_eq!(value, histogram.value_at_percentile(percentile), "{percentile}");
    }
}

#[test]
fn a_curve_rises_and_goes_as_far_as_the_values() {
    for (count, last) in [(10_u64, 99.99), (1_000, 99.99), (1_000_000, 99.999), (1_000_000_000, 99.99999)] {
        let percentiles = percentiles(count);
        assert!(percentiles.windows(2).all(|pair| pair[0] < pair[1]), "{count}");
        assert!(*percentiles.last().expect("there are some") >= last, "{count}: {:?}", percentiles.last());
        assert!(PERCENTILES.iter().all(|wanted| percentiles.contains(wanted)), "{count}");
        assert!(percentiles.len() < 200 && percentiles.iter().all(|percentile| *percentile < 100.0));
    }
}

#[test]
fn nothing_measured_has_no_latency() {
    assert_eq!(Latency::of(&Histogram::new(3).expect("three digits can be had")), None);
}
