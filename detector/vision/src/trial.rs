use crate::candidate::Candidate;
use crate::nms::overlap;

/// A picture of 544 × 544 pixels from the sample videos, put together from four frames.
pub(crate) const PICTURE: &[u8] = include_bytes!("../models/trial.jpg");
/// What is in it for certain, as NanoDet-g and NanoDet-Plus find it, in pixels.
const OBJECTS: [(&str, [f32; 4]); 7] = [
    ("person", [18.0, 0.0, 156.0, 272.0]),
    ("person", [318.0, 283.0, 453.0, 544.0]),
    ("person", [285.0, 20.0, 544.0, 278.0]),
    ("person", [171.0, 314.0, 274.0, 533.0]),
    ("person", [120.0, 27.0, 157.0, 138.0]),
    ("bicycle", [342.0, 428.0, 484.0, 544.0]),
    ("bicycle", [46.0, 135.0, 186.0, 274.0]),
];
/// Boxes that overlap an object less are not of it.
const LEAST_OVERLAP: f32 = 0.5;
/// What each box beside the objects costs.
const FALSE_BOX: f32 = 0.02;
/// A reading finds at least this, and this much more than the next one.
const LEAST_QUALITY: f32 = 0.6;
const MARGIN: f32 = 1.05;

/// How well the picture's objects are found: the sum of overlap × score, less what is too much.
pub(crate) fn quality(found: &[Candidate], labels: &[String]) -> f32 {
    let label = |candidate: &Candidate| labels.get(candidate.class).map(String::as_str);
    let of_object = |candidate: &&Candidate, (name, bounds): &(&str, [f32; 4])| {
        label(candidate) == Some(name) && overlap(&candidate.bounds, bounds) > LEAST_OVERLAP
    };
    let best = |object: &(&str, [f32; 4])| {
        let candidates = found.iter().filter(|candidate| of_object(candidate, object));
        let value = |candidate: &Candidate| candidate.score * overlap(&candidate.bounds, &object.1);
        candidates.map(value).fold(0.0, f32::max)
    };
    let is_false =
        |candidate: &&Candidate| !OBJECTS.iter().any(|object| of_object(candidate, object));
    let false_boxes: f32 = found.iter().filter(is_false).map(|candidate| candidate.score).sum();
    OBJECTS.iter().map(best).sum::<f32>() - FALSE_BOX * false_boxes
}

/// The index of the best reading, if it is clearly the best.
pub(crate) fn clear_best(qualities: &[f32]) -> Option<usize> {
    let (best, quality) = qualities.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
    let others = qualities.iter().enumerate().filter(|(index, _)| *index != best);
    let second = others.map(|(_, quality)| *quality).fold(0.0, f32::max);
    (*quality >= LEAST_QUALITY && *quality >= MARGIN * second).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_is_chosen_only_if_it_is_clearly_the_best() {
        assert_eq!(clear_best(&[0.1, 3.0, 2.0]), Some(1));
        assert_eq!(clear_best(&[2.95, 3.0]), None);
        assert_eq!(clear_best(&[0.1, 0.0]), None);
        assert_eq!(clear_best(&[f32::NAN, 3.0]), None);
    }

    #[test]
    fn quality_is_that_of_boxes_scores_and_classes() {
        let labels = ["person".to_owned(), "bicycle".to_owned()];
        let found = |class, score, bounds| [Candidate { class, score, bounds }];
        let person = OBJECTS[0].1;
        assert_eq!(quality(&found(0, 0.8, person), &labels), 0.8);
        assert!(quality(&found(1, 0.8, person), &labels) < 0.0);
        assert!(quality(&found(0, 0.8, person.map(|side| side + 8.0)), &labels) < 0.75);
    }
}
