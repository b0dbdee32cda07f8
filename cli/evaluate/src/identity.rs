//! IDF1 (E. Ristani et al., "Performance Measures and a Data Set for Multi-Target, Multi-Camera
//! Tracking", ECCV 2016 workshops): each object has one track, or none, for the whole video.

use std::collections::{BTreeMap, BTreeSet};

use crate::assignment::Costs;
use crate::sequence::{SAME, Sequence};

/// Boxes by the assignment of objects to tracks that makes most of them right.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Identity {
    /// Boxes where an object's own track is.
    pub matches: usize,
    /// Boxes of the truth without their own track.
    pub misses: usize,
    /// Boxes of tracks without their own object.
    pub false_positives: usize,
}

/// In how many frames an object and a track overlap by half.
type Shared = BTreeMap<(usize, usize), usize>;

impl Identity {
    /// Assigns objects to tracks.
    pub fn of(sequence: &Sequence) -> Self {
        let mut shared = Shared::new();
        for frame in &sequence.frames {
            for (row, column) in frame.pairs() {
                if frame.overlap(row, column) >= SAME {
                    *shared.entry((frame.truth[row], frame.predicted[column])).or_default() += 1;
                }
            }
        }
        let matches = parts(&shared).iter().map(most_matches).sum();
        Self {
            matches,
            misses: sequence.truth_boxes() - matches,
            false_positives: sequence.predicted_boxes() - matches,
        }
    }

    /// 2 × matches / (boxes of the truth + predicted boxes).
    pub fn idf1(&self) -> f64 {
        let boxes = 2 * self.matches + self.misses + self.false_positives;
        2.0 * self.matches as f64 / boxes.max(1) as f64
    }
}

/// Splits objects and tracks into parts that share nothing, so that each assignment is small.
fn parts(shared: &Shared) -> Vec<Shared> {
    let mut tracks_of: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut objects_of: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (object, track) in shared.keys() {
        tracks_of.entry(*object).or_default().push(*track);
        objects_of.entry(*track).or_default().push(*object);
    }
    let mut parts = Vec::new();
    while let Some((start, _)) = tracks_of.first_key_value() {
        let mut part = Shared::new();
        let mut waiting = BTreeSet::from([*start]);
        while let Some(object) = waiting.pop_first() {
            for track in tracks_of.remove(&object).unwrap_or_default() {
                part.extend(shared.get(&(object, track)).map(|n| ((object, track), *n)));
                let others = objects_of.remove(&track).unwrap_or_default();
                waiting.extend(others.into_iter().filter(|other| tracks_of.contains_key(other)));
            }
        }
        parts.push(part);
    }
    parts
}

fn most_matches(part: &Shared) -> usize {
    let objects: BTreeSet<usize> = part.keys().map(|(object, _)| *object).collect();
    let tracks: BTreeSet<usize> = part.keys().map(|(_, track)| *track).collect();
    let (objects, tracks): (Vec<_>, Vec<_>) =
        (objects.into_iter().collect(), tracks.into_iter().collect());
    let frames = |row: usize, column: usize| {
        part.get(&(objects[row], tracks[column])).copied().unwrap_or_default()
    };
    let costs =
        Costs::new(objects.len(), tracks.len(), |row, column| -(frames(row, column) as f64));
    costs.assign().into_iter().map(|(row, column)| frames(row, column)).sum()
}
