//! Every frame that ffprobe counts is decoded, whatever container, codec, size, shape or timing.

use std::path::Path;

use crate::videos::{H264, SOUND, SOURCE, Videos, decode, run};
use moliceiro_decode::{DecodedFrame, DecodedVideo};
use moliceiro_messages::Size;

/// The frames that ffprobe decodes.
pub fn ffprobe(path: &Path) -> u64 {
    let count = "-v error -count_frames -select_streams v:0 \
                 -show_entries stream=nb_read_frames -of csv=p=0";
    let text = run("ffprobe", count, path);
    let first = text.lines().next().unwrap_or_default().trim_end_matches(',');
    first.parse().unwrap_or_else(|e| panic!("{e}: {text:?}"))
}

async fn assert_same_count(path: &Path) -> (Vec<DecodedFrame>, DecodedVideo) {
    let (frames, decoded) = decode(path).await;
    let expected = ffprobe(path);
    let name = path.display();
    assert!(expected > 0, "{name}");
    assert_eq!(decoded.frames, expected, "{name}: {decoded:?}");
    assert_eq!(decoded.incomplete, None, "{name}");
    assert_eq!(frames.len() as u64, expected, "{name}");
    assert!(frames.iter().enumerate().all(|(i, frame)| frame.index == i as u64), "{name}");
    (frames, decoded)
}

#[tokio::test]
async fn every_container_and_codec_gives_every_frame() {
    let videos = Videos::new();
    for (name, arguments) in [
        (
            "b-frames-and-audio.mp4",
            format!("{SOURCE} {SOUND} -c:v libx264 -bf 3 -pix_fmt yuv420p -c:a aac"),
        ),
        ("fragmented.mp4", format!("{SOURCE} {H264} -movflags frag_keyframe+empty_moov")),
        ("vorbis.mkv", format!("{SOURCE} {SOUND} {H264} -c:a libvorbis")),
        ("vp9.webm", format!("{SOURCE} -c:v libvpx-vp9 -deadline realtime -cpu-used 8")),
        ("vp8.webm", format!("{SOURCE} -c:v libvpx -deadline realtime -cpu-used 8")),
        ("mpeg4.avi", format!("{SOURCE} -c:v mpeg4 -q:v 5")),
        ("mjpeg.mov", format!("{SOURCE} -c:v mjpeg -q:v 5")),
        ("mpeg2.ts", format!("{SOURCE} {SOUND} -c:v mpeg2video -q:v 5 -c:a mp2")),
        ("h264.ts", format!("{SOURCE} {H264}")),
    ] {
        assert_same_count(&videos.make(name, &arguments)).await;
    }
}

#[tokio::test]
async fn a_cut_ogg_file_gives_every_frame() {
    let videos = Videos::new();
    let arguments = format!("{SOURCE} {SOUND} -c:v libtheora -c:a libvorbis");
    let whole = videos.make("whole.ogv", &arguments);
    for start in ["0.3", "0.6", "1.3"] {
        let cut = format!("-ss {start} -i {} -c copy", whole.display());
        let (frames, _) = assert_same_count(&videos.make(&format!("{start}.ogv"), &cut)).await;
        assert_eq!(frames[0].pts, Some(0), "{start}");
        assert!(frames.is_sorted_by(|one, next| one.pts < next.pts), "{start}");
    }
}

#[tokio::test]
async fn odd_dimensions_give_every_frame() {
    let videos = Videos::new();
    let video = videos
        .make("odd.mkv", &format!("{SOURCE} -vf scale=321:241 -c:v libx264 -pix_fmt yuv444p"));
    let (frames, _) = assert_same_count(&video).await;
    assert_eq!(frames[0].letterbox.source, Size { width: 321, height: 241 });
}

#[tokio::test]
async fn a_rotated_video_is_upright() {
    let videos = Videos::new();
    let lying = videos.make("lying.mp4", &format!("{SOURCE} {H264}"));
    let path = videos
        .make("upright.mp4", &format!("-i {} -c copy -metadata:s:v:0 rotate=90", lying.display()));
    let (frames, _) = assert_same_count(&path).await;
    let letterbox = frames[0].letterbox;
    assert_eq!(letterbox.source, Size { width: 240, height: 320 });
    assert_eq!(letterbox.content, Size { width: 312, height: 416 });
}

#[tokio::test]
async fn pixels_that_are_not_square_keep_the_aspect_ratio_of_the_display() {
    let videos = Videos::new();
    let video = videos.make("wide.mp4", &format!("{SOURCE} -vf setsar=2/1 {H264}"));
    let (frames, _) = assert_same_count(&video).await;
    let letterbox = frames[0].letterbox;
    assert_eq!(letterbox.source, Size { width: 320, height: 240 });
    assert_eq!(letterbox.content, Size { width: 416, height: 156 });
}

#[tokio::test]
async fn a_variable_frame_rate_drops_and_repeats_nothing() {
    let videos = Videos::new();
    let select = "select='not(mod(n,3))+lt(n,10)'";
    let video = videos.make("vfr.mkv", &format!("{SOURCE} -vf {select} -fps_mode vfr {H264}"));
    let (frames, _) = assert_same_count(&video).await;
    let gaps: Vec<_> = frames
        .windows(2)
        .map(|pair| (pair[1].pts.unwrap() - pair[0].pts.unwrap()) / 1_000_000)
        .collect();
    assert!(gaps.contains(&40) && gaps.contains(&120), "{gaps:?}");
}

#[tokio::test]
async fn a_still_image_is_one_frame() {
    let videos = Videos::new();
    let stills = [
        ("still.jpg", "-frames:v 1 -pix_fmt yuvj420p"),
        ("still.png", "-frames:v 1 -pix_fmt rgb24"),
        ("still.bmp", "-frames:v 1 -pix_fmt bgr24"),
        ("still.tiff", "-frames:v 1 -pix_fmt rgb24"),
        ("still.webp", "-frames:v 1 -pix_fmt bgra"),
        ("still.gif", "-frames:v 1 -pix_fmt bgr8"),
        ("still.ppm", "-frames:v 1 -pix_fmt rgb24"),
    ];
    for still in videos.make_all(SOURCE, &stills) {
        let (frames, decoded) = decode(&still).await;
        let name = still.display();
        assert_eq!((frames.len(), decoded.frames, decoded.incomplete), (1, 1, None), "{name}");
    }
}

#[tokio::test]
async fn an_animation_gives_every_frame_and_ends() {
    let videos = Videos::new();
    for (name, filter) in
        [("a.gif", "-vf fps=10"), ("a.webp", "-vf fps=10 -c:v libwebp_anim -loop 0")]
    {
        let path = videos.make(name, &format!("{SOURCE} {filter}"));
        let (frames, decoded) = decode(&path).await;
        assert_eq!(
            (decoded.decoded, decoded.duration, decoded.incomplete),
            (20, Some(2_000_000_000), None),
            "{name}"
        );
        assert_eq!(frames[7].pts, Some(700_000_000), "{name}");
        assert!(frames.windows(2).all(|pair| pair[0].pixels != pair[1].pixels), "{name}");
    }
}

#[tokio::test]
async fn the_sample_videos_give_every_frame() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../.deps/samples")
        .canonicalize()
        .expect("run `make setup`");
    for (name, frames) in [
        ("bikes.mp4", 250),
        ("bigbuckbunny.mp4", 132),
        ("carphone_pristine.mp4", 120),
        ("carphone_distorted.mp4", 120),
    ] {
        let (found, _) = assert_same_count(&samples.join(name)).await;
        assert_eq!(found.len(), frames, "{name}");
    }
}
