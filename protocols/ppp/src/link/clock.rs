//! The two clocks of a whole link.
use std::time::{Duration, Instant};

/// Time for negotiation; it stands still while a question is open.
#[derive(Debug)]
pub(super) struct Budget {
    deadline: Instant,
    paused: Option<Instant>,
    running: bool,
}

impl Budget {
    pub(super) fn new(now: Instant) -> Self {
        Self { deadline: now, paused: None, running: false }
    }

    pub(super) fn start(&mut self, now: Instant, whole: Duration) {
        *self = Self { deadline: now + whole, paused: None, running: true };
    }

    pub(super) fn stop(&mut self) {
        self.running = false;
    }

    pub(super) fn is_running(&self) -> bool {
        self.running
    }

    pub(super) fn pause(&mut self, now: Instant) {
        self.paused = Some(now);
    }

    pub(super) fn resume(&mut self, now: Instant) {
        if let Some(since) = self.paused.take() {
            self.deadline += now.saturating_duration_since(since);
        }
    }

    pub(super) fn ends(&self) -> Option<Instant> {
        (self.running && self.paused.is_none()).then_some(self.deadline)
    }
}

/// Echo-Requests to a client that is silent.
#[derive(Debug)]
pub(super) struct Echo {
    heard: Instant,
    sent: Instant,
    pub(super) unanswered: u32,
}

impl Echo {
    pub(super) fn new(now: Instant) -> Self {
        Self { heard: now, sent: now, unanswered: 0 }
    }

    /// A frame came at this moment; a moment before the latest echo answers nothing.
    pub(super) fn heard(&mut self, at: Instant) {
        self.heard = self.heard.max(at);
        if at >= self.sent {
            self.unanswered = 0;
        }
    }

    pub(super) fn sent(&mut self, now: Instant) {
        self.sent = now;
        self.unanswered += 1;
    }

    /// When the next echo or the end is due.
    pub(super) fn due(&self, interval: Duration) -> Option<Instant> {
        (!interval.is_zero()).then(|| self.heard.max(self.sent) + interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn open_questions_do_not_count() {
        let start = std::hint::black_box(instant());
        let mut budget = Budget::new(start);
        assert_eq!(budget.ends(), None);
        budget.start(start, SECOND * 60);
        budget.pause(start + SECOND * 5);
        assert_eq!(budget.ends(), None);
        budget.resume(start + SECOND * 105);
        assert_eq!(budget.ends(), Some(start + SECOND * 160));
        budget.resume(start + SECOND * 110);
        assert_eq!(budget.ends(), Some(start + SECOND * 160));
        budget.stop();
        assert_eq!(budget.ends(), None);
    }

    #[test]
    fn what_was_heard_before_the_echo_does_not_answer_it() {
        let start = instant();
        let mut echo = Echo::new(start);
        assert_eq!(echo.due(SECOND * 10), Some(start + SECOND * 10));
        assert_eq!(echo.due(Duration::ZERO), None);
        echo.sent(start + SECOND * 10);
        echo.heard(start + SECOND * 9);
        assert_eq!((echo.unanswered, echo.due(SECOND * 10)), (1, Some(start + SECOND * 20)));
        echo.heard(start + SECOND * 11);
        assert_eq!((echo.unanswered, echo.due(SECOND * 10)), (0, Some(start + SECOND * 21)));
    }

    #[expect(clippy::disallowed_methods, reason = "a test needs one instant to count from")]
    fn instant() -> Instant {
        Instant::now()
    }
}
