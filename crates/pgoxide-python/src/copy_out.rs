//! COPY TO STDOUT: rows, or blocks of its raw data, handed out as they come.
//!
//! ```text
//!   Query, or Describe Parse Bind Execute Sync
//!         ──▶ CopyOutResponse ──▶ CopyData … ──▶ batches of about 64 KiB, read by a `Stream` ──▶ CopyDone CommandComplete
//!                                     │              └──▶ nobody takes them: nothing more is received
//!                                     └── closed early, or a value refuses: CancelRequest, what comes is discarded
//! ```
//!
//! A COPY cannot be asked for its next rows as a portal can: who does not want them yet leaves them in the socket, which
//! stops the server. So it is a barrier, as any stream is.
//!
//! Its data does not say of what types it is. Where rows are made of it, the query that was described for them is described
//! once more in front of it, in the same implicit transaction: the server refuses that if its columns have changed, and holds
//! its tables from then on, so that they cannot.

use std::sync::Arc;

use pgoxide_protocol::client::{Request, RequestId, Resend, Step};
use pgoxide_protocol::error::{EncodeError, ProtocolError};
use pgoxide_protocol::message::data_row::Values;
use pgoxide_protocol::message::{bind, describe, execute, parse, query, sync};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use smallvec::SmallVec;

use crate::convert::refuse;
use crate::copy_options::TextOptions;
use crate::error;
use crate::job::{Fault, Job, Kind, Run, Verb};
use crate::plan::Frames;
use crate::prepared::{Entry, Prepared};
use crate::session::Session;
use crate::stream::Shared;

/// Data that is handed out together: large enough that a hand-over costs nothing by the byte, small enough for the cache.
const BATCH: usize = 64 << 10;

/// "Binary Format" in the manual's page of COPY.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// Behind the last row: a tuple of -1 fields.
const TRAILER: &[u8] = &[0xff, 0xff];

/// What the data becomes.
pub(crate) enum Form {
    /// Blocks of bytes: what has been gathered of the next one.
    Blocks(Vec<u8>),
    /// Rows of a COPY in binary format. The flag: the header has come.
    Binary(Box<Run>, bool),
    /// Rows of one in text or CSV format.
    Text(Box<TextRows>),
}

/// How lines become rows.
pub(crate) struct TextRows {
    run: Box<Run>,
    options: TextOptions,
    /// The columns' names, until the line of them has come.
    header: Option<Vec<Vec<u8>>>,
    columns: usize,
    /// The row being read.
    tuple: Vec<u8>,
}

impl TextRows {
    /// The row in one CopyData; None: there is none in it.
    fn row(&mut self, py: Python<'_>, line: &[u8]) -> Result<Option<Py<PyAny>>, Fault> {
        let read = self.options.dialect.read(line, self.columns, &mut self.tuple);
        if !read.map_err(|cause| refuse(py, &cause))? {
            return Ok(None);
        }
        if let Some(names) = self.header.take() {
            if !Values::over(&self.tuple).eq(names.iter().map(|name| Some(name.as_slice()))) {
                return Err(Fault::Call(error::data_error(py, "the first line does not hold the columns' names")));
            }
            return Ok(None);
        }
        self.run.row(py, &self.tuple).map(Some)
    }
}

/// What the job of a COPY to us collects.
pub(crate) struct CopyOut {
    pub(crate) sql: String,
    pub(crate) shared: Arc<Shared>,
    form: Form,
    /// What has come whole and was not handed out.
    ready: Vec<Py<PyAny>>,
    /// Bytes that `ready` stands for.
    taken: usize,
    /// A value could not be read: what still comes is not looked at.
    failed: bool,
}

impl CopyOut {
    /// The query that was described for its rows.
    pub(crate) fn statement(&self) -> Option<&Arc<Prepared>> {
        match &self.form {
            Form::Blocks(_) => None,
            Form::Binary(run, _) => Some(&run.prepared),
            Form::Text(rows) => Some(&rows.run.prepared),
        }
    }

    /// Takes a run of CopyData frames.
    pub(crate) fn data(&mut self, py: Python<'_>, frames: &[u8]) -> Result<(), Fault> {
        if self.failed {
            return Ok(());
        }
        let result = self.take(py, frames);
        self.failed = result.is_err();
        result
    }

    fn take(&mut self, py: Python<'_>, frames: &[u8]) -> Result<(), Fault> {
        self.taken += frames.len();
        match &mut self.form {
            Form::Blocks(pending) => {
                Frames::new(frames).for_each(|data| pending.extend_from_slice(data));
                if pending.len() >= BATCH {
                    self.ready.push(PyBytes::new(py, pending).into_any().unbind());
                    pending.clear();
                }
            }
            Form::Binary(run, begun) => {
                for body in Frames::new(frames) {
                    if let Some(tuple) = binary_tuple(body, begun)? {
                        self.ready.push(run.row(py, tuple)?);
                    }
                }
            }
            Form::Text(rows) => {
                for line in Frames::new(frames) {
                    self.ready.extend(rows.row(py, line)?);
                }
            }
        }
        Ok(())
    }

    /// What is to be handed out now: enough of it, or the rest.
    pub(crate) fn batch(&mut self, py: Python<'_>, rest: bool) -> Option<Vec<Py<PyAny>>> {
        if !rest && self.taken < BATCH {
            return None;
        }
        if rest
            && let Form::Blocks(pending) = &mut self.form
            && !pending.is_empty()
        {
            self.ready.push(PyBytes::new(py, pending).into_any().unbind());
            *pending = Vec::new();
        }
        self.taken = 0;
        (!self.ready.is_empty()).then(|| std::mem::take(&mut self.ready))
    }
}

/// The tuple in one CopyData: its layout is that of a DataRow. None: there is none in it.
fn binary_tuple<'a>(body: &'a [u8], begun: &mut bool) -> Result<Option<&'a [u8]>, Fault> {
    let body = if *begun { body } else { behind_header(body)? };
    *begun = true;
    Ok((!body.is_empty() && body != TRAILER).then_some(body))
}

/// What follows the header, which comes with the first row.
fn behind_header(body: &[u8]) -> Result<&[u8], Fault> {
    let wrong = || Fault::Protocol(ProtocolError::unexpected(b'd', "the header of COPY's binary format"));
    let (flags, rest) = body.strip_prefix(SIGNATURE).and_then(<[u8]>::split_first_chunk).ok_or_else(wrong)?;
    // Bits that change how the rest is to be read; none is in use any more.
    if u32::from_be_bytes(*flags) >> 16 != 0 {
        return Err(wrong());
    }
    let (extension, rest) = rest.split_first_chunk().ok_or_else(wrong)?;
    rest.get(u32::from_be_bytes(*extension) as usize..).ok_or_else(wrong)
}

impl Session {
    /// The request that begins a COPY to us. `rows`: what makes them, from lines if there are options; without it, blocks of
    /// its data.
    pub(crate) fn copy_out_request(
        &self,
        py: Python<'_>,
        id: RequestId,
        sql: String,
        rows: Option<(Box<Run>, Option<TextOptions>)>,
        shared: Arc<Shared>,
    ) -> PyResult<Request<Job>> {
        let mut bytes = Vec::with_capacity(sql.len() + 64);
        let (form, steps) = match rows {
            None => {
                query::write(&mut bytes, sql.as_bytes()).map_err(|e| error::encode_error(py, &e))?;
                (Form::Blocks(Vec::new()), SmallVec::from_slice(&[Step::Query, Step::Sync]))
            }
            Some((run, options)) => {
                append_described(&run.prepared, &sql, &mut bytes).map_err(|e| error::encode_error(py, &e))?;
                let steps = [Step::DescribeStatement, Step::Parse, Step::Bind, Step::Execute, Step::Sync];
                (rows_form(py, run, options)?, SmallVec::from_slice(&steps))
            }
        };
        let copy = CopyOut { sql, shared: Arc::clone(&shared), form, ready: Vec::new(), taken: 0, failed: false };
        Ok(Request {
            id,
            bytes,
            steps,
            barrier: true,
            open: false,
            resend: Resend::Never,
            job: Job::new(Kind::CopyOut(Box::new(copy)), None).of_stream(shared),
        })
    }
}

/// The COPY behind a Describe of the query whose columns it has.
fn append_described(described: &Prepared, sql: &str, bytes: &mut Vec<u8>) -> Result<(), EncodeError> {
    describe::write_statement(bytes, &described.name)?;
    parse::write(bytes, b"", sql.as_bytes(), &[])?;
    bind::begin(bytes, b"", b"", &[])?.finish(bytes, &[])?;
    execute::write(bytes, b"", 0)?;
    sync::write(bytes);
    Ok(())
}

/// What makes the rows of a COPY in `format` whose columns are those of `entry`.
pub(crate) fn copy_rows(
    entry: &Entry,
    into: Option<Py<PyAny>>,
    format: &str,
    options: Option<&Bound<'_, PyDict>>,
) -> PyResult<(Box<Run>, Option<TextOptions>)> {
    let run = Box::new(Run::new(Arc::clone(&entry.0), Verb::All, into, 0));
    let options = match options {
        Some(given) if format != "binary" => {
            let options = TextOptions::new(format, given)?;
            if !options.dialect.null_is_plain() {
                return Err(error::interface_error(
                    given.py(),
                    "rows of text format need a null= that no text can look like: a backslash and none of bfnrtv\\ behind it",
                ));
            }
            Some(options)
        }
        _ => None,
    };
    Ok((run, options))
}

/// Rows, of lines when there are options for these.
fn rows_form(py: Python<'_>, mut run: Box<Run>, options: Option<TextOptions>) -> PyResult<Form> {
    let prepared = Arc::clone(&run.prepared);
    let Some(plan) = prepared.described().and_then(|described| described.plan.as_ref()) else {
        return Err(error::programming_error(py, "COPY needs a query that returns rows, and one without parameters"));
    };
    run.use_plan(py, Some(plan))?;
    let Some(options) = options else {
        run.check_formats(py, plan.result_formats())?;
        return Ok(Form::Binary(run, false));
    };
    run.text = true;
    let names = || plan.columns.iter().map(|column| column.name.clone().into_bytes()).collect();
    let header = options.header.then(names);
    Ok(Form::Text(Box::new(TextRows { run, options, header, columns: plan.columns.len(), tuple: Vec::new() })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tuples_lose_header_and_trailer() {
        let header = [SIGNATURE, &[0, 0, 0, 0], &[0, 0, 0, 2], b"xx"].concat();
        let mut begun = false;
        let first = [&header[..], &[0, 1, 0, 0, 0, 1, 7]].concat();
        assert!(matches!(binary_tuple(&first, &mut begun), Ok(Some([0, 1, 0, 0, 0, 1, 7]))));
        assert!(matches!(binary_tuple(&[0, 0], &mut begun), Ok(Some([0, 0]))));
        assert!(matches!(binary_tuple(TRAILER, &mut begun), Ok(None)));
        assert!(matches!(binary_tuple(&[&header[..], TRAILER].concat(), &mut false), Ok(None)));
    }

    #[test]
    fn other_headers_are_refused() {
        for body in [&b""[..], b"PGCOPY", &[SIGNATURE, &[0, 1, 0, 0, 0, 0, 0, 0]].concat()] {
            assert!(matches!(binary_tuple(body, &mut false), Err(Fault::Protocol(_))));
        }
        let short = [SIGNATURE, &[0, 0, 0, 0], &[0xff; 4]].concat();
        assert!(matches!(binary_tuple(&short, &mut false), Err(Fault::Protocol(_))));
    }
}
