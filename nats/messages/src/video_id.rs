use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::ModelId;

const MAX_ID_LENGTH: usize = 64;
const MAX_SLUG_LENGTH: usize = 32;
const WINDOW_MARK: &str = "-w";
const MODEL_MARK: &str = "-by-";
const STAMP_LENGTH: usize = 7;
const STAMP_DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// The identity of one upload: one NATS subject token of 1 to 64 letters, digits, `-` and `_`.
///
/// The same file uploaded twice is two videos. An upload that is delivered twice is one.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(
    value_type = String,
    pattern = "^[A-Za-z0-9_-]{1,64}$",
    examples("bikes-mp4-6tPophtKDyovJh2txo1oKE")
)]
pub struct VideoId(String);

/// A text that cannot be a [`VideoId`].
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0:?} is not a video id: use 1 to 64 letters, digits, '-' and '_'")]
pub struct InvalidVideoId(pub String);

impl VideoId {
    /// A readable id: the name made safe for a subject, then `unique`.
    pub fn for_name(name: &str, unique: &str) -> Self {
        let mut slug = String::new();
        for c in name.chars().take(4 * MAX_SLUG_LENGTH) {
            if slug.len() == MAX_SLUG_LENGTH {
                break;
            }
            if c.is_ascii_alphanumeric() {
                slug.push(c);
            } else if !slug.is_empty() && !slug.ends_with('-') {
                slug.push('-');
            }
        }
        let unique: String = unique
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .take(MAX_ID_LENGTH - MAX_SLUG_LENGTH - 1)
            .collect();
        let slug = slug.trim_end_matches('-');
        Self(if slug.is_empty() { format!("video-{unique}") } else { format!("{slug}-{unique}") })
    }

    /// The id of an upload whose sender did not give one.
    ///
    /// It is made from what the server stores with the message, so it is the same for every
    /// delivery.
    pub fn for_message(name: &str, stream_sequence: u64, published: std::time::SystemTime) -> Self {
        let published = published.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self::for_name(name, &format!("{:x}x{stream_sequence}", published.as_millis()))
    }

    /// The id of a live source's window that starts then, in milliseconds since 1970-01-01 UTC;
    /// `None` if this id is too long for that.
    pub fn window(&self, started_at: u64) -> Option<Self> {
        let mut tenths = started_at / 100;
        let mut stamp = [b'0'; STAMP_LENGTH];
        for digit in stamp.iter_mut().rev() {
            #[expect(clippy::cast_possible_truncation, reason = "less than the number of digits")]
            let value = (tenths % STAMP_DIGITS.len() as u64) as usize;
            *digit = STAMP_DIGITS[value];
            tenths /= STAMP_DIGITS.len() as u64;
        }
        Self::try_from(format!("{self}{WINDOW_MARK}{}", String::from_utf8_lossy(&stamp))).ok()
    }

    /// The id of another analysis of this video, by a model: readable if that is short enough.
    pub fn by_model(&self, model: &ModelId) -> Self {
        let suffix: String = model.to_string().replace('@', "-v");
        let whole = format!("{self}{MODEL_MARK}{suffix}");
        if whole.len() <= MAX_ID_LENGTH {
            return Self(whole);
        }
        // FNV-1a: the same in every process.
        let hash = whole.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let hash = format!("{MODEL_MARK}{hash:016x}");
        let kept = self.0.len().min(MAX_ID_LENGTH - hash.len());
        Self(format!("{}{hash}", &self.0[..kept]))
    }

    /// Whether this is a window of `source`.
    pub fn is_window_of(&self, source: &Self) -> bool {
        self.0.strip_prefix(&source.0).is_some_and(is_stamp)
    }

    /// Whether this is any source's [`window`](Self::window).
    pub fn is_window(&self) -> bool {
        self.0
            .len()
            .checked_sub(WINDOW_MARK.len() + STAMP_LENGTH)
            .is_some_and(|at| is_stamp(&self.0[at..]))
    }

    /// The id in a subject such as `results.<video>`.
    pub fn of_subject(subject: &str) -> Option<Self> {
        let (_, token) = subject.split_once('.')?;
        Self::try_from(token.to_owned()).ok()
    }

    /// The id as a subject token.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a text is what [`VideoId::window`] appends.
fn is_stamp(text: &str) -> bool {
    let stamp = text.strip_prefix(WINDOW_MARK).unwrap_or_default();
    stamp.len() == STAMP_LENGTH && stamp.bytes().all(|digit| STAMP_DIGITS.contains(&digit))
}

impl TryFrom<String> for VideoId {
    type Error = InvalidVideoId;

    fn try_from(text: String) -> Result<Self, InvalidVideoId> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if text.is_empty() || text.len() > MAX_ID_LENGTH || !text.chars().all(allowed) {
            return Err(InvalidVideoId(text));
        }
        Ok(Self(text))
    }
}

impl From<VideoId> for String {
    fn from(id: VideoId) -> Self {
        id.0
    }
}

impl fmt::Display for VideoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for VideoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_ids_are_unique_and_sorted_by_time() {
        let source = VideoId::for_name(
            "a camera that has a name of forty letters",
            "CwtNhL9muiLGCvnWV1Vnnf",
        );
        let ids: Vec<_> =
            (0..100).map(|n| source.window(1_795_409_643_547 + 100 * n).unwrap()).collect();
        assert!(ids.is_sorted() && ids.windows(2).all(|pair| pair[0] != pair[1]), "{ids:?}");
        assert!(ids.iter().all(|id| id.is_window_of(&source) && id.is_window()));
        let other = VideoId::for_name("a camera", "1");
        assert!(
            !ids[0].is_window_of(&other) && !source.is_window() && !source.is_window_of(&source)
        );
        assert_eq!(VideoId::try_from("x".repeat(60)).unwrap().window(0), None);
    }

    #[test]
    fn each_model_has_an_analysis_of_its_own() {
        let video = VideoId::for_name("a.mp4", "1");
        let of = |video: &VideoId, model: &str| video.by_model(&model.parse().unwrap());
        assert_eq!(of(&video, "boats@3").as_str(), "a-mp4-1-by-boats-v3");
        let long = VideoId::try_from("x".repeat(64)).unwrap();
        let ids = ["boats@3", "boats@4", "nanodet"].map(|model| of(&long, model));
        for id in &ids {
            assert_eq!(VideoId::try_from(id.to_string()), Ok(id.clone()));
        }
        assert!(ids[0] != ids[1] && ids[1] != ids[2]);
        let other = VideoId::try_from(format!("{}y", "x".repeat(63))).unwrap();
        assert_ne!(of(&other, "boats@3"), ids[0]);
    }

    #[test]
    fn any_name_gives_a_valid_id() {
        for name in ["bikes.mp4", "", "...", "a b/c>*.avi", "föö.mkv", &"x".repeat(500), "日本語"]
        {
            let id = VideoId::for_name(name, "0123456789abcdefABCDEF");
            assert_eq!(VideoId::try_from(id.to_string()), Ok(id.clone()), "{name}");
            assert!(id.as_str().ends_with("0123456789abcdefABCDEF"), "{id}");
        }
        assert_eq!(VideoId::for_name("bikes.mp4", "7").as_str(), "bikes-mp4-7");
    }

    #[test]
    fn an_id_is_one_subject_token() {
        for text in ["", "a.b", "a b", "*", ">", "a/b", &"x".repeat(65)] {
            assert_eq!(VideoId::try_from(text.to_owned()), Err(InvalidVideoId(text.to_owned())));
        }
        assert_eq!(VideoId::of_subject("results.a-1").map(String::from), Some("a-1".to_owned()));
        assert_eq!(VideoId::of_subject("results"), None);
    }
}
