//! Decodes videos with GStreamer into letterboxed pictures.
//!
//! Each video is decoded on a thread of its own. The pictures arrive in a bounded channel, so a
//! slow consumer makes the decoder wait, and memory stays bounded. The crate needs no async
//! runtime; an async consumer receives from the same channel.
//!
//! ```no_run
//! use moliceiro_decode::{DecodeSettings, Encoding, Size, start};
//! use url::Url;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let uri = Url::parse("file:///videos/street.mp4")?;
//! let size = Size { width: 640, height: 640 };
//! let settings = DecodeSettings { encoding: Encoding::Jpeg, ..DecodeSettings::new(size) };
//! let decoding = start(&uri, settings);
//! while let Ok(frame) = decoding.frames.recv_blocking() {
//!     match frame {
//!         Ok(picture) => std::fs::write(format!("{}.jpg", picture.index), picture.pixels)?,
//!         Err(undecodable) => eprintln!("{undecodable}"),
//!     }
//! }
//! let video = decoding.outcome_blocking()?;
//! println!("{} frames", video.decoded);
//! if let Some(incomplete) = video.incomplete {
//!     println!("{incomplete}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # The path of a frame
//!
//! 1. [`start`] spawns the thread (`start`), which checks the input (`file`, `folder`) and runs
//!    the steps below for each frame (`decode`; `video_file`, `image_files`; then `run`).
//! 2. `pipeline` lets GStreamer find the file's demuxer and decoder, queues what they produce, and
//!    notices errors and stalls (`bus`). `images` reads the files of pictures and animations, and
//!    decodes most of them without GStreamer. Both return a `raw_frame`. Of an MP4, `piece_source`
//!    gives GStreamer only the track that is decoded, and `mp4` drops the frames that its edit list
//!    hides. Of a damaged AVI, it gives what is left. Transport streams and program streams are demuxed by `moliceiro-containers`, and
//!    `packet_source` feeds the decoder with them (`pes`), as it does with damaged Flash Video
//!    (`flv`).
//! 3. `output` takes it from there. `frame_selector` decides whether the frame is selected.
//!    `still` leaves out frames that equal the one before, and `probes` what is not a key frame, if
//!    that is asked for.
//! 4. `interlacing` makes one moment of an interlaced frame's two (`fields`). `picture` scales it (`scale`,
//!    `color`), turns it upright and fits it into the picture (`geometry`); `jpeg` and `thumbnail` encode it.
//! 5. The bounded channel of a [`Decoding`] delivers it, and `output` counts it.
//!
//! Meanwhile `probes` observes what the demuxer and the decoder receive (`autoplug` attaches it).
//! At the end, `completeness` compares that with the decoded frames and with what the container
//! declares ([`ContainerInfo`], `avi`), and so recognises a truncated or damaged video.
//!
//! A live source ([`live`]) has no end and does not wait: it is cut into windows, and each window
//! is a [`Decoding`] of its own that drops frames when its consumer is too slow.
//!
//! [`Workers`] does all of this in a process of its own for each video (`worker`), so that a plugin
//! that crashes costs one video.
//!
//! [`installation`] reports what of GStreamer this machine has.
//!
//! # Upstream bugs
//!
//! Comments of the form "GStreamer 1.22 does X" name the test that fails without the workaround,
//! if there is one.

mod autoplug;
mod avi;
mod bus;
mod codecs;
mod codes;
mod color;
mod completeness;
mod container_info;
mod cut;
mod decode;
mod decoded;
mod decoding;
mod elements;
mod error;
mod explain;
mod fields;
mod file;
mod file_source;
mod flv;
mod folder;
mod format;
mod frame_selector;
mod frame_times;
mod geometry;
mod image_files;
mod images;
mod installation;
mod interlacing;
mod jpeg;
mod limits;
pub mod live;
mod mp4;
mod mpeg_times;
mod nal;
mod observer;
mod obu;
mod ogg;
mod output;
mod packet_source;
mod part;
mod pes;
mod picture;
mod picture_order;
mod piece_source;
mod pipeline;
mod pixels;
mod probes;
mod raw_frame;
mod reordering;
mod run;
mod running;
mod scale;
mod sei;
mod settings;
mod signature;
mod start;
mod still;
mod thumbnail;
mod timeline;
mod tracks;
mod unsupported;
mod video_file;
mod worker;

pub use container_info::ContainerInfo;
pub use cut::cut;
pub use decoded::{DecodedFrame, DecodedThumbnail, DecodedVideo, Notice, UndecodableFrame};
pub use decoding::Decoding;
pub use error::{DecodeError, Incomplete};
pub use folder::is_picture;
pub use installation::{IncompletePackage, Installation, gstreamer_version, installation};
pub use moliceiro_messages::{
    Area, CarriedRun, Color, Deinterlace, Encoding, Fit, FrameSelection, Letterbox, Matrix, Size,
    Skipped,
};
pub use observer::{DecodeEvent, Observer};
pub use settings::DecodeSettings;
pub use start::{init, start, start_file};
pub use worker::{WorkerCommand, Workers, serve};
