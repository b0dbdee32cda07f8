use std::io::{self, Write};

use moliceiro_nats::messages::{Summary, VideoState, to_json};
use tracing::error;

use crate::OutputFormat;

/// What a summary is to standard output in this format.
pub fn printer(format: OutputFormat) -> fn(&Summary) {
    match format {
        OutputFormat::Text => print_text,
        OutputFormat::Json => print_json,
        OutputFormat::None => |_| {},
    }
}

/// Prints the lines for people. A video without a frame has none.
pub fn print_text(summary: &Summary) {
    if summary.state != VideoState::Failed {
        print(&summary.to_string());
    }
}

/// Prints the summary as one line of JSON.
pub fn print_json(summary: &Summary) {
    print(&String::from_utf8_lossy(&to_json(summary)));
}

fn print(text: &str) {
    let mut out = io::stdout().lock();
    if let Err(error) = writeln!(out, "{text}").and_then(|()| out.flush()) {
        error!(%error, "cannot write to standard output");
    }
}
