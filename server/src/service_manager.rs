//! What the service manager is told (sd_notify): ready, reloading, stopping, alive, and a line about the state.
//!
//! A manager that wants to know passes the address of a datagram socket in the environment; without one, nothing is said.
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

const SOCKET: &str = "NOTIFY_SOCKET";
const WATCHDOG: &str = "WATCHDOG_USEC";
const WATCHDOG_PID: &str = "WATCHDOG_PID";

/// How often the line about the state is brought up to date where no watchdog sets the pace.
const PACE: Duration = Duration::from_secs(15);

/// The service manager, or nobody.
#[derive(Debug, Default)]
pub struct ServiceManager {
    to: Option<(UnixDatagram, SocketAddr)>,
    /// It waits for a sign of life, at most this long.
    watchdog: Option<Duration>,
    last_status: String,
}

impl ServiceManager {
    /// As the environment says. What is wrong there is logged: a gateway that works is worth more than its manager's knowing.
    pub fn from_environment() -> Self {
        let Some(path) = std::env::var_os(SOCKET).filter(|path| !path.is_empty()) else { return Self::default() };
        let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
        let ours = number(WATCHDOG_PID).is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number(WATCHDOG).filter(|usec| ours && *usec > 0).map(Duration::from_micros);
        let address = match path.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
            _ => SocketAddr::from_pathname(&path),
        };
        match address.and_then(|address| Ok((UnixDatagram::unbound()?, address))) {
            Ok(to) => Self { to: Some(to), watchdog, ..Self::default() },
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "{SOCKET} names no socket: the service manager is told nothing");
                Self::default()
            }
        }
    }

    /// How long from one [`Self::alive`] to the next; `None`: nobody listens.
    pub fn pace(&self) -> Option<Duration> {
        self.to.as_ref().map(|_| self.watchdog.map_or(PACE, |watchdog| watchdog / 3))
    }

    pub fn ready(&self) {
        self.say("READY=1");
    }

    pub fn reloading(&self) {
        let Ok(time) = net::process::monotonic_time() else { return };
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={}", time.as_micros()));
    }

    pub fn stopping(&self) {
        self.say("STOPPING=1\nSTATUS=Telling clients goodbye");
    }

    /// A sign of life, with the state in a line if it has changed.
    pub fn alive(&mut self, status: String) {
        if self.watchdog.is_some() {
            self.say("WATCHDOG=1");
        }
        if status != self.last_status {
            self.say(&format!("STATUS={status}"));
            self.last_status = status;
        }
    }

    fn say(&self, message: &str) {
        let Some((socket, address)) = &self.to else { return };
        if let Err(error) = socket.send_to_addr(message.as_bytes(), address) {
            tracing::debug!(%error, message, "the service manager was not told");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manager(watchdog: Option<Duration>) -> (ServiceManager, UnixDatagram, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let hearing = UnixDatagram::bind(&path).unwrap();
        hearing.set_nonblocking(true).unwrap();
        let to = Some((UnixDatagram::unbound().unwrap(), SocketAddr::from_pathname(&path).unwrap()));
        (ServiceManager { to, watchdog, ..ServiceManager::default() }, hearing, folder)
    }

    fn heard(socket: &UnixDatagram) -> Vec<String> {
        let mut buffer = [0; 256];
        let next = || socket.recv(&mut buffer).ok().map(|len| String::from_utf8_lossy(&buffer[..len]).into_owned());
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn it_is_told_in_the_words_of_sd_notify() {
        let (mut manager, socket, _folder) = manager(Some(Duration::from_secs(30)));
        manager.ready();
        manager.alive("2 sessions".into());
        manager.alive("2 sessions".into());
        manager.reloading();
        manager.stopping();
        let said = heard(&socket);
        assert_eq!(said[..4], ["READY=1", "WATCHDOG=1", "STATUS=2 sessions", "WATCHDOG=1"]);
        let (reloading, time) = said[4].split_once('\n').unwrap();
        assert_eq!(reloading, "RELOADING=1");
        assert!(time.strip_prefix("MONOTONIC_USEC=").unwrap().parse::<u64>().unwrap() > 0, "{time}");
        assert!(said[5].starts_with("STOPPING=1\n") && said.len() == 6, "{said:?}");
        assert_eq!(manager.pace(), Some(Duration::from_secs(10)), "well within the watchdog's time");
    }

    #[test]
    fn without_watchdog_only_the_state_is_told() {
        let (mut manager, socket, _folder) = manager(None);
        manager.alive("1 session".into());
        manager.alive("1 session".into());
        assert_eq!(heard(&socket), ["STATUS=1 session"]);
        assert_eq!(manager.pace(), Some(PACE));
    }

    #[test]
    fn nobody_is_told_where_nobody_listens() {
        let mut nobody = ServiceManager::default();
        nobody.ready();
        nobody.alive("1 session".into());
        assert_eq!(nobody.pace(), None);
        let (gone, socket, _folder) = manager(None);
        drop(socket);
        gone.ready();
    }
}
