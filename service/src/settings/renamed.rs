//! Keys that moved to another table. Their old names are still accepted, with a warning.

use config::{Map, Value, ValueKind};

use super::origin::{Tables, shown};

/// Old and new names, as `TABLE.KEY`.
const RENAMED: [(&str, &str); 9] = [
    ("ingest.listen", "http.listen"),
    ("ingest.upload_max_bytes", "http.upload_max_bytes"),
    ("ingest.uploads", "http.uploads"),
    ("ingest.header_timeout", "http.header_timeout"),
    ("ingest.idle_timeout", "http.idle_timeout"),
    ("ingest.tokens", "http.tokens"),
    ("ingest.tls_certificate", "http.tls_certificate"),
    ("ingest.tls_key", "http.tls_key"),
    ("ingest.origins", "http.origins"),
];

/// What the renaming has to report, in the order of the keys.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// One for each old key in use, which names the new one.
    pub(super) warnings: Vec<String>,
    /// One for each setting that is given by both of its names.
    pub(super) conflicts: Vec<String>,
}

/// Moves values from their old keys to the new ones. A moved value keeps its origin.
///
/// An option of a command, such as `--listen`, names neither key: it overrides both. `is_option`
/// says whether an origin is one.
pub(super) fn rename(sources: &mut [Tables], is_option: impl Fn(&str) -> bool) -> Report {
    let mut report = Report::default();
    for (old, new) in RENAMED {
        let Some(from_old) = sources.iter().rev().find_map(|source| origin(source, old)) else {
            continue;
        };
        let from_new = sources
            .iter()
            .rev()
            .filter_map(|source| origin(source, new))
            .find(|from| !is_option(from));
        if let Some(from_new) = from_new {
            report.conflicts.push(format!(
                "{old} (from {from_old}) and {new} (from {from_new}) are the same setting: \
                 give {new} only"
            ));
            continue;
        }
        report.warnings.push(format!("{old} (from {from_old}) is deprecated: use {new}"));
        for source in &mut *sources {
            let Some(mut value) = take(source, old) else { continue };
            value = Value::new(Some(&shown(value.origin(), old)), value.kind);
            insert_unless_given(source, new, value);
        }
    }
    report
}

fn origin(source: &Tables, key: &str) -> Option<String> {
    let (table, name) = key.split_once('.')?;
    match &source.get(table)?.kind {
        ValueKind::Table(keys) => Some(shown(keys.get(name)?.origin(), key)),
        _ => None,
    }
}

fn take(source: &mut Tables, key: &str) -> Option<Value> {
    let (table, name) = key.split_once('.')?;
    match &mut source.get_mut(table)?.kind {
        ValueKind::Table(keys) => keys.remove(name),
        _ => None,
    }
}

/// Within one source only an option can have given the new key already, and an option is stronger.
fn insert_unless_given(source: &mut Tables, key: &str, value: Value) {
    let Some((table, name)) = key.split_once('.') else { return };
    let empty = || Value::new(None, ValueKind::Table(Map::new()));
    if let ValueKind::Table(keys) = &mut source.entry(table.to_owned()).or_insert_with(empty).kind {
        keys.entry(name.to_owned()).or_insert(value);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::super::{Loader, SettingsError};

    const SET: &str = "--set";

    #[test]
    fn an_old_key_sets_the_new_one_and_warns() {
        let loader = Loader::new().flag(SET, "ingest.listen", Some("0.0.0.0:1")).default_for(
            "moliceiro run",
            "http.listen",
            "",
        );
        let settings = loader.load().unwrap();
        assert_eq!(settings.origin("http.listen").as_deref(), Some("command line --set"));
        assert_eq!(settings.origin("ingest.listen"), None);
        let [warning] = settings.warnings() else { panic!("{:?}", settings.warnings()) };
        assert!(warning.contains("ingest.listen") && warning.contains("http.listen"), "{warning}");
    }

    #[test]
    fn both_keys_of_one_setting_are_an_error_that_names_both_and_no_value() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("moliceiro.toml");
        std::fs::write(&file, "[ingest]\ntokens = \"old-secret\"\n").unwrap();
        let loader = Loader::new().file(Some(file)).flag(SET, "http.tokens", Some("new-secret"));
        let Err(SettingsError::Invalid(problems)) = loader.load() else { panic!("it is accepted") };
        let [problem] = &problems[..] else { panic!("{problems:?}") };
        for part in ["ingest.tokens (from ", "moliceiro.toml", "http.tokens (from command line"] {
            assert!(problem.contains(part), "{problem}");
        }
        assert!(!problem.contains("secret"), "{problem}");
    }

    #[test]
    fn an_option_overrides_an_old_key() {
        for first in [true, false] {
            let old = |loader: Loader| loader.flag(SET, "ingest.listen", Some("0.0.0.0:1"));
            let option = |loader: Loader| loader.flag("--listen", "http.listen", Some("0.0.0.0:2"));
            let loader = Loader::new();
            let loader = if first { option(old(loader)) } else { old(option(loader)) };
            let settings = loader.load().unwrap();
            let origin = settings.origin("http.listen");
            assert_eq!(origin.as_deref(), Some("command line --listen"));
            assert_eq!(settings.warnings().len(), 1);
        }
    }
}
