//! Decodes each video in a process of its own: what happens in a plugin of GStreamer costs that
//! video only. Starting one takes longer than decoding a still picture, so a process that decoded
//! one without any trouble gets another job. If it fails then, a new process decodes that again.
//!
//! The parent's end is [`Workers`] (`pool`, `process`, `remote`, `watch`), the child's end is
//! [`serve`]. They speak `protocol`:
//!
//! 1. The parent starts its own program again, with a socket as standard input. The child prepares
//!    GStreamer and waits. One such process is always ready, so that a video need not wait for it.
//! 2. A job goes through the socket: the settings, the open file and the end of a pipe.
//! 3. The child decodes it as [`start`](crate::start) does, and writes frames into the pipe. The
//!    parent puts them into the channel of a [`Decoding`](crate::Decoding). A full channel makes
//!    the child wait, because the pipe is soon full too.
//! 4. After the outcome of a whole still picture, the child waits for another job. After that of
//!    anything else, or when nobody wants the frames any more, the parent ends it. If the pipe ends
//!    before the outcome, the child has crashed.
//!
//! After the job has arrived, the child opens nothing but the file that it was given (by its
//! descriptor, under `/proc/self/fd`) or, for a folder, the pictures in it, plugins of GStreamer
//! with their libraries, and what these look for: devices in `/dev`, files in `/proc` and `/sys`
//! about the processor, a temporary file for generated code. It needs no network.

mod child;
mod pool;
mod process;
mod protocol;
mod remote;
mod watch;

pub use child::serve;
pub use pool::Workers;
pub use process::WorkerCommand;
