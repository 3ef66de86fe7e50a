//! Whether there is still somebody who hears what a command says.
use net::poll::{Epoll, Events, Interest};
use std::io::{stderr, stdin, stdout};
use std::os::fd::{AsFd, OwnedFd};
use tokio::sync::oneshot;

/// Whoever started this command, as far as its streams tell: pipes, sockets and terminals have another end, files have none.
pub(super) struct Audience(Option<OtherEnd>);

impl Audience {
    /// Of this process. Where its output goes to a file, it is whoever writes the input that counts; but else the input may end: `ssh -n` has none.
    pub(super) fn of_process() -> Self {
        Self(other_end(stdout()).or_else(|| other_end(stderr())).or_else(|| other_end(stdin())))
    }

    /// Returns when the other end is closed: `ssh` without a terminal is gone, or whatever else started the command. Never where that does not show.
    pub(super) async fn gone(self) {
        let (leaves, left) = oneshot::channel();
        let wait = move |end: OtherEnd| {
            end.wait_until_closed();
            // Nobody waits for it when the command ends.
            leaves.send(()).ok();
        };
        let thread = self.0.and_then(|end| std::thread::Builder::new().name("audience".into()).spawn(move || wait(end)).ok());
        match thread {
            Some(_) => drop(left.await),
            None => std::future::pending().await,
        }
    }
}

struct OtherEnd {
    /// Open as long as `epoll` looks at it.
    _stream: OwnedFd,
    epoll: Epoll,
}

impl OtherEnd {
    fn wait_until_closed(&self) {
        let mut events = Events::with_capacity(1);
        // A signal ends a wait, too. An error is as good as an end.
        while self.epoll.wait(&mut events, None).is_ok_and(|ready| ready == 0) {}
    }
}

/// `None`: there is none, for nothing else can be waited for.
fn other_end(stream: impl AsFd) -> Option<OtherEnd> {
    let stream = stream.as_fd().try_clone_to_owned().ok()?;
    let epoll = Epoll::new().ok()?;
    epoll.add(&stream, 0, Interest::NONE).ok()?;
    Some(OtherEnd { _stream: stream, epoll })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;
    use tokio::time::timeout;

    /// It is there until `leave`, and gone then.
    async fn leaves(end: Option<OtherEnd>, leave: impl FnOnce()) {
        let gone = Audience(Some(end.expect("a stream with another end"))).gone();
        tokio::pin!(gone);
        assert!(timeout(Duration::from_millis(50), &mut gone).await.is_err(), "it is still there");
        leave();
        timeout(Duration::from_secs(5), gone).await.expect("it has gone");
    }

    #[tokio::test]
    async fn who_reads_the_output_counts() {
        let (reader, writer) = std::io::pipe().unwrap();
        leaves(other_end(&writer), || drop(reader)).await;
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(&vec![0; 65_536]).unwrap();
        leaves(other_end(&writer), || drop(reader)).await;
    }

    /// As sshd gives one to a command for its input and its output: no more input is no end.
    #[tokio::test]
    async fn a_socket_without_input_is_still_heard() {
        let (theirs, ours) = UnixStream::pair().unwrap();
        theirs.shutdown(Shutdown::Write).unwrap();
        leaves(other_end(&ours), || drop(theirs)).await;
    }

    #[tokio::test]
    async fn who_writes_the_input_counts_where_the_output_is_a_file() {
        let file = tempfile::tempfile().unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"y\n").unwrap();
        leaves(other_end(&file).or_else(|| other_end(&reader)), || drop(writer)).await;
    }

    #[tokio::test]
    async fn nobody_can_leave_who_was_never_there() {
        let files = [std::fs::File::open("/dev/null").unwrap(), tempfile::tempfile().unwrap()];
        assert!(files.iter().all(|file| other_end(file).is_none()));
        assert!(timeout(Duration::from_millis(50), Audience(None).gone()).await.is_err());
    }
}
