//! The form for people.

use super::{IdleReport, KindReport, Latency, ProcessReport, Report, compare::Comparison};
use crate::units::{show_bytes, show_micros, three_digits};

/// The whole result.
pub(crate) fn write(report: &Report) -> String {
    let mut text = head(report);
    text += "\n";
    text += &table(&rows(report));
    for kind in report.kinds.iter().filter(|kind| kind.errors > 0) {
        text += &reasons(kind);
    }
    if report.unstarted > 0 {
        text += &format!(
            "\n{} operations were due and never begun, for want of a free worker: the server does not keep up, or \
             --workers are too few\n",
            report.unstarted
        );
    }
    text += "\n";
    text += &processes(report);
    if let Some(idle) = &report.idle {
        text += &format!("\n{}\n", idle_line(idle));
    }
    if !report.expectations.is_empty() {
        text += "\n";
        text += &expectations(report);
    }
    text
}

/// What is open and does nothing costs.
pub(crate) fn idle_line(idle: &IdleReport) -> String {
    let (client, server) = (show_bytes(idle.client_bytes_each), idle.server_bytes_each.map(show_bytes));
    let server = server.map_or_else(String::new, |server| format!(", {server} in the server for each"));
    format!(
        "{} open {} that do nothing: {client} in this process for each end{server} (resident memory of this process {} \
         before, {} after)",
        idle.open,
        printable(&idle.of),
        show_bytes(idle.resident_before as f64),
        show_bytes(idle.resident_after as f64),
    )
}

/// Two results beside each other.
pub(crate) fn write_comparison(comparison: &Comparison) -> String {
    let header = ["", "BASELINE", "NOW", "RATIO"].map(str::to_owned).to_vec();
    let lines = comparison.lines.iter().map(|line| line.cells().to_vec());
    let mut text = table(&std::iter::once(header).chain(lines).collect::<Vec<_>>());
    for note in &comparison.notes {
        text += &format!("note: {note}\n");
    }
    text + &format!("verdict: {}\n", comparison.verdict)
}

fn head(report: &Report) -> String {
    let load = match report.load.rate {
        Some(rate) => format!("open loop, {}/s, at most {} at once", three_digits(rate), report.load.workers),
        None => match report.load.workers {
            1 => "closed loop, 1 worker".to_owned(),
            workers => format!("closed loop, {workers} workers"),
        },
    };
    let connections = match report.load.connections {
        Some(0) => ", a new connection for each".to_owned(),
        Some(1) => ", 1 connection".to_owned(),
        Some(connections) => format!(", {connections} connections"),
        None => String::new(),
    };
    let settings = match report.load.settings.as_slice() {
        [] => String::new(),
        settings => format!(" ({})", settings.join(", ")),
    };
    let interrupted = if report.interrupted { ", ended early" } else { "" };
    format!(
        "{}{settings} at {}: {load}{connections}\n{} s after {} s of warm-up{interrupted}, {}, {} ({} cores, Linux {})\n",
        report.scenario,
        report.targets.join(" and "),
        three_digits(report.elapsed_seconds),
        three_digits(report.load.warm_up_seconds),
        report.started,
        report.machine.cpu,
        report.machine.cores,
        report.machine.kernel,
    )
}

/// The columns of the table of a result.
pub(crate) const COLUMNS: [&str; 11] =
    ["", "COUNT", "RATE", "ERRORS", "MIN", "P50", "P90", "P99", "P99.9", "MAX", "DATA"];

/// The table of a result: a header, one line for each kind, and below those of an open loop one from when they began.
pub(crate) fn rows(report: &Report) -> Vec<Vec<String>> {
    let mut rows = vec![COLUMNS.map(str::to_owned).to_vec()];
    for kind in &report.kinds {
        let mut row = vec![
            kind.name.clone(),
            kind.count.to_string(),
            format!("{}/s", three_digits(kind.rate)),
            kind.errors.to_string(),
        ];
        row.extend(times(kind.latency.as_ref()));
        row.push(data(kind));
        rows.push(row);
        if let Some(service) = &kind.service {
            let mut row = vec!["  once begun".to_owned(), String::new(), String::new(), String::new()];
            row.extend(times(Some(service)));
            rows.push(row);
        }
    }
    rows
}

fn times(latency: Option<&Latency>) -> Vec<String> {
    let Some(latency) = latency else { return vec!["-".to_owned(); 6] };
    let percentiles = [50.0, 90.0, 99.0, 99.9].map(|percentile| latency.at(percentile));
    let all = std::iter::once(latency.min).chain(percentiles).chain([latency.max]);
    all.map(show_micros).collect()
}

fn data(kind: &KindReport) -> String {
    let mut data = format!("{}/s", show_bytes(kind.bytes_per_second));
    if kind.frames > 0 {
        data += &format!(" in {} frames", kind.frames);
    }
    data
}

fn reasons(kind: &KindReport) -> String {
    let mut reasons: Vec<_> = kind.reasons.iter().collect();
    reasons.sort_by_key(|(_, reason)| std::cmp::Reverse(reason.count));
    let mut text = format!("\nerrors of {}:\n", kind.name);
    for (code, reason) in reasons {
        text += &printable(&format!("  {:>8}  {code}: {}", reason.count, reason.text));
        text.push('\n');
    }
    text
}

fn processes(report: &Report) -> String {
    let each = match report.scenario.as_str() {
        "mixed" => "operation",
        "record" => "write",
        scenario => scenario,
    };
    let one = |name: &str, process: &ProcessReport| {
        let who = process.process.clone().unwrap_or_default();
        let each_took = process.cpu_micros_per_operation.map_or_else(|| "-".to_owned(), show_micros);
        vec![
            printable(&format!("{name} CPU {who}")),
            format!("{each_took} per {each}"),
            format!("{} s in all", process.cpu_seconds.map_or_else(|| "-".to_owned(), three_digits)),
            process
                .resident_bytes
                .map_or_else(String::new, |bytes| format!("{} resident", show_bytes(bytes as f64))),
            process.threads.map_or_else(String::new, |threads| format!("{threads} threads")),
        ]
    };
    let both = [("server", &report.server), ("client", &report.client)];
    let known = both.iter().filter(|(_, process)| process.unknown.is_none());
    let mut text = table(&known.map(|(name, process)| one(name, process)).collect::<Vec<_>>());
    for (name, process) in both {
        if let Some(unknown) = &process.unknown {
            // Its length is not one that columns go by.
            let who = process.process.as_ref().map_or_else(String::new, |who| format!(" {who}"));
            text += &printable(&format!("{name} CPU{who}: unknown: {unknown}"));
            text.push('\n');
        }
    }
    let moved: u64 = report.kinds.iter().filter(|kind| kind.name == "record").map(|kind| kind.bytes).sum();
    if let (Some(cpu), true) = (report.client.cpu_seconds, moved > 0 && report.scenario == "record") {
        let per_gigabyte = cpu / (moved as f64 / 1e9);
        text +=
            &format!("client CPU, both ends of each connection: {} s per GB\n", three_digits(per_gigabyte));
    }
    text
}

fn expectations(report: &Report) -> String {
    let line = |verdict: &super::Verdict| {
        let held = if verdict.held { "as expected" } else { "BROKEN" };
        vec![held.to_owned(), printable(&verdict.expectation), verdict.measured.clone()]
    };
    table(&report.expectations.iter().map(line).collect::<Vec<_>>())
}

/// Rows under each other in columns, each as wide as its widest cell; the first to the left, numbers to the right.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column == 0 { format!("{cell:width$}") } else { format!("{cell:>width$}") }
        });
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

/// Control characters escaped: what a server says moves no cursor.
pub(crate) fn printable(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for char in text.chars() {
        if char.is_control() { line.extend(char.escape_default()) } else { line.push(char) }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{
        compare::{self, TOLERANCE},
        tests::{mixed, report},
    };

    #[test]
    fn a_result_tells_its_figures() {
        let text = write(&report());
        for part in [
            "handshake (side=both) at 127.0.0.1:8080: open loop, 100/s, at most 16 at once, 1 connection",
            "once begun",
            "peer_closed",
            "3 operations were due and never begun",
            "500 us per handshake",
            "4711 (altsd)",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(text.lines().all(|line| line == line.trim_end()));
    }

    #[test]
    fn each_kind_has_its_line_and_an_unread_process_its_reason() {
        let mut report = mixed();
        report.server.unknown = Some("it is on another machine".to_owned());
        let text = write(&report);
        for part in ["\nall ", "\nhandshake ", "\ntoken ", "unknown: it is on another machine"] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(text.contains("(alts-loadtest)  250 us per"), "the reason has moved a column\n{text}");
    }

    #[test]
    fn what_a_server_says_moves_no_cursor() {
        let mut report = report();
        let reason = report.kinds[0].reasons.values_mut().next().expect("there is one");
        reason.text = "\u{1b}[2Jgone\n".to_owned();
        let text = write(&report);
        assert!(!text.contains('\u{1b}') && text.contains("[2Jgone"), "{text}");
    }

    #[test]
    fn a_comparison_ends_with_its_verdict() {
        let comparison = compare::compare(&report(), &report(), TOLERANCE).expect("they can be compared");
        let text = write_comparison(&comparison);
        assert!(text.starts_with("  ") && text.contains("BASELINE"), "{text}");
        assert!(text.ends_with("verdict: the same, within 10.0 %\n"), "{text}");
    }

    #[test]
    fn a_run_that_measured_nothing_has_a_report() {
        let mut report = report();
        report.kinds.clear();
        report.server.cpu_micros_per_operation = None;
        assert!(write(&report).contains("server CPU"));
    }
}
