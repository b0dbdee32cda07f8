use gstreamer_video::VideoOrientationMethod as Method;

use crate::geometry::Orientation;

const ORIENTATION: u16 = 0x0112;

/// The orientation in a block of Exif, which is a TIFF (Exif 2.32, 4.5 and 4.6.4).
pub(super) fn orientation(exif: &[u8]) -> Orientation {
    let exif = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    read(exif).map_or_else(Orientation::default, from_tag)
}

/// The orientation that a tag of TIFF or Exif names.
pub(super) fn from_tag(value: u16) -> Orientation {
    Orientation::from_method(match value {
        2 => Method::Horiz,
        3 => Method::_180,
        4 => Method::Vert,
        5 => Method::UlLr,
        6 => Method::_90r,
        7 => Method::UrLl,
        8 => Method::_90l,
        _ => Method::Identity,
    })
}

fn read(exif: &[u8]) -> Option<u16> {
    let is_little = match exif.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let u16_at = |at: usize| {
        let bytes = exif.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if is_little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let u32_at = |at: usize| {
        let bytes = exif.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if is_little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    };
    let table = u32_at(4)? as usize;
    let entries = usize::from(u16_at(table)?);
    let entry = (0..entries)
        .map(|entry| table + 2 + 12 * entry)
        .take_while(|at| *at < exif.len())
        .find(|at| u16_at(*at) == Some(ORIENTATION))?;
    u16_at(entry + 8)
}
