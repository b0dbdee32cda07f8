use super::{Models, ModelsError, StoredModel};
use crate::messages::{ModelDescription, ModelId, nearest};
use crate::objects::ObjectError;

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

    /// The names of the classes of all these models. `None` if nothing says what those of one are.
    pub async fn labels(&self, models: &[ModelId]) -> Result<Option<Vec<String>>, ModelsError> {
        let mut all: Vec<String> = Vec::new();
        for model in models {
            let labels = match ModelDescription::builtin_named(model) {
                Some(_) => Some(ModelDescription::builtin_labels()),
                None => self.find_stored(model).await?.labels(),
            };
            let Some(labels) = labels else { return Ok(None) };
            all.extend(labels);
        }
        Ok(Some(all))
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
    let builtin = ModelDescription::builtin().map(|builtin| builtin.model);
    let stored = stored.iter().map(|stored| stored.description.model.clone());
    let known: Vec<_> = builtin.into_iter().chain(stored).collect();
    let name = nearest(model.name(), known.iter().map(ModelId::name));
    let latest = known.iter().filter(|known| Some(known.name()) == name).max();
    let nearest = latest.map(|latest| match latest.name() == model.name() {
        true => latest.clone(),
        false => latest.unversioned(),
    });
    ModelsError::Unknown { model: model.clone(), nearest }
}
