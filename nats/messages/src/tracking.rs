use serde::{Deserialize, Serialize};

use super::{AlarmRule, InvalidPlaces, Line, TrackerKind, Zone, check_places};

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
}
