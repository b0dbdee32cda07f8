use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Deinterlace;

/// A century: no video is longer.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 24 * 3600);

/// Which frames of a video are analysed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FrameSelection {
    /// Every Nth frame is analysed: those whose index is a multiple of it.
    pub every: u64,
    /// About how many of those per second are analysed; left out: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub fps: Option<Fps>,
    /// Frames before this time are skipped, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub start: Option<Offset>,
    /// Frames at this time or later are skipped, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub end: Option<Offset>,
    /// Number of the video track whose frames they are, from 1; left out: the container's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub video_track: Option<u32>,
    /// How interlaced frames are analysed; left out: as the ingest's settings say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deinterlace: Option<Deinterlace>,
    /// Frames that differ little from the analysed one before them carry its objects.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skip_still: bool,
    /// Only frames that can be decoded without others are decoded.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub key_frames: bool,
}

/// Which frames an upload asks for. What it leaves out, the ingest's settings decide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestedSelection {
    /// Analyse every Nth frame only. Left out, the ingest's own setting holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<u64>,
    /// Analyse about so many frames per second only. Not together with `every`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fps: Option<Fps>,
    /// Skip frames before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Offset>,
    /// Skip frames at this time or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Offset>,
    /// Analyse this video track, counted from 1. Left out, the container's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub video_track: Option<u32>,
    /// How to analyse interlaced frames. Left out, the ingest's own setting holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deinterlace: Option<Deinterlace>,
    /// Do not analyse frames that differ little from the analysed one before them: they carry its
    /// objects. Left out, the ingest's own setting holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip_still: Option<bool>,
    /// Decode only frames that can be decoded without others. Left out, the ingest's own setting
    /// holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_frames: Option<bool>,
}

/// A selection that contradicts itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidSelection {
    /// `every` is 0.
    #[error("must be 1 (every frame) or more")]
    EveryZero,
    /// Both `every` and `fps` are given.
    #[error("cannot be used together with every: give one of them")]
    FpsWithEvery,
    /// `end` is not later than `start`.
    #[error("must be later than start")]
    EndBeforeStart,
    /// `video_track` is 0.
    #[error("must be 1 (the first) or more")]
    VideoTrackZero,
}

impl InvalidSelection {
    /// The field that is wrong.
    pub fn field(self) -> &'static str {
        match self {
            Self::EveryZero => "every",
            Self::FpsWithEvery => "fps",
            Self::EndBeforeStart => "end",
            Self::VideoTrackZero => "video_track",
        }
    }
}

impl FrameSelection {
    /// Every `every`th frame of the whole video.
    pub fn every(every: u64) -> Self {
        Self {
            every,
            fps: None,
            start: None,
            end: None,
            video_track: None,
            deinterlace: None,
            skip_still: false,
            key_frames: false,
        }
    }

    /// How many of a video's `frames` are selected; `None` if that depends on their times, or on
    /// how many of them are key frames.
    pub fn count(&self, frames: u64) -> Option<u64> {
        let by_time = self.fps.is_some() || self.start.is_some() || self.end.is_some();
        let by_index = !by_time && !self.key_frames;
        by_index.then(|| frames.div_ceil(self.every.max(1)))
    }
}

/// The upload that asks for exactly these frames, whatever the ingest's settings are.
impl From<FrameSelection> for RequestedSelection {
    fn from(selection: FrameSelection) -> Self {
        let FrameSelection { every, fps, start, end, video_track, deinterlace, .. } = selection;
        Self {
            every: fps.is_none().then_some(every),
            fps,
            start,
            end,
            video_track,
            deinterlace,
            skip_still: Some(selection.skip_still),
            key_frames: Some(selection.key_frames),
        }
    }
}

impl RequestedSelection {
    /// Checks that the fields do not contradict each other.
    pub fn check(&self) -> Result<(), InvalidSelection> {
        let Self { every, fps, start, end, video_track, .. } = *self;
        if every == Some(0) {
            return Err(InvalidSelection::EveryZero);
        }
        if every.is_some() && fps.is_some() {
            return Err(InvalidSelection::FpsWithEvery);
        }
        if end.is_some_and(|end| end <= start.unwrap_or(Offset::ZERO)) {
            return Err(InvalidSelection::EndBeforeStart);
        }
        if video_track == Some(0) {
            return Err(InvalidSelection::VideoTrackZero);
        }
        Ok(())
    }

    /// The selection that holds, with `default_every` for what is left out. An upload that gives
    /// `fps` selects among all frames.
    pub fn or_every(&self, default_every: u64) -> FrameSelection {
        let Self { every, fps, start, end, video_track, deinterlace, skip_still, key_frames } =
            *self;
        let default_every = if fps.is_some() { 1 } else { default_every };
        let every = every.unwrap_or(default_every);
        FrameSelection {
            every,
            fps,
            start,
            end,
            video_track,
            deinterlace,
            skip_still: skip_still.unwrap_or(false),
            key_frames: key_frames.unwrap_or(false),
        }
    }
}

/// Frames per second, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Fps(u32);

/// A number or text that is not an [`Fps`].
#[derive(Clone, Debug, PartialEq, Error)]
#[error("must be 0.001 to 1000 frames per second")]
pub struct InvalidFps;

impl Fps {
    /// Frames in a thousand seconds.
    pub fn thousandths(self) -> u32 {
        self.0
    }
}

impl TryFrom<f64> for Fps {
    type Error = InvalidFps;

    fn try_from(fps: f64) -> Result<Self, InvalidFps> {
        let thousandths = (fps * 1e3).round();
        if (1.0..=1e6).contains(&thousandths) {
            #[expect(clippy::cast_possible_truncation, reason = "it is at most 1e6")]
            let thousandths = thousandths as u32;
            Ok(Self(thousandths))
        } else {
            Err(InvalidFps)
        }
    }
}

impl From<Fps> for f64 {
    fn from(fps: Fps) -> Self {
        Self::from(fps.0) / 1e3
    }
}

impl FromStr for Fps {
    type Err = InvalidFps;

    fn from_str(text: &str) -> Result<Self, InvalidFps> {
        text.trim().parse().map_err(|_| InvalidFps).and_then(|fps: f64| Self::try_from(fps))
    }
}

/// A time on a video's timeline, to the millisecond. Written in seconds; read as seconds or as text
/// such as `1m 30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "SecondsOrText", into = "f64")]
pub struct Offset(u64);

#[derive(Deserialize)]
#[serde(untagged)]
enum SecondsOrText {
    Seconds(f64),
    Text(String),
}

/// A number or text that is not an [`Offset`].
#[derive(Clone, Debug, PartialEq, Error)]
#[error("must be seconds, such as 90 or 7.5, or a time such as 1m30s")]
pub struct InvalidOffset;

impl Offset {
    /// The timeline's beginning.
    pub const ZERO: Self = Self(0);

    /// In nanoseconds, the unit of presentation times.
    pub fn nanoseconds(self) -> u64 {
        self.0 * 1_000_000
    }

    /// As a duration from the timeline's beginning.
    pub fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }

    fn of(time: Duration) -> Result<Self, InvalidOffset> {
        if time > LONGEST {
            return Err(InvalidOffset);
        }
        let rounded = time + Duration::from_micros(500);
        u64::try_from(rounded.as_millis()).map(Self).map_err(|_| InvalidOffset)
    }
}

impl TryFrom<f64> for Offset {
    type Error = InvalidOffset;

    fn try_from(seconds: f64) -> Result<Self, InvalidOffset> {
        Duration::try_from_secs_f64(seconds).map_err(|_| InvalidOffset).and_then(Self::of)
    }
}

impl FromStr for Offset {
    type Err = InvalidOffset;

    fn from_str(text: &str) -> Result<Self, InvalidOffset> {
        match text.trim().parse::<f64>() {
            Ok(seconds) => Self::try_from(seconds),
            Err(_) => {
                humantime::parse_duration(text.trim()).map_err(|_| InvalidOffset).and_then(Self::of)
            }
        }
    }
}

impl TryFrom<SecondsOrText> for Offset {
    type Error = InvalidOffset;

    fn try_from(time: SecondsOrText) -> Result<Self, InvalidOffset> {
        match time {
            SecondsOrText::Seconds(seconds) => Self::try_from(seconds),
            SecondsOrText::Text(text) => text.parse(),
        }
    }
}

impl From<Offset> for f64 {
    fn from(offset: Offset) -> Self {
        offset.0 as f64 / 1e3
    }
}

#[cfg(test)]
mod tests {
    use super::super::{to_cbor, to_json};
    use super::*;

    #[test]
    fn times_are_seconds_or_text_and_survive_a_round_trip() {
        for (json, milliseconds) in [
            ("90", 90_000),
            ("7.5", 7500),
            ("0", 0),
            ("0.0004", 0),
            ("\"1m30s\"", 90_000),
            ("\"90\"", 90_000),
        ] {
            let offset: Offset = serde_json::from_str(json).unwrap();
            assert_eq!(offset.nanoseconds(), milliseconds * 1_000_000, "{json}");
            assert_eq!(serde_json::from_slice::<Offset>(&to_json(&offset)).unwrap(), offset);
            assert_eq!(
                ciborium::from_reader::<Offset, _>(&to_cbor(&offset, 16)[..]).unwrap(),
                offset
            );
        }
        for json in ["-1", "1e300", "\"soon\"", "\"NaN\"", "null", "\"\""] {
            assert!(serde_json::from_str::<Offset>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn rates_are_positive_numbers_and_survive_a_round_trip() {
        for (json, thousandths) in
            [("1", 1000), ("29.97", 29_970), ("0.001", 1), ("1000", 1_000_000)]
        {
            let fps: Fps = serde_json::from_str(json).unwrap();
            assert_eq!(fps.thousandths(), thousandths);
            assert_eq!(serde_json::from_slice::<Fps>(&to_json(&fps)).unwrap(), fps);
        }
        for text in ["0", "-1", "1001", "NaN", "inf", "fast"] {
            assert_eq!(text.parse::<Fps>(), Err(InvalidFps), "{text}");
        }
    }

    #[test]
    fn an_upload_selects_frames() {
        let json =
            br#"{"version": 1, "uri": "file:///a.mp4", "fps": 2, "start": 1.5, "end": "2m"}"#;
        let upload = super::super::Upload::parse(json).unwrap();
        let selection = upload.selection(7);
        assert_eq!((selection.every, selection.fps.map(f64::from)), (1, Some(2.0)));
        assert_eq!(
            (selection.start.map(f64::from), selection.end.map(f64::from)),
            (Some(1.5), Some(120.0))
        );
        assert_eq!(super::super::Upload::parse(&to_json(&upload)).unwrap(), upload);
    }
}
