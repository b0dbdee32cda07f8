//! Where frames are selected by time, an index alone does not say how many frames are below it.
//! Ingest says so from time to time, and alarms are judged up to those points.

/// Milestones kept: ingest is rarely ahead of many detectors by more.
const MAX_MILESTONES: usize = 64;

/// Indexes that are not reached yet, each with the number of frames below it; in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Milestones(pub(super) Vec<(u64, u64)>);

impl Milestones {
    /// Adds a milestone after the others: there are `frames` frames with an index below `index`.
    pub(super) fn add(&mut self, index: u64, frames: u64) {
        if self.0.len() >= MAX_MILESTONES {
            self.0.pop();
        }
        self.0.push((index, frames));
    }

    /// The last milestone below which all frames are settled.
    pub(super) fn last_reached(&self, settled_below: impl Fn(u64) -> u64) -> Option<u64> {
        let is_reached = |&&(index, frames): &&(u64, u64)| settled_below(index) >= frames;
        self.0.iter().rfind(is_reached).map(|(index, _)| *index)
    }

    /// Removes and returns the last milestone below which all frames are settled. `settled_below`
    /// says how many are.
    ///
    /// With `is_overdue`, the first milestone counts as reached if none is.
    pub(super) fn reached(
        &mut self,
        settled_below: impl Fn(u64) -> u64,
        is_overdue: bool,
    ) -> Option<u64> {
        let is_reached = |&(index, frames): &(u64, u64)| settled_below(index) >= frames;
        let last = self
            .0
            .iter()
            .rposition(is_reached)
            .or((is_overdue && !self.0.is_empty()).then_some(0))?;
        self.0.drain(..=last).next_back().map(|(index, _)| index)
    }
}
