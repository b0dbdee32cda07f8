use std::fmt;

use moliceiro_nats::messages::AlarmRule;
use serde::Deserializer;
use serde::de::{Error, SeqAccess, Visitor};

/// Reads rules from a list, as in a file, or from one text, as in the environment and on the
/// command line.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<AlarmRule>, D::Error> {
    deserializer.deserialize_any(Rules)
}

struct Rules;

impl<'de> Visitor<'de> for Rules {
    type Value = Vec<AlarmRule>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a list of alarm rules such as [\"person > 10\"], or one text with ; between the rules",
        )
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        let rules = text.split(';').filter(|rule| !rule.trim().is_empty());
        rules.map(|rule| rule.parse().map_err(E::custom)).collect()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut rules = Vec::new();
        while let Some(rule) = list.next_element()? {
            rules.push(rule);
        }
        Ok(rules)
    }
}
