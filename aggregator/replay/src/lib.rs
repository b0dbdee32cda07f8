//! Folds the stored results of a video into tracks, lines, zones and alarms: with the video's own
//! rules or with others, without decoding or detecting anything again.
//!
//! 1. `frames.rs` reads the stored results by their frames ([`StoredResults`]).
//! 2. `question.rs` checks that the rules fit the video ([`Question`]).
//! 3. `analysis.rs` folds them ([`analyse`]) and says what is missing; `boxes.rs` says which object
//!    belongs to which track.
//!
//! An aggregator folds results as they come, and reads those that another one counted.

mod analysis;
mod boxes;
mod error;
mod frames;
mod question;

pub use analysis::{Analysis, MissingRun, analyse, fold_frame, rules_of};
pub use boxes::{
    CountedBox, CountedBoxes, TrackNumbers, TrackedBox, TrackedBoxes, counted_boxes, track_numbers,
    tracked_boxes,
};
pub use error::ReplayError;
pub use frames::StoredResults;
pub use question::Question;
