//! Parts of the benchmark that each measure one service or one latency.

mod aggregator;
mod detectors;
mod first_frame;
mod ingest;
mod publish;
mod start;
mod synthetic;

use crate::part::{Part, PartContext};
use crate::report::Figure;

/// All parts but `throughput`.
pub(crate) const PARTS: [Part; 6] =
    [Part::Start, Part::FirstFrame, Part::Detectors, Part::Ingest, Part::Publish, Part::Aggregator];

/// How many steps of progress a part has.
pub(crate) fn steps(part: Part, repeat: usize, detectors: usize) -> usize {
    match part {
        Part::Detectors => repeat * detectors,
        Part::Publish => repeat * publish::WAYS,
        Part::Aggregator => repeat * aggregator::VIDEOS.len() + 1,
        _ => repeat,
    }
}

pub(crate) async fn measure(part: Part, context: &PartContext<'_>) -> anyhow::Result<Vec<Figure>> {
    match part {
        Part::Start => start::measure(context).await,
        Part::FirstFrame => first_frame::measure(context).await,
        Part::Detectors => detectors::measure(context).await,
        Part::Ingest => ingest::measure(context).await,
        Part::Publish => publish::measure(context).await,
        Part::Aggregator => aggregator::measure(context).await,
        Part::Throughput | Part::All => Ok(vec![]),
    }
}
