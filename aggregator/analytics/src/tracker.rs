//! Recognises the objects of different frames as the same one.
//!
//! ByteTrack (Zhang et al., arXiv 2110.06864, algorithm 1): objects above the threshold are
//! matched with the expected boxes of all tracks, then what is left of the tracks with objects
//! below it. OC-SORT (Cao et al., arXiv 2203.14360): see `tracker/observation_centric.rs`. Both run
//! on the filter in `tracker/filter.rs` and on real times.
//!
//! What differs from the papers, and why:
//!
//! * A track must be plausible, not only overlap: its object lies within the filter's own
//!   uncertainty. So a neighbour's box is not taken when its own is missing.
//! * A track that was lost may also be continued by an object that it does not overlap, if it lies
//!   where the filter allows it (`by distance`). An occlusion of a second moves things apart.
//! * An object below the threshold continues a track, and does not make it live longer: false
//!   objects that stand still would live for ever.
//! * Classes are matched apart, with two exceptions: a class that the track had before, and what is
//!   left over and overlaps nearly completely. So a car that is now and then a truck is one track,
//!   and a person on a bicycle is two.

mod assignment;
pub(crate) mod boxes;
mod filter;
mod matching;
mod observation_centric;
mod tuning;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use self::boxes::Box4;
use self::filter::Motion;
use self::matching::Matching;
use self::observation_centric::Observations;
pub(crate) use self::tuning::Tuning;

/// Tracks that exist at once. In a frame with more objects, those of the lowest score are left out.
pub(crate) const MOST_TRACKS: usize = 500;

/// Nothing has left before it was unseen for so long, in seconds.
const LEAVING: f64 = 0.2;

/// Classes of one track.
const MOST_CLASSES: usize = 8;

/// An object as the tracker sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Seen {
    /// Number of its class.
    pub(crate) class: u32,
    pub(crate) score: f64,
    pub(crate) bounds: Box4,
    /// Above the threshold.
    pub(crate) counts: bool,
}

/// An object that may move, in several frames.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Track {
    /// Number among all that ever began. Most of them are never confirmed.
    pub(crate) serial: u64,
    pub(crate) confirmed: bool,
    motion: Motion,
    /// The time for which `motion` is.
    now: f64,
    /// When it was last matched, by any object.
    pub(crate) matched: f64,
    /// When it was last matched by an object above the threshold.
    pub(crate) counted: f64,
    /// When it began.
    pub(crate) began: f64,
    /// Sum of scores of the objects above the threshold, until it is confirmed.
    evidence: f64,
    hits: u32,
    /// Sum of scores, by class.
    classes: BTreeMap<u32, f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    observations: Option<Observations>,
    /// Its last object.
    last: Box4,
    /// Its width and height when most of it was seen lately.
    full: [f64; 2],
}

/// The tracks that may still be seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tracker {
    /// By serial.
    tracks: Vec<Track>,
    next_serial: u64,
}

/// What a frame did.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Step {
    /// Serial of a track, and index of its object.
    pub(crate) matched: Vec<(u64, usize)>,
    pub(crate) began: Vec<u64>,
    pub(crate) confirmed: Vec<u64>,
    /// Not seen for too long, or left the picture.
    pub(crate) ended: Vec<u64>,
}

impl Track {
    fn new(serial: u64, seen: &Seen, now: f64, tuning: &Tuning) -> Self {
        Self {
            serial,
            confirmed: false,
            motion: Motion::new(seen.bounds, &tuning.noise),
            now,
            matched: now,
            counted: now,
            began: now,
            evidence: seen.score,
            hits: 1,
            classes: BTreeMap::from([(seen.class, seen.score)]),
            last: seen.bounds,
            full: [seen.bounds.width(), seen.bounds.height()],
            observations: tuning.observation_centric.then(|| Observations::new(now, seen.bounds)),
        }
    }

    /// The class with the greatest sum of scores; of equal ones, the first that the video showed.
    pub(crate) fn class(&self) -> u32 {
        let best = self.classes.iter().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(a.0)));
        best.map_or(0, |(class, _)| *class)
    }

    /// Where it is expected to be.
    pub(crate) fn bounds(&self) -> Box4 {
        self.motion.bounds()
    }

    /// How far its centre may be from there: a standard deviation, across and down.
    pub(crate) fn deviation(&self) -> [f64; 2] {
        self.motion.deviation()
    }

    /// True if it was, to a fair part, of this class.
    fn takes(&self, class: u32) -> bool {
        const FAIR: f64 = 0.2;
        let total: f64 = self.classes.values().sum();
        self.classes.get(&class).is_some_and(|score| *score >= FAIR * total)
    }

    fn predict(&mut self, now: f64, tuning: &Tuning) {
        self.motion.predict(now - self.now, &tuning.noise);
        self.now = now;
    }

    fn take(&mut self, seen: &Seen, tuning: &Tuning) {
        /// It forgets a larger size by this part in a second.
        const SHRINKS: f64 = 0.1;
        let now = self.now;
        let kept = (1.0 - SHRINKS * (now - self.matched)).max(0.0);
        if let Some(seen_before) = self.observations.as_ref().filter(|seen| seen.is_lost()) {
            self.motion = seen_before.updated_again(now, seen.bounds, &tuning.noise);
        }
        let trust = if seen.counts { 1.0 } else { tuning.low_trust };
        self.motion.update(seen.bounds, trust, &tuning.noise);
        let bounds = self.motion.bounds();
        self.full =
            [bounds.width().max(kept * self.full[0]), bounds.height().max(kept * self.full[1])];
        self.matched = now;
        self.last = seen.bounds;
        if seen.counts {
            self.counted = now;
            self.hits = self.hits.saturating_add(1);
            self.evidence += seen.score;
        }
        if let Some(observations) = &mut self.observations {
            observations.add(now, seen.bounds);
        }
        *self.classes.entry(seen.class).or_insert(0.0) += seen.score;
        while self.classes.len() > MOST_CLASSES {
            let least = self.classes.iter().min_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(a.0)));
            let Some((&least, _)) = least else { break };
            self.classes.remove(&least);
        }
    }

    fn miss(&mut self, before: &Motion, at: f64) {
        if let Some(observations) = &mut self.observations {
            observations.miss(before, at);
        }
    }
}

impl Tracker {
    pub(crate) fn new() -> Self {
        Self { tracks: Vec::new(), next_serial: 1 }
    }

    pub(crate) fn get(&self, serial: u64) -> Option<&Track> {
        let at = self.tracks.binary_search_by_key(&serial, |track| track.serial).ok()?;
        self.tracks.get(at)
    }

    /// Matches the objects of a frame at this time. `width` is the picture's width in its heights;
    /// `step` is how long after the frame before it is.
    pub(crate) fn step(
        &mut self,
        now: f64,
        step: f64,
        seen: &[Seen],
        width: Option<f64>,
        tuning: &Tuning,
    ) -> Step {
        let before: Vec<_> = self.tracks.iter().map(|track| (track.motion, track.now)).collect();
        self.tracks.iter_mut().for_each(|track| track.predict(now, tuning));
        let Matching { seen_free, chosen, track_free, .. } =
            Matching::of(&self.tracks, seen, now, step, tuning);
        let mut done = Step::default();
        for (at, object) in chosen.iter().copied() {
            let (track, object_seen) = (&mut self.tracks[at], &seen[object]);
            track.take(object_seen, tuning);
            done.matched.push((track.serial, object));
        }
        for ((track, free), (motion, at)) in self.tracks.iter_mut().zip(track_free).zip(&before) {
            if free {
                track.miss(motion, *at);
            }
        }
        self.begin(now, seen, &seen_free, &chosen, tuning, &mut done);
        for track in &mut self.tracks {
            if !track.confirmed
                && track.matched == now
                && track.hits >= tuning.hits
                && track.evidence >= tuning.evidence
            {
                track.confirmed = true;
                done.confirmed.push(track.serial);
            }
        }
        let patience = |track: &Track| match track.confirmed {
            true => tuning.buffer.max(2.5 * step),
            false => tuning.tentative.max(2.5 * step),
        };
        self.tracks.retain(|track| {
            let open = now - track.counted <= patience(track)
                && (now - track.matched < LEAVING || !has_left(track, width));
            if !open {
                done.ended.push(track.serial);
            }
            open
        });
        done
    }

    /// Begins tracks with objects that belong to none.
    fn begin(
        &mut self,
        now: f64,
        seen: &[Seen],
        free: &[bool],
        chosen: &[(usize, usize)],
        tuning: &Tuning,
        done: &mut Step,
    ) {
        let mut taken: Vec<_> = chosen.iter().map(|(_, object)| seen[*object].bounds).collect();
        for (n, object) in seen.iter().enumerate() {
            let begins = free[n]
                && object.counts
                && self.tracks.len() < MOST_TRACKS
                && taken.iter().all(|other| other.iou(object.bounds) < tuning.duplicate);
            if begins {
                let track = Track::new(self.next_serial, object, now, tuning);
                self.next_serial += 1;
                taken.push(object.bounds);
                done.began.push(track.serial);
                done.matched.push((track.serial, n));
                self.tracks.push(track);
            }
        }
    }

    /// Confirms what was seen in every frame of a video that is too short to know more.
    pub(crate) fn confirm_all(&mut self) -> Vec<u64> {
        let open = self.tracks.iter_mut().filter(|track| !track.confirmed);
        open.map(|track| {
            track.confirmed = true;
            track.serial
        })
        .collect()
    }

    /// Ends all tracks.
    pub(crate) fn end(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.tracks).into_iter().map(|track| track.serial).collect()
    }
}

/// True if so little of a track is expected in the picture that it cannot be found.
///
/// A box that the edge cuts off has a centre that moves half as fast as the object, so it is not
/// the expected box that tells, but where its inner side must be by now.
fn has_left(track: &Track, width: Option<f64>) -> bool {
    /// No detector finds less of an object.
    const FOUND: f64 = 0.4;
    /// Sizes a second, below which it stands.
    const STANDS: f64 = 0.1;
    /// A box that is so near to the edge, in sizes, is cut off.
    const AT_EDGE: f64 = 0.03;
    let Some(width) = width else { return false };
    let last = track.last;
    let unseen = track.now - track.matched;
    let leaves = |outwards: f64, inner: f64, outer: f64, full: f64| {
        let is_cut = outer.abs() <= AT_EDGE * full;
        let speed = if is_cut { 2.0 * outwards } else { outwards };
        speed > STANDS * last.size() && inner - speed * unseen < FOUND * full
    };
    let [left, top, right, bottom] = last.0;
    let [across, down] = track.motion.velocity();
    let [full_width, full_height] = track.full;
    leaves(-across, right, left, full_width)
        || leaves(across, width - left, width - right, full_width)
        || leaves(-down, bottom, top, full_height)
        || leaves(down, 1.0 - top, 1.0 - bottom, full_height)
}
