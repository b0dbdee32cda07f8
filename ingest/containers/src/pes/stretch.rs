use super::clock::Clock;
use super::header::PesHeader;
use super::picture_counter::PictureCounter;
use super::{PesCodec, PesPart, nanoseconds};

/// Packets of a stream that belong together.
#[derive(Clone)]
pub(super) struct Stretch {
    pub(super) pid: u16,
    pub(super) codec: Option<Result<PesCodec, &'static str>>,
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) packets: u64,
    pub(super) decodable: u64,
    /// When the first key frame is shown, on the clock of the stream.
    pub(super) key: Option<i64>,
    /// When the first and the last one are shown.
    pub(super) shown: Option<(i64, i64)>,
    pub(super) pictures: PictureCounter,
}

impl Stretch {
    pub(super) fn new(pid: u16, codec: Option<Result<PesCodec, &'static str>>, from: u64) -> Self {
        Self {
            pid,
            codec,
            from,
            to: u64::MAX,
            packets: 0,
            decodable: 0,
            key: None,
            shown: None,
            pictures: PictureCounter::default(),
        }
    }

    /// Adds a PES packet that starts with these bytes.
    pub(super) fn add(&mut self, header: PesHeader, data: &[u8], clock: &mut Clock) {
        self.packets += 1;
        self.codec = self.codec.or_else(|| PesCodec::sniff(data).map(Ok));
        let times = clock.place_packet(&header);
        self.pictures.set_times(times);
        let shown = times.map(|times| times.shown);
        if let Some(shown) = shown {
            let (first, last) = self.shown.unwrap_or((shown, shown));
            self.shown = Some((first.min(shown), last.max(shown)));
        }
        if let (None, Some(Ok(codec))) = (self.key, self.codec)
            && codec.starts_decoding(data)
        {
            self.key = Some(shown.unwrap_or(i64::MIN));
        }
        // Without a time, it may be shown before the key frame.
        let is_decodable = self.key.zip(shown).is_some_and(|(key, shown)| shown >= key);
        self.decodable += u64::from(is_decodable);
    }

    /// Counts the pictures in the data of a packet.
    pub(super) fn count(&mut self, data: &[u8]) {
        match self.codec {
            Some(Err(_)) => {}
            Some(Ok(codec)) => self.pictures.add(Some(codec), data),
            None => self.pictures.add(None, data),
        }
    }

    pub(super) fn part(&self) -> Option<PesPart> {
        let codec = self.codec?.ok()?;
        Some(PesPart {
            codec,
            packets: self.packets,
            decodable: self.decodable,
            pictures: self.pictures.count(),
            duration: self.shown.and_then(|(first, last)| nanoseconds(last.saturating_sub(first))),
            shown_from: self.shown.map_or(0, |(first, _)| first),
            stream: self.pid,
            from: self.from,
            to: self.to,
        })
    }
}
