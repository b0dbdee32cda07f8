use moliceiro_messages::{Fit, Scaling, Size};

use super::name::FamilyName;
use super::unrecognised::{Unrecognised, list};
use crate::decoders::{Decoder, RowLayout, Rows};
use crate::input::{Colors, Element, Input, Layout};
use crate::manifest::{InputManifest, Manifest};
use crate::onnx_file::{Declared, OnnxFile};
use crate::reading::{Coco, Extra, ExtraKind, Number, Reading};

/// Data types of ONNX: `TensorProto.DataType`.
const FLOAT32: u64 = 1;
const UINT8: u64 = 2;
const FLOAT16: u64 = 10;
const FLOATS: [u64; 4] = [FLOAT32, FLOAT16, 11, 16];
const INTEGERS: [u64; 8] = [UINT8, 3, 4, 5, 6, 7, 12, 13];

/// What red, green and blue of 0 to 1 are normalised by in ImageNet's manner.
pub(super) const IMAGENET: ([f32; 3], [f32; 3]) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);

/// Everything that shows how a model is to be read.
pub(super) struct Evidence<'a> {
    pub file: &'a OnnxFile,
    pub manifest: &'a Manifest,
    /// How many classes have a name.
    pub labels: Option<usize>,
    pub extras: Vec<Extra>,
    picture: &'a Declared,
    layout: Layout,
    element: Element,
    /// Width and height, where the graph fixes them.
    sides: [Option<u32>; 2],
}

/// How a family feeds its models.
pub(super) struct Feeding {
    /// Where neither the graph nor its metadata has a size.
    pub size: [u32; 2],
    pub multiple_of: u32,
    pub colors: Colors,
    pub scale: f32,
    pub mean: [f32; 3],
    pub std: [f32; 3],
    pub fit: Fit,
    pub scaling: Scaling,
    pub padding: u8,
}

impl Feeding {
    /// Red, green and blue from 0 to 1.
    pub const SHARES: Self = Self {
        size: [640, 640],
        multiple_of: 32,
        colors: Colors::Rgb,
        scale: 1.0 / 255.0,
        mean: [0.0; 3],
        std: [1.0; 3],
        fit: Fit::Stretch,
        scaling: Scaling::Linear,
        padding: 0,
    };
    /// The same, normalised as for ImageNet.
    pub const IMAGENET: Self = Self { mean: IMAGENET.0, std: IMAGENET.1, ..Self::SHARES };
    /// Red, green and blue as bytes have them.
    pub const BYTES: Self = Self { scale: 1.0, ..Self::SHARES };
}

impl<'a> Evidence<'a> {
    pub fn new(
        file: &'a OnnxFile,
        manifest: &'a Manifest,
        labels: Option<usize>,
    ) -> Result<Self, Unrecognised> {
        let picture = picture(file, &manifest.input)?;
        let shape = picture.shape.as_deref();
        let element = match picture.element {
            Some(UINT8) => Element::Uint8,
            Some(FLOAT16) => Element::Float16,
            _ => Element::Float32,
        };
        let layout = manifest.input.layout.unwrap_or_else(|| match shape {
            Some([.., first, _, last]) if *last == Some(3) && *first != Some(3) => Layout::Nhwc,
            // Every dimension is open: TensorFlow's models take bytes with the colours last.
            Some([.., None, None, None]) | None if element == Element::Uint8 => Layout::Nhwc,
            _ => Layout::Nchw,
        });
        let side = |from_end: usize| {
            let shape = shape?;
            let length = *shape.get(shape.len().checked_sub(from_end)?)?;
            length.and_then(|length| u32::try_from(length).ok())
        };
        let sides = match layout {
            Layout::Nchw => [side(1), side(2)],
            Layout::Nhwc => [side(2), side(3)],
        };
        let mut extras = Vec::new();
        for input in file.inputs.iter().filter(|input| *input != picture) {
            extras
                .push(extra(input).ok_or_else(|| Unrecognised::UnknownInput(declaration(input)))?);
        }
        let evidence = Self { file, manifest, labels, extras, picture, layout, element, sides };
        evidence.check_size()?;
        evidence.check_outputs()?;
        Ok(evidence)
    }

    fn check_size(&self) -> Result<(), Unrecognised> {
        let InputManifest { size, multiple_of, .. } = self.manifest.input;
        let name = self.picture.name.clone();
        let actual = shape_text(self.picture);
        if let Some([width, height]) = size
            && self
                .sides
                .iter()
                .zip([width, height])
                .any(|(side, own)| side.is_some_and(|side| side != own))
        {
            let expected = Input { size: [width, height], ..self.input(&Feeding::BYTES) };
            let expected = expected.shape(Size { width, height });
            return Err(Unrecognised::Size { name, actual, expected });
        }
        if multiple_of.is_some() && self.sides.iter().any(Option::is_some) {
            return Err(Unrecognised::OneSizeOnly { name, actual });
        }
        Ok(())
    }

    fn check_outputs(&self) -> Result<(), Unrecognised> {
        let names = &self.manifest.output;
        for name in [&names.name, &names.boxes, &names.classes, &names.scores, &names.count] {
            if let Some(name) = name
                && !self.file.outputs.iter().any(|output| output.name == *name)
            {
                let present = list(&self.file.outputs);
                return Err(Unrecognised::Missing { which: "output", name: name.clone(), present });
            }
        }
        Ok(())
    }

    /// The input as this family feeds it.
    pub fn input(&self, feeding: &Feeding) -> Input {
        let manifest = &self.manifest.input;
        let own = manifest.size.or_else(|| self.metadata_size()).unwrap_or(feeding.size);
        let size = [0, 1].map(|axis| self.sides[axis].unwrap_or(own[axis]));
        let is_open = self.sides.iter().all(Option::is_none);
        // A manifest that names a size and no multiples means this size only.
        let multiple_of = manifest.multiple_of.or_else(|| {
            let stride = self.metadata("stride").and_then(|stride| stride.trim().parse().ok());
            let stride = stride.filter(|stride| (1..=1024).contains(stride));
            let step = stride.unwrap_or(feeding.multiple_of);
            let fits = size.iter().all(|side| side.is_multiple_of(step));
            (is_open && manifest.size.is_none() && fits).then_some(step)
        });
        Input {
            name: self.picture.name.clone(),
            element: self.element,
            layout: self.layout,
            batch: self.picture.shape.as_ref().is_none_or(|shape| shape.len() != 3),
            size,
            multiple_of: multiple_of.filter(|_| is_open),
            colors: feeding.colors,
            scale: feeding.scale,
            mean: feeding.mean,
            std: feeding.std,
            fit: feeding.fit,
            scaling: feeding.scaling,
            padding: [feeding.padding; 3],
        }
    }

    /// Puts the manifest's values in place of the family's.
    pub fn override_input(&self, input: &mut Input) {
        let manifest = &self.manifest.input;
        input.element = manifest.element.unwrap_or(input.element);
        input.colors = manifest.colors.unwrap_or(input.colors);
        input.scale = manifest.scale.unwrap_or(input.scale);
        input.mean = manifest.mean.unwrap_or(input.mean);
        input.std = manifest.std.unwrap_or(input.std);
        input.fit = manifest.fit.unwrap_or(input.fit);
        input.scaling = manifest.scaling.unwrap_or(input.scaling);
        input.padding = manifest.padding.map_or(input.padding, |padding| padding.color());
    }

    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.file.metadata.get(key).map(String::as_str)
    }

    /// Ultralytics writes `imgsz` as [height, width].
    fn metadata_size(&self) -> Option<[u32; 2]> {
        let numbers = self.metadata("imgsz")?.split(|c: char| !c.is_ascii_digit());
        let sides: Vec<u32> = numbers.filter_map(|number| number.parse().ok()).collect();
        match sides[..] {
            [height, width] => Some([width, height]),
            [side] => Some([side, side]),
            _ => None,
        }
        .filter(|sides| {
            sides.iter().all(|side| (1..=moliceiro_messages::Size::MAX_SIDE).contains(side))
        })
    }

    /// True if Ultralytics exported the file.
    pub fn is_ultralytics(&self) -> bool {
        self.metadata("task").is_some()
            || self.metadata("names").is_some() && self.metadata("stride").is_some()
    }

    /// True if the graph or one of its nodes or weights is called so.
    pub fn mentions(&self, words: &[&str]) -> bool {
        let graph = self.file.graph.to_lowercase();
        words.iter().any(|word| graph.contains(word) || self.file.names.contains(word))
    }

    /// True if the graph begins with arithmetic on the picture, which normalises it.
    pub fn normalises_itself(&self) -> bool {
        ["Sub", "Div", "Mul", "Add"].iter().any(|operator| self.begins_with(operator))
    }

    /// True if this operator reads the picture.
    pub fn begins_with(&self, operator: &str) -> bool {
        let mut readers = self.file.readers.iter();
        readers.any(|(input, reader)| *input == self.picture.name && reader == operator)
    }

    pub fn picture_name(&self) -> &str {
        &self.picture.name
    }

    /// The output of this name, or with this name and a number that TensorFlow adds.
    pub fn output(&self, name: &str) -> Option<&'a Declared> {
        let named = |output: &&Declared| {
            let own = output.name.rsplit('/').next().unwrap_or_default();
            own == name || own.strip_suffix(":0") == Some(name)
        };
        self.file.outputs.iter().find(named)
    }

    /// The output that the manifest names, or else the first of these.
    pub fn chosen(&self, manifest: &Option<String>, names: &[&str]) -> Option<&'a Declared> {
        match manifest {
            Some(name) => self.file.outputs.iter().find(|output| output.name == *name),
            None => names.iter().find_map(|name| self.output(name)),
        }
    }

    pub fn has_extra(&self, kind: ExtraKind) -> bool {
        self.extras.iter().any(|extra| extra.kind == kind)
    }

    /// A reading with the family's usual values.
    pub fn reading(&self, family: FamilyName, feeding: &Feeding, decoder: Decoder) -> Reading {
        Reading {
            family,
            input: self.input(feeding),
            extras: self.extras.clone(),
            outputs: Vec::new(),
            decoder,
            classes: None,
            coco: Coco::Classes,
            nms: false,
            threshold: 0.5,
            iou: 0.5,
            says: "",
        }
    }

    /// A reading to run the model with, so that it shows the shapes of its outputs.
    pub fn provisional(&self) -> Reading {
        let decoder = Decoder::Rows(Rows { layout: RowLayout::BoxScoreClass });
        let mut reading = self.reading(FamilyName::YoloEnd2end, &Feeding::SHARES, decoder);
        self.override_input(&mut reading.input);
        reading
    }
}

/// The input that takes the picture.
fn picture<'a>(file: &'a OnnxFile, manifest: &InputManifest) -> Result<&'a Declared, Unrecognised> {
    if let Some(name) = &manifest.name {
        let present = || list(&file.inputs);
        return file.inputs.iter().find(|input| input.name == *name).ok_or_else(|| {
            Unrecognised::Missing { which: "input", name: name.clone(), present: present() }
        });
    }
    let takes_picture = |input: &&Declared| {
        let element = matches!(input.element, Some(FLOAT32 | FLOAT16 | UINT8));
        let colors = |length: &Option<u64>| length.is_none_or(|length| length == 3);
        element
            && extra(input).is_none()
            && match input.shape.as_deref() {
                None => true,
                Some([batch, rest @ ..]) if rest.len() == 3 => {
                    batch.is_none_or(|batch| batch == 1) && (colors(&rest[0]) || colors(&rest[2]))
                }
                Some([first, _, last]) => colors(first) || colors(last),
                Some(_) => false,
            }
    };
    let mut pictures = file.inputs.iter().filter(takes_picture);
    match (pictures.next(), pictures.next()) {
        (Some(picture), None) => Ok(picture),
        _ => Err(Unrecognised::NoPicture { inputs: list(&file.inputs) }),
    }
}

/// An input besides the picture, known by its name.
fn extra(input: &Declared) -> Option<Extra> {
    let name = input.name.to_lowercase();
    let kind = match name.trim_end_matches(":0") {
        "scale_factor" => ExtraKind::ScaleFactor,
        "im_shape" | "image_shape" => ExtraKind::Height,
        "orig_target_sizes" | "orig_target_size" | "orig_sizes" | "orig_size" => ExtraKind::Width,
        "pixel_mask" => ExtraKind::PixelMask,
        _ => return None,
    };
    let default = if kind == ExtraKind::PixelMask { vec![None; 3] } else { vec![None, Some(2)] };
    let number = match input.element? {
        FLOAT32 => Number::Float32,
        FLOAT16 => Number::Float16,
        6 => Number::Int32,
        7 => Number::Int64,
        9 => Number::Bool,
        _ => return None,
    };
    Some(Extra {
        name: input.name.clone(),
        kind,
        number,
        shape: input.shape.clone().unwrap_or(default),
    })
}

pub(super) fn is_float(declared: &Declared) -> bool {
    declared.element.is_some_and(|element| FLOATS.contains(&element))
}

pub(super) fn is_integer(declared: &Declared) -> bool {
    declared.element.is_some_and(|element| INTEGERS.contains(&element))
}

/// True if only a run shows what the output is.
pub(super) fn is_open(declared: &Declared) -> bool {
    match declared.shape.as_deref() {
        None => true,
        Some([.., rows, columns]) => rows.is_none() && columns.is_none(),
        Some(_) => false,
    }
}

/// The last two dimensions of an output for one picture.
pub(super) fn matrix(declared: &Declared) -> Option<(Option<u64>, Option<u64>)> {
    match declared.shape.as_deref()? {
        [batch, rows, columns] if batch.is_none_or(|batch| batch == 1) => Some((*rows, *columns)),
        [rows, columns] => Some((*rows, *columns)),
        _ => None,
    }
}

pub(super) fn rank(declared: &Declared) -> Option<usize> {
    declared.shape.as_ref().map(Vec::len)
}

fn shape_text(declared: &Declared) -> String {
    let Some(shape) = &declared.shape else { return "of any shape".to_owned() };
    let length = |length: &Option<u64>| length.map_or("?".to_owned(), |length| length.to_string());
    format!("[{}]", shape.iter().map(length).collect::<Vec<_>>().join(", "))
}

/// A name with its type and shape.
pub(super) fn declaration(declared: &Declared) -> String {
    let element = match declared.element {
        Some(FLOAT32) => "float32",
        Some(FLOAT16) => "float16",
        Some(UINT8) => "uint8",
        Some(3) => "int8",
        Some(6) => "int32",
        Some(7) => "int64",
        Some(11) => "float64",
        Some(16) => "bfloat16",
        Some(_) => "another type",
        None => "no tensor",
    };
    format!("{:?} {element} {}", declared.name, shape_text(declared))
}
