//! Which model analyses a video, and what others have to know about it.

mod builtin;
mod description;
mod id;

pub use builtin::{BUILTIN_MODELS, DEFAULT_MODEL};
pub use description::{ModelDescription, UsedModel};
pub use id::{InvalidModelId, ModelId};
