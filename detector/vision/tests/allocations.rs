//! How much a frame allocates once the reusable buffers exist.
//!
//! Apart from the other tests, as it replaces the allocator of its process and counts its blocks.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "vision/support.rs"]
mod support;

use dhat::{HeapStats, Profiler};
use moliceiro_messages::{Color, Encoding, Frame, Matrix};
use moliceiro_vision::Options;
use support::{data, detector, frame, jpeg};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const FRAMES: u64 = 10;
const MOST_BLOCKS: u64 = 40;
/// Tables and rows that the JPEG decoder allocates for each picture, in bytes.
const JPEG_DECODER: u64 = 60_000;
/// Boxes and their labels, in bytes.
const DETECTIONS: u64 = 8_000;

/// Blocks and bytes that are allocated for a frame, from its payload to its detections.
fn per_frame(frame: &Frame) -> (u64, u64) {
    let payload = frame.to_cbor();
    let mut detector = detector(Options::default());
    let mut analyse = || detector.detect(&Frame::from_cbor(&payload).unwrap()).unwrap();
    for _ in 0..3 {
        analyse();
    }
    let before = HeapStats::get();
    for _ in 0..FRAMES {
        analyse();
    }
    let after = HeapStats::get();
    (
        (after.total_blocks - before.total_blocks) / FRAMES,
        (after.total_bytes - before.total_bytes) / FRAMES,
    )
}

/// The pixels are copied out of their message, into a block that doubles as it grows. Every other
/// block of that size is allocated once and reused.
#[test]
fn a_frame_is_copied_once_on_its_way_through_a_detector() {
    let _profiler = Profiler::builder().testing().build();
    let color = Color { matrix: Matrix::Bt709, full_range: false };
    let (wide, square) = ((416, 160), (416, 416));
    let i420 = frame(Encoding::I420, color, square, vec![128; 416 * 416 * 3 / 2]);
    let jpeg = jpeg(wide, std::fs::read(data("frames/bikes-30.jpg")).unwrap());
    for (name, frame, decoder) in [("I420", i420, 0), ("JPEG", jpeg, JPEG_DECODER)] {
        let (blocks, bytes) = per_frame(&frame);
        let doubled = 2 * frame.pixels.len().next_power_of_two() as u64;
        println!(
            "{name}: {} bytes of pixels, {blocks} blocks of {bytes} bytes in all",
            frame.pixels.len()
        );
        assert!(
            blocks <= MOST_BLOCKS && bytes <= doubled + decoder + DETECTIONS,
            "{name}: {blocks} blocks of {bytes} bytes"
        );
    }
}
