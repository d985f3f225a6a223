//! Every decoder and text-taking encoder of the crate on the same bytes: an answer or an error, no panic, no allocation
//! beyond a small multiple of the input, and what was decoded encodes to the same value again. Shared by `hostile.rs` and
//! the libFuzzer target `fuzz/fuzz_targets/values.rs`.

#![allow(unreachable_pub, reason = "included as a module in several crates")]

mod scalars;

use pgoxide_types::{
    Result, ValueError, array, bool, bytea, composite, copy, date, float, hstore, int, json, numeric, range, text,
    timestamp, uuid,
};

/// Text of the largest numeric: sign, point, digits on both sides, and the slack of one group.
const NUMERIC_TEXT_MAX: usize = numeric::MAX_INTEGER_DIGITS + numeric::MAX_SCALE as usize + 16;

/// Adds up what it is given, so that nothing is optimised away.
#[derive(Default)]
struct Count {
    events: usize,
    bytes: usize,
    depth: usize,
}

impl Count {
    fn text(&mut self, text: &str) -> Result<()> {
        self.events += 1;
        self.bytes += text.len();
        Ok(())
    }
}

impl json::Sink for Count {
    type Error = ValueError;
    fn null(&mut self) -> Result<()> {
        self.text("")
    }
    fn boolean(&mut self, _value: bool) -> Result<()> {
        self.text("")
    }
    fn integer(&mut self, literal: &str) -> Result<()> {
        self.text(literal)
    }
    fn number(&mut self, literal: &str) -> Result<()> {
        let _ = json::float_is_exact(literal);
        self.text(literal)
    }
    fn string(&mut self, value: &str) -> Result<()> {
        self.text(value)
    }
    fn key(&mut self, name: &str) -> Result<()> {
        self.text(name)
    }
    fn begin_array(&mut self) -> Result<()> {
        self.depth += 1;
        self.text("")
    }
    fn end_array(&mut self) -> Result<()> {
        self.depth -= 1;
        self.text("")
    }
    fn begin_object(&mut self) -> Result<()> {
        self.begin_array()
    }
    fn end_object(&mut self) -> Result<()> {
        self.end_array()
    }
}

/// Every decoder and text-taking encoder of the crate on the same bytes.
pub fn decode_all(bytes: &[u8]) {
    round_trips(bytes);
    containers(bytes);
    scalars::decode_all(bytes);
    fn check<T>(result: Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                // Sentences stay short, whatever the value.
                assert!(error.to_string().chars().count() < 200, "{error}");
                None
            }
        }
    }
    check(bool::decode_binary(bytes));
    check(bool::decode_text(bytes));
    check(int::decode_binary_i16(bytes));
    check(int::decode_binary_i32(bytes));
    check(int::decode_binary_i64(bytes));
    check(int::decode_binary_u32(bytes));
    check(int::decode_text_i16(bytes));
    check(int::decode_text_i32(bytes));
    check(int::decode_text_i64(bytes));
    check(int::decode_text_u32(bytes));
    check(float::decode_binary_f32(bytes));
    check(float::decode_binary_f64(bytes));
    check(float::decode_text_f32(bytes));
    check(float::decode_text_f64(bytes));
    check(text::decode(bytes));
    check(date::decode_binary(bytes));
    check(date::decode_text(bytes));
    check(timestamp::decode_binary(bytes));
    check(timestamp::decode_text(bytes));
    check(timestamp::decode_text_tz(bytes));
    check(uuid::decode_binary(bytes));
    check(uuid::decode_text(bytes));
    check(numeric::decode_text(bytes));
    check(json::strip_jsonb(bytes));
    let _ = numeric::as_scaled_i128(bytes);

    let mut out = Vec::new();
    if check(bytea::decode_text(bytes, &mut out)).is_none() {
        assert!(out.is_empty());
    }
    assert!(out.capacity() <= bytes.len().max(16));

    let mut out = Vec::new();
    match check(numeric::decode_binary(bytes, &mut out)) {
        None => assert!(out.is_empty()),
        // What the server showed, it also takes back.
        Some(()) => {
            numeric::decode_text(&out).unwrap();
            numeric::encode_binary(&out, &mut Vec::new()).unwrap();
        }
    }
    assert!(out.capacity() <= NUMERIC_TEXT_MAX);

    let mut out = Vec::new();
    if check(numeric::encode_binary(bytes, &mut out)).is_none() {
        assert!(out.is_empty());
    }
    assert!(out.capacity() <= bytes.len() + 16);

    let mut count = Count::default();
    if check(json::parse(bytes, &mut count)).is_some() {
        assert_eq!(count.depth, 0);
    }
    assert!(count.events <= bytes.len() && count.bytes <= bytes.len());

    for dialect in [copy::Dialect::text(), copy::Dialect::csv()] {
        let mut tuple = Vec::new();
        check(dialect.read(bytes, 3, &mut tuple));
        assert!(tuple.len() <= 5 * bytes.len() + 6);
    }

    if let Ok(value) = std::str::from_utf8(bytes) {
        let mut out = Vec::new();
        json::write_string(value, &mut out);
        assert!(out.len() <= bytes.len() * 6 + 2);
        check(text::check_encode(value));
        let _ = json::float_is_exact(value);
    }
}

/// Binary in, value, binary out: the same bytes, where a value has one encoding.
fn round_trips(bytes: &[u8]) {
    let again = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        write(&mut out);
        assert_eq!(out, bytes);
    };
    if let Ok(value) = int::decode_binary_i16(bytes) {
        again(&|out| int::encode_binary_i16(value, out));
    }
    if let Ok(value) = int::decode_binary_i32(bytes) {
        again(&|out| int::encode_binary_i32(value, out));
    }
    if let Ok(value) = int::decode_binary_i64(bytes) {
        again(&|out| int::encode_binary_i64(value, out));
    }
    if let Ok(value) = int::decode_binary_u32(bytes) {
        again(&|out| int::encode_binary_u32(value, out));
    }
    if let Ok(value) = float::decode_binary_f64(bytes)
        && !value.is_nan()
    {
        again(&|out| float::encode_binary_f64(value, out));
    }
    if let Ok(value) = float::decode_binary_f32(bytes)
        && !value.is_nan()
    {
        again(&|out| float::encode_binary_f32(value, out));
    }
    if let Ok(value) = uuid::decode_binary(bytes) {
        again(&|out| uuid::encode_binary(value, out));
        let mut text = Vec::new();
        uuid::encode_text(value, &mut text);
        assert_eq!(uuid::decode_text(&text).unwrap(), value);
    }
    if let Ok(date::Date::Ymd { year, month, day }) = date::decode_binary(bytes) {
        again(&|out| date::encode_binary(year, month, day, out).unwrap());
    }
    if let Ok(value) = timestamp::decode_binary(bytes) {
        again(&|out| timestamp::encode_binary(value, out).unwrap());
    }
    let mut hex = Vec::new();
    bytea::encode_text(bytes, &mut hex);
    let mut back = Vec::new();
    bytea::decode_text(&hex, &mut back).unwrap();
    assert_eq!(back, bytes);
}

/// Values that consist of others: no part is longer than what it came in, and what was read is written and read the same.
fn containers(bytes: &[u8]) {
    if let Ok(mut array) = array::decode_binary(bytes) {
        let count = array.elements.left();
        assert!(count <= bytes.len() / 4);
        let mut total = 0;
        while array.elements.left() > 0 {
            match array.elements.next_value() {
                Ok(value) => total += value.map_or(0, <[u8]>::len),
                Err(_) => break,
            }
        }
        assert!(total <= bytes.len());
        let mut shape = Vec::new();
        array::encode_binary_shape(&array.shape, true, array.element_oid, &mut shape).unwrap();
        assert_eq!(
            array::decode_binary(&[&shape[..], bytes].concat()).map(|again| again.shape).ok(),
            Some(array.shape)
        );
    }
    for delimiter in *b",;" {
        let Ok(mut array) = array::TextArray::new(bytes, delimiter) else { continue };
        let (mut events, mut depth) = (0, 0_usize);
        while let Ok(Some(event)) = array.next_event() {
            events += 1;
            assert!(events <= bytes.len());
            match event {
                array::Event::Open => depth += 1,
                array::Event::Close => depth -= 1,
                array::Event::Value(text) => {
                    // As an element it is read back as it was.
                    let mut written = b"{".to_vec();
                    array::encode_text_element(&text, delimiter, &mut written);
                    written.push(b'}');
                    let mut again = array::TextArray::new(&written, delimiter).unwrap();
                    assert_eq!(again.next_event().unwrap(), Some(array::Event::Open));
                    assert_eq!(again.next_event().unwrap(), Some(array::Event::Value(text)));
                }
                array::Event::Null => {}
            }
            assert!(depth <= array::MAX_DIMENSIONS);
        }
    }
    if let Ok(found) = range::decode_binary(bytes) {
        assert_eq!(range::flags(&found) & 0x07, bytes[0] & range::flags(&found) & 0x07);
        let mut text = Vec::new();
        range::encode_text(&found, &mut text);
        let again = range::decode_text(&text).unwrap();
        assert_eq!((again.lower.as_deref(), again.upper.as_deref()), (found.lower, found.upper));
        assert_eq!((again.empty, again.lower_inc, again.upper_inc), (found.empty, found.lower_inc, found.upper_inc));
    }
    if let Ok(found) = range::decode_text(bytes) {
        let parts = [&found.lower, &found.upper].into_iter().flatten().map(|bound| bound.len()).sum::<usize>();
        assert!(parts <= bytes.len());
    }
    for many in [
        range::decode_binary_many(bytes).map_or(0, |ranges| ranges.len()),
        range::decode_text_many(bytes).map_or(0, |ranges| ranges.len()),
    ] {
        assert!(many <= bytes.len());
    }
    if let Ok(mut fields) = composite::decode_binary(bytes) {
        assert!(fields.left() <= bytes.len() / 8);
        while fields.left() > 0 && fields.next_field().is_ok() {}
        let _ = fields.finish();
    }
    if let Ok(fields) = composite::decode_text(bytes) {
        let mut written = b"(".to_vec();
        for (index, field) in fields.iter().enumerate() {
            if index > 0 {
                written.push(b',');
            }
            if let Some(field) = field {
                composite::encode_text_field(field, &mut written);
            }
        }
        written.push(b')');
        assert_eq!(composite::decode_text(&written).unwrap(), fields);
    }
    for pairs in [hstore::decode_binary(bytes), hstore::decode_text(bytes)].into_iter().flatten() {
        let mut written = Vec::new();
        for (index, (key, value)) in pairs.iter().enumerate() {
            hstore::encode_text_pair(key, value.as_deref(), index == 0, &mut written);
        }
        assert_eq!(hstore::decode_text(&written).unwrap(), pairs);
    }
}
