use super::PesCodec;
use super::clock::Times;
use super::pictures::{PictureCount, Pictures};

/// Bytes of a video that are kept until its codec is known.
const MOST_EARLY: usize = 4 << 20;

/// Counts the pictures of a video whose codec may become known later than its first data.
#[derive(Clone, Default)]
pub(super) struct PictureCounter {
    pictures: Option<Pictures>,
    /// What came before the codec was known.
    early: Vec<u8>,
}

impl PictureCounter {
    /// When the first picture that starts in what is added next is decoded and shown.
    pub(super) fn set_times(&mut self, times: Option<Times>) {
        if let Some(pictures) = &mut self.pictures {
            pictures.set_times(times);
        }
    }

    /// Adds the data of a packet.
    pub(super) fn add(&mut self, codec: Option<PesCodec>, data: &[u8]) {
        if let Some(codec) = codec {
            let pictures = self.pictures.get_or_insert_with(|| Pictures::new(codec));
            pictures.push(&std::mem::take(&mut self.early));
            pictures.push(data);
        } else if self.early.len() < MOST_EARLY {
            self.early.extend_from_slice(data);
        }
    }

    /// The pictures before the last one, if another film begins with it.
    pub(super) fn split(&mut self) -> Option<PictureCount> {
        self.pictures.as_mut()?.split()
    }

    pub(super) fn count(&self) -> PictureCount {
        self.pictures.clone().map_or(PictureCount::default(), Pictures::finish)
    }
}
