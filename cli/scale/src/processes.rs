//! Detectors as processes that this one starts.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tracing::{info, warn};

/// Before another one is started after one that ended by itself.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// One that ran for so long did not end because of how it was started.
const PROVEN_AFTER: Duration = Duration::from_secs(60);

/// The detectors, and how to start one.
pub(crate) struct Processes {
    program: PathBuf,
    arguments: Vec<OsString>,
    children: Vec<Detector>,
    pause: Duration,
    not_before: Option<Instant>,
}

struct Detector {
    child: Child,
    started: Instant,
    is_stopping: bool,
}

impl Processes {
    pub(crate) fn new(program: PathBuf, arguments: Vec<OsString>) -> Self {
        Self { program, arguments, children: vec![], pause: FIRST_PAUSE, not_before: None }
    }

    /// How many run, apart from those that stop.
    pub(crate) fn running(&mut self) -> usize {
        let Self { children, pause, not_before, .. } = self;
        children.retain_mut(|Detector { child, started, is_stopping }| {
            let ended = match child.try_wait() {
                Ok(None) => return true,
                Ok(Some(status)) => status.to_string(),
                Err(error) => error.to_string(),
            };
            if *is_stopping {
                info!(ended, "a detector has stopped");
                return false;
            }
            if started.elapsed() >= PROVEN_AFTER {
                *pause = FIRST_PAUSE;
            }
            warn!(ended, next_in = ?*pause, "a detector ended by itself");
            *not_before = Some(Instant::now() + *pause);
            *pause = (*pause * 2).min(LONGEST_PAUSE);
            false
        });
        self.children.iter().filter(|detector| !detector.is_stopping).count()
    }

    /// Starts so many, unless the last one ended by itself just now.
    pub(crate) fn start(&mut self, count: usize) -> io::Result<()> {
        if self.not_before.is_some_and(|at| Instant::now() < at) {
            return Ok(());
        }
        for _ in 0..count {
            let mut command = Command::new(&self.program);
            command.args(&self.arguments).stdin(Stdio::null());
            // A Ctrl-C on the terminal is for this process, which stops them.
            command.process_group(0);
            bind_life(&mut command);
            let child = command.spawn()?;
            info!(process = child.id(), "started a detector");
            let detector = Detector { child, started: Instant::now(), is_stopping: false };
            self.children.push(detector);
        }
        Ok(())
    }

    /// Asks so many to stop. Each finishes the frames that it has in flight.
    pub(crate) fn stop(&mut self, count: usize) {
        let running = self.children.iter_mut().rev().filter(|detector| !detector.is_stopping);
        for detector in running.take(count) {
            detector.is_stopping = true;
            let id = detector.child.id().and_then(|id| i32::try_from(id).ok());
            let Some(process) = id.and_then(Pid::from_raw) else { continue };
            info!(process = process.as_raw_nonzero().get(), "stopping a detector");
            // An error means that it has ended.
            kill_process(process, Signal::TERM).ok();
        }
    }

    /// True as long as there is one, also one that stops.
    pub(crate) fn any(&mut self) -> bool {
        self.running();
        !self.children.is_empty()
    }
}

/// Makes a detector stop when this process dies. The kernel ties that to the thread that forks: it
/// has to be the main one.
#[expect(unsafe_code, reason = "the death signal has no safe form; see the comment")]
fn bind_life(command: &mut Command) {
    let parent = rustix::process::getpid();
    let in_child = move || {
        #[cfg(target_os = "linux")]
        rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
        // The parent may have died before the line above took effect.
        if rustix::process::getppid() != Some(parent) {
            return Err(Errno::SRCH.into());
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure only makes system calls and does not allocate, so
    // it cannot wait for a lock that another thread held at the fork.
    unsafe { command.pre_exec(in_child) };
}
