//! Parts of the benchmark that each measure one thing.

mod aggregator;
mod detectors;
mod first_frame;
mod ingest;
mod publish;
mod start;
mod synthetic;

use super::Part;
use super::progress::Progress;
use super::report::Figure;
use super::setup::Setup;

/// What a part needs to know.
pub(crate) struct Work<'a> {
    pub(crate) setup: &'a Setup,
    pub(crate) detectors: &'a [usize],
    pub(crate) repeat: usize,
    /// How many messages the parts that make them up make.
    pub(crate) messages: u64,
    pub(crate) progress: &'a Progress,
}

impl Work<'_> {
    fn most_detectors(&self) -> usize {
        self.detectors.iter().copied().max().unwrap_or(1)
    }
}

/// Those that are not about throughput.
pub(crate) const PARTS: [Part; 6] =
    [Part::Start, Part::FirstFrame, Part::Detectors, Part::Ingest, Part::Publish, Part::Aggregator];

/// Steps of progress that a part has.
pub(crate) fn steps(part: Part, repeat: usize, detectors: usize) -> usize {
    match part {
        Part::Detectors => repeat * detectors,
        Part::Publish => repeat * publish::WAYS,
        Part::Aggregator => repeat * aggregator::VIDEOS.len() + 1,
        _ => repeat,
    }
}

pub(crate) async fn measure(part: Part, work: &Work<'_>) -> anyhow::Result<Vec<Figure>> {
    match part {
        Part::Start => start::measure(work).await,
        Part::FirstFrame => first_frame::measure(work).await,
        Part::Detectors => detectors::measure(work).await,
        Part::Ingest => ingest::measure(work).await,
        Part::Publish => publish::measure(work).await,
        Part::Aggregator => aggregator::measure(work).await,
        Part::Throughput | Part::All => Ok(vec![]),
    }
}
