use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use moliceiro_detector::DetectorSettings;
use moliceiro_nats::embedded::EmbeddedServer;
use moliceiro_nats::messages::{
    AlarmRule, Deinterlace, Fit, Fps, Offset, RequestedSelection, WINDOWS,
};
use moliceiro_service::{CommonArguments, Settings, SettingsError};

use crate::model::ModelChoice;
use crate::options::UploadOptions;
use crate::plan::Earlier;
use crate::server;
use crate::tracking::TrackingArguments;

/// Counts the objects in videos, with everything in this one command
///
/// Starts a private NATS server and all services, counts every frame of each VIDEO, and prints the
/// summaries in the order of the VIDEOs. Nothing stays running afterwards. If you stop a run, the
/// next run finishes what it left.
#[derive(Clone, Debug, Parser)]
#[command(after_help = "\
Exit codes: 0 every frame of every video was counted; 1 at least one was not; \
64 wrong usage or settings; 130 stopped by Ctrl-C or a signal

`moliceiro status`, `detections` and `dead` read the results of a run with --data DIR.")]
pub struct RunArguments {
    /// Video or image files, folders, or file://, http://, https:// or rtsp:// URIs. A folder is
    /// the videos in it; one that has pictures only is one video
    #[arg(value_name = "VIDEO")]
    pub(crate) videos: Vec<OsString>,
    /// Also count what is in the folders of a folder
    #[arg(long, short)]
    pub(crate) recursive: bool,
    /// Print each summary as soon as it is complete
    #[arg(long)]
    pub(crate) unordered: bool,
    /// Also print the summaries of other videos that an earlier run left unfinished [default: a
    /// line for each on standard error]
    #[arg(long)]
    with_unfinished: bool,
    /// Forget the videos that an earlier run left unfinished
    #[arg(long, conflicts_with = "with_unfinished")]
    drop_unfinished: bool,
    /// Print each summary as one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// How many frames to analyse in parallel [default: the number of cores]
    #[arg(long, value_name = "N")]
    detectors: Option<String>,
    /// Ignore objects with this score or a lower one, 0 to 1 [default: the model's]
    #[arg(long, value_name = "SCORE")]
    threshold: Option<String>,
    /// Store objects with a score above this one, 0 to 1, although they do not count [default: 0.1]
    #[arg(long, value_name = "SCORE")]
    floor: Option<String>,
    /// Analyse every Nth frame only
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    every: Option<u64>,
    /// Analyse about N frames per second of the video
    #[arg(long, value_name = "N", conflicts_with = "every")]
    fps: Option<Fps>,
    /// Skip frames before this time, such as 90, 7.5 or 1m30s
    #[arg(long, value_name = "TIME")]
    start: Option<Offset>,
    /// Skip frames from this time on
    #[arg(long, value_name = "TIME")]
    end: Option<Offset>,
    /// Analyse the Nth video track of each video [default: the one that the file marks, or the
    /// first]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    video_track: Option<u32>,
    /// Split a live source (rtsp://, or Motion JPEG over http://) into windows of this length, each
    /// with its own summary [setting: ingest.window]
    #[arg(long, value_name = "TIME")]
    window: Option<Offset>,
    /// Raise an alarm when a frame matches this rule, such as "boat >= 1 for 3 frames"; may be
    /// repeated [default: the setting aggregator.alarms]
    #[arg(long = "alarm", value_name = "RULE")]
    alarms: Vec<AlarmRule>,
    /// Raise an alarm for each frame with more than N persons; short for --alarm "person > N"
    #[arg(long, value_name = "N")]
    max: Option<u32>,
    /// Analyse smaller pictures of wide and tall videos: up to twice as fast, and finds fewer small
    /// objects; short for --fit within
    #[arg(long, conflicts_with = "fit")]
    fast: bool,
    /// How to fit a frame into the model's picture: letterbox, letterbox-within, upper-left, stretch,
    /// area or within [default: what the model was measured to do best with] [setting: ingest.fit]
    #[arg(long, value_name = "HOW", value_parser = PossibleValuesParser::new(Fit::NAMES))]
    fit: Option<String>,
    /// How to analyse interlaced video: auto (each frame as it is at one moment), off (as it is
    /// stored) or fields (each field as a frame) [default: the setting ingest.deinterlace]
    #[arg(long, value_name = "HOW", value_parser = deinterlace_parser())]
    deinterlace: Option<Deinterlace>,
    /// Do not analyse a frame that differs little from the analysed one before it: it keeps the
    /// objects of that one. Much faster where a camera stands still
    #[arg(long)]
    skip_still: bool,
    /// Decode key frames only: much faster, and sees an object only if one shows it
    #[arg(long)]
    key_frames: bool,
    /// Model to use: nanodet, nanodet-int8, one that was added such as boats or boats@3, or a model
    /// file, which is added; may be given up to 4 times, for an analysis by each [default: the
    /// setting ingest.model]
    #[arg(long = "model", value_name = "MODEL")]
    models: Vec<String>,
    #[command(flatten)]
    tracking: TrackingArguments,
    /// Folder where the private server stores its data [default: moliceiro in your data folder]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Program to start as the private server [default: the bundled nats-server, or else the one on
    /// PATH]
    #[arg(long, value_name = "FILE")]
    nats_server: Option<PathBuf>,
    /// Also accept uploads over HTTP on an address such as 127.0.0.1:5000, until you press Ctrl-C.
    /// They get the options given here, unless they have their own [setting: http.listen]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    #[command(flatten)]
    common: CommonArguments,
}

fn deinterlace_parser() -> impl TypedValueParser<Value = Deinterlace> {
    PossibleValuesParser::new(Deinterlace::NAMES).try_map(|name| name.parse::<Deinterlace>())
}

impl RunArguments {
    /// What becomes of videos that an earlier run left. Without a VIDEO, they are what this run is
    /// for.
    pub(crate) fn earlier(&self) -> Earlier {
        if self.drop_unfinished {
            Earlier::Drop
        } else if self.with_unfinished || self.videos.is_empty() {
            Earlier::Print
        } else {
            Earlier::Report
        }
    }

    /// The options of each upload.
    ///
    /// Fails if the end is not later than the start, or if the window length is out of range.
    pub(crate) fn upload_options(&self) -> Result<UploadOptions, SettingsError> {
        let Self { every, fps, start, end, video_track, deinterlace, window, .. } = *self;
        let asked = |is_given: bool| is_given.then_some(true);
        let (skip_still, key_frames) = (asked(self.skip_still), asked(self.key_frames));
        if end.is_some_and(|end| end <= start.unwrap_or(Offset::ZERO)) {
            return Err(SettingsError::Invalid(vec!["--end must be later than --start".into()]));
        }
        if window.is_some_and(|window| !WINDOWS.contains(&window.duration())) {
            return Err(SettingsError::Invalid(vec!["--window must be 1s to 1day".into()]));
        }
        let max = self.max.map(|max| AlarmRule::more_than("person", max));
        let alarms: Vec<_> = self.alarms.iter().cloned().chain(max).collect();
        let tracking = self.tracking.tracking(&alarms)?;
        let alarms = (!alarms.is_empty()).then_some(alarms);
        let selection = RequestedSelection {
            every,
            fps,
            start,
            end,
            video_track,
            deinterlace,
            skip_still,
            key_frames,
        };
        Ok(UploadOptions { selection, window, models: vec![], alarms, tracking })
    }

    /// The effective settings of all services.
    ///
    /// Some defaults differ from those of a service, because everything runs on one machine and a
    /// person watches. Fails if a setting is invalid.
    pub fn settings(&self) -> anyhow::Result<Settings> {
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
            .flag("--floor", "detector.floor", self.floor.as_ref())
            .flag("--fit", "ingest.fit", self.fit.as_deref())
            .flag("--fast", "ingest.fit", self.fast.then_some("within"));
        Ok(loader.load()?)
    }

    /// The models that the command line names. A file is loaded and run once.
    pub(crate) fn models(&self, detector: &DetectorSettings) -> anyhow::Result<Vec<ModelChoice>> {
        self.models.iter().map(|model| ModelChoice::parse(model, detector)).collect()
    }

    /// Starts the private server, unless the settings name another server: then `None`.
    ///
    /// Fails if the program cannot be started, or if another run uses the data folder.
    pub fn start_server(&self, settings: &Settings) -> anyhow::Result<Option<EmbeddedServer>> {
        if ["nats.url", "nats.context"].iter().any(|key| settings.origin(key).is_some()) {
            return Ok(None);
        }
        server::start(self.nats_server.clone(), self.data.clone()).map(Some)
    }
}
