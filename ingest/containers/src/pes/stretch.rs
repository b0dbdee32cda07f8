use super::clock::Clock;
use super::header::PesHeader;
use super::picture_counter::PictureCounter;
use super::{PesCodec, PesPart, PictureCount, nanoseconds};

/// Films in one stretch that are told apart.
const MOST_FILMS: usize = 64;

/// Packets of a stream that belong together.
#[derive(Clone)]
pub(super) struct Stretch {
    pub(super) pid: u16,
    pub(super) codec: Option<Result<PesCodec, &'static str>>,
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) packets: u64,
    pictures: PictureCounter,
    /// Films that another one follows.
    earlier: Vec<PesPart>,
    film: Film,
    last: Option<Packet>,
}

/// The packets of a film.
#[derive(Clone, Copy, Default)]
struct Film {
    from: u64,
    packets: u64,
    decodable: u64,
    /// When the first key frame is shown, on the clock of the stream.
    key: Option<i64>,
    /// When the first and the last one are shown.
    shown: Option<(i64, i64)>,
}

/// The packet that is being read.
#[derive(Clone, Copy)]
struct Packet {
    place: u64,
    shown: Option<i64>,
    /// Whether a decoder can start with it.
    is_start: bool,
    /// The film without it.
    before: Film,
}

impl Film {
    fn add(&mut self, shown: Option<i64>, is_start: bool) {
        self.packets += 1;
        if let Some(shown) = shown {
            let (first, last) = self.shown.unwrap_or((shown, shown));
            self.shown = Some((first.min(shown), last.max(shown)));
        }
        if self.key.is_none() && is_start {
            self.key = Some(shown.unwrap_or(i64::MIN));
        }
        // Without a time, it may be shown before the key frame.
        let is_decodable = self.key.zip(shown).is_some_and(|(key, shown)| shown >= key);
        self.decodable += u64::from(is_decodable);
    }

    fn part(self, codec: PesCodec, stream: u16, to: u64, pictures: PictureCount) -> PesPart {
        PesPart {
            codec,
            packets: self.packets,
            decodable: self.decodable,
            pictures,
            duration: self.shown.and_then(|(first, last)| nanoseconds(last.saturating_sub(first))),
            shown_from: self.shown.map_or(0, |(first, _)| first),
            stream,
            from: self.from,
            to,
        }
    }
}

impl Stretch {
    pub(super) fn new(pid: u16, codec: Option<Result<PesCodec, &'static str>>, from: u64) -> Self {
        Self {
            pid,
            codec,
            from,
            to: u64::MAX,
            packets: 0,
            pictures: PictureCounter::default(),
            earlier: Vec::new(),
            film: Film { from, ..Film::default() },
            last: None,
        }
    }

    /// Adds a PES packet that starts with these bytes, at this place of the file.
    pub(super) fn add(&mut self, header: PesHeader, data: &[u8], clock: &mut Clock, place: u64) {
        self.packets += 1;
        self.codec = self.codec.or_else(|| PesCodec::sniff(data).map(Ok));
        let times = clock.place_packet(&header);
        self.pictures.set_times(times);
        let shown = times.map(|times| times.shown);
        let is_start = matches!(self.codec, Some(Ok(codec)) if codec.starts_decoding(data));
        self.last = Some(Packet { place, shown, is_start, before: self.film });
        self.film.add(shown, is_start);
    }

    /// Counts the pictures in the data of a packet.
    pub(super) fn count(&mut self, data: &[u8]) {
        let codec = match self.codec {
            Some(Err(_)) => return,
            Some(Ok(codec)) => Some(codec),
            None => None,
        };
        self.pictures.add(codec, data);
        // A decoder that does not start anew would drop pictures of either film.
        if let (Some(codec), Some(last)) = (codec, self.last)
            && last.is_start
            && self.earlier.len() < MOST_FILMS
            && let Some(pictures) = self.pictures.split()
        {
            self.earlier.push(last.before.part(codec, self.pid, last.place, pictures));
            self.film = Film { from: last.place, ..Film::default() };
            self.film.add(last.shown, true);
        }
    }

    /// The same, if it ends at this place of the file.
    pub(super) fn until(self, to: u64) -> Self {
        Self { to, ..self }
    }

    /// Its films.
    pub(super) fn parts(&self) -> Vec<PesPart> {
        let Some(Ok(codec)) = self.codec else { return Vec::new() };
        let last = self.film.part(codec, self.pid, self.to, self.pictures.count());
        self.earlier.iter().copied().chain([last]).collect()
    }
}
