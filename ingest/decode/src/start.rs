use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tracing::error;
use url::Url;

use crate::decode::decode;
use crate::decoded::DecodedVideo;
use crate::decoding::{Decoding, DecodingSender, channel};
use crate::elements;
use crate::error::DecodeError;
use crate::file::Input;
use crate::settings::DecodeSettings;

/// Initialises GStreamer and checks that the elements every video needs are installed. [`start`]
/// does this too; call it first to report a broken installation before there is a video.
pub fn init() -> Result<(), DecodeError> {
    elements::init()
}

/// Decodes the video at `uri` on a new thread of this process. It needs no async runtime, and does
/// not block one.
pub fn start(uri: &Url, settings: DecodeSettings) -> Decoding {
    start_input(Input::Uri(uri.clone()), settings)
}

/// Decodes the video in an open file, which need not have a path any more. Errors call it `name`.
pub fn start_file(file: File, name: String, settings: DecodeSettings) -> Decoding {
    start_input(Input::File { file, name }, settings)
}

pub(crate) fn start_input(input: Input, settings: DecodeSettings) -> Decoding {
    spawn(settings.queue, move |sender| decode(&input, settings, sender))
}

pub(crate) fn spawn(
    queue: usize,
    decode: impl FnOnce(&DecodingSender) -> Result<DecodedVideo, DecodeError> + Send + 'static,
) -> Decoding {
    let (sender, decoding) = channel(queue);
    let thread = std::thread::Builder::new().name("decode".into()).spawn(move || {
        let outcome = catch_unwind(AssertUnwindSafe(|| decode(&sender)));
        sender.finish(outcome.unwrap_or(Err(DecodeError::Panicked)));
    });
    if let Err(error) = thread {
        // The closure is dropped, and both channels with it: the caller receives no frames, and
        // `Panicked`.
        error!(%error, "cannot start a thread for decoding");
    }
    decoding
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_while_decoding_is_an_error() {
        let decoding = spawn(1, |_| panic!("as a test"));
        assert!(decoding.frames.recv().await.is_err());
        assert_eq!(decoding.outcome().await, Err(DecodeError::Panicked));
    }
}
