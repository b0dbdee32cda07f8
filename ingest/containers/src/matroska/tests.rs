use std::io::Write;

use super::*;

fn element(id: u32, data: &[u8]) -> Vec<u8> {
    let id = id.to_be_bytes().into_iter().skip_while(|byte| *byte == 0);
    let size = (1 << 28 | u32::try_from(data.len()).unwrap()).to_be_bytes();
    id.chain(size).chain(data.iter().copied()).collect()
}

fn without_length(id: u32, data: &[u8]) -> Vec<u8> {
    [&id.to_be_bytes()[..], &[0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], data].concat()
}

fn track(number: u8, codec: &str, is_default: u8) -> Vec<u8> {
    let fields = [
        element(TRACK_NUMBER, &[number]),
        element(TRACK_TYPE, &[1]),
        element(FLAG_DEFAULT, &[is_default]),
        element(CODEC_ID, codec.as_bytes()),
    ];
    element(TRACK_ENTRY, &fields.concat())
}

fn block(track: u8, ticks: i16, flags: u8, data: &[u8]) -> Vec<u8> {
    let [high, low] = ticks.to_be_bytes();
    [&[0x80 | track, high, low, flags], data].concat()
}

fn header() -> Vec<u8> {
    element(EBML, &element(0x4282, b"matroska"))
}

/// Two tracks; the second has a hidden frame and a lace of three.
fn body() -> Vec<u8> {
    let tracks = [track(1, "V_MPEG4/ISO/AVC", 0), track(2, "V_VP8", 1)].concat();
    let first = [
        element(TIMESTAMP, &[100]),
        element(0xec, &[0; 9]),
        element(SIMPLE_BLOCK, &block(1, -10, 0x80, b"x")),
        element(SIMPLE_BLOCK, &block(2, 0, 0x80, &[0x10])),
    ];
    let second = [
        element(TIMESTAMP, &[110]),
        element(BLOCK_GROUP, &element(BLOCK, &block(2, 5, 0x00, &[0x00]))),
        element(BLOCK_GROUP, &element(BLOCK, &block(2, 6, 0x02, &[2, 0x10]))),
        element(SIMPLE_BLOCK, &block(1, 0, 0x80, b"")),
    ];
    [
        element(INFO, &element(TIMESTAMP_SCALE, &[0x0f, 0x42, 0x40])),
        element(TRACKS, &tracks),
        without_length(CLUSTER, &first.concat()),
        without_length(CLUSTER, &second.concat()),
        element(TAGS, b""),
    ]
    .concat()
}

fn contents(bytes: &[u8]) -> Contents {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    inspect(&mut file).unwrap()
}

fn frames(contents: &Contents) -> Vec<Option<u64>> {
    contents.tracks.iter().map(|track| track.frames).collect()
}

#[test]
fn blocks_are_counted_by_track_and_hidden_frames_are_not() {
    for segment in [element(SEGMENT, &body()), without_length(SEGMENT, &body())] {
        let contents = contents(&[header(), segment].concat());
        assert_eq!(frames(&contents), [Some(1), Some(4)]);
        assert_eq!(contents.faults, []);
        let tracks: Vec<_> = contents
            .tracks
            .iter()
            .map(|track| (track.codec, track.is_default, track.start))
            .collect();
        assert_eq!(
            tracks,
            [(Some("H.264"), false, Some(90_000_000)), (Some("VP8"), true, Some(100_000_000))]
        );
    }
}

#[test]
fn files_behind_the_first_are_found_and_counted() {
    for segment in [element(SEGMENT, &body()), without_length(SEGMENT, &body())] {
        let one = [header(), segment].concat();
        let contents = contents(&one.repeat(3));
        let length = one.len() as u64;
        let parts = [0..length, length..2 * length, 2 * length..3 * length];
        assert_eq!(contents.appended(), parts);
        assert_eq!(frames(&contents), [Some(3), Some(12)]);
    }
}

#[test]
fn a_file_that_ends_early_is_truncated_and_a_broken_one_damaged() {
    let whole = [header(), element(SEGMENT, &body())].concat();
    let cut = contents(&whole[..whole.len() - 20]);
    assert_eq!(cut.faults, [Fault::Truncated { missing: 20 }]);
    let mut broken = whole;
    let at = broken.windows(2).position(|bytes| bytes == [0xec, 0x10]).unwrap();
    broken[at] = 0;
    let broken = contents(&broken);
    assert_eq!(broken.faults, [Fault::Damaged { at: at as u64 }]);
    assert_eq!(frames(&broken), [None, None]);
}

#[test]
fn no_change_of_a_file_makes_it_hang_or_panic() {
    let whole = [header(), without_length(SEGMENT, &body())].concat().repeat(2);
    for at in 0..whole.len() {
        for value in [0, 1, 0x08, 0x40, 0x7f, 0x80, 0xff, whole[at] ^ 1] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            contents(&bytes);
        }
        contents(&whole[..at]);
    }
}
