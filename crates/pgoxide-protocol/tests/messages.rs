//! Every message of both directions: round trips, hostile bytes, and the documented layout.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeSet;

use pgoxide_protocol::codes::{Format, PROTOCOL_3_0, PROTOCOL_3_2, TransactionStatus, backend_name, frontend_name};
use pgoxide_protocol::error::{DecodeError, EncodeError, Problem};
use pgoxide_protocol::message::*;
use proptest::collection::vec;
use proptest::prelude::*;

// --- What messages are made of -----------------------------------------------------------------

/// Random parts, from which one message of every kind is built.
#[derive(Clone, Debug)]
struct Parts {
    text: Vec<u8>,
    other: Vec<u8>,
    data: Vec<u8>,
    key: Vec<u8>,
    names: Vec<Vec<u8>>,
    values: Vec<Option<Vec<u8>>>,
    oids: Vec<u32>,
    formats: Vec<Format>,
    number: i32,
    small: i16,
    format: Format,
    status: TransactionStatus,
    salt: [u8; 4],
}

fn text(length: impl Into<proptest::collection::SizeRange>) -> impl Strategy<Value = Vec<u8>> {
    vec(1..=255_u8, length)
}

fn format() -> impl Strategy<Value = Format> {
    prop_oneof![Just(Format::Text), Just(Format::Binary)]
}

fn status() -> impl Strategy<Value = TransactionStatus> {
    prop_oneof![Just(TransactionStatus::Idle), Just(TransactionStatus::InTransaction), Just(TransactionStatus::Failed),]
}

fn parts() -> impl Strategy<Value = Parts> {
    let texts = (text(0..12), text(0..12), vec(any::<u8>(), 0..20), vec(any::<u8>(), 4..=256), vec(text(1..8), 0..4));
    let lists = (vec(proptest::option::of(vec(any::<u8>(), 0..9)), 0..5), vec(any::<u32>(), 0..5), vec(format(), 0..5));
    let scalars = (any::<i32>(), any::<i16>(), format(), status(), any::<[u8; 4]>());
    (texts, lists, scalars).prop_map(|(texts, lists, scalars)| Parts {
        text: texts.0,
        other: texts.1,
        data: texts.2,
        key: texts.3,
        names: texts.4,
        values: lists.0,
        oids: lists.1,
        formats: lists.2,
        number: scalars.0,
        small: scalars.1,
        format: scalars.2,
        status: scalars.3,
        salt: scalars.4,
    })
}

/// Calls `check` with one frontend message of every kind.
fn each_frontend(parts: &Parts, check: &mut dyn FnMut(Frontend<'_>)) {
    let (text, other, data) = (&parts.text[..], &parts.other[..], &parts.data[..]);
    let values: Vec<_> = parts.values.iter().map(Option::as_deref).collect();
    let number = parts.number;
    for target in [Target::Statement, Target::Portal] {
        check(Frontend::Describe(Describe { target, name: text }));
        check(Frontend::Close(Close { target, name: text }));
    }
    check(Frontend::Bind(Bind {
        portal: text,
        statement: other,
        parameter_formats: (&parts.formats).into(),
        parameters: (&values).into(),
        result_formats: [parts.format][..].into(),
    }));
    check(Frontend::Parse(Parse { statement: text, sql: other, parameter_types: (&parts.oids).into() }));
    check(Frontend::Execute(Execute { portal: text, max_rows: number.unsigned_abs() >> 1 }));
    check(Frontend::FunctionCall(FunctionCall {
        function: number.cast_unsigned(),
        argument_formats: (&parts.formats).into(),
        arguments: (&values).into(),
        result_format: parts.format,
    }));
    check(Frontend::Query(Query { sql: text }));
    check(Frontend::CopyData(CopyData { data }));
    check(Frontend::CopyFail(CopyFail { reason: text }));
    check(Frontend::AuthenticationResponse(AuthenticationResponse { body: data }));
    check(Frontend::CopyDone(CopyDone));
    check(Frontend::Flush(Flush));
    check(Frontend::Sync(Sync));
    check(Frontend::Terminate(Terminate));
}

/// Calls `check` with one backend message of every kind.
fn each_backend(parts: &Parts, check: &mut dyn FnMut(Backend<'_>)) {
    each_authentication(parts, &mut |message| check(Backend::Authentication(message)));
    each_description(parts, check);
    each_asynchronous(parts, check);
    let (text, format) = (&parts.text[..], parts.format);
    let columns = (&parts.formats).into();
    check(Backend::CopyInResponse(CopyInResponse { format, columns }));
    check(Backend::CopyOutResponse(CopyOutResponse { format, columns }));
    check(Backend::CopyBothResponse(CopyBothResponse { format, columns }));
    check(Backend::CopyData(CopyData { data: &parts.data }));
    check(Backend::CopyDone(CopyDone));
    check(Backend::CommandComplete(CommandComplete { tag: text }));
    check(Backend::ReadyForQuery(ReadyForQuery { status: parts.status }));
    let value = parts.values.first().and_then(Option::as_deref);
    check(Backend::FunctionCallResponse(FunctionCallResponse { value }));
    check(Backend::BackendKeyData(BackendKeyData { process_id: parts.number, key: &parts.key }));
    let names: Vec<_> = parts.names.iter().map(Vec::as_slice).collect();
    check(Backend::NegotiateProtocolVersion(NegotiateProtocolVersion {
        newest: parts.number,
        unrecognized: (&names).into(),
    }));
    check(Backend::BindComplete(BindComplete));
    check(Backend::CloseComplete(CloseComplete));
    check(Backend::ParseComplete(ParseComplete));
    check(Backend::NoData(NoData));
    check(Backend::PortalSuspended(PortalSuspended));
    check(Backend::EmptyQueryResponse(EmptyQueryResponse));
}

fn each_authentication(parts: &Parts, check: &mut dyn FnMut(Authentication<'_>)) {
    let names: Vec<_> = parts.names.iter().map(Vec::as_slice).collect();
    let data = &parts.data[..];
    check(Authentication::Ok);
    check(Authentication::KerberosV5);
    check(Authentication::CleartextPassword);
    check(Authentication::Md5Password { salt: parts.salt });
    check(Authentication::Gss);
    check(Authentication::GssContinue { data });
    check(Authentication::Sspi);
    check(Authentication::Sasl { mechanisms: (&names).into() });
    check(Authentication::SaslContinue { data });
    check(Authentication::SaslFinal { data });
    check(Authentication::Unknown { code: 99, data });
}

fn each_description(parts: &Parts, check: &mut dyn FnMut(Backend<'_>)) {
    let columns: Vec<_> = parts.names.iter().map(|name| column(parts, name)).collect();
    check(Backend::RowDescription(RowDescription { columns: (&columns).into() }));
    check(Backend::ParameterDescription(ParameterDescription { types: (&parts.oids).into() }));
    let values: Vec<_> = parts.values.iter().map(Option::as_deref).collect();
    let mut row = Vec::new();
    data_row::write(&mut row, &values).unwrap();
    let row = DataRow::decode(&row[5..]).unwrap();
    assert!(row.iter().eq(values.iter().copied()), "{row:?}");
    assert!(row.iter().eq(data_row::Values::over(&wire(Backend::DataRow(row)).1)));
    check(Backend::DataRow(row));
}

fn column<'a>(parts: &Parts, name: &'a [u8]) -> Column<'a> {
    Column {
        name,
        table_oid: parts.number.cast_unsigned(),
        attnum: parts.small,
        type_oid: 25,
        typlen: !parts.small,
        typmod: parts.number,
        format: parts.format.code(),
    }
}

fn each_asynchronous(parts: &Parts, check: &mut dyn FnMut(Backend<'_>)) {
    let (text, other) = (&parts.text[..], &parts.other[..]);
    let fields = [Field { code: fields::SQLSTATE, value: text }, Field { code: parts.salt[0].max(1), value: other }];
    let fields = Fields::new(&fields);
    check(Backend::ErrorResponse(ErrorResponse { fields }));
    check(Backend::NoticeResponse(NoticeResponse { fields }));
    check(Backend::NotificationResponse(NotificationResponse {
        process_id: parts.number,
        channel: text,
        payload: other,
    }));
    check(Backend::ParameterStatus(ParameterStatus { name: text, value: other }));
}

/// Calls `check` with one first packet of every kind.
fn each_startup(parts: &Parts, check: &mut dyn FnMut(Startup<'_>)) {
    let parameters: Vec<_> = parts.names.iter().map(|name| Parameter { name, value: &parts.text }).collect();
    check(Startup::StartupMessage(StartupMessage { protocol: PROTOCOL_3_2, parameters: (&parameters).into() }));
    check(Startup::SslRequest(SslRequest));
    check(Startup::GssencRequest(GssencRequest));
    check(Startup::CancelRequest(CancelRequest { process_id: parts.number, key: &parts.key }));
}

/// Encodes a message and takes the frame apart: its type byte and its body.
fn wire(message: Backend<'_>) -> (u8, Vec<u8>) {
    cut(|out| message.encode(out))
}

fn cut(encode: impl Fn(&mut Vec<u8>) -> Result<(), EncodeError>) -> (u8, Vec<u8>) {
    let mut out = b"before".to_vec();
    encode(&mut out).unwrap();
    let message = out.strip_prefix(b"before").unwrap();
    let (kind, rest) = message.split_first().unwrap();
    let (length, body) = rest.split_first_chunk().unwrap();
    assert_eq!(i32::from_be_bytes(*length) as usize, rest.len());
    (*kind, body.to_vec())
}

fn cut_startup(packet: Startup<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    packet.encode(&mut out).unwrap();
    let (length, body) = out.split_first_chunk().unwrap();
    assert_eq!(i32::from_be_bytes(*length) as usize, out.len());
    body.to_vec()
}

/// Whatever decodes must encode to the same bytes again. Execute alone reads more than one row
/// limit (all negative ones) as the same thing.
fn decode_is_faithful(kind: u8, body: &[u8]) {
    if let Ok(message) = Backend::decode(kind, body) {
        assert_eq!(cut(|out| message.encode(out)), (kind, body.to_vec()));
    }
    if let Ok(message) = Frontend::decode(kind, body) {
        let (kind, again) = cut(|out| message.encode(out));
        assert_eq!(Frontend::decode(kind, &again), Ok(message));
        assert!(again == body || matches!(message, Frontend::Execute(_)));
    }
}

fn startup_is_faithful(body: &[u8]) {
    if let Ok(packet) = Startup::decode(body) {
        assert_eq!(cut_startup(packet), body);
    }
}

/// The decoders `Frontend::decode` cannot reach, because four messages share one type byte.
fn authentication_responses_are_faithful(body: &[u8]) {
    let response = AuthenticationResponse { body };
    let kind = b'p';
    if let Ok(message) = response.password() {
        assert_eq!(cut(|out| message.encode(out)), (kind, body.to_vec()));
    }
    if let Ok(message) = response.sasl_initial() {
        assert_eq!(cut(|out| message.encode(out)), (kind, body.to_vec()));
    }
    let message = response.sasl().unwrap();
    assert_eq!(cut(|out| message.encode(out)), (kind, body.to_vec()));
    let message = response.gss().unwrap();
    assert_eq!(cut(|out| message.encode(out)), (kind, body.to_vec()));
}

// --- Properties --------------------------------------------------------------------------------

proptest! {
    #[test]
    fn frontend_messages_round_trip(parts in parts()) {
        let mut kinds = BTreeSet::new();
        each_frontend(&parts, &mut |message| {
            let (kind, body) = cut(|out| message.encode(out));
            assert_eq!(kind, message.kind());
            assert_eq!(Frontend::decode(kind, &body), Ok(message));
            kinds.insert(kind);
        });
        let named = (0..=255).filter(|kind| frontend_name(*kind) != frontend_name(0)).collect();
        prop_assert_eq!(kinds, named);
    }

    #[test]
    fn backend_messages_round_trip(parts in parts()) {
        let mut kinds = BTreeSet::new();
        each_backend(&parts, &mut |message| {
            let (kind, body) = wire(message);
            assert_eq!(kind, message.kind());
            assert_eq!(Backend::decode(kind, &body), Ok(message));
            kinds.insert(kind);
        });
        let named = (0..=255).filter(|kind| backend_name(*kind) != backend_name(0)).collect();
        prop_assert_eq!(kinds, named);
    }

    #[test]
    fn first_packets_round_trip(parts in parts()) {
        each_startup(&parts, &mut |packet| {
            assert_eq!(Startup::decode(&cut_startup(packet)), Ok(packet));
        });
    }

    #[test]
    fn authentication_responses_round_trip(parts in parts()) {
        let (_, body) = cut(|out| PasswordMessage { password: &parts.text }.encode(out));
        let response = AuthenticationResponse { body: &body };
        prop_assert_eq!(response.password().unwrap().password, &parts.text[..]);

        for data in [None, Some(&parts.data[..])] {
            let message = SaslInitialResponse { mechanism: &parts.text, data };
            let (_, body) = cut(|out| message.encode(out));
            let response = AuthenticationResponse { body: &body };
            prop_assert_eq!(response.sasl_initial(), Ok(message));
        }
    }

    /// A truncated message is an error, or a shorter message that is valid by itself.
    #[test]
    fn truncations(parts in parts()) {
        let mut frames = Vec::new();
        each_frontend(&parts, &mut |message| frames.push(cut(|out| message.encode(out))));
        each_backend(&parts, &mut |message| frames.push(wire(message)));
        for (kind, body) in &frames {
            for end in 0..body.len() {
                decode_is_faithful(*kind, &body[..end]);
            }
        }
        each_startup(&parts, &mut |packet| {
            let body = cut_startup(packet);
            (0..body.len()).for_each(|end| startup_is_faithful(&body[..end]));
        });
    }

    /// One changed byte reaches further into the decoders than random bytes do.
    #[test]
    fn changed_bytes(parts in parts(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut frames = Vec::new();
        each_frontend(&parts, &mut |message| frames.push(cut(|out| message.encode(out))));
        each_backend(&parts, &mut |message| frames.push(wire(message)));
        for (kind, body) in frames.iter_mut().filter(|(_, body)| !body.is_empty()) {
            let at = at.index(body.len());
            body[at] = byte;
            decode_is_faithful(*kind, body);
        }
        each_startup(&parts, &mut |packet| {
            let mut body = cut_startup(packet);
            let at = at.index(body.len());
            body[at] = byte;
            startup_is_faithful(&body);
        });
    }

    #[test]
    fn arbitrary_bytes(body in vec(prop_oneof![any::<u8>(), 0..3_u8], 0..64)) {
        (0..=255).for_each(|kind| decode_is_faithful(kind, &body));
        authentication_responses_are_faithful(&body);
        for code in [PROTOCOL_3_0, 80877102, 80877103, 80877104] {
            startup_is_faithful(&[&code.to_be_bytes()[..], &body].concat());
        }
        startup_is_faithful(&body);
    }

    /// The client's way of writing a Bind gives the same bytes as the plain one.
    #[test]
    fn bind_frame(parts in parts(), in_place in any::<bool>()) {
        let values: Vec<_> = parts.values.iter().map(Option::as_deref).collect();
        let result_formats = [parts.format];
        let plain = Bind {
            portal: &parts.text,
            statement: &parts.other,
            parameter_formats: (&parts.formats).into(),
            parameters: (&values).into(),
            result_formats: (&result_formats).into(),
        };
        let framed = cut(|out| {
            let mut frame = bind::begin(out, &parts.text, &parts.other, &parts.formats)?;
            for value in &values {
                match value {
                    None => frame.null(out),
                    Some(value) if in_place => {
                        let mark = frame.begin_value(out);
                        out.extend_from_slice(value);
                        frame.end_value(out, mark)?;
                    }
                    Some(value) => frame.value(out, value)?,
                }
            }
            frame.finish(out, &result_formats)
        });
        prop_assert_eq!(framed, cut(|out| plain.encode(out)));
    }
}

// --- The documented layout, byte by byte -------------------------------------------------------

/// Asserts that a message is exactly these bytes.
#[track_caller]
fn golden(encode: impl Fn(&mut Vec<u8>) -> Result<(), EncodeError>, expected: &[&[u8]]) {
    let mut out = Vec::new();
    encode(&mut out).unwrap();
    let readable = |bytes: &[u8]| bytes.escape_ascii().to_string();
    assert_eq!(readable(&out), readable(&expected.concat()));
}

#[test]
fn golden_first_packets() {
    golden(|out| SslRequest.encode(out), &[b"\0\0\0\x08\x04\xd2\x16\x2f"]);
    golden(|out| GssencRequest.encode(out), &[b"\0\0\0\x08\x04\xd2\x16\x30"]);
    let (process_id, key) = (7, &b"\xde\xad\xbe\xef"[..]);
    golden(
        |out| CancelRequest { process_id, key }.encode(out),
        &[b"\0\0\0\x10", b"\x04\xd2\x16\x2e", b"\0\0\0\x07", key],
    );
    let parameters = [Parameter { name: b"user", value: b"joe" }, Parameter { name: b"database", value: b"shop" }];
    let startup = StartupMessage { protocol: PROTOCOL_3_0, parameters: (&parameters).into() };
    golden(|out| startup.encode(out), &[b"\0\0\0\x20", b"\0\x03\0\0", b"user\0joe\0", b"database\0shop\0", b"\0"]);
}

#[test]
fn golden_frontend() {
    golden(|out| query::write(out, b"SELECT 1"), &[b"Q", b"\0\0\0\x0d", b"SELECT 1\0"]);
    golden(
        |out| parse::write(out, b"s", b"select $1", &[23]),
        &[b"P", b"\0\0\0\x16", b"s\0", b"select $1\0", b"\0\x01", b"\0\0\0\x17"],
    );
    let values = [Some(&b"\0\0\0\x2a"[..]), None];
    let bind = Bind {
        portal: b"p",
        statement: b"s",
        parameter_formats: (&[Format::Binary]).into(),
        parameters: (&values).into(),
        result_formats: (&[Format::Text]).into(),
    };
    golden(
        |out| bind.encode(out),
        &[
            b"B",
            b"\0\0\0\x1e",
            b"p\0",
            b"s\0",
            b"\0\x01\0\x01",
            b"\0\x02",
            b"\0\0\0\x04\0\0\0\x2a",
            b"\xff\xff\xff\xff",
            b"\0\x01\0\0",
        ],
    );
    golden(|out| describe::write_statement(out, b"s"), &[b"D", b"\0\0\0\x07", b"S", b"s\0"]);
    golden(|out| close::write_portal(out, b"p"), &[b"C", b"\0\0\0\x07", b"P", b"p\0"]);
    golden(|out| execute::write(out, b"", 5), &[b"E", b"\0\0\0\x09", b"\0", b"\0\0\0\x05"]);
    golden(|out| Sync.encode(out), &[b"S", b"\0\0\0\x04"]);
    let initial = SaslInitialResponse { mechanism: b"SCRAM-SHA-256", data: Some(b"n,,") };
    golden(|out| initial.encode(out), &[b"p", b"\0\0\0\x19", b"SCRAM-SHA-256\0", b"\0\0\0\x03", b"n,,"]);
}

#[test]
fn golden_backend() {
    golden(|out| Authentication::Ok.encode(out), &[b"R", b"\0\0\0\x08", b"\0\0\0\0"]);
    let mechanisms = [&b"SCRAM-SHA-256"[..]];
    let sasl = Authentication::Sasl { mechanisms: (&mechanisms).into() };
    golden(|out| sasl.encode(out), &[b"R", b"\0\0\0\x17", b"\0\0\0\x0a", b"SCRAM-SHA-256\0", b"\0"]);
    let status = TransactionStatus::Failed;
    golden(|out| ReadyForQuery { status }.encode(out), &[b"Z", b"\0\0\0\x05", b"E"]);
    let columns = [Column { name: b"id", table_oid: 16384, attnum: 1, type_oid: 23, typlen: 4, typmod: -1, format: 0 }];
    let description = RowDescription { columns: (&columns).into() };
    golden(
        |out| description.encode(out),
        &[
            b"T",
            b"\0\0\0\x1b",
            b"\0\x01",
            b"id\0",
            b"\0\0\x40\0",
            b"\0\x01",
            b"\0\0\0\x17",
            b"\0\x04",
            b"\xff\xff\xff\xff",
            b"\0\0",
        ],
    );
    golden(
        |out| data_row::write(out, &[Some(b"42"), None, Some(b"")]),
        &[b"D", b"\0\0\0\x14", b"\0\x03", b"\0\0\0\x0242", b"\xff\xff\xff\xff", b"\0\0\0\0"],
    );
    let fields = [Field { code: fields::SEVERITY, value: b"ERROR" }, Field { code: fields::SQLSTATE, value: b"42601" }];
    let error = ErrorResponse { fields: Fields::new(&fields) };
    golden(|out| error.encode(out), &[b"E", b"\0\0\0\x13", b"SERROR\0", b"C42601\0", b"\0"]);
    let newest = PROTOCOL_3_2;
    let names = [&b"_pq_.x"[..]];
    let unrecognized = (&names).into();
    golden(
        |out| NegotiateProtocolVersion { newest, unrecognized }.encode(out),
        &[b"v", b"\0\0\0\x13", b"\0\x03\0\x02", b"\0\0\0\x01", b"_pq_.x\0"],
    );
    let columns = (&[Format::Binary, Format::Binary]).into();
    golden(
        |out| CopyOutResponse { format: Format::Binary, columns }.encode(out),
        &[b"H", b"\0\0\0\x0b", b"\x01", b"\0\x02", b"\0\x01\0\x01"],
    );
}

// --- Refusals ----------------------------------------------------------------------------------

fn problem<T: std::fmt::Debug>(result: Result<T, DecodeError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn broken_messages_say_what_is_wrong() {
    let row = b"\0\x02\0\0\0\x011\0\0\x03\x84abc";
    assert_eq!(problem(DataRow::decode(row)), "DataRow: value 2 claims 900 bytes, 3 are left");
    let negative = b"\0\x01\xff\xff\xff\xfe";
    assert_eq!(problem(DataRow::decode(negative)), "DataRow: value 1 claims -2 bytes, 0 are left");
    let trailing = b"\0\0x";
    assert_eq!(problem(DataRow::decode(trailing)), "DataRow: 1 bytes are left after the last field");
    assert_eq!(
        problem(RowDescription::decode(b"\xff\xffabc")),
        "RowDescription: 65535 columns are announced, 3 bytes are left"
    );
    assert_eq!(problem(Query::decode(b"select")), "Query: the zero byte after query string is missing");
    assert_eq!(problem(ReadyForQuery::decode(b"X")), "ReadyForQuery: transaction status cannot be 88");
    assert_eq!(problem(ErrorResponse::decode(b"SX\0")), "ErrorResponse: the zero byte after fields is missing");
    let negative = [&PROTOCOL_3_2.to_be_bytes()[..], b"\xff\xff\xff\xff"].concat();
    assert_eq!(
        problem(NegotiateProtocolVersion::decode(&negative)),
        "NegotiateProtocolVersion: option count cannot be -1"
    );
    let error = Backend::decode(b'?', b"").unwrap_err();
    assert_eq!(error.problem, Problem::UnknownKind { kind: b'?' });
    assert!(Startup::decode(&[0, 2, 0, 0, 0]).is_err());
}

#[test]
fn cancel_keys_have_4_to_256_bytes() {
    for (length, valid) in [(3, false), (4, true), (256, true), (257, false)] {
        let key = &vec![1; length][..];
        let mut out = Vec::new();
        assert_eq!(BackendKeyData { process_id: 1, key }.encode(&mut out).is_ok(), valid);
        assert_eq!(out.is_empty(), !valid);
        let body = [&[0, 0, 0, 1], key].concat();
        assert_eq!(BackendKeyData::decode(&body).is_ok(), valid);
    }
}

/// A refused message leaves the buffer as it was, so that half of it can never be sent.
#[test]
fn refused_messages_leave_nothing() {
    let too_many = vec![None; 65536];
    let names: [&[u8]; 1] = [b""];
    let (name, value) = (&b""[..], &b"x"[..]);
    let parameters = [Parameter { name, value }];
    let mut out = b"before".to_vec();
    let refused = [
        query::write(&mut out, b"a\0b"),
        parse::write(&mut out, b"", b"", &vec![0; 65536]),
        data_row::write(&mut out, &too_many),
        execute::write(&mut out, b"", u32::MAX),
        Authentication::Sasl { mechanisms: (&names).into() }.encode(&mut out),
        StartupMessage { protocol: PROTOCOL_3_0, parameters: (&parameters).into() }.encode(&mut out),
        bind::begin(&mut out, b"\0", b"", &[]).map(drop),
        bind::begin(&mut out, b"", b"", &[]).unwrap().finish(&mut out, &[Format::Text; 65536]),
    ];
    assert_eq!(refused[0], Err(EncodeError::NulByte { field: "query string" }));
    assert!(refused.iter().all(Result::is_err), "{refused:?}");
    assert_eq!(out, b"before");

    let mut frame = bind::begin(&mut out, b"", b"", &[]).unwrap();
    (0..65536).for_each(|_| frame.null(&mut out));
    let error = frame.finish(&mut out, &[]).unwrap_err();
    assert_eq!(error.to_string(), "too many parameters: 65536 > 65535");
    assert_eq!(out, b"before");
}
