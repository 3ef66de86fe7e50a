//! How tests wait for another thread.
use std::time::Duration;

/// Returns when it has happened; gives up after some seconds.
pub(crate) fn until(what: impl Fn() -> bool) {
    for _ in 0..2000 {
        if what() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("it does not happen");
}
