use std::num::NonZero;
use std::path::PathBuf;
use std::thread::available_parallelism;
use std::time::Duration;

use moliceiro_nats::messages::ModelId;
use moliceiro_service::settings::{Problem, list};
use moliceiro_service::{Section, Service, ServiceSection};
use serde::{Deserialize, Serialize};

const LEAST_DEADLINE: Duration = Duration::from_secs(1);

/// Settings `[detector]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectorSettings {
    /// The detector's name in results. Empty: the host name and the process id.
    pub name: String,
    /// Frames analysed at the same time, each by a session of its own. 0: the number of cores,
    /// divided by `threads`.
    pub sessions: usize,
    /// Threads of each session.
    pub threads: usize,
    /// The models whose frames this detector takes: names, names with versions, or `*` for all. A
    /// built-in one that is named is loaded at the start, otherwise `nanodet`; an added one that is
    /// named with its version is loaded as soon as it has a queue. Others are loaded when frames
    /// wait for them.
    #[serde(with = "list")]
    pub models: Vec<String>,
    /// Bytes of memory that loaded models may take together, as estimated from their files. 0: half
    /// of the machine's, or of the container's.
    pub memory: u64,
    /// How long the analysis of a frame may take before this detector ends and leaves it to
    /// another. Not set: a minute, or a hundred times as long as the slowest one so far. A model
    /// that takes as long for a picture when it is loaded is not used.
    #[serde(default, with = "humantime_serde")]
    pub deadline: Option<Duration>,
    /// Replaced by `models` and `ingest.model`.
    #[serde(default, skip_serializing)]
    pub model: Option<PathBuf>,
    /// Objects count if their score is above this, 0 to 1 with up to four decimals. Not set: the
    /// value of the model's manifest.
    pub threshold: Option<f32>,
    /// Objects are stored if their score is above this, 0 to 1 with up to four decimals. Those that
    /// are not above the threshold do not count: analytics see them. A threshold below it lowers it.
    pub floor: f64,
    /// Of two boxes of a class whose intersection over union is above this, the one with the lower
    /// score is removed, 0 to 1. Not set: the value of the model's manifest.
    pub iou: Option<f32>,
    /// The path of the library `libonnxruntime.so`. Not set: the one that `ORT_DYLIB_PATH` names,
    /// the one that is installed with the program, or the system's.
    pub onnxruntime: Option<PathBuf>,
}

impl Default for DetectorSettings {
    fn default() -> Self {
        Self {
            name: String::new(),
            sessions: 0,
            threads: 1,
            models: vec!["*".to_owned()],
            memory: 0,
            deadline: None,
            model: None,
            threshold: None,
            floor: 0.1,
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
        check(
            self.deadline.is_none_or(|deadline| deadline >= LEAST_DEADLINE),
            "deadline",
            "1s or longer",
        );
        let is_model = |name: &String| name == "*" || name.parse::<ModelId>().is_ok();
        check(
            !self.models.is_empty() && self.models.iter().all(is_model),
            "models",
            "names of models such as boats or boats@3, or *",
        );
        check(
            self.model.is_none(),
            "model",
            "left out: add the file with `moliceiro model add`, and name the model in ingest.model \
             or in uploads",
        );
        check(share(self.threshold), "threshold", "0 to 1");
        check((0.0..=1.0).contains(&self.floor), "floor", "0 to 1");
        check(share(self.iou), "iou", "0 to 1");
        problems
    }
}

impl DetectorSettings {
    /// The configured number of sessions, or enough of them to use all cores.
    pub(crate) fn session_count(&self) -> usize {
        let cores = available_parallelism().map_or(1, NonZero::get);
        if self.sessions == 0 { (cores / self.threads).max(1) } else { self.sessions }
    }

    /// What the engine is given.
    pub fn floor(&self) -> f32 {
        #[expect(clippy::cast_possible_truncation, reason = "only four decimals matter")]
        let floor = self.floor as f32;
        floor
    }

    /// The configured name, or one that differs between the processes of all machines.
    pub(crate) fn instance_name(&self) -> String {
        if !self.name.is_empty() {
            return self.name.clone();
        }
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = if host.trim().is_empty() { "detector" } else { host.trim() };
        format!("{host}-{}", std::process::id())
    }
}

impl ServiceSection for DetectorSettings {
    const METRICS_PORT: u16 = 9472;
}

/// The settings of a detector as a service.
pub type DetectorService = Service<DetectorSettings>;
