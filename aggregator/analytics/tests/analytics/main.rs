//! What the engine promises whatever the order, repetition and batches of events.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]
#![expect(clippy::cast_possible_truncation, reason = "tests count in thousands")]

mod alarms;
mod counting;
mod films;
mod fold;
mod still;
mod timeline;

use moliceiro_analytics::VideoTotals;
use moliceiro_messages::{VideoEntry, VideoId, from_json, to_json};

/// In milliseconds since 1970-01-01 UTC.
const NOW: u64 = 1_700_000_010_000;

fn video() -> VideoId {
    VideoId::for_name("a.mp4", "1")
}

/// A restart: nothing survives but the entry in the bucket.
fn restarted(totals: &VideoTotals) -> VideoTotals {
    let entry: VideoEntry = from_json(&to_json(&totals.to_entry(&video(), false))).unwrap();
    VideoTotals::from_entry(entry).unwrap()
}
