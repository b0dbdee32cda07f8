//! `moliceiro plan`: machines, queue, disk and network for a number of cameras.

mod demand;
mod figures;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use moliceiro_service::{EX_USAGE, stdout};
use serde_json::json;

use demand::{Demand, Site};
use figures::{DECODED_PIXELS, FRAME_BYTES, MODELS, RESULT_BYTES, USED};

/// Computes the machines, queue, disk and network that cameras need, from measured figures
///
/// It asks no server. The figures are those of docs/capacity.md, of two shared cores of an AMD EPYC:
/// measure your own with `moliceiro bench`, and give --frames-per-core.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  moliceiro plan --cameras 20 --fps 5 --model nanodet
  moliceiro plan --cameras 20 --fps 5 --model boats --frames-per-core 12 --replicas 3 --cores 16")]
pub(crate) struct PlanArguments {
    /// Cameras that are followed at the same time
    #[arg(long, value_name = "N")]
    cameras: u32,
    /// Frames a second that are analysed of each camera
    #[arg(long, value_name = "N")]
    fps: f64,
    /// The model that analyses them
    #[arg(long, value_name = "NAME", default_value = "nanodet")]
    model: String,
    /// Frames a second of the model on one core [default: as measured, for the built-in models]
    #[arg(long, value_name = "N")]
    frames_per_core: Option<f64>,
    /// Frames a second that each camera sends: all of them are decoded
    #[arg(long, value_name = "N", default_value_t = 25.0)]
    sent_fps: f64,
    /// The size of their frames
    #[arg(long, value_name = "WIDTHxHEIGHT", default_value = "1280x720")]
    size: String,
    /// Megabits a second that each camera sends
    #[arg(long, value_name = "N", default_value_t = 4.0)]
    megabits: f64,
    /// How long all detectors may be down without a frame being dropped
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    outage: Duration,
    /// How long the objects found in each frame are kept (streams.keep_detections)
    #[arg(long, value_name = "TIME", default_value = "7days", value_parser = humantime::parse_duration)]
    keep: Duration,
    /// Servers that have a copy of everything: 1, 3 or 5 (streams.replicas)
    #[arg(long, value_name = "N", default_value_t = 1)]
    replicas: u8,
    /// Cores of a machine
    #[arg(long, value_name = "N", default_value_t = 8)]
    cores: u32,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl PlanArguments {
    fn site(&self) -> anyhow::Result<Site> {
        let size = self.size.split_once('x').and_then(|(width, height)| {
            Some((width.parse::<u16>().ok()?, height.parse::<u16>().ok()?))
        });
        let Some((width, height)) = size.filter(|(width, height)| *width > 0 && *height > 0) else {
            bail!("--size {:?}: give such as 1280x720", self.size)
        };
        let known = MODELS.iter().find(|figure| figure.model == self.model);
        let frames_per_core = self.frames_per_core.or(known.map(|figure| figure.frames_per_core));
        let Some(frames_per_core) = frames_per_core else {
            bail!(
                "the speed of {:?} was not measured: give --frames-per-core, which `moliceiro \
                 bench` or the metric moliceiro_model_detector_frames_per_second says",
                self.model
            )
        };
        let positive = [
            ("--fps", self.fps),
            ("--frames-per-core", frames_per_core),
            ("--sent-fps", self.sent_fps),
            ("--megabits", self.megabits),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, n)| !(0.001..=1e6).contains(n)) {
            bail!("{name}: give a number from 0.001 to 1000000");
        }
        if !matches!(self.replicas, 1 | 3 | 5) || self.cameras == 0 || self.cores == 0 {
            bail!("give --replicas 1, 3 or 5, and one or more --cameras and --cores");
        }
        Ok(Site {
            cameras: self.cameras.into(),
            fps: self.fps,
            sent_fps: self.sent_fps,
            pixels: f64::from(width) * f64::from(height),
            megabits: self.megabits,
            frames_per_core,
            outage: self.outage.as_secs_f64(),
            keep_days: self.keep.as_secs_f64() / 86_400.0,
            replicas: self.replicas.into(),
            cores: self.cores.into(),
        })
    }
}

pub(crate) fn run(arguments: &PlanArguments) -> anyhow::Result<ExitCode> {
    let site = match arguments.site() {
        Ok(site) => site,
        Err(error) => {
            drop(writeln!(io::stderr(), "error: {error}"));
            return Ok(ExitCode::from(EX_USAGE));
        }
    };
    let demand = Demand::of(site);
    let text = if arguments.json { json_of(&demand) } else { text(arguments, &site, &demand) };
    write!(stdout(), "{text}")?;
    Ok(ExitCode::SUCCESS)
}

fn json_of(demand: &Demand) -> String {
    let value = json!({
        "frames_per_second": demand.frames_per_second,
        "machines": demand.machines,
        "detectors": demand.detector_cores,
        "ingest_cores": demand.ingest_cores,
        "aggregators": demand.aggregators,
        "server_cores": demand.server_cores,
        "memory_mb": demand.memory_mb.ceil(),
        "frames_max_per_video": demand.queue_frames_per_camera,
        "frames_max_bytes": demand.queue_mib * 1_048_576.0,
        "results_max_bytes": demand.results_mib * 1_048_576.0,
        "disk_bytes": demand.disk_mib * 1_048_576.0,
        "from_cameras_mbit": demand.from_cameras,
        "into_server_mbit": demand.into_server,
        "out_of_server_mbit": demand.out_of_server,
    });
    format!("{value}\n")
}

fn text(arguments: &PlanArguments, site: &Site, demand: &Demand) -> String {
    let Demand {
        frames_per_second,
        machines,
        detector_cores,
        ingest_cores,
        aggregators,
        server_cores,
        memory_mb,
        queue_frames_per_camera,
        queue_mib,
        results_mib,
        disk_mib,
        from_cameras,
        into_server,
        out_of_server,
    } = *demand;
    let PlanArguments { cameras, fps, model, size, sent_fps, .. } = arguments;
    let Site { frames_per_core, cores, replicas, .. } = *site;
    let used = USED * 100.0;
    let decoded = DECODED_PIXELS / site.pixels;
    let (frame_kb, outage) = (FRAME_BYTES / 1e3, site.outage);
    let keep = site.keep_days;
    format!(
        "{cameras} cameras, {fps} frames/s of each by {model}: {frames_per_second} frames/s\n\
         \n\
         Machines   {machines} with {cores} cores, and {replicas} for nats-server\n\
         Detectors  {detector_cores}, of one core each: {frames_per_core} frames/s of a core, \
         {used:.0} % of it used\n\
         Ingests    {ingest_cores} cores: {sent_fps} frames/s of {size} are decoded; two cores \
         decode {decoded:.0} frames/s\n\
         Aggregators {aggregators}\n\
         Server     {server_cores} cores each: 1.8 ms a frame\n\
         Memory     {memory_mb:.0} MB in all\n\
         Queue      {queue_mib} MiB: {queue_frames_per_camera} frames of each camera are \
         {outage} s without detectors, at {frame_kb} kB a frame\n\
         Disk       {disk_mib} MiB of each server: {results_mib} MiB are results of {keep} days, \
         at {RESULT_BYTES} bytes each\n\
         Network    {from_cameras:.1} Mbit/s from the cameras, {into_server:.1} into the server, \
         {out_of_server:.1} out of it\n\
         \n\
         Settings   streams.replicas={replicas} streams.frames_max_per_video={queue_frames_per_camera}\n\
         \x20          streams.frames_max_bytes={} streams.results_max_bytes={}\n\
         \n\
         The figures were measured on two shared cores of an AMD EPYC: docs/capacity.md.\n",
        queue_mib.max(1.0) * 1_048_576.0,
        results_mib.max(1.0) * 1_048_576.0,
    )
}
