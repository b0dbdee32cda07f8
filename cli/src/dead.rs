mod image;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use moliceiro_nats::dead::{DeadLetter, letters, replay};
use moliceiro_nats::messages::{AuditAction, AuditRecord};
use moliceiro_nats::{Streams, VideoId};

use crate::client::{Client, StoreArguments};

const NO_SUCH_LETTER: &str = "no such dead letter; `moliceiro dead list` lists all";

/// Lists, shows, replays or deletes dead letters: frames that no detector could analyse
#[derive(Clone, Debug, Subcommand)]
#[command(after_help = "\
Detectors analyse a replayed frame again. The summary of its video is then corrected, printed and \
published again. What `moliceiro run` stored (--data) is analysed by its next run.")]
pub(crate) enum DeadCommand {
    /// Lists dead letters, one per line: video, frame, deliveries, detector, reason
    List(Selection),
    /// Writes the picture of a dead letter to a file
    Show(ShowArguments),
    /// Puts dead letters back into the frame queue
    Replay(Selection),
    /// Deletes dead letters
    Drop(Selection),
}

/// Which dead letters a command is about.
#[derive(Clone, Debug, Args)]
pub(crate) struct Selection {
    /// Only dead letters of the video with this id [default: all]
    video: Option<String>,
    /// Only the frame with this index
    frame: Option<u64>,
    #[command(flatten)]
    store: StoreArguments,
}

/// Which dead letter to show, and where to write it.
#[derive(Clone, Debug, Args)]
pub(crate) struct ShowArguments {
    /// The id of the video
    video: String,
    /// The index of the frame
    frame: u64,
    /// Image file to write [default: VIDEO-FRAME.jpg in the current folder]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    store: StoreArguments,
}

pub(crate) fn run(command: &DeadCommand) -> anyhow::Result<ExitCode> {
    let store = match command {
        DeadCommand::List(selection)
        | DeadCommand::Replay(selection)
        | DeadCommand::Drop(selection) => &selection.store,
        DeadCommand::Show(arguments) => &arguments.store,
    };
    let client = Client::new(store, "moliceiro dead")?;
    let who = client.who();
    client.run(async |streams| match command {
        DeadCommand::List(selection) => list(&selection.letters(&streams).await?),
        DeadCommand::Show(arguments) => write_image(arguments, &streams).await,
        DeadCommand::Replay(selection) => {
            for letter in selection.at_least_one(&streams).await? {
                replay(&streams, &letter).await?;
                audit(&streams, &who, AuditAction::Replay, &letter).await;
                print(&format!("replayed {} {}", letter.video, letter.failed.index))?;
            }
            Ok(())
        }
        DeadCommand::Drop(selection) => {
            for letter in selection.at_least_one(&streams).await? {
                streams.dead.delete_message(letter.sequence).await?;
                audit(&streams, &who, AuditAction::Drop, &letter).await;
                print(&format!("dropped {} {}", letter.video, letter.failed.index))?;
            }
            Ok(())
        }
    })
}

async fn audit(streams: &Streams, who: &str, action: AuditAction, letter: &DeadLetter) {
    streams.audit(AuditRecord::now(who, action).of_video(letter.video.clone())).await;
}

impl Selection {
    async fn letters(&self, streams: &Streams) -> anyhow::Result<Vec<DeadLetter>> {
        let video = self.video.clone().map(VideoId::try_from).transpose()?;
        letters(&streams.dead, video.as_ref(), self.frame)
            .await
            .context("cannot read the dead letters")
    }

    async fn at_least_one(&self, streams: &Streams) -> anyhow::Result<Vec<DeadLetter>> {
        let letters = self.letters(streams).await?;
        if letters.is_empty() {
            bail!(NO_SUCH_LETTER);
        }
        Ok(letters)
    }
}

fn print(line: &str) -> std::io::Result<()> {
    writeln!(moliceiro_service::stdout(), "{line}")
}

fn list(letters: &[DeadLetter]) -> anyhow::Result<()> {
    for DeadLetter { video, failed, .. } in letters {
        let detector = failed.detector.as_deref().unwrap_or("-");
        print(&format!(
            "{video}\t{}\t{}\t{detector}\t{}",
            failed.index, failed.deliveries, failed.reason
        ))?;
    }
    Ok(())
}

async fn write_image(arguments: &ShowArguments, streams: &Streams) -> anyhow::Result<()> {
    let video = VideoId::try_from(arguments.video.clone())?;
    let found = letters(&streams.dead, Some(&video), Some(arguments.frame))
        .await
        .context("cannot read the dead letters")?;
    let Some(letter) = found.last() else { bail!(NO_SUCH_LETTER) };
    let image = image::of(&letter.payload).with_context(|| {
        format!("cannot make a picture of frame {} of {video}", arguments.frame)
    })?;
    let path = arguments
        .output
        .clone()
        .unwrap_or_else(|| format!("{video}-{}.jpg", arguments.frame).into());
    std::fs::write(&path, image).with_context(|| format!("cannot write {}", path.display()))?;
    print(&format!(
        "{}: dead-lettered after {} deliveries: {}",
        path.display(),
        letter.failed.deliveries,
        letter.failed.reason
    ))?;
    Ok(())
}
