use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_nats::Subscriber;
use async_nats::jetstream::Context;
use async_nats::jetstream::object_store::{
    DeleteErrorKind, InfoErrorKind, ObjectInfo, ObjectStore,
};
use async_nats::jetstream::stream::Stream;
use futures_util::{StreamExt, TryStreamExt};
use percent_encoding::percent_decode_str;
use url::Url;

use super::chunks::{ChunkStore, VIDEO};
use super::error::ObjectError;
use super::reader::ObjectReader;
use super::writer::ObjectWriter;
use crate::direct;
use crate::subjects::UPLOADS_BUCKET;

/// The scheme of an object's URI.
pub const SCHEME: &str = "obj";

/// An object store: of uploads, or of models. Cheap to clone.
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
    pub(crate) async fn open(
        jetstream: Context,
        api: Arc<str>,
        bucket: &'static str,
    ) -> Result<Self, ObjectError> {
        let unavailable =
            |error: &dyn std::fmt::Display| ObjectError::Unavailable(error.to_string());
        let store = jetstream.get_object_store(bucket).await.map_err(|e| unavailable(&e))?;
        let stream =
            jetstream.get_stream(format!("OBJ_{bucket}")).await.map_err(|e| unavailable(&e))?;
        Ok(Self { store, chunks: ChunkStore { jetstream, stream, bucket, api } })
    }

    /// The stream that holds objects and their chunks.
    pub fn stream(&self) -> &Stream {
        &self.chunks.stream
    }

    /// The same store, with writes in flight bounded by another context.
    pub fn through(&self, jetstream: Context) -> Self {
        let chunks = ChunkStore { jetstream, ..self.chunks.clone() };
        Self { store: self.store.clone(), chunks }
    }

    /// Starts to write an object.
    pub fn draft(&self) -> ObjectWriter {
        ObjectWriter::new(self.chunks.clone())
    }

    /// The description of the object that a URI names.
    pub async fn info(&self, uri: &Url) -> Result<ObjectInfo, ObjectError> {
        self.info_named(&object_name(uri)?).await.map_err(|error| error.named(uri.as_str()))
    }

    /// The description of the object of this name.
    pub(crate) async fn info_named(&self, name: &str) -> Result<ObjectInfo, ObjectError> {
        let uri = || name.to_owned();
        let info = self.store.info(name).await.map_err(|error| match error.kind() {
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
        self.read_named(uri.to_string(), info)
    }

    /// As [`read`](Self::read), of an object that errors call `name`.
    pub(crate) fn read_named(&self, name: String, info: ObjectInfo) -> ObjectReader {
        ObjectReader::new(self.chunks.clone(), name, info)
    }

    /// The descriptions of all objects, with the names of those that are deleted.
    pub(crate) async fn list(&self) -> Result<Vec<ObjectInfo>, ObjectError> {
        let ChunkStore { jetstream, stream, bucket, api } = &self.chunks;
        let filter = format!("$O.{bucket}.M.>");
        let messages = direct::messages(jetstream.client(), api, stream, &filter, 1);
        let (mut messages, mut found) = (Box::pin(messages), Vec::new());
        while let Some(message) = messages.next().await {
            let message = message.map_err(|e| ObjectError::Unavailable(e.to_string()))?;
            // Another program may store what is not the description of an object.
            found.extend(serde_json::from_slice::<ObjectInfo>(&message.payload).ok());
        }
        Ok(found)
    }

    /// The descriptions of objects as they change from now on.
    pub(crate) async fn changes(&self) -> Result<Subscriber, ObjectError> {
        let subject = format!("$O.{}.M.>", self.chunks.bucket);
        let changes = self.chunks.jetstream.client().subscribe(subject).await;
        changes.map_err(|error| ObjectError::Unavailable(error.to_string()))
    }

    /// Gives an object a second name, which no object must have had before. Both have the same
    /// chunks.
    pub(crate) async fn add_name(
        &self,
        info: &ObjectInfo,
        name: &str,
        metadata: HashMap<String, String>,
    ) -> Result<(), ObjectError> {
        let second = ObjectInfo { name: name.to_owned(), metadata, ..info.clone() };
        self.chunks.describe(&second, true).await.map_err(|error| error.named(name))
    }

    /// Replaces what is said about an object.
    pub(crate) async fn redescribe(
        &self,
        info: &ObjectInfo,
        metadata: HashMap<String, String>,
    ) -> Result<(), ObjectError> {
        let changed = ObjectInfo { metadata, ..info.clone() };
        self.chunks.describe(&changed, false).await
    }

    /// Deletes one of an object's names; the chunks stay, for the other.
    pub(crate) async fn drop_name(&self, info: ObjectInfo) -> Result<(), ObjectError> {
        let deleted = ObjectInfo { deleted: true, size: 0, chunks: 0, digest: None, ..info };
        self.chunks.describe(&deleted, false).await
    }

    /// Deletes the chunks of programs that were killed: those that are at least this old, and that
    /// no object has, or only one whose name starts with `staged`. Returns how many objects they
    /// were to become.
    pub(crate) async fn purge_abandoned(
        &self,
        age: Duration,
        staged: &str,
    ) -> Result<usize, ObjectError> {
        let unavailable =
            |error: &dyn std::fmt::Display| ObjectError::Unavailable(error.to_string());
        let stream = &self.chunks.stream;
        let written = stream.info_with_subjects(self.chunks.chunk_subject("*")).await;
        let written = written.map_err(|e| unavailable(&e))?.try_collect::<Vec<_>>().await;
        let written = written.map_err(|e| unavailable(&e))?;
        // Listed after the chunks: what becomes an object meanwhile is in it.
        let objects = self.list().await?;
        let subject = |info: &ObjectInfo| self.chunks.chunk_subject(&info.nuid);
        let (staged, kept): (Vec<_>, Vec<_>) = objects
            .into_iter()
            .filter(|info| !info.deleted)
            .partition(|info| info.name.starts_with(staged));
        let kept: HashSet<_> = kept.iter().map(subject).collect();
        let mut purged = 0;
        for (chunks, _) in written.into_iter().filter(|(chunks, _)| !kept.contains(chunks)) {
            let Ok(last) = stream.direct_get_last_for_subject(&chunks).await else { continue };
            let passed = SystemTime::now().duration_since(last.time.into());
            if passed.is_ok_and(|passed| passed >= age) {
                for info in staged.iter().filter(|info| subject(info) == chunks) {
                    self.forget_name(&info.name).await?;
                }
                stream.purge().filter(&chunks).await.map_err(|e| unavailable(&e))?;
                purged += 1;
            }
        }
        Ok(purged)
    }

    /// Forgets a name that no object will have again; the chunks stay.
    pub(crate) async fn forget_name(&self, name: &str) -> Result<(), ObjectError> {
        let subject = self.chunks.info_subject(name);
        let purged = self.chunks.stream.purge().filter(subject).await;
        purged.map(drop).map_err(|error| ObjectError::Unavailable(error.to_string()))
    }

    /// Deletes the object that `uri` names if it was stored for this video, without leaving a mark:
    /// the video's id is its name, and is not used again. Other objects stay.
    pub async fn remove_of(&self, uri: &Url, video: &str) -> Result<(), ObjectError> {
        let info = match self.info(uri).await {
            Ok(info) => info,
            Err(ObjectError::Unavailable(reason)) => return Err(ObjectError::Unavailable(reason)),
            Err(_) => return Ok(()),
        };
        if info.metadata.get(VIDEO).is_none_or(|kept_for| kept_for != video) {
            return Ok(());
        }
        // Bytes without a name would not be found again.
        let chunks = self.chunks.chunk_subject(&info.nuid);
        let purged = self.chunks.stream.purge().filter(chunks).await;
        purged.map_err(|error| ObjectError::Unavailable(error.to_string()))?;
        self.forget_name(&info.name).await
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
