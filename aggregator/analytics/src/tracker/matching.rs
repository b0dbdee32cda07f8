//! Which object of a frame belongs to which track: from what is most certain to what is least.

use super::assignment::{Pair, assign};
use super::{Seen, Track, Tuning};

/// A frame in which tracks and objects look for each other.
pub(super) struct Matching<'a> {
    tracks: &'a [Track],
    seen: &'a [Seen],
    tuning: &'a Tuning,
    pub(super) track_free: Vec<bool>,
    pub(super) seen_free: Vec<bool>,
    /// Places of a track and of its object, by track.
    pub(super) chosen: Vec<(usize, usize)>,
}

impl<'a> Matching<'a> {
    pub(super) fn of(
        tracks: &'a [Track],
        seen: &'a [Seen],
        now: f64,
        step: f64,
        tuning: &'a Tuning,
    ) -> Self {
        let (track_free, seen_free) = (vec![true; tracks.len()], vec![true; seen.len()]);
        let mut matching = Self { tracks, seen, tuning, track_free, seen_free, chosen: Vec::new() };
        matching.run(now, step);
        matching.chosen.sort_unstable();
        matching
    }

    fn run(&mut self, now: f64, step: f64) {
        let tuning = self.tuning;
        let noise = &tuning.noise;
        let is_recent = |track: &Track| now - track.matched <= 1.5 * step;
        let same = |track: &Track, object: &Seen| track.takes(object.class);
        let plausible =
            |track: &Track, seen: &Seen| track.motion.distance(seen.bounds, noise) <= tuning.gate;
        let overlap = |least: f64| {
            move |track: &Track, object: &Seen| {
                let iou = track.bounds().iou(object.bounds);
                let ratio = track.bounds().size() / object.bounds.size();
                let fits = (1.0 / tuning.reshaped..=tuning.reshaped).contains(&ratio);
                (iou > least && fits && plausible(track, object)).then_some(iou - least)
            }
        };
        self.choose(
            |track| track.confirmed,
            |object| object.counts,
            |track, object| {
                let value =
                    same(track, object).then(|| overlap(tuning.least_overlap)(track, object))??;
                let along = track.observations.as_ref().map_or(0.0, |seen_before| {
                    seen_before.consistency(now, object.bounds) * object.score
                });
                Some((value + tuning.consistency * along).max(f64::MIN_POSITIVE))
            },
        );
        if tuning.low_scores {
            self.choose(
                |track| track.confirmed && is_recent(track),
                |object| !object.counts,
                |track, object| {
                    same(track, object).then(|| overlap(tuning.low_overlap)(track, object))?
                },
            );
        }
        // It may have stopped or turned while it was hidden, which the filter does not expect.
        self.choose(
            |track| track.confirmed,
            |object| object.counts,
            |track, object| {
                let iou = track.last.iou(object.bounds);
                (same(track, object) && iou > tuning.recovery_overlap)
                    .then_some(iou - tuning.recovery_overlap)
            },
        );
        self.choose(
            |track| !track.confirmed,
            |object| object.counts,
            |track, object| {
                same(track, object).then(|| overlap(tuning.tentative_overlap)(track, object))?
            },
        );
        let by_distance = |track: &Track, object: &Seen| {
            let (expected, found) = (track.bounds(), object.bounds);
            let ratio = expected.size() / found.size();
            let [x, y] = [0, 1].map(|k| expected.centre()[k] - found.centre()[k]);
            let far = (x * x + y * y).sqrt() / found.size();
            let distance = track.motion.distance(found, noise);
            let fits = (1.0 / tuning.resized..=tuning.resized).contains(&ratio)
                && distance < tuning.gate
                && far < tuning.farthest
                && now - track.matched <= tuning.far_buffer.max(1.5 * step);
            (same(track, object) && fits).then_some(1.0 - distance / tuning.gate)
        };
        self.choose(|track| track.confirmed, |object| object.counts, by_distance);
        self.choose(|track| !track.confirmed, |object| object.counts, by_distance);
        self.choose(|_| true, |object| object.counts, overlap(tuning.flicker_overlap));
    }

    /// Chooses the best pairs of what is free.
    fn choose(
        &mut self,
        of_tracks: impl Fn(&Track) -> bool,
        of_seen: impl Fn(&Seen) -> bool,
        value: impl Fn(&Track, &Seen) -> Option<f64>,
    ) {
        let objects: Vec<_> =
            (0..self.seen.len()).filter(|&n| self.seen_free[n] && of_seen(&self.seen[n])).collect();
        if objects.is_empty() {
            return;
        }
        let mut pairs: Vec<Pair> = Vec::new();
        for (at, track) in self.tracks.iter().enumerate() {
            if self.track_free[at] && of_tracks(track) {
                let of = |&n: &usize| Some((at, n, value(track, &self.seen[n])?));
                pairs.extend(objects.iter().filter_map(of));
            }
        }
        for (track, object) in assign(&pairs) {
            (self.track_free[track], self.seen_free[object]) = (false, false);
            self.chosen.push((track, object));
        }
    }
}
