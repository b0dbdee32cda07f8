//! A real file system of a few mebibytes, which a test can fill.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Pid;
use tempfile::TempDir;

use crate::process::Process;

/// Mounts the file system of so many bytes and runs a program that sees it: in namespaces of its
/// own, which needs no rights where the kernel allows user namespaces.
const MOUNT: &str = r#"mount -t tmpfs -o size="$0" tmpfs "$1" && shift && exec "$@""#;
const PIECE: usize = 64 << 10;

/// A folder that is such a file system to the programs that it starts.
pub struct SmallDisk {
    folder: TempDir,
    bytes: u64,
}

impl SmallDisk {
    pub fn new(mebibytes: u64) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), bytes: mebibytes << 20 }
    }

    /// Where the started program finds it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts a program on it. Each program has an empty one.
    pub fn start(&self, program: &Command) -> Process {
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c", MOUNT, &self.bytes.to_string()]);
        command.arg(self.folder()).arg(program.get_program()).args(program.get_args());
        let envs = program.get_envs();
        command.envs(envs.filter_map(|(name, value)| Some((name, value?))));
        Process::start(&mut command)
    }

    /// Starts a program that only keeps it mounted, and returns that and where others find it.
    pub fn mount(&self) -> (Process, PathBuf) {
        let mut keep = Command::new("sh");
        keep.args(["-c", "echo mounted >&2 && exec sleep infinity"]);
        let keep = self.start(&keep);
        keep.wait_for_stderr("mounted", 1);
        let path = self.seen_by(keep.pid());
        (keep, path)
    }

    /// Fills the file system of a started program to the last byte.
    pub fn fill(&self, program: &Process) {
        let mut file = File::create(self.filler(program)).unwrap();
        loop {
            match file.write_all(&[7; PIECE]) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Frees what [`Self::fill`] has filled.
    pub fn make_space(&self, program: &Process) {
        fs::remove_file(self.filler(program)).unwrap();
    }

    fn filler(&self, program: &Process) -> PathBuf {
        self.seen_by(program.pid()).join("filler")
    }

    fn seen_by(&self, program: Pid) -> PathBuf {
        let root = format!("/proc/{}/root", program.as_raw_nonzero());
        Path::new(&root).join(self.folder().strip_prefix("/").unwrap())
    }
}
