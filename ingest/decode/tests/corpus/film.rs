//! A film whose frames carry their number as a bar code, and what reads it.

use std::path::Path;

use moliceiro_decode::DecodedFrame;

use crate::ffmpeg;

/// Frames of the film, at 25 a second.
pub const FRAMES: usize = 50;
/// A size that each codec accepts that has a list of sizes.
pub const WIDTH: usize = 128;
pub const HEIGHT: usize = 96;
/// Each is a block as high as the picture; the lowest is the leftmost.
const BITS: usize = 8;

/// Writes the film, without loss.
pub fn make(path: &Path) {
    let bars = format!("255*mod(floor(N/pow(2,floor(X/{}))),2)", WIDTH / BITS);
    let source = format!(
        "color=black:size={WIDTH}x{HEIGHT}:rate=25,format=gray,geq=lum='{bars}',format=yuv420p"
    );
    let frames = FRAMES.to_string();
    ffmpeg::run(&["-f", "lavfi", "-i", &source, "-frames:v", &frames], path)
        .expect("ffmpeg makes the film");
}

/// The number on rows of luma samples.
fn number(luma: &[u8], width: usize, height: usize) -> usize {
    let row = &luma[height / 2 * width..][..width];
    (0..BITS).map(|bit| usize::from(row[(2 * bit + 1) * width / (2 * BITS)] > 127) << bit).sum()
}

/// The number on a decoded frame.
pub fn number_on(frame: &DecodedFrame) -> usize {
    let size = frame.letterbox.sampled(frame.size).size;
    number(&frame.pixels, size.width as usize, size.height as usize)
}

/// The numbers on grey pictures of the film's size, one after the other.
pub fn numbers_in(pictures: &[u8]) -> Vec<usize> {
    pictures.chunks_exact(WIDTH * HEIGHT).map(|luma| number(luma, WIDTH, HEIGHT)).collect()
}
