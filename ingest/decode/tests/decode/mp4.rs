//! An MP4 gives the frames that a player shows: as many as ffprobe decodes, in their order.

use std::path::{Path, PathBuf};

use moliceiro_containers::Fault;
use moliceiro_decode::{DecodeError, DecodeSettings, DecodedFrame, DecodedVideo, Incomplete};
use moliceiro_messages::{FrameSelection, Offset, Size};

use crate::containers::ffprobe;
use crate::videos::{
    H264, SOUND, SOURCE, Videos, decode, decode_with, ffmpeg_output, luma, run, settings,
};

/// Frames that carry their number, modulo 256, as eight black or white blocks.
const NUMBERED: &str = "-f lavfi -i \
    color=gray:size=256x64:rate=25:duration=6,format=gray,\
    geq=lum='if(bitand(N,pow(2,floor(X/32))),235,16)'";

fn medium(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/media").join(name)
}

/// The number that a frame carries.
fn number(frame: &DecodedFrame) -> u32 {
    let width = frame.size.width / 8;
    let row = frame.letterbox.top + frame.letterbox.content.height / 2;
    (0..8).map(|bit| u32::from(luma(frame, bit * width + width / 2, row) > 128) << bit).sum()
}

/// The numbers of the frames that ffmpeg decodes: a copied clip may lack some before its end.
fn numbers_by_ffmpeg(clip: &Path) -> Vec<u32> {
    let bit = |frame: &[u8], bit: usize| u32::from(frame[32 * 256 + bit * 32 + 16] > 128) << bit;
    ffmpeg_output(clip, "-fps_mode passthrough -pix_fmt gray -f rawvideo")
        .chunks_exact(256 * 64)
        .map(|frame| (0..8).map(|n| bit(frame, n)).sum())
        .collect()
}

async fn whole(path: &Path) -> (Vec<DecodedFrame>, DecodedVideo) {
    let (frames, decoded) = continuous(path).await;
    assert_eq!(decoded.decoded, ffprobe(path), "{}", path.display());
    (frames, decoded)
}

/// As [`whole`], without a comparison of the number of frames with that of ffprobe.
async fn continuous(path: &Path) -> (Vec<DecodedFrame>, DecodedVideo) {
    let (frames, decoded) = decode(path).await;
    let name = path.display();
    assert_eq!(decoded.incomplete, None, "{name}");
    assert_eq!(frames[0].pts, Some(0), "{name}: time 0 is the first frame");
    assert!(frames.windows(2).all(|pair| pair[0].pts < pair[1].pts), "{name}");
    (frames, decoded)
}

#[tokio::test]
async fn an_mp4_gives_the_frames_that_a_player_shows() {
    for (name, frames) in [
        ("trim-copy-ss6-t3.mp4", 77),
        ("trim-copy-ss6-t3.mov", 77),
        ("trim-copy-hevc.mp4", 77),
        ("trim-copy-to-end.mp4", 50),
        ("audio-6x-longer.mp4", 40),
        ("audio-6x-longer.mov", 40),
        ("video-starts-late.mp4", 40),
        ("mdhd-duration-30x-short.mp4", 40),
        ("timestamps-start-at-100s.mp4", 40),
        ("frag_keyframe-without-empty_moov.mp4", 40),
    ] {
        let (found, _) = whole(&medium(name)).await;
        assert_eq!(found.len(), frames, "{name}");
    }
}

#[tokio::test]
async fn a_truncated_fragment_is_reported() {
    let (_, decoded) = decode(&medium("fragmented-truncated.mp4")).await;
    assert_eq!(decoded.decoded, 26);
    let Some(Incomplete::Container(Fault::FramesMissing { missing, expected })) =
        decoded.incomplete
    else {
        panic!("{decoded:?}")
    };
    assert_eq!(expected - missing, 26);
}

#[tokio::test]
async fn a_selection_counts_from_the_first_frame_shown() {
    let range = FrameSelection {
        start: Some(Offset::try_from(0.0).unwrap()),
        end: Some(Offset::try_from(0.6).unwrap()),
        ..FrameSelection::every(1)
    };
    for name in ["video-starts-late.mp4", "timestamps-start-at-100s.mp4", "trim-copy-hevc.mp4"] {
        let (frames, _) =
            decode_with(&medium(name), DecodeSettings { selection: range, ..settings() }).await;
        assert_eq!(frames.len(), 15, "{name}");
    }
}

/// Cuts a film, and checks which frames each clip shows.
async fn assert_cuts(extension: &str, codec: &str, muxer: &str) {
    let videos = Videos::new();
    let film = videos.make(&format!("film.{extension}"), &format!("{NUMBERED} {codec}"));
    let (frames, _) = whole(&film).await;
    assert_eq!(frames.iter().map(number).collect::<Vec<_>>(), (0..150).collect::<Vec<_>>());
    // One ffmpeg makes all clips: most of the time that it takes is that of its start.
    let cuts = ["-ss 1", "-ss 2.5 -t 1", "-ss 3.96 -t 0.2", "-t 2", "-ss 5.5"];
    let clips = cuts.map(|cut| videos.path(&format!("{}.{extension}", cut.replace(' ', ""))));
    let inputs = cuts.map(|cut| format!("{cut} -i {}", film.display())).join(" ");
    let outputs: Vec<_> = clips
        .iter()
        .enumerate()
        .map(|(n, clip)| format!("-map {n}:v -c copy {muxer} {}", clip.display()))
        .collect();
    let (last, others) = outputs.split_last().unwrap();
    let last = last.rsplit_once(' ').unwrap().0;
    run("ffmpeg", &format!("-v error -y {inputs} {} {last}", others.join(" ")), &clips[4]);
    for (cut, clip) in cuts.iter().zip(&clips) {
        let (frames, decoded) = continuous(clip).await;
        let numbers: Vec<_> = frames.iter().map(number).collect();
        let expected = numbers_by_ffmpeg(clip);
        assert_eq!(numbers, expected, "{cut} of {codec} {muxer}");
        assert_eq!(decoded.decoded, expected.len() as u64, "{cut} of {codec} {muxer}");
    }
}

#[tokio::test]
async fn cuts_show_the_right_frames_of_h264() {
    let codec = "-c:v libx264 -preset veryfast -bf 3 -g 50 -pix_fmt yuv420p";
    assert_cuts("mp4", codec, "").await;
    assert_cuts("mov", codec, "-use_editlist 1").await;
    assert_cuts("mp4", codec, "-movflags negative_cts_offsets+faststart").await;
}

#[tokio::test]
async fn cuts_show_the_right_frames_of_hevc() {
    let codec = "-c:v libx265 -preset ultrafast -x265-params log-level=error:bframes=3:keyint=50 \
                 -pix_fmt yuv420p";
    assert_cuts("mp4", codec, "").await;
    assert_cuts("mov", codec, "-tag:v hvc1").await;
}

#[tokio::test]
async fn cuts_show_the_right_frames_of_other_codecs() {
    assert_cuts("mp4", "-c:v mpeg4 -bf 2 -g 30 -q:v 3", "").await;
    assert_cuts("mov", "-c:v mjpeg -q:v 3 -pix_fmt yuvj420p", "").await;
    assert_cuts("mov", "-c:v mpeg2video -bf 2 -g 15 -q:v 3 -pix_fmt yuv420p", "").await;
}

#[tokio::test]
async fn fragments_give_every_frame() {
    let videos = Videos::new();
    let codec = "-c:v libx264 -preset veryfast -bf 2 -g 10 -pix_fmt yuv420p";
    let flags = [
        "frag_keyframe",
        "frag_keyframe+empty_moov",
        "frag_keyframe+empty_moov+default_base_moof",
        "frag_keyframe+delay_moov",
        "frag_every_frame+empty_moov",
        "cmaf+frag_keyframe",
        "dash+frag_keyframe",
    ];
    for sound in ["", SOUND] {
        let clips: Vec<_> = flags
            .map(|flags| {
                let name = format!("{flags}-{}.mp4", sound.len());
                (name, format!("{codec} -movflags {flags}"))
            })
            .into();
        let clips: Vec<_> = clips.iter().map(|(name, made)| (&name[..], &made[..])).collect();
        for clip in videos.make_all(&format!("{SOURCE} {sound}"), &clips) {
            whole(&clip).await;
        }
    }
}

#[tokio::test]
async fn tables_of_every_kind_give_every_frame() {
    let videos = Videos::new();
    let codec = "-c:v libx264 -preset veryfast -bf 2 -g 10 -pix_fmt yuv420p";
    for (name, arguments) in [
        ("late.mp4", format!("-itsoffset 30 {SOURCE} {SOUND} {codec}")),
        ("shifted.mp4", format!("{SOURCE} {codec} -movflags negative_cts_offsets")),
        ("no-edits.mp4", format!("{SOURCE} {codec} -use_editlist 0")),
        ("first.mov", format!("{SOURCE} {SOUND} {codec} -c:a pcm_s16le -movflags faststart")),
        ("scale.mp4", format!("{SOURCE} {codec} -video_track_timescale 1000")),
        ("raw.mov", format!("{SOURCE} -c:v rawvideo -pix_fmt uyvy422")),
        ("prores.mov", format!("{SOURCE} -c:v prores_ks")),
        ("rle.mov", format!("{SOURCE} -c:v qtrle")),
        ("cinepak.mov", format!("{SOURCE} -s 160x120 -frames:v 10 -c:v cinepak")),
        ("png.mov", format!("{SOURCE} -c:v png")),
        ("vp9.mp4", format!("{SOURCE} -c:v libvpx-vp9 -deadline realtime -cpu-used 8")),
        ("av1.mp4", format!("{SOURCE} -frames:v 20 -c:v libsvtav1 -preset 12")),
        ("h263.3gp", format!("{SOURCE} -s 352x288 -c:v h263")),
    ] {
        whole(&videos.make(name, &arguments)).await;
    }
}

#[tokio::test]
async fn an_encrypted_video_is_not_called_damaged() {
    let videos = Videos::new();
    let key = "-encryption_scheme cenc-aes-ctr -encryption_key 76a6c65c5ea762046bd749a2e632ccbb \
               -encryption_kid a7e61c373e219033c21091fa607bf3b8";
    let video = videos.make("a.mp4", &format!("{SOURCE} {H264} {key}"));
    let (_, outcome) = decode_with(&video, settings()).await;
    assert!(matches!(outcome, Err(DecodeError::Encrypted { .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_missing_index_is_reported_as_such() {
    let videos = Videos::new();
    let bytes = std::fs::read(videos.make("a.mp4", &format!("{SOURCE} {H264}"))).unwrap();
    let (_, outcome) =
        decode_with(&videos.write("b.mp4", &bytes[..bytes.len() * 9 / 10]), settings()).await;
    let Err(DecodeError::Damaged { reason, .. }) = outcome else { panic!("{outcome:?}") };
    assert!(reason.contains("index"), "{reason}");
}

#[tokio::test]
async fn a_copy_without_frames_is_not_called_damaged() {
    let videos = Videos::new();
    for sound in ["", SOUND] {
        let film = videos.make("a.mp4", &format!("{SOURCE} {sound} {H264} -g 100"));
        // ffmpeg copies from a key frame on, and there is none.
        let clip = videos.make("b.mp4", &format!("-i {} -ss 0.6 -t 0.8 -c copy", film.display()));
        let (_, outcome) = decode_with(&clip, settings()).await;
        assert!(matches!(outcome, Err(DecodeError::NoVideo { .. })), "{outcome:?}");
    }
}

#[tokio::test]
async fn the_track_that_is_enabled_is_decoded() {
    let videos = Videos::new();
    let second = "-f lavfi -i testsrc2=size=160x120:rate=25:duration=1";
    let video = videos.make(
        "a.mp4",
        &format!(
            "{SOURCE} {second} -map 0 -map 1 {H264} -disposition:v:0 0 -disposition:v:1 default"
        ),
    );
    let (frames, decoded) = decode(&video).await;
    assert_eq!((decoded.decoded, decoded.incomplete), (25, None));
    assert_eq!(frames[0].letterbox.source, Size { width: 160, height: 120 });
}

#[tokio::test]
async fn bytes_changed_at_random_never_end_in_a_crash_or_a_wait() {
    let videos = Videos::new();
    for name in ["trim-copy-ss6-t3.mp4", "frag_keyframe-without-empty_moov.mp4"] {
        let original = std::fs::read(medium(name)).unwrap();
        // The tables are at the end of the first, and all over the second.
        for seed in 0..24 {
            let mut random = fastrand(seed);
            let mut bytes = original.clone();
            let from = if name.starts_with("trim") { bytes.len() - 4000 } else { 0 };
            for _ in 0..4 {
                let at = from + random() as usize % (bytes.len() - from);
                bytes[at] = random() as u8;
            }
            let path = videos.write("mutated.mp4", &bytes);
            let (_, _outcome) = decode_with(&path, settings()).await;
        }
    }
}

/// A small generator of random numbers (xorshift).
fn fastrand(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}
