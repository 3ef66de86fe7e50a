//! Giving up rights: another user, and of the capabilities those that a gateway needs.
//!
//! Capabilities belong to threads: all of this is for a process that has not started any yet.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::zeroed;
use std::ptr::null_mut;

use libc::{c_int, c_ulong};

use crate::sys::check;

/// What a gateway goes on needing: its TUN device, routes and socket buffers; ports below 1024, at a reload too; raw ESP.
pub const GATEWAY: [Capability; 3] = [Capability::NetAdmin, Capability::NetBindService, Capability::NetRaw];

/// Version 3 of the structures of `capset`: two halves of 32 capabilities each.
const CAPABILITY_VERSION: u32 = 0x2008_0522;
/// No kernel has as many capabilities.
const CAPABILITIES_AT_MOST: c_int = 64;
/// More groups than that no user has here.
const MAX_GROUPS: usize = 1024;
/// A line of the user database; longer ones are not read.
const MAX_ENTRY: usize = 64 * 1024;

/// A right of `capabilities(7)`, with the kernel's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// `CAP_NET_BIND_SERVICE`
    NetBindService = 10,
    /// `CAP_NET_ADMIN`
    NetAdmin = 12,
    /// `CAP_NET_RAW`
    NetRaw = 13,
}

impl Capability {
    fn bit(self) -> u64 {
        1 << (self as u64)
    }
}

/// An entry of the user database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub name: CString,
    pub uid: u32,
    /// The user's own group.
    pub gid: u32,
}

/// The effective user of this process.
pub fn effective_uid() -> u32 {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// Looks up a user of this host by name; `None`: there is none.
pub fn user(name: &str) -> io::Result<Option<User>> {
    let name = CString::new(name)?;
    let mut buffer = vec![0; MAX_ENTRY];
    // SAFETY: all zero is a valid passwd.
    let mut entry: libc::passwd = unsafe { zeroed() };
    let mut found = null_mut();
    // SAFETY: name ends with a zero; entry and found are written, strings go to buffer, whose size is given.
    let result = unsafe { libc::getpwnam_r(name.as_ptr(), &raw mut entry, buffer.as_mut_ptr(), buffer.len(), &raw mut found) };
    match result {
        // Several errors mean that there is no such user, says getpwnam(3).
        0 | libc::ENOENT | libc::ESRCH | libc::EBADF | libc::EPERM if found.is_null() => Ok(None),
        0 => Ok(Some(User { name, uid: entry.pw_uid, gid: entry.pw_gid })),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Looks up the number of a group of this host by name; `None`: there is none.
pub fn group(name: &str) -> io::Result<Option<u32>> {
    let name = CString::new(name)?;
    let mut buffer = vec![0; MAX_ENTRY];
    // SAFETY: all zero is a valid group.
    let mut entry: libc::group = unsafe { zeroed() };
    let mut found = null_mut();
    // SAFETY: name ends with a zero; entry and found are written, strings go to buffer, whose size is given.
    let result = unsafe { libc::getgrnam_r(name.as_ptr(), &raw mut entry, buffer.as_mut_ptr(), buffer.len(), &raw mut found) };
    match result {
        // As with users.
        0 | libc::ENOENT | libc::ESRCH | libc::EBADF | libc::EPERM if found.is_null() => Ok(None),
        0 => Ok(Some(entry.gr_gid)),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Looks up the name of a group of this host by number; `None`: there is none.
pub fn group_name(gid: u32) -> io::Result<Option<String>> {
    let mut buffer = vec![0; MAX_ENTRY];
    // SAFETY: all zero is a valid group.
    let mut entry: libc::group = unsafe { zeroed() };
    let mut found = null_mut();
    // SAFETY: entry and found are written, strings go to buffer, whose size is given.
    let result = unsafe { libc::getgrgid_r(gid, &raw mut entry, buffer.as_mut_ptr(), buffer.len(), &raw mut found) };
    match result {
        // As with users.
        0 | libc::ENOENT | libc::ESRCH | libc::EBADF | libc::EPERM if found.is_null() => Ok(None),
        // SAFETY: the name of an entry that was found ends with a zero, and lies in buffer, which is still there.
        0 => Ok(Some(unsafe { CStr::from_ptr(entry.gr_name) }.to_string_lossy().into_owned())),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// What `work` finds with this user's rights over files: its user, its groups, and none of root's power to pass over them. `work` runs on a thread of its
/// own, to which alone that applies, and which ends with it; it must not start threads. This takes root.
pub fn with_files_of<T: Send>(user: &User, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    let groups = groups(user)?;
    let on_thread = || {
        // SAFETY: the length is that of the list. The system call itself, other than the function of the C library, is about this thread alone.
        check(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) } as c_int)?;
        // SAFETY: these take plain integers, and are about this thread alone. They say who was before, never that they failed.
        unsafe {
            libc::setfsgid(user.gid);
            libc::setfsuid(user.uid);
        }
        // SAFETY: takes a plain integer; an invalid one changes nothing and tells who is.
        let is = unsafe { libc::setfsuid(u32::MAX) };
        if u32::try_from(is) != Ok(user.uid) {
            return Err(io::Error::from(io::ErrorKind::PermissionDenied));
        }
        Ok(work())
    };
    std::thread::scope(|scope| scope.spawn(on_thread).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The groups of a user, its own among them.
fn groups(user: &User) -> io::Result<Vec<libc::gid_t>> {
    let mut groups = vec![0; MAX_GROUPS];
    let mut count = MAX_GROUPS as c_int;
    // SAFETY: the name ends with a zero; count says how many groups there is room for, and how many there are.
    let found = unsafe { libc::getgrouplist(user.name.as_ptr(), user.gid, groups.as_mut_ptr(), &raw mut count) };
    if found < 0 {
        return Err(io::Error::other("too many groups"));
    }
    groups.truncate(usize::try_from(count).unwrap_or(0));
    Ok(groups)
}

/// Gives up, for good, every capability but these, as far as they are permitted at all, and lets no program that is started get any
/// back. With `user`, which takes root, the process is that user's from then on, with the groups of that user alone.
pub fn reduce(user: Option<&User>, capabilities: &[Capability]) -> io::Result<()> {
    let wanted = capabilities.iter().fold(0, |bits, capability| bits | capability.bit());
    // While CAP_SETPCAP is effective, which it is no longer for another user.
    drop_bounding(wanted);
    user.map_or(Ok(()), become_user)?;
    // SAFETY: PR_CAP_AMBIENT_CLEAR_ALL takes plain integers.
    check(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as c_ulong, 0, 0, 0) })?;
    set_capabilities(permitted()? & wanted, 0)?;
    // SAFETY: PR_SET_NO_NEW_PRIVS takes plain integers.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1 as c_ulong, 0, 0, 0) }).map(drop)
}

/// What capabilities are permitted stay so; none is effective any more.
fn become_user(user: &User) -> io::Result<()> {
    // SAFETY: PR_SET_KEEPCAPS takes plain integers.
    check(unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, 1 as c_ulong, 0, 0, 0) })?;
    let name: &CStr = &user.name;
    // SAFETY: name ends with a zero.
    check(unsafe { libc::initgroups(name.as_ptr(), user.gid) })?;
    // SAFETY: takes plain integers.
    check(unsafe { libc::setresgid(user.gid, user.gid, user.gid) })?;
    // SAFETY: takes plain integers.
    check(unsafe { libc::setresuid(user.uid, user.uid, user.uid) }).map(drop)
}

/// Programs started later cannot get what is not in the bounding set. This needs CAP_SETPCAP, which not everybody has: without it,
/// no_new_privs alone keeps them from it.
fn drop_bounding(wanted: u64) {
    for number in (0..CAPABILITIES_AT_MOST).filter(|number| wanted & (1 << number) == 0) {
        // SAFETY: PR_CAPBSET_DROP takes plain integers.
        let _ = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number as c_ulong, 0, 0, 0) };
    }
}

/// What `work` finds with all that is permitted of these capabilities in effect, for programs that it starts as well. Whoever got them by a capability of
/// the program's file has none of them in effect, and passes none on. `work` runs on a thread of its own, to which alone that applies.
pub fn with_all_permitted<T: Send>(capabilities: &[Capability], work: impl FnOnce() -> T + Send) -> io::Result<T> {
    let on_thread = || {
        pass_on(capabilities)?;
        Ok(work())
    };
    std::thread::scope(|scope| scope.spawn(on_thread).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Of this thread: programs that it starts have these as far as they are permitted.
fn pass_on(capabilities: &[Capability]) -> io::Result<()> {
    let permitted = permitted()?;
    let passed: Vec<_> = capabilities.iter().copied().filter(|capability| permitted & capability.bit() != 0).collect();
    set_capabilities(permitted, passed.iter().fold(0, |bits, capability| bits | capability.bit()))?;
    for capability in passed {
        // SAFETY: PR_CAP_AMBIENT_RAISE takes plain integers.
        check(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as c_ulong, capability as c_ulong, 0, 0) })?;
    }
    Ok(())
}

#[repr(C)]
struct Header {
    version: u32,
    pid: c_int,
}

/// Half of the sets; the low numbers come first.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Half {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// The capabilities that this thread may use, a bit each.
pub fn permitted() -> io::Result<u64> {
    let mut header = Header { version: CAPABILITY_VERSION, pid: 0 };
    let mut halves = [Half::default(); 2];
    // SAFETY: header and both halves have the kernel's layout for this version; the halves are written.
    let result = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, halves.as_mut_ptr()) };
    check(result as c_int)?;
    Ok(u64::from(halves[0].permitted) | u64::from(halves[1].permitted) << 32)
}

/// These are permitted and effective from now on, and those may be inherited.
fn set_capabilities(bits: u64, inheritable: u64) -> io::Result<()> {
    let mut header = Header { version: CAPABILITY_VERSION, pid: 0 };
    let half = |bits: u32, inheritable: u32| Half { effective: bits, permitted: bits, inheritable };
    let halves = [half(bits as u32, inheritable as u32), half((bits >> 32) as u32, (inheritable >> 32) as u32)];
    // SAFETY: header and both halves have the kernel's layout for this version and are only read.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw mut header, halves.as_ptr()) };
    check(result as c_int).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// What the kernel says of the calling thread, without the name of the line.
    fn status(line: &str) -> String {
        let text = fs::read_to_string("/proc/thread-self/status").unwrap();
        text.lines().find_map(|found| found.strip_prefix(line)).unwrap().trim_start_matches(':').trim().to_owned()
    }

    #[test]
    fn users_are_found_by_name() {
        let root = user("root").unwrap().unwrap();
        assert_eq!((root.uid, root.gid, root.name.to_str().unwrap()), (0, 0, "root"));
        assert_eq!(user("nobody-of-this-name").unwrap(), None);
        assert!(user("a\0b").is_err());
        assert_eq!((group("root").unwrap(), group("nobody-of-this-name").unwrap()), (Some(0), None));
        assert_eq!((group_name(0).unwrap().as_deref(), group_name(4_000_000_123).unwrap()), (Some("root"), None));
    }

    /// Capabilities are a thread's own: this one ends with the test.
    #[test]
    fn what_is_given_up_is_gone() {
        std::thread::spawn(|| {
            let before = permitted().unwrap();
            reduce(None, &GATEWAY).unwrap();
            let kept = before & (1 << 10 | 1 << 12 | 1 << 13);
            assert_eq!(permitted().unwrap(), kept);
            assert_eq!(status("CapEff"), format!("{kept:016x}"));
            assert_eq!((status("CapAmb"), status("CapInh")), ("0".repeat(16), "0".repeat(16)));
            assert_eq!(status("NoNewPrivs"), "1");
            reduce(None, &[]).unwrap();
            assert_eq!((permitted().unwrap(), status("CapEff")), (0, "0".repeat(16)));
        })
        .join()
        .unwrap();
    }

    /// As of a program whose file has capabilities: permitted, and not in effect.
    #[test]
    fn what_is_permitted_takes_effect_and_is_passed_on() {
        std::thread::spawn(|| {
            reduce(None, &GATEWAY).unwrap();
            let kept = format!("{:016x}", permitted().unwrap());
            let seen = with_all_permitted(&GATEWAY, || {
                let grep = std::process::Command::new("grep").args(["-h", "^CapEff", "/proc/self/status"]).output().unwrap();
                (status("CapEff"), String::from_utf8(grep.stdout).unwrap())
            });
            assert_eq!(seen.unwrap(), (kept.clone(), format!("CapEff:\t{kept}\n")));
            assert_eq!(status("CapAmb"), "0".repeat(16), "other threads pass nothing on");
        })
        .join()
        .unwrap();
    }
}
