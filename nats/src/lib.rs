//! The contract between Moliceiro's services.
//!
//! Services never call each other: they meet in the subjects, streams and messages that are named
//! here, and only here.
//!
//! - [`subjects`] names every subject, stream, consumer and bucket, and the identity of a video.
//! - [`streams`] creates them, and refuses to work on ones that were created differently.
//! - [`messages`] is what travels: CBOR between services, JSON for people and other programs.
//! - [`mod@connect`] reaches a server and checks that it can do the work.
//! - [`videos`] reads videos: entries, changes, how a video started.
//! - [`objects`] holds the bytes of uploads.
//! - [`publish`] stores a message, waiting out full streams and lost connections.
//! - [`dead`] gives up a frame.
//! - [`detections`](mod@detections) reads back what was found in each frame.
//! - [`embedded`] runs a private `nats-server` as a child process.

pub mod connect;
pub mod dead;
pub mod detections;
mod direct;
pub mod embedded;
pub mod objects;
pub mod publish;
pub mod streams;
pub mod subjects;
pub mod videos;

pub use connect::{ConnectError, NatsSettings, Patience, connect};
pub use moliceiro_messages as messages;
pub use moliceiro_messages::{InvalidVideoId, VideoId};
pub use streams::{Streams, StreamsError, StreamsSettings};
pub use videos::{KnownVideo, StoredEntry, VideoChange, VideoError, Videos};
