//! ASF: what its media objects say.

use moliceiro_containers::Fault;
use moliceiro_decode::Incomplete;

use crate::videos::{SOUND, SOURCE, Videos, decode};

/// Bytes of a packet, as ffmpeg writes them.
const PACKET: usize = 3200;

#[tokio::test]
async fn frames_in_packets_that_are_missing_or_zeroed_are_counted() {
    let videos = Videos::new();
    for codec in ["wmv1", "wmv2", "msmpeg4", "mpeg4 -bf 2", "mjpeg", "libx264 -bf 3"] {
        let sound = format!("{SOUND} -map 0:v -map 1:a");
        let path = videos.make("a.wmv", &format!("{SOURCE} {sound} -c:v {codec} -b:v 2M -f asf"));
        let (_, whole) = decode(&path).await;
        assert_eq!((whole.decoded, whole.incomplete), (50, None), "{codec}");
        let bytes = std::fs::read(path).unwrap();
        let data = bytes.windows(4).position(|id| id == b"\x36\x26\xb2\x75").unwrap() + 50;
        let packets = (bytes.len() - data) / PACKET;
        let from = data + packets / 2 * PACKET;
        let mut zeroed = bytes.clone();
        zeroed[from..from + 8 * PACKET].fill(0);
        let (_, decoded) = decode(&videos.write("b.wmv", &zeroed)).await;
        assert!(decoded.incomplete.is_some(), "{codec}: {} frames", decoded.decoded);
        let mut flipped = bytes;
        // The length of the first payload.
        flipped[from + 4] ^= 0x40;
        let (_, decoded) = decode(&videos.write("c.wmv", &flipped)).await;
        let is_noticed = matches!(
            decoded.incomplete,
            Some(Incomplete::Container(Fault::PacketsLost { .. } | Fault::PicturesMissing { .. }))
        );
        assert!(is_noticed, "{codec}: {:?}", decoded.incomplete);
    }
}
