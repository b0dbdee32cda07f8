use std::io::Write;
use std::pin::pin;
use std::process::ExitCode;

use anyhow::bail;
use clap::Parser;
use futures_util::StreamExt;
use moliceiro_nats::messages::{Summary, VideoStatus};
use moliceiro_nats::{Streams, VideoError, VideoId};
use moliceiro_service::stdout;

use crate::client::{Client, StoreArguments};

/// Shows the state of all videos, or the details of one
#[derive(Clone, Debug, Parser)]
pub(crate) struct StatusArguments {
    /// The id of one video [default: a table of all videos]
    video: Option<String>,
    #[command(flatten)]
    store: StoreArguments,
}

pub(crate) fn run(arguments: &StatusArguments) -> anyhow::Result<ExitCode> {
    let video = arguments.video.clone().map(VideoId::try_from).transpose()?;
    Client::new(&arguments.store, "moliceiro status")?.run(async |streams| match video {
        Some(video) => show_one(&streams, &video).await,
        None => show_all(&streams).await,
    })
}

async fn show_one(streams: &Streams, video: &VideoId) -> anyhow::Result<()> {
    let Some(entry) = streams.videos().entry(video).await? else {
        bail!("video {video} does not exist; `moliceiro status` lists all videos");
    };
    let status = VideoStatus::from(entry);
    let VideoStatus { name, uri, state, alarms, .. } = &status;
    let classes = Summary::ranking(&status.classes, usize::MAX);
    let classes: Vec<_> =
        classes.iter().map(|label| format!("{label} {}", status.classes[label])).collect();
    let classes = if classes.is_empty() { "none".to_owned() } else { classes.join(", ") };
    let mut text = format!(
        "video    {video}\nname     {name}\nfrom     {uri}\nstate    {state}\nframes   {}\n",
        frames(&status)
    );
    if let Some(model) = &status.model {
        text += &format!("model    {}\n", model.name);
    }
    text += &format!("objects  {classes}\nalarms   {alarms}\n");
    if let Some(waiting) = waiting(streams, &status).await? {
        text += &format!("waiting  {waiting}\n");
    }
    if let Some(live) = &status.live {
        text += &format!("live     {live}\n");
    }
    if let Some(summary) = &status.summary {
        if let Some(problem) = &summary.problem {
            text += &format!("problem  {problem}\n");
        }
        for notice in &summary.notices {
            text += &format!("note     {notice}\n");
        }
    }
    stdout().write_all(text.as_bytes())?;
    Ok(())
}

/// Why the video's frames are not analysed, if that is because no detector serves its model.
async fn waiting(streams: &Streams, status: &VideoStatus) -> anyhow::Result<Option<String>> {
    let Some(model) = status.model.as_ref().filter(|_| !status.state.is_final()) else {
        return Ok(None);
    };
    let unserved = streams.all_detectors().await?;
    let is_unserved = unserved.iter().any(|of| of.model == model.name && of.is_unserved());
    Ok(is_unserved.then(|| format!("no detector serves the model {}", model.name)))
}

async fn show_all(streams: &Streams) -> anyhow::Result<()> {
    let mut entries = pin!(streams.videos().entries());
    let (mut videos, mut unreadable) = (Vec::new(), Vec::new());
    while let Some(entry) = entries.next().await {
        match entry {
            Ok(stored) => videos.push(VideoStatus::from(stored.entry)),
            Err(VideoError::Malformed { key, .. }) => {
                let empty = String::new;
                unreadable.push([key, "unreadable".into(), empty(), empty(), empty()]);
            }
            Err(error) => return Err(error.into()),
        }
    }
    videos.sort_by(|a, b| (a.uploaded_at, &a.video).cmp(&(b.uploaded_at, &b.video)));
    let row = |status: &VideoStatus| {
        let VideoStatus { video, name, state, alarms, .. } = status;
        [video.to_string(), state.to_string(), frames(status), alarms.to_string(), name.clone()]
    };
    let mut rows = vec![["VIDEO", "STATE", "FRAMES", "ALARMS", "NAME"].map(str::to_owned)];
    rows.extend(videos.iter().map(row).chain(unreadable));
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [0, 1, 2, 3].map(width);
    let mut out = stdout();
    for [video, state, frames, alarms, name] in &rows {
        let [a, b, c, d] = widths;
        writeln!(out, "{video:<a$}  {state:<b$}  {frames:>c$}  {alarms:>d$}  {name}")?;
    }
    Ok(())
}

/// Such as `250/250`, or `120/250 (2 failed)`: frames counted, of how many, and failed.
fn frames(status: &VideoStatus) -> String {
    let mut text = status.processed_frames.to_string();
    if let Some(all) = status.frames {
        text += &format!("/{all}");
    }
    if status.failed_frames > 0 {
        text += &format!(" ({} failed)", status.failed_frames);
    }
    text
}
