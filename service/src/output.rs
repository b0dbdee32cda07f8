//! Standard output that its reader may close.

use std::io::{self, Write};

use thiserror::Error;

/// The reader of standard output is closed, as by `| head -1`. That is a normal end.
#[derive(Debug, Error)]
#[error("standard output is closed")]
struct OutputClosed;

/// Standard output. Its error says whether the reader has closed it: see [`is_output_closed`].
pub fn stdout() -> impl Write {
    Stdout(io::stdout())
}

/// Whether the cause of an error is that the reader of [`stdout`] has closed it. The closed end of
/// another connection does not count.
pub fn is_output_closed(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let carried = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        carried.is_some_and(|carried| carried.is::<OutputClosed>())
    })
}

struct Stdout(io::Stdout);

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(marked)
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes).map_err(marked)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(marked)
    }
}

fn marked(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => io::Error::new(io::ErrorKind::BrokenPipe, OutputClosed),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn only_the_closed_standard_output_is_a_normal_end() {
        let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
        let closed = Err::<(), _>(marked(broken())).context("cannot write the summary");
        assert!(is_output_closed(&closed.unwrap_err()));
        assert!(!is_output_closed(&broken().into()));
        assert!(!is_output_closed(&marked(io::ErrorKind::StorageFull.into()).into()));
    }
}
