//! What was measured. `--json` prints it; the table and the chart show it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::statistics::{Interval, Latency, Measured};

/// The result of a benchmark. The names of its fields are those of the JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) version: u8,
    /// Name and version of the program.
    pub(crate) program: String,
    /// `release` or `debug`; the figures of a debug build mean little.
    pub(crate) build: String,
    pub(crate) machine: Machine,
    pub(crate) input: Input,
    pub(crate) repetitions: usize,
    /// True if it was stopped before its end: it has what was measured until then.
    #[serde(default)]
    pub(crate) stopped: bool,
    /// With `--quick` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) quick: Option<Quick>,
    /// The ways that were compared; empty without the part `throughput`.
    pub(crate) arms: Vec<Arm>,
    /// What the other parts measured.
    pub(crate) figures: Vec<Figure>,
    /// Why the figures mean little; empty on a quiet machine.
    pub(crate) noise: Vec<String>,
}

impl Report {
    /// True if nothing was measured.
    pub(crate) fn is_empty(&self) -> bool {
        self.quick.is_none() && self.arms.is_empty() && self.figures.is_empty()
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) processor: String,
    /// Load average of the minute before the benchmark.
    pub(crate) load_before: f64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Input {
    pub(crate) videos: Vec<String>,
    pub(crate) frames: u64,
    pub(crate) model: String,
    /// Width and height of the pictures that the model gets.
    pub(crate) picture: [u32; 2],
}

impl Input {
    /// The names of the videos, such as `3 × a.mp4, b.mp4`.
    pub(crate) fn names(&self) -> String {
        let mut times = BTreeMap::new();
        for video in &self.videos {
            *times.entry(video).or_insert(0) += 1;
        }
        let name = |(video, times): (&String, i32)| {
            if times > 1 { format!("{times} × {video}") } else { video.clone() }
        };
        times.into_iter().map(name).collect::<Vec<_>>().join(", ")
    }
}

/// The pipeline in one process and its limit, measured in short slices by turns.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Quick {
    pub(crate) detectors: usize,
    /// Sessions × threads of the limit.
    pub(crate) arrangement: String,
    /// Slices of each way.
    pub(crate) slices: usize,
    /// All of it, without the preparation.
    pub(crate) seconds: f64,
    pub(crate) limit: Measured,
    pub(crate) embedded: Measured,
    /// Speed of `embedded` divided by that of the limit.
    pub(crate) ratio: Interval,
    /// Objects found in a slice.
    pub(crate) objects: u64,
}

/// One way of doing the same work.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Arm {
    /// `alone`, `fused`, `embedded`, `separate` or `separate, scraped`.
    pub(crate) arm: String,
    pub(crate) detectors: usize,
    /// Sessions × threads.
    pub(crate) arrangement: String,
    /// Whether this is the fastest `fused` arm with as many detectors: the limit that the others
    /// are compared with.
    pub(crate) limit: bool,
    pub(crate) frames_per_second: Measured,
    /// Speed divided by that of the limit, repetition by repetition.
    pub(crate) ratio: Option<Measured>,
    /// Where that ratio is with 95 % confidence. Left out for the limit, and for one repetition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ratio_interval: Option<Interval>,
    /// Speed divided by that of the same arm with one detector.
    pub(crate) over_one: Option<Measured>,
    pub(crate) frames: u64,
    pub(crate) failed: u64,
    /// Objects found in all frames.
    pub(crate) objects: u64,
    /// By stage, in milliseconds.
    pub(crate) latency_ms: BTreeMap<String, Latency>,
    pub(crate) processes: Vec<ProcessFigures>,
    /// `embedded` only: the share of its CPU time that was neither decoding nor inference.
    pub(crate) cpu_outside: Option<Measured>,
    /// The share of the machine's CPU time that other programs took meanwhile.
    pub(crate) others: Measured,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ProcessFigures {
    pub(crate) process: String,
    pub(crate) cpu_ms_per_frame: Measured,
    pub(crate) peak_rss_bytes: u64,
    pub(crate) written_bytes_per_frame: Measured,
    /// By kind of thread.
    pub(crate) threads_cpu_ms_per_frame: BTreeMap<String, f64>,
}

/// A single measurement of a part.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// The name of the part.
    pub(crate) part: String,
    pub(crate) what: String,
    pub(crate) unit: String,
    pub(crate) value: Measured,
}

impl Figure {
    /// `None` without values.
    pub(crate) fn of(
        part: &str,
        what: impl Into<String>,
        unit: &str,
        values: impl IntoIterator<Item = f64>,
    ) -> Option<Self> {
        Some(Self {
            part: part.to_owned(),
            what: what.into(),
            unit: unit.to_owned(),
            value: Measured::of(values)?,
        })
    }
}
