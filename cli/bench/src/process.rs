//! Processes that are measured: started, spoken to, and ended.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::usage::Subject;

/// Loading a model takes long on a slow disk.
const START_PATIENCE: Duration = Duration::from_secs(60);
const STOP_PATIENCE: Duration = Duration::from_secs(15);

/// What a process takes as its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    /// The end of its standard input.
    WithInput,
    /// SIGTERM, like every service.
    BySignal,
}

/// A process of this program. It is killed when it is dropped.
pub(crate) struct Process {
    name: String,
    ends: Ends,
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    errors: std::path::PathBuf,
    pub(crate) by_thread: bool,
}

impl Process {
    /// Starts this program with other arguments; what it complains of goes to a file in `folder`.
    pub(crate) fn start(
        name: &str,
        ends: Ends,
        arguments: impl IntoIterator<Item = OsString>,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find this program's file")?;
        let errors = folder.join(format!("{name}.log").replace(' ', "-"));
        let file = std::fs::File::create(&errors)
            .with_context(|| format!("cannot write {}", errors.display()))?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(file)
            .kill_on_drop(true)
            // A Ctrl-C on the terminal is for the benchmark, which ends its processes.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("{name} has no pipes")
        };
        let output = BufReader::new(output).lines();
        Ok(Self {
            name: name.to_owned(),
            ends,
            child,
            input: Some(input),
            output,
            errors,
            by_thread: false,
        })
    }

    pub(crate) fn subject(&self) -> anyhow::Result<Subject> {
        let pid =
            self.child.id().and_then(|pid| pid.try_into().ok()).ok_or_else(|| self.failure())?;
        Ok(Subject { name: self.name.clone(), pid, by_thread: self.by_thread })
    }

    /// The next thing that it says.
    pub(crate) async fn say<T: DeserializeOwned>(
        &mut self,
        patience: Option<Duration>,
    ) -> anyhow::Result<T> {
        let line = match patience {
            Some(patience) => tokio::time::timeout(patience, self.output.next_line()).await,
            None => Ok(self.output.next_line().await),
        };
        match line {
            Ok(Ok(Some(line))) => {
                serde_json::from_str(&line).with_context(|| format!("{} says {line:?}", self.name))
            }
            Ok(_) => {
                let _ = tokio::time::timeout(STOP_PATIENCE, self.child.wait()).await;
                Err(self.failure())
            }
            Err(_) => {
                bail!("{} says nothing for {} s", self.name, patience.unwrap_or_default().as_secs())
            }
        }
    }

    /// Waits until it says that it is there.
    pub(crate) async fn until_ready<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        self.say(Some(START_PATIENCE)).await
    }

    /// Lets it begin.
    pub(crate) async fn go(&mut self) -> anyhow::Result<()> {
        let Some(input) = &mut self.input else { return Ok(()) };
        input.write_all(b"go\n").await.with_context(|| format!("{} is gone", self.name))
    }

    /// An error when it has ended, which it should not have.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            _ => Err(self.failure()),
        }
    }

    /// Lets it end in order, and waits.
    pub(crate) async fn stop(mut self) {
        drop(self.input.take());
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid.filter(|_| self.ends == Ends::BySignal) {
            // An error means that it has ended.
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = tokio::time::timeout(STOP_PATIENCE, self.child.wait()).await;
    }

    fn failure(&self) -> anyhow::Error {
        let text = std::fs::read_to_string(&self.errors).unwrap_or_default();
        anyhow!(
            "{} ended by itself: {}",
            self.name,
            text.lines().last().unwrap_or("it said nothing")
        )
    }
}
