use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use moliceiro_evaluate::coco::Labelled;
use moliceiro_evaluate::{Sequence, Tracking, motchallenge};
use moliceiro_nats::messages::to_json;
use moliceiro_service::stdout;
use serde::Serialize;
use std::fmt::Display;

/// Compares what was tracked with a known truth: MOTA, IDF1, HOTA, AP50 and more
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Files for videos are in the format of MOTChallenge, a line for each box: \
frame,id,left,top,width,height,confidence, with frames counted from 1. Boxes of the truth with the \
confidence 0 are not evaluated. For pictures, the truth is a JSON file in the format of COCO, and \
--tracks a list of COCO's results: only what was found is compared.

Example:
  moliceiro evaluate --tracks tracks.txt --truth gt.txt")]
pub(crate) struct EvaluateArguments {
    /// What was found: tracks, or COCO's results if the truth is JSON
    #[arg(long, value_name = "FILE")]
    tracks: PathBuf,
    /// The truth: boxes with identities, or labelled pictures (.json)
    #[arg(long, value_name = "FILE")]
    truth: PathBuf,
    /// Print the figures as one line of JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &EvaluateArguments) -> anyhow::Result<ExitCode> {
    let (truth, tracks) = (read(&arguments.truth)?, read(&arguments.tracks)?);
    let in_truth = || format!("the truth {}", arguments.truth.display());
    let in_tracks = || format!("the tracks {}", arguments.tracks.display());
    if is_json(&arguments.truth, &truth) {
        let labelled = Labelled::parse(&truth).with_context(in_truth)?;
        let found = labelled.parse_found(&tracks).with_context(in_tracks)?;
        print(&labelled.compare(&found), arguments.json)?;
    } else {
        let truth = motchallenge::parse(&truth).with_context(in_truth)?;
        let tracks = motchallenge::parse(&tracks).with_context(in_tracks)?;
        print(&Tracking::of(&Sequence::new(&truth, &tracks)?), arguments.json)?;
    }
    Ok(ExitCode::SUCCESS)
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
