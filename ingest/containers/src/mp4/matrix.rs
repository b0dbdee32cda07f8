//! The transformation of a track.

/// The first two columns of the first two rows of a matrix, as 16.16.
type Turn = [i32; 4];

const IDENTITY: Turn = [1 << 16, 0, 0, 1 << 16];

/// A track's header with the movie's transformation applied, and enabled.
pub(super) fn track_header(movie_header: &[u8], track_header: &[u8]) -> Vec<u8> {
    let mut header = track_header.to_vec();
    if let Some(flags) = header.get_mut(3) {
        *flags |= 1;
    }
    let movie_at = if movie_header.first() == Some(&1) { 48 } else { 36 };
    let track_at = if track_header.first() == Some(&1) { 52 } else { 40 };
    if let (Some(movie), Some(track)) = (read(movie_header, movie_at), read(&header, track_at))
        && movie != IDENTITY
        && movie != [0; 4]
    {
        for (value, at) in multiply(track, movie).into_iter().zip([0, 4, 12, 16]) {
            header[track_at + at..][..4].copy_from_slice(&value.to_be_bytes());
        }
    }
    header
}

/// `None` if there is no whole matrix.
fn read(header: &[u8], at: usize) -> Option<Turn> {
    let matrix = header.get(at..at + 36)?;
    let value = |at: usize| super::boxes::i32_at(matrix, at);
    Some([value(0)?, value(4)?, value(12)?, value(16)?])
}

fn multiply([a, b, c, d]: Turn, [e, f, g, h]: Turn) -> Turn {
    let sum = |x: i32, y: i32, z: i32, w: i32| {
        let sum = (i64::from(x) * i64::from(y) + i64::from(z) * i64::from(w)) >> 16;
        i32::try_from(sum).unwrap_or(0)
    };
    [sum(a, e, b, g), sum(a, f, b, h), sum(c, e, d, g), sum(c, f, d, h)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_quarter_turns_are_a_half_turn() {
        let one = 1 << 16;
        let quarter = [0, one, -one, 0];
        assert_eq!(multiply(quarter, quarter), [-one, 0, 0, -one]);
        assert_eq!(multiply(quarter, IDENTITY), quarter);
    }
}
