use moliceiro_service::metrics::Described;

const PREFACE: &str = "\
# Metrics

Every service serves its metrics at `/metrics`, in the text format of Prometheus, on the address
`metrics.listen`. They include what the operating system reports for the process (`process_…`).

`moliceiro metrics` generates this file from the code.
";

/// The reference of all metrics, as Markdown.
pub(crate) fn reference() -> String {
    let services = [
        ("Every service", moliceiro_service::metrics::described()),
        ("Ingest", moliceiro_ingest::metrics::described()),
        ("Detector", moliceiro_detector::metrics::described()),
        ("Aggregator", moliceiro_aggregator::metrics::described()),
    ];
    services
        .iter()
        .fold(PREFACE.to_owned(), |text, (service, metrics)| text + &table(service, metrics))
}

fn table(service: &str, metrics: &[Described]) -> String {
    let head = format!(
        "\n## {service}\n\n| metric | kind | labels | meaning |\n| --- | --- | --- | --- |\n"
    );
    metrics.iter().fold(head, |table, Described { name, kind, labels, help }| {
        let labels = labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        table + &format!("| `{name}` | {kind} | {labels} | {help}. |\n")
    })
}
