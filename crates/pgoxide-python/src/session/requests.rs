//! From a call to a request: messages, the replies they provoke, and whether they may be written again.

use std::sync::Arc;

use pgoxide_protocol::client::{Prefix, Request, RequestId, Resend, Standing, Step};
use pgoxide_protocol::codes::Format;
use pgoxide_protocol::message::close::Close;
use pgoxide_protocol::message::{bind, close, describe, execute, parse, query, sync};
use pgoxide_sqltext::Command;
use pyo3::prelude::*;
use smallvec::SmallVec;

use super::{Session, over};
use crate::arguments::Arguments;
use crate::awaitable::Awaitable;
use crate::convert::{Rules, short_repr};
use crate::error::{self};
use crate::job::{Job, Kind, Prepare, Run};
use crate::plan::Described;
use crate::portal;
use crate::prepared::{Closing, Describing, Keep, Prepared};
use crate::registry::is_static;
use crate::script::Script;
use crate::sync::lock;

/// Parse, Describe, Bind, Execute, Sync in one flight: when nothing must be known before Bind is written.
///
/// Bind names the formats of the results, so a statement whose columns are unknown gets text. Text depends on
/// settings (`extra_float_digits`, DateStyle) of which the server does not report all: a float could come rounded the
/// first time and exact the second. So a query is described first, unless its caller declared the types to save that
/// round trip; utility commands, whose rows are text anyway, go in one flight. `iso`: dates are written as we read them.
pub(crate) fn fits_one_flight(run: &Run, iso: bool) -> bool {
    let (prepared, arguments) = (&run.prepared, run.arguments);
    if run.portal.is_some() {
        // Its rows are read by later requests.
        return false;
    }
    let may_return_values = matches!(prepared.command, Command::Plain | Command::Typed | Command::Indirect);
    arguments == prepared.declared.len()
        && prepared.declared.iter().all(|oid| is_static(*oid))
        && (!may_return_values || (iso && !prepared.declared.is_empty()))
}

impl Session {
    /// The request of a run whose statement is described, or that fits one flight with its description.
    pub(crate) fn run_request(
        &self,
        py: Python<'_>,
        id: RequestId,
        mut run: Box<Run>,
        arguments: Arguments<'_, '_>,
        reply: Option<Py<Awaitable>>,
    ) -> PyResult<Request<Job>> {
        let prepared = Arc::clone(&run.prepared);
        let mut bytes = Vec::with_capacity(128);
        let mut steps = SmallVec::new();
        let closing = self.close_given_up(py, &mut bytes, &mut steps)?;
        let mut resend = resend_rule(py, &prepared)?;
        self.append_run(py, &mut run, arguments, &mut bytes, &mut steps)?;
        let end = run.end.take();
        if let Some(end) = &end {
            end.commands.append(&mut bytes, &mut steps);
            resend = Resend::Never;
        }
        if let Some(borrowed) = &mut run.borrowed {
            borrowed.end.clone_from(&end);
        }
        sync::write(&mut bytes);
        steps.push(Step::Sync);
        let barrier = run.isolate || prepared.command == Command::Copy;
        let job = Job::new(Kind::Run(run), reply).closing(closing).ending(end);
        Ok(Request { id, bytes, steps, barrier, open: false, resend, job })
    }

    /// Closes the statements nobody uses any more, in front of whatever is written next. What comes back belongs to the
    /// request's job.
    pub(crate) fn close_given_up(
        &self,
        py: Python<'_>,
        bytes: &mut Vec<u8>,
        steps: &mut SmallVec<[Step; 6]>,
    ) -> PyResult<Option<Box<Closing>>> {
        let Some(closing) = self.statements.take_given_up() else { return Ok(None) };
        for (target, name) in closing.names() {
            Close { target, name }.encode(bytes).map_err(|e| error::encode_error(py, &e))?;
            steps.push(Step::Close);
        }
        Ok(Some(closing))
    }

    /// The messages of one run, without Sync. On the first use they carry Parse and Describe.
    pub(crate) fn append_run(
        &self,
        py: Python<'_>,
        run: &mut Run,
        arguments: Arguments<'_, '_>,
        bytes: &mut Vec<u8>,
        steps: &mut SmallVec<[Step; 6]>,
    ) -> PyResult<()> {
        let prepared = Arc::clone(&run.prepared);
        match prepared.described() {
            Some(described) => {
                run.use_plan(py, described.plan.as_ref())?;
                let start = bytes.len();
                append_bind(py, &self.options.rules, &prepared, described, arguments, run.result_formats(), bytes)?;
                steps.push(Step::Bind);
                if let Some(shared) = run.portal.as_ref() {
                    return portal::name_bind(py, shared, bytes, start);
                }
                describe_portal(py, &prepared, bytes, steps)?;
            }
            None if run.borrowed.is_some() => {
                run.first = Some(Describing::begin(&prepared, 0));
                if let Some(borrowed) = &run.borrowed {
                    Self::append_savepoint(py, borrowed, bytes, steps)?;
                }
                close_and_parse(py, &prepared, bytes, steps)?;
                if let Some(borrowed) = &mut run.borrowed {
                    self.append_borrowed(py, &prepared, borrowed, bytes, steps)?;
                }
            }
            None => {
                // Before its arguments are encoded: a call that their own code makes waits for this description.
                run.first = Some(Describing::begin(&prepared, 0));
                run.text = true;
                append_description(py, &prepared, bytes, steps)?;
                let declared = Described::new(prepared.declared.to_vec(), None, &self.options.rules);
                append_bind(py, &self.options.rules, &prepared, &declared, arguments, &[], bytes)?;
                steps.push(Step::Bind);
            }
        }
        execute::write(bytes, b"", 0).map_err(|e| error::encode_error(py, &e))?;
        steps.push(Step::Execute);
        if prepared.closes_itself() {
            close::write_statement(bytes, &prepared.name).map_err(|e| error::encode_error(py, &e))?;
            steps.push(Step::Close);
        }
        Ok(())
    }

    /// Parse and Describe of statements that calls wait for.
    pub(crate) fn prepare_request(&self, py: Python<'_>, statements: Vec<Arc<Prepared>>) -> PyResult<Request<Job>> {
        let mut bytes = Vec::with_capacity(128);
        let mut steps = SmallVec::new();
        let closing = self.close_given_up(py, &mut bytes, &mut steps)?;
        let id = self.next_id();
        let statements: Vec<Describing> = statements.iter().map(|one| Describing::begin(one, id)).collect();
        let mut again = Prefix::default();
        for statement in statements.iter().map(Describing::statement) {
            append_description(py, statement, &mut bytes, &mut steps)?;
            append_close(py, statement, &mut again.bytes)?;
            again.steps.push(Step::Close);
        }
        sync::write(&mut bytes);
        steps.push(Step::Sync);
        let job = Job::new(Kind::Prepare(Box::new(Prepare::new(statements))), None).closing(closing);
        let resend = Resend::Always(again);
        Ok(Request { id, bytes, steps, barrier: false, open: false, resend, job })
    }

    /// A text for the simple protocol. A barrier: it may hold anything, COPY included.
    pub(crate) fn script_request(
        &self,
        py: Python<'_>,
        id: RequestId,
        sql: String,
        reply: Option<Py<Awaitable>>,
    ) -> PyResult<Request<Job>> {
        let mut bytes = Vec::with_capacity(sql.len() + 8);
        query::write(&mut bytes, sql.as_bytes()).map_err(|e| error::encode_error(py, &e))?;
        Ok(Request {
            id,
            bytes,
            steps: SmallVec::from_slice(&[Step::Query, Step::Sync]),
            barrier: true,
            open: false,
            resend: Resend::Never,
            job: Job::new(Kind::Script(Box::new(Script::new(sql))), reply),
        })
    }

    /// Hands a request to the machine. Raises when the connection has ended meanwhile: encoding its arguments may have
    /// run code that closed it.
    pub(crate) fn submit(&self, py: Python<'_>, mut request: Request<Job>, standing: Standing) -> PyResult<()> {
        if matches!(standing, Standing::Inside(_))
            && let Kind::Run(run) = &request.job.kind
            && run.prepared.command == Command::Transaction
        {
            // ROLLBACK TO takes its own portal with it, by which the statement behind it would know the transaction.
            request.barrier = true;
        }
        let (mut refused, ended) = {
            let mut state = lock(&self.state);
            let ended = state.ended.is_some();
            let late = standing.level().is_some_and(|level| state.conn.is_over(level));
            if ended || late {
                (request, ended)
            } else {
                state.conn.submit_at(request, standing);
                return Ok(());
            }
        };
        let error = if ended { self.closed_error(py) } else { over(py) };
        if let Kind::Batch(batch) = &mut refused.job.kind {
            batch.abort(py, &error);
        }
        Err(error)
    }

    /// Closes the statements nobody uses any more, and nothing else; None when there are none.
    pub(crate) fn close_request(
        &self,
        py: Python<'_>,
        id: RequestId,
        reply: Option<Py<Awaitable>>,
    ) -> PyResult<Option<Request<Job>>> {
        let (mut bytes, mut steps) = (Vec::new(), SmallVec::new());
        let Some(closing) = self.close_given_up(py, &mut bytes, &mut steps)? else { return Ok(None) };
        sync::write(&mut bytes);
        steps.push(Step::Sync);
        let job = Job::new(Kind::Taken, reply).closing(Some(closing));
        Ok(Some(Request { id, bytes, steps, barrier: false, open: false, resend: Resend::Passive, job }))
    }

    /// A Sync and nothing else: answered when all before it has been.
    pub(crate) fn sync_request(id: RequestId, reply: Option<Py<Awaitable>>) -> Request<Job> {
        let mut bytes = Vec::new();
        sync::write(&mut bytes);
        let steps = SmallVec::from_slice(&[Step::Sync]);
        let job = Job::new(Kind::Taken, reply);
        // A barrier: what is sent again comes before it too.
        Request { id, bytes, steps, barrier: true, open: false, resend: Resend::Never, job }
    }
}

/// Bind with arguments encoded for their parameters, as `described` has them.
pub(crate) fn append_bind(
    py: Python<'_>,
    rules: &Rules,
    prepared: &Prepared,
    described: &Described,
    arguments: Arguments<'_, '_>,
    result_formats: &[Format],
    bytes: &mut Vec<u8>,
) -> PyResult<()> {
    let arguments = match arguments {
        Arguments::Values(arguments) => arguments,
        Arguments::Encoded(encoded) if encoded.are_for(&described.parameter_oids) => {
            return encoded.append(py, &prepared.name, result_formats, bytes);
        }
        Arguments::Encoded(encoded) => &encoded.values(py, described, rules)?,
    };
    if arguments.len() != described.encoders.len() {
        return Err(wrong_count(py, described.encoders.len(), arguments.len()));
    }
    let mut frame = bind::begin(bytes, b"", &prepared.name, parameter_formats(described))
        .map_err(|e| error::encode_error(py, &e))?;
    for (index, value) in arguments.iter_borrowed().enumerate() {
        if value.is_none() {
            frame.null(bytes);
            continue;
        }
        let mark = frame.begin_value(bytes);
        if let Err(cause) = described.encoders[index].encode(&value, rules, bytes) {
            frame.abandon(bytes);
            described.doubt();
            return Err(blame_argument(
                py,
                &prepared.parameter_name(index),
                &described.parameter_types[index],
                &value,
                cause,
            ));
        }
        if let Err(fault) = frame.end_value(bytes, mark) {
            frame.abandon(bytes);
            return Err(error::encode_error(py, &fault));
        }
    }
    frame.finish(bytes, result_formats).map_err(|e| error::encode_error(py, &e))
}

/// One code stands for all when they agree, as nearly always.
fn parameter_formats(described: &Described) -> &[Format] {
    match described.parameter_formats.first() {
        Some(first) if described.parameter_formats.iter().all(|format| format == first) => {
            &described.parameter_formats[..1]
        }
        _ => &described.parameter_formats,
    }
}

fn append_parse(py: Python<'_>, prepared: &Prepared, bytes: &mut Vec<u8>) -> PyResult<()> {
    let sql = prepared.text(py)?;
    parse::write(bytes, &prepared.name, sql.as_bytes(), &prepared.declared).map_err(|e| error::encode_error(py, &e))
}

/// Parse and Describe.
fn append_description(
    py: Python<'_>,
    prepared: &Prepared,
    bytes: &mut Vec<u8>,
    steps: &mut SmallVec<[Step; 6]>,
) -> PyResult<()> {
    close_and_parse(py, prepared, bytes, steps)?;
    describe::write_statement(bytes, &prepared.name).map_err(|e| error::encode_error(py, &e))?;
    steps.push(Step::DescribeStatement);
    Ok(())
}

/// Parse. A statement that was parsed in a flight that then failed is closed first.
fn close_and_parse(
    py: Python<'_>,
    prepared: &Prepared,
    bytes: &mut Vec<u8>,
    steps: &mut SmallVec<[Step; 6]>,
) -> PyResult<()> {
    if prepared.exists() {
        append_close(py, prepared, bytes)?;
        steps.push(Step::Close);
    }
    append_parse(py, prepared, bytes)?;
    steps.push(Step::Parse);
    Ok(())
}

/// Behind Bind, for commands whose columns the statement's description does not settle: another cursor may have the name by
/// now, and the rows must not be read as if they were the old one's.
pub(crate) fn describe_portal(
    py: Python<'_>,
    prepared: &Prepared,
    bytes: &mut Vec<u8>,
    steps: &mut SmallVec<[Step; 6]>,
) -> PyResult<()> {
    if matches!(prepared.command, Command::Typed | Command::Indirect) {
        describe::write_portal(bytes, b"").map_err(|e| error::encode_error(py, &e))?;
        steps.push(Step::DescribePortal);
    }
    Ok(())
}

fn append_close(py: Python<'_>, prepared: &Prepared, bytes: &mut Vec<u8>) -> PyResult<()> {
    close::write_statement(bytes, &prepared.name).map_err(|e| error::encode_error(py, &e))
}

/// May the run be written a second time after another's cancel hit it?
fn resend_rule(py: Python<'_>, prepared: &Prepared) -> PyResult<Resend> {
    if prepared.command != Command::Plain {
        return Ok(Resend::Never);
    }
    let mut prefix = Prefix::default();
    let first = prepared.described().is_none();
    let once = prepared.keep == Keep::Once;
    if first || once {
        // Whether the first attempt came as far as its own Parse or Close is not known.
        append_close(py, prepared, &mut prefix.bytes)?;
        prefix.steps.push(Step::Close);
    }
    if once && !first {
        append_parse(py, prepared, &mut prefix.bytes)?;
        prefix.steps.push(Step::Parse);
    }
    Ok(Resend::Once(prefix))
}

#[cold]
pub(crate) fn wrong_count(py: Python<'_>, takes: usize, given: usize) -> PyErr {
    error::interface_error(
        py,
        format!("the statement takes {takes} parameter{}, {given} given", if takes == 1 { "" } else { "s" }),
    )
}

#[cold]
fn blame_argument(py: Python<'_>, name: &str, type_name: &str, value: &Bound<'_, PyAny>, cause: PyErr) -> PyErr {
    let place = format!("argument {name} ({type_name})");
    let explained = match cause.is_instance(
        py,
        match crate::pyimport::data_error(py) {
            Ok(class) => class.as_any(),
            Err(error) => return error,
        },
    ) {
        true => format!("{place}: {}", cause.value(py)),
        false => format!("{place}: {} could not be encoded: {}", short_repr(value), cause.value(py)),
    };
    error::caused_by(py, error::data_error(py, explained), cause)
}
