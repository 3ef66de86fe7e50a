//! Threads and processors.

use std::io;
use std::mem::{size_of, zeroed};
use std::time::Duration;

use libc::cpu_set_t;

use crate::sys::check;

/// Lets the calling thread run on processor `cpu` only.
pub fn pin_current_thread(cpu: usize) -> io::Result<()> {
    if cpu >= libc::CPU_SETSIZE as usize {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("processor {cpu} is beyond what the kernel can name")));
    }
    // SAFETY: all zero is the empty set, and cpu is within its size as checked above.
    let set = unsafe {
        let mut set: cpu_set_t = zeroed();
        libc::CPU_SET(cpu, &mut set);
        set
    };
    // SAFETY: thread 0 is the calling one; set is read with its exact size.
    check(unsafe { libc::sched_setaffinity(0, size_of::<cpu_set_t>(), &raw const set) }).map(drop)
}

/// The processors the calling thread may run on, in ascending order.
pub fn available_cpus() -> io::Result<Vec<usize>> {
    // SAFETY: all zero is the empty set; the kernel writes at most the given size.
    let set = unsafe {
        let mut set: cpu_set_t = zeroed();
        check(libc::sched_getaffinity(0, size_of::<cpu_set_t>(), &raw mut set))?;
        set
    };
    // SAFETY: every index is below CPU_SETSIZE.
    Ok((0..libc::CPU_SETSIZE as usize).filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &set) }).collect())
}

/// Processor time the calling thread has used, in user and in kernel mode.
pub fn thread_cpu_time() -> io::Result<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: time is written by the call.
    check(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) })?;
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_sees_one_processor() {
        std::thread::spawn(|| {
            let cpu = *available_cpus().unwrap().last().unwrap();
            pin_current_thread(cpu).unwrap();
            assert_eq!(available_cpus().unwrap(), [cpu]);
            assert_eq!(pin_current_thread(1 << 20).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn work_costs_thread_time() {
        let before = thread_cpu_time().unwrap();
        let mut value = 1_u64;
        while thread_cpu_time().unwrap() <= before {
            value = std::hint::black_box(value.wrapping_mul(3));
        }
        assert!(thread_cpu_time().unwrap() > before);
    }
}
