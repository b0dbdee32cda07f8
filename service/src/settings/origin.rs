//! Where a value of the settings comes from.

use config::{Map, Value};

pub(super) const PREFIX: &str = "MOLICEIRO";
pub(super) const SEPARATOR: &str = "__";

/// The tables of one source, such as a file.
pub(super) type Tables = Map<String, Value>;

/// A source, for people. The library reports only "the environment"; the variable's name follows
/// from the key.
pub(super) fn shown(origin: Option<&str>, key: &str) -> String {
    match origin {
        None | Some("the environment") => {
            format!("environment {PREFIX}{SEPARATOR}{}", key.to_uppercase().replace('.', SEPARATOR))
        }
        Some(origin) => origin.to_owned(),
    }
}
