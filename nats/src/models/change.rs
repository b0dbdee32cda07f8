use std::collections::{BTreeSet, HashMap, HashSet};
use std::pin::pin;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::check::STAGED;
use super::{Kept, Models, ModelsError, StoredModel, metadata};
use crate::messages::{Fit, ModelDescription, ModelId, Scaling, Size, VERSION, milliseconds_now};
use crate::objects::{CommittedBytes, ObjectWriter};
use crate::{Streams, VideoError, VideoId};

/// Adding a model takes minutes. Clocks of machines may differ by hours.
const ABANDONED_AFTER: Duration = Duration::from_secs(24 * 3600);

/// A model that is being added: what a detector found out about its file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewModel {
    /// Its name, without a version.
    pub name: ModelId,
    /// The size of picture that it works best with.
    pub size: Size,
    /// It also takes sizes whose sides are multiples of this.
    pub multiple_of: Option<u32>,
    /// How a frame is made into a picture of that size.
    pub fit: Fit,
    /// How pixels are scaled.
    pub scaling: Scaling,
    /// How many classes it knows.
    pub classes: u32,
    /// What its file does not say about itself, as TOML; labels included.
    pub manifest: Option<String>,
}

impl Models {
    /// Starts to write the bytes of a model's ONNX file. They get a name with [`add`](Self::add).
    pub fn draft(&self) -> ObjectWriter {
        self.objects.draft()
    }

    /// Makes the bytes the next version of the model's name. Deletes them on an error.
    ///
    /// If the latest version is the same file with the same manifest, it stays the latest, and is
    /// returned.
    pub async fn add(
        &self,
        new: &NewModel,
        onnx: CommittedBytes,
    ) -> Result<ModelDescription, ModelsError> {
        self.add_kept(new, onnx, Kept::UntilRemoved).await
    }

    /// As [`add`](Self::add), until no stored video is analysed by it:
    /// [`remove_unused_of_runs`](Self::remove_unused_of_runs).
    pub async fn add_for_run(
        &self,
        new: &NewModel,
        onnx: CommittedBytes,
    ) -> Result<ModelDescription, ModelsError> {
        self.add_kept(new, onnx, Kept::WhileVideosUseIt).await
    }

    async fn add_kept(
        &self,
        new: &NewModel,
        onnx: CommittedBytes,
        kept: Kept,
    ) -> Result<ModelDescription, ModelsError> {
        let added = self.add_next(new, &onnx, kept).await;
        if !matches!(&added, Ok((_, true))) {
            onnx.discard().await;
        }
        added.map(|(description, _)| description)
    }

    /// The description, and whether the bytes became an object.
    async fn add_next(
        &self,
        new: &NewModel,
        onnx: &CommittedBytes,
        kept: Kept,
    ) -> Result<(ModelDescription, bool), ModelsError> {
        check_new(&new.name)?;
        if let Err(error) = self.purge_abandoned(ABANDONED_AFTER).await {
            warn!(%error, "cannot delete the bytes of models that were not added");
        }
        let digest = hexadecimal(&onnx.digest);
        loop {
            let (stored, removed) = self.stored_and_removed().await?;
            let ids = stored.iter().map(|stored| &stored.description.model).chain(&removed);
            let version = next_version(&new.name, ids);
            let latest = stored.iter().rfind(|s| s.description.model.name() == new.name.name());
            if let Some(latest) = latest.filter(|latest| latest.is(new, &digest)) {
                if (latest.kept, kept) == (Kept::WhileVideosUseIt, Kept::UntilRemoved) {
                    let StoredModel { description, manifest, info, .. } = latest;
                    let metadata = metadata(description, manifest.as_deref(), kept);
                    let changed = self.objects.redescribe(info, metadata).await;
                    changed.map_err(|error| ModelsError::of(&description.model, error))?;
                }
                return Ok((latest.description.clone(), false));
            }
            let description = ModelDescription {
                version: VERSION,
                model: new.name.at(version),
                digest: digest.clone(),
                bytes: onnx.size() as u64,
                size: new.size,
                multiple_of: new.multiple_of,
                fit: new.fit,
                scaling: new.scaling,
                classes: new.classes,
                added_at: Some(milliseconds_now()),
            };
            let name = description.model.to_string();
            let metadata = metadata(&description, new.manifest.as_deref(), kept);
            let described = onnx.describe(&name, metadata, true).await;
            match described.map_err(|error| ModelsError::of(&description.model, error)) {
                Ok(()) => return Ok((description, true)),
                // Another one was added at the same time: it may be the same.
                Err(ModelsError::Exists(_)) if version < ModelId::MAX_VERSION => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Removes a version of a model; without a version, all of its name. Refused while a video that
    /// is not finished needs one of them. Returns what was removed.
    pub async fn remove(
        &self,
        streams: &Streams,
        model: &ModelId,
    ) -> Result<Vec<ModelId>, ModelsError> {
        let removed = self.unused(streams, model).await?;
        let stored = self.stored().await?;
        let is_removed = |id: &ModelId| removed.iter().any(|of| of.description.model == *id);
        let others: HashSet<String> = stored
            .into_iter()
            .filter(|stored| !is_removed(&stored.description.model))
            .map(|stored| stored.info.nuid)
            .collect();
        let mut ids = Vec::new();
        for StoredModel { description, info, .. } in removed {
            let id = description.model;
            // An interrupted renaming left its bytes two names.
            let deleted = match others.contains(&info.nuid) {
                true => self.objects.drop_name(info).await,
                false => self.objects.remove(&id.to_string()).await,
            };
            deleted.map_err(|error| ModelsError::of(&id, error))?;
            streams.delete_detectors(&id).await?;
            ids.push(id);
        }
        self.keep_queues_in_use(streams, &ids).await?;
        Ok(ids)
    }

    /// Removes the models that runs added, except the `current` ones, if no stored video is
    /// analysed by them. Returns what was removed.
    pub async fn remove_unused_of_runs(
        &self,
        streams: &Streams,
        current: &[ModelId],
    ) -> Result<Vec<ModelId>, ModelsError> {
        let of_runs = self.stored().await?.into_iter().filter(|stored| {
            stored.kept == Kept::WhileVideosUseIt && !current.contains(&stored.description.model)
        });
        let of_runs: Vec<_> = of_runs.map(|stored| stored.description.model).collect();
        if of_runs.is_empty() {
            return Ok(vec![]);
        }
        let mut used = BTreeSet::new();
        let mut entries = pin!(streams.videos().entries());
        while let Some(entry) = entries.next().await {
            match entry {
                Ok(stored) => used.extend(stored.entry.started.model.map(|model| model.name)),
                Err(VideoError::Malformed { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let mut removed = Vec::new();
        for model in of_runs.into_iter().filter(|model| !used.contains(model)) {
            match self.remove(streams, &model).await {
                Ok(ids) => removed.extend(ids),
                // Its video has no entry yet.
                Err(ModelsError::InUse { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(removed)
    }

    /// Gives all versions of a model another name. Refused while a video that is not finished needs
    /// one of them. Completes a renaming that was interrupted. Returns the new ids.
    ///
    /// A version whose number a removed model of the new name had gets the next one.
    pub async fn rename(
        &self,
        streams: &Streams,
        model: &ModelId,
        name: &ModelId,
    ) -> Result<Vec<ModelId>, ModelsError> {
        check_new(name)?;
        if model.version().is_some() {
            return Err(ModelsError::Versioned(model.clone()));
        }
        if model.name() == name.name() {
            return Err(ModelsError::Exists(name.clone()));
        }
        let old = self.unused(streams, model).await?;
        let (stored, removed) = self.stored_and_removed().await?;
        let begun: HashMap<String, ModelId> = stored
            .into_iter()
            .filter(|stored| stored.description.model.name() == name.name())
            .map(|stored| (stored.info.nuid, stored.description.model))
            .collect();
        if !begun.is_empty() && !old.iter().any(|old| begun.contains_key(&old.info.nuid)) {
            return Err(ModelsError::Exists(name.clone()));
        }
        let mut free = next_version(name, removed.iter().chain(begun.values()));
        let mut renamed = Vec::new();
        // First all get their new name, so that a renaming that is interrupted is recognised.
        for StoredModel { description, manifest, info, .. } in &old {
            if let Some(id) = begun.get(&info.nuid) {
                renamed.push(id.clone());
                continue;
            }
            let version = description.model.version().unwrap_or(1).max(free);
            free = version + 1;
            let id = name.at(version);
            let description = ModelDescription { model: id.clone(), ..description.clone() };
            // A model that people name stays.
            let metadata = metadata(&description, manifest.as_deref(), Kept::UntilRemoved);
            let done = self.objects.add_name(info, &id.to_string(), metadata).await;
            done.map_err(|error| ModelsError::of(&id, error))?;
            renamed.push(id);
        }
        let mut ids = Vec::new();
        for StoredModel { description, info, .. } in old {
            let dropped = self.objects.drop_name(info).await;
            dropped.map_err(|error| ModelsError::of(&description.model, error))?;
            streams.delete_detectors(&description.model).await?;
            ids.push(description.model);
        }
        self.keep_queues_in_use(streams, &ids).await?;
        Ok(renamed)
    }

    /// A video may have started while its model was removed. Without its queue, its frames would
    /// wait for ever; so they fail, with the reason.
    async fn keep_queues_in_use(
        &self,
        streams: &Streams,
        removed: &[ModelId],
    ) -> Result<(), ModelsError> {
        let unfinished = streams.videos().unfinished().await?;
        let needed: BTreeSet<_> = unfinished.into_values().filter_map(|v| v.model).collect();
        for model in removed.iter().filter(|model| needed.contains(*model)) {
            streams.detectors(model).await?;
        }
        Ok(())
    }

    /// Deletes the bytes of models that were not added, because what added them was killed, if they
    /// are at least this old. Returns how many there were. Adding a model does it too.
    pub async fn purge_abandoned(&self, age: Duration) -> Result<usize, ModelsError> {
        let purged = self.objects.purge_abandoned(age, STAGED).await;
        purged.map_err(|error| ModelsError::Unavailable(error.to_string()))
    }

    /// The models of this id or name, if no unfinished video needs them.
    async fn unused(
        &self,
        streams: &Streams,
        model: &ModelId,
    ) -> Result<Vec<StoredModel>, ModelsError> {
        if ModelDescription::builtin_named(&model.unversioned()).is_some() {
            return Err(ModelsError::BuiltIn(model.clone()));
        }
        // Also the error for an unknown name.
        let latest = self.find_stored(model).await?.description.model;
        let mut stored = self.stored().await?;
        stored.retain(|stored| {
            let id = &stored.description.model;
            id.name() == model.name() && (model.version().is_none() || id == model)
        });
        let ids: BTreeSet<_> = stored.iter().map(|stored| &stored.description.model).collect();
        let needs = |needed: &ModelId| ids.contains(needed) || *needed == latest.unversioned();
        let unfinished = streams.videos().unfinished().await?;
        let videos: Vec<VideoId> = unfinished
            .into_iter()
            .filter(|(_, video)| video.model.as_ref().is_some_and(needs))
            .map(|(id, _)| id)
            .collect();
        if videos.is_empty() { Ok(stored) } else { Err(in_use(model, videos)) }
    }
}

impl StoredModel {
    fn is(&self, new: &NewModel, digest: &str) -> bool {
        let ModelDescription { digest: known, size, multiple_of, fit, scaling, .. } =
            &self.description;
        known == digest
            && self.manifest == new.manifest
            && (*size, *multiple_of) == (new.size, new.multiple_of)
            && (*fit, *scaling) == (new.fit, new.scaling)
    }
}

/// A number that no model of this name had.
fn next_version<'a>(name: &ModelId, ids: impl Iterator<Item = &'a ModelId>) -> u32 {
    let versions = ids.filter(|id| id.name() == name.name()).filter_map(ModelId::version);
    versions.max().map_or(1, |last| last.saturating_add(1))
}

fn in_use(model: &ModelId, videos: Vec<VideoId>) -> ModelsError {
    ModelsError::InUse { model: model.clone(), videos }
}

fn check_new(name: &ModelId) -> Result<(), ModelsError> {
    if name.version().is_some() {
        return Err(ModelsError::Versioned(name.clone()));
    }
    match ModelDescription::builtin_named(name) {
        Some(_) => Err(ModelsError::BuiltIn(name.clone())),
        None => Ok(()),
    }
}

/// From `SHA-256=` and base64url, as objects have it.
fn hexadecimal(digest: &str) -> String {
    let bytes = URL_SAFE.decode(digest.trim_start_matches("SHA-256=")).unwrap_or_default();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
