use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use moliceiro_nats::messages::{Encoding, FrameSelection, Size, WINDOWS};
use moliceiro_nats::{NatsSettings, StreamsSettings};
use moliceiro_service::settings::{Problem, list};
use moliceiro_service::{Base, Section, Settings, SettingsError};
use serde::{Deserialize, Serialize};

use crate::allow::Allowed;
use moliceiro_decode::{DecodeSettings, Observer};

/// Settings `[ingest]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IngestSettings {
    /// Width of the picture that detectors get, in pixels: the model's input width.
    pub width: u32,
    /// Height of the picture that detectors get, in pixels: the model's input height.
    pub height: u32,
    /// Leave out the border where the frame's shape allows: width and height are then the most that
    /// a picture has, and its sides multiples of 32. Faster for wide and high video, if the model
    /// takes such sizes.
    pub fit: bool,
    /// `jpeg` (small, for networks) or `i420` (larger, costs nothing to make).
    pub encoding: Encoding,
    /// 1 (small) to 100 (like the original). Below 90, objects that are hard to see come and go.
    pub jpeg_quality: u8,
    /// Each how many-th frame is looked at, unless the upload says.
    pub every: u64,
    /// Keep up to eight small pictures of each video, for the page that shows it.
    pub stills: bool,
    /// Videos decoded at the same time.
    pub videos: usize,
    /// Frames of one video that are on their way to the server, not acknowledged yet.
    pub publish_window: usize,
    /// A video that gives no frame for so long is given up.
    #[serde(with = "humantime_serde")]
    pub stall_timeout: Duration,
    /// Length of the windows that a live source is cut into, unless the upload says.
    #[serde(with = "humantime_serde")]
    pub window: Duration,
    /// Folders, files and beginnings of URIs that videos may be read from, beside `obj://uploads/`.
    #[serde(with = "list")]
    pub allow: Vec<String>,
    /// Folder in which an uploaded or fetched video lies while it is decoded. Not set: the system's
    /// folder for temporary files.
    pub spool: Option<PathBuf>,
    /// Where uploads are taken by HTTP, such as `0.0.0.0:5000`. Empty: nowhere.
    pub listen: String,
    /// Bytes that one request may have, and a video that is fetched from a web server.
    pub upload_max_bytes: u64,
    /// Requests with uploads that are taken at the same time.
    pub uploads: usize,
    /// How long a client may take to send a request's header, and how long a connection may be idle
    /// between requests.
    #[serde(with = "humantime_serde")]
    pub header_timeout: Duration,
    /// How long a client may send nothing in the middle of an upload.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// Whoever asks by HTTP has to know one of these. None: everybody may.
    #[serde(with = "list")]
    pub tokens: Vec<Token>,
    /// File with the certificate, and those that vouch for it, as PEM. With it, HTTPS is spoken.
    pub tls_certificate: Option<PathBuf>,
    /// File with the certificate's private key, as PEM.
    pub tls_key: Option<PathBuf>,
    /// Web sites, such as `https://example.org`, whose pages may use this service from a browser,
    /// and names that this service has.
    #[serde(with = "list")]
    pub origins: Vec<String>,
}

/// A secret that a client shows. It is never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl AsRef<str> for Token {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl From<String> for Token {
    fn from(secret: String) -> Self {
        Self(secret)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

const SHORTEST_TOKEN: usize = 8;
const GIB: u64 = 1 << 30;

impl Default for IngestSettings {
    fn default() -> Self {
        Self {
            width: 416,
            height: 416,
            fit: false,
            encoding: Encoding::Jpeg,
            jpeg_quality: 95,
            every: 1,
            stills: true,
            videos: 4,
            publish_window: 16,
            stall_timeout: Duration::from_secs(30),
            window: Duration::from_secs(60),
            allow: vec![],
            spool: None,
            listen: "127.0.0.1:5000".into(),
            upload_max_bytes: 16 * GIB,
            uploads: 64,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            tokens: vec![],
            tls_certificate: None,
            tls_key: None,
            origins: vec![],
        }
    }
}

impl Section for IngestSettings {
    const NAME: &'static str = "ingest";
    const SECRETS: &'static [&'static str] = &["tokens"];

    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut check = |ok: bool, key, what: &str| {
            if !ok {
                problems.push(Problem::new(key, what));
            }
        };
        check((16..=2048).contains(&self.width), "width", "16 to 2048 pixels");
        check((16..=2048).contains(&self.height), "height", "16 to 2048 pixels");
        check((1..=100).contains(&self.jpeg_quality), "jpeg_quality", "1 to 100");
        check(self.every >= 1, "every", "1 (each frame) or more");
        check((1..=64).contains(&self.videos), "videos", "1 to 64");
        check((1..=1024).contains(&self.publish_window), "publish_window", "1 to 1024");
        check(self.stall_timeout >= Duration::from_millis(100), "stall_timeout", "100ms or longer");
        check(WINDOWS.contains(&self.window), "window", "1s to 1day");
        check(
            self.listen.is_empty() || self.address().is_some(),
            "listen",
            "HOST:PORT, or nothing for no HTTP",
        );
        check(
            Allowed::new(&self.allow).is_ok(),
            "allow",
            "absolute paths, or beginnings of URIs such as rtsp://camera/",
        );
        check(
            (1..=i64::MAX as u64).contains(&self.upload_max_bytes),
            "upload_max_bytes",
            "1 or more",
        );
        check((1..=1024).contains(&self.uploads), "uploads", "1 to 1024");
        for (key, timeout) in
            [("header_timeout", self.header_timeout), ("idle_timeout", self.idle_timeout)]
        {
            check(timeout >= Duration::from_millis(100), key, "100ms or longer");
        }
        let usable = |token: &Token| {
            token.0.len() >= SHORTEST_TOKEN && token.0.bytes().all(|b| b.is_ascii_graphic())
        };
        check(
            self.tokens.iter().all(usable),
            "tokens",
            "8 or more letters, digits and signs each, without blanks",
        );
        check(
            self.tls_certificate.is_some() == self.tls_key.is_some(),
            "tls_key",
            "ingest.tls_certificate and ingest.tls_key, both or none",
        );
        let origin = |text: &String| {
            url::Url::parse(text).is_ok_and(|url| url.origin().ascii_serialization() == *text)
        };
        check(
            self.origins.iter().all(origin),
            "origins",
            "origins such as https://example.org, with no slash at the end",
        );
        problems
    }
}

impl IngestSettings {
    /// Where to listen; `None` if that is no address.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.listen.to_socket_addrs().ok()?.next()
    }

    /// How a video is decoded: the frames that `choice` says, from index `skip_before` on.
    pub fn decoding(&self, choice: FrameSelection, skip_before: u64) -> DecodeSettings {
        DecodeSettings {
            size: Size { width: self.width, height: self.height },
            fit: self.fit,
            encoding: self.encoding,
            jpeg_quality: self.jpeg_quality,
            selection: choice,
            skip_before,
            thumbnails: self.stills,
            queue: self.publish_window.min(8),
            stall_timeout: self.stall_timeout,
            observer: Observer::default(),
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
        let base = Base {
            log: settings.section()?,
            metrics: settings.section()?,
            metrics_port: METRICS_PORT,
        };
        Ok(Self {
            base,
            nats: settings.section()?,
            streams: settings.section()?,
            ingest: settings.section()?,
        })
    }
}
