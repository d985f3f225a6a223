//! Asking the catalog for types that are not built in: one query for all that a statement needs, parts of parts included.
//!
//! ```text
//!   Prepare ──described, types unknown──▶ Introspect ──▶ described for good ──▶ held calls go on
//!   Run, Batch, Script ──rows of unknown types──▶ Introspect ──▶ rows are decoded, the call ends
//! ```
//!
//! The query goes by indexes only, so that 100 000 types do not slow it down, whatever the session makes of plans and costs
//! (`enable_nestloop=off`, a `random_page_cost` for other disks): 150 ms with 20 000 types otherwise. And it is planned with the
//! server's just-in-time compiler off: by a catalog that was never analysed it is estimated to be worth a second of compiling.
//! Measured on PostgreSQL 15 with 100 000 types, each with its array type: 1.5 ms, 27 ms with `jit_above_cost=0`, under which two
//! settings and the statement itself are compiled too. It names everything with its schema: no search_path can put something else
//! in its place.

use std::sync::Arc;

use pgoxide_protocol::client::{Prefix, Request, RequestId, Resend, Step};
use pgoxide_protocol::codes::Format;
use pgoxide_protocol::message::data_row::Values;
use pgoxide_protocol::message::{bind, execute, parse, sync};
use pgoxide_types::{array, oid};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use smallvec::SmallVec;

use crate::error;
use crate::held::Ended;
use crate::job::{Fault, Job, Kind, malformed};
use crate::plan::{Described, Frames, Plan};
use crate::prepared::Describing;
use crate::registry::{Catalog, FieldInfo, Identity, TypeInfo, TypeKind};
use crate::session::Session;
use crate::sync::lock;

/// What is asked at a time. More (a table of tables of tables) is asked for in further queries; without a limit the planner
/// would expect so many that the server compiled the query.
const MOST: usize = 1_000;

/// `$1`: the OIDs. The inner select hides how many there are, lest the planner multiply it.
const QUERY: &str = "\
with recursive wanted (oid) as (
    select pg_catalog.unnest((select $1::pg_catalog.oid[]))
  union
    select part.oid from wanted as w cross join lateral (
        select case when t.typbasetype <> 0 then t.typbasetype else t.typelem end
        from pg_catalog.pg_type as t where t.oid = w.oid and (t.typbasetype <> 0 or t.typelem <> 0)
      union all
        select r.rngsubtype from pg_catalog.pg_range as r where r.rngtypid = w.oid
      union all
        /*multirange*/
        select a.atttypid from pg_catalog.pg_type as t, pg_catalog.pg_attribute as a
        where t.oid = w.oid and t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
    ) as part (oid)
)
select t.oid, t.typname, n.nspname, t.typtype, t.typbasetype, t.typelem, e.typdelim, r.rngsubtype, m.rngtypid,
  (select x.extname from pg_catalog.pg_depend as d, pg_catalog.pg_extension as x
   where d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass and d.objid = t.oid and d.deptype = 'e'
     and d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass and x.oid = d.refobjid),
  case t.typtype when 'e' then array(select l.enumlabel from pg_catalog.pg_enum as l where l.enumtypid = t.oid
                                     order by l.enumsortorder)
    when 'c' then array(select a.attname from pg_catalog.pg_attribute as a
                        where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped order by a.attnum) end,
  case t.typtype when 'c' then array(select a.atttypid from pg_catalog.pg_attribute as a
                        where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped order by a.attnum) end
from (select w.oid from wanted as w limit 1000) as w
cross join lateral (select * from pg_catalog.pg_type as t where t.oid = w.oid offset 0) as t
cross join lateral (select n.nspname from pg_catalog.pg_namespace as n where n.oid = t.typnamespace offset 0) as n
left join lateral (select e.typdelim from pg_catalog.pg_type as e
                   where e.oid = t.typelem and e.typarray = t.oid offset 0) as e on true
left join lateral (select r.rngsubtype from pg_catalog.pg_range as r where r.rngtypid = t.oid offset 0) as r on true
left join lateral (/*multirange of*/) as m on true";

/// Multiranges came with PostgreSQL 14.
const MULTIRANGE: [(&str, &str); 2] = [
    (
        "/*multirange*/",
        "select r.rngtypid from pg_catalog.pg_range as r where r.rngmultitypid = w.oid\n      union all",
    ),
    ("/*multirange of*/", "select r.rngtypid from pg_catalog.pg_range as r where r.rngmultitypid = t.oid offset 0"),
];
const NO_MULTIRANGE: [(&str, &str); 2] =
    [("/*multirange*/", ""), ("/*multirange of*/", "select null::pg_catalog.oid as rngtypid")];

/// Around the query, in its flight: how it is to be planned, for the rest of the transaction, which ends with the flight unless it
/// is the user's; then all is put back. What the server does not know is left out.
const PLANNED_SO: &str = "\
select pg_catalog.set_config('pgoxide.' operator(pg_catalog.||) s.name, pg_catalog.current_setting(s.name), true),
  pg_catalog.set_config(s.name, s.value, true)
from (values ('jit', 'off'), ('enable_seqscan', 'off'), ('enable_indexscan', 'on'), ('enable_nestloop', 'on')) as s (name, value)
where pg_catalog.current_setting(s.name, true) operator(pg_catalog.<>) s.value";
const PLANNED_AS_BEFORE: &str = "\
select pg_catalog.set_config(s.name, pg_catalog.current_setting('pgoxide.' operator(pg_catalog.||) s.name), true),
  pg_catalog.set_config('pgoxide.' operator(pg_catalog.||) s.name, '', true)
from (values ('jit'), ('enable_seqscan'), ('enable_indexscan'), ('enable_nestloop')) as s (name)
where pg_catalog.current_setting('pgoxide.' operator(pg_catalog.||) s.name, true) operator(pg_catalog.<>) ''";

/// Which database this is.
const IDENTITY: &str = "\
select (select c.system_identifier::pg_catalog.text from pg_catalog.pg_control_system() as c),
  (select d.oid from pg_catalog.pg_database as d where d.datname = pg_catalog.current_database()),
  pg_catalog.pg_postmaster_start_time()";

/// A statement whose description names types that are not known.
pub(crate) struct Undescribed {
    pub(crate) describing: Describing,
    pub(crate) parameter_oids: Vec<u32>,
    pub(crate) plan: Option<Arc<Plan>>,
}

impl Undescribed {
    fn oids(&self) -> impl Iterator<Item = u32> {
        let columns = self.plan.iter().flat_map(|plan| plan.columns.iter().map(|column| column.type_oid));
        self.parameter_oids.iter().copied().chain(columns)
    }
}

/// Who waits for types.
pub(crate) enum Waiting {
    Statements(Vec<Undescribed>),
    /// A call that has run.
    Call(RequestId, Box<Job>),
}

/// A question to the catalog under way.
pub(crate) struct Introspect {
    pub(crate) waiting: Waiting,
    asked: Vec<u32>,
    /// Which database is asked first.
    identifies: bool,
    /// Statements of it that came to their end.
    completed: usize,
    /// Where what comes is to be kept, and its generation then.
    catalog: Option<(Arc<Catalog>, u64)>,
    found: Vec<TypeInfo>,
}

impl Introspect {
    /// For the garbage collector.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match &self.waiting {
            Waiting::Call(_, job) => job.visit(visit),
            Waiting::Statements(_) => Ok(()),
        }
    }

    /// The call that waits, or nobody.
    pub(crate) fn into_waiting(self) -> Job {
        match self.waiting {
            Waiting::Call(_, job) => *job,
            Waiting::Statements(_) => Job::new(Kind::Taken, None),
        }
    }

    pub(crate) fn restart(&mut self) {
        self.completed = 0;
        self.found.clear();
    }

    /// A statement of it came to its end.
    pub(crate) fn complete(&mut self) {
        self.completed += 1;
    }

    pub(crate) fn rows(&mut self, session: &Session, frames: &[u8]) -> Result<(), Fault> {
        for body in Frames::new(frames) {
            match (self.identifies, self.completed) {
                (true, _) => {
                    let identity = identity(body).ok_or_else(|| malformed(body))?;
                    session.options.rules.types.identify(identity);
                }
                (false, 1) => self.found.push(type_info(body).ok_or_else(|| malformed(body))?),
                // What the settings are now.
                (false, _) => {}
            }
        }
        Ok(())
    }
}

fn identity(body: &[u8]) -> Option<Identity> {
    let mut values = Values::over(body);
    let (system, database) = (text(values.next()??)?, word(values.next()??)?);
    let started = values.next()??.try_into().ok().map(i64::from_be_bytes)?;
    values.is_complete().then_some(Identity { system, database, started })
}

fn text(raw: &[u8]) -> Option<Box<str>> {
    std::str::from_utf8(raw).ok().map(Into::into)
}

fn word(raw: &[u8]) -> Option<u32> {
    raw.try_into().ok().map(u32::from_be_bytes)
}

/// The elements of a binary array without NULLs.
fn items<T>(raw: &[u8], read: impl Fn(&[u8]) -> Option<T>) -> Option<Vec<T>> {
    let mut elements = array::decode_binary(raw).ok()?.elements;
    let mut items = Vec::with_capacity(elements.left());
    while elements.left() > 0 {
        items.push(read(elements.next_value().ok()??)?);
    }
    Some(items)
}

/// One row of the query. None: it is no such row.
fn type_info(body: &[u8]) -> Option<TypeInfo> {
    let mut values = Values::over(body);
    let mut next = || values.next();
    let oid = word(next()??)?;
    let (name, schema) = (text(next()??)?, text(next()??)?);
    let [kind] = *next()?? else { return None };
    let (base, element) = (word(next()??)?, word(next()??)?);
    let delimiter = next()?;
    let bound = next()?;
    let range = next()?;
    let extension = match next()? {
        Some(name) => Some(text(name)?),
        None => None,
    };
    let (names, oids) = (next()?, next()?);
    if !values.is_complete() {
        return None;
    }
    let kind = match (kind, delimiter) {
        (b'd', _) => TypeKind::Domain { base },
        (b'e', _) => TypeKind::Enum { labels: items(names?, text)?.into() },
        (b'c', _) => {
            let fields = items(names?, text)?.into_iter().zip(items(oids?, word)?);
            TypeKind::Composite { fields: fields.map(|(name, oid)| FieldInfo { name, oid }).collect() }
        }
        (b'r', _) => TypeKind::Range { bound: word(bound?)? },
        (b'm', _) => TypeKind::Multirange { range: word(range?)? },
        (_, Some(&[delimiter])) => TypeKind::Array { element, delimiter },
        _ => TypeKind::Base,
    };
    Some(TypeInfo { oid, name, schema, extension, kind })
}

/// What became of a question.
pub(crate) struct Learnt {
    /// More must be asked.
    pub(crate) again: Option<Request<Job>>,
    /// A call that has all it needs.
    pub(crate) call: Option<(RequestId, Job)>,
    /// Held calls that came to their end.
    pub(crate) ended: Vec<Ended>,
    /// Why statements cannot be described.
    pub(crate) refusal: Option<PyErr>,
}

/// A call that has run.
pub(crate) enum Deferral {
    Complete(Job),
    /// Its rows can be read once this has been answered.
    Asks(Request<Job>),
}

impl Session {
    /// The question for these types.
    pub(crate) fn introspect_request(
        &self,
        py: Python<'_>,
        mut asked: Vec<u32>,
        waiting: Waiting,
    ) -> PyResult<Request<Job>> {
        asked.truncate(MOST);
        let catalog = self.options.rules.types.catalog();
        let identifies = catalog.is_none();
        let refused = |e| error::encode_error(py, &e);
        let (mut bytes, mut steps) = (Vec::with_capacity(4_096), SmallVec::new());
        let mut run = |query: &str, oids: Option<&[u32]>| {
            let declared: &[u32] = if oids.is_some() { &[oid::OID_ARRAY] } else { &[] };
            parse::write(&mut bytes, b"", query.as_bytes(), declared)?;
            let mut frame = bind::begin(&mut bytes, b"", b"", oids.map_or(&[][..], |_| &[Format::Binary]))?;
            if let Some(oids) = oids {
                let mark = frame.begin_value(&mut bytes);
                oid_array(oids, &mut bytes);
                frame.end_value(&mut bytes, mark)?;
            }
            frame.finish(&mut bytes, &[Format::Binary])?;
            execute::write(&mut bytes, b"", 0)?;
            steps.extend([Step::Parse, Step::Bind, Step::Execute]);
            Ok(())
        };
        // What others have learnt is not asked for again: what the database is comes first.
        if identifies {
            run(IDENTITY, None).map_err(refused)?;
        } else {
            let mut query = QUERY.to_owned();
            let has_multiranges = self.server_major().is_none_or(|major| major >= 14);
            for (place, part) in if has_multiranges { MULTIRANGE } else { NO_MULTIRANGE } {
                query = query.replace(place, part);
            }
            for (query, oids) in [(PLANNED_SO, None), (&*query, Some(&*asked)), (PLANNED_AS_BEFORE, None)] {
                run(query, oids).map_err(refused)?;
            }
        }
        sync::write(&mut bytes);
        steps.push(Step::Sync);
        let catalog = catalog.map(|catalog| {
            let generation = catalog.generation();
            (catalog, generation)
        });
        let introspect = Introspect { waiting, asked, identifies, completed: 0, catalog, found: Vec::new() };
        let reply = match &introspect.waiting {
            Waiting::Call(_, job) => job.reply.as_ref().map(|reply| reply.clone_ref(py)),
            Waiting::Statements(_) => None,
        };
        let job = Job::new(Kind::Introspect(Box::new(introspect)), reply);
        let resend = Resend::Always(Prefix::default());
        Ok(Request { id: self.next_id(), bytes, steps, barrier: false, open: false, resend, job })
    }

    /// The question for the types of statements that the server has described.
    pub(crate) fn describe_types(&self, py: Python<'_>, statements: Vec<Undescribed>) -> PyResult<Request<Job>> {
        let unknown = self.options.rules.types.unknown(statements.iter().flat_map(Undescribed::oids));
        self.introspect_request(py, unknown, Waiting::Statements(statements))
    }

    pub(crate) fn server_major(&self) -> Option<u32> {
        let state = lock(&self.state);
        let version = state.conn.parameter("server_version")?;
        version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    }

    /// A call that has run may have rows of types that are not known: the question for them, or the call as it was.
    pub(crate) fn defer(&self, py: Python<'_>, id: RequestId, job: Job) -> PyResult<Deferral> {
        let unknown = if job.error.is_some() { Vec::new() } else { job.unknown_types() };
        if unknown.is_empty() {
            return Ok(Deferral::Complete(job));
        }
        self.introspect_request(py, unknown, Waiting::Call(id, Box::new(job))).map(Deferral::Asks)
    }

    /// A question has been answered, or refused.
    pub(crate) fn learn(&self, py: Python<'_>, introspect: Introspect, error: Option<PyErr>) -> PyResult<Learnt> {
        let Introspect { waiting, asked, catalog, mut found, identifies, .. } = introspect;
        let types = &self.options.rules.types;
        let error = match error {
            Some(cause) if has_no_catalog(py, &cause) => {
                if identifies {
                    types.stay_alone();
                }
                None
            }
            other => other,
        };
        if let Some((catalog, generation)) = catalog.filter(|_| error.is_none()) {
            keep(&catalog, &mut found, &asked, generation);
        }
        let refusal = error.map(|cause| explained(py, cause, &asked));
        match waiting {
            Waiting::Statements(statements) => self.describe_again(py, statements, refusal),
            Waiting::Call(id, mut job) => {
                match refusal {
                    Some(error) => job.error = Some(error),
                    None => {
                        if let Err(error) = job.resolve(py, &self.options.rules) {
                            job.error.get_or_insert(error);
                        }
                    }
                }
                let nothing = Learnt { again: None, call: None, ended: Vec::new(), refusal: None };
                Ok(match self.defer(py, id, *job)? {
                    Deferral::Asks(again) => Learnt { again: Some(again), ..nothing },
                    Deferral::Complete(job) => Learnt { call: Some((id, job)), ..nothing },
                })
            }
        }
    }

    /// Statements whose types are known now are described for good.
    fn describe_again(&self, py: Python<'_>, statements: Vec<Undescribed>, refusal: Option<PyErr>) -> PyResult<Learnt> {
        let rules = &self.options.rules;
        let (mut still, mut ended, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
        for statement in statements {
            if let Some(error) = &refusal {
                let prepared = Arc::clone(statement.describing.statement());
                drop(statement);
                ended.extend(self.fail_held(py, &prepared, |py| error.clone_ref(py)));
                continue;
            }
            let missing = rules.types.unknown(statement.oids());
            if !missing.is_empty() {
                unknown.extend(missing);
                still.push(statement);
                continue;
            }
            let plan = match &statement.plan {
                Some(plan) => Some(Arc::new(plan.again(py)?)),
                None => None,
            };
            let described = Described::new(statement.parameter_oids, plan, rules);
            statement.describing.statement().set_described(described);
        }
        let again = if still.is_empty() {
            None
        } else {
            Some(self.introspect_request(py, unknown, Waiting::Statements(still))?)
        };
        Ok(Learnt { again, call: None, ended, refusal })
    }
}

/// Puts what was found into the catalog. A type that was asked for and is not there is known to be missing.
fn keep(catalog: &Catalog, found: &mut Vec<TypeInfo>, asked: &[u32], generation: u64) {
    for &oid in asked {
        if !found.iter().any(|info| info.oid == oid) && found.len() < MOST {
            let (name, schema) = (Box::default(), Box::default());
            found.push(TypeInfo { oid, name, schema, extension: None, kind: TypeKind::Missing });
        }
    }
    catalog.learn(std::mem::take(found), generation);
}

pub(crate) fn oid_array(oids: &[u32], out: &mut Vec<u8>) {
    let mut shape = array::Shape::default();
    shape.push(array::Dimension { length: oids.len(), lower: 1 });
    // As many as `MOST`: below every limit.
    let _ = array::encode_binary_shape(&shape, false, oid::OID, out);
    for oid in oids {
        out.extend_from_slice(&4_u32.to_be_bytes());
        out.extend_from_slice(&oid.to_be_bytes());
    }
}

/// The server does not know or does not let us see what was asked for: it is no PostgreSQL, or a careful one. Then its types
/// are what we know without asking, and all others are text.
fn has_no_catalog(py: Python<'_>, cause: &PyErr) -> bool {
    let sqlstate = cause.value(py).getattr(intern!(py, "sqlstate")).and_then(|state| state.extract::<String>());
    // Syntax error or access rule violation, feature not supported, internal error.
    sqlstate.is_ok_and(|state| ["42", "0A", "XX"].iter().any(|class| state.starts_with(class)))
}

/// The server's refusal of the question, with a word on what it was about.
#[cold]
fn explained(py: Python<'_>, cause: PyErr, asked: &[u32]) -> PyErr {
    let oids: Vec<String> = asked.iter().take(5).map(u32::to_string).collect();
    let note = format!(
        "this was the driver's own question for types that the statement uses and that are not built in (oid {}): their values \
         cannot be read or written before it is answered; it is asked again when the statement is run again",
        oids.join(", ")
    );
    // A note that cannot be added is no reason to lose the error.
    let _ = cause.value(py).call_method1("add_note", (note,));
    cause
}

/// Rows that have come and whose types are not known yet.
pub(crate) struct Deferred {
    pub(crate) unknown: Vec<u32>,
    pub(crate) frames: Vec<u8>,
    /// Its statement is to be described too.
    pub(crate) parameter_oids: Option<Vec<u32>>,
}

impl Deferred {
    /// Row `index` of `frames` could not be read: the rows from there on, when that is for want of types. Else the fault.
    #[cold]
    pub(crate) fn from(fault: Fault, plan: &Plan, frames: &[u8], index: usize) -> Result<Self, Fault> {
        let unknown = plan.rules.types.take_noted();
        if unknown.is_empty() {
            return Err(fault);
        }
        let mut rest = Frames::new(frames);
        for _ in 0..index {
            rest.next();
        }
        Ok(Self { unknown, frames: rest.rest().to_vec(), parameter_oids: None })
    }
}
