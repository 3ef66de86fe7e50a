//! The local provider's thread: it reads the users file again when it changes, and computes where the control thread does not wait.
use crate::config::{LocalProvider, Look};
use crate::users_file::{self, Patience, read_text};
use crypto::SystemRandom;
use local_provider::{Locked, Moment, Provider, Settings, User, Users, with_user};
use radius_client::{Input, Output};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How often the file is looked at while nobody asks; with each question it is anyway.
const LOOK: Duration = Duration::from_secs(1);

/// Questions waiting; more are refused.
const QUEUE: usize = 1024;

/// Locked out users and sources that a report names.
const MAX_SHOWN: usize = 100;

enum Message {
    Ask(Box<Input>),
    Configure(Box<LocalProvider>, Settings),
    Trust(Settings),
}

/// How the provider stands, for `evergate status`: not older than [`LOOK`] and a question.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub users: u64,
    /// Of these, those who may not log in.
    pub disabled: u64,
    /// Users in each group.
    pub groups: BTreeMap<String, u64>,
    /// Who is locked out, and what is beyond [`MAX_SHOWN`] of them; those for longest first.
    pub locked: Vec<Locked>,
    pub more_locked: u64,
    /// Why the file was not read when it changed last: the users are as they were before.
    pub failure: Option<String>,
}

/// The control half's end of the thread, which ends with it.
#[derive(Debug)]
pub struct Local {
    messages: SyncSender<Message>,
    report: Arc<Mutex<Report>>,
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
        let report = Arc::new(Mutex::new(Report::default()));
        let reporter = Reporter::start(Arc::clone(&report), &provider);
        std::thread::Builder::new().name("local".into()).spawn(move || run(provider, file, reporter, &received, &outcomes))?;
        Ok(Self { messages, report })
    }

    /// Asks; gives the question back where there is no room for it.
    pub fn ask(&self, input: Input) -> Option<Input> {
        match self.messages.try_send(Message::Ask(Box::new(input))) {
            Err(TrySendError::Full(Message::Ask(input)) | TrySendError::Disconnected(Message::Ask(input))) => Some(*input),
            _ => None,
        }
    }

    pub fn report(&self) -> Report {
        // Nobody panics while holding it.
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
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

fn run(mut provider: Provider, mut file: Watched, mut reporter: Reporter, messages: &Receiver<Message>, outcomes: &mpsc::Sender<Output>) {
    loop {
        match messages.recv_timeout(LOOK) {
            Ok(Message::Ask(input)) => {
                file.reread(&mut provider);
                let now = Moment { instant: Instant::now(), unix_time: jiff::Timestamp::now().as_second() };
                let path = &file.path;
                provider.handle(now, *input, &mut |user| store(path, user));
            }
            Ok(Message::Configure(local, settings)) => configure(&mut provider, &mut file, local.users_file, local.users, settings),
            Ok(Message::Trust(settings)) => provider.configure(settings),
            Err(RecvTimeoutError::Timeout) => file.reread(&mut provider),
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while let Some(output) = provider.poll_output() {
            if outcomes.blocking_send(output).is_err() {
                return;
            }
        }
        reporter.report(&provider, &file);
    }
}

/// Takes what a configuration says. Its users may be older than the file by now, which therefore counts as unread.
fn configure(provider: &mut Provider, file: &mut Watched, path: PathBuf, users: Users, settings: Settings) {
    provider.configure(settings);
    provider.replace_users(users);
    *file = Watched { path, seen: None, readings: file.readings + 1, failure: None };
}

/// Puts a user with a new password into the file; of the others, and of what else the file says of this one, nothing changes.
fn store(path: &Path, changed: &User) -> Result<(), String> {
    let hash = changed.nt_hash.clone().ok_or("there is none")?;
    let stored = users_file::update(path, Patience::Short, None, |users, text| {
        let mut user = users.get(&changed.name).cloned().ok_or_else(|| format!("user {:?} has been removed", changed.name))?;
        user.set_password(hash);
        Ok((with_user(text, &user), ()))
    });
    match &stored {
        Ok(()) => tracing::info!(user = changed.name, file = %path.display(), "a user has changed the password"),
        Err(error) => {
            let remedy =
                "let the user that the gateway runs as write the users file and its folder, or set the password with evergate user passwd";
            tracing::error!(user = changed.name, error, remedy, "the password that a user has chosen cannot be stored");
        }
    }
    stored
}

/// Keeps the report fresh at a cost that does not grow with questions.
struct Reporter {
    report: Arc<Mutex<Report>>,
    /// When it was made last, and of which reading of the file.
    made: Instant,
    reading: u64,
}

impl Reporter {
    fn start(report: Arc<Mutex<Report>>, provider: &Provider) -> Self {
        let reporter = Self { report, made: Instant::now(), reading: 0 };
        reporter.update(|report| count_users(report, provider));
        reporter
    }

    fn report(&mut self, provider: &Provider, file: &Watched) {
        let (now, read) = (Instant::now(), self.reading != file.readings);
        if !read && now.duration_since(self.made) < LOOK {
            return;
        }
        (self.made, self.reading) = (now, file.readings);
        let mut locked = provider.locks(now);
        let more = locked.len().saturating_sub(MAX_SHOWN);
        locked.truncate(MAX_SHOWN);
        self.update(|report| {
            (report.locked, report.more_locked) = (locked, more as u64);
            if read {
                report.failure.clone_from(&file.failure);
                count_users(report, provider);
            }
        });
    }

    fn update(&self, change: impl FnOnce(&mut Report)) {
        change(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn count_users(report: &mut Report, provider: &Provider) {
    let users = provider.users();
    report.users = users.len() as u64;
    report.disabled = users.iter().filter(|user| user.disabled).count() as u64;
    report.groups = users.groups();
}

/// A file, and what it looked like when it was last read.
struct Watched {
    path: PathBuf,
    seen: Option<Look>,
    /// How often it was read, or could not be.
    readings: u64,
    /// Of the last time.
    failure: Option<String>,
}

impl Watched {
    fn new(path: PathBuf) -> Self {
        Self { seen: Look::at(&path), path, readings: 0, failure: None }
    }

    /// Where the file cannot be read, or holds a mistake, the users stay as they were: an edit gone wrong locks nobody out.
    fn reread(&mut self, provider: &mut Provider) {
        let seen = Look::at(&self.path);
        if seen == self.seen {
            return;
        }
        self.seen = seen;
        self.readings += 1;
        self.failure = None;
        match read_users(&self.path) {
            Ok(users) => {
                tracing::info!(file = %self.path.display(), users = users.len(), "users read again");
                provider.replace_users(users);
            }
            Err(error) => {
                tracing::error!(file = %self.path.display(), %error, "users file not read: the users stay as they were");
                self.failure = Some(error);
            }
        }
    }
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
        Settings { server_name: String::new(), methods: vec![EapMethod::MsChapV2], tls: None, lockout, password_min: 8 }
    }

    fn provider() -> Provider {
        Provider::new(provider_settings(), Users::default(), Box::new(SeededRandom::new(1)))
    }

    /// The thread may be waiting for the control thread to take answers.
    #[test]
    fn new_settings_wait_for_nobody() {
        let (messages, received) = sync_channel(1);
        let local = Local { messages, report: Arc::default() };
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

    /// The configuration is read in another thread, while the file may change.
    #[test]
    fn users_of_a_configuration_that_is_older_than_the_file_do_not_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users");
        std::fs::write(&path, "alice\nbob\n").unwrap();
        let mut provider = provider();
        let (mut file, settings) = (Watched::new(path.clone()), provider_settings());
        configure(&mut provider, &mut file, path, Users::parse("alice\n").unwrap(), settings);
        file.reread(&mut provider);
        assert!(format!("{provider:?}").contains("users: 2"));
    }

    #[test]
    fn the_report_follows_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users");
        let mut provider = provider();
        let mut file = Watched::new(path.clone());
        let local = Local { messages: sync_channel(1).0, report: Arc::default() };
        let mut reporter = Reporter::start(Arc::clone(&local.report), &provider);
        assert_eq!(local.report(), Report::default());
        let mut after = |text: &str| {
            std::fs::write(&path, text).unwrap();
            file.reread(&mut provider);
            reporter.report(&provider, &file);
            local.report()
        };
        let groups = BTreeMap::from([("kiosk".to_owned(), 1), ("staff".to_owned(), 2)]);
        let read = Report { users: 3, disabled: 1, groups, ..Report::default() };
        assert_eq!(after("alice groups=staff\nbob groups=staff,kiosk disabled\ncarol\n"), read);
        let wrong = after("alice nt\n");
        assert_eq!(Report { failure: None, ..wrong.clone() }, read, "the users stay as they were");
        assert!(wrong.failure.as_ref().is_some_and(|text| text.starts_with("line 1: ")), "{wrong:?}");
        assert_eq!(after("alice groups=staff\n").failure, None);
    }
}
