//! Looking for an answer that is about to come, before going to sleep for it.
//!
//! A server on the same machine answers a small statement within some twenty microseconds. To fall asleep and be woken
//! costs about the processor time of looking until the answer is there, and on virtual machines two or three times as
//! long: `select 1` took 48 us with sleep and 19 us without, 20 us of processor time either way.
//!
//! A longer statement would pay for nothing, so a wait in vain is remembered, as adaptive mutexes do it: after each one
//! twice as many waits go to sleep at once, 64 at most. A connection whose statements are slow looks in vain for 50 us in
//! one of 65 waits.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::io::{Moved, Socket};

/// Beyond this an answer is not "about to come".
const LONGEST: Duration = Duration::from_micros(50);

/// Waits that go to sleep at once after many in vain.
const MOST: u32 = 64;

/// What one connection has learnt of its answers.
pub(crate) struct Spin {
    /// The peer is on this machine, which has a processor for each of us.
    worthwhile: bool,
    /// Waits that are still to go to sleep at once.
    resting: AtomicU32,
    /// How many that will be after the next one in vain.
    penalty: AtomicU32,
}

impl Spin {
    pub(crate) fn new(socket: Socket) -> Self {
        static SEVERAL: OnceLock<bool> = OnceLock::new();
        let several = *SEVERAL.get_or_init(|| std::thread::available_parallelism().is_ok_and(|count| count.get() > 1));
        Self { worthwhile: several && socket.is_local(), resting: AtomicU32::new(0), penalty: AtomicU32::new(1) }
    }

    /// What arrived while we looked; `None`: it is time to sleep. One thread at a time.
    pub(crate) fn receive(&self, socket: Socket, into: &mut [u8]) -> io::Result<Option<Moved>> {
        if !self.worthwhile {
            return Ok(None);
        }
        let resting = self.resting.load(Ordering::Relaxed);
        if resting > 0 {
            self.resting.store(resting - 1, Ordering::Relaxed);
            return Ok(None);
        }
        let begun = Instant::now();
        loop {
            match socket.receive(into)? {
                Moved::WouldBlock if begun.elapsed() < LONGEST => std::hint::spin_loop(),
                Moved::WouldBlock => break,
                moved => {
                    self.penalty.store(1, Ordering::Relaxed);
                    return Ok(Some(moved));
                }
            }
        }
        let penalty = self.penalty.load(Ordering::Relaxed);
        self.resting.store(penalty, Ordering::Relaxed);
        self.penalty.store((2 * penalty).min(MOST), Ordering::Relaxed);
        Ok(None)
    }
}
