use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;

use crate::project;

pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) licence: Option<String>,
    /// Where its code comes from; a crate of this workspace has none.
    pub(crate) source: Option<String>,
    /// Ids of its normal dependencies: what its library or program is built from, without
    /// dependencies of build scripts and tests.
    dependencies: Vec<String>,
}

/// Every package that is built or tested on this platform, by id.
pub(crate) struct Metadata(BTreeMap<String, Package>);

impl Metadata {
    pub(crate) fn get() -> &'static Self {
        static METADATA: LazyLock<Metadata> = LazyLock::new(Metadata::read);
        &METADATA
    }

    fn read() -> Self {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        // Packages of other platforms are not downloaded, so they are not asked for.
        let arguments = ["metadata", "--format-version=1", "--locked", "--offline"];
        let output = Command::new(cargo)
            .args(arguments)
            .args(["--filter-platform", &platform()])
            .current_dir(project())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
        let mut dependencies: BTreeMap<&str, Vec<String>> = metadata["resolve"]["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|node| (node["id"].as_str().unwrap(), normal_dependencies(node)))
            .collect();
        let packages = metadata["packages"].as_array().unwrap().iter().filter_map(|package| {
            let id = text(&package["id"]).unwrap();
            let package = Package {
                name: text(&package["name"]).unwrap(),
                version: text(&package["version"]).unwrap(),
                licence: text(&package["license"]),
                source: text(&package["source"]),
                dependencies: dependencies.remove(id.as_str())?,
            };
            Some((id, package))
        });
        Self(packages.collect())
    }

    pub(crate) fn packages(&self) -> impl Iterator<Item = &Package> {
        self.0.values()
    }

    /// What a package of this workspace is built from, directly or not, itself included.
    pub(crate) fn reached_from(&self, name: &str) -> Vec<&Package> {
        let is_root = |package: &Package| package.name == name && package.source.is_none();
        let mut waiting: Vec<&String> =
            self.0.iter().filter(|(_, package)| is_root(package)).map(|(id, _)| id).collect();
        assert_eq!(waiting.len(), 1, "packages called {name}");
        let mut seen = BTreeSet::new();
        while let Some(id) = waiting.pop() {
            if seen.insert(id) {
                waiting.extend(&self.0[id].dependencies);
            }
        }
        seen.into_iter().map(|id| &self.0[id]).collect()
    }
}

fn normal_dependencies(node: &Value) -> Vec<String> {
    let is_normal = |dependency: &&Value| {
        dependency["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"].is_null())
    };
    let dependencies = node["deps"].as_array().unwrap().iter();
    dependencies.filter(is_normal).map(|dependency| text(&dependency["pkg"]).unwrap()).collect()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn platform() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}
