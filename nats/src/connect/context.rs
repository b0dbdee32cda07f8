//! Contexts of the `nats` command: a file for each, with a server and how to connect to it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use thiserror::Error;

/// The environment variable that names a context, for the `nats` command too.
pub const CONTEXT_VARIABLE: &str = "NATS_CONTEXT";
/// A context is a few hundred bytes.
const LARGEST: u64 = 1 << 20;

/// The field of a context, and the setting that has its meaning.
const FIELDS: [(&str, &str); 12] = [
    ("url", "nats.url"),
    ("user", "nats.user"),
    ("password", "nats.password"),
    ("token", "nats.token"),
    ("creds", "nats.credentials"),
    ("nkey", "nats.nkey"),
    ("ca", "nats.tls_ca"),
    ("cert", "nats.tls_certificate"),
    ("key", "nats.tls_key"),
    ("tls_first", "nats.tls_first"),
    ("inbox_prefix", "nats.inbox_prefix"),
    ("jetstream_domain", "streams.domain"),
];
/// Fields whose value is a path, which may begin with `~/`.
const PATHS: [&str; 5] = ["creds", "nkey", "ca", "cert", "key"];
/// Fields without which a connection is another one, and that have no setting.
const UNSUPPORTED: [&str; 6] =
    ["socks_proxy", "nsc", "user_jwt", "user_seed", "jetstream_api_prefix", "windows_cert_store"];

/// The settings that a context decides, by their keys, such as `nats.url`.
pub fn context_settings() -> impl Iterator<Item = &'static str> {
    FIELDS.into_iter().map(|(_, key)| key)
}

/// Why a context cannot be used.
#[derive(Debug, Error)]
pub enum ContextError {
    /// It is neither a name nor an absolute path.
    #[error("{0:?} is not the name of a context, and not the absolute path of its file")]
    Name(String),
    /// Neither `XDG_CONFIG_HOME` nor `HOME` is set.
    #[error("there is no folder for contexts: set HOME, or give the path of a file")]
    NoFolder,
    /// Its file cannot be read.
    #[error("{}: {source}; `nats context ls` lists all contexts", file.display())]
    Unreadable {
        /// Its file.
        file: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// Its file is not one of a context.
    #[error("{} is not a context of the nats command: {reason}", file.display())]
    Malformed {
        /// Its file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It needs something that Moliceiro does not have.
    #[error("{} has a value for {field:?}, which Moliceiro does not support", file.display())]
    Unsupported {
        /// Its file.
        file: PathBuf,
        /// The field.
        field: &'static str,
    },
}

/// The settings that a context stands for, by their keys, such as `nats.url`.
pub fn read_context(name: &str) -> Result<BTreeMap<&'static str, String>, ContextError> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let config = std::env::var_os("XDG_CONFIG_HOME")
        .filter(|folder| !folder.is_empty())
        .map(PathBuf::from)
        .or_else(|| Some(home.as_ref()?.join(".config")));
    let file = file_of(name, config.as_deref())?;
    let unreadable = |source| ContextError::Unreadable { file: file.clone(), source };
    let metadata = std::fs::metadata(&file).map_err(unreadable)?;
    if !metadata.is_file() || metadata.len() > LARGEST {
        return Err(ContextError::Malformed { file, reason: "it is not a small file".into() });
    }
    let text = std::fs::read(&file).map_err(unreadable)?;
    parse(&file, &text, home.as_deref())
}

fn file_of(name: &str, config: Option<&Path>) -> Result<PathBuf, ContextError> {
    if Path::new(name).is_absolute() {
        return Ok(name.into());
    }
    if name.is_empty() || name.contains(['/', '\\', '\0']) || name.contains("..") {
        return Err(ContextError::Name(name.to_owned()));
    }
    let folder = config.ok_or(ContextError::NoFolder)?.join("nats/context");
    Ok(folder.join(format!("{name}.json")))
}

fn parse(
    file: &Path,
    text: &[u8],
    home: Option<&Path>,
) -> Result<BTreeMap<&'static str, String>, ContextError> {
    let malformed = |reason: String| ContextError::Malformed { file: file.to_owned(), reason };
    let fields: serde_json::Map<String, Value> =
        serde_json::from_slice(text).map_err(|error| malformed(error.to_string()))?;
    let text_of = |field: &str| match fields.get(field) {
        None | Some(Value::Null) | Some(Value::Bool(false)) => Ok(None),
        Some(Value::Bool(true)) => Ok(Some("true".to_owned())),
        Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        Some(_) => Err(malformed(format!("{field:?} is not a text"))),
    };
    for field in UNSUPPORTED {
        if text_of(field)?.is_some() {
            return Err(ContextError::Unsupported { file: file.to_owned(), field });
        }
    }
    let mut found = BTreeMap::new();
    for (field, key) in FIELDS {
        let Some(value) = text_of(field)? else { continue };
        let value = match (PATHS.contains(&field), value.strip_prefix("~/"), home) {
            (true, Some(rest), Some(home)) => home.join(rest).display().to_string(),
            _ => value,
        };
        found.insert(key, value);
    }
    // A user without a password is a token.
    if !found.contains_key("nats.password")
        && let Some(token) = found.remove("nats.user")
    {
        found.entry("nats.token").or_insert(token);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<BTreeMap<&'static str, String>, ContextError> {
        parse(Path::new("here.json"), text.as_bytes(), Some(Path::new("/home/me")))
    }

    #[test]
    fn a_context_stands_for_settings() {
        let found = parsed(
            r#"{"description": "ours", "url": "tls://a:4222", "user": "", "creds": "~/me.creds",
                "ca": "/etc/ca.pem", "tls_first": true, "inbox_prefix": "_INBOX.me",
                "jetstream_domain": "hub", "color_scheme": "", "nsc": ""}"#,
        );
        let found: Vec<_> = found.unwrap().into_iter().collect();
        let expected = [
            ("nats.credentials", "/home/me/me.creds"),
            ("nats.inbox_prefix", "_INBOX.me"),
            ("nats.tls_ca", "/etc/ca.pem"),
            ("nats.tls_first", "true"),
            ("nats.url", "tls://a:4222"),
            ("streams.domain", "hub"),
        ];
        assert_eq!(found, expected.map(|(key, value)| (key, value.to_owned())));
        let token = parsed(r#"{"user": "only", "password": ""}"#).unwrap();
        assert_eq!(token.get("nats.token").map(String::as_str), Some("only"));
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        let refused = parsed(r#"{"url": "nats://a", "socks_proxy": "socks5://b:1"}"#);
        assert!(matches!(refused, Err(ContextError::Unsupported { field: "socks_proxy", .. })));
        for text in ["", "[]", "null", r#"{"url": 5}"#, r#"{"creds": {}}"#] {
            assert!(matches!(parsed(text), Err(ContextError::Malformed { .. })), "{text}");
        }
    }

    #[test]
    fn a_name_cannot_leave_the_folder() {
        for name in ["", "../a", "a/b", "..", "a\\b"] {
            let found = file_of(name, Some(Path::new("/c")));
            assert!(matches!(found, Err(ContextError::Name(_))), "{name}");
        }
        assert_eq!(
            file_of("a", Some(Path::new("/c"))).unwrap(),
            Path::new("/c/nats/context/a.json")
        );
        assert_eq!(file_of("/x/a.json", None).unwrap(), Path::new("/x/a.json"));
        assert!(matches!(file_of("a", None), Err(ContextError::NoFolder)));
    }
}
