//! Programs that a test runs and watches.

use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use moliceiro_nats::messages::Summary;
use rustix::process::{Pid, Signal, kill_process};

use crate::paths::{program, project};
use crate::{HANG_GUARD, eventually};

#[derive(Default)]
struct Output {
    read: Mutex<Read>,
    more: Condvar,
}

#[derive(Default)]
struct Read {
    lines: Vec<String>,
    ended: bool,
}

impl Output {
    fn follow(self: Arc<Self>, from: impl io::Read + Send + 'static) -> thread::JoinHandle<()> {
        thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                self.read.lock().unwrap().lines.push(line);
                self.more.notify_all();
            }
            self.read.lock().unwrap().ended = true;
            self.more.notify_all();
        })
    }

    fn lines(&self) -> Vec<String> {
        self.read.lock().unwrap().lines.clone()
    }

    /// Waits until there are enough lines, and returns all of them; `None` if the output ends
    /// first, or after [`HANG_GUARD`].
    fn wait(&self, enough: impl Fn(&[String]) -> bool) -> Option<Vec<String>> {
        let waiting = |read: &mut Read| !enough(&read.lines) && !read.ended;
        let (read, _) =
            self.more.wait_timeout_while(self.read.lock().unwrap(), HANG_GUARD, waiting).unwrap();
        enough(&read.lines).then(|| read.lines.clone())
    }
}

/// A running program whose output is collected. It is killed when this value is dropped.
pub struct Process {
    child: Child,
    out: Arc<Output>,
    err: Arc<Output>,
    readers: Vec<thread::JoinHandle<()>>,
}

impl Process {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (out, err) = (Arc::<Output>::default(), Arc::<Output>::default());
        let readers = vec![
            out.clone().follow(child.stdout.take().unwrap()),
            err.clone().follow(child.stderr.take().unwrap()),
        ];
        Self { child, out, err, readers }
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// What it has printed so far.
    pub fn stdout(&self) -> Vec<String> {
        self.out.lines()
    }

    /// What it has logged so far.
    pub fn stderr(&self) -> Vec<String> {
        self.err.lines()
    }

    /// Waits until `n` lines of standard error contain `part`.
    pub fn wait_for_stderr(&self, part: &str, n: usize) {
        let enough =
            |lines: &[String]| lines.iter().filter(|line| line.contains(part)).count() >= n;
        assert!(self.err.wait(enough).is_some(), "{n} × {part:?} not in {:#?}", self.stderr());
    }

    /// Waits for a line of standard error that contains `part`.
    pub fn stderr_line(&self, part: &str) -> String {
        self.wait_for_stderr(part, 1);
        self.stderr().into_iter().find(|line| line.contains(part)).unwrap()
    }

    /// Waits until standard output has at least `n` lines.
    pub fn wait_for_stdout(&self, n: usize) -> Vec<String> {
        let lines = self.out.wait(|lines| lines.len() >= n);
        lines.unwrap_or_else(|| panic!("{:#?}\n{:#?}", self.stdout(), self.stderr()))
    }

    /// Waits for a line of standard output that contains `part`.
    pub fn stdout_line(&self, part: &str) -> String {
        self.stdout_line_of(&[part])
    }

    /// Waits for a line of standard output that contains one of `parts`.
    pub fn stdout_line_of(&self, parts: &[&str]) -> String {
        let matches = |line: &String| parts.iter().any(|part| line.contains(part));
        let enough = |lines: &[String]| lines.iter().any(matches);
        let lines = self.out.wait(enough).unwrap_or_else(|| {
            panic!("none of {parts:?} in {:#?}\n{:#?}", self.stdout(), self.stderr())
        });
        lines.into_iter().find(matches).unwrap()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for the end, and for all of the output.
    pub fn wait(&mut self) -> ExitStatus {
        let status = eventually(|| self.child.try_wait().unwrap());
        let status = status.unwrap_or_else(|| {
            panic!("it does not end: {:#?}\n{:#?}", self.stdout(), self.stderr())
        });
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        status
    }

    /// Waits for the end, asserts the exit code, and returns standard output.
    pub fn expect_code(&mut self, code: i32) -> Vec<String> {
        let status = self.wait();
        assert_eq!(
            status.code(),
            Some(code),
            "{status}\nout {:#?}\nerr {:#?}",
            self.stdout(),
            self.stderr()
        );
        self.stdout()
    }

    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error means that it has exited.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Width and height of frames that are smaller than the built-in model's own: what most tests are
/// about does not depend on it, and the model takes a sixth of the time. It still finds the person
/// in each frame of the shorter sample.
pub const SMALL_SIZE: [u32; 2] = [128, 128];

/// Options for larger frames: a test has time to stop a program in the middle of the shorter sample,
/// and the model does not find the person in each frame.
pub const SLOWER: [&str; 4] = ["--set", "ingest.width=256", "--set", "ingest.height=256"];

/// As [`SMALL_SIZE`], in the environment of a program.
fn small_frames(command: &mut Command) -> &mut Command {
    let [width, height] = SMALL_SIZE.map(|size| size.to_string());
    command.env("MOLICEIRO__INGEST__WIDTH", width).env("MOLICEIRO__INGEST__HEIGHT", height)
}

/// The command of one of the three services, without arguments. Ingest makes frames of
/// [`SMALL_SIZE`].
pub fn service(name: &str) -> Command {
    let mut command = Command::new(program(&format!("moliceiro-{name}")));
    if name == "ingest" {
        // It is one of several on this machine, and may read the samples and what tests make.
        let allowed = format!(
            "{},{}",
            project().join(".deps/samples").display(),
            std::env::temp_dir().display()
        );
        command.env("MOLICEIRO__HTTP__LISTEN", "").env("MOLICEIRO__INGEST__ALLOW", allowed);
        small_frames(&mut command);
    }
    command
}

/// The command `moliceiro`, without arguments.
pub fn moliceiro() -> Command {
    Command::new(program("moliceiro"))
}

/// `moliceiro run` with a data folder of the test's own, and frames of [`SMALL_SIZE`].
pub fn run(data: &Path) -> Command {
    let mut command = run_in_model_size(data);
    small_frames(&mut command);
    command
}

/// As [`run`], with frames as large as the model takes them.
pub fn run_in_model_size(data: &Path) -> Command {
    let mut command = moliceiro();
    command.arg("run").arg("--data").arg(data);
    command
}

/// What `moliceiro run --json` printed.
pub fn summaries(lines: &[String]) -> Vec<Summary> {
    lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect()
}

/// The process ids of nats-servers with `folder` on their command line.
pub fn servers_of(folder: &Path) -> Vec<String> {
    let folder = folder.canonicalize().unwrap();
    let folder = folder.to_string_lossy();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let is_server = |process: &std::fs::DirEntry| {
        let command = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).into_owned();
        command.contains("nats-server") && command.contains(&*folder) && !command.contains("--data")
    };
    processes
        .filter(is_server)
        .map(|process| process.file_name().to_string_lossy().into_owned())
        .collect()
}
