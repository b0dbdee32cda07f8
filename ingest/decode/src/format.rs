/// How many of a file's first bytes are enough to tell its format.
pub(crate) const SIGNATURE_BYTES: usize = 12;

/// How a file is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileFormat {
    /// A picture or an animation, which `images` decodes.
    Image(ImageFormat),
    /// A HEIF container with a track of pictures, which is otherwise an MP4.
    ImageSequence,
    /// A format that nothing decodes.
    Unsupported(Unsupported),
    /// Anything else: GStreamer finds out.
    Other,
}

/// Formats whose files are read here, not by GStreamer's demuxers.
///
/// GStreamer 1.22 feeds its BMP and TIFF decoders with pieces of a file, which they cannot use; an
/// animated GIF never ends there, and an animated PNG or WebP is a single frame. A picture that
/// exceeds the limits is decoded all the same, and one that is truncated is not recognised.
/// Reproduced by `a_still_image_is_one_frame` and `an_animation_gives_every_frame_and_ends`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ImageFormat {
    Bmp,
    Gif,
    Heif,
    Jpeg,
    Jpeg2000,
    Png,
    Pnm,
    Tiff,
    WebP,
}

/// A format that people have, and that nothing here decodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unsupported {
    /// With its article, as people know it.
    pub(crate) name: &'static str,
    /// What to do.
    pub(crate) advice: &'static str,
}

const CONVERT: &str = "save it as JPEG or PNG";
const CONVERT_JXL: &str =
    "convert it with `djxl a.jxl a.png`, which is in Debian's package libjxl-tools";

impl FileFormat {
    /// The format of a file that starts with these bytes.
    pub(crate) fn from_signature(start: &[u8]) -> Self {
        let unsupported = |name| Self::Unsupported(Unsupported { name, advice: CONVERT });
        match start {
            [0xff, 0xd8, 0xff, ..] => Self::Image(ImageFormat::Jpeg),
            [b'B', b'M', ..] => Self::Image(ImageFormat::Bmp),
            [b'G', b'I', b'F', b'8', ..] => Self::Image(ImageFormat::Gif),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => {
                Self::Image(ImageFormat::Png)
            }
            [b'P', b'1'..=b'6', b'\t' | b'\n' | b'\r' | b' ' | b'#', ..] => {
                Self::Image(ImageFormat::Pnm)
            }
            // Classic and BigTIFF.
            [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => {
                Self::Image(ImageFormat::Tiff)
            }
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => {
                Self::Image(ImageFormat::WebP)
            }
            [0, 0, 0, 12, b'j', b'P', b' ', b' ', ..] | [0xff, 0x4f, 0xff, 0x51, ..] => {
                Self::Image(ImageFormat::Jpeg2000)
            }
            [0, 0, 0, 12, b'J', b'X', b'L', b' ', ..] | [0xff, 0x0a, ..] => {
                Self::Unsupported(Unsupported { name: "a JPEG XL", advice: CONVERT_JXL })
            }
            [b'8', b'B', b'P', b'S', ..] => unsupported("a Photoshop file (PSD)"),
            [b'I', b'I', 0xbc, ..] => unsupported("a JPEG XR"),
            [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] => match brand {
                [b'a', b'v', b'i', b's', ..]
                | [b'm', b's', b'f', b'1', ..]
                | [b'h', b'e', b'v', b'c' | b'x' | b'm' | b's', ..] => Self::ImageSequence,
                [b'h', b'e', b'i', b'c' | b'x' | b'm' | b's', ..]
                | [b'm', b'i', b'f', b'1' | b'2', ..]
                | [b'a', b'v', b'i', b'f', ..] => Self::Image(ImageFormat::Heif),
                [b'c', b'r', b'x', b' ', ..] => {
                    unsupported("a raw picture of a Canon camera (CR3)")
                }
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }
}
