//! A server behind a proxy, and two of each service: faults break them, repairs follow.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream::{self, consumer::pull};
use fastrand::Rng;
use moliceiro_nats::VideoId;
use moliceiro_nats::messages::{Event, Failed, VideoEvent, to_cbor};
use rustix::process::Signal;
use tokio::task::JoinHandle;

use crate::faults::{Fault, SERVICES, Service};
use crate::say;
use crate::videos::Videos;
use moliceiro_testing::deployment::Deployment;
use moliceiro_testing::duplicates::duplicate_messages;
use moliceiro_testing::process::Process;
use moliceiro_testing::proxy::{Link, Proxy};
use moliceiro_testing::server::RestartableServer;

const OF_EACH: usize = 2;

pub struct World {
    server: RestartableServer,
    proxy: Proxy,
    site: Deployment,
    /// Bypasses the proxy.
    client: async_nats::Client,
    services: BTreeMap<Service, Vec<Process>>,
    /// Have got SIGTERM.
    ending: Vec<(Service, Process)>,
    link_restored_at: Option<Instant>,
    detectors_restored_at: Option<Instant>,
    duplicating: Option<(Instant, JoinHandle<()>)>,
    random: Rng,
    /// The logs of ended processes.
    log: Vec<String>,
}

impl World {
    pub async fn start(random: &mut Rng, model: &Path) -> Self {
        let server = RestartableServer::start();
        let frames = random.choice([2, 8, 32, 256]).unwrap();
        say(&format!("streams.frames_max_per_video={frames}"));
        let settings = [
            format!("streams.frames_max_per_video={frames}"),
            // So many that only the frame that crashes detectors runs out of deliveries.
            "streams.frame_max_deliver=8".into(),
            "streams.upload_max_deliver=1000".into(),
            "detector.sessions=1".into(),
            "ingest.model=added".into(),
        ];
        let settings: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
        let client = Deployment::new(server.url(), &[]).client().await;
        Deployment::new(server.url(), &settings).add_model(model);
        let (proxy, site) = Deployment::behind_proxy(&server.url(), &settings).await;
        let services =
            SERVICES.map(|service| (service, (0..OF_EACH).map(|_| site.start(service)).collect()));
        Self {
            server,
            proxy,
            site,
            client,
            services: services.into(),
            ending: vec![],
            link_restored_at: None,
            detectors_restored_at: None,
            duplicating: None,
            random: random.fork(),
            log: vec![],
        }
    }

    pub fn jetstream(&self) -> jetstream::Context {
        jetstream::new(self.client.clone())
    }

    pub async fn inject(&mut self, fault: Fault, videos: &Videos) {
        match fault {
            Fault::Kill(service) => {
                let Some(mut process) = self.take_one(service) else { return };
                process.signal(Signal::KILL);
                process.wait();
                self.keep_log(process);
            }
            Fault::Terminate(service) => {
                let Some(process) = self.take_one(service) else { return };
                self.terminate(service, process);
            }
            Fault::KillServer => self.server.kill_and_restart(),
            Fault::NetworkDown(time) => self.change_link(Link::Down, time),
            Fault::Latency(latency, time) => self.change_link(Link::Up { latency }, time),
            Fault::Reset => self.proxy.reset(),
            Fault::NoDetectors(time) => {
                for process in std::mem::take(self.services.get_mut("detector").unwrap()) {
                    self.terminate("detector", process);
                }
                self.detectors_restored_at = Some(Instant::now() + time);
            }
            Fault::Twice(time) if self.duplicating.is_none() => {
                let duplicating = duplicate_messages(self.client.clone(), self.random.fork()).await;
                self.duplicating = Some((Instant::now() + time, duplicating));
            }
            Fault::Twice(_) => {}
            Fault::InvalidMessages => self.send_invalid_messages(videos).await,
        }
    }

    /// Ends faults whose time is over, and starts missing processes.
    pub async fn repair(&mut self) {
        let over = |until: &Instant| Instant::now() >= *until;
        if self.link_restored_at.take_if(|until| over(until)).is_some() {
            self.proxy.set(Link::FAST);
        }
        if let Some((_, duplicating)) = self.duplicating.take_if(|(until, _)| over(until)) {
            duplicating.abort();
        }
        self.detectors_restored_at.take_if(|until| over(until));
        for (service, mut process) in std::mem::take(&mut self.ending) {
            match process.ended() {
                Some(status) if status.success() || is_crashing_frame(service, status) => {
                    self.keep_log(process)
                }
                // It got the signal before its handler was installed, so it held nothing.
                Some(status)
                    if status.signal() == Some(Signal::TERM.as_raw())
                        && process.stderr().is_empty() => {}
                Some(status) => {
                    panic!("{service} after SIGTERM: {status}\n{:#?}", last_lines(&process))
                }
                None => self.ending.push((service, process)),
            }
        }
        for service in SERVICES {
            self.collect_ended(service);
            let suspended = service == "detector" && self.detectors_restored_at.is_some();
            let running = self.services.get_mut(service).unwrap();
            while running.len() < OF_EACH && !suspended {
                running.push(self.site.start(service));
            }
        }
    }

    pub async fn repair_all(&mut self) {
        let now = Instant::now();
        self.link_restored_at = self.link_restored_at.map(|_| now);
        self.detectors_restored_at = None;
        if let Some((_, duplicating)) = self.duplicating.take() {
            duplicating.abort();
        }
        self.repair().await;
    }

    /// Pending messages by stream. Of results only those not yet counted: the stream keeps the
    /// others.
    pub async fn pending(&self) -> Vec<(&'static str, Option<u64>)> {
        let jetstream = self.jetstream();
        let mut pending = Vec::new();
        for stream in ["UPLOADS", "FRAMES", "ADVISORIES"] {
            pending.push((
                stream,
                jetstream
                    .get_stream(stream)
                    .await
                    .ok()
                    .map(|stream| stream.cached_info().state.messages),
            ));
        }
        let results = jetstream
            .get_consumer_from_stream::<pull::Config, _, _>("aggregator", "RESULTS")
            .await
            .ok();
        pending.push((
            "RESULTS",
            results.map(|results| {
                results.cached_info().num_pending + results.cached_info().num_ack_pending as u64
            }),
        ));
        pending
    }

    /// Whether no message is pending, and every process that got SIGTERM has ended.
    pub async fn is_empty(&self) -> bool {
        self.ending.is_empty()
            && self.pending().await.iter().all(|(_, messages)| *messages == Some(0))
    }

    /// All log lines that contain `part`.
    pub fn log_of(&self, part: &str) -> String {
        let running = self
            .services
            .values()
            .flatten()
            .chain(self.ending.iter().map(|(_, process)| process))
            .flat_map(Process::stderr);
        let lines = self
            .log
            .iter()
            .cloned()
            .chain(running)
            .filter(|line| line.contains(part) && !line.contains("frame done"));
        lines.collect::<Vec<_>>().join("\n")
    }

    fn take_one(&mut self, service: Service) -> Option<Process> {
        let running = self.services.get_mut(service).unwrap();
        (!running.is_empty()).then(|| running.swap_remove(self.random.usize(..running.len())))
    }

    fn terminate(&mut self, service: Service, mut process: Process) {
        if process.ended().is_none() {
            process.signal(Signal::TERM);
        }
        self.ending.push((service, process));
    }

    fn collect_ended(&mut self, service: Service) {
        let running = std::mem::take(self.services.get_mut(service).unwrap());
        for mut process in running {
            match process.ended() {
                None => self.services.get_mut(service).unwrap().push(process),
                Some(status) if is_crashing_frame(service, status) => {
                    say("a frame crashed a detector");
                    self.keep_log(process);
                }
                Some(status) => {
                    panic!("{service} ended by itself: {status}\n{:#?}", last_lines(&process))
                }
            }
        }
    }

    fn keep_log(&mut self, mut process: Process) {
        process.wait();
        self.log.extend(process.stderr());
    }

    fn change_link(&mut self, link: Link, time: Duration) {
        self.proxy.set(link);
        self.link_restored_at = Some(Instant::now() + time);
    }

    async fn send_invalid_messages(&self, videos: &Videos) {
        let some = videos.some_id().unwrap_or("nobody-2".into());
        for (subject, id) in [
            ("frames.nanodet.nobody-1".to_owned(), Some("nobody-1/0".to_owned())),
            ("frames.nanodet.nobody-1".into(), None),
            (format!("frames.nanodet.{some}"), None),
            (format!("results.{some}"), None),
            ("results.nobody-1".into(), None),
            (format!("detections.{some}"), None),
            ("videos.upload".into(), None),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(id) = id {
                headers.insert("Nats-Msg-Id", id);
            }
            // Publishing fails while a server restarts, here and below.
            self.client.publish_with_headers(subject, headers, "{ no message".into()).await.ok();
        }
        for (video, index) in [("nobody-1", 0), (some.as_str(), 1_000_000)] {
            let video = VideoId::try_from(video.to_owned()).unwrap();
            let failed = Failed { index, reason: "invalid".into(), detector: None, deliveries: 1 };
            let event = to_cbor(&VideoEvent::new(video.clone(), Event::Failed(failed)), 64);
            self.client.publish(format!("results.{video}"), event.into()).await.ok();
        }
    }
}

fn is_crashing_frame(service: Service, status: ExitStatus) -> bool {
    service == "detector" && status.signal() == Some(Signal::FPE.as_raw())
}

fn last_lines(process: &Process) -> Vec<String> {
    let lines = process.stderr();
    lines[lines.len().saturating_sub(30)..].to_vec()
}
