//! What users of the decoder rely on, with videos that ffmpeg makes.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]
#![expect(clippy::cast_possible_truncation, reason = "test videos are small")]

mod asf;
mod avi;
mod codecs;
mod consumer;
mod containers;
mod cut;
mod errors;
mod fewer;
mod folder;
mod holes;
mod images;
mod incomplete;
mod interlaced;
mod matroska;
mod mp4;
mod pictures;
mod raw_streams;
mod selection;
mod stream_damage;
mod transport;
#[path = "../videos/mod.rs"]
mod videos;
