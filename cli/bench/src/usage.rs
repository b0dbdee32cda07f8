//! What processes use, from `/proc` (proc(5)).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use procfs::process::Process;
use procfs::{CurrentSI, KernelStats};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

/// How often to sample threads. What a thread uses after its last sample goes unseen.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(200);

/// What a process has used since its start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// CPU time, in milliseconds.
    cpu_ms: f64,
    /// CPU time of its child processes that have exited, in milliseconds: an ingest decodes each
    /// video in one.
    children_ms: f64,
    /// The largest resident set so far, in bytes.
    pub(crate) peak_rss: u64,
    /// Bytes it caused to be written to disks.
    written: u64,
}

impl Usage {
    pub(crate) fn of(pid: i32) -> anyhow::Result<Self> {
        let read = || {
            let process = Process::new(pid)?;
            let stat = process.stat()?;
            let peak_rss = process.status()?.vmhwm.unwrap_or(0) * 1024;
            // The kernel hides this of other users' processes.
            let written = process.io().map_or(0, |io| io.write_bytes);
            procfs::ProcResult::Ok(Self {
                cpu_ms: milliseconds(stat.utime + stat.stime),
                children_ms: milliseconds(u64::try_from(stat.cutime + stat.cstime).unwrap_or(0)),
                peak_rss,
                written,
            })
        };
        read().with_context(|| format!("cannot read the usage of process {pid}"))
    }
}

fn milliseconds(ticks: u64) -> f64 {
    ticks as f64 * 1000.0 / procfs::ticks_per_second() as f64
}

/// What a process used during a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ProcessUsage {
    pub(crate) process: String,
    pub(crate) cpu_ms: f64,
    pub(crate) peak_rss: u64,
    pub(crate) written: u64,
    /// CPU time in milliseconds by kind of thread; empty unless it was measured by thread.
    pub(crate) threads: BTreeMap<String, f64>,
}

/// A process to measure.
#[derive(Clone, Debug)]
pub(crate) struct MeasuredProcess {
    pub(crate) name: String,
    pub(crate) pid: i32,
    /// Whether to measure each kind of thread by itself.
    pub(crate) by_thread: bool,
}

/// Measures processes from [`Meter::start`] to [`Meter::read`].
pub(crate) struct Meter {
    processes: Vec<(MeasuredProcess, Usage)>,
    threads: Arc<Mutex<HashMap<i32, Threads>>>,
    sampling: JoinHandle<()>,
}

/// By thread id.
type Threads = HashMap<i32, ThreadSample>;

struct ThreadSample {
    kind: &'static str,
    /// CPU time in the first and in the last sample, in milliseconds.
    first_ms: f64,
    last_ms: f64,
}

impl Meter {
    pub(crate) fn start(processes: Vec<MeasuredProcess>) -> anyhow::Result<Self> {
        let with_usage =
            |process: MeasuredProcess| Usage::of(process.pid).map(|usage| (process, usage));
        let processes: Vec<_> = processes.into_iter().map(with_usage).collect::<Result<_, _>>()?;
        let threads = Arc::<Mutex<HashMap<i32, Threads>>>::default();
        let by_thread: Vec<_> = processes
            .iter()
            .filter(|(process, _)| process.by_thread)
            .map(|(process, _)| process.pid)
            .collect();
        for pid in &by_thread {
            sample(*pid, &threads, true);
        }
        let samples = threads.clone();
        let sampling = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(SAMPLE_INTERVAL);
            while !by_thread.is_empty() {
                ticks.tick().await;
                by_thread.iter().for_each(|pid| sample(*pid, &samples, false));
            }
        });
        Ok(Self { processes, threads, sampling })
    }

    /// What each process used since the start.
    pub(crate) fn read(self) -> anyhow::Result<Vec<ProcessUsage>> {
        self.sampling.abort();
        let usage_of = |(process, before): &(MeasuredProcess, Usage)| {
            if process.by_thread {
                sample(process.pid, &self.threads, false);
            }
            let now = Usage::of(process.pid)?;
            let samples = self
                .threads
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&process.pid)
                .unwrap_or_default();
            let mut threads = BTreeMap::new();
            for ThreadSample { kind, first_ms, last_ms } in samples.into_values() {
                *threads.entry(kind.to_owned()).or_insert(0.0) += last_ms - first_ms;
            }
            let children_ms = now.children_ms - before.children_ms;
            if process.by_thread {
                *threads.entry("decode".to_owned()).or_insert(0.0) += children_ms;
            }
            Ok(ProcessUsage {
                process: process.name.clone(),
                cpu_ms: now.cpu_ms - before.cpu_ms + children_ms,
                peak_rss: now.peak_rss,
                written: now.written - before.written,
                threads,
            })
        };
        self.processes.iter().map(usage_of).collect()
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.sampling.abort();
    }
}

fn sample(pid: i32, threads: &Mutex<HashMap<i32, Threads>>, is_first: bool) {
    // If the process has exited, `Process` reports that.
    let Ok(tasks) = Process::new(pid).and_then(|process| process.tasks()) else { return };
    let mut all = threads.lock().unwrap_or_else(PoisonError::into_inner);
    let samples = all.entry(pid).or_default();
    for stat in tasks.flatten().filter_map(|task| Some((task.tid, task.stat().ok()?))) {
        let (tid, stat) = stat;
        let now = milliseconds(stat.utime + stat.stime);
        let kind = kind(&stat.comm);
        // A thread that appears after the first sample started without CPU time.
        let first_ms = if is_first { now } else { 0.0 };
        let thread = samples.entry(tid).or_insert(ThreadSample { kind, first_ms, last_ms: now });
        // Threads get their names only after they start.
        (thread.kind, thread.last_ms) = (kind, now);
    }
}

/// What a thread does, by its name. Threads that are not ours belong to GStreamer and decoders.
fn kind(name: &str) -> &'static str {
    match name {
        name if name.starts_with("inference-") => "inference",
        name if name.starts_with("tokio") => "async",
        name if name.starts_with("moliceiro") || name == "nats-server" => "other",
        _ => "decode",
    }
}

/// CPU time of the whole machine in milliseconds: busy, and stolen by other virtual machines.
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
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_work_of_this_process_is_seen_by_thread() {
        let pid = std::process::id().try_into().unwrap();
        let meter =
            Meter::start(vec![MeasuredProcess { name: "test".into(), pid, by_thread: true }])
                .unwrap();
        // On a busy machine, 400 ms of CPU time take longer than 400 ms.
        let work = || {
            let id = rustix::thread::gettid().as_raw_nonzero().get();
            let this = Process::myself().unwrap().task_from_tid(id).unwrap();
            while milliseconds(this.stat().unwrap().utime) < 400.0 {}
        };
        std::thread::Builder::new().name("inference-0".into()).spawn(work).unwrap().join().unwrap();
        let [used] = &meter.read().unwrap()[..] else { panic!() };
        assert!(used.cpu_ms >= 50.0 && used.peak_rss > 1 << 20, "{used:?}");
        assert!(used.threads["inference"] >= 10.0, "{used:?}");
    }
}
