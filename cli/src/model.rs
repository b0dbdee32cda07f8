use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use moliceiro_detector::{DetectorSettings, TrialCommand, inspect, name_of_file};
use moliceiro_nats::messages::{AuditAction, AuditRecord, ModelDescription, ModelId, to_json};
use moliceiro_nats::{ModelsError, Streams};
use moliceiro_service::{SettingsError, stdout};

use crate::client::{Client, StoreArguments};
use crate::model_check::{self, CheckArguments};

/// Checks models, and adds, lists, shows, removes or renames those that uploads can name
#[derive(Clone, Debug, Subcommand)]
#[command(after_help = "\
Each file that you add under a name is a version of it: boats@1, boats@2 and so on. `boats` stands \
for the latest. A video keeps the version that it started with.")]
pub(crate) enum ModelCommand {
    Check(CheckArguments),
    /// Checks a model file and adds it as the next version of its name
    Add(AddArguments),
    /// Lists the models, one per line: name and version, size of pictures, classes, digest
    List(ListArguments),
    /// Shows what is known about a model
    Show(NameArguments),
    /// Removes a version of a model, or all versions of a name
    Remove(NameArguments),
    /// Gives all versions of a model another name
    Rename(RenameArguments),
}

/// The file to add.
#[derive(Clone, Debug, Args)]
pub(crate) struct AddArguments {
    /// The ONNX file; its manifest (.toml) is read from beside it
    file: PathBuf,
    /// The name [default: the file's name]
    #[arg(long, value_name = "NAME")]
    name: Option<ModelId>,
    #[command(flatten)]
    store: StoreArguments,
}

/// Which models to list.
#[derive(Clone, Debug, Args)]
pub(crate) struct ListArguments {
    /// Print each model as one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArguments,
}

/// Which model a command is about.
#[derive(Clone, Debug, Args)]
pub(crate) struct NameArguments {
    /// A name such as boats, or boats@3 for one version of it
    model: ModelId,
    #[command(flatten)]
    store: StoreArguments,
}

/// A name and another one.
#[derive(Clone, Debug, Args)]
pub(crate) struct RenameArguments {
    /// The name
    model: ModelId,
    /// The name that it gets
    name: ModelId,
    #[command(flatten)]
    store: StoreArguments,
}

pub(crate) fn run(command: &ModelCommand) -> anyhow::Result<ExitCode> {
    match command {
        ModelCommand::Check(arguments) => model_check::run(arguments),
        ModelCommand::Add(arguments) => add(arguments),
        ModelCommand::List(arguments) => client(&arguments.store)?.run(async |streams| {
            let models = streams.models.list().await?;
            if arguments.json {
                for model in &models {
                    stdout().write_all(&[to_json(model), b"\n".to_vec()].concat())?;
                }
                return Ok(());
            }
            list(&models)
        }),
        ModelCommand::Show(NameArguments { model, store }) => {
            client(store)?.run(async |streams| show(&streams, model).await)
        }
        ModelCommand::Remove(NameArguments { model, store }) => {
            let client = client(store)?;
            let who = client.who();
            client.run(async |streams| {
                let removed = streams.models.remove(&streams, model).await.map_err(explained)?;
                audit(&streams, &who, AuditAction::RemoveModel, &removed).await;
                print_all("removed", &removed)
            })
        }
        ModelCommand::Rename(RenameArguments { model, name, store }) => {
            let client = client(store)?;
            let who = client.who();
            client.run(async |streams| {
                let renamed = streams.models.rename(&streams, model, name).await;
                let renamed = renamed.map_err(explained)?;
                audit(&streams, &who, AuditAction::AddModel, &renamed).await;
                print_all("renamed to", &renamed)
            })
        }
    }
}

fn client(store: &StoreArguments) -> anyhow::Result<Client> {
    Client::new(store, "moliceiro model")
}

fn add(arguments: &AddArguments) -> anyhow::Result<ExitCode> {
    let AddArguments { file, name, store } = arguments;
    let client = client(store)?;
    let detector: DetectorSettings = client.section()?;
    let name = name.clone().unwrap_or_else(|| name_of_file(file));
    let new = inspect(&detector, &TrialCommand::this_program(), file, name)?;
    let who = client.who();
    // A model may be what a server gets first.
    client.run_on_new(async |streams| {
        let bytes = streams.models.upload(file).await?;
        let added = streams.models.add(&new, bytes).await.map_err(explained)?;
        audit(&streams, &who, AuditAction::AddModel, std::slice::from_ref(&added.model)).await;
        writeln!(stdout(), "{}", added.model).context("cannot write to standard output")?;
        Ok(())
    })
}

async fn audit(streams: &Streams, who: &str, action: AuditAction, models: &[ModelId]) {
    for model in models {
        streams.audit(AuditRecord::now(who, action).of_model(model.clone())).await;
    }
}

fn print_all(what: &str, models: &[ModelId]) -> anyhow::Result<()> {
    for model in models {
        writeln!(stdout(), "{what} {model}")?;
    }
    Ok(())
}

fn list(models: &[ModelDescription]) -> anyhow::Result<()> {
    let row = |model: &ModelDescription| {
        [
            model.model.to_string(),
            format!("{}×{}", model.size.width, model.size.height),
            model.classes.to_string(),
            model.digest.chars().take(12).collect(),
        ]
    };
    let mut rows = vec![["MODEL", "PICTURE", "CLASSES", "DIGEST"].map(str::to_owned)];
    rows.extend(models.iter().map(row));
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let [a, b, c] = [0, 1, 2].map(width);
    for [model, picture, classes, digest] in &rows {
        writeln!(stdout(), "{model:<a$}  {picture:<b$}  {classes:>c$}  {digest}")?;
    }
    Ok(())
}

async fn show(streams: &Streams, model: &ModelId) -> anyhow::Result<()> {
    let found = streams.models.find(model).await.map_err(explained)?;
    let ModelDescription { model, digest, bytes, size, multiple_of, classes, added_at, .. } =
        &found;
    let sizes = match multiple_of {
        Some(step) => format!(" and other multiples of {step}"),
        None => String::new(),
    };
    let mut text = format!(
        "model    {model}\ndigest   {digest}\nbytes    {bytes}\npicture  {}×{}{sizes}\n\
         classes  {classes}\n",
        size.width, size.height
    );
    let added = added_at.map_or("built in".to_owned(), |at| {
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_millis(at);
        humantime::format_rfc3339_seconds(at).to_string()
    });
    text += &format!("added    {added}\n");
    if let Ok(stored) = streams.models.find_stored(model).await
        && let Some(manifest) = stored.manifest
    {
        text += &format!("\n{}\n", manifest.trim_end());
    }
    stdout().write_all(text.as_bytes())?;
    Ok(())
}

/// A name that does not exist, or cannot be used, is wrong usage.
fn explained(error: ModelsError) -> anyhow::Error {
    match error {
        ModelsError::Unknown { .. } | ModelsError::BuiltIn(_) | ModelsError::Versioned(_) => {
            SettingsError::Invalid(vec![error.to_string()]).into()
        }
        other => other.into(),
    }
}
