use super::evidence::{Evidence, Feeding, is_float, is_integer, rank};
use super::name::FamilyName;
use crate::decoders::{BoxFormat, Decoder, Lists};
use crate::onnx_file::Declared;
use crate::reading::{Coco, Reading};
use moliceiro_messages::Fit;

/// torchvision's SSD, RetinaNet, FCOS and Faster R-CNN: boxes in pixels, COCO's own numbers of
/// classes with 0 for the background. The graph normalises and scales the picture itself.
pub(super) fn read(evidence: &Evidence<'_>) -> Vec<Reading> {
    let [boxes, classes, scores] = match by_name(evidence).or_else(|| by_type(evidence)) {
        Some(outputs) if evidence.extras.is_empty() => outputs,
        _ => return Vec::new(),
    };
    let has_batch = rank(boxes) == Some(3) || rank(classes) == Some(2);
    if has_batch || !is_integer(classes) {
        return Vec::new();
    }
    let first_class = evidence.manifest.family.as_ref().and_then(|family| family.first_class);
    let decoder =
        Decoder::Lists(Lists { boxes: BoxFormat::Pixels, first_class: first_class.unwrap_or(1) });
    let open = Feeding { fit: Fit::Area, ..Feeding::SHARES };
    let mut reading = evidence.reading(FamilyName::Torchvision, &open, decoder);
    if reading.input.multiple_of.is_none() {
        // SSD stretches pictures; the others keep their shape.
        let is_ssd = evidence.mentions(&["ssd", "module_list", "backbone.extra"]);
        reading.input.fit = if is_ssd { Fit::Stretch } else { Fit::Letterbox };
    }
    reading.outputs = [boxes, classes, scores].map(|output| output.name.clone()).to_vec();
    reading.coco = Coco::Ids;
    vec![reading]
}

fn by_name<'a>(evidence: &Evidence<'a>) -> Option<[&'a Declared; 3]> {
    let names = &evidence.manifest.output;
    Some([
        evidence.chosen(&names.boxes, &["boxes"])?,
        evidence.chosen(&names.classes, &["labels"])?,
        evidence.chosen(&names.scores, &["scores"])?,
    ])
}

/// An export without names for its outputs: [M, 4] of floats, [M] of integers, [M] of floats.
fn by_type<'a>(evidence: &Evidence<'a>) -> Option<[&'a Declared; 3]> {
    let outputs = &evidence.file.outputs;
    let find = |is: &dyn Fn(&Declared) -> bool| {
        let mut found = outputs.iter().filter(|output| is(output));
        found.next().filter(|_| found.next().is_none())
    };
    // torchvision's graphs normalise pictures; others, such as maskrcnn-benchmark's, begin with a
    // convolution.
    if outputs.len() != 3 || evidence.begins_with("Conv") {
        return None;
    }
    let columns = |output: &Declared| output.shape.as_ref().and_then(|shape| shape.last().copied());
    Some([
        find(&|output| {
            is_float(output) && rank(output) == Some(2) && columns(output) == Some(Some(4))
        })?,
        find(&|output| is_integer(output) && rank(output) == Some(1))?,
        find(&|output| is_float(output) && rank(output) == Some(1))?,
    ])
}
