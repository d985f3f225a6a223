//! What a described statement needs to run: an encoder per parameter, a decoder per column, and the row types its
//! rows have been asked for in. Chosen once, used for every row.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pgoxide_protocol::codes::Format;
use pgoxide_protocol::message::data_row::Values;
use pgoxide_protocol::message::row_description::RowDescription;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::convert::user::Codecs;
use crate::convert::{Decoder, Encoder, Rules};
use crate::error;
use crate::ffi::tuple::TupleBuilder;
use crate::registry::{Catalog, is_static};
use crate::row;
use crate::sync::lock;
use crate::target::Into;

/// Type byte and length before each DataRow's body.
const HEADER: usize = 5;

/// One column of a result.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) type_oid: u32,
    pub(crate) type_modifier: i32,
    /// 0 unless it is a table's column, as its number is.
    pub(crate) table_oid: u32,
    pub(crate) attnum: i16,
    pub(crate) decoder: Decoder,
}

/// The formats of a result's columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SentAs {
    /// Those their decoders ask for.
    Wanted,
    Text,
    /// Neither: they were asked for when the columns were others.
    Other,
}

/// The columns of a result and how to read them.
pub(crate) struct Plan {
    pub(crate) columns: Box<[Column]>,
    /// What to ask for in Bind; empty for no columns.
    pub(crate) formats: Box<[Format]>,
    pub(crate) row_type: Py<PyType>,
    pub(crate) rules: Arc<Rules>,
    /// No value of any column can refer to other objects.
    scalar: bool,
    /// No value is made by code of the user's, nor by such of ours as makes one container of another.
    plain: bool,
    /// A name that two columns have, where the rules forbid it.
    pub(crate) duplicate: Option<usize>,
    /// Row types asked for with `into=`, by identity: a handful for one statement.
    targets: Mutex<Vec<(Py<PyAny>, Arc<Into>)>>,
    /// The same columns by other codecs, likewise.
    coded: Mutex<Vec<(Py<PyAny>, Arc<Self>)>>,
    /// Those of its own, if it is one of these.
    codecs: Codecs,
}

impl Plan {
    /// From RowDescription.
    pub(crate) fn new(py: Python<'_>, description: &RowDescription<'_>, rules: &Arc<Rules>) -> PyResult<Self> {
        let columns: Box<[Column]> = description
            .columns
            .iter()
            .map(|column| Column {
                name: String::from_utf8_lossy(column.name).into_owned(),
                type_oid: column.type_oid,
                type_modifier: column.typmod,
                table_oid: column.table_oid,
                attnum: column.attnum,
                decoder: Decoder::of(column.type_oid, rules),
            })
            .collect();
        Self::of(py, columns, rules, &rules.codecs)
    }

    /// The same columns, read by what is known about their types now.
    pub(crate) fn again(&self, py: Python<'_>) -> PyResult<Self> {
        let columns = self.columns.iter().map(|column| Column {
            name: column.name.clone(),
            decoder: Decoder::of(column.type_oid, &self.rules),
            ..*column
        });
        Self::of(py, columns.collect(), &self.rules, &self.rules.codecs)
    }

    /// The same columns, read by the codecs of one statement; `columns` is a `pgoxide.types.Columns`.
    pub(crate) fn coded(&self, columns: &Bound<'_, PyAny>) -> PyResult<Arc<Self>> {
        /// As for row types.
        const MOST: usize = 32;
        let py = columns.py();
        if let Some((_, known)) = lock(&self.coded).iter().find(|(known, _)| known.is(columns)) {
            return Ok(Arc::clone(known));
        }
        let names: Vec<&str> = self.columns.iter().map(|column| &*column.name).collect();
        let codecs = self.rules.codecs.for_statement(columns.getattr(intern!(py, "_listed"))?.extract()?, &names)?;
        let read = self.columns.iter().map(|column| Column {
            name: column.name.clone(),
            type_oid: column.type_oid,
            decoder: Decoder::of_column(&column.name, column.type_oid, &self.rules, &codecs),
            ..*column
        });
        let made = Self::of(py, read.collect(), &self.rules, &codecs)?;
        let made = Arc::new(Self { codecs, ..made });
        let displaced = {
            let mut coded = lock(&self.coded);
            let displaced = (coded.len() >= MOST).then(|| coded.swap_remove(0));
            coded.push((columns.clone().unbind(), Arc::clone(&made)));
            displaced
        };
        drop(displaced);
        Ok(made)
    }

    /// Bind's result formats: none for no columns, one for all when they agree.
    pub(crate) fn result_formats(&self) -> &[Format] {
        match self.formats.first() {
            Some(first) if self.formats.iter().all(|format| format == first) => &self.formats[..1],
            _ => &self.formats,
        }
    }

    /// Types of columns that must be asked for before their values can be read.
    pub(crate) fn unknown_types(&self) -> Vec<u32> {
        self.rules.types.unknown(self.columns.iter().map(|column| column.type_oid))
    }

    fn of(py: Python<'_>, columns: Box<[Column]>, rules: &Arc<Rules>, codecs: &Codecs) -> PyResult<Self> {
        let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
        Ok(Self {
            formats: columns.iter().map(|column| column.decoder.format()).collect(),
            row_type: row::row_type(py, &names)?,
            scalar: columns.iter().all(|column| column.decoder.is_scalar()),
            plain: codecs.is_empty() && !rules.keep_array_bounds,
            duplicate: if rules.unique_columns { duplicate(&names) } else { None },
            columns,
            rules: Arc::clone(rules),
            targets: Mutex::new(Vec::new()),
            coded: Mutex::new(Vec::new()),
            codecs: Codecs::default(),
        })
    }

    /// How rows become what `into` asks for; decided once per statement and class.
    pub(crate) fn target(&self, into: &Bound<'_, PyAny>) -> PyResult<Arc<Into>> {
        /// Beyond this many classes for one statement, somebody makes classes in a loop.
        const MOST: usize = 32;
        let py = into.py();
        if let Some((_, known)) = lock(&self.targets).iter().find(|(class, _)| class.is(into))
            && known.is_current(py)
        {
            return Ok(Arc::clone(known));
        }
        let made = Arc::new(Into::new(into, self)?);
        let mut targets = lock(&self.targets);
        let outdated = targets.iter().position(|(class, _)| class.is(into));
        let displaced = outdated.or((targets.len() >= MOST).then_some(0)).map(|index| targets.swap_remove(index));
        targets.push((into.clone().unbind(), Arc::clone(&made)));
        drop(targets);
        drop(displaced);
        Ok(made)
    }

    /// No value of any column can refer to other objects.
    pub(crate) const fn is_scalar(&self) -> bool {
        self.scalar
    }

    /// Containers made for its values are seen by nobody before their row is handed out.
    pub(crate) const fn is_plain(&self) -> bool {
        self.plain
    }

    /// Raises for columns of one name, where the connection's rules say so.
    #[inline]
    pub(crate) fn check_names(&self, py: Python<'_>) -> PyResult<()> {
        self.duplicate.map_or(Ok(()), |index| Err(self.ambiguous(py, index)))
    }

    #[cold]
    fn ambiguous(&self, py: Python<'_>, index: usize) -> PyErr {
        let name = &self.columns[index].name;
        let first = self.columns.iter().position(|column| column.name == *name).unwrap_or(0);
        error::programming_error(
            py,
            format!(
                "columns {} and {} are both named {name:?}: give one an alias (… as other_name); a connection with \
                 duplicate_columns=\"last\" reads the last one by name and both by position",
                first + 1,
                index + 1
            ),
        )
    }

    /// For the garbage collector, called by the only owner.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.codecs.visit(visit)?;
        let Ok(targets) = self.targets.try_lock() else { return Ok(()) };
        for (into, target) in &*targets {
            visit.call(into)?;
            if Arc::strong_count(target) == 1 {
                target.visit(visit)?;
            }
        }
        let Ok(coded) = self.coded.try_lock() else { return Ok(()) };
        for (columns, plan) in &*coded {
            visit.call(columns)?;
            if Arc::strong_count(plan) == 1 {
                plan.visit(visit)?;
            }
        }
        Ok(())
    }

    pub(crate) fn forget_targets(&self) {
        let targets = std::mem::take(&mut *lock(&self.targets));
        let coded = std::mem::take(&mut *lock(&self.coded));
        drop((targets, coded));
    }

    /// How the server sends the columns of this description, compared with how they are read.
    pub(crate) fn sent_as(&self, description: &RowDescription<'_>) -> SentAs {
        let all = |matches: &dyn Fn(i16, Format) -> bool| {
            description.columns.iter().zip(&self.formats).all(|(column, format)| matches(column.format, *format))
        };
        if all(&|sent, wanted| sent == wanted.code()) {
            SentAs::Wanted
        } else if all(&|sent, _| sent == Format::Text.code()) {
            SentAs::Text
        } else {
            SentAs::Other
        }
    }

    /// One value of column `index`.
    #[inline(always)] // with `commonest`: 20 ns of a row of four integers
    pub(crate) fn value<'py>(
        &self,
        py: Python<'py>,
        index: usize,
        raw: Option<&[u8]>,
        text: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let Some(raw) = raw else { return Ok(py.None().into_bound(py)) };
        if !text && let Some(value) = self.columns[index].decoder.commonest(py, raw) {
            return Ok(value);
        }
        self.any_value(py, index, raw, text)
    }

    fn any_value<'py>(&self, py: Python<'py>, index: usize, raw: &[u8], text: bool) -> PyResult<Bound<'py, PyAny>> {
        let decoder = &self.columns[index].decoder;
        let value = if text { decoder.text(py, raw, &self.rules) } else { decoder.binary(py, raw, &self.rules) };
        value.map_err(|cause| self.blame(py, index, cause))
    }

    /// The default row, an instance of the shape's tuple subtype, of the values of one DataRow. They are checked while
    /// they are read: `None` when the message is not what it says, or not of this result.
    #[inline]
    pub(crate) fn row<'py>(
        &self,
        py: Python<'py>,
        mut values: Values<'_>,
        text: bool,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        if values.left() != self.columns.len() {
            return Ok(None);
        }
        let mut row = TupleBuilder::new(self.row_type.bind(py), self.columns.len(), self.scalar)?;
        for index in 0..self.columns.len() {
            let Some(raw) = values.next() else { return Ok(None) };
            row.push(self.value(py, index, raw, text)?);
        }
        // Not by `then`: its closure may become a function, for which the builder is written to memory and read again.
        if values.is_complete() { Ok(Some(row.finish())) } else { Ok(None) }
    }

    /// The value of a result's only column; `None` as in [`row`](Self::row).
    #[inline]
    pub(crate) fn single<'py>(
        &self,
        py: Python<'py>,
        mut values: Values<'_>,
        text: bool,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        match (values.left(), values.next()) {
            (1, Some(raw)) if values.is_complete() => self.value(py, 0, raw, text).map(Some),
            _ => Ok(None),
        }
    }

    #[cold]
    fn blame(&self, py: Python<'_>, index: usize, cause: PyErr) -> PyErr {
        let column = &self.columns[index];
        let type_name = self.rules.types.name(column.type_oid);
        let message = format!("column {:?} ({type_name}): {}", column.name, cause.value(py));
        error::said_better(py, message, cause)
    }
}

/// The first column whose name an earlier one has.
fn duplicate(names: &[String]) -> Option<usize> {
    let mut seen = HashSet::with_capacity(names.len());
    names.iter().position(|name| !seen.insert(name))
}

/// Frames of one run of DataRows, one after the other.
pub(crate) struct Frames<'p>(&'p [u8]);

impl<'p> Frames<'p> {
    /// `frames` as the protocol machine hands them out: complete, lengths checked.
    pub(crate) const fn new(frames: &'p [u8]) -> Self {
        Self(frames)
    }
}

impl<'p> Iterator for Frames<'p> {
    type Item = &'p [u8];

    #[inline]
    fn next(&mut self) -> Option<&'p [u8]> {
        let length = self.0.get(1..HEADER)?;
        let size = u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize + 1;
        let (frame, rest) = self.0.split_at_checked(size)?;
        self.0 = rest;
        frame.get(HEADER..)
    }
}

impl<'p> Frames<'p> {
    /// Those that were not taken.
    pub(crate) const fn rest(&self) -> &'p [u8] {
        self.0
    }
}

/// What a statement's description tells about it.
pub(crate) struct Described {
    /// The server has refused to run a statement by it, or it has refused an argument.
    outdated: AtomicBool,
    made: Instant,
    /// Where types were looked up that are not built in, and its generation then.
    catalog: Option<(Arc<Catalog>, u64)>,
    pub(crate) parameter_oids: Box<[u32]>,
    /// Their names, for messages.
    pub(crate) parameter_types: Box<[String]>,
    pub(crate) encoders: Box<[Encoder]>,
    /// How parameters of types that are not built in are read back: by what was known of them then.
    own_decoders: Box<[Option<Decoder>]>,
    pub(crate) parameter_formats: Box<[Format]>,
    /// `None`: it returns no rows.
    pub(crate) plan: Option<Arc<Plan>>,
}

impl Described {
    pub(crate) fn new(parameter_oids: Vec<u32>, plan: Option<Arc<Plan>>, rules: &Rules) -> Self {
        let encoders: Box<[Encoder]> = parameter_oids.iter().map(|&oid| Encoder::of(oid, rules)).collect();
        let columns = plan.iter().flat_map(|plan| plan.columns.iter().map(|column| column.type_oid));
        let catalog = rules.types.catalog_of(columns.chain(parameter_oids.iter().copied()));
        let own = |&oid| (!is_static(oid)).then(|| Decoder::of(oid, rules));
        let has_own = parameter_oids.iter().any(|oid| !is_static(*oid));
        Self {
            own_decoders: if has_own { parameter_oids.iter().map(own).collect() } else { Box::default() },
            outdated: AtomicBool::new(false),
            made: Instant::now(),
            catalog,
            parameter_types: parameter_oids.iter().map(|&oid| rules.types.name(oid)).collect(),
            parameter_formats: encoders.iter().map(|encoder| encoder.format()).collect(),
            encoders,
            parameter_oids: parameter_oids.into(),
            plan,
        }
    }

    /// The value of a parameter that was encoded by it, to be encoded by `now`. None: it may be another one than was given, when it
    /// is read by a user's codec, or is a float4, of which nobody knows how many digits were meant, or a row of other fields, or
    /// what an option makes of it cannot be undone.
    #[cold]
    pub(crate) fn read_back<'py>(
        &self,
        py: Python<'py>,
        index: usize,
        raw: &[u8],
        now: &Self,
        rules: &Rules,
    ) -> Option<Bound<'py, PyAny>> {
        let plain;
        let decoder = match self.own_decoders.get(index).and_then(Option::as_ref) {
            Some(own) => own,
            None => {
                plain = Decoder::of(*self.parameter_oids.get(index)?, rules);
                &plain
            }
        };
        let text = *self.parameter_formats.get(index)? == Format::Text;
        let same = self.parameter_oids.get(index) == now.parameter_oids.get(index);
        let exact = same || decoder.stands_for(now.encoders.get(index)?);
        if !exact || !decoder.tells_exactly(raw, text) {
            return None;
        }
        let value = if text { decoder.text(py, raw, rules) } else { decoder.binary(py, raw, rules) }.ok()?;
        let mut again = Vec::with_capacity(raw.len());
        self.encoders.get(index)?.encode(&value, rules, &mut again).ok()?;
        (again == raw).then_some(value)
    }

    #[inline]
    pub(crate) fn is_outdated(&self) -> bool {
        self.outdated.load(Ordering::Relaxed)
            || self.catalog.as_ref().is_some_and(|(catalog, generation)| catalog.generation() != *generation)
    }

    /// Types that are not built in are part of it.
    pub(crate) const fn has_own_types(&self) -> bool {
        self.catalog.is_some()
    }

    pub(crate) fn set_outdated(&self) {
        self.outdated.store(true, Ordering::Relaxed);
    }

    /// An argument does not fit it. Perhaps it is older than a change of the column that the parameter is for, which the server,
    /// never asked, cannot tell: whoever runs the statement next has it described anew.
    #[cold]
    pub(crate) fn doubt(&self) {
        /// A thousand bad arguments in a row must not cost a thousand descriptions.
        const TRUSTED: Duration = Duration::from_millis(100);
        if self.made.elapsed() >= TRUSTED {
            self.set_outdated();
        }
    }

    /// Bind's result formats: none for no columns, one for all when they agree.
    pub(crate) fn result_formats(&self) -> &[Format] {
        self.plan.as_ref().map_or(&[], |plan| plan.result_formats())
    }
}
