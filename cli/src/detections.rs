use std::io::{BufWriter, Write};
use std::pin::pin;
use std::process::ExitCode;

use anyhow::bail;
use clap::Parser;
use futures_util::TryStreamExt;
use moliceiro_nats::detections::{Missing, Row, detections};
use moliceiro_nats::messages::{TrackerKind, to_json};
use moliceiro_nats::{Streams, VideoId};
use moliceiro_replay::{Question, TrackNumbers, track_numbers};
use moliceiro_service::stdout;

use crate::client::{Client, StoreArguments};

/// Prints the objects found in each frame of a video, one per line
#[derive(Clone, Debug, Parser)]
#[command(after_help = "\
Each line is JSON: {\"frame\", \"time_s\", \"label\", \"score\", \
\"box\": [left, top, right, bottom]}, and \"track\" with --tracks")]
pub(crate) struct DetectionsArguments {
    /// The video's id
    video: String,
    /// Print CSV instead of JSON, with a header line
    #[arg(long)]
    csv: bool,
    /// Also print the number of the track that each object belongs to
    #[arg(long)]
    tracks: bool,
    #[command(flatten)]
    store: StoreArguments,
}

pub(crate) fn run(arguments: &DetectionsArguments) -> anyhow::Result<ExitCode> {
    let video = VideoId::try_from(arguments.video.clone())?;
    Client::new(&arguments.store, "moliceiro detections")?
        .run(async |streams| print(&streams, &video, arguments).await)
}

async fn print(
    streams: &Streams,
    video: &VideoId,
    arguments: &DetectionsArguments,
) -> anyhow::Result<()> {
    let DetectionsArguments { csv, tracks, .. } = *arguments;
    let numbers = match tracks {
        true => track_numbers(streams, video, &Question::default()).await?,
        false => TrackNumbers::default(),
    };
    // Read before the results: what is counted in between is not missing.
    let entry = streams.videos().entry(video).await?;
    let mut missing = entry.as_ref().map(Missing::all_of).transpose()?;
    let mut out = BufWriter::new(stdout());
    let mut frames = pin!(detections(streams, video));
    let mut is_empty = true;
    if csv {
        writeln!(out, "{}", if tracks { Row::TRACKED_CSV_HEADER } else { Row::CSV_HEADER })?;
    }
    while let Some(frame) = frames.try_next().await? {
        is_empty = false;
        missing.iter_mut().for_each(|missing| missing.found(frame.index));
        for row in numbers.rows(&frame) {
            match csv {
                true if tracks => writeln!(out, "{}", row.to_tracked_csv())?,
                true => writeln!(out, "{}", row.to_csv())?,
                false => {
                    out.write_all(&to_json(&row))?;
                    writeln!(out)?;
                }
            }
        }
    }
    out.flush()?;
    if tracks && numbers.tracker() == TrackerKind::None {
        let problem = "no object has a track: the upload's tracker is none";
        writeln!(std::io::stderr(), "moliceiro: {problem}")?;
    }
    if is_empty {
        bail!("no results of video {video} are kept; `moliceiro status` lists the videos");
    }
    if let Some(missing) = missing.filter(|missing| !missing.is_empty()) {
        writeln!(std::io::stderr(), "moliceiro: {missing}")?;
    }
    Ok(())
}
