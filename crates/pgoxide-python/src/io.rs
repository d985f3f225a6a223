//! Non-blocking send and receive, and waiting, on a descriptor that Python's transport opened and will close.
//! The only system calls of the crate.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, RecvFlags, SendFlags};

use crate::fork::Home;

/// What a transfer came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moved {
    /// So many bytes.
    Bytes(usize),
    /// Nothing for now.
    WouldBlock,
    /// The peer closed its side.
    End,
}

/// A descriptor borrowed from the Python object that owns it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Socket {
    fd: i32,
    /// In a child of the process that opened it nothing is done with it.
    home: Home,
}

impl Socket {
    pub(crate) fn new(fd: i32) -> Self {
        Self { fd, home: Home::here() }
    }

    /// Fails in a child of the process that opened it.
    fn check_home(self) -> io::Result<()> {
        if self.home.is_elsewhere() { Err(io::Error::other("the socket is the parent process's")) } else { Ok(()) }
    }

    fn borrow(&self) -> BorrowedFd<'_> {
        crate::ffi::descriptor::borrow(self.fd)
    }

    /// The peer is a process on this machine, behind a Unix socket.
    pub(crate) fn is_local(self) -> bool {
        rustix::net::getsockname(self.borrow()).is_ok_and(|address| address.address_family() == AddressFamily::UNIX)
    }

    /// Receives what has arrived, at most `into`'s length.
    pub(crate) fn receive(self, into: &mut [u8]) -> io::Result<Moved> {
        self.receive_with(into, RecvFlags::DONTWAIT)
    }

    /// Receives, waiting as long as the descriptor's own receive timeout lets it.
    pub(crate) fn receive_waiting(self, into: &mut [u8]) -> io::Result<Moved> {
        self.receive_with(into, RecvFlags::empty())
    }

    fn receive_with(self, into: &mut [u8], flags: RecvFlags) -> io::Result<Moved> {
        self.check_home()?;
        match rustix::net::recv(self.borrow(), into, flags) {
            Ok((0, _)) => Ok(Moved::End),
            Ok((count, _)) => Ok(Moved::Bytes(count)),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(Moved::WouldBlock),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends what the socket takes now.
    pub(crate) fn send(self, bytes: &[u8]) -> io::Result<Moved> {
        self.check_home()?;
        match rustix::net::send(self.borrow(), bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(count) => Ok(Moved::Bytes(count)),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(Moved::WouldBlock),
            Err(error) => Err(error.into()),
        }
    }

    /// Ends both directions: whoever waits on it wakes up. The descriptor stays open.
    pub(crate) fn cut(self) {
        if self.home.is_elsewhere() {
            return;
        }
        // It may have ended already.
        let _ = rustix::net::shutdown(self.borrow(), rustix::net::Shutdown::Both);
    }

    /// Waits until it can be read (or written, if `writing`), an interrupt, or `milliseconds` have passed.
    pub(crate) fn wait(self, writing: bool, milliseconds: u32) -> io::Result<()> {
        let interest = if writing { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let borrowed = self.borrow();
        let timeout =
            Timespec { tv_sec: i64::from(milliseconds / 1000), tv_nsec: i64::from(milliseconds % 1000) * 1_000_000 };
        match poll(&mut [PollFd::new(&borrowed, interest)], Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// A clock that rings once, which is waited for as data are: an event loop's own timers know milliseconds only.
pub(crate) struct Alarm(OwnedFd);

impl Alarm {
    /// None where the system has no such thing, or no descriptor left.
    #[cfg(target_os = "linux")]
    pub(crate) fn new() -> Option<Self> {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC).ok().map(Self)
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) const fn new() -> Option<Self> {
        None
    }

    /// Rings after `delay`; at zero never. What it has rung before is forgotten. False when it cannot be set.
    #[cfg(target_os = "linux")]
    pub(crate) fn set(&self, delay: Duration) -> bool {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, timerfd_settime};
        let Ok(it_value) = Timespec::try_from(delay) else { return false };
        let once = Itimerspec { it_interval: Timespec::default(), it_value };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once).is_ok()
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) const fn set(&self, delay: Duration) -> bool {
        let _ = delay; // there is none
        false
    }

    pub(crate) fn descriptor(&self) -> i32 {
        self.0.as_raw_fd()
    }
}
