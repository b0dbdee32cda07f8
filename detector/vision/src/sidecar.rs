use std::path::Path;

use serde::Deserialize;

use crate::families::FamilyName;
use crate::manifest::Manifest;

/// The files that Hugging Face's exports have beside them.
const CONFIG: &str = "config.json";
const PREPROCESSOR: &str = "preprocessor_config.json";
/// They are small; a larger file is another one.
const MOST_BYTES: u64 = 1 << 20;

#[derive(Deserialize)]
struct Config {
    model_type: Option<String>,
    id2label: Option<std::collections::BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Preprocessor {
    do_normalize: Option<bool>,
    image_mean: Option<[f32; 3]>,
    image_std: Option<[f32; 3]>,
}

/// Completes the manifest by what `config.json` and `preprocessor_config.json` beside the model
/// say, and returns the names of the classes.
pub(crate) fn read(
    onnx: &Path,
    manifest: &mut Manifest,
    named: Option<(String, Vec<String>)>,
) -> Option<(String, Vec<String>)> {
    let Some(config) = json::<Config>(onnx, CONFIG) else { return named };
    let family = config.model_type.as_deref().and_then(family);
    // Another program's file has this name, too.
    let Some(family) = family else { return named };
    if manifest.family.is_none() {
        manifest.family = Some(crate::families::FamilyChoice::of(family));
    }
    let input = &mut manifest.input;
    if let Some(preprocessor) = json::<Preprocessor>(onnx, PREPROCESSOR)
        && input.mean.is_none()
        && input.std.is_none()
    {
        let normalises = preprocessor.do_normalize.unwrap_or(true);
        input.mean = if normalises { preprocessor.image_mean } else { Some([0.0; 3]) };
        input.std = if normalises { preprocessor.image_std } else { Some([1.0; 3]) };
    }
    named.or_else(|| {
        let mut labels: Vec<(usize, String)> = config
            .id2label?
            .into_iter()
            .filter_map(|(id, label)| Some((id.parse().ok()?, label)))
            .collect();
        labels.sort();
        let labels: Vec<String> = labels.into_iter().map(|(_, label)| label).collect();
        (!labels.is_empty()).then(|| (format!("{CONFIG}, id2label"), labels))
    })
}

fn family(model_type: &str) -> Option<FamilyName> {
    match model_type {
        "rt_detr" | "rt_detr_v2" | "d_fine" | "rtdetr" | "dfine" => Some(FamilyName::RtDetr),
        "rf_detr" | "deformable_detr" | "conditional_detr" | "deta" => Some(FamilyName::RfDetr),
        "detr" | "yolos" | "table-transformer" => Some(FamilyName::Detr),
        _ => None,
    }
}

fn json<T: for<'de> Deserialize<'de>>(onnx: &Path, name: &str) -> Option<T> {
    let path = onnx.with_file_name(name);
    let is_small = |metadata: std::fs::Metadata| metadata.len() <= MOST_BYTES;
    if !std::fs::metadata(&path).is_ok_and(is_small) {
        return None;
    }
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}
