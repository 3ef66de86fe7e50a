//! What somebody who looks at the gateway asks for, and the control task cannot answer from where it stands.
use super::{Shell, now};
use crate::api::{Refusal, Response};
use crate::doctor;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::oneshot;

impl Shell {
    /// What the gateway has done until now goes into its history.
    pub(super) fn sample(&mut self) {
        let (now, dataplane) = (now(), self.gateway.plane.status());
        self.history.record(now.instant, &self.gateway.tally(now, &dataplane));
    }

    /// Looks around on a thread of its own, which a stop does not wait for: servers that do not answer take their time. One at a time.
    pub(super) fn examine(&self, reply: oneshot::Sender<Response>) {
        if self.doctor.swap(true, Ordering::Relaxed) {
            let refusal = Response::refused(Refusal::Busy, "somebody else lets the gateway look around just now", "try again in a moment");
            return drop(reply.send(refusal));
        }
        let (config, place) = (self.config.clone(), Place(Arc::clone(&self.doctor)));
        let examine = move || {
            let report = doctor::Report::new(doctor::examine(&config));
            drop(place);
            // The client may have hung up; then nobody wants the answer.
            drop(reply.send(Response::Doctor(Box::new(report))));
        };
        if let Err(error) = std::thread::Builder::new().name("doctor".into()).spawn(examine) {
            tracing::warn!(%error, "the doctor gets no thread");
        }
    }
}

/// The one who looks around. Whoever ends it, in whichever way, makes room for the next.
struct Place(Arc<AtomicBool>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
