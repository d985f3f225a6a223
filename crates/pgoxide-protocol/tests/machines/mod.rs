//! Both machines, driven by bytes from a stranger, with everything observable about them. Shared by the property tests
//! of this crate (`hostile.rs`) and the libFuzzer targets (`fuzz/`), so that both look at the same things.
//!
//! | | |
//! | --- | --- |
//! | [`Script`] | what the client asks, which calls it cancels when, how a server would answer |
//! | [`record`] | a whole valid conversation: the bytes of both sides |
//! | [`client`], [`server`] | one machine, fed with bytes in pieces: what it saw, said, and how it ended |
//! | [`fuzz_client`], [`fuzz_server`] | input of a fuzzer: the properties that hold for any bytes |
//!
//! A machine reacts to events only, never to how its bytes were cut; so whatever the pieces, the observations are equal.

#![allow(dead_code, reason = "each user needs a part")]
#![allow(unreachable_pub, reason = "included as a module in several crates")]

use pgoxide_protocol::client::{
    CancelDelivered, CancelOutcome, Commands, Connection as Client, CopyDirection, Event, LevelId, Limits, Prefix,
    Request, RequestId, Resend, Standing, Step,
};
use pgoxide_protocol::codes::{Format, TransactionStatus};
use pgoxide_protocol::error::{EncodeError, ProtocolError};
use pgoxide_protocol::message::{
    Bind, Column, CopyDone, close, copy_data, describe, execute, flush, parse, query, sync, terminate,
};
use pgoxide_protocol::server::{self, Connection as Server};

/// The largest message either machine takes here: small, so that a fuzzer reaches it.
pub const MESSAGE_LIMIT: usize = 1 << 16;

/// Bytes of reported settings that a client may hold at most, whatever it is told.
pub const PARAMETERS_LIMIT: usize = 1 << 20;

/// The statement that is a COPY FROM STDIN.
const COPY: &[u8] = b"copy";

const COLUMN: &[Column<'static>] =
    &[Column { name: b"a", table_oid: 0, attnum: 0, type_oid: 25, typlen: -1, typmod: -1, format: 0 }];

/// What happens in a conversation beside the bytes.
#[derive(Clone, Debug)]
pub struct Script {
    /// One request each; see [`asked`].
    pub requests: Vec<u8>,
    /// Numbers of events at which the request at the head is cancelled.
    pub cancels: Vec<u8>,
    /// Decides how the server answers.
    pub answers: u64,
}

/// Pseudo-random choices: the same for the same script, however its bytes are cut. SplitMix64.
#[derive(Clone, Debug)]
pub struct Choices(pub u64);

impl Choices {
    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

// --- What the client asks ----------------------------------------------------------------------

/// The kinds of request the driver makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Parse, Describe.
    Prepare,
    /// Bind, Execute of a described statement.
    Run,
    /// Parse, Describe, Bind, Execute, Close.
    OneFlight,
    /// Simple protocol.
    Script,
    /// An open portal, read in pieces; its Sync comes last.
    Stream,
    /// COPY FROM STDIN with data.
    CopyIn,
    /// One statement many times: opens with a Close, goes on when that is answered.
    Many,
    /// BEGIN.
    Begin,
    /// A plain run of a COPY, whose data nobody has. Nothing but Sync is behind it.
    Refused,
}

const KINDS: [Kind; 9] = [
    Kind::Prepare,
    Kind::Run,
    Kind::OneFlight,
    Kind::Script,
    Kind::Stream,
    Kind::CopyIn,
    Kind::Many,
    Kind::Begin,
    Kind::Refused,
];

/// What the driver ties to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    id: RequestId,
    kind: Kind,
}

fn bind(out: &mut Vec<u8>) {
    bind_of(out, b"s");
}

fn bind_of(out: &mut Vec<u8>, statement: &[u8]) {
    let values = [Some(&b"value"[..]), None];
    let bind = Bind {
        portal: b"",
        statement,
        parameter_formats: (&[Format::Text]).into(),
        parameters: (&values).into(),
        result_formats: (&[Format::Binary]).into(),
    };
    bind.encode(out).unwrap();
}

/// The request that byte `choice` stands for.
fn asked(id: RequestId, choice: u8) -> Request<Job> {
    let kind = KINDS[usize::from(choice) % KINDS.len()];
    let mut bytes = Vec::new();
    let out = &mut bytes;
    let steps: &[Step] = match kind {
        Kind::Prepare => {
            parse::write(out, b"s", b"select $1", &[25]).unwrap();
            describe::write_statement(out, b"s").unwrap();
            &[Step::Parse, Step::DescribeStatement, Step::Sync]
        }
        Kind::Run => {
            bind(out);
            execute::write(out, b"", 0).unwrap();
            &[Step::Bind, Step::Execute, Step::Sync]
        }
        Kind::Refused => {
            bind_of(out, COPY);
            execute::write(out, b"", 0).unwrap();
            &[Step::Bind, Step::Execute, Step::Sync]
        }
        Kind::OneFlight | Kind::Begin => {
            parse::write(out, b"o", b"show", &[]).unwrap();
            describe::write_statement(out, b"o").unwrap();
            bind(out);
            execute::write(out, b"", 0).unwrap();
            close::write_statement(out, b"o").unwrap();
            &[Step::Parse, Step::DescribeStatement, Step::Bind, Step::Execute, Step::Close, Step::Sync]
        }
        Kind::Script => {
            query::write(out, b"select; select").unwrap();
            &[Step::Query, Step::Sync]
        }
        Kind::CopyIn => {
            query::write(out, b"copy").unwrap();
            &[Step::Query, Step::Sync]
        }
        Kind::Stream => {
            bind(out);
            execute::write(out, b"", 2).unwrap();
            flush::write(out);
            &[Step::Bind, Step::Execute]
        }
        Kind::Many => {
            close::write_portal(out, b"").unwrap();
            flush::write(out);
            &[Step::Close]
        }
    };
    let open = matches!(kind, Kind::Stream | Kind::Many);
    if steps.last() == Some(&Step::Sync) && !matches!(kind, Kind::Script | Kind::CopyIn) {
        sync::write(out);
    }
    let resend = match kind {
        Kind::Run => Resend::Once(Prefix::default()),
        Kind::OneFlight => {
            let mut prefix = Prefix { bytes: Vec::new(), steps: [Step::Close].into_iter().collect() };
            close::write_statement(&mut prefix.bytes, b"o").unwrap();
            Resend::Once(prefix)
        }
        _ => Resend::Never,
    };
    let barrier = open || matches!(kind, Kind::Script | Kind::CopyIn | Kind::Refused) || choice >= 240;
    Request { id, bytes, steps: steps.into(), barrier, open, resend, job: Job { id, kind } }
}

/// A Sync in the place of `request`: what undoes the transaction block goes in front of it.
fn undoing(request: Request<Job>) -> Request<Job> {
    let bytes = written(sync::write);
    let steps = [Step::Sync].into_iter().collect();
    let job = Job { kind: Kind::Run, ..request.job };
    Request { bytes, steps, barrier: true, open: false, resend: Resend::Always(Prefix::default()), job, ..request }
}

// --- The client --------------------------------------------------------------------------------

/// Everything observable about a machine's conversation.
#[derive(Debug, PartialEq, Eq)]
pub struct Observed<E> {
    /// Events, without their borrows. Rows that lie together are one.
    pub events: Vec<E>,
    /// What it sent.
    pub sent: Vec<u8>,
    /// How it ended.
    pub end: Result<(), ProtocolError>,
}

/// An event of the client, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Rows, or data of a COPY: how many, and their bytes.
    Rows(usize, Vec<u8>),
    /// A request is through.
    Finished(RequestId, bool),
    /// A request came back unwritten.
    Stranded(RequestId),
    /// Anything else, as its `Debug` says.
    Other(String),
}

struct Driver {
    client: Client<Job>,
    script: Script,
    submitted: usize,
    /// Events, rows apart.
    count: usize,
    /// A cancel on its way, and the number of events until its side connection ends.
    cancelling: Option<(RequestId, usize)>,
    /// Each request comes back exactly once.
    over: Vec<RequestId>,
    sent: Vec<u8>,
    seen: Vec<Seen>,
}

impl Driver {
    fn new(script: Script) -> Self {
        let mut client = Client::new(Limits { message: MESSAGE_LIMIT, send_buffer: 1 << 12 });
        client.start(&[(b"user", b"u")]).unwrap();
        let mut driver = Driver {
            client,
            script,
            submitted: 0,
            count: 0,
            cancelling: None,
            over: Vec::new(),
            sent: Vec::new(),
            seen: Vec::new(),
        };
        driver.drain();
        driver
    }

    /// All that the machine wants sent.
    fn drain(&mut self) {
        loop {
            self.client.pump();
            let bytes = self.client.outgoing();
            if bytes.is_empty() {
                return;
            }
            let count = bytes.len();
            self.sent.extend_from_slice(bytes);
            self.client.sent(count);
        }
    }

    fn read(&mut self, page: &[u8], used: &mut usize) -> Result<(), ProtocolError> {
        while let Some((seen, reaction)) = {
            let running = self.client.running_id();
            let event = self.client.next_event(page, used)?;
            event.map(|event| (see(&event), Reaction::to(&event, running)))
        } {
            self.note(seen);
            self.react(reaction);
            self.take_stranded();
            self.drain();
            self.check();
        }
        Ok(())
    }

    fn note(&mut self, seen: Seen) {
        if let (Some(Seen::Rows(count, frames)), Seen::Rows(more, rest)) = (self.seen.last_mut(), &seen) {
            *count += more;
            frames.extend(rest);
            return;
        }
        if let Seen::Finished(id, _) = seen {
            self.over.push(id);
        }
        self.seen.push(seen);
    }

    fn react(&mut self, reaction: Reaction) {
        if reaction == Reaction::Rows {
            return; // How many come at a time depends on the pieces: nothing may depend on that.
        }
        self.count += 1;
        let head = self.client.running_id();
        let kind = self.client.running().map(|job| job.kind);
        match (reaction, head, kind) {
            (Reaction::Started, ..) => self.submit_all(),
            (Reaction::Suspended, Some(id), Some(Kind::Stream)) => {
                let more = written(|out| {
                    execute::write(out, b"", 2).unwrap();
                    flush::write(out);
                });
                self.client.extend(id, &more, &[Step::Execute]);
            }
            (Reaction::Complete, Some(id), Some(Kind::Stream)) => {
                let end = written(|out| {
                    close::write_portal(out, b"").unwrap();
                    sync::write(out);
                });
                self.client.extend(id, &end, &[Step::Close, Step::Sync]);
            }
            (Reaction::Closed, Some(id), Some(Kind::Many)) if self.client.is_open(id) => {
                let block = written(|out| {
                    for _ in 0..2 {
                        bind(out);
                        execute::write(out, b"", 1).unwrap();
                    }
                    sync::write(out);
                });
                self.client.extend(id, &block, &[Step::Bind, Step::Execute, Step::Bind, Step::Execute, Step::Sync]);
            }
            (Reaction::CopyIn, Some(id), Some(Kind::CopyIn)) => {
                let data = written(|out| {
                    copy_data::write(out, b"1\n").unwrap();
                    CopyDone.encode(out).unwrap();
                });
                assert!(self.client.copy_bytes(id, &data));
            }
            (Reaction::CopyIn, ..) => self.client.refuse_copy(b"no data").unwrap(),
            _ => {}
        }
        self.cancel(head);
    }

    /// Some requests run inside a transaction block, some undo it; the next one inside then enters another.
    fn submit_all(&mut self) {
        let mut level = None;
        for (id, choice) in self.script.requests.clone().into_iter().enumerate() {
            let (id, request) = (id as RequestId, asked(id as RequestId, choice));
            let simple = matches!(request.job.kind, Kind::Script | Kind::CopyIn);
            match (level, choice & 0x60) {
                (Some(left), 0x60) => {
                    self.client.submit_at(undoing(request), Standing::Undoes(left));
                    level = None;
                }
                // In front of the simple protocol nothing may travel.
                (_, 0x40 | 0x60) if !simple => {
                    let level = *level.get_or_insert_with(|| self.enter(id));
                    self.client.submit_at(request, Standing::Inside(level + id % 2));
                }
                _ => self.client.submit(request),
            }
        }
        self.submitted = self.script.requests.len();
    }

    /// A transaction, and a savepoint inside it.
    fn enter(&mut self, id: RequestId) -> LevelId {
        let level = 2 * id;
        for (depth, [open, undo]) in [["begin", "rollback"], ["savepoint a", "rollback to a"]].into_iter().enumerate() {
            let (open, undo) = (Commands::new(&[open]).unwrap(), Commands::new(&[undo]).unwrap());
            self.client.enter(level + depth as LevelId, depth, open, undo);
        }
        level
    }

    /// What comes back unwritten, since the transaction that it was for has ended.
    fn take_stranded(&mut self) {
        for (id, job) in self.client.take_stranded() {
            assert_eq!(id, job.id);
            self.over.push(id);
            self.seen.push(Seen::Stranded(id));
        }
    }

    /// Begins a cancel when the script says so; lets its side connection end two events later.
    fn cancel(&mut self, head: Option<RequestId>) {
        if let Some((id, left)) = self.cancelling {
            if left > 0 {
                self.cancelling = Some((id, left - 1));
            } else {
                self.cancelling = match self.client.cancel_delivered(id) {
                    CancelDelivered::StillRunning => self.client.cancel_again(id).then_some((id, 2)),
                    CancelDelivered::Next(next) => Some((next, 2)),
                    CancelDelivered::Closed => None,
                };
            }
        }
        if !self.script.cancels.iter().any(|at| usize::from(*at) == self.count) {
            return;
        }
        // The head, or one behind it.
        let Some(id) = head.map(|id| id + (self.count % 2) as RequestId) else { return };
        match self.client.cancel(id) {
            CancelOutcome::Dropped(job) => self.over.push(job.id),
            CancelOutcome::Running => {
                assert!(self.cancelling.is_none(), "two cancels at a time");
                self.cancelling = Some((id, 2));
            }
            CancelOutcome::Discarding | CancelOutcome::Unknown => {}
        }
    }

    /// What a stranger may make the client hold.
    fn check(&self) {
        let held: usize = self.client.parameters().map(|(name, value)| name.len() + value.len()).sum();
        assert!(held <= PARAMETERS_LIMIT + MESSAGE_LIMIT, "{held} bytes of settings");
        assert!(self.client.unfinished() <= self.submitted);
        assert!(self.client.held() <= self.submitted * 1024);
        assert!(self.client.cancel_key().is_none_or(|key| key.secret.len() <= 256));
    }

    fn finish(mut self, end: Result<(), ProtocolError>) -> Observed<Seen> {
        // Each event is worth a bounded answer.
        assert!(self.sent.len() <= 64 + self.submitted * 1024 + self.count * 256, "{} bytes sent", self.sent.len());
        self.over.extend(self.client.abort().into_iter().map(|(id, job, _)| {
            assert_eq!(id, job.id);
            id
        }));
        self.over.sort_unstable();
        assert!(self.over.iter().copied().eq(0..self.submitted as RequestId), "each comes back once: {:?}", self.over);
        Observed { events: self.seen, sent: self.sent, end }
    }
}

/// What an event makes the driver do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reaction {
    /// Rows, or data of a COPY.
    Rows,
    Started,
    Suspended,
    Complete,
    Closed,
    CopyIn,
    None,
}

impl Reaction {
    fn to(event: &Event<'_, Job>, running: Option<RequestId>) -> Self {
        match event {
            Event::Rows { .. } | Event::CopyData { .. } => Self::Rows,
            Event::Started => Self::Started,
            Event::Suspended => Self::Suspended,
            Event::Complete(_) | Event::Empty => Self::Complete,
            Event::Closed => Self::Closed,
            Event::CopyStarted(CopyDirection::In) => Self::CopyIn,
            Event::Finished { id, job, .. } => {
                assert_eq!(Some(*id), running, "only the head finishes");
                assert_eq!(*id, job.id);
                Self::None
            }
            _ => Self::None,
        }
    }
}

fn see(event: &Event<'_, Job>) -> Seen {
    match event {
        Event::Rows { frames, count } | Event::CopyData { frames, count } => Seen::Rows(*count, frames.to_vec()),
        Event::Finished { id, abandoned, .. } => Seen::Finished(*id, *abandoned),
        other => Seen::Other(format!("{other:?}")),
    }
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

/// The client that follows `script`, fed with `pieces` as a receive page would hold them.
pub fn client<'a>(script: &Script, pieces: impl IntoIterator<Item = &'a [u8]>) -> Observed<Seen> {
    let mut driver = Driver::new(script.clone());
    let mut page = Vec::new();
    for piece in pieces {
        page.extend_from_slice(piece);
        let mut used = 0;
        let result = driver.read(&page, &mut used);
        assert!(used <= page.len());
        if let Err(error) = result {
            return driver.finish(Err(error));
        }
        page.drain(..used);
        assert!(page.len() < MESSAGE_LIMIT + 5, "a message above the limit is waited for");
    }
    driver.finish(Ok(()))
}

// --- The server --------------------------------------------------------------------------------

struct Answering {
    server: Server,
    choices: Choices,
    /// A COPY that a Query began ends with ReadyForQuery.
    query_copy: bool,
    /// The bound statement is a COPY.
    copying: bool,
    /// The bound statement is one of a transaction's commands: they are the unnamed ones, and give no rows.
    commanding: bool,
    seen: Vec<server::Request>,
    sent: Vec<u8>,
}

impl Answering {
    fn new(answers: u64) -> Self {
        Answering {
            server: Server::with_message_limit(MESSAGE_LIMIT),
            choices: Choices(answers),
            query_copy: false,
            copying: false,
            commanding: false,
            seen: Vec::new(),
            sent: Vec::new(),
        }
    }

    fn receive(&mut self, bytes: &[u8]) -> Result<(), ProtocolError> {
        let result = self.server.receive(bytes).and_then(|()| self.serve());
        // What was answered before the end is sent all the same.
        let out = self.server.take_output();
        self.sent.extend(out);
        result
    }

    fn serve(&mut self) -> Result<(), ProtocolError> {
        while let Some(request) = self.server.poll_event()? {
            self.noise();
            // Not every answer is due when a stranger asks in an odd order; that it is not is an answer, too.
            if let Err(EncodeError::OutOfTurn { .. }) = self.answer(&request) {
                let _ = self.server.error(b"08P01", b"odd");
            }
            self.noise();
            self.seen.push(request);
        }
        Ok(())
    }

    /// Now and then one of the messages that may come at any time.
    fn noise(&mut self) {
        let _ = match self.choices.below(12) {
            0 => self.server.notice(b"00000", b"look"),
            1 => self.server.notification(3, b"chan", b"load"),
            2 => self.server.parameter_status(b"TimeZone", b"UTC"),
            _ => Ok(()),
        };
    }

    fn status(&mut self) -> TransactionStatus {
        [TransactionStatus::Idle, TransactionStatus::InTransaction, TransactionStatus::Failed]
            [self.choices.below(3) as usize]
    }

    fn answer(&mut self, request: &server::Request) -> Result<(), EncodeError> {
        use server::Request as R;
        let status = self.status();
        let fails = self.choices.below(8) == 0;
        let cancelled = self.choices.below(2) == 0;
        let server = &mut self.server;
        match request {
            R::Startup { .. } => {
                server.authentication_ok()?;
                server.parameter_status(b"client_encoding", b"UTF8")?;
                server.backend_key_data(7, b"key!")?;
                server.ready_for_query(TransactionStatus::Idle)
            }
            R::Cancel { .. } | R::Terminate | R::Flush | R::CopyData(_) => Ok(()),
            R::Sync => server.ready_for_query(status),
            _ if fails => {
                server.error(if cancelled { b"57014" } else { b"22012" }, b"no")?;
                match request {
                    R::Query(_) | R::FunctionCall { .. } => server.ready_for_query(status),
                    R::CopyDone | R::CopyFail(_) => self.end_copy(status),
                    _ => Ok(()),
                }
            }
            R::Query(sql) if sql.starts_with(b"copy") => {
                self.query_copy = true;
                server.copy_in_response(Format::Text, &[Format::Text])
            }
            R::Query(_) => {
                let results = self.choices.below(3);
                if results == 0 {
                    self.server.empty_query_response()?;
                }
                for _ in 0..results {
                    self.server.row_description(COLUMN)?;
                    self.rows()?;
                    self.server.command_complete(b"SELECT 1")?;
                }
                self.server.ready_for_query(status)
            }
            R::Parse { .. } => server.parse_complete(),
            R::Bind { statement, .. } => {
                self.copying = statement == COPY;
                self.commanding = statement.is_empty();
                server.bind_complete()
            }
            R::DescribeStatement(_) => {
                server.parameter_description(&[25])?;
                if status == TransactionStatus::Idle { server.no_data() } else { server.row_description(COLUMN) }
            }
            R::DescribePortal(_) => server.no_data(),
            R::Execute { max_rows, .. } => self.execute(*max_rows),
            R::CloseStatement(_) | R::ClosePortal(_) => server.close_complete(),
            R::FunctionCall { .. } => {
                server.function_call_response(None)?;
                server.ready_for_query(status)
            }
            R::CopyDone => {
                server.command_complete(b"COPY 1")?;
                self.end_copy(status)
            }
            R::CopyFail(_) => {
                server.error(b"57014", b"COPY from stdin failed")?;
                self.end_copy(status)
            }
        }
    }

    fn execute(&mut self, max_rows: u32) -> Result<(), EncodeError> {
        if self.commanding {
            return self.server.command_complete(b"BEGIN");
        }
        match self.choices.below(8) {
            0 => self.server.empty_query_response(),
            _ if self.copying => self.server.copy_in_response(Format::Binary, &[]),
            2 => {
                self.server.copy_out_response(Format::Binary, &[])?;
                self.server.copy_data(b"data")?;
                self.server.copy_done()?;
                self.server.command_complete(b"COPY 1")
            }
            3 | 4 if max_rows > 0 => {
                self.rows()?;
                self.server.portal_suspended()
            }
            _ => {
                self.rows()?;
                self.server.command_complete(b"SELECT 2")
            }
        }
    }

    fn rows(&mut self) -> Result<(), EncodeError> {
        for _ in 0..self.choices.below(4) {
            self.server.data_row(&[Some(b"one"), None])?;
        }
        Ok(())
    }

    fn end_copy(&mut self, status: TransactionStatus) -> Result<(), EncodeError> {
        if std::mem::take(&mut self.query_copy) { self.server.ready_for_query(status) } else { Ok(()) }
    }
}

/// The server that answers as `answers` decides, fed with `pieces`.
pub fn server<'a>(answers: u64, pieces: impl IntoIterator<Item = &'a [u8]>) -> Observed<server::Request> {
    let mut answering = Answering::new(answers);
    let (mut end, mut received) = (Ok(()), 0);
    for piece in pieces {
        // What comes after the end is nobody's any more.
        if answering.server.is_closed() || end.is_err() {
            break;
        }
        received += piece.len();
        end = answering.receive(piece);
        assert!(answering.server.buffered() <= received);
    }
    // Every message of at least 4 bytes gets a bounded answer.
    assert!(answering.sent.len() <= 1024 + received * 256, "{} bytes for {received}", answering.sent.len());
    Observed { events: answering.seen, sent: answering.sent, end }
}

// --- Both --------------------------------------------------------------------------------------

/// What each side says in a whole, valid conversation: backend's bytes, frontend's bytes.
pub fn record(script: &Script) -> (Vec<u8>, Vec<u8>) {
    let (mut driver, mut answering) = (Driver::new(script.clone()), Answering::new(script.answers));
    let (mut told, mut heard) = (0, 0);
    for _ in 0..10_000 {
        if told == driver.sent.len() && heard == answering.sent.len() {
            terminate::write(&mut driver.sent);
            return (answering.sent, driver.sent);
        }
        let frontend = driver.sent[told..].to_vec();
        told = driver.sent.len();
        answering.receive(&frontend).unwrap();
        let backend = answering.sent[heard..].to_vec();
        heard = answering.sent.len();
        let mut used = 0;
        driver.read(&backend, &mut used).unwrap();
        assert_eq!(used, backend.len(), "a server sends whole messages");
    }
    panic!("the conversation does not end: {script:?}");
}

/// Pieces of the given sizes, again and again.
pub fn pieces<'a>(bytes: &'a [u8], sizes: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = bytes;
    let mut sizes = sizes.iter().map(|size| usize::from(*size).max(1)).cycle();
    std::iter::from_fn(move || {
        let size = sizes.next().unwrap_or(rest.len()).min(rest.len());
        let (piece, tail) = rest.split_at(size);
        rest = tail;
        (!piece.is_empty()).then_some(piece)
    })
}

// --- Input of a fuzzer -------------------------------------------------------------------------

/// Takes a fuzzer's bytes apart: a script, sizes of pieces, and the stream.
fn apart(data: &[u8]) -> Option<(Script, [u8; 4], &[u8])> {
    let (head, rest) = data.split_first_chunk::<16>()?;
    let requests = usize::from(head[0] % 8);
    let script = Script {
        requests: head[1..1 + requests].to_vec(),
        cancels: head[9..11].to_vec(),
        answers: u64::from(head[11]),
    };
    Some((script, [head[12], head[13], head[14], head[15]], rest))
}

/// The inverse of what the fuzzer's bytes are taken for: seeds of a corpus.
pub fn together(script: &Script, sizes: [u8; 4], stream: &[u8]) -> Vec<u8> {
    let requests = &script.requests[..script.requests.len().min(7)];
    let mut data = vec![0; 12];
    data[0] = requests.len() as u8;
    data[1..=requests.len()].copy_from_slice(requests);
    for (at, cancel) in script.cancels.iter().take(2).enumerate() {
        data[9 + at] = *cancel;
    }
    data[11] = script.answers as u8;
    data.extend(sizes);
    data.extend(stream);
    data
}

/// Backend messages into the client: no panic, bounded memory, the same events whatever the pieces.
pub fn fuzz_client(data: &[u8]) {
    let Some((script, sizes, stream)) = apart(data) else { return };
    let whole = client(&script, [stream]);
    assert_eq!(client(&script, pieces(stream, &sizes)), whole);
    assert_eq!(client(&script, stream.chunks(1)), whole);
}

/// Frontend messages into the server: likewise.
pub fn fuzz_server(data: &[u8]) {
    let Some((script, sizes, stream)) = apart(data) else { return };
    let whole = server(script.answers, [stream]);
    assert_eq!(server(script.answers, pieces(stream, &sizes)), whole);
    assert_eq!(server(script.answers, stream.chunks(1)), whole);
}
