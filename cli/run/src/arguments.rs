use std::path::PathBuf;

use clap::Parser;
use moliceiro_decode::FIT_STEP;
use moliceiro_detector::{DetectorSettings, open_model};
use moliceiro_ingest::IngestSettings;
use moliceiro_nats::embedded::EmbeddedServer;
use moliceiro_nats::messages::{AlarmRule, Fps, Offset, Size, WINDOWS};
use moliceiro_service::{CommonArguments, Settings, SettingsError, bundled};

use super::is_given;
use super::videos::Wanted;

/// Counts the objects in videos: everything in this one command
///
/// Starts a private NATS server and all services, counts every frame of each VIDEO, prints each
/// summary as it is complete, and leaves nothing running. What a run that was stopped left undone,
/// the next one finishes.
#[derive(Clone, Debug, Parser)]
#[command(
    after_help = "Exit codes: 0 every frame of every video was counted; 1 one was not; 64 wrong usage or settings; 130 stopped by Ctrl-C or a signal"
)]
pub struct RunArguments {
    /// Files (videos or still images), folders of pictures, file:// URIs, http:// addresses, or
    /// rtsp:// ones
    #[arg(value_name = "VIDEO")]
    pub videos: Vec<String>,
    /// Print summaries as JSON, one object a line
    #[arg(long)]
    pub json: bool,
    /// Frames looked at at the same time [default: as many as cores]
    #[arg(long, value_name = "N")]
    detectors: Option<String>,
    /// Objects scored no higher are left out, 0 to 1 [default: the model's]
    #[arg(long, value_name = "SCORE")]
    threshold: Option<String>,
    /// Look at each N-th frame only
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    every: Option<u64>,
    /// Look at about so many frames per second of the video
    #[arg(long, value_name = "N", conflicts_with = "every")]
    fps: Option<Fps>,
    /// Look at no frame before this time, such as 90, 7.5 or 1m30s
    #[arg(long, value_name = "TIME")]
    start: Option<Offset>,
    /// Look at no frame at this time or later
    #[arg(long, value_name = "TIME")]
    end: Option<Offset>,
    /// Cut a live source (rtsp://, or Motion JPEG by http://) into parts of this length, each with
    /// its summary [setting: ingest.window]
    #[arg(long, value_name = "TIME")]
    window: Option<Offset>,
    /// Raise an alarm when this holds in a frame, such as "boat >= 1 for 3 frames"; may be repeated
    /// [default: aggregator.alarms]
    #[arg(long = "alarm", value_name = "RULE")]
    alarms: Vec<AlarmRule>,
    /// Raise an alarm for each frame with more than N persons, as --alarm "person > N" does
    #[arg(long, value_name = "N")]
    max: Option<u32>,
    /// Leave out the black border of wide and high video: faster, and counts differ a little
    /// [setting: ingest.fit]
    #[arg(long)]
    fit: bool,
    /// Model to use: nanodet, nanodet-int8, or a file with its manifest (.toml) beside it [default:
    /// nanodet]
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Folder for the private server's store [default: moliceiro in the user's data folder]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Program to run as the private server [default: the one that came with this program, or the
    /// one on PATH]
    #[arg(long, value_name = "FILE")]
    nats_server: Option<PathBuf>,
    /// Take uploads by HTTP too, such as 127.0.0.1:5000, and go on until Ctrl-C [setting:
    /// http.listen]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    #[command(flatten)]
    common: CommonArguments,
}

impl RunArguments {
    /// What is asked of each video that is named.
    pub fn wanted(&self) -> Result<Wanted, SettingsError> {
        let Self { every, fps, start, end, window, .. } = *self;
        if end.is_some_and(|end| end <= start.unwrap_or(Offset::ZERO)) {
            return Err(SettingsError::Invalid(vec!["--end must be later than --start".into()]));
        }
        if window.is_some_and(|window| !WINDOWS.contains(&window.duration())) {
            return Err(SettingsError::Invalid(vec!["--window must be 1s to 1day".into()]));
        }
        let most = self.max.map(|max| AlarmRule::more_than("person", max));
        let alarms: Vec<_> = self.alarms.iter().cloned().chain(most).collect();
        Ok(Wanted {
            every,
            fps,
            start,
            end,
            window,
            alarms: (!alarms.is_empty()).then_some(alarms),
        })
    }

    /// The effective settings: some defaults are other than a service's, because all is on one
    /// machine and a person looks on.
    pub fn settings(&self) -> Result<Settings, anyhow::Error> {
        const COMMAND: &str = "moliceiro run";
        let loader = self
            .common
            .loader()
            .default_for(COMMAND, "log.level", "error")
            .default_for(COMMAND, "log.format", "text")
            .default_for(COMMAND, "metrics.listen", "off")
            .default_for(COMMAND, "ingest.encoding", "i420")
            .default_for(COMMAND, "http.listen", "")
            .flag("--listen", "http.listen", self.listen.as_ref())
            .flag("--detectors", "detector.sessions", self.detectors.as_ref())
            .flag("--threshold", "detector.threshold", self.threshold.as_ref())
            .flag("--fit", "ingest.fit", self.fit.then_some("true"))
            .flag("--model", "detector.model", self.model.as_ref());
        let detector: DetectorSettings = loader.clone().load()?.section()?;
        let model = open_model(&detector)?;
        let size = model.size();
        let loader = loader.default_for("the model", "ingest.width", size.width).default_for(
            "the model",
            "ingest.height",
            size.height,
        );
        let settings = loader.load()?;
        let IngestSettings { width, height, fit, .. } = settings.section()?;
        if !model.takes(Size { width, height }) {
            let wrong = format!(
                "ingest.width × ingest.height = {width}×{height} is not what the model takes: give {}×{}",
                size.width, size.height
            );
            return Err(SettingsError::Invalid(vec![wrong]).into());
        }
        if fit && !model.takes_multiples_of(FIT_STEP) {
            let wrong = format!(
                "--fit (ingest.fit): the model {} takes pictures of {}×{} only",
                model.name(),
                size.width,
                size.height
            );
            return Err(SettingsError::Invalid(vec![wrong]).into());
        }
        Ok(settings)
    }

    /// The private server, unless the settings name another.
    pub fn start_server(
        &self,
        settings: &Settings,
    ) -> Result<Option<EmbeddedServer>, anyhow::Error> {
        if is_given(settings, "nats.url") {
            return Ok(None);
        }
        let program = self
            .nats_server
            .clone()
            .or_else(|| bundled("bin/nats-server"))
            .unwrap_or_else(|| "nats-server".into());
        let folder = match &self.data {
            Some(folder) => folder.clone(),
            None => dirs::data_dir().map(|dir| dir.join("moliceiro")).ok_or_else(|| {
                SettingsError::Invalid(vec![
                    "there is no home directory to keep data in: give a folder with --data".into(),
                ])
            })?,
        };
        Ok(Some(EmbeddedServer::start(&program, &folder)?))
    }
}
