use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use gstreamer as gst;
use tracing::{debug, error};

use super::disconnected::Disconnected;
use super::drop_counter::DropCounter;
use super::origin::LiveOrigin;
use super::stream::Stream;
use super::window::{Offered, OpenWindow, Window};
use crate::error::DecodeError;
use crate::settings::DecodeSettings;

/// Pictures that one window buffers: a few seconds.
const QUEUED_PICTURES: usize = 64;
/// How often a wait is interrupted to check for cancellation.
const POLL: Duration = Duration::from_millis(50);

/// A connection to a live source. Closing `windows` stops it, and ends the open window.
#[derive(Debug)]
pub struct Connection {
    /// The windows, each as soon as its first frame arrives.
    pub windows: async_channel::Receiver<Window>,
    outcome: async_channel::Receiver<Disconnected>,
}

impl Connection {
    /// How it ended. Call this after the last window.
    pub async fn outcome(self) -> Disconnected {
        self.windows.close();
        self.outcome.recv().await.unwrap_or(Disconnected::Unusable(DecodeError::Panicked))
    }
}

/// Connects to a live source on a new thread, and cuts it into windows of length `window`. Errors
/// call it `name`; `dropped` counts the frames that were dropped.
pub fn connect(
    origin: LiveOrigin,
    name: String,
    settings: DecodeSettings,
    window: Duration,
    dropped: Arc<AtomicU64>,
) -> Connection {
    // At most one window waits for the consumer: until then, no other is opened.
    let (windows, receiver) = async_channel::bounded(1);
    let (outcome_sender, outcome) = async_channel::bounded(1);
    let settings = DecodeSettings { queue: QUEUED_PICTURES, skip_before: 0, ..settings };
    let drop_counter = DropCounter::new(dropped, settings.observer.clone());
    let receiving = Receiving { name, settings, window, windows, drop_counter };
    let thread = std::thread::Builder::new().name("live".into()).spawn(move || {
        // The receiver is dropped when the consumer abandons the connection.
        if outcome_sender.try_send(receiving.run(&origin)).is_err() {
            debug!("the outcome of an abandoned connection is discarded");
        }
    });
    if let Err(error) = thread {
        error!(%error, "cannot start a thread for a live source");
    }
    Connection { windows: receiver, outcome }
}

/// What the thread of a connection works with.
struct Receiving {
    name: String,
    settings: DecodeSettings,
    window: Duration,
    windows: async_channel::Sender<Window>,
    drop_counter: DropCounter,
}

impl Receiving {
    fn run(&self, origin: &LiveOrigin) -> Disconnected {
        let stall_timeout = self.settings.stall_timeout;
        let key_frames = self.settings.selection.key_frames;
        let opened =
            Stream::open(origin, &self.name, stall_timeout, &self.drop_counter, key_frames);
        let stream = match opened {
            Ok(stream) => stream,
            Err(error) => return Disconnected::Unusable(error),
        };
        let mut open = None::<OpenWindow>;
        let mut last_frame = Instant::now();
        let end = loop {
            if self.windows.is_closed() {
                break Disconnected::Stopped;
            }
            match stream.recv_timeout(POLL) {
                Ok(sample) => {
                    last_frame = Instant::now();
                    if let Some(window) = open.take_if(|window| window.age() >= self.window) {
                        window.end(&self.name, None);
                    }
                    if let Some(window) = &mut open {
                        window.leave_out(stream.undecoded());
                    }
                    if let Err(error) = self.offer(&sample, &mut open) {
                        break Disconnected::Unusable(error);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    if let Some(end) = stream.end(&self.name) {
                        break end;
                    }
                    if last_frame.elapsed() > stall_timeout {
                        break Disconnected::Lost(format!("no frame for {stall_timeout:?}"));
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    break Disconnected::Lost("GStreamer closed the source".into());
                }
            }
        };
        if let Some(window) = open {
            let reason = match &end {
                Disconnected::Ended | Disconnected::Stopped => None,
                lost => Some(lost.to_string()),
            };
            window.end(&self.name, reason);
        }
        end
    }

    /// Offers a frame to the open window, or opens one with it.
    fn offer(
        &self,
        sample: &gst::Sample,
        open: &mut Option<OpenWindow>,
    ) -> Result<(), DecodeError> {
        if open.is_none() {
            *open = self.open_window()?;
        }
        let offered = match open {
            Some(window) => {
                window.offer(sample).map_err(|error| error.into_decode_error(&self.name))?
            }
            None => Offered::NoSpace,
        };
        if offered == Offered::NoSpace {
            self.drop_counter.count();
        }
        Ok(())
    }

    /// `None` while an earlier window waits for the consumer.
    fn open_window(&self) -> Result<Option<OpenWindow>, DecodeError> {
        if self.windows.is_full() {
            return Ok(None);
        }
        let (open, window) = OpenWindow::open(&self.settings, &self.drop_counter)
            .map_err(|error| error.into_decode_error(&self.name))?;
        // This is the only sender, so an error means that the consumer has closed the channel.
        Ok(self.windows.try_send(window).is_ok().then_some(open))
    }
}
