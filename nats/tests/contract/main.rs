//! What Moliceiro's services rely on: messages as documented, streams, publishing and readers.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod asyncapi;
mod batches;
mod models;
mod server;
mod storage;
mod support;
mod videos;
