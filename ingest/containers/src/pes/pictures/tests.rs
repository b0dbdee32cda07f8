use super::*;

/// A picture of two rows.
fn picture(number: u8, kind: u8) -> Vec<u8> {
    let header = [0, 0, 1, 0, number >> 2, number << 6 | kind << 3, 0xff, 0xf8];
    let extension = [0, 0, 1, 0xb5, 0x8f, 0xff, 0xf3, 0x41, 0x80];
    let slices = [0, 0, 1, 1, 9, 9, 9, 0, 0, 1, 2, 9, 9, 9];
    [&header[..], &extension, &slices].concat()
}

fn group() -> Vec<u8> {
    vec![0, 0, 1, 0xb8, 0, 8, 0, 0]
}

fn sequence() -> Vec<u8> {
    let header = [0, 0, 1, 0xb3, 2, 0, 32, 0x13, 0xff, 0xff, 0xe0, 0];
    [&header[..], &[0, 0, 1, 0xb5, 0x14, 0x8a, 0, 1, 0, 0]].concat()
}

fn count(parts: &[Vec<u8>]) -> PictureCount {
    let bytes = parts.concat();
    let mut whole = Pictures::new(PesCodec::Mpeg2);
    whole.push(&bytes);
    let mut pieces = Pictures::new(PesCodec::Mpeg2);
    bytes.chunks(5).for_each(|piece| pieces.push(piece));
    let mut larger = Pictures::new(PesCodec::Mpeg2);
    bytes.chunks(HEADER + 3).for_each(|piece| larger.push(piece));
    let count = whole.finish();
    assert_eq!(larger.finish(), count);
    assert_eq!(pieces.finish(), count);
    count
}

#[test]
fn pictures_of_mpeg2_are_counted_and_their_damages_noticed() {
    let [i, b, p] = [1, 3, 2];
    let open = [sequence(), group(), picture(1, i), picture(0, b), picture(3, p), picture(2, b)];
    let whole = PictureCount { pictures: 4, leading: 1, ..PictureCount::default() };
    assert_eq!(count(&open), whole);
    let middle = [&[picture(5, b)][..], &open].concat();
    assert_eq!(count(&middle), PictureCount { pictures: 5, before_key: 1, ..whole });
    let lost = [&open[..4], &[picture(3, p)], &open].concat();
    assert_eq!(count(&lost), PictureCount { pictures: 7, missing: 1, ..whole });
    let mut rowless = open.clone();
    rowless[4].truncate(24);
    assert_eq!(count(&rowless), PictureCount { damaged: 1, ..whole });
    let mut zeroed = open.clone();
    zeroed[5].splice(21..21, [0; 9]);
    assert_eq!(count(&zeroed), PictureCount { damaged: 1, ..whole });
    let mut headless = open;
    headless[4][3] = 0xb2;
    assert_eq!(count(&headless), PictureCount { pictures: 3, leading: 2, damaged: 1, ..whole });
}

#[test]
fn zeros_are_found_wherever_they_lie() {
    for before in 0..7 {
        let bytes = [&[7; 9][..before], &[0, 0, 1, 9, 9]].concat();
        assert_eq!(next_zeros(&bytes, 0), before);
        assert_eq!(next_zeros(&bytes[..before + 1], 0), before);
    }
    assert_eq!(next_zeros(&[0, 9, 0, 0, 9, 9, 0, 0, 0, 9], 0), 2);
    assert_eq!(next_zeros(&[9, 9], 0), 2);
}

#[test]
fn slices_of_h264_say_what_they_need() {
    // 1, then 011 (I), 010 (B), 0001000 (I, as the whole picture).
    let types = [0b1011_0000, 0b1010_0000, 0b1000_1000].map(|byte| slice_type(&[byte, 0, 0, 0]));
    assert_eq!(types, [Some(2), Some(1), Some(7)]);
}
