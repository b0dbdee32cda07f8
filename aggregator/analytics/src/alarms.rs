//! Judges frames by alarm rules.
//!
//! Frames are judged in order, each as soon as all frames before it are known. So results in any
//! order raise the same alarms in the same order. In a frame that failed, no rule holds. Until a
//! frame's turn, only the rules that hold in it are kept.
//!
//! If one of a video's rules is about tracks, the fold judges all of them.

use std::collections::BTreeMap;

use moliceiro_messages::{
    Alarm, AlarmRule, AlarmState, FrameResult, RuleMatch, Started, VERSION, VideoId,
};

/// With more rule matches in later frames, a frame without a result is skipped: an entry has to
/// stay small.
const MAX_AHEAD: usize = 5_000;

/// The alarms of one video.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Alarms {
    rules: Vec<AlarmRule>,
    /// Every frame with a smaller index is judged.
    next: u64,
    /// By frame and rule: what holds in frames that are not judged yet.
    ahead: BTreeMap<(u64, u8), RuleMatch>,
    /// For each rule, in how many judged frames in a row it holds up to now.
    runs: Vec<u32>,
    unpublished: Vec<RuleMatch>,
    /// Alarms raised so far, those in `unpublished` included.
    raised: u64,
}

/// The rules of the video's upload, or else `defaults`. Those are left out that are about classes
/// which do not count, or about lines, zones or tracks that the video does not have.
pub fn rules_for(started: &Started, defaults: &[AlarmRule]) -> Vec<AlarmRule> {
    let asked = started.alarms.as_deref().unwrap_or(defaults);
    let fits = |rule: &&AlarmRule| fits(started, rule);
    asked.iter().filter(fits).take(AlarmRule::MOST).cloned().collect()
}

/// Those of `defaults` that cannot hold in the video, although its upload does not say which rules
/// do.
pub fn left_out<'a>(started: &Started, defaults: &'a [AlarmRule]) -> Vec<&'a AlarmRule> {
    let is_default = started.alarms.is_none();
    defaults.iter().filter(|rule| is_default && !fits(started, rule)).collect()
}

fn fits(started: &Started, rule: &AlarmRule) -> bool {
    let Started { labels, tracking, .. } = started;
    let counts = labels.is_empty() || labels.iter().any(|label| rule.counts(label));
    counts && tracking.check(std::slice::from_ref(rule)).is_ok()
}

/// What is known of a frame when it is its turn to be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameStatus {
    Analysed,
    Failed,
    /// Its result has not arrived.
    Unknown,
}

impl Alarms {
    /// The rules of the video's upload, or else `defaults`. Rules about classes that do not count
    /// are left out.
    pub(crate) fn new(started: &Started, defaults: &[AlarmRule]) -> Self {
        let mut rules = rules_for(started, defaults);
        // All alarms of a video have one order, so one place judges them.
        if rules.iter().any(AlarmRule::needs_tracks) {
            rules.clear();
        }
        Self { runs: vec![0; rules.len()], rules, ..Self::default() }
    }

    /// Which rules hold in a frame.
    pub(crate) fn matches(&self, frame: &FrameResult) -> Vec<RuleMatch> {
        let rule_match = |(rule, n): (&AlarmRule, u8)| {
            let count = rule.count_in(frame);
            rule.holds(count).then_some(RuleMatch {
                frame: frame.index,
                pts: frame.pts,
                rule: n,
                count,
            })
        };
        self.rules.iter().zip(0..).filter_map(rule_match).collect()
    }

    /// Keeps what holds in frames until it is their turn. A frame whose turn is over raises no
    /// alarm.
    pub(crate) fn keep(&mut self, matches: Vec<RuleMatch>) {
        let in_time = matches.into_iter().filter(|found| found.frame >= self.next);
        self.ahead.extend(in_time.map(|found| ((found.frame, found.rule), found)));
    }

    /// Judges every `every`th frame up to the first one whose status is unknown.
    pub(crate) fn judge(&mut self, every: u64, status: impl Fn(u64) -> FrameStatus) {
        if self.rules.is_empty() {
            return;
        }
        loop {
            match status(self.next) {
                FrameStatus::Unknown if !self.is_full() => return,
                status => self.judge_next(status == FrameStatus::Analysed),
            }
            self.next = self.next.saturating_add(every);
        }
    }

    /// Judges these frames, which are all below `end`, in order. Each comes with true if it was
    /// analysed.
    pub(crate) fn judge_below(&mut self, end: u64, frames: impl Iterator<Item = (u64, bool)>) {
        for (index, is_analysed) in frames {
            self.next = index;
            self.judge_next(is_analysed);
        }
        self.next = self.next.max(end);
    }

    /// Every frame with a smaller index is judged.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// True if a frame without a result must be skipped.
    pub(crate) fn is_full(&self) -> bool {
        self.ahead.len() > MAX_AHEAD
    }

    fn judge_next(&mut self, is_analysed: bool) {
        for ((rule, run), n) in self.rules.iter().zip(&mut self.runs).zip(0..) {
            let Some(found) = self.ahead.remove(&(self.next, n)).filter(|_| is_analysed) else {
                *run = 0;
                continue;
            };
            *run = run.saturating_add(1);
            if rule.frames() == 1 || *run == rule.frames() {
                self.unpublished.push(found);
                self.raised += 1;
            }
        }
    }

    /// Forgets what is not judged: the video takes no more results.
    pub(crate) fn stop(&mut self) {
        self.ahead.clear();
    }

    /// How many alarms were raised.
    pub(crate) fn raised(&self) -> u64 {
        self.raised
    }

    /// The alarms that are not marked as published, in order. `name` is the video's.
    pub(crate) fn unpublished(&self, video: &VideoId, name: &str) -> Vec<Alarm> {
        let first = self.raised + 1 - self.unpublished.len() as u64;
        let alarm = |(number, found): (u64, &RuleMatch)| {
            let rule = self.rules.get(usize::from(found.rule))?.clone();
            Some(Alarm {
                version: VERSION,
                video: video.clone(),
                name: name.to_owned(),
                number,
                frame: found.frame,
                time_s: found.pts.map(|ns| ns as f64 / 1e9),
                label: rule.label.clone(),
                rule,
                count: found.count,
                track: None,
            })
        };
        (first..).zip(&self.unpublished).filter_map(alarm).collect()
    }

    /// Records that the first `n` of the unpublished alarms are published.
    pub(crate) fn mark_published(&mut self, n: usize) {
        self.unpublished.drain(..n);
    }

    /// As the video's entry stores it.
    pub(crate) fn to_state(&self) -> AlarmState {
        AlarmState {
            rules: self.rules.clone(),
            next: self.next,
            ahead: self.ahead.values().copied().collect(),
            runs: self.runs.clone(),
            unsent: self.unpublished.clone(),
        }
    }

    /// As the video's entry stores it; `raised` is a field of the entry itself.
    pub(crate) fn from_state(state: AlarmState, raised: u64) -> Self {
        let AlarmState { rules, next, ahead, runs, unsent } = state;
        let ahead = ahead.into_iter().map(|found| ((found.frame, found.rule), found)).collect();
        let raised = raised.max(unsent.len() as u64);
        Self { rules, next, ahead, runs, raised, unpublished: unsent }
    }
}
