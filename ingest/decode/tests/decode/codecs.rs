//! A codec or a pixel format is decoded, or is an error with its name; it never ends the program.

use crate::videos::{Videos, decode, decode_with, media, settings};
use moliceiro_decode::DecodeError;

const THREE_FRAMES: &str = "-f lavfi -i testsrc2=size=320x240:rate=25:duration=0.12";

#[tokio::test]
async fn every_codec_that_a_plugin_decodes() {
    for (name, count) in [("dnxhr.mov", 3), ("jpeg2000.mov", 3)] {
        let (frames, decoded) = decode(&media(name)).await;
        assert_eq!((frames.len(), decoded.incomplete), (count, None), "{name}");
    }
    let videos = Videos::new();
    let made = [
        ("prores.mov", "-c:v prores_ks -pix_fmt yuv444p10le"),
        ("dnxhr.mov", "-c:v dnxhd -profile:v dnxhr_hqx -pix_fmt yuv422p10le"),
        ("ffv1.mkv", "-c:v ffv1 -pix_fmt yuv444p12le"),
        ("huffyuv.avi", "-c:v huffyuv"),
        ("vp9.webm", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -pix_fmt yuv420p10le"),
        ("jpeg2000.mov", "-c:v jpeg2000 -pix_fmt yuv444p"),
        ("grey.mp4", "-c:v libx264 -preset ultrafast -pix_fmt gray10le"),
        ("a.rm", "-c:v rv20"),
        ("a.wmv", "-c:v wmv2"),
        ("dnxhr.mxf", "-s 1280x720 -c:v dnxhd -profile:v dnxhr_sq -pix_fmt yuv422p"),
        ("cineform.mov", "-c:v cfhd -pix_fmt yuv422p10le"),
        ("video1.avi", "-c:v msvideo1 -pix_fmt rgb555le"),
        ("alpha.mov", "-c:v prores_ks -profile:v 4444 -pix_fmt yuva444p10le"),
        ("deep.mov", "-c:v png -pix_fmt rgb48be"),
        ("dosbox.mov", "-c:v zmbv"),
        ("flash-screen.mov", "-c:v flashsv"),
        ("flash-screen.mkv", "-c:v flashsv"),
        ("microsoft-1.mov", "-c:v msvideo1"),
        ("microsoft-mpeg4.mov", "-c:v msmpeg4v2"),
        ("huffyuv.mov", "-c:v ffvhuff"),
        ("huffyuv.mkv", "-c:v ffvhuff"),
        ("sorenson.mkv", "-c:v svq1"),
        ("rgba.mov", "-c:v rawvideo -pix_fmt rgba"),
        ("yuyv.mov", "-c:v rawvideo -pix_fmt yuyv422"),
        ("high10.mp4", "-c:v libx264 -preset ultrafast -pix_fmt yuv422p10le"),
    ];
    for video in videos.make_all(THREE_FRAMES, &made) {
        let (frames, decoded) = decode(&video).await;
        assert_eq!((frames.len(), decoded.incomplete), (3, None), "{}", video.display());
    }
}

#[tokio::test]
async fn a_pixel_format_that_gstreamer_does_not_know_is_an_error() {
    let videos = Videos::new();
    let made = [
        ("grey.mkv", "-c:v libx265 -pix_fmt gray12le -x265-params log-level=error"),
        ("yuv420p9le.mkv", "-c:v ffv1 -pix_fmt yuv420p9le"),
        ("ya8.mkv", "-c:v ffv1 -pix_fmt ya8"),
        ("yuva444p16le.mkv", "-c:v ffv1 -pix_fmt yuva444p16le"),
    ];
    let made = <[_; 4]>::try_from(videos.make_all(THREE_FRAMES, &made)).unwrap();
    let [grey, nine_bits, alpha, deep_alpha] = made;
    for (video, codec, described) in [
        (media("crash-ffv1-gray10.mkv"), "FFV1", "bits"),
        (media("crash-ffv1-rgb48.mkv"), "FFV1", "bits"),
        (media("crash-ffv1-yuv422p16.mkv"), "FFV1", "bits"),
        (media("memory-hevc-gray10.mkv"), "HEVC", "grey pixels of 10 bits"),
        (grey, "HEVC", "grey pixels of 12 bits"),
        (media("palette-8bit.avi"), "uncompressed video", "palette"),
        (nine_bits, "FFV1", "bits"),
        (alpha, "FFV1", "bits"),
        (deep_alpha, "FFV1", "bits"),
    ] {
        let (frames, outcome) = decode_with(&video, settings()).await;
        let expected = match &outcome {
            Err(DecodeError::UnsupportedPixels { codec: found, pixels, .. }) => {
                found == codec && pixels.contains(described)
            }
            _ => false,
        };
        assert!(frames.is_empty() && expected, "{}: {outcome:?}", video.display());
    }
}

#[tokio::test]
async fn a_codec_that_no_plugin_decodes_is_called_by_its_name() {
    let videos = Videos::new();
    let (made, codecs): (Vec<_>, Vec<_>) = [
        (("ut.avi", "-c:v utvideo -pix_fmt yuv420p"), "Ut Video"),
        (("ut.mkv", "-c:v utvideo -pix_fmt yuv420p"), "Ut Video"),
        (("hap.mov", "-c:v hap"), "HAP"),
        (("snow.avi", "-c:v snow"), "Snow"),
        (("speedhq.avi", "-c:v speedhq"), "SpeedHQ"),
        (("magic.avi", "-c:v magicyuv"), "MagicYUV"),
        (("graphics.mkv", "-c:v smc"), "QuickTime Graphics"),
    ]
    .into_iter()
    .unzip();
    for (video, codec) in videos.make_all(THREE_FRAMES, &made).iter().zip(codecs) {
        let (_, outcome) = decode_with(video, settings()).await;
        assert!(
            matches!(&outcome, Err(DecodeError::MissingPlugin { what, package: None, .. })
                if what == codec),
            "{}: {outcome:?}",
            video.display()
        );
    }
}
