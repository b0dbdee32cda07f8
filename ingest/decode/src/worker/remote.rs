//! The parent's end of a video.

use std::fs::File;
use std::io::{self, PipeReader, Read, Seek};

use moliceiro_messages::Size;
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tracing::{debug, info};
use url::Url;

use crate::decoded::{DecodedFrame, DecodedVideo, UndecodableFrame};
use crate::decoding::DecodingSender;
use crate::error::{DecodeError, Incomplete};
use crate::file::{self, CheckedInput, Input};
use crate::observer::DecodeEvent;
use crate::settings::DecodeSettings;
use crate::timeline::Coverage;
use crate::worker::child::leaves_nothing_behind;
use crate::worker::pool::Pool;
use crate::worker::process::{Worker, describe};
use crate::worker::protocol::{self, Container, FrameHeader, Job, JobInput, Message};
use crate::worker::watch::{self, Excess, Watch};

/// More frames than this cannot be decoded between two messages.
const MAX_DECODED: u64 = 1_000_000;
/// Messages without pictures are short.
const READ_AHEAD: usize = 4096;
/// A process that has decoded so many pictures, or has more bytes of memory left, is replaced.
const MAX_VIDEOS: u32 = 200;
const MAX_REMAINING: u64 = 256 << 20;
/// Of what a child prints, a line is no longer than this.
const MAX_LINE: usize = 4096;

/// Decodes a whole video in another process, and passes its frames on from this thread.
pub(crate) fn decode(
    pool: &Pool,
    input: Input,
    settings: DecodeSettings,
    sender: &DecodingSender,
) -> Result<DecodedVideo, DecodeError> {
    let video = Opened::new(input)?;
    let no_worker = |error: io::Error| DecodeError::NoWorker { reason: error.to_string() };
    let assigned = video.assign_to_one_of(pool, &settings).map_err(no_worker)?;
    let mut remote = Remote::new(&video, assigned, settings, sender);
    let mut ended = remote.receive_all();
    // What ends a process that has decoded others before may be due to one of them.
    if remote.worker.videos() > 1
        && ended.as_ref().is_err_and(|stop| !matches!(stop, Stop::Cancelled))
    {
        remote.read_log();
        debug!(name = remote.name, "decoding again in a new process");
        let assigned = video.assign_to(pool.take_new(), &remote.settings).map_err(no_worker)?;
        let Remote { settings, progress, .. } = remote;
        remote = Remote { progress, ..Remote::new(&video, assigned, settings, sender) };
        ended = remote.receive_all();
    }
    remote.read_log();
    let outcome = match ended {
        Ok(outcome) => outcome,
        Err(stop) => remote.verdict(stop),
    };
    let problem = outcome.as_ref().map(|video| video.incomplete.as_ref().map(ToString::to_string));
    info!(
        name = remote.name,
        decoded = remote.progress.decoded,
        problem = problem.unwrap_or_else(|error| Some(error.to_string())),
        "decoded a video"
    );
    if leaves_nothing_behind(&outcome) {
        remote.give_back_worker(pool);
    }
    outcome
}

/// An input that a child can be given.
struct Opened {
    name: String,
    bytes: u64,
    /// A folder is opened by the child.
    source: Result<File, Url>,
}

impl Opened {
    /// Input that cannot be read is an error here, and costs no process.
    fn new(input: Input) -> Result<Self, DecodeError> {
        let checked = file::check(&input)?;
        let name = checked.name().to_owned();
        let source = match (input, checked) {
            (Input::Uri(uri), CheckedInput::Folder { .. }) => Err(uri),
            (Input::File { file, .. }, _) => Ok(file),
            (Input::Uri(_), CheckedInput::File(local)) => {
                Ok(File::open(&local.path).map_err(|error| file::unreadable(&name, &error))?)
            }
        };
        let bytes = source.as_ref().ok().and_then(|file| file.metadata().ok());
        Ok(Self { name, bytes: bytes.map_or(0, |metadata| metadata.len()), source })
    }

    fn assign_to_one_of(&self, pool: &Pool, settings: &DecodeSettings) -> io::Result<Assigned> {
        // One that has waited for long may have been killed meanwhile.
        self.assign_to(pool.take(settings.max_memory), settings)
            .or_else(|_| self.assign_to(pool.take_new(), settings))
            .or_else(|_| self.assign_to(pool.take_new(), settings))
    }

    fn assign_to(
        &self,
        worker: io::Result<Worker>,
        settings: &DecodeSettings,
    ) -> io::Result<Assigned> {
        let input = match &self.source {
            Ok(file) => {
                // Another process may have read from it.
                let mut file: &File = file;
                file.rewind()?;
                JobInput::File { name: self.name.clone() }
            }
            Err(uri) => JobInput::Folder { uri: uri.clone() },
        };
        let mut worker = worker?;
        let job = Job { settings: settings.clone(), input };
        let messages = worker.assign(&job, self.source.as_ref().ok())?;
        Ok(Assigned { worker, messages })
    }
}

/// A process that decodes the video, and what it writes.
struct Assigned {
    worker: Worker,
    messages: PipeReader,
}

/// Why no more messages are read, before the outcome.
enum Stop {
    Cancelled,
    /// The pipe has ended.
    Ended,
    Excess(Excess),
    /// It sent what no child sends.
    Invalid(&'static str),
    Io(io::Error),
}

impl From<Excess> for Stop {
    fn from(excess: Excess) -> Self {
        Self::Excess(excess)
    }
}

/// What has arrived of a video. A process that decodes it again repeats that.
#[derive(Default)]
struct Progress {
    /// According to the child.
    reported: u64,
    /// Every frame with a smaller index has arrived, or is not selected.
    decoded: u64,
    /// Number of selected frames among them.
    selected: u64,
    covered: Coverage,
    largest: u64,
}

struct Remote<'a> {
    name: String,
    worker: Worker,
    /// It does not block.
    messages: PipeReader,
    /// What was read of the next message.
    ahead: Vec<u8>,
    watch: Watch,
    settings: DecodeSettings,
    sender: &'a DecodingSender,
    /// What was printed since the last newline.
    line: Vec<u8>,
    progress: Progress,
}

impl<'a> Remote<'a> {
    fn new(
        video: &Opened,
        assigned: Assigned,
        settings: DecodeSettings,
        sender: &'a DecodingSender,
    ) -> Self {
        let Assigned { worker, messages } = assigned;
        Self {
            name: video.name.clone(),
            watch: Watch::new(worker.pid(), &settings, video.bytes),
            worker,
            messages,
            ahead: Vec::new(),
            settings,
            sender,
            line: Vec::new(),
            progress: Progress::default(),
        }
    }

    /// Keeps the process for another video, unless it has grown.
    fn give_back_worker(self, pool: &Pool) {
        let memory = watch::memory(self.worker.pid());
        if self.worker.videos() < MAX_VIDEOS && memory.is_some_and(|bytes| bytes < MAX_REMAINING) {
            pool.give_back(self.worker);
        }
    }

    fn receive_all(&mut self) -> Result<Result<DecodedVideo, DecodeError>, Stop> {
        loop {
            let message = self.receive()?;
            self.watch.heard();
            match message {
                Message::Container(container) => self.set_container(&container),
                Message::Decoded(decoded) => self.report(decoded)?,
                Message::Frame(header) => {
                    let frame = self.receive_picture(header)?;
                    if frame.number < self.progress.selected {
                        continue;
                    }
                    let (index, number, pts) = (frame.index, frame.number, frame.pts);
                    let Size { width, height } = frame.letterbox.source;
                    self.progress.largest =
                        self.progress.largest.max(u64::from(width) * u64::from(height));
                    self.send(Ok(frame))?;
                    self.delivered(index, number, pts);
                }
                Message::Undecodable { number, .. } if number < self.progress.selected => {}
                Message::Undecodable { index, number, reason, carried } => {
                    self.send(Err(UndecodableFrame { index, number, reason, carried }))?;
                    self.delivered(index, number, None);
                }
                Message::Outcome(outcome) => {
                    let decoded = outcome.as_ref().map_or(0, |video| video.decoded);
                    self.progress.decoded = self.progress.decoded.max(decoded);
                    return Ok(outcome);
                }
            }
        }
    }

    fn set_container(&self, container: &Container) {
        let info = self.sender.container_info();
        if let Some((numerator, denominator)) = container.frame_rate {
            info.set_frame_rate(numerator, denominator);
        }
        container.duration.into_iter().for_each(|duration| info.set_duration(duration));
        container.frames.into_iter().for_each(|frames| info.set_frames(frames));
        container.pixels.into_iter().for_each(|pixels| info.set_pixels(pixels));
    }

    fn report(&mut self, decoded: u64) -> Result<(), Stop> {
        let more = decoded.saturating_sub(self.progress.reported);
        if more > MAX_DECODED {
            return Err(Stop::Invalid("it counts frames that it cannot have decoded"));
        }
        (0..more).for_each(|_| self.settings.observer.report(DecodeEvent::FrameDecoded));
        self.progress.reported += more;
        let pixels = self.sender.container_info().pixels().unwrap_or(0);
        self.watch.decoded(decoded, pixels.max(self.progress.largest));
        Ok(())
    }

    /// Waits while the consumer's channel is full.
    fn send(&mut self, frame: Result<DecodedFrame, UndecodableFrame>) -> Result<(), Stop> {
        self.sender.frames().send_blocking(frame).map_err(|_| Stop::Cancelled)?;
        self.watch.heard();
        Ok(())
    }

    fn delivered(&mut self, index: u64, number: u64, pts: Option<u64>) {
        let rate = self.sender.container_info().frame_rate();
        let progress = &mut self.progress;
        progress.covered.add(pts, None, rate);
        progress.decoded = index.saturating_add(1);
        progress.selected = number.saturating_add(1);
    }

    fn receive(&mut self) -> Result<Message, Stop> {
        self.attend()?;
        let length = self.receive_bytes(size_of::<u32>(), READ_AHEAD)?;
        let length = length.try_into().ok().and_then(protocol::message_length);
        let length = length.ok_or(Stop::Invalid("it is too long"))?;
        let message = self.receive_bytes(length, READ_AHEAD)?;
        protocol::decode(&message).map_err(|_| Stop::Invalid("it is not a message"))
    }

    fn receive_picture(&mut self, header: FrameHeader) -> Result<DecodedFrame, Stop> {
        let Size { width, height } = self.settings.size;
        // The largest is a JPEG of noise; its file has a header. A fitted picture may have some
        // more pixels.
        let largest = u64::from(width) * u64::from(height) * 4 + 65_536;
        let pixels = self.receive_pixels(header.length, largest)?;
        let jpeg = match header.thumbnail {
            Some((_, length)) => Some(self.receive_pixels(length, largest)?),
            None => None,
        };
        Ok(header.into_frame(pixels, jpeg))
    }

    fn receive_pixels(&mut self, length: u64, largest: u64) -> Result<Vec<u8>, Stop> {
        let length = usize::try_from(length).ok().filter(|_| length <= largest);
        self.receive_bytes(length.ok_or(Stop::Invalid("its picture is too large"))?, 0)
    }

    /// The next bytes. Up to `ahead` more may be read in the same system call, and kept for later.
    fn receive_bytes(&mut self, length: usize, ahead: usize) -> Result<Vec<u8>, Stop> {
        let mut bytes = std::mem::take(&mut self.ahead);
        bytes.reserve_exact((length + ahead).saturating_sub(bytes.len()));
        while bytes.len() < length {
            match rustix::io::read(&self.messages, spare_capacity(&mut bytes)) {
                Ok(0) => return Err(Stop::Ended),
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.wait_for_messages()?,
                Err(error) => return Err(Stop::Io(error.into())),
            }
        }
        self.ahead = bytes.split_off(length);
        Ok(bytes)
    }

    /// Notices a consumer that has left, and a child that takes too much.
    fn attend(&mut self) -> Result<(), Stop> {
        if self.sender.frames().is_closed() {
            return Err(Stop::Cancelled);
        }
        if self.watch.check()? {
            self.read_log();
        }
        Ok(())
    }

    /// Waits until there is something to read, or the pipe has ended.
    fn wait_for_messages(&mut self) -> Result<(), Stop> {
        let interval = Timespec::try_from(watch::interval())
            .map_err(|error| Stop::Io(io::Error::other(error)))?;
        loop {
            self.attend()?;
            let [has_message, has_log] = {
                let mut both = [
                    PollFd::new(&self.messages, PollFlags::IN),
                    PollFd::new(&self.worker.log, PollFlags::IN),
                ];
                match poll(&mut both, Some(&interval)) {
                    Err(Errno::INTR) => continue,
                    polled => polled.map_err(|error| Stop::Io(error.into()))?,
                };
                both.map(|fd| fd.revents())
            };
            if has_log.contains(PollFlags::IN) {
                self.read_some_log();
            }
            if !has_message.is_empty() {
                return Ok(());
            }
        }
    }

    /// Reads what is there.
    fn read_some_log(&mut self) {
        let mut bytes = [0; MAX_LINE];
        let read = self.worker.log.read(&mut bytes).unwrap_or(0);
        for byte in &bytes[..read] {
            if *byte == b'\n' || self.line.len() == MAX_LINE {
                self.log_line();
            }
            if *byte != b'\n' {
                self.line.push(*byte);
            }
        }
    }

    fn log_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        debug!(name = self.name, "decoder: {}", String::from_utf8_lossy(&line).trim_end());
    }

    /// Logs the rest of what the child has printed so far.
    fn read_log(&mut self) {
        let now = Timespec::default();
        for _ in 0..16 {
            let mut log = [PollFd::new(&self.worker.log, PollFlags::IN)];
            let polled = poll(&mut log, Some(&now));
            if polled.is_err() || !log[0].revents().contains(PollFlags::IN) {
                break;
            }
            self.read_some_log();
        }
        if !self.line.is_empty() {
            self.log_line();
        }
    }

    /// The outcome of a video whose child did not report one.
    fn verdict(&mut self, stop: Stop) -> Result<DecodedVideo, DecodeError> {
        let frame = self.progress.decoded;
        let crashed = |how: String| Incomplete::Crashed { how, frame };
        let incomplete = match stop {
            Stop::Cancelled => return Err(DecodeError::Cancelled),
            Stop::Ended => crashed(describe(self.worker.wait())),
            Stop::Excess(Excess::Silent) => {
                Incomplete::Stalled { after: self.settings.stall_timeout }
            }
            Stop::Excess(Excess::Busy(time)) => {
                Incomplete::TooSlow { seconds: time.as_secs(), frame }
            }
            Stop::Excess(Excess::Memory) => {
                Incomplete::OutOfMemory { megabytes: self.settings.max_memory >> 20, frame }
            }
            Stop::Invalid(why) => crashed(format!("it sent an invalid message: {why}")),
            Stop::Io(error) => crashed(error.to_string()),
        };
        let Progress { decoded, selected, ref covered, .. } = self.progress;
        if selected == 0 {
            return Err(incomplete.into_error(&self.name));
        }
        let duration = covered.duration();
        Ok(DecodedVideo {
            frames: selected,
            decoded,
            duration,
            incomplete: Some(incomplete),
            notices: Vec::new(),
            carried: Vec::new(),
            skipped: None,
        })
    }
}
