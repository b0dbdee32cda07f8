use std::time::Duration;

use moliceiro_nats::Streams;
use tracing::debug;

use crate::metrics::Metrics;

pub(super) async fn watch(streams: &Streams, interval: Duration, metrics: &Metrics) -> ! {
    let mut consumers =
        [&streams.ingest, &streams.aggregator, &streams.exhausted].map(Clone::clone);
    let mut ticks = tokio::time::interval(interval);
    loop {
        ticks.tick().await;
        for stream in streams.streams() {
            match stream.get_info().await {
                Ok(info) => metrics.stream(&info),
                Err(error) => debug!(%error, "cannot read how full a stream is"),
            }
        }
        for consumer in &mut consumers {
            match consumer.info().await {
                Ok(info) => metrics.consumer(info),
                Err(error) => debug!(%error, "cannot read how far a consumer is"),
            }
        }
        match streams.all_detectors().await {
            Ok(detectors) => metrics.detectors(&detectors),
            Err(error) => debug!(%error, "cannot read how far the consumers of frames are"),
        }
    }
}
