//! What a frame adds.

use std::collections::BTreeSet;

use moliceiro_messages::{
    Crossing, Direction, Instant, LineCrossed, TrackRecord, TrackerKind, Visit,
};

use super::clock::Tick;
use super::counts;
use super::rules::Judged;
use super::shapes::{LineShape, Point, ZoneShape};
use super::story::{At, Happened, Stop, Story};
use super::timeline::Intervals;
use super::{Finding, Fold, FrameObservations, Observed};
use crate::tracker::boxes::Box4;
use crate::tracker::{MOST_TRACKS, Seen, Step, Tuning};

/// Objects with less than this part of the threshold are left out: see docs/analytics.md.
const LOW: f64 = 0.7;

/// Classes in one video.
const MOST_LABELS: usize = 4096;

/// Something that moves by less than this part of its size stands still.
const STILL: f64 = 0.25;

impl Fold {
    /// Adds a frame. Frames come in the order of their indexes; one that comes too late is left
    /// out.
    pub fn frame(&mut self, frame: &FrameObservations<'_>, sink: &mut dyn FnMut(Finding)) {
        if frame.index < self.next {
            return;
        }
        self.next = frame.index.saturating_add(1);
        self.frames += 1;
        let Tick { now, step, usual } = self.clock.tick(frame.index, frame.pts);
        self.counts.start(now);
        self.intervals.iter_mut().for_each(|intervals| intervals.start(now));
        let at = At { frame: frame.index, pts: frame.pts, seconds: now };
        let mut judged = Judged::default();
        if self.rules.tracker != TrackerKind::None {
            let (seen, objects) = self.seen(frame);
            let width = frame.size.and_then(|size| {
                (size.width > 0 && size.height > 0)
                    .then(|| f64::from(size.width) / f64::from(size.height))
            });
            let tuning = Tuning::of(self.rules.tracker);
            let done = self.tracker.step(now, step.min(usual), &seen, width, &tuning);
            self.observe(at, &done, &objects, width, &mut judged, sink);
            self.confirm(&done.confirmed, &mut judged, sink);
            for serial in done.ended {
                self.finish(serial, true, sink);
            }
            let is_open = |story: &Story| match story.number {
                Some(_) => story.last.seconds,
                None => story.first.seconds,
            };
            let settled = self.stories.values().map(is_open).fold(now, f64::min);
            for (place, zone) in self.counts.zones.iter_mut().enumerate() {
                let Some(occupied) = &mut zone.occupied else { continue };
                occupied.settle(settled, &mut |held| {
                    self.intervals.iter_mut().for_each(|intervals| intervals.hold(place, held));
                });
            }
        }
        self.judge(frame, now, &judged, sink);
    }

    /// Finishes what is open: no frame follows.
    pub fn end(&mut self, sink: &mut dyn FnMut(Finding)) {
        // A video of two frames, or of one, cannot show anything three times.
        if self.frames <= 2 && self.before.is_none() {
            let serials = self.tracker.confirm_all();
            self.confirm(&serials, &mut Judged::default(), sink);
        }
        for serial in self.tracker.end() {
            self.finish(serial, false, sink);
        }
    }

    /// The objects that the tracker gets, best first, and the place of each in the frame.
    fn seen(&mut self, frame: &FrameObservations<'_>) -> (Vec<Seen>, Vec<u32>) {
        let height = frame.size.map_or(1.0, |size| f64::from(size.height.max(1)));
        let mut seen = Vec::with_capacity(frame.objects.len().min(MOST_TRACKS));
        for (place, object) in (0_u32..).zip(frame.objects) {
            let counts = object.score > frame.threshold;
            let is_low = f64::from(object.score) > LOW * f64::from(frame.threshold);
            let bounds = object.bounds.map(|side| f64::from(side) / height);
            let Some(bounds) = Box4::new(bounds).filter(|_| counts || is_low) else { continue };
            if !self.rules.labels.is_empty()
                && !self.rules.labels.iter().any(|label| label == object.label)
            {
                continue;
            }
            let Some(class) = self.class(object.label) else { continue };
            let score = f64::from(object.score).clamp(0.0, 1.0);
            seen.push((Seen { class, score, bounds, counts }, place));
        }
        seen.sort_by(|a, b| b.0.score.total_cmp(&a.0.score));
        seen.truncate(MOST_TRACKS);
        seen.into_iter().unzip()
    }

    #[expect(clippy::cast_possible_truncation, reason = "there are at most MOST_LABELS")]
    fn class(&mut self, label: &str) -> Option<u32> {
        let known = self.labels.iter().position(|known| known == label);
        if known.is_none() && self.labels.len() < MOST_LABELS {
            self.labels.push(label.to_owned());
            return Some(self.labels.len() as u32 - 1);
        }
        known.map(|place| place as u32)
    }

    /// Adds the frame to the stories of the tracks that were seen.
    fn observe(
        &mut self,
        at: At,
        done: &Step,
        objects: &[u32],
        width: Option<f64>,
        judged: &mut Judged,
        sink: &mut dyn FnMut(Finding),
    ) {
        let shapes = width.map(|width| Shapes {
            width,
            lines: self.rules.lines.iter().map(|line| LineShape::new(line, width)).collect(),
            zones: self.rules.zones.iter().map(|zone| ZoneShape::new(zone, width)).collect(),
        });
        for &(serial, object) in &done.matched {
            let lines = self.rules.lines.len();
            let story = self.stories.entry(serial).or_insert_with(|| Story::new(at, lines));
            let Some(track) = self.tracker.get(serial) else { continue };
            story.last = at;
            story.frames += 1;
            story.is_of_this_video = true;
            story.class = track.class();
            let object = objects[object];
            match story.number {
                Some(number) => {
                    sink(Finding::Observed(Observed { frame: at.frame, object, track: number }));
                }
                None => story.keep_object(at.frame, object),
            }
            let mut happened = Vec::new();
            if let Some(shapes) = &shapes {
                let label = self.labels.get(story.class as usize).map_or("", String::as_str);
                let (bounds, deviation) = (track.bounds(), track.deviation());
                shapes.step(story, at, label, &self.rules, bounds, deviation, &mut happened);
            }
            for happened in happened {
                match story.number {
                    Some(number) => {
                        let counting = Counting {
                            rules: &self.rules,
                            labels: &self.labels,
                            counts: &mut self.counts,
                            numbers: &mut self.numbers,
                            intervals: &mut self.intervals,
                        };
                        counting.count(serial, number, story, happened, judged, sink);
                    }
                    None => story.keep_early(happened),
                }
            }
        }
        judged.seen = done.matched.iter().map(|(serial, _)| *serial).collect::<BTreeSet<_>>();
    }

    /// Gives numbers to tracks, and counts what happened to them before.
    fn confirm(&mut self, serials: &[u64], judged: &mut Judged, sink: &mut dyn FnMut(Finding)) {
        for &serial in serials {
            let Some(story) = self.stories.get_mut(&serial) else { continue };
            self.numbers.tracks += 1;
            let track = self.numbers.tracks;
            story.number = Some(track);
            for (frame, object) in std::mem::take(&mut story.objects) {
                sink(Finding::Observed(Observed { frame, object, track }));
            }
            for happened in std::mem::take(&mut story.early) {
                let counting = Counting {
                    rules: &self.rules,
                    labels: &self.labels,
                    counts: &mut self.counts,
                    numbers: &mut self.numbers,
                    intervals: &mut self.intervals,
                };
                counting.count(serial, track, story, happened, judged, sink);
            }
        }
    }

    /// A track is not seen again; `left`: and the video goes on.
    fn finish(&mut self, serial: u64, left: bool, sink: &mut dyn FnMut(Finding)) {
        let Some(mut story) = self.stories.remove(&serial) else { return };
        let Some(number) = story.number else { return };
        let mut counting = Counting {
            rules: &self.rules,
            labels: &self.labels,
            counts: &mut self.counts,
            numbers: &mut self.numbers,
            intervals: &mut self.intervals,
        };
        for (line, direction, at) in std::mem::take(&mut story.last_crossings) {
            counting.cross(number, &mut story, line, direction, at, sink);
        }
        for (zone, (entered, at)) in std::mem::take(&mut story.visits) {
            counting.visit(number, &mut story, zone, (entered, at), left, sink);
        }
        let class = story.class;
        if story.is_of_this_video {
            counts::add(&mut self.counts.tracks, class);
        }
        counts::add(&mut self.finished, class);
        self.numbers.finished += 1;
        sink(Finding::Track(TrackRecord {
            number: self.numbers.finished,
            track: number,
            label: self.labels.get(class as usize).cloned().unwrap_or_default(),
            first: story.first.into(),
            last: story.last.into(),
            frames: story.frames,
            path: story.path.points(),
            lines: story.crossed,
            zones: story.dwelt,
        }));
    }
}

/// Lines and zones in a picture of this width.
struct Shapes {
    width: f64,
    lines: Vec<LineShape>,
    zones: Vec<ZoneShape>,
}

impl Shapes {
    #[expect(clippy::too_many_arguments, reason = "what a step depends on")]
    fn step(
        &self,
        story: &mut Story,
        at: At,
        label: &str,
        rules: &super::Rules,
        bounds: Box4,
        deviation: [f64; 2],
        happened: &mut Vec<Happened>,
    ) {
        let before = story.bounds.replace(bounds.0);
        let margins = margins(bounds, deviation);
        story.last_crossings.clear();
        let states = story.lines.iter_mut().zip(&rules.lines).zip(&self.lines).zip(0_u8..);
        for (((state, line), shape), place) in states {
            let from = before.map(|bounds| line.anchor.of(bounds));
            let to = line.anchor.of(bounds.0);
            let crossed = shape.step(state, from, to, margins);
            if !line.counts(label) {
                continue;
            }
            match (crossed, shape.end(*state, to, margins)) {
                (Some(direction), _) => {
                    happened.push(Happened::Crossed { line: place, direction, at });
                }
                (None, Some(direction)) => story.last_crossings.push((place, direction, at)),
                (None, None) => {}
            }
        }
        for ((zone, shape), place) in rules.zones.iter().zip(&self.zones).zip(0_u8..) {
            let visit = story.visits.get_mut(&place);
            let was = before.map(|_| visit.is_some());
            let anchor = zone.anchor.of(bounds.0);
            match (visit, shape.holds(was, anchor, margins[1])) {
                (Some((_, last)), true) => {
                    if shape.contains(anchor) {
                        *last = at;
                    }
                }
                (Some(&mut (entered, left)), false) => {
                    story.visits.remove(&place);
                    happened.push(Happened::Left { zone: place, entered, left });
                }
                (None, true) if zone.counts(label) => {
                    story.visits.insert(place, (at, at));
                    happened.push(Happened::Entered { zone: place, at });
                }
                (None, _) => {}
            }
        }
        let centre = bounds.centre();
        let moved = |stop: &Stop| {
            let [x, y] = [0, 1].map(|k| stop.at[k] - centre[k]);
            (x * x + y * y).sqrt() > STILL * bounds.size()
        };
        if story.stop.as_ref().is_none_or(moved) {
            story.stop = Some(Stop { at: centre, since: at.seconds });
            story.raised &= !super::rules::stops(&rules.alarms);
        }
        let [x, y]: Point = moliceiro_messages::Anchor::Bottom.of(bounds.0);
        story.path.add(at.frame, [x / self.width, y]);
    }
}

/// How far a track has to be from a line to be on one side of it at first, and how far to be on the
/// other side: more than what a filter is wrong by while an object stands on the line.
fn margins(bounds: Box4, [across, down]: [f64; 2]) -> [f64; 2] {
    let wrong = across.max(down);
    [wrong, 0.05 * bounds.size() + 1.5 * wrong]
}

/// What is needed to count what happened.
struct Counting<'a> {
    rules: &'a super::Rules,
    labels: &'a [String],
    counts: &'a mut super::Counts,
    numbers: &'a mut super::Numbers,
    intervals: &'a mut Option<Intervals>,
}

impl Counting<'_> {
    fn label(&self, story: &Story) -> String {
        self.labels.get(story.class as usize).cloned().unwrap_or_default()
    }

    fn count(
        mut self,
        serial: u64,
        number: u64,
        story: &mut Story,
        happened: Happened,
        judged: &mut Judged,
        sink: &mut dyn FnMut(Finding),
    ) {
        match happened {
            Happened::Crossed { line, direction, at } => {
                judged.crossed.push((serial, line, direction));
                self.cross(number, story, line, direction, at, sink);
            }
            Happened::Entered { zone, at } => {
                let counts = &mut self.counts.zones[usize::from(zone)];
                counts::add(&mut counts.entries, story.class);
                counts.occupied.iter_mut().for_each(|occupied| occupied.enter(at.seconds));
            }
            Happened::Left { zone, entered, left } => {
                self.visit(number, story, zone, (entered, left), true, sink);
            }
        }
    }

    fn cross(
        &mut self,
        track: u64,
        story: &mut Story,
        line: u8,
        direction: Direction,
        at: At,
        sink: &mut dyn FnMut(Finding),
    ) {
        let place = usize::from(line);
        self.counts.lines[place].add(direction, story.class);
        self.intervals
            .iter_mut()
            .for_each(|intervals| intervals.cross(place, direction, at.seconds));
        let at = Instant::from(at);
        self.numbers.crossings += 1;
        let (number, line) = (self.numbers.crossings, self.rules.lines[place].name.clone());
        story.keep_crossing(LineCrossed { line: line.clone(), direction, at });
        let label = self.label(story);
        sink(Finding::Crossing(Crossing { number, line, direction, track, label, at }));
    }

    fn visit(
        &mut self,
        track: u64,
        story: &mut Story,
        zone: u8,
        (entered, left): (At, At),
        exits: bool,
        sink: &mut dyn FnMut(Finding),
    ) {
        let place = usize::from(zone);
        let dwell_s = left.seconds - entered.seconds;
        let counts = &mut self.counts.zones[place];
        if exits {
            counts::add(&mut counts.exits, story.class);
            counts.occupied.iter_mut().for_each(|occupied| occupied.leave(left.seconds));
        }
        counts.dwells.add(dwell_s);
        let zone = self.rules.zones[place].name.clone();
        let dwelt = story.dwelt.entry(zone.clone()).or_default();
        dwelt.visits += 1;
        dwelt.dwell_s += dwell_s;
        story.raised &= !super::rules::stays(&self.rules.alarms, &zone);
        self.numbers.visits += 1;
        let (number, label) = (self.numbers.visits, self.label(story));
        let (entered, left) = (entered.into(), left.into());
        sink(Finding::Visit(Visit { number, zone, track, label, entered, left, dwell_s }));
    }
}
