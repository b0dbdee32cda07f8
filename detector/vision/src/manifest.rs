use std::path::Path;

use moliceiro_messages::Size;
use serde::Deserialize;
use thiserror::Error;

use crate::families::Family;
use crate::input::Input;
use crate::text::one_line;
use crate::value::{InvalidValue, check_share};

/// What a model's file does not say about itself: `<name>.toml` beside `<name>.onnx`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// The names of the classes, in the order of the model's scores.
    pub labels: Labels,
    /// A box is an object if its score is above this.
    pub threshold: f32,
    /// Of two boxes of a class whose overlap is above this, the one with the lower score is
    /// removed.
    pub iou: f32,
    pub input: Input,
    pub output: Output,
    pub family: Family,
}

/// The name of a file beside the manifest with one label per line, or the labels.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "expected the name of a file or a list of names")]
pub(crate) enum Labels {
    File(String),
    Names(Vec<String>),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Output {
    pub name: String,
}

/// Why a manifest is invalid.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// It is not TOML, or a key is unknown, missing or of another type.
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
        check_share("threshold", self.threshold)?;
        check_share("iou", self.iou)?;
        self.input.check()?;
        let coarsest = self.family.decoder().multiple_of()?;
        let fits = |length: u32| length.is_multiple_of(coarsest);
        if !self.input.size.iter().copied().all(fits) || !self.input.multiple_of.is_none_or(fits) {
            let rule = format!("multiples of {coarsest}, the family's largest stride");
            return Err(InvalidValue::new("input.size and input.multiple_of", rule));
        }
        Ok(())
    }

    /// The size of picture that the model works best with.
    pub fn size(&self) -> Size {
        let [width, height] = self.input.size;
        Size { width, height }
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
    use crate::input::{Colors, Layout};

    const GOOD: &str = r#"
        labels = ["boat", "net"]
        threshold = 0.5
        iou = 0.6
        [input]
        name = "picture"
        size = [64, 32]
        multiple_of = 32
        colors = "bgr"
        [output]
        name = "boxes"
        [family.nanodet]
        strides = [8, 32]
        bins = 8
    "#;

    #[test]
    fn the_defaults_of_a_manifest_are_planar_layout_without_normalisation() {
        let manifest = Manifest::parse(GOOD).unwrap();
        let Input { layout, colors, scale, mean, std, .. } = manifest.input;
        assert_eq!(
            (layout, colors, scale, mean, std),
            (Layout::Nchw, Colors::Bgr, 1.0, [0.0; 3], [1.0; 3])
        );
        assert_eq!(manifest.size(), Size { width: 64, height: 32 });
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
            ("iou = 0.6", "", &["iou"]),
            ("iou = 0.6", "iou = ", &["line 4"]),
            ("name = \"picture\"", "", &["line 5", "name"]),
            ("size = [64, 32]", "size = [64]", &["line 7"]),
            ("size = [64, 32]", "size = [64, 0]", &["input.size"]),
            ("size = [64, 32]", "size = [64, 33]", &["input.size", "33"]),
            ("size = [64, 32]", "size = [64, 999968]", &["input.size", "2048"]),
            ("multiple_of = 32", "multiple_of = 0", &["multiple_of"]),
            ("multiple_of = 32", "multiple_of = 16", &["multiples of 32"]),
            ("multiple_of = 32", "std = [1, 0, 1]", &["std not 0"]),
            ("multiple_of = 32", "scale = inf", &["input.scale"]),
            ("multiple_of = 32", "layout = \"nhwc\"", &["line 8", "nhwc", "nchw"]),
            ("colors = \"bgr\"", "colors = \"yuv\"", &["line 9", "yuv", "rgb"]),
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
