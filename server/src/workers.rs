//! Slow cryptography off the control thread: a bounded pool of threads that answers the machines' questions.
use crypto::SystemRandom;
use crypto::dh::PrivateKey;
use ike::{Answer, AskId, Question};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::mpsc::UnboundedSender;

/// Key exchanges of first messages that wait for a thread at most: strangers can ask for them.
const EXCHANGES: usize = 2048;

/// Signatures, exchanges of sessions (rekeys) and those that we start ourselves, that wait at most: only who completed a key exchange can cause them.
const SIGNATURES: usize = 8192;

type Job = (AskId, Question);

/// What waits. What strangers ask for goes last, so that a flood of first messages holds up neither sessions nor logins that have come further.
#[derive(Debug, Default)]
struct Queue {
    signatures: VecDeque<Job>,
    exchanges: VecDeque<Job>,
    closed: bool,
}

impl Queue {
    fn push(&mut self, job: Job) -> Result<(), Question> {
        let (lane, limit) = match job.1 {
            Question::KeyExchange { stranger: true, .. } => (&mut self.exchanges, EXCHANGES),
            _ => (&mut self.signatures, SIGNATURES),
        };
        if lane.len() >= limit {
            return Err(job.1);
        }
        lane.push_back(job);
        Ok(())
    }

    fn pop(&mut self) -> Option<Job> {
        self.signatures.pop_front().or_else(|| self.exchanges.pop_front())
    }
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // The queue is whole between any two statements, so a panic elsewhere does not spoil it.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next job; `None` when there will be no more.
    fn next(&self) -> Option<Job> {
        let mut queue = self.lock();
        loop {
            if let Some(job) = queue.pop() {
                return Some(job);
            }
            if queue.closed {
                return None;
            }
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Threads that sign and exchange keys.
#[derive(Debug)]
pub struct Workers {
    shared: Arc<Shared>,
    _threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts `count` threads; answers arrive at `answers`. That channel is unbounded in type only: it never holds more than the
    /// queues admitted.
    pub fn start(count: usize, answers: &UnboundedSender<(AskId, Answer)>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let threads = (0..count.max(1))
            .map(|number| {
                let (shared, answers) = (shared.clone(), answers.clone());
                std::thread::Builder::new().name(format!("crypto-{number}")).spawn(move || work(&shared, &answers))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { shared, _threads: threads })
    }

    /// Queues a question. `Some(answer)` at once when its queue is full and a refusal can be expressed.
    pub fn ask(&self, id: AskId, question: Question) -> Option<Answer> {
        let refused = self.shared.lock().push((id, question)).err();
        self.shared.filled.notify_one();
        refuse(&refused?)
    }
}

impl Workers {
    /// Signatures and exchanges that wait, and how many may.
    pub fn waiting(&self) -> [(usize, usize); 2] {
        let queue = self.shared.lock();
        [(queue.signatures.len(), SIGNATURES), (queue.exchanges.len(), EXCHANGES)]
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.filled.notify_all();
    }
}

fn work(shared: &Shared, answers: &UnboundedSender<(AskId, Answer)>) {
    while let Some((id, question)) = shared.next() {
        let Some(answer) = answer(question) else { continue };
        if answers.send((id, answer)).is_err() {
            return;
        }
    }
}

fn refuse(question: &Question) -> Option<Answer> {
    match question {
        Question::Sign { .. } => Some(Answer::Signature(Err("too many signatures are waiting".into()))),
        Question::KeyExchange { .. } | Question::GenerateKeyPair { .. } | Question::Agree { .. } => Some(Answer::Busy),
        Question::Eap(_) | Question::Certificate { .. } | Question::EapPeer { .. } => None,
    }
}

/// Answers a cryptographic question; `None` for one that is not about cryptography.
pub fn answer(question: Question) -> Option<Answer> {
    let mut random = SystemRandom;
    Some(match question {
        Question::KeyExchange { group, peer_public, .. } => Answer::KeyExchange(crypto::dh::respond(group, &peer_public, &mut random)),
        Question::GenerateKeyPair { group } => {
            let (private, public) = PrivateKey::generate(group, &mut random);
            Answer::KeyPair { private, public }
        }
        Question::Agree { private, peer_public } => Answer::Agreed(private.agree(&peer_public)),
        Question::Sign { credential, scheme, data } => {
            Answer::Signature(credential.key.sign(scheme, &data).map_err(|mismatch| mismatch.to_string()))
        }
        Question::Eap(_) | Question::Certificate { .. } | Question::EapPeer { .. } => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crypto::dh::Group;

    #[test]
    fn key_exchanges_are_answered() {
        let (tx, mut rx) = tokio::sync::mpsc::unbounded_channel();
        let workers = Workers::start(2, &tx).unwrap();
        let (_, peer_public) = PrivateKey::generate(Group::Curve25519, &mut SystemRandom);
        for id in 0..10 {
            let question = Question::KeyExchange { group: Group::Curve25519, peer_public: peer_public.clone(), stranger: id % 2 == 0 };
            assert!(workers.ask(AskId(id), question).is_none());
        }
        let mut ids: Vec<_> = (0..10)
            .map(|_| match rx.blocking_recv().unwrap() {
                (AskId(id), Answer::KeyExchange(Ok((public, _)))) if public.len() == 32 => id,
                other => panic!("{other:?}"),
            })
            .collect();
        ids.sort_unstable();
        assert_eq!(ids, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn a_full_queue_refuses_instead_of_growing() {
        let mut queue = Queue::default();
        for id in 0..EXCHANGES as u64 {
            assert!(queue.push((AskId(id), exchange(true))).is_ok());
        }
        let refused = queue.push((AskId(9999), exchange(true))).unwrap_err();
        assert!(matches!(refuse(&refused), Some(Answer::Busy)));
        assert_eq!(queue.pop().map(|(id, _)| id), Some(AskId(0)));
    }

    fn exchange(stranger: bool) -> Question {
        Question::KeyExchange { group: Group::Curve25519, peer_public: Vec::new(), stranger }
    }

    #[test]
    fn strangers_do_not_hold_up_sessions() {
        let mut queue = Queue::default();
        for id in 0..EXCHANGES as u64 {
            assert!(queue.push((AskId(id), exchange(true))).is_ok());
        }
        let rekeys = [exchange(false), Question::GenerateKeyPair { group: Group::Curve25519 }];
        for (id, question) in (5000..).zip(rekeys) {
            assert!(queue.push((AskId(id), question)).is_ok(), "a full lane of strangers is theirs alone");
        }
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).take(3).map(|(id, _)| id).collect();
        assert_eq!(order, [AskId(5000), AskId(5001), AskId(0)]);
    }
}
