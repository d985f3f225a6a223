//! The client's machine: whole conversations against our server's machine in memory, any split of the bytes, and hostile
//! peers. Cancelling: `cancel.rs`.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![allow(missing_docs, reason = "tests")]

use std::collections::BTreeMap;

use pgoxide_protocol::client::{
    CancelOutcome, Connection, CopyDirection, Event, Failure, Limits, Request, RequestId, Resend, Step,
};
use pgoxide_protocol::codes::{Format, TransactionStatus};
use pgoxide_protocol::error::ProtocolError;
use pgoxide_protocol::message::{Bind, Column, close, copy_data, describe, execute, parse, query, sync};
use pgoxide_protocol::server;
use proptest::prelude::*;

type Client = Connection<u64>;

const IDLE: TransactionStatus = TransactionStatus::Idle;

// --- Requests ----------------------------------------------------------------------------------

fn request(id: RequestId, write: impl FnOnce(&mut Vec<u8>), steps: &[Step]) -> Request<u64> {
    let mut bytes = Vec::new();
    write(&mut bytes);
    sync::write(&mut bytes);
    let steps = steps.iter().copied().chain([Step::Sync]).collect();
    Request { id, bytes, steps, barrier: false, open: false, resend: Resend::Never, job: id }
}

fn bind(out: &mut Vec<u8>, statement: &[u8], values: &[Option<&[u8]>]) {
    let bind = Bind {
        portal: b"",
        statement,
        parameter_formats: (&[Format::Text]).into(),
        parameters: values.into(),
        result_formats: (&[Format::Binary]).into(),
    };
    bind.encode(out).unwrap();
}

fn prepare(id: RequestId, sql: &[u8]) -> Request<u64> {
    let write = |out: &mut Vec<u8>| {
        parse::write(out, b"s", sql, &[]).unwrap();
        describe::write_statement(out, b"s").unwrap();
    };
    request(id, write, &[Step::Parse, Step::DescribeStatement])
}

fn run(id: RequestId, value: &[u8]) -> Request<u64> {
    let write = |out: &mut Vec<u8>| {
        bind(out, b"s", &[Some(value)]);
        execute::write(out, b"", 0).unwrap();
    };
    request(id, write, &[Step::Bind, Step::Execute])
}

/// Parse, Describe, Bind, Execute, Close: everything in one flight.
fn one_flight(id: RequestId, sql: &[u8]) -> Request<u64> {
    let write = |out: &mut Vec<u8>| {
        parse::write(out, b"o", sql, &[]).unwrap();
        describe::write_statement(out, b"o").unwrap();
        bind(out, b"o", &[]);
        execute::write(out, b"", 0).unwrap();
        close::write_statement(out, b"o").unwrap();
    };
    request(id, write, &[Step::Parse, Step::DescribeStatement, Step::Bind, Step::Execute, Step::Close])
}

fn script(id: RequestId, sql: &[u8]) -> Request<u64> {
    let mut bytes = Vec::new();
    query::write(&mut bytes, sql).unwrap();
    let steps = [Step::Query, Step::Sync].into_iter().collect();
    Request { id, bytes, steps, barrier: true, open: false, resend: Resend::Never, job: id }
}

// --- A server behind the server's machine ------------------------------------------------------

/// Answers like a simple server. Texts that begin with `error`, `copy`, `empty` or `none` mean what they say.
#[derive(Default)]
struct Backend {
    machine: server::Connection,
    statements: BTreeMap<Vec<u8>, Vec<u8>>,
    portal: Vec<u8>,
    copied: Vec<u8>,
    query_copy: bool,
    noisy: bool,
    asked: Vec<server::Request>,
}

const COLUMN: &[Column<'static>] =
    &[Column { name: b"a", table_oid: 0, attnum: 0, type_oid: 25, typlen: -1, typmod: -1, format: 0 }];

impl Backend {
    fn receive(&mut self, bytes: &[u8]) {
        self.machine.receive(bytes).unwrap();
        while let Some(asked) = self.machine.poll_event().unwrap() {
            self.noise();
            self.answer(&asked);
            self.noise();
            self.asked.push(asked);
        }
    }

    /// All three asynchronous messages, where the session allows them.
    fn noise(&mut self) {
        if self.noisy {
            let _ = self.machine.notice(b"00000", b"look");
            let _ = self.machine.notification(3, b"chan", b"load");
            let _ = self.machine.parameter_status(b"TimeZone", b"UTC");
        }
    }

    fn result(&mut self, sql: &[u8]) -> bool {
        let machine = &mut self.machine;
        if sql.starts_with(b"error") {
            machine.error(b"42601", b"no").unwrap();
            return false;
        }
        if sql.starts_with(b"copy") {
            machine.copy_in_response(Format::Text, &[Format::Text]).unwrap();
            return false;
        }
        if sql.starts_with(b"empty") {
            machine.empty_query_response().unwrap();
            return true;
        }
        for _ in 0..3 {
            self.noise();
            self.machine.data_row(&[Some(sql)]).unwrap();
        }
        self.noise();
        self.machine.command_complete(b"SELECT 3").unwrap();
        true
    }

    fn answer(&mut self, asked: &server::Request) {
        use server::Request as R;
        match asked {
            R::Startup { .. } => {
                self.machine.authentication_ok().unwrap();
                self.noise();
                self.machine.backend_key_data(7, b"key!").unwrap();
                self.noise();
                self.machine.ready_for_query(IDLE).unwrap();
            }
            R::Query(sql) => {
                self.query_copy = sql.starts_with(b"copy");
                if !sql.starts_with(b"error") && !self.query_copy && !sql.starts_with(b"empty") {
                    self.machine.row_description(COLUMN).unwrap();
                }
                self.result(sql);
                if !self.query_copy {
                    self.noise();
                    self.machine.ready_for_query(IDLE).unwrap();
                }
            }
            R::Parse { name, sql, .. } => {
                if sql.starts_with(b"error at parse") {
                    self.machine.error(b"42601", b"no").unwrap();
                } else {
                    self.statements.insert(name.clone(), sql.clone());
                    self.machine.parse_complete().unwrap();
                }
            }
            R::DescribeStatement(_) => {
                self.machine.parameter_description(&[25]).unwrap();
                self.noise();
                self.machine.row_description(COLUMN).unwrap();
            }
            R::DescribePortal(_) => self.machine.no_data().unwrap(),
            R::Bind { statement, values, .. } => {
                self.portal = match values.first() {
                    Some(Some(value)) => value.clone(),
                    _ => self.statements[statement].clone(),
                };
                self.machine.bind_complete().unwrap();
            }
            R::Execute { .. } => {
                let sql = self.portal.clone();
                self.result(&sql);
            }
            R::CloseStatement(_) | R::ClosePortal(_) => self.machine.close_complete().unwrap(),
            R::Sync => self.machine.ready_for_query(IDLE).unwrap(),
            R::CopyData(data) => self.copied.extend(data),
            R::CopyDone | R::CopyFail(_) => {
                if matches!(asked, R::CopyDone) {
                    self.machine.command_complete(b"COPY 1").unwrap();
                } else {
                    self.machine.error(b"57014", b"COPY from stdin failed").unwrap();
                }
                if self.query_copy {
                    self.query_copy = false;
                    self.machine.ready_for_query(IDLE).unwrap();
                }
            }
            R::Cancel { .. } | R::Terminate | R::Flush | R::FunctionCall { .. } => {}
        }
    }
}

// --- Events, owned -----------------------------------------------------------------------------

/// An event without its borrow; rows and copied data merged, since how many lie together depends on the reads.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Rows(usize, Vec<u8>),
    Copied(usize, Vec<u8>),
    Finished(RequestId, bool),
    Failed(Vec<u8>, Failure),
    Other(String),
}

fn see(event: &Event<'_, u64>) -> Seen {
    match event {
        Event::Rows { frames, count } => Seen::Rows(*count, frames.to_vec()),
        Event::CopyData { frames, count } => Seen::Copied(*count, frames.to_vec()),
        Event::Finished { id, job, abandoned, .. } => {
            assert_eq!(id, job);
            Seen::Finished(*id, *abandoned)
        }
        Event::Failed(error, failure, _) => {
            Seen::Failed(error.fields.find(b'C').unwrap_or_default().to_vec(), *failure)
        }
        other => Seen::Other(format!("{other:?}")),
    }
}

fn push(seen: &mut Vec<Seen>, one: Seen) {
    match (seen.last_mut(), &one) {
        (Some(Seen::Rows(count, frames)), Seen::Rows(more, rest))
        | (Some(Seen::Copied(count, frames)), Seen::Copied(more, rest)) => {
            *count += more;
            frames.extend(rest);
        }
        _ => seen.push(one),
    }
}

/// Feeds `bytes` cut at `sizes`, as a receive page would hold them.
fn read(client: &mut Client, bytes: &[u8], sizes: &[usize]) -> Result<Vec<Seen>, ProtocolError> {
    let (mut page, mut seen, mut rest) = (Vec::new(), Vec::new(), bytes);
    let mut sizes = sizes.iter().copied().filter(|size| *size > 0).cycle();
    while !rest.is_empty() {
        let size = sizes.next().unwrap_or(rest.len()).min(rest.len());
        page.extend_from_slice(&rest[..size]);
        rest = &rest[size..];
        let mut used = 0;
        while let Some(event) = client.next_event(&page, &mut used)? {
            push(&mut seen, see(&event));
        }
        page.drain(..used);
    }
    Ok(seen)
}

fn drain(client: &mut Client) -> Vec<u8> {
    client.pump();
    let bytes = client.outgoing().to_vec();
    client.sent(bytes.len());
    bytes
}

fn started() -> (Client, Backend) {
    let (mut client, mut backend) = (Client::new(Limits::default()), Backend::default());
    client.start(&[(b"user", b"u")]).unwrap();
    backend.receive(&drain(&mut client));
    read(&mut client, &backend.machine.take_output(), &[]).unwrap();
    assert!(client.is_started());
    (client, backend)
}

/// Back and forth until nobody has anything to say.
fn talk(client: &mut Client, backend: &mut Backend) -> Vec<Seen> {
    let mut seen = Vec::new();
    loop {
        let out = drain(client);
        if !out.is_empty() {
            backend.receive(&out);
        }
        let back = backend.machine.take_output();
        if back.is_empty() && client.outgoing().is_empty() {
            return seen;
        }
        for one in read(client, &back, &[]).unwrap() {
            push(&mut seen, one);
        }
    }
}

fn finished(seen: &[Seen]) -> Vec<RequestId> {
    seen.iter().filter_map(|one| if let Seen::Finished(id, _) = one { Some(*id) } else { None }).collect()
}

fn rows(seen: &[Seen]) -> usize {
    seen.iter().map(|one| if let Seen::Rows(count, _) = one { *count } else { 0 }).sum()
}

// --- The pair ----------------------------------------------------------------------------------

#[test]
fn start_up() {
    let (client, _) = started();
    assert_eq!((client.status(), client.is_idle()), (IDLE, true));
    let key = client.cancel_key().unwrap();
    assert_eq!((key.process_id, key.secret.as_slice()), (7, &b"key!"[..]));
    let mut cancelled = server::Connection::new();
    cancelled.receive(&key.request().unwrap()).unwrap();
    let asked = cancelled.poll_event().unwrap();
    assert_eq!(asked, Some(server::Request::Cancel { process_id: 7, key: b"key!".to_vec() }));
}

#[test]
fn a_nul_byte_in_a_startup_parameter_writes_nothing() {
    let mut client = Client::new(Limits::default());
    assert!(client.start(&[(b"application_name", b"x\0user\0root")]).is_err());
    assert!(client.outgoing().is_empty());
}

#[test]
fn everything_between_noises() {
    for noisy in [false, true] {
        let (mut client, mut backend) = started();
        backend.noisy = noisy;
        client.submit(prepare(1, b"select $1"));
        client.submit(one_flight(2, b"one flight"));
        assert_eq!(finished(&talk(&mut client, &mut backend)), [1, 2]);
        for id in 3..8 {
            client.submit(run(id, if id == 5 { b"error" } else { b"value" }));
        }
        client.submit(one_flight(8, b"error at parse"));
        client.submit(script(9, b"script"));
        client.submit(script(10, b"error"));
        client.submit(script(11, b"empty"));
        client.submit(run(12, b"empty"));
        let seen = talk(&mut client, &mut backend);
        assert_eq!(finished(&seen), (3..=12).collect::<Vec<_>>());
        assert_eq!(rows(&seen), 4 * 3 + 3);
        let failures =
            seen.iter().filter(|one| matches!(one, Seen::Failed(code, Failure::Request) if code == b"42601"));
        assert_eq!(failures.count(), 3);
        assert!(client.is_idle());
        assert_eq!(client.held(), 0);
        if noisy {
            assert_eq!(client.parameter("TimeZone"), Some("UTC"));
            assert!(seen.iter().any(|one| matches!(one, Seen::Other(text) if text.starts_with("Notification"))));
        }
        client.terminate();
        backend.receive(&drain(&mut client));
        assert_eq!(backend.asked.last(), Some(&server::Request::Terminate));
    }
}

#[test]
fn copy_in_by_a_simple_query() {
    let (mut client, mut backend) = started();
    backend.noisy = true;
    client.submit(script(1, b"copy t from stdin"));
    client.submit(run_text(2));
    let seen = talk(&mut client, &mut backend);
    assert!(seen.contains(&Seen::Other(format!("CopyStarted({:?})", CopyDirection::In))));
    let mut data = Vec::new();
    copy_data::write(&mut data, b"1\n").unwrap();
    assert!(client.copy_bytes(1, &data));
    assert!(!client.copy_bytes(2, &data), "only the running request copies");
    assert!(client.copy_bytes(1, b"c\0\0\0\x04"));
    assert_eq!(finished(&talk(&mut client, &mut backend)), [1, 2]);
    assert_eq!(backend.copied, b"1\n");
    assert!(!client.copy_bytes(1, &data));
}

/// CopyOutResponse of one text column.
const COPY_OUT: &[u8] = b"H\0\0\0\x09\0\0\x01\0\0";

fn copying_out() -> Client {
    let (mut client, _) = started();
    client.submit(script(1, b"copy t to stdout"));
    drain(&mut client);
    client
}

proptest! {
    /// A COPY to us is the same however its bytes are cut: its data in runs of whole messages, then how it ended.
    #[test]
    fn copy_out_in_any_pieces(
        lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..30),
        sizes in prop::collection::vec(1_usize..60, 1..8),
        fails: bool,
    ) {
        let (mut bytes, mut data) = (COPY_OUT.to_vec(), Vec::new());
        lines.iter().for_each(|line| copy_data::write(&mut data, line).unwrap());
        bytes.extend_from_slice(&data);
        if fails {
            bytes.extend_from_slice(b"E\0\0\0\x0cC57014\0\0");
        } else {
            bytes.extend_from_slice(b"c\0\0\0\x04C\0\0\0\x0bCOPY 7\0");
        }
        bytes.extend_from_slice(b"Z\0\0\0\x05I");
        let seen = read(&mut copying_out(), &bytes, &sizes).unwrap();
        prop_assert_eq!(&seen, &read(&mut copying_out(), &bytes, &[]).unwrap());
        prop_assert_eq!(&seen[1], &Seen::Copied(lines.len(), data));
        prop_assert_eq!(seen.last(), Some(&Seen::Finished(1, false)));
    }
}

#[test]
fn copy_data_belongs_to_a_copy_that_goes_on() {
    let late = [COPY_OUT, b"c\0\0\0\x04d\0\0\0\x05x"].concat();
    assert!(read(&mut copying_out(), &late, &[]).is_err());
    assert!(read(&mut copying_out(), b"d\0\0\0\x05x", &[]).is_err());
}

fn run_text(id: RequestId) -> Request<u64> {
    one_flight(id, b"after")
}

#[test]
fn copy_nobody_has_data_for_is_refused() {
    let (mut client, mut backend) = started();
    client.submit(script(1, b"copy t from stdin"));
    talk(&mut client, &mut backend);
    client.refuse_copy(b"no data").unwrap();
    let seen = talk(&mut client, &mut backend);
    assert_eq!(seen, [Seen::Failed(b"57014".to_vec(), Failure::Request), Seen::Finished(1, false)]);
    client.submit(run_text(2));
    assert_eq!(finished(&talk(&mut client, &mut backend)), [2]);
}

#[test]
fn a_barrier_travels_alone() {
    let (mut client, mut backend) = started();
    client.submit(run_text(1));
    client.submit(script(2, b"alone"));
    client.submit(run_text(3));
    let first = drain(&mut client);
    backend.receive(&first);
    assert_eq!(backend.asked.iter().filter(|one| matches!(one, server::Request::Sync)).count(), 1);
    let back = backend.machine.take_output();
    assert_eq!(finished(&read(&mut client, &back, &[]).unwrap()), [1]);
    let second = drain(&mut client);
    assert_eq!(second[0], b'Q');
    assert!(drain(&mut client).is_empty());
    backend.receive(&second);
    let back = backend.machine.take_output();
    assert_eq!(finished(&read(&mut client, &back, &[]).unwrap()), [2]);
    assert_eq!(finished(&talk(&mut client, &mut backend)), [3]);
}

#[test]
fn an_open_request_gets_its_sync_when_it_fails() {
    let (mut client, mut backend) = started();
    client.submit(prepare(1, b"select $1"));
    talk(&mut client, &mut backend);
    let mut open = run(2, b"error");
    open.bytes.truncate(open.bytes.len() - 5);
    open.steps.pop();
    (open.open, open.barrier) = (true, true);
    client.submit(open);
    client.submit(run_text(3));
    let seen = talk(&mut client, &mut backend);
    assert_eq!(finished(&seen), [2, 3]);
    assert!(!client.extend(2, b"", &[Step::Sync]));
}

#[test]
fn back_pressure_writes_no_more_than_there_is_room_for() {
    let mut client = Client::new(Limits { send_buffer: 4096, ..Limits::default() });
    client.start(&[]).unwrap();
    drain(&mut client);
    let mut backend = Backend::default();
    let mut greeting = Client::new(Limits::default());
    greeting.start(&[(b"user", b"u")]).unwrap();
    backend.receive(greeting.outgoing());
    read(&mut client, &backend.machine.take_output(), &[]).unwrap();
    for id in 0..1000 {
        client.submit(one_flight(id, &[b'x'; 200]));
    }
    client.pump();
    assert!(client.outgoing().len() <= 4096);
    assert!(client.held() > 200_000);
    let seen = talk(&mut client, &mut backend);
    assert_eq!(finished(&seen), (0..1000).collect::<Vec<_>>());
    assert_eq!(client.held(), 0);
}

#[test]
fn a_line_that_ends_gives_every_job_back() {
    let (mut client, _) = started();
    for id in 1..=5 {
        client.submit(if id == 3 { script(id, b"x") } else { run_text(id) });
    }
    drain(&mut client);
    assert!(matches!(client.cancel(1), CancelOutcome::Running));
    assert!(matches!(client.cancel(5), CancelOutcome::Dropped(5)));
    let back: Vec<_> = client.abort();
    assert_eq!(back, [(1, 1, true), (2, 2, false), (3, 3, false), (4, 4, false)]);
    assert!(client.is_idle() && client.outgoing().is_empty());
    assert_eq!((client.held(), client.is_cancelling()), (0, false));
}

// --- Any split, and hostile bytes --------------------------------------------------------------

/// A whole conversation's backend bytes.
fn recorded(noisy: bool) -> Vec<u8> {
    let mut backend = Backend { noisy, ..Backend::default() };
    let mut client = Client::new(Limits::default());
    client.start(&[(b"user", b"u")]).unwrap();
    backend.receive(&drain(&mut client));
    let mut all = backend.machine.take_output();
    read(&mut client, &all, &[]).unwrap();
    submit_all(&mut client);
    backend.receive(&drain(&mut client));
    all.extend(backend.machine.take_output());
    all
}

fn submit_all(client: &mut Client) {
    client.submit(prepare(1, b"select $1"));
    for id in 2..6 {
        client.submit(run(id, if id == 4 { b"error" } else { b"value" }));
    }
    client.submit(one_flight(6, b"error at parse"));
    client.submit(one_flight(7, b"seven"));
}

/// A client that has asked everything of `recorded` before the first byte came.
fn eager() -> Client {
    let mut client = Client::new(Limits::default());
    client.start(&[(b"user", b"u")]).unwrap();
    submit_all(&mut client);
    drain(&mut client);
    client
}

proptest! {
    #[test]
    fn any_split_gives_the_same_events(sizes in prop::collection::vec(1_usize..40, 1..20), noisy: bool) {
        let bytes = recorded(noisy);
        let whole = read(&mut eager(), &bytes, &[]).unwrap();
        prop_assert_eq!(finished(&whole), (1..=7).collect::<Vec<_>>());
        prop_assert_eq!(read(&mut eager(), &bytes, &sizes).unwrap(), whole);
    }

    #[test]
    fn garbage_is_an_error_or_an_event_never_a_panic(
        at in any::<prop::sample::Index>(),
        with in prop::collection::vec(any::<u8>(), 1..8),
        noisy: bool,
    ) {
        let mut bytes = recorded(noisy);
        let at = at.index(bytes.len());
        let end = (at + with.len()).min(bytes.len());
        bytes[at..end].copy_from_slice(&with[..end - at]);
        let mut client = eager();
        if read(&mut client, &bytes, &[7]).is_err() {
            client.abort();
        }
    }

    #[test]
    fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), start: bool) {
        let mut client = if start { started().0 } else { eager() };
        if start {
            submit_all(&mut client);
        }
        client.pump();
        let _ = read(&mut client, &bytes, &[3]);
        prop_assert!(client.outgoing().len() < 4096);
    }

    #[test]
    fn any_message_in_any_state_is_typed(kind: u8, body in prop::collection::vec(any::<u8>(), 0..24), upto in 0_usize..60) {
        let mut client = eager();
        let mut taken = Vec::new();
        let mut bytes = recorded(false);
        for _ in 0..upto {
            if bytes.len() < 5 { break }
            let size = 1 + u32::from_be_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]) as usize;
            taken.extend(bytes.drain(..size));
        }
        read(&mut client, &taken, &[]).unwrap();
        let mut frame = vec![kind];
        frame.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        frame.extend(body);
        let _ = read(&mut client, &frame, &[]);
    }
}

#[test]
fn impossible_lengths_are_refused_with_the_header() {
    for length in [i32::MIN, -1, 0, 1, 2, 3, (1 << 30) + 1, i32::MAX] {
        for kind in *b"DRTZEN\0\xff" {
            let mut frame = vec![kind];
            frame.extend(length.to_be_bytes());
            for mut client in [started().0, eager()] {
                let result = read(&mut client, &frame, &[1]);
                assert!(matches!(result, Err(ProtocolError::Length { .. })), "{kind} {length}: {result:?}");
            }
        }
    }
}

#[test]
fn copy_data_without_a_copy_is_refused() {
    let (mut client, mut backend) = started();
    client.submit(prepare(1, b"select $1"));
    talk(&mut client, &mut backend);
    for frame in [&b"d\0\0\0\x05x"[..], &b"c\0\0\0\x04"[..]] {
        let mut client = {
            let (mut client, _) = started();
            client.submit(run(2, b"x"));
            drain(&mut client);
            read(&mut client, b"2\0\0\0\x04", &[]).unwrap();
            client
        };
        let result = read(&mut client, frame, &[]);
        assert!(matches!(result, Err(ProtocolError::Unexpected { .. })), "{result:?}");
    }
}

#[test]
fn nothing_may_follow_a_fatal_error() {
    let (mut client, mut backend) = started();
    client.submit(run_text(1));
    drain(&mut client);
    backend.machine.fatal(b"57P01", b"bye").unwrap();
    let seen = read(&mut client, &backend.machine.take_output(), &[]).unwrap();
    assert_eq!(seen, [Seen::Failed(b"57P01".to_vec(), Failure::Session)]);
    assert_eq!(client.abort(), [(1, 1, false)]);
}
