//! What is to be done next: decided under the lock, done by `acting.rs` without it.

use std::time::Instant;

use pyo3::prelude::*;

use super::members::{Member, Standing, WORTH_A_LOOK};
use super::waiting::{RoutedCall, Waiting, Wanted};
use super::{Inner, PoolRouter, Rules};
use crate::async_client::AsyncClient;
use crate::sync::lock;

/// The next thing to do for the front of the queue.
pub(super) enum Step {
    Nothing,
    /// A routed call and the connection that takes it.
    Assign(usize, Py<AsyncClient>, Waiting),
    /// A connection for somebody's own.
    Grant(Py<AsyncClient>, Waiting),
    /// Idle or being reset for a while: has it ended meanwhile, or answered?
    Look(usize, Py<AsyncClient>),
    /// Idle for long: does it live?
    Ping(Py<AsyncClient>),
    /// What ran on it is to be undone first.
    Reset(usize, Py<AsyncClient>),
    /// No longer a member, and why.
    GiveUp(Member, &'static str),
}

/// What is to be done with an idle connection before it is used.
enum Idle {
    Use,
    Step(Step),
}

impl Inner {
    /// Another connection may be opened.
    pub(super) fn can_grow(&self, rules: &Rules) -> bool {
        !self.paused && !self.closed && self.members.len() + self.opening < rules.max_size
    }

    /// How many connections to open for those that wait.
    pub(super) fn missing(&self, rules: &Rules) -> usize {
        if !self.can_grow(rules) {
            return 0;
        }
        let coming = self.opening + self.members.soon_free();
        self.queue.len().saturating_sub(coming).min(rules.max_size - self.members.len() - self.opening)
    }

    pub(super) fn next(&mut self, py: Python<'_>, rules: &Rules) -> Step {
        let Some(front) = self.queue.front() else { return Step::Nothing };
        let now = Instant::now();
        match &front.wanted {
            Wanted::Call(call) => {
                let slot = match self.for_call(py, call.asked.isolate, rules, now) {
                    Ok(Some(slot)) => slot,
                    Ok(None) => return Step::Nothing,
                    Err(step) => return step,
                };
                self.serve_call(py, slot, now)
            }
            Wanted::Connection => self.serve_connection(py, rules, now),
        }
    }

    /// The connection for a routed call, if one can take it now.
    fn for_call(&mut self, py: Python<'_>, alone: bool, rules: &Rules, now: Instant) -> Result<Option<usize>, Step> {
        if let Some(slot) = self.members.pop_idle() {
            return match self.inspect(py, slot, rules, now) {
                Idle::Use => Ok(Some(slot)),
                Idle::Step(step) => Err(step),
            };
        }
        if let Some(slot) = self.follow(py, rules, now)? {
            return Ok(Some(slot));
        }
        if alone || rules.depth < 2 || self.can_grow(rules) {
            return Ok(None);
        }
        Ok(self.members.least_busy(rules, now))
    }

    /// A connection whose reset has not been answered, and need not be for its next user.
    fn follow(&mut self, py: Python<'_>, rules: &Rules, now: Instant) -> Result<Option<usize>, Step> {
        let Some((slot, looks)) = self.members.to_follow(rules, now).filter(|_| !self.closed) else { return Ok(None) };
        let Some(member) = self.members.get(slot) else { return Ok(None) };
        if looks {
            return Err(Step::Look(slot, member.client.clone_ref(py)));
        }
        let session = &member.client.get().session;
        session.follow_reset();
        session.serve_routed();
        (member.standing, member.dirty, member.tail_long) = (Standing::Routed, false, false);
        Ok(Some(slot))
    }

    fn serve_call(&mut self, py: Python<'_>, slot: usize, now: Instant) -> Step {
        let Some(waiting) = self.queue.serve() else { return Step::Nothing };
        let client = match &waiting.wanted {
            Wanted::Call(call) => self.begin(py, slot, call, now),
            Wanted::Connection => None,
        };
        client.map_or(Step::Nothing, |client| Step::Assign(slot, client, waiting))
    }

    /// The member `slot` is to run `call`.
    fn begin(&mut self, py: Python<'_>, slot: usize, call: &RoutedCall, now: Instant) -> Option<Py<AsyncClient>> {
        let member = self.members.get(slot)?;
        if super::members::load(member.client.get()).0 == 0 {
            member.begin_head(now, true);
        }
        member.dirty = true;
        member.uses += 1;
        member.tail_long = call.asked.isolate || !call.known.is_short();
        Some(member.client.clone_ref(py))
    }

    fn serve_connection(&mut self, py: Python<'_>, rules: &Rules, now: Instant) -> Step {
        if !self.members.has_clean() {
            match self.follow(py, rules, now) {
                Ok(Some(slot)) => return self.grant(py, slot),
                Ok(None) => {}
                Err(step) => return step,
            }
        }
        let Some(slot) = self.members.pop_clean() else { return Step::Nothing };
        match self.inspect(py, slot, rules, now) {
            Idle::Use => {}
            Idle::Step(step) => return step,
        }
        let enough = self.members.count(Standing::Resetting) >= self.queue.connections();
        let Some(member) = self.members.get(slot) else { return Step::Nothing };
        if member.dirty {
            if enough {
                let since = member.idle_since;
                self.members.make_idle(slot, since);
                return Step::Nothing;
            }
            member.standing = Standing::Resetting;
            return Step::Reset(slot, member.client.clone_ref(py));
        }
        self.grant(py, slot)
    }

    /// The member `slot` is the front's.
    fn grant(&mut self, py: Python<'_>, slot: usize) -> Step {
        let Some(waiting) = self.queue.serve() else { return Step::Nothing };
        let Some(member) = self.members.get(slot) else { return Step::Nothing };
        member.standing = Standing::Used;
        member.uses += 1;
        Step::Grant(member.client.clone_ref(py), waiting)
    }

    /// May the idle connection `slot`, which is no longer among the idle ones, be used as it is?
    fn inspect(&mut self, py: Python<'_>, slot: usize, rules: &Rules, now: Instant) -> Idle {
        let Some(member) = self.members.get(slot) else { return Idle::Step(Step::Nothing) };
        let idle = now.duration_since(member.idle_since);
        let why = if member.client.get().session.is_doomed() {
            "lost"
        } else if member.is_spent(rules, now) {
            member.why_spent(rules)
        } else if rules.max_idle.is_some_and(|most| idle >= most) {
            "idle"
        } else if !member.asked && rules.ping_after.is_some_and(|after| idle >= after) {
            member.standing = Standing::Checked;
            return Idle::Step(Step::Ping(member.client.clone_ref(py)));
        } else if idle >= WORTH_A_LOOK && !member.looked {
            return Idle::Step(Step::Look(slot, member.client.clone_ref(py)));
        } else {
            return Idle::Use;
        };
        Idle::Step(self.members.take(slot).map_or(Step::Nothing, |member| Step::GiveUp(member, why)))
    }
}

impl PoolRouter {
    /// The connection for a routed call that need not wait, as nearly always: nobody waits, and one is fresh or has room.
    #[inline]
    pub(super) fn choose_at_once(&self, py: Python<'_>, call: &RoutedCall) -> Option<(usize, Py<AsyncClient>)> {
        let mut inner = lock(&self.inner);
        if !inner.queue.is_empty() {
            return None;
        }
        let now = Instant::now();
        let slot = if inner.members.freshest_is_ready(self.rules(), now) {
            inner.members.pop_idle()?
        } else if inner.members.has_idle()
            || call.asked.isolate
            || self.rules().depth < 2
            || inner.can_grow(self.rules())
        {
            return None;
        } else {
            inner.members.least_busy(self.rules(), now)?
        };
        inner.queue.at_once += 1;
        let client = inner.begin(py, slot, call, now)?;
        Some((slot, client))
    }
}
