use jpeg_encoder::{ColorType, Encoder, EncodingError};
use moliceiro_nats::messages::{Encoding, Frame, MalformedMessage};
use thiserror::Error;

const QUALITY: u8 = 95;

/// Why a payload cannot become an image.
#[derive(Debug, Error)]
pub(crate) enum ImageError {
    #[error(transparent)]
    Message(#[from] MalformedMessage),
    #[error("it is larger than a JPEG can be")]
    TooLarge,
    #[error(transparent)]
    Jpeg(#[from] EncodingError),
}

/// Makes a JPEG file of a frame's picture. An I420 picture loses its letterbox border. JPEG bytes
/// stay as they are, even if they are damaged: the damage may be why the frame failed.
pub(crate) fn of(payload: &[u8]) -> Result<Vec<u8>, ImageError> {
    let frame = Frame::from_cbor(payload)?;
    match frame.encoding {
        Encoding::Jpeg => Ok(frame.pixels),
        Encoding::I420 => encode(&frame),
    }
}

fn encode(frame: &Frame) -> Result<Vec<u8>, ImageError> {
    let size = frame.letterbox.sampled(frame.size).size;
    let (width, height) = (size.width as usize, size.height as usize);
    let (luma, chroma) = frame.pixels.split_at(width * height);
    let (cb, cr) = chroma.split_at(chroma.len() / 2);
    let half = width.div_ceil(2);
    let mut pixels = Vec::with_capacity(3 * luma.len());
    for (y, row) in luma.chunks(width).enumerate() {
        for (x, luma) in row.iter().enumerate() {
            let at = (y / 2) * half + x / 2;
            pixels.extend([*luma, cb[at], cr[at]]);
        }
    }
    let side = |length: u32| u16::try_from(length).map_err(|_| ImageError::TooLarge);
    let mut jpeg = Vec::new();
    Encoder::new(&mut jpeg, QUALITY).encode(
        &pixels,
        side(size.width)?,
        side(size.height)?,
        ColorType::Ycbcr,
    )?;
    Ok(jpeg)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use moliceiro_nats::VideoId;
    use moliceiro_nats::messages::{Color, Letterbox, Matrix, Size, VERSION};

    use super::*;

    #[test]
    fn i420_becomes_an_image_of_what_was_sent() {
        let content = Size { width: 8, height: 3 };
        let frame = Frame {
            version: VERSION,
            video: VideoId::for_name("a", "1"),
            index: 0,
            pts: None,
            decoded_at: None,
            encoding: Encoding::I420,
            size: Size { width: 8, height: 8 },
            letterbox: Letterbox { source: content, left: 0, top: 2, content },
            color: Color { matrix: Matrix::Bt601, full_range: true },
            pixels: vec![128; 8 * 4 * 3 / 2],
        };
        let jpeg = of(&frame.to_cbor()).unwrap();
        let header = jpeg.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
        assert_eq!(jpeg[header + 5..][..4], [0, 4, 0, 8], "its height and width");
        assert!(of(&Frame { pixels: vec![128; 8 * 8 * 3 / 2], ..frame }.to_cbor()).is_err());
    }
}
