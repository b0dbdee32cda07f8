use std::time::SystemTime;

use async_nats::jetstream::consumer::{Consumer, pull};
use async_nats::jetstream::stream::Stream;
use moliceiro_nats::Streams;
use tracing::debug;

use super::INTERVAL;
use crate::metrics::METRICS;

pub(super) async fn watch(streams: &Streams) -> ! {
    let mut consumers =
        [&streams.ingest, &streams.detectors, &streams.aggregator, &streams.exhausted]
            .map(Clone::clone);
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        ticks.tick().await;
        for stream in streams.streams() {
            show_stream(stream).await;
        }
        for consumer in &mut consumers {
            show_consumer(consumer).await;
        }
    }
}

async fn show_stream(stream: &Stream) {
    let info = match stream.get_info().await {
        Ok(info) => info,
        Err(error) => return debug!(%error, "a stream does not say how full it is"),
    };
    let (state, name) = (&info.state, [info.config.name.as_str()]);
    let limit = info.config.max_bytes;
    METRICS.stream_messages.with_label_values(&name).set(whole(state.messages));
    METRICS.stream_bytes.with_label_values(&name).set(whole(state.bytes));
    METRICS.stream_limit_bytes.with_label_values(&name).set(limit);
    METRICS.stream_fill.with_label_values(&name).set(if limit > 0 {
        state.bytes as f64 / limit as f64
    } else {
        0.0
    });
    let age = match state.messages {
        0 => 0.0,
        _ => SystemTime::now()
            .duration_since(state.first_timestamp.into())
            .map_or(0.0, |age| age.as_secs_f64()),
    };
    METRICS.stream_oldest_seconds.with_label_values(&name).set(age);
}

async fn show_consumer(consumer: &mut Consumer<pull::Config>) {
    let info = match consumer.info().await {
        Ok(info) => info,
        Err(error) => return debug!(%error, "a consumer does not say how far it is"),
    };
    let names = [info.stream_name.as_str(), info.name.as_str()];
    METRICS.consumer_pending.with_label_values(&names).set(whole(info.num_pending));
    METRICS.consumer_ack_pending.with_label_values(&names).set(whole(info.num_ack_pending as u64));
    METRICS.consumer_redelivered.with_label_values(&names).set(whole(info.num_redelivered as u64));
    METRICS.consumer_pulls.with_label_values(&names).set(whole(info.num_waiting as u64));
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
