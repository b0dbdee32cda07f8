use std::fs::File;
use std::io;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tracing::error;
use url::Url;

use crate::decoding::Decoding;
use crate::file::Input;
use crate::settings::DecodeSettings;
use crate::start::spawn;
use crate::worker::process::{Worker, WorkerCommand};
use crate::worker::remote;

/// Decodes each video in a process of its own; still pictures may have one after the other. One
/// process is always started ahead, and waits for a video. Cheap to clone.
///
/// A plugin that crashes, hangs or takes too much memory costs the video that it decodes. The
/// result is otherwise the same as that of [`start`](crate::start).
#[derive(Clone, Debug)]
pub struct Workers(Arc<Pool>);

#[derive(Debug)]
pub(crate) struct Pool {
    started: Mutex<Receiver<io::Result<Worker>>>,
    /// Those that have decoded still pictures.
    used: Mutex<Vec<Worker>>,
}

/// More of them would only take memory: a picture is decoded in a moment.
const MAX_USED: usize = 2;

impl Workers {
    /// Starts the first process.
    pub fn new(command: WorkerCommand) -> Self {
        // Without a buffer: a process is started when the one before it is taken.
        let (sender, receiver) = sync_channel(0);
        // The processes end with the thread that starts them: it must live as long as the pool.
        let thread = thread::Builder::new()
            .name("decode-spawn".into())
            .spawn(move || while sender.send(Worker::spawn(&command)).is_ok() {});
        if let Err(error) = thread {
            error!(%error, "cannot start a thread for decoding");
        }
        Self(Arc::new(Pool { started: Mutex::new(receiver), used: Mutex::default() }))
    }

    /// The same as [`start`](crate::start), in a process of its own.
    pub fn start(&self, uri: &Url, settings: DecodeSettings) -> Decoding {
        self.start_input(Input::Uri(uri.clone()), settings)
    }

    /// The same as [`start_file`](crate::start_file), in a process of its own.
    pub fn start_file(&self, file: File, name: String, settings: DecodeSettings) -> Decoding {
        self.start_input(Input::File { file, name }, settings)
    }

    fn start_input(&self, input: Input, settings: DecodeSettings) -> Decoding {
        // The pool lives at least as long as the video.
        let pool = self.0.clone();
        spawn(settings.queue, move |sender| remote::decode(&pool, input, settings, sender))
    }
}

impl Pool {
    /// A process that waits for a video: a used one, if there is one that has this limit of memory.
    pub(crate) fn take(&self, max_memory: u64) -> io::Result<Worker> {
        let used = {
            let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            let at = used.iter().position(|worker| worker.max_memory() == Some(max_memory));
            at.map(|at| used.swap_remove(at))
        };
        used.map_or_else(|| self.take_new(), Ok)
    }

    pub(crate) fn take_new(&self) -> io::Result<Worker> {
        let started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        started.recv().unwrap_or_else(|_| Err(io::Error::other("no thread could be started")))
    }

    /// Keeps a process for another video.
    pub(crate) fn give_back(&self, worker: Worker) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() < MAX_USED {
            used.push(worker);
        }
    }
}
