//! Models of the store that are tried in processes of their own, before this one loads them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use moliceiro_nats::Streams;
use moliceiro_nats::messages::ModelId;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::load::{LoadError, Loader};
use crate::engine::builtin;

/// Trials at the same time: a model that never ends must not hold up the others.
const MOST: usize = 4;

/// What came of a trial: why the model cannot be used, if it cannot.
pub(super) type Tried = Result<Result<(), String>, LoadError>;

pub(super) struct Trials {
    streams: Arc<Streams>,
    loader: Arc<Loader>,
    /// Notified when a trial has ended.
    wake: Arc<Notify>,
    running: HashMap<ModelId, JoinHandle<Tried>>,
    /// Versions of models are never replaced.
    usable: HashSet<ModelId>,
}

impl Trials {
    pub fn new(streams: Arc<Streams>, loader: Arc<Loader>, wake: Arc<Notify>) -> Self {
        Self { streams, loader, wake, running: HashMap::new(), usable: HashSet::new() }
    }

    /// True of what is built in, and of what passed its trial.
    pub fn is_usable(&self, model: &ModelId) -> bool {
        builtin(model).is_some() || self.usable.contains(model)
    }

    pub fn may_start(&self, model: &ModelId) -> bool {
        !self.is_usable(model) && self.running.len() < MOST && !self.running.contains_key(model)
    }

    pub fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    pub fn start(&mut self, model: ModelId) {
        let (streams, loader) = (Arc::clone(&self.streams), Arc::clone(&self.loader));
        let (id, wake) = (model.clone(), Arc::clone(&self.wake));
        let task = tokio::spawn(async move {
            let tried = loader.try_stored(&streams, id).await;
            wake.notify_one();
            tried
        });
        self.running.insert(model, task);
    }

    /// What came of those that have ended since the last call.
    pub async fn ended(&mut self) -> Vec<(ModelId, Tried)> {
        let ended = self.running.iter().filter(|(_, task)| task.is_finished());
        let ended: Vec<_> = ended.map(|(model, _)| model.clone()).collect();
        let mut tried = Vec::with_capacity(ended.len());
        for model in ended {
            let Some(task) = self.running.remove(&model) else { continue };
            let result = task.await.unwrap_or(Err(LoadError::Panicked));
            if matches!(result, Ok(Ok(()))) {
                self.usable.insert(model.clone());
            }
            tried.push((model, result));
        }
        tried
    }
}

impl Drop for Trials {
    fn drop(&mut self) {
        for task in self.running.values() {
            task.abort();
        }
    }
}
