use std::io::{BufWriter, Write};
use std::pin::pin;
use std::process::ExitCode;

use anyhow::bail;
use clap::Parser;
use futures_util::TryStreamExt;
use moliceiro_nats::detections::{Row, detections};
use moliceiro_nats::messages::to_json;
use moliceiro_nats::{Streams, VideoId};
use moliceiro_service::stdout;

use crate::client::{Client, StoreArguments};

/// Prints the objects found in each frame of a video, one per line
#[derive(Clone, Debug, Parser)]
#[command(after_help = "\
Each line is JSON: {\"frame\", \"time_s\", \"label\", \"score\", \
\"box\": [left, top, right, bottom]}")]
pub(crate) struct DetectionsArguments {
    /// The video's id
    video: String,
    /// Print CSV instead of JSON, with a header line
    #[arg(long)]
    csv: bool,
    #[command(flatten)]
    store: StoreArguments,
}

pub(crate) fn run(arguments: &DetectionsArguments) -> anyhow::Result<ExitCode> {
    let video = VideoId::try_from(arguments.video.clone())?;
    Client::new(&arguments.store, "moliceiro detections")?
        .run(async |streams| print(&streams, &video, arguments.csv).await)
}

async fn print(streams: &Streams, video: &VideoId, csv: bool) -> anyhow::Result<()> {
    let mut out = BufWriter::new(stdout());
    let mut frames = pin!(detections(streams, video));
    let mut is_empty = true;
    if csv {
        writeln!(out, "{}", Row::CSV_HEADER)?;
    }
    while let Some(frame) = frames.try_next().await? {
        is_empty = false;
        for row in Row::of(&frame) {
            match csv {
                true => writeln!(out, "{}", row.to_csv())?,
                false => {
                    out.write_all(&to_json(&row))?;
                    writeln!(out)?;
                }
            }
        }
    }
    out.flush()?;
    if is_empty {
        bail!("no results of video {video} are kept; `moliceiro status` lists the videos");
    }
    Ok(())
}
