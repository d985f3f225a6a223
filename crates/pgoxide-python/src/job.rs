//! What is tied to each request in flight: whose answer it is, what it collects, what it comes to.

use std::sync::Arc;

use pgoxide_protocol::client::{Commands, Failure, LevelId, RequestId};
use pgoxide_protocol::codes::Format;
use pgoxide_protocol::error::{DecodeError, ProtocolError};
use pgoxide_protocol::message::command_complete::CommandComplete;
use pgoxide_protocol::message::data_row::{DataRow, Values};
use pgoxide_protocol::message::error_response::ErrorResponse;
use pgoxide_protocol::message::fields;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::awaitable::Awaitable;
use crate::batch::Batch;
use crate::convert::{Rules, json_seen, short_repr};
use crate::copy_out::CopyOut;
use crate::descriptions::Shape;
use crate::error;
use crate::feed::Fed;
use crate::ffi::unborn::Unborn;
use crate::introspect::{Deferred, Introspect, Undescribed};
use crate::known::Known;
use crate::plan::{Described, Frames, Plan, SentAs};
use crate::portal::{self, Portal};
use crate::prepared::{Closing, Describing, Prepared};
use crate::pyimport;
use crate::script::Script;
use crate::session::{Borrowed, Session, is_same_in_text, over, refusal_error, told};
use crate::stream::{Shared, StreamState};
use crate::tag::CommandTag;
use crate::target::Into;

/// What a call wants of a statement. Semantics: see the verbs' docstrings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    All,
    One,
    Optional,
    First,
    Value,
    Column,
    Execute,
}

impl Verb {
    /// The public method's name, for messages.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::All => "fetch_all",
            Self::One => "fetch_one",
            Self::Optional => "fetch_optional",
            Self::First => "fetch_first",
            Self::Value => "fetch_value",
            Self::Column => "fetch_column",
            Self::Execute => "execute",
        }
    }

    pub(crate) const fn wants_one_column(self) -> bool {
        matches!(self, Self::Value | Self::Column)
    }

    /// Rows that are kept at most; the others are counted.
    const fn keeps(self) -> usize {
        match self {
            Self::All | Self::Column => usize::MAX,
            Self::One | Self::Optional | Self::First | Self::Value => 1,
            Self::Execute => 0,
        }
    }
}

/// Why rows could not be taken.
pub(crate) enum Fault {
    /// The bytes are not a row: the connection is lost.
    Protocol(ProtocolError),
    /// A value or a row class refused: only the call fails.
    Call(PyErr),
}

impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Self {
        Self::Protocol(error.into())
    }
}

impl From<PyErr> for Fault {
    fn from(error: PyErr) -> Self {
        Self::Call(error)
    }
}

/// Why a DataRow's body is not a row of its result.
#[cold]
pub(crate) fn malformed(body: &[u8]) -> Fault {
    match DataRow::decode(body) {
        Err(error) => error.into(),
        Ok(_) => Fault::Protocol(ProtocolError::unexpected(b'D', "as many values as there are columns")),
    }
}

/// The error of a value or of a row's class, with a note that says which row it was. Rows are counted from 1.
#[cold]
fn in_row(py: Python<'_>, error: PyErr, row: u64) -> PyErr {
    // What cannot be noted on is raised as it is.
    drop(error.value(py).call_method1("add_note", (format!("in row {row} of the result"),)));
    error
}

/// The end of a transaction block that travels with its last statement.
#[derive(Clone)]
pub(crate) struct End {
    pub(crate) level: LevelId,
    pub(crate) commands: Commands,
    /// COMMIT, and not a savepoint's RELEASE.
    pub(crate) commits: bool,
}

/// One statement's run: what was asked, and what has come so far.
pub(crate) struct Run {
    pub(crate) prepared: Arc<Prepared>,
    pub(crate) verb: Verb,
    pub(crate) into: Option<Py<PyAny>>,
    pub(crate) arguments: usize,
    /// Nothing travels beside it, so no neighbour's cancel can hit it.
    pub(crate) isolate: bool,
    /// Its flight carries Parse and Describe too.
    pub(crate) first: Option<Describing>,
    /// It brings the end of its transaction block.
    pub(crate) end: Option<End>,
    /// Results come in text format: the columns were unknown when Bind was written.
    pub(crate) text: bool,
    /// It is the second attempt, after its statement was lost.
    pub(crate) again: bool,
    /// The portal it opens, or takes rows from.
    pub(crate) portal: Option<Arc<portal::Shared>>,
    /// Who gets it that it opens one.
    pub(crate) opening: Option<Py<Portal>>,
    /// What the connections of its pool know of its statement together.
    pub(crate) known: Option<Arc<Known>>,
    /// The description of another connection that it goes by.
    pub(crate) borrowed: Option<Box<Borrowed>>,
    parameter_oids: Option<Vec<u32>>,
    plan: Option<Arc<Plan>>,
    target: Option<Arc<Into>>,
    rows: Vec<Py<PyAny>>,
    /// Containers of these rows that the collector does not know yet.
    unborn: Unborn,
    count: u64,
    tag: Option<CommandTag>,
    /// Rows that cannot be read before their types are known.
    deferred: Option<Box<Deferred>>,
}

impl Run {
    pub(crate) fn new(prepared: Arc<Prepared>, verb: Verb, into: Option<Py<PyAny>>, arguments: usize) -> Self {
        Self {
            prepared,
            verb,
            into,
            arguments,
            isolate: false,
            end: None,
            first: None,
            text: false,
            again: false,
            portal: None,
            opening: None,
            known: None,
            borrowed: None,
            parameter_oids: None,
            plan: None,
            target: None,
            rows: Vec::new(),
            unborn: Unborn::default(),
            count: 0,
            tag: None,
            deferred: None,
        }
    }

    /// Takes over the columns of a described statement and checks what can be checked before it is sent.
    pub(crate) fn use_plan(&mut self, py: Python<'_>, plan: Option<&Arc<Plan>>) -> PyResult<()> {
        let Some(plan) = plan else { return Ok(()) };
        if self.verb != Verb::Execute {
            plan.check_names(py)?;
        }
        if self.verb.wants_one_column() && plan.columns.len() != 1 {
            return Err(error::interface_error(
                py,
                format!("{} takes a statement of one column; this one has {}", self.verb.name(), plan.columns.len()),
            ));
        }
        self.plan = Some(Arc::clone(plan));
        let Some(into) = &self.into else { return Ok(()) };
        let into = into.bind(py);
        if !into.is_exact_instance(pyimport::columns(py)?) {
            self.target = self.target_of(plan, into)?;
            return Ok(());
        }
        // Codecs of this statement's own, and what its rows become by them.
        let plan = plan.coded(into)?;
        let within = into.getattr(intern!(py, "into"))?;
        self.target = if within.is_none() { None } else { self.target_of(&plan, &within)? };
        self.plan = Some(plan);
        Ok(())
    }

    /// How rows become what `into` asks for. None: they stay rows, as `into=Row` has it; to a verb of one column that is a
    /// class of its values, those of composite types.
    fn target_of(&self, plan: &Plan, into: &Bound<'_, PyAny>) -> PyResult<Option<Arc<Into>>> {
        if !self.verb.wants_one_column() && into.is(pyimport::row(into.py())?) {
            return Ok(None);
        }
        plan.target(into).map(Some)
    }

    /// What to ask for in Bind.
    pub(crate) fn result_formats(&self) -> &[Format] {
        self.plan.as_ref().map_or(&[], |plan| plan.result_formats())
    }

    /// Raises when its codecs want other formats than the rows were asked for in.
    pub(crate) fn check_formats(&self, py: Python<'_>, asked: &[Format]) -> PyResult<()> {
        if self.plan.is_none() || self.result_formats() == asked {
            return Ok(());
        }
        Err(error::not_supported_error(
            py,
            "the codecs of into=Columns(…) need other formats than rows of a portal or a binary COPY come in: use codecs of the \
             form \"value\"",
        ))
    }

    pub(crate) fn parameters_described(&mut self, oids: Vec<u32>) {
        self.parameter_oids = Some(oids);
    }

    /// The statement's description is complete: from now on anybody may use it. Or its portal's, which is for this run
    /// alone and says what the statement's may not know.
    pub(crate) fn described(
        &mut self,
        py: Python<'_>,
        plan: Option<Arc<Plan>>,
        sent: SentAs,
        rules: &Rules,
    ) -> PyResult<()> {
        let unknown = plan.as_ref().map_or_else(Vec::new, |plan| plan.unknown_types());
        if let Some(borrowed) = &self.borrowed {
            if !Self::is_readable(borrowed.shape(), plan.as_deref(), sent) {
                return Err(self.came_otherwise(py));
            }
            self.parameter_oids = Some(borrowed.shape().parameters.to_vec());
            // Types that are still unknown are wanted as text, and will not be once they are known.
            let in_text = |plan: &Arc<Plan>| plan.formats.iter().all(|format| *format == Format::Text);
            self.text = sent == SentAs::Text || plan.as_ref().is_some_and(in_text);
        }
        if let Some(oids) = self.parameter_oids.take() {
            if unknown.is_empty() {
                self.prepared.set_described(Described::new(oids, plan.clone(), rules));
                return self.use_plan(py, plan.as_ref());
            }
            // Its statement is described once the types are known; `first` keeps others from asking.
            self.deferred = Some(Box::new(Deferred { unknown, frames: Vec::new(), parameter_oids: Some(oids) }));
            return self.use_plan(py, plan.as_ref());
        }
        self.plan = None;
        self.target = None;
        if sent == SentAs::Other || (sent == SentAs::Wanted && !unknown.is_empty()) {
            return Err(self.came_otherwise(py));
        }
        self.text = sent == SentAs::Text;
        if !unknown.is_empty() {
            self.deferred = Some(Box::new(Deferred { unknown, frames: Vec::new(), parameter_oids: None }));
        }
        self.use_plan(py, plan.as_ref())
    }

    /// Rows of a statement that went by a lent description: in the formats that their types want, or in text that says the
    /// same, which is not so for columns that were not those expected.
    fn is_readable(lent: &Shape, plan: Option<&Plan>, sent: SentAs) -> bool {
        let Some(plan) = plan else { return true };
        let expected = |columns: &[u32]| plan.columns.iter().map(|column| column.type_oid).eq(columns.iter().copied());
        let as_expected = lent.columns.as_deref().is_some_and(expected);
        match sent {
            SentAs::Wanted | SentAs::Text if as_expected => true,
            SentAs::Wanted | SentAs::Text => plan.columns.iter().all(|column| is_same_in_text(column.type_oid)),
            SentAs::Other => false,
        }
    }

    #[cold]
    fn came_otherwise(&self, py: Python<'_>) -> PyErr {
        error::interface_error(
            py,
            format!(
                "{}: its columns changed between their description and the run, so they came in formats that were asked for \
                 others; run it again",
                short_repr(self.prepared.original().bind(py))
            ),
        )
    }

    /// Raises when rows wait for types: they cannot be handed out as they come.
    pub(crate) fn refuse_deferred(&mut self, py: Python<'_>) -> PyResult<()> {
        let Some(deferred) = self.deferred.take() else { return Ok(()) };
        let oids: Vec<String> = deferred.unknown.iter().map(u32::to_string).collect();
        Err(error::not_supported_error(
            py,
            format!(
                "rows of this stream hold values of types (oid {}) that its description did not announce, so they could not \
                 be looked up in time: cast them, or use fetch_all",
                oids.join(", ")
            ),
        ))
    }

    /// Types that must be asked for before it can come to its end.
    pub(crate) fn unknown_types(&self, into: &mut Vec<u32>) {
        if let Some(deferred) = &self.deferred {
            into.extend(&deferred.unknown);
        }
    }

    /// The types it waited for are known: reads the rows that were put off. It may come to others.
    pub(crate) fn resolve(&mut self, py: Python<'_>, rules: &Rules) -> Result<(), Fault> {
        let Some(deferred) = self.deferred.take() else { return Ok(()) };
        let Deferred { frames, parameter_oids, .. } = *deferred;
        let Some(plan) = self.plan.take() else { return Ok(()) };
        let plan = Arc::new(plan.again(py)?);
        let unknown = plan.unknown_types();
        if !unknown.is_empty() {
            self.plan = Some(plan);
            self.deferred = Some(Box::new(Deferred { unknown, frames, parameter_oids }));
            return Ok(());
        }
        if let Some(oids) = parameter_oids {
            self.prepared.set_described(Described::new(oids, Some(Arc::clone(&plan)), rules));
        }
        self.use_plan(py, Some(&plan))?;
        let count = Frames::new(&frames).count();
        // They were counted when they came.
        self.count -= count as u64;
        self.rows(py, &frames, count)
    }

    /// It has run, and so has the Close behind it, if it has one.
    pub(crate) fn fulfilled(&self) {
        if self.prepared.closes_itself() {
            self.prepared.set_exists(false);
        }
    }

    /// For the garbage collector. Rows are on their way to somebody who waits.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.opening.iter().try_for_each(|portal| visit.call(portal))?;
        self.borrowed.iter().try_for_each(|borrowed| visit.call(&borrowed.arguments))?;
        self.into.iter().try_for_each(|into| visit.call(into))
    }

    /// Decodes a run of rows.
    pub(crate) fn rows(&mut self, py: Python<'_>, frames: &[u8], count: usize) -> Result<(), Fault> {
        self.count += count as u64;
        let Some(plan) = &self.plan else {
            return Err(Fault::Protocol(ProtocolError::unexpected(b'D', "the end of a statement without columns")));
        };
        let wanted = self.verb.keeps().saturating_sub(self.rows.len()).min(count);
        if wanted == 0 {
            return Ok(());
        }
        if let Some(deferred) = &mut self.deferred {
            deferred.frames.extend_from_slice(frames);
            return Ok(());
        }
        self.rows.reserve(wanted);
        // A few are made faster than they are held back.
        const FEW: usize = 32;
        let hidden = wanted > FEW && plan.is_plain() && self.target.as_ref().is_none_or(|into| into.is_plain());
        if !hidden {
            return self.build_all(py, frames, count, wanted);
        }
        let mut unborn = std::mem::take(&mut self.unborn);
        let built = unborn.hold_back(|| json_seen::sharing_texts(|| self.build_all(py, frames, count, wanted)));
        self.unborn = unborn;
        built
    }

    /// The first `wanted` rows of a run of `count`, which have been counted.
    fn build_all(&mut self, py: Python<'_>, frames: &[u8], count: usize, wanted: usize) -> Result<(), Fault> {
        let Some(plan) = &self.plan else { return Ok(()) };
        let single = self.verb.wants_one_column();
        let before = self.count - count as u64;
        let mut scratch = Vec::new();
        for (index, body) in Frames::new(frames).take(wanted).enumerate() {
            match self.build(py, plan, single, body, before + index as u64 + 1, &mut scratch) {
                Ok(row) => self.rows.push(row),
                Err(fault) => {
                    self.deferred = Some(Box::new(Deferred::from(fault, plan, frames, index)?));
                    break;
                }
            }
        }
        Ok(())
    }

    /// One row, of a message of another kind that is laid out as a DataRow's body.
    pub(crate) fn row(&mut self, py: Python<'_>, body: &[u8]) -> Result<Py<PyAny>, Fault> {
        self.count += 1;
        let Some(plan) = &self.plan else {
            return Err(Fault::Protocol(ProtocolError::unexpected(b'd', "a COPY without columns")));
        };
        self.build(py, plan, self.verb.wants_one_column(), body, self.count, &mut Vec::new())
    }

    #[inline(always)] // into the loop over a result's rows
    fn build<'py>(
        &self,
        py: Python<'py>,
        plan: &Arc<Plan>,
        single: bool,
        body: &[u8],
        number: u64,
        scratch: &mut Vec<Bound<'py, PyAny>>,
    ) -> Result<Py<PyAny>, Fault> {
        let values = Values::over(body);
        let row = match &self.target {
            None if single => plan.single(py, values, self.text)?,
            None => plan.row(py, values, self.text)?,
            // These verbs give None for NULL, whatever the value's class.
            Some(_) if single && values.clone().next() == Some(None) => plan.single(py, values, self.text)?,
            Some(into) => {
                let built = into.build(py, plan, values, self.text, scratch);
                built.map_err(|error| in_row(py, error, number))?
            }
        };
        Ok(row.ok_or_else(|| malformed(body))?.unbind())
    }

    /// What has come so far will be handed out before the end.
    pub(crate) fn publish(&mut self, py: Python<'_>) {
        self.unborn.publish(py);
    }

    /// What has come so far, for who takes rows in batches.
    pub(crate) fn take_rows(&mut self) -> Vec<Py<PyAny>> {
        std::mem::take(&mut self.rows)
    }

    pub(crate) fn complete(&mut self, complete: &CommandComplete<'_>) {
        self.prepared.completed(complete.tag);
        if let Some(portal) = &self.portal {
            portal.executed(false);
        }
        if self.verb != Verb::Execute {
            return;
        }
        let text = String::from_utf8_lossy(complete.tag).into_owned();
        self.tag = Some(CommandTag::new(text, complete.rows_affected()));
    }

    /// It will run a second time.
    pub(crate) fn restart(&mut self) {
        self.rows.clear();
        self.unborn = Unborn::default();
        self.count = 0;
        self.tag = None;
        self.deferred = None;
    }

    /// It is to run by `prepared`, since nothing came of the first attempt.
    pub(crate) fn start_again(&mut self, prepared: Arc<Prepared>) {
        self.restart();
        self.prepared = prepared;
        self.again = true;
        self.text = false;
        (self.first, self.borrowed, self.parameter_oids, self.plan, self.target) = (None, None, None, None, None);
    }

    /// What the caller gets.
    pub(crate) fn result(&mut self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        if let Some(portal) = self.opening.take() {
            return Ok(portal.into_any());
        }
        self.unborn.publish(py);
        match self.verb {
            Verb::All | Verb::Column => Ok(PyList::new(py, std::mem::take(&mut self.rows))?.into_any().unbind()),
            Verb::Execute => {
                let tag = self.tag.take().unwrap_or_else(|| CommandTag::new(String::new(), None));
                Ok(Bound::new(py, tag)?.into_any().unbind())
            }
            Verb::First => Ok(self.rows.pop().unwrap_or_else(|| py.None())),
            Verb::One | Verb::Optional | Verb::Value => match self.count {
                0 if self.verb == Verb::Optional => Ok(py.None()),
                0 => Err(error::no_row(py, format!("{} got no row", self.verb.name()))),
                1 => Ok(self.rows.pop().unwrap_or_else(|| py.None())),
                count => Err(error::multiple_rows(
                    py,
                    format!("{} got {count} rows; fetch_first takes the first of many", self.verb.name()),
                )),
            },
        }
    }
}

/// Parse and Describe of statements whose runs wait for it.
pub(crate) struct Prepare {
    /// In order of their Parse.
    pub(crate) statements: Vec<Describing>,
    pub(crate) at: usize,
    parameter_oids: Vec<u32>,
    refusal: Option<Refusal>,
    /// Of these statements, by their number, the types must be asked for.
    unknown: Vec<(usize, Vec<u32>, Option<Arc<Plan>>)>,
}

/// Why the statements of a Prepare were not described.
enum Refusal {
    /// The ErrorResponse's body, from which each waiting run gets an exception of its own.
    Server { body: Vec<u8>, failure: Failure },
    /// It waited to be written inside a transaction that is over.
    Stranded,
}

impl Prepare {
    pub(crate) const fn new(statements: Vec<Describing>) -> Self {
        Self { statements, at: 0, parameter_oids: Vec::new(), refusal: None, unknown: Vec::new() }
    }

    pub(crate) fn refuse(&mut self, body: Vec<u8>, failure: Failure) {
        self.refusal = Some(Refusal::Server { body, failure });
    }

    pub(crate) fn strand(&mut self) {
        self.refusal = Some(Refusal::Stranded);
    }

    /// The server has another statement of this name (42P05): it is to be closed, and ours described after all. False when
    /// that has been tried.
    pub(crate) fn name_is_taken(&self) -> bool {
        let untried = self.statement().filter(|statement| !statement.exists());
        untried.inspect(|statement| statement.set_exists(true)).is_some()
    }

    /// The statements that were refused, or never reached.
    pub(crate) fn refused(&self) -> &[Describing] {
        if self.refusal.is_some() { self.statements.get(self.at..).unwrap_or_default() } else { &[] }
    }

    /// It was refused because somebody cancelled it.
    pub(crate) fn was_cancelled(&self) -> bool {
        let Some(Refusal::Server { body, .. }) = &self.refusal else { return false };
        ErrorResponse::decode(body).is_ok_and(|refusal| refusal.fields.find(fields::SQLSTATE) == Some(b"57014"))
    }

    /// What a call hears that waited for `statement`.
    pub(crate) fn error(&self, py: Python<'_>, statement: &Prepared) -> PyErr {
        match &self.refusal {
            Some(Refusal::Server { body, failure }) => told(py, *failure, || refusal_error(py, body, statement)),
            Some(Refusal::Stranded) => over(py),
            None => error::interface_error(py, "the statement has not been described"),
        }
    }

    /// It will run a second time.
    pub(crate) fn restart(&mut self) {
        self.at = 0;
        self.unknown.clear();
    }

    pub(crate) fn parameters_described(&mut self, oids: Vec<u32>) {
        self.parameter_oids = oids;
    }

    /// The statement the server is at.
    pub(crate) fn statement(&self) -> Option<&Arc<Prepared>> {
        self.statements.get(self.at).map(Describing::statement)
    }

    pub(crate) fn described(&mut self, plan: Option<Arc<Plan>>, rules: &Rules) {
        let oids = std::mem::take(&mut self.parameter_oids);
        let columns = plan.iter().flat_map(|plan| plan.columns.iter().map(|column| column.type_oid));
        if !rules.types.unknown(columns.chain(oids.iter().copied())).is_empty() {
            self.unknown.push((self.at, oids, plan));
        } else if let Some(statement) = self.statement() {
            statement.set_described(Described::new(oids, plan, rules));
        }
        self.at += 1;
    }

    /// The statements whose types must be asked for. What others it did not bring, the next one may.
    pub(crate) fn take_undescribed(&mut self) -> Vec<Undescribed> {
        let mut unknown = std::mem::take(&mut self.unknown).into_iter().peekable();
        let statements = std::mem::take(&mut self.statements).into_iter().enumerate();
        let undescribed = statements.filter_map(|(index, describing)| {
            let (_, parameter_oids, plan) = unknown.next_if(|(at, ..)| *at == index)?;
            Some(Undescribed { describing, parameter_oids, plan })
        });
        undescribed.collect()
    }
}

/// The end of a transaction block, good or bad.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending {
    pub(crate) undoes: bool,
}

/// The kinds of requests. Boxed, since a job moves several times on its way.
pub(crate) enum Kind {
    Prepare(Box<Prepare>),
    Run(Box<Run>),
    Batch(Box<Batch>),
    Script(Box<Script>),
    /// COPY FROM STDIN, or many parameter sets.
    Fed(Box<Fed>),
    /// An open portal whose rows are handed out as they come.
    Stream(StreamState),
    /// COPY TO STDOUT.
    CopyOut(Box<CopyOut>),
    /// A question about types, and who waits for the answer.
    Introspect(Box<Introspect>),
    /// Nothing but the end of a transaction block.
    Ending(Ending),
    /// Nothing but the opening of a transaction block, ahead of that request.
    Opening(RequestId),
    /// Taken out while Python code runs.
    Taken,
}

/// What a reset of the session does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resets {
    /// It undoes everything, and leaves a cursor that says so.
    Fully,
    /// What its SQL says.
    BySql,
}

/// One request as the driver sees it.
pub(crate) struct Job {
    pub(crate) kind: Kind,
    /// Who waits; `None` for the blocking face, which looks itself.
    pub(crate) reply: Option<Py<Awaitable>>,
    /// First failure: the server's, or a value's.
    pub(crate) error: Option<PyErr>,
    /// The server has skipped the rest of the request.
    pub(crate) refused: bool,
    /// The reader of a stream, to be told how it ended. Not part of `kind`, which may be out when that happens.
    pub(crate) stream: Option<Arc<Shared>>,
    /// ParseComplete has come, since it was last written.
    pub(crate) parsed: bool,
    /// It makes a pool's connection forget its last user.
    pub(crate) resets: Option<Resets>,
    /// The level of the transaction block whose end it carries.
    pub(crate) ends: Option<LevelId>,
    /// That end is COMMIT.
    pub(crate) commits: bool,
    /// The tag of the command that ends its transaction block, once that has come.
    pub(crate) ended: Option<String>,
    /// Statements that its flight closes.
    closing: Option<Box<Closing>>,
    /// What was written for it: its statement was lost before anything ran, so it is to be asked again.
    pub(crate) again: Option<Box<[u8]>>,
}

impl Job {
    pub(crate) const fn new(kind: Kind, reply: Option<Py<Awaitable>>) -> Self {
        Self {
            kind,
            reply,
            error: None,
            refused: false,
            stream: None,
            parsed: false,
            resets: None,
            ends: None,
            commits: false,
            ended: None,
            closing: None,
            again: None,
        }
    }

    /// With the statements its flight closes before anything else.
    pub(crate) fn closing(mut self, closing: Option<Box<Closing>>) -> Self {
        self.closing = closing;
        self
    }

    /// With the end of its transaction block behind all else.
    pub(crate) fn ending(mut self, end: Option<End>) -> Self {
        self.brings(end.as_ref());
        self
    }

    /// The end of its transaction block has been written behind all else.
    pub(crate) fn brings(&mut self, end: Option<&End>) {
        if let Some(end) = end {
            self.ends = Some(end.level);
            self.commits = end.commits;
        }
    }

    /// With the reader of its rows.
    pub(crate) fn of_stream(mut self, shared: Arc<Shared>) -> Self {
        self.stream = Some(shared);
        self
    }

    /// The server has the statement it was sent.
    pub(crate) fn parsed(&mut self) {
        self.parsed = true;
        if let Some(statement) = self.statement() {
            statement.set_exists(true);
        }
    }

    /// The server has answered the whole request: what it closed is closed.
    pub(crate) fn answered(&mut self) {
        if let Some(closing) = self.closing.take() {
            closing.done();
        }
        if self.refused {
            return;
        }
        match &self.kind {
            Kind::Run(run) => run.fulfilled(),
            Kind::Batch(batch) => batch.fulfilled(),
            Kind::Fed(fed) => fed.fulfilled(),
            Kind::Prepare(_)
            | Kind::Script(_)
            | Kind::Stream(_)
            | Kind::CopyOut(_)
            | Kind::Introspect(_)
            | Kind::Ending(_)
            | Kind::Opening(_)
            | Kind::Taken => {}
        }
    }

    /// It was to end its transaction block well, and did not.
    pub(crate) fn end_failed(&self) -> Option<LevelId> {
        self.ends.filter(|_| self.ended.as_deref().is_none_or(|tag| tag == "ROLLBACK"))
    }

    /// COMMIT was on its way, and neither its answer came nor a refusal.
    pub(crate) const fn outcome_is_unknown(&self) -> bool {
        self.commits && !self.refused && self.ended.is_none()
    }

    /// For the garbage collector: who waits, and what its rows are to become.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(reply) = &self.reply {
            visit.call(reply)?;
        }
        match &self.kind {
            Kind::Run(run) => run.visit(visit),
            Kind::Batch(batch) => batch.visit(visit),
            Kind::Fed(fed) => fed.visit(visit),
            Kind::Introspect(introspect) => introspect.visit(visit),
            // A stream's rows are its reader's.
            Kind::Prepare(_)
            | Kind::Script(_)
            | Kind::Stream(_)
            | Kind::CopyOut(_)
            | Kind::Ending(_)
            | Kind::Opening(_)
            | Kind::Taken => Ok(()),
        }
    }

    /// It has rows that cannot be read before their types are known.
    #[inline]
    pub(crate) fn waits_for_types(&self) -> bool {
        match &self.kind {
            Kind::Run(run) => run.deferred.is_some(),
            Kind::Batch(_) | Kind::Script(_) => !self.unknown_types().is_empty(),
            _ => false,
        }
    }

    /// Types that must be asked for before it can come to its end.
    pub(crate) fn unknown_types(&self) -> Vec<u32> {
        let mut unknown = Vec::new();
        match &self.kind {
            Kind::Run(run) => run.unknown_types(&mut unknown),
            Kind::Batch(batch) => batch.unknown_types(&mut unknown),
            Kind::Script(script) => script.unknown_types(&mut unknown),
            _ => {}
        }
        unknown
    }

    /// The types it waited for are known.
    pub(crate) fn resolve(&mut self, py: Python<'_>, rules: &Rules) -> PyResult<()> {
        let resolved = match &mut self.kind {
            Kind::Run(run) => run.resolve(py, rules),
            Kind::Batch(batch) => batch.resolve(py, rules),
            Kind::Script(script) => script.resolve(py),
            _ => Ok(()),
        };
        resolved.map_err(|fault| match fault {
            Fault::Call(error) => error,
            Fault::Protocol(error) => error::protocol_error(py, &error),
        })
    }

    /// The job that somebody waits for: a question about types has none of its own.
    pub(crate) fn waited_for(self) -> Self {
        match self.kind {
            Kind::Introspect(introspect) => introspect.into_waiting(),
            kind => Self { kind, ..self },
        }
    }

    /// Why it failed, told in full.
    pub(crate) fn failure(&mut self, py: Python<'_>, session: &Session) -> Option<PyErr> {
        let error = self.error.take()?;
        Some(session.explained(py, error, self.statement().map(|statement| &**statement)))
    }

    /// What the caller gets.
    pub(crate) fn conclude(&mut self, py: Python<'_>, session: &Session) -> PyResult<Py<PyAny>> {
        if let Some(error) = self.failure(py, session) {
            if let Kind::Batch(batch) = &mut self.kind {
                batch.abort(py, &error);
            }
            return Err(error);
        }
        if self.commits && self.ended.as_deref() == Some("ROLLBACK") {
            return Err(unexpected_rollback(py));
        }
        match &mut self.kind {
            Kind::Run(run) => run.result(py).map_err(|error| session.explained(py, error, Some(&run.prepared))),
            Kind::Script(script) => script.result(py),
            Kind::Fed(fed) => fed.result(py),
            Kind::Batch(batch) => batch.result(py, session),
            Kind::Prepare(_)
            | Kind::Stream(_)
            | Kind::CopyOut(_)
            | Kind::Introspect(_)
            | Kind::Ending(_)
            | Kind::Opening(_)
            | Kind::Taken => Ok(py.None()),
        }
    }

    /// The statement the server is at.
    pub(crate) fn statement(&self) -> Option<&Arc<Prepared>> {
        match &self.kind {
            Kind::Run(run) => Some(&run.prepared),
            Kind::Prepare(prepare) => prepare.statement(),
            Kind::Batch(batch) => batch.statement(),
            Kind::Stream(stream) => Some(stream.statement()),
            Kind::Fed(fed) => fed.statement(),
            Kind::Script(_)
            | Kind::CopyOut(_)
            | Kind::Introspect(_)
            | Kind::Ending(_)
            | Kind::Opening(_)
            | Kind::Taken => None,
        }
    }

    /// The server's refusal of this request.
    pub(crate) fn server_error(&self, py: Python<'_>, refusal: &ErrorResponse<'_>) -> PyErr {
        if let Kind::Run(run) = &self.kind
            && let Some(borrowed) = &run.borrowed
        {
            return run.prepared.refused(py, refusal, borrowed.checked());
        }
        if let Some(statement) = self.statement() {
            return statement.server_error(py, refusal);
        }
        let sql = match &self.kind {
            Kind::Script(script) => Some(script.sql.as_str()),
            Kind::Fed(fed) => Some(fed.words()),
            Kind::CopyOut(copy) => Some(copy.sql.as_str()),
            _ => None,
        };
        error::server_error(py, refusal, sql, None, None)
    }
}

#[cold]
pub(crate) fn unexpected_rollback(py: Python<'_>) -> PyErr {
    error::unexpected_rollback(
        py,
        "COMMIT was answered by ROLLBACK: a statement of the transaction had failed, so nothing of it was committed; let \
         such an error leave the block, or put what may fail into a nested transaction()",
    )
}

/// What decoding needs to know of its connection.
pub(crate) fn describe(
    py: Python<'_>,
    description: &pgoxide_protocol::message::row_description::RowDescription<'_>,
    rules: &Arc<Rules>,
) -> PyResult<Arc<Plan>> {
    Ok(Arc::new(Plan::new(py, description, rules)?))
}
