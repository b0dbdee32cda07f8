//! Video streams without a container, and formats that are refused.

use moliceiro_decode::{DecodeError, Incomplete};

use crate::videos::{SOURCE, Videos, decode, decode_with, media, settings};

#[tokio::test]
async fn a_raw_av1_stream_gives_every_frame() {
    let path = media("av1-raw.obu");
    let (frames, decoded) = decode(&path).await;
    assert_eq!((frames.len(), decoded.decoded, decoded.incomplete), (10, 10, None));
    assert_eq!(frames[0].letterbox.source.width, 640);
    let videos = Videos::new();
    let bytes = std::fs::read(path).unwrap();
    let (_, cut) = decode(&videos.write("cut.obu", &bytes[..bytes.len() - 3])).await;
    assert_eq!(cut.decoded, 9);
    assert!(matches!(cut.incomplete, Some(Incomplete::Container(_))), "{cut:?}");
}

#[tokio::test]
async fn a_raw_stream_gives_every_frame() {
    let videos = Videos::new();
    for (name, codec) in [
        ("a.h264", "-c:v libx264"),
        ("a.h265", "-c:v libx265 -x265-params log-level=error"),
        ("a.m2v", "-c:v mpeg2video"),
        ("a.ivf", "-c:v libvpx -deadline realtime -cpu-used 8"),
        ("vp9.ivf", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8"),
        ("a.mjpeg", "-c:v mjpeg"),
        ("a.y4m", "-pix_fmt yuv420p -f yuv4mpegpipe"),
    ] {
        let path = videos.make(name, &format!("{SOURCE} {codec}"));
        let (_, decoded) = decode(&path).await;
        assert_eq!((decoded.decoded, decoded.incomplete), (50, None), "{name}");
    }
}

#[tokio::test]
async fn rates_that_mpeg2_makes_of_others_are_right() {
    let videos = Videos::new();
    for (rate, last) in [("1", 9000), ("5", 1800), ("10", 900), ("15", 600), ("18", 500)] {
        for (name, format) in [("a.m2v", ""), ("a.mpg", ""), ("a.vob", "-f vob"), ("a.ts", "")] {
            let source = format!("-f lavfi -i testsrc2=size=320x240:rate={rate}");
            let codec = "-c:v mpeg2video -bf 2 -q:v 31 -frames:v 10";
            let path = videos.make(name, &format!("{source} {codec} {format}"));
            let (frames, decoded) = decode(&path).await;
            assert_eq!((decoded.decoded, decoded.incomplete), (10, None), "{name} {rate}");
            let times: Vec<_> = frames.iter().map(|frame| frame.pts.unwrap() / 1_000_000).collect();
            let is_right = |(n, time): (u64, &u64)| time.abs_diff(n * last / 9) <= 1;
            assert!((0..).zip(&times).all(is_right), "{name} {rate}: {times:?}");
            std::fs::remove_file(path).unwrap();
        }
    }
}

#[tokio::test]
async fn a_truncated_ivf_gives_its_frames_and_a_notice() {
    let videos = Videos::new();
    let path =
        videos.make("a.ivf", &format!("{SOURCE} -c:v libvpx -deadline realtime -cpu-used 8"));
    let bytes = std::fs::read(path).unwrap();
    let (_, cut) = decode(&videos.write("cut.ivf", &bytes[..bytes.len() / 2])).await;
    assert!((10..50).contains(&cut.decoded), "{cut:?}");
    assert!(matches!(cut.incomplete, Some(Incomplete::Container(_))), "{cut:?}");
}

#[tokio::test]
async fn a_format_that_would_hang_is_refused_at_once() {
    let videos = Videos::new();
    for (name, arguments, named) in [
        ("a.nut", "-c:v mpeg4", "NUT"),
        ("a.y4m", "-pix_fmt yuv420p10le -strict -1 -f yuv4mpegpipe", "YUV4MPEG2 with C420p10"),
    ] {
        let path = videos.make(name, &format!("{SOURCE} {arguments}"));
        let (_, outcome) = decode_with(&path, settings()).await;
        let Err(DecodeError::Unsupported { format, .. }) = outcome else { panic!("{outcome:?}") };
        assert_eq!(format, named);
    }
    let (_, outcome) = decode_with(&media("h264.nut"), settings()).await;
    assert!(matches!(outcome, Err(DecodeError::Unsupported { .. })), "{outcome:?}");
}
