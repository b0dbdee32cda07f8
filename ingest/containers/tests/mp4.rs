//! MP4 files as people have them, and damaged ones.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::Write;
use std::path::{Path, PathBuf};

use moliceiro_containers::mp4::{FlatMovie, Placed, flatten};
use moliceiro_containers::{Contents, Fault, inspect};
use proptest::prelude::*;

fn media() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../decode/tests/media")
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(media().join(name)).unwrap()
}

fn read(bytes: &[u8]) -> (Option<Contents>, Option<FlatMovie>) {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    (inspect(&mut file).unwrap(), flatten(&file, 1).unwrap())
}

#[test]
fn the_count_is_what_a_player_shows() {
    for (name, codec, frames) in [
        ("trim-copy-ss6-t3.mp4", "H.264", 77),
        ("trim-copy-ss6-t3.mov", "H.264", 77),
        ("trim-copy-hevc.mp4", "HEVC", 77),
        ("trim-copy-to-end.mp4", "H.264", 50),
        ("audio-6x-longer.mp4", "H.264", 40),
        ("audio-6x-longer.mov", "H.264", 40),
        ("video-starts-late.mp4", "H.264", 40),
        ("mdhd-duration-30x-short.mp4", "H.264", 40),
        ("timestamps-start-at-100s.mp4", "H.264", 40),
        ("frag_keyframe-without-empty_moov.mp4", "H.264", 40),
        ("dnxhr.mov", "DNxHR", 3),
        ("jpeg2000.mov", "JPEG 2000", 3),
    ] {
        let (contents, movie) = read(&bytes(name));
        let contents = contents.unwrap();
        assert_eq!(contents.faults, [], "{name}");
        let track = contents.default_track().unwrap();
        assert_eq!((track.codec, track.frames), (Some(codec), Some(frames)), "{name}");
        assert_eq!(movie.unwrap().frames(), frames, "{name}");
    }
}

#[test]
fn data_behind_the_end_of_the_file_is_missing() {
    let (contents, movie) = read(&bytes("fragmented-truncated.mp4"));
    let faults = contents.unwrap().faults;
    assert!(
        matches!(faults[..], [Fault::FramesMissing { missing, expected }] if expected - missing == 26),
        "{faults:?}"
    );
    assert_eq!(movie.unwrap().frames(), 26);
}

#[test]
fn a_file_without_its_index_says_so() {
    let whole = bytes("trim-copy-ss6-t3.mp4");
    let (contents, movie) = read(&whole[..whole.len() / 2]);
    assert_eq!(contents.unwrap().faults, [Fault::NoIndex]);
    assert_eq!(movie, None);
}

#[test]
fn a_table_that_claims_billions_of_frames_takes_no_memory() {
    let mut bytes = bytes("mdhd-duration-30x-short.mp4");
    let sizes = bytes.windows(4).position(|kind| kind == b"stsz").unwrap() + 8;
    for size in [1u32, 16, 1000] {
        bytes[sizes..][..4].copy_from_slice(&size.to_be_bytes());
        bytes[sizes + 4..][..4].copy_from_slice(&u32::MAX.to_be_bytes());
        let (_, movie) = read(&bytes);
        assert!(movie.is_none_or(|movie| movie.header().len() < 1 << 20));
    }
}

#[test]
fn a_frame_before_the_edit_is_hidden() {
    let (_, movie) = read(&bytes("trim-copy-ss6-t3.mp4"));
    let movie = movie.unwrap();
    assert_eq!(movie.place(0), Placed::Hidden);
    let times = (0..1000).map(|n| n * 20_000_000);
    let shown: Vec<_> = times.map(|time| movie.place(time)).collect();
    assert!(shown.contains(&Placed::Shown(0)));
}

fn originals() -> impl Strategy<Value = Vec<u8>> {
    prop::sample::select(vec![
        "trim-copy-ss6-t3.mov",
        "frag_keyframe-without-empty_moov.mp4",
        "audio-6x-longer.mp4",
        "fragmented-truncated.mp4",
    ])
    .prop_map(|name| {
        let mut bytes = bytes(name);
        // The data says nothing about the container: most of it is left out.
        let data = bytes.windows(4).position(|kind| kind == b"mdat").unwrap() + 12;
        let next = bytes.windows(4).skip(data).position(|kind| kind == b"moov" || kind == b"moof");
        let end = next.map_or(bytes.len(), |next| data + next - 4);
        bytes.drain(data..end.max(data));
        bytes
    })
}

proptest! {
    #[test]
    fn damaged_files_are_read_without_a_panic(
        original in originals(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        end in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let mut bytes = original;
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if is_cut {
            bytes.truncate(end.index(bytes.len()));
        }
        let (_, movie) = read(&bytes);
        if let Some(movie) = movie {
            prop_assert!(movie.header().len() < 4 << 20);
            for time in [0, 1, 1_000_000_000, u64::MAX] {
                movie.place(time);
            }
        }
    }
}
