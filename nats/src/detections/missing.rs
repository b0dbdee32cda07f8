use std::fmt;
use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::StreamExt;
use roaring::RoaringTreemap;
use thiserror::Error;

use super::{DetectionsError, StoredResult, failed, stored_results};
use crate::messages::{Carried, VideoEntry};
use crate::{Streams, VideoError, VideoId};

/// The frames that a video's entry counts and whose results were not read: they have expired, made
/// space for others, or were lost. What is computed from the rest does not hold for the whole video.
#[derive(Clone, Debug, PartialEq)]
pub struct Missing {
    counted: u64,
    frames: RoaringTreemap,
}

/// An entry's list of counted frames cannot be read.
#[derive(Debug, Error)]
pub enum InvalidFrames {
    /// The text is not base64.
    #[error("the entry's list of counted frames is not base64: {0}")]
    Base64(#[from] base64::DecodeError),
    /// The bytes are not a 64-bit Roaring bitmap in its portable format.
    #[error("the entry's list of counted frames is not a Roaring bitmap: {0}")]
    Roaring(#[from] io::Error),
}

impl Missing {
    /// All frames that the entry counts, none of which is read yet.
    ///
    /// Get the entry before the results: frames that are counted in between are not missing then.
    pub fn all_of(entry: &VideoEntry) -> Result<Self, InvalidFrames> {
        let bytes = BASE64.decode(&entry.counted_frames)?;
        let frames = RoaringTreemap::deserialize_from(&bytes[..])?;
        Ok(Self { counted: frames.len(), frames })
    }

    /// The frames that the video's entry counts and whose results are not stored. `None` if the
    /// video does not have an entry that can be read.
    pub async fn of(streams: &Streams, video: &VideoId) -> Result<Option<Self>, DetectionsError> {
        let entry = match streams.videos().entry(video).await {
            Ok(Some(entry)) => entry,
            Ok(None) | Err(VideoError::Malformed { .. }) => return Ok(None),
            Err(error) => return Err(failed(video)(error)),
        };
        let Ok(mut missing) = Self::all_of(&entry) else { return Ok(None) };
        let mut stored = std::pin::pin!(stored_results(streams, video, 1));
        while !missing.is_empty()
            && let Some(result) = stored.next().await
        {
            match result?.1 {
                StoredResult::Frame(frame) => missing.found(frame.index),
                StoredResult::Carried(Carried { runs, .. }) => {
                    let frames = runs.iter().flat_map(|run| &run.frames);
                    frames.for_each(|(index, _)| missing.found(*index));
                }
            }
        }
        Ok(Some(missing))
    }

    /// The result of a frame was read.
    pub fn found(&mut self, index: u64) {
        self.frames.remove(index);
    }

    /// How many frames are missing.
    pub fn len(&self) -> u64 {
        self.frames.len()
    }

    /// True if no frame is missing.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The first and the last of the frames that are missing.
    pub fn span(&self) -> Option<(u64, u64)> {
        self.frames.min().zip(self.frames.max())
    }

    /// The indexes of the frames that are missing, in order.
    pub fn frames(&self) -> impl Iterator<Item = u64> {
        self.frames.iter()
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (missing, counted) = (self.frames.len(), self.counted);
        match (self.frames.min(), self.frames.max()) {
            (Some(first), Some(last)) if first < last => {
                write!(f, "the results of {missing} of {counted} frames are not kept any more, ")?;
                write!(f, "between frame {first} and frame {last}")
            }
            (Some(only), _) => {
                write!(f, "the result of frame {only} of {counted} frames is not kept any more")
            }
            (None, _) => write!(f, "the results of all {counted} frames are kept"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::{Upload, VideoState, from_json};

    fn entry(counted_frames: String) -> VideoEntry {
        let started = Upload::parse(b"file:///a.mp4").unwrap().started(std::time::UNIX_EPOCH, 1);
        let json = serde_json::json!({
            "version": 1, "video": VideoId::for_name("a", "1"), "state": VideoState::Done,
            "started": started, "published": 9, "counted": 0, "failed": 0, "failures": [],
            "unconfirmed": [], "counted_frames": counted_frames, "failed_frames": "",
            "processing_us": 0, "classes": {}, "models": [], "alarms": 0, "alarm_state": {
                "rules": [], "next": 0, "ahead": [], "runs": [], "unsent": []
            }, "summary_published": false, "corrections": 0
        });
        from_json(json.to_string().as_bytes()).unwrap()
    }

    fn bitmap(frames: &[u64]) -> String {
        let mut bytes = Vec::new();
        RoaringTreemap::from_iter(frames.iter().copied()).serialize_into(&mut bytes).unwrap();
        BASE64.encode(bytes)
    }

    #[test]
    fn what_is_counted_and_was_not_read_is_missing() {
        let mut missing = Missing::all_of(&entry(bitmap(&[0, 25, 50, 1 << 40]))).unwrap();
        assert_eq!(missing.len(), 4);
        [50, 25, 25, 7].into_iter().for_each(|index| missing.found(index));
        assert_eq!(missing.frames().collect::<Vec<_>>(), [0, 1 << 40]);
        assert_eq!(
            missing.to_string(),
            "the results of 2 of 4 frames are not kept any more, between frame 0 and frame \
             1099511627776"
        );
        missing.found(1 << 40);
        assert_eq!(missing.to_string(), "the result of frame 0 of 4 frames is not kept any more");
        missing.found(0);
        assert!(missing.is_empty());
        assert_eq!(missing.to_string(), "the results of all 4 frames are kept");
    }

    #[test]
    fn an_entry_whose_list_cannot_be_read_is_an_error() {
        let error = |text: &str| Missing::all_of(&entry(text.into())).unwrap_err();
        assert!(matches!(error("%"), InvalidFrames::Base64(_)));
        assert!(matches!(error("AAAA"), InvalidFrames::Roaring(_)));
    }
}
