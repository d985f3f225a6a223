//! The connections of a pool and how they stand.
//!
//! ```text
//!   added ──▶ routed (idle, or busy with routed calls) ──acquired──▶ used ──given back──▶ draining ──quiet──▶ resetting
//!              ▲   │ idle for long            ▲                                                                │
//!              │   └─▶ checked ──alive──┘     └────────────────────────────────answered───────────────────────┘
//!              └── (dirty, wanted as a whole) ──▶ resetting
//!   resetting ──somebody waits: they follow, unanswered──▶ used │ routed
//! ```

use std::time::{Duration, Instant};

use pgoxide_protocol::client::RequestId;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use super::Rules;
use crate::async_client::AsyncClient;
use crate::known::LONG;
use crate::sync::lock;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nobody's: idle, or busy with calls of the pool.
    Routed,
    /// Somebody's.
    Used,
    /// Given back while calls of its user were unfinished.
    Draining,
    /// What its last users left is being undone.
    Resetting,
    /// Asked whether it lives.
    Checked,
}

pub(super) struct Member {
    pub(super) client: Py<AsyncClient>,
    pub(super) standing: Standing,
    /// Something ran since it was made or reset.
    pub(super) dirty: bool,
    /// It stands among the idle ones.
    idle: bool,
    /// Since when nothing ran.
    pub(super) idle_since: Instant,
    /// Since when the request at its head runs, or is on its way there.
    pub(super) head_since: Instant,
    /// It was written when nothing was in flight: a trip there and back is part of its time.
    pub(super) head_travels: bool,
    /// The shortest time in which anything has been answered: a trip there and back, no more than that.
    trip: Duration,
    /// The last request given to it is not known to be short.
    pub(super) tail_long: bool,
    pub(super) expires: Option<Instant>,
    /// `expire()` has asked for it.
    expired: bool,
    pub(super) uses: u64,
    /// It has been asked since it became idle whether it lives.
    pub(super) asked: bool,
    /// What has arrived since it became idle, or its reset was written, has been read.
    pub(super) looked: bool,
    /// Something has arrived that only the loop can tell.
    pub(super) untold: bool,
    /// The last request's id before its user had it: when it is the same afterwards, nothing was asked.
    pub(super) asked_before: RequestId,
}

/// How many requests are unfinished on a connection, and whether it is outside a transaction.
pub(super) fn load(client: &AsyncClient) -> (usize, bool) {
    use pgoxide_protocol::codes::TransactionStatus::Idle;
    let state = lock(&client.session.state);
    (state.conn.unfinished() + state.held.len(), state.conn.status() == Idle)
}

impl Member {
    /// A request begins to run: it was written just now, or the one before it was answered.
    pub(super) fn begin_head(&mut self, now: Instant, travels: bool) {
        (self.head_since, self.head_travels) = (now, travels);
    }

    /// For how long the request at the head has run, as far as can be told from here.
    fn has_run(&self, now: Instant) -> Duration {
        let since = now.duration_since(self.head_since);
        if self.head_travels { since.saturating_sub(self.trip) } else { since }
    }

    /// The request at the head has been answered: how long it ran.
    pub(super) fn end_head(&mut self, now: Instant) -> Duration {
        if self.head_travels {
            self.trip = self.trip.min(now.duration_since(self.head_since));
        }
        let ran = self.has_run(now);
        self.begin_head(now, false);
        ran
    }

    /// It has lived, or served, for long enough.
    pub(super) fn is_spent(&self, rules: &Rules, now: Instant) -> bool {
        self.uses >= rules.max_uses || self.expires.is_some_and(|at| at <= now)
    }

    pub(super) fn why_spent(&self, rules: &Rules) -> &'static str {
        if self.expired {
            "expired"
        } else if self.uses >= rules.max_uses {
            "uses"
        } else {
            "lifetime"
        }
    }

    /// A routed call may travel behind what it has; how many requests are before it then.
    pub(super) fn takes_another(&self, rules: &Rules, now: Instant) -> Option<usize> {
        if self.standing != Standing::Routed || self.tail_long || self.has_run(now) >= LONG {
            return None;
        }
        let (load, outside) = load(self.client.get());
        (outside && load < rules.depth && !self.is_spent(rules, now)).then_some(load)
    }
}

#[derive(Default)]
pub(super) struct Members {
    slots: Vec<Option<Member>>,
    /// The most recently used last: it is taken first, so that those that are not needed stay idle.
    idle: Vec<usize>,
    count: usize,
}

impl Members {
    pub(super) const fn len(&self) -> usize {
        self.count
    }

    pub(super) fn add(&mut self, client: Py<AsyncClient>, expires: Option<Instant>, trip: Duration) -> usize {
        let now = Instant::now();
        let member = Member {
            client,
            standing: Standing::Routed,
            dirty: false,
            idle: false,
            idle_since: now,
            head_since: now,
            head_travels: false,
            trip,
            tail_long: false,
            expires,
            expired: false,
            uses: 0,
            asked: false,
            looked: false,
            untold: false,
            asked_before: 0,
        };
        let slot = self.slots.iter().position(Option::is_none).unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(member);
        self.count += 1;
        self.make_idle(slot, now);
        slot
    }

    pub(super) fn get(&mut self, slot: usize) -> Option<&mut Member> {
        self.slots.get_mut(slot)?.as_mut()
    }

    /// The member that `client` is.
    pub(super) fn of(&mut self, slot: usize, client: &Bound<'_, AsyncClient>) -> Option<&mut Member> {
        self.get(slot).filter(|member| member.client.get().is_same(client.get()))
    }

    /// Forgets it. The caller drops what comes back once no lock is held.
    pub(super) fn remove(&mut self, slot: usize, client: &Bound<'_, AsyncClient>) -> Option<Member> {
        self.of(slot, client)?;
        self.take(slot)
    }

    pub(super) fn take(&mut self, slot: usize) -> Option<Member> {
        let member = self.slots.get_mut(slot)?.take()?;
        self.count -= 1;
        if member.idle {
            self.idle.retain(|other| *other != slot);
        }
        Some(member)
    }

    /// Nothing runs on it. Does nothing for one that is somebody's, or about to be.
    pub(super) fn make_idle(&mut self, slot: usize, now: Instant) {
        let Some(member) = self.get(slot).filter(|member| member.standing == Standing::Routed) else { return };
        if member.idle_since != now {
            (member.idle_since, member.looked, member.asked) = (now, false, false);
        }
        if !std::mem::replace(&mut member.idle, true) {
            self.idle.push(slot);
        }
    }

    /// As `make_idle`, unless it is already: it was since before.
    pub(super) fn make_idle_once(&mut self, slot: usize, now: Instant) {
        if self.get(slot).is_some_and(|member| !member.idle) {
            self.make_idle(slot, now);
        }
    }

    /// Why the member has served for long enough, if it has.
    pub(super) fn spent(&mut self, slot: usize, rules: &Rules, now: Instant) -> Option<&'static str> {
        let member = self.get(slot)?;
        member.is_spent(rules, now).then(|| member.why_spent(rules))
    }

    pub(super) fn has_idle(&self) -> bool {
        !self.idle.is_empty()
    }

    /// The idle one that was used last needs no look.
    pub(super) fn freshest_is_ready(&self, rules: &Rules, now: Instant) -> bool {
        let freshest = self.idle.last().and_then(|slot| self.slots.get(*slot)?.as_ref());
        freshest.is_some_and(|member| {
            now.duration_since(member.idle_since) < WORTH_A_LOOK.min(rules.ping_after.unwrap_or(WORTH_A_LOOK))
                && !member.is_spent(rules, now)
                && !member.client.get().session.is_doomed()
        })
    }

    /// How many will be free soon: given back, or made ready for a user.
    pub(super) fn soon_free(&self) -> usize {
        self.count(Standing::Draining) + self.count(Standing::Resetting) + self.count(Standing::Checked)
    }

    pub(super) fn count(&self, standing: Standing) -> usize {
        self.slots.iter().flatten().filter(|member| member.standing == standing).count()
    }

    /// The idle one that was used last, no longer idle.
    pub(super) fn pop_idle(&mut self) -> Option<usize> {
        let slot = self.idle.pop()?;
        if let Some(member) = self.get(slot) {
            member.idle = false;
        }
        Some(slot)
    }

    /// As `pop_idle`, one of those that need no reset if there is one.
    pub(super) fn pop_clean(&mut self) -> Option<usize> {
        let clean = self.idle.iter().rposition(|slot| self.slots[*slot].as_ref().is_some_and(|member| !member.dirty));
        let Some(at) = clean else { return self.pop_idle() };
        let slot = self.idle.remove(at);
        if let Some(member) = self.get(slot) {
            member.idle = false;
        }
        Some(slot)
    }

    /// One that is being reset, whose next user need not wait for the answer; true: whether that, or its end, has come meanwhile
    /// is to be looked at first.
    pub(super) fn to_follow(&self, rules: &Rules, now: Instant) -> Option<(usize, bool)> {
        let may = |member: &&Member| {
            member.standing == Standing::Resetting
                && !member.untold
                && !member.is_spent(rules, now)
                && !member.client.get().session.is_doomed()
                && member.client.get().session.may_follow_reset()
        };
        let slot = self.slots.iter().position(|member| member.as_ref().filter(may).is_some())?;
        let member = self.slots[slot].as_ref()?;
        Some((slot, !member.looked && now.duration_since(member.head_since) >= WORTH_A_LOOK))
    }

    /// An idle one that needs no reset.
    pub(super) fn has_clean(&self) -> bool {
        self.idle.iter().any(|slot| self.slots[*slot].as_ref().is_some_and(|member| !member.dirty))
    }

    /// The one among those busy with routed calls that has least before another.
    pub(super) fn least_busy(&self, rules: &Rules, now: Instant) -> Option<usize> {
        let takes = |(slot, member): (usize, &Option<Member>)| {
            let load = member.as_ref().filter(|member| !member.idle)?.takes_another(rules, now)?;
            Some((load, slot))
        };
        self.slots.iter().enumerate().filter_map(takes).min().map(|(_, slot)| slot)
    }

    /// Slots of those idle for longer than they may be, or that have lived for long enough; `surplus` of the former at most.
    pub(super) fn stale(&self, rules: &Rules, now: Instant, surplus: usize) -> Vec<usize> {
        let mut left = surplus;
        let stale = |slot: &usize| {
            let Some(member) = self.slots.get(*slot).and_then(Option::as_ref) else { return false };
            if member.is_spent(rules, now) {
                return true;
            }
            let long = rules.max_idle.is_some_and(|most| now.duration_since(member.idle_since) >= most);
            let goes = long && left > 0;
            left -= usize::from(goes);
            goes
        };
        // Those that have been idle for longest stand first.
        self.idle
            .iter()
            .copied()
            .filter({
                let mut stale = stale;
                move |slot| stale(slot)
            })
            .collect()
    }

    pub(super) fn expire_all(&mut self) {
        let now = Instant::now();
        for member in self.slots.iter_mut().flatten() {
            (member.expires, member.expired) = (Some(now), true);
        }
    }

    /// Whoever asks now must wait.
    pub(super) fn none_is_free(&self, rules: &Rules) -> bool {
        self.idle.is_empty() && self.count >= rules.max_size
    }

    /// Those that were given back so long ago, or whose reset was written then, and that are not free yet.
    /// Who follows a reset has time limits of their own.
    pub(super) fn overdue(&self, py: Python<'_>, limit: Duration) -> Vec<Py<AsyncClient>> {
        let members = self.slots.iter().flatten();
        let late = |member: &&Member| {
            matches!(member.standing, Standing::Draining | Standing::Resetting) && member.head_since.elapsed() >= limit
        };
        members.filter(late).map(|member| member.client.clone_ref(py)).collect()
    }

    pub(super) fn list(&self, py: Python<'_>) -> Vec<(Py<AsyncClient>, &'static str)> {
        let members = self.slots.iter().flatten();
        members
            .map(|member| {
                let standing = match member.standing {
                    Standing::Routed if member.idle => "idle",
                    Standing::Routed => "busy",
                    Standing::Used => "used",
                    Standing::Draining | Standing::Resetting => "resetting",
                    Standing::Checked => "checking",
                };
                (member.client.clone_ref(py), standing)
            })
            .collect()
    }

    pub(super) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.slots.iter().flatten().try_for_each(|member| visit.call(&member.client))
    }
}

/// An idle connection is looked at before it is used when the loop may not have told of its end yet: who waited for something
/// else, and is woken by an event of the same turn, comes before the loop has told. With 50 ms one in eight such users met a
/// connection that had ended, on a busy machine. A pool in full use has none that is idle for so long, and looks at none.
pub(super) const WORTH_A_LOOK: Duration = Duration::from_millis(1);
