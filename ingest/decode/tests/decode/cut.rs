//! A cut has the requested number of frames, and they are the video's own.

use crate::videos::{H264, SOUND, SOURCE, Videos, decode, uri};
use moliceiro_decode::DecodeError;
use moliceiro_decode::cut;

#[tokio::test]
async fn a_cut_is_the_beginning_of_the_video_whatever_else_is_in_the_file() {
    let videos = Videos::new();
    let reordered = "-c:v libx264 -bf 3 -pix_fmt yuv420p";
    for (name, arguments) in [
        ("a.mp4", format!("{SOURCE} {SOUND} {H264} -c:a aac")),
        ("b.mkv", format!("{SOURCE} {reordered}")),
        ("c.webm", format!("{SOURCE} -c:v libvpx -deadline realtime -cpu-used 8")),
    ] {
        let (video, to) = (videos.make(name, &arguments), videos.path("cut.mkv"));
        assert_eq!(cut(&uri(&video), 20, &to).unwrap(), 20, "{name}");
        let ((whole, _), (part, decoded)) = (decode(&video).await, decode(&to).await);
        assert_eq!((part.len(), decoded.decoded, decoded.incomplete), (20, 20, None), "{name}");
        assert!(
            part.iter().all(|frame| whole.iter().any(|own| own.pixels == frame.pixels)),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_cut_longer_than_the_video_is_all_of_it() {
    let videos = Videos::new();
    let (video, to) = (videos.make("a.mp4", &format!("{SOURCE} {H264}")), videos.path("cut.mkv"));
    assert_eq!(cut(&uri(&video), 1000, &to).unwrap(), 50);
    assert_eq!(decode(&to).await.0.len(), 50);
}

#[test]
fn a_file_that_is_not_a_video_cannot_be_cut() {
    let videos = Videos::new();
    for (name, bytes) in [("a.mp4", &b"not a video, despite its name"[..]), ("b.mp4", b"")] {
        let error = cut(&uri(&videos.write(name, bytes)), 20, &videos.path("cut.mkv")).unwrap_err();
        assert!(
            matches!(&error, DecodeError::Failed { video, .. } if video.ends_with(name)),
            "{error}"
        );
    }
    let missing = cut(&uri(&videos.path("missing.mp4")), 20, &videos.path("cut.mkv")).unwrap_err();
    assert!(missing.to_string().contains("missing.mp4"), "{missing}");
}
