//! Starts, controls and stops the processes that the benchmark measures.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::usage::MeasuredProcess;

/// Loading a model takes long on a slow disk.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// How to stop a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopBy {
    /// Close its standard input: it exits when it reads the end.
    ClosingInput,
    /// Send SIGTERM, as for every service.
    Sigterm,
}

/// A process of this program. It is killed when it is dropped.
pub(crate) struct Process {
    name: String,
    stop_by: StopBy,
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    errors: std::path::PathBuf,
    pub(crate) by_thread: bool,
}

impl Process {
    /// Starts this program with these arguments. Its standard error goes to a file in `folder`.
    pub(crate) fn start(
        name: &str,
        stop_by: StopBy,
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
            // Ctrl-C on the terminal goes to the benchmark only, which then stops its processes.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("cannot open the pipes of {name}")
        };
        let output = BufReader::new(output).lines();
        Ok(Self {
            name: name.to_owned(),
            stop_by,
            child,
            input: Some(input),
            output,
            errors,
            by_thread: false,
        })
    }

    pub(crate) fn measured(&self) -> anyhow::Result<MeasuredProcess> {
        let pid =
            self.child.id().and_then(|pid| pid.try_into().ok()).ok_or_else(|| self.failure())?;
        Ok(MeasuredProcess { name: self.name.clone(), pid, by_thread: self.by_thread })
    }

    /// The next line of JSON that the process prints. Fails if it exits first, or prints nothing
    /// within `timeout`.
    pub(crate) async fn receive<T: DeserializeOwned>(
        &mut self,
        timeout: Option<Duration>,
    ) -> anyhow::Result<T> {
        let line = match timeout {
            Some(timeout) => tokio::time::timeout(timeout, self.output.next_line()).await,
            None => Ok(self.output.next_line().await),
        };
        match line {
            Ok(Ok(Some(line))) => serde_json::from_str(&line)
                .with_context(|| format!("{} printed {line:?}", self.name)),
            Ok(_) => {
                // A process that is still running is killed when it is dropped.
                tokio::time::timeout(STOP_TIMEOUT, self.child.wait()).await.ok();
                Err(self.failure())
            }
            Err(_) => {
                bail!(
                    "{} printed nothing for {} s",
                    self.name,
                    timeout.unwrap_or_default().as_secs()
                )
            }
        }
    }

    /// Waits for the first line that the process prints: it is ready then.
    pub(crate) async fn until_ready<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        self.receive(Some(START_TIMEOUT)).await
    }

    /// Lets the process start its work.
    pub(crate) async fn start_work(&mut self) -> anyhow::Result<()> {
        let Some(input) = &mut self.input else { return Ok(()) };
        input.write_all(b"go\n").await.with_context(|| format!("{} has exited", self.name))
    }

    /// Fails if the process has exited.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            _ => Err(self.failure()),
        }
    }

    /// Stops the process, and waits until it has exited.
    pub(crate) async fn stop(mut self) {
        drop(self.input.take());
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid.filter(|_| self.stop_by == StopBy::Sigterm) {
            // An error means that it has exited.
            kill_process(pid, Signal::TERM).ok();
        }
        // A process that is still running is killed when it is dropped.
        tokio::time::timeout(STOP_TIMEOUT, self.child.wait()).await.ok();
    }

    fn failure(&self) -> anyhow::Error {
        let text = std::fs::read_to_string(&self.errors).unwrap_or_default();
        anyhow!(
            "{} exited unexpectedly: {}",
            self.name,
            text.lines().last().unwrap_or("it printed no error")
        )
    }
}
