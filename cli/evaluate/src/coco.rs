//! Labelled pictures in the format of COCO, and what was found in them: the lists of objects that
//! COCO calls "results".

use std::collections::BTreeMap;

use serde::Deserialize;
use thiserror::Error;

use crate::average_precision::{Judged, Overlaps, average, judge};
use crate::bounds::Bounds;
use crate::report::{Class, Detecting};

/// As many objects of a class are compared in each picture.
const MOST_OF_CLASS: usize = 100;

/// Labelled pictures.
#[derive(Clone, Debug, PartialEq)]
pub struct Labelled {
    /// The pictures, in the order in which a folder of them is a video.
    pub pictures: Vec<Picture>,
    /// The name of each class.
    pub classes: BTreeMap<u64, String>,
    objects: Vec<Annotation>,
}

/// One of the pictures.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Picture {
    /// Its number in the file.
    pub id: u64,
    /// Its file.
    pub file_name: String,
}

/// An object that was found in a picture.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Found {
    /// The picture's number.
    #[serde(rename = "image_id")]
    pub picture: u64,
    /// The class's number.
    #[serde(rename = "category_id")]
    pub class: u64,
    /// Left, top, width, height.
    pub bbox: [f64; 4],
    /// The model's confidence.
    pub score: f64,
}

#[derive(Deserialize)]
struct File {
    images: Vec<Picture>,
    annotations: Vec<Annotation>,
    categories: Vec<Category>,
}

#[derive(Deserialize)]
struct Category {
    id: u64,
    name: String,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Annotation {
    image_id: u64,
    category_id: u64,
    bbox: [f64; 4],
    /// 1 for a group, in which any number may be found.
    #[serde(default)]
    iscrowd: u8,
}

/// A file is not in the format, or contradicts itself.
#[derive(Debug, Error)]
pub enum MalformedCoco {
    /// It is not JSON, or a field is missing or of another type.
    #[error("not in the format of COCO: {0}")]
    Json(#[from] serde_json::Error),
    /// A number of an object is not that of a picture or a class.
    #[error("{list}[{index}]: its {field} is {id}, which does not exist")]
    Unknown {
        /// The list that it is in.
        list: &'static str,
        /// Its place in it, from 0.
        index: usize,
        /// The field's name.
        field: &'static str,
        /// The number.
        id: u64,
    },
    /// A box has negative lengths.
    #[error("{list}[{index}]: its bbox is {bbox:?}: left, top, width, height")]
    Box {
        /// The list that it is in.
        list: &'static str,
        /// Its place in it, from 0.
        index: usize,
        /// The box.
        bbox: [f64; 4],
    },
    /// Two pictures, or two classes, have the same number.
    #[error("two of the {0} have the id {1}")]
    Twice(&'static str, u64),
    /// Nothing is labelled.
    #[error("it has no object that is not a crowd")]
    Empty,
}

impl Labelled {
    /// Reads the pictures, classes and objects of a file such as `instances_val2017.json`.
    pub fn parse(file: &[u8]) -> Result<Self, MalformedCoco> {
        let File { mut images, annotations, categories } = serde_json::from_slice(file)?;
        let mut classes = BTreeMap::new();
        for Category { id, name } in categories {
            if classes.insert(id, name).is_some() {
                return Err(MalformedCoco::Twice("categories", id));
            }
        }
        images.sort_by(|a, b| natord::compare(&a.file_name, &b.file_name));
        let mut ids: Vec<u64> = images.iter().map(|picture| picture.id).collect();
        ids.sort_unstable();
        if let Some(twice) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(MalformedCoco::Twice("images", twice[0]));
        }
        let labelled = Self { pictures: images, classes, objects: annotations };
        let objects = labelled.objects.iter();
        labelled.check(
            "annotations",
            &ids,
            objects.map(|object| (object.image_id, object.category_id, object.bbox)),
        )?;
        if labelled.objects.iter().all(|object| object.iscrowd != 0) {
            return Err(MalformedCoco::Empty);
        }
        Ok(labelled)
    }

    /// Reads a list of what was found in these pictures.
    pub fn parse_found(&self, file: &[u8]) -> Result<Vec<Found>, MalformedCoco> {
        let found: Vec<Found> = serde_json::from_slice(file)?;
        let mut ids: Vec<u64> = self.pictures.iter().map(|picture| picture.id).collect();
        ids.sort_unstable();
        self.check("", &ids, found.iter().map(|found| (found.picture, found.class, found.bbox)))?;
        Ok(found)
    }

    fn check(
        &self,
        list: &'static str,
        pictures: &[u64],
        objects: impl Iterator<Item = (u64, u64, [f64; 4])>,
    ) -> Result<(), MalformedCoco> {
        for (index, (picture, class, bbox)) in objects.enumerate() {
            let unknown = |field, id| MalformedCoco::Unknown { list, index, field, id };
            if pictures.binary_search(&picture).is_err() {
                return Err(unknown("image_id", picture));
            }
            if !self.classes.contains_key(&class) {
                return Err(unknown("category_id", class));
            }
            if bbox[2] < 0.0 || bbox[3] < 0.0 {
                return Err(MalformedCoco::Box { list, index, bbox });
            }
        }
        Ok(())
    }

    /// Compares what was found with the labels, class by class.
    pub fn compare(&self, found: &[Found]) -> Detecting {
        let mut parts: BTreeMap<(u64, u64), Part> = BTreeMap::new();
        for Annotation { image_id, category_id, bbox, iscrowd } in &self.objects {
            let part = parts.entry((*category_id, *image_id)).or_default();
            part.truth.push((bounds(*bbox), *iscrowd != 0));
        }
        for Found { picture, class, bbox, score } in found {
            let part = parts.entry((*class, *picture)).or_default();
            part.found.push(bounds(*bbox));
            part.scores.push(*score);
        }
        let mut classes: BTreeMap<u64, (Class, Vec<Judged>)> = BTreeMap::new();
        for ((class, _), part) in &parts {
            let (counts, all) = classes.entry(*class).or_default();
            let judged = judge(part, part.truth.len(), &part.scores, MOST_OF_CLASS);
            counts.truth += part.truth.iter().filter(|(_, is_crowd)| !is_crowd).count();
            counts.found += judged.len();
            counts.right += judged.iter().filter(|judged| judged.is_right).count();
            all.extend(judged);
        }
        let classes = classes.into_iter().map(|(class, (mut counts, judged))| {
            counts.name = self.classes.get(&class).cloned().unwrap_or_default();
            counts.ap50 = (counts.truth > 0).then(|| average(judged, counts.truth));
            counts
        });
        Detecting::of(self.pictures.len(), classes.collect())
    }
}

/// The objects of one class in one picture.
#[derive(Default)]
struct Part {
    /// With true for crowds.
    truth: Vec<(Bounds, bool)>,
    found: Vec<Bounds>,
    scores: Vec<f64>,
}

impl Overlaps for Part {
    fn overlap(&self, truth: usize, found: usize) -> f64 {
        match self.truth[truth] {
            (bounds, true) => self.found[found].covered_by(&bounds),
            (bounds, false) => bounds.iou(&self.found[found]),
        }
    }

    fn is_ignored(&self, truth: usize) -> bool {
        self.truth[truth].1
    }
}

fn bounds([left, top, width, height]: [f64; 4]) -> Bounds {
    Bounds::from_corner(left, top, width, height)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRUTH: &str = r#"{
        "images": [{"id": 7, "file_name": "10.jpg"}, {"id": 3, "file_name": "9.jpg"}],
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "car"}],
        "annotations": [
            {"image_id": 7, "category_id": 1, "bbox": [0, 0, 10, 10]},
            {"image_id": 7, "category_id": 1, "bbox": [20, 0, 10, 10]},
            {"image_id": 3, "category_id": 1, "bbox": [0, 0, 100, 100], "iscrowd": 1},
            {"image_id": 3, "category_id": 2, "bbox": [0, 0, 10, 10]}
        ]
    }"#;

    #[test]
    fn objects_are_compared_by_class_and_picture_and_crowds_are_left_out() {
        let labelled = Labelled::parse(TRUTH.as_bytes()).unwrap();
        assert_eq!(labelled.pictures[0].file_name, "9.jpg", "as in a folder");
        let found = labelled.parse_found(
            br#"[
            {"image_id": 7, "category_id": 1, "bbox": [0, 0, 10, 9], "score": 0.9},
            {"image_id": 7, "category_id": 1, "bbox": [0, 0, 10, 10], "score": 0.8},
            {"image_id": 3, "category_id": 1, "bbox": [50, 50, 10, 10], "score": 0.7},
            {"image_id": 3, "category_id": 1, "bbox": [60, 50, 10, 10], "score": 0.6}
        ]"#,
        );
        let compared = labelled.compare(&found.unwrap());
        let [person, car] = &compared.classes[..] else { panic!("{compared:?}") };
        assert_eq!((&*person.name, person.truth, person.found, person.right), ("person", 2, 2, 1));
        assert_eq!((&*car.name, car.truth, car.found, car.right), ("car", 1, 0, 0));
        assert!((person.ap50.unwrap() - 51.0 / 101.0).abs() < 1e-12);
        assert_eq!(car.ap50, Some(0.0));
        assert!((compared.ap50 - 51.0 / 202.0).abs() < 1e-12);
        assert_eq!((compared.precision, compared.recall), (0.5, 1.0 / 3.0));
    }

    #[test]
    fn an_error_names_the_object_and_the_field() {
        for (from, to, error) in [
            (
                "\"image_id\": 3, \"category_id\": 2",
                "\"image_id\": 4, \"category_id\": 2",
                "annotations[3]: its image_id is 4",
            ),
            ("\"category_id\": 2", "\"category_id\": 5", "annotations[3]: its category_id is 5"),
            ("[20, 0, 10, 10]", "[20, 0, -10, 10]", "annotations[1]: its bbox"),
            ("[20, 0, 10, 10]", "[20, 0, 10]", "invalid length 3"),
            ("\"bbox\": [20, 0, 10, 10]", "\"box\": []", "missing field `bbox`"),
            ("\"id\": 3", "\"id\": 7", "two of the images have the id 7"),
            ("\"id\": 2", "\"id\": 1", "two of the categories have the id 1"),
        ] {
            assert!(TRUTH.contains(from), "{from}");
            let found = Labelled::parse(TRUTH.replace(from, to).as_bytes());
            let found = found.unwrap_err().to_string();
            assert!(found.contains(error), "{to}: {found}");
        }
        let labelled = Labelled::parse(TRUTH.as_bytes()).unwrap();
        let found = br#"[{"image_id": 8, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 1}]"#;
        let error = labelled.parse_found(found).unwrap_err().to_string();
        assert!(error.contains("[0]: its image_id is 8"), "{error}");
    }
}
