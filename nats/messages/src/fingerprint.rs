use serde::{Deserialize, Serialize};

/// What tells a local file from another one that later has its path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Its length in bytes.
    pub size: u64,
    /// When its content last changed, in nanoseconds since 1970-01-01 UTC.
    pub modified: u64,
    /// Its number in the file system.
    pub inode: u64,
    /// The host name of the machine that saw it.
    pub machine: String,
}

impl Fingerprint {
    /// Whether both may be of the same file. Copies on two machines differ in time and number, so
    /// of those only the size counts.
    pub fn may_be(&self, other: &Self) -> bool {
        match self.machine == other.machine {
            true => self == other,
            false => self.size == other.size,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_on_two_machines_may_be_the_same_file_and_files_of_one_machine_only_if_all_is_equal() {
        let file = Fingerprint { size: 7, modified: 1, inode: 2, machine: "a".into() };
        assert!(file.may_be(&file.clone()));
        for other in [
            Fingerprint { size: 8, ..file.clone() },
            Fingerprint { modified: 2, ..file.clone() },
            Fingerprint { inode: 3, ..file.clone() },
            Fingerprint { machine: "b".into(), size: 8, ..file.clone() },
        ] {
            assert!(!file.may_be(&other), "{other:?}");
        }
        let copy = Fingerprint { machine: "b".into(), modified: 2, inode: 3, ..file.clone() };
        assert!(file.may_be(&copy));
    }
}
