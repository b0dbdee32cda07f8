//! What happens to a file.

use fastrand::Rng;

/// Values at which the lengths and numbers in a file are likely to overflow something.
const EXTREMES: [u32; 8] = [0, 1, 0x7f, 0xff, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];
/// Most of what decides how a file is read is in its first bytes.
const HEADER: usize = 512;
const LONGEST_INSERTION: usize = 4096;

/// Damages a file in one to three ways, and returns their names. `other` is another file.
pub fn apply(bytes: &mut Vec<u8>, other: &[u8], random: &mut Rng) -> Vec<&'static str> {
    (0..random.usize(1..=3)).map(|_| once(bytes, other, random)).collect()
}

fn once(bytes: &mut Vec<u8>, other: &[u8], random: &mut Rng) -> &'static str {
    if bytes.len() < 8 {
        bytes.extend((0..64).map(|_| random.u8(..)));
        return "short";
    }
    match random.u8(..12) {
        0 | 1 => {
            for _ in 0..random.usize(1..=20) {
                let position = position(bytes, random);
                bytes[position] ^= 1 << random.u8(..8);
            }
            "flip"
        }
        2 | 3 => {
            let value = EXTREMES[random.usize(..EXTREMES.len())];
            let value = if random.bool() { value.to_be_bytes() } else { value.to_le_bytes() };
            let start = position(bytes, random).min(bytes.len() - value.len());
            bytes[start..start + value.len()].copy_from_slice(&value);
            "extreme"
        }
        4 => {
            bytes.truncate(random.usize(..bytes.len()));
            "cut"
        }
        5 => {
            let (start, end) = block(bytes, random);
            bytes.drain(start..end);
            "lose"
        }
        6 => {
            let start = position(bytes, random);
            let junk: Vec<u8> =
                (0..random.usize(1..=LONGEST_INSERTION)).map(|_| random.u8(..)).collect();
            bytes.splice(start..start, junk);
            "insert"
        }
        7 => {
            let (start, end) = block(bytes, random);
            let to = random.usize(..=bytes.len() - (end - start));
            let moved: Vec<u8> = bytes.drain(start..end).collect();
            bytes.splice(to..to, moved);
            "move"
        }
        8 => {
            let (start, end) = block(bytes, random);
            let copied = bytes[start..end].to_vec();
            bytes.splice(end..end, copied);
            "repeat"
        }
        9 => {
            let (start, end) = block(bytes, random);
            bytes[start..end].fill(random.choice([0, 0xff]).unwrap());
            "blank"
        }
        10 => {
            let (start, end) = block(bytes, random);
            bytes[start..end].fill_with(|| random.u8(..));
            "noise"
        }
        _ => {
            let start = random.usize(..bytes.len());
            bytes.truncate(start);
            bytes.extend_from_slice(&other[start.min(other.len())..]);
            "splice"
        }
    }
}

fn position(bytes: &[u8], random: &mut Rng) -> usize {
    let most = if random.u8(..3) == 0 { HEADER } else { bytes.len() };
    random.usize(..bytes.len().min(most))
}

/// At most a quarter of the file.
fn block(bytes: &[u8], random: &mut Rng) -> (usize, usize) {
    let start = position(bytes, random);
    let length = random.usize(1..=(bytes.len() / 4).max(1));
    (start, (start + length).min(bytes.len()))
}
