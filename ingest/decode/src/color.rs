use gstreamer_video::{
    VideoColorMatrix, VideoColorPrimaries, VideoColorRange, VideoColorimetry, VideoFormat,
    VideoInfo, VideoTransferFunction,
};
use moliceiro_messages::{Color, Matrix};

/// What the values of a frame and of its picture mean.
pub(crate) struct PictureColor {
    /// The frame's colours, for GStreamer's converter.
    pub(crate) source: VideoColorimetry,
    /// The picture's colours, for GStreamer's converter.
    pub(crate) picture: VideoColorimetry,
    /// The picture's colours, for detectors.
    pub(crate) color: Color,
}

/// The colours of pictures of frames in the format `source`.
///
/// Y'CbCr keeps its values. R'G'B' becomes BT.601 with full range, as in a JPEG (JFIF).
pub(crate) fn of_picture(source: &VideoInfo) -> PictureColor {
    let given = source.colorimetry();
    if source.is_rgb() || given.matrix() == VideoColorMatrix::Rgb {
        let picture = VideoColorimetry::new(
            VideoColorRange::Range0_255,
            VideoColorMatrix::Bt601,
            given.transfer(),
            given.primaries(),
        );
        return PictureColor {
            source: given,
            picture,
            color: Color { matrix: Matrix::Bt601, full_range: true },
        };
    }
    let known = fill_in(given, source);
    let matrix = match known.matrix() {
        VideoColorMatrix::Bt709 | VideoColorMatrix::Smpte240m => Matrix::Bt709,
        VideoColorMatrix::Bt2020 => Matrix::Bt2020,
        _ => Matrix::Bt601,
    };
    let color = Color { matrix, full_range: known.range() == VideoColorRange::Range0_255 };
    PictureColor { source: known, picture: known, color }
}

/// Replaces what a stream leaves open by GStreamer's defaults for frames of its size.
fn fill_in(given: VideoColorimetry, source: &VideoInfo) -> VideoColorimetry {
    let default = VideoInfo::builder(VideoFormat::I420, source.width(), source.height())
        .build()
        .map(|info| info.colorimetry());
    let Ok(default) = default else { return given };
    let range =
        if given.range() == VideoColorRange::Unknown { default.range() } else { given.range() };
    let matrix =
        if given.matrix() == VideoColorMatrix::Unknown { default.matrix() } else { given.matrix() };
    let transfer = if given.transfer() == VideoTransferFunction::Unknown {
        default.transfer()
    } else {
        given.transfer()
    };
    let primaries = if given.primaries() == VideoColorPrimaries::Unknown {
        default.primaries()
    } else {
        given.primaries()
    };
    VideoColorimetry::new(range, matrix, transfer, primaries)
}
