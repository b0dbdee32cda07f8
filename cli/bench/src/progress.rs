//! Shows on standard error how far the benchmark is: a bar on a terminal, a line for each step
//! elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

const TICK_INTERVAL: Duration = Duration::from_millis(200);

/// Counts the steps of all measurements.
pub(crate) struct Progress {
    bar: ProgressBar,
    terminal: bool,
}

impl Progress {
    pub(crate) fn new(steps: u64) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = if terminal { ProgressBar::no_length() } else { ProgressBar::hidden() };
        bar.set_length(steps);
        bar.set_style(
            ProgressStyle::with_template("{bar:20} {pos}/{len} {elapsed} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        bar.enable_steady_tick(TICK_INTERVAL);
        Self { bar, terminal }
    }

    /// Starts a step; `what` describes it.
    pub(crate) fn begin(&self, what: &str) {
        if !self.terminal {
            let (step, steps) = (self.bar.position() + 1, self.bar.length().unwrap_or(0));
            eprintln!("{step}/{steps}: {what}");
        }
        self.bar.set_prefix(what.to_owned());
        self.bar.set_message(what.to_owned());
    }

    /// Adds steps to those that were announced.
    pub(crate) fn expect(&self, steps: u64) {
        self.bar.inc_length(steps);
    }

    /// Shows how many frames of the current step are done.
    pub(crate) fn frames(&self, frames: u64) {
        self.bar.set_message(format!("{}: {frames} frames", self.bar.prefix()));
    }

    /// Finishes the current step.
    pub(crate) fn done(&self) {
        self.bar.inc(1);
    }

    pub(crate) fn close(&self) {
        self.bar.finish_and_clear();
    }
}
