//! Finds the pictures that a stream lacks although nothing in its container shows it: their
//! numbers have gaps, and so have the times.
//!
//! Neither is enough by itself. A recorder may drop frames, and then times have gaps; a film that
//! was cut and joined has gaps in its numbers, at key frames.

use std::collections::BTreeMap;

use super::clock::Times;
use super::numbers::{Numbered, Wrapping};

/// Pictures that may be decoded before one that is shown earlier.
const REORDERED: usize = 32;
/// How far a time may be from where a constant rate puts it, in units of 1/90,000 s: some programs
/// round times to milliseconds.
const ROUNDING: i64 = 100;
/// Different steps and groups that are told apart.
const MOST_KINDS: usize = 256;
/// Times that make a rate.
const FEWEST_STEPS: u64 = 10;
/// A pause that is longer, in units of 1/90,000 s, is no hole of a few packets.
const LONGEST_HOLE: i64 = 10 * 90_000;
/// Groups of pictures of the same length that make a rule.
const FEWEST_GROUPS: u64 = 3;

#[derive(Clone, Debug, Default)]
pub(super) struct Gaps {
    /// When the last picture is decoded whose time is known, and how many there are since.
    last_time: Option<i64>,
    untimed: u64,
    /// How often times advance by how much over so many pictures without one.
    long_steps: BTreeMap<(i64, u64), u64>,
    /// How often times advance by how much.
    steps: BTreeMap<i64, u64>,
    /// Pictures that are missing according to their numbers in the order of decoding.
    passed_over: u64,
    last_number: Option<u32>,
    order: Order,
    /// Pictures since the last key frame, and how long they are decoded.
    group: Option<(u64, Option<i64>)>,
    /// How often groups have how many pictures and what length.
    groups: BTreeMap<(u64, i64), u64>,
}

/// Pictures that are not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Absent {
    /// Those that were lost.
    pub(super) missing: u64,
    /// Those that were lost, or never recorded: only times pass over them.
    pub(super) passed_over: u64,
}

/// Numbers in the order of showing.
#[derive(Clone, Debug, Default)]
struct Order {
    /// The last one that others are relative to.
    last: Option<i64>,
    /// Those that earlier ones may still precede, and when they are shown.
    recent: Vec<Place>,
    shown: Option<Place>,
    /// The highest one, and the highest before it: pictures between them may follow.
    highest: Option<i64>,
    complete: Option<i64>,
    /// How often numbers and times advance by how much.
    steps: BTreeMap<(i64, Option<i64>), u64>,
    /// Numbers that are there already.
    repeated: u64,
}

/// How a picture follows those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Join {
    /// Its film continues, as far as its number shows.
    None,
    /// Its number starts anew.
    Numbers,
    /// It belongs to another film, which a decoder may take for the same.
    Film,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    number: i64,
    time: Option<i64>,
}

impl Gaps {
    /// Adds the next picture, and when it is decoded. `is_key` says whether it can be decoded by
    /// itself.
    pub(super) fn add(
        &mut self,
        is_key: bool,
        numbered: Option<&Numbered>,
        times: Option<Times>,
    ) -> Join {
        if numbered.is_some_and(|numbered| numbered.is_second_field) {
            return Join::None;
        }
        let time = times.map(|times| times.decoded);
        let elapsed = time.zip(self.last_time).map(|(time, last)| time - last);
        let step = elapsed.filter(|_| self.untimed == 0);
        if let (Some(elapsed), None) = (elapsed, step) {
            count(&mut self.long_steps, (elapsed, self.untimed));
        }
        self.untimed = if time.is_none() { self.untimed.saturating_add(1) } else { 0 };
        self.last_time = time.or(self.last_time);
        let skipped = step.map(|step| self.skipped(step));
        if let Some(step) = step {
            count(&mut self.steps, step);
        }
        match &mut self.group {
            group if is_key => {
                if let Some((pictures, Some(length))) = group.take()
                    && let Some(step) = step
                {
                    count(&mut self.groups, (pictures, length + step));
                }
                *group = Some((1, Some(0)));
            }
            Some((pictures, length)) => {
                *pictures += 1;
                *length = length.zip(step).map(|(length, step)| length + step);
            }
            None => {}
        }
        let shown = times.map(|times| times.shown);
        numbered.map_or(Join::None, |numbered| self.number(numbered, skipped, shown))
    }

    fn number(&mut self, numbered: &Numbered, skipped: Option<i64>, shown_at: Option<i64>) -> Join {
        // Films are joined at key frames.
        let period = mode(&self.steps).filter(|period| *period > 0);
        let is_joined = numbered.is_key
            && numbered.shown.is_some_and(|shown| {
                let place = Place { number: self.order.number(shown), time: shown_at };
                !self.order.continues(place, period)
            });
        let is_steady = skipped.unwrap_or(0) == 0;
        let is_other_film = is_joined && !numbered.restarts && self.has_constant_rate();
        let distance = period.zip(numbered.shown).zip(shown_at).filter(|_| is_other_film);
        let distance =
            distance.and_then(|((period, shown), time)| self.order.distance(shown, time, period));
        let least = if is_steady { 1 } else { REORDERED as i64 };
        let may_be_joined = numbered.restarts || is_joined || numbered.is_key && is_steady;
        if let Some(number) = numbered.decoded {
            let passed_over =
                self.last_number.map_or(0, |last| number.since(last).saturating_sub(1));
            // Numbers may also start anew within a group.
            let is_new = may_be_joined || number.value <= 1 && is_steady;
            if !is_new && skipped != Some(0) {
                self.passed_over += u64::from(passed_over);
            }
            if numbered.is_reference || numbered.restarts {
                self.last_number = Some(number.value);
            }
        }
        let Some(shown) = numbered.shown else { return Join::None };
        if may_be_joined {
            self.order.restart();
        }
        self.order.add(shown, shown_at, numbered.is_reference);
        match distance {
            Some(distance) if distance >= least => Join::Film,
            _ if is_joined => Join::Numbers,
            _ => Join::None,
        }
    }

    /// Whether most times advance by the same.
    fn has_constant_rate(&self) -> bool {
        let (all, most) =
            self.steps.values().fold((0, 0), |(all, most), count| (all + count, most.max(*count)));
        all >= FEWEST_STEPS && most * 10 >= all * 9
    }

    /// How many pictures at a constant rate a step of time passes over.
    fn skipped(&self, step: i64) -> i64 {
        let Some(period) = mode(&self.steps).filter(|period| *period > 0) else { return 0 };
        ((step + period / 2) / period - 1).max(0)
    }

    /// How many pictures times pass over, and how many of them in jumps that may be holes; `None`
    /// if the rate is not constant.
    fn jumped(&self) -> Option<(u64, u64)> {
        let period = mode(&self.steps).filter(|period| *period > 0)?;
        let (mut all, mut steady, mut jumped, mut brief) = (0, 0, 0, 0);
        for (step, count) in &self.steps {
            let skipped = self.skipped(*step);
            let expected = period.saturating_mul(skipped + 1);
            if (step - expected).abs() > ROUNDING + ROUNDING / 2 * skipped {
                return None;
            }
            all += count;
            steady += if skipped == 0 { *count } else { 0 };
            jumped += count * skipped.unsigned_abs();
            if *step <= LONGEST_HOLE {
                brief += count * skipped.unsigned_abs();
            }
        }
        for ((elapsed, pictures), count) in &self.long_steps {
            let skipped = self.skipped(*elapsed);
            let expected = period.saturating_mul(skipped + 1);
            let missing = skipped.unsigned_abs().saturating_sub(*pictures);
            if (elapsed - expected).abs() > ROUNDING + ROUNDING / 2 * skipped {
                continue;
            }
            jumped += count * missing;
            brief += if *elapsed <= LONGEST_HOLE { count * missing } else { 0 };
        }
        let is_constant = all >= FEWEST_STEPS && steady * 10 >= all * 9;
        is_constant.then_some((jumped, brief))
    }

    /// Whether all groups are equally long, but some have fewer pictures.
    fn has_short_group(&self) -> bool {
        let Some(period) = mode(&self.steps).filter(|period| *period > 0) else { return false };
        let Some(&(usual, _)) =
            self.groups.iter().max_by_key(|(_, count)| **count).map(|(group, _)| group)
        else {
            return false;
        };
        let mut whole = 0;
        let mut short = 0;
        for ((pictures, length), count) in &self.groups {
            let slots = ((length + period / 2) / period).unsigned_abs();
            if slots == *pictures && *pictures == usual {
                whole += count;
            } else if slots > *pictures && slots.is_multiple_of(usual) {
                short += count;
            } else {
                return false;
            }
        }
        short > 0 && whole >= FEWEST_GROUPS
    }

    /// How many pictures are not there. `known` is how many others things show to be missing.
    pub(super) fn absent(mut self, known: u64) -> Absent {
        self.order.restart();
        let by_order = self.order.missing(mode(&self.steps));
        let has_repeated = self.order.repeated > 0;
        let lost = |missing| Absent { missing, passed_over: 0 };
        match self.jumped() {
            Some((0, _)) => lost(known),
            Some((jumped, brief)) => {
                let numbers_have_gaps = self.passed_over > 0 || by_order > 0 || has_repeated;
                let are_missing = known > 0 || numbers_have_gaps || self.has_short_group();
                if are_missing {
                    lost(known.max(jumped))
                } else {
                    Absent { missing: 0, passed_over: brief }
                }
            }
            None => lost(known.max(self.passed_over).max(by_order)),
        }
    }
}

impl Order {
    /// ITU-T H.264, 8.2.1.1, and ITU-T H.265, 8.3.1.
    fn number(&self, shown: Wrapping) -> i64 {
        let value = i64::from(shown.value);
        let Some(last) = self.last else { return value };
        let cycle = 1 << shown.bits;
        let ahead = (value - last).rem_euclid(cycle);
        last + if ahead >= cycle / 2 { ahead - cycle } else { ahead }
    }

    /// Whether the time of a picture is what its number says.
    fn continues(&self, place: Place, period: Option<i64>) -> bool {
        let last = self.recent.last().copied().or(self.shown);
        let (Some(last), Some(usual)) = (last, self.usual()) else { return true };
        let Some((elapsed, period)) = place.time.zip(last.time).zip(period) else { return false };
        let expected = (place.number - last.number) * period / usual;
        (elapsed.0 - elapsed.1 - expected).abs() < period / 2
    }

    /// By how many pictures a number differs from what the time says, whatever has wrapped around
    /// in between.
    fn distance(&self, shown: Wrapping, time: i64, period: i64) -> Option<i64> {
        let last = self.recent.last().copied().or(self.shown)?;
        let usual = self.usual().filter(|usual| *usual > 0)?;
        let elapsed = time - last.time?;
        let places = (elapsed * 2 + period).div_euclid(period * 2);
        let expected = last.number.checked_add(places.checked_mul(usual)?)?;
        let cycle = 1 << shown.bits;
        let ahead = (i64::from(shown.value) - expected).rem_euclid(cycle);
        Some(ahead.min(cycle - ahead) / usual)
    }

    fn add(&mut self, shown: Wrapping, time: Option<i64>, is_reference: bool) {
        let number = self.number(shown);
        if is_reference || self.last.is_none() {
            self.last = Some(number);
        }
        if self.highest.is_none_or(|highest| number > highest) {
            self.complete = self.highest.replace(number);
        }
        let at = self.recent.partition_point(|other| other.number < number);
        self.recent.insert(at, Place { number, time });
        if self.recent.len() > REORDERED {
            self.show();
        }
    }

    fn show(&mut self) {
        let next = self.recent.remove(0);
        if let Some(shown) = self.shown {
            // Some programs round times.
            let elapsed = next.time.zip(shown.time).map(|(time, last)| (time - last) / 50 * 50);
            match next.number - shown.number {
                ..=0 => self.repeated += 1,
                // A film may be cut before those that are missing here.
                _ if self.complete.is_none_or(|complete| next.number > complete) => {}
                step => count(&mut self.steps, (step, elapsed)),
            }
        }
        self.shown = self.shown.filter(|shown| shown.number > next.number).or(Some(next));
    }

    /// Numbers start anew.
    fn restart(&mut self) {
        while !self.recent.is_empty() {
            self.show();
        }
        let Self { steps, repeated, .. } = std::mem::take(self);
        (self.steps, self.repeated) = (steps, repeated);
    }

    /// By how much numbers usually advance.
    fn usual(&self) -> Option<i64> {
        let most = self.steps.iter().max_by_key(|(_, count)| **count);
        most.map(|((step, _), _)| *step)
    }

    /// How many numbers are passed over, if they advance evenly, and times agree.
    fn missing(&self, period: Option<i64>) -> u64 {
        let Some(usual) = self.usual() else { return 0 };
        let (mut all, mut even, mut missing) = (0, 0, 0);
        for ((step, elapsed), count) in &self.steps {
            all += count;
            even += if *step == usual { *count } else { 0 };
            let places = if step % usual == 0 { step / usual } else { 1 };
            let agrees = elapsed.zip(period).is_none_or(|(elapsed, period)| {
                (elapsed - places.saturating_mul(period)).abs() < period / 2
            });
            missing += if agrees { (places - 1).unsigned_abs() * count } else { 0 };
        }
        if even * 10 >= all * 9 { missing } else { 0 }
    }
}

fn count<T: Ord>(kinds: &mut BTreeMap<T, u64>, kind: T) {
    if kinds.len() < MOST_KINDS || kinds.contains_key(&kind) {
        *kinds.entry(kind).or_default() += 1;
    }
}

/// The most frequent one.
fn mode(kinds: &BTreeMap<i64, u64>) -> Option<i64> {
    kinds.iter().max_by_key(|(_, count)| **count).map(|(kind, _)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: i64 = 3600;

    /// Pictures of 7 groups of 12, at 25 a second, in the order of decoding: each second one is
    /// shown before the one that it follows. Times are in periods.
    fn film() -> Vec<(Numbered, i64)> {
        let picture = |group: u32, n: u32| {
            let is_reference = n == 0 || n % 2 == 1;
            // 0, 2 1, 4 3, …
            let place = if n == 0 {
                0
            } else if is_reference {
                n + 1
            } else {
                n - 1
            };
            let numbered = Numbered {
                restarts: n == 0,
                is_key: n == 0,
                is_reference,
                is_second_field: false,
                decoded: Some(Wrapping {
                    value: n.div_ceil(2) % 16 + u32::from(!is_reference),
                    bits: 4,
                }),
                shown: Some(Wrapping { value: place * 2 % 64, bits: 6 }),
            };
            (numbered, i64::from(group * 13 + n))
        };
        (0..7).flat_map(|group| (0..13).map(move |n| picture(group, n))).collect()
    }

    fn missing(film: &[(Numbered, i64)], has_times: bool) -> u64 {
        absent(film, has_times).missing
    }

    fn absent(film: &[(Numbered, i64)], has_times: bool) -> Absent {
        let mut gaps = Gaps::default();
        for (numbered, time) in film {
            // One that is shown before the one that it follows.
            let delay = if numbered.is_key { 1 } else { 2 * i64::from(numbered.is_reference) };
            let (decoded, shown) = (time * PERIOD, (time + delay) * PERIOD);
            let times = has_times.then_some(Times { decoded, shown });
            gaps.add(numbered.is_key, Some(numbered), times);
        }
        gaps.absent(0)
    }

    #[test]
    fn pictures_are_missing_where_numbers_and_times_have_gaps() {
        let film = film();
        assert_eq!((missing(&film, true), missing(&film, false)), (0, 0));
        for (from, to) in [(16, 20), (16, 17), (17, 18), (16, 29), (22, 26), (22, 30)] {
            let mut lossy = film.clone();
            lossy.drain(from..to);
            assert_eq!(missing(&lossy, true), to as u64 - from as u64, "{from}..{to}");
        }
        let lossy = [&film[..16], &film[20..]].concat();
        assert_eq!(missing(&lossy, false), 4);
    }

    #[test]
    fn times_pass_over_pictures_also_beside_one_without_a_time() {
        let times = |n: i64| Times { decoded: n * PERIOD, shown: n * PERIOD };
        let mut gaps = Gaps::default();
        for n in 0..40 {
            // Two are missing, and the one behind them, or two elsewhere, lost their times.
            if n != 20 && n != 21 {
                gaps.add(n % 10 == 0, None, (![22, 30, 31].contains(&n)).then(|| times(n)));
            }
        }
        assert_eq!(gaps.absent(0), Absent { missing: 0, passed_over: 2 });
    }

    #[test]
    fn a_film_that_was_cut_is_whole_and_so_is_one_with_dropped_frames() {
        let film = film();
        for end in 1..film.len() {
            assert_eq!(
                (missing(&film[..end], true), missing(&film[..end], false)),
                (0, 0),
                "{end}"
            );
            // Another film follows, steadily or after a gap.
            for gap in [0, 1, 5, 101] {
                // As if the rest of a group was missing.
                if (film[end - 1].1 % 13 + 1 + gap) % 13 == 0 {
                    continue;
                }
                let shift = film[end].1 + gap;
                let next = film.iter().map(|(numbered, time)| (*numbered, time + shift));
                let joined: Vec<_> = film[..end].iter().copied().chain(next).collect();
                let found = (missing(&joined, true), missing(&joined, false));
                assert_eq!(found, (0, 0), "{end} {gap}");
            }
        }
        let mut dropped = film;
        dropped[17..].iter_mut().for_each(|(_, time)| *time += 1);
        dropped[30..].iter_mut().for_each(|(_, time)| *time += 2);
        assert_eq!(absent(&dropped, true), Absent { missing: 0, passed_over: 3 });
        // A pause.
        dropped[39..].iter_mut().for_each(|(_, time)| *time += 1000);
        assert_eq!(absent(&dropped, true), Absent { missing: 0, passed_over: 3 });
    }
}
