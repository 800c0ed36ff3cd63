//! What a user sees while a run goes on, on standard error.

use std::{io::IsTerminal, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::units::three_digits;

/// When progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Mode {
    /// A bar if standard error is a terminal
    Auto,
    /// A bar, or a line each second if standard error is no terminal
    Always,
    /// Nothing
    Never,
}

/// Shows how a run goes.
pub(crate) struct Progress {
    shown: Shown,
    total: Duration,
    /// When it was shown last, and what had been done.
    last: (Duration, u64),
}

enum Shown {
    Bar(ProgressBar),
    /// The next second that gets a line.
    Lines(u64),
    Nothing,
}

impl Progress {
    /// For a run of so long.
    pub(crate) fn new(mode: Mode, total: Duration) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let shown = match mode {
            Mode::Never => Shown::Nothing,
            Mode::Auto | Mode::Always if is_terminal => Shown::Bar(bar(total)),
            Mode::Auto => Shown::Nothing,
            Mode::Always => Shown::Lines(0),
        };
        Self { shown, total, last: (Duration::ZERO, 0) }
    }

    /// At this time since the beginning of the run, so many operations have succeeded and failed.
    pub(crate) fn show(&mut self, phase: &str, at: Duration, done: u64, failed: u64) {
        let since = at.saturating_sub(self.last.0).as_secs_f64();
        let rate = if since > 0.0 { done.saturating_sub(self.last.1) as f64 / since } else { 0.0 };
        let text = format!("{phase}, {}/s, {failed} errors", three_digits(rate));
        match &mut self.shown {
            Shown::Bar(bar) => {
                bar.set_position(millis(at.min(self.total)));
                bar.set_message(text);
            }
            Shown::Lines(next) if at.as_secs() >= *next => {
                *next = at.as_secs() + 1;
                eprintln!("{} of {} s: {text}", at.as_secs(), self.total.as_secs());
            }
            Shown::Lines(_) => return,
            Shown::Nothing => {}
        }
        self.last = (at, done);
    }

    /// Takes it away.
    pub(crate) fn finish(self) {
        if let Shown::Bar(bar) = self.shown {
            bar.finish_and_clear();
        }
    }
}

fn bar(total: Duration) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(millis(total)), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{wide_bar} {percent}% {msg}").expect("it is a template");
    bar.with_style(style)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
