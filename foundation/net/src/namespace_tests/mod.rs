//! Tests against the real kernel, each in a network namespace of its own that ends with the test. They need `CAP_SYS_ADMIN`.

mod link;
mod steer;
mod tun;
mod udp;

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use crate::link::{Netlink, Prefix, interface_index};
use crate::poll::{Epoll, Events, Interest};

/// Runs `test` on a thread in a new network namespace whose loopback is up. The namespace goes with the last socket in it.
fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let outcome = std::thread::spawn(|| {
        // SAFETY: unshare takes a plain integer and affects this thread alone.
        let result = unsafe { libc::unshare(libc::CLONE_NEWNET) };
        assert_eq!(result, 0, "these tests need CAP_SYS_ADMIN to make a network namespace: {}", io::Error::last_os_error());
        Netlink::open().unwrap().set_up(interface_index("lo").unwrap()).unwrap();
        test();
    })
    .join();
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

/// Whether `fd` becomes readable within two seconds.
fn readable(fd: &impl AsFd) -> bool {
    let epoll = Epoll::new().unwrap();
    epoll.add(fd, 0, Interest::READ).unwrap();
    let mut events = Events::with_capacity(1);
    epoll.wait(&mut events, Some(Duration::from_secs(2))).unwrap() == 1
}

/// Whether `fd` has nothing to read just now. Loopback delivers before the send call returns, so there is nothing to wait for.
fn quiet(fd: &impl AsFd) -> bool {
    let epoll = Epoll::new().unwrap();
    epoll.add(fd, 0, Interest::READ).unwrap();
    epoll.wait(&mut Events::with_capacity(1), Some(Duration::ZERO)).unwrap() == 0
}
