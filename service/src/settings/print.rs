use config::{Value, ValueKind};
use moliceiro_nats::messages::ModelId;

use super::loader::defaults;
use super::origin::shown;
use super::{Section, Settings, SettingsError};

impl Settings {
    /// One section as a TOML table, each line with the source of its value. Checks the section
    /// first.
    pub fn print<S: Section>(&self) -> Result<String, SettingsError> {
        self.section::<S>()?;
        let given = self.sections.get(S::NAME);
        let mut keys: Vec<_> = defaults::<S>()?.into_iter().collect();
        keys.sort_by(|a, b| a.0.cmp(&b.0));
        let mut text = format!("[{}]\n", S::NAME);
        for (key, default) in keys {
            let (value, from) = match given.and_then(|g| g.get(&key)) {
                Some(value) => (value, shown(value.origin(), &format!("{}.{key}", S::NAME))),
                None => (&default, "built-in default".to_owned()),
            };
            let hidden = S::SECRETS.contains(&key.as_str())
                && !matches!(value.to_string().as_str(), "" | "[]");
            let line = match toml_value(value, &default) {
                _ if hidden => format!("# {key} is set, and not shown"),
                Some(value) => format!("{key} = {value}"),
                None => format!("# {key} is not set"),
            };
            text.push_str(&format!("{line:<50} # {from}\n"));
        }
        Ok(text)
    }
}

/// The text without passwords in URLs. Models with versions, such as `boats@3`, are not URLs.
fn without_password(text: &str) -> String {
    let is_model = |part: &str| part == "*" || part.parse::<ModelId>().is_ok();
    if text.split(',').all(is_model) {
        return text.to_owned();
    }
    moliceiro_nats::connect::without_password(text)
}

/// A value as TOML, in the type of its default: the environment and the command line have strings
/// only.
fn toml_value(value: &Value, default: &Value) -> Option<String> {
    let text = value.to_string();
    let plain = |kind: &ValueKind| !matches!(kind, ValueKind::String(_) | ValueKind::Nil);
    match &value.kind {
        ValueKind::Nil => None,
        ValueKind::Array(items) => Some(
            toml::Value::from(items.iter().map(ToString::to_string).collect::<Vec<_>>())
                .to_string(),
        ),
        // A list from the environment or the command line.
        ValueKind::String(_) if matches!(default.kind, ValueKind::Array(_)) => {
            Some(toml::Value::String(text).to_string())
        }
        kind if plain(kind) || plain(&default.kind) => Some(text),
        // An optional number from the environment or the command line.
        _ if matches!(default.kind, ValueKind::Nil) && text.parse::<f64>().is_ok() => Some(text),
        _ => Some(toml::Value::String(without_password(&text)).to_string()),
    }
}
