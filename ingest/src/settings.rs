use std::path::PathBuf;
use std::time::Duration;

use moliceiro_api::HttpSettings;
use moliceiro_nats::messages::{
    Deinterlace, Encoding, Fit, FrameSelection, ModelDescription, ModelId, Size, UploadDefaults,
    WINDOWS,
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
    /// The model for uploads that do not name one: `nanodet`, `nanodet-int8`, or one that was added
    /// with `moliceiro model add`, such as `boats` for its latest version or `boats@3`.
    pub model: ModelId,
    /// Width of the pictures for detectors, in pixels. Not set: the model's input width. Ignored for
    /// models that do not take this size.
    pub width: Option<u32>,
    /// Height of the pictures for detectors, in pixels. Not set: the model's input height. Ignored
    /// for models that do not take this size.
    pub height: Option<u32>,
    /// How a frame is fitted into the picture: `letterbox` (black border around it), `stretch`,
    /// `area` (a rectangle of the frame's shape with about width × height pixels) or `within` (a
    /// smaller rectangle, within width × height). The sides of rectangles are multiples of 32. Not
    /// set: what the model was measured to do best with. Ignored for models that do not take such
    /// pictures.
    pub fit: Option<Fit>,
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
    /// Do not analyse a frame that differs little from the analysed one before it: it carries the
    /// objects of that one. Default for uploads that do not say.
    pub skip_still: bool,
    /// Decode only key frames. Default for uploads that do not say.
    pub key_frames: bool,
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
            model: ModelId::default(),
            width: None,
            height: None,
            fit: None,
            encoding: Encoding::Jpeg,
            jpeg_quality: 95,
            deinterlace: Deinterlace::Auto,
            every: 1,
            skip_still: false,
            key_frames: false,
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
        let is_side =
            |side: Option<u32>| side.is_none_or(|side| (16..=Size::MAX_SIDE).contains(&side));
        check(is_side(self.width), "width", "16 to 2048 pixels");
        check(is_side(self.height), "height", "16 to 2048 pixels");
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
    /// The size of picture for a model, or else the configured size, which it does not take.
    pub fn picture_size(&self, model: &ModelDescription) -> Result<Size, Size> {
        let Size { width, height } = model.size;
        let size =
            Size { width: self.width.unwrap_or(width), height: self.height.unwrap_or(height) };
        if model.takes(size) { Ok(size) } else { Err(size) }
    }

    /// How a frame is fitted for a model, or else the configured way, which it does not take.
    pub fn picture_fit(&self, model: &ModelDescription) -> Result<Fit, Fit> {
        let fit = self.fit.unwrap_or(model.fit);
        if model.takes_fitted(fit) { Ok(fit) } else { Err(fit) }
    }

    /// How to decode a video for a model: the frames that `choice` selects, from index
    /// `skip_before` on.
    pub fn decoding(
        &self,
        model: &ModelDescription,
        choice: FrameSelection,
        skip_before: u64,
    ) -> DecodeSettings {
        DecodeSettings {
            fit: self.picture_fit(model).unwrap_or(model.fit),
            scaling: model.scaling,
            encoding: self.encoding,
            jpeg_quality: self.jpeg_quality,
            deinterlace: choice.deinterlace.unwrap_or(self.deinterlace),
            selection: choice,
            skip_before,
            thumbnails: self.stills,
            queue: self.publish_window.min(8),
            stall_timeout: self.stall_timeout,
            ..DecodeSettings::new(self.picture_size(model).unwrap_or(model.size))
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
