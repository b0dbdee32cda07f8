use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::pin::pin;
use std::process::ExitCode;

use anyhow::bail;
use clap::Parser;
use futures_util::TryStreamExt;
use moliceiro_nats::detections::detections;
use moliceiro_nats::messages::{ModelId, VideoEntry};
use moliceiro_nats::{Streams, VideoId};
use moliceiro_service::stdout;

use crate::client::{Client, StoreArguments};
use crate::rerun::explained;

/// Shows how the analyses of a video by two models differ
#[derive(Clone, Debug, Parser)]
#[command(after_help = "\
For each class: how many objects each model found in all frames together, the difference, and in \
how many frames the numbers differ. `moliceiro rerun VIDEO --model MODEL` makes a second analysis.")]
pub(crate) struct CompareArguments {
    /// The video's id
    video: String,
    /// A model, such as nanodet
    first: ModelId,
    /// Another model, such as boats@3
    second: ModelId,
    #[command(flatten)]
    store: StoreArguments,
}

/// Numbers of objects of each class, by frame.
type Frames = BTreeMap<u64, BTreeMap<String, u64>>;

pub(crate) fn run(arguments: &CompareArguments) -> anyhow::Result<ExitCode> {
    let video = VideoId::try_from(arguments.video.clone())?;
    Client::new(&arguments.store, "moliceiro compare")?.run(async |streams| {
        let first = analysis(&streams, &video, &arguments.first).await?;
        let second = analysis(&streams, &video, &arguments.second).await?;
        let frames =
            [frames(&streams, &first.video).await?, frames(&streams, &second.video).await?];
        let names = [&arguments.first, &arguments.second].map(ToString::to_string);
        print(&names, [&first, &second], &frames)
    })
}

async fn analysis(
    streams: &Streams,
    video: &VideoId,
    model: &ModelId,
) -> anyhow::Result<VideoEntry> {
    let Some(entry) = streams.videos().analysis(video, model).await.map_err(explained)? else {
        bail!(
            "{video} is not analysed by {model}: run `moliceiro rerun {video} --model {model}` first"
        );
    };
    if entry.summary.is_none() {
        bail!("the analysis {} is not finished: it is {}", entry.video, entry.state);
    }
    Ok(entry)
}

async fn frames(streams: &Streams, video: &VideoId) -> anyhow::Result<Frames> {
    let mut results = pin!(detections(streams, video));
    let mut frames = Frames::new();
    while let Some(frame) = results.try_next().await? {
        let of_frame = frames.entry(frame.index).or_default();
        for object in frame.objects.counted() {
            *of_frame.entry(object.label.to_owned()).or_default() += 1;
        }
    }
    Ok(frames)
}

fn print(
    names: &[String; 2],
    entries: [&VideoEntry; 2],
    frames: &[Frames; 2],
) -> anyhow::Result<()> {
    let labels: BTreeSet<&String> = entries.iter().flat_map(|of| of.classes.keys()).collect();
    let mut rows = vec![[
        "CLASS".to_owned(),
        names[0].clone(),
        names[1].clone(),
        "DIFFERENCE".to_owned(),
        "FRAMES".to_owned(),
    ]];
    for label in labels {
        let [a, b] = entries.map(|of| of.classes.get(label).copied().unwrap_or(0));
        let difference = i128::from(b) - i128::from(a);
        let differ = differing(frames, label);
        rows.push([
            label.clone(),
            a.to_string(),
            b.to_string(),
            format!("{difference:+}"),
            differ.to_string(),
        ]);
    }
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(width);
    for [label, first, second, difference, differ] in &rows {
        writeln!(
            stdout(),
            "{label:<a$}  {first:>b$}  {second:>c$}  {difference:>d$}  {differ:>e$}"
        )?;
    }
    let ms =
        entries.map(|of| of.summary.as_ref().map_or(0.0, |summary| summary.average_processing_ms));
    writeln!(
        stdout(),
        "\n{} and {} frames analysed, {:.1} and {:.1} ms each",
        entries[0].counted,
        entries[1].counted,
        ms[0],
        ms[1]
    )?;
    Ok(())
}

/// In how many frames the numbers of a class differ.
fn differing([first, second]: &[Frames; 2], label: &str) -> usize {
    let number = |frames: &Frames, index: &u64| {
        frames.get(index).and_then(|classes| classes.get(label)).copied().unwrap_or(0)
    };
    let indexes: BTreeSet<_> = first.keys().chain(second.keys()).collect();
    indexes.into_iter().filter(|index| number(first, index) != number(second, index)).count()
}
