use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::classes::check_classes;
use super::{
    AlarmRule, AnalyticsSummary, InvalidPlaces, Line, LineSummary, TrackerKind, UnknownClass, Zone,
    ZoneSummary, check_places,
};

/// What an upload asks about tracks; part of [`Upload`](super::Upload) and
/// [`Started`](super::Started).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tracking {
    /// How objects are recognised as the same one. Left out: [`TrackerKind::default`], and the
    /// text of the summary does not have lines about tracks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracker: Option<TrackerKind>,
    /// Lines to count crossings of, such as `gate: 0.1,0.8 0.9,0.8`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<Line>,
    /// Zones to count visits of, such as `quay: 0,0.5 1,0.5 1,1 0,1`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<Zone>,
}

impl Tracking {
    /// The tracker that is asked for, or the default.
    pub fn tracker(&self) -> TrackerKind {
        self.tracker.unwrap_or_default()
    }

    /// True if the text of the summary has lines about tracks.
    pub fn is_asked(&self) -> bool {
        let asked = self.tracker.is_some_and(|tracker| tracker != TrackerKind::None);
        asked || !self.lines.is_empty() || !self.zones.is_empty()
    }

    /// Checks that lines, zones and rules fit together.
    pub fn check(&self, alarms: &[AlarmRule]) -> Result<(), InvalidPlaces> {
        check_places(self.tracker(), &self.lines, &self.zones, alarms)
    }

    /// Checks that lines, zones and rules name classes that are `known`: those of the models that
    /// analyse the video.
    pub fn check_classes(
        &self,
        alarms: &[AlarmRule],
        known: &[String],
    ) -> Result<(), UnknownClass> {
        check_classes(self, alarms, known)
    }
}

/// An [`AnalyticsSummary`] as fields of a [`Summary`](super::Summary). All are left out if nothing
/// was tracked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TrackedCounts {
    /// How objects were recognised as the same one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracker: Option<TrackerKind>,
    /// How many different objects, by class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracks: Option<BTreeMap<String, u64>>,
    /// Crossings, by line. Left out without lines.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lines: BTreeMap<String, LineSummary>,
    /// Visits, by zone. Left out without zones.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub zones: BTreeMap<String, ZoneSummary>,
    /// The frames per second that times follow from, if frames have none of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assumed_fps: Option<f64>,
}

impl TrackedCounts {
    /// What was tracked, if anything.
    pub fn analytics(&self) -> Option<AnalyticsSummary> {
        let Self { tracker, tracks, lines, zones, assumed_fps } = self.clone();
        let (tracker, tracks) = (tracker?, tracks.unwrap_or_default());
        Some(AnalyticsSummary { tracker, tracks, lines, zones, assumed_fps })
    }
}

impl From<AnalyticsSummary> for TrackedCounts {
    fn from(analytics: AnalyticsSummary) -> Self {
        let AnalyticsSummary { tracker, tracks, lines, zones, assumed_fps } = analytics;
        if tracker == TrackerKind::None {
            return Self::default();
        }
        Self { tracker: Some(tracker), tracks: Some(tracks), lines, zones, assumed_fps }
    }
}
