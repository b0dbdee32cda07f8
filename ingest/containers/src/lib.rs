//! Reads what a video file holds, without decoding it.
//!
//! The demuxer that decodes a file cannot notice what it skips. This crate reads the container's
//! own tables and counters, and so tells how many frames should come. It decodes nothing, and
//! takes every length and offset in a file for a claim: memory and time are bounded by the size of
//! the tables that are really there.
//!
//! ```no_run
//! # fn main() -> std::io::Result<()> {
//! let mut file = std::fs::File::open("street.mp4")?;
//! if let Some(contents) = moliceiro_containers::inspect(&mut file)? {
//!     for track in contents.tracks {
//!         println!("track {}: {:?} frames", track.number, track.frames);
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod asf;
mod asf_objects;
mod avi;
mod contents;
mod description;
mod flv;
mod flv_packets;
mod four_characters;
mod heif;
mod ivf;
mod matroska;
pub mod mp4;
mod obu;
mod ogg;
mod ogg_times;
mod pes;
mod pieces;
mod reader;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

pub use avi::repaired_avi;
pub use contents::{Container, Contents, Fault, VideoTrack};
pub use description::Description;
pub use flv_packets::{FlvCodec, FlvPackets, FlvVideo};
pub use heif::{Crop, HeifCodec, HeifColor, HeifPicture, Turn, picture_tracks};
pub use matroska::{Replacement, Rotation, description, rotation, without_index};
pub use obu::TemporalUnits;
pub use ogg::ogg_without_ends;
pub use ogg_times::OggPages;
pub use pes::{PesCodec, PesPacket, PesPackets, PesPart, PesProgram, PesVideo, PictureCount};
pub use pieces::Piece;

/// How many of a file's first bytes are enough to recognise its container.
const SIGNATURE_BYTES: usize = 16;

/// What a file holds; `None` if it is in no container that this crate reads.
///
/// # Errors
///
/// The file cannot be read. A damaged container is not an error: what can be read of it is
/// returned, with a [`Fault`].
pub fn inspect(file: &mut File) -> io::Result<Option<Contents>> {
    let mut start = Vec::with_capacity(SIGNATURE_BYTES);
    file.seek(SeekFrom::Start(0))?;
    file.by_ref().take(SIGNATURE_BYTES as u64).read_to_end(&mut start)?;
    match &start[..] {
        start if start.starts_with(&matroska::SIGNATURE) => matroska::inspect(file).map(Some),
        start if avi::is_avi(start) => avi::inspect(file).map(Some),
        start if asf::is_one(start) => asf::inspect(file).map(Some),
        start if start.starts_with(&ogg::SIGNATURE) => ogg::inspect(file).map(Some),
        start if obu::is_stream(start) => obu::inspect(file).map(Some),
        start if flv::is_one(start) => flv::inspect(file).map(Some),
        start if ivf::is_one(start) => ivf::inspect(file).map(Some),
        _ => match mp4::inspect(file)? {
            None => Ok(PesVideo::open(file)?.map(|video| video.contents)),
            movie => Ok(movie),
        },
    }
}
