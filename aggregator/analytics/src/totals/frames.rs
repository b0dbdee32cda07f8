//! Which frames of a video are counted and which failed, and what was found in them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use moliceiro_messages::{CarriedFrame, CarriedRun, FailedFrame, RuleMatch, Unconfirmed};
use roaring::RoaringTreemap;

use crate::alarms::FrameStatus;

/// Failed frames whose reasons are kept: enough to see a pattern, few enough for one entry.
const MAX_FAILURES: usize = 20;

/// Failed frames that others equal, and that are remembered: if one is analysed later, those count
/// too. Of more, they stay failed.
const MAX_FAILED_SOURCES: usize = 64;

/// Names of models kept. A video should have one.
const MAX_MODELS: usize = 8;

/// The frames of one video. Those that are counted or failed are *settled*: ingest has confirmed
/// that they exist.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Frames {
    pub(super) counted: RoaringTreemap,
    pub(super) failed: RoaringTreemap,
    /// The first of the failed frames, by index.
    pub(super) failures: Vec<FailedFrame>,
    /// Results of frames that ingest has not confirmed, by index.
    pub(super) unconfirmed: BTreeMap<u64, Unconfirmed>,
    /// Those of the confirmed frames that have no result of their own.
    pub(super) carried: RoaringTreemap,
    /// By the frame that they equal: which of them are not counted.
    pub(super) runs: BTreeMap<u64, Vec<CarriedFrame>>,
    /// The detectors' own time on the counted frames, in microseconds.
    pub(super) processing_us: u64,
    /// Objects found, by class.
    pub(super) classes: BTreeMap<String, u64>,
    /// The most objects of a class in one frame.
    pub(super) most_at_once: BTreeMap<String, u64>,
    pub(super) models: BTreeSet<String>,
}

impl Frames {
    /// True if the result adds nothing. A failure adds nothing to a frame that has a result; a
    /// frame that was analysed takes the place of its failure.
    pub(super) fn contain(&self, result: &Unconfirmed) -> bool {
        if self.carried.contains(result.index) {
            return true;
        }
        let is_failure = result.failure.is_some();
        match self.unconfirmed.get(&result.index) {
            Some(known) => known.failure.is_none() || is_failure,
            None => {
                self.counted.contains(result.index)
                    || (is_failure && self.failed.contains(result.index))
            }
        }
    }

    /// Settles the results of frames with an index below `published`. Returns the alarm rules that
    /// hold in those frames.
    pub(super) fn confirm_below(&mut self, published: u64) -> Vec<RuleMatch> {
        let still_unconfirmed = self.unconfirmed.split_off(&published);
        let confirmed = std::mem::replace(&mut self.unconfirmed, still_unconfirmed);
        let matches = confirmed.into_values().flat_map(|result| self.settle(result)).collect();
        while self.models.len() > MAX_MODELS {
            self.models.pop_last();
        }
        // Frames counted in a row become one run.
        self.counted.optimize();
        self.failed.optimize();
        self.carried.optimize();
        self.failures.sort_by_key(|failure| failure.index);
        self.failures.truncate(MAX_FAILURES);
        matches
    }

    /// Adds frames in `range` that equal the run's source. They are settled with it.
    pub(super) fn carry(&mut self, run: &CarriedRun, range: Range<u64>) {
        let frames = run.frames.iter().filter(|(index, _)| range.contains(index));
        let frames: Vec<_> =
            frames.filter(|(index, _)| self.carried.insert(*index)).copied().collect();
        for (index, _) in &frames {
            // Another decoder of the same video may have analysed it.
            self.unconfirmed.remove(index);
        }
        let source = run.source;
        let is_known = self.counted.contains(source) || self.failed.contains(source);
        if !is_known && !self.carried.contains(source) {
            return self.runs.entry(source).or_default().extend(frames);
        }
        // An ingest begins where an earlier one ended with a frame that is analysed. So this is a
        // sender's mistake: what was found in the source is not known any more.
        let reason = format!("it equals frame {source}, which was counted before");
        for (index, _) in frames {
            self.fail_one(index, reason.clone());
        }
    }

    /// How many frames wait for this one.
    pub(super) fn carried_of(&self, source: u64) -> u64 {
        self.runs.get(&source).map_or(0, |frames| frames.len() as u64)
    }

    /// How many of the counted frames have no result of their own.
    pub(super) fn counted_still(&self) -> u64 {
        self.counted.intersection_len(&self.carried)
    }

    fn fail_one(&mut self, index: u64, reason: String) {
        self.failed.insert(index);
        self.failures.push(FailedFrame { index, reason });
    }

    /// Settles a result, and as often again as there are frames that carry it.
    fn settle(&mut self, result: Unconfirmed) -> Vec<RuleMatch> {
        let source = result.index;
        let Some(frames) = self.runs.remove(&source) else { return self.settle_one(result) };
        let mut matches = Vec::new();
        for &(index, pts) in &frames {
            let at = |found: &RuleMatch| RuleMatch { frame: index, pts, ..*found };
            let failure = result.failure.as_ref();
            matches.extend(self.settle_one(Unconfirmed {
                index,
                processing_us: 0,
                failure:
                    failure.map(|reason| format!("as frame {source}, which it equals: {reason}")),
                matches: result.matches.iter().map(at).collect(),
                ..result.clone()
            }));
        }
        if result.failure.is_some() && self.runs.len() < MAX_FAILED_SOURCES {
            self.runs.insert(source, frames);
        }
        matches.extend(self.settle_one(result));
        matches
    }

    fn settle_one(&mut self, result: Unconfirmed) -> Vec<RuleMatch> {
        let index = result.index;
        match result.failure {
            Some(reason) => self.fail_one(index, reason),
            None => {
                self.counted.insert(index);
                if self.failed.remove(index) {
                    self.failures.retain(|failure| failure.index != index);
                }
            }
        }
        self.processing_us = self.processing_us.saturating_add(result.processing_us);
        for (label, n) in result.classes {
            let most = self.most_at_once.entry(label.clone()).or_insert(0);
            *most = n.max(*most);
            *self.classes.entry(label).or_insert(0) += n;
        }
        self.models.extend(result.model);
        result.matches
    }

    /// Settles those of these frames that are not settled: they will never have a result. Returns
    /// how many those are.
    pub(super) fn give_up(&mut self, indexes: impl Iterator<Item = u64>, reason: &str) -> u64 {
        let mut failed = 0;
        for index in indexes {
            if self.is_settled(index) {
                continue;
            }
            self.failed.insert(index);
            failed += 1;
            if self.failures.len() < MAX_FAILURES {
                self.failures.push(FailedFrame { index, reason: reason.to_owned() });
            }
        }
        self.failures.sort_by_key(|failure| failure.index);
        self.failed.optimize();
        failed
    }

    pub(super) fn drop_unconfirmed(&mut self) {
        self.unconfirmed.clear();
    }

    fn is_settled(&self, index: u64) -> bool {
        self.counted.contains(index) || self.failed.contains(index)
    }

    /// How many frames are settled.
    pub(super) fn settled(&self) -> u64 {
        self.counted.len() + self.failed.len()
    }

    /// How many frames with an index below `end` are settled.
    pub(super) fn settled_below(&self, end: u64) -> u64 {
        self.counted.range_cardinality(..end) + self.failed.range_cardinality(..end)
    }

    /// The settled frames from `start` to below `end`, in order, each with true if it was analysed.
    pub(super) fn settled_between(
        &self,
        start: u64,
        end: u64,
    ) -> impl Iterator<Item = (u64, bool)> + Send + use<> {
        let counted = self.counted.clone();
        let mut settled = &self.counted | &self.failed;
        settled.remove_range(..start);
        settled
            .into_iter()
            .take_while(move |index| *index < end)
            .map(move |index| (index, counted.contains(index)))
    }

    /// The first index from `next` on, in steps of `every`, that is not settled.
    pub(super) fn first_unsettled(&self, next: u64, every: u64) -> u64 {
        let mut index = next.next_multiple_of(every);
        while self.counted.contains(index) || self.failed.contains(index) {
            index += every;
        }
        index
    }

    pub(super) fn status(&self, index: u64) -> FrameStatus {
        if self.counted.contains(index) {
            FrameStatus::Analysed
        } else if self.failed.contains(index) {
            FrameStatus::Failed
        } else {
            FrameStatus::Unknown
        }
    }
}
