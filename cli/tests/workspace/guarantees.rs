//! `docs/guarantees.md` and `docs/formats.md` name only tests that exist.

use std::path::Path;

use crate::{files, project};

/// A source file of the workspace: the modules that its path stands for, and its text.
struct Source {
    modules: Vec<String>,
    text: String,
}

fn sources() -> Vec<Source> {
    let read = |path: &Path| {
        let modules = path.with_extension("");
        let modules = modules.strip_prefix(project()).unwrap().iter();
        let modules = modules.map(|part| part.to_str().unwrap().to_owned());
        let modules = modules.filter(|part| part != "main" && part != "mod").collect();
        Source { modules, text: std::fs::read_to_string(path).unwrap() }
    };
    files(project(), "rs").iter().map(|path| read(path)).collect()
}

/// Whether a text has a test with this name.
fn has_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
    let declaration = format!("fn {name}(");
    lines.iter().enumerate().any(|(index, line)| {
        let declares = line.strip_prefix("async ").unwrap_or(line).starts_with(&declaration);
        // Attributes of the test, such as `#[tokio::test(flavor = "multi_thread")]`.
        declares
            && lines[..index]
                .iter()
                .rev()
                .take_while(|line| line.starts_with("#[") || line.starts_with("//"))
                .any(|line| line.contains("test"))
    })
}

/// The names of tests in a page, and those of them that do not exist.
fn named_and_missing(page: &str) -> (usize, Vec<String>) {
    let sources = sources();
    let text = std::fs::read_to_string(project().join(page)).unwrap();
    let is_name = |code: &&str| {
        code.contains("::") && code.chars().all(|c| c.is_ascii_alphanumeric() || "_:".contains(c))
    };
    let names: Vec<&str> = text.split('`').skip(1).step_by(2).filter(is_name).collect();
    let exists = |name: &&str| {
        let (modules, test) = name.rsplit_once("::").unwrap();
        let modules: Vec<&str> = modules.split("::").collect();
        let is_there = |source: &Source| {
            source.modules.windows(modules.len()).any(|part| part == modules)
                && has_test(&source.text, test)
        };
        sources.iter().any(is_there)
    };
    let missing = names.iter().filter(|name| !exists(name)).map(|name| (*name).to_owned());
    (names.len(), missing.collect())
}

#[test]
fn every_test_that_is_named_exists() {
    for (page, fewest) in [("docs/guarantees.md", 30), ("docs/formats.md", 60)] {
        let (named, missing) = named_and_missing(page);
        assert!(named > fewest, "only {named} tests are found in {page}");
        assert!(missing.is_empty(), "{page} names tests that do not exist: {missing:#?}");
    }
}
