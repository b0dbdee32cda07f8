//! Groups of pictures of MPEG-1 and MPEG-2: the numbers of their pictures, and their time codes.

/// More pictures than this are not numbered by their group.
const MOST_NUMBERS: usize = 300;
/// Time codes that agree with the pictures make a rule.
const FEWEST_CODES: u64 = 2;
/// Pictures that are missing in one place, at most. A larger step of time codes is another film.
const MOST_MISSING: u64 = 1000;
/// Units of time in a second.
const CLOCK: u64 = 90_000;

/// Numbers of the pictures from the first key frame of a group on.
#[derive(Clone, Debug)]
pub(super) struct Group {
    first: u16,
    numbers: Vec<u16>,
    /// The last two that others may need.
    references: [u16; 2],
}

impl Group {
    /// A group that begins with a key frame of this number.
    pub(super) fn new(first: u16) -> Self {
        Self { first, numbers: vec![first], references: [first; 2] }
    }

    pub(super) fn add(&mut self, number: u16, is_reference: bool) {
        if number < self.first || self.numbers.len() > MOST_NUMBERS {
            return;
        }
        self.numbers.push(number);
        if is_reference {
            self.references = [self.references[1], number];
        }
    }

    /// How many numbers are missing before the last one.
    pub(super) fn missing(self) -> u64 {
        let last = self.numbers.iter().copied().max();
        self.missing_before(last.unwrap_or_default())
    }

    /// The same for a group that may continue.
    pub(super) fn missing_so_far(self) -> u64 {
        let [last, _] = self.references;
        self.missing_before(last)
    }

    fn missing_before(mut self, last: u16) -> u64 {
        if self.numbers.len() > MOST_NUMBERS {
            return 0;
        }
        let all = self.numbers.len();
        self.numbers.sort_unstable();
        self.numbers.dedup();
        // The header of another group is missing.
        let is_repeated = self.numbers.len() < all;
        let seen = self.numbers.iter().filter(|number| **number <= last).count() as u64;
        let expected = u64::from(last.saturating_sub(self.first)) + 1;
        expected.saturating_sub(seen).max(u64::from(is_repeated))
    }
}

/// Time codes of groups, which count the pictures of a film at its rate.
#[derive(Clone, Debug, Default)]
pub(super) struct TimeCodes {
    /// Pictures in a second: a fraction.
    rate: Option<(u64, u64)>,
    /// That of the group that begins, in pictures.
    code: Option<u64>,
    /// The last group whose time is known: its time code, its pictures before, and its time.
    last: Option<(u64, u64, i64)>,
    agreeing: u64,
    missing: u64,
}

impl TimeCodes {
    /// ISO/IEC 13818-2, table 6-4.
    pub(super) fn set_rate(&mut self, code: u8) {
        self.rate = match code {
            1 => Some((24_000, 1001)),
            2 => Some((24, 1)),
            3 => Some((25, 1)),
            4 => Some((30_000, 1001)),
            5 => Some((30, 1)),
            6 => Some((50, 1)),
            7 => Some((60_000, 1001)),
            8 => Some((60, 1)),
            _ => None,
        };
    }

    /// Reads the time code of a group (ISO/IEC 13818-2, 6.3.8).
    pub(super) fn set(&mut self, code: [u8; 4]) {
        let bits = u64::from(u32::from_be_bytes(code));
        let [hours, minutes, seconds, pictures] =
            [(26, 0x1f), (20, 0x3f), (13, 0x3f), (7, 0x3f)].map(|(at, mask)| bits >> at & mask);
        let minutes = hours * 60 + minutes;
        self.code = self.rate.map(|(rate, unit)| {
            let per_second = rate.div_ceil(unit);
            let is_drop_frame = bits >> 31 == 1;
            let dropped = if is_drop_frame { 2 * (minutes - minutes / 10) } else { 0 };
            ((minutes * 60 + seconds) * per_second + pictures).saturating_sub(dropped)
        });
    }

    /// A group begins with its first key frame, which is the picture with this number in the
    /// stream.
    pub(super) fn begin_group(&mut self, picture: u64, time: Option<i64>) {
        let (Some(code), Some(time)) = (self.code.take(), time) else { return };
        let Some((last_code, last_picture, last_time)) = self.last.replace((code, picture, time))
        else {
            return;
        };
        let Some((rate, unit)) = self.rate else { return };
        let (Some(counted), pictures) = (code.checked_sub(last_code), picture - last_picture)
        else {
            return;
        };
        let elapsed = u64::try_from(time - last_time).unwrap_or(0);
        let period = CLOCK * unit / rate;
        let expected = counted.saturating_mul(CLOCK * unit) / rate;
        let agrees = elapsed.abs_diff(expected) < period / 2;
        match counted.checked_sub(pictures) {
            Some(0) => self.agreeing += 1,
            Some(missing @ 1..=MOST_MISSING) if agrees => self.missing += missing,
            _ => {}
        }
    }

    /// How many pictures are missing between groups.
    pub(super) fn missing(&self) -> u64 {
        if self.agreeing >= FEWEST_CODES { self.missing } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(numbers: &[u16]) -> Group {
        let mut group = Group::new(numbers[0]);
        // Every third is one that others need.
        numbers[1..].iter().for_each(|number| group.add(*number, number % 3 == 2));
        group
    }

    #[test]
    fn a_group_has_each_number_once() {
        assert_eq!(group(&[2, 0, 1, 5, 3, 4]).missing(), 0);
        assert_eq!(group(&[2, 5, 3, 8, 6, 7]).missing(), 1);
        // The header of the next group is missing.
        assert_eq!(group(&[2, 5, 3, 4, 5, 3]).missing(), 1);
        // Those that are shown before the last one may follow.
        assert_eq!(group(&[2, 5, 3, 4, 8]).missing_so_far(), 0);
        assert_eq!(group(&[2, 5, 3, 8]).missing_so_far(), 1);
    }

    #[test]
    fn time_codes_and_times_together_show_how_many_pictures_are_missing() {
        let missing = |groups: &[(u32, u64, i64)]| {
            let mut codes = TimeCodes::default();
            codes.set_rate(3);
            for (pictures, picture, time) in groups {
                let (seconds, pictures) = (pictures / 25, pictures % 25);
                codes.set((seconds << 13 | pictures << 7 | 1 << 19).to_be_bytes());
                codes.begin_group(*picture, Some(time * 3600));
            }
            codes.missing()
        };
        let steady = [(0, 0, 10), (12, 12, 22), (24, 24, 34)];
        assert_eq!(missing(&steady), 0);
        assert_eq!(missing(&[&steady[..], &[(48, 40, 58)]].concat()), 8);
        // A film that was cut and joined, and one whose rate changes.
        assert_eq!(missing(&[&steady[..], &[(48, 36, 46)]].concat()), 0);
        assert_eq!(missing(&[&steady[..], &[(36, 36, 58)]].concat()), 0);
    }
}
