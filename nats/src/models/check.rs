//! Checking a model that was sent over HTTP: a detector loads it and runs it once, because only
//! detectors have ONNX Runtime.

use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::service::{NATS_SERVICE_ERROR, NATS_SERVICE_ERROR_CODE};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Models, ModelsError, NewModel};
use crate::messages::{MalformedMessage, ModelId, VERSION, Versioned, from_json, to_json};
use crate::objects::{CommittedBytes, ObjectError};
use crate::{Streams, subjects};

/// Loading a large model takes long. A detector gives a model up after two minutes.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(150);
/// Objects whose name starts so are being checked. It is not the name of a model, so nobody takes
/// them for one.
pub(super) const STAGED: &str = "checks/";
/// The code of an answer about a model that cannot be used, with the meaning that it has in HTTP.
pub const UNUSABLE: usize = 422;

/// Asks a detector what a model is, as JSON on [`subjects::CHECK_MODEL_SUBJECT`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckModel {
    /// [`VERSION`]
    pub version: u8,
    /// The object of the store `models` that has the ONNX file.
    pub object: String,
    /// What the file does not say about itself, as TOML.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// The name that it is to get.
    pub name: ModelId,
}

impl Versioned for CheckModel {
    fn version(&self) -> u8 {
        self.version
    }
}

/// The answer, if the model can be used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckedModel {
    /// [`VERSION`]
    pub version: u8,
    /// What it is.
    pub model: NewModel,
}

impl Versioned for CheckedModel {
    fn version(&self) -> u8 {
        self.version
    }
}

/// Why a model was not added.
#[derive(Debug, Error)]
pub enum CheckError {
    /// It cannot be used.
    #[error("{0}")]
    Unusable(String),
    /// No detector answers.
    #[error("no detector runs that could check the model: start one, and retry")]
    NoDetector,
    /// It cannot be stored.
    #[error(transparent)]
    Models(#[from] ModelsError),
}

impl From<MalformedMessage> for CheckError {
    fn from(error: MalformedMessage) -> Self {
        Self::Models(ModelsError::Unavailable(error.to_string()))
    }
}

impl Models {
    /// Adds a model whose bytes are stored, once a detector has checked it. Deletes the bytes on an
    /// error.
    pub async fn check_and_add(
        &self,
        streams: &Streams,
        name: ModelId,
        manifest: Option<String>,
        onnx: CommittedBytes,
    ) -> Result<crate::messages::ModelDescription, CheckError> {
        let object = format!("{STAGED}{}", nuid::next());
        let staged = onnx.describe(&object, Default::default(), true).await;
        let staged = staged.map_err(|error| ModelsError::of(&name, error));
        let checked = match staged {
            Ok(()) => {
                let request =
                    CheckModel { version: VERSION, object: object.clone(), manifest, name };
                let checked = ask(streams, &request).await;
                self.objects.forget_name(&object).await.ok();
                checked
            }
            Err(error) => Err(error.into()),
        };
        match checked {
            Ok(new) => Ok(self.add(&new, onnx).await?),
            Err(error) => {
                onnx.discard().await;
                Err(error)
            }
        }
    }

    /// Writes the ONNX file and the manifest of a model that is to be checked into a folder.
    pub async fn fetch_to_check(
        &self,
        request: &CheckModel,
        folder: &std::path::Path,
    ) -> Result<std::path::PathBuf, ModelsError> {
        let of_model = |error: ObjectError| ModelsError::of(&request.name, error);
        let info = self.objects.info_named(&request.object).await.map_err(of_model)?;
        let name = request.name.name();
        self.write_files(folder, name, request.manifest.as_deref(), info, &request.name).await
    }
}

async fn ask(streams: &Streams, request: &CheckModel) -> Result<NewModel, CheckError> {
    let client = streams.jetstream.client();
    let payload = Bytes::from(to_json(request));
    let asking = async_nats::Request::new().payload(payload).timeout(Some(ANSWER_TIMEOUT));
    let answer = client.send_request(subjects::CHECK_MODEL_SUBJECT, asking).await;
    let answer = answer.map_err(|error| match error.kind() {
        RequestErrorKind::NoResponders | RequestErrorKind::TimedOut => CheckError::NoDetector,
        _ => ModelsError::Unavailable(error.to_string()).into(),
    })?;
    let header = |name: &str| Some(answer.headers.as_ref()?.get(name)?.to_string());
    match (header(NATS_SERVICE_ERROR_CODE), header(NATS_SERVICE_ERROR)) {
        (Some(code), reason) if code == UNUSABLE.to_string() => {
            Err(CheckError::Unusable(reason.unwrap_or_default()))
        }
        (Some(_), reason) => Err(ModelsError::Unavailable(reason.unwrap_or_default()).into()),
        (None, _) => Ok(from_json::<CheckedModel>(&answer.payload)?.model),
    }
}
