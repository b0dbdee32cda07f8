//! What a frame costs the allocator on its way from the decoder to its message. It is a test binary
//! of its own, because it replaces the allocator and counts what the whole process allocates.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod videos;

use dhat::{HeapStats, Profiler};
use moliceiro_decode::{DecodeSettings, DecodedFrame, start};
use moliceiro_messages::VideoId;
use moliceiro_messages::{Encoding, Frame, VERSION};
use videos::{H264, SOURCE, Videos, settings, uri};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const WARM_UP: u64 = 10;
/// Bytes for the frame's message without its pixels, for channels, and for what the bindings of
/// GStreamer allocate.
const SMALL: u64 = 8_000;
const MAX_BLOCKS: u64 = 40;

fn message(frame: DecodedFrame, video: &VideoId) -> Vec<u8> {
    let DecodedFrame { index, pts, size, letterbox, color, encoding, pixels, .. } = frame;
    Frame {
        version: VERSION,
        video: video.clone(),
        index,
        pts,
        decoded_at: None,
        encoding,
        size,
        letterbox,
        color,
        pixels,
    }
    .to_cbor()
}

/// Once as a picture, and once in its message. Scaling and encoding reuse their buffers.
#[tokio::test]
async fn a_frame_is_stored_twice_on_its_way_through_an_ingest() {
    let videos = Videos::new();
    let video = uri(&videos.make("a.mp4", &format!("{SOURCE} {H264}")));
    let id = VideoId::for_name("a.mp4", "1");
    let _profiler = Profiler::builder().testing().build();
    for encoding in [Encoding::I420, Encoding::Jpeg] {
        let decoding = start(&video, DecodeSettings { encoding, queue: 1, ..settings() });
        let (mut frames, mut largest, mut before) = (0, 0, None);
        let mut last = HeapStats::get();
        while let Ok(frame) = decoding.frames.recv().await {
            largest = largest.max(message(frame.unwrap(), &id).len() as u64);
            last = HeapStats::get();
            frames += 1;
            if frames == WARM_UP {
                before = Some(HeapStats::get());
            }
        }
        let (before, n) = (before.unwrap(), frames - WARM_UP);
        let (blocks, bytes) = (
            (last.total_blocks - before.total_blocks) / n,
            (last.total_bytes - before.total_bytes) / n,
        );
        println!(
            "{encoding:?}: messages of {largest} bytes, {blocks} blocks of {bytes} bytes in total"
        );
        let planes = if encoding == Encoding::Jpeg { 416 * 416 * 3 } else { 0 };
        assert!(
            blocks <= MAX_BLOCKS && bytes <= 2 * largest + planes + SMALL,
            "{encoding:?}: {blocks} blocks of {bytes} bytes"
        );
        decoding.outcome().await.unwrap();
    }
}
