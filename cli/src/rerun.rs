use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use moliceiro_nats::VideoId;
use moliceiro_nats::messages::{AuditAction, AuditRecord, ModelId};
use moliceiro_nats::videos::RerunError;
use moliceiro_service::{SettingsError, stdout};

use crate::client::{Client, StoreArguments};

/// Analyses a video again with another model, and prints the id of that analysis
#[derive(Clone, Debug, Parser)]
#[command(after_help = "\
The video is decoded again from where it came: a file, an address, or an upload whose bytes are \
kept (aggregator.keep_uploads). Its own counts stay as they are. What `moliceiro run` stored (--data) \
is analysed by its next run; `moliceiro compare` shows what differs.")]
pub(crate) struct RerunArguments {
    /// The video's id
    video: String,
    /// The model, such as boats or boats@3
    #[arg(long, value_name = "MODEL")]
    model: ModelId,
    #[command(flatten)]
    store: StoreArguments,
}

pub(crate) fn run(arguments: &RerunArguments) -> anyhow::Result<ExitCode> {
    let video = VideoId::try_from(arguments.video.clone())?;
    let client = Client::new(&arguments.store, "moliceiro rerun")?;
    let who = client.who();
    client.run(async |streams| {
        let id = streams.videos().rerun(&video, &arguments.model).await.map_err(explained)?;
        let record = AuditRecord::now(who, AuditAction::Rerun).of_video(video.clone());
        streams.audit(record.of_model(arguments.model.clone())).await;
        writeln!(stdout(), "{id}")?;
        Ok(())
    })
}

/// A model that does not exist, or does not have a class, is wrong usage.
pub(crate) fn explained(error: RerunError) -> anyhow::Error {
    match error {
        RerunError::Model(moliceiro_nats::ModelsError::Unknown { .. }) | RerunError::Class(_) => {
            SettingsError::Invalid(vec![error.to_string()]).into()
        }
        other => other.into(),
    }
}
