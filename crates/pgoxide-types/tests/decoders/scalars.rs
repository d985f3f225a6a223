//! The rarer scalar types: what a decoder takes, in binary or in text, is written in both forms and read as the same again.

use pgoxide_types::geometry::Figure;
use pgoxide_types::{Result, bit, geometry, inet, int, interval, lsn, macaddr, snapshot, tid, time, tsvector};

/// From bytes to a value, in whichever format they are read.
fn readings<T>(binary: Result<T>, text: Result<T>) -> impl Iterator<Item = T> {
    [binary, text].into_iter().filter_map(|result| match result {
        Ok(value) => Some(value),
        Err(error) => {
            assert!(error.to_string().chars().count() < 200, "{error}");
            None
        }
    })
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

pub(super) fn decode_all(bytes: &[u8]) {
    for value in readings(time::decode_binary(bytes), time::decode_text(bytes)) {
        let binary = written(|out| time::encode_binary(value, out).unwrap());
        let text = written(|out| time::encode_text(value, out));
        assert_eq!((time::decode_binary(&binary), time::decode_text(&text)), (Ok(value), Ok(value)));
    }
    for (value, offset) in readings(time::decode_binary_tz(bytes), time::decode_text_tz(bytes)) {
        let binary = written(|out| time::encode_binary_tz(value, offset, out).unwrap());
        let text = written(|out| time::encode_text_tz(value, offset, out));
        let again = Ok((value, offset));
        assert_eq!((time::decode_binary_tz(&binary), time::decode_text_tz(&text)), (again.clone(), again));
    }
    for value in readings(interval::decode_binary(bytes), interval::decode_text(bytes)) {
        let binary = written(|out| interval::encode_binary(value, out));
        let text = written(|out| interval::encode_text(value, out));
        assert_eq!((interval::decode_binary(&binary), interval::decode_text(&text)), (Ok(value), Ok(value)));
    }
    for cidr in [false, true] {
        for value in readings(inet::decode_binary(bytes), inet::decode_text(bytes, cidr)) {
            if cidr && !value.is_network() {
                continue;
            }
            let binary = written(|out| inet::encode_binary(value, cidr, out).unwrap());
            let text = written(|out| inet::encode_text(value, cidr, out));
            assert_eq!((inet::decode_binary(&binary), inet::decode_text(&text, cidr)), (Ok(value), Ok(value)));
        }
    }
    for value in readings(macaddr::decode_binary::<6>(bytes), macaddr::decode_text::<6>(bytes)) {
        assert_eq!(macaddr::decode_text(&written(|out| macaddr::encode_text(&value, out))), Ok(value));
    }
    for value in readings(macaddr::decode_binary::<8>(bytes), macaddr::decode_text::<8>(bytes)) {
        assert_eq!(macaddr::decode_text(&written(|out| macaddr::encode_text(&value, out))), Ok(value));
    }
    for value in readings(lsn::decode_binary(bytes), lsn::decode_text(bytes)) {
        let (binary, text) =
            (written(|out| lsn::encode_binary(value, out)), written(|out| lsn::encode_text(value, out)));
        assert_eq!((lsn::decode_binary(&binary), lsn::decode_text(&text)), (Ok(value), Ok(value)));
    }
    for (block, offset) in readings(tid::decode_binary(bytes), tid::decode_text(bytes)) {
        let binary = written(|out| tid::encode_binary(block, offset, out));
        let text = written(|out| tid::encode_text(block, offset, out));
        assert_eq!((tid::decode_binary(&binary), tid::decode_text(&text)), (Ok((block, offset)), Ok((block, offset))));
    }
    for value in readings(snapshot::decode_binary(bytes), snapshot::decode_text(bytes)) {
        assert!(value.xip.len() <= bytes.len());
        let binary = written(|out| snapshot::encode_binary(value.clone(), out).unwrap());
        let text = written(|out| snapshot::encode_text(&value, out));
        assert_eq!((snapshot::decode_binary(&binary), snapshot::decode_text(&text)), (Ok(value.clone()), Ok(value)));
    }
    for value in readings(int::decode_binary_u64(bytes), int::decode_text_u64(bytes)) {
        assert_eq!(int::decode_binary_u64(&written(|out| int::encode_binary_u64(value, out))), Ok(value));
        assert_eq!(int::decode_text_u64(value.to_string().as_bytes()), Ok(value));
    }
    bits(bytes);
    figures(bytes);
    documents(bytes);
}

fn bits(bytes: &[u8]) {
    let mut from_text = Vec::new();
    let text = bit::decode_text(bytes, &mut from_text);
    assert!(from_text.len() <= bytes.len());
    for (count, data) in readings(bit::decode_binary(bytes), text.map(|count| (count, &from_text[..]))) {
        let binary = written(|out| bit::encode_binary(count, data, out).unwrap());
        assert_eq!(bit::decode_binary(&binary), Ok((count, data)));
        let text = written(|out| bit::encode_text(count, data, out));
        let mut again = Vec::new();
        assert_eq!(bit::decode_text(&text, &mut again), Ok(count));
        assert_eq!(again, data);
    }
}

fn figures(bytes: &[u8]) {
    for figure in [Figure::Point, Figure::Line, Figure::Lseg, Figure::Box, Figure::Circle] {
        for values in readings(geometry::decode_binary(figure, bytes), geometry::decode_text(figure, bytes)) {
            let values = &values[..figure.width()];
            let text = written(|out| geometry::encode_text(figure, values, out));
            let again = geometry::decode_text(figure, &text).unwrap();
            assert!(values.iter().zip(again).all(|(one, other)| *one == other || one.is_nan() && other.is_nan()));
        }
    }
    let mut path = Vec::new();
    if geometry::path_from_text(bytes, &mut path).is_err() {
        assert!(path.is_empty());
        path.extend_from_slice(bytes);
    }
    assert!(path.len() <= bytes.len() * 8 + 5);
    if let Ok((closed, points)) = geometry::decode_path(&path) {
        assert!(points.left() <= bytes.len());
        let text = written(|out| geometry::points_to_text(Some(closed), points.clone(), out));
        let again = written(|out| geometry::path_from_text(&text, out).unwrap());
        let (flag, read) = geometry::decode_path(&again).unwrap();
        assert_eq!((flag, read.left()), (closed, points.left()));
    }
    let mut polygon = Vec::new();
    if geometry::polygon_from_text(bytes, &mut polygon).is_err() {
        assert!(polygon.is_empty());
    }
    let _ = geometry::decode_polygon(bytes).map(Iterator::count);
}

fn documents(bytes: &[u8]) {
    for lexemes in readings(tsvector::decode_binary(bytes), tsvector::decode_text(bytes)) {
        assert!(lexemes.len() <= bytes.len());
        let binary = written(|out| tsvector::encode_binary(&lexemes, out).unwrap());
        assert_eq!(tsvector::decode_binary(&binary).as_ref(), Ok(&lexemes));
        // In text equal lexemes are put together.
        let text = written(|out| tsvector::encode_text(&lexemes, out));
        let sorted = tsvector::decode_text(&text).unwrap();
        assert_eq!(tsvector::decode_text(&written(|out| tsvector::encode_text(&sorted, out))).as_ref(), Ok(&sorted));
    }
}
