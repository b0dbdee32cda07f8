//! Compares what was found in a video, or in pictures, with a known truth.
//!
//! From files to figures:
//!
//! 1. [`motchallenge`] reads boxes with identities, [`coco`] labelled pictures and what was found
//!    in them. Everything is checked as it is read: errors name the line and the field.
//! 2. [`Sequence`] brings truth and prediction together, frame by frame, and leaves out what
//!    `MOTChallenge` does not evaluate.
//! 3. [`Tracking::of`] computes the figures of tracking, each by the formula of its paper: [`clear`]
//!    (MOTA, MOTP, switches, fragmentations), [`identity`] (IDF1), [`hota`] (HOTA, DetA, AssA).
//!    [`average_precision`] has AP50, for tracks and for pictures.
//!
//! All pairs of boxes are chosen by one [`assignment`] of least cost. Tests compare the figures with
//! those of `TrackEval` and `motmetrics`.

pub mod assignment;
pub mod average_precision;
mod bounds;
pub mod clear;
pub mod coco;
pub mod hota;
pub mod identity;
pub mod motchallenge;
mod report;
mod sequence;

pub use bounds::Bounds;
pub use report::{Detecting, Tracking};
pub use sequence::{Sequence, SequenceError};
