use super::evidence::{Evidence, Feeding, is_float, is_integer, matrix};
use super::name::FamilyName;
use crate::decoders::{Decoder, RowLayout, Rows};
use crate::onnx_file::Declared;
use crate::reading::{ExtraKind, Reading};

/// PaddleDetection's PicoDet, PP-YOLOE, RT-DETR and others with suppression in the graph: rows of
/// class, score and box, and their number. Some were trained on pictures normalised as for
/// ImageNet, and some, such as PP-YOLOE+, on values from 0 to 1.
pub(super) fn read(evidence: &Evidence<'_>) -> Vec<Reading> {
    let outputs = &evidence.file.outputs;
    let names = &evidence.manifest.output;
    let is_rows = |output: &&Declared| {
        is_float(output) && matrix(output).is_some_and(|(_, columns)| columns == Some(6))
    };
    let rows = match &names.boxes {
        Some(_) => evidence.chosen(&names.boxes, &[]),
        None => outputs.iter().find(is_rows).or_else(|| {
            // Paddle2ONNX leaves every dimension open, and the rows come first.
            outputs.first().filter(|output| is_float(output) && outputs.len() == 2)
        }),
    };
    let known = |kind| evidence.has_extra(kind);
    let Some(rows) = rows.filter(|_| known(ExtraKind::ScaleFactor)) else { return Vec::new() };
    let count = outputs.iter().find(|output| is_integer(output));
    let decoder = Decoder::Rows(Rows { layout: RowLayout::ClassScoreBox });
    let reading = |feeding: &Feeding, says| {
        let mut reading = evidence.reading(FamilyName::Paddle, feeding, decoder.clone());
        let used = [Some(rows), count].into_iter().flatten();
        reading.outputs = used.map(|output| output.name.clone()).collect();
        Reading { says, ..reading }
    };
    let imagenet = reading(
        &Feeding::IMAGENET,
        "[input] mean = [0.485, 0.456, 0.406], std = [0.229, 0.224, 0.225]",
    );
    let shares = reading(&Feeding::SHARES, "[input] mean = [0, 0, 0], std = [1, 1, 1]");
    if evidence.mentions(&["picodet", "pico_"]) {
        vec![imagenet]
    } else if evidence.mentions(&["rtdetr", "hgnet"]) {
        vec![shares]
    } else {
        vec![imagenet, shares]
    }
}
