use gstreamer as gst;
use gstreamer::prelude::*;
use tracing::warn;

/// A pipeline that stops when it is dropped, even after a panic.
pub(crate) struct RunningPipeline(gst::Pipeline);

impl RunningPipeline {
    pub(crate) fn new(pipeline: gst::Pipeline) -> Self {
        Self(pipeline)
    }

    /// Starts it. The cause of a failure is on the bus.
    pub(crate) fn play(&self) -> Result<(), gst::glib::BoolError> {
        self.0
            .set_state(gst::State::Playing)
            .map(drop)
            .map_err(|_| gst::glib::bool_error!("the pipeline does not start"))
    }

    pub(crate) fn bus(&self) -> Option<gst::Bus> {
        self.0.bus()
    }

    /// The next queued message of one of these types, if there is one.
    pub(crate) fn pop(&self, types: &[gst::MessageType]) -> Option<gst::Message> {
        self.0.bus()?.pop_filtered(types)
    }

    /// Duration that the container declares, in nanoseconds.
    pub(crate) fn declared_duration(&self) -> Option<u64> {
        self.0.query_duration::<gst::ClockTime>().map(gst::ClockTime::nseconds)
    }
}

impl Drop for RunningPipeline {
    fn drop(&mut self) {
        if self.0.set_state(gst::State::Null).is_err() {
            warn!("a pipeline does not stop");
        }
    }
}
