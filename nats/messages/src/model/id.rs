use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::DEFAULT_MODEL;

const MAX_NAME_LENGTH: usize = 48;
const MARK: char = '@';

/// A model's name, and its version if the model is stored: `boats@3`. One NATS subject token.
///
/// A built-in model has no version. In an upload, a name without a version stands for the latest.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(
    value_type = String,
    pattern = "^[a-z0-9_-]{1,48}(@[1-9][0-9]{0,8})?$",
    examples("boats@3", "boats", "nanodet")
)]
pub struct ModelId(Parts);

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Parts {
    name: String,
    version: Option<u32>,
}

/// A text that cannot be a [`ModelId`].
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "{0:?} is not the name of a model: use 1 to {MAX_NAME_LENGTH} lower-case letters, digits, '-' \
     and '_', and a version if you mean one, such as boats@3"
)]
pub struct InvalidModelId(pub String);

impl ModelId {
    /// The largest version.
    pub const MAX_VERSION: u32 = 999_999_999;

    /// A name that people may have given to a file, made valid.
    pub fn for_name(name: &str) -> Self {
        let mut slug = String::new();
        for c in name.chars().flat_map(char::to_lowercase).take(4 * MAX_NAME_LENGTH) {
            if slug.len() == MAX_NAME_LENGTH {
                break;
            }
            if c.is_ascii_alphanumeric() || c == '_' {
                slug.push(c);
            } else if !slug.is_empty() && !slug.ends_with('-') {
                slug.push('-');
            }
        }
        let slug = slug.trim_end_matches('-');
        Self::of(if slug.is_empty() { "model" } else { slug }, None)
    }

    fn of(name: &str, version: Option<u32>) -> Self {
        Self(Parts { name: name.to_owned(), version })
    }

    /// The name, without the version.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The version, if there is one.
    pub fn version(&self) -> Option<u32> {
        self.0.version
    }

    /// The same name in this version.
    pub fn at(&self, version: u32) -> Self {
        Self::of(&self.0.name, Some(version.clamp(1, Self::MAX_VERSION)))
    }

    /// The same name without a version.
    pub fn unversioned(&self) -> Self {
        Self::of(&self.0.name, None)
    }
}

/// The built-in model that analyses what does not name another.
impl Default for ModelId {
    fn default() -> Self {
        Self::of(DEFAULT_MODEL, None)
    }
}

impl FromStr for ModelId {
    type Err = InvalidModelId;

    fn from_str(text: &str) -> Result<Self, InvalidModelId> {
        let invalid = || InvalidModelId(text.chars().take(80).collect());
        let (name, version) = match text.split_once(MARK) {
            Some((name, version)) => (name, Some(version)),
            None => (text, None),
        };
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        if name.is_empty() || name.len() > MAX_NAME_LENGTH || !name.chars().all(allowed) {
            return Err(invalid());
        }
        let version = version.map(|version| {
            let digits = version.bytes().all(|b| b.is_ascii_digit()) && !version.starts_with('0');
            let number = version.parse().ok().filter(|n| (1..=Self::MAX_VERSION).contains(n));
            number.filter(|_| digits).ok_or_else(invalid)
        });
        Ok(Self::of(name, version.transpose()?))
    }
}

impl TryFrom<String> for ModelId {
    type Error = InvalidModelId;

    fn try_from(text: String) -> Result<Self, InvalidModelId> {
        text.parse()
    }
}

impl From<ModelId> for String {
    fn from(id: ModelId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.version {
            Some(version) => write!(f, "{}{MARK}{version}", self.0.name),
            None => f.write_str(&self.0.name),
        }
    }
}

impl fmt::Debug for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_name_with_or_without_a_version() {
        for (text, name, version) in [
            ("boats", "boats", None),
            ("boats@3", "boats", Some(3)),
            ("a-b_2@10", "a-b_2", Some(10)),
        ] {
            let id: ModelId = text.parse().unwrap();
            assert_eq!((id.name(), id.version(), id.to_string()), (name, version, text.to_owned()));
        }
        for text in [
            "",
            "@1",
            "Boats",
            "boats@",
            "boats@0",
            "boats@01",
            "boats@+1",
            "boats@1@2",
            "a.b",
            "a*",
            "a>",
            "a b",
            "boats@1000000000",
            "boats@99999999999",
            &"x".repeat(49),
        ] {
            assert_eq!(text.parse::<ModelId>(), Err(InvalidModelId(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn any_file_name_gives_a_valid_name() {
        for (file, name) in [
            ("YOLOv8n", "yolov8n"),
            ("My Model (2)", "my-model-2"),
            ("日本語", "model"),
            ("", "model"),
            ("--a--", "a"),
            (&"x".repeat(500), &"x".repeat(48)),
        ] {
            let id = ModelId::for_name(file);
            assert_eq!(id.to_string(), name);
            assert_eq!(name.parse(), Ok(id));
        }
    }
}
