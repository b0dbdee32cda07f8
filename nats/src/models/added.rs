use async_nats::jetstream::object_store::ObjectInfo;
use async_nats::{Message, Subscriber};

use super::{Models, ModelsError, StoredModel};
use crate::messages::ModelId;

impl Models {
    /// What happens to models from now on. What happens while the connection is lost is missing.
    pub async fn changes(&self) -> Result<Subscriber, ModelsError> {
        let changes = self.objects.changes().await;
        changes.map_err(|error| ModelsError::Unavailable(error.to_string()))
    }

    /// The model that one of the [`changes`](Self::changes) adds, if it adds one.
    pub fn added_by(change: &Message) -> Option<ModelId> {
        let info: ObjectInfo = serde_json::from_slice(&change.payload).ok()?;
        let added = (!info.deleted).then(|| StoredModel::of(info))??;
        Some(added.description.model)
    }
}
