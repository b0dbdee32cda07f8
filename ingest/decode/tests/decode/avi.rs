//! AVI: what its chunks say.

use moliceiro_decode::Incomplete;

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
