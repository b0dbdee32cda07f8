use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IoSlice, PipeReader, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use rustix::process::Pid;
use tracing::warn;

use crate::worker::protocol::{self, Job};

/// As much as the system allows an ordinary user.
const PIPE_BYTES: usize = 1 << 20;
/// How long a process may take to end after its pipe has ended.
const EXIT_TIMEOUT: Duration = Duration::from_secs(1);

/// How to start a process that calls [`serve`](crate::serve).
#[derive(Clone, Debug)]
pub struct WorkerCommand {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Variables besides those that the process inherits.
    pub environment: Vec<(OsString, OsString)>,
}

impl WorkerCommand {
    /// This program with one argument, even if its file is replaced while it runs.
    pub fn this_program(argument: &str) -> Self {
        Self {
            program: "/proc/self/exe".into(),
            arguments: vec![argument.into()],
            environment: Vec::new(),
        }
    }

    /// Variables of this program may hold passwords, and a decoder needs none of them.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).arg0("moliceiro");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("MOLICEIRO_") {
                command.env_remove(name);
            }
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// A process that decodes. It is killed when this value is dropped.
#[derive(Debug)]
pub(crate) struct Worker {
    child: Child,
    control: UnixStream,
    videos: u32,
    max_memory: Option<u64>,
    /// What it and its plugins print.
    pub(crate) log: PipeReader,
}

impl Worker {
    /// The process ends with the thread that calls this.
    pub(crate) fn spawn(command: &WorkerCommand) -> io::Result<Self> {
        let (control, stdin) = UnixStream::pair()?;
        let (log, output) = io::pipe()?;
        let child = command
            .command()
            .stdin(OwnedFd::from(stdin))
            .stdout(output.try_clone()?)
            .stderr(Stdio::from(output))
            // Ctrl-C in a terminal reaches this program, which decides what becomes of the video.
            .process_group(0)
            .spawn()?;
        Ok(Self { child, control, videos: 0, max_memory: None, log })
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// How many videos it was given.
    pub(crate) fn videos(&self) -> u32 {
        self.videos
    }

    /// The limit of memory that it has since its first video.
    pub(crate) fn max_memory(&self) -> Option<u64> {
        self.max_memory
    }

    /// Sends it what to decode, and returns where it writes its messages: a pipe that does not
    /// block.
    pub(crate) fn assign(&mut self, job: &Job, file: Option<&File>) -> io::Result<PipeReader> {
        self.videos += 1;
        self.max_memory = Some(job.settings.max_memory);
        let (messages, output) = io::pipe()?;
        // A user may have only so many large pipes.
        rustix::pipe::fcntl_setpipe_size(&messages, PIPE_BYTES).ok();
        rustix::io::ioctl_fionbio(&messages, true)?;
        let mut descriptors = vec![output.as_fd()];
        descriptors.extend(file.map(File::as_fd));
        let bytes = protocol::encode(job)?;
        let sent = send_descriptors(&self.control, &bytes, &descriptors)?;
        (&self.control).write_all(&bytes[sent..])?;
        Ok(messages)
    }

    /// How it ended, once its pipe has. One that does not end is killed.
    pub(crate) fn wait(&mut self) -> Option<ExitStatus> {
        let deadline = Instant::now() + EXIT_TIMEOUT;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                _ => return None,
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // An error means that it has ended already.
        self.child.kill().ok();
        if let Err(error) = self.child.wait() {
            warn!(%error, "cannot wait for a process that decoded a video");
        }
    }
}

fn send_descriptors(
    socket: &UnixStream,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut buffer = SendAncillaryBuffer::new(&mut space);
    if !buffer.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("too many descriptors"));
    }
    let slices = [IoSlice::new(bytes)];
    Ok(rustix::net::sendmsg(socket, &slices, &mut buffer, SendFlags::NOSIGNAL)?)
}

/// How a process ended, for people.
pub(crate) fn describe(status: Option<ExitStatus>) -> String {
    match status.map(|status| (status.signal(), status.code())) {
        // Nobody else kills it.
        Some((Some(9), _)) => "signal 9; perhaps the machine has too little memory".into(),
        Some((Some(signal), _)) => format!("signal {signal}"),
        Some((None, Some(code))) => format!("exit code {code}"),
        Some((None, None)) | None => "it closed its pipe".into(),
    }
}
