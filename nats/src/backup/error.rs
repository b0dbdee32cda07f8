use std::fmt::Display;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a backup cannot be made or restored.
#[derive(Debug, Error)]
pub enum BackupError {
    /// A file of the backup cannot be written or read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file or the folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder of a new backup has files already.
    #[error("{} is not empty: give the name of a new folder", .0.display())]
    NotEmpty(PathBuf),
    /// The folder is not that of a finished backup.
    #[error("{} is not a finished backup: {reason}", folder.display())]
    NotABackup {
        /// The folder.
        folder: PathBuf,
        /// What is missing or wrong.
        reason: String,
    },
    /// A file is not the one that was written.
    #[error("{} is damaged: nothing was restored", .0.display())]
    Damaged(PathBuf),
    /// Somebody stopped it.
    #[error("interrupted: nothing of it is left")]
    Interrupted,
    /// There is nothing to copy.
    #[error("this server has no streams of Moliceiro")]
    Unused,
    /// The server has streams already.
    #[error(
        "the server has the stream {0} already: restore to one that no service has used, \
         with all services stopped"
    )]
    Exists(String),
    /// There are fewer servers than replicas.
    #[error(
        "the NATS server refuses {replicas} replicas of stream {stream}: {reason}; restore to a \
         cluster of at least {replicas} servers, or with --replicas 1"
    )]
    Replicas {
        /// The stream.
        stream: String,
        /// How many.
        replicas: u64,
        /// The server's reason.
        reason: String,
    },
    /// The server refuses a request.
    #[error("the NATS server refuses {what}: {reason}")]
    Refused {
        /// The request, without its prefix.
        what: String,
        /// The server's number of the reason.
        code: u64,
        /// The server's reason.
        reason: String,
    },
    /// Nobody gets the request.
    #[error("the NATS server does not answer {0}: nobody receives it there")]
    NoResponders(String),
    /// The server does not answer, or nobody understands what it says.
    #[error("the NATS server does not answer {what}: {reason}")]
    NoAnswer {
        /// The request, without its prefix.
        what: String,
        /// What happened instead.
        reason: String,
    },
}

impl BackupError {
    pub(super) fn no_answer(what: &str, reason: impl Display) -> Self {
        Self::NoAnswer { what: what.to_owned(), reason: reason.to_string() }
    }
}
