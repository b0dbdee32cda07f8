//! Judges frames by alarm rules: each frame by all rules in order, each rule by tracks in order.

use std::collections::BTreeSet;

use moliceiro_messages::{AlarmRule, Condition, Direction, RaisedAlarm};
use serde::{Deserialize, Serialize};

use super::{Finding, Fold, FrameObservations};

/// A track that was seen so long ago is not known to be in its zone.
const MISSED: f64 = 1.0;

/// What a rule depends on beyond a frame and the open tracks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct RuleState {
    /// In how many frames in a row it holds up to now.
    run: u32,
    /// Since when it holds.
    since: Option<f64>,
    /// It raised an alarm since.
    raised: bool,
}

impl RuleState {
    pub(super) fn fail(&mut self) {
        self.run = 0;
    }
}

/// What happened in a frame to confirmed tracks.
#[derive(Debug, Default)]
pub(super) struct Judged {
    /// Serial, line, direction.
    pub(super) crossed: Vec<(u64, u8, Direction)>,
    /// Serials.
    pub(super) seen: BTreeSet<u64>,
}

/// The bits of the rules about tracks that stop.
pub(super) fn stops(rules: &[AlarmRule]) -> u16 {
    bits(rules, |condition| matches!(condition, Condition::Stops { .. }))
}

/// The bits of the rules about visits of a zone.
pub(super) fn stays(rules: &[AlarmRule], name: &str) -> u16 {
    bits(rules, |condition| matches!(condition, Condition::Stays { zone, .. } if zone == name))
}

fn bits(rules: &[AlarmRule], is_meant: impl Fn(&Condition) -> bool) -> u16 {
    let bit = |(rule, n): (&AlarmRule, u32)| {
        if is_meant(&rule.condition) { 1_u16.checked_shl(n).unwrap_or(0) } else { 0 }
    };
    rules.iter().zip(0..).map(bit).fold(0, |bits, bit| bits | bit)
}

/// What raises an alarm: class, number of objects, number of the track.
type Raised = (String, u32, Option<u64>);

impl Fold {
    pub(super) fn judge(
        &mut self,
        frame: &FrameObservations<'_>,
        now: f64,
        judged: &Judged,
        sink: &mut dyn FnMut(Finding),
    ) {
        for n in 0..self.rules.alarms.len() {
            for (label, count, track) in self.raised(n, frame, now, judged) {
                self.numbers.alarms += 1;
                sink(Finding::Alarm(RaisedAlarm {
                    number: self.numbers.alarms,
                    frame: frame.index,
                    pts: frame.pts,
                    rule: self.rules.alarms[n].clone(),
                    label,
                    count,
                    track,
                }));
            }
        }
    }

    fn raised(
        &mut self,
        n: usize,
        frame: &FrameObservations<'_>,
        now: f64,
        judged: &Judged,
    ) -> Vec<Raised> {
        let rule = &self.rules.alarms[n];
        match &rule.condition {
            Condition::Count { frames, .. } => {
                let counted = frame.objects.iter().filter(|o| o.score > frame.threshold);
                let objects = counted.map(|object| (object.label, object.bounds));
                let count = rule.count_among(objects, frame.size);
                let state = &mut self.judged[n];
                state.run = if rule.holds(count) { state.run.saturating_add(1) } else { 0 };
                let is_raised = state.run > 0 && (*frames == 1 || state.run == *frames);
                is_raised.then(|| (rule.label.clone(), count, None)).into_iter().collect()
            }
            Condition::Crosses { line, direction } => {
                let meant = |(serial, place, crossed): &(u64, u8, Direction)| {
                    let story = self.stories.get(serial)?;
                    let label = self.labels.get(story.class as usize)?;
                    let meant = self.rules.lines[usize::from(*place)].name == *line
                        && direction.is_none_or(|direction| direction == *crossed)
                        && rule.counts(label);
                    meant.then(|| (label.clone(), 1, story.number))
                };
                judged.crossed.iter().filter_map(meant).collect()
            }
            Condition::Stays { zone, time } => {
                let (place, time) = (self.zone(zone), time.as_secs_f64());
                self.raise_by_track(n, judged, |story| {
                    let (entered, _) = story.visits.get(&place?)?;
                    Some(now - entered.seconds >= time)
                })
            }
            Condition::Stops { time, zone } => {
                let (place, time) = (zone.as_ref().map(|zone| self.zone(zone)), time.as_secs_f64());
                self.raise_by_track(n, judged, |story| {
                    let inside = match place {
                        Some(place) => story.visits.contains_key(&place?),
                        None => true,
                    };
                    Some(inside && now - story.stop?.since >= time)
                })
            }
            Condition::Together { count, zone, time } => {
                let place = self.zone(zone);
                let there = |story: &&super::Story| {
                    let label = self.labels.get(story.class as usize);
                    story.number.is_some()
                        && place.is_some_and(|place| story.visits.contains_key(&place))
                        && now - story.last.seconds <= MISSED
                        && label.is_some_and(|label| rule.counts(label))
                };
                let mut found = self.stories.values().filter(there);
                let Some(first) = found.next() else {
                    self.judged[n] = RuleState::default();
                    return vec![];
                };
                let label = self.labels.get(first.class as usize).cloned().unwrap_or_default();
                let number = u32::try_from(found.count()).unwrap_or(u32::MAX).saturating_add(1);
                let state = &mut self.judged[n];
                if number < *count {
                    *state = RuleState::default();
                    return vec![];
                }
                let since = *state.since.get_or_insert(now);
                if state.raised || now - since < time.as_secs_f64() {
                    return vec![];
                }
                state.raised = true;
                vec![(label, number, None)]
            }
        }
    }

    fn zone(&self, name: &str) -> Option<u8> {
        let place = self.rules.zones.iter().position(|zone| zone.name == name);
        place.and_then(|place| u8::try_from(place).ok())
    }

    /// Once by each visit or stop of a track that was seen in this frame.
    fn raise_by_track(
        &mut self,
        n: usize,
        judged: &Judged,
        holds: impl Fn(&super::Story) -> Option<bool>,
    ) -> Vec<Raised> {
        let bit = u32::try_from(n).ok().and_then(|n| 1_u16.checked_shl(n)).unwrap_or(0);
        let (rule, labels) = (&self.rules.alarms[n], &self.labels);
        let mut raised = Vec::new();
        for (serial, story) in &mut self.stories {
            let Some(label) = labels.get(story.class as usize).filter(|label| rule.counts(label))
            else {
                continue;
            };
            let is_new = story.number.is_some() && story.raised & bit == 0;
            if is_new && judged.seen.contains(serial) && holds(story) == Some(true) {
                story.raised |= bit;
                raised.push((label.clone(), 1, story.number));
            }
        }
        raised
    }
}
