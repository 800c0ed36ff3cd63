//! The form for a browser: one page that needs nothing else, in light and dark.

use std::fmt::Write;

use super::{
    KindReport, ProcessReport, Report,
    chart::{self, Series, escape},
    compare::Comparison,
    text,
};
use crate::units::{show_bytes, show_micros, three_digits};

/// What goes around the page. No script, no font, no picture: nothing is loaded.
const HEAD: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">";

const STYLE: &str = "<style>
:root{color-scheme:light dark;--ground:#fff;--text:#1b1f24;--soft:#59636e;--line:#d1d9e0;--now:#0550ae;--before:#bc4c00;--bad:#b3111c;--good:#116329}
@media(prefers-color-scheme:dark){:root{--ground:#0d1117;--text:#e6edf3;--soft:#9198a1;--line:#3d444d;--now:#58a6ff;--before:#f0883e;--bad:#ff7b72;--good:#56d364}}
body{background:var(--ground);color:var(--text);font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}p{margin:.4rem 0}
.soft{color:var(--soft)}.bad{color:var(--bad);font-weight:600}.good{color:var(--good);font-weight:600}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .7rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child,.text td{text-align:left}.text td{white-space:normal}th{font-weight:600;color:var(--soft)}
svg{display:block;width:100%;height:auto;max-width:54rem}svg text{fill:var(--soft);font:11px system-ui,sans-serif}
.grid{stroke:var(--line);stroke-width:1}polyline{fill:none;stroke-width:2;stroke-linejoin:round}
polyline.now{stroke:var(--now)}polyline.before{stroke:var(--before);stroke-dasharray:7 4}polyline.service{stroke:var(--now);stroke-width:1;stroke-dasharray:2 3}
.key{display:flex;gap:1.2rem;margin:.3rem 0}.key span::before{content:'';display:inline-block;width:1.4rem;margin-right:.4rem;vertical-align:middle;border-top:2px solid var(--now)}
.key .before::before{border-top:2px dashed var(--before)}.key .service::before{border-top:1px dotted var(--now)}
code{font:13px/1.4 ui-monospace,monospace;overflow-wrap:anywhere}
</style>";

/// The page of a result, with its baseline if there is one.
pub(crate) fn write(report: &Report, baseline: Option<(&Report, &Comparison)>) -> String {
    let mut page = Page(String::with_capacity(64 << 10));
    page.add(format_args!(
        "{HEAD}<title>{} at {} - alts-loadtest</title>{STYLE}</head><body><main>\n",
        escape(&report.scenario),
        escape(&report.targets.join(" and "))
    ));
    page.opening(report);
    page.expectations(report);
    page.add(format_args!("<h2>Operations</h2>\n"));
    page.table("", &text::rows(report));
    page.charts(report, baseline.map(|(before, _)| before));
    if let Some((_, comparison)) = baseline {
        page.comparison(comparison);
    }
    page.reasons(report);
    page.processes(report);
    page.about(report);
    page.0 + "</main></body></html>\n"
}

struct Page(String);

impl Page {
    fn add(&mut self, part: std::fmt::Arguments<'_>) {
        self.0.write_fmt(part).expect("a string takes all");
    }

    fn opening(&mut self, report: &Report) {
        let load = match report.load.rate {
            Some(rate) => {
                format!("Open loop, {}/s, at most {} at once", three_digits(rate), report.load.workers)
            }
            None => format!("Closed loop, {} workers", report.load.workers),
        };
        self.add(format_args!(
            "<h1>{} at {}</h1>\n<p class=\"soft\">{}, {} s after {} s of warm-up, begun {}</p>\n",
            escape(&report.scenario),
            escape(&report.targets.join(" and ")),
            escape(&load),
            three_digits(report.elapsed_seconds),
            three_digits(report.load.warm_up_seconds),
            escape(&report.started),
        ));
        if report.interrupted {
            self.add(format_args!("<p class=\"bad\">This run was ended early.</p>\n"));
        }
        if report.unstarted > 0 {
            self.add(format_args!(
                "<p class=\"bad\">{} operations were due and never begun: the server does not keep up, or there are too \
                 few workers.</p>\n",
                report.unstarted
            ));
        }
    }

    fn expectations(&mut self, report: &Report) {
        if report.expectations.is_empty() {
            return;
        }
        self.add(format_args!("<h2>Expectations</h2>\n<div class=\"scroll\"><table class=\"text\">"));
        self.add(format_args!("<tr><th scope=\"col\">Expected</th><th>Measured</th><th></th></tr>"));
        for verdict in &report.expectations {
            let (class, word) = if verdict.held { ("good", "as expected") } else { ("bad", "broken") };
            self.add(format_args!(
                "<tr><td>{}</td><td>{}</td><td class=\"{class}\">{word}</td></tr>",
                escape(&verdict.expectation),
                escape(&verdict.measured)
            ));
        }
        self.add(format_args!("</table></div>\n"));
    }

    /// A table whose first row is its header.
    fn table(&mut self, class: &str, rows: &[Vec<String>]) {
        self.add(format_args!("<div class=\"scroll\"><table class=\"{class}\">\n"));
        for (number, row) in rows.iter().enumerate() {
            self.add(format_args!("<tr>"));
            for cell in row {
                let cell = escape(cell);
                match number {
                    0 => self.add(format_args!("<th scope=\"col\">{cell}</th>")),
                    _ => self.add(format_args!("<td>{cell}</td>")),
                }
            }
            self.add(format_args!("</tr>\n"));
        }
        self.add(format_args!("</table></div>\n"));
    }

    fn charts(&mut self, report: &Report, before: Option<&Report>) {
        for (number, kind) in report.kinds.iter().enumerate() {
            let earlier =
                before.and_then(|before| before.kinds.iter().find(|earlier| earlier.name == kind.name));
            let series = curves(kind, earlier);
            if series.is_empty() {
                continue;
            }
            let title = format!("Latency of {} by percentile", kind.name);
            self.add(format_args!("<h2>{}</h2>\n", escape(&title)));
            self.key(&series);
            self.0 += &chart::latency(&format!("latency-{number}"), &title, &series);
        }
        let over_time = |report: &Report, name: &str, class| {
            // In what is left of a second, and behind the end, few operations end.
            let whole = (report.load.duration_seconds as usize).max(1);
            let points = report.per_second.iter().take(whole).enumerate();
            let points = points.map(|(second, count)| (second as f64, *count as f64)).collect();
            Series { name: name.to_owned(), class, points }
        };
        let mut series: Vec<_> =
            before.iter().map(|before| over_time(before, "baseline", "before")).collect();
        series.push(over_time(report, "this run", "now"));
        self.add(format_args!("<h2>Operations per second over time</h2>\n"));
        self.key(&series);
        self.0 += &chart::rate("rate", "Operations per second over time", &series);
    }

    /// What the lines of a chart are.
    fn key(&mut self, series: &[Series]) {
        self.add(format_args!("<div class=\"key\">"));
        for line in series {
            self.add(format_args!("<span class=\"{}\">{}</span>", escape(line.class), escape(&line.name)));
        }
        self.add(format_args!("</div>\n"));
    }

    fn comparison(&mut self, comparison: &Comparison) {
        let class = if comparison.is_worse { "bad" } else { "good" };
        self.add(format_args!(
            "<h2>Against the baseline</h2>\n<p class=\"{class}\">{}</p>\n",
            escape(&comparison.verdict)
        ));
        for note in &comparison.notes {
            self.add(format_args!("<p class=\"soft\">{}</p>\n", escape(note)));
        }
        let header = ["", "Baseline", "Now", "Ratio"].map(str::to_owned).to_vec();
        let lines = comparison.lines.iter().map(|line| line.cells().to_vec());
        self.table("", &std::iter::once(header).chain(lines).collect::<Vec<_>>());
    }

    fn reasons(&mut self, report: &Report) {
        let mut rows = vec![["Kind", "Reason", "Count", "The first said"].map(str::to_owned).to_vec()];
        for kind in report.kinds.iter().filter(|kind| kind.name != "all") {
            let reasons = kind.reasons.iter();
            rows.extend(reasons.map(|(code, reason)| {
                vec![kind.name.clone(), code.clone(), reason.count.to_string(), reason.text.clone()]
            }));
        }
        if rows.len() > 1 {
            self.add(format_args!("<h2>Errors</h2>\n"));
            self.table("text", &rows);
        }
    }

    fn processes(&mut self, report: &Report) {
        let header = ["", "Process", "CPU per operation", "CPU in all", "Resident", "Threads"];
        let rows = [
            header.map(str::to_owned).to_vec(),
            process_row("Server", &report.server),
            process_row("Client", &report.client),
        ];
        self.add(format_args!("<h2>Processes</h2>\n"));
        self.table("", &rows);
        for process in [&report.server, &report.client] {
            if let Some(unknown) = &process.unknown {
                self.add(format_args!("<p class=\"soft\">{}</p>\n", escape(unknown)));
            }
        }
        if let Some(idle) = &report.idle {
            self.add(format_args!("<p>{}</p>\n", escape(&text::idle_line(idle))));
        }
    }

    fn about(&mut self, report: &Report) {
        self.add(format_args!(
            "<h2>About</h2>\n<p>{}, {} cores, Linux {}; alts-loadtest {}</p>\n<p class=\"soft\">{}</p>\n<p><code>{}</code></p>\n",
            escape(&report.machine.cpu),
            report.machine.cores,
            escape(&report.machine.kernel),
            escape(&report.version),
            escape(&report.load.settings.join(", ")),
            escape(&report.command.join(" "))
        ));
    }
}

fn curves(kind: &KindReport, before: Option<&KindReport>) -> Vec<Series> {
    let series = |name: &str, class, latency: Option<&super::Latency>| {
        latency.map(|latency| Series { name: name.to_owned(), class, points: latency.curve.clone() })
    };
    let earlier = before.and_then(|before| series("baseline", "before", before.latency.as_ref()));
    let service = series("once begun", "service", kind.service.as_ref());
    let now = series("this run", "now", kind.latency.as_ref());
    now.into_iter().chain(service).chain(earlier).collect()
}

fn process_row(name: &str, process: &ProcessReport) -> Vec<String> {
    let unknown = || "-".to_owned();
    vec![
        name.to_owned(),
        process.process.clone().unwrap_or_else(unknown),
        process.cpu_micros_per_operation.map_or_else(unknown, show_micros),
        process.cpu_seconds.map_or_else(unknown, |seconds| format!("{} s", three_digits(seconds))),
        process.resident_bytes.map_or_else(unknown, |bytes| show_bytes(bytes as f64)),
        process.threads.map_or_else(unknown, |threads| threads.to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{
        compare::{self, TOLERANCE},
        tests::{mixed, report},
    };

    #[test]
    fn a_page_loads_nothing_and_runs_nothing() {
        let report = report();
        let comparison = compare::compare(&report, &report, TOLERANCE).expect("they can be compared");
        let page = write(&report, Some((&report, &comparison)));
        for word in ["<script", "<link", "<img", "<iframe", "@import", "url(", "href=", "src=\"", "onload"] {
            assert!(!page.contains(word), "{word}");
        }
        // The name of a namespace is the only address.
        assert_eq!(
            page.matches("http://").count(),
            page.matches("xmlns=\"http://www.w3.org/2000/svg\"").count()
        );
        assert!(!page.contains("https://"));
    }

    #[test]
    fn all_that_others_may_say_is_text() {
        let evil = "</code><script>\"'&";
        let mut report = mixed();
        report.targets = vec![evil.to_owned()];
        report.command = vec![evil.to_owned()];
        report.scenario = evil.to_owned();
        report.started = evil.to_owned();
        report.version = evil.to_owned();
        report.machine.cpu = evil.to_owned();
        report.machine.kernel = evil.to_owned();
        report.load.settings = vec![evil.to_owned()];
        report.server.process = Some(evil.to_owned());
        report.client.unknown = Some(evil.to_owned());
        report.expectations = vec![super::super::Verdict {
            expectation: evil.to_owned(),
            measured: evil.to_owned(),
            held: false,
        }];
        for kind in &mut report.kinds {
            kind.name = evil.to_owned();
            let reason = super::super::ReasonReport { count: 1, text: evil.to_owned() };
            kind.reasons.insert(evil.to_owned(), reason);
        }
        let comparison = compare::compare(&report, &report, TOLERANCE).expect("they can be compared");
        let page = write(&report, Some((&report, &comparison)));
        assert!(!page.contains("<script") && page.contains("&lt;script&gt;"));
    }

    #[test]
    fn the_baseline_is_drawn_beside_the_run() {
        let report = report();
        let comparison = compare::compare(&report, &report, TOLERANCE).expect("they can be compared");
        let page = write(&report, Some((&report, &comparison)));
        assert_eq!(page.matches("<polyline class=\"before\"").count(), 2);
        assert!(page.contains("the same, within 10.0 %"));
        assert_eq!(write(&report, None).matches("<polyline class=\"before\"").count(), 0);
    }

    #[test]
    fn a_run_that_measured_nothing_has_a_page() {
        let mut report = report();
        report.kinds.clear();
        report.per_second.clear();
        let page = write(&report, None);
        assert!(page.ends_with("</html>\n") && page.contains("Operations per second"));
    }
}
