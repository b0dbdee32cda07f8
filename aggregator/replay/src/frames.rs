//! Stored results by their frames, read in the order in which they were stored.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt};
use moliceiro_nats::messages::{Carried, FrameResult};
use moliceiro_nats::{DetectionsError, StoredResult, Streams, VideoId, stored_results};

/// Results that wait in memory for earlier frames. Of more, those of the last frames are read
/// again later.
const MOST_WAITING: usize = 4_096;

type Results =
    Pin<Box<dyn Stream<Item = Result<(u64, StoredResult), DetectionsError>> + Send + Sync>>;

/// The stored results of a video, for someone who needs them in order of their frames. They are
/// nearly stored in that order: detectors finish out of order, and a frame that is retried comes
/// much later.
pub struct StoredResults {
    streams: Streams,
    video: VideoId,
    waiting: BTreeMap<u64, Arc<FrameResult>>,
    /// The frames to come that carry the objects of another one: that one, and their times.
    carried: BTreeMap<u64, (u64, Option<u64>)>,
    /// The last result before the frame that was asked for.
    before: Option<Arc<FrameResult>>,
    reading: Option<Results>,
    /// What is stored before this sequence was read.
    read_from: u64,
    /// The first of the results that were read and had no space.
    dropped: Option<u64>,
    /// What is not in memory of the frames up to this index is not stored, as of the last reading.
    known_up_to: Option<u64>,
}

impl StoredResults {
    /// Reads nothing yet.
    pub fn new(streams: &Streams, video: &VideoId) -> Self {
        Self {
            streams: streams.clone(),
            video: video.clone(),
            waiting: BTreeMap::new(),
            carried: BTreeMap::new(),
            before: None,
            reading: None,
            read_from: 1,
            dropped: None,
            known_up_to: None,
        }
    }

    /// Adds a result that came another way, so that it need not be read. Others may have been
    /// stored since the last reading.
    pub fn offer(&mut self, frame: FrameResult) {
        if self.waiting.len() < MOST_WAITING {
            self.waiting.entry(frame.index).or_insert_with(|| Arc::new(frame));
        }
    }

    /// The same of frames that carry the objects of others.
    pub fn offer_carried(&mut self, carried: &Carried) {
        let frames = |source, frames: &[_]| {
            let frames = frames.iter().map(move |&(index, pts)| (index, (source, pts)));
            frames.collect::<Vec<_>>()
        };
        for run in &carried.runs {
            self.carried.extend(frames(run.source, &run.frames));
        }
    }

    /// Notices what was stored since the last reading.
    pub fn refresh(&mut self) {
        self.known_up_to = None;
        self.close();
    }

    /// The result of a frame; `None` if it is not stored. Call it for frames in order.
    pub async fn of(&mut self, index: u64) -> Result<Option<Arc<FrameResult>>, DetectionsError> {
        while self.waiting.first_key_value().is_some_and(|(first, _)| *first < index) {
            if let Some((_, frame)) = self.waiting.pop_first() {
                self.pass(frame);
            }
        }
        self.carried = self.carried.split_off(&index);
        loop {
            if let Some(frame) = self.waiting.remove(&index) {
                // Frames that carry its objects may follow.
                self.pass(Arc::clone(&frame));
                return Ok(Some(frame));
            }
            if let Some((source, pts)) = self.carried.get(&index).copied()
                && let Some(frame) = self.before.as_ref().filter(|frame| frame.index == source)
            {
                return Ok(Some(Arc::new(frame.carried_by(index, pts))));
            }
            if self.known_up_to.is_some_and(|known| index <= known) {
                return Ok(None);
            }
            self.read(index).await?;
        }
    }

    fn pass(&mut self, frame: Arc<FrameResult>) {
        if self.before.as_ref().is_none_or(|before| before.index < frame.index) {
            self.before = Some(frame);
        }
    }

    async fn read(&mut self, index: u64) -> Result<(), DetectionsError> {
        let (streams, video, from) = (&self.streams, &self.video, self.read_from);
        let reading =
            self.reading.get_or_insert_with(|| Box::pin(stored_results(streams, video, from)));
        match reading.next().await {
            Some(Ok((sequence, result))) => {
                self.read_from = sequence + 1;
                match result {
                    // Of two results of a frame, the first one was counted.
                    StoredResult::Frame(frame) if frame.index >= index => {
                        self.waiting.entry(frame.index).or_insert_with(|| Arc::new(frame));
                    }
                    StoredResult::Frame(frame) => self.pass(Arc::new(frame)),
                    StoredResult::Carried(carried) => self.offer_carried(&carried),
                }
                if self.waiting.len() > MOST_WAITING {
                    self.waiting.pop_last();
                    self.dropped.get_or_insert(sequence);
                }
                Ok(())
            }
            Some(Err(error)) => {
                self.close();
                Err(error)
            }
            None => {
                let last = self.waiting.last_key_value().map(|(last, _)| *last);
                self.known_up_to = match self.dropped {
                    Some(_) => last.or(Some(index)),
                    None => Some(u64::MAX),
                };
                self.close();
                Ok(())
            }
        }
    }

    fn close(&mut self) {
        self.reading = None;
        self.read_from = self.dropped.take().unwrap_or(self.read_from);
    }
}
