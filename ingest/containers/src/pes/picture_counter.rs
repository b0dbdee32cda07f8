use super::PesCodec;
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

    pub(super) fn count(&self) -> PictureCount {
        self.pictures.clone().map_or(PictureCount::default(), Pictures::finish)
    }
}
