//! Gives frames their times where packets say only when they are decoded.

use std::collections::BTreeMap;

/// Packets without a frame that are remembered.
const MOST_PENDING: usize = 256;

/// The times of packets whose frames have not come yet.
///
/// Frames come in the order of showing, so each is shown at the earliest time that is left. A
/// packet whose frame never comes takes a time with it.
#[derive(Debug, Default)]
pub(crate) struct Reordering {
    packets: u64,
    /// Packets without a frame.
    pending: BTreeMap<u64, u64>,
    /// How many of those that a frame overtook are not expected any more.
    given_up: u64,
    /// Times that no frame has, and how many packets have them.
    times: BTreeMap<u64, u64>,
    /// The latest packet whose frame came.
    latest: Option<u64>,
    is_reordered: bool,
}

impl Reordering {
    /// Adds a packet that is decoded at a time, and returns its number. `is_between` says that it is
    /// shown before one that is decoded earlier.
    pub(crate) fn packet(&mut self, time: u64, is_between: bool) -> u64 {
        self.is_reordered |= is_between;
        let number = self.packets;
        self.packets += 1;
        self.pending.insert(number, time);
        *self.times.entry(time).or_default() += 1;
        if self.pending.len() > MOST_PENDING {
            self.give_up();
        }
        number
    }

    /// When the next frame is shown, which is that of a packet. As many as `depth` packets before it
    /// may still be waiting for theirs.
    pub(crate) fn frame(&mut self, packet: u64, depth: usize) -> Option<u64> {
        let own = self.pending.remove(&packet);
        self.is_reordered |= self.latest.is_some_and(|latest| packet < latest);
        self.latest = self.latest.max(Some(packet));
        if !self.is_reordered {
            let time = own?;
            self.take(time);
            return Some(time);
        }
        // One that was given up comes all the same: another one was lost.
        if own.is_none() && self.given_up > 0 {
            self.given_up -= 1;
            self.pending.pop_first();
        }
        while self.pending.range(..packet).count() > depth {
            self.give_up();
        }
        let time = *self.times.first_key_value()?.0;
        self.take(time);
        Some(time)
    }

    /// The frame of the earliest packet that waits for it is lost.
    fn give_up(&mut self) {
        self.pending.pop_first();
        self.given_up += 1;
        if let Some(time) = self.times.first_key_value().map(|(time, _)| *time) {
            self.take(time);
        }
    }

    fn take(&mut self, time: u64) {
        if let Some(count) = self.times.get_mut(&time) {
            *count -= 1;
            if *count == 0 {
                self.times.remove(&time);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes frames whose places in the order of showing are in the order of decoding, with a
    /// delay of two packets, and returns the times of those that are not lost.
    fn times(places: &[u64], lost: &[u64], are_marked: bool) -> Vec<u64> {
        let mut reordering = Reordering::default();
        let mut frames: Vec<(u64, u64)> = Vec::new();
        let mut shown = Vec::new();
        let mut next = 0;
        for (index, (time, place)) in (0..).zip(places).enumerate() {
            let is_between = are_marked && places[..index].iter().any(|other| other > place);
            let number = reordering.packet(time * 10, is_between);
            frames.push((*place, number));
            let mut show = |frames: &mut Vec<(u64, u64)>| {
                while let Some(at) = frames.iter().position(|(place, _)| *place == next) {
                    let (place, number) = frames.remove(at);
                    if !lost.contains(&place) {
                        shown.push(reordering.frame(number, 1).unwrap());
                    }
                    next += 1;
                }
            };
            show(&mut frames);
        }
        shown
    }

    #[test]
    fn the_nth_frame_has_the_nth_time() {
        let places = [0, 3, 1, 2, 6, 4, 5, 7, 8];
        assert_eq!(times(&places, &[], true), [0, 10, 20, 30, 40, 50, 60, 70, 80]);
        let straight: Vec<u64> = (0..9).collect();
        assert_eq!(times(&straight, &[3, 4], true), [0, 10, 20, 50, 60, 70, 80]);
    }

    #[test]
    fn a_lost_frame_takes_a_time_with_it() {
        let places = [0, 3, 1, 2, 6, 4, 5, 9, 7, 8, 12, 10, 11, 13, 14];
        let found = times(&places, &[4], true);
        assert_eq!(found[..4], [0, 10, 20, 30]);
        assert_eq!(found[8..], [90, 100, 110, 120, 130, 140]);
        // The first two were cut away.
        let found = times(&[2, 0, 1, 5, 3, 4, 8, 6, 7, 9], &[0, 1], true);
        assert_eq!(found[2..], [40, 50, 60, 70, 80, 90]);
    }
}
