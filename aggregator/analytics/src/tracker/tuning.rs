//! The figures of both trackers, chosen by measurement: see docs/analytics.md.

use moliceiro_messages::TrackerKind;

use super::filter::Noise;

/// Times are in seconds, lengths relative to the box.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tuning {
    pub(crate) noise: Noise,
    /// How much an object below the threshold counts as a measurement.
    pub(crate) low_trust: f64,
    /// How long a confirmed track may be unseen.
    pub(crate) buffer: f64,
    /// How long one that is not confirmed may be unseen.
    pub(crate) tentative: f64,
    /// Objects above the threshold that confirm a track,
    pub(crate) hits: u32,
    /// and sum of their scores.
    pub(crate) evidence: f64,
    /// Squared Mahalanobis distance within which an object may belong to a track.
    pub(crate) gate: f64,
    pub(crate) least_overlap: f64,
    pub(crate) low_overlap: f64,
    pub(crate) tentative_overlap: f64,
    /// Overlap of an object with a track of another class.
    pub(crate) flicker_overlap: f64,
    /// An object that overlaps another so much does not begin a track.
    pub(crate) duplicate: f64,
    /// Of an object that does not overlap its track: how far it may be,
    pub(crate) farthest: f64,
    /// how much larger or smaller,
    pub(crate) resized: f64,
    /// The same of one that does.
    pub(crate) reshaped: f64,
    /// and after how long.
    pub(crate) far_buffer: f64,
    /// ByteTrack's second association.
    pub(crate) low_scores: bool,
    pub(crate) observation_centric: bool,
    /// Weight of OC-SORT's momentum.
    pub(crate) consistency: f64,
    /// Least overlap with where a track was last seen.
    pub(crate) recovery_overlap: f64,
}

impl Tuning {
    pub(crate) fn of(kind: TrackerKind) -> Self {
        let bytetrack = Self {
            noise: Noise {
                measured: 0.06,
                position: 0.05,
                velocity: 0.6,
                size: 0.2,
                first_velocity: 1.5,
            },
            low_trust: 0.5,
            buffer: 2.0,
            tentative: 1.0,
            hits: 3,
            evidence: 2.0,
            gate: 12.0,
            least_overlap: 0.2,
            low_overlap: 0.5,
            tentative_overlap: 0.3,
            flicker_overlap: 0.7,
            duplicate: 0.7,
            farthest: 1.5,
            resized: 1.5,
            reshaped: 1.6,
            far_buffer: 1.5,
            low_scores: true,
            observation_centric: false,
            consistency: 0.0,
            recovery_overlap: 0.35,
        };
        match kind {
            TrackerKind::Ocsort => Self {
                low_scores: false,
                observation_centric: true,
                consistency: 0.05,
                ..bytetrack
            },
            _ => bytetrack,
        }
    }
}
