use moliceiro_messages::Size;

use crate::candidate::Candidate;
use crate::detector::Detector;
use crate::frame_error::FrameError;
use crate::nms::suppress;
use crate::picture::Picture;
use crate::pixels::Samples;

/// The steps of [`Detector::detect`] one by one, to measure each of them.
pub struct Steps {
    detector: Detector,
    kept: Vec<Candidate>,
}

impl Steps {
    /// The steps of this detector.
    pub fn of(detector: Detector) -> Self {
        Self { detector, kept: vec![] }
    }

    /// Decodes the picture's JPEG, if it has one. [`Samples::tensor`] is the next step.
    pub fn payload<'a>(
        &'a mut self,
        picture: impl Into<Picture<'a>>,
    ) -> Result<Samples<'a>, FrameError> {
        Ok(self.detector.pixels.decode(picture.into())?)
    }

    /// The model's output for the picture.
    pub fn output<'a>(&mut self, picture: impl Into<Picture<'a>>) -> Result<Vec<f32>, FrameError> {
        let Detector { session, pixels, .. } = &mut self.detector;
        let picture = picture.into();
        let mut samples = pixels.decode(picture)?;
        Ok(session.infer(samples.tensor(), picture.size, |_, output| output.to_vec())?)
    }

    /// How many boxes of a picture's output score above the threshold.
    pub fn boxes(&mut self, output: &[f32], size: Size) -> usize {
        let Detector { session, threshold, candidates, .. } = &mut self.detector;
        let model = session.model();
        candidates.clear();
        let decoder = model.manifest.family.decoder();
        decoder.decode(output, model.labels.len(), size, *threshold, candidates);
        candidates.len()
    }

    /// How many of the boxes that [`Self::boxes`] found remain after suppression.
    pub fn suppress(&mut self) -> usize {
        self.kept.clone_from(&self.detector.candidates);
        suppress(&mut self.kept, self.detector.iou);
        self.kept.len()
    }
}
