//! Measured figures. `docs/capacity.md` says how each was measured; a test compares the two.

/// A model's speed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ModelFigure {
    pub(crate) model: &'static str,
    /// Frames a second of a detector on one core, in processes of their own, with frames as JPEG.
    pub(crate) frames_per_core: f64,
}

/// 42.2 frames/s with two detectors on two cores; the 8-bit model takes 1 / 2.3 of the time of a
/// frame, on processors with VNNI.
pub(crate) const MODELS: [ModelFigure; 2] = [
    ModelFigure { model: "nanodet", frames_per_core: 21.1 },
    ModelFigure { model: "nanodet-int8", frames_per_core: 48.5 },
];

/// Pixels a second that one process decodes and makes smaller: 150 frames of 1280 × 720, H.264.
pub(crate) const DECODED_PIXELS: f64 = 150.0 * 1280.0 * 720.0;
/// The cores that this took.
pub(crate) const DECODING_CORES: f64 = 2.0;

/// Bytes of a frame in the queue: JPEG of 416 × 416, the largest of the samples.
pub(crate) const FRAME_BYTES: f64 = 62e3;
/// Bytes of a result, with all objects above 0.1, on a busy street.
pub(crate) const RESULT_BYTES: f64 = 771.0;
/// Results a second that one aggregator counts, of 100 videos.
pub(crate) const RESULTS_PER_AGGREGATOR: f64 = 93_449.0;
/// Seconds of processor time of the server for a frame and its result: 1.8 ms.
pub(crate) const SERVER_SECONDS: f64 = 0.0018;

/// Peak memory, in MB: of an ingest for a video of 1920 × 1080, of a detector with one session, of
/// an aggregator with 1,000 videos, of the server.
pub(crate) const INGEST_MB: f64 = 142.0;
pub(crate) const DETECTOR_MB: f64 = 169.0;
pub(crate) const AGGREGATOR_MB: f64 = 32.0;
pub(crate) const SERVER_MB: f64 = 82.0;

/// The part of a core that is planned for: the rest is for what nobody planned.
pub(crate) const USED: f64 = 0.7;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_each_figure() {
        let page = include_str!("../../../docs/capacity.md");
        let figures = MODELS.map(|figure| figure.frames_per_core.to_string());
        let memory = [INGEST_MB, DETECTOR_MB, AGGREGATOR_MB, SERVER_MB].map(|mb| mb.to_string());
        let others = [
            "150 of 1280 × 720".to_owned(),
            format!("{} kB", FRAME_BYTES / 1e3),
            format!("{RESULT_BYTES} bytes"),
            "93,449 results/s".to_owned(),
            format!("{} ms", SERVER_SECONDS * 1e3),
            format!("{} MB", memory.join(", ")),
            format!("{} % of a core", USED * 100.0),
        ];
        for figure in figures.into_iter().chain(others) {
            assert!(page.contains(&figure), "{figure}");
        }
        assert_eq!(RESULTS_PER_AGGREGATOR, 93_449.0);
    }
}
