use std::os::unix::fs::MetadataExt;
use std::time::UNIX_EPOCH;

use moliceiro_nats::messages::Fingerprint;
use thiserror::Error;
use url::Url;

/// Why a video that was interrupted is not decoded any further.
#[derive(Debug, Error)]
#[error(
    "the file was replaced after its video began ({} bytes then, {} bytes now), and the rest would \
     be of another video; count the new file as a video of its own", began.size, now.size
)]
pub(crate) struct Replaced {
    began: Fingerprint,
    now: Fingerprint,
}

/// What tells the file that a `file` URI names from a later one at the same path. `None` if there
/// is no such file, or if it is a folder.
pub fn fingerprint(uri: &Url) -> Option<Fingerprint> {
    let path = (uri.scheme() == "file").then(|| uri.to_file_path().ok())??;
    let metadata = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Some(Fingerprint {
        size: metadata.len(),
        modified: u64::try_from(modified.as_nanos()).unwrap_or(u64::MAX),
        inode: metadata.ino(),
        machine: machine.trim().to_owned(),
    })
}

/// Whether a video that `began` with one file would resume with another.
pub(crate) fn replaced(began: Option<&Fingerprint>, uri: &Url) -> Option<Replaced> {
    let (began, now) = (began?.clone(), fingerprint(uri)?);
    (!began.may_be(&now)).then_some(Replaced { began, now })
}
