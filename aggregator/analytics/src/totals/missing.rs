//! Which frames of a video are missing once all are published, and what becomes of those that cannot
//! be decoded again.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use moliceiro_messages::{FrameRange, Repair, RepairState};

use super::{Applied, VideoTotals};

/// A video with more missing frames than this has an end that is wrong.
const MOST_LOST: u64 = 50_000_000;

impl VideoTotals {
    /// How many frames have no result, once all are published.
    pub fn missing_frames(&self) -> u64 {
        let ended = self.ended.as_ref();
        ended.map_or(0, |ended| ended.frames.saturating_sub(self.frames.settled()))
    }

    /// Where the missing frames are, once all are published. Where frames are selected by time,
    /// these are all ranges without a result, with or without a frame that was selected.
    pub fn missing(&self) -> Vec<FrameRange> {
        let mut ranges = Vec::new();
        let Some(ended) = &self.ended else { return ranges };
        if self.missing_frames() == 0 {
            return ranges;
        }
        let every = self.started.selection.every.max(1);
        let mut next = 0;
        let settled = self.frames.settled_between(0, ended.decoded).map(|(index, _)| index);
        for index in settled.chain([ended.decoded]) {
            let first = next;
            next = index.saturating_add(1);
            // The frames between two settled ones, if one of them is selected.
            let selected = first.next_multiple_of(every);
            if selected >= index {
                continue;
            }
            if ranges.len() == Repair::MOST_RANGES {
                if let Some(FrameRange(_, end)) = ranges.last_mut() {
                    *end = ended.decoded - 1;
                }
                break;
            }
            ranges.push(FrameRange(first, index - 1));
        }
        ranges
    }

    /// How it was repaired so far.
    pub fn repair(&self) -> Option<&RepairState> {
        self.repair.as_ref()
    }

    /// Fails what is missing. A video that is not ended ends here.
    pub(super) fn lose(&mut self, reason: &str) -> Applied {
        self.queued = false;
        let ended = self.end(self.truncated(reason.to_owned()));
        let missing = self.missing_frames();
        if missing == 0 {
            return ended;
        }
        let lost = match self.is_selected_by_time() {
            _ if missing > MOST_LOST => 0,
            true => {
                let estimated = format!("{reason} (the index is estimated)");
                self.frames.give_up(self.estimated(missing).into_iter(), &estimated)
            }
            false => {
                let every = self.started.selection.every.max(1);
                let indexes = self.missing().into_iter().flat_map(|FrameRange(first, last)| {
                    (first.next_multiple_of(every)..=last).step_by(step(every))
                });
                self.frames.give_up(indexes, reason)
            }
        };
        let left = self.missing_frames();
        let settled = self.frames.settled();
        if let Some(ended) = self.ended.as_mut().filter(|_| left > 0) {
            // The end was wrong, and no frame can be named.
            let wrong = || format!("{left} frames are missing, and nobody knows which: {reason}");
            ended.problem.get_or_insert_with(wrong);
            ended.frames = settled;
        }
        let repair = self.repair.get_or_insert_default();
        repair.lost += lost;
        repair.reason.get_or_insert_with(|| reason.to_owned());
        Applied::Changed
    }

    /// Where so many frames that were selected by time probably were: each in the middle of the
    /// widest range that is left.
    fn estimated(&self, missing: u64) -> Vec<u64> {
        let width = |FrameRange(first, last): FrameRange| (last - first, Reverse(first), last);
        let mut ranges: BinaryHeap<_> = self.missing().into_iter().map(width).collect();
        let mut indexes = Vec::new();
        while (indexes.len() as u64) < missing {
            let Some((width, Reverse(first), last)) = ranges.pop() else { break };
            let middle = first + width / 2;
            indexes.push(middle);
            if middle > first {
                ranges.push((middle - 1 - first, Reverse(first), middle - 1));
            }
            if middle < last {
                ranges.push((last - middle - 1, Reverse(middle + 1), last));
            }
        }
        indexes
    }

    pub(super) fn lost_notice(&self) -> Option<String> {
        let RepairState { lost, reason, .. } = self.repair.as_ref()?;
        let lost = (*lost).min(self.frames.failed.len());
        let reason = reason.as_deref().unwrap_or("unknown reason");
        let frames = if lost == 1 { "frame was" } else { "frames were" };
        (lost > 0).then(|| format!("{lost} {frames} lost and not decoded again: {reason}"))
    }
}

fn step(every: u64) -> usize {
    usize::try_from(every).unwrap_or(usize::MAX)
}
