//! The bytes of uploads in the object store, laid out as in [ADR-20]: written and read in chunks.
//!
//! The client library's own object store does not name what a failed write leaves behind, and reads
//! ahead of a slow reader without bound. So chunks are written and read here; the library does the
//! rest of the protocol.
//!
//! [ADR-20]: https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-20.md

mod chunks;
mod error;
mod reader;
mod store;
mod writer;

pub use error::ObjectError;
pub use reader::ObjectReader;
pub use store::{Objects, SCHEME, object_name};
pub use writer::{CommittedBytes, ObjectWriter};
