//! From bytes to woken tasks: what a page brought is taken from the session and handed out.

use std::sync::atomic::Ordering;

use pgoxide_protocol::buffer::RecvBuffer;
use pgoxide_protocol::client::{Request, RequestId};
use pyo3::intern;
use pyo3::prelude::*;

use super::AsyncClient;
use super::deadlines::Deadline;
use super::ending::lost_line;
use crate::awaitable::Awaitable;
use crate::error;
use crate::gather::{Dozing, Next};
use crate::introspect::{Deferral, Learnt};
use crate::io::{Moved, Socket};
use crate::job::{Job, Kind};
use crate::session::Outcome;
use crate::sync::lock;

/// Reads in one turn before other descriptors of the loop get theirs.
const READS_PER_TURN: usize = 8;

impl AsyncClient {
    /// Receives what there is and acts on it. `direct`: called by the loop, no task runs.
    pub(super) fn read(slf: &Bound<'_, Self>, socket: Socket, direct: bool) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        // Out already: somebody runs the loop inside a callback of ours. The outer read goes on.
        let Some(mut page) = lock(&this.page).take() else { return Ok(()) };
        let mut outcomes = Vec::with_capacity(lock(&this.session.state).conn.unfinished().min(128));
        let (mut end, mut brought) = (None, None);
        for _ in 0..READS_PER_TURN {
            let spare = page.spare();
            let room = spare.len();
            match socket.receive(spare) {
                Ok(Moved::Bytes(count)) => {
                    page.filled(count);
                    brought = Some((count, room));
                    if let Err(error) = this.session.process(py, &mut page, &mut outcomes) {
                        end = Some(error);
                        break;
                    }
                    // What a COPY brings is taken at once, or left in the socket.
                    if count < room || matches!(outcomes.last(), Some(Outcome::Copied { .. })) {
                        break;
                    }
                }
                Ok(Moved::WouldBlock) => break,
                Ok(Moved::End) => {
                    end = Some(error::connection_closed(py, "the server closed the connection"));
                    break;
                }
                Err(cause) => {
                    end = Some(lost_line(py, cause.into()));
                    break;
                }
            }
        }
        this.put_back(page);
        Self::tell_pool(slf, &outcomes);
        let delivered = this.deliver(py, outcomes, direct);
        if let Some(reason) = end {
            this.finish(py, reason)?;
            return delivered;
        }
        let delivered = delivered.and(Self::ask_pool(slf));
        this.flush(py)?;
        this.looked(py, brought)?;
        this.release_if_idle(py);
        delivered
    }

    /// After a look into the socket: what the loop is to wait for before the next one.
    fn looked(&self, py: Python<'_>, brought: Option<(usize, usize)>) -> PyResult<()> {
        let Some(dozing) = self.dozing.get() else { return Ok(()) };
        let copying = {
            let state = lock(&self.session.state);
            state.conn.copies_out() && state.ended.is_none()
        };
        self.wait_for(py, dozing.looked(brought, copying && !self.deaf.load(Ordering::Relaxed)))
    }

    fn wait_for(&self, py: Python<'_>, next: Next) -> PyResult<()> {
        match next {
            Next::Same => {}
            Next::Alarm(descriptor) => {
                self.hooks(py)?.call_method1(intern!(py, "doze"), (descriptor,))?;
            }
            Next::Socket => {
                self.hooks(py)?.call_method0(intern!(py, "wake"))?;
            }
        }
        Ok(())
    }

    pub(super) fn received(slf: &Bound<'_, Self>, bytes: &[u8]) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        let Some(mut page) = lock(&this.page).take() else {
            return Err(error::interface_error(py, "the event loop was run inside one of the connection's callbacks"));
        };
        let (mut outcomes, mut end, mut rest) = (Vec::new(), None, bytes);
        while !rest.is_empty() && end.is_none() {
            let spare = page.spare();
            let count = spare.len().min(rest.len());
            spare[..count].copy_from_slice(&rest[..count]);
            page.filled(count);
            rest = &rest[count..];
            end = this.session.process(py, &mut page, &mut outcomes).err();
        }
        this.put_back(page);
        Self::tell_pool(slf, &outcomes);
        let mut delivered = this.deliver(py, outcomes, true);
        match end {
            Some(reason) => this.finish(py, reason)?,
            None => {
                delivered = delivered.and(Self::ask_pool(slf));
                this.flush(py)?;
            }
        }
        this.release_if_idle(py);
        delivered
    }

    /// Leaves what the server sends in the socket, which stops it.
    fn receive_no_more(&self, py: Python<'_>) -> PyResult<()> {
        if !self.deaf.swap(true, Ordering::Relaxed) {
            self.wait_for(py, self.dozing.get().map_or(Next::Same, Dozing::wake))?;
            self.hooks(py)?.call_method1(intern!(py, "want_read"), (false,))?;
        }
        Ok(())
    }

    /// Receives what was left in the socket.
    pub(crate) fn receive_again(&self, py: Python<'_>) -> PyResult<()> {
        if self.deaf.swap(false, Ordering::Relaxed) {
            self.hooks(py)?.call_method1(intern!(py, "want_read"), (true,))?;
        }
        Ok(())
    }

    /// After a read. A connection that ended meanwhile reads no more, and may still be referred to for long.
    pub(super) fn put_back(&self, page: RecvBuffer) {
        if !self.session.is_ended() {
            *lock(&self.page) = Some(page);
        }
    }

    /// Acts on what a page brought. `direct`: called by the loop, no task runs.
    ///
    /// A task that ends with KeyboardInterrupt or SystemExit raises here; the others still get their answers.
    pub(super) fn deliver(&self, py: Python<'_>, outcomes: Vec<Outcome>, direct: bool) -> PyResult<()> {
        let nested = self.delivering.swap(true, Ordering::Relaxed);
        let mut result = Ok(());
        for outcome in outcomes {
            let acted = self.act(py, outcome, direct && !nested && result.is_ok());
            if result.is_ok() {
                result = acted;
            }
        }
        self.delivering.store(nested, Ordering::Relaxed);
        result
    }

    pub(super) fn act(&self, py: Python<'_>, outcome: Outcome, direct: bool) -> PyResult<()> {
        match outcome {
            Outcome::Finished(id, mut job, abandoned) => {
                if let Kind::Prepare(prepare) = &mut job.kind {
                    let ended = self.session.prepared(py, prepare, abandoned)?;
                    return self.settle_held(py, ended);
                }
                self.check_undone(py, &job)?;
                if let Some(written) = job.again.take()
                    && !abandoned
                {
                    return self.make_again(py, id, job, &written);
                }
                if matches!(job.kind, Kind::Introspect(_)) {
                    return if abandoned { self.advance_all(py) } else { self.learnt(py, job, direct) };
                }
                if !abandoned && job.waits_for_types() {
                    match self.session.defer(py, id, job)? {
                        Deferral::Complete(complete) => job = complete,
                        Deferral::Asks(request) => return self.ask_types(py, id, request),
                    }
                }
                // A first flight may have carried the description that held calls wait for, or failed to.
                if !lock(&self.session.state).held.is_empty() {
                    let ended = self.session.advance_held(py);
                    self.settle_held(py, ended)?;
                }
                if let Kind::Fed(fed) = &mut job.kind
                    && let Some(started) = fed.started.take()
                    && started.get().settle(Ok(false.into_pyobject(py)?.to_owned().into_any().unbind()))
                {
                    Awaitable::wake(started.into_bound(py), direct)?;
                }
                if let Some(shared) = job.stream.take() {
                    let error = job.failure(py, &self.session);
                    return self.end_stream(py, id, &shared, error, direct);
                }
                let Some(reply) = job.reply.take() else { return Ok(()) };
                if abandoned || !reply.get().is_pending() {
                    return Ok(());
                }
                let result = job.conclude(py, &self.session);
                // Before the task goes on: what the job holds (its statement) is free again.
                drop(job);
                if reply.get().settle(result) { Awaitable::wake(reply.into_bound(py), direct) } else { Ok(()) }
            }
            Outcome::Started => {
                let Some(reply) = lock(&self.starting).take() else { return Ok(()) };
                if reply.get().settle(Ok(py.None())) { Awaitable::wake(reply.into_bound(py), direct) } else { Ok(()) }
            }
            Outcome::FeedStarted(id) => {
                let started = match lock(&self.session.state).conn.job(id).map(|job| &mut job.kind) {
                    Some(Kind::Fed(fed)) => fed.started.take(),
                    _ => None,
                };
                let Some(started) = started else { return Ok(()) };
                let yes = true.into_pyobject(py)?.to_owned().into_any().unbind();
                if started.get().settle(Ok(yes)) { Awaitable::wake(started.into_bound(py), direct) } else { Ok(()) }
            }
            Outcome::Batch { id, shared, rows, end, size } => {
                match self.session.stream_batch(id, &shared, rows, end, size) {
                    Some(waiting) if waiting.get().settle(Ok(py.None())) => {
                        Awaitable::wake(waiting.into_bound(py), direct)
                    }
                    _ => Ok(()),
                }
            }
            Outcome::Copied { id, shared, batch, failure } => {
                let failed = failure.is_some();
                let (waiting, full) = shared.copied(batch, failure);
                if full && self.session.is_running(id) {
                    self.receive_no_more(py)?;
                }
                if failed {
                    self.stream_ended(id);
                    self.stop_running(py, id)?;
                }
                match waiting {
                    Some(waiting) if waiting.get().settle(Ok(py.None())) => {
                        Awaitable::wake(waiting.into_bound(py), direct)
                    }
                    _ => Ok(()),
                }
            }
            Outcome::Notice(fields) => {
                self.hooks(py)?.call_method1(intern!(py, "notice"), (fields,))?;
                Ok(())
            }
            Outcome::Notification { channel, payload, process_id } => {
                self.hooks(py)?.call_method1(intern!(py, "notification"), (channel, payload, process_id))?;
                Ok(())
            }
        }
    }

    /// A question about types has been answered, or refused.
    fn learnt(&self, py: Python<'_>, mut job: Job, direct: bool) -> PyResult<()> {
        let error = job.error.take();
        let Kind::Introspect(introspect) = job.kind else { return Ok(()) };
        let Learnt { again, call, ended, refusal: _ } = self.session.learn(py, *introspect, error)?;
        self.settle_held(py, ended)?;
        if let Some(request) = again {
            self.ask_types(py, 0, request)?;
        }
        if let Some((id, job)) = call {
            self.act(py, Outcome::Finished(id, job, false), direct)?;
        }
        self.advance_all(py)
    }

    fn advance_all(&self, py: Python<'_>) -> PyResult<()> {
        self.settle_held(py, self.session.advance_held(py))
    }

    /// Asks for types on behalf of call `id`, whose time limit holds on.
    fn ask_types(&self, py: Python<'_>, id: RequestId, request: Request<Job>) -> PyResult<()> {
        {
            let mut deadlines = lock(&self.deadlines);
            let limit = deadlines.iter().find(|Deadline(_, limited, _)| *limited == id);
            let limit = limit.map(|Deadline(at, _, seconds)| Deadline(*at, request.id, *seconds));
            deadlines.extend(limit);
        }
        let refused = {
            let mut state = lock(&self.session.state);
            if state.ended.is_none() {
                state.conn.submit(request);
                None
            } else {
                Some(request)
            }
        };
        match refused {
            None => Ok(()),
            Some(request) => {
                let closed = self.session.closed_error(py);
                self.settle_held(py, vec![(request.job.waited_for(), Err(closed))])
            }
        }
    }
}
