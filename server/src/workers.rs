//! Slow cryptography off the control thread: a bounded pool of threads that answers the machines' questions.
use crypto::SystemRandom;
use crypto::dh::PrivateKey;
use ike::{Answer, AskId, Question};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::mpsc::UnboundedSender;

/// Questions that wait for a thread at most; more are refused, so a flood cannot pile up work.
const QUEUE: usize = 8192;

type Job = (AskId, Question);

/// Threads that sign and exchange keys.
#[derive(Debug)]
pub struct Workers {
    jobs: SyncSender<Job>,
    _threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts `count` threads; answers arrive at `answers`. That channel is unbounded in type only: it never holds more than the
    /// queue admitted.
    pub fn start(count: usize, answers: &UnboundedSender<(AskId, Answer)>) -> std::io::Result<Self> {
        let (jobs, queue) = sync_channel(QUEUE);
        let queue = Arc::new(Mutex::new(queue));
        let threads = (0..count.max(1))
            .map(|number| {
                let (queue, answers) = (queue.clone(), answers.clone());
                std::thread::Builder::new().name(format!("crypto-{number}")).spawn(move || work(&queue, &answers))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { jobs, _threads: threads })
    }

    /// Queues a question. `Some(answer)` at once when the queue is full and a refusal can be expressed.
    pub fn ask(&self, id: AskId, question: Question) -> Option<Answer> {
        match self.jobs.try_send((id, question)) {
            Ok(()) => None,
            Err(TrySendError::Full((_, question)) | TrySendError::Disconnected((_, question))) => refuse(&question),
        }
    }
}

fn work(queue: &Mutex<Receiver<Job>>, answers: &UnboundedSender<(AskId, Answer)>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((id, question)) = job else { return };
        let Some(answer) = answer(question) else { continue };
        if answers.send((id, answer)).is_err() {
            return;
        }
    }
}

fn refuse(question: &Question) -> Option<Answer> {
    match question {
        Question::Sign { .. } => Some(Answer::Signature(Err("too many signatures are waiting".into()))),
        Question::KeyExchange { group, .. } => Some(Answer::KeyExchange(Err(crypto::dh::BadPublicValue(*group)))),
        _ => None,
    }
}

/// Answers a cryptographic question; `None` for one that is not about cryptography.
pub fn answer(question: Question) -> Option<Answer> {
    let mut random = SystemRandom;
    Some(match question {
        Question::KeyExchange { group, peer_public } => {
            let (private, public) = PrivateKey::generate(group, &mut random);
            Answer::KeyExchange(private.agree(&peer_public).map(|shared| (public, shared)))
        }
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
