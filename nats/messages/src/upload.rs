use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use percent_encoding::percent_decode_str;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use url::Url;

use super::{
    AlarmRule, Fingerprint, FrameSelection, InvalidPlaces, InvalidSelection, ModelId, Offset,
    Repair, RequestedSelection, Started, Tracking, UnknownClass, VERSION, printable,
};
use crate::VideoId;

const MAX_NAME_LENGTH: usize = 255;
const MOST_LABELS: usize = 1000;
const MOST_MODELS: usize = 4;
/// How long the windows of a live source may be.
pub const WINDOWS: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(24 * 3600);

/// A video to count, as JSON (or a bare URI) on `videos.upload`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Upload {
    /// [`super::VERSION`]; may be left out.
    #[serde(default = "current_version")]
    pub version: u8,
    /// The video's identity, chosen by the sender. Left out, it is made from the name and the
    /// stored message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<VideoId>,
    /// Where the video is, such as `file:///data/a.mp4`.
    pub uri: Url,
    /// The display name. Left out, it is the last part of the URI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Which frames to analyse.
    #[serde(flatten)]
    pub selection: RequestedSelection,
    /// Length of the windows that a live source is cut into. Left out, the ingest's own setting
    /// holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Offset>,
    /// The model that analyses it, such as `boats`, or `boats@3` for that version of it. Left out,
    /// the ingest's own setting holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelId>,
    /// Models that analyse it side by side, at most 4: see [`analyses`](Self::analyses). Instead of
    /// `model`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelId>,
    /// Alarms to raise. Left out: those of the aggregator's settings; an empty list: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarms: Option<Vec<AlarmRule>>,
    /// Tracks, lines and zones.
    #[serde(flatten)]
    pub tracking: Tracking,
    /// Count only objects of these classes. Left out or empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// The local file, when it was submitted. Left out, the one that an ingest first opens. Another
    /// file with the same path is another video.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
    /// What of a video that exists is missing: only aggregators ask for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repair: Option<Repair>,
}

/// What an upload gets that leaves it out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UploadDefaults {
    /// Which frames to analyse. The two ways to thin out frames, `every` and `fps`, are one option
    /// here, and so are `start` and `end`.
    pub selection: RequestedSelection,
    /// Length of the windows of a live source.
    pub window: Option<Offset>,
    /// The model that analyses it.
    pub model: Option<ModelId>,
    /// Models that analyse it side by side; the two are one option here.
    pub models: Vec<ModelId>,
    /// Alarms to raise.
    pub alarms: Option<Vec<AlarmRule>>,
    /// Tracks, lines and zones: for an upload that says nothing about any of them.
    pub tracking: Tracking,
}

/// A URI as anyone may see it: without its password.
pub fn shown_uri(uri: &Url) -> String {
    let mut shown = uri.clone();
    // Setting the password fails for URIs that cannot have one.
    if uri.password().is_some() && shown.set_password(Some("***")).is_err() {
        return format!("{}:", uri.scheme());
    }
    shown.into()
}

fn current_version() -> u8 {
    VERSION
}

/// More fields than any message has are not compared.
const MOST_FIELDS: usize = 64;

/// The error of JSON that is not a `T`, with the name of the field whose value is wrong.
pub fn naming_field<T: DeserializeOwned>(
    json: &str,
    error: serde_json::Error,
) -> serde_json::Error {
    type Fields = serde_json::Map<String, serde_json::Value>;
    let problem = |fields: Fields| {
        let error = serde_json::from_value::<T>(fields.into()).err();
        error.map(|error| error.to_string()).unwrap_or_default()
    };
    let is_missing = |problem: &str| problem.starts_with("missing field");
    let fields: Fields = match serde_json::from_str(json) {
        Ok(fields) if error.is_data() => fields,
        _ => return error,
    };
    let with_all = problem(fields.clone());
    if fields.len() > MOST_FIELDS || is_missing(&with_all) || with_all.starts_with("unknown field")
    {
        return error;
    }
    // Without the field, the error is another one.
    let is_wrong = |name: &&String| {
        let mut others = fields.clone();
        others.remove(*name);
        let problem = problem(others);
        problem != with_all && !is_missing(&problem)
    };
    match fields.keys().find(is_wrong) {
        Some(name) => serde_json::Error::custom(format!("{name}: {with_all}")),
        None => error,
    }
}

/// An upload message that cannot be read.
#[derive(Debug, Error)]
pub enum MalformedUpload {
    /// It is empty.
    #[error("empty upload message: send a URI such as file:///data/a.mp4, or JSON with a \"uri\"")]
    Empty,
    /// It is not text.
    #[error("the upload message is not UTF-8 text")]
    NotText,
    /// It starts like JSON but is not an upload.
    #[error("the upload message {text:?} is not the JSON of an upload: {reason}")]
    Json {
        /// Its first 80 characters.
        text: String,
        /// What is wrong with it.
        reason: serde_json::Error,
    },
    /// It is neither JSON nor a URI.
    #[error(
        "the upload message {text:?} is not a URI ({reason}): send one such as file:///data/a.mp4"
    )]
    Uri {
        /// Its first 80 characters.
        text: String,
        /// What is wrong with it.
        reason: url::ParseError,
    },
    /// A field has an invalid value.
    #[error("the upload message's {} {}", .0.field(), .0)]
    Field(#[from] InvalidField),
}

/// An invalid value of an upload's field. The text is what follows the field's name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidField {
    /// Another release's `version`.
    #[error("{0} is not the one that this program reads ({VERSION})")]
    Version(u8),
    /// `every`, `fps` or `end`.
    #[error(transparent)]
    Selection(#[from] InvalidSelection),
    /// `window`
    #[error("must be 1 second to 1 day")]
    Window,
    /// `name`
    #[error("must be 1 to {MAX_NAME_LENGTH} bytes of text on one line")]
    Name,
    /// `models`
    #[error("must be at most {MOST_MODELS} different models, and not given together with model")]
    Models,
    /// `labels`
    #[error("must be at most {MOST_LABELS} names of classes, such as [\"person\", \"boat\"]")]
    Labels,
    /// A rule in `alarms` counts a class that `labels` leaves out.
    #[error("have {rule:?}, and {label:?} is not one of the labels that are counted")]
    AlarmLabel {
        /// The rule.
        rule: String,
        /// Its class.
        label: String,
    },
    /// `lines`, `zones`, or rules about them.
    #[error(transparent)]
    Places(#[from] InvalidPlaces),
    /// `repair` names too many ranges.
    #[error("must have {} ranges of frames or fewer", Repair::MOST_RANGES)]
    Repair,
    /// `lines`, `zones` or `alarms` name a class that the model does not have.
    #[error(transparent)]
    Class(#[from] UnknownClass),
    /// `alarms` has too many rules.
    #[error("must be at most {} rules", AlarmRule::MOST)]
    Alarms,
}

impl InvalidField {
    /// The field's name.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Version(_) => "version",
            Self::Selection(invalid) => invalid.field(),
            Self::Window => "window",
            Self::Repair => "repair",
            Self::Name => "name",
            Self::Models => "models",
            Self::Labels => "labels",
            Self::Places(invalid) => invalid.field(),
            Self::Class(unknown) => unknown.field(),
            Self::AlarmLabel { .. } | Self::Alarms => "alarms",
        }
    }
}

impl Upload {
    /// Reads a message: a bare URI, an absolute path, or JSON.
    pub fn parse(payload: &[u8]) -> Result<Self, MalformedUpload> {
        let text = std::str::from_utf8(payload).map_err(|_| MalformedUpload::NotText)?.trim();
        let beginning = || text.chars().take(80).collect();
        if text.is_empty() {
            return Err(MalformedUpload::Empty);
        }
        if text.starts_with('{') {
            let upload: Self = serde_json::from_str(text)
                .map_err(|reason| naming_field::<Self>(text, reason))
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

    /// Checks that a text can be the name of a video.
    pub fn check_name(name: &str) -> Result<(), InvalidField> {
        let invalid = name.trim().is_empty()
            || name.len() > MAX_NAME_LENGTH
            || name.chars().any(char::is_control);
        if invalid { Err(InvalidField::Name) } else { Ok(()) }
    }

    /// An upload that leaves everything else to the services' settings.
    pub fn of(uri: Url) -> Self {
        Self {
            version: VERSION,
            id: None,
            uri,
            name: None,
            selection: RequestedSelection::default(),
            window: None,
            model: None,
            models: vec![],
            alarms: None,
            tracking: Tracking::default(),
            labels: vec![],
            fingerprint: None,
            repair: None,
        }
    }

    /// Checks the values of all fields.
    pub fn check(&self) -> Result<(), InvalidField> {
        if self.version != VERSION {
            return Err(InvalidField::Version(self.version));
        }
        self.selection.check()?;
        if self.window.is_some_and(|window| !WINDOWS.contains(&window.duration())) {
            return Err(InvalidField::Window);
        }
        if let Some(name) = &self.name {
            Self::check_name(name)?;
        }
        Self::check_models(self.model.as_ref(), &self.models)?;
        if self.repair.as_ref().is_some_and(|repair| !repair.is_valid()) {
            return Err(InvalidField::Repair);
        }
        Self::check_counted(&self.labels, self.alarms.as_deref())?;
        Ok(self.tracking.check(self.alarms.as_deref().unwrap_or_default())?)
    }

    /// The upload, if [`check`](Self::check) accepts it.
    pub fn checked(self) -> Result<Self, MalformedUpload> {
        self.check()?;
        Ok(self)
    }

    /// Checks which models analyse it.
    pub fn check_models(model: Option<&ModelId>, models: &[ModelId]) -> Result<(), InvalidField> {
        let is_repeated = |at: usize| models[..at].contains(&models[at]);
        let invalid = models.len() > MOST_MODELS
            || (model.is_some() && !models.is_empty())
            || (0..models.len()).any(is_repeated);
        if invalid { Err(InvalidField::Models) } else { Ok(()) }
    }

    /// Checks what is counted, and what raises alarms.
    pub fn check_counted(
        labels: &[String],
        alarms: Option<&[AlarmRule]>,
    ) -> Result<(), InvalidField> {
        if labels.len() > MOST_LABELS || labels.iter().any(|label| label.trim().is_empty()) {
            return Err(InvalidField::Labels);
        }
        let rules = alarms.unwrap_or_default();
        let is_counted =
            |rule: &AlarmRule| labels.is_empty() || labels.iter().any(|label| rule.counts(label));
        if let Some(rule) = rules.iter().find(|rule| !is_counted(rule)) {
            let (rule, label) = (rule.to_string(), rule.label.clone());
            return Err(InvalidField::AlarmLabel { rule, label });
        }
        if rules.len() > AlarmRule::MOST { Err(InvalidField::Alarms) } else { Ok(()) }
    }

    /// The upload with `defaults` for what it leaves out. Alarms that count a class which it does
    /// not count are left out.
    pub fn with_defaults(mut self, defaults: &UploadDefaults) -> Self {
        let RequestedSelection { every, fps, start, end, .. } = defaults.selection;
        let selection = &mut self.selection;
        if selection.every.is_none() && selection.fps.is_none() {
            (selection.every, selection.fps) = (every, fps);
        }
        if selection.start.is_none() && selection.end.is_none() {
            (selection.start, selection.end) = (start, end);
        }
        let given = defaults.selection;
        selection.video_track = selection.video_track.or(given.video_track);
        selection.deinterlace = selection.deinterlace.or(given.deinterlace);
        selection.skip_still = selection.skip_still.or(given.skip_still);
        selection.key_frames = selection.key_frames.or(given.key_frames);
        self.window = self.window.or(defaults.window);
        if self.tracking == Tracking::default() {
            self.tracking = defaults.tracking.clone();
        }
        if self.model.is_none() && self.models.is_empty() {
            (self.model, self.models) = (defaults.model.clone(), defaults.models.clone());
        }
        if self.alarms.is_none() {
            self.alarms = defaults.alarms.clone();
            let rules = self.alarms.as_deref();
            if Self::check_counted(&self.labels, rules).is_err()
                || self.tracking.check(rules.unwrap_or_default()).is_err()
            {
                self.alarms = None;
            }
        }
        self
    }

    /// The identity of the video: the same for every delivery of one stored message.
    pub fn video(&self, stream_sequence: u64, stored_at: SystemTime) -> VideoId {
        self.id
            .clone()
            .unwrap_or_else(|| VideoId::for_message(&self.name(), stream_sequence, stored_at))
    }

    /// The analyses that the upload of this video asks for, one for each model. The first is the
    /// video itself; the others are videos of their own, which [`VideoId::by_model`] names.
    pub fn analyses(mut self, video: &VideoId) -> Vec<(VideoId, Self)> {
        let models = std::mem::take(&mut self.models);
        if models.is_empty() {
            return vec![(video.clone(), self)];
        }
        let analysis = |(at, model): (usize, ModelId)| {
            let id = if at == 0 { video.clone() } else { video.by_model(&model) };
            (id.clone(), Self { id: Some(id), model: Some(model), ..self.clone() })
        };
        models.into_iter().enumerate().map(analysis).collect()
    }

    /// Which frames are analysed. `default_every` holds for uploads that leave `every` out.
    pub fn selection(&self, default_every: u64) -> FrameSelection {
        self.selection.or_every(default_every)
    }

    /// The first event of the video's life. `default_every` holds for uploads that leave `every`
    /// out.
    pub fn started(&self, stored_at: SystemTime, default_every: u64) -> Started {
        let uploaded_at = stored_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Started {
            name: self.name(),
            uri: shown_uri(&self.uri),
            selection: self.selection(default_every),
            uploaded_at: u64::try_from(uploaded_at).unwrap_or(u64::MAX),
            alarms: self.alarms.clone(),
            tracking: self.tracking.clone(),
            window: None,
            labels: self.labels.clone(),
            fingerprint: self.fingerprint.clone(),
            model: None,
        }
    }

    /// The upload that a video started with, to be decoded again. `None` if its address is not
    /// stored: it had a password.
    pub fn again(video: &VideoId, started: &Started) -> Option<Self> {
        let Started { name, uri, selection, alarms, tracking, labels, fingerprint, .. } =
            started.clone();
        let uri: Url = uri.parse().ok().filter(|uri: &Url| uri.password() != Some("***"))?;
        Some(Self {
            id: Some(video.clone()),
            name: Some(name),
            selection: selection.into(),
            model: started.model.as_ref().map(|used| used.name.clone()),
            alarms,
            tracking,
            labels,
            fingerprint,
            ..Self::of(uri)
        })
    }

    /// The video's display name: the given one, or the last part of the URI. A character that
    /// would reorder the text around it is shown as its escape.
    pub fn name(&self) -> String {
        if let Some(name) = &self.name {
            return printable(name.as_bytes());
        }
        let is_file = self.uri.scheme() == "file";
        let last = self.uri.path_segments().and_then(|segments| {
            // A folder's URI may end with a slash.
            segments.rev().find(|segment| !is_file || !segment.is_empty())
        });
        let last = last.filter(|segment| !segment.is_empty());
        let name = match last {
            Some(segment) => printable(&percent_decode_str(segment).collect::<Vec<_>>()),
            None => shown_uri(&self.uri),
        };
        Self::shortened(name)
    }

    /// A name that is short enough for [`check_name`](Self::check_name): of a longer one, its end.
    pub fn shortened(name: String) -> String {
        if name.len() <= MAX_NAME_LENGTH {
            return name;
        }
        const MARK: char = '…';
        let most = MAX_NAME_LENGTH - MARK.len_utf8();
        let cut = name.char_indices().map(|(at, _)| at).find(|at| name.len() - at <= most);
        format!("{MARK}{}", &name[cut.unwrap_or(name.len())..])
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
            ("http://host/a%20b%C3%BC.mp4?x=1", "a bü.mp4"),
            ("http://host/caf%E9.mp4", "caf\\xE9.mp4"),
            ("file:///data/caf%E9%0A/", "caf\\xE9\\n"),
        ] {
            assert_eq!(Upload::parse(text.as_bytes()).unwrap().name(), name, "{text}");
        }
    }

    #[test]
    fn an_invalid_value_is_named_by_its_field() {
        for (fields, problem) in [
            (r#""tracker": "sort""#, "tracker: unknown variant `sort`"),
            (r#""lines": ["gate: 0,0 0,0"]"#, "lines: \"gate: 0,0 0,0\" is not a line: "),
            (r#""zones": "quay""#, "zones: invalid type: string \"quay\""),
            (r#""every": "x", "name": "a""#, "every: invalid type"),
            (r#""name": "a", "alarms": ["a b"]"#, "alarms: \"a b\" is not an alarm rule"),
            (r#""lines": [1], "zones": [2]"#, "lines: invalid type: integer `1`"),
        ] {
            let json = format!(r#"{{"uri": "file:///a", {fields}}}"#);
            let error = Upload::parse(json.as_bytes()).unwrap_err();
            let MalformedUpload::Json { reason, .. } = error else { panic!("{error}") };
            assert!(reason.is_data() && reason.to_string().starts_with(problem), "{reason}");
        }
        for json in [r#"{"name": "a"}"#, r#"{"uri": 1}"#, r#"{"uri": "file:///a""#] {
            let error = Upload::parse(json.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("uri") || error.contains("EOF"), "{error}");
        }
    }

    #[test]
    fn rules_are_about_classes_that_are_counted_also_in_the_plural() {
        let check = |rule: &str| {
            Upload::check_counted(&["person".into(), "bus".into()], Some(&[rule.parse().unwrap()]))
        };
        for rule in ["person > 3", "3 persons in quay", "2 people in quay", "2 buses in quay"] {
            assert_eq!(check(rule), Ok(()), "{rule}");
        }
        for rule in ["persons > 3", "3 boats in quay", "boat crosses gate"] {
            assert!(matches!(check(rule), Err(InvalidField::AlarmLabel { .. })), "{rule}");
        }
    }

    #[test]
    fn a_name_cannot_reorder_the_text_around_it() {
        let uri = Url::parse("file:///data/a%E2%80%AEgpj.mp4").unwrap();
        assert_eq!(Upload::of(uri.clone()).name(), "a\\u{202e}gpj.mp4");
        let name = Some("\u{200e}WhatsApp \u{2067}שלום\u{2069}".to_owned());
        let upload = Upload { name, ..Upload::of(uri) };
        assert_eq!(upload.name(), "\\u{200e}WhatsApp \\u{2067}שלום\\u{2069}");
        assert_eq!(upload.started(SystemTime::UNIX_EPOCH, 1).name, upload.name());
    }

    #[test]
    fn any_file_has_a_valid_name() {
        for name in ["a".repeat(300), "ü".repeat(300), "%FF".repeat(100)] {
            let uri = format!("file:///data/{name}.mp4");
            let name = Upload::parse(uri.as_bytes()).unwrap().name();
            assert_eq!(Upload::check_name(&name), Ok(()));
            assert!(name.starts_with('…') && name.ends_with(".mp4"), "{name}");
        }
    }

    #[test]
    fn defaults_hold_for_what_an_upload_leaves_out() {
        let options = |json: &str| Upload::parse(json.as_bytes()).unwrap();
        let given = options(
            r#"{"uri": "file:///a", "fps": 3, "end": 9, "model": "boats", "alarms": ["car > 1"]}"#,
        );
        let defaults = UploadDefaults {
            selection: given.selection,
            window: None,
            model: given.model.clone(),
            models: vec![],
            alarms: given.alarms.clone(),
            tracking: Tracking::default(),
        };
        let by = |json: &str| options(json).with_defaults(&defaults);
        assert_eq!(by(r#"{"uri": "file:///a"}"#), given);
        let other = by(r#"{"uri": "file:///a", "every": 2, "start": 20, "labels": ["boat"]}"#);
        assert_eq!((other.selection.every, other.selection.fps), (Some(2), None));
        assert_eq!((other.selection.end, other.alarms), (None, None));
        assert_eq!(by(r#"{"uri": "file:///a", "alarms": []}"#).alarms, Some(vec![]));
    }

    #[test]
    fn passwords_are_never_shown() {
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
    fn a_malformed_upload_is_refused_with_the_reason() {
        for (payload, part) in [
            (&b""[..], "empty"),
            (b" \n", "empty"),
            (b"\xff\xfe", "UTF-8"),
            (b"a.mp4", "not a URI"),
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
            (br#"{"uri": "file:///a", "video_track": 0}"#, "video_track"),
            (br#"{"uri": "file:///a", "deinterlace": "on"}"#, "unknown variant"),
            (br#"{"uri": "file:///a", "name": "a\nb"}"#, "name"),
            (br#"{"uri": "file:///a", "version": 9}"#, "version"),
            (br#"{"uri": "file:///a", "labels": [""]}"#, "labels"),
            (br#"{"uri": "file:///a", "alarms": ["boat"]}"#, "person > 10"),
            (br#"{"uri": "file:///a", "alarms": ["boat > 1"], "labels": ["person"]}"#, "labels"),
            (br#"{"uri": "file:///a", "id": "a.b"}"#, "not a video id"),
            (br#"{"uri": "file:///a", "model": "a.b"}"#, "name of a model"),
        ] {
            let error = Upload::parse(payload).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
