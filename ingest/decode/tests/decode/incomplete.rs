//! A video that lacks frames is recognised.

use std::path::Path;

use crate::videos::{H264, SOURCE, Videos, decode};
use moliceiro_decode::{DecodedVideo, Incomplete};

/// Decodes a video, and checks that every counted frame is delivered.
async fn decoded(path: &Path) -> DecodedVideo {
    let (frames, decoded) = decode(path).await;
    assert_eq!(frames.len() as u64, decoded.frames);
    decoded
}

#[tokio::test]
async fn a_truncated_video_reports_where_it_ends() {
    let videos = Videos::new();
    for (name, arguments) in [
        ("a.mkv", H264),
        ("a.mp4", "-c:v libx264 -pix_fmt yuv420p -movflags +faststart"),
        ("a.webm", "-c:v libvpx -deadline realtime -cpu-used 8"),
        ("mpeg4.avi", "-c:v mpeg4"),
        ("mjpeg.avi", "-c:v mjpeg"),
    ] {
        let whole = videos.make(name, &format!("{SOURCE} {arguments}"));
        let bytes = std::fs::read(&whole).unwrap();
        let decoded =
            decoded(&videos.write(&format!("cut-{name}"), &bytes[..bytes.len() * 6 / 10])).await;
        assert!((10..45).contains(&decoded.decoded), "{name}: {decoded:?}");
        let Some(Incomplete::Truncated { decoded, declared }) = decoded.incomplete else {
            panic!("{name}: {decoded:?}")
        };
        assert!((300_000_000..1_800_000_000).contains(&decoded), "{name}: {decoded}");
        assert!((1_900_000_000..2_100_000_000).contains(&declared), "{name}: {declared}");
    }
}

#[tokio::test]
async fn truncated_flash_video_reports_how_much_is_missing() {
    let videos = Videos::new();
    let bytes = std::fs::read(videos.make("a.flv", &format!("{SOURCE} {H264}"))).unwrap();
    let cut = videos.write("cut.flv", &bytes[..bytes.len() * 6 / 10]);
    let decoded = decoded(&cut).await;
    assert!((10..45).contains(&decoded.decoded), "{decoded:?}");
    let reason = decoded.incomplete.unwrap().to_string();
    assert!(reason.contains("bytes are missing"), "{reason}");
}

#[tokio::test]
async fn a_truncated_fragmented_video_does_not_crash() {
    let videos = Videos::new();
    let sound = "-f lavfi -i sine=duration=2 -c:a aac";
    let whole = videos.make(
        "a.mp4",
        &format!("{SOURCE} {sound} {H264} -g 10 -movflags frag_keyframe+empty_moov"),
    );
    let bytes = std::fs::read(whole).unwrap();
    for tenths in [5, 6, 7] {
        let decoded = decoded(&videos.write("cut.mp4", &bytes[..bytes.len() * tenths / 10])).await;
        assert!(decoded.decoded < 50, "{decoded:?}");
    }
}

#[tokio::test]
async fn a_header_that_declares_more_frames_than_the_file_has() {
    let videos = Videos::new();
    let mut bytes = std::fs::read(videos.make("a.avi", &format!("{SOURCE} -c:v mpeg4"))).unwrap();
    let header = bytes.windows(4).position(|tag| tag == b"avih").unwrap() + 8;
    bytes[header + 16..header + 20].copy_from_slice(&444u32.to_le_bytes());
    let decoded = decoded(&videos.write("lie.avi", &bytes)).await;
    assert_eq!(decoded.decoded, 50);
    assert_eq!(
        decoded.incomplete,
        Some(Incomplete::Truncated { decoded: 2_000_000_000, declared: 17_760_000_000 })
    );
}

#[tokio::test]
async fn frames_destroyed_in_the_middle_are_counted() {
    let videos = Videos::new();
    let mut bytes = std::fs::read(videos.make("a.mp4", &format!("{SOURCE} {H264} -g 10"))).unwrap();
    let middle = bytes.len() * 45 / 100..bytes.len() * 55 / 100;
    bytes[middle].fill(0);
    let decoded = decoded(&videos.write("b.mp4", &bytes)).await;
    assert!((30..50).contains(&decoded.decoded), "{decoded:?}");
    assert_eq!(decoded.incomplete, Some(Incomplete::Damaged { lost: 50 - decoded.decoded }));
}

#[tokio::test]
async fn sound_longer_than_the_video_does_not_matter() {
    let videos = Videos::new();
    let sound = "-f lavfi -i sine=duration=6";
    for (name, codec) in [
        ("a.mp4", H264),
        ("a.mkv", H264),
        ("a.avi", "-c:v mpeg4"),
        ("a.ts", "-c:v mpeg2video -c:a mp2"),
    ] {
        let decoded = decoded(&videos.make(name, &format!("{SOURCE} {sound} {codec}"))).await;
        assert_eq!((decoded.decoded, decoded.incomplete), (50, None), "{name}");
    }
}

#[tokio::test]
async fn frames_hidden_by_an_edit_list_are_not_missing() {
    let videos = Videos::new();
    let whole = videos.make("a.mp4", &format!("{SOURCE} {H264} -g 100"));
    // A copy can only start at a key frame: the edit list hides what lies before half a second.
    let cut = videos.make("b.mp4", &format!("-ss 0.5 -i {} -c copy", whole.display()));
    let decoded = decoded(&cut).await;
    assert!((37..=39).contains(&decoded.decoded), "{decoded:?}");
    assert_eq!(decoded.incomplete, None);
}
