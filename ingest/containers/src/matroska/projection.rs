//! How a track says that its pictures are to be turned (RFC 9559, 5.1.4.1.28.41 to 46).

use std::fs::File;
use std::io;

use super::VIDEO;
use super::search::Search;

const PROJECTION: u32 = 0x7670;
const PROJECTION_TYPE: u32 = 0x7671;
const POSE_YAW: u32 = 0x7673;
const POSE_ROLL: u32 = 0x7675;

/// How a flat picture is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rotation {
    /// Whether left and right are exchanged before it is turned.
    pub is_mirrored: bool,
    /// Degrees anticlockwise.
    pub anticlockwise: f64,
}

/// The rotation of a video track, whose number counts the video tracks of the file from 1. `None`
/// if the file is not Matroska, or says nothing.
///
/// # Errors
///
/// The file cannot be read.
pub fn rotation(file: &mut File, number: u32) -> io::Result<Option<Rotation>> {
    let Some((mut search, entry)) = Search::track(file, number)? else { return Ok(None) };
    let Some(video) = search.within(entry.clone(), VIDEO)? else { return Ok(None) };
    let Some(projection) = search.within(video, PROJECTION)? else { return Ok(None) };
    if search.unsigned(projection.clone(), PROJECTION_TYPE)?.unwrap_or(0) != 0 {
        return Ok(None);
    }
    let mut angle = |id| -> io::Result<f64> {
        let Some(bytes) = search.bytes(projection.clone(), id, 8)? else { return Ok(0.0) };
        let angle = match bytes[..] {
            [a, b, c, d] => f32::from_be_bytes([a, b, c, d]).into(),
            [a, b, c, d, e, f, g, h] => f64::from_be_bytes([a, b, c, d, e, f, g, h]),
            _ => 0.0,
        };
        Ok(if angle.is_finite() { angle } else { 0.0 })
    };
    let is_mirrored = angle(POSE_YAW)?.abs() == 180.0;
    let anticlockwise = angle(POSE_ROLL)?;
    let rotation = Rotation { is_mirrored, anticlockwise };
    Ok((rotation != Rotation::default()).then_some(rotation))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::io::Write;

    use super::*;

    const TURNED: &[u8] = include_bytes!("../../../decode/tests/media/matroska-roll-90.mkv");

    fn rotation_of(bytes: &[u8], number: u32) -> Option<Rotation> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        rotation(&mut file, number).unwrap()
    }

    #[test]
    fn the_angle_of_the_wanted_track_is_read() {
        let expected = Some(Rotation { is_mirrored: false, anticlockwise: 90.0 });
        assert_eq!(rotation_of(TURNED, 1), expected);
        assert_eq!(rotation_of(TURNED, 2), None);
        assert_eq!(rotation_of(b"no Matroska", 1), None);
    }

    #[test]
    fn no_damage_makes_it_fail_or_hang() {
        for end in 0..600 {
            rotation_of(&TURNED[..end], 1);
        }
        for at in 0..600 {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bytes = TURNED.to_vec();
                bytes[at] = value;
                rotation_of(&bytes, 1);
            }
        }
    }
}
