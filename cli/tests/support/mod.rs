//! Real programs, started and watched by tests, and ended with them.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "each test file uses its part; a test may panic"
)]

pub mod browser;
pub mod deadly;
pub mod echo;
pub mod http;
pub mod observed;
pub mod proxy;
pub mod site;

use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use moliceiro_nats::embedded::EmbeddedServer;
use moliceiro_nats::messages::Summary;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Far longer than anything takes on an idle machine.
pub const LONG: Duration = Duration::from_secs(180);

pub fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

pub fn sample(name: &str) -> PathBuf {
    let path = project().join(".deps/samples").join(name);
    assert!(path.is_file(), "{} is missing: run `make setup`", path.display());
    path
}

pub fn nats_server() -> PathBuf {
    project().join(".deps/bin/nats-server")
}

/// A program of the workspace, built beside the tests.
pub fn program(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_moliceiro")).with_file_name(name);
    assert!(path.is_file(), "{} is missing: run `cargo build --workspace`", path.display());
    path
}

pub struct Server {
    pub process: EmbeddedServer,
    pub folder: TempDir,
}

impl Server {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let process = EmbeddedServer::start(&nats_server(), folder.path()).unwrap();
        Self { process, folder }
    }

    pub fn url(&self) -> String {
        self.process.url().to_owned()
    }
}

/// Makes a video with ffmpeg.
pub fn ffmpeg(arguments: &[&str], output: &Path) {
    let done = Command::new("ffmpeg")
        .args(["-v", "error", "-y"])
        .args(arguments)
        .arg(output)
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// A second of a test picture, 10 frames.
pub fn short_video(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    ffmpeg(
        &["-f", "lavfi", "-i", "testsrc2=size=320x240:rate=10:duration=1", "-pix_fmt", "yuv420p"],
        &path,
    );
    path
}

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

    /// Waits for lines that are enough, and gives all there are; none if the output ends or too
    /// much time passes.
    fn wait(&self, enough: impl Fn(&[String]) -> bool) -> Option<Vec<String>> {
        let waiting = |read: &mut Read| !enough(&read.lines) && !read.ended;
        let (read, _) =
            self.more.wait_timeout_while(self.read.lock().unwrap(), LONG, waiting).unwrap();
        enough(&read.lines).then(|| read.lines.clone())
    }
}

/// A running program whose output is collected. It is killed with the test.
pub struct Process {
    child: Child,
    out: Arc<Output>,
    err: Arc<Output>,
    readers: Vec<thread::JoinHandle<()>>,
}

impl Process {
    pub fn start(command: &mut Command) -> Self {
        if command.get_program().to_string_lossy().ends_with("moliceiro-ingest") {
            // It is one of several on this machine, and may read the samples and what tests make.
            let allowed = format!(
                "{},{}",
                project().join(".deps/samples").display(),
                std::env::temp_dir().display()
            );
            command.env("MOLICEIRO__HTTP__LISTEN", "").env("MOLICEIRO__INGEST__ALLOW", allowed);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
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

    pub fn stdout(&self) -> Vec<String> {
        self.out.lines()
    }

    pub fn stderr(&self) -> Vec<String> {
        self.err.lines()
    }

    /// Waits until `n` lines of standard error have `part` in them.
    pub fn wait_for_stderr(&self, part: &str, n: usize) {
        let enough =
            |lines: &[String]| lines.iter().filter(|line| line.contains(part)).count() >= n;
        assert!(self.err.wait(enough).is_some(), "no {part:?} in {:#?}", self.stderr());
    }

    /// Waits until standard output has as many lines.
    pub fn wait_for_stdout(&self, n: usize) -> Vec<String> {
        let lines = self.out.wait(|lines| lines.len() >= n);
        lines.unwrap_or_else(|| panic!("{:#?}\n{:#?}", self.stdout(), self.stderr()))
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + LONG;
        let status = eventually(deadline, || self.child.try_wait().unwrap());
        let status = status.unwrap_or_else(|| {
            panic!("it does not end: {:#?}\n{:#?}", self.stdout(), self.stderr())
        });
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        status
    }

    /// Waits for the end, and asserts the exit code.
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
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Looks until there is something, or the time is over.
pub fn eventually<T>(deadline: Instant, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    const PAUSE: Duration = Duration::from_millis(20);
    loop {
        match look() {
            Some(found) => return Some(found),
            None if Instant::now() >= deadline => return None,
            None => thread::sleep(PAUSE),
        }
    }
}

/// `moliceiro run` with its data in a folder of the test's.
pub fn run(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_moliceiro"));
    command.arg("run").arg("--data").arg(data);
    command
}

pub fn summaries(lines: &[String]) -> Vec<Summary> {
    lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect()
}

/// The process ids of servers that have `folder` on their command line.
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
