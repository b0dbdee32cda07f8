//! Which frames of a real video are delivered when a rate or a range is selected.

use std::path::Path;

use crate::videos::{H264, SOURCE, Videos, decode_with, media, settings};
use moliceiro_decode::{DecodeError, DecodeSettings, DecodedFrame, DecodedVideo, Incomplete};
use moliceiro_messages::{Fps, FrameSelection, Offset, Skipped};

fn selection(fps: Option<f64>, start: Option<f64>, end: Option<f64>) -> FrameSelection {
    let offset = |seconds: f64| Offset::try_from(seconds).unwrap();
    FrameSelection {
        fps: fps.map(|fps| Fps::try_from(fps).unwrap()),
        start: start.map(offset),
        end: end.map(offset),
        ..FrameSelection::every(1)
    }
}

async fn selected(path: &Path, selection: FrameSelection) -> (Vec<DecodedFrame>, DecodedVideo) {
    let (frames, decoded) = decode_with(path, DecodeSettings { selection, ..settings() }).await;
    let decoded = decoded.unwrap();
    assert_eq!(frames.len() as u64, decoded.frames);
    assert!(frames.iter().enumerate().all(|(number, frame)| frame.number == number as u64));
    (frames, decoded)
}

fn indexes(frames: &[DecodedFrame]) -> Vec<u64> {
    frames.iter().map(|frame| frame.index).collect()
}

/// Containers whose times have different units: ticks of their own, milliseconds, 90 kHz; and one
/// that starts late.
fn containers(videos: &Videos) -> Vec<std::path::PathBuf> {
    ["a.mp4", "a.mkv", "a.ts", "a.avi"]
        .map(|name| {
            videos.make(
                name,
                &format!("-f lavfi -i testsrc2=size=160x120:rate=30:duration=2 {H264} -bf 2"),
            )
        })
        .to_vec()
}

#[tokio::test]
async fn a_rate_selects_frames_at_even_distances_in_each_container() {
    let videos = Videos::new();
    for video in containers(&videos) {
        for (fps, step) in [(30.0, 1), (15.0, 2), (10.0, 3), (1.0, 30)] {
            let (frames, decoded) = selected(&video, selection(Some(fps), None, None)).await;
            assert_eq!(
                indexes(&frames),
                (0..60).step_by(step).collect::<Vec<_>>(),
                "{} {fps}",
                video.display()
            );
            assert_eq!((decoded.decoded, decoded.incomplete), (60, None));
        }
    }
}

#[tokio::test]
async fn a_range_keeps_the_indexes_of_the_whole_video_and_stops_at_its_end() {
    let videos = Videos::new();
    let video = videos.make("a.mp4", &format!("{SOURCE} {H264}"));
    let (frames, decoded) = selected(&video, selection(None, Some(0.4), Some(0.6))).await;
    assert_eq!(indexes(&frames), (10..15).collect::<Vec<_>>());
    assert_eq!(
        decoded,
        DecodedVideo {
            frames: 5,
            decoded: 15,
            duration: Some(200_000_000),
            incomplete: None,
            notices: vec![],
            carried: vec![],
            skipped: Some(Skipped { before_start: 10, ..Skipped::default() }),
        }
    );
    let (frames, decoded) = selected(&video, selection(Some(5.0), Some(1.0), None)).await;
    assert_eq!(indexes(&frames), [25, 30, 35, 40, 45]);
    assert_eq!((decoded.decoded, decoded.duration), (50, Some(1_000_000_000)));
}

#[tokio::test]
async fn a_takeover_selects_the_same_rest_of_a_rate() {
    let videos = Videos::new();
    let select = "select='not(mod(n,3))+lt(n,10)'";
    let video = videos.make("vfr.mkv", &format!("{SOURCE} -vf {select} -fps_mode vfr {H264}"));
    let selection = selection(Some(9.0), Some(0.1), Some(1.7));
    let (all, whole) = selected(&video, selection).await;
    assert!(all.len() > 10);
    for first in 0..all.len() {
        let skip_before = all[first].index;
        let (rest, decoded) =
            decode_with(&video, DecodeSettings { selection, skip_before, ..settings() }).await;
        assert_eq!(rest, all[first..]);
        assert_eq!(decoded.unwrap(), whole);
    }
}

#[tokio::test]
async fn a_range_without_frames_is_an_error() {
    let videos = Videos::new();
    let video = videos.make("a.mp4", &format!("{SOURCE} {H264}"));
    for selection in [selection(None, Some(5.0), None), selection(None, Some(0.401), Some(0.402))] {
        let (frames, outcome) =
            decode_with(&video, DecodeSettings { selection, ..settings() }).await;
        assert_eq!(frames, []);
        assert!(matches!(outcome, Err(DecodeError::OutOfRange { .. })), "{outcome:?}");
    }
}

#[tokio::test]
async fn frames_missing_after_the_end_do_not_matter_and_frames_missing_before_it_do() {
    let videos = Videos::new();
    let whole = videos.make("a.mkv", &format!("{SOURCE} {H264}"));
    let bytes = std::fs::read(whole).unwrap();
    let cut = videos.write("cut.mkv", &bytes[..bytes.len() * 6 / 10]);
    let (_, decoded) = selected(&cut, selection(None, None, Some(0.5))).await;
    assert_eq!((decoded.frames, decoded.incomplete), (13, None));
    let (_, decoded) = selected(&cut, selection(None, None, Some(1.9))).await;
    assert!(matches!(decoded.incomplete, Some(Incomplete::Truncated { .. })), "{decoded:?}");
}

#[tokio::test]
async fn frames_without_times_get_those_of_the_frame_rate() {
    let videos = Videos::new();
    let video = videos.make("a.h264", &format!("{SOURCE} {H264} -f h264"));
    let (frames, _) = selected(&video, selection(Some(5.0), Some(1.0), None)).await;
    assert_eq!(frames.len(), 5, "{:?}", indexes(&frames));
}

#[tokio::test]
async fn time_0_is_the_first_frame_shown_whatever_times_the_container_has() {
    let videos = Videos::new();
    let late = |name, options| {
        let source = "-f lavfi -i testsrc2=size=160x120:rate=25:duration=1.6";
        videos.make(name, &format!("{source} {H264} -bf 2 {options}"))
    };
    for video in [
        late("a.mp4", "-movflags +faststart"),
        late("a.mkv", "-output_ts_offset 100"),
        late("a.flv", "-output_ts_offset 100"),
        late("a.ts", "-output_ts_offset 100"),
        media("flv-start-end-offset.flv"),
        media("ts-start-end-offset.ts"),
    ] {
        let name = video.display();
        let (frames, decoded) = selected(&video, selection(None, Some(0.0), Some(0.6))).await;
        assert_eq!(indexes(&frames), (0..15).collect::<Vec<_>>(), "{name}");
        assert_eq!((frames[0].pts, decoded.incomplete), (Some(0), None), "{name}");
        let (frames, decoded) = selected(&video, selection(Some(5.0), Some(0.4), None)).await;
        assert_eq!(indexes(&frames), [10, 15, 20, 25, 30, 35], "{name}");
        assert_eq!((decoded.decoded, decoded.incomplete), (40, None), "{name}");
    }
}
