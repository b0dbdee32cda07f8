use std::io::Write;

use proptest::prelude::*;

use super::*;

const PHONE: &[u8] = include_bytes!("../../../decode/tests/media/phone-grid-irot.heic");
const CROPPED: &[u8] = include_bytes!("../../../decode/tests/media/clap.heic");
const GRID: &[u8] = include_bytes!("../../../decode/tests/media/grid.avif");

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn read(bytes: &[u8]) -> Option<HeifPicture> {
    HeifPicture::read(&mut file(bytes)).unwrap()
}

#[test]
fn a_picture_of_a_phone_is_a_turned_grid_of_tiles() {
    let picture = read(PHONE).unwrap();
    assert_eq!((picture.codec, picture.tiles(), picture.columns), (HeifCodec::Hevc, 6, 3));
    assert_eq!((picture.width, picture.height), (190, 124));
    assert_eq!(picture.turns, [Turn::Rotate(3)]);
    assert!(!picture.config.is_empty());
    for tile in 0..6 {
        assert!(picture.read_tile(&mut file(PHONE), tile).unwrap().is_some(), "{tile}");
    }
    assert_eq!(picture.read_tile(&mut file(PHONE), 6).unwrap(), None);
    let cut = &PHONE[..PHONE.len() - 1];
    assert_eq!(picture.read_tile(&mut file(cut), 5).unwrap(), None);
}

#[test]
fn a_clean_aperture_is_a_crop_and_avif_has_grids_too() {
    let crop = Crop { left: 5, top: 2, width: 180, height: 120 };
    assert_eq!(read(CROPPED).unwrap().crop, Some(crop));
    let grid = read(GRID).unwrap();
    assert_eq!((grid.codec, grid.tiles(), grid.columns), (HeifCodec::Av1, 6, 3));
}

#[test]
fn what_is_not_such_a_file_has_no_picture() {
    for bytes in [b"".as_slice(), b"\0\0\0\x08", b"\0\0\0\0meta", &[0xff; 100], &[0; 100]] {
        assert_eq!(read(bytes), None);
        assert_eq!(picture_tracks(&mut file(bytes)).unwrap(), [0u64; 0]);
    }
}

proptest! {
    #[test]
    fn damage_neither_panics_nor_claims_memory(
        which in 0usize..3,
        changes in proptest::collection::vec((0usize..900, any::<u8>()), 1..8),
        length in 1usize..900,
    ) {
        let mut bytes = [PHONE, CROPPED, GRID][which].to_vec();
        bytes.truncate(length);
        for (at, value) in changes {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        let mut file = file(&bytes);
        if let Some(picture) = HeifPicture::read(&mut file).unwrap() {
            for tile in 0..picture.tiles().min(100) {
                let read = picture.read_tile(&mut file, tile).unwrap();
                prop_assert!(read.is_none_or(|read| read.len() <= 100 * bytes.len()));
            }
        }
        picture_tracks(&mut file).unwrap();
    }
}
