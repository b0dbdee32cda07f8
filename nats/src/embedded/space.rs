//! How much a private server may store on the disk and in memory.

use std::fs;
use std::io;
use std::path::Path;

/// The part of the free space that is left to others.
const LEFT_DIVISOR: u64 = 4;

/// Three quarters of what is free on the disk and what the server's data in `store` takes already:
/// the same at each start, however much of it is in use.
pub(super) fn store_limit(folder: &Path, store: &Path) -> io::Result<u64> {
    let total = free(folder)?.saturating_add(size(store));
    Ok(total - total / LEFT_DIVISOR)
}

/// Three quarters of the machine's memory, as nats-server takes where its configuration says
/// nothing.
pub(super) fn memory_limit() -> u64 {
    let system = rustix::system::sysinfo();
    #[expect(clippy::useless_conversion, reason = "its type depends on the platform")]
    let total = u64::from(system.totalram).saturating_mul(system.mem_unit.into());
    total - total / LEFT_DIVISOR
}

/// The bytes that are free on the disk with a folder.
pub fn free(folder: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Whether this user may create files in a folder.
pub fn is_writable(folder: &Path) -> bool {
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok()
}

/// The bytes of all files below a folder. A file that disappears meanwhile counts as empty.
fn size(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let of = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.flatten().map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_stores_already_does_not_lower_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("jetstream");
        fs::create_dir_all(store.join("a/b")).unwrap();
        fs::write(store.join("a/b/1.blk"), [7; 5000]).unwrap();
        fs::write(store.join("meta"), [7; 11]).unwrap();
        assert_eq!(size(&store), 5011);
        assert_eq!(size(&folder.path().join("none")), 0);
        assert!(store_limit(folder.path(), &store).unwrap() > 5011 / 2);
    }
}
