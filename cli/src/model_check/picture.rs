use std::fs::File;
use std::io::{BufReader, BufWriter, Cursor};
use std::path::Path;

use anyhow::{Context, bail};
use moliceiro_nats::messages::Size;
use moliceiro_vision::Image;
use png::{ColorType, Decoder, Encoder, Limits, Transformations};

/// The longest side of an image.
const MOST_SIDE: u32 = 16_384;
/// The largest file.
const MOST_BYTES: u64 = 256 << 20;
const PNG: &[u8] = b"\x89PNG";

/// Reads a JPEG or PNG file.
pub(super) fn read(path: &Path) -> anyhow::Result<Image> {
    let length = std::fs::metadata(path)?.len();
    if length > MOST_BYTES {
        bail!("it has {length} bytes, and at most {MOST_BYTES} are read");
    }
    let bytes = std::fs::read(path)?;
    if bytes.starts_with(PNG) {
        return read_png(&bytes);
    }
    Image::from_jpeg(&bytes, MOST_SIDE).context("it is neither PNG nor a valid JPEG")
}

fn read_png(bytes: &[u8]) -> anyhow::Result<Image> {
    let limits = Limits { bytes: 1 << 30 };
    let mut decoder = Decoder::new_with_limits(BufReader::new(Cursor::new(bytes)), limits);
    decoder.set_transformations(Transformations::normalize_to_color8());
    let mut reader = decoder.read_info()?;
    let (width, height) = (reader.info().width, reader.info().height);
    if width > MOST_SIDE || height > MOST_SIDE {
        bail!("it has {width} × {height} pixels, and at most {MOST_SIDE} a side are read");
    }
    let length = reader.output_buffer_size().context("it is too large")?;
    let mut pixels = vec![0; length];
    let info = reader.next_frame(&mut pixels)?;
    pixels.truncate(info.buffer_size());
    let channels = match info.color_type {
        ColorType::Grayscale => 1,
        ColorType::GrayscaleAlpha => 2,
        ColorType::Rgba => 4,
        ColorType::Rgb | ColorType::Indexed => 3,
    };
    let rgb = pixels.chunks_exact(channels).flat_map(|pixel| match pixel {
        [red, green, blue, ..] => [*red, *green, *blue],
        [grey, ..] => [*grey; 3],
        [] => [0; 3],
    });
    Image::new(Size { width, height }, rgb.collect()).context("it is empty")
}

/// Writes a PNG file.
pub(super) fn write(image: &Image, path: &Path) -> anyhow::Result<()> {
    let Size { width, height } = image.size();
    let mut encoder = Encoder::new(BufWriter::new(File::create(path)?), width, height);
    encoder.set_color(ColorType::Rgb);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(image.pixels())?;
    writer.finish()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_text_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let image = Image::new(Size { width: 2, height: 1 }, vec![1, 2, 3, 4, 5, 6]).unwrap();
        write(&image, &path).unwrap();
        assert_eq!(read(&path).unwrap(), image);
        std::fs::write(&path, "a text").unwrap();
        assert!(read(&path).is_err());
    }
}
