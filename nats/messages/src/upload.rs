use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use url::Url;

use super::{AlarmRule, Fps, FrameSelection, Offset, Started, selection_problem};
use crate::VideoId;

const MAX_NAME_LENGTH: usize = 255;
const MOST_LABELS: usize = 1000;
/// How long the windows of a live source may be.
pub const WINDOWS: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(24 * 3600);

/// The trigger: a video to be counted, as JSON (or a bare URI) on `videos.upload`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Upload {
    /// [`super::VERSION`]; may be left out.
    #[serde(default = "current_version")]
    pub version: u8,
    /// The identity that the sender wants. Left out, it is made from the name and the stored
    /// message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<VideoId>,
    /// Where the video is, such as `file:///data/a.mp4`.
    pub uri: Url,
    /// What people call it. Left out, it is the last part of the URI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Look at each how many-th frame only. Left out, the ingest's own setting holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<u64>,
    /// Look at about so many frames per second only. Not together with `every`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fps: Option<Fps>,
    /// Look at no frame before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Offset>,
    /// Look at no frame at this time or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Offset>,
    /// Length of the windows that a live source is cut into. Left out, the ingest's own setting
    /// holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Offset>,
    /// Alarms to raise. Left out, as the aggregator is set; an empty list: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarms: Option<Vec<AlarmRule>>,
    /// Count only objects of these classes. Left out or empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
}

/// A URI as everybody may see it: without its password.
pub fn shown_uri(uri: &Url) -> String {
    let mut shown = uri.clone();
    // A URI that cannot have a password has none.
    if uri.password().is_some() && shown.set_password(Some("***")).is_err() {
        return format!("{}:", uri.scheme());
    }
    shown.into()
}

fn current_version() -> u8 {
    super::VERSION
}

/// A trigger that names no video.
#[derive(Debug, Error)]
pub enum MalformedUpload {
    /// It has no text.
    #[error("empty upload message: send a URI such as file:///data/a.mp4, or JSON with a \"uri\"")]
    Empty,
    /// It is no text.
    #[error("the upload message is not UTF-8 text")]
    NotText,
    /// It begins like JSON but is no upload.
    #[error("the upload message {text:?} is not the JSON of an upload: {reason}")]
    Json {
        /// Its beginning.
        text: String,
        /// What is wrong with it.
        reason: serde_json::Error,
    },
    /// It is neither JSON nor a URI.
    #[error(
        "the upload message {text:?} is no URI ({reason}): send one such as file:///data/a.mp4"
    )]
    Uri {
        /// Its beginning.
        text: String,
        /// What is wrong with it.
        reason: url::ParseError,
    },
    /// A field has a value that cannot be.
    #[error("the upload message's {field} {reason}")]
    Field {
        /// Which.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl Upload {
    /// Reads a trigger as anyone may send it: a bare URI, an absolute path, or JSON.
    pub fn parse(payload: &[u8]) -> Result<Self, MalformedUpload> {
        let text = std::str::from_utf8(payload).map_err(|_| MalformedUpload::NotText)?.trim();
        let beginning = || text.chars().take(80).collect();
        if text.is_empty() {
            return Err(MalformedUpload::Empty);
        }
        if text.starts_with('{') {
            let upload: Self = serde_json::from_str(text)
                .map_err(|reason| MalformedUpload::Json { text: beginning(), reason })?;
            return upload.checked();
        }
        let uri = match Url::from_file_path(text) {
            Ok(uri) => uri,
            Err(()) => Url::parse(text)
                .map_err(|reason| MalformedUpload::Uri { text: beginning(), reason })?,
        };
        Ok(Self::of(uri))
    }

    /// Why a text cannot be the name of a video, if it cannot.
    pub fn name_problem(name: &str) -> Option<String> {
        let unusable = name.trim().is_empty()
            || name.len() > MAX_NAME_LENGTH
            || name.chars().any(char::is_control);
        unusable.then(|| format!("must be 1 to {MAX_NAME_LENGTH} bytes of text on one line"))
    }

    /// An upload that leaves all else to the services.
    pub fn of(uri: Url) -> Self {
        Self {
            version: super::VERSION,
            id: None,
            uri,
            name: None,
            every: None,
            fps: None,
            start: None,
            end: None,
            window: None,
            alarms: None,
            labels: vec![],
        }
    }

    /// The upload, if no field has a value that cannot be.
    pub fn checked(self) -> Result<Self, MalformedUpload> {
        if self.version != super::VERSION {
            let reason =
                format!("{} is not one that this program reads ({})", self.version, super::VERSION);
            return Err(MalformedUpload::Field { field: "version", reason });
        }
        if let Some((field, reason)) = selection_problem(self.every, self.fps, self.start, self.end)
        {
            return Err(MalformedUpload::Field { field, reason: reason.into() });
        }
        if self.window.is_some_and(|window| !WINDOWS.contains(&window.duration())) {
            return Err(MalformedUpload::Field {
                field: "window",
                reason: "must be 1 second to 1 day".into(),
            });
        }
        if let Some(reason) = self.name.as_deref().and_then(Self::name_problem) {
            return Err(MalformedUpload::Field { field: "name", reason });
        }
        if self.labels.len() > MOST_LABELS
            || self.labels.iter().any(|label| label.trim().is_empty())
        {
            let reason = format!(
                "must be at most {MOST_LABELS} names of classes, such as [\"person\", \"boat\"]"
            );
            return Err(MalformedUpload::Field { field: "labels", reason });
        }
        self.check_alarms()?;
        Ok(self)
    }

    fn check_alarms(&self) -> Result<(), MalformedUpload> {
        let rules = self.alarms.as_deref().unwrap_or_default();
        let reason = match rules
            .iter()
            .find(|rule| !self.labels.is_empty() && !self.labels.contains(&rule.label))
        {
            Some(rule) => format!(
                "have {:?}, and {:?} is not one of the labels that count",
                rule.to_string(),
                rule.label
            ),
            None if rules.len() > AlarmRule::MOST => {
                format!("must be at most {} rules", AlarmRule::MOST)
            }
            None => return Ok(()),
        };
        Err(MalformedUpload::Field { field: "alarms", reason })
    }

    /// The identity of the video: the same for every delivery of one stored message.
    pub fn video(&self, stream_sequence: u64, stored_at: SystemTime) -> VideoId {
        self.id
            .clone()
            .unwrap_or_else(|| VideoId::for_message(&self.name(), stream_sequence, stored_at))
    }

    /// Which frames are looked at. `default_every` holds for uploads that say nothing.
    pub fn choice(&self, default_every: u64) -> FrameSelection {
        let default_every = if self.fps.is_some() { 1 } else { default_every };
        FrameSelection {
            every: self.every.unwrap_or(default_every),
            fps: self.fps,
            start: self.start,
            end: self.end,
        }
    }

    /// The first event of the video's life. `default_every` holds for uploads that say nothing.
    pub fn started(&self, stored_at: SystemTime, default_every: u64) -> Started {
        let uploaded_at = stored_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let FrameSelection { every, fps, start, end } = self.choice(default_every);
        Started {
            name: self.name(),
            uri: shown_uri(&self.uri),
            every,
            fps,
            start,
            end,
            uploaded_at: u64::try_from(uploaded_at).unwrap_or(u64::MAX),
            alarms: self.alarms.clone(),
            labels: self.labels.clone(),
        }
    }

    /// What people call the video.
    pub fn name(&self) -> String {
        if let Some(name) = &self.name {
            return name.clone();
        }
        let path = self.uri.to_file_path().ok();
        let file =
            path.as_ref().and_then(|p| p.file_name()).map(|n| n.to_string_lossy().into_owned());
        let last = || {
            self.uri
                .path_segments()
                .and_then(|mut s| s.next_back().map(str::to_owned))
                .filter(|s| !s.is_empty())
        };
        let name = file.or_else(last).unwrap_or_else(|| shown_uri(&self.uri));
        name.chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(MAX_NAME_LENGTH / 4)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_a_path_and_json_are_uploads() {
        for (text, name) in [
            ("file:///data/a.mp4", "a.mp4"),
            ("  file:///data/a%20b.mp4\n", "a b.mp4"),
            ("/data/ü.mkv", "ü.mkv"),
            (r#"{"uri": "file:///data/a.mp4", "unknown": [1]}"#, "a.mp4"),
            (
                r#"{"uri": "file:///data/a.mp4", "name": "harbour", "every": 5, "version": 1}"#,
                "harbour",
            ),
            (
                r#"{"uri": "file:///a", "alarms": ["boat >= 1 for 3 frames"], "labels": ["boat"]}"#,
                "a",
            ),
            ("rtsp://127.0.0.1/", "rtsp://127.0.0.1/"),
        ] {
            assert_eq!(Upload::parse(text.as_bytes()).unwrap().name(), name, "{text}");
        }
    }

    #[test]
    fn a_password_is_shown_to_nobody() {
        for (uri, shown) in [
            ("http://me:secret@cam/a.mp4", "http://me:***@cam/a.mp4"),
            ("rtsp://me:secret@cam/", "rtsp://me:***@cam/"),
        ] {
            let upload = Upload::parse(uri.as_bytes()).unwrap();
            let started = upload.started(SystemTime::UNIX_EPOCH, 1);
            assert_eq!(started.uri, shown);
            assert!(!started.name.contains("secret"), "{started:?}");
        }
        assert_eq!(shown_uri(&Url::parse("file:///a%20b.mp4").unwrap()), "file:///a%20b.mp4");
    }

    #[test]
    fn what_names_no_video_is_refused_with_a_reason() {
        for (payload, part) in [
            (&b""[..], "empty"),
            (b" \n", "empty"),
            (b"\xff\xfe", "UTF-8"),
            (b"a.mp4", "no URI"),
            (b"{", "not the JSON"),
            (br#"{"name": "x"}"#, "uri"),
            (br#"{"uri": "nonsense"}"#, "not the JSON"),
            (br#"{"uri": "file:///a", "every": 0}"#, "every"),
            (br#"{"uri": "file:///a", "every": "two"}"#, "invalid type"),
            (br#"{"uri": "file:///a", "every": 2, "fps": 1}"#, "fps"),
            (br#"{"uri": "file:///a", "fps": 0}"#, "frames per second"),
            (br#"{"uri": "file:///a", "start": "soon"}"#, "1m30s"),
            (br#"{"uri": "file:///a", "start": 2, "end": 2}"#, "end"),
            (br#"{"uri": "file:///a", "end": 0}"#, "end"),
            (br#"{"uri": "file:///a", "name": "a\nb"}"#, "name"),
            (br#"{"uri": "file:///a", "version": 9}"#, "version"),
            (br#"{"uri": "file:///a", "labels": [""]}"#, "labels"),
            (br#"{"uri": "file:///a", "alarms": ["boat"]}"#, "person > 10"),
            (br#"{"uri": "file:///a", "alarms": ["boat > 1"], "labels": ["person"]}"#, "labels"),
            (br#"{"uri": "file:///a", "id": "a.b"}"#, "no video id"),
        ] {
            let error = Upload::parse(payload).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
