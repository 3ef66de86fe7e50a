//! What the host gives the gateway: TUN device, clock, randomness, open files, a place for its state.
use super::Finding;
use net::link::{Feature, Segmentation};
use net::tun::{Offload, TunOpenError};
use std::path::Path;

/// Sockets, configuration, and connections that are not logged in.
pub const FILES_BESIDES: u64 = 2048;

/// `server.tun` or a device of the same kind.
#[derive(Debug)]
pub(super) enum Tun {
    /// The running gateway has it; whether it takes super-packets, if that can be told.
    Held(Option<Segmentation>),
    /// The gateway runs, and there is no such device where we are.
    NotHere,
    /// Another program has one of this name.
    Taken,
    Tried(Result<Offload, TunOpenError>),
}

pub(super) fn tun(name: &str, tun: &Tun) -> Finding {
    match tun {
        Tun::Held(Some(Segmentation { tcp: Feature::On, udp })) => {
            let of = if *udp == Feature::On { "TCP and UDP" } else { "TCP" };
            let found = Finding::ok("tun", format!("the gateway has its device {name}, which takes super-packets of {of}"));
            match udp {
                Feature::On => found,
                Feature::Off => found.hint(format!("`ethtool -K {name} tx-udp-segmentation on` brings those of UDP")),
                Feature::Unable => found.hint("Linux 6.2 brings those of UDP"),
            }
        }
        Tun::Held(Some(_)) => Finding::warn(
            "tun",
            format!("the gateway has its device {name}, but it takes no super-packets: throughput is low"),
            format!("`ethtool -K {name} tso on`; where that is refused, the kernel of this host has TUN without offloads"),
        ),
        Tun::Held(None) => {
            Finding::ok("tun", format!("the gateway has its device {name}")).hint("whether it takes super-packets cannot be told from here")
        }
        Tun::NotHere => Finding::warn(
            "tun",
            format!("the gateway runs, but there is no device {name} in this network namespace"),
            "run this where the gateway runs (in its container or namespace)",
        ),
        Tun::Taken => Finding::fail(
            "tun",
            format!("there is a device {name} already, and the gateway does not run"),
            format!("stop its owner (`ip link delete {name}` if nobody needs it), or set server.tun to another name"),
        ),
        Tun::Tried(Ok(offload)) => {
            let parts = [(offload.tso, "TCP"), (offload.uso, "UDP")];
            let parts: Vec<_> = parts.into_iter().filter(|(on, _)| *on).map(|(_, word)| word).collect();
            match parts.as_slice() {
                ["TCP", "UDP"] => Finding::ok("tun", "TUN devices can be made, with super-packets of TCP and UDP"),
                ["TCP"] => Finding::ok("tun", "TUN devices can be made, with super-packets of TCP").hint("Linux 6.2 brings those of UDP"),
                _ => Finding::warn(
                    "tun",
                    "TUN devices can be made, but without super-packets: throughput will be low",
                    "use Linux 6.2 or newer",
                ),
            }
        }
        Tun::Tried(Err(error)) => {
            let remedy = match error {
                TunOpenError::NodeMissing(_) => {
                    "modprobe tun; in a container: --device /dev/net/tun (Docker), or a hostPath volume of /dev/net/tun (Kubernetes)"
                }
                TunOpenError::Permission { .. } => "run as root; in a container: --cap-add NET_ADMIN",
                _ => "see `ip tuntap` and `dmesg`",
            };
            Finding::fail("tun", error.to_string(), remedy)
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    /// systemd-timesyncd says so.
    Synchronised,
    /// systemd-timesyncd runs and has not reached a server.
    Unsynchronised,
    /// chrony or ntpd runs; how well is not known.
    Kept,
    Unknown,
}

pub(super) fn clock(clock: Clock) -> Finding {
    const WHY: &str = "certificates are not valid yet or any more, and Session-Timeout is wrong, where the clock is";
    match clock {
        Clock::Synchronised => Finding::ok("clock", "the clock is synchronised"),
        Clock::Kept => Finding::ok("clock", "a time daemon runs").hint("`chronyc tracking` or `ntpq -p` tells how well the clock goes"),
        Clock::Unsynchronised => Finding::warn(
            "clock",
            format!("systemd-timesyncd has reached no time server: {WHY}"),
            "timedatectl timesync-status; let udp/123 out, or name a server in /etc/systemd/timesyncd.conf",
        ),
        Clock::Unknown => Finding::warn(
            "clock",
            format!("whether the clock is synchronised cannot be told from here: {WHY}"),
            "timedatectl; in a container the host keeps the clock",
        ),
    }
}

/// Bits that the kernel has gathered; from 256 on its generator is ready. `None`: unknown.
pub(super) fn entropy(bits: Option<u32>) -> Finding {
    match bits {
        Some(bits) if bits >= 256 => Finding::ok("entropy", "the kernel's random generator is ready"),
        Some(bits) => Finding::warn(
            "entropy",
            format!("the kernel has gathered {bits} bits of entropy so far: keys may have to wait after the boot"),
            "give a virtual machine a virtio-rng device, or install rng-tools",
        ),
        None => Finding::warn("entropy", "the state of the kernel's random generator cannot be read", "mount /proc"),
    }
}

/// `hard`: files that the gateway, or this process in its place, may open at most; `u64::MAX` for no limit.
pub(super) fn open_files(hard: Option<u64>, sstp: bool, max_sessions: usize) -> Finding {
    let needed = if sstp { max_sessions as u64 + FILES_BESIDES } else { FILES_BESIDES };
    match hard {
        Some(hard) if hard >= needed => Finding::ok("files", format!("enough files may be open for {max_sessions} sessions")),
        Some(hard) => Finding::warn(
            "files",
            format!("{hard} files may be open; {max_sessions} sessions want {needed}"),
            "LimitNOFILE= in the systemd unit, ulimit -Hn in a shell, or a lower server.max_sessions",
        ),
        None => Finding::warn("files", "the limit of open files cannot be read", "see `ulimit -Hn`"),
    }
}

/// `Err`: why nothing can be written there.
pub(super) fn state_dir(path: &Path, writable: &Result<(), String>) -> Finding {
    match writable {
        Ok(()) => Finding::ok("state_dir", format!("{} can be written", path.display())),
        Err(reason) => Finding::warn(
            "state_dir",
            format!("{}: {reason}: accounting records and revocation lists do not outlive a restart", path.display()),
            format!("mkdir -p {0} && chown it to the user of the service; StateDirectory=evergate in its unit", path.display()),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn the_tun_device() {
        let level = |state: Tun| tun("evergate0", &state).level;
        let all = Offload { vnet_header: true, checksum: true, tso: true, uso: true };
        let takes = |tcp, udp| Tun::Held(Some(Segmentation { tcp, udp }));
        assert_eq!(level(Tun::Held(None)), Level::Ok);
        assert_eq!(
            tun("e", &takes(Feature::On, Feature::On)),
            Finding::ok("tun", "the gateway has its device e, which takes super-packets of TCP and UDP")
        );
        for (udp, remedy) in [
            (Feature::Off, "`ethtool -K e tx-udp-segmentation on` brings those of UDP"),
            (Feature::Unable, "Linux 6.2 brings those of UDP"),
        ] {
            let found = tun("e", &takes(Feature::On, udp));
            assert!(found.level == Level::Ok && found.text.ends_with("super-packets of TCP"), "{found:?}");
            assert_eq!(found.remedy.as_deref(), Some(remedy));
        }
        assert_eq!(level(takes(Feature::Off, Feature::On)), Level::Warn);
        assert_eq!(level(Tun::NotHere), Level::Warn);
        assert_eq!(level(Tun::Taken), Level::Fail);
        assert_eq!(level(Tun::Tried(Ok(all))), Level::Ok);
        assert_eq!(tun("e", &Tun::Tried(Ok(Offload { uso: false, ..all }))).remedy.as_deref(), Some("Linux 6.2 brings those of UDP"));
        assert_eq!(level(Tun::Tried(Ok(Offload::default()))), Level::Warn);
        let missing = TunOpenError::NodeMissing(std::io::ErrorKind::NotFound.into());
        let found = tun("evergate0", &Tun::Tried(Err(missing)));
        assert!(found.level == Level::Fail && found.remedy.as_ref().unwrap().starts_with("modprobe tun"), "{found:?}");
        let forbidden = TunOpenError::Permission { name: "x".into(), source: std::io::ErrorKind::PermissionDenied.into() };
        assert!(tun("evergate0", &Tun::Tried(Err(forbidden))).remedy.unwrap().contains("NET_ADMIN"));
    }

    #[test]
    fn clock_entropy_files_and_state() {
        let clocks = [Clock::Synchronised, Clock::Kept, Clock::Unsynchronised, Clock::Unknown].map(|state| clock(state).level);
        assert_eq!(clocks, [Level::Ok, Level::Ok, Level::Warn, Level::Warn]);
        assert_eq!([Some(256), Some(12), None].map(|bits| entropy(bits).level), [Level::Ok, Level::Warn, Level::Warn]);
        assert_eq!(open_files(Some(2_048), false, 100_000).level, Level::Ok, "datagrams need no files");
        assert_eq!(open_files(Some(100_000), true, 100_000).level, Level::Warn);
        assert_eq!(open_files(Some(u64::MAX), true, 100_000).level, Level::Ok);
        assert_eq!(open_files(None, true, 1).level, Level::Warn);
        assert_eq!(state_dir(Path::new("/s"), &Ok(())).level, Level::Ok);
        assert!(state_dir(Path::new("/s"), &Err("read-only".into())).remedy.unwrap().starts_with("mkdir -p /s"));
    }
}
