//! Matroska and WebM, as programs other than a plain encoder write them.

use std::path::{Path, PathBuf};

use moliceiro_decode::{DecodeError, DecodeSettings, FrameSelection, Incomplete, Notice};

use crate::videos::{H264, SOURCE, Videos, decode, decode_with, settings};

fn media(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/media").join(name)
}

fn of_track(video_track: u32) -> DecodeSettings {
    let selection = FrameSelection { video_track: Some(video_track), ..FrameSelection::every(1) };
    DecodeSettings { selection, ..settings() }
}

#[tokio::test]
async fn times_that_do_not_start_at_0_are_complete() {
    for (name, frames) in [("timestamps-start-at-100s.mkv", 40), ("copyts-cut.mkv", 149)] {
        let (_, decoded) = decode(&media(name)).await;
        assert_eq!((decoded.decoded, decoded.incomplete), (frames, None), "{name}");
        assert_eq!(decoded.notices, [], "{name}");
    }
}

#[tokio::test]
async fn appended_files_are_decoded_one_after_the_other() {
    let (frames, decoded) = decode(&media("two-mkv-appended.mkv")).await;
    assert_eq!((decoded.decoded, decoded.incomplete), (80, None));
    assert_eq!(decoded.duration, Some(3_200_000_000));
    let times: Vec<_> = frames.iter().map(|frame| frame.pts.unwrap()).collect();
    assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
    let videos = Videos::new();
    // A recording that is not seekable declares no lengths.
    let webm = "-c:v libvpx -deadline realtime -cpu-used 8 -live 1";
    let bytes = std::fs::read(videos.make("a.webm", &format!("{SOURCE} {webm}"))).unwrap();
    let three = videos.write("three.webm", &bytes.repeat(3));
    let (_, decoded) = decode(&three).await;
    assert_eq!((decoded.decoded, decoded.incomplete), (150, None));
}

#[tokio::test]
async fn an_appended_file_that_is_truncated_is_incomplete() {
    let videos = Videos::new();
    let bytes = std::fs::read(media("two-mkv-appended.mkv")).unwrap();
    let (_, decoded) = decode(&videos.write("cut.mkv", &bytes[..bytes.len() * 8 / 10])).await;
    assert!((50..80).contains(&decoded.decoded), "{decoded:?}");
    assert!(decoded.incomplete.is_some(), "{decoded:?}");
}

#[tokio::test]
async fn the_marked_video_track_is_decoded_and_a_notice_names_the_others() {
    let path = media("two-videos-second-is-default.mkv");
    let (frames, decoded) = decode(&path).await;
    assert_eq!((frames[0].letterbox.source.width, decoded.decoded), (640, 40));
    let others = vec![(1, Some("H.264".into()))];
    assert_eq!(decoded.notices, [Notice::OtherVideoTracks { decoded: 2, others }]);
    let (frames, decoded) = decode_with(&path, of_track(1)).await;
    assert_eq!((frames[0].letterbox.source.width, decoded.unwrap().decoded), (160, 5));
    let (_, error) = decode_with(&path, of_track(3)).await;
    assert!(matches!(error, Err(DecodeError::NoSuchTrack { wanted: 3, tracks: 2, .. })));
}

#[tokio::test]
async fn the_number_of_a_track_is_its_place_in_every_container() {
    let videos = Videos::new();
    let three =
        format!("{SOURCE} -map 0 -map 0 -map 0 -s:v:0 64x64 -s:v:1 128x128 -s:v:2 192x192 {H264}");
    for name in ["a.mp4", "a.mov", "a.mkv", "a.ts", "a.avi"] {
        let path = videos.make(name, &three);
        for track in 1..=3 {
            let (frames, decoded) = decode_with(&path, of_track(track)).await;
            let decoded = decoded.unwrap();
            assert_eq!(frames[0].letterbox.source.width, 64 * track, "{name}");
            assert_eq!((decoded.decoded, decoded.incomplete), (50, None), "{name}");
            assert_eq!(decoded.notices.len(), 1, "{name}");
        }
        let (_, error) = decode_with(&path, of_track(4)).await;
        assert!(
            matches!(error, Err(DecodeError::NoSuchTrack { wanted: 4, tracks: 3, .. })),
            "{name}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_recording_that_was_interrupted_is_truncated() {
    let videos = Videos::new();
    let live = videos.make("live.mkv", &format!("{SOURCE} {H264} -g 10 -live 1"));
    let (_, whole) = decode(&live).await;
    assert_eq!((whole.decoded, whole.incomplete), (50, None));
    let bytes = std::fs::read(live).unwrap();
    let (_, cut) = decode(&videos.write("cut.mkv", &bytes[..bytes.len() * 6 / 10])).await;
    assert!((10..45).contains(&cut.decoded), "{cut:?}");
    assert!(matches!(cut.incomplete, Some(Incomplete::Container(_))), "{cut:?}");
}

#[tokio::test]
async fn a_damaged_index_does_not_matter() {
    let videos = Videos::new();
    let path = videos.make("a.mkv", &format!("{SOURCE} -c:v mpeg2video -bf 2 -g 12"));
    let whole = std::fs::read(path).unwrap();
    let find = |id: [u8; 4]| whole.windows(4).rposition(|bytes| bytes == id).unwrap();
    // An entry of the cues, and of the list of elements, that is longer than its parent.
    for at in [find([0x1c, 0x53, 0xbb, 0x6b]) + 6, find([0x11, 0x4d, 0x9b, 0x74]) + 6] {
        let mut bytes = whole.clone();
        bytes[at..at + 16].fill(0x7f);
        let (frames, decoded) = decode(&videos.write("b.mkv", &bytes)).await;
        assert_eq!((frames.len(), decoded.incomplete), (50, None), "{at}");
    }
}
