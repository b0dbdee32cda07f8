//! The AsyncAPI document, and values to try its schemas with.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use boon::{Compiler, Draft, SchemaIndex, Schemas};
use ciborium::Value as Cbor;
use serde_json::{Value, json};

/// Fields that are byte strings in CBOR, and base64 in JSON.
const BYTES: [&str; 3] = ["pixels", "jpeg", "objects"];

pub struct Document(Value);

pub struct Schema {
    name: String,
    schemas: Schemas,
    index: SchemaIndex,
}

impl Schema {
    /// A schema of draft 7, which is that of AsyncAPI documents.
    pub fn new(name: &str, schema: Value) -> Self {
        const LOCATION: &str = "memory:schema";
        let (mut compiler, mut schemas) = (Compiler::new(), Schemas::new());
        compiler.set_default_draft(Draft::V7);
        compiler.enable_format_assertions();
        compiler.add_resource(LOCATION, schema).unwrap();
        let index = compiler.compile(LOCATION, &mut schemas).unwrap_or_else(|e| panic!("{e:#}"));
        Self { name: name.into(), schemas, index }
    }

    pub fn is_valid(&self, value: &Value) -> bool {
        self.schemas.validate(value, self.index).is_ok()
    }

    pub fn accepts(&self, value: &Value) {
        if let Err(errors) = self.schemas.validate(value, self.index) {
            panic!("{}: {errors:#} in {value}", self.name);
        }
    }
}

impl Document {
    pub fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/asyncapi.yaml");
        let text = std::fs::read_to_string(path).unwrap();
        Self(serde_saphyr::from_str(&text).unwrap())
    }

    pub fn root(&self) -> &Value {
        &self.0
    }

    /// The addresses of all channels that have one, each with the stream that keeps its messages.
    pub fn channels(&self) -> BTreeMap<String, Option<String>> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let channels = self.0["channels"].as_object().unwrap().values();
        channels
            .filter_map(|channel| Some((text(&channel["address"])?, text(&channel["x-stream"]))))
            .collect()
    }

    /// The examples of all messages, each with the message's name.
    pub fn examples(&self) -> Vec<(String, &Value)> {
        let messages = self.0["components"]["messages"].as_object().unwrap();
        let examples =
            |message: &'_ Value| message["examples"].as_array().map(Vec::len).unwrap_or_default();
        messages
            .iter()
            .flat_map(|(name, message)| {
                (0..examples(message)).map(|n| (name.clone(), &message["examples"][n]))
            })
            .collect()
    }

    pub fn payload(&self, message: &str) -> Schema {
        self.part(&format!("messages/{message}/payload"))
    }

    pub fn headers(&self, message: &str) -> Schema {
        self.part(&format!("messages/{message}/headers"))
    }

    pub fn schema(&self, name: &str) -> Schema {
        self.part(&format!("schemas/{name}"))
    }

    fn part(&self, path: &str) -> Schema {
        assert!(
            self.0["components"].pointer(&format!("/{path}")).is_some(),
            "the document has no {path}"
        );
        let schema = json!({
            "components": self.0["components"],
            "allOf": [{ "$ref": format!("#/components/{path}") }]
        });
        Schema::new(path, schema)
    }

    /// The names of all fields that a message's payload may have, at any depth.
    pub fn fields(&self, message: &str) -> BTreeSet<String> {
        let mut fields = BTreeSet::new();
        self.collect_fields(&self.0["components"]["messages"][message]["payload"], &mut fields);
        fields
    }

    fn collect_fields(&self, schema: &Value, found: &mut BTreeSet<String>) {
        if let Some(reference) = schema["$ref"].as_str() {
            return self.collect_fields(self.0.pointer(&reference[1..]).unwrap(), found);
        }
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            found.insert(name.clone());
            self.collect_fields(inner, found);
        }
        let inner = schema["oneOf"].as_array().into_iter().flatten().chain(schema.get("items"));
        inner.for_each(|inner| self.collect_fields(inner, found));
    }

    pub fn assert_references(&self) {
        fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
            match value {
                Value::Object(fields) => {
                    found.extend(fields.get("$ref").and_then(Value::as_str));
                    fields.values().for_each(|value| references(value, found));
                }
                Value::Array(items) => items.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let mut found = Vec::new();
        references(&self.0, &mut found);
        for reference in found {
            let path =
                reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference} is elsewhere"));
            assert!(self.0.pointer(path).is_some(), "{reference} is nowhere");
        }
    }
}

/// A data item as the document's schemas see it.
pub fn json_of(item: Cbor) -> Value {
    match item {
        Cbor::Null => Value::Null,
        Cbor::Bool(value) => json!(value),
        Cbor::Integer(value) => json!(u64::try_from(value).unwrap()),
        Cbor::Float(value) => json!(value),
        Cbor::Text(value) => json!(value),
        Cbor::Bytes(value) => json!(STANDARD.encode(value)),
        Cbor::Array(items) => items.into_iter().map(json_of).collect(),
        Cbor::Map(fields) => fields
            .into_iter()
            .map(|(key, value)| (key.into_text().unwrap(), json_of(value)))
            .collect(),
        other => panic!("no message has {other:?}"),
    }
}

pub fn cbor_of(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(&item(value), &mut bytes).unwrap();
    bytes
}

fn item(value: &Value) -> Cbor {
    match value {
        Value::Null => Cbor::Null,
        Value::Bool(value) => Cbor::Bool(*value),
        Value::Number(value) => match (value.as_u64(), value.as_i64()) {
            (Some(value), _) => value.into(),
            (None, Some(value)) => value.into(),
            (None, None) => value.as_f64().unwrap().into(),
        },
        Value::String(value) => value.as_str().into(),
        Value::Array(items) => Cbor::Array(items.iter().map(item).collect()),
        Value::Object(fields) => {
            let field = |(key, value): (&String, &Value)| match value {
                Value::String(text) if BYTES.contains(&key.as_str()) => {
                    Cbor::Bytes(STANDARD.decode(text).unwrap())
                }
                other => item(other),
            };
            Cbor::Map(
                fields
                    .iter()
                    .map(|(key, value)| (key.as_str().into(), field((key, value))))
                    .collect(),
            )
        }
    }
}

/// The names of all fields of a value, at any depth.
pub fn fields(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Object(inner) => inner
            .iter()
            .flat_map(|(name, value)| fields(value).into_iter().chain([name.clone()]))
            .collect(),
        Value::Array(items) => items.iter().flat_map(fields).collect(),
        _ => BTreeSet::new(),
    }
}

/// The value with one part left out, or with one part of another kind: each part in turn.
pub fn changed(value: &Value) -> Vec<(String, Value)> {
    parts(value, String::new()).iter().flat_map(|path| changed_at(value, path)).collect()
}

fn parts(value: &Value, path: String) -> Vec<String> {
    let inner: Vec<_> = match value {
        Value::Object(fields) => {
            fields.iter().flat_map(|(key, value)| parts(value, format!("{path}/{key}"))).collect()
        }
        Value::Array(items) => items
            .iter()
            .enumerate()
            .flat_map(|(n, value)| parts(value, format!("{path}/{n}")))
            .collect(),
        _ => vec![],
    };
    inner.into_iter().chain((!path.is_empty()).then_some(path)).collect()
}

fn changed_at(value: &Value, path: &str) -> Vec<(String, Value)> {
    let (parent, key) = path.rsplit_once('/').unwrap();
    let mut others = vec![json!(null), json!(true), json!("text"), json!({})];
    if !BYTES.contains(&key) {
        // Byte strings may be lists of numbers, too.
        others.push(json!([]));
    }
    if value.pointer(path).is_some_and(Value::is_u64) {
        others.extend([json!(-1), json!(1_u64 << 32)]);
    }
    let replaced = others.into_iter().map(|other| {
        let mut changed = value.clone();
        *changed.pointer_mut(path).unwrap() = other;
        (path.to_owned(), changed)
    });
    let mut without = value.clone();
    let removed = without
        .pointer_mut(parent)
        .and_then(Value::as_object_mut)
        .and_then(|fields| fields.remove(key));
    removed.map(|_| (path.to_owned(), without)).into_iter().chain(replaced).collect()
}
