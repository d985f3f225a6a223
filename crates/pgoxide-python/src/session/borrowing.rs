//! The first use of a statement that another connection of the pool has had described: one flight, in which the server makes
//! sure that it is the same statement here before anything of it runs.
//!
//! ```text
//!   Parse ─ Check: has this session inferred what was lent? ─ Bind ─ Describe (portal) ─ Execute ─ Sync
//!                       └──no: the server skips the rest; nothing has run──▶ described by this connection, then run
//! ```
//!
//! Parse declares nothing that the caller has not declared. To declare the lent types instead would keep parameters from being
//! misread, but not from being changed without a word: where the other session's column is float8 and this one's is numeric, the
//! server would cast, and digits are lost. So the types are compared where the truth is, in `pg_prepared_statement()`: those of
//! the parameters on every version, those of the columns from 16 on. Before 16 rows are asked for in text, which is read
//! whatever its type, and only statements are run so whose rows are the same in text.
//!
//! Inside a transaction block a savepoint lies around Parse and check, and is released in front of Bind, so that the statement
//! itself runs in the transaction: in a subtransaction its rows would have another xmin, for example.
//!
//! ```text
//!   [BEGIN] ─ SAVEPOINT ─ Parse ─ Check ─ RELEASE ─ Bind ─ Describe (portal) ─ Execute ─ Sync
//!                                   └──no──▶ ROLLBACK TO, RELEASE; described by this connection, then run
//! ```
//!
//! The savepoint costs the server 5 us: nothing is written in it, so it has no transaction of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pgoxide_protocol::client::{LevelId, Request, Resend, Standing, Step};
use pgoxide_protocol::codes::{Format, TransactionStatus};
use pgoxide_protocol::error::EncodeError;
use pgoxide_protocol::message::error_response::ErrorResponse;
use pgoxide_protocol::message::{bind, close, execute, fields, parse, sync};
use pgoxide_sqltext::Command;
use pgoxide_types::oid;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use smallvec::SmallVec;

use super::{Session, append_bind};
use crate::arguments::{Arguments, freeze};
use crate::convert::Decoder;
use crate::descriptions::Shape;
use crate::error;
use crate::held::{Call, Lent};
use crate::introspect::oid_array;
use crate::job::{End, Job, Kind, Run, Verb};
use crate::plan::Described;
use crate::prepared::{Prepared, Stage};
use crate::pyimport;
use crate::sync::lock;

/// `pg_prepared_statement()` tells the types of columns from this version on.
const TELLS_COLUMNS: u32 = 16;

/// What the check raises when the session has inferred other types: invalid_text_representation.
const OTHERWISE: &[u8] = b"22P02";

/// `$1`: the statement's name, `$2`: its parameters' types, `$3`: its columns' types, NULL for none. No rows, or an error that
/// says in the server's log what it was about; 22007 when the statement has another name on the server.
const CHECK: &str = "\
select from (
  select pg_catalog.count(*) as known, pg_catalog.bool_and(/*same*/) as same
  from pg_catalog.pg_prepared_statement() as p where p.name operator(pg_catalog.=) $1
) as found
where case when found.known operator(pg_catalog.=) 0
    then (pg_catalog.concat('pgoxide asks whether this is a statement of the session: ', $1))::pg_catalog.date is null
  when not found.same
    then (pg_catalog.concat('pgoxide asks whether other sessions have these types in ', $1))::pg_catalog.int4 is null
  else false end";

const SAME: &str = "\
p.parameter_types::pg_catalog.oid[] operator(pg_catalog.=) $2
  and p.result_types::pg_catalog.oid[] is not distinct from $3";

/// Under these settings text says what binary does. The server does not report all of them.
const SAME_BEFORE: &str = "\
p.parameter_types::pg_catalog.oid[] operator(pg_catalog.=) $2
  and ($3 is null or pg_catalog.current_setting('extra_float_digits')::pg_catalog.int4 operator(pg_catalog.>) 0
    and pg_catalog.current_setting('IntervalStyle') operator(pg_catalog.=) 'postgres'
    and pg_catalog.starts_with(pg_catalog.current_setting('DateStyle'), 'ISO'))";

/// Around Parse and check, inside a transaction block.
const SAVEPOINT: &[u8] = b"savepoint pgoxide_lent";
const RELEASE: &[u8] = b"release savepoint pgoxide_lent";
const BACK: &[u8] = b"rollback to savepoint pgoxide_lent";

/// Whether the server has the check by its name.
#[derive(Default)]
pub(crate) struct Check(AtomicBool);

impl Check {
    /// Whatever the server had prepared, it has no more.
    pub(crate) fn forget(&self) {
        self.0.store(false, Ordering::Release);
    }
}

/// What a run goes by until the server has described its statement.
pub(crate) struct Borrowed {
    shape: Arc<Shape>,
    /// Its parameters' half.
    described: Described,
    /// The check has come out well.
    holds: bool,
    /// As they were given: another description may want them otherwise.
    pub(crate) arguments: Py<PyTuple>,
    /// The Bind that was made of them.
    bind: Vec<u8>,
    /// Nobody else's request is written behind it.
    pub(super) lent: Lent,
    /// The level of the transaction block that it runs inside, behind a savepoint.
    inside: Option<LevelId>,
    /// The end of that level, if it brings it.
    pub(super) end: Option<End>,
}

/// Whether a run goes by a lent description.
pub(crate) enum Loan<'py> {
    Granted,
    /// It has to be described first.
    Refused,
    /// The same, and its arguments have been taken: to take them again might find an iterator empty.
    Unfit(Bound<'py, PyTuple>),
}

impl Borrowed {
    pub(crate) const fn shape(&self) -> &Arc<Shape> {
        &self.shape
    }

    pub(crate) const fn inside(&self) -> Option<LevelId> {
        self.inside
    }

    /// The parameters, once the server has said that they are so.
    pub(crate) fn checked(&self) -> Option<&Described> {
        self.holds.then_some(&self.described)
    }
}

impl Session {
    /// Lets `run`, whose statement is new here, go in one flight if another connection of the pool has had it described. Raises
    /// what is no `Exception`: a signal handler's, met by an argument's own code.
    pub(crate) fn borrow<'py>(
        &self,
        py: Python<'py>,
        run: &mut Run,
        arguments: &Bound<'py, PyTuple>,
        standing: Standing,
    ) -> PyResult<Loan<'py>> {
        let Some((shape, inside)) = self.lendable(run, standing) else { return Ok(Loan::Refused) };
        let prepared = Arc::clone(&run.prepared);
        let rules = &self.options.rules;
        let columns = shape.columns.as_deref();
        let types = shape.parameters.iter().chain(columns.unwrap_or_default()).copied();
        if shape.parameters.len() != arguments.len() || !rules.types.unknown(types).is_empty() {
            return Ok(Loan::Refused);
        }
        let tells_columns = self.tells_columns();
        if !self.may_be_refused_late(py, run, tells_columns)?
            || run.verb.wants_one_column() && columns.is_none_or(|columns| columns.len() != 1)
            || !tells_columns && columns.is_some_and(|columns| !self.same_in_text(columns))
        {
            return Ok(Loan::Refused);
        }
        // Before its arguments are encoded: what their own code asks for comes behind it.
        let Some(lent) = lock(&self.state).held.lend() else { return Ok(Loan::Refused) };
        let arguments = freeze(arguments, &prepared)?;
        let described = Described::new(shape.parameters.to_vec(), None, rules);
        let formats = if tells_columns { result_formats(columns, rules) } else { SmallVec::new() };
        let mut bind = Vec::with_capacity(64);
        // A copy, for a user's codec may use up what it is given.
        let given = freeze(arguments.bind(py), &prepared)?;
        let values = Arguments::Values(given.bind(py));
        if let Err(cause) = append_bind(py, rules, &prepared, &described, values, &formats, &mut bind) {
            if !error::is_error(py, &cause) {
                return Err(cause);
            }
            // They may fit what this session makes of the statement.
            return Ok(Loan::Unfit(arguments.into_bound(py)));
        }
        run.borrowed =
            Some(Box::new(Borrowed { shape, described, holds: false, arguments, bind, lent, inside, end: None }));
        Ok(Loan::Granted)
    }

    /// What the statement is likely to be, and the level of the block that it runs inside.
    fn lendable(&self, run: &Run, standing: Standing) -> Option<(Arc<Shape>, Option<LevelId>)> {
        let prepared = &run.prepared;
        let common = prepared.common.as_ref()?;
        let first = prepared.stage() == Stage::New && !run.again && run.portal.is_none();
        let inside = match standing {
            Standing::Outside => None,
            // When the check fails, what ends the level is skipped too.
            Standing::Inside(level) | Standing::Ends(level) => Some(level),
            Standing::Undoes(_) => return None,
        };
        if !first || prepared.command != Command::Plain {
            return None;
        }
        let comparable = self.statements.descriptions().is_some_and(|known| known.is_comparable());
        let state = lock(&self.state);
        let apart = match inside {
            None => state.conn.stays_idle(),
            // Nothing is on its way that could fail, or end the level.
            Some(level) => {
                state.conn.is_idle() && state.conn.status() != TransactionStatus::Failed && !state.conn.is_over(level)
            }
        };
        if !comparable || !state.held.is_empty() || !apart {
            return None;
        }
        drop(state);
        Some((common.lend()?, inside))
    }

    /// A call that its columns do not fit is refused before its statement runs, if they are known by then. Where the server
    /// does not compare them, or their names matter, they are known only behind Execute: that must change nothing.
    fn may_be_refused_late(&self, py: Python<'_>, run: &Run, tells_columns: bool) -> PyResult<bool> {
        if let Some(into) = &run.into
            && into.bind(py).is_exact_instance(pyimport::columns(py)?)
            && !tells_columns
        {
            // Its codecs choose formats.
            return Ok(false);
        }
        let by_name = run.into.is_some() || (self.options.rules.unique_columns && run.verb != Verb::Execute);
        let late = by_name || (run.verb.wants_one_column() && !tells_columns);
        Ok(!late || pgoxide_sqltext::reads(run.prepared.text(py)?))
    }

    fn tells_columns(&self) -> bool {
        self.server_major().is_none_or(|major| major >= TELLS_COLUMNS)
    }

    /// Values of these types are read the same in either format.
    fn same_in_text(&self, columns: &[u32]) -> bool {
        self.writes_iso_dates()
            && self.options.rules.codecs.is_empty()
            && columns.iter().all(|oid| is_same_in_text(*oid))
    }

    /// What goes in front of Parse.
    pub(super) fn append_savepoint(
        py: Python<'_>,
        borrowed: &Borrowed,
        bytes: &mut Vec<u8>,
        steps: &mut SmallVec<[Step; 6]>,
    ) -> PyResult<()> {
        if borrowed.inside.is_none() {
            return Ok(());
        }
        append_command(SAVEPOINT, bytes, steps).map_err(|e| error::encode_error(py, &e))
    }

    /// The messages of a run that goes by a lent description, from behind Parse up to Execute.
    pub(super) fn append_borrowed(
        &self,
        py: Python<'_>,
        prepared: &Prepared,
        borrowed: &mut Borrowed,
        bytes: &mut Vec<u8>,
        steps: &mut SmallVec<[Step; 6]>,
    ) -> PyResult<()> {
        self.append_check(&prepared.name, &borrowed.shape, bytes, steps).map_err(|e| error::encode_error(py, &e))?;
        if borrowed.inside.is_some() {
            append_command(RELEASE, bytes, steps).map_err(|e| error::encode_error(py, &e))?;
        }
        bytes.append(&mut borrowed.bind);
        steps.push(Step::Bind);
        pgoxide_protocol::message::describe::write_portal(bytes, b"").map_err(|e| error::encode_error(py, &e))?;
        steps.push(Step::DescribePortal);
        Ok(())
    }

    fn append_check(
        &self,
        name: &[u8],
        shape: &Shape,
        bytes: &mut Vec<u8>,
        steps: &mut SmallVec<[Step; 6]>,
    ) -> Result<(), EncodeError> {
        let check = self.statements.check_name();
        if !self.check.0.load(Ordering::Acquire) {
            // It may be there: whether a flight that failed came so far is not always known.
            close::write_statement(bytes, &check)?;
            let same = if self.tells_columns() { SAME } else { SAME_BEFORE };
            let sql = CHECK.replace("/*same*/", same);
            parse::write(bytes, &check, sql.as_bytes(), &[oid::TEXT, oid::OID_ARRAY, oid::OID_ARRAY])?;
            steps.extend([Step::Close, Step::CommandParse]);
        }
        let mut frame = bind::begin(bytes, b"", &check, &[Format::Binary])?;
        let mark = frame.begin_value(bytes);
        bytes.extend_from_slice(name);
        frame.end_value(bytes, mark)?;
        let mark = frame.begin_value(bytes);
        oid_array(&shape.parameters, bytes);
        frame.end_value(bytes, mark)?;
        match &shape.columns {
            Some(columns) => {
                let mark = frame.begin_value(bytes);
                oid_array(columns, bytes);
                frame.end_value(bytes, mark)?;
            }
            None => frame.null(bytes),
        }
        frame.finish(bytes, &[])?;
        execute::write(bytes, b"", 0)?;
        steps.extend([Step::CommandBind, Step::Check]);
        Ok(())
    }

    /// Before `call` is made again: the transaction block is to be as it was before it went by a description that did not hold.
    /// How it then stands to the block. Nothing is to be done for one outside.
    pub(crate) fn go_back(&self, py: Python<'_>, inside: Option<LevelId>, call: &Call) -> PyResult<Standing> {
        let Some(level) = inside else { return Ok(Standing::Outside) };
        self.submit(py, self.back_request(py)?, Standing::Inside(level))?;
        match call {
            Call::Run(run, _) if run.end.is_some() => Ok(Standing::Ends(level)),
            _ => Ok(Standing::Inside(level)),
        }
    }

    /// Back to the savepoint. What is asked behind it would tell that it failed.
    pub(crate) fn back_request(&self, py: Python<'_>) -> PyResult<Request<Job>> {
        let (mut bytes, mut steps) = (Vec::with_capacity(128), SmallVec::new());
        for command in [BACK, RELEASE] {
            append_command(command, &mut bytes, &mut steps).map_err(|e| error::encode_error(py, &e))?;
        }
        sync::write(&mut bytes);
        steps.push(Step::Sync);
        let job = Job::new(Kind::Taken, None);
        Ok(Request { id: self.next_id(), bytes, steps, barrier: false, open: false, resend: Resend::Never, job })
    }

    /// The server has answered the check, and so has it.
    pub(super) fn checked(&self) {
        self.check.0.store(true, Ordering::Release);
    }

    /// A run that went by a lent description was refused at `step`; `parsed`: behind its Parse. True when that is to be described
    /// here, and run then: nothing of it has run.
    pub(super) fn was_misled(
        &self,
        borrowed: &mut Borrowed,
        refusal: &ErrorResponse<'_>,
        step: Step,
        parsed: bool,
    ) -> bool {
        if !parsed {
            return false;
        }
        let code = refusal.fields.find(fields::SQLSTATE).unwrap_or_default();
        match step {
            Step::Close | Step::Parse => return false,
            Step::CommandParse | Step::CommandBind => self.check.forget(),
            _ => self.checked(),
        }
        if matches!(step, Step::CommandParse | Step::CommandBind | Step::Check) {
            let misled = code == OTHERWISE || code == b"26000";
            let unable = !misled && is_lasting(code);
            if unable && let Some(known) = self.statements.descriptions() {
                known.set_incomparable();
            }
            return misled || unable;
        }
        borrowed.holds = true;
        // As for what was described here: its own types may have changed. See `recovery.rs`.
        let changed = step == Step::Bind && (code == b"0A000" || (code.starts_with(b"42") && code != b"42501"));
        if changed && borrowed.described.has_own_types() {
            self.options.rules.types.forget();
        }
        // The savepoint has been released by then, and its locks keep others from changing the statement.
        changed && borrowed.inside.is_none()
    }
}

/// A command without parameters and rows, whose answers are nobody's.
fn append_command(text: &[u8], bytes: &mut Vec<u8>, steps: &mut SmallVec<[Step; 6]>) -> Result<(), EncodeError> {
    parse::write(bytes, b"", text, &[])?;
    bind::begin(bytes, b"", b"", &[])?.finish(bytes, &[])?;
    execute::write(bytes, b"", 0)?;
    steps.extend([Step::CommandParse, Step::CommandBind, Step::Check]);
    Ok(())
}

/// It will be so next time: no such function, feature or statement; not a time limit, a cancel or a lack of memory.
fn is_lasting(code: &[u8]) -> bool {
    [&b"42"[..], b"0A", b"22", b"XX"].iter().any(|class| code.starts_with(class))
}

fn result_formats(columns: Option<&[u32]>, rules: &crate::convert::Rules) -> SmallVec<[Format; 8]> {
    let formats: SmallVec<[Format; 8]> =
        columns.unwrap_or_default().iter().map(|&column| Decoder::of(column, rules).format()).collect();
    match formats.first() {
        Some(first) if formats.iter().all(|format| format == first) => SmallVec::from_slice(&[*first]),
        _ => formats,
    }
}

/// Not a record, whose fields have no types in text.
pub(crate) const fn is_same_in_text(type_oid: u32) -> bool {
    !matches!(type_oid, oid::RECORD | oid::RECORD_ARRAY)
}
