//! Fed requests: the turn is kept from their beginning to their end.

use pgoxide_protocol::client::{Request, RequestId, Standing};
use pyo3::prelude::*;

use super::{BlockingClient, Deadline};
use crate::call::{self};
use crate::error;
use crate::feed::Feed;
use crate::job::Job;
use crate::sync::lock;

/// A fed request: the turn is kept as long as it is there.
pub(super) struct Feeding {
    /// None until it has been submitted.
    id: Option<RequestId>,
    deadline: Deadline,
    /// It may finish before its feeding does.
    finished: Option<Job>,
}

impl BlockingClient {
    /// Keeps the turn for a fed request, which is made through the transaction block of `via` if it is.
    pub(super) fn begin_feeding(
        &self,
        py: Python<'_>,
        timeout: Option<f64>,
        via: Option<&Py<PyAny>>,
    ) -> PyResult<Standing> {
        let deadline = Deadline::after(call::timeout(py, timeout)?.or(self.default_timeout));
        let standing = self.keep_turn_at(py, deadline, via)?;
        let feeding = Feeding { id: None, deadline, finished: None };
        let earlier = lock(&self.feeding).replace(feeding);
        drop(earlier);
        Ok(standing)
    }

    /// The fed request is over: others may use the connection. Twice does nothing.
    pub(super) fn end_feeding(&self) -> Option<Job> {
        let feeding = lock(&self.feeding).take()?;
        self.turn.give_back();
        feeding.finished
    }

    /// Begins a fed request.
    pub(super) fn begin(
        &self,
        py: Python<'_>,
        made: PyResult<(Feed, Request<Job>)>,
        standing: Standing,
    ) -> PyResult<Feed> {
        let submitted = made.and_then(|(feed, request)| {
            let deadline =
                lock(&self.feeding).as_ref().map_or_else(|| Deadline::after(None), |feeding| feeding.deadline);
            self.open_first(py, &request, deadline, standing)?;
            self.session.submit(py, request, standing).map(|()| feed)
        });
        match submitted {
            Ok(feed) => {
                if let Some(feeding) = &mut *lock(&self.feeding) {
                    feeding.id = Some(feed.id());
                }
                Ok(feed)
            }
            Err(error) => {
                self.end_feeding();
                Err(error)
            }
        }
    }

    /// One turn for a fed request: true once it has finished, whose job is then kept.
    pub(super) fn feed_turn(&self, py: Python<'_>, id: RequestId, wait: Option<u32>) -> PyResult<bool> {
        let Some(deadline) = self.check_feed_deadline(py, id)? else { return Ok(true) };
        let Some(job) = self.turn_once(py, Some(id), wait.or_else(|| deadline.shorter_than_slice()))? else {
            return Ok(false);
        };
        if let Some(feeding) = &mut *lock(&self.feeding) {
            feeding.finished = Some(job);
        }
        Ok(true)
    }

    /// Until when the fed request may take: raises when that has passed. None once it has finished.
    pub(super) fn check_feed_deadline(&self, py: Python<'_>, id: RequestId) -> PyResult<Option<Deadline>> {
        let deadline =
            lock(&self.feeding).as_ref().map(|feeding| feeding.finished.is_none().then_some(feeding.deadline));
        let Some(deadline) = deadline else {
            return Err(error::interface_error(py, "the COPY or execute_many is over"));
        };
        let Some(deadline) = deadline else { return Ok(None) };
        if deadline.has_passed() {
            // Unsent bytes mean nothing here: a server that runs what it was fed takes more when it is cancelled.
            // Unsent bytes mean nothing here: a server that runs what it was fed takes more when it is cancelled.
            let late = error::query_timeout(py, format!("not finished within {} s", deadline.seconds));
            return Err(self.session.explained_of(py, late, id));
        }
        Ok(Some(deadline))
    }

    /// Works until the fed request is at the head and may be fed, or has finished: then false.
    pub(crate) fn wait_started(&self, py: Python<'_>, id: RequestId) -> PyResult<bool> {
        loop {
            if self.feed_turn(py, id, None)? {
                return Ok(false);
            }
            if self.session.may_feed(id) {
                return Ok(true);
            }
        }
    }

    /// Sends what a block left, reading meanwhile.
    pub(crate) fn push_out(&self, py: Python<'_>, id: RequestId) -> PyResult<()> {
        self.send_some();
        // Also when the socket takes everything at once: the deadline holds, and a refusal must stop the source.
        if self.feed_turn(py, id, Some(0))? {
            return Ok(());
        }
        // A millisecond: there is something to send, so this seldom waits.
        while !lock(&self.session.state).conn.outgoing().is_empty() && !self.feed_turn(py, id, Some(1))? {}
        Ok(())
    }

    /// Works until the fed request has finished.
    pub(crate) fn wait_done(&self, py: Python<'_>, id: RequestId) -> PyResult<Py<PyAny>> {
        while !self.feed_turn(py, id, None)? {}
        match self.end_feeding() {
            Some(mut job) => job.conclude(py, &self.session),
            None => Err(error::interface_error(py, "the COPY or execute_many is over")),
        }
    }

    /// Is the turn kept for request `id`?
    pub(crate) fn is_feeding(&self, id: RequestId) -> bool {
        lock(&self.feeding).as_ref().is_some_and(|feeding| feeding.id == Some(id))
    }

    /// The source failed, a signal came, or the time is over: after the failure message, cancels what runs and waits for
    /// the server's end of it, so that the connection is in step; gives the turn back in every case.
    pub(crate) fn abandon(&self, py: Python<'_>, id: RequestId) {
        let unfinished = lock(&self.feeding).as_ref().is_some_and(|feeding| feeding.finished.is_none());
        let known = lock(&self.session.state).conn.job(id).is_some();
        if unfinished && known {
            self.cancel_and_drain(py, id);
        }
        drop(self.end_feeding());
    }
}
