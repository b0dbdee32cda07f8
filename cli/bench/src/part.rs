use clap::ValueEnum;

use crate::progress::Progress;
use crate::setup::Setup;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Part {
    /// Frames/s of each way of doing the work, with latencies, CPU time, memory and bytes written
    Throughput,
    /// Time from starting `moliceiro run` until its model is loaded and it waits for videos
    Start,
    /// Time from an upload to its first counted frame, with everything warmed up
    FirstFrame,
    /// Frames/s of detectors on a full queue, without decoding
    Detectors,
    /// Frames/s that an ingest publishes to a detector that takes no time, and its memory
    Ingest,
    /// Frames/s that an ingest can publish, compared with a minimal publisher
    Publish,
    /// Results/s that one aggregator counts, and its memory with 1,000 videos in progress
    Aggregator,
    /// Everything
    All,
}

/// What a part measures with.
pub(crate) struct PartContext<'a> {
    pub(crate) setup: &'a Setup,
    pub(crate) detectors: &'a [usize],
    pub(crate) repeat: usize,
    /// How many synthetic messages a part publishes.
    pub(crate) messages: u64,
    pub(crate) progress: &'a Progress,
}

impl PartContext<'_> {
    /// The largest number of detectors that was asked for.
    pub(crate) fn max_detectors(&self) -> usize {
        self.detectors.iter().copied().max().unwrap_or(1)
    }
}
