//! Links and paths in the documentation name something that exists.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::{files, project};

/// The text of a Markdown file without blocks of code.
fn prose(file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap();
    let mut in_code = false;
    let is_prose = |line: &&str| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        !in_code && !is_fence
    };
    text.lines().filter(is_prose).collect::<Vec<_>>().join("\n")
}

/// The pieces of a text between two marks.
fn between<'a>(text: &'a str, start: &'a str, end: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(start).skip(1).filter_map(move |rest| rest.split(end).next())
}

/// The anchors that headings have on web sites that show Markdown.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
            let kept = |c: &char| c.is_alphanumeric() || matches!(c, '-' | '_');
            let slug: String = title.chars().filter(kept).collect();
            let before = times.entry(slug.clone()).or_default();
            *before += 1;
            if *before == 1 { slug } else { format!("{slug}-{}", *before - 1) }
        })
        .collect()
}

fn documents() -> Vec<PathBuf> {
    files(project(), "md")
}

#[test]
fn every_relative_link_leads_somewhere() {
    let mut broken = Vec::new();
    let mut links = 0;
    for file in documents() {
        let text = prose(&file);
        let targets = between(&text, "](", ")")
            .chain(between(&text, "src=\"", "\""))
            .chain(between(&text, "srcset=\"", "\""));
        for target in targets.filter(|target| !target.contains("://")) {
            links += 1;
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path =
                if path.is_empty() { file.clone() } else { file.parent().unwrap().join(path) };
            if !path.exists() || !anchor.is_empty() && !anchors(&prose(&path)).contains(anchor) {
                broken.push(format!("{}: {target}", file.display()));
            }
        }
    }
    assert!(links > 100, "only {links} links are found");
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_path_in_the_documentation_exists() {
    const FOLDERS: [&str; 10] = [
        "aggregator/",
        "cli/",
        "deploy/",
        "deps/",
        "detector/",
        "docs/",
        "grafana/",
        "ingest/",
        "nats/",
        "scripts/",
    ];
    let mut missing = Vec::new();
    for file in documents() {
        let text = prose(&file);
        for code in text.split('`').skip(1).step_by(2) {
            let is_path = FOLDERS.iter().any(|folder| code.starts_with(folder))
                && code.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
            if is_path && !project().join(code).exists() {
                missing.push(format!("{}: {code}", file.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn anchors_are_those_of_common_web_sites() {
    let found = anchors("# `[http]`: ingest\n## What's kept, and how\ntext\n## A b\n## A b");
    let expected = ["a-b", "a-b-1", "http-ingest", "whats-kept-and-how"];
    assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}
