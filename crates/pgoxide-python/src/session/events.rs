//! From bytes to outcomes: each event of the machine concerns the job at the head.

use std::sync::Arc;

use pgoxide_protocol::buffer::RecvBuffer;
use pgoxide_protocol::client::{CancelOutcome, CopyDirection, Event, Failure, RequestId, Step};
use pgoxide_protocol::codes::TransactionStatus;
use pgoxide_protocol::message::authentication::Authentication;
use pgoxide_protocol::message::command_complete::CommandComplete;
use pgoxide_protocol::message::error_response::ErrorResponse;
use pgoxide_protocol::message::fields;
use pgoxide_protocol::message::row_description::RowDescription;
use pyo3::prelude::*;

use super::recovery::{Lost, invalidated};
use super::resetting::left_open;
use super::{Outcome, Session, over};
use crate::awaitable::Awaitable;
use crate::error::{self};
use crate::job::{self, Fault, Job, Kind};
use crate::plan::SentAs;
use crate::portal::no_transaction;
use crate::stream::{BatchEnd, Shared};
use crate::sync::lock;

impl Session {
    /// Reads all complete messages of the page. An error means that the connection cannot go on.
    pub(crate) fn process(&self, py: Python<'_>, page: &mut RecvBuffer, out: &mut Vec<Outcome>) -> PyResult<()> {
        let mut used = 0;
        let result = loop {
            let event = lock(&self.state).conn.next_event(page.data(), &mut used);
            match event {
                Ok(None) => break Ok(()),
                Ok(Some(event)) => {
                    if let Err(error) = self.handle(py, event, out) {
                        break Err(error);
                    }
                }
                Err(error) => break Err(error::protocol_error(py, &error)),
            }
        };
        page.consume(used);
        result
    }

    fn handle(&self, py: Python<'_>, event: Event<'_, Job>, out: &mut Vec<Outcome>) -> PyResult<()> {
        match event {
            Event::Rows { frames, count } => return self.rows(py, frames, count),
            Event::Finished { id, mut job, abandoned, status } => {
                if status == TransactionStatus::Idle {
                    self.options.rules.types.idle();
                }
                job.answered();
                self.settle_borrowed(&mut job);
                Self::goes_again(&mut job, status);
                self.portal_opened(py, &mut job, status);
                self.created(py, &job)?;
                if job.resets.is_some() {
                    self.reset_answered(py, id, &mut job)?;
                } else if status != TransactionStatus::Idle && lock(&self.state).routed && job.error.is_none() {
                    job.error = Some(left_open(py));
                }
                self.opened(py, &job, out);
                if let Some(level) = job.end_failed().filter(|_| job.again.is_none()) {
                    self.end_failed(level);
                }
                out.push(Outcome::Finished(id, job, abandoned));
                self.strand(py, out);
            }
            Event::Ended(complete) => {
                let tag = String::from_utf8_lossy(complete.tag).into_owned();
                self.with_job(|job| job.ended = Some(tag));
            }
            Event::Complete(complete) if self.runs_stream() => {
                // How many rows there were, the reader has counted.
                self.with_job(|job| {
                    // Of a batch asked for behind the last one the tag says nothing.
                    let said = matches!(&job.kind, Kind::Stream(stream) if stream.has_ended());
                    if !said && let Some(statement) = job.statement() {
                        statement.completed(complete.tag);
                    }
                });
                self.batch_ended(BatchEnd::Complete, out);
            }
            Event::Complete(complete) => {
                match self.copying_out() {
                    Some((_, shared)) => shared.complete(&complete),
                    None => self.completed(Some(&complete)),
                }
                self.options.rules.types.completed(complete.tag);
                if matches!(complete.tag, b"DISCARD ALL" | b"DEALLOCATE ALL") {
                    self.check.forget();
                    self.statements.all_dropped(py)?;
                }
            }
            Event::Empty if self.runs_stream() => self.batch_ended(BatchEnd::Complete, out),
            Event::Empty => self.completed(None),
            Event::Suspended => {
                self.with_job(|job| {
                    if let Kind::Run(run) = &job.kind
                        && let Some(portal) = &run.portal
                    {
                        portal.executed(true);
                    }
                });
                self.batch_ended(BatchEnd::Suspended, out);
            }
            Event::Parsed => self.with_job(Job::parsed),
            Event::ParameterDescription(description) => {
                let oids: Vec<u32> = description.types.iter().collect();
                self.with_job(|job| match &mut job.kind {
                    Kind::Prepare(prepare) => prepare.parameters_described(oids),
                    Kind::Run(run) => run.parameters_described(oids),
                    Kind::Batch(batch) => batch.parameters_described(oids),
                    _ => {}
                });
            }
            Event::RowDescription(ref description) if self.fed_described(Some(description), out) => {}
            Event::NoData if self.fed_described(None, out) => {}
            Event::RowDescription(description) => {
                let plan = job::describe(py, &description, &self.options.rules)?;
                let sent = plan.sent_as(&description);
                self.described(py, Some(plan), sent)?;
            }
            Event::NoData => self.described(py, None, SentAs::Wanted)?,
            Event::Failed(refusal, failure, step) => {
                // What a COPY brought before it failed is good.
                self.copied(py, None, out)?;
                self.failed(py, &refusal, failure, step)?;
            }
            Event::Notice(notice) => {
                let fields = error::fields(py, notice.fields.iter().map(|f| (f.code, f.value)))?.unbind();
                self.surroundings.noticed(fields.clone_ref(py));
                out.push(Outcome::Notice(fields));
            }
            Event::Notification(_) if self.follows_reset() => {}
            Event::Notification(notification) => out.push(Outcome::Notification {
                channel: String::from_utf8_lossy(notification.channel).into_owned(),
                payload: String::from_utf8_lossy(notification.payload).into_owned(),
                process_id: notification.process_id,
            }),
            Event::Parameter { name, value } => {
                if name == b"TimeZone" {
                    self.options.rules.session_zone.reported(py, value);
                } else if name == b"client_encoding" {
                    self.encoding_reported(py, value)?;
                }
            }
            Event::Started => {
                self.remember_clean();
                out.push(Outcome::Started);
            }
            Event::Proven => self.proofs.succeeded(),
            Event::Unproven => self.unproven(),
            Event::AuthenticationRequested(asked) => return Err(not_yet_supported(py, &asked)),
            Event::CopyStarted(direction) => self.copy_started(py, direction, out)?,
            Event::Closed => {}
            Event::CopyData { frames, count: _ } => return self.copied(py, Some(frames), out),
            Event::CopyDone => return self.copied(py, None, out),
        }
        Ok(())
    }

    /// The session was opened in UTF-8. What is written in it would be stored as other characters from now on, without a word.
    fn encoding_reported(&self, py: Python<'_>, value: &[u8]) -> PyResult<()> {
        let name = value.to_ascii_uppercase();
        if matches!(&*name, b"UTF8" | b"UTF-8" | b"UNICODE") || lock(&self.state).conn.running().is_none() {
            return Ok(());
        }
        let name = String::from_utf8_lossy(value);
        Err(error::interface_error(py, format!("client_encoding was set to {name}, and pgoxide speaks UTF8 only")))
    }

    /// The transaction block could not be opened: the request that was to follow is not written.
    fn opened(&self, py: Python<'_>, job: &Job, out: &mut Vec<Outcome>) {
        let (Kind::Opening(then), Some(error)) = (&job.kind, &job.error) else { return };
        let dropped = {
            let mut state = lock(&self.state);
            match state.held.remove(*then) {
                Some(held) => Some(held.into_job()),
                None => match state.conn.cancel(*then) {
                    CancelOutcome::Dropped(job) => Some(job),
                    _ => None,
                },
            }
        };
        if let Some(mut job) = dropped {
            job.error = Some(error.clone_ref(py));
            job.refused = true;
            out.push(Outcome::Finished(*then, job, false));
        }
    }

    /// A statement inside the transaction block has ended the transaction: what waits to be written inside never is.
    fn strand(&self, py: Python<'_>, out: &mut Vec<Outcome>) {
        let stranded = lock(&self.state).conn.take_stranded();
        for (id, mut job) in stranded {
            if let Kind::Prepare(prepare) = &mut job.kind {
                prepare.strand();
            }
            job.error = Some(over(py));
            job.refused = true;
            out.push(Outcome::Finished(id, job, false));
        }
    }

    /// Request `id` is the one the server is at.
    pub(crate) fn is_running(&self, id: RequestId) -> bool {
        lock(&self.state).conn.running_id() == Some(id)
    }

    /// Statements that name a relation which the request has created are not what they were.
    fn created(&self, py: Python<'_>, job: &Job) -> PyResult<()> {
        match &job.kind {
            Kind::Run(run) if run.prepared.creates.is_empty() => Ok(()),
            Kind::Run(run) => self.statements.shadowed(py, &run.prepared.creates),
            Kind::Script(script) if !script.creates.is_empty() => self.statements.shadowed(py, &script.creates),
            Kind::Batch(batch) => batch.creates().try_for_each(|names| self.statements.shadowed(py, names)),
            _ => Ok(()),
        }
    }

    /// A portal was opened: only inside a transaction is it still there.
    fn portal_opened(&self, py: Python<'_>, job: &mut Job, status: TransactionStatus) {
        let Kind::Run(run) = &job.kind else { return };
        let Some(portal) = &run.portal else { return };
        let epoch = lock(&self.state).conn.times_idle();
        if !portal.opened(status, epoch) && job.error.is_none() {
            job.error = Some(no_transaction(py));
        }
    }

    /// The head is fed: is what the server has what it was taken for? The statement of `execute_many` is, if it is described at
    /// all.
    fn fed_described(&self, found: Option<&RowDescription<'_>>, out: &mut Vec<Outcome>) -> bool {
        let mut state = lock(&self.state);
        let id = state.conn.running_id();
        let (Some(id), Some(Job { kind: Kind::Fed(fed), .. })) = (id, state.conn.running()) else { return false };
        if fed.described(found) {
            out.push(Outcome::FeedStarted(id));
        }
        true
    }

    fn runs_stream(&self) -> bool {
        matches!(lock(&self.state).conn.running(), Some(Job { kind: Kind::Stream(_), .. }))
    }

    /// The COPY to us that the server is at, and its reader.
    fn copying_out(&self) -> Option<(RequestId, Arc<Shared>)> {
        let mut state = lock(&self.state);
        let id = state.conn.running_id()?;
        match state.conn.running() {
            Some(Job { kind: Kind::CopyOut(copy), .. }) => Some((id, Arc::clone(&copy.shared))),
            _ => None,
        }
    }

    /// Data of a COPY to us, or its end. Nobody has asked for that of a script: it is let go.
    fn copied(&self, py: Python<'_>, frames: Option<&[u8]>, out: &mut Vec<Outcome>) -> PyResult<()> {
        let Some((id, shared)) = self.copying_out() else { return Ok(()) };
        let mut failure = None;
        let batch = self.with_kind(py, |kind| {
            let Kind::CopyOut(copy) = kind else { return Ok(None) };
            match frames.map_or(Ok(()), |frames| copy.data(py, frames)) {
                // What came before it is good.
                Err(Fault::Call(error)) => failure = Some(error),
                other => other?,
            }
            Ok(copy.batch(py, frames.is_none() || failure.is_some()))
        });
        let batch = match batch {
            Ok(batch) => batch.flatten(),
            Err(fault) => return self.settle_fault(py, Err(fault)),
        };
        if batch.is_some() || failure.is_some() {
            out.push(Outcome::Copied { id, shared, batch: batch.unwrap_or_default(), failure });
        }
        Ok(())
    }

    /// A stream's Execute has been answered.
    fn batch_ended(&self, end: BatchEnd, out: &mut Vec<Outcome>) {
        let mut state = lock(&self.state);
        let id = state.conn.running_id();
        if let (Some(id), Some(Job { kind: Kind::Stream(stream), error, .. })) = (id, state.conn.running()) {
            let end = if error.is_none() { end } else { BatchEnd::Unreadable };
            let Some(rows) = stream.take_batch(end) else { return };
            out.push(Outcome::Batch { id, shared: Arc::clone(&stream.shared), rows, end, size: stream.size });
        }
    }

    fn with_job(&self, act: impl FnOnce(&mut Job)) {
        if let Some(job) = lock(&self.state).conn.running() {
            act(job);
        }
    }

    /// A statement came to its end. None: its text was empty.
    fn completed(&self, complete: Option<&CommandComplete<'_>>) {
        let mut over = None;
        self.with_job(|job| match (&mut job.kind, complete) {
            (Kind::Script(script), _) => over = script.complete(complete),
            (Kind::Run(run), Some(complete)) => run.complete(complete),
            (Kind::Fed(fed), Some(complete)) => fed.complete(complete),
            (Kind::Batch(batch), Some(complete)) => batch.complete(complete),
            (Kind::Batch(batch), None) => batch.empty(),
            (Kind::Introspect(introspect), _) => introspect.complete(),
            (Kind::Run(_) | Kind::Fed(_), None)
            | (
                Kind::Prepare(_)
                | Kind::Stream(_)
                | Kind::CopyOut(_)
                | Kind::Ending(_)
                | Kind::Opening(_)
                | Kind::Taken,
                _,
            ) => {}
        });
        drop(over);
    }

    /// Takes the head's job apart so that Python may run, and puts it together again. Nothing is done for a job
    /// nobody waits for.
    fn with_kind<R>(
        &self,
        py: Python<'_>,
        act: impl FnOnce(&mut Kind) -> Result<R, Fault>,
    ) -> Result<Option<R>, Fault> {
        let abandoned = lock(&self.state).conn.running_abandoned();
        self.with_kind_if(py, !abandoned, act)
    }

    fn with_kind_if<R>(
        &self,
        py: Python<'_>,
        wanted: bool,
        act: impl FnOnce(&mut Kind) -> Result<R, Fault>,
    ) -> Result<Option<R>, Fault> {
        let taken = {
            let mut state = lock(&self.state);
            if !wanted {
                None
            } else {
                state.conn.running().map(|job| (job.error.is_some(), std::mem::replace(&mut job.kind, Kind::Taken)))
            }
        };
        let Some((has_failed, mut kind)) = taken else { return Ok(None) };
        let result = if has_failed { Ok(None) } else { act(&mut kind).map(Some) };
        self.put_together(py, kind)?;
        result
    }

    /// The head's job is whole again. When the connection has ended meanwhile, who waits for parts of `kind` is told, as
    /// those of all other jobs have been.
    fn put_together(&self, py: Python<'_>, kind: Kind) -> PyResult<()> {
        let mut orphan = {
            let mut state = lock(&self.state);
            match state.conn.running() {
                Some(job) => std::mem::replace(&mut job.kind, kind),
                None => kind,
            }
        };
        match &mut orphan {
            Kind::Batch(batch) => batch.abort(py, &self.closed_error(py)),
            Kind::Fed(fed) => {
                if let Some(started) = fed.started.take()
                    && started.get().settle(Err(self.closed_error(py)))
                {
                    Awaitable::wake(started.into_bound(py), false)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn rows(&self, py: Python<'_>, frames: &[u8], count: usize) -> PyResult<()> {
        let result = self.with_kind(py, |kind| match kind {
            Kind::Run(run) => run.rows(py, frames, count),
            Kind::Script(script) => script.rows(py, frames),
            Kind::Batch(batch) => batch.rows(py, frames, count),
            Kind::Stream(stream) => stream.rows(py, frames, count),
            Kind::Introspect(introspect) => introspect.rows(self, frames),
            Kind::Prepare(_) | Kind::Fed(_) | Kind::CopyOut(_) | Kind::Ending(_) | Kind::Opening(_) | Kind::Taken => {
                Ok(())
            }
        });
        self.settle_fault(py, result.map(|_| ()))
    }

    fn described(&self, py: Python<'_>, plan: Option<Arc<crate::plan::Plan>>, sent: SentAs) -> PyResult<()> {
        let rules = &self.options.rules;
        // Also for a call that was given up: others wait for the description it carried.
        let result = self.with_kind_if(py, true, |kind| {
            match kind {
                Kind::Prepare(prepare) => prepare.described(plan, rules),
                Kind::Run(run) => run.described(py, plan, sent, rules)?,
                Kind::Batch(batch) => batch.described(py, plan, sent, rules)?,
                Kind::Stream(stream) => stream.described(py, plan, sent, rules)?,
                Kind::Script(script) => {
                    if let Some(plan) = plan {
                        script.described(py, plan)?;
                    }
                }
                Kind::Fed(_)
                | Kind::CopyOut(_)
                | Kind::Introspect(_)
                | Kind::Ending(_)
                | Kind::Opening(_)
                | Kind::Taken => {}
            }
            Ok(())
        });
        self.settle_fault(py, result.map(|_| ()))
    }

    /// A call's own failure is remembered until its ReadyForQuery; a broken message ends the connection.
    fn settle_fault(&self, py: Python<'_>, result: Result<(), Fault>) -> PyResult<()> {
        match result {
            Ok(()) => Ok(()),
            Err(Fault::Protocol(error)) => Err(error::protocol_error(py, &error)),
            Err(Fault::Call(error)) => {
                self.remember(error);
                Ok(())
            }
        }
    }

    /// The first failure of the head is its failure.
    fn remember(&self, error: PyErr) {
        let surplus = {
            let mut state = lock(&self.state);
            match state.conn.running() {
                Some(job) if job.error.is_none() => {
                    job.error = Some(error);
                    None
                }
                _ => Some(error),
            }
        };
        drop(surplus);
    }

    fn failed(
        &self,
        py: Python<'_>,
        refusal: &ErrorResponse<'_>,
        failure: Failure,
        step: Option<Step>,
    ) -> PyResult<()> {
        if failure == Failure::Session {
            let words = error::server_error(py, refusal, None, None, None);
            let earlier = lock(&self.state).last_words.replace(words);
            drop(earlier);
            return Ok(());
        }
        if failure == Failure::Neighbour && lock(&self.state).conn.running_resends() {
            self.with_job(|job| job.parsed = false);
            let restart = self.with_kind(py, |kind| {
                match kind {
                    Kind::Run(run) => run.restart(),
                    Kind::Prepare(prepare) => prepare.restart(),
                    Kind::Introspect(introspect) => introspect.restart(),
                    _ => {}
                }
                Ok(())
            });
            return self.settle_fault(py, restart.map(|_| ()));
        }
        let (taken, abandoned) = {
            let mut state = lock(&self.state);
            let abandoned = state.conn.running_abandoned();
            let running = state.conn.running();
            let taken = running.map(|job| {
                job.refused = true;
                (std::mem::replace(&mut job.kind, Kind::Taken), job.parsed)
            });
            (taken, abandoned)
        };
        let Some((mut kind, parsed)) = taken else { return Ok(()) };
        let own = failure == Failure::Request;
        let misled = if own { self.misled(refusal, step, parsed, &mut kind) } else { None };
        let lost = misled.or_else(|| Lost::of(refusal, step, &kind));
        if let Kind::Prepare(prepare) = &mut kind
            && !(lost == Some(Lost::Taken) && prepare.name_is_taken())
        {
            prepare.refuse(body_of(refusal), failure);
        }
        let again = lost.map_or(Ok(None), |lost| self.lose(py, lost, &kind))?;
        self.refuse_first(py, &mut kind, parsed, refusal, lost)?;
        let which = match &kind {
            Kind::Script(script) => Some(script.completed() + 1),
            _ => None,
        };
        let job = Job::new(kind, None);
        let error = (!abandoned && !matches!(job.kind, Kind::Prepare(_))).then(|| {
            let error = || match failure {
                Failure::Opening => error::server_error(py, refusal, None, None, None),
                _ => job.server_error(py, refusal),
            };
            let error = told(py, failure, error);
            if let Some(number) = which {
                // A note that cannot be added is no reason to lose the error.
                let _ = error.value(py).call_method1("add_note", (format!("in statement {number} of the script"),));
            }
            match (failure, lost) {
                (Failure::Request, Some(lost)) => invalidated(py, lost, self.in_transaction(), error),
                _ => error,
            }
        });
        self.put_together(py, job.kind)?;
        self.with_job(|job| job.again = again);
        if let Some(error) = error {
            self.remember(error);
        }
        Ok(())
    }

    /// A transaction is open, or a block's BEGIN is in flight.
    fn in_transaction(&self) -> bool {
        let state = lock(&self.state);
        state.conn.status() != TransactionStatus::Idle || state.conn.top_level().is_some()
    }

    /// A run that went by a lent description was refused, because that does not hold here.
    fn misled(&self, refusal: &ErrorResponse<'_>, step: Option<Step>, parsed: bool, kind: &mut Kind) -> Option<Lost> {
        let Kind::Run(run) = kind else { return None };
        let (borrowed, step) = (run.borrowed.as_mut()?, step?);
        if !self.was_misled(borrowed, refusal, step, parsed) {
            return None;
        }
        if step == Step::Check
            && let Some(common) = &run.prepared.common
        {
            common.doubt(borrowed.shape());
        }
        Some(Lost::Misled)
    }

    /// A run that went by a lent description has been answered: calls need not wait for it any more.
    fn settle_borrowed(&self, job: &mut Job) {
        let Kind::Run(run) = &mut job.kind else { return };
        let Some(borrowed) = &mut run.borrowed else { return };
        borrowed.lent.end();
        if !job.refused {
            self.checked();
            run.borrowed = None;
        }
    }

    /// A run that carried the Parse of its statement was refused.
    fn refuse_first(
        &self,
        py: Python<'_>,
        kind: &mut Kind,
        parsed: bool,
        refusal: &ErrorResponse<'_>,
        lost: Option<Lost>,
    ) -> PyResult<()> {
        let Kind::Run(run) = kind else { return Ok(()) };
        let Some(first) = run.first.take() else { return Ok(()) };
        let statement = Arc::clone(first.statement());
        // Sent again it may be described already, but what was described is closed.
        let gone = !parsed && statement.described().is_some();
        if gone {
            statement.set_exists(false);
        }
        let kept =
            matches!(lost, Some(Lost::Taken | Lost::Misled)) || refusal.fields.find(fields::SQLSTATE) == Some(b"57014");
        if gone || (statement.described().is_none() && !kept) {
            self.statements.forget(py, &statement)?;
        }
        Ok(())
    }

    fn copy_started(&self, py: Python<'_>, direction: CopyDirection, out: &mut Vec<Outcome>) -> PyResult<()> {
        let unfed = {
            let mut state = lock(&self.state);
            let (id, given_up) = (state.conn.running_id(), state.conn.running_abandoned());
            match (id, state.conn.running()) {
                (_, Some(Job { kind: Kind::CopyOut(_), .. })) if direction == CopyDirection::Out => return Ok(()),
                (Some(id), Some(Job { kind: Kind::Fed(fed), .. })) if direction == CopyDirection::In => {
                    let reason = match fed.differs() {
                        // Given up while the answer was on its way: nobody will feed it.
                        _ if given_up => "the call was given up".to_owned(),
                        Some(how) => how.to_owned(),
                        None => {
                            fed.ready = true;
                            out.push(Outcome::FeedStarted(id));
                            return Ok(());
                        }
                    };
                    Some(reason)
                }
                _ => None,
            }
        };
        let refused = match (unfed, direction) {
            (Some(reason), _) => lock(&self.state).conn.refuse_copy(reason.as_bytes()),
            (None, CopyDirection::In) => {
                self.remember(copy_error(py, "copy_in"));
                lock(&self.state).conn.refuse_copy(b"COPY FROM STDIN needs copy_in()")
            }
            (None, CopyDirection::Out) => {
                self.remember(copy_error(py, "copy_out"));
                Ok(())
            }
        };
        refused.map_err(|e| error::encode_error(py, &e))
    }
}

/// What a request is told that failed so.
#[cold]
pub(crate) fn told(py: Python<'_>, failure: Failure, error: impl FnOnce() -> PyErr) -> PyErr {
    match failure {
        Failure::Neighbour => victim(py, error()),
        Failure::NotBegun => error::transaction_not_begun(
            py,
            "not run: BEGIN of its transaction block, which travelled ahead with another call, failed",
        ),
        Failure::Opening => {
            let error = error();
            // A note that cannot be added is no reason to lose the error.
            let note = "BEGIN or SAVEPOINT of the transaction block failed, so the statement behind it has not run";
            let _ = error.value(py).call_method1("add_note", (note,));
            error
        }
        Failure::Request | Failure::Session => error(),
    }
}

/// CancelledByNeighbour, with the server's own error as its cause.
#[cold]
fn victim(py: Python<'_>, cause: PyErr) -> PyErr {
    let error = error::cancelled_by_neighbour(
        py,
        "another call's cancel hit this one, and it was not run again: that might have repeated its effects, or run it \
         behind a transaction, setting or call that had been written after it; isolate=True makes a call safe from its \
         neighbours",
    );
    error::caused_by(py, error, cause)
}

#[cold]
fn not_yet_supported(py: Python<'_>, asked: &Authentication<'_>) -> PyErr {
    let method = match asked {
        Authentication::CleartextPassword => "a cleartext password",
        Authentication::Md5Password { .. } => "an MD5 password",
        Authentication::Sasl { .. } | Authentication::SaslContinue { .. } | Authentication::SaslFinal { .. } => "SASL",
        Authentication::Gss | Authentication::GssContinue { .. } => "GSSAPI",
        Authentication::Sspi => "SSPI",
        Authentication::KerberosV5 => "Kerberos V5",
        Authentication::Unknown { .. } | Authentication::Ok => "a method this version does not know",
    };
    error::not_supported_error(py, format!("the server asks for {method}; this version authenticates by trust only"))
}

fn body_of(refusal: &ErrorResponse<'_>) -> Vec<u8> {
    let mut frame = Vec::new();
    // What was decoded can be encoded; should it not, the error arrives without fields rather than not at all.
    match refusal.encode(&mut frame) {
        Ok(()) => frame.split_off(5),
        Err(_) => vec![0],
    }
}

#[cold]
fn copy_error(py: Python<'_>, verb: &str) -> PyErr {
    error::programming_error(py, format!("COPY with the client needs {verb}(), which moves its data"))
}
