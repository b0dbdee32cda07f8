//! The summary that a finished video's totals make.

use moliceiro_messages::{Cancelled, Ended, FrameSelection, Skipped, Summary, VERSION, VideoId};

use super::VideoTotals;

/// How many classes a summary names as found most often.
const TOP_CLASSES: usize = 3;

impl VideoTotals {
    /// The summary, once the video's [state](Self::state) is final.
    pub fn summary(&self, video: &VideoId) -> Option<Summary> {
        let finished_at = self.finished_at?;
        let ended = self.ended.as_ref();
        let problem = match &self.cancelled {
            Some(Cancelled { reason }) => Some(reason.clone()),
            None => ended.and_then(|ended| ended.problem.clone()),
        };
        let frames = &self.frames;
        let counted = frames.counted.len();
        let processed = counted - frames.counted_still();
        let (total_frames, skipped) = self.account();
        let wall_time_s = finished_at.saturating_sub(self.started.uploaded_at) as f64 / 1e3;
        Some(Summary {
            version: VERSION,
            video: video.clone(),
            name: self.started.name.clone(),
            uri: self.started.uri.clone(),
            state: self.state(),
            problem,
            notices: self.notices(),
            corrections: self.corrections,
            total_frames,
            processed_frames: processed,
            skipped,
            failed_frames: frames.failed.len(),
            failed: frames.failures.clone(),
            average_processing_ms: ratio(frames.processing_us as f64 / 1e3, processed as f64),
            classes: frames.classes.clone(),
            most_at_once: frames.most_at_once.clone(),
            top: Summary::ranking(&frames.classes, TOP_CLASSES),
            alarms: self.alarms.raised() + self.folded_alarms,
            tracked: self.analytics.clone().map(Into::into).unwrap_or_default(),
            tracks_printed: self.started.tracking.is_asked(),
            model: self.started.model.clone(),
            models: frames.models.clone(),
            live: self.live.clone(),
            duration_s: ended.and_then(|ended| ended.duration).map(|ns| ns as f64 / 1e9),
            wall_time_s,
            frames_per_second: ratio(counted as f64, wall_time_s),
        })
    }
}

impl VideoTotals {
    /// All frames of the video, and those that were neither analysed nor failed, by the reason.
    fn account(&self) -> (Option<u64>, Skipped) {
        if self.live.is_some() {
            return (None, Skipped::default());
        }
        let frames = &self.frames;
        let published = self.truncated(String::new());
        let Ended { frames: selected, decoded, skipped, .. } =
            self.ended.as_ref().unwrap_or(&published);
        let unselected = decoded.saturating_sub(*selected);
        let skipped = skipped.unwrap_or_else(|| by_reason(self.started.selection, unselected));
        let cancelled = match &self.cancelled {
            Some(_) => selected.saturating_sub(frames.settled()),
            None => 0,
        };
        let skipped = Skipped { still: frames.counted_still(), cancelled, ..skipped };
        let analysed = frames.counted.len() - skipped.still;
        (Some(analysed + frames.failed.len() + skipped.total()), skipped)
    }

    fn notices(&self) -> Vec<String> {
        let mut notices =
            self.ended.as_ref().map(|ended| ended.notices.clone()).unwrap_or_default();
        notices.extend(self.lost_notice());
        if self.not_folded > 0 {
            notices.push(format!(
                "the results of {} frames are not stored any more: tracks, lines and zones are \
                 without them",
                self.not_folded
            ));
        }
        notices
    }
}

/// 0 where there is nothing to divide by.
fn ratio(total: f64, n: f64) -> f64 {
    if n > 0.0 { total / n } else { 0.0 }
}

/// Why a selection leaves `n` frames out, if it can have only one reason.
fn by_reason(selection: FrameSelection, n: u64) -> Skipped {
    let FrameSelection { every, fps, start, .. } = selection;
    let none = Skipped::default();
    match (every > 1, fps.is_some(), start.is_some()) {
        (true, false, false) => Skipped { every: n, ..none },
        (false, true, false) => Skipped { fps: n, ..none },
        (false, false, true) => Skipped { before_start: n, ..none },
        _ => Skipped { unselected: n, ..none },
    }
}
