//! Decodes a source that has no end of its own, and cuts it into windows.
//!
//! A live source produces frames at its own pace. So nothing here waits for a consumer: a frame
//! that does not fit into the queue is dropped, and counted.
//!
//! The path of a frame: `stream` connects GStreamer to the source (`rtsp`, `mjpeg`) and queues
//! decoded frames; the thread in `connection` receives them, and opens and ends windows by the
//! clock; `window` passes a frame to the same `output` as that of a file.

mod connection;
mod disconnected;
mod drop_counter;
mod mjpeg;
mod origin;
mod rtsp;
mod stream;
mod window;

pub use connection::{Connection, connect};
pub use disconnected::Disconnected;
pub use origin::LiveOrigin;
pub use window::Window;
