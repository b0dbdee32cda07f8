//! Metrics: each is named and described once, in one file of its service.

mod connection;
mod process;

use std::fmt;

use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry,
};

pub(crate) use connection::{Connection, ConnectionMetrics};
pub(crate) use process::ProcessMetrics;

/// Histogram bounds for work of a millisecond to ten seconds, in seconds.
pub const SECONDS: [f64; 13] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Histogram bounds for time in queues of up to ten minutes, in seconds.
pub const WAITING_SECONDS: [f64; 13] =
    [0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0, 60.0, 180.0, 600.0];

/// Type of a metric, as Prometheus defines it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Grows until the process ends.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts values by size.
    Histogram,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        })
    }
}

/// A metric as it is documented.
#[derive(Clone, Debug)]
pub struct Described {
    /// Its full name, with its unit.
    pub name: &'static str,
    /// Its type in the exposition format.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: Vec<&'static str>,
    /// What it measures: its `# HELP` line.
    pub help: &'static str,
}

/// Creates metrics, registers them, and lists their descriptions.
///
/// Its functions panic on a name that is malformed or already registered. Names are constants, and
/// a test creates every catalogue.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    registry: Registry,
    described: Vec<Described>,
}

/// A label, and those of its values that are exported from the start, as 0.
pub type Label<'a> = (&'static str, &'a [&'static str]);

impl Catalogue {
    /// A catalogue whose metrics `registry` exports.
    pub fn new(registry: &Registry) -> Self {
        Self { registry: registry.clone(), described: vec![] }
    }

    /// All metrics created so far, in order.
    pub fn described(&self) -> &[Described] {
        &self.described
    }

    /// Creates a counter without labels.
    pub fn counter(&mut self, name: &'static str, help: &'static str) -> IntCounter {
        self.register(Kind::Counter, name, help, &[], IntCounter::with_opts(Opts::new(name, help)))
    }

    /// Creates counters that differ in a label.
    pub fn counters(
        &mut self,
        name: &'static str,
        help: &'static str,
        (label, values): Label<'_>,
    ) -> IntCounterVec {
        let counters = self.register(
            Kind::Counter,
            name,
            help,
            &[label],
            IntCounterVec::new(Opts::new(name, help), &[label]),
        );
        for value in values {
            counters.with_label_values(&[value]);
        }
        counters
    }

    /// Creates counters that differ in labels whose values are not known before.
    pub fn open_counters(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &[&'static str],
    ) -> IntCounterVec {
        let counters = IntCounterVec::new(Opts::new(name, help), labels);
        self.register(Kind::Counter, name, help, labels, counters)
    }

    /// Creates a gauge of whole numbers.
    pub fn gauge(&mut self, name: &'static str, help: &'static str) -> IntGauge {
        self.register(Kind::Gauge, name, help, &[], IntGauge::with_opts(Opts::new(name, help)))
    }

    /// Creates a gauge of fractions, such as seconds.
    pub fn fraction(&mut self, name: &'static str, help: &'static str) -> Gauge {
        self.register(Kind::Gauge, name, help, &[], Gauge::with_opts(Opts::new(name, help)))
    }

    /// Creates gauges of whole numbers that differ in labels.
    pub fn gauges(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &[&'static str],
    ) -> IntGaugeVec {
        self.register(
            Kind::Gauge,
            name,
            help,
            labels,
            IntGaugeVec::new(Opts::new(name, help), labels),
        )
    }

    /// Creates gauges of fractions that differ in labels.
    pub fn fractions(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &[&'static str],
    ) -> GaugeVec {
        self.register(Kind::Gauge, name, help, labels, GaugeVec::new(Opts::new(name, help), labels))
    }

    /// Creates a histogram with these upper bounds of its buckets.
    pub fn histogram(
        &mut self,
        name: &'static str,
        help: &'static str,
        bounds: &[f64],
    ) -> Histogram {
        let options = HistogramOpts::new(name, help).buckets(bounds.to_vec());
        self.register(Kind::Histogram, name, help, &[], Histogram::with_opts(options))
    }

    /// Creates histograms that differ in a label.
    pub fn histograms(
        &mut self,
        name: &'static str,
        help: &'static str,
        (label, values): Label<'_>,
        bounds: &[f64],
    ) -> HistogramVec {
        let options = HistogramOpts::new(name, help).buckets(bounds.to_vec());
        let histograms = self.register(
            Kind::Histogram,
            name,
            help,
            &[label],
            HistogramVec::new(options, &[label]),
        );
        for value in values {
            histograms.with_label_values(&[value]);
        }
        histograms
    }

    fn register<M: Collector + Clone + 'static>(
        &mut self,
        kind: Kind,
        name: &'static str,
        help: &'static str,
        labels: &[&'static str],
        metric: prometheus::Result<M>,
    ) -> M {
        let registered = metric
            .and_then(|metric| self.registry.register(Box::new(metric.clone())).map(|()| metric));
        self.described.push(Described { name, kind, labels: labels.to_vec(), help });
        registered.unwrap_or_else(|error| panic!("metric {name}: {error}"))
    }
}

/// The metrics that every service exports.
pub fn described() -> Vec<Described> {
    let mut catalogue = Catalogue::default();
    connection::ConnectionMetrics::new(&mut catalogue);
    process::ProcessMetrics::new(&mut catalogue);
    catalogue.described
}
