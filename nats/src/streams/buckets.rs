//! Which buckets and object stores there are, and what everything is called on the server.

use std::time::Duration;

use async_nats::jetstream::stream::StorageType;
use async_nats::jetstream::{kv, object_store};

use super::KEEP_ATTEMPTS;
use super::settings::StreamsSettings;
use crate::subjects::{
    ATTEMPTS_BUCKET, FOLDS_BUCKET, MODELS_BUCKET, REQUESTS_BUCKET, UPLOADS_BUCKET, VIDEOS_BUCKET,
};

impl StreamsSettings {
    /// The buckets in the order in which [`super::Streams`] takes them apart.
    pub(super) fn bucket_configs(&self) -> [kv::Config; 4] {
        [
            (VIDEOS_BUCKET, "State of each video", self.keep),
            (ATTEMPTS_BUCKET, "Which detector has a frame at its last delivery", KEEP_ATTEMPTS),
            (REQUESTS_BUCKET, "What was uploaded with which idempotency key", self.keep),
            (FOLDS_BUCKET, "Tracks of each unfinished video", self.keep),
        ]
        .map(|(name, description, max_age)| kv::Config {
            bucket: name.into(),
            description: description.into(),
            history: 1,
            max_age,
            storage: StorageType::File,
            num_replicas: self.replicas,
            ..kv::Config::default()
        })
    }

    /// The stores of uploads and of models. Models are not deleted at any age.
    pub(super) fn store_configs(&self) -> [(&'static str, object_store::Config); 2] {
        let models = (MODELS_BUCKET, "Models", Duration::ZERO);
        [(UPLOADS_BUCKET, "Uploaded videos", self.keep), models].map(
            |(bucket, description, max_age)| {
                let config = object_store::Config {
                    bucket: bucket.into(),
                    description: Some(description.into()),
                    max_age,
                    storage: StorageType::File,
                    num_replicas: self.replicas,
                    ..object_store::Config::default()
                };
                (bucket, config)
            },
        )
    }
}

/// Everything that is stored, by the names of the streams that hold it.
pub(crate) fn stream_names() -> Vec<String> {
    let settings = StreamsSettings::default();
    let streams = settings.stream_configs().map(|config| config.name);
    let buckets = settings.bucket_configs().map(|config| format!("KV_{}", config.bucket));
    let stores = settings.store_configs().map(|(bucket, _)| format!("OBJ_{bucket}"));
    streams.into_iter().chain(buckets).chain(stores).collect()
}
