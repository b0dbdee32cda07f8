use std::path::PathBuf;
use std::time::Duration;

use moliceiro_api::HttpSettings;
use moliceiro_nats::messages::{
    Deinterlace, Encoding, Fit, FrameSelection, Size, UploadDefaults, WINDOWS,
};
use moliceiro_service::settings::{Problem, list};
use moliceiro_service::{Section, Service, ServiceSection, Settings, SettingsError};
use serde::{Deserialize, Serialize};

use crate::allow::Allowed;
use moliceiro_decode::DecodeSettings;

/// Settings `[ingest]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IngestSettings {
    /// Width of the pictures for detectors, in pixels: the model's input width.
    pub width: u32,
    /// Height of the pictures for detectors, in pixels: the model's input height.
    pub height: u32,
    /// How a frame is fitted into the picture: `letterbox` (black border around it), `stretch`,
    /// `area` (a rectangle of the frame's shape with about width × height pixels) or `within` (a
    /// smaller rectangle, within width × height). The sides of rectangles are multiples of 32.
    pub fit: Fit,
    /// `jpeg` (small, for networks) or `i420` (larger, costs no time to encode).
    pub encoding: Encoding,
    /// 1 (small) to 100 (like the original). Below 90, detections of faint objects are unstable.
    pub jpeg_quality: u8,
    /// How interlaced video is analysed: `auto` (each frame as it is at one moment), `off` (as it
    /// is stored, which is combed where something moves) or `fields` (each field as a frame).
    /// Default for uploads that do not say.
    pub deinterlace: Deinterlace,
    /// Analyse every Nth frame only. Default for uploads that do not say.
    pub every: u64,
    /// Keep up to 16 thumbnails of each video, for the page.
    pub stills: bool,
    /// Maximum number of videos decoded at the same time.
    pub videos: usize,
    /// Maximum number of frames of one video in flight to the server, not acknowledged yet.
    pub publish_window: usize,
    /// Give up a video that yields no frame for this long.
    #[serde(with = "humantime_serde")]
    pub stall_timeout: Duration,
    /// Length of the windows that a live source is split into. Default for uploads that do not say.
    #[serde(with = "humantime_serde")]
    pub window: Duration,
    /// Folders, files and beginnings of URIs that videos may be read from, besides
    /// `obj://uploads/`.
    #[serde(with = "list")]
    pub allow: Vec<String>,
    /// Folder for an uploaded or fetched video while it is decoded. Not set: the system's folder
    /// for temporary files.
    pub spool: Option<PathBuf>,
}

impl Default for IngestSettings {
    fn default() -> Self {
        Self {
            width: 416,
            height: 416,
            fit: Fit::Area,
            encoding: Encoding::Jpeg,
            jpeg_quality: 95,
            deinterlace: Deinterlace::Auto,
            every: 1,
            stills: true,
            videos: 4,
            publish_window: 16,
            stall_timeout: Duration::from_secs(30),
            window: Duration::from_secs(60),
            allow: vec![],
            spool: None,
        }
    }
}

impl Section for IngestSettings {
    const NAME: &'static str = "ingest";

    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut check = |ok: bool, key, what: &str| {
            if !ok {
                problems.push(Problem::new(key, what));
            }
        };
        check((16..=Size::MAX_SIDE).contains(&self.width), "width", "16 to 2048 pixels");
        check((16..=Size::MAX_SIDE).contains(&self.height), "height", "16 to 2048 pixels");
        check((1..=100).contains(&self.jpeg_quality), "jpeg_quality", "1 to 100");
        check(self.every >= 1, "every", "1 (every frame) or more");
        check((1..=64).contains(&self.videos), "videos", "1 to 64");
        check((1..=1024).contains(&self.publish_window), "publish_window", "1 to 1024");
        check(self.stall_timeout >= Duration::from_millis(100), "stall_timeout", "100ms or longer");
        check(WINDOWS.contains(&self.window), "window", "1s to 1day");
        check(
            Allowed::new(&self.allow).is_ok(),
            "allow",
            "absolute paths, or beginnings of URIs such as rtsp://camera/",
        );
        problems
    }
}

impl IngestSettings {
    /// How to decode a video: the frames that `choice` selects, from index `skip_before` on.
    pub fn decoding(&self, choice: FrameSelection, skip_before: u64) -> DecodeSettings {
        DecodeSettings {
            fit: self.fit,
            encoding: self.encoding,
            jpeg_quality: self.jpeg_quality,
            deinterlace: choice.deinterlace.unwrap_or(self.deinterlace),
            selection: choice,
            skip_before,
            thumbnails: self.stills,
            queue: self.publish_window.min(8),
            stall_timeout: self.stall_timeout,
            ..DecodeSettings::new(Size { width: self.width, height: self.height })
        }
    }
}

impl ServiceSection for IngestSettings {
    const METRICS_PORT: u16 = 9471;
}

/// All settings of an ingest, which serves HTTP too.
#[derive(Clone, Debug)]
pub struct IngestService {
    /// `[ingest]`, and what every service has.
    pub ingest: Service<IngestSettings>,
    /// `[http]`
    pub http: HttpSettings,
    /// What an upload over HTTP gets that leaves it out, besides what `[ingest]` says.
    pub defaults: UploadDefaults,
}

impl IngestService {
    /// Reads and checks the sections.
    pub fn from_settings(settings: &Settings) -> Result<Self, SettingsError> {
        let defaults = UploadDefaults::default();
        Ok(Self { ingest: Service::from_settings(settings)?, http: settings.section()?, defaults })
    }
}
