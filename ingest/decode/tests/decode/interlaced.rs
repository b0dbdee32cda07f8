//! An interlaced frame is analysed as it is at one moment, and stays one frame.

use std::path::PathBuf;

use crate::videos::{Videos, decode, decode_with, luma, media, settings};
use moliceiro_decode::{DecodeSettings, DecodedFrame, Deinterlace, Size};

/// White in the first, third, … frame of the film and dark in the others; each pair of them is the
/// two fields of one interlaced frame. The dark ones differ: fields that are alike seem to rest.
const FLICKER: &str = "-f lavfi -i color=black:size=320x240:rate=50:duration=0.4 \
                       -vf geq=lum='if(mod(N,2),16+30*mod(floor(N/2),3),235)':cb=128:cr=128,\
                       tinterlace=interleave_top,setfield=tff";

fn middle_rows(frame: &DecodedFrame) -> Vec<u8> {
    (180..230).map(|y| luma(frame, 200, y)).collect()
}

fn combed() -> [(&'static str, &'static str); 6] {
    [
        ("a.ts", "-c:v mpeg2video -flags +ilme+ildct -qscale:v 2"),
        ("a.mpg", "-c:v mpeg2video -flags +ilme+ildct -qscale:v 2"),
        ("a.mkv", "-c:v libx264 -preset ultrafast -qp 1 -flags +ilme+ildct"),
        ("b.ts", "-c:v libx264 -preset ultrafast -qp 1 -flags +ilme+ildct"),
        ("a.mov", "-c:v prores_ks -flags +ilme"),
        ("a.avi", "-c:v mpeg4 -flags +ilme+ildct -qscale:v 2"),
    ]
}

fn make(videos: &Videos, name: &str, codec: &str) -> PathBuf {
    videos.make(name, &format!("{FLICKER} {codec}"))
}

#[tokio::test]
async fn a_frame_is_not_combed_whatever_the_size_of_its_picture() {
    let videos = Videos::new();
    for (name, codec) in combed() {
        let video = make(&videos, name, codec);
        for side in [416, 64] {
            let size = Size { width: side, height: side };
            let settings = DecodeSettings { size, ..settings() };
            let (frames, outcome) = decode_with(&video, settings).await;
            let decoded = outcome.unwrap();
            assert_eq!((frames.len(), decoded.incomplete), (10, None), "{name}");
            for frame in &frames {
                let value = luma(frame, side / 2, side / 2);
                let next = luma(frame, side / 2, side / 2 + 1);
                assert!(value > 215 && next > 215, "{name} at {side}: {value}, {next}");
            }
        }
    }
}

#[tokio::test]
async fn fields_are_frames_of_their_own_on_request() {
    let videos = Videos::new();
    let video = make(&videos, "a.ts", "-c:v mpeg2video -flags +ilme+ildct -qscale:v 2");
    let fields = DecodeSettings { deinterlace: Deinterlace::Fields, ..settings() };
    let (frames, outcome) = decode_with(&video, fields).await;
    let decoded = outcome.unwrap();
    assert_eq!((frames.len(), decoded.decoded, decoded.incomplete), (20, 20, None));
    for (n, frame) in frames.iter().enumerate() {
        let rows = middle_rows(frame);
        let expected = if n % 2 == 0 { 235 } else { [16, 46, 76][n / 2 % 3] };
        assert!(rows.iter().all(|row: &u8| row.abs_diff(expected) < 20), "{n}: {rows:?}");
    }
    let times: Vec<_> = frames.iter().map(|frame| frame.pts.unwrap() / 1_000_000).collect();
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 20), "{times:?}");
}

#[tokio::test]
async fn it_can_be_switched_off() {
    let videos = Videos::new();
    let video = make(&videos, "a.ts", "-c:v mpeg2video -flags +ilme+ildct -qscale:v 2");
    let as_stored = DecodeSettings { deinterlace: Deinterlace::Off, ..settings() };
    let (frames, _) = decode_with(&video, as_stored).await;
    let rows = middle_rows(&frames[5]);
    assert!(rows.iter().max().unwrap() - rows.iter().min().unwrap() > 50, "{rows:?}");
}

/// Each packet of an interlaced HEVC stream is a field, and so is each of its frames.
#[tokio::test]
async fn the_fields_of_interlaced_hevc_are_its_frames() {
    let (frames, decoded) = decode(&media("hevc-interlaced.mp4")).await;
    assert_eq!((frames.len(), decoded.incomplete), (80, None));
    let letterbox = frames[0].letterbox;
    assert_eq!(letterbox.content, Size { width: 416, height: 177 }, "{letterbox:?}");
}

#[tokio::test]
async fn interlaced_h264_has_as_many_frames_as_its_container() {
    let (frames, decoded) = decode(&media("h264-interlaced-25i.mp4")).await;
    assert_eq!((frames.len(), decoded.incomplete), (50, None));
    assert_eq!(frames[0].letterbox.source, Size { width: 640, height: 272 });
}

/// The frame before is known, and the one behind is not.
#[tokio::test]
async fn interlaced_frames_are_nearly_what_bwdif_makes_of_them() {
    let videos = Videos::new();
    let film = media("h264-interlaced-25i.mp4");
    let filter = "-vf bwdif=mode=send_frame -pix_fmt yuv420p -f rawvideo";
    let made = videos.make("a.yuv", &format!("-i {} {filter}", film.display()));
    let size = Size { width: 640, height: 272 };
    let (frames, _) = decode_with(&film, DecodeSettings { size, ..settings() }).await;
    let expected = std::fs::read(made).unwrap();
    let pixels = 640 * 272;
    let stride = pixels * 3 / 2;
    assert_eq!(expected.len(), frames.len() * stride);
    let error = |found: &[u8], expected: &[u8]| -> f64 {
        let squares = found.iter().zip(expected).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2));
        squares.sum::<f64>() / 640.0 / 272.0
    };
    let errors: Vec<f64> = frames
        .iter()
        .zip(expected.chunks(stride))
        .map(|(frame, expected)| error(&frame.pixels[..pixels], expected))
        .collect();
    let worst = errors.iter().copied().fold(0.0, f64::max);
    // 37 dB, and 50 dB without the first, which has none before it.
    assert!(worst < 13.0, "{errors:?}");
    let sum: f64 = errors[1..].iter().sum();
    assert!(sum < 0.65 * 49.0, "{errors:?}");
}
