use std::io::{self, Write};

use moliceiro_nats::messages::{Alarm, Summary, VideoState, to_json};
use tracing::error;

use crate::OutputFormat;

/// What an aggregator has published.
#[derive(Clone, Copy, Debug)]
pub enum Report<'a> {
    /// A rule came true.
    Alarm(&'a Alarm),
    /// A video is finished.
    Summary(&'a Summary),
}

/// What a report is to standard output in this format.
pub fn printer(format: OutputFormat) -> fn(Report<'_>) {
    match format {
        OutputFormat::Text => print_text,
        OutputFormat::Json => print_json,
        OutputFormat::None => |_| {},
    }
}

/// Prints the lines for people. The summary of a video without a frame has none.
fn print_text(report: Report<'_>) {
    match report {
        Report::Alarm(alarm) => print(&alarm.to_string()),
        Report::Summary(Summary { state: VideoState::Failed, .. }) => {}
        Report::Summary(summary) => print(&summary.to_string()),
    }
}

/// Prints a summary as one line of JSON. It says how many alarms there were: each line is of the same kind.
fn print_json(report: Report<'_>) {
    if let Report::Summary(summary) = report {
        print(&String::from_utf8_lossy(&to_json(summary)));
    }
}

fn print(text: &str) {
    let mut out = io::stdout().lock();
    if let Err(error) = writeln!(out, "{text}").and_then(|()| out.flush()) {
        error!(%error, "cannot write to standard output");
    }
}
