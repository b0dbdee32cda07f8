//! The child: a process that decodes one video, or one still picture after the other.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, PipeWriter, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use gstreamer as gst;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use rustix::process::{Resource, Rlimit, Signal, setrlimit};
use tracing::{debug, error};

use crate::container_info::ContainerInfo;
use crate::decoded::{DecodedFrame, DecodedVideo, UndecodableFrame};
use crate::elements;
use crate::error::DecodeError;
use crate::file::Input;
use crate::observer::Observer;
use crate::start::start_input;
use crate::worker::protocol::{self, Container, FrameHeader, Job, JobInput, Message};

/// Pictures that wait for the pipe.
const QUEUE: usize = 2;
/// How often a child reports that it is alive, while it delivers no frames.
const INTERVAL: Duration = Duration::from_millis(200);
/// Memory that is reserved and not used: stacks of threads, for the most part.
const RESERVED: u64 = 1 << 30;
/// Plugins that most videos need. They are loaded before there is a video, because that takes
/// longer than decoding a short one.
const COMMON_PLUGINS: [&str; 8] = [
    "playback",
    "app",
    "typefindfunctions",
    "isomp4",
    "matroska",
    "videoparsersbad",
    "libav",
    "jpeg",
];

/// The whole of a process that decodes for the [`Workers`](crate::Workers) of its parent: standard
/// input is the socket that they gave it. `observer` receives the events of the decoder, on its
/// thread.
pub fn serve(observer: Observer) -> ExitCode {
    match run(&observer) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(%error, "cannot decode for another process");
            ExitCode::FAILURE
        }
    }
}

fn run(observer: &Observer) -> io::Result<()> {
    restrict()?;
    warm_up();
    let control = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let jobs = receive_jobs(control)?;
    while let Ok(assigned) = jobs.recv() {
        assigned?.decode(observer.clone())?;
    }
    Ok(())
}

/// What the parent asked for.
struct Assigned {
    job: Job,
    messages: PipeWriter,
    file: Option<File>,
}

/// Before anything of the video is read.
fn restrict() -> io::Result<()> {
    // A crash is reported by the parent. A picture of its memory would only fill the disk.
    limit(Resource::Core, 0)?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // Only the parent decides when a video ends, also if a supervisor signals every process.
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    // If the machine runs out of memory, this process goes, and not its parent. It may be forbidden
    // to say so.
    std::fs::write("/proc/self/oom_score_adj", "500").ok();
    rustix::thread::set_name(c"decode-worker").ok();
    Ok(())
}

fn limit(resource: Resource, most: u64) -> io::Result<()> {
    Ok(setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?)
}

/// An unusable GStreamer is reported when there is a video.
fn warm_up() {
    if elements::init().is_err() {
        return;
    }
    let registry = gst::Registry::get();
    for plugin in COMMON_PLUGINS.iter().filter_map(|name| registry.find_plugin(name)) {
        if let Err(error) = plugin.load() {
            debug!(%error, plugin = %plugin.plugin_name(), "cannot load a plugin");
        }
    }
}

/// The next job; `None` if the parent has ended.
fn receive(mut control: &UnixStream) -> io::Result<Option<Assigned>> {
    let mut length = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut buffer = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(&mut length)];
    let received = rustix::net::recvmsg(
        control.as_fd(),
        &mut slices,
        &mut buffer,
        RecvFlags::CMSG_CLOEXEC | RecvFlags::WAITALL,
    )?;
    if received.bytes == 0 {
        return Ok(None);
    }
    let mut descriptors = buffer
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten();
    let (messages, file) = (descriptors.next(), descriptors.next());
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let mut bytes = vec![0; protocol::message_length(length).ok_or_else(invalid)?];
    control.read_exact(&mut bytes)?;
    Ok(Some(Assigned {
        job: protocol::decode(&bytes)?,
        messages: messages.map(PipeWriter::from).ok_or_else(invalid)?,
        file: file.map(|file: OwnedFd| File::from(file)),
    }))
}

/// What the parent asks for, until it ends: its end of the socket closes then, however that
/// happens, and with it this process ends.
fn receive_jobs(control: UnixStream) -> io::Result<Receiver<io::Result<Assigned>>> {
    let (sender, jobs) = channel();
    thread::Builder::new().name("parent".into()).spawn(move || {
        while let Some(assigned) = receive(&control).transpose() {
            if sender.send(assigned).is_err() {
                break;
            }
        }
        end();
    })?;
    Ok(jobs)
}

/// Ends this process at once: nothing in it is worth cleaning up, and a plugin may hang.
fn end() -> ! {
    rustix::process::kill_process(rustix::process::getpid(), Signal::KILL).ok();
    std::process::abort()
}

impl Assigned {
    fn decode(self, observer: Observer) -> io::Result<()> {
        let Self { job: Job { mut settings, input }, messages, file } = self;
        limit(Resource::Data, settings.max_memory.saturating_add(RESERVED))?;
        let decoded = Arc::<AtomicU64>::default();
        settings.queue = settings.queue.min(QUEUE);
        settings.observer = {
            let decoded = decoded.clone();
            Observer::new(move |event| {
                decoded.fetch_add(1, Relaxed);
                observer.report(event);
            })
        };
        let input = match (input, file) {
            (JobInput::File { name }, Some(file)) => Input::File { file, name },
            (JobInput::File { .. }, None) => return Err(io::ErrorKind::InvalidData.into()),
            (JobInput::Folder { uri }, _) => Input::Uri(uri),
        };
        let decoding = start_input(input, settings);
        let output = Output {
            messages,
            container_info: decoding.container_info(),
            container: Container::default(),
            decoded,
            reported: 0,
            ended: false,
        };
        let output = Arc::new(Mutex::new(output));
        report_now_and_then(Arc::downgrade(&output))?;
        let locked = || output.lock().unwrap_or_else(PoisonError::into_inner);
        while let Ok(frame) = decoding.frames.recv_blocking() {
            locked().send_frame(frame)?;
        }
        let outcome = decoding.outcome_blocking();
        let may_decode_more = leaves_nothing_behind(&outcome);
        let mut output = locked();
        output.send(&Message::Outcome(outcome))?;
        output.ended = true;
        // Otherwise it keeps the lock: nothing follows the outcome.
        if may_decode_more { Ok(()) } else { end() }
    }
}

/// Whether a process that decoded this is as good as a new one: only a whole still picture is sure
/// to leave no threads and little memory behind.
pub(super) fn leaves_nothing_behind(outcome: &Result<DecodedVideo, DecodeError>) -> bool {
    outcome.as_ref().is_ok_and(|video| {
        video.decoded <= 1 && video.incomplete.is_none() && video.notices.is_empty()
    })
}

fn report_now_and_then(output: Weak<Mutex<Output>>) -> io::Result<()> {
    thread::Builder::new().name("progress".into()).spawn(move || {
        loop {
            thread::sleep(INTERVAL);
            let Some(output) = output.upgrade() else { return };
            let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
            if output.ended {
                return;
            }
            if output.send_progress().is_err() {
                end();
            }
        }
    })?;
    Ok(())
}

/// The child's end of the pipe, and what was written into it.
struct Output {
    messages: PipeWriter,
    container_info: ContainerInfo,
    container: Container,
    decoded: Arc<AtomicU64>,
    reported: u64,
    /// The outcome is sent, and nothing follows it.
    ended: bool,
}

impl Output {
    fn send(&mut self, message: &Message) -> io::Result<()> {
        let mut bytes = self.progress()?;
        bytes.extend(protocol::encode(message)?);
        self.messages.write_all(&bytes)
    }

    /// Sends what has changed.
    fn send_progress(&mut self) -> io::Result<()> {
        let bytes = self.progress()?;
        self.messages.write_all(&bytes)
    }

    /// Messages about what has changed.
    fn progress(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let info = &self.container_info;
        let container = Container {
            duration: info.duration(),
            frame_rate: info.frame_rate(),
            frames: info.exact_frames(),
            pixels: info.pixels(),
        };
        if container != self.container {
            self.container = container.clone();
            bytes.extend(protocol::encode(&Message::Container(container))?);
        }
        let decoded = self.decoded.load(Relaxed);
        if decoded != self.reported {
            self.reported = decoded;
            bytes.extend(protocol::encode(&Message::Decoded(decoded))?);
        }
        Ok(bytes)
    }

    fn send_frame(&mut self, frame: Result<DecodedFrame, UndecodableFrame>) -> io::Result<()> {
        let frame = match frame {
            Ok(frame) => frame,
            Err(undecodable) => return self.send(&undecodable.into()),
        };
        let mut messages = self.progress()?;
        messages.extend(protocol::encode(&Message::Frame(FrameHeader::of(&frame)))?);
        let jpeg = frame.thumbnail.as_ref().map_or(&[][..], |thumbnail| &thumbnail.jpeg);
        // In one system call, if the pipe has room.
        let mut all = [&messages[..], &frame.pixels[..], jpeg].map(IoSlice::new);
        let mut rest = &mut all[..];
        while !rest.is_empty() {
            match self.messages.write_vectored(rest) {
                Ok(written) => IoSlice::advance_slices(&mut rest, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
