//! What of GStreamer is installed on this machine, for people who set it up.

use std::collections::BTreeMap;

use gstreamer as gst;

use crate::codecs;
use crate::elements;
use crate::error::DecodeError;

/// The installed GStreamer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// Such as `1.22.0`.
    pub version: String,
    /// The packages that lack something, by name.
    pub incomplete: Vec<IncompletePackage>,
}

/// A package without some of the formats that it can have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncompletePackage {
    /// Its name in Debian.
    pub package: &'static str,
    /// The formats that cannot be read, by the names that people use.
    pub missing: Vec<&'static str>,
    /// True if it has none of its formats: it is not installed.
    pub is_absent: bool,
}

/// The version of GStreamer's library, such as `1.22.0`.
pub fn gstreamer_version() -> String {
    let (major, minor, micro, _) = gst::version();
    format!("{major}.{minor}.{micro}")
}

/// Finds out what is installed. Fails if an element is missing that every video needs.
pub fn installation() -> Result<Installation, DecodeError> {
    elements::init()?;
    let mut packages: BTreeMap<&'static str, (Vec<&'static str>, bool)> = BTreeMap::new();
    for (name, element, package) in codecs::readers() {
        let (missing, is_absent) = packages.entry(package).or_insert((vec![], true));
        match gst::ElementFactory::find(element) {
            Some(_) => *is_absent = false,
            None if missing.contains(&name) => {}
            None => missing.push(name),
        }
    }
    let incomplete = packages
        .into_iter()
        .filter(|(_, (missing, _))| !missing.is_empty())
        .map(|(package, (missing, is_absent))| IncompletePackage { package, missing, is_absent })
        .collect();
    Ok(Installation { version: gstreamer_version(), incomplete })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complete_installation_lacks_no_package() {
        let found = installation().unwrap();
        assert!(found.version.starts_with("1."), "{found:?}");
        assert!(found.incomplete.iter().all(|package| !package.is_absent), "{found:?}");
    }
}
