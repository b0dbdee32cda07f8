//! The totals as they are stored between batches: a video's entry in the bucket.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use moliceiro_messages::{CarriedRun, VERSION, VideoEntry, VideoId, VideoState};
use roaring::RoaringTreemap;
use thiserror::Error;

use super::VideoTotals;
use super::frames::Frames;
use super::milestones::Milestones;
use crate::alarms::Alarms;

/// An entry's list of counted or failed frames cannot be read.
#[derive(Debug, Error)]
pub enum InvalidBitmap {
    /// The text is not base64.
    #[error("a list of frames is not base64: {0}")]
    Base64(#[from] base64::DecodeError),
    /// The bytes are not a 64-bit Roaring bitmap in its portable format.
    #[error("a list of frames is not a Roaring bitmap: {0}")]
    Roaring(#[from] io::Error),
}

impl VideoTotals {
    /// The video's entry, as the bucket stores it.
    pub fn to_entry(&self, video: &VideoId, summary_published: bool) -> VideoEntry {
        let frames = &self.frames;
        VideoEntry {
            version: VERSION,
            video: video.clone(),
            state: self.state(),
            started: self.started.clone(),
            published: self.published,
            published_frames: self.published_frames,
            milestones: self.milestones.0.clone(),
            live: self.live.clone(),
            announced: self.announced,
            ended: self.ended.clone(),
            cancelled: self.cancelled.clone(),
            counted: frames.counted.len(),
            failed: frames.failed.len(),
            failures: frames.failures.clone(),
            unconfirmed: frames.unconfirmed.values().cloned().collect(),
            counted_frames: to_base64(&frames.counted),
            failed_frames: to_base64(&frames.failed),
            carried_frames: match frames.carried.is_empty() {
                true => String::new(),
                false => to_base64(&frames.carried),
            },
            carried: frames
                .runs
                .iter()
                .map(|(source, frames)| CarriedRun { source: *source, frames: frames.clone() })
                .collect(),
            corrections: self.corrections,
            processing_us: frames.processing_us,
            classes: frames.classes.clone(),
            most_at_once: frames.most_at_once.clone(),
            models: frames.models.clone(),
            alarms: self.alarms.raised() + self.folded_alarms,
            alarm_state: self.alarms.to_state(),
            analytics: self.analytics.clone(),
            repair: self.repair.clone(),
            finished_at: self.finished_at,
            summary_published,
            summary: self.summary(video),
        }
    }

    /// The totals that an entry stores.
    pub fn from_entry(entry: VideoEntry) -> Result<Self, InvalidBitmap> {
        let frames = Frames {
            counted: from_base64(&entry.counted_frames)?,
            failed: from_base64(&entry.failed_frames)?,
            failures: entry.failures,
            carried: match entry.carried_frames.is_empty() {
                true => RoaringTreemap::new(),
                false => from_base64(&entry.carried_frames)?,
            },
            runs: entry.carried.into_iter().map(|run| (run.source, run.frames)).collect(),
            unconfirmed: entry.unconfirmed.into_iter().map(|u| (u.index, u)).collect(),
            processing_us: entry.processing_us,
            classes: entry.classes,
            most_at_once: entry.most_at_once,
            models: entry.models,
        };
        // Either the totals judge all rules of a video, or the fold does.
        let folded_alarms = if entry.alarm_state.rules.is_empty() { entry.alarms } else { 0 };
        Ok(Self {
            started: entry.started,
            queued: entry.state == VideoState::Queued,
            cancelled: entry.cancelled,
            published: entry.published,
            published_frames: entry.published_frames,
            milestones: Milestones(entry.milestones),
            live: entry.live,
            announced: entry.announced,
            ended: entry.ended,
            frames,
            finished_at: entry.finished_at,
            corrections: entry.corrections,
            folded_alarms,
            not_folded: 0,
            known_below: 0,
            analytics: entry.analytics,
            repair: entry.repair,
            alarms: Alarms::from_state(entry.alarm_state, entry.alarms - folded_alarms),
        })
    }
}

fn to_base64(frames: &RoaringTreemap) -> String {
    let mut bytes = Vec::with_capacity(frames.serialized_size());
    #[expect(clippy::expect_used, reason = "writing to memory cannot fail")]
    frames.serialize_into(&mut bytes).expect("bitmap into memory");
    BASE64.encode(bytes)
}

fn from_base64(text: &str) -> Result<RoaringTreemap, InvalidBitmap> {
    let bytes = BASE64.decode(text)?;
    Ok(RoaringTreemap::deserialize_from(&bytes[..])?)
}
