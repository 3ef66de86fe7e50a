//! Which configuration is read when: one at a time, and whoever wants the same hears the same.
use crate::api::{Refusal, Reload, Response};
use std::collections::VecDeque;
use tokio::sync::oneshot::Sender;

/// Why the configuration is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    Signal,
    Command(Reload),
    /// Only to see what it would come to.
    Look,
    /// Certificates or their keys have changed: these alone are taken.
    Certificates,
}

impl Reason {
    /// It may change what runs, by somebody's order: the service manager waits for that.
    pub(super) fn is_reload(self) -> bool {
        matches!(self, Self::Signal | Self::Command(_))
    }
}

/// Who waits for one outcome, at most.
const MAX_CALLERS: usize = 32;

type Callers = Vec<Sender<Response>>;

/// What is being read, and what will be read after it: of each reason once.
#[derive(Debug, Default)]
pub(super) struct Loads {
    running: Option<(Reason, Callers)>,
    waiting: VecDeque<(Reason, Callers)>,
}

impl Loads {
    /// Somebody wants it read. `Some`: now.
    pub(super) fn want(&mut self, reason: Reason, caller: Option<Sender<Response>>) -> Option<Reason> {
        let is_free = self.running.is_none();
        // What is being read already may be older than the file that an order is about; for a look it is new enough.
        let running = self.running.as_mut().filter(|(other, _)| reason == Reason::Look && *other == reason);
        if let Some((_, callers)) = running.or_else(|| self.waiting.iter_mut().find(|(other, _)| *other == reason)) {
            callers.retain(|caller| !caller.is_closed());
            match caller {
                Some(caller) if callers.len() >= MAX_CALLERS => turn_away(caller),
                caller => callers.extend(caller),
            }
            return None;
        }
        self.waiting.push_back((reason, Vec::from_iter(caller)));
        if is_free { self.next() } else { None }
    }

    /// It is read: who waits for the outcome.
    pub(super) fn done(&mut self) -> Callers {
        self.running.take().map(|(_, callers)| callers).unwrap_or_default()
    }

    /// What is to be read now.
    pub(super) fn next(&mut self) -> Option<Reason> {
        self.running = self.waiting.pop_front();
        self.running.as_ref().map(|(reason, _)| *reason)
    }
}

/// Tells all of them. Who has hung up wants no answer.
pub(super) fn tell(callers: Callers, response: &Response) {
    for caller in callers {
        drop(caller.send(response.clone()));
    }
}

fn turn_away(caller: Sender<Response>) {
    let error = format!("{MAX_CALLERS} others wait for the same already");
    drop(caller.send(Response::refused(Refusal::Busy, error, "ask again in a few seconds")));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::Done;
    use tokio::sync::oneshot;

    const ORDER: Reason = Reason::Command(Reload { apply_to_sessions: false, end_refused: false });

    fn refused(answer: &mut oneshot::Receiver<Response>) -> bool {
        matches!(answer.try_recv(), Ok(Response::Refused(_)))
    }

    #[test]
    fn those_who_look_share_one_load_however_many_they_are() {
        let mut loads = Loads::default();
        let (first, mut hears) = oneshot::channel();
        assert_eq!(loads.want(Reason::Look, Some(first)), Some(Reason::Look));
        let mut others: Vec<_> = (0..1_000)
            .map(|_| {
                let (caller, answer) = oneshot::channel();
                assert_eq!(loads.want(Reason::Look, Some(caller)), None);
                answer
            })
            .collect();
        assert_eq!(others.iter_mut().map(refused).filter(|refused| *refused).count(), 1_000 - (MAX_CALLERS - 1));
        tell(loads.done(), &Response::Done(Done {}));
        assert_eq!(hears.try_recv(), Ok(Response::Done(Done {})));
        assert_eq!(
            others.iter_mut().map(oneshot::Receiver::try_recv).filter(|answer| *answer == Ok(Response::Done(Done {}))).count(),
            MAX_CALLERS - 1
        );
        assert_eq!(loads.next(), None, "nothing is left to be read");
    }

    #[test]
    fn who_hangs_up_makes_room() {
        let mut loads = Loads::default();
        loads.want(ORDER, None);
        for _ in 0..10 * MAX_CALLERS {
            let (caller, answer) = oneshot::channel();
            loads.want(Reason::Look, Some(caller));
            drop(answer);
        }
        let (caller, mut answer) = oneshot::channel();
        loads.want(Reason::Look, Some(caller));
        assert!(!refused(&mut answer));
    }

    #[test]
    fn an_order_is_never_answered_by_what_was_read_before_it() {
        let mut loads = Loads::default();
        assert_eq!(loads.want(ORDER, None), Some(ORDER));
        for reason in [ORDER, Reason::Signal, ORDER, Reason::Certificates, Reason::Look, Reason::Signal, Reason::Look] {
            assert_eq!(loads.want(reason, None), None);
        }
        loads.done();
        assert_eq!(std::iter::from_fn(|| loads.next()).collect::<Vec<_>>(), [ORDER, Reason::Signal, Reason::Certificates, Reason::Look]);
    }

    #[test]
    fn the_service_manager_hears_of_reloads_alone() {
        assert!(ORDER.is_reload() && Reason::Signal.is_reload());
        assert!(!Reason::Look.is_reload() && !Reason::Certificates.is_reload());
    }
}
