use std::num::NonZero;
use std::path::PathBuf;
use std::thread::available_parallelism;

use moliceiro_nats::{NatsSettings, StreamsSettings};
use moliceiro_service::settings::Problem;
use moliceiro_service::{Base, Section, Settings, SettingsError};
use serde::{Deserialize, Serialize};

/// Settings `[detector]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectorSettings {
    /// What this detector is called in results. Empty: the machine's name and the process id.
    pub name: String,
    /// Frames looked at at the same time, each by a session of its own. 0: as many as the cores
    /// have threads for.
    pub sessions: usize,
    /// Threads within each session.
    pub threads: usize,
    /// `nanodet` or `nanodet-int8`, which are built in, or a model's `.onnx` file with its manifest
    /// `.toml` beside it. Not set: `nanodet`.
    pub model: Option<PathBuf>,
    /// Objects scored no higher are left out, 0 to 1. Not set: as the model's manifest says.
    pub threshold: Option<f32>,
    /// Of two boxes of a class that overlap more than this, the better one stays. Not set: as the
    /// manifest says.
    pub iou: Option<f32>,
    /// The library `libonnxruntime.so`. Not set: the one that came with the program, or the
    /// system's.
    pub onnxruntime: Option<PathBuf>,
}

impl Default for DetectorSettings {
    fn default() -> Self {
        Self {
            name: String::new(),
            sessions: 0,
            threads: 1,
            model: None,
            threshold: None,
            iou: None,
            onnxruntime: None,
        }
    }
}

impl Section for DetectorSettings {
    const NAME: &'static str = "detector";

    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut check = |ok: bool, key, what: &str| {
            if !ok {
                problems.push(Problem::new(key, what));
            }
        };
        let share = |value: Option<f32>| value.is_none_or(|v| (0.0..=1.0).contains(&v));
        check(self.sessions <= 256, "sessions", "0 (one for each core) to 256");
        check((1..=256).contains(&self.threads), "threads", "1 to 256");
        check(share(self.threshold), "threshold", "0 to 1");
        check(share(self.iou), "iou", "0 to 1");
        problems
    }
}

impl DetectorSettings {
    /// Sessions to run: as set, or so many that all cores have work.
    pub(crate) fn session_count(&self) -> usize {
        let cores = available_parallelism().map_or(1, NonZero::get);
        if self.sessions == 0 { (cores / self.threads).max(1) } else { self.sessions }
    }

    pub(crate) fn instance_name(&self) -> String {
        if !self.name.is_empty() {
            return self.name.clone();
        }
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = if host.trim().is_empty() { "detector" } else { host.trim() };
        format!("{host}-{}", std::process::id())
    }
}

/// Where [`moliceiro_service::Listen::Auto`] serves metrics.
const METRICS_PORT: u16 = 9472;

/// All that a detector needs to know.
#[derive(Clone, Debug)]
pub struct DetectorService {
    /// `[log]` and `[metrics]`
    pub base: Base,
    /// `[nats]`
    pub nats: NatsSettings,
    /// `[streams]`
    pub streams: StreamsSettings,
    /// `[detector]`
    pub detector: DetectorSettings,
}

impl DetectorService {
    /// Reads and checks the sections.
    pub fn from_settings(settings: &Settings) -> Result<Self, SettingsError> {
        let base = Base {
            log: settings.section()?,
            metrics: settings.section()?,
            metrics_port: METRICS_PORT,
        };
        Ok(Self {
            base,
            nats: settings.section()?,
            streams: settings.section()?,
            detector: settings.section()?,
        })
    }
}
