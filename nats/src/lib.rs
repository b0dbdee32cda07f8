//! The contract between Moliceiro's services.
//!
//! Services never call each other. They share subjects, streams and messages, all of which are
//! named here and nowhere else.
//!
//! In the order in which a service uses them:
//!
//! - [`embedded`] runs a private `nats-server` as a child process, for `moliceiro run`.
//! - [`mod@connect`] connects to a server, and checks its version and features.
//! - [`permissions`] reports what the server denies a connection.
//! - [`subjects`] names every subject, stream, consumer and bucket.
//! - [`streams`] creates them, and refuses ones that were created differently.
//! - [`messages`] are what is published: CBOR between services, JSON for people and other programs.
//! - [`publish`] stores a message: it waits out full streams and lost connections.
//! - [`storage`] notices that the server's disk was full.
//! - [`inspection`] reports what an operator wants to know about a server.
//! - [`objects`] stores the bytes of uploads, and [`models`] the models, by name.
//! - [`dead`] dead-letters a frame that cannot be analysed, and replays dead letters.
//! - [`videos`] reads and cancels videos, and writes their entries.
//! - `audit.rs` records who changed what.
//! - [`work`] measures how long the frames in the queue take.
//! - [`backup`] copies everything to another server.
//! - [`detections`](mod@detections) reads the objects found in each frame.

mod audit;
mod backoff;
pub mod backup;
pub mod connect;
pub mod dead;
pub mod detections;
mod direct;
pub mod embedded;
pub mod inspection;
pub mod models;
pub mod objects;
pub mod permissions;
pub mod publish;
pub mod storage;
pub mod streams;
pub mod subjects;
mod temporary_consumer;
pub mod videos;
pub mod work;

pub use backoff::backoff;
pub use connect::{ConnectError, NatsSettings, Patience, connect, connect_reporting};
pub use detections::{DetectionsError, StoredResult, stored_results};
pub use direct::ReadError;
pub use models::{Models, ModelsError};
pub use moliceiro_messages as messages;
pub use moliceiro_messages::{InvalidVideoId, VideoId};
pub use permissions::{PermissionDenied, Permissions};
pub use streams::{DetectorsConsumer, OpenStreams, Streams, StreamsError, StreamsSettings};
pub use temporary_consumer::TemporaryConsumer;
pub use videos::{KnownVideo, StoredEntry, VideoChange, VideoError, Videos, WriteError};
