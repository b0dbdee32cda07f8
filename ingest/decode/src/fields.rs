//! Makes the lines that a field lacks.

use std::ops::{Add, Shr, Sub};

/// Rows above and below a line that are needed to fit it to its moment.
const AROUND: usize = 4;
/// Values that are computed at once.
const LANES: usize = 16;

/// The lines of one plane of a frame.
#[derive(Clone, Copy)]
pub(crate) struct Lines<'a> {
    pub(crate) bytes: &'a [u8],
    /// In bytes, as the width.
    pub(crate) stride: usize,
    pub(crate) width: usize,
    pub(crate) rows: usize,
}

impl<'a> Lines<'a> {
    fn row(self, y: usize) -> &'a [u8] {
        &self.bytes[y * self.stride..][..self.width]
    }

    /// The rows at a distance above and below. At an edge, both are the same one.
    fn pair(self, y: usize, distance: usize) -> [&'a [u8]; 2] {
        let above = y.checked_sub(distance);
        let below = Some(y + distance).filter(|below| *below < self.rows);
        let [above, below] = [above.or(below), below.or(above)];
        [above, below].map(|row| self.row(row.unwrap_or(y)))
    }

    /// Whether there are enough rows to [`adapt`](Self::adapt) one.
    pub(crate) fn has_around(self, y: usize) -> bool {
        y >= AROUND || y + AROUND < self.rows
    }

    /// Makes line `y` of the two lines around it, which belong to the other moment, with the fine
    /// vertical detail of its own field: what rests stays sharp, and what moves is not combed.
    pub(crate) fn follow<T: Sample>(self, y: usize, line: &mut [u8]) {
        let [above, below] = self.pair(y, 1).map(chunks::<T>);
        let own = |row: Option<usize>| chunks::<T>(self.row(row.unwrap_or(y)));
        let up = own(y.checked_sub(2));
        let down = own(Some(y + 2).filter(|down| *down < self.rows));
        let here = chunks::<T>(self.row(y)).zip(line.chunks_exact_mut(T::BYTES));
        for (((a, b), (u, v)), (w, to)) in above.zip(below).zip(up.zip(down)).zip(here) {
            let [a, b, u, v, w] = [a, b, u, v, w].map(T::read);
            T::write((2 * (a + b + w) - u - v + 2) >> 2, to);
        }
    }

    /// Makes line `y` as it was at the moment of the lines around it. The same line of the frame
    /// before lies as long before that moment as its own lies behind it: where both are alike,
    /// nothing moves, and the line is between them. Where something moves, it follows from the
    /// lines around it instead. The result is that of ffmpeg's `bwdif`, but for the frame behind,
    /// which is not known.
    pub(crate) fn adapt<T: Sample>(self, before: Self, y: usize, line: &mut [u8]) {
        let [c, e] = self.pair(y, 1);
        let [c0, e0] = before.pair(y, 1);
        let [c3, e3] = self.pair(y, 3);
        let [n, p] = [self.row(y), before.row(y)];
        let ([n2, m2], [p2, q2]) = (self.pair(y, 2), before.pair(y, 2));
        let ([n4, m4], [p4, q4]) = (self.pair(y, 4), before.pair(y, 4));
        for (block, line) in line.chunks_mut(LANES * T::BYTES).enumerate() {
            let at = block * LANES * T::BYTES;
            let [c, e, c0, e0, c3, e3, n, p, n2, m2, p2, q2, n4, m4, p4, q4] =
                [c, e, c0, e0, c3, e3, n, p, n2, m2, p2, q2, n4, m4, p4, q4]
                    .map(|row| load::<T>(&row[at..]));
            let values: [T::Wide; LANES] = std::array::from_fn(|x| {
                let (c, e, n, p) = (c[x], e[x], n[x], p[x]);
                let (up, down) = (n2[x] + p2[x], m2[x] + q2[x]);
                let far = n4[x] + m4[x] + p4[x] + q4[x];
                let between = (n + p) >> 1;
                let change = distance(n, p);
                let around = (distance(c0[x], c) + distance(e0[x], e)) >> 1;
                let moved = (change >> 1).max(around);
                // What the lines around it allow.
                let (above, below) = (between - c, between - e);
                let (more, less) = ((up >> 1) - c, (down >> 1) - e);
                let most = above.max(below).max(more.min(less));
                let least = above.min(below).min(more.max(less));
                let rest = T::Wide::default();
                let range = if moved == rest { rest } else { moved.max(least).max(rest - most) };
                let [near, wide, both, next, far] =
                    [c + e, c3[x] + e3[x], n + p, up + down, far].map(Into::into);
                // M. Weston's filters, in 1/8192: of one field, and of three.
                let spatial = 5077 * near - 981 * wide;
                let detail = (5570 * both - 3801 * next + 1016 * far) >> 2;
                let temporal = detail + 4309 * near - 213 * wide;
                let has_edge = distance(c, e) > change;
                let found = T::narrow(if has_edge { temporal } else { spatial } >> 13);
                found.max(between - range).min(between + range)
            });
            for (value, to) in values.iter().zip(line.chunks_exact_mut(T::BYTES)) {
                T::write((*value).into(), to);
            }
        }
    }
}

/// The next values of a row, which may end before.
fn load<T: Sample>(row: &[u8]) -> [T::Wide; LANES] {
    let mut values = [T::Wide::default(); LANES];
    for (value, bytes) in values.iter_mut().zip(row.chunks_exact(T::BYTES)) {
        *value = T::widen(bytes);
    }
    values
}

fn distance<V: Value>(a: V, b: V) -> V {
    a.max(b) - a.min(b)
}

fn chunks<T: Sample>(row: &[u8]) -> std::slice::ChunksExact<'_, u8> {
    row.chunks_exact(T::BYTES)
}

/// What is computed with: the narrower, the more at once.
pub(crate) trait Value:
    Copy + Ord + Default + Into<i32> + Add<Output = Self> + Sub<Output = Self> + Shr<u32, Output = Self>
{
}

impl Value for i16 {}
impl Value for i32 {}

/// A value of a pixel's component.
pub(crate) trait Sample {
    const BYTES: usize;
    /// Holds sums of eight values.
    type Wide: Value;
    fn widen(bytes: &[u8]) -> Self::Wide;
    /// Of a value that fits.
    fn narrow(value: i32) -> Self::Wide;
    fn read(bytes: &[u8]) -> i32 {
        Self::widen(bytes).into()
    }
    /// Writes the nearest value that it can have.
    fn write(value: i32, bytes: &mut [u8]);
}

impl Sample for u8 {
    const BYTES: usize = 1;
    type Wide = i16;

    fn widen(bytes: &[u8]) -> i16 {
        i16::from(bytes[0])
    }

    fn narrow(value: i32) -> i16 {
        i16::try_from(value.clamp(i16::MIN.into(), i16::MAX.into())).unwrap_or_default()
    }

    fn write(value: i32, bytes: &mut [u8]) {
        bytes[0] = Self::try_from(value.clamp(0, 0xff)).unwrap_or_default();
    }
}

impl Sample for u16 {
    const BYTES: usize = 2;
    type Wide = i32;

    fn widen(bytes: &[u8]) -> i32 {
        i32::from(Self::from_le_bytes([bytes[0], bytes[1]]))
    }

    fn narrow(value: i32) -> i32 {
        value
    }

    fn write(value: i32, bytes: &mut [u8]) {
        let value = Self::try_from(value.clamp(0, 0xffff)).unwrap_or_default();
        bytes.copy_from_slice(&value.to_le_bytes());
    }
}
