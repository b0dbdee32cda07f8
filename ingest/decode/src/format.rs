/// How many of a file's first bytes are enough to tell its format.
pub(crate) const SIGNATURE_BYTES: usize = 12;

/// How a file is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileFormat {
    /// A still JPEG. Only `jpegparse` reads its orientation (EXIF), and GStreamer 1.22 does not
    /// plug it automatically. Raising its rank is not the answer: a Motion JPEG video would then
    /// end at its first bad frame. Reproduced by
    /// `a_jpeg_stands_upright_in_each_exif_orientation`.
    Jpeg,
    Image(ImageFormat),
    /// Anything else: GStreamer finds out.
    Other,
}

/// Formats that are decoded without GStreamer.
///
/// GStreamer 1.22 feeds its BMP and TIFF decoders with pieces of a file, which they cannot use; an
/// animated GIF never ends there, and an animated WebP is a single frame. Reproduced by
/// `a_still_image_is_one_frame` and `an_animation_gives_every_frame_and_ends`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ImageFormat {
    Bmp,
    Gif,
    Tiff,
    WebP,
}

impl FileFormat {
    /// The format of a file that starts with these bytes.
    pub(crate) fn from_signature(start: &[u8]) -> Self {
        match start {
            [0xff, 0xd8, 0xff, ..] => Self::Jpeg,
            [b'B', b'M', ..] => Self::Image(ImageFormat::Bmp),
            [b'G', b'I', b'F', b'8', ..] => Self::Image(ImageFormat::Gif),
            [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => Self::Image(ImageFormat::Tiff),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => {
                Self::Image(ImageFormat::WebP)
            }
            _ => Self::Other,
        }
    }
}
