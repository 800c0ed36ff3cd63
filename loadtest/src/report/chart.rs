//! Two kinds of charts as SVG, drawn from values. All text goes through [`escape`]; colours are classes, which the page
//! around them defines.

use std::fmt::Write;

use crate::units::{show_micros, three_digits};

/// Size of a chart, in units of its own.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 320.0;

/// Room around the lines, for what is written at the axes.
const LEFT: f64 = 76.0;
const RIGHT: f64 = 34.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 44.0;

/// Lines of the vertical axis, at most.
const STEPS: f64 = 5.0;

/// Most points of a line: as many as there are pixels.
const MAX_POINTS: usize = 640;

/// One line of a chart.
pub(crate) struct Series {
    /// For the reader.
    pub(crate) name: String,
    /// A class of the page, which gives it its colour.
    pub(crate) class: &'static str,
    pub(crate) points: Vec<(f64, f64)>,
}

/// Latency by percentile. Towards the right each step is another nine: what one in ten, in a hundred, in a thousand waits.
/// Points are percentiles and microseconds.
pub(crate) fn latency(id: &str, title: &str, series: &[Series]) -> String {
    let placed: Vec<Series> = series.iter().map(placed_by_nines).collect();
    let right = largest(&placed, |point| point.0).max(1.0).ceil();
    let top = largest(&placed, |point| point.1);
    let mut chart = Chart::new(id, title, right, top);
    chart.horizontal_lines(show_micros);
    for nines in 0..=right as u32 {
        let label = match nines {
            0 => "0 %".to_owned(),
            1 => "90 %".to_owned(),
            nines => format!("99{}{} %", if nines > 2 { "." } else { "" }, "9".repeat(nines as usize - 2)),
        };
        chart.mark(f64::from(nines), &label);
    }
    chart.below("percentile: each step is ten times rarer");
    placed.iter().for_each(|line| chart.line(line));
    chart.finish()
}

/// Operations per second over the seconds of a run. Points are seconds and operations.
pub(crate) fn rate(id: &str, title: &str, series: &[Series]) -> String {
    let right = largest(series, |point| point.0).max(1.0);
    let mut chart = Chart::new(id, title, right, largest(series, |point| point.1));
    chart.horizontal_lines(|value| format!("{}/s", three_digits(value)));
    let step = nice_step(right, 8.0).max(1.0);
    let mut second = 0.0;
    while second <= right {
        chart.mark(second, &format!("{second:.0}"));
        second += step;
    }
    chart.below("seconds since the end of the warm-up");
    series.iter().for_each(|line| chart.line(line));
    chart.finish()
}

/// What would be read as markup, written so that it is read as text.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            char if char.is_control() && char != '\n' => escaped.extend(char.escape_default()),
            char => escaped.push(char),
        }
    }
    escaped
}

fn placed_by_nines(line: &Series) -> Series {
    let nines = |percentile: f64| -(1.0 - percentile.clamp(0.0, 99.999_999) / 100.0).log10();
    let points = line.points.iter().map(|(percentile, micros)| (nines(*percentile), *micros)).collect();
    Series { name: line.name.clone(), class: line.class, points }
}

fn largest(series: &[Series], coordinate: fn(&(f64, f64)) -> f64) -> f64 {
    series.iter().flat_map(|line| &line.points).map(coordinate).fold(0.0, f64::max)
}

/// A round distance, so that about `steps` of it reach `top`.
fn nice_step(top: f64, steps: f64) -> f64 {
    let raw = (top / steps).max(1e-9);
    let magnitude = 10_f64.powf(raw.log10().floor());
    let round = [1.0, 2.0, 5.0, 10.0].into_iter().find(|round| round * magnitude >= raw);
    round.unwrap_or(10.0) * magnitude
}

struct Chart {
    svg: String,
    /// The values at the right and at the top edge.
    right: f64,
    top: f64,
}

impl Chart {
    fn new(id: &str, title: &str, right: f64, top: f64) -> Self {
        let (id, title) = (escape(id), escape(title));
        let step = nice_step(top.max(1e-3), STEPS);
        let top = (top / step).ceil().max(1.0) * step;
        let svg = format!(
            "<svg role=\"img\" aria-labelledby=\"{id}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             xmlns=\"http://www.w3.org/2000/svg\"><title id=\"{id}\">{title}</title>\n"
        );
        Self { svg, right, top }
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + value / self.right * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - value / self.top * (HEIGHT - TOP - BOTTOM)
    }

    fn horizontal_lines(&mut self, label: impl Fn(f64) -> String) {
        let step = nice_step(self.top, STEPS);
        let mut value = 0.0;
        while value <= self.top * 1.000_001 {
            let y = self.y(value);
            let label = if value == 0.0 { "0".to_owned() } else { label(value) };
            self.push(format_args!(
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
                WIDTH - RIGHT,
                LEFT - 8.0,
                y + 4.0,
                escape(&label)
            ));
            value += step;
        }
    }

    /// A mark of the horizontal axis.
    fn mark(&mut self, value: f64, label: &str) {
        let (x, bottom) = (self.x(value), HEIGHT - BOTTOM);
        self.push(format_args!(
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{:.1}\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
            bottom + 4.0,
            bottom + 18.0,
            escape(label)
        ));
    }

    fn below(&mut self, text: &str) {
        self.push(format_args!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
            (LEFT + WIDTH - RIGHT) / 2.0,
            HEIGHT - 6.0,
            escape(text)
        ));
    }

    fn line(&mut self, series: &Series) {
        let every = series.points.len().div_ceil(MAX_POINTS).max(1);
        let points: Vec<_> = series
            .points
            .iter()
            .step_by(every)
            .map(|(x, y)| format!("{:.1},{:.1}", self.x(*x), self.y(*y)))
            .collect();
        self.push(format_args!(
            "<polyline class=\"{}\" points=\"{}\"><title>{}</title></polyline>\n",
            escape(series.class),
            points.join(" "),
            escape(&series.name)
        ));
    }

    fn push(&mut self, part: std::fmt::Arguments<'_>) {
        self.svg.write_fmt(part).expect("a string takes all");
    }

    fn finish(self) -> String {
        self.svg + "</svg>\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_becomes_text() {
        let cases = [
            ("<script>alert('x')</script>", "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"),
            ("\" onload=\"x", "&quot; onload=&quot;x"),
            ("a & b &amp;", "a &amp; b &amp;amp;"),
            ("\u{0}\u{1b}[2J", "\\u{0}\\u{1b}[2J"),
            ("ä → 5 µs", "ä → 5 µs"),
        ];
        for (text, escaped) in cases {
            assert_eq!(escape(text), escaped);
        }
    }

    fn series(points: &[(f64, f64)]) -> Vec<Series> {
        vec![Series { name: "<now>".to_owned(), class: "now", points: points.to_vec() }]
    }

    #[test]
    fn each_nine_is_as_wide_as_the_last() {
        let line = series(&[(0.0, 1.0), (90.0, 2.0), (99.0, 3.0), (99.9, 4.0)]);
        let placed = placed_by_nines(&line[0]);
        for (nines, (x, _)) in placed.points.iter().enumerate() {
            assert!((x - nines as f64).abs() < 1e-6, "{x}");
        }
        let svg = latency("c", "a <title>", &line);
        assert!(
            svg.contains("99.9 %") && svg.contains("a &lt;title&gt;") && svg.contains("&lt;now&gt;"),
            "{svg}"
        );
    }

    #[test]
    fn lines_stay_in_the_chart_whatever_the_values() {
        let cases: [&[(f64, f64)]; 6] = [
            &[],
            &[(50.0, 0.0)],
            &[(50.0, 1e-3)],
            &[(50.0, 3e8), (100.0, 3e8)],
            &[(0.0, 1.0), (99.999_999_999, 2.0)],
            &[(10.0, 99.9), (20.0, 100.1)],
        ];
        for points in cases {
            for svg in [latency("c", "t", &series(points)), rate("c", "t", &series(points))] {
                let drawn =
                    svg.split("points=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a line");
                for pair in drawn.split_whitespace() {
                    let (x, y) = pair.split_once(',').expect("two numbers");
                    let (x, y): (f64, f64) = (x.parse().expect("a number"), y.parse().expect("a number"));
                    assert!((LEFT..=WIDTH - RIGHT + 0.1).contains(&x), "{points:?} {x}");
                    assert!((TOP - 0.1..=HEIGHT - BOTTOM + 0.1).contains(&y), "{points:?} {y}");
                }
            }
        }
    }

    #[test]
    fn a_long_run_is_drawn_with_few_points() {
        let points: Vec<_> = (0..86_400).map(|second| (f64::from(second), 5.0)).collect();
        let svg = rate("c", "t", &series(&points));
        assert!(svg.len() < 40_000 && svg.matches("<text").count() < 40, "{}", svg.len());
    }
}
