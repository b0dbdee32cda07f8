use std::collections::BTreeMap;

use thiserror::Error;

use super::{Detection, Score, Size};

/// The objects that a detector found in a frame, best score first.
///
/// A detector reports every object that scores above a *floor*. Only those above the *threshold*
/// count: [`Objects::counted`] is what is shown and counted. Scores and boxes have the precision in
/// which they are stored, whether they were stored yet or not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Objects {
    /// `None`: results of before 0.2, all of whose objects count.
    limits: Option<Limits>,
    /// Those of the classes found, by their index among the model's.
    labels: BTreeMap<u16, String>,
    found: Vec<Found>,
}

/// Which objects are reported, and which of them count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Objects are reported if they score above this.
    pub floor: Score,
    /// Objects count if they score above this.
    pub threshold: Score,
}

/// One of the [`Objects`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Object<'a> {
    /// The index of its class among the model's labels. In results of before 0.2, classes are
    /// numbered as they come.
    pub class: u16,
    /// The name of its class.
    pub label: &'a str,
    /// The model's confidence, 0 to 1.
    pub score: f32,
    /// Left, top, right, bottom in pixels of the video's own upright frame.
    pub bounds: [f32; 4],
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Found {
    class: u16,
    score: f32,
    bounds: [f32; 4],
}

/// Objects that contradict the result that they are in, or that are not stored as they should be.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum InvalidObjects {
    /// The bytes are not a whole number of objects.
    #[error("{0} bytes are not a whole number of objects of {BYTES} bytes")]
    Length(usize),
    /// An object has a class without a label.
    #[error("an object has the class {0}, which has no label")]
    Class(u16),
    /// A label is given twice.
    #[error("the class {0} has two labels")]
    Labels(u16),
    /// A score is not from 0 to 1.
    #[error("an object has the score {0}")]
    Score(f32),
    /// The sides of a box are in the wrong order, or not numbers.
    #[error("an object has the box {0:?}")]
    Box([f32; 4]),
    /// Boxes have an unknown unit.
    #[error("boxes in 1/{0} pixel: this program knows 1, 1/2, 1/4, 1/8 and 1/16")]
    Scale(u16),
    /// There are more classes than a model can have.
    #[error("more than 65,536 classes in one frame")]
    Classes,
    /// Neither the objects of this release nor those of before 0.2 are there, or both are.
    #[error("it must have either objects, with their floor, threshold and scale, or detections")]
    Missing,
}

/// Bytes of a stored object: class, score, left, top, right, bottom.
const BYTES: usize = 12;
/// Boxes are stored in this part of a pixel, or in a larger one if the frame is too large for that.
const FINEST_SCALE: u16 = 16;

/// What a stored result has of its objects.
pub(crate) struct StoredObjects {
    pub limits: Limits,
    pub scale: u16,
    pub labels: Vec<(u16, String)>,
    pub bytes: Vec<u8>,
}

impl Objects {
    /// No objects, yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits: Some(limits), ..Self::default() }
    }

    /// Adds an object of a frame of this size. Give the best score first.
    pub fn push(&mut self, size: Size, object: Object<'_>) {
        let Object { class, label, score, bounds } = object;
        let scale = f32::from(scale(size));
        let stored = |side: f32| f32::from(in_steps(side, scale)) / scale;
        let (score, bounds) = (Score::at_least(score).value(), bounds.map(stored));
        self.labels.entry(class).or_insert_with(|| label.to_owned());
        self.found.push(Found { class, score, bounds });
    }

    /// The objects that count, best score first.
    pub fn counted(&self) -> impl Iterator<Item = Object<'_>> {
        let threshold = self.limits.map_or(f32::NEG_INFINITY, |limits| limits.threshold.value());
        self.all().filter(move |object| object.score > threshold)
    }

    /// The objects above a threshold, best score first. None is below the floor.
    pub fn above(&self, threshold: Score) -> impl Iterator<Item = Object<'_>> {
        self.all().filter(move |object| object.score > threshold.value())
    }

    /// All objects above the floor, best score first.
    pub fn all(&self) -> impl Iterator<Item = Object<'_>> {
        self.found.iter().map(|Found { class, score, bounds }| Object {
            class: *class,
            // Each class has a label, as `push` and `from_stored` make sure.
            label: self.labels.get(class).map_or("", String::as_str),
            score: *score,
            bounds: *bounds,
        })
    }

    /// The floor and the threshold. `None` in results of before 0.2: all their objects count, and
    /// what scored lower is unknown.
    pub fn limits(&self) -> Option<Limits> {
        self.limits
    }

    pub(crate) fn to_stored(&self, size: Option<Size>) -> Option<StoredObjects> {
        let limits = self.limits?;
        let scale = size.map_or(FINEST_SCALE, scale);
        let mut bytes = Vec::with_capacity(self.found.len() * BYTES);
        for Found { class, score, bounds } in &self.found {
            let sides = bounds.map(|side| in_steps(side, f32::from(scale)));
            let numbers = [*class, Score::at_least(*score).into()].into_iter().chain(sides);
            bytes.extend(numbers.flat_map(u16::to_le_bytes));
        }
        let labels = self.labels.iter().map(|(class, label)| (*class, label.clone())).collect();
        Some(StoredObjects { limits, scale, labels, bytes })
    }

    pub(crate) fn from_stored(stored: StoredObjects) -> Result<Self, InvalidObjects> {
        let StoredObjects { limits, scale, labels: pairs, bytes } = stored;
        if !scale.is_power_of_two() || scale > FINEST_SCALE {
            return Err(InvalidObjects::Scale(scale));
        }
        let mut labels = BTreeMap::new();
        for (class, label) in pairs {
            if labels.insert(class, label).is_some() {
                return Err(InvalidObjects::Labels(class));
            }
        }
        let (objects, rest) = bytes.as_chunks::<BYTES>();
        if !rest.is_empty() {
            return Err(InvalidObjects::Length(bytes.len()));
        }
        let found = objects.iter().map(|object| {
            let (numbers, _) = object.as_chunks::<2>();
            let number = |n: usize| u16::from_le_bytes(numbers[n]);
            let class = number(0);
            if !labels.contains_key(&class) {
                return Err(InvalidObjects::Class(class));
            }
            let score = f32::from(number(1)) / f32::from(u16::from(Score::ONE));
            let bounds = [2, 3, 4, 5].map(|n| f32::from(number(n)) / f32::from(scale));
            checked(Found { class, score, bounds })
        });
        let found = found.collect::<Result<_, _>>()?;
        Ok(Self { limits: Some(limits), labels, found })
    }

    /// The objects as results of before 0.2 have them.
    pub(crate) fn to_detections(&self) -> Vec<Detection> {
        self.all().map(Detection::from).collect()
    }

    pub(crate) fn from_detections(detections: Vec<Detection>) -> Result<Self, InvalidObjects> {
        let mut classes: BTreeMap<String, u16> = BTreeMap::new();
        let mut found = Vec::with_capacity(detections.len());
        for Detection { label, score, bounds } in detections {
            let next = classes.len();
            let class = match classes.get(&label) {
                Some(class) => *class,
                None => {
                    let next = u16::try_from(next).map_err(|_| InvalidObjects::Classes)?;
                    *classes.entry(label).or_insert(next)
                }
            };
            found.push(checked(Found { class, score, bounds })?);
        }
        let labels = classes.into_iter().map(|(label, class)| (class, label)).collect();
        Ok(Self { limits: None, labels, found })
    }
}

/// Objects as those of before 0.2, which all count and are not rounded.
impl TryFrom<Vec<Detection>> for Objects {
    type Error = InvalidObjects;

    fn try_from(detections: Vec<Detection>) -> Result<Self, InvalidObjects> {
        Self::from_detections(detections)
    }
}

impl From<Object<'_>> for Detection {
    fn from(Object { label, score, bounds, .. }: Object<'_>) -> Self {
        Self { label: label.to_owned(), score, bounds }
    }
}

fn checked(found: Found) -> Result<Found, InvalidObjects> {
    let Found { score, bounds: [left, top, right, bottom], .. } = found;
    if !(0.0..=1.0).contains(&score) {
        return Err(InvalidObjects::Score(score));
    }
    // Not so if one of them is NaN.
    let in_order = left <= right && top <= bottom;
    if !in_order || !found.bounds.iter().all(|side| side.is_finite()) {
        return Err(InvalidObjects::Box(found.bounds));
    }
    Ok(found)
}

/// Steps of a pixel: the finest with which the frame's sides fit into 16 bits.
fn scale(size: Size) -> u16 {
    let longest = u64::from(size.width.max(size.height));
    let fits = |scale: &u16| longest * u64::from(*scale) <= u64::from(u16::MAX);
    [16, 8, 4, 2].into_iter().find(fits).unwrap_or(1)
}

fn in_steps(side: f32, scale: f32) -> u16 {
    #[expect(clippy::cast_possible_truncation, reason = "it is clamped, and NaN becomes 0")]
    #[expect(clippy::cast_sign_loss, reason = "it is clamped")]
    let steps = (side * scale).round().clamp(0.0, f32::from(u16::MAX)) as u16;
    steps
}

#[cfg(test)]
mod tests;
