use gstreamer_video::{
    VideoColorMatrix, VideoColorPrimaries, VideoColorRange, VideoColorimetry, VideoFormat,
    VideoInfo, VideoTransferFunction,
};
use moliceiro_messages::{Color, Matrix};

/// What the values of an I420 picture made from frames of `source` mean, for GStreamer's converter
/// and for the detector.
pub(super) struct PictureColor {
    /// What to tell the converter that the source's values mean.
    pub(super) source: VideoColorimetry,
    /// What to ask of the converter.
    pub(super) picture: VideoColorimetry,
    pub(super) color: Color,
}

/// Y'CbCr keeps its values. R'G'B' becomes what a JPEG is by its standard (JFIF): BT.601 of full
/// range.
pub(super) fn of_picture(source: &VideoInfo) -> PictureColor {
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

/// Puts GStreamer's own defaults for a size in place of what a stream leaves open.
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
