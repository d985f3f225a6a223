//! What documents have in common: the names of their members, the shapes of their objects, short texts. Each is made once.

use std::sync::Mutex;

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::ffi::shape::Shape;
use crate::ffi::unicode;
use crate::sync::lock;

/// What earlier documents had. It is taken out by whoever decodes a document; another one meanwhile, started by code that
/// making an object may run, begins without.
static SEEN: Mutex<Option<Box<Seen>>> = Mutex::new(None);

#[derive(Default)]
pub(super) struct Seen {
    pub(super) keys: Keys,
    pub(super) shapes: Shapes,
    /// Only while one result is read.
    texts: Option<Texts>,
}

impl Seen {
    pub(super) fn take() -> Box<Self> {
        lock(&SEEN).take().unwrap_or_default()
    }

    /// For the next document.
    pub(super) fn give_back(self: Box<Self>) {
        let replaced = lock(&SEEN).replace(self);
        drop(replaced);
    }

    #[inline]
    pub(super) fn text<'py>(&mut self, py: Python<'py>, text: &[u8]) -> PyResult<Bound<'py, PyString>> {
        match &mut self.texts {
            Some(texts) => texts.get(py, text),
            None => unicode::from_utf8(py, text),
        }
    }
}

/// Runs `read`, which reads documents of one result: short texts that they have in common are made once.
pub(crate) fn sharing_texts<R>(read: impl FnOnce() -> R) -> R {
    let share = |texts| std::mem::replace(&mut lock(&SEEN).get_or_insert_default().texts, texts);
    share(Some(Texts::default()));
    let result = read();
    // No value of the user's is kept.
    let texts = share(None);
    drop(texts);
    result
}

/// Texts by their length and their first and last bytes, which is all there is of such short ones.
#[derive(Default)]
struct Texts(Vec<Option<(Tag, Py<PyString>)>>);

type Tag = (u64, u64, usize);

impl Texts {
    const COUNT: usize = 256;

    #[inline]
    fn get<'py>(&mut self, py: Python<'py>, text: &[u8]) -> PyResult<Bound<'py, PyString>> {
        let Some(tag) = Self::tag(text) else { return unicode::from_utf8(py, text) };
        if self.0.is_empty() {
            self.0.resize_with(Self::COUNT, || None);
        }
        let known = &mut self.0[place(text) % Self::COUNT];
        if let Some((same, text)) = known
            && *same == tag
        {
            return Ok(text.bind(py).clone());
        }
        let made = unicode::from_utf8(py, text)?;
        *known = Some((tag, made.clone().unbind()));
        Ok(made)
    }

    #[inline]
    fn tag(text: &[u8]) -> Option<Tag> {
        let (first, last) = match text.len() {
            2..4 => (u16::from_le_bytes(*text.first_chunk()?).into(), u16::from_le_bytes(*text.last_chunk()?).into()),
            4..8 => (u32::from_le_bytes(*text.first_chunk()?).into(), u32::from_le_bytes(*text.last_chunk()?).into()),
            8..=16 => (u64::from_le_bytes(*text.first_chunk()?), u64::from_le_bytes(*text.last_chunk()?)),
            _ => return None,
        };
        Some((first, last, text.len()))
    }
}

/// The names of members seen lately. Documents of one table have the same ones: each is made and hashed once, and dicts
/// find them by identity. No value of the user's is kept.
#[derive(Default)]
pub(super) struct Keys {
    known: Vec<Known>,
    /// The place of the last one.
    last: usize,
}

/// A name, as the bytes of the document and as Python has it.
#[derive(Default)]
struct Known {
    length: usize,
    /// With its closing quote.
    name: [u8; Keys::LONGEST + 1],
    /// It stands in documents as it is.
    plain: bool,
    key: Option<Py<PyString>>,
    /// The place of the one that followed it.
    next: usize,
}

impl Known {
    /// `text` begins with it and its closing quote.
    #[inline]
    fn begins(&self, text: &[u8]) -> bool {
        match (text.first_chunk(), self.name.first_chunk()) {
            (Some(text), Some(name)) if self.length < 8 => {
                let differs = u64::from_le_bytes(*text) ^ u64::from_le_bytes(*name);
                differs << (56 - 8 * self.length) == 0
            }
            _ => text.starts_with(self.name.get(..=self.length).unwrap_or(b"\"")),
        }
    }
}

impl Keys {
    const COUNT: usize = 512;
    const LONGEST: usize = 31;

    #[inline]
    pub(super) fn get<'py>(&mut self, py: Python<'py>, name: &[u8]) -> PyResult<Bound<'py, PyString>> {
        if name.len() > Self::LONGEST {
            return unicode::from_utf8(py, name);
        }
        if self.known.is_empty() {
            self.known.resize_with(Self::COUNT, Known::default);
        }
        let at = place(name) % Self::COUNT;
        self.known[self.last].next = at;
        self.last = at;
        let known = &mut self.known[at];
        if let Some(key) = &known.key
            && known.name.get(..known.length) == Some(name)
        {
            return Ok(key.bind(py).clone());
        }
        let made = unicode::from_utf8(py, name)?;
        known.length = name.len();
        known.name[..name.len()].copy_from_slice(name);
        known.name[name.len()] = b'"';
        known.plain = name.iter().all(|byte| !matches!(byte, 0..0x20 | b'"' | b'\\'));
        known.key = Some(made.clone().unbind());
        Ok(made)
    }

    /// The name that followed the last one before, if `text` begins with it; and its length. Documents of one table have their
    /// members in the same order, so that most names are only compared.
    #[inline]
    pub(super) fn expected<'py>(&mut self, py: Python<'py>, text: &[u8]) -> Option<(Bound<'py, PyString>, usize)> {
        let next = self.known.get(self.last)?.next;
        let known = self.known.get(next)?;
        let key = known.key.as_ref().filter(|_| known.plain)?;
        if !known.begins(text) {
            return None;
        }
        self.last = next;
        Some((key.bind(py).clone(), known.length))
    }
}

/// What objects have the same keys in the same order, as those of one table's documents do.
#[derive(Default)]
pub(super) struct Shapes(Vec<Kin>);

/// Objects of the same keys.
#[derive(Default)]
struct Kin {
    /// Of the keys. That others have the same one costs time only.
    tag: u64,
    /// How many there were lately, less those of other keys that would have this place.
    votes: u8,
    /// Once there are many.
    keys: Box<[Py<PyAny>]>,
    shape: Option<Shape>,
}

impl Shapes {
    /// Each has one of `WAYS` places, so that those of one document do not displace each other.
    const WAYS: usize = 4;
    const COUNT: usize = 32 * Self::WAYS;
    /// From so many on it pays to make a shape: it takes 15 us, and spares 0.1 us of each dict.
    const MANY: u8 = 128;

    /// The shape of dicts with these keys, if there were many of them.
    #[inline]
    pub(super) fn of<'py>(&mut self, py: Python<'py>, keys: &[Bound<'py, PyAny>]) -> PyResult<Option<&Shape>> {
        if keys.is_empty() || keys.len() > Shape::MOST {
            return Ok(None);
        }
        if self.0.is_empty() {
            self.0.resize_with(Self::COUNT, Kin::default);
        }
        let mixed = keys.iter().fold(0u64, |mixed, key| mixed.rotate_left(7) ^ key.as_ptr().addr() as u64);
        let tag = mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let begin = (tag >> 32) as usize % Self::COUNT / Self::WAYS * Self::WAYS;
        let kins = &mut self.0[begin..begin + Self::WAYS];
        let Some(place) = kins.iter().position(|kin| kin.tag == tag && kin.shape.is_some()) else {
            vote(py, kins, tag, keys)?;
            return Ok(None);
        };
        let kin = &mut kins[place];
        kin.votes = Self::MANY;
        let same = kin.keys.len() == keys.len() && kin.keys.iter().zip(keys).all(|(one, other)| one.is(other));
        Ok(kin.shape.as_ref().filter(|_| same))
    }
}

/// Counts objects whose keys have no shape.
fn vote<'py>(py: Python<'py>, kins: &mut [Kin], tag: u64, keys: &[Bound<'py, PyAny>]) -> PyResult<()> {
    let place = kins.iter().position(|kin| kin.tag == tag);
    let place = place.or_else(|| (0..kins.len()).min_by_key(|&place| kins[place].votes));
    let Some(kin) = place.and_then(|place| kins.get_mut(place)) else { return Ok(()) };
    if kin.tag == tag {
        kin.votes = kin.votes.saturating_add(1);
    } else if kin.votes > 0 {
        kin.votes -= 1;
    } else {
        *kin = Kin { tag, ..Kin::default() };
    }
    if kin.votes == Shapes::MANY && kin.keys.is_empty() {
        kin.keys = keys.iter().map(|key| key.clone().unbind()).collect();
        kin.shape = Shape::new(py, keys)?;
    }
    Ok(())
}

/// Where a text is kept: by its length, its beginning and its end. A bad choice costs time only: texts displace each other.
#[inline]
fn place(name: &[u8]) -> usize {
    let mix = |one: u64, other: u64| {
        let mixed = (one ^ other.rotate_left(29) ^ name.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed >> 40) as usize
    };
    if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
        mix(u64::from_le_bytes(*first), u64::from_le_bytes(*last))
    } else if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
        mix(u32::from_le_bytes(*first).into(), u32::from_le_bytes(*last).into())
    } else {
        name.iter().fold(0, |hash, byte| hash * 31 + usize::from(*byte))
    }
}
