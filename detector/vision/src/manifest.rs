use moliceiro_messages::{Fit, Scaling};
use std::path::Path;

use serde::Deserialize;
use thiserror::Error;

use crate::families::FamilyChoice;
use crate::input::{Colors, Element, Layout};
use crate::text::one_line;
use crate::value::{InvalidValue, check_share};

/// What a model's file does not say about itself, or what is to be different: `<name>.toml` beside
/// `<name>.onnx`. Every key is optional.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// The names of the classes, in the order of the model's scores.
    pub labels: Option<Labels>,
    /// A box is an object if its score is above this.
    pub threshold: Option<f32>,
    /// Of two boxes of a class whose overlap is above this, the one with the lower score is
    /// removed.
    pub iou: Option<f32>,
    /// Whether boxes that overlap are removed.
    pub nms: Option<bool>,
    #[serde(default)]
    pub input: InputManifest,
    #[serde(default)]
    pub output: OutputManifest,
    pub family: Option<FamilyChoice>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct InputManifest {
    pub name: Option<String>,
    /// Width and height.
    pub size: Option<[u32; 2]>,
    pub multiple_of: Option<u32>,
    pub layout: Option<Layout>,
    #[serde(rename = "type")]
    pub element: Option<Element>,
    pub colors: Option<Colors>,
    pub scale: Option<f32>,
    pub mean: Option<[f32; 3]>,
    pub std: Option<[f32; 3]>,
    pub fit: Option<Fit>,
    pub scaling: Option<Scaling>,
    pub padding: Option<Padding>,
}

/// A grey, or red, green and blue.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged, expecting = "expected a number from 0 to 255 or three of them")]
pub(crate) enum Padding {
    Grey(u8),
    Color([u8; 3]),
}

impl Padding {
    pub fn color(self) -> [u8; 3] {
        match self {
            Self::Grey(grey) => [grey; 3],
            Self::Color(color) => color,
        }
    }
}

/// The name of a file beside the manifest with one label per line, or the labels.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "expected the name of a file or a list of names")]
pub(crate) enum Labels {
    File(String),
    Names(Vec<String>),
}

/// The names of outputs. Which of them a family has, `docs/models.md` lists.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OutputManifest {
    pub name: Option<String>,
    pub boxes: Option<String>,
    pub classes: Option<String>,
    pub scores: Option<String>,
    pub count: Option<String>,
}

/// Why a manifest is invalid.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// It is not TOML, or a key is unknown or of another type.
    #[error("{}{message}", at_line(*.line))]
    Syntax {
        /// From 1, if the message is about a place in the file.
        line: Option<usize>,
        /// The parser's message.
        message: String,
    },
    /// A value is out of bounds.
    #[error(transparent)]
    Value(#[from] InvalidValue),
    /// The file of labels cannot be read.
    #[error("labels: cannot read the file {file:?}: {source}")]
    UnreadableLabels {
        /// As the manifest names it.
        file: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// There is not a single label.
    #[error("{origin} has no class names")]
    NoLabels {
        /// The key or the file.
        origin: String,
    },
    /// A label is blank.
    #[error("{origin}: name {number} of {count} is blank")]
    BlankLabel {
        /// The key or the file.
        origin: String,
        /// Which label, from 1.
        number: usize,
        /// How many labels there are.
        count: usize,
    },
}

fn at_line(line: Option<usize>) -> String {
    line.map(|line| format!("line {line}: ")).unwrap_or_default()
}

impl Manifest {
    /// Parses and checks a manifest.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let manifest: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| {
                text.as_bytes().iter().take(span.start).filter(|byte| **byte == b'\n').count() + 1
            });
            ManifestError::Syntax { line, message: one_line(error.message()) }
        })?;
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), InvalidValue> {
        if let Some(threshold) = self.threshold {
            check_share("threshold", threshold)?;
        }
        if let Some(iou) = self.iou {
            check_share("iou", iou)?;
        }
        self.family.as_ref().map_or(Ok(()), FamilyChoice::check)
    }
}

impl Labels {
    /// The names. `read` reads the file beside the manifest.
    pub fn names(
        &self,
        read: impl FnOnce(&Path) -> std::io::Result<String>,
    ) -> Result<Vec<String>, ManifestError> {
        let trimmed = |name: &str| name.trim().to_owned();
        let (names, origin): (Vec<String>, &str) = match self {
            Self::Names(names) => (names.iter().map(|name| trimmed(name)).collect(), "labels"),
            Self::File(file) => {
                let text = read(Path::new(file)).map_err(|source| {
                    ManifestError::UnreadableLabels { file: file.clone(), source }
                })?;
                (text.trim_end().lines().map(trimmed).collect(), file)
            }
        };
        let origin = origin.to_owned();
        if names.is_empty() {
            return Err(ManifestError::NoLabels { origin });
        }
        match names.iter().position(String::is_empty) {
            Some(index) => {
                Err(ManifestError::BlankLabel { origin, number: index + 1, count: names.len() })
            }
            None => Ok(names),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::FamilyName;

    const GOOD: &str = r#"
        labels = ["boat", "net"]
        threshold = 0.5
        iou = 0.6
        [input]
        name = "picture"
        size = [64, 32]
        multiple_of = 32
        colors = "bgr"
        padding = 114
        fit = "upper-left"
        [output]
        name = "boxes"
        [family.nanodet]
        strides = [8, 32]
        bins = 8
    "#;

    #[test]
    fn every_key_is_optional_and_a_family_is_a_name_or_a_table() {
        let manifest = Manifest::parse(GOOD).unwrap();
        assert_eq!(manifest.input.padding.unwrap().color(), [114; 3]);
        assert_eq!(manifest.input.fit, Some(Fit::UpperLeft));
        assert_eq!(manifest.family.unwrap().bins, Some(8));
        assert!(Manifest::parse("").unwrap().family.is_none());
        let family = |text: &str| Manifest::parse(text).unwrap().family.unwrap().name;
        assert_eq!(family("family = \"yolox\""), FamilyName::Yolox);
        assert_eq!(family("family = \"yolov11\""), FamilyName::Yolov8);
        assert_eq!(family("[family.yolox]\ngrid = \"raw\""), FamilyName::Yolox);
    }

    #[test]
    fn an_invalid_manifest_is_reported_with_its_line_and_key() {
        for (from, to, parts) in [
            (
                "threshold = 0.5",
                "threshold = 1.5",
                &["threshold must be from 0 to 1, and is 1.5"][..],
            ),
            ("threshold = 0.5", "threshold = nan", &["threshold"]),
            ("threshold = 0.5", "treshold = 0.5", &["line 3", "treshold"]),
            ("threshold = 0.5", "threshold = \"much\"", &["line 3", "much"]),
            ("iou = 0.6", "iou = ", &["line 4"]),
            ("size = [64, 32]", "size = [64]", &["line 7"]),
            ("multiple_of = 32", "layout = \"hwc\"", &["line 8", "hwc", "nchw"]),
            ("multiple_of = 32", "type = \"int8\"", &["line 8", "int8", "uint8"]),
            ("colors = \"bgr\"", "colors = \"yuv\"", &["line 9", "yuv", "rgb"]),
            ("padding = 114", "padding = 300", &["line 10", "0 to 255"]),
            ("\"upper-left\"", "\"middle\"", &["line 11", "middle", "letterbox"]),
            ("family.nanodet", "family.yolo", &["yolo", "nanodet"]),
            ("bins = 8", "bins = 1", &["family.nanodet.bins"]),
            ("strides = [8, 32]", "strides = []", &["family.nanodet.strides"]),
            ("strides = [8, 32]", "strides = [0]", &["family.nanodet.strides"]),
            ("[\"boat\", \"net\"]", "7", &["line 2", "list of names"]),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD);
            let error = Manifest::parse(&text).unwrap_err().to_string();
            assert!(
                parts.iter().all(|part| error.contains(part)) && !error.contains('\n'),
                "{to}: {error}"
            );
        }
    }

    #[test]
    fn labels_are_lines_of_a_file_or_a_list_and_never_blank() {
        let file = Labels::File("names.txt".into());
        let read = |text: &'static str| file.names(move |_| Ok(text.into()));
        assert_eq!(read("boat\r\nfishing net\n\n").unwrap(), ["boat", "fishing net"]);
        assert!(matches!(read("\n"), Err(ManifestError::NoLabels { .. })));
        assert!(matches!(
            read("boat\n\nnet"),
            Err(ManifestError::BlankLabel { number: 2, count: 3, .. })
        ));
        let error = file.names(|_| Err(std::io::ErrorKind::NotFound.into())).unwrap_err();
        assert!(
            matches!(&error, ManifestError::UnreadableLabels { file, .. } if file == "names.txt"),
            "{error}"
        );
        assert_eq!(Labels::Names(vec!["a".into()]).names(|_| unreachable!()).unwrap(), ["a"]);
    }
}
