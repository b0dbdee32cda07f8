use std::time::Duration;

use moliceiro_nats::messages::{Encoding, Size};
use moliceiro_nats::{NatsSettings, StreamsSettings};
use moliceiro_service::settings::Problem;
use moliceiro_service::{Base, Section, Settings, SettingsError};
use serde::{Deserialize, Serialize};

use crate::decode::DecodeSettings;

/// Settings `[ingest]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IngestSettings {
    /// Width of the picture that detectors get, in pixels: the model's input width.
    pub width: u32,
    /// Height of the picture that detectors get, in pixels: the model's input height.
    pub height: u32,
    /// `jpeg` (small, for networks) or `i420` (larger, costs nothing to make).
    pub encoding: Encoding,
    /// 1 (small) to 100 (like the original). Below 90, objects that are hard to see come and go.
    pub jpeg_quality: u8,
    /// Each how many-th frame is looked at, unless the upload says.
    pub every: u64,
    /// Videos decoded at the same time.
    pub videos: usize,
    /// Frames of one video that are on their way to the server, not acknowledged yet.
    pub publish_window: usize,
    /// A video that gives no frame for so long is given up.
    #[serde(with = "humantime_serde")]
    pub stall_timeout: Duration,
}

impl Default for IngestSettings {
    fn default() -> Self {
        Self {
            width: 416,
            height: 416,
            encoding: Encoding::Jpeg,
            jpeg_quality: 95,
            every: 1,
            videos: 4,
            publish_window: 16,
            stall_timeout: Duration::from_secs(30),
        }
    }
}

impl Section for IngestSettings {
    const NAME: &'static str = "ingest";

    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut check = |ok: bool, key, what: &str| {
            if !ok {
                problems.push((key, what.to_owned()));
            }
        };
        check((16..=2048).contains(&self.width), "width", "16 to 2048 pixels");
        check((16..=2048).contains(&self.height), "height", "16 to 2048 pixels");
        check((1..=100).contains(&self.jpeg_quality), "jpeg_quality", "1 to 100");
        check(self.every >= 1, "every", "1 (each frame) or more");
        check((1..=64).contains(&self.videos), "videos", "1 to 64");
        check((1..=1024).contains(&self.publish_window), "publish_window", "1 to 1024");
        check(self.stall_timeout >= Duration::from_millis(100), "stall_timeout", "100ms or longer");
        problems
    }
}

impl IngestSettings {
    /// How a video is decoded: each `every`-th frame from index `skip_before` on.
    pub fn decoding(&self, every: u64, skip_before: u64) -> DecodeSettings {
        DecodeSettings {
            size: Size { width: self.width, height: self.height },
            encoding: self.encoding,
            jpeg_quality: self.jpeg_quality,
            every,
            skip_before,
            queue: self.publish_window.min(8),
            stall_timeout: self.stall_timeout,
        }
    }
}

/// Where [`moliceiro_service::Listen::Auto`] serves metrics.
const METRICS_PORT: u16 = 9471;

/// All that an ingest needs to know.
#[derive(Clone, Debug)]
pub struct IngestService {
    /// `[log]` and `[metrics]`
    pub base: Base,
    /// `[nats]`
    pub nats: NatsSettings,
    /// `[streams]`
    pub streams: StreamsSettings,
    /// `[ingest]`
    pub ingest: IngestSettings,
}

impl IngestService {
    /// Reads and checks the sections.
    pub fn from_settings(settings: &Settings) -> Result<Self, SettingsError> {
        let base = Base { log: settings.section()?, metrics: settings.section()?, metrics_port: METRICS_PORT };
        Ok(Self { base, nats: settings.section()?, streams: settings.section()?, ingest: settings.section()? })
    }
}
