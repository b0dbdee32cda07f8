use moliceiro_messages::Size;

use crate::decoders::Decoder;
use crate::families::FamilyName;
use crate::input::Input;

/// One way to understand a model: how it is fed, and what its outputs mean.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reading {
    pub family: FamilyName,
    pub input: Input,
    pub extras: Vec<Extra>,
    /// The names of the outputs, in the decoder's order.
    pub outputs: Vec<String>,
    pub decoder: Decoder,
    /// How many classes the model has, where its shapes tell it.
    pub classes: Option<usize>,
    /// The names of COCO's classes that suit a model without names.
    pub coco: Coco,
    /// Whether boxes that overlap are removed.
    pub nms: bool,
    pub threshold: f32,
    pub iou: f32,
    /// What a manifest has to say to choose this reading.
    pub says: &'static str,
}

/// How a family numbers COCO's classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coco {
    /// The 80 classes.
    Classes,
    /// COCO's own numbers from 1 to 90, with gaps.
    Ids,
}

/// An input besides the picture. It is filled so that boxes are in the picture's pixels.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Extra {
    pub name: String,
    pub kind: ExtraKind,
    pub number: Number,
    /// Dimensions that the graph leaves open are `None`.
    pub shape: Vec<Option<u64>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExtraKind {
    /// Paddle's: the picture was not scaled.
    ScaleFactor,
    /// Paddle's: height and width.
    Height,
    /// RT-DETR's `orig_target_sizes`: width and height.
    Width,
    /// Hugging Face's: which pixels belong to the picture.
    PixelMask,
}

/// The type of an extra input's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    Float32,
    Float16,
    Int32,
    Int64,
    Bool,
}

/// Entries of an extra input: a mask of the largest picture.
const MOST_ENTRIES: u64 = 1 << 22;

impl Extra {
    /// Its shape and values for pictures of this size, `None` if it is too large.
    pub fn values(&self, size: Size) -> Option<(Vec<i64>, Vec<f32>)> {
        let (width, height) = (size.width as f32, size.height as f32);
        let [first, second] = match self.kind {
            ExtraKind::ScaleFactor => [1.0, 1.0],
            ExtraKind::Height => [height, width],
            ExtraKind::Width => [width, height],
            ExtraKind::PixelMask => return self.mask(size),
        };
        let count = if self.shape.last() == Some(&Some(3)) { 3 } else { 2 };
        let batch = self.shape.len() > 1;
        let shape = batch.then_some(1).into_iter().chain([count]).collect();
        let values = [first, second, 1.0];
        Some((shape, values.into_iter().take(if count == 3 { 3 } else { 2 }).collect()))
    }

    fn mask(&self, size: Size) -> Option<(Vec<i64>, Vec<f32>)> {
        let own = [1, u64::from(size.height), u64::from(size.width)];
        let skipped = own.len().saturating_sub(self.shape.len());
        let declared = self.shape.iter().zip(own.iter().skip(skipped));
        let shape: Vec<u64> = declared.map(|(length, own)| length.unwrap_or(*own)).collect();
        let entries = shape.iter().try_fold(1u64, |product, length| product.checked_mul(*length));
        let entries = entries.filter(|entries| *entries <= MOST_ENTRIES)?;
        let shape = shape.into_iter().map(i64::try_from).collect::<Result<_, _>>().ok()?;
        Some((shape, vec![1.0; usize::try_from(entries).ok()?]))
    }
}
