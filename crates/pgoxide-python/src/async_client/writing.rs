//! From requests to bytes: at once, or once per turn of the loop, as far as the line takes them.

use std::sync::atomic::Ordering;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::{AsyncClient, Line};
use crate::awaitable::Awaitable;
use crate::io::{Moved, Socket};
use crate::spin::Wakeful;
use crate::sync::lock;

/// What a transport is given at a time: it says that it holds enough only between two writes.
const HAND_OVER: usize = 256 << 10;

impl AsyncClient {
    /// Sends now when nothing is in flight; else once in this turn of the loop, with whatever else it brings.
    #[inline]
    pub(super) fn flush_soon(&self, slf: &Bound<'_, Self>) -> PyResult<()> {
        self.reader(slf.py())?.get().keep(slf);
        if self.delivering.load(Ordering::Relaxed) {
            return Ok(());
        }
        if lock(&self.session.state).conn.is_quiet() {
            return self.flush(slf.py());
        }
        if !self.flush_armed.swap(true, Ordering::Relaxed) {
            let flush = self.reader(slf.py())?.getattr(intern!(slf.py(), "flush"))?;
            let armed = self.event_loop(slf.py())?.call_method1(intern!(slf.py(), "call_soon"), (flush,));
            armed.inspect_err(|_| self.flush_armed.store(false, Ordering::Relaxed))?;
        }
        Ok(())
    }

    /// None when a source may send more at once; else settles when it may.
    pub(crate) fn room(slf: &Bound<'_, Self>) -> PyResult<Option<Py<Awaitable>>> {
        let (py, this) = (slf.py(), slf.get());
        if this.has_room() || this.session.is_ended() {
            return Ok(None);
        }
        let reply = Py::new(py, Awaitable::new(py, slf.clone().unbind(), 0, "room"))?;
        reply.get().close_unseen();
        lock(&this.room_wanted).push(reply.clone_ref(py));
        Ok(Some(reply))
    }

    pub(super) fn has_room(&self) -> bool {
        lock(&self.session.state).conn.outgoing().len() < self.max_queued
    }

    pub(super) fn tell_of_room(&self, py: Python<'_>) -> PyResult<()> {
        if lock(&self.room_wanted).is_empty() {
            return Ok(());
        }
        let waiting = std::mem::take(&mut *lock(&self.room_wanted));
        for reply in waiting {
            if reply.get().settle(Ok(py.None())) {
                Awaitable::wake(reply.into_bound(py), false)?;
            }
        }
        Ok(())
    }

    /// Writes what may be written.
    pub(crate) fn flush(&self, py: Python<'_>) -> PyResult<()> {
        // In a child of its process it is not this one's to write to.
        if self.session.home.is_elsewhere() {
            return Ok(());
        }
        let line = *lock(&self.line);
        match line {
            Line::None => Ok(()),
            Line::Descriptor(socket) => self.flush_descriptor(py, socket),
            Line::Transport => self.flush_transport(py),
        }
    }

    pub(super) fn flush_descriptor(&self, py: Python<'_>, socket: Socket) -> PyResult<()> {
        let mut alone = false;
        let outcome = {
            let mut state = lock(&self.session.state);
            loop {
                state.conn.pump();
                if state.conn.outgoing().is_empty() {
                    break Ok(false);
                }
                alone = state.conn.unfinished() == 1;
                match socket.send(state.conn.outgoing()) {
                    Ok(Moved::Bytes(count)) => state.conn.sent(count),
                    Ok(Moved::WouldBlock | Moved::End) => break Ok(true),
                    Err(error) => break Err(error),
                }
            }
        };
        match outcome {
            Ok(more) => {
                self.want_write(py, more)?;
                if more {
                    return Ok(());
                }
                if alone && self.wakeful.get().is_some_and(Wakeful::asked) {
                    self.one_more_turn(py)?;
                }
                self.tell_of_room(py)
            }
            Err(cause) => self.lost(py, cause.into()),
        }
    }

    /// Keeps the loop awake for an answer that is about to come: `Reader::turn` follows.
    pub(super) fn one_more_turn(&self, py: Python<'_>) -> PyResult<()> {
        let turn = self.reader(py)?.getattr(intern!(py, "turn"))?;
        let event_loop = self.event_loop(py)?;
        match event_loop.call_method1(intern!(py, "call_soon"), (turn,)) {
            Ok(_) => Ok(()),
            // What a collected object still writes needs no answer.
            Err(_) if event_loop.call_method0(intern!(py, "is_closed"))?.is_truthy()? => Ok(()),
            Err(error) => {
                self.wakeful.get().inspect(|wakeful| wakeful.not_asked());
                Err(error)
            }
        }
    }

    /// Lets a forgotten connection be collected once nothing is in flight.
    pub(super) fn release_if_idle(&self, py: Python<'_>) {
        if self.session.is_quiet()
            && let Some(reader) = self.reader.get()
        {
            reader.bind(py).get().release();
        }
    }

    /// Once when the kernel's or the transport's buffer is full, and once when all has left.
    pub(super) fn want_write(&self, py: Python<'_>, wanted: bool) -> PyResult<()> {
        if self.write_armed.swap(wanted, Ordering::Relaxed) != wanted {
            self.hooks(py)?.call_method1(intern!(py, "want_write"), (wanted,))?;
        }
        Ok(())
    }

    /// Hands bytes over until the transport says that it holds enough.
    pub(super) fn flush_transport(&self, py: Python<'_>) -> PyResult<()> {
        let more = loop {
            let bytes = {
                let mut state = lock(&self.session.state);
                state.conn.pump();
                if state.conn.outgoing().is_empty() {
                    break false;
                }
                if self.transport_full.load(Ordering::Relaxed) {
                    break true;
                }
                let outgoing = state.conn.outgoing();
                let bytes = outgoing[..outgoing.len().min(HAND_OVER)].to_vec();
                state.conn.sent(bytes.len());
                bytes
            };
            self.hooks(py)?.call_method1(intern!(py, "write"), (PyBytes::new(py, &bytes),))?;
        };
        self.want_write(py, more)?;
        if more { Ok(()) } else { self.tell_of_room(py) }
    }
}
