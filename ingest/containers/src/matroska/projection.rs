//! How a track says that its pictures are to be turned (RFC 9559, 5.1.4.1.28.41 to 46).

use std::fs::File;
use std::io;

use super::ebml::Element;
use super::{EBML, SEGMENT, TRACK_ENTRY, TRACK_TYPE, TRACKS, VIDEO, VIDEO_TYPE};
use crate::reader::Reader;

const PROJECTION: u32 = 0x7670;
const PROJECTION_TYPE: u32 = 0x7671;
const POSE_YAW: u32 = 0x7673;
const POSE_ROLL: u32 = 0x7675;

/// Elements that are read before the tracks; a file with more has no rotation.
const MOST_ELEMENTS: usize = 10_000;

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
    let mut search = Search { reader: Reader::new(file)?, budget: MOST_ELEMENTS, before: number };
    match search.reader.element()? {
        Some(Element { id: EBML, end: Some(end), .. }) => search.reader.go_to(end)?,
        _ => return Ok(None),
    }
    let Some(segment) = search.child(u64::MAX, SEGMENT)? else { return Ok(None) };
    let end = segment.end.unwrap_or(u64::MAX);
    let Some(tracks) = search.child(end, TRACKS)? else { return Ok(None) };
    let end = tracks.end.unwrap_or(u64::MAX);
    while let Some(entry) = search.child(end, TRACK_ENTRY)? {
        let end = entry.end.unwrap_or(end);
        if let Some(found) = search.track(end)? {
            return Ok(found);
        }
        search.reader.go_to(end)?;
    }
    Ok(None)
}

struct Search<'a> {
    reader: Reader<'a>,
    budget: usize,
    /// Video tracks up to the wanted one.
    before: u32,
}

impl Search<'_> {
    /// The next element before `end` with this identifier. The reader is then at its data.
    fn child(&mut self, end: u64, id: u32) -> io::Result<Option<Element>> {
        while self.reader.position() < end.min(self.reader.length()) {
            let Some(left) = self.budget.checked_sub(1) else { return Ok(None) };
            self.budget = left;
            match self.reader.element()? {
                Some(element) if element.id == id => return Ok(Some(element)),
                Some(Element { end: Some(end), .. }) => self.reader.go_to(end)?,
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    /// The rotation of a track, if it is the wanted one.
    fn track(&mut self, end: u64) -> io::Result<Option<Option<Rotation>>> {
        let start = self.reader.position();
        let Some(kind) = self.child(end, TRACK_TYPE)? else { return Ok(None) };
        if self.reader.unsigned(&kind)? != Some(VIDEO_TYPE) {
            return Ok(None);
        }
        self.before = self.before.saturating_sub(1);
        if self.before > 0 {
            return Ok(None);
        }
        self.reader.go_to(start)?;
        let Some(video) = self.child(end, VIDEO)? else { return Ok(Some(None)) };
        let end = video.end.unwrap_or(end);
        let Some(projection) = self.child(end, PROJECTION)? else { return Ok(Some(None)) };
        let (start, end) = (projection.data, projection.end.unwrap_or(end));
        let kind = match self.child(end, PROJECTION_TYPE)? {
            Some(kind) => self.reader.unsigned(&kind)?,
            None => None,
        };
        if kind.unwrap_or(0) != 0 {
            return Ok(Some(None));
        }
        let mut angle = |id| -> io::Result<f64> {
            self.reader.go_to(start)?;
            let Some(element) = self.child(end, id)? else { return Ok(0.0) };
            Ok(self.float(&element)?.filter(|angle| angle.is_finite()).unwrap_or(0.0))
        };
        let is_mirrored = angle(POSE_YAW)?.abs() == 180.0;
        let anticlockwise = angle(POSE_ROLL)?;
        let rotation = Rotation { is_mirrored, anticlockwise };
        Ok(Some((rotation != Rotation::default()).then_some(rotation)))
    }

    fn float(&mut self, element: &Element) -> io::Result<Option<f64>> {
        let size = element.end.map(|end| end.saturating_sub(element.data));
        let Some(bits) = self.reader.unsigned(element)? else { return Ok(None) };
        Ok(match size {
            Some(4) => u32::try_from(bits).ok().map(f32::from_bits).map(f64::from),
            Some(8) => Some(f64::from_bits(bits)),
            _ => None,
        })
    }
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
