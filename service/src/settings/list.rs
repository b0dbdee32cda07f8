//! A setting that is a list: an array in a file, comma-separated text on the command line and in
//! the environment.

use std::fmt;

use serde::Serializer;
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

/// Writes a list as comma-separated text, for `#[serde(with)]`.
pub fn serialize<S: Serializer, T: AsRef<str>>(
    list: &[T],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&list.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(","))
}

/// Reads an array or comma-separated text, for `#[serde(with)]`.
pub fn deserialize<'de, D: Deserializer<'de>, T: From<String>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    struct List;
    impl<'de> Visitor<'de> for List {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of texts, or one comma-separated text")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            Ok(text
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, sequence: A) -> Result<Self::Value, A::Error> {
            Vec::deserialize(de::value::SeqAccessDeserializer::new(sequence))
        }
    }
    Ok(deserializer.deserialize_any(List)?.into_iter().map(T::from).collect())
}
