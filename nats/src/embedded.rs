//! A private `nats-server`: a child process on a free loopback port, with its own data folder.

mod space;

use std::fs::{self, File, TryLockError};
use std::io;
use std::num::NonZero;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::{Errno, FdFlags};
use rustix::process::{Pid, Signal};
use serde::Deserialize;
pub use space::{free as free_space, is_writable};
use tempfile::TempDir;
use thiserror::Error;
use tracing::{debug, warn};

const START_TIMEOUT: Duration = Duration::from_secs(20);
/// The server of a killed process may live for a moment longer.
const LOCK_TIMEOUT: Duration = Duration::from_secs(3);
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// In the data folder: what the server stores.
const STORE: &str = "jetstream";
/// In the data folder: the server's address, with the password.
const URL_FILE: &str = "nats-server.url";
/// In the data folder: what the server logs.
const LOG: &str = "nats-server.log";
const ANY_PORT: &str = "127.0.0.1:-1";
const POLL: Duration = Duration::from_millis(10);
/// From here on, Go returns the memory of freed block caches.
const MEMORY_LIMIT: &str = "256MiB";
/// The server shares the cores with the detectors. One core serves about a thousand frames per
/// second, and more of Go's processors would mostly wake each other.
const CORES_PER_SERVER_CORE: usize = 8;

/// A running private server. It stops when it is dropped, and when this process ends for any
/// reason.
pub struct EmbeddedServer {
    program: PathBuf,
    folder: PathBuf,
    url: String,
    password: String,
    /// Where it listens, once it does.
    address: String,
    store_limit: u64,
    process: Pid,
    exit: mpsc::Receiver<ExitStatus>,
    stopped: bool,
    lock: File,
}

/// Why a private server cannot run.
#[derive(Debug, Error)]
pub enum EmbeddedError {
    /// The program does not exist or cannot be started.
    #[error(
        "cannot run nats-server at {}: {source}. Run `make setup`, install nats-server, \
         or use a running server with --nats URL",
        program.display()
    )]
    Missing {
        /// Its path.
        program: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Another process uses the folder.
    #[error(
        "another moliceiro uses {}: wait for it to end, or choose another folder with --data",
        folder.display()
    )]
    InUse {
        /// The data folder.
        folder: PathBuf,
    },
    /// The folder cannot be written.
    #[error(
        "the data folder {} cannot be used: {source}. Choose another with --data",
        folder.display()
    )]
    Folder {
        /// The data folder.
        folder: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The server exited before it was ready.
    #[error(
        "nats-server exited while starting ({status}); the last line of {}: {last_line}",
        log.display()
    )]
    Ended {
        /// Its exit code or signal.
        status: ExitStatus,
        /// Its log file.
        log: PathBuf,
        /// The log's last line.
        last_line: String,
    },
    /// The server started but never listened.
    #[error(
        "nats-server was not ready within {} s; see {}",
        START_TIMEOUT.as_secs(),
        log.display()
    )]
    NotReady {
        /// Its log file.
        log: PathBuf,
    },
}

#[derive(Deserialize)]
struct Ports {
    nats: Vec<String>,
}

impl EmbeddedServer {
    /// Starts `program` with its data in `folder`, which is created if needed. Blocks until the
    /// server listens.
    pub fn start(program: &Path, folder: &Path) -> Result<Self, EmbeddedError> {
        let unusable = |source| EmbeddedError::Folder { folder: folder.to_owned(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(unusable)?;
        let folder = &folder.canonicalize().map_err(unusable)?;
        let lock = lock(folder)?;
        let log = folder.join(LOG);
        // The log of the current run is enough to diagnose it.
        if let Err(error) = fs::remove_file(&log)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(unusable(error));
        }
        let store = folder.join(STORE);
        let store_limit = space::store_limit(folder, &store).map_err(unusable)?;
        let password = nuid::next().to_string();
        let launch = Launch {
            program,
            folder,
            address: ANY_PORT,
            password: &password,
            store_limit,
            lock: &lock,
        };
        let (process, exit, ports) = launch.spawn()?;
        let mut server = Self {
            program: program.to_owned(),
            folder: folder.clone(),
            url: String::new(),
            password,
            address: String::new(),
            store_limit,
            process,
            exit,
            stopped: false,
            lock,
        };
        server.address = server.wait_until_ready(ports.path(), &log)?;
        server.url = format!("nats://moliceiro:{}@{}", server.password, server.address);
        write_private(&folder.join(URL_FILE), &server.url).map_err(unusable)?;
        Ok(server)
    }

    /// Stops the server, and starts it again where it was, for the same clients. Blocks until it
    /// listens.
    pub fn restart(&mut self) -> Result<(), EmbeddedError> {
        self.shut_down();
        let launch = Launch {
            program: &self.program,
            folder: &self.folder,
            address: &self.address,
            password: &self.password,
            store_limit: self.store_limit,
            lock: &self.lock,
        };
        let (process, exit, ports) = launch.spawn()?;
        (self.process, self.exit, self.stopped) = (process, exit, false);
        self.wait_until_ready(ports.path(), &self.folder.join(LOG)).map(drop)
    }

    /// The bytes that are free on the disk with its data.
    pub fn free_bytes(&self) -> io::Result<u64> {
        space::free(&self.folder)
    }

    /// The address of the server that another process runs on `folder`, with the password; `None`
    /// if none runs there.
    pub fn running(folder: &Path) -> Result<Option<String>, EmbeddedError> {
        let unusable = |source| EmbeddedError::Folder { folder: folder.to_owned(), source };
        let lock = File::options().append(true).open(folder.join("lock")).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => {
                let url = fs::read_to_string(folder.join(URL_FILE)).map_err(unusable)?;
                Ok(Some(url))
            }
            Err(TryLockError::Error(source)) => Err(unusable(source)),
        }
    }

    /// Whether `folder` has the data of a private server.
    pub fn has_data(folder: &Path) -> bool {
        folder.join(STORE).is_dir() && folder.join("lock").is_file()
    }

    /// Its address for clients, with the password.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The bytes that a server on an existing `folder` would store at most.
    pub fn store_limit_on(folder: &Path) -> io::Result<u64> {
        space::store_limit(folder, &folder.join(STORE))
    }

    /// The bytes that it stores at most, so that it leaves a part of the disk to others.
    pub fn store_limit(&self) -> u64 {
        self.store_limit
    }

    /// The bytes that it keeps in memory at most.
    pub fn memory_limit(&self) -> u64 {
        space::memory_limit()
    }

    /// The server's process id, to measure its usage.
    pub fn process_id(&self) -> i32 {
        self.process.as_raw_nonzero().get()
    }

    /// The server's exit status, if it has exited by itself.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.exit.try_recv().ok();
        self.stopped |= status.is_some();
        status
    }

    /// Asks the server to stop, and kills it if it does not within 10 s.
    pub fn stop(mut self) {
        self.shut_down();
    }

    fn shut_down(&mut self) {
        // After it has exited by itself, its process id may belong to another process.
        if self.stopped || self.ended().is_some() {
            return;
        }
        self.stopped = true;
        for signal in [Signal::TERM, Signal::KILL] {
            // An error means that it has exited.
            if rustix::process::kill_process(self.process, signal).is_err()
                || self.exit.recv_timeout(STOP_TIMEOUT).is_ok()
            {
                return;
            }
            warn!(?signal, "nats-server does not stop");
        }
    }

    fn wait_until_ready(&mut self, ports: &Path, log: &Path) -> Result<String, EmbeddedError> {
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            if let Some(status) = self.ended() {
                let text = fs::read_to_string(log).unwrap_or_default();
                let last_line = text.lines().last().unwrap_or("(empty)").to_owned();
                return Err(EmbeddedError::Ended { status, log: log.to_owned(), last_line });
            }
            if let Some(address) = listening(ports) {
                debug!(address, "nats-server is listening");
                return Ok(address);
            }
            thread::sleep(POLL);
        }
        Err(EmbeddedError::NotReady { log: log.to_owned() })
    }
}

impl Drop for EmbeddedServer {
    fn drop(&mut self) {
        self.shut_down();
    }
}

fn lock(folder: &Path) -> Result<File, EmbeddedError> {
    let unusable = |source| EmbeddedError::Folder { folder: folder.to_owned(), source };
    let file = File::options()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(folder.join("lock"))
        .map_err(unusable)?;
    let deadline = Instant::now() + LOCK_TIMEOUT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(POLL),
            Err(TryLockError::WouldBlock) => {
                return Err(EmbeddedError::InUse { folder: folder.to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
        }
    }
}

/// The server's address, which it writes into this folder once it listens (`ports_file_dir`).
fn listening(ports: &Path) -> Option<String> {
    let file = fs::read_dir(ports)
        .ok()?
        .flatten()
        .find(|f| f.path().extension().is_some_and(|e| e == "ports"))?;
    let ports: Ports = serde_json::from_slice(&fs::read(file.path()).ok()?).ok()?;
    let url = ports.nats.first()?;
    Some(url.strip_prefix("nats://").unwrap_or(url).to_owned())
}

/// How a server is started.
struct Launch<'a> {
    program: &'a Path,
    folder: &'a Path,
    address: &'a str,
    password: &'a str,
    store_limit: u64,
    lock: &'a File,
}

impl Launch<'_> {
    /// Starts the server. It writes its address into the folder.
    fn spawn(&self) -> Result<(Pid, mpsc::Receiver<ExitStatus>, TempDir), EmbeddedError> {
        let unusable = |source| EmbeddedError::Folder { folder: self.folder.to_owned(), source };
        let ports = tempfile::tempdir_in(self.folder).map_err(unusable)?;
        let config = self.folder.join("nats-server.conf");
        write_private(&config, &self.configuration(ports.path())).map_err(unusable)?;
        let (process, exit) = spawn(self.program, &config, self.lock.as_raw_fd())?;
        Ok((process, exit, ports))
    }

    /// With a password, because other users of the machine can reach the port.
    fn configuration(&self, ports: &Path) -> String {
        let Self { folder, address, password, store_limit, .. } = self;
        let quoted = |path: &Path| serde_json::Value::from(path.to_string_lossy()).to_string();
        format!(
            "# Overwritten at each start.\nserver_name: moliceiro\nlisten: {address:?}\n\
             ports_file_dir: {}\nlog_file: {}\nmax_payload: 8MB\n\
             authorization {{ user: moliceiro, password: {password:?} }}\n\
             jetstream {{ store_dir: {}, max_file_store: {store_limit}, max_memory_store: {}, \
             sync_interval: always }}\n",
            quoted(ports),
            quoted(&folder.join(LOG)),
            quoted(&folder.join(STORE)),
            space::memory_limit(),
        )
    }
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    use io::Write;
    File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)?
        .write_all(text.as_bytes())
}

/// Starts the server on a thread that lives as long as the server: the kernel's death signal is
/// tied to the thread that forked.
fn spawn(
    program: &Path,
    config: &Path,
    lock: RawFd,
) -> Result<(Pid, mpsc::Receiver<ExitStatus>), EmbeddedError> {
    let missing = |source| EmbeddedError::Missing { program: program.to_owned(), source };
    let mut command = Command::new(program);
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    command
        .arg("--config")
        .arg(config)
        .env("GOMEMLIMIT", MEMORY_LIMIT)
        .env("GOMAXPROCS", cores.div_ceil(CORES_PER_SERVER_CORE).to_string());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // A Ctrl-C on the terminal must not reach the server: it has to outlive the services.
    command.process_group(0);
    bind_life(&mut command, lock);
    let (started, start) = mpsc::sync_channel(1);
    let (ended, exit) = mpsc::sync_channel(1);
    thread::Builder::new()
        .name("nats-server".into())
        .spawn(move || match command.spawn() {
            Ok(mut child) => {
                // Sending fails when the process is already exiting.
                started.send(Ok(pid(&child))).ok();
                ended.send(child.wait().unwrap_or_else(|_| ExitStatus::from_raw(0))).ok();
            }
            Err(error) => {
                started.send(Err(error)).ok();
            }
        })
        .map_err(missing)?;
    let process = start
        .recv()
        .unwrap_or_else(|_| Err(io::Error::other("the thread that starts it died")))
        .map_err(missing)?;
    Ok((process, exit))
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// Makes the server die with this process, and keep the folder locked as long as it lives.
#[expect(unsafe_code, reason = "the two system calls below have no safe form; see their comments")]
fn bind_life(command: &mut Command, lock: RawFd) {
    let parent = rustix::process::getpid();
    let in_child = move || {
        // SAFETY: the descriptor is open: the caller holds the file while the child starts, and
        // fork copies it.
        rustix::io::fcntl_setfd(unsafe { BorrowedFd::borrow_raw(lock) }, FdFlags::empty())?;
        #[cfg(target_os = "linux")]
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent may have died before the line above took effect.
        if rustix::process::getppid() != Some(parent) {
            return Err(Errno::SRCH.into());
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure only makes system calls and does not allocate, so
    // it cannot wait for a lock that another thread held at the fork. No crate offers the death
    // signal without `pre_exec`, which is unsafe.
    unsafe { command.pre_exec(in_child) };
}
