use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use moliceiro_messages::VideoId;
use moliceiro_messages::{VERSION, VideoEntry, VideoState};
use roaring::RoaringTreemap;
use thiserror::Error;

use super::VideoCount;
use crate::alarms::Alarms;

/// An entry whose bitmap cannot be read.
#[derive(Debug, Error)]
#[error("a bitmap of the entry's frames cannot be read: {0}")]
pub struct BrokenBitmap(String);

impl VideoCount {
    /// The video's entry in the bucket.
    pub fn to_entry(&self, video: &VideoId, summary_published: bool) -> VideoEntry {
        VideoEntry {
            version: VERSION,
            video: video.clone(),
            state: self.state(),
            started: self.started.clone(),
            published: self.published,
            published_frames: self.published_frames,
            milestones: self.milestones.clone(),
            live: self.live.clone(),
            announced: self.announced,
            ended: self.ended.clone(),
            cancelled: self.cancelled.clone(),
            counted: self.counted.len(),
            failed: self.failed.len(),
            failures: self.failures.clone(),
            unconfirmed: self.unconfirmed.values().cloned().collect(),
            counted_frames: to_base64(&self.counted),
            failed_frames: to_base64(&self.failed),
            corrections: self.corrections,
            processing_us: self.processing_us,
            classes: self.classes.clone(),
            models: self.models.clone(),
            alarms: self.alarms.raised(),
            alarm_state: self.alarms.to_watch(),
            finished_at: self.finished_at,
            summary_published,
            summary: self.summary(video),
        }
    }

    /// The totals as an entry in the bucket holds them.
    pub fn from_entry(entry: VideoEntry) -> Result<Self, BrokenBitmap> {
        Ok(Self {
            started: entry.started,
            queued: entry.state == VideoState::Queued,
            cancelled: entry.cancelled,
            published: entry.published,
            published_frames: entry.published_frames,
            milestones: entry.milestones,
            live: entry.live,
            announced: entry.announced,
            ended: entry.ended,
            counted: from_base64(&entry.counted_frames)?,
            failed: from_base64(&entry.failed_frames)?,
            unconfirmed: entry.unconfirmed.into_iter().map(|u| (u.index, u)).collect(),
            failures: entry.failures,
            processing_us: entry.processing_us,
            classes: entry.classes,
            models: entry.models,
            finished_at: entry.finished_at,
            corrections: entry.corrections,
            alarms: Alarms::from_watch(entry.alarm_state, entry.alarms),
        })
    }
}

fn to_base64(frames: &RoaringTreemap) -> String {
    let mut bytes = Vec::with_capacity(frames.serialized_size());
    #[expect(clippy::expect_used, reason = "writing to memory cannot fail")]
    frames.serialize_into(&mut bytes).expect("bitmap into memory");
    BASE64.encode(bytes)
}

fn from_base64(text: &str) -> Result<RoaringTreemap, BrokenBitmap> {
    let bytes = BASE64.decode(text).map_err(|e| BrokenBitmap(e.to_string()))?;
    RoaringTreemap::deserialize_from(&bytes[..]).map_err(|e| BrokenBitmap(e.to_string()))
}
