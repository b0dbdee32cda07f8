use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use moliceiro_evaluate::coco::Labelled;
use moliceiro_evaluate::motchallenge::Row;
use moliceiro_evaluate::{Bounds, Sequence, Tracking, motchallenge};
use moliceiro_nats::VideoId;
use moliceiro_nats::messages::{TrackerKind, to_json};
use moliceiro_replay::{Question, TrackedBox, TrackedBoxes, tracked_boxes};
use moliceiro_service::stdout;
use serde::Serialize;

use crate::client::{Client, StoreArguments};

/// Compares what was tracked with a known truth: MOTA, IDF1, HOTA, AP50 and more
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Files for videos are in the format of MOTChallenge, a line for each box: \
frame,id,left,top,width,height,confidence, with frames counted from 1. Boxes of the truth with the \
confidence 0 are not evaluated. For pictures, the truth is a JSON file in the format of COCO, and \
--tracks a list of COCO's results: only what was found is compared.

Examples:
  moliceiro evaluate quay-1 --truth gt.txt --tracker ocsort
  moliceiro evaluate --tracks tracks.txt --truth gt.txt")]
pub(crate) struct EvaluateArguments {
    /// The id of a video whose stored results are tracked
    #[arg(required_unless_present = "tracks", conflicts_with = "tracks")]
    video: Option<String>,
    /// What was found, instead of a video: tracks, or COCO's results if the truth is JSON
    #[arg(long, value_name = "FILE")]
    tracks: Option<PathBuf>,
    /// The class that the truth is about
    #[arg(long, value_name = "CLASS", default_value = "person")]
    label: String,
    /// How to recognise an object as the same one [default: as the upload asked]
    #[arg(long, value_name = "TRACKER")]
    tracker: Option<TrackerKind>,
    /// Begin tracks with objects whose score is above this, 0 to 1 [default: as when the video was
    /// analysed]
    #[arg(long, value_name = "SCORE", value_parser = crate::analyse::score)]
    threshold: Option<f32>,
    /// The truth: boxes with identities, or labelled pictures (.json)
    #[arg(long, value_name = "FILE")]
    truth: PathBuf,
    /// Print the figures as one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArguments,
}

pub(crate) fn run(arguments: &EvaluateArguments) -> anyhow::Result<ExitCode> {
    let truth = read(&arguments.truth)?;
    let in_truth = || format!("the truth {}", arguments.truth.display());
    match &arguments.tracks {
        Some(file) if is_json(&arguments.truth, &truth) => {
            let labelled = Labelled::parse(&truth).with_context(in_truth)?;
            let found = labelled.parse_found(&read(file)?);
            let found = found.with_context(|| format!("the tracks {}", file.display()))?;
            print(&labelled.compare(&found), arguments.json)?;
            Ok(ExitCode::SUCCESS)
        }
        Some(file) => {
            let truth = motchallenge::parse(&truth).with_context(in_truth)?;
            let tracks = motchallenge::parse(&read(file)?);
            let tracks = tracks.with_context(|| format!("the tracks {}", file.display()))?;
            print(&Tracking::of(&Sequence::new(&truth, &tracks)?), arguments.json)?;
            Ok(ExitCode::SUCCESS)
        }
        None => {
            let truth = motchallenge::parse(&truth).with_context(in_truth)?;
            let video = VideoId::try_from(arguments.video.clone().unwrap_or_default())?;
            let EvaluateArguments { tracker, threshold, .. } = *arguments;
            let tracking = tracker.map(|tracker| moliceiro_nats::messages::Tracking {
                tracker: Some(tracker),
                ..moliceiro_nats::messages::Tracking::default()
            });
            let question = Question { threshold, tracking, ..Question::default() };
            Client::new(&arguments.store, "moliceiro evaluate")?.run(async |streams| {
                let found = tracked_boxes(&streams, &video, &question).await?;
                let TrackedBoxes { boxes, missing_frames } = found;
                if missing_frames > 0 {
                    writeln!(
                        std::io::stderr(),
                        "moliceiro: the results of {missing_frames} frames are not stored any \
                         more: in the figures, nothing was found in them"
                    )?;
                }
                let of_class = boxes.into_iter().filter(|found| found.label == arguments.label);
                let tracks = of_class.map(row).collect::<Vec<_>>();
                print(&Tracking::of(&Sequence::new(&truth, &tracks)?), arguments.json)
            })
        }
    }
}

fn row(found: TrackedBox) -> Row {
    let [left, top, right, bottom] = found.bounds.map(f64::from);
    Row {
        frame: found.frame + 1,
        id: found.track,
        bounds: Bounds { left, top, right, bottom },
        confidence: Some(f64::from(found.score)),
        class: None,
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn is_json(path: &Path, file: &[u8]) -> bool {
    let named = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json"));
    named || file.trim_ascii_start().starts_with(b"{")
}

fn print(figures: &(impl Display + Serialize), json: bool) -> anyhow::Result<()> {
    let text = match json {
        true => String::from_utf8_lossy(&to_json(figures)).into_owned(),
        false => figures.to_string(),
    };
    Ok(writeln!(stdout(), "{text}")?)
}
