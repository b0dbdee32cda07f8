/// A box that the model's output holds and that scores above the threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Candidate {
    /// Index into the model's labels.
    pub class: usize,
    /// 0 to 1.
    pub score: f32,
    /// Left, top, right, bottom, in pixels.
    pub bounds: [f32; 4],
}
