use std::path::Path;

use moliceiro_messages::Size;
use serde::Deserialize;

use crate::families::Family;
use crate::pixels::MAX_SIDE;

/// What a model's file does not say of itself: `<name>.toml` beside `<name>.onnx`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// The names of the classes, in the order of the model's scores.
    pub labels: Labels,
    /// Only what scores above this is an object.
    pub threshold: f32,
    /// Of two boxes of a class whose overlap is above this, the one that scores less is dropped.
    pub iou: f32,
    pub input: Input,
    pub output: Output,
    pub family: Family,
}

/// A file beside the manifest with one name per line, or the names.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "expected the name of a file or a list of names")]
pub(crate) enum Labels {
    File(String),
    Names(Vec<String>),
}

/// The picture that the model takes. In the tensor, a value v of 0..=255 becomes (v · scale − mean)
/// / std, with `mean` and `std` in the order that `colors` says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    pub name: String,
    /// Width and height.
    pub size: [u32; 2],
    /// Other sizes are as good if both sides are multiples of this. Left out, only `size` is.
    pub multiple_of: Option<u32>,
    #[serde(default)]
    pub layout: Layout,
    pub colors: Colors,
    #[serde(default = "one")]
    pub scale: f32,
    #[serde(default)]
    pub mean: [f32; 3],
    #[serde(default = "ones")]
    pub std: [f32; 3],
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Output {
    pub name: String,
}

/// The order of the tensor's dimensions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Layout {
    /// Picture, colour, row, column.
    #[default]
    Nchw,
}

/// The order of the tensor's colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Colors {
    Rgb,
    Bgr,
}

fn one() -> f32 {
    1.0
}

fn ones() -> [f32; 3] {
    [1.0; 3]
}

impl Manifest {
    /// Reads a manifest; the error says where it is wrong and how.
    pub fn parse(text: &str) -> Result<Self, String> {
        let manifest: Self = toml::from_str(text).map_err(|e| {
            let line = e.span().map(|span| {
                text.as_bytes().iter().take(span.start).filter(|byte| **byte == b'\n').count() + 1
            });
            let line = line.map(|line| format!("line {line}: ")).unwrap_or_default();
            line + &crate::runtime::one_line(e.message())
        })?;
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), String> {
        check_share("threshold", self.threshold)?;
        check_share("iou", self.iou)?;
        self.input.check()?;
        let coarsest = self.family.decoder().multiple_of()?;
        let fits = |length: u32| length.is_multiple_of(coarsest);
        if !self.input.size.iter().copied().all(fits) || !self.input.multiple_of.is_none_or(fits) {
            return Err(format!(
                "input.size and input.multiple_of must be multiples of {coarsest}, the family's largest stride"
            ));
        }
        Ok(())
    }

    /// The size that the model takes when there is a choice.
    pub fn size(&self) -> Size {
        let [width, height] = self.input.size;
        Size { width, height }
    }
}

impl Input {
    fn check(&self) -> Result<(), String> {
        let sides = 1..=MAX_SIDE;
        if !self.size.iter().all(|side| sides.contains(side)) {
            return Err(format!("input.size must be two numbers from 1 to {MAX_SIDE}"));
        }
        if let Some(step) = self.multiple_of
            && (step == 0 || !self.size.iter().all(|side| side.is_multiple_of(step)))
        {
            return Err(format!(
                "input.size {:?} is not of multiples of input.multiple_of {step}",
                self.size
            ));
        }
        let numbers = self.mean.iter().chain(&self.std).chain([&self.scale]);
        if !numbers.copied().all(f32::is_finite) || self.scale == 0.0 || self.std.contains(&0.0) {
            return Err(
                "input.scale, input.mean and input.std must be finite, and scale and std not 0"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// True if the model takes pictures of this size.
    pub fn takes(&self, size: Size) -> bool {
        let sides = [size.width, size.height];
        let chosen = |step: u32| {
            sides.iter().all(|side| (1..=MAX_SIDE).contains(side) && side.is_multiple_of(step))
        };
        sides == self.size || self.multiple_of.is_some_and(chosen)
    }

    /// The tensor's shape for pictures of this size.
    pub fn shape(&self, size: Size) -> [i64; 4] {
        let (height, width) = (i64::from(size.height), i64::from(size.width));
        match self.layout {
            Layout::Nchw => [1, 3, height, width],
        }
    }

    /// The sizes that the model takes, in words.
    pub fn sizes(&self) -> String {
        match self.multiple_of {
            Some(step) => format!("multiples of {step} up to {MAX_SIDE}"),
            None => format!("{}×{}", self.size[0], self.size[1]),
        }
    }
}

impl Labels {
    /// The names. `read` reads the file beside the manifest.
    pub fn names(
        &self,
        read: impl FnOnce(&Path) -> Result<String, std::io::Error>,
    ) -> Result<Vec<String>, String> {
        let (names, origin): (Vec<String>, &str) = match self {
            Self::Names(names) => {
                (names.iter().map(|name| name.trim().to_owned()).collect(), "labels")
            }
            Self::File(file) => {
                let text = read(Path::new(file))
                    .map_err(|e| format!("labels: cannot read the file {file:?}: {e}"))?;
                (text.trim_end().lines().map(|line| line.trim().to_owned()).collect(), file)
            }
        };
        if names.is_empty() {
            return Err(format!("{origin} has no names of classes"));
        }
        match names.iter().position(String::is_empty) {
            Some(index) => Err(format!("{origin}: name {} of {} is blank", index + 1, names.len())),
            None => Ok(names),
        }
    }
}

/// Fails unless the value lies from 0 to 1.
pub(crate) fn check_share(key: &str, value: f32) -> Result<(), String> {
    if (0.0..=1.0).contains(&value) {
        Ok(())
    } else {
        Err(format!("{key} must be from 0 to 1, and is {value}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn what_a_manifest_leaves_out_is_no_normalisation_and_planar_layout() {
        let manifest = Manifest::parse(GOOD).unwrap();
        let Input { layout, colors, scale, mean, std, .. } = manifest.input;
        assert_eq!(
            (layout, colors, scale, mean, std),
            (Layout::Nchw, Colors::Bgr, 1.0, [0.0; 3], [1.0; 3])
        );
        assert_eq!(manifest.size(), Size { width: 64, height: 32 });
    }

    #[test]
    fn a_wrong_manifest_is_told_by_line_and_key() {
        for (from, to, told) in [
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
            let error = Manifest::parse(&text).unwrap_err();
            assert!(
                told.iter().all(|told| error.contains(told)) && !error.contains('\n'),
                "{to}: {error}"
            );
        }
    }

    #[test]
    fn labels_are_lines_of_a_file_or_a_list_and_never_blank() {
        let file = Labels::File("names.txt".into());
        let read = |text: &'static str| file.names(move |_| Ok(text.into()));
        assert_eq!(read("boat\r\nfishing net\n\n").unwrap(), ["boat", "fishing net"]);
        assert!(read("\n").unwrap_err().contains("no names"));
        assert!(read("boat\n\nnet").unwrap_err().contains("name 2 of 3 is blank"));
        assert!(
            file.names(|_| Err(std::io::ErrorKind::NotFound.into()))
                .unwrap_err()
                .contains("names.txt")
        );
        assert_eq!(Labels::Names(vec!["a".into()]).names(|_| unreachable!()).unwrap(), ["a"]);
    }

    #[test]
    fn sizes_taken_are_the_manifests_own_and_the_multiples_it_allows() {
        let mut input = Manifest::parse(GOOD).unwrap().input;
        let takes = |input: &Input, width, height| input.takes(Size { width, height });
        assert!(takes(&input, 64, 32) && takes(&input, 416, 192));
        assert!(!takes(&input, 0, 32) && !takes(&input, 416, 200) && !takes(&input, 4096, 32));
        input.multiple_of = None;
        assert!(takes(&input, 64, 32) && !takes(&input, 32, 64));
    }
}
