use super::{Models, ModelsError, StoredModel};
use crate::messages::{ModelDescription, ModelId};
use crate::objects::ObjectError;

/// Names that are less alike are not suggested.
const SIMILAR: f64 = 0.7;

impl Models {
    /// All models: the built-in ones, then those of the store by name and version.
    pub async fn list(&self) -> Result<Vec<ModelDescription>, ModelsError> {
        let stored = self.stored().await?;
        let stored = stored.into_iter().map(|model| model.description);
        Ok(ModelDescription::builtin().into_iter().chain(stored).collect())
    }

    /// The model of this id. Without a version, the latest of its name.
    pub async fn find(&self, model: &ModelId) -> Result<ModelDescription, ModelsError> {
        match ModelDescription::builtin_named(model) {
            Some(builtin) => Ok(builtin),
            None => Ok(self.find_stored(model).await?.description),
        }
    }

    /// As [`find`](Self::find), of a model in the store.
    pub async fn find_stored(&self, model: &ModelId) -> Result<StoredModel, ModelsError> {
        if model.version().is_some() {
            match self.objects.info_named(&model.to_string()).await {
                Ok(info) => {
                    if let Some(stored) = StoredModel::of(info) {
                        return Ok(stored);
                    }
                }
                Err(error @ ObjectError::Unavailable(_)) => {
                    return Err(ModelsError::of(model, error));
                }
                Err(_) => {}
            }
        }
        let mut stored = self.stored().await?;
        let latest = stored
            .iter()
            .rposition(|stored| stored.description.model.name() == model.name())
            .filter(|_| model.version().is_none());
        match latest {
            Some(at) => Ok(stored.swap_remove(at)),
            None => Err(unknown(model, &stored)),
        }
    }

    /// The models of the store, by name and version.
    pub(super) async fn stored(&self) -> Result<Vec<StoredModel>, ModelsError> {
        Ok(self.stored_and_removed().await?.0)
    }

    /// As [`stored`](Self::stored), and the ids that removed models had.
    pub(super) async fn stored_and_removed(
        &self,
    ) -> Result<(Vec<StoredModel>, Vec<ModelId>), ModelsError> {
        let found = self.objects.list().await;
        let found = found.map_err(|error| ModelsError::Unavailable(error.to_string()))?;
        let (removed, found): (Vec<_>, Vec<_>) = found.into_iter().partition(|info| info.deleted);
        let mut stored: Vec<_> = found.into_iter().filter_map(StoredModel::of).collect();
        stored.sort_by(|a, b| a.description.model.cmp(&b.description.model));
        let removed = removed.into_iter().filter_map(|info| info.name.parse().ok()).collect();
        Ok((stored, removed))
    }
}

/// With the nearest name that exists; of the same name, its latest version.
fn unknown(model: &ModelId, stored: &[StoredModel]) -> ModelsError {
    let known = ModelDescription::builtin().map(|builtin| builtin.model);
    let known: Vec<_> =
        known.into_iter().chain(stored.iter().map(|s| s.description.model.clone())).collect();
    let likeness = |other: &ModelId| strsim::jaro_winkler(model.name(), other.name());
    let nearest = known
        .iter()
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)).then(a.cmp(b)))
        .filter(|nearest| likeness(nearest) >= SIMILAR);
    let nearest = nearest.map(|nearest| {
        if nearest.name() == model.name() { nearest.clone() } else { nearest.unversioned() }
    });
    ModelsError::Unknown { model: model.clone(), nearest }
}
