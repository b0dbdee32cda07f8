//! Detectors as units of systemd, by number: `moliceiro-detector@1`, `moliceiro-detector@2`, …

use std::io;
use std::process::Stdio;

use thiserror::Error;
use tokio::process::Command;
use tracing::info;

/// `systemctl` cannot do what it has to.
#[derive(Debug, Error)]
pub(crate) enum UnitsError {
    #[error("cannot start systemctl: {0}")]
    Start(#[from] io::Error),
    #[error("`systemctl {command}` failed: {reason}")]
    Failed { command: String, reason: String },
    #[error("`systemctl is-active` said {0:?} about the units")]
    Unexpected(String),
}

pub(crate) struct Units {
    names: Vec<String>,
    states: Vec<State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    Stopping,
    Stopped,
}

impl State {
    fn parse(text: &str) -> Self {
        match text {
            "active" | "activating" | "reloading" | "refreshing" => Self::Running,
            "deactivating" => Self::Stopping,
            _ => Self::Stopped,
        }
    }
}

impl Units {
    /// Units of this template, from number 1.
    pub(crate) fn new(template: &str, max: u32) -> Self {
        let names = (1..=max).map(|number| format!("{template}@{number}.service")).collect();
        Self { names, states: vec![] }
    }

    /// How many run, apart from those that stop.
    pub(crate) async fn running(&mut self) -> Result<usize, UnitsError> {
        let mut command = systemctl("is-active");
        // Its exit code says whether all are active.
        let output = command.args(&self.names).output().await?;
        let text = String::from_utf8_lossy(&output.stdout);
        self.states = text.lines().map(|line| State::parse(line.trim())).collect();
        if self.states.len() != self.names.len() {
            let reason = String::from_utf8_lossy(&output.stderr);
            return Err(UnitsError::Unexpected(format!("{}{}", text.trim(), reason.trim())));
        }
        Ok(self.states.iter().filter(|state| **state == State::Running).count())
    }

    pub(crate) async fn start(&mut self, count: usize) -> Result<(), UnitsError> {
        let stopped = self.numbers(State::Stopped).take(count).collect();
        self.ask("start", stopped).await
    }

    pub(crate) async fn stop(&mut self, count: usize) -> Result<(), UnitsError> {
        let running = self.numbers(State::Running).rev().take(count).collect();
        self.ask("stop", running).await
    }

    /// True as long as there is one, also one that stops.
    pub(crate) async fn any(&mut self) -> Result<bool, UnitsError> {
        self.running().await?;
        Ok(self.states.iter().any(|state| *state != State::Stopped))
    }

    fn numbers(&self, of: State) -> impl DoubleEndedIterator<Item = usize> + use<'_> {
        self.states.iter().enumerate().filter(move |(_, state)| **state == of).map(|(n, _)| n)
    }

    async fn ask(&self, what: &str, numbers: Vec<usize>) -> Result<(), UnitsError> {
        let names: Vec<_> = numbers.iter().filter_map(|n| self.names.get(*n)).collect();
        if names.is_empty() {
            return Ok(());
        }
        info!(units = ?names, "systemctl {what}");
        let output = systemctl(what).arg("--no-block").args(names).output().await?;
        match output.status.success() {
            true => Ok(()),
            false => Err(UnitsError::Failed {
                command: what.to_owned(),
                reason: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            }),
        }
    }
}

fn systemctl(what: &str) -> Command {
    let mut command = Command::new("systemctl");
    command.arg(what).stdin(Stdio::null()).kill_on_drop(true);
    command
}
