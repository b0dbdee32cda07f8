//! Which frames differ so little from an analysed one that they carry its objects.
//!
//! The measure. The luma of the picture as the model gets it, without its border, is averaged over
//! cells of 4 × 4 pixels. The difference of a cell is its mean minus the mean of the same cell of
//! the last analysed frame. From the differences of each tile of 8 × 8 cells, their median is
//! subtracted, but at most [`LIGHT`]: so slow light, a cloud or the camera's own exposure changes
//! nothing. What remains is noise, whose strength is estimated from all cells of the picture: 1.48
//! times the median of their absolute values. A cell has changed if what remains of it is more than
//! [`SIGMAS`] times that, but at least [`LEAST`] and at most [`MOST`]. The frame differs if two
//! changed cells touch each other, or if one has changed by twice as much as needed.
//!
//! A frame is analysed in any case [`LONGEST`] after the last one, so errors do not last.
//!
//! What is decided of a frame depends on the last analysed one, and on itself. So an ingest that
//! takes a video over at an analysed frame decides as the one before it would have.

use std::mem;

use moliceiro_messages::CarriedRun;

/// Side of a cell, in pixels.
const CELL: usize = 4;
/// Pixels of a cell: means are stored as sums.
const PIXELS: i16 = 16;
/// Side of a tile, in cells.
const TILE: usize = 8;
/// A tile may become so much brighter or darker, of 255.
const LIGHT: i16 = 12 * PIXELS;
/// A cell has changed if it differs by so many standard deviations of the noise.
const SIGMAS: i32 = 6;
/// What is less is never a change.
const LEAST: i32 = 5 * PIXELS as i32;
/// What is more is always one.
const MOST: i32 = 14 * PIXELS as i32;
/// From an analysed frame to the next one at most, in nanoseconds. Key frames are often one or two
/// seconds apart, and look different: with that distance, all analysed frames could be such.
const LONGEST: u64 = 1_300_000_000;
/// The same in frames, where they have no times.
const LONGEST_FRAMES: u64 = 33;
/// Frames that carry the objects of one frame: a report of them has to stay small.
const MOST_CARRIED: usize = 500;

/// Decides which of the selected frames are analysed.
#[derive(Default)]
pub(crate) struct StillFilter {
    reference: Option<Reference>,
    /// What was decided since the last frame that was delivered.
    runs: Vec<CarriedRun>,
}

/// The last analysed frame.
struct Reference {
    index: u64,
    pts: Option<u64>,
    /// Its position among the selected frames.
    number: u64,
    cells: Cells,
}

/// A picture, reduced to the sums of its cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cells {
    columns: usize,
    sums: Vec<i16>,
}

impl Cells {
    /// Of rows of luma, of `width` pixels each.
    pub(crate) fn of<'a>(width: usize, mut rows: impl Iterator<Item = &'a [u8]>) -> Self {
        let columns = width / CELL;
        let mut sums = Vec::new();
        loop {
            let start = sums.len();
            sums.resize(start + columns, 0_i16);
            for _ in 0..CELL {
                let Some(row) = rows.next() else {
                    // What is left over is less than a cell.
                    sums.truncate(start);
                    return Self { columns, sums };
                };
                for (sum, pixels) in sums[start..].iter_mut().zip(row.chunks_exact(CELL)) {
                    *sum += pixels.iter().map(|pixel| i16::from(*pixel)).sum::<i16>();
                }
            }
        }
    }

    /// Whether the picture differs from another one.
    fn differs(&self, other: &Self) -> bool {
        if self.columns != other.columns || self.sums.len() != other.sums.len() {
            return true;
        }
        // Too small to judge.
        if self.sums.is_empty() {
            return self != other;
        }
        let columns = self.columns;
        let mut rest: Vec<_> =
            self.sums.iter().zip(&other.sums).map(|(now, then)| i32::from(now - then)).collect();
        let rows = rest.len() / columns;
        let mut tile = Vec::with_capacity(TILE * TILE);
        for top in (0..rows).step_by(TILE) {
            for left in (0..columns).step_by(TILE) {
                let right = (left + TILE).min(columns);
                let lines = top..(top + TILE).min(rows);
                tile.clear();
                for row in lines.clone() {
                    tile.extend_from_slice(&rest[row * columns + left..row * columns + right]);
                }
                let light = median(&mut tile).clamp(-i32::from(LIGHT), i32::from(LIGHT));
                for row in lines {
                    for cell in &mut rest[row * columns + left..row * columns + right] {
                        *cell = (*cell - light).abs();
                    }
                }
            }
        }
        let noise = median(&mut rest.clone());
        let threshold = (noise * SIGMAS * 148 / 100).clamp(LEAST, MOST);
        let has_changed = |row: usize, column: usize| {
            row < rows && column < columns && rest[row * columns + column] > threshold
        };
        (0..rest.len()).any(|at| {
            let (row, column) = (at / columns, at % columns);
            rest[at] > threshold
                && (rest[at] > 2 * threshold
                    || has_changed(row, column + 1)
                    || has_changed(row + 1, column)
                    || has_changed(row + 1, column + 1)
                    || (column > 0 && has_changed(row + 1, column - 1)))
        })
    }
}

fn median(values: &mut [i32]) -> i32 {
    let middle = values.len() / 2;
    *values.select_nth_unstable(middle).1
}

impl StillFilter {
    /// Decides about a selected frame. `number` is its position among those.
    pub(crate) fn is_still(
        &mut self,
        index: u64,
        number: u64,
        pts: Option<u64>,
        cells: Cells,
    ) -> bool {
        let reference = self.reference.as_ref();
        let source = reference.filter(|of| of.is_recent(number, pts) && !cells.differs(&of.cells));
        let Some(source) = source.map(|of| of.index) else {
            self.reference = Some(Reference { index, pts, number, cells });
            return false;
        };
        match self.runs.last_mut().filter(|run| run.source == source) {
            Some(run) => run.frames.push((index, pts)),
            None => self.runs.push(CarriedRun { source, frames: vec![(index, pts)] }),
        }
        if self.runs.last().is_some_and(|run| run.frames.len() >= MOST_CARRIED) {
            self.reference = None;
        }
        true
    }

    /// The next frame is analysed.
    pub(crate) fn reset(&mut self) {
        self.reference = None;
    }

    /// The frames that carry objects, and were not taken before.
    pub(crate) fn take_runs(&mut self) -> Vec<CarriedRun> {
        mem::take(&mut self.runs)
    }
}

impl Reference {
    fn is_recent(&self, number: u64, pts: Option<u64>) -> bool {
        match self.pts.zip(pts) {
            Some((then, now)) => now.checked_sub(then).is_some_and(|since| since < LONGEST),
            None => number - self.number < LONGEST_FRAMES,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTH: usize = 96;
    const HEIGHT: usize = 64;

    /// A picture with texture, normal noise of this standard deviation, and all of it brighter.
    fn picture(seed: u64, noise: f64, brighter: f64) -> Vec<u8> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        (0..WIDTH * HEIGHT)
            .map(|at| {
                let (x, y) = (at % WIDTH, at / WIDTH);
                let texture = 100.0 + 40.0 * ((x / 7 + y / 5) % 3) as f64;
                let normal = (0..12).map(|_| random()).sum::<f64>() - 6.0;
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "0..=255"
                )]
                let pixel = (texture + noise * normal + brighter).clamp(0.0, 255.0) as u8;
                pixel
            })
            .collect()
    }

    fn cells(picture: &[u8]) -> Cells {
        Cells::of(WIDTH, picture.chunks(WIDTH))
    }

    fn with_object(mut picture: Vec<u8>, left: usize, contrast: i16) -> Vec<u8> {
        for row in picture.chunks_mut(WIDTH).skip(20).take(24) {
            for pixel in &mut row[left..left + 10] {
                let changed = i16::from(*pixel) + contrast;
                *pixel = u8::try_from(changed.clamp(0, 255)).unwrap();
            }
        }
        picture
    }

    #[test]
    fn noise_and_light_are_not_a_change() {
        for noise in [0.0, 2.0, 5.0, 10.0] {
            let first = cells(&picture(1, noise, 0.0));
            for seed in 2..200 {
                let brighter = (seed % 9) as f64;
                let next = cells(&picture(seed, noise, brighter));
                assert!(!next.differs(&first), "noise {noise}, seed {seed}");
            }
        }
    }

    #[test]
    fn an_object_that_comes_goes_or_moves_is_a_change() {
        for noise in [0.0, 2.0, 5.0] {
            let empty = picture(1, noise, 0.0);
            for contrast in [-60, -35, 35, 60] {
                let there = cells(&with_object(picture(2, noise, 0.0), 30, contrast));
                let moved = cells(&with_object(picture(3, noise, 0.0), 34, contrast));
                assert!(there.differs(&cells(&empty)), "comes: {noise} {contrast}");
                assert!(cells(&empty).differs(&there), "goes: {noise} {contrast}");
                assert!(moved.differs(&there), "moves: {noise} {contrast}");
            }
        }
    }

    #[test]
    fn a_picture_of_another_size_or_without_a_cell_is_another_one() {
        let whole = cells(&picture(1, 0.0, 0.0));
        assert!(Cells::of(8, [[0_u8; 8]; 8].iter().map(|row| &row[..])).differs(&whole));
        let tiny = Cells::of(2, [[0_u8; 2]; 2].iter().map(|row| &row[..]));
        assert!(tiny.sums.is_empty() && !tiny.differs(&tiny));
    }

    #[test]
    fn a_frame_is_analysed_now_and_then_whatever_it_shows() {
        let still = cells(&picture(1, 0.0, 0.0));
        let analysed = |times: &dyn Fn(u64) -> Option<u64>, from: u64| {
            let mut filter = StillFilter::default();
            (from..300)
                .filter(|index| !filter.is_still(*index, *index, times(*index), still.clone()))
                .collect::<Vec<_>>()
        };
        let at_25_fps = |index| Some(index * 40_000_000);
        assert_eq!(analysed(&at_25_fps, 0), [0, 33, 66, 99, 132, 165, 198, 231, 264, 297]);
        assert_eq!(analysed(&|_| None, 0), [0, 33, 66, 99, 132, 165, 198, 231, 264, 297]);
        // One that takes over at an analysed frame decides the same.
        assert_eq!(analysed(&at_25_fps, 198), [198, 231, 264, 297]);
        let slow = |index| Some(index * 2_500_000_000);
        assert_eq!(analysed(&slow, 0).len(), 300);
    }

    #[test]
    fn frames_are_reported_by_the_one_that_they_equal() {
        let (still, other) = (cells(&picture(1, 0.0, 0.0)), cells(&picture(1, 0.0, 90.0)));
        let mut filter = StillFilter::default();
        for (index, shown) in [&still, &still, &still, &other, &other].into_iter().enumerate() {
            filter.is_still(index as u64, index as u64, None, shown.clone());
        }
        let run = |source, frames: &[u64]| CarriedRun {
            source,
            frames: frames.iter().map(|index| (*index, None)).collect(),
        };
        assert_eq!(filter.take_runs(), [run(0, &[1, 2]), run(3, &[4])]);
        assert_eq!(filter.take_runs(), []);
        filter.reset();
        assert!(!filter.is_still(5, 5, None, other));
    }
}
