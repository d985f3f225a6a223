//! Looking for an answer that is about to come, before going to sleep for it.
//!
//! A server on the same machine answers a small statement within some twenty microseconds. To fall asleep and be woken
//! costs about the processor time of looking until the answer is there, and on virtual machines two or three times as
//! long: `select 1` took 48 us with sleep and 19 us without, 20 us of processor time either way; on an event loop 54 us
//! and 21 us.
//!
//! A thread looks into the socket itself ([`Spin`]). An event loop is kept awake instead ([`Wakeful`]): it is asked for one
//! more turn, and one more, and looks at all its descriptors in each; whatever else is to be done is done meanwhile.
//!
//! A longer statement would pay for nothing, and so would a loop that is busy anyway. So a wait without gain is remembered,
//! as adaptive mutexes do it: after each one twice as many waits go to sleep at once, 64 at most. A connection whose
//! statements are slow looks in vain for 50 us in one of 65 waits.

use std::cell::Cell;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::io::{Moved, Socket};

/// Beyond this an answer is not "about to come".
const LONGEST: Duration = Duration::from_micros(50);

/// Waits that go to sleep at once after many without gain.
const MOST: u32 = 64;

/// An answer that is there after so few turns of the loop was there before it would have slept, or while it did other things.
const NEEDLESS: u32 = 2;

/// What one connection has learnt of its waits.
struct Patience {
    /// The peer is on this machine, which has a processor for each of us.
    worthwhile: bool,
    /// Waits that are still to go to sleep at once.
    resting: AtomicU32,
    /// How many that will be after the next one without gain.
    penalty: AtomicU32,
}

impl Patience {
    fn new(socket: Socket) -> Self {
        static SEVERAL: OnceLock<bool> = OnceLock::new();
        let several = *SEVERAL.get_or_init(|| std::thread::available_parallelism().is_ok_and(|count| count.get() > 1));
        Self { worthwhile: several && socket.is_local(), resting: AtomicU32::new(0), penalty: AtomicU32::new(1) }
    }

    /// Whether to look this time.
    fn is_there(&self) -> bool {
        if !self.worthwhile {
            return false;
        }
        let resting = self.resting.load(Ordering::Relaxed);
        if resting > 0 {
            self.resting.store(resting - 1, Ordering::Relaxed);
        }
        resting == 0
    }

    fn gained(&self) {
        self.penalty.store(1, Ordering::Relaxed);
    }

    fn without_gain(&self) {
        let penalty = self.penalty.load(Ordering::Relaxed);
        self.resting.store(penalty, Ordering::Relaxed);
        self.penalty.store((2 * penalty).min(MOST), Ordering::Relaxed);
    }
}

/// For a thread that waits for one connection.
pub(crate) struct Spin(Patience);

impl Spin {
    pub(crate) fn new(socket: Socket) -> Self {
        Self(Patience::new(socket))
    }

    /// What arrived while we looked; `None`: it is time to sleep. One thread at a time.
    pub(crate) fn receive(&self, socket: Socket, into: &mut [u8]) -> io::Result<Option<Moved>> {
        if !self.0.is_there() {
            return Ok(None);
        }
        let begun = Instant::now();
        loop {
            match socket.receive(into)? {
                Moved::WouldBlock if begun.elapsed() < LONGEST => std::hint::spin_loop(),
                Moved::WouldBlock => break,
                moved => {
                    self.0.gained();
                    return Ok(Some(moved));
                }
            }
        }
        self.0.without_gain();
        Ok(None)
    }
}

thread_local! {
    /// Which connection of this thread's event loop asked last, and when.
    static LAST: Cell<Option<(usize, Instant)>> = const { Cell::new(None) };
}

/// For a connection on an event loop. Where several ask within 50 us, the loop has other things to do than to sleep.
///
/// ```text
///   asleep ──asks, and there is patience──▶ looking ──one more turn: no answer yet──┐
///     ▲                                      │ ▲ └──────────────────────────────────┘
///     └──answered, others are asked, or 50 us┘ └─ asked again before the next turn
/// ```
pub(crate) struct Wakeful {
    patience: Patience,
    /// The loop has been asked for one more turn.
    looking: AtomicBool,
    /// Turns since `since`.
    turns: AtomicU32,
}

impl Wakeful {
    pub(crate) fn new(socket: Socket) -> Self {
        Self { patience: Patience::new(socket), looking: AtomicBool::new(false), turns: AtomicU32::new(0) }
    }

    /// The only request in flight has been written. True when the loop is to be asked for one more turn.
    #[inline]
    pub(crate) fn asked(&self) -> bool {
        if !self.patience.worthwhile {
            return false;
        }
        let now = Instant::now();
        let last = LAST.replace(Some((self.id(), now)));
        if self.looking.load(Ordering::Relaxed) {
            self.answered();
            return false;
        }
        let alone = last.is_none_or(|(other, at)| other == self.id() || now.duration_since(at) > LONGEST);
        let look = alone && self.patience.is_there();
        self.looking.store(look, Ordering::Relaxed);
        look
    }

    /// The turn has come. True when the loop is to be asked for one more.
    pub(crate) fn turn(&self, unfinished: usize) -> bool {
        self.turns.fetch_add(1, Ordering::Relaxed);
        let more = match (unfinished, LAST.get()) {
            (0, _) => {
                self.answered();
                false
            }
            (1, Some((last, at))) if last == self.id() => {
                let soon = at.elapsed() < LONGEST;
                if !soon {
                    self.patience.without_gain();
                }
                soon
            }
            // Others have asked meanwhile.
            _ => false,
        };
        if !more {
            self.turns.store(0, Ordering::Relaxed);
            self.looking.store(false, Ordering::Relaxed);
        }
        more
    }

    /// The loop could not be asked.
    #[cold]
    pub(crate) fn not_asked(&self) {
        self.turns.store(0, Ordering::Relaxed);
        self.looking.store(false, Ordering::Relaxed);
    }

    /// Tells it from the other connections of the thread.
    fn id(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn answered(&self) {
        if self.turns.swap(0, Ordering::Relaxed) > NEEDLESS {
            self.patience.gained();
        } else {
            self.patience.without_gain();
        }
    }
}
