use super::evidence::{is_float, rank};
use super::unrecognised::Unrecognised;
use crate::onnx_file::{Declared, OnnxFile};

/// Parts of an output's name, and the kind of model that has it.
const NAMES: [(&str, &str); 7] = [
    ("keypoint", "keypoint"),
    ("kpts", "keypoint"),
    ("heatmap", "keypoint"),
    ("simcc", "keypoint"),
    ("mask", "segmentation"),
    ("proto", "segmentation"),
    ("segm", "segmentation"),
];

/// Fails if the model does something else than to find objects.
pub(super) fn check(file: &OnnxFile, has_labels: bool) -> Result<(), Unrecognised> {
    let refused = |kind, reason: String| Err(Unrecognised::Kind { kind, reason });
    if let Some(task) = file.metadata.get("task") {
        let kind = match task.trim() {
            "segment" | "semantic" => Some("segmentation"),
            "pose" => Some("keypoint"),
            "classify" => Some("classification"),
            "obb" => Some("rotated box"),
            "depth" => Some("depth"),
            _ => None,
        };
        if let Some(kind) = kind {
            return refused(kind, format!("its metadata has task = {task}"));
        }
    }
    if file.metadata.contains_key("kpt_shape") {
        return refused("keypoint", "its metadata has kpt_shape".to_owned());
    }
    for output in &file.outputs {
        let name = output.name.to_lowercase();
        if let Some((part, kind)) = NAMES.iter().find(|(part, _)| name.contains(part)) {
            return refused(kind, format!("its output {:?} has {part} in its name", output.name));
        }
    }
    let ranks: Vec<Option<usize>> = file.outputs.iter().map(rank).collect();
    match (&file.outputs[..], &ranks[..]) {
        // Ultralytics' prototypes of masks.
        ([rows, masks], [Some(3), Some(4)]) if is_float(rows) && is_float(masks) => {
            refused("segmentation", format!("its output {:?} has 4 dimensions", masks.name))
        }
        ([output], [Some(4)]) if output.shape.as_ref().is_some_and(|s| s[2..] == [Some(1); 2]) => {
            let reason = format!("its only output {:?} has one score for each class", output.name);
            refused("classification", reason)
        }
        ([output, others @ ..], [Some(4), ..])
            if others.iter().all(|other| other.shape == output.shape) =>
        {
            let reason = format!("its output {:?} has 4 dimensions", output.name);
            refused("segmentation or keypoint", reason)
        }
        ([output], [Some(2)]) if is_classes(output) => {
            let reason = format!("its only output {:?} has one score for each class", output.name);
            refused("classification", reason)
        }
        ([output], [Some(3)]) if is_pose(output) && !has_labels => {
            let reason = format!(
                "its output {:?} has 56 rows, those of 17 key points; if these are 52 classes, \
                 name them with labels in its manifest",
                output.name
            );
            refused("keypoint", reason)
        }
        _ => Ok(()),
    }
}

/// [1, classes], and not rows of 6 or 7 numbers.
fn is_classes(output: &Declared) -> bool {
    match output.shape.as_deref() {
        Some([batch, Some(classes)]) => {
            is_float(output) && batch.is_none_or(|batch| batch == 1) && ![6, 7].contains(classes)
        }
        _ => false,
    }
}

/// [1, 4 + 1 + 17 · 3, boxes], YOLOv8's key points.
fn is_pose(output: &Declared) -> bool {
    matches!(output.shape.as_deref(), Some([_, Some(56), boxes]) if *boxes != Some(6))
}
