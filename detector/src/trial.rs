//! The first run of a model, in a process of its own: a model that crashes ONNX Runtime, that never
//! ends or that takes all memory costs that process, and nothing else.

use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt, parent_id};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use moliceiro_nats::messages::ModelId;
use moliceiro_nats::models::NewModel;
use moliceiro_service::stdout;
use moliceiro_vision::{Detector, Model};
use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::engine::{described, load_runtime, options};
use crate::error::DetectorError;
use crate::serving::limit;
use crate::settings::DetectorSettings;

/// The command that makes a program try a model for its parent. Each program that calls
/// [`run`](crate::run) or [`inspect`](crate::inspect) must have it.
pub const MODEL_TRIAL: &str = "model-trial";

/// How long loading a model and running it once may take, unless the settings say.
const LIMIT: Duration = Duration::from_secs(120);
/// The same as a multiple of `detector.deadline`, which is about one frame.
const DEADLINES: u32 = 20;

/// Memory that the process may take beside what models may: in some containers, one that takes all
/// ends all.
const BESIDES: u64 = 512 << 20;
/// Variables that a process keeps which tries a model.
const KEPT: [&str; 5] = ["PATH", "LD_LIBRARY_PATH", "TMPDIR", "HOME", "LANG"];

/// How to start a process that calls [`model_trial`].
#[derive(Clone, Debug)]
pub struct TrialCommand(PathBuf);

/// What is known of the model that is tried.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Origin {
    /// It is a file of this machine's user: its manifest and labels are beside it.
    Local,
    /// Somebody sent it: nothing beside it is read.
    Sent {
        /// As TOML.
        manifest: Option<String>,
    },
}

/// What the process gets, as JSON on its standard input.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Trial {
    pub settings: DetectorSettings,
    /// The id of the process that asks.
    pub parent: u32,
    pub file: PathBuf,
    pub name: ModelId,
    pub origin: Origin,
}

/// Why a model cannot be used.
#[derive(Debug, Error)]
pub enum TrialError {
    /// It was loaded or run, and cannot be used.
    #[error("{0}")]
    Refused(String),
    /// The process crashed, or was killed.
    #[error(
        "cannot use the model {model}: the process that loaded it and ran it once ended with \
         {status}{}", memory(*.status)
    )]
    Died {
        /// Its file or name.
        model: String,
        /// How the process ended.
        status: ExitStatus,
    },
    /// It takes too long.
    #[error(
        "cannot use the model {model}: loading it and running it once took longer than {} s \
         (detector.deadline × 20, or two minutes)", .limit.as_secs()
    )]
    Hung {
        /// Its file or name.
        model: String,
        /// How long it may take.
        limit: Duration,
    },
    /// The process says nothing of the model: it did not start, or was ended from outside.
    #[error("cannot try the model in a process: {0}")]
    Start(#[from] io::Error),
}

/// Whether a process ended because somebody ended it, or could not begin.
fn says_nothing(status: ExitStatus) -> bool {
    let from_outside = [Signal::TERM, Signal::INT, Signal::HUP].map(|signal| Some(signal.as_raw()));
    status.code().is_some() || from_outside.contains(&status.signal())
}

/// The system kills processes when it has no memory left.
fn memory(status: ExitStatus) -> &'static str {
    match status.signal() == Some(Signal::KILL.as_raw()) {
        true => "; there may not be enough memory for it",
        false => "",
    }
}

impl TrialCommand {
    /// This program, even if its file is replaced while it runs.
    pub fn this_program() -> Self {
        Self("/proc/self/exe".into())
    }

    /// Another program that has the command [`MODEL_TRIAL`].
    pub fn of(program: PathBuf) -> Self {
        Self(program)
    }

    /// Loads a model and runs it once. Blocks until that is done.
    pub(crate) fn run(&self, trial: &Trial) -> Result<NewModel, TrialError> {
        let model = match trial.origin {
            Origin::Local => trial.file.display().to_string(),
            Origin::Sent { .. } => trial.name.to_string(),
        };
        let limit = trial.settings.deadline.map_or(LIMIT, |deadline| deadline * DEADLINES);
        let mut process = Process::start(&self.0)?;
        match process.ask(trial, limit)? {
            None => Err(TrialError::Hung { model, limit }),
            Some(answer) => match serde_json::from_str::<Result<NewModel, String>>(&answer) {
                Ok(answer) => answer.map_err(TrialError::Refused),
                Err(_) => Err(process.died(model)),
            },
        }
    }
}

/// It is killed when this value is dropped.
struct Process(Child);

impl Process {
    /// The process ends with the thread that calls this.
    fn start(program: &PathBuf) -> io::Result<Self> {
        let mut command = Command::new(program);
        // Variables may hold passwords, and a model needs none of them.
        command.env_clear();
        command.envs(std::env::vars_os().filter(|(name, _)| KEPT.iter().any(|kept| name == kept)));
        // In a group of its own, Ctrl-C in a terminal does not end it before its parent asks why.
        let command = command.arg(MODEL_TRIAL).process_group(0);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        // What C++ prints at its end is not an answer.
        command.stderr(Stdio::null()).spawn().map(Self)
    }

    /// What the end of the process says, which gave no answer.
    fn died(&mut self, model: String) -> TrialError {
        match self.0.wait() {
            Ok(status) if says_nothing(status) => {
                TrialError::Start(io::Error::other(format!("it ended with {status}")))
            }
            Ok(status) => TrialError::Died { model, status },
            Err(error) => TrialError::Start(error),
        }
    }

    /// All that it writes; `None` if that takes longer than `limit`.
    fn ask(&mut self, trial: &Trial, limit: Duration) -> io::Result<Option<String>> {
        let text = serde_json::to_vec(trial)?;
        if let Some(mut input) = self.0.stdin.take() {
            // An error means that it has ended, which its status says.
            input.write_all(&text).ok();
        }
        let Some(mut output) = self.0.stdout.take() else { return Ok(Some(String::new())) };
        let (sender, receiver) = sync_channel(1);
        thread::Builder::new().name("model-trial".into()).spawn(move || {
            let mut answer = Vec::new();
            let read = output.read_to_end(&mut answer);
            // It fails if nobody waits any more.
            sender.send(read.map(|_| String::from_utf8_lossy(&answer).into_owned())).ok();
        })?;
        match receiver.recv_timeout(limit) {
            Ok(answer) => answer.map(Some),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Ok(Some(String::new())),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The whole of a process that tries a model for its parent.
pub fn model_trial() -> ExitCode {
    match answer() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn answer() -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // A crash is reported by the parent. A picture of its memory would only fill the disk.
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).ok();
    // If the machine runs out of memory, this process goes, and not its parent. It may be forbidden
    // to say so.
    std::fs::write("/proc/self/oom_score_adj", "1000").ok();
    rustix::thread::set_name(c"model-trial").ok();
    let trial: Trial = serde_json::from_reader(io::stdin())?;
    // It may have ended before the signal was set, and nobody would stop this process.
    if parent_id() != trial.parent {
        return Err(io::Error::other("nobody waits for the answer"));
    }
    let data = limit(&trial.settings).saturating_add(BESIDES);
    setrlimit(Resource::Data, Rlimit { current: Some(data), maximum: Some(data) }).ok();
    let answer = try_here(trial).map_err(|error| error.to_string());
    stdout().write_all(&serde_json::to_vec(&answer)?)
}

/// Loads a model and runs it once, in this process.
fn try_here(trial: Trial) -> Result<NewModel, DetectorError> {
    let Trial { settings, file, name, origin, .. } = trial;
    let model = match origin {
        Origin::Local => {
            let model = Model::open(&file)?;
            model.check_one_file()?;
            model
        }
        Origin::Sent { manifest } => {
            Model::open_alone(&name.to_string(), file, manifest.as_deref())?
        }
    };
    let detector = Detector::new(&load_runtime(&settings)?, &model, options(&settings))?;
    Ok(described(detector.model(), name))
}
