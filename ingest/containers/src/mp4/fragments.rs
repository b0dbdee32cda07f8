//! The samples of movie fragments.

use std::fs::File;
use std::io;

use super::boxes::{boxes, find, i32_at, u32_at, u64_at};
use super::file::{Layout, read_fragment};
use super::samples::{Sample, Samples};

/// ISO/IEC 14496-12, 8.8.3.1: `sample_is_non_sync_sample`, and `sample_depends_on` = 1.
const DEPENDS: u32 = 0x0101_0000;

/// What `trex` and `tfhd` say about samples that say nothing themselves.
#[derive(Clone, Copy, Debug, Default)]
struct Defaults {
    description: u32,
    duration: u32,
    size: u32,
    flags: u32,
}

/// A track that gets samples.
pub(super) struct Target<'a> {
    pub(super) id: u32,
    pub(super) samples: &'a mut Samples,
    defaults: Defaults,
    dts: i64,
}

impl<'a> Target<'a> {
    pub(super) fn new(movie: &[u8], id: u32, samples: &'a mut Samples) -> Self {
        let of_track = |(kind, trex): &(_, &[u8])| kind == b"trex" && u32_at(trex, 4) == Some(id);
        let trex = find(movie, b"mvex")
            .and_then(|mvex| boxes(mvex).find(of_track))
            .map(|(_, trex)| trex)
            .unwrap_or_default();
        let value = |at| u32_at(trex, at).unwrap_or(0);
        let defaults = Defaults {
            description: value(8),
            duration: value(12),
            size: value(16),
            flags: value(20),
        };
        let dts = samples
            .present
            .last()
            .map_or(0, |last| last.dts.saturating_add(i64::from(last.duration)));
        Self { id, samples, defaults, dts }
    }
}

/// Adds the samples of all fragments.
pub(super) fn read(file: &File, layout: &Layout, targets: &mut [Target<'_>]) -> io::Result<()> {
    for fragment in &layout.fragments {
        let content = read_fragment(file, *fragment)?;
        // Where the data of a track starts, if nothing says it.
        let mut implicit = fragment.0;
        for (_, traf) in boxes(&content).filter(|(kind, _)| kind == b"traf") {
            if read_track(traf, fragment.0, &mut implicit, targets).is_none() {
                break;
            }
        }
    }
    Ok(())
}

/// `None` if the fragment makes no sense.
fn read_track(
    traf: &[u8],
    fragment: u64,
    implicit: &mut u64,
    targets: &mut [Target<'_>],
) -> Option<()> {
    let header = find(traf, b"tfhd")?;
    let (flags, id) = (u32_at(header, 0)? & 0xff_ffff, u32_at(header, 4)?);
    let mut target = targets.iter_mut().find(|target| target.id == id);
    let mut defaults = target.as_ref().map(|target| target.defaults).unwrap_or_default();
    let mut at = 8;
    let mut base = if flags & 0x02_0000 != 0 { fragment } else { *implicit };
    if flags & 1 != 0 {
        base = u64_at(header, at)?;
        at += 8;
    }
    for (flag, value) in [
        (0x02, &mut defaults.description),
        (0x08, &mut defaults.duration),
        (0x10, &mut defaults.size),
        (0x20, &mut defaults.flags),
    ] {
        if flags & flag != 0 {
            *value = u32_at(header, at)?;
            at += 4;
        }
    }
    if let (Some(target), Some(time)) = (&mut target, find(traf, b"tfdt")) {
        let time = match time.first()? {
            1 => u64_at(time, 4)?,
            _ => u64::from(u32_at(time, 4)?),
        };
        target.dts = i64::try_from(time).ok()?;
    }
    let mut data = base;
    for (_, run) in boxes(traf).filter(|(kind, _)| kind == b"trun") {
        data = read_run(run, base, data, defaults, target.as_deref_mut())?;
    }
    *implicit = data;
    Some(())
}

/// Returns where the data of the run ends.
fn read_run(
    run: &[u8],
    base: u64,
    data: u64,
    defaults: Defaults,
    mut target: Option<&mut Target<'_>>,
) -> Option<u64> {
    let (flags, count) = (u32_at(run, 0)?, u32_at(run, 4)?);
    let mut at = 8;
    let mut offset = data;
    if flags & 1 != 0 {
        offset = base.checked_add_signed(i64::from(i32_at(run, at)?))?;
        at += 4;
    }
    let mut first_flags = None;
    if flags & 4 != 0 {
        first_flags = u32_at(run, at);
        at += 4;
    }
    let has_entries = flags & 0xf00 != 0;
    if !has_entries && target.is_none() {
        let bytes = u64::from(count).checked_mul(u64::from(defaults.size))?;
        return offset.checked_add(bytes);
    }
    for _ in 0..count {
        let mut field = |flag: u32, default: u32| {
            if flags & flag == 0 {
                return Some(default);
            }
            at += 4;
            u32_at(run, at - 4)
        };
        // A run that ends early has no more samples.
        let Some(duration) = field(0x100, defaults.duration) else { break };
        let Some(size) = field(0x200, defaults.size) else { break };
        let Some(sample_flags) = field(0x400, first_flags.take().unwrap_or(defaults.flags)) else {
            break;
        };
        let Some(composition) = field(0x800, 0) else { break };
        if let Some(target) = &mut target {
            let dts = target.dts;
            let sample = Sample {
                offset,
                size,
                duration,
                dts,
                cts: dts.saturating_add(i64::from(composition.cast_signed())),
                description: defaults.description.max(1),
                is_sync: sample_flags & DEPENDS == 0,
            };
            match has_entries {
                true => target.samples.add(sample),
                false => target.samples.add_implicit(sample),
            }
            if target.samples.is_absurd {
                return None;
            }
            target.dts = dts.saturating_add(i64::from(duration));
        }
        offset = offset.checked_add(u64::from(size))?;
    }
    Some(offset)
}
