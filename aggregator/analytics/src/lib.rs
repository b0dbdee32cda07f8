//! Counts every frame of every video once, and judges frames by alarm rules: plain data and
//! functions, no I/O.

mod alarms;
mod count;

pub use count::{Applied, BrokenBitmap, VideoCount};
