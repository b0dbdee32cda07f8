//! Nothing that a file contains makes the readers panic, hang or take much memory.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs::File;
use std::io::Write;
use std::path::Path;

use moliceiro_containers::{PesVideo, inspect};
use proptest::prelude::*;

fn media(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../decode/tests/media");
    std::fs::read(folder.join(name)).unwrap()
}

/// Reads a file as a decoder would. Returns the bytes of its packets.
fn read(bytes: &[u8]) -> usize {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    inspect(&mut file).unwrap();
    let Some(video) = PesVideo::open(&mut file).unwrap() else { return 0 };
    let packets = |part| video.packets(File::try_clone(&file).unwrap(), part);
    let length = |part| packets(part).map(|packet| packet.unwrap().data.len()).sum::<usize>();
    video.programs.iter().flat_map(|program| &program.parts).map(length).sum()
}

/// A program stream of packs, with these bytes as packets of video.
fn program_stream(bytes: &[u8]) -> Vec<u8> {
    let pack = [0, 0, 1, 0xba, 0x44, 0, 4, 0, 4, 1, 0, 0, 3, 0xf8];
    let packets = bytes.chunks(2000).flat_map(|data| {
        let length = u16::try_from(data.len() + 3).unwrap().to_be_bytes();
        [&pack[..], &[0, 0, 1, 0xe0], &length, &[0x80, 0, 0], data].concat()
    });
    packets.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_mutated_file_is_read_to_its_end(
        name in prop::sample::select(vec![
            "ts-codec-changes.ts",
            "ts-two-programs-radio-first.ts",
            "flv-start-end-offset.flv",
            "program stream",
        ]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..200),
        removed in prop::option::of((any::<prop::sample::Index>(), 1..500usize)),
        kept in any::<prop::sample::Index>(),
        head in any::<bool>(),
    ) {
        let mut bytes = match name {
            "program stream" => program_stream(&media("ts-codec-changes.ts")[..60_000]),
            name => media(name),
        };
        let range = if head { 2000 } else { bytes.len() };
        for (at, byte) in changes {
            bytes[at.index(range)] = byte;
        }
        if let Some((at, length)) = removed {
            let at = at.index(bytes.len());
            bytes.drain(at..(at + length).min(bytes.len()));
        }
        bytes.truncate(kept.index(bytes.len()) + 1);
        prop_assert!(read(&bytes) <= 3 * bytes.len());
    }

    #[test]
    fn noise_is_read_to_its_end(
        bytes in prop::collection::vec(any::<u8>(), 0..5000),
        sync in any::<bool>(),
    ) {
        let mut bytes = bytes;
        if sync {
            bytes.iter_mut().step_by(188).for_each(|byte| *byte = 0x47);
        }
        read(&bytes);
        read(&[&b"FLV\x01\x05\0\0\0\x09\0\0\0\0"[..], &bytes].concat());
        read(&[&[0, 0, 1, 0xba][..], &bytes].concat());
    }
}
