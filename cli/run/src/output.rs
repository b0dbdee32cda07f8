use std::io::{self, Write};

use moliceiro_aggregator::{OutputFormat, Publication};
use moliceiro_nats::messages::{Summary, VideoState, to_json};

/// What a publication prints on standard output; `None` if it prints nothing.
// The same rules are private in moliceiro-aggregator's `output.rs`; use those once they are public.
pub(crate) fn line(format: OutputFormat, publication: Publication<'_>) -> Option<String> {
    match (format, publication) {
        (OutputFormat::None, _) => None,
        (OutputFormat::Text, Publication::Alarm(alarm)) => Some(alarm.to_string()),
        (OutputFormat::Text, Publication::Summary(summary)) => text(summary),
        // Each line is a summary, which has the number of alarms in it.
        (OutputFormat::Json, Publication::Alarm(_)) => None,
        (OutputFormat::Json, Publication::Summary(summary)) => {
            Some(String::from_utf8_lossy(&to_json(summary)).into_owned())
        }
    }
}

fn text(summary: &Summary) -> Option<String> {
    // The objects of a live source are in the summaries of its windows.
    let has_totals = summary.state != VideoState::Failed && summary.live.is_none();
    has_totals.then(|| summary.to_string())
}

/// Writes a line to standard output at once.
pub(crate) fn print(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
