//! What this detector did for each model, and the report of it: so others know how fast one is.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use moliceiro_nats::messages::{DetectorRates, ModelId, ModelRate, VERSION, to_json};
use moliceiro_nats::{Streams, subjects, work};
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// Frames and seconds of work for each model that is served.
#[derive(Debug, Default)]
pub(crate) struct Rates(Mutex<BTreeMap<ModelId, (u64, Duration)>>);

impl Rates {
    pub(crate) fn serve(&self, model: &ModelId) {
        self.change(|models| {
            models.entry(model.clone()).or_default();
        });
    }

    pub(crate) fn unload(&self, model: &ModelId) {
        self.change(|models| {
            models.remove(model);
        });
    }

    pub(crate) fn analysed(&self, model: &ModelId, took: Duration) {
        self.change(|models| {
            if let Some((frames, seconds)) = models.get_mut(model) {
                *frames += 1;
                *seconds += took;
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<ModelId, (u64, Duration)>)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn report(&self, detector: &str, sessions: usize, is_stopping: bool) -> DetectorRates {
        let models = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let models = models.iter().map(|(model, (frames, took))| ModelRate {
            model: model.clone(),
            frames: *frames,
            seconds: took.as_secs_f64(),
        });
        DetectorRates {
            version: VERSION,
            detector: detector.to_owned(),
            sessions: sessions as u64,
            models: models.collect(),
            is_stopping,
        }
    }

    /// Reports until `shutdown`, and that it stops.
    pub(crate) async fn publish(
        &self,
        streams: &Streams,
        detector: &str,
        sessions: usize,
        shutdown: &CancellationToken,
    ) {
        let client = streams.jetstream.client();
        loop {
            let is_stopping = shutdown.is_cancelled();
            let report = to_json(&self.report(detector, sessions, is_stopping));
            // The next one follows soon.
            if let Err(error) = client.publish(subjects::RATES_SUBJECT, report.into()).await {
                debug!(%error, "cannot report what this detector does");
            }
            if is_stopping {
                return;
            }
            shutdown.run_until_cancelled(tokio::time::sleep(work::INTERVAL)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_the_models_that_are_served_and_what_was_done_for_them() {
        let rates = Rates::default();
        let [boats, cars]: [ModelId; 2] = ["boats", "cars"].map(|name| name.parse().unwrap());
        rates.serve(&boats);
        rates.serve(&cars);
        rates.unload(&cars);
        for model in [&boats, &boats, &cars] {
            rates.analysed(model, Duration::from_millis(250));
        }
        let report = rates.report("den", 2, false);
        assert_eq!(report.models, [ModelRate { model: boats, frames: 2, seconds: 0.5 }]);
        assert_eq!((report.sessions, report.is_stopping), (2, false));
    }
}
