use moliceiro_messages::Size;

/// An 8192 × 8192 frame takes 100 MB, and a decoder keeps up to about twenty of them.
const MAX_PIXELS: u64 = 8192 * 8192;
/// Pixels.
const MAX_SIDE: u32 = 32_768;
/// Bytes that one video may take: about twenty of the largest frames, with 24 bits a pixel.
pub(crate) const MAX_MEMORY: u64 = 4 << 30;

/// Whether frames of this size fit in the memory that one video may take.
pub(crate) fn is_within_limits(size: Size) -> bool {
    u64::from(size.width) * u64::from(size.height) <= MAX_PIXELS
        && size.width.max(size.height) <= MAX_SIDE
}
