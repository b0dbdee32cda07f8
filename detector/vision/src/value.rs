use thiserror::Error;

/// A value of a manifest or of [`Options`](crate::Options) that is out of bounds.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{key} must be {rule}")]
pub struct InvalidValue {
    /// The key in the manifest, such as `input.size`, or the name of the option.
    pub key: &'static str,
    /// What is allowed, and where it helps, what was given.
    pub rule: String,
}

impl InvalidValue {
    pub(crate) fn new(key: &'static str, rule: impl Into<String>) -> Self {
        Self { key, rule: rule.into() }
    }
}

/// Fails unless the value is from 0 to 1.
pub(crate) fn check_share(key: &'static str, value: f32) -> Result<(), InvalidValue> {
    if (0.0..=1.0).contains(&value) {
        Ok(())
    } else {
        Err(InvalidValue::new(key, format!("from 0 to 1, and is {value}")))
    }
}
