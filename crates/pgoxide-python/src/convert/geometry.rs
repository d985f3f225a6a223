//! The geometric types as named tuples of floats.

use pgoxide_types::geometry::{self as wire, Figure, Points};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyList, PyString, PyTuple, PyType};

use super::{Converted, float, refuse, wrong_type};
use crate::ffi::tuple;
use crate::pyimport;

fn point(py: Python<'_>, x: f64, y: f64) -> Converted<'_> {
    tuple::named(pyimport::point(py)?, [PyFloat::new(py, x).into_any(), PyFloat::new(py, y).into_any()])
}

fn build<'py>(py: Python<'py>, figure: Figure, [a, b, c, d]: [f64; 4]) -> Converted<'py> {
    let double = |value| PyFloat::new(py, value).into_any();
    let two = |class: &Bound<'py, PyType>| tuple::named(class, [point(py, a, b)?, point(py, c, d)?]);
    match figure {
        Figure::Point => point(py, a, b),
        Figure::Line => tuple::named(pyimport::line(py)?, [double(a), double(b), double(c)]),
        Figure::Lseg => two(pyimport::line_segment(py)?),
        Figure::Box => two(pyimport::rectangle(py)?),
        Figure::Circle => tuple::named(pyimport::circle(py)?, [point(py, a, b)?, double(c)]),
    }
}

pub(super) fn decode<'py>(py: Python<'py>, figure: Figure, raw: &[u8]) -> Converted<'py> {
    build(py, figure, wire::decode_binary(figure, raw).map_err(|e| refuse(py, &e))?)
}

pub(super) fn decode_text<'py>(py: Python<'py>, figure: Figure, raw: &[u8]) -> Converted<'py> {
    build(py, figure, wire::decode_text(figure, raw).map_err(|e| refuse(py, &e))?)
}

fn points<'py>(py: Python<'py>, points: Points<'_>) -> Converted<'py> {
    tuple::scalars(py, points.map(|(x, y)| point(py, x, y)))
}

pub(super) fn decode_path<'py>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
    let (closed, corners) = wire::decode_path(raw).map_err(|e| refuse(py, &e))?;
    tuple::named(pyimport::path(py)?, [points(py, corners)?, PyBool::new(py, closed).to_owned().into_any()])
}

pub(super) fn decode_polygon<'py>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
    let corners = wire::decode_polygon(raw).map_err(|e| refuse(py, &e))?;
    tuple::named(pyimport::polygon(py)?, [points(py, corners)?])
}

pub(super) fn decode_path_text<'py>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
    let mut binary = Vec::new();
    wire::path_from_text(raw, &mut binary).map_err(|e| refuse(py, &e))?;
    decode_path(py, &binary)
}

pub(super) fn decode_polygon_text<'py>(py: Python<'py>, raw: &[u8]) -> Converted<'py> {
    let mut binary = Vec::new();
    wire::polygon_from_text(raw, &mut binary).map_err(|e| refuse(py, &e))?;
    decode_polygon(py, &binary)
}

/// The items of a tuple or list of this length.
fn items<'py, const N: usize>(value: &Bound<'py, PyAny>, expected: &str) -> PyResult<[Bound<'py, PyAny>; N]> {
    sequence(value).and_then(|items| items.try_into().ok()).ok_or_else(|| wrong_type(value, expected))
}

fn sequence<'py>(value: &Bound<'py, PyAny>) -> Option<Vec<Bound<'py, PyAny>>> {
    if let Ok(tuple) = value.cast::<PyTuple>() {
        return Some(tuple.iter().collect());
    }
    value.cast::<PyList>().ok().map(|list| list.iter().collect())
}

fn write_point(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    let [x, y] = items(value, "Point, or two numbers")?;
    wire::encode_binary(&[float::number(&x)?, float::number(&y)?], out);
    Ok(())
}

/// The class, a tuple or list of the same shape, or the server's text.
pub(super) fn encode(value: &Bound<'_, PyAny>, figure: Figure, out: &mut Vec<u8>) -> PyResult<()> {
    let py = value.py();
    if let Ok(text) = value.cast::<PyString>() {
        let values = wire::decode_text(figure, text.to_string_lossy().as_bytes()).map_err(|e| refuse(py, &e))?;
        wire::encode_binary(&values[..figure.width()], out);
        return Ok(());
    }
    match figure {
        Figure::Point => write_point(value, out),
        Figure::Line => {
            let numbers: [_; 3] = items(value, "Line, or three numbers")?;
            for number in &numbers {
                wire::encode_binary(&[float::number(number)?], out);
            }
            Ok(())
        }
        Figure::Lseg | Figure::Box => {
            let expected = if figure == Figure::Box { "Box, or two points" } else { "LineSegment, or two points" };
            let [first, second] = items(value, expected)?;
            write_point(&first, out)?;
            write_point(&second, out)
        }
        Figure::Circle => {
            let [center, radius] = items(value, "Circle, or a point and a radius")?;
            write_point(&center, out)?;
            wire::encode_binary(&[float::number(&radius)?], out);
            Ok(())
        }
    }
}

/// `Path`, or the server's text. Points alone do not say whether they close.
pub(super) fn encode_path(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    let py = value.py();
    if let Ok(text) = value.cast::<PyString>() {
        return wire::path_from_text(text.to_string_lossy().as_bytes(), out).map_err(|e| refuse(py, &e));
    }
    if !value.is_instance(pyimport::path(py)?)? {
        return Err(wrong_type(value, "Path (which says whether it is closed)"));
    }
    let [points, closed] = items(value, "Path")?;
    let closed = closed.cast::<PyBool>().map_err(|_| wrong_type(&closed, "bool for a path's closed"))?;
    write_points(&points, Some(closed.is_true()), out)
}

/// `Polygon`, a tuple or list of points, or the server's text.
pub(super) fn encode_polygon(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    let py = value.py();
    if let Ok(text) = value.cast::<PyString>() {
        return wire::polygon_from_text(text.to_string_lossy().as_bytes(), out).map_err(|e| refuse(py, &e));
    }
    if value.is_instance(pyimport::polygon(py)?)? {
        let [points] = items(value, "Polygon")?;
        return write_points(&points, None, out);
    }
    write_points(value, None, out)
}

fn write_points(value: &Bound<'_, PyAny>, closed: Option<bool>, out: &mut Vec<u8>) -> PyResult<()> {
    let py = value.py();
    let points = sequence(value).ok_or_else(|| wrong_type(value, "a tuple or list of points"))?;
    wire::begin_points(closed, points.len(), out).map_err(|e| refuse(py, &e))?;
    points.iter().try_for_each(|point| write_point(point, out))
}
