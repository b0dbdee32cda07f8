//! AVI: what its chunks say.

use moliceiro_decode::{DecodedFrame, Incomplete};

use crate::videos::{SOURCE, Videos, decode};

#[tokio::test]
async fn frames_that_a_recorder_dropped_are_not_missing() {
    let videos = Videos::new();
    let select = "-vf select='not(mod(n,3))+lt(n,10)' -fps_mode vfr -enc_time_base 1:25";
    for codec in ["mjpeg", "mpeg4", "libx264", "ffv1"] {
        let path = videos.make("a.avi", &format!("{SOURCE} {select} -c:v {codec}"));
        let (_, decoded) = decode(&path).await;
        assert_eq!((decoded.decoded, decoded.incomplete), (23, None), "{codec}");
    }
}

#[tokio::test]
async fn chunks_that_the_index_leaves_out_are_reported() {
    let videos = Videos::new();
    let mut bytes = std::fs::read(videos.make("a.avi", &format!("{SOURCE} -c:v mjpeg"))).unwrap();
    let index = bytes.windows(4).rposition(|tag| tag == b"idx1").unwrap();
    let size = u32::from_le_bytes(bytes[index + 4..index + 8].try_into().unwrap());
    bytes[index + 4..index + 8].copy_from_slice(&(size - 5 * 16).to_le_bytes());
    bytes.truncate(index + 8 + (size as usize) - 5 * 16);
    let (_, decoded) = decode(&videos.write("b.avi", &bytes)).await;
    match decoded.incomplete {
        None => assert_eq!(decoded.decoded, 50),
        Some(Incomplete::Miscounted { decoded: counted, expected: 50 }) => assert!(counted < 50),
        Some(Incomplete::Truncated { .. }) => assert!(decoded.decoded < 50),
        other => panic!("{other:?}"),
    }
}

/// Where the data of each chunk with video lies.
fn chunks(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let movie = bytes.windows(4).position(|tag| tag == b"movi").unwrap();
    let mut at = movie + 4;
    let mut chunks = Vec::new();
    while &bytes[at..at + 4] != b"idx1" {
        let size = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap()) as usize;
        chunks.extend((&bytes[at..at + 4] == b"00dc").then_some(at + 8..at + 8 + size));
        at += 8 + size + size % 2;
    }
    chunks
}

#[tokio::test]
async fn a_frame_more_or_less_than_chunks_is_reported() {
    let videos = Videos::new();
    for codec in ["mpeg4", "libxvid", "msmpeg4", "wmv2"] {
        let path = videos.make("a.avi", &format!("{SOURCE} -c:v {codec} -q:v 5"));
        let whole = std::fs::read(path).unwrap();
        let chunks = chunks(&whole);
        assert_eq!(chunks.len(), 50);
        let mut fewer = whole.clone();
        fewer[chunks[20].clone()].fill(0);
        let (_, decoded) = decode(&videos.write("b.avi", &fewer)).await;
        let expected = Incomplete::Miscounted { decoded: decoded.decoded, expected: 50 };
        let is_shown = decoded.decoded == 50;
        assert_eq!(decoded.incomplete, (!is_shown).then_some(expected), "{codec}");
        if codec != "mpeg4" {
            continue;
        }
        assert_eq!(decoded.decoded, 49);
        // A picture within another one.
        let mut more = whole;
        let (from, half) = (chunks[30].start, chunks[30].len() / 2);
        more.copy_within(from..from + half, from + half);
        let (_, decoded) = decode(&videos.write("c.avi", &more)).await;
        let expected = Incomplete::Miscounted { decoded: 51, expected: 50 };
        assert_eq!(decoded.incomplete, Some(expected));
    }
}

#[tokio::test]
async fn frames_packed_into_a_chunk_are_all_decoded() {
    let videos = Videos::new();
    let path = videos.make("a.avi", &format!("{SOURCE} -c:v mpeg4 -bf 1 -q:v 5"));
    let whole = std::fs::read(path).unwrap();
    let chunks = chunks(&whole);
    let picture = |index: usize| whole[chunks[index].clone()].to_vec();
    // The first, then each two that follow as one, and what stands for the second of them.
    let first = picture(0);
    let start = first.windows(4).position(|code| code == [0, 0, 1, 0xb6]).unwrap();
    let (header, coded) = first.split_at(start);
    let mut packed = vec![[header, b"\0\0\x01\xb2DivX503b1393p", coded].concat()];
    for index in (1..chunks.len() - 1).step_by(2) {
        packed.push([picture(index), picture(index + 1)].concat());
        packed.push(vec![0, 0, 1, 0xb6, 0x51, 0, 0x40]);
    }
    let movie: Vec<u8> = packed
        .iter()
        .flat_map(|data| {
            let size = u32::try_from(data.len()).unwrap().to_le_bytes();
            [&b"00dc"[..], &size, data, &[0][..data.len() % 2]].concat()
        })
        .collect();
    let tag = whole.windows(4).position(|tag| tag == b"movi").unwrap();
    let mut bytes = [&whole[..tag + 4], &movie].concat();
    let size = u32::try_from(movie.len() + 4).unwrap().to_le_bytes();
    bytes[tag - 4..tag].copy_from_slice(&size);
    let size = u32::try_from(bytes.len() - 8).unwrap().to_le_bytes();
    bytes[4..8].copy_from_slice(&size);
    let packed = videos.write("b.avi", &bytes);
    let copy = format!("-fflags +genpts -i {} -c copy", packed.display());
    for file in [packed, videos.make("b.mkv", &copy)] {
        let (_, decoded) = decode(&file).await;
        let path = file.display();
        assert_eq!((decoded.decoded, decoded.incomplete), (49, None), "{path}");
    }
}

/// Bytes are missing before the index, as on a disc with unreadable places.
#[tokio::test]
async fn what_is_left_of_a_damaged_avi_is_decoded() {
    let videos = Videos::new();
    for (name, codec) in [("mpeg4.avi", "-c:v mpeg4 -q:v 3 -g 10"), ("mjpeg.avi", "-c:v mjpeg")] {
        let whole = std::fs::read(videos.make(name, &format!("{SOURCE} {codec}"))).unwrap();
        let mut random = fastrand::Rng::with_seed(7);
        for (lost, length) in [(1, 188), (2, 188), (3, 188), (1, 1), (2, 333), (3, 77)] {
            let mut bytes = whole.clone();
            for _ in 0..lost {
                let start = random.usize(bytes.len() / 4..bytes.len() * 3 / 4);
                bytes.drain(start..start + length);
            }
            let damaged = videos.write(&format!("{lost}-{name}"), &bytes);
            let (frames, decoded) = decode(&damaged).await;
            let place = format!("{name}: {} frames without {lost} × {length}", frames.len());
            assert!(frames.len() >= 50 - 4 * lost, "{place}");
            assert!(decoded.incomplete.is_some(), "{place}");
        }
    }
}

/// Where a chunk of the headers starts.
fn place(bytes: &[u8], id: &[u8; 4]) -> usize {
    bytes.windows(4).position(|found| found == id).unwrap()
}

#[tokio::test]
async fn an_avi_that_lost_bytes_before_its_chunks_is_decoded() {
    let videos = Videos::new();
    let encode = format!("{SOURCE} -f lavfi -i sine=duration=2 -c:v mpeg4 -q:v 3 -c:a mp3");
    let whole = std::fs::read(videos.make("a.avi", &encode)).unwrap();
    let times = |frames: &[DecodedFrame]| frames.iter().map(|frame| frame.pts).collect::<Vec<_>>();
    let expected = times(&decode(&videos.write("a.avi", &whole)).await.0);
    let (headers, stuffing) = (place(&whole, b"avih"), place(&whole, b"JUNK"));
    let movie = place(&whole, b"movi") - 8;
    let places = (headers..stuffing).step_by(24).map(|from| (from, 41));
    for (from, length) in places.chain((stuffing..movie - 512).step_by(1510).map(|at| (at, 512))) {
        let mut bytes = whole.clone();
        bytes.drain(from..from + length);
        let (frames, decoded) = decode(&videos.write("b.avi", &bytes)).await;
        assert_eq!(decoded.decoded, 50, "{from}");
        assert_eq!(times(&frames), expected, "{from}");
        let incomplete = decoded.incomplete.expect("bytes are missing").to_string();
        assert!(incomplete.contains("its structure is broken at byte "), "{from}: {incomplete}");
    }
}

/// A header under another name is as good as lost.
#[tokio::test]
async fn an_avi_whose_headers_are_damaged_is_decoded() {
    let videos = Videos::new();
    for codec in ["mpeg4", "mjpeg", "libx264"] {
        let encode = format!("{SOURCE} -c:v {codec} -g 10");
        let whole = std::fs::read(videos.make("a.avi", &encode)).unwrap();
        for id in [b"LIST", b"hdrl", b"avih", b"strl", b"strh", b"vids", b"strf"] {
            let mut bytes = whole.clone();
            bytes[place(&whole, id) + 2] ^= 5;
            let (_, decoded) = decode(&videos.write("b.avi", &bytes)).await;
            let name = String::from_utf8_lossy(id);
            assert_eq!(decoded.decoded, 50, "{codec}, {name}");
            let incomplete = decoded.incomplete.expect("a header is missing").to_string();
            assert!(
                incomplete.contains("its structure is broken at byte "),
                "{name}: {incomplete}"
            );
        }
    }
}
