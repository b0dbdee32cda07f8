//! Codecs that have no identifier of their own in Matroska (RFC 9559, 5.1.4.1.22).

use std::fs::File;
use std::io;

use super::search::Search;
use super::{CODEC_ID, VIDEO};
use crate::description::{Description, MOST_BYTES};

const CODEC_PRIVATE: u32 = 0x63a2;
const PIXEL_WIDTH: u32 = 0xb0;
const PIXEL_HEIGHT: u32 = 0xba;

/// How a video track of QuickTime or Video for Windows describes its codec. The number counts the
/// video tracks of the file from 1. `None` if the file is not Matroska, or the codec has an
/// identifier of its own.
///
/// # Errors
///
/// The file cannot be read.
pub fn description(file: &mut File, number: u32) -> io::Result<Option<Description>> {
    let Some((mut search, entry)) = Search::track(file, number)? else { return Ok(None) };
    let codec = search.bytes(entry.clone(), CODEC_ID, 32)?;
    let read = match codec.as_deref() {
        Some(b"V_QUICKTIME") => Description::of_quicktime,
        Some(b"V_MS/VFW/FOURCC") => Description::of_bitmap,
        _ => return Ok(None),
    };
    let private = search.bytes(entry.clone(), CODEC_PRIVATE, MOST_BYTES)?;
    let Some(mut description) = private.as_deref().and_then(read) else { return Ok(None) };
    // Some programs leave the size in the description empty.
    if let Some(video) = search.within(entry, VIDEO)? {
        for (id, length) in
            [(PIXEL_WIDTH, &mut description.width), (PIXEL_HEIGHT, &mut description.height)]
        {
            let declared = search.unsigned(video.clone(), id)?;
            *length = declared.and_then(|length| length.try_into().ok()).unwrap_or(*length);
        }
    }
    Ok(Some(description))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::io::Write;

    use super::super::{EBML, SEGMENT, TRACK_ENTRY, TRACK_TYPE, TRACKS};
    use super::*;

    fn element(id: u32, data: &[u8]) -> Vec<u8> {
        let id = id.to_be_bytes().into_iter().skip_while(|byte| *byte == 0);
        let size = (1 << 28 | u32::try_from(data.len()).unwrap()).to_be_bytes();
        id.chain(size).chain(data.iter().copied()).collect()
    }

    fn film(codec: &str, private: &[u8]) -> Vec<u8> {
        let video = [element(PIXEL_WIDTH, &[128]), element(PIXEL_HEIGHT, &[1, 0])].concat();
        let entry = [
            element(CODEC_PRIVATE, private),
            element(VIDEO, &video),
            element(CODEC_ID, codec.as_bytes()),
            element(TRACK_TYPE, &[1]),
        ];
        let tracks = element(TRACKS, &element(TRACK_ENTRY, &entry.concat()));
        [element(EBML, &[]), element(SEGMENT, &tracks)].concat()
    }

    fn described(bytes: &[u8]) -> Option<Description> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        description(&mut file, 1).unwrap()
    }

    #[test]
    fn the_code_is_in_the_private_data_and_the_size_beside_it() {
        let mut private = vec![0; 90];
        private[3..8].copy_from_slice(b"\x5acvid");
        let found = described(&film("V_QUICKTIME", &private)).unwrap();
        assert_eq!((found.code, found.width, found.height), (*b"cvid", 128, 256));
        let mut private = vec![0; 40];
        private[16..20].copy_from_slice(b"FFVH");
        assert_eq!(described(&film("V_MS/VFW/FOURCC", &private)).unwrap().code, *b"FFVH");
        assert_eq!(described(&film("V_VP8", &private)), None);
    }

    #[test]
    fn no_damage_makes_it_fail_or_hang() {
        let whole = film("V_QUICKTIME", &[7; 90]);
        for at in 0..whole.len() {
            described(&whole[..at]);
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                described(&bytes);
            }
        }
    }
}
