use std::io::Write;

use super::*;

fn chunk(id: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let padding = &[0][..data.len() % 2];
    [id, &u32::try_from(data.len()).unwrap().to_le_bytes()[..], data, padding].concat()
}

fn list(id: &[u8; 4], kind: &[u8; 4], chunks: &[Vec<u8>]) -> Vec<u8> {
    chunk(id, &[&kind[..], &chunks.concat()].concat())
}

fn stream(kind: &[u8; 4], compression: &[u8; 4], flags: u8) -> Vec<u8> {
    let header = [&kind[..], compression, &[flags, 0, 0, 0]].concat();
    let format = [&[0; 16][..], compression].concat();
    list(b"LIST", b"strl", &[chunk(b"strh", &header), chunk(b"strf", &format)])
}

/// A disabled video, sound, and a video of three frames and a repeated one.
fn film() -> Vec<u8> {
    let streams =
        [stream(b"vids", b"cvid", 1), stream(b"auds", &[0; 4], 0), stream(b"vids", b"MJPG", 0)];
    let record = list(b"LIST", b"rec ", &[chunk(b"02dc", b"abc"), chunk(b"02dc", b"")]);
    let movie = [chunk(b"02dc", b"a"), chunk(b"01wb", b"ab"), record, chunk(b"JUNK", b"")];
    let header = list(b"LIST", b"hdrl", &[chunk(b"avih", &[0; 56]), streams.concat()]);
    let first =
        list(b"RIFF", b"AVI ", &[header, list(b"LIST", b"movi", &movie), chunk(b"idx1", &[0; 16])]);
    let more = list(b"LIST", b"movi", &[chunk(b"ix02", &[1; 4]), chunk(b"02db", b"abcd")]);
    [first, list(b"RIFF", b"AVIX", &[more])].concat()
}

fn contents(bytes: &[u8]) -> Contents {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    inspect(&mut file).unwrap()
}

#[test]
fn chunks_with_data_are_frames_in_every_list() {
    let film = film();
    assert!(is_avi(&film));
    let contents = contents(&film);
    let tracks: Vec<_> = contents
        .tracks
        .iter()
        .map(|track| (track.number, track.codec, track.is_default, track.frames))
        .collect();
    assert_eq!(
        tracks,
        [(1, Some("Cinepak"), false, Some(0)), (2, Some("Motion JPEG"), true, Some(3))]
    );
    assert_eq!(contents.faults, []);
}

#[test]
fn chunks_of_mpeg4_may_repeat_a_frame_or_hold_two() {
    let coded = [&[0, 0, 1, 0xb6, 0x50][..], &[9; 10]].concat();
    let repeated = vec![0, 0, 1, 0xb6, 0x51, 9, 9];
    let encoder = |mark: &[u8]| [&b"\0\0\x01\xb2DivX503b1393"[..], mark, &coded].concat();
    let film = |chunks: &[Vec<u8>]| {
        let header = list(b"LIST", b"hdrl", &[stream(b"vids", b"XVID", 0)]);
        let chunks: Vec<_> = chunks.iter().map(|data| chunk(b"00dc", data)).collect();
        list(b"RIFF", b"AVI ", &[header, list(b"LIST", b"movi", &chunks)])
    };
    let counted = |chunks: &[Vec<u8>]| {
        let track = &contents(&film(chunks)).tracks[0];
        (track.frames, track.maybe_hidden)
    };
    let two = [&coded[..], &coded].concat();
    assert_eq!(counted(&[encoder(b""), coded.clone(), repeated.clone()]), (Some(3), 1));
    assert_eq!(counted(&[encoder(b"p"), two.clone(), repeated, coded.clone()]), (Some(4), 0));
    // Two starts in a stream that is not packed are a damage.
    assert_eq!(counted(&[encoder(b""), two]), (Some(2), 0));
}

#[test]
fn files_appended_to_each_other_are_parts_whose_frames_all_count() {
    let film = film();
    let two = contents(&film.repeat(2));
    assert_eq!(two.parts, [0, film.len() as u64]);
    assert_eq!(two.tracks.len(), 2);
    assert_eq!(two.tracks[1].frames, Some(6));
    assert_eq!(contents(&film).parts, [0]);
}

#[test]
fn a_file_without_its_end_is_truncated_but_one_without_its_index_is_not() {
    let film = film();
    assert_eq!(contents(&film[..film.len() - 2]).faults, [Fault::Truncated { missing: 2 }]);
    let index = film.windows(4).position(|bytes| bytes == b"idx1").unwrap();
    assert_eq!(contents(&film[..index]).faults, []);
}

#[test]
fn a_recording_whose_lengths_were_never_written_is_whole() {
    for size in NOT_YET_KNOWN {
        let mut film = film();
        let index = film.windows(4).position(|bytes| bytes == b"idx1").unwrap();
        film.truncate(index);
        let movie = film.windows(4).position(|bytes| bytes == b"movi").unwrap();
        film[4..8].copy_from_slice(&size.to_le_bytes());
        film[movie - 4..movie].copy_from_slice(&size.to_le_bytes());
        let contents = contents(&film);
        assert_eq!((contents.tracks[1].frames, contents.faults), (Some(2), vec![]));
    }
}

#[test]
fn a_chunk_that_is_not_one_is_a_damage_unless_another_follows_it() {
    let header = list(b"LIST", b"hdrl", &[stream(b"vids", b"MJPG", 0)]);
    let film = |chunks: &[Vec<u8>]| {
        let movie = list(b"LIST", b"movi", chunks);
        let film = list(b"RIFF", b"AVI ", &[header.clone(), movie, chunk(b"idx1", &[0; 16])]);
        let found = contents(&film);
        (found.tracks[0].frames, found.tracks[0].maybe_hidden, found.faults)
    };
    let frame = chunk(b"00dc", b"abcd");
    let foreign = [frame.clone(), chunk(b"what", b"ab"), frame.clone()];
    assert_eq!(film(&foreign), (Some(3), 1, vec![]));
    assert_eq!(film(&[frame.clone(), vec![0; 64]]), (None, 0, vec![]));
    let mut wrong = [frame.clone(), frame.clone(), frame].concat();
    wrong[16] ^= 2;
    let at = 12 + u64::try_from(header.len()).unwrap() + 12;
    let damaged = vec![Fault::Damaged { at: at + 26 }];
    assert_eq!(film(&[wrong]), (None, 0, damaged));
}

#[test]
fn a_chunk_that_is_longer_than_its_list_is_a_damage_and_not_a_lost_end() {
    let header = list(b"LIST", b"hdrl", &[stream(b"vids", b"MJPG", 0)]);
    let chunks = vec![chunk(b"00dc", &[1; 40]); 5];
    let film = list(b"RIFF", b"AVI ", &[header, list(b"LIST", b"movi", &chunks)]);
    let third = film.len() - 3 * 48;
    let at = u64::try_from(third).unwrap();
    let mut lossy = film.clone();
    lossy[third + 7] = 1;
    lossy.truncate(film.len() - 10);
    assert_eq!(contents(&lossy).faults, [Fault::Damaged { at }]);
    assert_eq!(contents(&film[..third + 20]).faults, [Fault::Truncated { missing: 3 * 48 - 20 }]);
}

#[test]
fn no_change_of_a_file_makes_it_hang_or_panic() {
    let film = film();
    for at in 0..film.len() {
        for value in [0, 1, 4, 0x30, 0x7f, 0xff, film[at] ^ 1] {
            let mut bytes = film.clone();
            bytes[at] = value;
            contents(&bytes);
        }
        contents(&film[..at]);
    }
}
