//! The models that this detector has loaded: which ones, and when they make space for others.
//!
//! A model is loaded when frames wait for it (`survey`), if the settings name it and the memory
//! allows it (`memory`). Before that, it is run once in a process of its own (`trials`). One that
//! other frames need the memory of is unloaded: an idle one first, else the one that had its turn.
//! It is pulled for no more, finishes what it has in flight, and only then is its memory used
//! again. `load` fetches a model and warms it up beside all this.

mod load;
mod memory;
mod survey;
mod trials;

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::{Consumer, pull};
use moliceiro_nats::messages::{ModelDescription, ModelId};
use moliceiro_nats::{DetectorsConsumer, Streams};
use moliceiro_service::release_memory;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tracing::warn;

use load::Loaded;
pub(crate) use load::{LoadError, Loader};
pub(crate) use memory::{estimate, limit};
use survey::SOON_FOR;
pub(crate) use survey::Survey;
use trials::Trials;

use crate::inference::Sessions;
use crate::metrics::Metrics;
use crate::settings::DetectorSettings;

/// How long a model is served before another one may take its memory while it still has frames.
const TURN: Duration = Duration::from_secs(5);
/// Before a model that could not be fetched, or that could not be loaded, is tried again.
const RETRY: Duration = Duration::from_secs(5);
const UNUSABLE_FOR: Duration = Duration::from_secs(60);

/// A model that this detector pulls frames for.
pub(crate) struct Served {
    pub model: ModelId,
    pub consumer: Consumer<pull::Config>,
    /// The consumer's own limits, which may not be those of this service's settings.
    pub ack_wait: Duration,
    pub max_deliver: u64,
    /// Or why no frame can be analysed with it: all fail for this reason.
    pub sessions: Result<Arc<Sessions>, String>,
}

impl Served {
    fn new(
        model: ModelId,
        consumer: Consumer<pull::Config>,
        sessions: Result<Arc<Sessions>, String>,
    ) -> Self {
        let config = &consumer.cached_info().config;
        Self {
            ack_wait: config.ack_wait,
            // -1 stands for "unlimited".
            max_deliver: u64::try_from(config.max_deliver).unwrap_or(u64::MAX),
            model,
            consumer,
            sessions,
        }
    }
}

struct Place {
    served: Arc<Served>,
    bytes: u64,
    loaded_at: Instant,
    used_at: Instant,
}

/// A model that is being loaded.
struct Loading {
    model: ModelId,
    bytes: u64,
    task: JoinHandle<Result<Loaded, LoadError>>,
}

/// The models in use, and the one that is being loaded.
pub(crate) struct Serving {
    streams: Arc<Streams>,
    loader: Arc<Loader>,
    allowed: Vec<String>,
    limit: u64,
    metrics: Arc<Metrics>,
    places: Vec<Place>,
    /// What is unloaded, and still has frames in flight.
    leaving: Vec<Weak<Sessions>>,
    loading: Option<Loading>,
    trials: Trials,
    /// Until then, frames of a model that was added are expected.
    expecting_until: Option<Instant>,
    /// Notified when something was loaded: it may be used at once.
    wake: Arc<Notify>,
    /// When a model may be tried again.
    retry_at: HashMap<ModelId, Instant>,
    /// When a model was last served, so that all get their turn.
    served_at: HashMap<ModelId, Instant>,
    next: usize,
}

impl Serving {
    pub(crate) fn new(
        streams: Arc<Streams>,
        loader: Arc<Loader>,
        settings: &DetectorSettings,
        metrics: Arc<Metrics>,
        wake: Arc<Notify>,
    ) -> Self {
        let trials = Trials::new(Arc::clone(&streams), Arc::clone(&loader), Arc::clone(&wake));
        Self {
            streams,
            loader,
            allowed: settings.models.clone(),
            limit: limit(settings),
            metrics,
            places: vec![],
            leaving: vec![],
            loading: None,
            trials,
            expecting_until: None,
            wake,
            retry_at: HashMap::new(),
            served_at: HashMap::new(),
            next: 0,
        }
    }

    /// Serves a model that is loaded already.
    pub(crate) fn add(
        &mut self,
        model: ModelId,
        consumer: Consumer<pull::Config>,
        sessions: Arc<Sessions>,
    ) {
        let bytes = ModelDescription::builtin_named(&model).map_or(0, |known| known.bytes);
        let bytes = estimate(bytes, self.loader.sessions());
        self.place(Served::new(model, consumer, Ok(sessions)), bytes);
    }

    fn place(&mut self, served: Served, bytes: u64) {
        if served.sessions.is_ok() {
            self.metrics.model_loaded(&served.model, self.loader.runtime());
        }
        let now = Instant::now();
        self.places.push(Place { served: Arc::new(served), bytes, loaded_at: now, used_at: now });
    }

    /// How many models are served now.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// The model whose turn it is to be pulled for.
    pub(crate) fn next(&mut self) -> Option<Arc<Served>> {
        self.next = (self.next + 1) % self.places.len().max(1);
        self.places.get(self.next).map(|place| Arc::clone(&place.served))
    }

    /// Frames of this model were pulled.
    pub(crate) fn used(&mut self, model: &ModelId) {
        if let Some(place) = self.places.iter_mut().find(|place| place.served.model == *model) {
            place.used_at = Instant::now();
        }
    }

    /// True while models are loaded, or soon will be: then this is to be adjusted often.
    pub(crate) fn is_changing(&self) -> bool {
        let is_expecting = self.expecting_until.is_some_and(|until| Instant::now() < until);
        is_expecting || self.loading.is_some() || !self.trials.is_idle()
    }

    /// Tries a model that was added before its first frames are there.
    pub(crate) async fn expect(&mut self, model: ModelId) {
        if !self.is_allowed(&model) || self.is_placed(&model) || self.retry_at.contains_key(&model)
        {
            return;
        }
        self.expecting_until = Some(Instant::now() + SOON_FOR);
        self.start_trial(&model).await;
    }

    /// If it needs one, and if it could be loaded afterwards.
    async fn start_trial(&mut self, model: &ModelId) {
        if self.trials.may_start(model) && self.bytes_needed(model).await.is_some() {
            self.trials.start(model.clone());
        }
    }

    fn is_placed(&self, model: &ModelId) -> bool {
        self.places.iter().any(|place| place.served.model == *model)
    }

    /// Adjusts what is loaded to the frames that wait. Waits for the server only, not for a model.
    pub(crate) async fn adjust(&mut self, consumers: &[DetectorsConsumer]) {
        self.finish_loading().await;
        self.finish_trials(consumers).await;
        self.drop_removed(consumers).await;
        let leaving = self.leaving.len();
        self.leaving.retain(|sessions| sessions.strong_count() > 0);
        if self.leaving.len() < leaving {
            // It may take some milliseconds, and nothing waits for it.
            tokio::task::spawn_blocking(release_memory);
        }
        let now = Instant::now();
        self.retry_at.retain(|_, at| *at > now);
        let mut waiting: Vec<_> = consumers
            .iter()
            .filter(|of| of.has_waiting_frames())
            .map(|of| &of.model)
            .filter(|model| self.is_allowed(model) && !self.retry_at.contains_key(*model))
            .filter(|model| !self.is_placed(model))
            .cloned()
            .collect();
        // Those that were never served come first, then the one that waits longest.
        waiting.sort_by_key(|model| self.served_at.get(model).copied());
        for model in &waiting {
            self.start_trial(model).await;
        }
        if self.loading.is_some() {
            return;
        }
        match waiting.into_iter().find(|model| self.trials.is_usable(model)) {
            Some(model) => self.load(model, consumers).await,
            None => self.load_ahead(consumers).await,
        }
    }

    /// Loads a model that the settings name with its version before frames wait for it, if it has
    /// a queue and no other model has to make space.
    async fn load_ahead(&mut self, consumers: &[DetectorsConsumer]) {
        let named = consumers.iter().map(|of| &of.model).find(|model| {
            model.version().is_some()
                && self.allowed.contains(&model.to_string())
                && !self.retry_at.contains_key(*model)
                && !self.is_placed(model)
                && (self.trials.is_usable(model) || self.trials.may_start(model))
        });
        let Some(model) = named.cloned() else { return };
        if let Some(bytes) = self.bytes_needed(&model).await
            && self.bytes_used() + bytes <= self.limit
        {
            if self.trials.is_usable(&model) {
                self.start_loading(model, bytes);
            } else {
                self.trials.start(model);
            }
        }
    }

    fn is_allowed(&self, model: &ModelId) -> bool {
        let names = [model.to_string(), model.unversioned().to_string(), "*".to_owned()];
        self.allowed.iter().any(|allowed| names.contains(allowed))
    }

    /// Models that were removed have no consumer any more, and are unloaded.
    async fn drop_removed(&mut self, consumers: &[DetectorsConsumer]) {
        let now = Instant::now();
        for place in std::mem::take(&mut self.places) {
            let Served { model, sessions, .. } = &*place.served;
            let age = now.duration_since(place.loaded_at);
            let may_be_usable = sessions.is_err() && age > UNUSABLE_FOR;
            let exists = consumers.iter().any(|of| of.model == *model);
            // It may have been created after the survey.
            let is_new = age < RETRY;
            if !may_be_usable && (exists || self.restore_consumer(model).await || is_new) {
                self.places.push(place);
            } else {
                self.unload(place);
            }
        }
    }

    /// Creates the consumer again if it was deleted while its model stays: its frames still wait in
    /// the stream. A model is removed before its consumer is deleted. Returns false if it was.
    async fn restore_consumer(&self, model: &ModelId) -> bool {
        match self.streams.models.find(model).await {
            Ok(_) => {}
            Err(error) => return error.is_transient(),
        }
        match self.streams.detectors(model).await {
            Ok(_) => {}
            Err(error) => warn!(%model, %error, "cannot create the model's consumer again"),
        }
        true
    }

    fn unload(&mut self, place: Place) {
        let Served { model, sessions, .. } = &*place.served;
        self.served_at.insert(model.clone(), Instant::now());
        if let Ok(sessions) = sessions {
            self.metrics.model_unloaded(model, self.loader.runtime());
            self.leaving.push(Arc::downgrade(sessions));
        }
    }

    async fn load(&mut self, model: ModelId, consumers: &[DetectorsConsumer]) {
        if let Some(bytes) = self.bytes_needed(&model).await
            && self.make_space(bytes, consumers)
        {
            self.start_loading(model, bytes);
        }
    }

    /// Memory that the model is estimated to take; `None` if it cannot be loaded now.
    async fn bytes_needed(&mut self, model: &ModelId) -> Option<u64> {
        let file_bytes = match self.streams.models.find(model).await {
            Ok(description) => description.bytes,
            Err(error) if error.is_transient() => {
                self.retry(model, &error, RETRY);
                return None;
            }
            // Loading reports why.
            Err(_) => 0,
        };
        let bytes = estimate(file_bytes, self.loader.sessions());
        if bytes > self.limit {
            let error = LoadError::Memory { needed: bytes, limit: self.limit };
            self.retry(model, &error, UNUSABLE_FOR);
            return None;
        }
        Some(bytes)
    }

    fn bytes_used(&self) -> u64 {
        self.places.iter().map(|place| place.bytes).sum()
    }

    fn start_loading(&mut self, model: ModelId, bytes: u64) {
        let (streams, loader) = (Arc::clone(&self.streams), Arc::clone(&self.loader));
        let (id, leaving) = (model.clone(), std::mem::take(&mut self.leaving));
        let wake = Arc::clone(&self.wake);
        let task = tokio::spawn(async move {
            let loaded = loader.load(&streams, id, leaving).await;
            wake.notify_one();
            loaded
        });
        self.loading = Some(Loading { model, bytes, task });
    }

    /// Unloads what has to make space for so many bytes; false if nothing may be unloaded yet.
    fn make_space(&mut self, bytes: u64, consumers: &[DetectorsConsumer]) -> bool {
        let now = Instant::now();
        let has_frames = |place: &Place| {
            let of = consumers.iter().find(|of| of.model == place.served.model);
            of.is_some_and(|of| of.info.num_pending > 0 || of.info.num_ack_pending > 0)
        };
        let mut excess = (self.bytes_used() + bytes).saturating_sub(self.limit);
        let mut order: Vec<usize> = (0..self.places.len())
            .filter(|at| {
                let place = &self.places[*at];
                !has_frames(place) || now.duration_since(place.loaded_at) >= TURN
            })
            .collect();
        order.sort_by_key(|at| (has_frames(&self.places[*at]), self.places[*at].used_at));
        let mut leave = Vec::new();
        for at in order {
            if excess == 0 {
                break;
            }
            excess = excess.saturating_sub(self.places[at].bytes);
            leave.push(at);
        }
        if excess > 0 {
            return false;
        }
        leave.sort_unstable();
        for at in leave.into_iter().rev() {
            let place = self.places.remove(at);
            self.unload(place);
        }
        true
    }

    async fn finish_loading(&mut self) {
        let Some(Loading { model, bytes, task }) = self.loading.take_if(|l| l.task.is_finished())
        else {
            return;
        };
        match task.await {
            Ok(Ok(Loaded { consumer, sessions })) => {
                self.place(Served::new(model, consumer, Ok(sessions)), bytes);
            }
            Ok(Err(LoadError::Unusable { consumer, reason })) => {
                self.place_unusable(model, *consumer, reason);
            }
            Ok(Err(error)) => self.retry(&model, &error, RETRY),
            Err(panic) => self.retry(&model, &panic, UNUSABLE_FOR),
        }
    }

    async fn finish_trials(&mut self, consumers: &[DetectorsConsumer]) {
        for (model, tried) in self.trials.ended().await {
            match tried {
                Ok(Ok(())) => {}
                // No frame needs it: it is tried again when one does.
                _ if !consumers.iter().any(|of| of.model == model) => {}
                Ok(Err(reason)) => match self.streams.detectors(&model).await {
                    Ok(consumer) => self.place_unusable(model, consumer, reason),
                    Err(error) => self.retry(&model, &error, RETRY),
                },
                Err(error) => self.retry(&model, &error, RETRY),
            }
        }
    }

    /// Its frames are pulled, and fail for this reason.
    fn place_unusable(&mut self, model: ModelId, consumer: Consumer<pull::Config>, reason: String) {
        self.metrics.model_unusable(&model, &reason);
        self.place(Served::new(model, consumer, Err(reason)), 0);
    }

    fn retry(&mut self, model: &ModelId, error: &dyn std::fmt::Display, pause: Duration) {
        self.metrics.model_not_loaded(model, error);
        self.retry_at.insert(model.clone(), Instant::now() + pause);
    }
}
