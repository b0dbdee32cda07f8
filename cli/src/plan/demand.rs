//! What a site needs, from what it has to do. It does no I/O.

use super::figures::{
    AGGREGATOR_MB, DECODED_PIXELS, DECODING_CORES, DETECTOR_MB, FRAME_BYTES, INGEST_MB,
    RESULT_BYTES, RESULTS_PER_AGGREGATOR, SERVER_MB, SERVER_SECONDS, USED,
};

const MIB: f64 = (1 << 20) as f64;
const DAY: f64 = 86_400.0;

/// What a site has to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Site {
    pub(crate) cameras: f64,
    /// Frames a second that are analysed of each.
    pub(crate) fps: f64,
    /// Frames a second that each sends: all of them are decoded.
    pub(crate) sent_fps: f64,
    pub(crate) pixels: f64,
    /// Megabits a second of each.
    pub(crate) megabits: f64,
    /// Frames a second of a detector on one core.
    pub(crate) frames_per_core: f64,
    /// Seconds for which no detector may run without a frame being dropped.
    pub(crate) outage: f64,
    pub(crate) keep_days: f64,
    pub(crate) replicas: f64,
    /// Cores of a machine.
    pub(crate) cores: f64,
}

/// What that takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Demand {
    pub(crate) frames_per_second: f64,
    pub(crate) detector_cores: f64,
    pub(crate) ingest_cores: f64,
    pub(crate) aggregators: f64,
    /// Of each server.
    pub(crate) server_cores: f64,
    /// For ingests, detectors and aggregators, each with `cores` of the site.
    pub(crate) machines: f64,
    pub(crate) memory_mb: f64,
    pub(crate) queue_frames_per_camera: f64,
    pub(crate) queue_mib: f64,
    pub(crate) results_mib: f64,
    /// Of each server.
    pub(crate) disk_mib: f64,
    /// Megabits a second: from the cameras, into the servers and out of them.
    pub(crate) from_cameras: f64,
    pub(crate) into_server: f64,
    pub(crate) out_of_server: f64,
}

impl Demand {
    pub(crate) fn of(site: Site) -> Self {
        let Site { cameras, fps, sent_fps, pixels, outage, keep_days, replicas, .. } = site;
        let frames_per_second = cameras * fps;
        let detector_cores = (frames_per_second / site.frames_per_core / USED).ceil();
        let decoded = cameras * sent_fps.max(fps) * pixels;
        let ingest_cores = (decoded / DECODED_PIXELS * DECODING_CORES / USED).ceil();
        let aggregators = (frames_per_second / RESULTS_PER_AGGREGATOR / USED).ceil();
        let server_cores = (frames_per_second * SERVER_SECONDS / USED).ceil();
        let machines = ((detector_cores + ingest_cores + aggregators) / site.cores).ceil();
        let memory_mb = detector_cores * DETECTOR_MB
            + cameras * INGEST_MB
            + aggregators * AGGREGATOR_MB
            + replicas * SERVER_MB;
        let queue_frames_per_camera = (fps * outage).ceil();
        let queue_mib = (cameras * queue_frames_per_camera * FRAME_BYTES / MIB).ceil();
        let results_mib = (frames_per_second * RESULT_BYTES * keep_days * DAY / MIB).ceil();
        let frames = frames_per_second * FRAME_BYTES * 8.0 / 1e6;
        let results = frames_per_second * RESULT_BYTES * 8.0 / 1e6;
        // The leader receives a message, and sends it to each of the others.
        let copies = (frames + results) * (replicas - 1.0);
        Self {
            frames_per_second,
            detector_cores,
            ingest_cores,
            aggregators,
            server_cores,
            machines,
            memory_mb,
            queue_frames_per_camera,
            queue_mib,
            results_mib,
            // Summaries, thumbnails and the rest have 464 MiB by default.
            disk_mib: queue_mib + results_mib + 464.0,
            from_cameras: cameras * site.megabits,
            into_server: frames + results,
            out_of_server: frames + results + copies,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SITE: Site = Site {
        cameras: 20.0,
        fps: 5.0,
        sent_fps: 25.0,
        pixels: 1280.0 * 720.0,
        megabits: 4.0,
        frames_per_core: 20.0,
        outage: 60.0,
        keep_days: 7.0,
        replicas: 1.0,
        cores: 8.0,
    };

    #[test]
    fn a_site_needs_what_the_figures_come_to() {
        let demand = Demand::of(SITE);
        assert_eq!(demand.frames_per_second, 100.0);
        assert_eq!(demand.detector_cores, 8.0, "100 / 20 / 0.7");
        assert_eq!(demand.ingest_cores, 10.0, "500 / 150 × 2 / 0.7");
        assert_eq!((demand.aggregators, demand.server_cores), (1.0, 1.0));
        assert_eq!(demand.machines, 3.0, "19 cores on machines of 8");
        assert_eq!(demand.queue_frames_per_camera, 300.0);
        assert_eq!(demand.queue_mib, 355.0, "20 × 300 × 62 kB");
        assert_eq!(demand.results_mib, 44_470.0, "100 × 771 bytes × 604,800 s");
        assert_eq!(demand.from_cameras, 80.0);
        assert!((demand.into_server - 50.2).abs() < 0.1, "{demand:?}");
        assert!((demand.out_of_server - demand.into_server).abs() < 1e-9);
    }

    #[test]
    fn three_servers_send_two_more_copies_and_a_slow_camera_is_decoded_as_often_as_analysed() {
        let demand = Demand::of(Site { replicas: 3.0, sent_fps: 1.0, ..SITE });
        assert!((demand.out_of_server / demand.into_server - 3.0).abs() < 1e-9);
        assert_eq!(demand.ingest_cores, 2.0, "100 / 150 × 2 / 0.7");
    }
}
