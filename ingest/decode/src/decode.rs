//! Decodes an input as what it is: a video, a picture, an animation, or a folder of pictures.

use moliceiro_messages::FrameSelection;
use tracing::info;

use crate::decoded::DecodedVideo;
use crate::decoding::DecodingSender;
use crate::elements;
use crate::error::DecodeError;
use crate::file::{self, CheckedInput, Input};
use crate::folder;
use crate::format::FileFormat;
use crate::image_files;
use crate::interlacing::Before;
use crate::output::Output;
use crate::run::Run;
use crate::settings::DecodeSettings;

/// Decodes a whole video on this thread.
pub(crate) fn decode(
    input: &Input,
    settings: DecodeSettings,
    sender: &DecodingSender,
) -> Result<DecodedVideo, DecodeError> {
    elements::init()?;
    let checked = file::check(input)?;
    let name = checked.name().to_owned();
    let (stall_timeout, deinterlace) = (settings.stall_timeout, settings.deinterlace);
    let FrameSelection { fps, start, end, video_track: requested_track, key_frames, .. } =
        settings.selection;
    let has_times = fps.is_some() || start.is_some() || end.is_some();
    let output = Output::new(settings, sender).map_err(|error| error.into_decode_error(&name))?;
    let mut run = Run {
        stall_timeout,
        deinterlace,
        before: Before::default(),
        key_frames,
        requested_track,
        stored_frames: 0,
        output,
        is_past_range: false,
    };
    let incomplete = match checked {
        CheckedInput::Folder { path, name } => {
            if has_times {
                return Err(DecodeError::NoTimes { path: name });
            }
            run.decode_folder(&folder::read(&path)?)
        }
        CheckedInput::File(file) => match file.format {
            FileFormat::Image(format) => run.decode_image(&file, format),
            FileFormat::ImageSequence => run.decode_sequence(&file),
            FileFormat::Unsupported(format) => Err(image_files::unsupported(&file, format)),
            FileFormat::Other => run.decode_video(&file),
        },
    }?;
    info!(
        name,
        decoded = run.output.decoded(),
        problem = incomplete.as_ref().map(tracing::field::display),
        "decoded a video"
    );
    run.output.finish(&name, incomplete)
}
