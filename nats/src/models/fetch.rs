use std::path::{Path, PathBuf};

use async_nats::jetstream::object_store::ObjectInfo;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;

use super::{Models, ModelsError, StoredModel};
use crate::messages::ModelId;
use crate::objects::{CommittedBytes, ObjectError, ObjectWriter};

const READ: usize = 1 << 18;

impl Models {
    /// Writes a model into a folder, as `<id>.onnx` and, if it has a manifest, `<id>.toml` beside
    /// it. Checks that the bytes are those that were added. Returns the path of the ONNX file.
    pub async fn fetch(&self, model: &StoredModel, folder: &Path) -> Result<PathBuf, ModelsError> {
        let (id, info) = (&model.description.model, model.info.clone());
        self.write_files(folder, &id.to_string(), model.manifest.as_deref(), info, id).await
    }

    pub(super) async fn write_files(
        &self,
        folder: &Path,
        name: &str,
        manifest: Option<&str>,
        info: ObjectInfo,
        id: &ModelId,
    ) -> Result<PathBuf, ModelsError> {
        let path = folder.join(format!("{name}.onnx"));
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| ModelsError::File { path, source }
        };
        if let Some(manifest) = manifest {
            let beside = folder.join(format!("{name}.toml"));
            tokio::fs::write(&beside, manifest).await.map_err(at(&beside))?;
        }
        let mut file = File::create(&path).await.map_err(at(&path))?;
        let mut reader = self.objects.read_named(id.to_string(), info);
        let of_model = |error: ObjectError| ModelsError::of(id, error);
        while let Some(chunk) = reader.next().await.map_err(of_model)? {
            file.write_all(&chunk).await.map_err(at(&path))?;
        }
        file.flush().await.map_err(at(&path))?;
        Ok(path)
    }

    /// Stores the bytes of a local file, for [`add`](Self::add).
    pub async fn upload(&self, path: &Path) -> Result<CommittedBytes, ModelsError> {
        let mut writer = self.draft();
        match write_file(path, &mut writer).await {
            Ok(()) => match writer.finish().await {
                Ok(committed) => Ok(committed),
                Err((writer, error)) => {
                    writer.discard().await;
                    Err(stored(error))
                }
            },
            Err(error) => {
                writer.discard().await;
                Err(error)
            }
        }
    }
}

async fn write_file(path: &Path, writer: &mut ObjectWriter) -> Result<(), ModelsError> {
    let failed = |source| ModelsError::File { path: path.to_owned(), source };
    let mut file = File::open(path).await.map_err(failed)?;
    loop {
        let mut part = bytes::BytesMut::with_capacity(READ);
        if file.read_buf(&mut part).await.map_err(failed)? == 0 {
            return Ok(());
        }
        writer.write(part.freeze()).await.map_err(stored)?;
    }
}

fn stored(error: ObjectError) -> ModelsError {
    match error {
        ObjectError::Full(reason) => ModelsError::Full(reason),
        other => ModelsError::Unavailable(other.to_string()),
    }
}
