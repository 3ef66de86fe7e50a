//! Requests of the Admin API, paced.
use super::Command;
use std::time::Instant;
use tokio::sync::mpsc;

/// Whoever asks without pause gets half of the control task's time at most: clients' logins have the rest.
pub(super) struct Commands {
    received: mpsc::Receiver<Command>,
    not_before: Instant,
}

impl Commands {
    pub(super) fn new(received: mpsc::Receiver<Command>) -> Self {
        Self { received, not_before: Instant::now() }
    }

    /// Safe to be dropped before it is done.
    pub(super) async fn recv(&mut self) -> Option<Command> {
        if self.not_before > Instant::now() {
            tokio::time::sleep_until(self.not_before.into()).await;
        }
        self.received.recv().await
    }

    /// Work that began then is done: the next request has to wait as long as it took.
    pub(super) fn served(&mut self, began: Instant) {
        self.not_before = pause(began, Instant::now()).max(self.not_before);
    }

    pub(super) fn waiting(&self) -> usize {
        self.received.len()
    }
}

fn pause(began: Instant, ended: Instant) -> Instant {
    ended + ended.saturating_duration_since(began)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Request;
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;
    use tokio::sync::oneshot;

    fn is_there(commands: &mut Commands) -> bool {
        matches!(pin!(commands.recv()).poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Some(_)))
    }

    /// With a full queue, however long each request takes, at least as much time is left to the others.
    #[test]
    fn a_request_waits_as_long_as_the_one_before_it_took() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _entered = runtime.enter();
        let (asks, received) = mpsc::channel(4);
        for _ in 0..4 {
            asks.try_send((Request::Live, oneshot::channel().0)).unwrap();
        }
        let mut commands = Commands::new(received);
        assert!(is_there(&mut commands), "the first one has nobody to wait for");
        // It took five seconds, as it were.
        commands.served(Instant::now() - Duration::from_secs(5));
        assert!(!is_there(&mut commands));
        assert!(commands.not_before >= Instant::now() + Duration::from_secs(4));
        // Something short that comes in between takes nothing of that pause away.
        commands.served(Instant::now());
        assert!(!is_there(&mut commands) && commands.waiting() == 3);
        commands.not_before = Instant::now();
        assert!(is_there(&mut commands));
    }

    #[test]
    fn half_of_the_time_at_most() {
        let start = Instant::now();
        let (mut now, mut worked) = (start, Duration::ZERO);
        for took in [1, 250, 3, 40, 1_000, 7].map(Duration::from_millis) {
            let ended = now + took;
            now = pause(now, ended);
            worked += took;
        }
        assert_eq!(now - start, 2 * worked);
    }
}
