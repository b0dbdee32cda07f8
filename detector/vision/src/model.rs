use std::fs::File;
use std::io::{Cursor, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use moliceiro_messages::{Fit, Letterbox, Size};

use crate::description::Description;
use crate::families::{Recognised, recognise};
use crate::fit;
use crate::labels;
use crate::manifest::{Manifest, ManifestError};
use crate::model_error::ModelError;
use crate::onnx_file::OnnxFile;
use crate::reading::Reading;
use crate::sidecar;

const FLOAT: &str = "nanodet";
const INT8: &str = "nanodet-int8";
const NO_FILES: &str = "write the names themselves into the manifest: labels = [\"boat\", \"net\"]";
const BUILTIN_MANIFEST: &str = include_str!("../models/nanodet.toml");
const BUILTIN_LABELS: &str = include_str!("../models/coco-labels.txt");
static FLOAT_ONNX: &[u8] = include_bytes!("../models/nanodet.onnx");
static INT8_ONNX: &[u8] = include_bytes!("../models/nanodet-int8.onnx");

/// Reads a file that the manifest names.
type ReadBeside<'a> = dyn Fn(&Path) -> std::io::Result<String> + 'a;

/// A model, with what its file and its manifest say about it. Where they allow several readings,
/// [`settled`](Self::settled) tries them, as [`Detector::new`](crate::Detector::new) does.
#[derive(Clone, Debug)]
pub struct Model {
    pub(crate) name: String,
    pub(crate) weights: Weights,
    pub(crate) file: Arc<OnnxFile>,
    pub(crate) manifest: Manifest,
    /// The names of its classes, and what has them.
    pub(crate) named: Option<(String, Vec<String>)>,
    /// At least one.
    pub(crate) readings: Vec<Reading>,
    pub(crate) labels: Vec<String>,
    /// How the only reading was found, if it is the only one.
    pub(crate) settled: Option<Settled>,
}

/// How a reading was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// By what the file and the manifest say.
    File,
    /// By the output for a blank picture.
    BlankPicture,
    /// By a trial on a picture with known objects.
    Trial,
}

/// Where the ONNX graph comes from.
#[derive(Clone, Debug)]
pub(crate) enum Weights {
    Builtin(&'static [u8]),
    Bytes(Arc<[u8]>),
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
        let labels = |_: &Path| Ok(BUILTIN_LABELS.to_owned());
        #[expect(clippy::expect_used, reason = "its parts are compiled in, and a test reads them")]
        Self::read(name.to_owned(), Weights::Builtin(onnx), Some(BUILTIN_MANIFEST), Some(&labels))
            .expect("the built-in model")
    }

    /// A model of your own: the path of its `.onnx` file, or of the `.toml` manifest with the same
    /// name beside it. The manifest may be missing.
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
            Ok(text) => Some(text),
            // Who names the manifest wants it to be read.
            Err(e) if e.kind() == ErrorKind::NotFound && path == manifest_path => {
                return Err(ModelError::Missing(manifest_path));
            }
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            Err(source) => return Err(ModelError::Unreadable { path: manifest_path, source }),
        };
        let read_beside =
            |file: &Path| std::fs::read_to_string(manifest_path.with_file_name("").join(file));
        let name = onnx.display().to_string();
        Self::read(name, Weights::File(onnx), text.as_deref(), Some(&read_beside))
    }

    /// A model that somebody else sent: `name` instead of the file's in errors, and its manifest.
    /// Nothing else is read: neither weights nor labels in other files.
    pub fn open_alone(
        name: &str,
        onnx: PathBuf,
        manifest: Option<&str>,
    ) -> Result<Self, ModelError> {
        let model = Self::read(name.to_owned(), Weights::File(onnx), manifest, None)?;
        model.check_one_file()?;
        Ok(model)
    }

    /// Fails if some of its weights are in other files.
    pub fn check_one_file(&self) -> Result<(), ModelError> {
        match self.file.external.first() {
            Some(file) => {
                Err(ModelError::SeveralFiles { model: self.name.clone(), file: file.clone() })
            }
            None => Ok(()),
        }
    }

    /// A model that is not in a file. Its manifest, in TOML, has the labels themselves, not the
    /// name of a file.
    pub fn from_bytes(
        name: &str,
        onnx: Arc<[u8]>,
        manifest: Option<&str>,
    ) -> Result<Self, ModelError> {
        Self::read(name.to_owned(), Weights::Bytes(onnx), manifest, None)
    }

    /// `read_beside` reads files of a model that may have some.
    fn read(
        name: String,
        weights: Weights,
        manifest: Option<&str>,
        read_beside: Option<&ReadBeside<'_>>,
    ) -> Result<Self, ModelError> {
        let file = read_onnx(&name, &weights)?;
        let in_manifest = |source: ManifestError| ModelError::Manifest {
            path: Path::new(&name).with_extension("toml"),
            source,
        };
        let mut parsed = Manifest::parse(manifest.unwrap_or_default()).map_err(in_manifest)?;
        let named = match &parsed.labels {
            Some(labels) => {
                let none = |_: &Path| Err(std::io::Error::other(NO_FILES));
                let names = labels.names(read_beside.unwrap_or(&none)).map_err(in_manifest)?;
                Some(("the manifest".to_owned(), names))
            }
            None => labels::of_metadata(&file)
                .map(|(key, names)| (format!("the file's metadata, {key}"), names)),
        };
        let named = match &weights {
            Weights::File(path) if read_beside.is_some() => {
                sidecar::read(path, &file, &mut parsed, named)
            }
            _ => named,
        };
        let count = named.as_ref().map(|(_, names)| names.len());
        let unrecognised =
            |source| ModelError::Unrecognised { model: name.clone(), source: Box::new(source) };
        let readings = match recognise(&file, &parsed, count).map_err(unrecognised)? {
            Recognised::As(readings) => readings,
            Recognised::Undetermined(provisional) => vec![provisional],
        };
        let mut model = Self {
            name,
            weights,
            file: Arc::new(file),
            manifest: parsed,
            named,
            readings,
            labels: Vec::new(),
            settled: None,
        };
        model.labels = model.labels_for(model.reading().classes);
        Ok(model)
    }

    /// The names of this many classes.
    pub(crate) fn labels_for(&self, classes: Option<usize>) -> Vec<String> {
        match &self.named {
            Some((_, names)) => names.clone(),
            None => labels::fallback(classes, self.reading().coco).1,
        }
    }

    /// The first reading, which is the only one once the model is settled.
    pub(crate) fn reading(&self) -> &Reading {
        &self.readings[0]
    }

    /// False if it is the built-in 8-bit model and this processor lacks the instructions that make
    /// it fast and exact: VNNI on x86-64, the dot product on arm64.
    ///
    /// Without VNNI, x86-64 adds two products of 8-bit integers in 16 bits, and may saturate:
    /// <https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html>.
    pub fn suits_processor(&self) -> bool {
        self.name != INT8 || multiplies_bytes()
    }

    /// The bytes of its ONNX file, if they are in memory: those of a built-in model are.
    pub fn bytes(&self) -> Option<&[u8]> {
        match &self.weights {
            Weights::Builtin(bytes) => Some(bytes),
            Weights::Bytes(bytes) => Some(bytes),
            Weights::File(_) => None,
        }
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
        self.reading().input.default_size()
    }

    /// Where a frame of this size lies in its picture, and the size of the picture, as the model
    /// wants to be fed.
    pub fn place(&self, frame: Size) -> (Letterbox, Size) {
        let input = &self.reading().input;
        fit::place(input.fit, frame, input.default_size(), input.multiple_of)
    }

    /// How frames are best fitted into that size.
    pub fn fit(&self) -> Fit {
        self.reading().input.fit
    }

    /// True if the model takes the pictures that such a fit makes.
    pub fn takes_fitted(&self, fit: Fit) -> bool {
        self.reading().input.takes_fitted(fit)
    }

    /// True if the model takes pictures of this size.
    pub fn takes(&self, size: Size) -> bool {
        self.reading().input.takes(size)
    }

    /// Everything that is known about the model. What is not settled may change.
    pub fn description(&self) -> Description {
        Description::of(self)
    }
}

/// Reads the description of an ONNX file, and checks that the files exist that it refers to.
fn read_onnx(name: &str, weights: &Weights) -> Result<OnnxFile, ModelError> {
    let malformed = |source| ModelError::NotOnnx { model: name.to_owned(), source };
    let of_bytes = |bytes: &[u8]| OnnxFile::read(Cursor::new(bytes), bytes.len() as u64);
    let (file, folder) = match weights {
        Weights::Builtin(bytes) => (of_bytes(bytes).map_err(malformed)?, None),
        Weights::Bytes(bytes) => (of_bytes(bytes).map_err(malformed)?, None),
        Weights::File(path) => {
            let unreadable = |source| ModelError::Unreadable { path: path.clone(), source };
            let opened = File::open(path).map_err(unreadable)?;
            let length = opened.metadata().map_err(unreadable)?.len();
            let file = OnnxFile::read(opened, length).map_err(malformed)?;
            (file, Some(path.with_file_name("")))
        }
    };
    for external in &file.external {
        let exists = |folder: &PathBuf| folder.join(external).is_file();
        // Others' models must not read files elsewhere.
        let is_beside = Path::new(external).components().all(|part| {
            matches!(part, std::path::Component::Normal(_) | std::path::Component::CurDir)
        });
        if !is_beside || !folder.as_ref().is_some_and(exists) {
            let (model, file) = (name.to_owned(), external.clone());
            return Err(ModelError::ExternalData { model, file });
        }
    }
    Ok(file)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_builtin_models_have_the_classes_of_coco() {
        for model in [Model::builtin(), Model::builtin_int8()] {
            assert_eq!(model.labels().len(), 80);
            assert_eq!(
                [model.labels()[0].as_str(), model.labels()[79].as_str()],
                ["person", "toothbrush"]
            );
            assert!(model.takes(model.size()) && model.takes(Size { width: 416, height: 192 }));
            assert_eq!(model.readings.len(), 1);
        }
    }
}
