//! Doing what `choosing.rs` decided. No lock is held while connections, replies or Python are called.

use std::time::Instant;

use pyo3::intern;
use pyo3::prelude::*;

use super::members::{Standing, load};
use super::waiting::{RoutedCall, Waiting, Wanted};
use super::{PoolRouter, choosing::Step};
use crate::async_client::AsyncClient;
use crate::awaitable::Awaitable;
use crate::error;
use crate::job::Kind;
use crate::session::Outcome;
use crate::sync::lock;

impl PoolRouter {
    /// Serves the queue as far as it goes now, and has connections opened for the rest.
    pub(super) fn serve_next(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        loop {
            let step = lock(&this.inner).next(py, this.rules());
            match step {
                Step::Nothing => break,
                Step::Assign(slot, client, waiting) => this.assign_waiting(py, slot, client.bind(py), waiting)?,
                Step::Grant(client, waiting) => Self::grant(slf, client.bind(py), waiting)?,
                Step::Look(slot, client) => Self::look(slf, slot, client.bind(py))?,
                Step::Ping(client) => {
                    slf.call_method1(intern!(py, "_do_ping"), (client,))?;
                }
                Step::Reset(slot, client) => Self::reset(slf, slot, client.bind(py))?,
                Step::GiveUp(member, why) => Self::give_up(slf, member.client, why)?,
            }
        }
        let missing = {
            let mut inner = lock(&this.inner);
            let missing = inner.missing(this.rules());
            inner.opening += missing;
            missing
        };
        if missing > 0 {
            slf.call_method1(intern!(py, "_do_grow"), (missing,))?;
        }
        Ok(())
    }

    /// Writes a routed call on `client`. An error is the call's own: its arguments do not fit.
    pub(super) fn assign(
        &self,
        py: Python<'_>,
        slot: usize,
        client: &Bound<'_, AsyncClient>,
        call: RoutedCall,
        reply: &Py<Awaitable>,
        until: Option<(Instant, f64)>,
    ) -> PyResult<()> {
        let served = AsyncClient::serve(client, call.verb, call.asked, call.known, reply, until);
        if served.is_err() {
            self.rest(slot, client);
        }
        let _ = py;
        served
    }

    fn assign_waiting(
        &self,
        py: Python<'_>,
        slot: usize,
        client: &Bound<'_, AsyncClient>,
        waiting: Waiting,
    ) -> PyResult<()> {
        let Waiting { wanted: Wanted::Call(call), reply, until, .. } = waiting else { return Ok(()) };
        let until = until.or(Some((Instant::now(), f64::INFINITY)));
        let Err(error) = self.assign(py, slot, client, *call, &reply, until) else { return Ok(()) };
        if reply.get().settle(Err(error)) { Awaitable::wake(reply.into_bound(py), false) } else { Ok(()) }
    }

    /// `client` is somebody's from now on.
    fn grant(slf: &Bound<'_, Self>, client: &Bound<'_, AsyncClient>, waiting: Waiting) -> PyResult<()> {
        let py = slf.py();
        let session = &client.get().session;
        session.unpark(false);
        if let Some((_, slot)) = client.get().pool.get()
            && let Some(member) = lock(&slf.get().inner).members.get(*slot)
        {
            member.asked_before = session.last_id();
        }
        if waiting.reply.get().settle(Ok(client.clone().into_any().unbind())) {
            return Awaitable::wake(waiting.reply.into_bound(py), false);
        }
        Self::take_back(slf, client)
    }

    /// A connection that nothing has been heard of for a while: what the loop may not have told yet is read. Where only the loop
    /// can read it, an idle one is asked whether it lives (the answer comes behind that), and nobody follows its reset.
    fn look(slf: &Bound<'_, Self>, slot: usize, client: &Bound<'_, AsyncClient>) -> PyResult<()> {
        let untold = AsyncClient::look(client)?;
        {
            let mut inner = lock(&slf.get().inner);
            // What was read may have made it somebody's meanwhile, or given it something to do.
            let Some(member) = inner.members.of(slot, client) else { return Ok(()) };
            if member.standing == Standing::Resetting {
                (member.looked, member.untold) = (true, untold);
                return Ok(());
            }
            if member.standing != Standing::Routed || load(client.get()) != (0, true) {
                return Ok(());
            }
            if !untold {
                member.looked = true;
                let since = member.idle_since;
                inner.members.make_idle(slot, since);
                return Ok(());
            }
            member.standing = Standing::Checked;
        }
        slf.call_method1(intern!(slf.py(), "_do_ping"), (client,))?;
        Ok(())
    }

    /// Nothing runs on the member, whatever was planned: it is idle.
    fn rest(&self, slot: usize, client: &Bound<'_, AsyncClient>) {
        let mut inner = lock(&self.inner);
        if let Some(member) = inner.members.of(slot, client)
            && member.standing == Standing::Routed
            && load(client.get()) == (0, true)
        {
            inner.members.make_idle(slot, Instant::now());
        }
    }

    fn give_up(slf: &Bound<'_, Self>, client: Py<AsyncClient>, why: &'static str) -> PyResult<()> {
        slf.call_method1(intern!(slf.py(), "_do_give_up"), (client, why))?;
        Ok(())
    }

    // ---- from one user to the next ---------------------------------------------------------------------------

    /// Its user gives it back.
    pub(super) fn take_back(slf: &Bound<'_, Self>, client: &Bound<'_, AsyncClient>) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        let slot = match client.get().pool.get() {
            Some((pool, slot)) if pool.is(slf) => *slot,
            _ => return Err(error::interface_error(py, "this connection is not one of the pool's")),
        };
        let (client, untouched) = {
            let mut inner = lock(&this.inner);
            let member = inner.members.of(slot, client);
            if client.get().is_given_back() || member.as_ref().is_some_and(|one| one.standing != Standing::Used) {
                drop(inner);
                return Err(error::interface_error(py, "this connection has been given back before"));
            }
            client.get().session.lease.end();
            let Some(member) = member else { return Ok(()) };
            member.standing = Standing::Draining;
            member.begin_head(Instant::now(), false);
            (member.client.clone_ref(py), member.asked_before == client.get().session.last_id())
        };
        // From here on the pool's own object: what its user has counts no longer.
        let client = client.bind(py);
        client.get().session.park();
        client.get().turn_away_outsiders(py)?;
        if client.get().session.is_ended() {
            return Self::forget(slf, slot, client, "closed");
        }
        client.get().end_streams(client)?;
        if untouched {
            return Self::untouched(slf, slot, client);
        }
        if load(client.get()).0 == 0 { Self::reset(slf, slot, client) } else { Ok(()) }
    }

    /// Writes what undoes its last user's doings; waits for nothing.
    fn reset(slf: &Bound<'_, Self>, slot: usize, client: &Bound<'_, AsyncClient>) -> PyResult<()> {
        let this = slf.get();
        client.get().session.park();
        if !AsyncClient::begin_reset(client, &this.rules().reset)? {
            return Self::ready(slf, slot, client);
        }
        if let Some(member) = lock(&this.inner).members.of(slot, client) {
            member.standing = Standing::Resetting;
            member.begin_head(Instant::now(), false);
            (member.looked, member.untold) = (false, false);
        }
        // Whoever waits may follow it.
        Self::serve_next(slf)
    }

    /// Its user has asked nothing of it: as clean as it was.
    fn untouched(slf: &Bound<'_, Self>, slot: usize, client: &Bound<'_, AsyncClient>) -> PyResult<()> {
        if !client.get().session.unfollow_reset() {
            return Self::ready(slf, slot, client);
        }
        if let Some(member) = lock(&slf.get().inner).members.of(slot, client) {
            member.standing = Standing::Resetting;
        }
        Self::serve_next(slf)
    }

    /// It is clean: anybody's.
    fn ready(slf: &Bound<'_, Self>, slot: usize, client: &Bound<'_, AsyncClient>) -> PyResult<()> {
        let this = slf.get();
        let spent = {
            let mut inner = lock(&this.inner);
            let Some(member) = inner.members.of(slot, client) else { return Ok(()) };
            let now = Instant::now();
            member.standing = Standing::Routed;
            member.dirty = false;
            member.tail_long = false;
            if inner.closed {
                Some("closed")
            } else if let Some(why) = inner.members.spent(slot, this.rules(), now) {
                Some(why)
            } else {
                client.get().session.serve_routed();
                inner.members.make_idle(slot, now);
                None
            }
        };
        match spent {
            Some(why) => Self::forget(slf, slot, client, why),
            None => Self::serve_next(slf),
        }
    }

    /// It is no longer a member.
    fn forget(slf: &Bound<'_, Self>, slot: usize, client: &Bound<'_, AsyncClient>, why: &'static str) -> PyResult<()> {
        let member = lock(&slf.get().inner).members.remove(slot, client);
        if let Some(member) = member {
            Self::give_up(slf, member.client, why)?;
        }
        Self::serve_next(slf)
    }

    /// See `_checked`.
    pub(super) fn checked(slf: &Bound<'_, Self>, client: &Bound<'_, AsyncClient>) -> PyResult<()> {
        let Some((_, slot)) = client.get().pool.get() else { return Ok(()) };
        {
            let mut inner = lock(&slf.get().inner);
            let Some(member) = inner.members.of(*slot, client) else { return Ok(()) };
            member.standing = Standing::Routed;
            inner.members.make_idle(*slot, Instant::now());
            if let Some(member) = inner.members.get(*slot) {
                member.asked = true;
            }
        }
        Self::serve_next(slf)
    }

    // ---- answers ---------------------------------------------------------------------------------------------

    /// A page has been read on `client`, and is about to be handed out: who is woken by it may call again, and finds the
    /// connection idle if it is.
    pub(crate) fn answered(slf: &Bound<'_, Self>, slot: usize, client: &Bound<'_, AsyncClient>, outcomes: &[Outcome]) {
        let this = slf.get();
        let mut inner = lock(&this.inner);
        let queued = !inner.queue.is_empty();
        let Some(member) = inner.members.of(slot, client) else { return };
        if member.standing != Standing::Routed {
            return;
        }
        let now = Instant::now();
        for outcome in outcomes {
            let Outcome::Finished(_, job, _) = outcome else { continue };
            // Those behind the first were answered while the page was on its way: how long they took is not known, but short.
            let took = member.end_head(now);
            if let Kind::Run(run) = &job.kind
                && let Some(known) = &run.known
            {
                known.took(took);
            }
        }
        if !queued && !member.is_spent(this.rules(), now) && load(client.get()) == (0, true) {
            inner.members.make_idle(slot, now);
        }
    }

    /// What was read on `client` has been handed out: it may take more.
    pub(crate) fn delivered(slf: &Bound<'_, Self>, slot: usize, client: &Bound<'_, AsyncClient>) -> PyResult<()> {
        let this = slf.get();
        let session = &client.get().session;
        let standing = match lock(&this.inner).members.of(slot, client) {
            Some(member) => member.standing,
            None => return Ok(()),
        };
        match standing {
            Standing::Used | Standing::Checked => Ok(()),
            Standing::Draining if load(client.get()).0 == 0 => Self::reset(slf, slot, client),
            Standing::Draining => Ok(()),
            Standing::Resetting => match session.take_reset() {
                None => Ok(()),
                Some(Ok(())) => Self::ready(slf, slot, client),
                Some(Err(failure)) => {
                    slf.call_method1(intern!(slf.py(), "_do_note"), (failure.into_value(slf.py()),))?;
                    Self::forget(slf, slot, client, "reset failed")
                }
            },
            Standing::Routed => match load(client.get()) {
                (0, false) => Self::forget(slf, slot, client, "left in a transaction"),
                (0, true) => {
                    let now = Instant::now();
                    let spent = lock(&this.inner).members.spent(slot, this.rules(), now);
                    if let Some(why) = spent {
                        return Self::forget(slf, slot, client, why);
                    }
                    lock(&this.inner).members.make_idle_once(slot, now);
                    Self::serve_next(slf)
                }
                _ => Self::serve_next(slf),
            },
        }
    }

    // ---- time, and the end -----------------------------------------------------------------------------------

    /// See `_tidy`.
    pub(super) fn tidy(slf: &Bound<'_, Self>, keep: usize) -> PyResult<()> {
        let this = slf.get();
        let stale = {
            let mut inner = lock(&this.inner);
            let now = Instant::now();
            let surplus = inner.members.len().saturating_sub(keep);
            let stale = inner.members.stale(this.rules(), now, surplus);
            let take = |slot: usize| {
                let why = inner.members.spent(slot, this.rules(), now).unwrap_or("idle");
                inner.members.take(slot).map(|member| (member, why))
            };
            stale.into_iter().filter_map(take).collect::<Vec<_>>()
        };
        for (member, why) in stale {
            Self::give_up(slf, member.client, why)?;
        }
        Self::serve_next(slf)
    }

    /// See `_ring`.
    pub(super) fn ring(slf: &Bound<'_, Self>) -> PyResult<Option<f64>> {
        let py = slf.py();
        let (late, next) = lock(&slf.get().inner).queue.take_late();
        for waiting in late {
            let why = match waiting.until {
                Some((until, limit)) if until <= Instant::now() => Some(limit),
                _ => None,
            };
            let error = slf.call_method1(intern!(py, "_do_late"), (waiting.waited().as_secs_f64(), why))?;
            if waiting.reply.get().settle(Err(PyErr::from_value(error))) {
                Awaitable::wake(waiting.reply.into_bound(py), false)?;
            }
        }
        Self::serve_next(slf)?;
        Ok(next)
    }

    /// See `_shut`.
    pub(super) fn shut(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let waiting = {
            let mut inner = lock(&slf.get().inner);
            inner.closed = true;
            inner.queue.take_all()
        };
        for waiting in waiting {
            let closed = error::interface_error(py, "the pool was closed while this waited for a connection of it");
            if waiting.reply.get().settle(Err(closed)) {
                Awaitable::wake(waiting.reply.into_bound(py), false)?;
            }
        }
        Ok(())
    }
}
