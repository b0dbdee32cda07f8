use std::fs::File;
use std::io::BufReader;
use std::num::NonZeroU64;

use gif::{ColorOutput, DecodeOptions, Decoder, DisposalMethod, MemoryLimit};

use super::animation::{self, Animated};
use super::canvas::{Blend, Canvas, Disposal, Rectangle};
use super::{Context, Frames, MAX_MEMORY};
use crate::error::DecodeError;
use crate::file::LocalFile;

/// Display times are in hundredths of a second.
const TICK: u64 = 10_000_000;

struct Gif {
    decoder: Decoder<BufReader<File>>,
    pixels: Vec<u8>,
    /// Whether the decoder has read the head of the frame that comes next, or failed to.
    next: Option<Result<bool, String>>,
    drawn: u64,
}

pub(super) fn open(file: &LocalFile, context: Context) -> Result<Frames, DecodeError> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::RGBA);
    options.allow_unknown_blocks(true);
    if let Some(limit) = NonZeroU64::new(MAX_MEMORY as u64) {
        options.set_memory_limit(MemoryLimit::Bytes(limit));
    }
    let decoder = options.read_info(BufReader::new(context.open(file)?));
    let decoder = decoder.map_err(|error| context.damaged(error))?;
    let size = context.limit(decoder.width().into(), decoder.height().into())?;
    let canvas = Canvas::new(size, &context)?;
    let animated = Gif { decoder, pixels: Vec::new(), next: None, drawn: 0 };
    let pixels = u64::from(size.width) * u64::from(size.height);
    Ok(animation::frames(animated, canvas, pixels, context))
}

impl Gif {
    fn read_head(&mut self) -> Result<bool, String> {
        let read = self.decoder.next_frame_info();
        read.map(|frame| frame.is_some()).map_err(|error| error.to_string())
    }
}

impl Animated for Gif {
    fn draw(&mut self, canvas: &mut Canvas, context: &Context) -> Result<Option<u64>, DecodeError> {
        let next = self.next.take().unwrap_or_else(|| self.read_head());
        if !next.map_err(|error| context.damaged(error))? {
            return Ok(None);
        }
        let Some(frame) = self.decoder.current_frame_info() else { return Ok(None) };
        let rectangle = Rectangle {
            left: frame.left.into(),
            top: frame.top.into(),
            width: frame.width.into(),
            height: frame.height.into(),
        };
        let length = u64::from(frame.delay) * TICK;
        let disposal = match frame.dispose {
            DisposalMethod::Any | DisposalMethod::Keep => Disposal::Keep,
            DisposalMethod::Background => Disposal::Clear,
            DisposalMethod::Previous => Disposal::Restore,
        };
        if rectangle.width > 0 && rectangle.height > 0 {
            context.limit(rectangle.width, rectangle.height)?;
            self.pixels.clear();
            self.pixels.resize(rectangle.width as usize * rectangle.height as usize * 4, 0);
            let read = self.decoder.read_into_buffer(&mut self.pixels);
            if let Err(error) = read {
                if self.drawn > 0 {
                    return Err(context.damaged(error));
                }
                // What is there of the first frame is shown, and the rest is an error.
                self.next = Some(Err(error.to_string()));
            }
        }
        let drawn = canvas.draw(rectangle, &self.pixels, Blend::Over, disposal);
        drawn.map_err(|error| context.gstreamer(&error))?;
        self.drawn += 1;
        Ok(Some(length))
    }

    fn is_still(&mut self) -> bool {
        let next = self.next.take().unwrap_or_else(|| self.read_head());
        let is_still = next != Ok(true);
        self.next = Some(next);
        is_still
    }
}
