use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::objects::{InvalidObjects, Limits, Objects, StoredObjects};
use super::{Score, Size};

/// What a detector found in a frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredResult", into = "StoredResult")]
pub struct FrameResult {
    /// The frame's index.
    pub index: u64,
    /// The frame's presentation time in nanoseconds.
    pub pts: Option<u64>,
    /// When it was decoded, in milliseconds since 1970-01-01 UTC.
    pub decoded_at: Option<u64>,
    /// What was found, those that do not count included.
    pub objects: Objects,
    /// Size of the video's own upright frame, in whose pixels the boxes are.
    pub size: Option<Size>,
    /// Time that the detector spent on the frame, without waiting, in microseconds.
    pub processing_us: u64,
    /// Name of the detector that analysed it.
    pub detector: String,
    /// Name of the model.
    pub model: Option<String>,
}

impl FrameResult {
    /// The result of a frame that carries its objects.
    pub fn carried_by(&self, index: u64, pts: Option<u64>) -> Self {
        Self { index, pts, decoded_at: None, processing_us: 0, ..self.clone() }
    }
}

/// One object in one frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// Its class, one of the model's labels.
    pub label: String,
    /// The model's confidence, 0 to 1.
    pub score: f32,
    /// Left, top, right, bottom in pixels of the video's own upright frame.
    #[serde(rename = "box")]
    pub bounds: [f32; 4],
}

/// A result as it is stored: with `objects` in version 2, with `detections` in version 1.
#[derive(Serialize, Deserialize)]
struct StoredResult {
    index: u64,
    pts: Option<u64>,
    #[serde(default)]
    decoded_at: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    detections: Option<Vec<Detection>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    objects: Option<ByteBuf>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    labels: Vec<(u16, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    floor: Option<Score>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    threshold: Option<Score>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scale: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<Size>,
    processing_us: u64,
    detector: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model: Option<String>,
}

impl From<FrameResult> for StoredResult {
    fn from(result: FrameResult) -> Self {
        let FrameResult { index, pts, decoded_at, objects, size, processing_us, detector, model } =
            result;
        let stored = objects.to_stored(size);
        let detections = stored.is_none().then(|| objects.to_detections());
        let limits = stored.as_ref().map(|stored| stored.limits);
        let scale = stored.as_ref().map(|stored| stored.scale);
        let (labels, objects) = match stored {
            Some(StoredObjects { labels, bytes, .. }) => (labels, Some(ByteBuf::from(bytes))),
            None => (vec![], None),
        };
        Self {
            index,
            pts,
            decoded_at,
            detections,
            objects,
            labels,
            floor: limits.map(|limits| limits.floor),
            threshold: limits.map(|limits| limits.threshold),
            scale,
            size,
            processing_us,
            detector,
            model,
        }
    }
}

impl TryFrom<StoredResult> for FrameResult {
    type Error = InvalidObjects;

    fn try_from(stored: StoredResult) -> Result<Self, InvalidObjects> {
        let StoredResult { detections, objects, labels, floor, threshold, scale, .. } = stored;
        let objects = match (detections, objects, floor, threshold, scale) {
            (Some(detections), None, None, None, None) => Objects::try_from(detections)?,
            (None, Some(bytes), Some(floor), Some(threshold), Some(scale)) => {
                let (limits, bytes) = (Limits { floor, threshold }, bytes.into_vec());
                Objects::from_stored(StoredObjects { limits, scale, labels, bytes })?
            }
            _ => return Err(InvalidObjects::Missing),
        };
        let StoredResult { index, pts, decoded_at, size, processing_us, detector, model, .. } =
            stored;
        Ok(Self { index, pts, decoded_at, objects, size, processing_us, detector, model })
    }
}
