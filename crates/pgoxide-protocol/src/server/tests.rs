//! The server's machine against scripted clients: order, errors, COPY, limits, any chunking.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use proptest::prelude::*;

use super::{Connection, Request};
use crate::codes::{Format, PROTOCOL_3_0, PROTOCOL_3_2, TransactionStatus};
use crate::error::{EncodeError, ProtocolError};
use crate::message::{
    AuthenticationResponse, Bind, CancelRequest, CopyDone, CopyFail, FunctionCall, GssencRequest, Parameter,
    SslRequest, StartupMessage, close, copy_data, describe, execute, flush, parse, query, sync, terminate,
};

const IDLE: TransactionStatus = TransactionStatus::Idle;

// --- A client and a server handler -------------------------------------------------------------

/// The bytes of a client, written verb by verb.
#[derive(Clone, Default)]
struct Client(Vec<u8>);

impl Client {
    fn write(mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>) -> Self {
        write(&mut self.0).unwrap();
        self
    }

    fn startup(self, protocol: i32, names: &[&[u8]]) -> Self {
        let value = &b"x"[..];
        let parameters: Vec<_> = names.iter().map(|name| Parameter { name, value }).collect();
        let parameters = (&parameters).into();
        self.write(|out| StartupMessage { protocol, parameters }.encode(out))
    }

    fn query(self, sql: &[u8]) -> Self {
        self.write(|out| query::write(out, sql))
    }

    fn parse(self, sql: &[u8]) -> Self {
        self.write(|out| parse::write(out, b"s", sql, &[23]))
    }

    fn bind(self) -> Self {
        let parameters = [Some(&b"1"[..]), None];
        let bind = Bind {
            portal: b"",
            statement: b"s",
            parameter_formats: (&[Format::Text]).into(),
            parameters: (&parameters).into(),
            result_formats: (&[Format::Binary]).into(),
        };
        self.write(|out| bind.encode(out))
    }

    fn execute(self, portal: &[u8]) -> Self {
        self.write(|out| execute::write(out, portal, 0))
    }

    fn sync(mut self) -> Self {
        sync::write(&mut self.0);
        self
    }

    fn copy_data(self) -> Self {
        self.write(|out| copy_data::write(out, b"1\t2\n"))
    }

    fn copy_done(self) -> Self {
        self.write(|out| CopyDone.encode(out))
    }

    fn copy_fail(self) -> Self {
        self.write(|out| CopyFail { reason: b"no" }.encode(out))
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }
}

/// A client that has just been let in, and the server it talks to.
fn open() -> Connection {
    let mut server = Connection::new();
    let client = Client::default().startup(PROTOCOL_3_0, &[b"user"]);
    assert_eq!(serve(&mut server, &client.0).1, Ok(()));
    assert_eq!(kinds(&server.take_output()), "RKZ");
    server
}

/// Feeds bytes and answers every request; gives the requests and how it ended.
fn serve(server: &mut Connection, bytes: &[u8]) -> (Vec<Request>, Result<(), ProtocolError>) {
    let mut requests = Vec::new();
    let result = server.receive(bytes).and_then(|()| answer_all(server, &mut requests));
    (requests, result)
}

fn answer_all(server: &mut Connection, requests: &mut Vec<Request>) -> Result<(), ProtocolError> {
    while let Some(request) = server.poll_event()? {
        answer(server, &request).unwrap();
        requests.push(request);
    }
    Ok(())
}

/// A plain answer; a text that begins with `error` or `copy` gets an error or a COPY.
fn answer(server: &mut Connection, request: &Request) -> Result<(), EncodeError> {
    match request {
        Request::Startup { .. } => {
            server.authentication_ok()?;
            server.backend_key_data(7, b"key!")?;
            server.ready_for_query(IDLE)
        }
        Request::Query(sql) if sql.starts_with(b"copy") => server.copy_in_response(Format::Text, &[]),
        Request::Query(sql) => {
            if sql.starts_with(b"error") {
                server.error(b"42601", b"no")?;
            } else {
                server.row_description(&[])?;
                server.data_row(&[Some(b"1"), None])?;
                server.command_complete(b"SELECT 1")?;
            }
            server.ready_for_query(IDLE)
        }
        Request::Parse { sql, .. } if sql.starts_with(b"error") => server.error(b"42601", b"no"),
        Request::Parse { .. } => server.parse_complete(),
        Request::Bind { .. } => server.bind_complete(),
        Request::DescribeStatement(_) => {
            server.parameter_description(&[23])?;
            server.no_data()
        }
        Request::DescribePortal(_) => server.row_description(&[]),
        Request::Execute { portal, .. } if portal.starts_with(b"copy") => server.copy_in_response(Format::Text, &[]),
        Request::Execute { .. } => server.command_complete(b"SELECT 0"),
        Request::CloseStatement(_) | Request::ClosePortal(_) => server.close_complete(),
        Request::FunctionCall { .. } => {
            server.function_call_response(None)?;
            server.ready_for_query(IDLE)
        }
        Request::Sync => server.ready_for_query(IDLE),
        Request::CopyDone => {
            server.command_complete(b"COPY 1")?;
            end_of_simple_copy(server)
        }
        Request::CopyFail(_) => {
            server.error(b"57014", b"no")?;
            end_of_simple_copy(server)
        }
        Request::CopyData(_) | Request::Flush | Request::Terminate | Request::Cancel { .. } => Ok(()),
    }
}

/// ReadyForQuery, but only when the COPY was begun by a Query: after Execute it is Sync's to ask.
fn end_of_simple_copy(server: &mut Connection) -> Result<(), EncodeError> {
    match server.ready_for_query(IDLE) {
        Err(EncodeError::OutOfTurn { .. }) => Ok(()),
        other => other,
    }
}

/// The type bytes of a stream of messages.
fn kinds(mut stream: &[u8]) -> String {
    let mut kinds = String::new();
    while let Some((kind, rest)) = stream.split_first() {
        kinds.push(char::from(*kind));
        let (length, _) = rest.split_first_chunk().unwrap();
        stream = &rest[i32::from_be_bytes(*length) as usize..];
    }
    kinds
}

/// What the server answers to these bytes after the handshake.
#[track_caller]
fn replies(client: Client) -> String {
    let mut server = open();
    assert_eq!(serve(&mut server, &client.0).1, Ok(()));
    assert_eq!(server.buffered(), 0);
    kinds(&server.take_output())
}

/// How a client that breaks the rules after the handshake ends.
#[track_caller]
fn broken(client: Client) -> String {
    let mut server = open();
    let error = serve(&mut server, &client.0).1.unwrap_err();
    assert!(server.is_closed());
    assert_eq!(server.receive(b"x"), Err(ProtocolError::Closed));
    error.to_string()
}

// --- Startup -----------------------------------------------------------------------------------

#[test]
fn encryption_is_refused_once_each() {
    let mut server = Connection::new();
    let client = Client::default().write(|out| SslRequest.encode(out)).write(|out| GssencRequest.encode(out));
    assert_eq!(serve(&mut server, &client.0), (vec![], Ok(())));
    assert_eq!(server.take_output(), b"NN");

    let again = Client::default().write(|out| SslRequest.encode(out));
    assert!(serve(&mut server, &again.0).1.is_err());
}

#[test]
fn startup_gives_the_parameters() {
    let mut server = Connection::new();
    let client = Client::default().startup(PROTOCOL_3_2, &[b"user", b"database"]);
    let (requests, result) = serve(&mut server, &client.0);
    assert_eq!(result, Ok(()));
    let parameters = vec![(b"user".to_vec(), b"x".to_vec()), (b"database".to_vec(), b"x".to_vec())];
    let protocol = PROTOCOL_3_2;
    assert_eq!(requests, [Request::Startup { protocol, parameters }]);
    assert_eq!(kinds(&server.take_output()), "RKZ");
}

#[test]
fn asking_too_much_is_negotiated() {
    for (protocol, names) in [(PROTOCOL_3_2 + 1, &[&b"user"[..]][..]), (PROTOCOL_3_0, &[b"user", b"_pq_.x"])] {
        let mut server = Connection::new();
        let client = Client::default().startup(protocol, names);
        assert_eq!(serve(&mut server, &client.0).1, Ok(()));
        assert_eq!(kinds(&server.take_output()), "vRKZ");
    }
}

#[test]
fn cancel_ends_the_connection() {
    let mut server = Connection::new();
    let (process_id, key) = (7, &[9; 32][..]);
    let client = Client::default().write(|out| CancelRequest { process_id, key }.encode(out));
    let cancel = Request::Cancel { process_id, key: key.to_vec() };
    assert_eq!(serve(&mut server, &client.0), (vec![cancel], Ok(())));
    assert!(server.is_closed());
    assert_eq!(server.take_output(), b"");
}

#[test]
fn nothing_but_a_packet_comes_first() {
    let mut server = Connection::new();
    let client = Client::default().query(b"select 1");
    assert!(serve(&mut server, &client.0).1.is_err());
}

#[test]
fn first_packets_have_limits() {
    for (length, valid) in [(7, false), (8, true), (10_004, true), (10_005, false), (-1, false)] {
        let mut server = Connection::new();
        let result = serve(&mut server, &i32::to_be_bytes(length)).1;
        assert_eq!(result.is_ok(), valid, "{length}");
    }
}

// --- The order of messages ---------------------------------------------------------------------

#[test]
fn simple_query() {
    assert_eq!(replies(Client::default().query(b"select 1").query(b"x")), "TDCZTDCZ");
    assert_eq!(replies(Client::default().query(b"error")), "EZ");
}

#[test]
fn extended_query() {
    let batch = Client::default()
        .parse(b"select $1")
        .write(|out| describe::write_statement(out, b"s"))
        .bind()
        .write(|out| describe::write_portal(out, b""))
        .execute(b"")
        .write(|out| close::write_portal(out, b""))
        .write(|out| close::write_statement(out, b"s"))
        .sync();
    assert_eq!(replies(batch), "1tn2TC33Z");
}

#[test]
fn after_an_error_everything_is_dropped_up_to_sync() {
    let batch = Client::default()
        .parse(b"error")
        .bind()
        .query(b"dropped as well")
        // Not even a malformed body is looked at.
        .raw(b"B\0\0\0\x05x")
        .execute(b"")
        .sync();
    assert_eq!(replies(batch.clone()), "EZ");
    assert_eq!(replies(batch.parse(b"fine").sync()), "EZ1Z");
}

#[test]
fn function_call() {
    let call = FunctionCall {
        function: 1,
        argument_formats: (&[]).into(),
        arguments: (&[None]).into(),
        result_format: Format::Text,
    };
    assert_eq!(replies(Client::default().write(|out| call.encode(out))), "VZ");
}

#[test]
fn replies_out_of_turn_are_refused() {
    let mut server = open();
    assert!(server.ready_for_query(IDLE).is_err());
    assert!(server.error(b"XX000", b"nothing failed").is_err());

    let client = Client::default().sync().parse(b"x");
    server.receive(&client.0).unwrap();
    assert_eq!(server.poll_event(), Ok(Some(Request::Sync)));
    assert_eq!(server.poll_event(), Ok(None), "the Sync is not answered yet");
    let error = server.parse_complete().unwrap_err();
    assert_eq!(error.to_string(), "ParseComplete is not due while the conversation waits for ReadyForQuery");
    assert_eq!(server.take_output(), b"");
    server.ready_for_query(IDLE).unwrap();
    assert!(server.ready_for_query(IDLE).is_err(), "a Sync is answered once");
    assert!(matches!(server.poll_event(), Ok(Some(Request::Parse { .. }))));
}

/// The commit a Sync implies may fail; the client still gets its ReadyForQuery.
#[test]
fn a_sync_may_fail() {
    let mut server = open();
    server.receive(&Client::default().sync().0).unwrap();
    assert_eq!(server.poll_event(), Ok(Some(Request::Sync)));
    server.error(b"40001", b"could not serialize").unwrap();
    server.ready_for_query(IDLE).unwrap();
    assert_eq!(kinds(&server.take_output()), "EZ");
}

/// A reply that cannot be encoded leaves the turn where it was.
#[test]
fn refused_replies_change_nothing() {
    let mut server = open();
    server.receive(&Client::default().execute(b"").0).unwrap();
    server.poll_event().unwrap();
    assert!(server.command_complete(b"a\0b").is_err());
    assert_eq!(server.take_output(), b"");
    server.command_complete(b"SELECT 0").unwrap();
}

#[test]
fn asynchronous_messages_come_at_any_time() {
    let mut server = open();
    let client = Client::default().query(b"copy");
    assert_eq!(serve(&mut server, &client.0).1, Ok(()));
    server.notice(b"00000", b"hello").unwrap();
    server.notification(1, b"channel", b"").unwrap();
    server.parameter_status(b"TimeZone", b"UTC").unwrap();
    assert_eq!(kinds(&server.take_output()), "GNAS");
}

#[test]
fn fatal_ends_the_session() {
    let mut server = open();
    server.fatal(b"57P01", b"shutting down").unwrap();
    assert_eq!(kinds(&server.take_output()), "E");
    assert!(server.is_closed());
    assert!(server.fatal(b"57P01", b"again").is_err());
}

#[test]
fn terminate_ends_the_session() {
    for client in [Client::default(), Client::default().parse(b"error")] {
        let mut server = open();
        let mut bytes = client.0;
        terminate::write(&mut bytes);
        let (requests, result) = serve(&mut server, &bytes);
        assert_eq!((requests.last(), result), (Some(&Request::Terminate), Ok(())));
        assert!(server.is_closed());
    }
}

#[test]
fn broken_rules() {
    assert_eq!(broken(Client::default().copy_data()), "the client sent CopyData ('d') while we waited for a request");
    assert_eq!(
        broken(Client::default().query(b"copy").query(b"select 1")),
        "the client sent Query ('Q') while we waited for CopyData of the client"
    );
    let password = AuthenticationResponse { body: b"x\0" };
    assert!(broken(Client::default().write(|out| password.encode(out))).contains("'p'"));
    assert!(broken(Client::default().raw(b"?\0\0\0\x04")).contains("'?'"));
    assert!(broken(Client::default().raw(b"Q\0\0\0\x03")).contains("too few"));
    assert!(broken(Client::default().raw(b"Q\x7f\0\0\0")).contains("the limit is"));
    assert!(broken(Client::default().parse(b"error").raw(b"?\0\0\0\x04")).contains("'?'"));
}

// --- COPY --------------------------------------------------------------------------------------

#[test]
fn copy_in() {
    let copy = Client::default().query(b"copy").copy_data().copy_data();
    assert_eq!(replies(copy.clone().copy_done().query(b"x")), "GCZTDCZ");
    assert_eq!(replies(copy.copy_fail().query(b"x")), "GEZTDCZ");
    // Sync within the data is ignored, the one after it is answered.
    let copy = Client::default().execute(b"copy").sync().copy_data();
    assert_eq!(replies(copy.clone().copy_done().sync()), "GCZ");
    assert_eq!(replies(copy.copy_fail().copy_data().sync()), "GEZ");
}

/// "Any subsequent CopyData, CopyDone, or CopyFail messages issued by the frontend will simply be
/// dropped", however the COPY was begun; after that they are errors again.
#[test]
fn data_of_a_failed_copy_is_dropped() {
    let mut server = open();
    let client = Client::default().query(b"copy").copy_data();
    assert_eq!(serve(&mut server, &client.0).1, Ok(()));
    server.error(b"22P04", b"bad data").unwrap();
    server.ready_for_query(IDLE).unwrap();
    let rest = Client::default().copy_data().copy_done();
    assert_eq!(serve(&mut server, &rest.0), (vec![], Ok(())));
    assert!(serve(&mut server, &rest.0).1.is_err());

    let mut server = open();
    let client = Client::default().execute(b"copy");
    assert_eq!(serve(&mut server, &client.0).1, Ok(()));
    server.error(b"22P04", b"bad data").unwrap();
    let rest = Client::default().sync().copy_data().copy_done().sync();
    assert_eq!(serve(&mut server, &rest.0), (vec![Request::Sync, Request::Sync], Ok(())));
    assert_eq!(kinds(&server.take_output()), "GEZZ");
}

#[test]
fn copy_out() {
    let mut server = open();
    server.receive(&Client::default().query(b"copy").0).unwrap();
    server.poll_event().unwrap();
    server.copy_out_response(Format::Binary, &[Format::Binary]).unwrap();
    server.copy_data(b"data").unwrap();
    assert!(server.command_complete(b"COPY 1").is_err());
    server.copy_done().unwrap();
    assert!(server.copy_data(b"late").is_err());
    server.command_complete(b"COPY 1").unwrap();
    server.ready_for_query(IDLE).unwrap();
    assert_eq!(kinds(&server.take_output()), "HdcCZ");
}

#[test]
fn copy_both_ends_when_both_have_ended() {
    for client_first in [true, false] {
        let mut server = open();
        server.receive(&Client::default().query(b"START_REPLICATION").0).unwrap();
        server.poll_event().unwrap();
        server.copy_both_response(Format::Text, &[]).unwrap();
        server.copy_data(b"w").unwrap();
        server.receive(&Client::default().copy_data().copy_done().0).unwrap();
        assert!(matches!(server.poll_event(), Ok(Some(Request::CopyData(_)))));
        if client_first {
            assert_eq!(server.poll_event(), Ok(Some(Request::CopyDone)));
            server.copy_data(b"still sending").unwrap();
            assert!(server.command_complete(b"COPY 0").is_err());
            server.copy_done().unwrap();
        } else {
            server.copy_done().unwrap();
            assert!(server.command_complete(b"COPY 0").is_err());
            assert_eq!(server.poll_event(), Ok(Some(Request::CopyDone)));
        }
        server.command_complete(b"COPY 0").unwrap();
        server.ready_for_query(IDLE).unwrap();
    }
}

// --- Any chunking ------------------------------------------------------------------------------

/// One step of a random client; most conversations are valid for a while.
fn step(client: Client, choice: u8) -> Client {
    match choice {
        0 => client.query(b"select 1"),
        1 => client.query(b"error"),
        2 => client.query(b"copy").copy_data().copy_done(),
        3 => client.query(b"copy").copy_fail(),
        4 => client.parse(b"select $1"),
        5 => client.parse(b"error"),
        6 => client.bind(),
        7 => client.write(|out| describe::write_statement(out, b"s")),
        8 => client.execute(b""),
        9 => client.execute(b"copy").sync().copy_data().copy_done(),
        10..=13 => client.sync(),
        14 => {
            let mut client = client;
            flush::write(&mut client.0);
            client
        }
        15 => client.copy_data(),
        16 => client.raw(b"Q\0\0\0\x05x"),
        17 => client.raw(b"C\0\0\0\x06Z\0"),
        _ => {
            let mut client = client;
            terminate::write(&mut client.0);
            client
        }
    }
}

/// Everything observable about a conversation whose bytes come in these pieces.
fn observe<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Request>, Vec<u8>, Result<(), ProtocolError>) {
    let mut server = Connection::new();
    let mut requests = Vec::new();
    let mut result = Ok(());
    for piece in pieces {
        // What comes after the end is nobody's any more.
        if server.is_closed() {
            break;
        }
        let (new, end) = serve(&mut server, piece);
        requests.extend(new);
        result = end;
    }
    (requests, server.take_output(), result)
}

proptest! {
    #[test]
    fn any_split_gives_the_same_events(
        choices in proptest::collection::vec(0..19_u8, 0..30),
        sizes in proptest::collection::vec(1..40_usize, 1..8),
    ) {
        let start = Client::default()
            .write(|out| SslRequest.encode(out))
            .startup(PROTOCOL_3_0, &[b"user"]);
        let bytes = choices.into_iter().fold(start, step).0;

        let whole = observe(std::iter::once(&bytes[..]));
        prop_assert!(!whole.0.is_empty());
        prop_assert_eq!(&observe(bytes.chunks(1)), &whole);

        let mut rest = &bytes[..];
        let pieces = sizes.iter().cycle().map_while(|size| {
            let (piece, tail) = rest.split_at((*size).min(rest.len()));
            rest = tail;
            (!piece.is_empty()).then_some(piece)
        });
        prop_assert_eq!(&observe(pieces), &whole);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = observe(std::iter::once(&bytes[..]));
        let mut server = open();
        let _ = serve(&mut server, &bytes);
    }
}
