use std::io::{self, Write};

use moliceiro_nats::messages::{Alarm, Summary, VideoState, to_json};
use tracing::error;

use crate::OutputFormat;

/// What an aggregator has published.
#[derive(Clone, Copy, Debug)]
pub enum Publication<'a> {
    /// A rule came true.
    Alarm(&'a Alarm),
    /// A video is finished.
    Summary(&'a Summary),
}

/// What a publication is to standard output in this format.
pub fn printer(format: OutputFormat) -> fn(Publication<'_>) {
    match format {
        OutputFormat::Text => print_text,
        OutputFormat::Json => print_json,
        OutputFormat::None => |_| {},
    }
}

/// Prints the lines for people. The summary of a video without a frame has none.
fn print_text(publication: Publication<'_>) {
    match publication {
        Publication::Alarm(alarm) => print(&alarm.to_string()),
        Publication::Summary(Summary { state: VideoState::Failed, .. }) => {}
        Publication::Summary(summary) => print(&summary.to_string()),
    }
}

/// Prints a summary as one line of JSON. It says how many alarms there were: each line is of the same kind.
fn print_json(publication: Publication<'_>) {
    if let Publication::Summary(summary) = publication {
        print(&String::from_utf8_lossy(&to_json(summary)));
    }
}

fn print(text: &str) {
    let mut out = io::stdout().lock();
    if let Err(error) = writeln!(out, "{text}").and_then(|()| out.flush()) {
        error!(%error, "cannot write to standard output");
    }
}
