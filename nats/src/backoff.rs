use std::time::Duration;

use backon::ExponentialBuilder;

/// Pauses between attempts, without end: each is about twice as long as the one before, up to
/// `longest`. They are random within bounds, so that clients do not retry all at the same moment.
pub fn backoff(first: Duration, longest: Duration) -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(first)
        .with_max_delay(longest)
        .with_jitter()
        .without_max_times()
}
