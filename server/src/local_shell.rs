//! The local provider's thread: it reads the users file again when it changes, and computes where the control thread does not wait.
use crate::config::{LocalProvider, Look};
use crypto::{SystemRandom, Zeroizing};
use local_provider::{Moment, Provider, Settings, Users};
use radius_client::{Input, Output};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// The largest users file: some hundred thousand users.
const MAX_FILE: u64 = 32 << 20;

/// How often the file is looked at while nobody asks; with each question it is anyway.
const LOOK: Duration = Duration::from_secs(1);

/// Questions waiting; more are refused.
const QUEUE: usize = 1024;

enum Message {
    Ask(Box<Input>),
    Configure(Box<LocalProvider>, Settings),
    Trust(Settings),
}

/// The control half's end of the thread, which ends with it.
#[derive(Debug)]
pub struct Local {
    messages: SyncSender<Message>,
}

impl Local {
    /// Starts the thread; answers go to `outcomes`.
    ///
    /// # Errors
    /// The operating system has no thread left.
    pub fn start(local: &LocalProvider, settings: Settings, outcomes: mpsc::Sender<Output>) -> std::io::Result<Self> {
        let (messages, received) = sync_channel(QUEUE);
        let provider = Provider::new(settings, local.users.clone(), Box::new(SystemRandom));
        let file = Watched::new(local.users_file.clone());
        std::thread::Builder::new().name("local".into()).spawn(move || run(provider, file, &received, &outcomes))?;
        Ok(Self { messages })
    }

    /// Asks; gives the question back where there is no room for it.
    pub fn ask(&self, input: Input) -> Option<Input> {
        match self.messages.try_send(Message::Ask(Box::new(input))) {
            Err(TrySendError::Full(Message::Ask(input)) | TrySendError::Disconnected(Message::Ask(input))) => Some(*input),
            _ => None,
        }
    }

    /// New settings, and the users as they were just read.
    pub fn configure(&self, local: &LocalProvider, settings: Settings) {
        self.tell(Message::Configure(Box::new(local.clone()), settings));
    }

    /// New settings because revocation lists have changed.
    pub fn trust(&self, settings: Settings) {
        self.tell(Message::Trust(settings));
    }

    fn tell(&self, message: Message) {
        match self.messages.try_send(message) {
            Ok(()) => {}
            // Nobody waits for room here: the thread may be waiting for its answers to be taken. Settings are rare.
            Err(TrySendError::Full(message)) => {
                let messages = self.messages.clone();
                std::thread::spawn(move || messages.send(message));
            }
            Err(TrySendError::Disconnected(_)) => tracing::error!("the local provider has stopped"),
        }
    }
}

fn run(mut provider: Provider, mut file: Watched, messages: &Receiver<Message>, outcomes: &mpsc::Sender<Output>) {
    loop {
        match messages.recv_timeout(LOOK) {
            Ok(Message::Ask(input)) => {
                file.reread(&mut provider);
                let now = Moment { instant: Instant::now(), unix_time: jiff::Timestamp::now().as_second() };
                provider.handle(now, *input);
            }
            Ok(Message::Configure(local, settings)) => {
                provider.configure(settings);
                file = Watched::new(local.users_file.clone());
                provider.replace_users(local.users);
            }
            Ok(Message::Trust(settings)) => provider.configure(settings),
            Err(RecvTimeoutError::Timeout) => file.reread(&mut provider),
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while let Some(output) = provider.poll_output() {
            if outcomes.blocking_send(output).is_err() {
                return;
            }
        }
    }
}

/// A file, and what it looked like when it was last read.
struct Watched {
    path: PathBuf,
    seen: Option<Look>,
}

impl Watched {
    fn new(path: PathBuf) -> Self {
        Self { seen: Look::at(&path), path }
    }

    /// Where the file cannot be read, or holds a mistake, the users stay as they were: an edit gone wrong locks nobody out.
    fn reread(&mut self, provider: &mut Provider) {
        let seen = Look::at(&self.path);
        if seen == self.seen {
            return;
        }
        self.seen = seen;
        match read_users(&self.path) {
            Ok(users) => {
                tracing::info!(file = %self.path.display(), users = users.len(), "users read again");
                provider.replace_users(users);
            }
            Err(error) => tracing::error!(file = %self.path.display(), %error, "users file not read: the users stay as they were"),
        }
    }
}

/// Text of a users file.
///
/// # Errors
/// One sentence, without the file's name.
pub fn read_text(path: &Path) -> Result<Zeroizing<String>, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let file = File::open(path).map_err(unreadable)?;
    let size = file.metadata().map_err(unreadable)?.len();
    if size > MAX_FILE {
        return Err(format!("is {size} bytes long; at most {MAX_FILE} are read"));
    }
    // Of the file's size, so that growing leaves no copies of hashes behind.
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(size).unwrap_or(0) + 1));
    file.take(MAX_FILE).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}

/// The users of a file.
///
/// # Errors
/// One sentence, without the file's name.
pub fn read_users(path: &Path) -> Result<Users, String> {
    Users::parse(&read_text(path)?).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crypto::SeededRandom;
    use local_provider::{EapMethod, Lockout};

    fn provider_settings() -> Settings {
        let lockout = Lockout { failures: 0, time: Duration::from_secs(1) };
        Settings { server_name: String::new(), methods: vec![EapMethod::MsChapV2], tls: None, lockout }
    }

    fn provider() -> Provider {
        Provider::new(provider_settings(), Users::default(), Box::new(SeededRandom::new(1)))
    }

    /// The thread may be waiting for the control thread to take answers.
    #[test]
    fn new_settings_wait_for_nobody() {
        let (messages, received) = sync_channel(1);
        let local = Local { messages };
        let (done, finished) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            local.trust(provider_settings());
            local.trust(provider_settings());
            done.send(()).unwrap();
        });
        finished.recv_timeout(Duration::from_secs(10)).expect("the control thread stands still");
        for _ in 0..2 {
            assert!(matches!(received.recv_timeout(Duration::from_secs(10)), Ok(Message::Trust(_))));
        }
    }

    #[test]
    fn a_changed_file_is_read_again_and_a_wrong_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users");
        std::fs::write(&path, "alice\n").unwrap();
        let mut file = Watched::new(path.clone());
        let mut provider = provider();
        let mut users_after = |text: &str, file: &mut Watched| {
            std::fs::write(&path, text).unwrap();
            file.reread(&mut provider);
            format!("{provider:?}")
        };
        assert!(users_after("alice\nbob\n", &mut file).contains("users: 2"));
        assert!(users_after("alice\nbob\ncarol nt=1\n", &mut file).contains("users: 2"));
        assert!(users_after("alice\nbob\ncarol\n", &mut file).contains("users: 3"));
        std::fs::remove_file(&path).unwrap();
        file.reread(&mut provider);
        assert!(format!("{provider:?}").contains("users: 3"));
    }
}
