use std::fmt;

use moliceiro_messages::{Fit, Scaling, Size};

use crate::families::FamilyName;
use crate::input::{Colors, Element, Layout};
use crate::labels;
use crate::model::{Model, Settled};

/// What is known about a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// How its outputs are read.
    pub family: FamilyName,
    /// What shows the family.
    pub family_from: &'static str,
    /// The name of the input for the picture.
    pub input: String,
    /// The type of the input's numbers.
    pub element: Element,
    /// The order of the input's dimensions.
    pub layout: Layout,
    /// The size that the model works best with.
    pub size: Size,
    /// The model also takes other sizes, whose sides are multiples of this.
    pub multiple_of: Option<u32>,
    /// How a frame is fitted into the picture.
    pub fit: Fit,
    /// How pixels are scaled.
    pub scaling: Scaling,
    /// The red, green and blue around a letterboxed frame.
    pub padding: [u8; 3],
    /// The order of the colours.
    pub colors: Colors,
    /// A value v of 0 to 255 becomes (v · scale − mean) / std.
    pub scale: f32,
    /// In the order of the colours.
    pub mean: [f32; 3],
    /// In the order of the colours.
    pub std: [f32; 3],
    /// The names of the other inputs.
    pub extra_inputs: Vec<String>,
    /// The names of the outputs that are read.
    pub outputs: Vec<String>,
    /// The names of the classes.
    pub labels: Vec<String>,
    /// What has the names.
    pub labels_from: String,
    /// Whether boxes that overlap are removed.
    pub nms: bool,
    /// A box is an object if its score is above this.
    pub threshold: f32,
    /// Of two boxes of a class whose overlap is above this, one is removed.
    pub iou: f32,
}

impl Description {
    pub(crate) fn of(model: &Model) -> Self {
        let reading = model.reading();
        let input = &reading.input;
        let labels_from = match &model.named {
            Some((from, _)) => from.clone(),
            None => labels::fallback(reading.classes, reading.coco).0.to_owned(),
        };
        let family_from = match (&model.manifest.family, model.settled) {
            (Some(_), _) => "the manifest, or config.json beside the file",
            (None, Some(Settled::BlankPicture)) => "its output for a blank picture",
            (None, Some(Settled::Trial)) => "a trial on a built-in picture with known objects",
            (None, _) => "names, shapes and metadata in the file",
        };
        Self {
            family: reading.family,
            family_from,
            input: input.name.clone(),
            element: input.element,
            layout: input.layout,
            size: input.default_size(),
            multiple_of: input.multiple_of,
            fit: input.fit,
            scaling: input.scaling,
            padding: input.padding,
            colors: input.colors,
            scale: input.scale,
            mean: input.mean,
            std: input.std,
            extra_inputs: reading.extras.iter().map(|extra| extra.name.clone()).collect(),
            outputs: reading.outputs.clone(),
            labels: model.labels.clone(),
            labels_from,
            nms: reading.nms,
            threshold: reading.threshold,
            iou: reading.iou,
        }
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Size { width, height } = self.size;
        let sizes = match self.multiple_of {
            Some(1) => format!("{width} × {height}, or any other"),
            Some(step) => format!("{width} × {height}, or other multiples of {step}"),
            None => format!("{width} × {height} only"),
        };
        let colors = match self.colors {
            Colors::Rgb => "red, green, blue",
            Colors::Bgr => "blue, green, red",
        };
        let element = match self.element {
            Element::Float32 => "float32",
            Element::Float16 => "float16",
            Element::Uint8 => "uint8",
        };
        let layout = match self.layout {
            Layout::Nchw => "nchw",
            Layout::Nhwc => "nhwc",
        };
        let padding = match (self.fit, self.padding) {
            (Fit::Stretch | Fit::Area | Fit::Within, _) => String::new(),
            (_, [red, green, blue]) if red == green && green == blue => {
                format!(", padded with {red}")
            }
            (_, padding) => format!(", padded with {padding:?}"),
        };
        let names = |names: &[String]| {
            names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
        };
        writeln!(f, "family      {} (from {})", self.family, self.family_from)?;
        writeln!(f, "input       {:?}, {element}, {layout}", self.input)?;
        if !self.extra_inputs.is_empty() {
            writeln!(f, "also fed    {}", names(&self.extra_inputs))?;
        }
        writeln!(f, "size        {sizes}")?;
        let scaling: &str = self.scaling.into();
        writeln!(f, "fit         {}{padding}, scaled {scaling}", <&str>::from(self.fit))?;
        let value = match self.scale {
            1.0 => "v".to_owned(),
            scale if scale == 1.0 / 255.0 => "v / 255".to_owned(),
            scale => format!("v × {scale}"),
        };
        let normalised = if self.mean == [0.0; 3] && self.std == [1.0; 3] {
            value
        } else {
            format!("({value} − {:?}) / {:?}", self.mean, self.std)
        };
        writeln!(f, "colours     {colors}; a value v of 0 to 255 becomes {normalised}")?;
        writeln!(f, "outputs     {}", names(&self.outputs))?;
        let shown: Vec<&str> = self.labels.iter().take(4).map(String::as_str).collect();
        let more = if self.labels.len() > shown.len() { ", …" } else { "" };
        let (count, from) = (self.labels.len(), &self.labels_from);
        writeln!(f, "labels      {count}: {}{more} ({from})", shown.join(", "))?;
        writeln!(f, "threshold   {}", self.threshold)?;
        if self.nms {
            write!(f, "suppression by this program, above an overlap of {}", self.iou)
        } else {
            write!(f, "suppression none here: the model does it itself")
        }
    }
}
