use std::io::Write;
use std::process::ExitCode;

use anyhow::bail;
use clap::Parser;
use moliceiro_nats::VideoId;
use moliceiro_nats::messages::{AlarmRule, Tracking, to_json};
use moliceiro_replay::{Analysis, Question, ReplayError, analyse};
use moliceiro_run::TrackingArguments;
use moliceiro_service::stdout;

use crate::client::{Client, StoreArguments};

/// Asks the stored results of a video again, with another threshold, tracker, lines or zones
#[derive(Clone, Debug, Parser)]
#[command(after_help = "\
Nothing is decoded or detected again, and nothing is stored. What is left out is as the upload asked.

Examples:
  moliceiro analyse bikes-1 --line \"gate: 0.5,0 0.5,1\"
  moliceiro analyse bikes-1 --threshold 0.3 --json
  moliceiro analyse bikes-1 --records tracks > tracks.ndjson")]
pub(crate) struct AnalyseArguments {
    /// The video's id
    video: String,
    /// Count objects whose score is above this, 0 to 1; results hold those above the detector's
    /// floor [default: as when the video was analysed]
    #[arg(long, value_name = "SCORE", value_parser = score)]
    threshold: Option<f32>,
    #[command(flatten)]
    tracking: TrackingArguments,
    /// A rule whose alarms are printed, such as "person crosses gate"; may be repeated
    #[arg(long = "alarm", value_name = "RULE")]
    alarms: Vec<AlarmRule>,
    /// Print JSON
    #[arg(long, conflicts_with = "records")]
    json: bool,
    /// Print each track, crossing or visit as a line of JSON instead
    #[arg(long, value_name = "KIND", value_parser = ["tracks", "crossings", "visits"])]
    records: Option<String>,
    #[command(flatten)]
    store: StoreArguments,
}

pub(crate) fn score(text: &str) -> Result<f32, String> {
    let score = text.parse().ok().filter(|score| (0.0..=1.0).contains(score));
    score.ok_or_else(|| "must be a number from 0 to 1".to_owned())
}

pub(crate) fn run(arguments: &AnalyseArguments) -> anyhow::Result<ExitCode> {
    let video = VideoId::try_from(arguments.video.clone())?;
    let AnalyseArguments { threshold, tracking, alarms, .. } = arguments;
    let Tracking { tracker, lines, zones } = tracking.places()?;
    let question = Question {
        threshold: *threshold,
        tracker,
        lines: (!lines.is_empty()).then_some(lines),
        zones: (!zones.is_empty()).then_some(zones),
        alarms: (!alarms.is_empty()).then(|| alarms.clone()),
    };
    Client::new(&arguments.store, "moliceiro analyse")?.run(async |streams| {
        let analysis = analyse(&streams, &video, &question).await.map_err(explained)?;
        print(&analysis, arguments)
    })
}

/// What does not fit the video is wrong usage.
fn explained(error: ReplayError) -> anyhow::Error {
    match error {
        ReplayError::Invalid(invalid) => moliceiro_run::wrong_option(&invalid).into(),
        other => other.into(),
    }
}

fn print(analysis: &Analysis, arguments: &AnalyseArguments) -> anyhow::Result<()> {
    if analysis.processed_frames == 0 && analysis.missing_frames > 0 {
        bail!(
            "no results of video {} are stored any more: streams.keep_detections says how long",
            analysis.video
        );
    }
    if let Some(gap) = analysis.gap() {
        writeln!(std::io::stderr(), "moliceiro: {gap}")?;
    }
    for notice in &analysis.notices {
        writeln!(std::io::stderr(), "moliceiro: {notice}")?;
    }
    let mut out = stdout();
    match arguments.records.as_deref() {
        Some("tracks") => lines(&mut out, analysis.track_records.iter().map(to_json))?,
        Some("crossings") => lines(&mut out, analysis.crossings.iter().map(to_json))?,
        Some(_) => lines(&mut out, analysis.visits.iter().map(to_json))?,
        None if arguments.json => lines(&mut out, [to_json(analysis)])?,
        None => writeln!(out, "{analysis}")?,
    }
    Ok(out.flush()?)
}

fn lines(out: &mut impl Write, records: impl IntoIterator<Item = Vec<u8>>) -> std::io::Result<()> {
    records.into_iter().try_for_each(|mut record| {
        record.push(b'\n');
        out.write_all(&record)
    })
}
