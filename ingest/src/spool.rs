//! Writes an upload's bytes from the object store into an unlinked file: GStreamer can seek in it,
//! and it disappears with the process, however that ends.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use moliceiro_nats::objects::{ObjectError, Objects};
use thiserror::Error;
use tokio::io::AsyncWriteExt;
use url::Url;

/// Why an upload's bytes cannot be spooled.
#[derive(Debug, Error)]
pub(crate) enum SpoolError {
    /// The object cannot be read.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// The folder is full, for example.
    #[error(
        "an uploaded video cannot be written to {} ({source}): set ingest.spool to a folder with \
         enough space",
        .folder.display()
    )]
    Folder { folder: PathBuf, source: io::Error },
}

impl SpoolError {
    /// True when the upload itself is at fault: neither another ingest nor a retry would help.
    pub(crate) fn is_permanent(&self) -> bool {
        use ObjectError::{Damaged, Link, Missing, NoObjectUri};
        matches!(
            self,
            Self::Object(Damaged { .. } | Link { .. } | Missing { .. } | NoObjectUri { .. })
        )
    }
}

/// Writes the object into an unlinked file in `folder`, and checks that it is what was uploaded.
/// Errors call it `name`.
pub(crate) async fn spool(
    objects: &Objects,
    uri: &Url,
    name: &str,
    folder: Option<&Path>,
) -> Result<File, SpoolError> {
    let folder = folder.map_or_else(std::env::temp_dir, Path::to_owned);
    let info = objects.info(uri).await.map_err(|error| error.named(name))?;
    let unusable = |source| SpoolError::Folder { folder: folder.clone(), source };
    let file = tempfile::tempfile_in(&folder).map_err(unusable)?;
    let mut file = tokio::fs::File::from_std(file);
    let mut object = objects.read(uri, info);
    while let Some(chunk) = object.next().await.map_err(|error| error.named(name))? {
        file.write_all(&chunk).await.map_err(unusable)?;
    }
    file.flush().await.map_err(unusable)?;
    Ok(file.into_std().await)
}
