//! What a video's tracks have come to so far.

use std::collections::BTreeMap;

use moliceiro_messages::{Direction, LineSummary, Occupancy, ZoneSummary};
use serde::{Deserialize, Serialize};

use super::Rules;
use super::dwell::Dwells;
use super::occupancy::{Occupied, joined};

/// Objects by number of their class.
pub(super) type ByClass = BTreeMap<u32, u64>;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Counts {
    /// Finished tracks.
    pub(super) tracks: ByClass,
    pub(super) lines: Vec<LineCounts>,
    pub(super) zones: Vec<ZoneCounts>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct LineCounts {
    pub(super) inwards: ByClass,
    pub(super) outwards: ByClass,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct ZoneCounts {
    /// `None` before the first frame.
    pub(super) occupied: Option<Occupied>,
    /// Of the videos before this one: occupancy, and how long.
    pub(super) before: Option<(Occupancy, f64)>,
    pub(super) entries: ByClass,
    pub(super) exits: ByClass,
    pub(super) dwells: Dwells,
}

pub(super) fn add(counts: &mut ByClass, class: u32) {
    *counts.entry(class).or_insert(0) += 1;
}

fn merge(counts: &mut ByClass, other: &ByClass) {
    for (class, n) in other {
        *counts.entry(*class).or_insert(0) += n;
    }
}

pub(super) fn named(counts: &ByClass, labels: &[String]) -> BTreeMap<String, u64> {
    let name = |(class, n): (&u32, &u64)| Some((labels.get(*class as usize)?.clone(), *n));
    counts.iter().filter_map(name).collect()
}

impl Counts {
    pub(super) fn new(rules: &Rules) -> Self {
        Self {
            tracks: ByClass::new(),
            lines: vec![LineCounts::default(); rules.lines.len()],
            zones: vec![ZoneCounts::default(); rules.zones.len()],
        }
    }

    /// The time of the first frame.
    pub(super) fn start(&mut self, at: f64) {
        for zone in &mut self.zones {
            zone.occupied.get_or_insert_with(|| Occupied::new(at));
        }
    }

    /// Adds those of a later video with the same lines and zones.
    pub(super) fn add(&mut self, other: &Self, end: f64) {
        merge(&mut self.tracks, &other.tracks);
        for (line, other) in self.lines.iter_mut().zip(&other.lines) {
            merge(&mut line.inwards, &other.inwards);
            merge(&mut line.outwards, &other.outwards);
        }
        for (zone, other) in self.zones.iter_mut().zip(&other.zones) {
            merge(&mut zone.entries, &other.entries);
            merge(&mut zone.exits, &other.exits);
            zone.dwells.merge(&other.dwells);
            let occupancy = other.occupancy(end);
            zone.before = match (zone.before, occupancy) {
                (Some(before), Some(occupancy)) => Some(joined(before, occupancy)),
                (before, occupancy) => before.or(occupancy),
            };
        }
    }

    pub(super) fn lines(&self, rules: &Rules, labels: &[String]) -> BTreeMap<String, LineSummary> {
        let line = |counts: &LineCounts| LineSummary {
            inwards: named(&counts.inwards, labels),
            outwards: named(&counts.outwards, labels),
        };
        let names = rules.lines.iter().map(|line| line.name.clone());
        names.zip(self.lines.iter().map(line)).collect()
    }

    pub(super) fn zones(
        &self,
        rules: &Rules,
        labels: &[String],
        end: f64,
    ) -> BTreeMap<String, ZoneSummary> {
        let zone = |counts: &ZoneCounts| ZoneSummary {
            occupancy: counts.occupancy(end).map(|(occupancy, _)| occupancy).unwrap_or_default(),
            entries: named(&counts.entries, labels),
            exits: named(&counts.exits, labels),
            dwell: counts.dwells.summary(),
        };
        let names = rules.zones.iter().map(|zone| zone.name.clone());
        names.zip(self.zones.iter().map(zone)).collect()
    }
}

impl LineCounts {
    pub(super) fn add(&mut self, direction: Direction, class: u32) {
        let counts = match direction {
            Direction::In => &mut self.inwards,
            Direction::Out => &mut self.outwards,
        };
        add(counts, class);
    }
}

impl ZoneCounts {
    /// And of how many seconds.
    fn occupancy(&self, end: f64) -> Option<(Occupancy, f64)> {
        let Some(occupied) = &self.occupied else { return self.before };
        let own = (occupied.summary(end), (end - occupied.start()).max(0.0));
        Some(self.before.map_or(own, |before| joined(before, own)))
    }
}
