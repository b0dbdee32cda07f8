use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{FailedFrame, LiveStatus, Skipped, TrackedCounts, UsedModel, Versioned, VideoState};
use crate::VideoId;

/// The objects in a video, as JSON on `summaries.<video>`; its [`Display`](fmt::Display) is the
/// summary that people read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Summary {
    /// [`super::VERSION`]
    pub version: u8,
    /// The video's identity.
    pub video: VideoId,
    /// Its display name.
    pub name: String,
    /// Where it came from, without a password.
    pub uri: String,
    /// `done`, `incomplete` (fewer frames than there should be), `failed` (none) or `cancelled`.
    pub state: VideoState,
    /// Why it is not `done`.
    pub problem: Option<String>,
    /// What a user should know about it although nothing is missing, each on one line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<String>,
    /// Frames that were counted after the video's first summary. If it is not 0, this summary
    /// replaces an earlier one.
    #[serde(default)]
    pub corrections: u64,
    /// The frames of the video: those that were analysed, skipped or failed. Frames from `end` on do
    /// not belong to it. Left out of summaries of earlier releases, and of live sources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_frames: Option<u64>,
    /// Frames that were analysed.
    pub processed_frames: u64,
    /// Frames that were not analysed, by the reason. Objects of `still` frames are counted.
    #[serde(default, skip_serializing_if = "Skipped::is_none")]
    #[schema(required = false)]
    pub skipped: Skipped,
    /// Frames that could not be analysed.
    pub failed_frames: u64,
    /// The first failed frames, with reasons.
    pub failed: Vec<FailedFrame>,
    /// Time that detectors spent per processed frame, without waiting, in milliseconds.
    pub average_processing_ms: f64,
    /// Objects found, by class.
    pub classes: BTreeMap<String, u64>,
    /// The most objects of a class in one frame. Left out if nothing was found.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub most_at_once: BTreeMap<String, u64>,
    /// The classes found most often, at most three; ties by name.
    pub top: Vec<String>,
    /// Number of alarms raised.
    #[serde(default)]
    pub alarms: u64,
    /// Tracks, lines and zones.
    #[serde(flatten)]
    pub tracked: TrackedCounts,
    /// True if its text has lines about tracks, because the upload asks for them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tracks_printed: bool,
    /// The model that its frames were for. Left out: no ingest started it, or an older one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<UsedModel>,
    /// The models that analysed its frames. With more than one, the counts depend on which model
    /// got which frame.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub models: BTreeSet<String>,
    /// Status of a live source. Its objects are counted in its windows, which are videos.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<LiveStatus>,
    /// Time that the video covers, in seconds.
    pub duration_s: Option<f64>,
    /// Time from the upload to the last frame counted, in seconds.
    pub wall_time_s: f64,
    /// Frames whose objects were counted, still ones included, per second of that time.
    pub frames_per_second: f64,
}

impl Versioned for Summary {
    fn version(&self) -> u8 {
        self.version
    }
}

impl Summary {
    /// Objects of a class that were found.
    pub fn count(&self, label: &str) -> u64 {
        self.classes.get(label).copied().unwrap_or(0)
    }

    /// The classes found most often, at most `most` of them; ties are broken by name.
    pub fn ranking(classes: &BTreeMap<String, u64>, most: usize) -> Vec<String> {
        let mut ranking: Vec<_> = classes.iter().collect();
        ranking.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        ranking.into_iter().take(most).map(|(label, _)| label.clone()).collect()
    }
}

/// The lines that the system before this one printed, byte for byte, under the video's name.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let corrected = if self.corrections > 0 { " (corrected)" } else { "" };
        match self.state {
            VideoState::Incomplete => {
                writeln!(
                    f,
                    "{}{corrected} (incomplete: {})",
                    self.name,
                    self.problem.as_deref().unwrap_or("unknown")
                )?;
            }
            VideoState::Cancelled => writeln!(
                f,
                "{} (cancelled: {})",
                self.name,
                self.problem.as_deref().unwrap_or("unknown")
            )?,
            _ => writeln!(f, "{}{corrected}", self.name)?,
        }
        writeln!(f, "Processed frames: {}", self.processed_frames)?;
        writeln!(f, "Average processing time per frame: {:.0}ms", self.average_processing_ms)?;
        writeln!(f, "Person objects detected: {}", self.count("person"))?;
        writeln!(f, "Total classes detected: {}", self.classes.len())?;
        let top = if self.top.is_empty() { "none".to_owned() } else { self.top.join(", ") };
        write!(f, "Top 3 objects detected: {top}")?;
        if self.skipped.still > 0 {
            write!(f, "\nStill frames: {}", self.skipped.still)?;
        }
        match self.tracked.analytics() {
            Some(analytics) if self.tracks_printed => write!(f, "\n{analytics}"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(classes: &[(&str, u64)]) -> Summary {
        let classes = classes.iter().map(|(label, n)| ((*label).to_owned(), *n)).collect();
        Summary {
            version: 1,
            video: VideoId::for_name("bikes", "1"),
            name: "bikes.mp4".into(),
            uri: "file:///bikes.mp4".into(),
            state: VideoState::Done,
            problem: None,
            notices: vec![],
            corrections: 0,
            total_frames: Some(250),
            processed_frames: 250,
            skipped: Skipped::default(),
            failed_frames: 0,
            failed: vec![],
            average_processing_ms: 25.6,
            top: Summary::ranking(&classes, 3),
            classes,
            most_at_once: BTreeMap::new(),
            alarms: 0,
            tracked: TrackedCounts::default(),
            tracks_printed: false,
            model: None,
            models: BTreeSet::new(),
            live: None,
            duration_s: Some(10.0),
            wall_time_s: 4.0,
            frames_per_second: 62.5,
        }
    }

    #[test]
    fn the_summary_keeps_the_old_format_byte_for_byte() {
        let text = "bikes.mp4\nProcessed frames: 250\nAverage processing time per frame: 26ms\n\
                    Person objects detected: 109\n\
                    Total classes detected: 4\nTop 3 objects detected: car, person, motorcycle";
        assert_eq!(
            summary(&[("person", 109), ("motorcycle", 11), ("car", 154), ("chair", 1)]).to_string(),
            text
        );
    }

    #[test]
    fn still_frames_have_a_line_of_their_own_after_the_old_ones() {
        let mut summary = summary(&[("boat", 1)]);
        let text = summary.to_string();
        summary.skipped.still = 312;
        assert_eq!(summary.to_string(), format!("{text}\nStill frames: 312"));
        // Its line is absent where nothing was skipped for another reason, too.
        summary.skipped = Skipped { every: 9, ..Skipped::default() };
        assert_eq!(summary.to_string(), text);
    }

    #[test]
    fn a_summary_of_an_earlier_release_can_be_read() {
        let mut json = serde_json::to_value(summary(&[])).unwrap();
        let fields = json.as_object_mut().unwrap();
        assert!(fields.remove("total_frames").is_some() && !fields.contains_key("skipped"));
        let read: Summary = serde_json::from_value(json).unwrap();
        assert_eq!((read.total_frames, read.skipped), (None, Skipped::default()));
    }

    #[test]
    fn ties_are_broken_by_name_and_fewer_than_three_classes_are_all_printed() {
        assert!(
            summary(&[("b", 1), ("a", 1), ("d", 1), ("c", 2)])
                .to_string()
                .ends_with("Top 3 objects detected: c, a, b")
        );
        assert!(
            summary(&[("boat", 1)])
                .to_string()
                .ends_with("Total classes detected: 1\nTop 3 objects detected: boat")
        );
        assert!(
            summary(&[])
                .to_string()
                .ends_with("Total classes detected: 0\nTop 3 objects detected: none")
        );
    }

    #[test]
    fn an_incomplete_video_says_so_beside_its_name() {
        let mut summary = summary(&[]);
        (summary.state, summary.problem) = (VideoState::Incomplete, Some("truncated".into()));
        assert!(
            summary
                .to_string()
                .starts_with("bikes.mp4 (incomplete: truncated)\nProcessed frames: 250\n")
        );
    }
}
