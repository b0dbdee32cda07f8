use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use config::{Config, ConfigError, Environment, File, FileFormat, Map, Source, Value, ValueKind};

use super::context::with_context;
use super::origin::{PREFIX, SEPARATOR, Tables, shown};
use super::renamed::rename;
use super::{Problem, SECTIONS, Section, SettingsError};

const COMMAND_LINE: &str = "command line ";
/// The origin of a value that names its key itself; all other options stand for one key each.
const SET_ORIGIN: &str = "command line --set";
/// Jaro-Winkler similarity from which a name may be a typing error for another.
const SIMILAR: f64 = 0.8;

/// Collects the sources of settings; later ones override earlier ones.
#[derive(Clone, Debug, Default)]
pub struct Loader {
    file: Option<SettingsFile>,
    flags: Vec<Flag>,
    defaults: Vec<Flag>,
    /// Shared with clones: a program that loads twice warns once.
    warned: Arc<AtomicBool>,
}

/// A settings file, read once: a pipe cannot be read twice.
#[derive(Clone, Debug)]
struct SettingsFile {
    path: PathBuf,
    text: Result<String, Arc<io::Error>>,
}

#[derive(Clone, Debug)]
struct Flag {
    origin: String,
    key: String,
    value: String,
}

/// The tables of one source. Each value keeps its origin.
#[derive(Clone, Debug)]
struct Given(Tables);

impl Source for Given {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Tables, ConfigError> {
        Ok(self.0.clone())
    }
}

fn tables_of_flags(flags: &[Flag]) -> Tables {
    let mut sections: Map<String, Tables> = Map::new();
    for Flag { origin, key, value } in flags {
        let (section, key) = key.split_once('.').unwrap_or((key, ""));
        sections
            .entry(section.to_owned())
            .or_default()
            .insert(key.to_owned(), Value::new(Some(origin), value.clone()));
    }
    sections
        .into_iter()
        .map(|(name, keys)| (name, Value::new(None, ValueKind::Table(keys))))
        .collect()
}

/// The values of a file, each with the file as its origin.
fn tables_of_file(name: &String, table: Tables) -> Tables {
    let own = |value: Value| Value::new(Some(name), value.kind);
    let section = |value: Value| match value.kind {
        ValueKind::Table(keys) => Value::new(
            Some(name),
            ValueKind::Table(keys.into_iter().map(|(k, v)| (k, own(v))).collect()),
        ),
        other => Value::new(Some(name), other),
    };
    table.into_iter().map(|(name, value)| (name, section(value))).collect()
}

/// Turns keys such as `nats.url` into tables.
fn tables_of_environment() -> Result<Tables, ConfigError> {
    let environment =
        Environment::with_prefix(PREFIX).prefix_separator(SEPARATOR).separator(SEPARATOR);
    Config::builder().add_source(environment).build()?.cache.into_table()
}

impl Loader {
    /// Built-in defaults and the environment.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a TOML file. `load` reports an error in it.
    pub fn file(mut self, file: Option<PathBuf>) -> Self {
        self.file = file.map(|path| {
            let text = std::fs::read_to_string(&path).map_err(Arc::new);
            SettingsFile { path, text }
        });
        self
    }

    /// Adds a value from the command line, if it was given, for a key such as `nats.url`.
    pub fn flag<T: ToString>(mut self, flag: &str, key: &str, value: Option<T>) -> Self {
        if let Some(value) = value {
            self.flags.push(Flag {
                origin: format!("{COMMAND_LINE}{flag}"),
                key: key.to_owned(),
                value: value.to_string(),
            });
        }
        self
    }

    /// Changes a built-in default for one command.
    pub fn default_for(mut self, command: &str, key: &str, value: impl ToString) -> Self {
        self.defaults.push(Flag {
            origin: format!("default of {command}"),
            key: key.to_owned(),
            value: value.to_string(),
        });
        self
    }

    /// Reads all sources, and refuses unknown tables. [`Settings::section`] checks the keys of a
    /// table.
    pub fn load(self) -> Result<Settings, SettingsError> {
        let file = match self.file {
            None => Tables::new(),
            Some(SettingsFile { path, text }) => {
                let name = path.display().to_string();
                let failed = |reason| SettingsError::File { file: name.clone(), reason };
                let text = text.map_err(|error| failed(error.to_string()))?;
                let table = File::from_str(&text, FileFormat::Toml)
                    .collect()
                    .map_err(|e| failed(e.to_string().trim().replace('\n', " ")))?;
                tables_of_file(&name, table)
            }
        };
        let unusable = |e: ConfigError| SettingsError::Invalid(vec![e.to_string()]);
        let environment = tables_of_environment().map_err(unusable)?;
        let mut sources = [file, environment, tables_of_flags(&self.flags)];
        let renamed =
            rename(&mut sources, |origin| origin.starts_with(COMMAND_LINE) && origin != SET_ORIGIN);
        if !renamed.conflicts.is_empty() {
            return Err(SettingsError::Invalid(renamed.conflicts));
        }
        if !self.warned.swap(true, Ordering::Relaxed) {
            // Logging starts later: its settings are among these.
            renamed.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
        }
        let sources = with_context(sources)?;
        let defaults = Config::builder().add_source(Given(tables_of_flags(&self.defaults)));
        let merged = sources
            .into_iter()
            .fold(defaults, |builder, source| builder.add_source(Given(source)))
            .build()
            .map_err(unusable)?;
        let mut settings = Settings { sections: BTreeMap::new(), warnings: renamed.warnings };
        let mut problems = Vec::new();
        for (name, value) in merged.cache.into_table().unwrap_or_default() {
            let origin = value.origin().map(str::to_owned);
            match (SECTIONS.contains(&name.as_str()), value.into_table()) {
                (true, Ok(keys)) => drop(settings.sections.insert(name, keys)),
                (true, Err(_)) => problems.push(format!(
                    "{name} (from {}) is a table of settings: set {name}.KEY",
                    shown(origin.as_deref(), &name)
                )),
                (false, keys) => {
                    let origin = origin.or_else(|| {
                        keys.ok()?.values().find_map(|v| v.origin().map(str::to_owned))
                    });
                    let hint = similar(&name, SECTIONS.iter().copied())
                        .unwrap_or_else(|| format!("there are {}", SECTIONS.join(", ")));
                    problems.push(format!(
                        "unknown settings table {name} (from {}): {hint}",
                        shown(origin.as_deref(), &name)
                    ));
                }
            }
        }
        if problems.is_empty() { Ok(settings) } else { Err(SettingsError::Invalid(problems)) }
    }
}

/// All values that override built-in defaults, by section and key.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(super) sections: BTreeMap<String, Tables>,
    warnings: Vec<String>,
}

impl Settings {
    /// One sentence for each deprecated key in use, with the key that replaces it.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The source of the value of a key such as `nats.url`; `None` for the built-in default.
    pub fn origin(&self, key: &str) -> Option<String> {
        let (section, name) = key.split_once('.')?;
        Some(shown(self.sections.get(section)?.get(name)?.origin(), key))
    }

    /// The settings of one section: its defaults, overridden by the sources. The error lists all
    /// problems of the section.
    pub fn section<S: Section>(&self) -> Result<S, SettingsError> {
        let defaults = defaults::<S>()?;
        let given = self.sections.get(S::NAME).cloned().unwrap_or_default();
        let mut given: Vec<_> = given.into_iter().collect();
        given.sort_by(|a, b| a.0.cmp(&b.0));
        let origins: Map<String, String> = given
            .iter()
            .map(|(key, value)| (key.clone(), shown(value.origin(), &format!("{}.{key}", S::NAME))))
            .collect();
        let mut problems = Vec::new();
        let mut merged = defaults.clone();
        for (key, value) in given {
            let from = &origins[&key];
            if !defaults.contains_key(&key) {
                let hint = similar(&key, defaults.keys().map(String::as_str))
                    .unwrap_or_else(|| "`moliceiro config` lists all".into());
                problems.push(format!("unknown setting {}.{key} (from {from}): {hint}", S::NAME));
                continue;
            }
            // Each value is tried alone over the defaults: an error is then about this value.
            let mut alone = defaults.clone();
            alone.insert(key.clone(), value.clone());
            let text = value.to_string();
            let shown = shown_value::<S>(&key, &value);
            match read::<S>(alone) {
                Ok(_) => drop(merged.insert(key, value)),
                Err(error) => problems.push(format!(
                    "{}.{key} = {shown} (from {from}): {}",
                    S::NAME,
                    reason::<S>(&key, &error, &text)
                )),
            }
        }
        let section =
            read::<S>(merged.clone()).map_err(|e| SettingsError::Invalid(vec![e.to_string()]))?;
        for Problem { key, allowed } in section.problems() {
            let value =
                merged.get(key).map(|value| shown_value::<S>(key, value)).unwrap_or_default();
            let from = origins.get(key).cloned().unwrap_or_else(|| "built-in default".into());
            problems.push(format!(
                "{}.{key} = {value} (from {from}) is invalid: give {allowed}",
                S::NAME
            ));
        }
        if problems.is_empty() { Ok(section) } else { Err(SettingsError::Invalid(problems)) }
    }
}

fn shown_value<S: Section>(key: &str, value: &Value) -> String {
    if S::SECRETS.contains(&key) { "***".into() } else { value.to_string() }
}

pub(super) fn defaults<S: Section>() -> Result<Map<String, Value>, SettingsError> {
    let defaults = Config::try_from(&S::default()).and_then(|c| c.cache.into_table());
    defaults.map_err(|e| SettingsError::Invalid(vec![format!("the defaults of {}: {e}", S::NAME)]))
}

fn read<S: Section>(table: Map<String, Value>) -> Result<S, ConfigError> {
    Value::new(None, ValueKind::Table(table)).try_deserialize()
}

/// The library's reason without its own naming of key and source, and with the allowed values.
fn reason<S: Section>(key: &str, error: &ConfigError, text: &str) -> String {
    match error {
        ConfigError::At { error, .. } => reason::<S>(key, error, text),
        ConfigError::Type { unexpected, expected, .. } => {
            format!("invalid type: {unexpected}, expected {expected}")
        }
        other => {
            let message = other.to_string();
            match () {
                () if message.contains("variant") => choices::<S>(key, text).unwrap_or(message),
                () if message.contains("a duration") => {
                    format!("{message} such as 10s, 500ms or 1h 30m")
                }
                () => message,
            }
        }
    }
}

/// The choices of an enum, from the TOML parser: the settings library does not list them.
fn choices<S: Section>(key: &str, text: &str) -> Option<String> {
    let table = toml::Table::from_iter([(key.to_owned(), toml::Value::from(text))]);
    let error = table.try_into::<S>().err()?.to_string();
    error.lines().find(|line| line.contains("expected")).map(str::to_owned)
}

fn similar<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let likeness = |other: &str| strsim::jaro_winkler(name, other);
    let best = known.max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(best) >= SIMILAR).then(|| format!("did you mean {best}?"))
}
