//! Which frames a consumer receives, how they are counted, and that the decoder waits for it.

use std::time::Duration;

use crate::videos::{H264, SOURCE, Videos, decode_with, run, settings, uri};
use moliceiro_decode::{DecodeError, DecodeSettings, start};
use moliceiro_messages::{Encoding, FrameSelection, Letterbox, Size, thumbnail_slot};

#[tokio::test]
async fn every_third_frame_keeps_its_index() {
    let videos = Videos::new();
    let video = videos.make("a.mp4", &format!("{SOURCE} {H264}"));
    let (frames, decoded) =
        decode_with(&video, DecodeSettings { selection: FrameSelection::every(3), ..settings() })
            .await;
    let decoded = decoded.unwrap();
    assert_eq!(
        frames.iter().map(|frame| frame.index).collect::<Vec<_>>(),
        (0..50).step_by(3).collect::<Vec<_>>()
    );
    assert_eq!(frames[1].pts, Some(120_000_000));
    assert_eq!((decoded.frames, decoded.decoded, decoded.duration), (17, 50, Some(2_000_000_000)));
}

#[tokio::test]
async fn a_takeover_receives_the_same_frames_from_where_it_starts() {
    let videos = Videos::new();
    let video = videos.make("a.mkv", &format!("{SOURCE} -c:v libx264 -bf 3 -pix_fmt yuv420p"));
    let every = DecodeSettings {
        selection: FrameSelection::every(2),
        encoding: Encoding::Jpeg,
        thumbnails: true,
        ..settings()
    };
    let (all, whole) = decode_with(&video, every.clone()).await;
    let (rest, decoded) = decode_with(&video, DecodeSettings { skip_before: 31, ..every }).await;
    assert_eq!(rest, all[16..]);
    assert_eq!(rest[0].index, 32);
    assert_eq!(decoded.unwrap(), whole.unwrap());
}

#[tokio::test]
async fn a_slow_consumer_makes_the_decoder_wait_and_loses_nothing() {
    let videos = Videos::new();
    let video = videos.make("a.mp4", &format!("{SOURCE} {H264}"));
    // Long enough for a busy machine to open the video.
    let stall_timeout = Duration::from_secs(5);
    let decoding = start(&uri(&video), DecodeSettings { queue: 2, stall_timeout, ..settings() });
    let mut indexes = vec![decoding.frames.recv().await.unwrap().unwrap().index];
    while !decoding.frames.is_full() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // From here on the decoder waits for its consumer, which must not count as a stall.
    tokio::time::sleep(stall_timeout + Duration::from_millis(500)).await;
    assert_eq!(decoding.frames.len(), 2);
    while let Ok(frame) = decoding.frames.recv().await {
        assert!(decoding.frames.len() <= 2);
        indexes.push(frame.unwrap().index);
    }
    assert_eq!(indexes, (0..50).collect::<Vec<_>>());
    assert_eq!(decoding.outcome().await.unwrap().decoded, 50);
}

#[tokio::test]
async fn the_container_declares_how_many_frames_to_expect() {
    let videos = Videos::new();
    let decoding = start(&uri(&videos.make("a.mp4", &format!("{SOURCE} {H264}"))), settings());
    let container_info = decoding.container_info();
    decoding.frames.recv().await.unwrap().unwrap();
    assert_eq!(
        (container_info.frames(), container_info.duration(), container_info.frame_rate()),
        (Some(50), Some(2_000_000_000), Some((25, 1)))
    );
}

#[tokio::test]
async fn jpegs_have_the_requested_size() {
    let videos = Videos::new();
    let video = videos.make("a.mp4", &format!("{SOURCE} {H264} -frames:v 2"));
    for size in [Size { width: 416, height: 416 }, Size { width: 33, height: 21 }] {
        let (frames, _) =
            decode_with(&video, DecodeSettings { size, encoding: Encoding::Jpeg, ..settings() })
                .await;
        assert_eq!((frames.len(), frames[0].encoding, frames[0].size), (2, Encoding::Jpeg, size));
        let picture = videos.write("picture.jpg", &frames[1].pixels);
        let seen = run(
            "ffprobe",
            "-v error -show_entries stream=codec_name,width,height -of csv=p=0",
            &picture,
        );
        assert_eq!(seen.trim(), format!("mjpeg,{},{}", size.width, size.height));
    }
}

#[tokio::test]
async fn i420_pictures_of_odd_size_have_whole_chroma_planes() {
    let videos = Videos::new();
    let video = videos.make("a.mp4", &format!("{SOURCE} {H264} -frames:v 1"));
    let size = Size { width: 33, height: 21 };
    let (frames, _) = decode_with(&video, DecodeSettings { size, ..settings() }).await;
    let Letterbox { left, top, content, .. } = frames[0].letterbox;
    assert_eq!((left, top, content), (2, 0, Size { width: 28, height: 21 }));
    assert_eq!(frames[0].pixels.len(), 28 * 21 + 2 * 14 * 11);
}

#[tokio::test]
async fn two_videos_decode_at_the_same_time() {
    let videos = Videos::new();
    let (a, b) = (
        videos.make("a.mp4", &format!("{SOURCE} {H264}")),
        videos.make("b.webm", &format!("{SOURCE} -c:v libvpx -deadline realtime -cpu-used 8")),
    );
    let ((a, _), (b, _)) = tokio::join!(decode_with(&a, settings()), decode_with(&b, settings()));
    assert_eq!((a.len(), b.len()), (50, 50));
}

#[tokio::test]
async fn asking_for_the_outcome_before_the_frames_are_received_cancels() {
    let videos = Videos::new();
    let video = videos.make("a.mp4", &format!("{SOURCE} {H264}"));
    let decoding = start(&uri(&video), DecodeSettings { queue: 1, ..settings() });
    decoding.frames.recv().await.unwrap().unwrap();
    assert_eq!(decoding.outcome().await, Err(DecodeError::Cancelled));
}

#[tokio::test]
async fn thumbnails_show_selected_frames_as_a_whole() {
    let videos = Videos::new();
    let video = videos.make("a.mp4", &format!("{SOURCE} {H264}"));
    let (frames, _) = decode_with(
        &video,
        DecodeSettings { selection: FrameSelection::every(3), thumbnails: true, ..settings() },
    )
    .await;
    for (n, frame) in frames.iter().enumerate() {
        assert_eq!(
            frame.thumbnail.as_ref().map(|thumbnail| thumbnail.slot),
            thumbnail_slot(n as u64),
            "frame {}",
            frame.index
        );
    }
    let thumbnail = frames[0].thumbnail.as_ref().unwrap();
    assert!(thumbnail.jpeg.starts_with(b"\xff\xd8") && thumbnail.jpeg.ends_with(b"\xff\xd9"));
    let (frames, _) = decode_with(&video, settings()).await;
    assert!(frames.iter().all(|frame| frame.thumbnail.is_none()));
}
