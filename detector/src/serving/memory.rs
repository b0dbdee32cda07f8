//! How much memory models may take, and about how much one takes.

use crate::settings::DetectorSettings;

/// What a session has besides its weights: tensors between the layers.
const WORKSPACE: u64 = 24 << 20;
/// ONNX Runtime keeps weights in its own layout, and reads the file into memory first.
const WEIGHTS: u64 = 2;

/// About how much memory a model takes whose file has so many bytes.
pub(crate) fn estimate(file_bytes: u64, sessions: usize) -> u64 {
    let session = file_bytes.saturating_mul(WEIGHTS).saturating_add(WORKSPACE);
    session.saturating_mul(sessions as u64)
}

/// The memory that models may take together: as set, or half of what this process may have.
pub(crate) fn limit(settings: &DetectorSettings) -> u64 {
    match settings.memory {
        0 => available().map_or(u64::MAX, |bytes| bytes / 2),
        bytes => bytes,
    }
}

/// The machine's memory, or that of the container.
fn available() -> Option<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let total = info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let total = total.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? * 1024;
    let container = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let container = container.and_then(|text| text.trim().parse::<u64>().ok());
    Some(container.map_or(total, |limit| limit.min(total)))
}
