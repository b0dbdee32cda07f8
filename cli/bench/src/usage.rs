//! What processes use, as the system tells it (proc(5)).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use procfs::process::Process;
use procfs::{CurrentSI, KernelStats};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

/// Threads that end are seen as they were this long before.
const LOOK: Duration = Duration::from_millis(200);

/// What a process has used since its start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Time on processors, in milliseconds.
    cpu_ms: f64,
    /// The most memory that it ever had, in bytes.
    pub(crate) peak_rss: u64,
    /// Bytes that it caused to be written to disks.
    written: u64,
}

impl Usage {
    pub(crate) fn of(pid: i32) -> anyhow::Result<Self> {
        let read = || {
            let process = Process::new(pid)?;
            let stat = process.stat()?;
            let peak_rss = process.status()?.vmhwm.unwrap_or(0) * 1024;
            // Of another user's process this is a secret.
            let written = process.io().map_or(0, |io| io.write_bytes);
            procfs::ProcResult::Ok(Self {
                cpu_ms: milliseconds(stat.utime + stat.stime),
                peak_rss,
                written,
            })
        };
        read().with_context(|| format!("cannot read what process {pid} uses"))
    }
}

fn milliseconds(ticks: u64) -> f64 {
    ticks as f64 * 1000.0 / procfs::ticks_per_second() as f64
}

/// What a process used during a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ProcessUse {
    pub(crate) process: String,
    pub(crate) cpu_ms: f64,
    pub(crate) peak_rss: u64,
    pub(crate) written: u64,
    /// Processor time by kind of thread, where that was looked at, in milliseconds.
    pub(crate) threads: BTreeMap<String, f64>,
}

/// A process to be measured.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) name: String,
    pub(crate) pid: i32,
    /// Whether its threads are told apart.
    pub(crate) by_thread: bool,
}

/// Measures processes from its making to [`Meter::read`].
pub(crate) struct Meter {
    subjects: Vec<(Subject, Usage)>,
    threads: Arc<Mutex<HashMap<i32, Threads>>>,
    looking: JoinHandle<()>,
}

/// By thread id: its kind, and its processor time at first and at last.
type Threads = HashMap<i32, (String, f64, f64)>;

impl Meter {
    pub(crate) fn start(subjects: Vec<Subject>) -> anyhow::Result<Self> {
        let with_usage = |subject: Subject| Usage::of(subject.pid).map(|usage| (subject, usage));
        let subjects: Vec<_> = subjects.into_iter().map(with_usage).collect::<Result<_, _>>()?;
        let threads = Arc::<Mutex<HashMap<i32, Threads>>>::default();
        let watched: Vec<_> = subjects
            .iter()
            .filter(|(subject, _)| subject.by_thread)
            .map(|(subject, _)| subject.pid)
            .collect();
        let (seen, mut looks) = (threads.clone(), tokio::time::interval(LOOK));
        for pid in &watched {
            look(*pid, &seen, true);
        }
        let looking = tokio::spawn(async move {
            while !watched.is_empty() {
                looks.tick().await;
                watched.iter().for_each(|pid| look(*pid, &seen, false));
            }
        });
        Ok(Self { subjects, threads, looking })
    }

    /// What each process used since the start.
    pub(crate) fn read(self) -> anyhow::Result<Vec<ProcessUse>> {
        self.looking.abort();
        let use_of = |(subject, before): &(Subject, Usage)| {
            if subject.by_thread {
                look(subject.pid, &self.threads, false);
            }
            let now = Usage::of(subject.pid)?;
            let seen = self
                .threads
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&subject.pid)
                .unwrap_or_default();
            let mut threads = BTreeMap::new();
            for (kind, first, last) in seen.into_values() {
                *threads.entry(kind).or_insert(0.0) += last - first;
            }
            Ok(ProcessUse {
                process: subject.name.clone(),
                cpu_ms: now.cpu_ms - before.cpu_ms,
                peak_rss: now.peak_rss,
                written: now.written - before.written,
                threads,
            })
        };
        self.subjects.iter().map(use_of).collect()
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

fn look(pid: i32, threads: &Mutex<HashMap<i32, Threads>>, first: bool) {
    // A process that has ended is told by who waits for it.
    let Ok(tasks) = Process::new(pid).and_then(|process| process.tasks()) else { return };
    let mut all = threads.lock().unwrap_or_else(PoisonError::into_inner);
    let seen = all.entry(pid).or_default();
    for stat in tasks.flatten().filter_map(|task| Some((task.tid, task.stat().ok()?))) {
        let (tid, stat) = stat;
        let now = milliseconds(stat.utime + stat.stime);
        let entry =
            seen.entry(tid).or_insert_with(|| (String::new(), if first { now } else { 0.0 }, now));
        (entry.0, entry.2) = (kind(&stat.comm).to_owned(), now);
    }
}

/// What a thread is for, by its name. Those that are not ours are GStreamer's and its decoders'.
fn kind(name: &str) -> &'static str {
    match name {
        name if name.starts_with("inference-") => "inference",
        name if name.starts_with("tokio") => "async",
        name if name.starts_with("moliceiro") || name == "nats-server" => "other",
        _ => "decode",
    }
}

/// Time that all processors of the machine were busy, and that others held them back, in
/// milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MachineTime {
    pub(crate) busy: f64,
    pub(crate) stolen: f64,
}

impl MachineTime {
    pub(crate) fn now() -> anyhow::Result<Self> {
        let total = KernelStats::current().context("cannot read /proc/stat")?.total;
        let busy =
            [Some(total.user), Some(total.nice), Some(total.system), total.irq, total.softirq];
        Ok(Self {
            busy: milliseconds(busy.into_iter().flatten().sum()),
            stolen: milliseconds(total.steal.unwrap_or(0)),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_work_of_this_process_is_seen_by_thread() {
        let pid = std::process::id().try_into().unwrap();
        let meter =
            Meter::start(vec![Subject { name: "test".into(), pid, by_thread: true }]).unwrap();
        let work = || {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(400) {
                std::hint::spin_loop();
            }
        };
        std::thread::Builder::new().name("inference-0".into()).spawn(work).unwrap().join().unwrap();
        let [used] = &meter.read().unwrap()[..] else { panic!() };
        assert!(used.cpu_ms >= 50.0 && used.peak_rss > 1 << 20, "{used:?}");
        assert!(used.threads["inference"] >= 10.0, "{used:?}");
    }
}
