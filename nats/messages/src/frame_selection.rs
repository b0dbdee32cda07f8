use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A century: no video is longer.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 24 * 3600);

/// Which frames of a video are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameSelection {
    /// Those whose index is a multiple of it.
    pub every: u64,
    /// And of those, so many per second.
    pub fps: Option<Fps>,
    /// And none before this time.
    pub start: Option<Offset>,
    /// And none at this time or later.
    pub end: Option<Offset>,
}

impl FrameSelection {
    /// Each `every`-th frame of the whole video.
    pub fn every(every: u64) -> Self {
        Self { every, fps: None, start: None, end: None }
    }

    /// How many frames a video of so many has, if that follows from their number alone.
    pub fn count(&self, frames: u64) -> Option<u64> {
        let by_index = self.fps.is_none() && self.start.is_none() && self.end.is_none();
        by_index.then(|| frames.div_ceil(self.every.max(1)))
    }
}

/// Why an upload cannot ask for this, if it cannot: the field, and what is wrong with it.
pub fn selection_problem(
    every: Option<u64>,
    fps: Option<Fps>,
    start: Option<Offset>,
    end: Option<Offset>,
) -> Option<(&'static str, &'static str)> {
    if every == Some(0) {
        return Some(("every", "must be 1 (each frame) or more"));
    }
    if every.is_some() && fps.is_some() {
        return Some(("fps", "cannot be together with every: give one of them"));
    }
    end.is_some_and(|end| end <= start.unwrap_or(Offset::ZERO))
        .then_some(("end", "must be later than start"))
}

/// Frames per second, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Fps(u32);

/// A number or text that is no [`Fps`].
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
            Ok(Self(thousandths as u32))
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

/// A time on a video's timeline, to the millisecond. It is written in seconds, and read as such or
/// as text like `1m 30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "SecondsOrText", into = "f64")]
pub struct Offset(u64);

#[derive(Deserialize)]
#[serde(untagged)]
enum SecondsOrText {
    Seconds(f64),
    Text(String),
}

/// A number or text that is no [`Offset`].
#[derive(Clone, Debug, PartialEq, Error)]
#[error("must be seconds, such as 90 or 7.5, or a time such as 1m30s")]
pub struct InvalidOffset;

impl Offset {
    /// The timeline's beginning.
    pub const ZERO: Self = Self(0);

    /// In nanoseconds, as frames' times are.
    pub fn nanoseconds(self) -> u64 {
        self.0 * 1_000_000
    }

    /// As a length of time.
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
    fn times_are_seconds_or_text_and_come_back_the_same() {
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
    fn rates_are_positive_numbers_and_come_back_the_same() {
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
    fn an_upload_says_which_frames_are_looked_at() {
        let json =
            br#"{"version": 1, "uri": "file:///a.mp4", "fps": 2, "start": 1.5, "end": "2m"}"#;
        let upload = super::super::Upload::parse(json).unwrap();
        let choice = upload.choice(7);
        assert_eq!((choice.every, choice.fps.map(f64::from)), (1, Some(2.0)));
        assert_eq!(
            (choice.start.map(f64::from), choice.end.map(f64::from)),
            (Some(1.5), Some(120.0))
        );
        assert_eq!(super::super::Upload::parse(&to_json(&upload)).unwrap(), upload);
    }
}
