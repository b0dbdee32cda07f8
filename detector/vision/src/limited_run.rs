//! Runs of a model that end.

use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use ort::session::{RunOptions, Session, SessionInputValue, SessionOutputs};
use std::borrow::Cow;

use crate::frame_error::InferenceError;
use crate::session::failed;

/// A limit is waited for in so many parts. Each ends at once after a time in which this process was
/// stopped: only one of them is lost to that.
const PARTS: u32 = 60;

pub(crate) type Inputs<'a> = Vec<(Cow<'a, str>, SessionInputValue<'a>)>;

/// Runs the model, and gives it up after `limit`: ONNX Runtime then ends the run before its next
/// operator.
pub(crate) fn run<R>(
    session: &mut Session,
    inputs: Inputs<'_>,
    limit: Option<Duration>,
    read: impl FnOnce(SessionOutputs<'_>) -> R,
) -> Result<R, InferenceError> {
    let Some(limit) = limit else { return session.run(inputs).map(read).map_err(|e| failed(&e)) };
    let options = RunOptions::new().map_err(|error| failed(&error))?;
    thread::scope(|scope| {
        let options = &options;
        let (running, ended) = sync_channel(0);
        let watch = scope.spawn(move || {
            let is_over = expires(limit, &ended);
            // Without it, the run is waited for.
            is_over && options.terminate().is_ok()
        });
        let outputs = session.run_with_options(inputs, options);
        drop(running);
        let is_given_up = watch.join().unwrap_or(false);
        match outputs {
            Ok(outputs) => Ok(read(outputs)),
            Err(_) if is_given_up => Err(InferenceError::TooLong(limit)),
            Err(error) => Err(failed(&error)),
        }
    })
}

/// True if this process has waited for the whole limit.
fn expires(limit: Duration, ended: &Receiver<()>) -> bool {
    (0..PARTS).all(|_| ended.recv_timeout(limit / PARTS) == Err(RecvTimeoutError::Timeout))
}
