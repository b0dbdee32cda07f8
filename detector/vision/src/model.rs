use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use moliceiro_messages::{Fit, Size};

use crate::manifest::{Manifest, ManifestError};
use crate::model_error::ModelError;

const FLOAT: &str = "nanodet";
const INT8: &str = "nanodet-int8";
const BUILTIN_MANIFEST: &str = include_str!("../models/nanodet.toml");
const BUILTIN_LABELS: &str = include_str!("../models/coco-labels.txt");
static FLOAT_ONNX: &[u8] = include_bytes!("../models/nanodet.onnx");
static INT8_ONNX: &[u8] = include_bytes!("../models/nanodet-int8.onnx");

/// A model and its manifest. The manifest is checked in itself;
/// [`Detector::new`](crate::Detector::new) compares it with the model.
#[derive(Clone, Debug)]
pub struct Model {
    pub(crate) name: String,
    pub(crate) weights: Weights,
    pub(crate) manifest: Manifest,
    pub(crate) labels: Vec<String>,
}

/// Where the ONNX graph comes from.
#[derive(Clone, Debug)]
pub(crate) enum Weights {
    Builtin(&'static [u8]),
    /// ONNX Runtime reads it, as a graph may refer to further files beside it.
    File(PathBuf),
}

impl Model {
    /// The built-in model `nanodet`: NanoDet with the 80 classes of COCO, in float32.
    pub fn builtin() -> Self {
        Self::compiled_in(FLOAT, FLOAT_ONNX)
    }

    /// The built-in model `nanodet-int8`: the same with convolutions in 8-bit integers. It is
    /// faster where [`Self::suits_processor`], and a little less exact.
    pub fn builtin_int8() -> Self {
        Self::compiled_in(INT8, INT8_ONNX)
    }

    /// The model that a setting or option names: a built-in one by its name, else a file as for
    /// [`open`](Self::open). `None` is the default, [`builtin`](Self::builtin).
    pub fn resolve(model: Option<&Path>) -> Result<Self, ModelError> {
        match model {
            None => Ok(Self::builtin()),
            Some(model) if model == Path::new(FLOAT) => Ok(Self::builtin()),
            Some(model) if model == Path::new(INT8) => Ok(Self::builtin_int8()),
            Some(path) => Self::open(path),
        }
    }

    fn compiled_in(name: &str, onnx: &'static [u8]) -> Self {
        #[expect(
            clippy::expect_used,
            reason = "the manifest and the labels are compiled in, and a test parses them"
        )]
        let (manifest, labels) = parse(BUILTIN_MANIFEST, |_| Ok(BUILTIN_LABELS.to_owned()))
            .expect("the built-in manifest");
        Self { name: name.to_owned(), weights: Weights::Builtin(onnx), manifest, labels }
    }

    /// A model of your own: the path of its `.onnx` file, or of the `.toml` manifest with the same
    /// name beside it.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        if !path.extension().is_some_and(|extension| extension == "onnx" || extension == "toml") {
            return Err(ModelError::NotAModel(path.to_owned()));
        }
        let onnx = path.with_extension("onnx");
        let manifest_path = path.with_extension("toml");
        match File::open(&onnx).and_then(|file| file.metadata()) {
            Ok(metadata) if metadata.is_file() => {}
            Ok(_) => return Err(ModelError::NotAModel(onnx)),
            Err(e) if e.kind() == ErrorKind::NotFound => return Err(ModelError::Missing(onnx)),
            Err(source) => return Err(ModelError::Unreadable { path: onnx, source }),
        }
        let text = match std::fs::read_to_string(&manifest_path) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound => {
                return Err(ModelError::NoManifest { model: onnx, manifest: manifest_path });
            }
            Err(source) => return Err(ModelError::Unreadable { path: manifest_path, source }),
        };
        let read_beside =
            |file: &Path| std::fs::read_to_string(manifest_path.with_file_name("").join(file));
        let (manifest, labels) = parse(&text, read_beside)
            .map_err(|source| ModelError::Manifest { path: manifest_path.clone(), source })?;
        let name = onnx.display().to_string();
        Ok(Self { name, weights: Weights::File(onnx), manifest, labels })
    }

    /// False if it is the built-in 8-bit model and this processor lacks the instructions that make
    /// it fast and exact: VNNI on x86-64, the dot product on arm64.
    ///
    /// Without VNNI, x86-64 adds two products of 8-bit integers in 16 bits, and may saturate:
    /// <https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html>.
    pub fn suits_processor(&self) -> bool {
        self.name != INT8 || multiplies_bytes()
    }

    /// The built-in model's name, or the path of the model's file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The built-in model's name, or the name of the model's file without its folders, which differ
    /// between machines.
    pub fn short_name(&self) -> &str {
        Path::new(&self.name).file_name().and_then(|name| name.to_str()).unwrap_or(&self.name)
    }

    /// The names of the classes, in the model's order.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The size of picture that the model works best with.
    pub fn size(&self) -> Size {
        self.manifest.size()
    }

    /// How frames are best fitted into that size.
    pub fn fit(&self) -> Fit {
        self.manifest.input.fit
    }

    /// True if the model takes the pictures that such a fit makes.
    pub fn takes_fitted(&self, fit: Fit) -> bool {
        self.manifest.input.takes_fitted(fit)
    }

    /// True if the model takes pictures of this size.
    pub fn takes(&self, size: Size) -> bool {
        self.manifest.input.takes(size)
    }
}

#[cfg(target_arch = "x86_64")]
fn multiplies_bytes() -> bool {
    std::arch::is_x86_feature_detected!("avx512vnni")
        || std::arch::is_x86_feature_detected!("avxvnni")
}

#[cfg(target_arch = "aarch64")]
fn multiplies_bytes() -> bool {
    std::arch::is_aarch64_feature_detected!("dotprod")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn multiplies_bytes() -> bool {
    false
}

fn parse(
    text: &str,
    read: impl FnOnce(&Path) -> std::io::Result<String>,
) -> Result<(Manifest, Vec<String>), ManifestError> {
    let manifest = Manifest::parse(text)?;
    let labels = manifest.labels.names(read)?;
    Ok((manifest, labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_builtin_model_has_the_classes_of_coco() {
        let model = Model::builtin();
        assert_eq!(model.labels().len(), 80);
        assert_eq!(
            [model.labels()[0].as_str(), model.labels()[79].as_str()],
            ["person", "toothbrush"]
        );
        assert!(model.takes(model.size()) && model.takes(Size { width: 416, height: 192 }));
    }
}
