//! Counts every frame of a video exactly once and judges frames by alarm rules: plain data and
//! functions without I/O.
//!
//! The way of a result through the files:
//!
//! 1. [`VideoTotals::apply`] (`totals.rs`) takes an [`Event`](moliceiro_messages::Event) in.
//! 2. A frame's result is kept apart until ingest confirms that the frame exists. Then it is added
//!    to the counts (`totals/frames.rs`).
//! 3. As soon as all frames before it are known, the frame is judged by the alarm rules
//!    (`alarms.rs`). Where frames are selected by time, `totals/milestones.rs` knows when that is.
//! 4. With the last frame the video has a summary (`totals/summary.rs`).
//! 5. Between two batches, the totals are stored as an entry in the bucket of videos
//!    (`totals/entry.rs`).
//!
//! Events may arrive in any order, any number of times and in any batches: the totals are the same.
//!
//! ```
//! use std::time::{Duration, UNIX_EPOCH};
//!
//! use moliceiro_analytics::{Applied, VideoTotals};
//! use moliceiro_messages::{AlarmRule, Detection, Ended, Event, FrameResult, Upload, VideoId};
//!
//! let frame = |index, labels: &[&str]| {
//!     let detection = |label: &&str| Detection {
//!         label: (*label).into(),
//!         score: 0.9,
//!         bounds: [10.0, 10.0, 60.0, 90.0],
//!     };
//!     Event::Frame(FrameResult {
//!         index,
//!         pts: Some(index * 40_000_000),
//!         decoded_at: None,
//!         objects: labels.iter().map(detection).collect::<Vec<_>>().try_into().unwrap(),
//!         size: None,
//!         processing_us: 25_000,
//!         detector: "detector-1".into(),
//!         model: Some("nanodet".into()),
//!     })
//! };
//! let ended = Ended {
//!     frames: 2,
//!     decoded: 2,
//!     duration: Some(80_000_000),
//!     problem: None,
//!     notices: vec![],
//!     skipped: None,
//! };
//!
//! let uploaded = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
//! let started = Upload::of("file:///videos/bikes.mp4".parse()?).started(uploaded, 1);
//! let rules: [AlarmRule; 1] = ["person > 1".parse()?];
//! let mut totals = VideoTotals::new(started, &rules);
//!
//! let now = 1_700_000_004_000;
//! assert_eq!(totals.apply(&frame(1, &["person", "person", "bicycle"]), now), Applied::Changed);
//! assert_eq!(totals.apply(&frame(0, &["person"]), now), Applied::Changed);
//! assert_eq!(totals.apply(&frame(0, &["person"]), now), Applied::Duplicate);
//! assert_eq!(totals.apply(&Event::Ended(ended), now), Applied::Changed);
//!
//! let video = VideoId::for_name("bikes.mp4", "1");
//! for alarm in totals.unpublished_alarms(&video) {
//!     println!("{alarm}");
//! #   assert_eq!(alarm.to_string(), "Frame 1: 2 <person> detected");
//! }
//! let summary = totals.summary(&video).ok_or("not every frame is counted yet")?;
//! println!("{summary}");
//! assert_eq!(summary.to_string(), "\
//! bikes.mp4
//! Processed frames: 2
//! Average processing time per frame: 25ms
//! Person objects detected: 3
//! Total classes detected: 2
//! Top 3 objects detected: person, bicycle");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What depends on the order of frames is a [`Fold`]: how many different objects there are, which
//! lines they cross, how long they stay in zones. It takes results in frame order, and its state
//! can be stored between any two of them. docs/analytics.md explains its numbers.
//!
//! ```
//! use moliceiro_analytics::{Finding, Fold, FrameObservations, Observation, Rules};
//! use moliceiro_messages::Size;
//!
//! let rules = Rules {
//!     lines: vec!["gate: 0.5,1 0.5,0".parse()?],
//!     alarms: vec!["person crosses gate inwards".parse()?],
//!     ..Rules::default()
//! };
//! let mut fold = Fold::new(&rules);
//! let mut alarms = Vec::new();
//! let mut sink = |finding: Finding| {
//!     if let Finding::Alarm(alarm) = finding {
//!         alarms.push((alarm.frame, alarm.track));
//!     }
//! };
//! for index in 0..100 {
//!     let left = 20.0 + index as f32;
//!     let bounds = [left, 20.0, left + 10.0, 60.0];
//!     fold.frame(
//!         &FrameObservations {
//!             index,
//!             pts: Some(index * 40_000_000),
//!             size: Some(Size { width: 160, height: 90 }),
//!             threshold: 0.5,
//!             objects: &[Observation { label: "person", score: 0.9, bounds }],
//!         },
//!         &mut sink,
//!     );
//!     // A checkpoint: another process may continue from here.
//!     fold = Fold::from_bytes(&fold.to_bytes())?;
//! }
//! fold.end(&mut sink);
//! assert_eq!(fold.summary().to_string(), "\
//! Different persons: 1
//! Line gate: 1 person in, 0 out");
//! assert_eq!(alarms.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod alarms;
mod fold;
mod totals;
mod tracker;

pub use alarms::{left_out, rules_for};
pub use fold::{Finding, Fold, FrameObservations, InvalidCheckpoint, Observation, Observed, Rules};
pub use totals::entry::InvalidBitmap;
pub use totals::{Applied, VideoTotals};
