//! One place that a revocation list comes from, and what is known of it.
use super::fetch::{HttpUrl, MAX_LIST};
use crypto::hash::{HashAlgorithm, hash};
use crypto::{Random as _, SystemRandom};
use jiff::Timestamp;
use pki::{Certificate, Crl, Revocation, UnverifiedCrl};
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// How often a file is looked at.
const FILE_INTERVAL: Duration = Duration::from_secs(10);
/// A list is fetched again at this age, or when half of the time to its next update has passed: authorities publish early after a
/// revocation.
const FETCH_INTERVAL: Duration = Duration::from_secs(3_600);
/// Tries after a failure: the first pause, which doubles, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_secs(900);
/// No list is fetched more often.
const SHORTEST_PAUSE: Duration = Duration::from_secs(30);

/// Where a list comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    File(PathBuf),
    Url(HttpUrl),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Url(url) => f.write_str(url.as_str()),
        }
    }
}

/// Reads the list in a file and checks that one of `authorities` has signed it. The error says what is wrong with the file.
pub fn read_file(path: &Path, authorities: &[Certificate]) -> Result<Crl, String> {
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_LIST + 1).unwrap_or(u64::MAX);
    fs::File::open(path).map_err(cannot)?.take(limit).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() > MAX_LIST {
        return Err(format!("is larger than {} MiB", MAX_LIST >> 20));
    }
    read(&bytes, authorities)
}

fn read(bytes: &[u8], authorities: &[Certificate]) -> Result<Crl, String> {
    UnverifiedCrl::from_bytes(bytes).and_then(|list| list.verify(authorities)).map_err(|error| error.to_string())
}

/// What tells one content of a file from the next.
type Stamp = Option<(SystemTime, u64)>;

/// A source with the newest list that came from it.
#[derive(Debug)]
pub(super) struct Tracked {
    source: Source,
    authorities: Arc<[Certificate]>,
    /// Where the list of a URL is kept.
    kept: PathBuf,
    list: Option<Arc<Crl>>,
    stamp: Stamp,
    /// By a clock that nobody sets: a wrong date at the start must not put off what is due.
    due: Instant,
    /// Failures in a row.
    failures: u32,
    /// Why the last of them was one.
    trouble: Option<String>,
    warned_of_expiry: bool,
    warned_of_disk: bool,
}

impl Tracked {
    pub(super) fn new(source: Source, authorities: &Arc<[Certificate]>, folder: &Path) -> Self {
        let digest = hash(HashAlgorithm::Sha256, &[source.to_string().as_bytes()]);
        let name: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Self {
            source,
            authorities: Arc::clone(authorities),
            kept: folder.join(name).with_extension("crl"),
            list: None,
            stamp: None,
            due: Instant::now(),
            failures: 0,
            trouble: None,
            warned_of_expiry: false,
            warned_of_disk: false,
        }
    }

    pub(super) fn list(&self) -> Option<(Source, Arc<Crl>)> {
        self.list.clone().map(|list| (self.source.clone(), list))
    }

    pub(super) fn trouble(&self) -> Option<(Source, String)> {
        self.trouble.clone().map(|reason| (self.source.clone(), reason))
    }

    pub(super) fn due(&self) -> Instant {
        self.due
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due <= now
    }

    /// The file, or what was kept of the URL or is `known` of it; the URL itself stays due.
    pub(super) fn load(&mut self, known: &[(Source, Arc<Crl>)]) {
        self.list = known.iter().find(|(source, _)| *source == self.source).map(|(_, list)| Arc::clone(list));
        match &self.source {
            Source::File(path) => {
                self.stamp = stamp(path);
                let read = read_file(path, &self.authorities);
                self.took(read);
            }
            Source::Url(_) => match read_file(&self.kept, &self.authorities) {
                Ok(list) if self.is_newest(&list) => {
                    self.tell(&list, "as it was kept");
                    self.list = Some(Arc::new(list));
                }
                Ok(_) => {}
                Err(reason) if self.kept.exists() => {
                    tracing::warn!(source = %self.source, file = %self.kept.display(), "the kept revocation list is of no use: it {reason}");
                }
                Err(_) => {}
            },
        }
    }

    /// Looks whether there is a newer list; true if there is.
    pub(super) async fn renew(&mut self) -> bool {
        match self.source.clone() {
            Source::File(path) => self.renew_file(path).await,
            Source::Url(url) => {
                let got = match url.get().await {
                    Ok(bytes) => self.read_fetched(bytes).await,
                    Err(reason) => Err(reason),
                };
                let disk = got.as_ref().ok().and_then(|(_, disk)| disk.clone());
                let changed = self.took(got.map(|(list, _)| list));
                self.report_disk(disk);
                changed
            }
        }
    }

    async fn renew_file(&mut self, path: PathBuf) -> bool {
        let now_stamp = stamp(&path);
        let same = now_stamp.is_some() && now_stamp == self.stamp;
        if same {
            self.due = Instant::now() + FILE_INTERVAL;
            return false;
        }
        self.stamp = now_stamp;
        let authorities = Arc::clone(&self.authorities);
        let read = blocking(move || read_file(&path, &authorities)).await;
        self.took(read)
    }

    /// Reads a list and keeps it on disk, away from the control thread. The second value: why it could not be kept.
    async fn read_fetched(&self, bytes: Vec<u8>) -> Result<(Crl, Option<String>), String> {
        let authorities = Arc::clone(&self.authorities);
        let (kept, newest) = (self.kept.clone(), self.list.as_ref().map(|list| list.this_update()));
        blocking(move || {
            let list = read(&bytes, &authorities)?;
            // What is older than the list at hand is not worth keeping.
            let newer = newest.is_none_or(|newest| list.this_update() > newest);
            let disk = newer.then(|| keep(&kept, &bytes).err()).flatten();
            Ok((list, disk))
        })
        .await
    }

    /// Takes in a list, or the reason why there is none; true if the list is new.
    fn took(&mut self, read: Result<Crl, String>) -> bool {
        let list = match read {
            Ok(list) => list,
            Err(reason) => {
                self.failed(&reason);
                return false;
            }
        };
        if self.failures > 0 {
            tracing::info!(source = %self.source, "the revocation list can be had again");
        }
        self.failures = 0;
        self.trouble = None;
        // Whoever replays an old list over plain HTTP must not undo a revocation. A file is the administrator's own doing.
        let newer = matches!(self.source, Source::File(_)) || self.is_newest(&list);
        if newer {
            self.tell(&list, "new");
            self.list = Some(Arc::new(list));
            self.warned_of_expiry = false;
        }
        self.due = Instant::now() + self.interval();
        newer
    }

    fn is_newest(&self, list: &Crl) -> bool {
        self.list.as_ref().is_none_or(|known| list.this_update() > known.this_update())
    }

    /// How long the list is good for.
    fn interval(&self) -> Duration {
        if matches!(self.source, Source::File(_)) {
            return FILE_INTERVAL;
        }
        let next_update = self.list.as_ref().map_or(0, |list| list.next_update());
        let left = next_update.saturating_sub(Timestamp::now().as_second());
        let half = Duration::from_secs(u64::try_from(left).unwrap_or(0) / 2);
        shortened(half.clamp(SHORTEST_PAUSE, FETCH_INTERVAL))
    }

    /// One warning an outage.
    fn failed(&mut self, reason: &str) {
        if self.failures == 0 {
            let until = self
                .list
                .as_ref()
                .map_or_else(|| "there is none".to_owned(), |list| format!("the one at hand serves until {}", moment(list.next_update())));
            tracing::warn!(source = %self.source, "no new revocation list: {reason}; {until}");
        } else {
            tracing::debug!(source = %self.source, failures = self.failures, "still no new revocation list: {reason}");
        }
        let pause = match self.source {
            Source::File(_) => FILE_INTERVAL,
            Source::Url(_) => shortened((FIRST_PAUSE * 2_u32.saturating_pow(self.failures.min(10))).min(LONGEST_PAUSE)),
        };
        self.failures = self.failures.saturating_add(1);
        self.trouble = Some(reason.to_owned());
        self.due = Instant::now() + pause;
    }

    fn report_disk(&mut self, problem: Option<String>) {
        if let Some(problem) = problem.filter(|_| !std::mem::replace(&mut self.warned_of_disk, true)) {
            let file = self.kept.display();
            tracing::warn!(source = %self.source, %file, "the revocation list cannot be kept for the next start: {problem}");
        }
    }

    /// Says once that a list has run out, and what that means.
    pub(super) fn warn_of_expiry(&mut self, now: Timestamp, policy: Revocation) {
        let Some(list) = self.list.as_ref().filter(|list| list.next_update() <= now.as_second()) else { return };
        if std::mem::replace(&mut self.warned_of_expiry, true) {
            return;
        }
        let means = match policy {
            Revocation::Hard => "certificates of this authority are refused until there is a new one",
            Revocation::Soft | Revocation::Off => "certificates of this authority that it does not name pass unchecked",
        };
        let due = moment(list.next_update());
        tracing::warn!(source = %self.source, issuer = list.issuer(), "the revocation list was to be replaced at {due}: {means}");
    }

    fn tell(&self, list: &Crl, what: &str) {
        let (issued, next) = (moment(list.this_update()), moment(list.next_update()));
        tracing::info!(source = %self.source, issuer = list.issuer(), entries = list.entries(), %issued, next_update = %next, "revocation list ({what})");
    }
}

/// By up to a tenth, so that not all gateways fetch at once.
fn shortened(duration: Duration) -> Duration {
    let mut random = [0];
    SystemRandom.fill(&mut random);
    duration - duration * u32::from(random[0]) / 2_560
}

fn moment(unix_time: i64) -> String {
    Timestamp::from_second(unix_time).map_or_else(|_| "the end of time".into(), |moment| moment.to_string())
}

fn stamp(path: &Path) -> Stamp {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// Whole or not at all: a half-written file must not meet the next start.
fn keep(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    // Several may keep the list of one place at once.
    let mut tag = [0; 4];
    SystemRandom.fill(&mut tag);
    let fresh = path.with_extension(format!("{:08x}", u32::from_be_bytes(tag)));
    let write = || {
        fs::create_dir_all(folder)?;
        let mut file = fs::File::create(&fresh)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    };
    write().map_err(|error| {
        // Half of it is of no use.
        fs::remove_file(&fresh).ok();
        error.to_string()
    })
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    // It ends early only by a panic or with the program.
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(error.to_string()))
}
