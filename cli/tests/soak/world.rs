//! A server, a way to it, and two of each service: broken by faults, and mended.

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
const FAIR: Link = Link::FAST;

pub struct World {
    server: RestartableServer,
    proxy: Proxy,
    site: Deployment,
    /// Not through the proxy.
    client: async_nats::Client,
    services: BTreeMap<Service, Vec<Process>>,
    /// Told to end.
    ending: Vec<(Service, Process)>,
    fair_again: Option<Instant>,
    detectors_again: Option<Instant>,
    echoing: Option<(Instant, JoinHandle<()>)>,
    random: Rng,
    /// What the processes said that are gone.
    log: Vec<String>,
}

impl World {
    pub async fn start(random: &mut Rng, model: &Path) -> Self {
        let server = RestartableServer::start();
        let frames = random.choice([2, 8, 32, 256]).unwrap();
        say(&format!("streams.frames_max_per_video={frames}"));
        let settings = [
            format!("streams.frames_max_per_video={frames}"),
            // So many that a frame, or a video, runs out of them only if it is deadly.
            "streams.frame_max_deliver=8".into(),
            "streams.upload_max_deliver=1000".into(),
            "detector.sessions=1".into(),
            format!("detector.model={}", model.display()),
        ];
        let settings: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
        let client = Deployment::new(server.url(), &[]).client().await;
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
            fair_again: None,
            detectors_again: None,
            echoing: None,
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
                self.dead_letter(process);
            }
            Fault::Terminate(service) => {
                let Some(process) = self.take_one(service) else { return };
                self.terminate(service, process);
            }
            Fault::KillServer => self.server.kill_and_restart(),
            Fault::Cut(time) => self.change_weather(Link::Down, time),
            Fault::Latency(latency, time) => self.change_weather(Link::Up { latency }, time),
            Fault::Reset => self.proxy.reset(),
            Fault::NoDetectors(time) => {
                for process in std::mem::take(self.services.get_mut("detector").unwrap()) {
                    self.terminate("detector", process);
                }
                self.detectors_again = Some(Instant::now() + time);
            }
            Fault::Twice(time) if self.echoing.is_none() => {
                let echoing = duplicate_messages(self.client.clone(), self.random.fork()).await;
                self.echoing = Some((Instant::now() + time, echoing));
            }
            Fault::Twice(_) => {}
            Fault::Nonsense => self.send_nonsense(videos).await,
        }
    }

    /// Ends what is over, and starts what is missing.
    pub async fn mend(&mut self) {
        let over = |until: &Instant| Instant::now() >= *until;
        if self.fair_again.take_if(|until| over(until)).is_some() {
            self.proxy.set(FAIR);
        }
        if let Some((_, echoing)) = self.echoing.take_if(|(until, _)| over(until)) {
            echoing.abort();
        }
        self.detectors_again.take_if(|until| over(until));
        for (service, mut process) in std::mem::take(&mut self.ending) {
            match process.ended() {
                Some(status) if status.success() || is_deadly_frame(service, status) => {
                    self.dead_letter(process)
                }
                // It was told before it could listen, and so before it had anything in hand.
                Some(status)
                    if status.signal() == Some(Signal::TERM.as_raw())
                        && process.stderr().is_empty() => {}
                Some(status) => {
                    panic!("{service}, told to end: {status}\n{:#?}", last_lines(&process))
                }
                None => self.ending.push((service, process)),
            }
        }
        for service in SERVICES {
            self.bury_dead(service);
            let away = service == "detector" && self.detectors_again.is_some();
            let running = self.services.get_mut(service).unwrap();
            while running.len() < OF_EACH && !away {
                running.push(self.site.start(service));
            }
        }
    }

    pub async fn mend_all(&mut self) {
        let now = Instant::now();
        self.fair_again = self.fair_again.map(|_| now);
        self.detectors_again = None;
        if let Some((_, echoing)) = self.echoing.take() {
            echoing.abort();
        }
        self.mend().await;
    }

    /// The messages that wait for someone, by stream. A result that was counted may stay in its
    /// stream until it is too old.
    pub async fn waiting(&self) -> Vec<(&'static str, Option<u64>)> {
        let jetstream = self.jetstream();
        let mut waiting = Vec::new();
        for stream in ["UPLOADS", "FRAMES", "ADVISORIES"] {
            waiting.push((
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
        waiting.push((
            "RESULTS",
            results.map(|results| {
                results.cached_info().num_pending + results.cached_info().num_ack_pending as u64
            }),
        ));
        waiting
    }

    /// True when no message waits for anyone, and all that were told to end have.
    pub async fn is_empty(&self) -> bool {
        self.ending.is_empty()
            && self.waiting().await.iter().all(|(_, messages)| *messages == Some(0))
    }

    /// What was said about something.
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

    fn bury_dead(&mut self, service: Service) {
        let running = std::mem::take(self.services.get_mut(service).unwrap());
        for mut process in running {
            match process.ended() {
                None => self.services.get_mut(service).unwrap().push(process),
                Some(status) if is_deadly_frame(service, status) => {
                    say("a detector died of a deadly frame");
                    self.dead_letter(process);
                }
                Some(status) => {
                    panic!("{service} ended by itself: {status}\n{:#?}", last_lines(&process))
                }
            }
        }
    }

    fn dead_letter(&mut self, mut process: Process) {
        process.wait();
        self.log.extend(process.stderr());
    }

    fn change_weather(&mut self, weather: Link, time: Duration) {
        self.proxy.set(weather);
        self.fair_again = Some(Instant::now() + time);
    }

    async fn send_nonsense(&self, videos: &Videos) {
        let some = videos.some_id().unwrap_or("nobody-2".into());
        for (subject, id) in [
            ("frames.nobody-1".to_owned(), Some("nobody-1/0".to_owned())),
            ("frames.nobody-1".into(), None),
            (format!("frames.{some}"), None),
            (format!("results.{some}"), None),
            ("results.nobody-1".into(), None),
            ("videos.upload".into(), None),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(id) = id {
                headers.insert("Nats-Msg-Id", id);
            }
            let _ = self.client.publish_with_headers(subject, headers, "{ no message".into()).await;
        }
        for (video, index) in [("nobody-1", 0), (some.as_str(), 1_000_000)] {
            let video = VideoId::try_from(video.to_owned()).unwrap();
            let failed = Failed { index, reason: "nonsense".into(), detector: None, deliveries: 1 };
            let event = to_cbor(&VideoEvent::new(video.clone(), Event::Failed(failed)), 64);
            let _ = self.client.publish(format!("results.{video}"), event.into()).await;
        }
    }
}

fn is_deadly_frame(service: Service, status: ExitStatus) -> bool {
    service == "detector" && status.signal() == Some(Signal::FPE.as_raw())
}

fn last_lines(process: &Process) -> Vec<String> {
    let lines = process.stderr();
    lines[lines.len().saturating_sub(30)..].to_vec()
}
