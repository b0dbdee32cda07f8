//! Decodes files of pictures and animations, and folders of them.

use std::path::Path;
use std::time::Duration;

use crate::decoded::Notice;
use crate::error::{DecodeError, Incomplete, PictureError};
use crate::explain;
use crate::file::{self, LocalFile};
use crate::file_source::FileSource;
use crate::folder::{Folder, Ignored};
use crate::format::{FileFormat, ImageFormat, Unsupported};
use crate::images::{self, Image, Opened};
use crate::output::{NextFrame, Picture, SelectedFrame, Taken};
use crate::pipeline::{FilePipeline, Next};
use crate::probes::Probes;
use crate::run::Run;

impl Run {
    /// Decodes a picture or an animation.
    pub(crate) fn decode_image(
        &mut self,
        file: &LocalFile,
        format: ImageFormat,
    ) -> Result<Option<Incomplete>, DecodeError> {
        let picture = Some(self.output.picture_size());
        let frames = match images::open(file, format, self.stall_timeout, picture)? {
            Opened::Frames(frames) => frames,
            Opened::MotionJpeg => return self.decode_video(file),
        };
        let mut missing = None;
        for image in frames {
            let Image { frame, missing: of_frame } = match image {
                Ok(image) => image,
                Err(error) if self.output.decoded() == 0 => return Err(error),
                Err(error) => return Ok(Some(Incomplete::Broken { reason: error.into_reason() })),
            };
            missing = missing.or(of_frame);
            if self.output.is_cancelled() {
                return Err(DecodeError::Cancelled);
            }
            match self.output.take(frame)? {
                Taken::Counted => {}
                Taken::EndOfRange => break,
                Taken::Broken(error) => {
                    return Ok(Some(Incomplete::Broken { reason: error.to_string() }));
                }
            }
        }
        Ok(missing)
    }

    /// Decodes an animated AVIF or HEIC.
    pub(crate) fn decode_sequence(
        &mut self,
        file: &LocalFile,
    ) -> Result<Option<Incomplete>, DecodeError> {
        match images::as_video(file)? {
            Some((_copy, video)) => self.decode_video(&video),
            None => self.decode_image(file, ImageFormat::Heif),
        }
    }

    /// Decodes each picture of a folder as a frame. One that cannot be decoded is reported, and
    /// does not stop the others.
    pub(crate) fn decode_folder(
        &mut self,
        folder: &Folder,
    ) -> Result<Option<Incomplete>, DecodeError> {
        self.output.container_info().set_frames(folder.pictures.len() as u64);
        if let Ignored { count: count @ 1.., names } = folder.ignored.clone() {
            self.output.notice(Notice::IgnoredFiles { count, names });
        }
        let mut truncated: Option<Incomplete> = None;
        for path in &folder.pictures {
            if self.output.is_cancelled() {
                return Err(DecodeError::Cancelled);
            }
            match self.output.next_frame(None) {
                NextFrame::EndOfRange => break,
                NextFrame::Skipped(skipped) => skipped.count(None, None),
                NextFrame::Selected(mut selected) => {
                    match first_picture(path, &mut selected, self.stall_timeout) {
                        Ok((picture, missing)) => {
                            selected.deliver(picture)?;
                            record_truncated(&mut truncated, path, missing);
                        }
                        Err(DecodeError::Cancelled) => return Err(DecodeError::Cancelled),
                        Err(error) => selected.fail(error.to_string())?,
                    }
                }
            }
        }
        Ok(truncated)
    }
}

/// Counts a picture of a folder that is not whole.
fn record_truncated(all: &mut Option<Incomplete>, path: &Path, missing: Option<Incomplete>) {
    match (all, missing) {
        (Some(Incomplete::PicturesTruncated { count, .. }), Some(_)) => *count += 1,
        (all @ None, Some(problem)) => {
            let first = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let problem = problem.to_string();
            *all = Some(Incomplete::PicturesTruncated { count: 1, first, problem });
        }
        _ => {}
    }
}

/// The first frame of a file, as a picture, and what is missing of it.
fn first_picture(
    path: &Path,
    selected: &mut SelectedFrame<'_>,
    stall_timeout: Duration,
) -> Result<(Picture, Option<Incomplete>), DecodeError> {
    let file = file::check_file(path, None)?;
    let no_frames = || DecodeError::NoFrames { video: file.name.clone() };
    let copy = match file.format {
        FileFormat::ImageSequence => images::as_video(&file)?,
        _ => None,
    };
    let format = match file.format {
        FileFormat::Image(format) => Some(format),
        FileFormat::ImageSequence if copy.is_none() => Some(ImageFormat::Heif),
        FileFormat::Unsupported(format) => return Err(unsupported(&file, format)),
        FileFormat::ImageSequence | FileFormat::Other => None,
    };
    let failed = |error: PictureError| error.into_decode_error(&file.name);
    if let Some(format) = format {
        let Image { frame, missing } = images::first(&file, format, stall_timeout)?;
        let picture = selected.picture(&frame.without_time()).map_err(failed)?;
        return Ok((picture, missing));
    }
    let shown = copy.as_ref().map_or(&file, |(_, video)| video);
    let mut pipeline =
        FilePipeline::open(shown, 1, FileSource::Whole, None, Probes::default(), &[])?;
    let stopped = match pipeline.next_frame(stall_timeout, || selected.is_cancelled())? {
        Next::Frame(frame) => {
            let picture = selected.picture(&frame.without_time()).map_err(failed)?;
            return Ok((picture, None));
        }
        Next::Stopped(incomplete) => Some(incomplete.into_error(&file.name)),
        Next::End => None,
    };
    let probes = pipeline.probes().clone();
    let error = pipeline.into_failure(true).or(stopped).unwrap_or_else(no_frames);
    Err(explain::without_frames(error, &file, None, &probes))
}

/// The error for a format that nothing decodes.
pub(crate) fn unsupported(file: &LocalFile, format: Unsupported) -> DecodeError {
    DecodeError::UnsupportedPicture {
        video: file.name.clone(),
        format: format.name.to_owned(),
        advice: format.advice.into(),
    }
}
