use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use moliceiro_evaluate::coco::{Found, Labelled};
use moliceiro_evaluate::motchallenge::Row;
use moliceiro_evaluate::{Bounds, Sequence, Tracking, motchallenge};
use moliceiro_nats::messages::{TrackerKind, to_json};
use moliceiro_nats::{Streams, VideoId};
use moliceiro_replay::{CountedBox, Question, TrackedBox, counted_boxes, tracked_boxes};
use moliceiro_service::stdout;
use serde::Serialize;

use crate::client::{Client, StoreArguments};

/// Compares what was tracked with a known truth: MOTA, IDF1, HOTA, AP50 and more
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Files for videos are in the format of MOTChallenge, a line for each box: \
frame,id,left,top,width,height,confidence, with frames counted from 1. Boxes of the truth with the \
confidence 0 are not evaluated. For pictures, the truth is a JSON file in the format of COCO; the \
video is the folder of these pictures, or --tracks a list of COCO's results. Only what was found is \
compared.

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
    #[arg(long, value_name = "CLASS", default_value = "person", conflicts_with = "tracks")]
    label: String,
    /// How to recognise an object as the same one [default: as the upload asked]
    #[arg(long, value_name = "TRACKER", conflicts_with = "tracks", value_parser = tracker)]
    tracker: Option<TrackerKind>,
    /// Begin tracks with objects whose score is above this, 0 to 1 [default: as when the video was
    /// analysed]
    #[arg(
        long, value_name = "SCORE", conflicts_with = "tracks", value_parser = crate::analyse::score
    )]
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
        Some(file) if is_json(file, &read(file)?) => {
            let (truth, file) = (arguments.truth.display(), file.display());
            bail!("the tracks {file} are JSON, and the truth {truth} is not: both must be of COCO")
        }
        Some(file) => {
            let truth = motchallenge::parse(&truth).with_context(in_truth)?;
            let tracks = motchallenge::parse(&read(file)?);
            let tracks = tracks.with_context(|| format!("the tracks {}", file.display()))?;
            print(&Tracking::of(&Sequence::new(&truth, &tracks)?), arguments.json)?;
            Ok(ExitCode::SUCCESS)
        }
        None => {
            let video = VideoId::try_from(arguments.video.clone().unwrap_or_default())?;
            let client = Client::new(&arguments.store, "moliceiro evaluate")?;
            if is_json(&arguments.truth, &truth) {
                let labelled = Labelled::parse(&truth).with_context(in_truth)?;
                client.run(async |streams| {
                    let found = found_in(&labelled, &streams, &video, arguments.threshold).await?;
                    print(&labelled.compare(&found), arguments.json)
                })
            } else {
                let truth = motchallenge::parse(&truth).with_context(in_truth)?;
                client.run(async |streams| {
                    let tracks = tracks(&truth, &streams, &video, arguments).await?;
                    print(&Tracking::of(&Sequence::new(&truth, &tracks)?), arguments.json)
                })
            }
        }
    }
}

fn tracker(name: &str) -> Result<TrackerKind, String> {
    let tracker = name.parse().ok().filter(|tracker| *tracker != TrackerKind::None);
    tracker.ok_or_else(|| "must be bytetrack or ocsort".to_owned())
}

/// The tracks of a video. Says on standard error what the figures do not say.
async fn tracks(
    truth: &[Row],
    streams: &Streams,
    video: &VideoId,
    arguments: &EvaluateArguments,
) -> anyhow::Result<Vec<Row>> {
    let EvaluateArguments { tracker, threshold, ref label, .. } = *arguments;
    let question = Question { threshold, tracker, ..Question::default() };
    let found = tracked_boxes(streams, video, &question).await?;
    if found.tracker == TrackerKind::None {
        bail!("the upload's tracker is none: choose one with --tracker");
    }
    let mut notices = Vec::new();
    if !found.is_finished {
        notices.push("the video is not finished: the figures are about what is counted".to_owned());
    }
    if found.missing_frames > 0 {
        notices.push(format!(
            "the results of {} frames are not stored any more: in the figures, nothing was found \
             in them",
            found.missing_frames
        ));
    }
    let is_unknown = |row: &&Row| !found.frames.contains(&row.frame.saturating_sub(1));
    let unknown = truth.iter().filter(|row| row.confidence != Some(0.0)).filter(is_unknown);
    let (mut boxes, mut frames) = (0, BTreeSet::new());
    unknown.for_each(|row| {
        boxes += 1;
        frames.insert(row.frame);
    });
    if let (Some(first), Some(last)) = (frames.first(), frames.last()) {
        notices.push(format!(
            "{boxes} boxes of the truth are in {} frames without a result ({first} to {last}, \
             counted from 1): they count as missed",
            frames.len()
        ));
    }
    let others: BTreeSet<_> = found.boxes.iter().map(|found| found.label.clone()).collect();
    if !others.contains(label) {
        let others = Vec::from_iter(others).join(", ");
        let others = if others.is_empty() { "none".to_owned() } else { others };
        notices.push(format!("no track is of the class {label:?}; classes with tracks: {others}"));
    }
    say(&notices)?;
    let of_class = found.boxes.into_iter().filter(|found| found.label == *label);
    Ok(of_class.map(row).collect())
}

/// What was found in a folder of the labelled pictures.
async fn found_in(
    labelled: &Labelled,
    streams: &Streams,
    video: &VideoId,
    threshold: Option<f32>,
) -> anyhow::Result<Vec<Found>> {
    let counted = counted_boxes(streams, video, threshold).await?;
    let pictures = labelled.pictures.len();
    if !counted.is_finished || counted.frames != pictures {
        let state = if counted.is_finished { "" } else { " so far" };
        bail!(
            "video {video} has {} frames{state}, and the truth {pictures} pictures: it must be the \
             folder of these pictures, all of them analysed",
            counted.frames
        );
    }
    let classes: BTreeMap<&str, u64> =
        labelled.classes.iter().map(|(id, name)| (name.as_str(), *id)).collect();
    let mut others = BTreeSet::new();
    let mut found = Vec::new();
    for CountedBox { place, label, score, bounds } in counted.boxes {
        let Some(class) = classes.get(label.as_str()) else {
            others.insert(label);
            continue;
        };
        let [left, top, right, bottom] = bounds.map(f64::from);
        found.push(Found {
            picture: labelled.pictures[place].id,
            class: *class,
            bbox: [left, top, right - left, bottom - top],
            score: f64::from(score),
        });
    }
    let mut notices = Vec::new();
    if counted.unknown_frames > 0 {
        let unknown = counted.unknown_frames;
        notices.push(format!("{unknown} pictures have no result: nothing was found in them"));
    }
    if !others.is_empty() {
        let others = Vec::from_iter(others).join(", ");
        notices.push(format!("not compared, because the truth does not have the class: {others}"));
    }
    say(&notices)?;
    Ok(found)
}

fn say(notices: &[String]) -> std::io::Result<()> {
    notices.iter().try_for_each(|notice| writeln!(std::io::stderr(), "moliceiro: {notice}"))
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
    named || matches!(file.trim_ascii_start().first(), Some(b'{' | b'['))
}

fn print(figures: &(impl Display + Serialize), json: bool) -> anyhow::Result<()> {
    let text = match json {
        true => String::from_utf8_lossy(&to_json(figures)).into_owned(),
        false => figures.to_string(),
    };
    Ok(writeln!(stdout(), "{text}")?)
}
