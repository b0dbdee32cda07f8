use async_nats::jetstream::Context;
use async_nats::jetstream::object_store::{
    DeleteErrorKind, InfoErrorKind, ObjectInfo, ObjectStore,
};
use async_nats::jetstream::stream::Stream;
use percent_encoding::percent_decode_str;
use url::Url;

use super::chunks::{ChunkStore, VIDEO};
use super::error::ObjectError;
use super::reader::ObjectReader;
use super::writer::ObjectWriter;
use crate::subjects::UPLOADS_BUCKET;

/// The scheme of an object's URI.
pub const SCHEME: &str = "obj";

/// The object store of uploads. Cheap to clone.
#[derive(Clone)]
pub struct Objects {
    store: ObjectStore,
    chunks: ChunkStore,
}

/// The name of the object that a URI such as `obj://uploads/a.mp4` names.
pub fn object_name(uri: &Url) -> Result<String, ObjectError> {
    let no_object = || ObjectError::NoObjectUri { uri: uri.to_string() };
    if uri.scheme() != SCHEME || uri.host_str() != Some(UPLOADS_BUCKET) {
        return Err(no_object());
    }
    let name = percent_decode_str(uri.path().trim_start_matches('/'))
        .decode_utf8()
        .map_err(|_| no_object())?;
    if name.is_empty() { Err(no_object()) } else { Ok(name.into_owned()) }
}

impl Objects {
    /// Opens the store, which must exist.
    pub(crate) async fn open(jetstream: Context) -> Result<Self, ObjectError> {
        let unavailable =
            |error: &dyn std::fmt::Display| ObjectError::Unavailable(error.to_string());
        let store =
            jetstream.get_object_store(UPLOADS_BUCKET).await.map_err(|e| unavailable(&e))?;
        let stream = jetstream
            .get_stream(format!("OBJ_{UPLOADS_BUCKET}"))
            .await
            .map_err(|e| unavailable(&e))?;
        Ok(Self { store, chunks: ChunkStore { jetstream, stream } })
    }

    /// The stream that holds objects and their chunks.
    pub fn stream(&self) -> &Stream {
        &self.chunks.stream
    }

    /// The same store, with writes in flight bounded by another context.
    pub fn through(&self, jetstream: Context) -> Self {
        let chunks = ChunkStore { jetstream, stream: self.chunks.stream.clone() };
        Self { store: self.store.clone(), chunks }
    }

    /// Starts to write an object.
    pub fn draft(&self) -> ObjectWriter {
        ObjectWriter::new(self.chunks.clone())
    }

    /// The description of the object that a URI names.
    pub async fn info(&self, uri: &Url) -> Result<ObjectInfo, ObjectError> {
        let name = object_name(uri)?;
        let uri = || uri.to_string();
        let info = self.store.info(&name).await.map_err(|error| match error.kind() {
            InfoErrorKind::NotFound | InfoErrorKind::InvalidName => {
                ObjectError::Missing { uri: uri() }
            }
            _ => ObjectError::Unavailable(error.to_string()),
        })?;
        match &info {
            info if info.deleted => Err(ObjectError::Missing { uri: uri() }),
            info if info.options.as_ref().is_some_and(|options| options.link.is_some()) => {
                Err(ObjectError::Link { uri: uri() })
            }
            _ => Ok(info),
        }
    }

    /// Starts to read the object that [`info`](Self::info) describes.
    pub fn read(&self, uri: &Url, info: ObjectInfo) -> ObjectReader {
        ObjectReader::new(self.chunks.stream.clone(), uri, info)
    }

    /// Deletes the object that `uri` names if it was stored for this video. Other objects stay.
    pub async fn remove_of(&self, uri: &Url, video: &str) -> Result<(), ObjectError> {
        let info = match self.info(uri).await {
            Ok(info) => info,
            Err(ObjectError::Unavailable(reason)) => return Err(ObjectError::Unavailable(reason)),
            Err(_) => return Ok(()),
        };
        if info.metadata.get(VIDEO).is_none_or(|kept_for| kept_for != video) {
            return Ok(());
        }
        self.remove(&info.name).await
    }

    /// Deletes an object, if it exists.
    pub async fn remove(&self, name: &str) -> Result<(), ObjectError> {
        match self.store.delete(name).await {
            Err(error) if error.kind() != DeleteErrorKind::NotFound => {
                Err(ObjectError::Unavailable(error.to_string()))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_names_an_object_of_the_uploads_only() {
        let name = |uri: &str| object_name(&Url::parse(uri).unwrap()).ok();
        assert_eq!(name("obj://uploads/a.mp4").as_deref(), Some("a.mp4"));
        assert_eq!(name("obj://uploads/harbour/a%20b.mp4").as_deref(), Some("harbour/a b.mp4"));
        for uri in [
            "obj://others/a.mp4",
            "obj://uploads/",
            "obj://uploads",
            "obj:a.mp4",
            "file:///a.mp4",
            "obj://uploads/%ff",
        ] {
            assert_eq!(name(uri), None, "{uri}");
        }
    }
}
