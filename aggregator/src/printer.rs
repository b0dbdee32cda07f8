//! Prints on a thread of its own: a slow reader of standard output must not stop the counting.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use tracing::{error, warn};

use crate::output::{Printed, Publication};
use crate::settings::OutputFormat;

/// Lines that wait for the reader of standard output. Further lines are not printed.
const MAX_WAITING: usize = 1_000;
/// How long the end waits for the last lines to be read.
const LAST_LINES_TIMEOUT: Duration = Duration::from_secs(1);

/// Prints publications to standard output in this format, on a thread of its own.
///
/// Fails if the system cannot start a thread. Dropping the returned closure waits up to a second
/// for the last lines.
pub fn printer(format: OutputFormat) -> io::Result<impl FnMut(Publication<'_>) + Send> {
    let printer = Printer::start(io::stdout())?;
    Ok(move |publication: Publication<'_>| {
        // A service logs what is in `Printed::stderr`.
        if let Some(text) = Printed::of(publication, format).stdout {
            printer.print(text);
        }
    })
}

struct Printer {
    lines: Option<SyncSender<String>>,
    done: Receiver<()>,
}

impl Printer {
    fn start(mut out: impl Write + Send + 'static) -> io::Result<Self> {
        let (lines, waiting) = sync_channel::<String>(MAX_WAITING);
        let (ended, done) = sync_channel(1);
        thread::Builder::new().name("printer".into()).spawn(move || {
            for line in waiting {
                if let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush()) {
                    error!(%error, "cannot write to standard output");
                }
            }
            // The receiver is dropped if this took too long.
            ended.send(()).ok();
        })?;
        Ok(Self { lines: Some(lines), done })
    }

    fn print(&self, line: String) {
        if let Some(lines) = &self.lines
            && lines.try_send(line).is_err()
        {
            warn!("standard output is not read: a line is not printed");
        }
    }
}

impl Drop for Printer {
    fn drop(&mut self) {
        self.lines = None;
        if self.done.recv_timeout(LAST_LINES_TIMEOUT).is_err() {
            warn!("standard output is not read: the last lines are not printed");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    /// There are more lines than the socket and the queue together hold.
    #[test]
    fn unread_lines_stop_nothing_and_those_read_later_are_in_order() {
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
            numbers.is_sorted() && numbers.len() >= MAX_WAITING && numbers.len() < LINES,
            "{}",
            numbers.len()
        );
    }
}
