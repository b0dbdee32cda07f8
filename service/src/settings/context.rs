//! What a context of the `nats` command says, as one of the sources of settings.

use config::{Map, Value, ValueKind};
use moliceiro_nats::connect::{CONTEXT_VARIABLE, context_settings, read_context};

use super::SettingsError;
use super::origin::{Tables, shown};

/// The sources — file, environment, command line — with that of the context right before the one
/// that names it. It replaces what earlier ones say about the server.
pub(super) fn with_context(
    [mut file, mut environment, flags]: [Tables; 3],
) -> Result<Vec<Tables>, SettingsError> {
    if named(&environment).is_none()
        && let Some(name) = std::env::var(CONTEXT_VARIABLE).ok().filter(|name| !name.is_empty())
    {
        let name = Value::new(Some(&CONTEXT_VARIABLE.to_owned()), name);
        if let Some(nats) = table(&mut environment, "nats") {
            nats.insert("context".into(), name);
        }
    }
    let mut sources = vec![file.clone(), environment.clone(), flags];
    let Some((at, name)) =
        sources.iter().enumerate().rev().find_map(|(at, source)| Some((at, named(source)?)))
    else {
        return Ok(sources);
    };
    let from = shown(name.origin(), "nats.context");
    let name = name.to_string();
    let values = read_context(&name).map_err(|error| {
        SettingsError::Invalid(vec![format!("nats.context (from {from}): {error}")])
    })?;
    for source in [&mut file, &mut environment].into_iter().take(at) {
        for (section, key) in context_settings().filter_map(|key| key.split_once('.')) {
            if let Some(table) = table(source, section) {
                table.remove(key);
            }
        }
    }
    sources.splice(..2, [file, environment]);
    let mut of_context = Tables::new();
    let origin = format!("context {name}");
    for (key, value) in values {
        let Some((section, key)) = key.split_once('.') else { continue };
        if let Some(table) = table(&mut of_context, section) {
            table.insert(key.to_owned(), Value::new(Some(&origin), value));
        }
    }
    sources.insert(at, of_context);
    Ok(sources)
}

fn named(source: &Tables) -> Option<Value> {
    match &source.get("nats")?.kind {
        ValueKind::Table(keys) => keys.get("context").cloned(),
        _ => None,
    }
}

/// The table of this name; made if it is missing. `None` for a value that is not a table, which the
/// loader refuses later.
fn table<'a>(source: &'a mut Tables, name: &str) -> Option<&'a mut Map<String, Value>> {
    let value = source
        .entry(name.to_owned())
        .or_insert_with(|| Value::new(None, ValueKind::Table(Map::new())));
    match &mut value.kind {
        ValueKind::Table(keys) => Some(keys),
        _ => None,
    }
}
