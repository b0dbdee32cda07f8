//! Judging frames by alarm rules: plain data and functions, no I/O.
//!
//! Frames are judged in their order, each when all before it are known, so results that come in any
//! order raise the same alarms in the same order. A frame that failed holds for no rule. What is
//! kept of a frame until its turn is which rules hold in it.

use std::collections::BTreeMap;

use moliceiro_messages::VideoId;
use moliceiro_messages::{Alarm, AlarmRule, AlarmState, FrameResult, RuleMatch, Started, VERSION};

/// With so many in later frames, a frame of which nothing is known is not waited for any more: an
/// entry has to stay small.
const MOST_AHEAD: usize = 5_000;

/// The alarms of one video.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Alarms {
    rules: Vec<AlarmRule>,
    /// Every frame with a smaller index is judged.
    next: u64,
    /// By frame and rule: what holds in frames that are not judged yet.
    ahead: BTreeMap<(u64, u8), RuleMatch>,
    /// For each rule, in how many judged frames in a row it holds up to now.
    runs: Vec<u32>,
    unsent: Vec<RuleMatch>,
    raised: u64,
}

/// What is known of a frame when it is to be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// It was looked at.
    Seen,
    /// It could not be.
    Failed,
    /// Nothing yet.
    Nothing,
}

impl Alarms {
    /// The rules of the video's upload, or else `defaults`. Rules about classes that do not count
    /// are left out.
    pub(crate) fn new(started: &Started, defaults: &[AlarmRule]) -> Self {
        let counts =
            |rule: &&AlarmRule| started.labels.is_empty() || started.labels.contains(&rule.label);
        let rules: Vec<_> = started
            .alarms
            .as_deref()
            .unwrap_or(defaults)
            .iter()
            .filter(counts)
            .take(AlarmRule::MOST)
            .cloned()
            .collect();
        Self { runs: vec![0; rules.len()], rules, ..Self::default() }
    }

    /// Which rules hold in a frame.
    pub(crate) fn sightings(&self, frame: &FrameResult) -> Vec<RuleMatch> {
        let sighting = |(rule, n): (&AlarmRule, u8)| {
            let count = rule.count_in(frame);
            rule.holds(count).then_some(RuleMatch {
                frame: frame.index,
                pts: frame.pts,
                rule: n,
                count,
            })
        };
        self.rules.iter().zip(0..).filter_map(sighting).collect()
    }

    /// Keeps what holds in a frame until the frame's turn. A frame whose turn is over raises no
    /// alarm.
    pub(crate) fn keep(&mut self, sightings: Vec<RuleMatch>) {
        let in_time = sightings.into_iter().filter(|sighting| sighting.frame >= self.next);
        self.ahead.extend(in_time.map(|sighting| ((sighting.frame, sighting.rule), sighting)));
    }

    /// Judges each `every`-th frame up to the first one of which nothing is known.
    pub(crate) fn judge(&mut self, every: u64, known: impl Fn(u64) -> Known) {
        if self.rules.is_empty() {
            return;
        }
        loop {
            match known(self.next) {
                Known::Nothing if !self.is_full() => return,
                known => self.judge_next(known == Known::Seen),
            }
            self.next = self.next.saturating_add(every);
        }
    }

    /// Judges these frames, in order: there are no others below `end`. Each is told with whether it
    /// was looked at.
    pub(crate) fn judge_below(&mut self, end: u64, frames: impl Iterator<Item = (u64, bool)>) {
        for (index, seen) in frames {
            self.next = index;
            self.judge_next(seen);
        }
        self.next = self.next.max(end);
    }

    /// Every frame with a smaller index is judged.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Whether a frame of which nothing is known is not to be waited for any more.
    pub(crate) fn is_full(&self) -> bool {
        self.ahead.len() > MOST_AHEAD
    }

    fn judge_next(&mut self, seen: bool) {
        for ((rule, run), n) in self.rules.iter().zip(&mut self.runs).zip(0..) {
            let Some(sighting) = self.ahead.remove(&(self.next, n)).filter(|_| seen) else {
                *run = 0;
                continue;
            };
            *run = run.saturating_add(1);
            if rule.frames == 1 || *run == rule.frames {
                self.unsent.push(sighting);
                self.raised += 1;
            }
        }
    }

    /// Forgets what was not judged: nothing more will be.
    pub(crate) fn stop(&mut self) {
        self.ahead.clear();
    }

    /// How many were raised.
    pub(crate) fn raised(&self) -> u64 {
        self.raised
    }

    /// The alarms of which it is not known that they are published, in order.
    pub(crate) fn unsent(&self, video: &VideoId, name: &str) -> Vec<Alarm> {
        let first = self.raised + 1 - self.unsent.len() as u64;
        let alarm = |(number, RuleMatch { frame, pts, rule, count }): (u64, RuleMatch)| {
            let rule = self.rules.get(usize::from(rule))?.clone();
            let (version, video, name, label) =
                (VERSION, video.clone(), name.to_owned(), rule.label.clone());
            Some(Alarm {
                version,
                video,
                name,
                number,
                frame,
                time_s: pts.map(|ns| ns as f64 / 1e9),
                rule,
                label,
                count,
            })
        };
        (first..).zip(self.unsent.iter().copied()).filter_map(alarm).collect()
    }

    /// The first `n` of the unsent are published.
    pub(crate) fn sent(&mut self, n: usize) {
        self.unsent.drain(..n);
    }

    /// As the video's entry keeps it.
    pub(crate) fn to_watch(&self) -> AlarmState {
        AlarmState {
            rules: self.rules.clone(),
            next: self.next,
            ahead: self.ahead.values().copied().collect(),
            runs: self.runs.clone(),
            unsent: self.unsent.clone(),
        }
    }

    /// As the video's entry kept it.
    pub(crate) fn from_watch(watch: AlarmState, raised: u64) -> Self {
        let AlarmState { rules, next, ahead, runs, unsent } = watch;
        let ahead =
            ahead.into_iter().map(|sighting| ((sighting.frame, sighting.rule), sighting)).collect();
        Self { rules, next, ahead, runs, raised: raised.max(unsent.len() as u64), unsent }
    }
}
