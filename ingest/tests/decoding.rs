//! What is handed over of a video, and what is said of one that is not as it should be.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use moliceiro_ingest::decode::{DecodeError, DecodeSettings, Decoded, DecodedFrame, start};
use moliceiro_nats::messages::{Encoding, Matrix, Size};
use tempfile::TempDir;
use tokio::time::timeout;
use url::Url;

const LONG: Duration = Duration::from_secs(60);
const PICTURE: Size = Size { width: 416, height: 416 };

fn settings() -> DecodeSettings {
    DecodeSettings {
        size: PICTURE,
        encoding: Encoding::I420,
        jpeg_quality: 90,
        every: 1,
        skip_before: 0,
        queue: 2,
        stall_timeout: Duration::from_secs(3),
    }
}

async fn decode_with(uri: &Url, settings: DecodeSettings) -> (Vec<DecodedFrame>, Result<Decoded, DecodeError>) {
    let decoding = start(uri, settings);
    let mut frames = Vec::new();
    while let Ok(frame) = timeout(LONG, decoding.frames.recv()).await.expect("it hangs") {
        frames.push(frame);
    }
    (frames, timeout(LONG, decoding.outcome()).await.expect("it hangs"))
}

async fn decode(path: &Path) -> (Vec<DecodedFrame>, Result<Decoded, DecodeError>) {
    decode_with(&Url::from_file_path(path).unwrap(), settings()).await
}

struct Videos(TempDir);

impl Videos {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn make(&self, name: &str, arguments: &str) -> PathBuf {
        let path = self.path(name);
        let done = Command::new("ffmpeg").args(["-v", "error", "-y"]).args(arguments.split(' ')).arg(&path).output().unwrap();
        assert!(done.status.success(), "{name}: {}", String::from_utf8_lossy(&done.stderr));
        path
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

const SOURCE: &str = "-f lavfi -i testsrc2=size=320x240:rate=25:duration=4";
const H264: &str = "-c:v libx264 -pix_fmt yuv420p -g 25";

#[tokio::test]
async fn what_is_no_video_is_an_error_of_its_own_kind() {
    let videos = Videos::new();
    let whole = fs::read(videos.make("whole.mp4", &format!("{SOURCE} {H264}"))).unwrap();
    let sound = videos.make("sound.mp4", "-f lavfi -i sine=duration=1");
    let folder = videos.path("folder.mp4");
    fs::create_dir(&folder).unwrap();
    type Kind = fn(&DecodeError) -> bool;
    let cases: [(PathBuf, Kind); 7] = [
        (videos.path("missing.mp4"), |e| matches!(e, DecodeError::NotFound { .. })),
        (videos.write("empty.mp4", b""), |e| matches!(e, DecodeError::Empty { .. })),
        (videos.write("text.mp4", b"this is no video\n"), |e| matches!(e, DecodeError::UnknownFormat { .. })),
        (videos.write("truncated.mp4", &whole[..whole.len() / 2]), |e| matches!(e, DecodeError::Damaged { .. })),
        (videos.write("noise.mp4", &noise(100_000)), |e| matches!(e, DecodeError::UnknownFormat { .. })),
        (sound, |e| matches!(e, DecodeError::NoVideo { .. })),
        (folder, |e| matches!(e, DecodeError::NotAFile { .. })),
    ];
    for (path, kind) in cases {
        let (frames, outcome) = decode(&path).await;
        let error = outcome.expect_err("it is no video");
        assert!(kind(&error), "{}: {error:?}", path.display());
        let text = error.to_string();
        assert!(text.contains(path.to_str().unwrap()) && !text.contains('\n'), "{text}");
        assert!(frames.is_empty());
    }
}

/// Bytes that look like nothing (a linear congruential generator).
fn noise(n: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(n).collect()
}

#[tokio::test]
async fn only_local_files_are_read() {
    for uri in ["http://127.0.0.1:1/a.mp4", "rtsp://127.0.0.1:1/a", "file://elsewhere/a.mp4", "data:video/mp4;base64,AAAA"] {
        let (_, outcome) = decode_with(&uri.parse().unwrap(), settings()).await;
        let error = outcome.unwrap_err();
        assert!(matches!(error, DecodeError::UnsupportedScheme { .. } | DecodeError::NotLocal { .. }), "{uri}: {error:?}");
    }
}

#[tokio::test]
async fn a_video_cut_short_gives_what_there_is_and_says_so() {
    let videos = Videos::new();
    for (name, arguments) in [
        ("faststart.mp4", format!("{SOURCE} {H264} -movflags +faststart")),
        ("matroska.mkv", format!("{SOURCE} {H264}")),
        ("vp8.webm", format!("{SOURCE} -c:v libvpx -deadline realtime -cpu-used 8")),
        ("header-lies.avi", format!("{SOURCE} -c:v mjpeg")),
    ] {
        let whole = fs::read(videos.make(name, &arguments)).unwrap();
        let cut = videos.write(name, &whole[..whole.len() * 6 / 10]);
        let (frames, outcome) = decode(&cut).await;
        let decoded = outcome.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(decoded.problem.is_some(), "{name}: {decoded:?}");
        assert!((1..100).contains(&decoded.frames), "{name}: {decoded:?}");
        assert_eq!(frames.len() as u64, decoded.frames, "{name}");
    }
}

#[tokio::test]
async fn sound_that_is_longer_than_the_video_is_no_problem() {
    let videos = Videos::new();
    for name in ["long-sound.mp4", "long-sound.mkv"] {
        let path = videos.make(name, &format!("{SOURCE} -f lavfi -i sine=duration=7 {H264} -c:a aac"));
        let (frames, outcome) = decode(&path).await;
        assert_eq!((frames.len(), outcome.unwrap().problem), (100, None), "{name}");
    }
}

#[tokio::test]
async fn some_frames_can_be_left_out() {
    let videos = Videos::new();
    let uri = Url::from_file_path(videos.make("a.mp4", &format!("{SOURCE} {H264}"))).unwrap();
    let (all, _) = decode_with(&uri, settings()).await;
    let (some, outcome) = decode_with(&uri, DecodeSettings { every: 7, skip_before: 30, ..settings() }).await;
    let indexes: Vec<_> = some.iter().map(|frame| frame.index).collect();
    assert_eq!(indexes, [35, 42, 49, 56, 63, 70, 77, 84, 91, 98]);
    let decoded = outcome.unwrap();
    assert_eq!((decoded.frames, decoded.decoded), (15, 100), "frames that are skipped count");
    assert_eq!(decoded.duration, Some(4_000_000_000));
    for frame in some {
        assert!(frame == all[frame.index as usize], "a frame is the same however it is reached: {}", frame.index);
    }
}

#[tokio::test]
async fn a_slow_taker_loses_nothing() {
    let videos = Videos::new();
    let path = videos.make("a.mp4", &format!("{SOURCE} {H264}"));
    let decoding = start(&Url::from_file_path(path).unwrap(), DecodeSettings { queue: 1, ..settings() });
    let mut indexes = Vec::new();
    while let Ok(frame) = decoding.frames.recv().await {
        assert!(decoding.frames.len() <= 1);
        indexes.push(frame.index);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(indexes, (0..100).collect::<Vec<_>>());
    assert_eq!(decoding.outcome().await.unwrap().problem, None);
}

#[tokio::test]
async fn decoding_that_nobody_wants_any_more_stops() {
    let videos = Videos::new();
    let path = videos.make("a.mp4", &format!("{SOURCE} {H264}"));
    let decoding = start(&Url::from_file_path(path).unwrap(), DecodeSettings { queue: 1, ..settings() });
    decoding.frames.recv().await.unwrap();
    let outcome = timeout(LONG, decoding.outcome()).await.expect("it does not stop");
    assert_eq!(outcome, Err(DecodeError::Cancelled));
}

/// The luma plane's rows and columns that are not black.
fn bright(frame: &DecodedFrame) -> (Vec<usize>, Vec<usize>) {
    let (width, height) = (PICTURE.width as usize, PICTURE.height as usize);
    let lit = |x: usize, y: usize| frame.pixels[y * width + x] > 128;
    ((0..height).filter(|y| lit(width / 2, *y)).collect(), (0..width).filter(|x| lit(*x, height / 2)).collect())
}

#[tokio::test]
async fn the_letterbox_is_exactly_where_it_is_said_to_be() {
    let videos = Videos::new();
    for (size, filter) in [("640x272", "null"), ("320x240", "null"), ("176x144", "setsar=12/11"), ("240x426", "null"), ("642x366", "null")]
    {
        let source = format!("-f lavfi -i color=white:size={size}:rate=5:duration=1 -vf {filter} {H264}");
        let (frames, _) = decode(&videos.make("white.mp4", &source)).await;
        let letterbox = frames[0].letterbox;
        let (rows, columns) = bright(&frames[0]);
        let (top, left) = (letterbox.top as usize, letterbox.left as usize);
        assert_eq!(rows, (top..top + letterbox.content.height as usize).collect::<Vec<_>>(), "{size}: {letterbox:?}");
        assert_eq!(columns, (left..left + letterbox.content.width as usize).collect::<Vec<_>>(), "{size}: {letterbox:?}");
        assert!(top.abs_diff(PICTURE.height as usize - top - letterbox.content.height as usize) <= 1, "{size}: {letterbox:?}");
    }
}

/// BT.601 and BT.709 (ITU-R) give the same red other values: the frame has to say which it has.
#[tokio::test]
async fn colours_are_what_the_frame_says_they_are() {
    let videos = Videos::new();
    let lossless = "-c:v libx264 -pix_fmt yuv444p -qp 0 -color_range tv";
    for (name, matrix, encoder, expected, full_range) in [
        ("601.mp4", "bt601", format!("{lossless} -colorspace smpte170m"), Matrix::Bt601, false),
        ("709.mp4", "bt709", format!("{lossless} -colorspace bt709"), Matrix::Bt709, false),
        ("full.mov", "bt601", "-c:v mjpeg -q:v 1 -pix_fmt yuvj444p".to_owned(), Matrix::Bt601, true),
    ] {
        let range = if full_range { "pc" } else { "tv" };
        let scale = format!("scale=out_color_matrix={matrix}:out_range={range}");
        let source = format!("-f lavfi -i color=red:size=416x416:rate=5:duration=1 -vf format=rgb24,{scale} {encoder}");
        let (frames, outcome) = decode(&videos.make(name, &source)).await;
        outcome.unwrap();
        let color = frames[0].color;
        assert_eq!((color.matrix, color.full_range), (expected, full_range), "{name}");
        let plane = 416 * 416;
        let at = [plane / 2 + 208, plane + plane / 8, plane + plane / 4 + plane / 8].map(|at| f64::from(frames[0].pixels[at]));
        let rgb = to_rgb(at, expected, full_range);
        for (found, wanted) in rgb.iter().zip([254.0, 0.0, 0.0]) {
            assert!((found - wanted).abs() < 5.0, "{name}: {rgb:?} from {at:?}");
        }
    }
}

/// ITU-R BT.601-7 and BT.709-6, section 2.5 and 3: K_R and K_B, and the quantisation of 8 bits.
fn to_rgb([y, cb, cr]: [f64; 3], matrix: Matrix, full_range: bool) -> [f64; 3] {
    let (kr, kb) = if matrix == Matrix::Bt709 { (0.2126, 0.0722) } else { (0.299, 0.114) };
    let (y, scale) = if full_range { (y, 1.0) } else { ((y - 16.0) * 255.0 / 219.0, 255.0 / 224.0) };
    let (cb, cr) = ((cb - 128.0) * scale, (cr - 128.0) * scale);
    let (red, blue) = (y + 2.0 * (1.0 - kr) * cr, y + 2.0 * (1.0 - kb) * cb);
    [red, (y - kr * red - kb * blue) / (1.0 - kr - kb), blue]
}

#[tokio::test]
async fn a_jpeg_frame_is_the_same_picture() {
    let videos = Videos::new();
    let uri = Url::from_file_path(videos.make("a.mp4", &format!("{SOURCE} {H264}"))).unwrap();
    let (planes, _) = decode_with(&uri, DecodeSettings { every: 50, ..settings() }).await;
    let (jpegs, _) = decode_with(&uri, DecodeSettings { every: 50, encoding: Encoding::Jpeg, jpeg_quality: 95, ..settings() }).await;
    assert_eq!((planes.len(), jpegs.len()), (2, 2));
    for (planes, jpeg) in planes.iter().zip(&jpegs) {
        assert!(jpeg.pixels.starts_with(&[0xff, 0xd8]) && jpeg.pixels.ends_with(&[0xff, 0xd9]));
        assert!(jpeg.pixels.len() < planes.pixels.len() / 2, "{} bytes", jpeg.pixels.len());
        assert_eq!((jpeg.letterbox, jpeg.color, jpeg.index), (planes.letterbox, planes.color, planes.index));
    }
}
