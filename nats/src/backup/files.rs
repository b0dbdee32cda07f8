//! The folder of a backup: a file for each stream, and `backup.json`, which is written last.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256};
use tracing::warn;

use super::{BackupError, Contents, SavedFile, VERSION, names};

const CONTENTS: &str = "backup.json";
const PARTIAL_CONTENTS: &str = ".backup.json";
/// The description of a thousand consumers is smaller.
const LARGEST_CONTENTS: u64 = 16 << 20;
/// Well below what a message may have.
pub(super) const CHUNK: usize = 128 << 10;

pub(super) struct Folder(PathBuf);

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    |source| BackupError::File { path, source }
}

fn hexadecimal(digest: Context) -> String {
    digest.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Folder {
    pub(super) fn create(path: &Path) -> Result<Self, BackupError> {
        fs::create_dir_all(path).map_err(file_error(path))?;
        let mut files = fs::read_dir(path).map_err(file_error(path))?;
        if files.next().is_some() {
            return Err(BackupError::NotEmpty(path.to_owned()));
        }
        Ok(Self(path.to_owned()))
    }

    fn of_stream(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.snapshot"))
    }

    pub(super) fn writer(&self, stream: &str) -> Result<Writer, BackupError> {
        let path = self.of_stream(stream);
        let file = File::create_new(&path).map_err(file_error(&path))?;
        Ok(Writer { path, file, bytes: 0, digest: Context::new(&SHA256) })
    }

    pub(super) fn remove(&self, stream: &str) -> Result<(), BackupError> {
        let path = self.of_stream(stream);
        fs::remove_file(&path).map_err(file_error(&path))
    }

    /// Removes what was written: it is no backup, and the folder may be used again.
    pub(super) fn discard(&self) {
        let files = names().into_iter().map(|name| self.of_stream(&name));
        for path in files.chain([self.0.join(PARTIAL_CONTENTS)]) {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    warn!(%error, path = %path.display(), "a file of the failed backup is left");
                }
                _ => {}
            }
        }
    }

    /// The backup is complete.
    pub(super) fn finish(&self, contents: &Contents) -> Result<(), BackupError> {
        let (path, partial) = (self.0.join(CONTENTS), self.0.join(PARTIAL_CONTENTS));
        let write = || {
            let mut file = File::create(&partial)?;
            serde_json::to_writer_pretty(&mut file, contents)?;
            file.sync_all()?;
            fs::rename(&partial, &path)?;
            File::open(&self.0)?.sync_all()
        };
        write().map_err(file_error(&path))
    }

    /// Opens a finished backup, and checks all of its files.
    pub(super) fn open(path: &Path) -> Result<(Self, Contents), BackupError> {
        let folder = Self(path.to_owned());
        let not_one = |reason: String| BackupError::NotABackup { folder: path.to_owned(), reason };
        let file = File::open(path.join(CONTENTS));
        let file = file.map_err(|error| not_one(format!("{CONTENTS}: {error}")))?;
        let contents: Contents = serde_json::from_reader(file.take(LARGEST_CONTENTS))
            .map_err(|error| not_one(format!("{CONTENTS}: {error}")))?;
        if contents.version != VERSION {
            return Err(not_one(format!("another release made it (version {})", contents.version)));
        }
        let known = names();
        for stream in &contents.streams {
            // Its name is that of a file.
            if !known.contains(&stream.name) {
                return Err(not_one(format!("{:?} is not a stream of Moliceiro", stream.name)));
            }
            if let Some(saved) = &stream.file {
                folder.check(&stream.name, saved)?;
            }
        }
        Ok((folder, contents))
    }

    fn check(&self, stream: &str, saved: &SavedFile) -> Result<(), BackupError> {
        let mut digest = Context::new(&SHA256);
        let mut reader = self.reader(stream)?;
        while let Some(chunk) = reader.chunk()? {
            digest.update(&chunk);
        }
        match hexadecimal(digest) == saved.sha256 {
            true => Ok(()),
            false => Err(BackupError::Damaged(self.of_stream(stream))),
        }
    }

    pub(super) fn reader(&self, stream: &str) -> Result<Reader, BackupError> {
        let path = self.of_stream(stream);
        let file = File::open(&path).map_err(file_error(&path))?;
        Ok(Reader { path, file })
    }
}

pub(super) struct Writer {
    path: PathBuf,
    file: File,
    bytes: u64,
    digest: Context,
}

impl Writer {
    pub(super) fn write(&mut self, chunk: &[u8]) -> Result<(), BackupError> {
        self.file.write_all(chunk).map_err(file_error(&self.path))?;
        self.digest.update(chunk);
        self.bytes += chunk.len() as u64;
        Ok(())
    }

    pub(super) fn finish(self) -> Result<SavedFile, BackupError> {
        self.file.sync_all().map_err(file_error(&self.path))?;
        Ok(SavedFile { bytes: self.bytes, sha256: hexadecimal(self.digest) })
    }
}

pub(super) struct Reader {
    path: PathBuf,
    file: File,
}

impl Reader {
    /// The next part; `None` at the end.
    pub(super) fn chunk(&mut self) -> Result<Option<Vec<u8>>, BackupError> {
        let mut chunk = Vec::with_capacity(CHUNK);
        let read = (&mut self.file).take(CHUNK as u64).read_to_end(&mut chunk);
        read.map_err(file_error(&self.path))?;
        Ok((!chunk.is_empty()).then_some(chunk))
    }
}
