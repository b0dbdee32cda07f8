use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use moliceiro_nats::messages::{Alarm, Summary, VideoState, to_json};
use tracing::{error, warn};

use crate::OutputFormat;

/// Lines that wait for a reader of standard output. What comes when there are more is not printed:
/// it must not stop the counting.
const MOST_WAITING: usize = 1_000;
/// How long the last lines are waited for at the end.
const LAST_LINES: Duration = Duration::from_secs(1);

/// What an aggregator has published.
#[derive(Clone, Copy, Debug)]
pub enum Publication<'a> {
    /// A rule came true.
    Alarm(&'a Alarm),
    /// A video is finished.
    Summary(&'a Summary),
}

/// Prints publications to standard output in this format, on a thread of its own.
///
/// Errors when the system gives no thread. Dropping it waits a moment for the last lines.
pub fn printer(format: OutputFormat) -> io::Result<impl FnMut(Publication<'_>) + Send> {
    let line: fn(Publication<'_>) -> Option<String> = match format {
        OutputFormat::Text => text,
        OutputFormat::Json => json,
        OutputFormat::None => |_| None,
    };
    let printer = Printer::start(io::stdout())?;
    Ok(move |publication: Publication<'_>| {
        if let Some(line) = line(publication) {
            printer.print(line);
        }
    })
}

/// The line for people. The summary of a video without a frame has none.
fn text(publication: Publication<'_>) -> Option<String> {
    match publication {
        Publication::Alarm(alarm) => Some(alarm.to_string()),
        Publication::Summary(Summary { state: VideoState::Failed, .. }) => None,
        // What is in a live source is in the summaries of its windows.
        Publication::Summary(Summary { live: Some(_), .. }) => None,
        Publication::Summary(summary) => Some(summary.to_string()),
    }
}

/// A summary as one line of JSON. It says how many alarms there were: each line is of the same
/// kind.
fn json(publication: Publication<'_>) -> Option<String> {
    match publication {
        Publication::Alarm(_) => None,
        Publication::Summary(summary) => {
            Some(String::from_utf8_lossy(&to_json(summary)).into_owned())
        }
    }
}

/// A thread that writes lines: who reads them may be slow, or not read at all.
struct Printer {
    lines: Option<SyncSender<String>>,
    done: Receiver<()>,
}

impl Printer {
    fn start(mut out: impl Write + Send + 'static) -> io::Result<Self> {
        let (lines, waiting) = sync_channel::<String>(MOST_WAITING);
        let (ended, done) = sync_channel(1);
        thread::Builder::new().name("printer".into()).spawn(move || {
            for line in waiting {
                if let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush()) {
                    error!(%error, "cannot write to standard output");
                }
            }
            // Nobody waits any more when it took too long.
            let _ = ended.send(());
        })?;
        Ok(Self { lines: Some(lines), done })
    }

    fn print(&self, line: String) {
        if let Some(lines) = &self.lines
            && lines.try_send(line).is_err()
        {
            warn!("nobody reads standard output: a line is not printed");
        }
    }
}

impl Drop for Printer {
    fn drop(&mut self) {
        self.lines = None;
        if self.done.recv_timeout(LAST_LINES).is_err() {
            warn!("nobody reads standard output: the last lines are not printed");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    /// More than the socket and the queue together hold.
    #[test]
    fn lines_that_nobody_reads_stop_nothing_and_come_in_order_when_somebody_does() {
        const LINES: usize = 5_000;
        let (mut reader, writer) = UnixStream::pair().unwrap();
        let printer = Printer::start(writer).unwrap();
        for n in 0..LINES {
            printer.print(format!("{n:0>1000}"));
        }
        let reading = thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            text
        });
        drop(printer);
        let text = reading.join().unwrap();
        let numbers: Vec<usize> = text.lines().map(|line| line.parse().unwrap()).collect();
        assert!(
            numbers.is_sorted() && numbers.len() >= MOST_WAITING && numbers.len() < LINES,
            "{}",
            numbers.len()
        );
    }
}
