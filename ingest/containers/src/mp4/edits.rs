//! Which samples an edit list shows, and when.
//!
//! The rules are those of ffmpeg's demuxer: a frame is shown if its time lies in the edit, and
//! decoding starts at the last sync sample before. The rate of an edit is ignored.

use std::ops::Range;

use super::boxes::{entries, i32_at, u32_at, u64_at};
use super::samples::Sample;
use super::track::Track;

/// How many more samples than there are the edits may decode, for films that repeat parts.
const MOST_REPEATED: usize = 4 << 20;

/// What is decoded and shown of a track.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) parts: Vec<Part>,
    /// Frames that are shown.
    pub(super) frames: u64,
    /// End of the film, in units of the track on its edited timeline.
    pub(super) end: i64,
}

/// Samples that are decoded one after the other. Times are in units of the track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) samples: Range<usize>,
    /// Times of the frames that are shown, on the media's timeline.
    pub(super) shown: Range<i64>,
    /// Time on the edited timeline minus time of the media.
    pub(super) later: i64,
}

struct Edit {
    /// In units of the track.
    length: i64,
    /// Where it starts in the media; −1 for a pause.
    time: i64,
}

impl Shown {
    /// `None` if the edits would decode far more than there is.
    pub(super) fn new(track: &Track<'_>, movie_timescale: u32) -> Option<Self> {
        let samples = &track.samples.present;
        let edits = read(track, movie_timescale);
        let edited = Self::edited(samples, &edits, track.codec == Some("JPEG"))?;
        let whole = || {
            let part = Part { samples: 0..samples.len(), shown: i64::MIN..i64::MAX, later: 0 };
            Self { frames: samples.len() as u64, parts: vec![part], end: track.samples.end }
        };
        // An edit list that hides everything is nonsense.
        Some(if edited.frames > 0 { edited } else { whole() })
    }

    /// When the first frame is shown, in nanoseconds on the edited timeline.
    pub(super) fn start(&self, track: &Track<'_>) -> Option<u64> {
        let first = self.first(&track.samples.present)?;
        let nanoseconds = i128::from(first) * 1_000_000_000 / i128::from(track.timescale);
        u64::try_from(nanoseconds).ok()
    }

    /// When the first frame is shown, in units of the track on the edited timeline.
    pub(super) fn first(&self, samples: &[Sample]) -> Option<i64> {
        self.parts.iter().find_map(|part| {
            let first = samples[part.samples.clone()]
                .iter()
                .map(|sample| sample.cts)
                .filter(|cts| part.shown.contains(cts))
                .min()?;
            Some(first.saturating_add(part.later))
        })
    }

    /// `shows_first` means that the frame before an edit that lasts into it is shown, too. ffmpeg
    /// shows it for Motion JPEG, and hides it for other codecs.
    fn edited(samples: &[Sample], edits: &[Edit], shows_first: bool) -> Option<Self> {
        let mut edited = Self { parts: Vec::new(), frames: 0, end: 0 };
        let mut budget = samples.len().saturating_add(MOST_REPEATED);
        for edit in edits {
            let start = edited.end;
            edited.end = start.saturating_add(edit.length);
            let mut shown = edit.time..edit.time.saturating_add(edit.length);
            if edit.time == -1 || shown.is_empty() {
                continue;
            }
            let (range, mut frames, visited) = decoded(samples, &shown);
            budget = budget.checked_sub(visited)?;
            if let Some(first) = samples.get(range.start).filter(|first| {
                let end = first.cts.saturating_add(i64::from(first.duration));
                shows_first && first.cts < shown.start && end > shown.start
            }) {
                shown.start = first.cts;
                frames += 1;
            }
            if frames > 0 {
                let later = start.saturating_sub(edit.time);
                edited.frames += frames;
                edited.parts.push(Part { samples: range, shown, later });
            }
        }
        Some(edited)
    }
}

/// The samples that have to be decoded to show a range, how many frames of them are shown, and how
/// many samples were visited to find out.
fn decoded(samples: &[Sample], shown: &Range<i64>) -> (Range<usize>, u64, usize) {
    let starts = |sample: &Sample| sample.is_sync && sample.cts <= shown.start;
    // Times of decoding never decrease, and no sync sample is shown before it is decoded, except
    // by a shift that all samples share.
    let late = samples.partition_point(|sample| sample.dts <= shown.start.saturating_add(SHIFT));
    let first = samples[..late].iter().rposition(starts).unwrap_or(0);
    let mut frames = 0;
    let mut next_sync = false;
    for (n, sample) in samples.iter().enumerate().skip(first) {
        frames += u64::from(shown.contains(&sample.cts));
        if sample.is_sync && sample.cts >= shown.end {
            // Frames that are decoded after the first sync sample past the end may be shown before
            // it.
            if next_sync {
                return (first..n + 1, frames, late - first + n - first);
            }
            next_sync = true;
        }
    }
    (first..samples.len(), frames, late - first + samples.len() - first)
}

/// No film's times of decoding are so much later than those of showing, in units of the track.
const SHIFT: i64 = 1 << 28;

/// The edits of a track, in its units.
fn read(track: &Track<'_>, movie_timescale: u32) -> Vec<Edit> {
    let Some(table) = track.edit_list.filter(|_| movie_timescale > 0) else { return Vec::new() };
    let is_long = table.first() == Some(&1);
    let edit = |entry: &[u8]| {
        let (length, time) = match is_long {
            true => (u64_at(entry, 0)?, u64_at(entry, 8)?.cast_signed()),
            false => (u64::from(u32_at(entry, 0)?), i64::from(i32_at(entry, 4)?)),
        };
        let scaled = (u128::from(length) * u128::from(track.timescale)
            + u128::from(movie_timescale / 2))
            / u128::from(movie_timescale);
        Some(Edit { length: i64::try_from(scaled).unwrap_or(i64::MAX), time })
    };
    entries(table, 4, if is_long { 20 } else { 12 }).filter_map(edit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten frames of length 10 with a B-frame after each second one, and sync samples 0 and 5.
    fn samples() -> Vec<Sample> {
        let order = [0, 2, 1, 4, 3, 5, 7, 6, 9, 8];
        let sample = |(n, shown): (usize, i64)| Sample {
            offset: n as u64,
            size: 1,
            duration: 10,
            dts: n as i64 * 10,
            cts: shown * 10 + 10,
            description: 1,
            is_sync: n == 0 || n == 5,
        };
        order.into_iter().enumerate().map(sample).collect()
    }

    #[test]
    fn decoding_starts_at_the_last_sync_sample_before_the_edit() {
        let shown = |range| {
            let (decoded, frames, _) = decoded(&samples(), &range);
            (decoded, frames)
        };
        assert_eq!(shown(60..80), (5..10, 2));
        assert_eq!(shown(50..80), (0..10, 3));
    }

    #[test]
    fn a_pause_takes_time_and_shows_nothing() {
        let edits =
            [(30, -1), (20, 60), (10, -1), (20, 10)].map(|(length, time)| Edit { length, time });
        let shown = Shown::edited(&samples(), &edits, false).unwrap();
        assert_eq!((shown.frames, shown.end), (4, 80));
        assert_eq!(shown.first(&samples()), Some(30));
        assert_eq!(shown.parts[1].later, 50);
    }
}
