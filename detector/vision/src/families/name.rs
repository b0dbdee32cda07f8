use std::fmt;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::value::InvalidValue;

/// A family of models: a toolkit's way to feed its models and to write their output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyName {
    /// NanoDet.
    Nanodet,
    /// NanoDet-Plus.
    NanodetPlus,
    /// PicoDet without suppression in the graph.
    Picodet,
    /// PaddleDetection with suppression in the graph.
    Paddle,
    /// YOLOv5, 7.
    Yolov5,
    /// YOLOv6.
    Yolov6,
    /// YOLOv8, 9, 11, 12.
    Yolov8,
    /// YOLOv10, 26, and others with suppression in the graph.
    YoloEnd2end,
    /// YOLOX.
    Yolox,
    /// DETR.
    Detr,
    /// RT-DETR and D-FINE, as Hugging Face exports them.
    RtDetr,
    /// RF-DETR.
    RfDetr,
    /// RT-DETR, D-FINE and DEIM, as their own scripts export them.
    RtDetrExport,
    /// torchvision.
    Torchvision,
    /// TensorFlow's object detection.
    Tensorflow,
}

use FamilyName::{
    Detr, Nanodet, NanodetPlus, Paddle, Picodet, RfDetr, RtDetr, RtDetrExport, Tensorflow,
    Torchvision, YoloEnd2end, Yolov5, Yolov6, Yolov8, Yolox,
};

/// Names in manifests. The first of a family is the one that is shown.
const NAMES: [(&str, FamilyName); 29] = [
    ("nanodet", Nanodet),
    ("nanodet-plus", NanodetPlus),
    ("picodet", Picodet),
    ("paddle", Paddle),
    ("pp-yoloe", Paddle),
    ("ppyoloe", Paddle),
    ("yolov5", Yolov5),
    ("yolov7", Yolov5),
    ("yolov6", Yolov6),
    ("yolov8", Yolov8),
    ("yolov9", Yolov8),
    ("yolov11", Yolov8),
    ("yolo11", Yolov8),
    ("yolov12", Yolov8),
    ("yolo12", Yolov8),
    ("yolo-end2end", YoloEnd2end),
    ("yolov10", YoloEnd2end),
    ("yolo26", YoloEnd2end),
    ("yolox", Yolox),
    ("detr", Detr),
    ("rt-detr", RtDetr),
    ("rtdetr", RtDetr),
    ("d-fine", RtDetr),
    ("dfine", RtDetr),
    ("rf-detr", RfDetr),
    ("rt-detr-export", RtDetrExport),
    ("deim", RtDetrExport),
    ("torchvision", Torchvision),
    ("tensorflow", Tensorflow),
];

impl FamilyName {
    /// The name in a manifest.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, family)| *family == self).map_or("", |(name, _)| name)
    }

    fn parse(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, family)| *family)
    }

    /// All names that a manifest may have, for messages.
    pub(crate) fn all() -> String {
        NAMES.map(|(name, _)| name).join(", ")
    }

    /// True if the toolkit clips boxes to the picture before suppression. The others compare whole
    /// boxes, and clip what is left: at the edges, other boxes remain.
    pub(crate) fn clips_first(self) -> bool {
        matches!(self, Nanodet | NanodetPlus)
    }

    /// True if a manifest that names `chosen` means this family.
    pub(crate) fn is_meant_by(self, chosen: Self) -> bool {
        // Toolkits have one name for several exports.
        let other_export = [
            (Picodet, Paddle),
            (RtDetr, RtDetrExport),
            (RtDetr, Paddle),
            (Yolov5, YoloEnd2end),
            (Yolov6, YoloEnd2end),
            (Yolov8, YoloEnd2end),
            (Yolov5, Yolov6),
            (Nanodet, NanodetPlus),
        ];
        self == chosen || other_export.contains(&(chosen, self))
    }
}

impl fmt::Display for FamilyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A manifest's `family = "…"`, or `[family.…]` with what else is to be different.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FamilyChoice {
    pub name: FamilyName,
    pub strides: Option<Vec<u32>>,
    pub bins: Option<usize>,
    pub offset: Option<f32>,
    pub grid: Option<GridChoice>,
    pub activation: Option<ActivationChoice>,
    pub first_class: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum GridChoice {
    Raw,
    Decoded,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ActivationChoice {
    Sigmoid,
    Softmax,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    strides: Option<Vec<u32>>,
    bins: Option<usize>,
    offset: Option<f32>,
    grid: Option<GridChoice>,
    activation: Option<ActivationChoice>,
    first_class: Option<usize>,
}

impl FamilyChoice {
    fn new(name: &str, parameters: Parameters) -> Option<Self> {
        let Parameters { strides, bins, offset, grid, activation, first_class } = parameters;
        let name = FamilyName::parse(name)?;
        Some(Self { name, strides, bins, offset, grid, activation, first_class })
    }

    pub fn check(&self) -> Result<(), InvalidValue> {
        if let Some(strides) = &self.strides
            && (strides.is_empty() || strides.len() > 8 || !strides.iter().all(is_stride))
        {
            let rule = "one to eight numbers from 1 to 1024";
            return Err(InvalidValue::new("family.nanodet.strides", rule));
        }
        if let Some(bins) = self.bins
            && !(2..=256).contains(&bins)
        {
            let rule = format!("from 2 to 256, and is {bins}");
            return Err(InvalidValue::new("family.nanodet.bins", rule));
        }
        if let Some(offset) = self.offset
            && !(0.0..=1.0).contains(&offset)
        {
            return Err(InvalidValue::new("family.nanodet.offset", "from 0 to 1"));
        }
        Ok(())
    }
}

fn is_stride(stride: &u32) -> bool {
    (1..=1024).contains(stride)
}

impl<'de> Deserialize<'de> for FamilyChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Choice;

        impl<'de> Visitor<'de> for Choice {
            type Value = FamilyChoice;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a family, or a table with that name")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<FamilyChoice, E> {
                FamilyChoice::new(name, Parameters::default()).ok_or_else(|| unknown(name))
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<FamilyChoice, M::Error> {
                let Some(name) = map.next_key::<String>()? else {
                    return Err(M::Error::custom("expected the name of a family"));
                };
                let choice = FamilyChoice::new(&name, map.next_value()?);
                let choice = choice.ok_or_else(|| unknown(&name))?;
                match map.next_key::<String>()? {
                    Some(_) => Err(M::Error::custom("a model has one family")),
                    None => Ok(choice),
                }
            }
        }

        fn unknown<E: Error>(name: &str) -> E {
            E::custom(format!("unknown family {name:?}: it is one of {}", FamilyName::all()))
        }

        deserializer.deserialize_any(Choice)
    }
}

impl FamilyChoice {
    /// The family as it usually is.
    pub fn of(name: FamilyName) -> Self {
        Self {
            name,
            strides: None,
            bins: None,
            offset: None,
            grid: None,
            activation: None,
            first_class: None,
        }
    }
}
