//! Frames that were given up: what they are, and what becomes of them.

mod image;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use moliceiro_nats::dead::{DeadLetter, letters, replay};
use moliceiro_nats::{Streams, VideoId};
use moliceiro_service::CommonArguments;

use crate::reader::read;

/// Lists, shows, replays or drops frames that were given up
#[derive(Clone, Debug, Subcommand)]
#[command(
    after_help = "A replayed frame is looked at again. Its video's summary is then corrected, and printed and published again."
)]
pub(crate) enum DeadCommand {
    /// Lists them, a line each: video, frame, deliveries, detector, reason
    List(Chosen),
    /// Writes one out as an image
    Show(Show),
    /// Puts them back into the frame queue
    Replay(Chosen),
    /// Forgets them
    Drop(Chosen),
}

/// Which frames.
#[derive(Clone, Debug, Args)]
pub(crate) struct Chosen {
    /// Only this video's, by its id [default: all]
    video: Option<String>,
    /// Only this frame, by its index
    frame: Option<u64>,
    #[command(flatten)]
    common: CommonArguments,
}

/// Which frame, and where to.
#[derive(Clone, Debug, Args)]
pub(crate) struct Show {
    /// The video's id
    video: String,
    /// The frame's index
    frame: u64,
    /// Image to write [default: VIDEO-FRAME.jpg here]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    common: CommonArguments,
}

pub(crate) fn run(command: &DeadCommand) -> anyhow::Result<ExitCode> {
    let common = match command {
        DeadCommand::List(chosen) | DeadCommand::Replay(chosen) | DeadCommand::Drop(chosen) => {
            &chosen.common
        }
        DeadCommand::Show(show) => &show.common,
    };
    read(common, "moliceiro dead", async |streams| match command {
        DeadCommand::List(chosen) => list(&chosen.letters(&streams).await?),
        DeadCommand::Show(show) => write_image(show, &streams).await,
        DeadCommand::Replay(chosen) => {
            for letter in chosen.at_least_one(&streams).await? {
                replay(&streams, &letter).await?;
                say(&format!("replayed {} {}", letter.video, letter.failed.index))?;
            }
            Ok(())
        }
        DeadCommand::Drop(chosen) => {
            for letter in chosen.at_least_one(&streams).await? {
                streams.dead.delete_message(letter.sequence).await?;
                say(&format!("dropped {} {}", letter.video, letter.failed.index))?;
            }
            Ok(())
        }
    })
}

impl Chosen {
    async fn letters(&self, streams: &Streams) -> anyhow::Result<Vec<DeadLetter>> {
        let video = self.video.clone().map(VideoId::try_from).transpose()?;
        letters(&streams.dead, video.as_ref(), self.frame)
            .await
            .context("cannot read the dead letters")
    }

    async fn at_least_one(&self, streams: &Streams) -> anyhow::Result<Vec<DeadLetter>> {
        let letters = self.letters(streams).await?;
        if letters.is_empty() {
            bail!("there is no such dead letter; `moliceiro dead list` lists all");
        }
        Ok(letters)
    }
}

fn say(line: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{line}")
}

fn list(letters: &[DeadLetter]) -> anyhow::Result<()> {
    for DeadLetter { video, failed, .. } in letters {
        let detector = failed.detector.as_deref().unwrap_or("-");
        say(&format!(
            "{video}\t{}\t{}\t{detector}\t{}",
            failed.index, failed.deliveries, failed.reason
        ))?;
    }
    Ok(())
}

async fn write_image(show: &Show, streams: &Streams) -> anyhow::Result<()> {
    let video = VideoId::try_from(show.video.clone())?;
    let found = letters(&streams.dead, Some(&video), Some(show.frame))
        .await
        .context("cannot read the dead letters")?;
    let Some(letter) = found.last() else {
        bail!("there is no such dead letter; `moliceiro dead list` lists all")
    };
    let image = image::of(&letter.payload)
        .with_context(|| format!("frame {} of {video} is no picture", show.frame))?;
    let path = show.output.clone().unwrap_or_else(|| format!("{video}-{}.jpg", show.frame).into());
    std::fs::write(&path, image).with_context(|| format!("cannot write {}", path.display()))?;
    say(&format!(
        "{}: given up after {} deliveries: {}",
        path.display(),
        letter.failed.deliveries,
        letter.failed.reason
    ))?;
    Ok(())
}
