use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use moliceiro_nats::VideoId;
use moliceiro_nats::messages::ModelId;
use moliceiro_nats::videos::{CompareError, ComparedClass, Comparison};
use moliceiro_service::stdout;

use crate::client::{Client, StoreArguments};
use crate::rerun::explained;

/// Shows how the analyses of a video by two models differ
#[derive(Clone, Debug, Parser)]
#[command(after_help = "\
For each class: how many objects each model found in all frames together, the difference, and in \
how many frames the numbers differ. \
`moliceiro rerun VIDEO --model MODEL` makes a second analysis.")]
pub(crate) struct CompareArguments {
    /// The video's id
    video: String,
    /// A model, such as nanodet
    first: ModelId,
    /// Another model, such as boats@3
    second: ModelId,
    #[command(flatten)]
    store: StoreArguments,
}

pub(crate) fn run(arguments: &CompareArguments) -> anyhow::Result<ExitCode> {
    let CompareArguments { video, first, second, store } = arguments;
    let video = VideoId::try_from(video.clone())?;
    Client::new(store, "moliceiro compare")?.run(async |streams| {
        let comparison = streams.videos().compare(&video, [first, second]).await;
        let comparison = comparison.map_err(|error| match error {
            CompareError::Find(error) => explained(error),
            other => other.into(),
        })?;
        print([first, second].map(ToString::to_string), &comparison)
    })
}

fn print(names: [String; 2], comparison: &Comparison) -> anyhow::Result<()> {
    let [first, second] = names;
    let head = ["CLASS".to_owned(), first, second, "DIFFERENCE".to_owned(), "FRAMES".to_owned()];
    let row = |class: &ComparedClass| {
        let ComparedClass { label, objects: [a, b], frames } = class;
        let difference = i128::from(*b) - i128::from(*a);
        [label.clone(), a.to_string(), b.to_string(), format!("{difference:+}"), frames.to_string()]
    };
    let rows: Vec<_> = [head].into_iter().chain(comparison.classes.iter().map(row)).collect();
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(width);
    for [label, first, second, difference, differ] in &rows {
        writeln!(
            stdout(),
            "{label:<a$}  {first:>b$}  {second:>c$}  {difference:>d$}  {differ:>e$}"
        )?;
    }
    let [first, second] = &comparison.analyses;
    writeln!(
        stdout(),
        "\n{} and {} frames analysed, {:.1} and {:.1} ms each",
        first.frames,
        second.frames,
        first.average_processing_ms,
        second.average_processing_ms
    )?;
    Ok(())
}
