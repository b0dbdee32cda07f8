//! Frames that are not analysed although they are selected, and frames that are not decoded.

use std::collections::BTreeSet;
use std::path::Path;

use moliceiro_decode::{DecodeSettings, DecodedFrame, DecodedVideo, Incomplete};
use moliceiro_messages::{Encoding, Fps, FrameSelection, Offset, Skipped};

use crate::videos::{H264, SOURCE, Videos, decode, decode_with, settings};

const STILL: FrameSelection = FrameSelection {
    every: 1,
    fps: None,
    start: None,
    end: None,
    video_track: None,
    deinterlace: None,
    skip_still: true,
    key_frames: false,
};
const KEYS: FrameSelection = FrameSelection { skip_still: false, key_frames: true, ..STILL };

async fn selected(path: &Path, selection: FrameSelection) -> (Vec<DecodedFrame>, DecodedVideo) {
    let (frames, decoded) = decode_with(path, DecodeSettings { selection, ..settings() }).await;
    (frames, decoded.unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// Six seconds of a noisy picture, through which a person-sized thing moves from 2 s to 3 s.
fn static_scene(videos: &Videos, name: &str, encoding: &str) -> std::path::PathBuf {
    let arguments = format!(
        "-f lavfi -i smptebars=size=320x240:rate=25:duration=6 \
         -f lavfi -i color=white:size=24x60:rate=25:duration=6 -filter_complex \
         [0][1]overlay=x='if(between(t,1.99,2.99),20+(t-2)*240,-90)':y=90,noise=alls=8:allf=t \
         {encoding}"
    );
    videos.make(name, &arguments)
}

/// Every selected frame is either delivered, or carries the objects of one that is.
fn assert_all_known(frames: &[DecodedFrame], decoded: &DecodedVideo) -> BTreeSet<u64> {
    let delivered: BTreeSet<_> = frames.iter().map(|frame| frame.index).collect();
    let runs = frames.iter().flat_map(|frame| &frame.carried).chain(&decoded.carried);
    let mut carried = BTreeSet::new();
    for run in runs {
        assert!(delivered.contains(&run.source), "{run:?}");
        for (index, _) in &run.frames {
            assert!(carried.insert(*index) && !delivered.contains(index), "{index}");
            // The delivered one before it.
            assert_eq!(delivered.range(..index).next_back(), Some(&run.source));
        }
    }
    assert_eq!((delivered.len() + carried.len()) as u64, decoded.frames);
    delivered
}

#[tokio::test]
async fn only_frames_in_which_something_moves_and_one_now_and_then_are_analysed() {
    let videos = Videos::new();
    for (name, encoding) in [
        ("a.mp4", "-c:v libx264 -preset ultrafast -crf 23 -pix_fmt yuv420p"),
        ("a.avi", "-c:v mpeg4 -q:v 5 -bf 0"),
        ("a.mkv", "-c:v mjpeg -q:v 5 -pix_fmt yuvj420p"),
    ] {
        let video = static_scene(&videos, name, encoding);
        for encoding in [Encoding::I420, Encoding::Jpeg] {
            let settings = DecodeSettings { selection: STILL, encoding, ..settings() };
            let (frames, decoded) = decode_with(&video, settings).await;
            let decoded = decoded.unwrap();
            let delivered = assert_all_known(&frames, &decoded);
            assert_eq!((decoded.decoded, decoded.frames), (150, 150), "{name}");
            assert_eq!(decoded.skipped, Some(Skipped::default()));
            assert!((50..75).all(|index| delivered.contains(&index)), "{name}: {delivered:?}");
            assert!(delivered.len() <= 25 + 8, "{name}: {delivered:?}");
            assert_eq!(decoded.incomplete, None);
        }
    }
}

#[tokio::test]
async fn a_takeover_at_an_analysed_frame_analyses_the_same_rest() {
    let videos = Videos::new();
    let video = static_scene(&videos, "a.mp4", H264);
    let selections = [
        STILL,
        FrameSelection { fps: Fps::try_from(9.0).ok(), start: "0.5".parse().ok(), ..STILL },
    ];
    for selection in selections {
        let (all, whole) = selected(&video, selection).await;
        assert!(all.len() > 10);
        for first in (0..all.len()).step_by(3) {
            let skip_before = all[first].index;
            let settings = DecodeSettings { selection, skip_before, ..settings() };
            let (mut rest, decoded) = decode_with(&video, settings).await;
            // What is carried before it was reported by the one before.
            rest[0].carried.clone_from(&all[first].carried);
            assert_eq!(rest, all[first..]);
            assert_eq!(decoded.unwrap(), whole);
        }
    }
}

/// Videos of many formats with a key frame in each second, and one that has only key frames.
const FORMATS: [(&str, &str); 12] = [
    ("a.mp4", "-c:v libx264 -preset ultrafast -bf 2 -g 25 -keyint_min 25 -sc_threshold 0"),
    ("fragmented.mp4", "-c:v libx264 -preset ultrafast -g 25 -movflags frag_keyframe+empty_moov"),
    ("hevc.mkv", "-c:v libx265 -preset ultrafast -x265-params keyint=25:scenecut=0:log-level=0"),
    ("a.ts", "-c:v libx264 -preset ultrafast -bf 2 -g 25 -keyint_min 25 -sc_threshold 0"),
    ("a.flv", "-c:v libx264 -preset ultrafast -g 25 -keyint_min 25 -sc_threshold 0"),
    ("a.h264", "-c:v libx264 -preset ultrafast -g 25 -keyint_min 25 -sc_threshold 0"),
    ("a.avi", "-c:v mpeg4 -q:v 5 -bf 0 -g 25 -sc_threshold 1000000000"),
    ("a.mpg", "-c:v mpeg2video -q:v 5 -bf 0 -g 25 -sc_threshold 1000000000"),
    ("vp8.webm", "-c:v libvpx -deadline realtime -cpu-used 8 -g 25 -auto-alt-ref 0"),
    ("vp9.webm", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 25 -auto-alt-ref 0"),
    ("a.wmv", "-c:v wmv2 -q:v 5 -g 25 -sc_threshold 1000000000"),
    ("theora.ogg", "-c:v libtheora -q:v 5 -g 25"),
];

#[tokio::test]
async fn only_key_frames_are_decoded_at_their_own_times() {
    let videos = Videos::new();
    for (name, encoding) in FORMATS {
        let source = "-f lavfi -i testsrc2=size=160x120:rate=25:duration=3";
        let video = videos.make(name, &format!("{source} {encoding} -pix_fmt yuv420p"));
        let (all, whole) = decode(&video).await;
        let (keys, decoded) = selected(&video, KEYS).await;
        assert_eq!(keys.len(), 3, "{name}: {:?}", keys.iter().map(|f| f.pts).collect::<Vec<_>>());
        let not_key = all.len() as u64 - 3;
        assert_eq!(decoded.skipped, Some(Skipped { not_key, ..Skipped::default() }), "{name}");
        assert_eq!((decoded.frames, decoded.decoded), (3, 3), "{name}");
        assert_eq!((&decoded.incomplete, &decoded.notices), (&None, &vec![]), "{name}");
        assert_eq!(decoded.duration, whole.duration, "{name}");
        for (key, nth) in keys.iter().zip([0, 25, 50]) {
            assert_eq!(key.pts, all[nth].pts, "{name}");
            assert_eq!(key.pixels, all[nth].pixels, "{name}");
        }
    }
}

#[tokio::test]
async fn where_every_frame_is_a_key_frame_all_are_analysed() {
    let videos = Videos::new();
    for (name, encoding) in [
        ("a.avi", "-c:v mjpeg -pix_fmt yuvj420p"),
        ("a.mov", "-c:v prores_ks"),
        ("ffv1.mkv", "-c:v ffv1 -g 1"),
        ("a.mp4", "-c:v libx264 -preset ultrafast -g 1"),
        ("a.gif", ""),
    ] {
        let video = videos.make(name, &format!("{SOURCE} {encoding}"));
        let (all, whole) = decode(&video).await;
        let (keys, decoded) = selected(&video, KEYS).await;
        assert_eq!((keys.len(), decoded), (all.len(), whole), "{name}");
    }
}

#[tokio::test]
async fn a_range_of_key_frames_accounts_for_the_frames_in_it() {
    let videos = Videos::new();
    let source = "-f lavfi -i testsrc2=size=160x120:rate=25:duration=6";
    let gop = "-bf 2 -g 25 -keyint_min 25 -sc_threshold 0";
    let video = videos.make("a.mp4", &format!("{source} {H264} {gop}"));
    let offset = |seconds: f64| Offset::try_from(seconds).ok();
    let range = FrameSelection { start: offset(1.5), end: offset(4.5), ..KEYS };
    let (keys, decoded) = selected(&video, range).await;
    let times: Vec<_> = keys.iter().map(|frame| frame.pts.unwrap() / 1_000_000).collect();
    assert_eq!(times, [2000, 3000, 4000]);
    // What follows the last key frame in the range is not known to be in it.
    let skipped = decoded.skipped.unwrap();
    assert_eq!(skipped.before_start, 2);
    assert!((4 * 24..=4 * 24 + 12).contains(&skipped.not_key), "{skipped:?}");
    let every = FrameSelection { every: 2, ..KEYS };
    let (keys, decoded) = selected(&video, every).await;
    assert_eq!(keys.iter().map(|frame| frame.index).collect::<Vec<_>>(), [0, 2, 4]);
    let skipped = Skipped { every: 3, not_key: 144, ..Skipped::default() };
    assert_eq!(decoded.skipped, Some(skipped));
}

#[tokio::test]
async fn damage_is_noticed_although_only_key_frames_are_decoded() {
    let videos = Videos::new();
    let gop = "-g 25 -keyint_min 25 -sc_threshold 0";
    for name in ["a.mkv", "a.ts", "fragmented.mp4"] {
        let fragmented =
            if name.ends_with("mp4") { "-movflags frag_keyframe+empty_moov" } else { "" };
        let source = "-f lavfi -i testsrc2=size=320x240:rate=25:duration=6";
        let whole = videos.make(name, &format!("{source} {H264} {gop} {fragmented}"));
        let bytes = std::fs::read(whole).unwrap();
        let truncated = videos.write(&format!("truncated-{name}"), &bytes[..bytes.len() * 2 / 3]);
        let (all, of_all) = decode(&truncated).await;
        let (keys, decoded) = selected(&truncated, KEYS).await;
        assert!(keys.len() >= 3 && all.len() > 70, "{name}: {} {}", keys.len(), all.len());
        match (of_all.incomplete, decoded.incomplete) {
            (None, None) => {}
            (Some(Incomplete::Truncated { declared, .. }), Some(found)) => {
                let Incomplete::Truncated { declared: same, .. } = found else {
                    panic!("{name}: {found:?}")
                };
                assert_eq!(declared, same);
            }
            (Some(_), Some(_)) => {}
            other => panic!("{name}: {other:?}"),
        }
    }
}
