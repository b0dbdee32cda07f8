use std::fmt;

use serde::Serialize;

use crate::average_precision;
use crate::clear::Clear;
use crate::hota::Hota;
use crate::identity::Identity;
use crate::sequence::Sequence;

/// How well the objects of a video were found and tracked. Shares are from 0 to 1.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tracking {
    /// Frames with a box in the truth or in the prediction.
    pub frames: usize,
    /// Boxes of the truth that are evaluated.
    pub boxes: usize,
    /// Predicted boxes that are evaluated.
    pub predicted_boxes: usize,
    /// Different objects in the truth.
    pub objects: usize,
    /// Different tracks.
    pub tracks: usize,
    /// How many tracks there are too many; negative: too few.
    pub unique_count_error: i64,
    /// Boxes of the truth that were found.
    pub matches: usize,
    /// Boxes of the truth that were not.
    pub misses: usize,
    /// Boxes that are not in the truth.
    pub false_positives: usize,
    /// The share of the predicted boxes that are right.
    pub precision: f64,
    /// The share of the boxes of the truth that were found.
    pub recall: f64,
    /// Average precision at an overlap of half. `None` without scores.
    pub ap50: Option<f64>,
    /// Multiple object tracking accuracy, at most 1; negative with many mistakes.
    pub mota: f64,
    /// Mean overlap of the boxes that are right.
    pub motp: f64,
    /// Identity F1.
    pub idf1: f64,
    /// Higher order tracking accuracy.
    pub hota: f64,
    /// The part of `hota` that is about finding.
    pub det_a: f64,
    /// The part of `hota` that is about holding together.
    pub ass_a: f64,
    /// The part of `hota` that is about places.
    pub loc_a: f64,
    /// How often an object changes its track.
    pub switches: usize,
    /// How often an object has a track again after it had none.
    pub fragmentations: usize,
}

impl Tracking {
    /// Computes all figures.
    pub fn of(sequence: &Sequence) -> Self {
        let clear = Clear::of(sequence);
        let hota = Hota::of(sequence);
        let signed = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        Self {
            frames: sequence.frames.len(),
            boxes: sequence.truth_boxes(),
            predicted_boxes: sequence.predicted_boxes(),
            objects: sequence.truth_ids,
            tracks: sequence.predicted_ids,
            unique_count_error: signed(sequence.predicted_ids) - signed(sequence.truth_ids),
            matches: clear.matches,
            misses: clear.misses,
            false_positives: clear.false_positives,
            precision: clear.precision(),
            recall: clear.recall(),
            ap50: average_precision::of_tracks(sequence),
            mota: clear.mota(),
            motp: clear.motp(),
            idf1: Identity::of(sequence).idf1(),
            hota: hota.hota,
            det_a: hota.det_a,
            ass_a: hota.ass_a,
            loc_a: hota.loc_a,
            switches: clear.switches,
            fragmentations: clear.fragmentations,
        }
    }
}

impl fmt::Display for Tracking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: f64| format!("{:.1}", share * 100.0);
        let ap50 = self.ap50.map_or("unknown: there are no scores".to_owned(), percent);
        writeln!(f, "MOTA              {}", percent(self.mota))?;
        writeln!(f, "IDF1              {}", percent(self.idf1))?;
        let (det_a, ass_a) = (percent(self.det_a), percent(self.ass_a));
        writeln!(f, "HOTA              {} (DetA {det_a}, AssA {ass_a})", percent(self.hota))?;
        writeln!(f, "MOTP              {}", percent(self.motp))?;
        writeln!(f, "precision         {}", percent(self.precision))?;
        writeln!(f, "recall            {}", percent(self.recall))?;
        writeln!(f, "AP50              {ap50}")?;
        let (misses, boxes) = (self.misses, self.boxes);
        writeln!(f, "missed            {misses} of {boxes} boxes in {} frames", self.frames)?;
        let (wrong, predicted) = (self.false_positives, self.predicted_boxes);
        writeln!(f, "false positives   {wrong} of {predicted} boxes")?;
        writeln!(f, "switches          {}", self.switches)?;
        writeln!(f, "fragmentations    {}", self.fragmentations)?;
        let (tracks, objects) = (self.tracks, self.objects);
        write!(f, "different objects {tracks} instead of {objects}: ")?;
        write!(f, "{:+}", self.unique_count_error)
    }
}

/// How well the objects of pictures were found. Shares are from 0 to 1.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Detecting {
    /// How many pictures there are.
    pub pictures: usize,
    /// The mean of the classes that the truth has.
    pub ap50: f64,
    /// The share of what was found that is right.
    pub precision: f64,
    /// The share of the truth that was found.
    pub recall: f64,
    /// Each class by itself.
    pub classes: Vec<Class>,
}

/// How well the objects of a class were found in pictures.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Class {
    /// The class's name.
    pub name: String,
    /// Objects in the truth, without crowds.
    pub truth: usize,
    /// Objects found, without those in crowds.
    pub found: usize,
    /// Those that are right.
    pub right: usize,
    /// Average precision at an overlap of half. `None` if the truth has no such object.
    pub ap50: Option<f64>,
}

impl Detecting {
    pub(crate) fn of(pictures: usize, classes: Vec<Class>) -> Self {
        let sum = |of: fn(&Class) -> usize| classes.iter().map(of).sum::<usize>();
        let (truth, found) = (sum(|class| class.truth), sum(|class| class.found));
        let right = sum(|class| class.right) as f64;
        let known: Vec<f64> = classes.iter().filter_map(|class| class.ap50).collect();
        Self {
            pictures,
            ap50: known.iter().sum::<f64>() / known.len().max(1) as f64,
            precision: right / found.max(1) as f64,
            recall: right / truth.max(1) as f64,
            classes,
        }
    }
}

impl fmt::Display for Detecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: f64| format!("{:.1}", share * 100.0);
        writeln!(f, "AP50       {}", percent(self.ap50))?;
        writeln!(f, "precision  {}", percent(self.precision))?;
        writeln!(f, "recall     {}", percent(self.recall))?;
        write!(f, "pictures   {}", self.pictures)?;
        for Class { name, truth, found, ap50, .. } in &self.classes {
            let ap50 = ap50
                .map_or("none in the truth".to_owned(), |ap50| format!("AP50 {}", percent(ap50)));
            write!(f, "\n{name}: {ap50}, {found} found instead of {truth}")?;
        }
        Ok(())
    }
}
