"""The geometric types, as named tuples of floats.

NaN and infinities are values like others. As parameters they may be any sequences of the same shape, or the server's text;
only a path must be a `Path`, which says whether it is closed.
Source: the manual's chapter "Geometric Types".
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Box", "Circle", "Line", "LineSegment", "Path", "Point", "Polygon"]


class Point(NamedTuple):
    """A point (type `point`).

    >>> x, y = Point(1.0, 2.0)
    >>> x, y
    (1.0, 2.0)
    """

    x: float
    y: float


class Line(NamedTuple):
    """The infinite line a*x + b*y + c = 0 (type `line`); a and b are not both zero."""

    a: float
    b: float
    c: float


class LineSegment(NamedTuple):
    """A line from start to end (type `lseg`)."""

    start: Point
    end: Point


class Box(NamedTuple):
    """A rectangle (type `box`), as the server keeps it: its upper right corner, then its lower left one.

    As a parameter it may have any two opposite corners; the server puts them in order.
    """

    high: Point
    low: Point


class Path(NamedTuple):
    """Points one after the other (type `path`), from the last of which a closed path leads back to the first.

    >>> Path((Point(0, 0), Point(1, 1)), closed=False).closed
    False
    """

    points: tuple[Point, ...]
    closed: bool


class Polygon(NamedTuple):
    """The corners of a polygon (type `polygon`)."""

    points: tuple[Point, ...]


class Circle(NamedTuple):
    """A circle (type `circle`); its radius is not negative."""

    center: Point
    radius: float
