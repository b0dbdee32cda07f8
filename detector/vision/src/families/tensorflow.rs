use super::evidence::{Evidence, Feeding, is_float};
use super::name::FamilyName;
use crate::decoders::{BoxFormat, Decoder, Lists};
use crate::fit::Fit;
use crate::input::{Element, Layout};
use crate::reading::{Coco, Reading};

/// TensorFlow's Object Detection API, converted by tf2onnx: bytes with the colours last; boxes in
/// shares as top, left, bottom, right; classes from 1.
pub(super) fn read(evidence: &Evidence<'_>) -> Vec<Reading> {
    let names = &evidence.manifest.output;
    let output = |manifest, name| evidence.chosen(manifest, &[name]);
    let boxes = output(&names.boxes, "detection_boxes");
    let classes = output(&names.classes, "detection_classes");
    let scores = output(&names.scores, "detection_scores");
    let (Some(boxes), Some(classes), Some(scores)) = (boxes, classes, scores) else {
        return Vec::new();
    };
    if !is_float(boxes) || !is_float(scores) {
        return Vec::new();
    }
    let first_class = evidence.manifest.family.as_ref().and_then(|family| family.first_class);
    let decoder = Decoder::Lists(Lists {
        boxes: BoxFormat::TopLeftShares,
        first_class: first_class.unwrap_or(1),
    });
    // The graph scales the picture itself; where it takes any size, the shape is kept.
    let open = Feeding { size: [640, 480], fit: Fit::Area, multiple_of: 1, ..Feeding::BYTES };
    let mut reading = evidence.reading(FamilyName::Tensorflow, &open, decoder);
    if reading.input.multiple_of.is_none() {
        reading.input.fit = Fit::Stretch;
    }
    if reading.input.layout == Layout::Nhwc && reading.input.element == Element::Float32 {
        // Models that take floats take them from -1 to 1.
        (reading.input.mean, reading.input.std) = ([127.5; 3], [127.5; 3]);
    }
    let count = output(&names.count, "num_detections");
    let outputs = [Some(boxes), Some(classes), Some(scores), count];
    reading.outputs = outputs.into_iter().flatten().map(|output| output.name.clone()).collect();
    reading.coco = Coco::Ids;
    vec![reading]
}
