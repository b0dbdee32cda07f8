//! Licences, sources and bans of all dependencies, those of tests included.

use std::collections::BTreeSet;

use crate::metadata::Metadata;
use crate::project;

/// Licences of which one, or with AND each, is enough for a crate to be used.
const ALLOWED: [&str; 13] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    // The list of certificate authorities: data, not code.
    "CDLA-Permissive-2.0",
    // The JPEG encoder's quantisation tables.
    "IJG",
    "ISC",
    "MIT",
    "MIT-0",
    // Weak copyleft that covers the crate's own files, which are used unchanged.
    "MPL-2.0",
    "Unicode-3.0",
    "Zlib",
];

const BANNED: [(&str, &str); 5] = [
    ("openssl-sys", "TLS is rustls: one implementation, no system library"),
    ("native-tls", "TLS is rustls: one implementation, no system library"),
    ("aws-lc-sys", "rustls uses ring: no C compiler for another crypto library"),
    ("lazy_static_include", "files are included by the standard library"),
    ("chrono", "times are std::time, humantime and milliseconds since 1970"),
];

/// Whether allowed licences satisfy an [SPDX expression]. `/` is an old way to write OR.
///
/// [SPDX expression]: https://spdx.github.io/spdx-spec/v2.3/SPDX-license-expressions/
fn is_allowed(expression: &str) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words: Vec<&str> = spaced.split_whitespace().rev().collect();
    let allowed = any_of(&mut words);
    assert!(words.is_empty(), "{expression} is not an SPDX expression");
    allowed
}

fn any_of(words: &mut Vec<&str>) -> bool {
    let mut allowed = all_of(words);
    while words.pop_if(|word| *word == "OR").is_some() {
        allowed |= all_of(words);
    }
    allowed
}

fn all_of(words: &mut Vec<&str>) -> bool {
    let mut allowed = one(words);
    while words.pop_if(|word| *word == "AND").is_some() {
        allowed &= one(words);
    }
    allowed
}

fn one(words: &mut Vec<&str>) -> bool {
    match words.pop().expect("a licence") {
        "(" => {
            let allowed = any_of(words);
            assert_eq!(words.pop(), Some(")"));
            allowed
        }
        licence if words.pop_if(|word| *word == "WITH").is_some() => {
            let exception = words.pop().expect("an exception");
            ALLOWED.contains(&format!("{licence} WITH {exception}").as_str())
        }
        licence => ALLOWED.contains(&licence),
    }
}

#[test]
fn licence_expressions_are_read_as_spdx_defines_them() {
    assert!(is_allowed("MIT"));
    assert!(is_allowed("GPL-3.0-only OR MIT"));
    assert!(is_allowed("MIT/GPL-3.0-only"));
    assert!(is_allowed("(GPL-3.0-only OR MIT) AND Unicode-3.0"));
    assert!(is_allowed("GPL-2.0-only OR MIT AND ISC"));
    assert!(!is_allowed("GPL-3.0-only"));
    assert!(!is_allowed("MIT AND GPL-3.0-only"));
    assert!(!is_allowed("(MIT OR ISC) AND GPL-3.0-only"));
    assert!(!is_allowed("MIT WITH LLVM-exception"));
}

#[test]
fn every_dependency_has_an_allowed_licence() {
    for package in Metadata::get().packages() {
        let licence = package.licence.as_deref().unwrap_or_else(|| {
            panic!("{} {} does not name its licence", package.name, package.version)
        });
        assert!(is_allowed(licence), "{} is under {licence}", package.name);
    }
}

#[test]
fn every_dependency_comes_from_the_registry() {
    for package in Metadata::get().packages() {
        match package.source.as_deref() {
            Some(source) => {
                assert!(source.starts_with("registry+"), "{} is from {source}", package.name);
            }
            None => {
                assert!(package.name.starts_with("moliceiro"), "{} is from a path", package.name);
            }
        }
    }
}

#[test]
fn no_banned_crate_is_used() {
    for package in Metadata::get().packages() {
        let ban = BANNED.iter().find(|(name, _)| package.name == *name);
        assert!(ban.is_none(), "{ban:?}");
    }
}

#[test]
fn third_party_licenses_lists_the_crates_in_the_programs() {
    let text = std::fs::read_to_string(project().join("THIRD-PARTY-LICENSES")).unwrap();
    let list = text.split("-----").next().unwrap();
    let listed: BTreeSet<String> = list
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(package, _)| package.to_owned())
        .filter(|package| !package.ends_with("(part of the web page)"))
        .collect();
    let used: BTreeSet<String> = Metadata::get()
        .reached_from("moliceiro")
        .into_iter()
        .filter(|package| package.source.is_some())
        .map(|package| format!("{} {}", package.name, package.version))
        .collect();
    let missing: Vec<_> = used.difference(&listed).collect();
    assert!(missing.is_empty(), "not in THIRD-PARTY-LICENSES: {missing:?}; run: make licenses");
    // The file is for all platforms. All crates of the others are used on this one too.
    if cfg!(target_arch = "x86_64") {
        let unused: Vec<_> = listed.difference(&used).collect();
        assert!(unused.is_empty(), "only in THIRD-PARTY-LICENSES: {unused:?}; run: make licenses");
    }
}
