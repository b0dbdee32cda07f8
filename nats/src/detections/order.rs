//! Results of frames, in order of their indexes.

use std::collections::{BTreeMap, VecDeque};

use roaring::RoaringTreemap;

use crate::messages::{Carried, FrameResult};

/// Frames that are reordered: detectors finish out of order, but seldom by more than this.
const WINDOW: usize = 256;

/// Sorts frames that are nearly sorted, and drops duplicates.
#[derive(Default)]
pub(super) struct Order {
    waiting: BTreeMap<u64, Waiting>,
    seen: RoaringTreemap,
    keeps_sources: bool,
    /// The last results that were returned, as others may carry their objects.
    sources: VecDeque<FrameResult>,
}

enum Waiting {
    Result(FrameResult),
    Carried { source: u64, pts: Option<u64> },
}

impl Order {
    /// Whether still frames of the video are skipped.
    pub(super) fn expect_carried(&mut self, skips_still: bool) {
        self.keeps_sources |= skips_still;
    }

    pub(super) fn push(&mut self, frame: FrameResult) {
        if self.seen.insert(frame.index) {
            self.waiting.insert(frame.index, Waiting::Result(frame));
        }
    }

    pub(super) fn carry(&mut self, carried: &Carried) {
        for run in &carried.runs {
            for &(index, pts) in &run.frames {
                if self.seen.insert(index) {
                    self.waiting.insert(index, Waiting::Carried { source: run.source, pts });
                }
            }
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() > WINDOW
    }

    /// The next frame; a frame that carries the objects of one that is not stored is left out.
    pub(super) fn pop(&mut self) -> Option<FrameResult> {
        loop {
            match self.waiting.pop_first()? {
                (_, Waiting::Result(frame)) => {
                    if self.keeps_sources {
                        if self.sources.len() == WINDOW {
                            self.sources.pop_front();
                        }
                        self.sources.push_back(frame.clone());
                    }
                    return Some(frame);
                }
                (index, Waiting::Carried { source, pts }) => {
                    let found = self.sources.iter().rev().find(|frame| frame.index == source);
                    if let Some(frame) = found {
                        return Some(frame.carried_by(index, pts));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::{CarriedRun, Objects};

    fn frame(index: u64) -> FrameResult {
        FrameResult {
            index,
            pts: Some(index * 40_000_000),
            decoded_at: None,
            objects: Objects::default(),
            size: None,
            processing_us: 1,
            detector: "d".into(),
            model: Some("nanodet".into()),
        }
    }

    #[test]
    fn frames_come_once_and_in_order_within_the_window() {
        let mut order = Order::default();
        let mut given = Vec::new();
        for index in (0..2000_u64).map(|n| n ^ 127).flat_map(|n| [n, n / 2]) {
            order.push(frame(index));
            while order.is_full() {
                given.extend(order.pop().map(|frame| frame.index));
            }
        }
        given.extend(std::iter::from_fn(|| order.pop()).map(|frame| frame.index));
        assert_eq!(given, (0..2048).filter(|n| given.contains(n)).collect::<Vec<_>>());
        assert_eq!(given.len(), 2000);
    }

    #[test]
    fn frames_that_carry_the_objects_of_another_one_follow_it() {
        let mut order = Order::default();
        order.expect_carried(true);
        [0, 30].into_iter().for_each(|index| order.push(frame(index)));
        let frames = (1..30).map(|index| (index, Some(index * 7))).collect();
        let lost = CarriedRun { source: 31, frames: vec![(32, None)] };
        let runs = vec![CarriedRun { source: 0, frames }, lost];
        let carried = Carried { from: 0, published: 40, frames: 40, announced: None, runs };
        for _ in 0..2 {
            order.carry(&carried);
        }
        let found: Vec<_> = std::iter::from_fn(|| order.pop()).collect();
        assert!(found.iter().map(|frame| frame.index).eq(0..31));
        assert_eq!((found[5].pts, found[5].processing_us), (Some(35), 0));
    }
}
