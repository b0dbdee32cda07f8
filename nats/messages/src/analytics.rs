//! What a video's tracks, lines and zones come to.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::classes::plural;
use crate::{Alarm, AlarmRule, Direction, TrackerKind, VERSION, Versioned, VideoId};

/// A frame, and its time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Instant {
    /// The frame's index.
    pub frame: u64,
    /// Its presentation time, in seconds. Left out: the video does not have any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_s: Option<f64>,
}

/// One object, from when it was first seen to when it was last seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TrackRecord {
    /// Its number in the order in which tracks end, from 1.
    pub number: u64,
    /// Its number among the video's tracks, from 1.
    pub track: u64,
    /// Its class: the one with the greatest sum of scores.
    pub label: String,
    /// When it was first seen.
    pub first: Instant,
    /// When it was last seen.
    pub last: Instant,
    /// In how many frames it was seen.
    pub frames: u64,
    /// Its way, simplified: frame index, and the middle of its box's lower side, in shares of the
    /// picture's width and height.
    pub path: Vec<PathPoint>,
    /// The lines that it crossed, in order. Of very many, the last ones.
    pub lines: Vec<LineCrossed>,
    /// The zones that it was in, by name.
    pub zones: BTreeMap<String, TimeInZone>,
}

/// A point of a track's path; in JSON `[frame, x, y]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PathPoint(pub u64, pub f64, pub f64);

impl utoipa::PartialSchema for PathPoint {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        Vec::<f64>::schema()
    }
}

impl utoipa::ToSchema for PathPoint {}

/// A line that a track crossed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LineCrossed {
    /// The line's name.
    pub line: String,
    /// In or out.
    pub direction: Direction,
    /// When.
    #[serde(flatten)]
    pub at: Instant,
}

/// How long a track was in a zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TimeInZone {
    /// How often.
    pub visits: u64,
    /// How long, all visits together, in seconds.
    pub dwell_s: f64,
}

/// A track that crossed a line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Crossing {
    /// Its number among the video's crossings, from 1.
    pub number: u64,
    /// The line's name.
    pub line: String,
    /// In or out.
    pub direction: Direction,
    /// The track.
    pub track: u64,
    /// The track's class at that time.
    pub label: String,
    /// When.
    #[serde(flatten)]
    pub at: Instant,
}

/// A track that was in a zone, and left it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Visit {
    /// Its number among the video's visits, from 1, in the order in which they end.
    pub number: u64,
    /// The zone's name.
    pub zone: String,
    /// The track.
    pub track: u64,
    /// The track's class at that time.
    pub label: String,
    /// When it began.
    pub entered: Instant,
    /// When the track was last seen in it.
    pub left: Instant,
    /// From the one to the other, in seconds.
    pub dwell_s: f64,
}

/// An alarm without the name of its video.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RaisedAlarm {
    /// Its number among the video's alarms, from 1.
    pub number: u64,
    /// The frame that raised it.
    pub frame: u64,
    /// Its presentation time, in nanoseconds.
    pub pts: Option<u64>,
    /// The rule.
    pub rule: AlarmRule,
    /// The class of the objects.
    pub label: String,
    /// How many.
    pub count: u32,
    /// The track that raised it, if one did.
    pub track: Option<u64>,
}

impl RaisedAlarm {
    /// The message for a video of this name.
    pub fn of(self, video: &VideoId, name: &str) -> Alarm {
        let Self { number, frame, pts, rule, label, count, track } = self;
        Alarm {
            version: VERSION,
            video: video.clone(),
            name: name.to_owned(),
            number,
            frame,
            time_s: pts.map(|ns| ns as f64 / 1e9),
            rule,
            label,
            count,
            track,
        }
    }
}

/// A finished track, as JSON on `tracks.<video>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct VideoTrack {
    /// [`super::VERSION`]
    pub version: u8,
    /// The video's identity.
    pub video: VideoId,
    /// The video's display name.
    pub name: String,
    /// The track.
    #[serde(flatten)]
    pub track: TrackRecord,
}

impl Versioned for VideoTrack {
    fn version(&self) -> u8 {
        self.version
    }
}

/// What a video's tracks come to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AnalyticsSummary {
    /// How objects were recognised as the same one.
    pub tracker: TrackerKind,
    /// How many different objects, by class.
    pub tracks: BTreeMap<String, u64>,
    /// Crossings, by line.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lines: BTreeMap<String, LineSummary>,
    /// Visits, by zone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub zones: BTreeMap<String, ZoneSummary>,
    /// The frames per second that times follow from, because frames have none of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assumed_fps: Option<f64>,
}

/// How often a line was crossed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LineSummary {
    /// From its left to its right, by class.
    #[serde(rename = "in")]
    pub inwards: BTreeMap<String, u64>,
    /// From its right to its left, by class.
    #[serde(rename = "out")]
    pub outwards: BTreeMap<String, u64>,
}

/// What happened in a zone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ZoneSummary {
    /// How many tracks were in it at once.
    pub occupancy: Occupancy,
    /// Visits that began, by class.
    pub entries: BTreeMap<String, u64>,
    /// Visits that ended before the video did, by class.
    pub exits: BTreeMap<String, u64>,
    /// How long visits were. Left out: there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dwell: Option<Dwell>,
}

/// How many tracks were in a zone at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Occupancy {
    /// The fewest.
    pub least: u64,
    /// The mean over time.
    pub mean: f64,
    /// The most.
    pub most: u64,
}

/// How long the visits of a zone were, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Dwell {
    /// The mean.
    pub mean_s: f64,
    /// Half of them were at most so long. Rounded to 0.1 s up to 12.8 s, above to less than 1 %.
    pub median_s: f64,
    /// 95 of 100 were at most so long. Rounded like the median.
    pub p95_s: f64,
    /// The longest.
    pub longest_s: f64,
}

/// The lines that follow those of the summary: `Different persons: 19`,
/// `Line gate: 11 persons in, 8 out`, `Zone quay: …`.
impl fmt::Display for AnalyticsSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = Vec::new();
        for label in crate::Summary::ranking(&self.tracks, usize::MAX) {
            let n = self.tracks.get(&label).copied().unwrap_or(0);
            lines.push(format!("Different {}: {n}", plural(&label)));
        }
        if self.tracks.is_empty() && self.tracker != TrackerKind::None {
            lines.push("Different objects: 0".into());
        }
        for (name, LineSummary { inwards, outwards }) in &self.lines {
            let mut labels: Vec<_> = inwards.keys().chain(outwards.keys()).collect();
            labels.sort();
            labels.dedup();
            let of =
                |counts: &BTreeMap<String, u64>, label| counts.get(label).copied().unwrap_or(0);
            let parts: Vec<_> = labels
                .into_iter()
                .map(|label| {
                    let (inwards, outwards) = (of(inwards, label), of(outwards, label));
                    let objects = if inwards == 1 { label.clone() } else { plural(label) };
                    format!("{inwards} {objects} in, {outwards} out")
                })
                .collect();
            let text = if parts.is_empty() { "0 in, 0 out".into() } else { parts.join("; ") };
            lines.push(format!("Line {name}: {text}"));
        }
        for (name, zone) in &self.zones {
            let Occupancy { least, mean, most } = zone.occupancy;
            let entries = match zone.entries.values().sum::<u64>() {
                1 => "1 entry".to_owned(),
                n => format!("{n} entries"),
            };
            let mut text =
                format!("Zone {name}: {least} to {most} at once, {mean:.1} on average, {entries}");
            if let Some(Dwell { median_s, longest_s, .. }) = zone.dwell {
                text += &format!(", median dwell {median_s:.1} s, longest {longest_s:.1} s");
            }
            lines.push(text);
        }
        f.write_str(&lines.join("\n"))
    }
}
