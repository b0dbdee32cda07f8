use super::evidence::{Evidence, Feeding, is_integer};
use super::name::FamilyName;
use crate::decoders::{BoxFormat, Decoder, Lists};
use crate::reading::{ExtraKind, Reading};
use moliceiro_messages::Scaling;

/// RT-DETR, D-FINE and DEIM, exported by their own scripts: the graph takes the size in which
/// boxes are returned, and the batch axis may be squeezed.
pub(super) fn read(evidence: &Evidence<'_>) -> Vec<Reading> {
    let names = &evidence.manifest.output;
    let boxes = evidence.chosen(&names.boxes, &["boxes"]);
    let classes = evidence.chosen(&names.classes, &["labels"]);
    let scores = evidence.chosen(&names.scores, &["scores"]);
    let (Some(boxes), Some(classes), Some(scores)) = (boxes, classes, scores) else {
        return Vec::new();
    };
    let is_batch = boxes.shape.as_ref().is_some_and(|shape| shape.len() == 3);
    let has_size = evidence.has_extra(ExtraKind::Width);
    // Forks return pixels of the input's own size, and need no other.
    let is_fork = is_batch && evidence.extras.is_empty() && is_integer(classes);
    if !has_size && !is_fork {
        return Vec::new();
    }
    let first_class = evidence.manifest.family.as_ref().and_then(|family| family.first_class);
    let decoder =
        Decoder::Lists(Lists { boxes: BoxFormat::Pixels, first_class: first_class.unwrap_or(0) });
    // DEIMv2 with a backbone of DINO normalises; the others do not.
    let feeding = if evidence.mentions(&["dinov"]) { Feeding::IMAGENET } else { Feeding::SHARES };
    // They scale with Pillow.
    let feeding = Feeding { scaling: Scaling::Smooth, ..feeding };
    let mut reading = evidence.reading(FamilyName::RtDetrExport, &feeding, decoder);
    reading.outputs = [boxes, classes, scores].map(|output| output.name.clone()).to_vec();
    vec![reading]
}
