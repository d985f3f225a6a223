//! The receive page: one reused buffer that frames are read into and decoded out of.
//!
//! Rows are decoded where they arrived. What is left of an incomplete frame moves to the front of the page
//! before the next read, so a frame is always contiguous. The page grows only as the bytes of a large frame
//! really arrive, never because a length field claims them, and shrinks back once it is empty.

/// Bytes received and not yet consumed, with room for the next read.
#[derive(Debug)]
pub struct RecvBuffer {
    page: Vec<u8>,
    start: usize,
    end: usize,
    page_size: usize,
}

impl RecvBuffer {
    /// An empty buffer whose page holds `page_size` bytes between large frames. Nothing is allocated yet.
    #[must_use]
    pub const fn new(page_size: usize) -> Self {
        Self { page: Vec::new(), start: 0, end: 0, page_size }
    }

    /// Room for the next read: never empty.
    pub fn spare(&mut self) -> &mut [u8] {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
            if self.page.len() != self.page_size {
                self.page = vec![0; self.page_size];
            }
        } else if self.end == self.page.len() {
            self.make_room();
        }
        &mut self.page[self.end..]
    }

    /// Moves the incomplete frame to the front; a frame that fills the page doubles it.
    fn make_room(&mut self) {
        if self.start > 0 {
            self.page.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end > self.page.len() / 2 {
            self.page.resize(self.page.len() * 2, 0);
        }
    }

    /// The first `count` bytes of [`spare`](Self::spare) have been filled.
    ///
    /// # Panics
    /// When `count` is larger than the spare room: a bug of the caller, never of the peer.
    pub fn filled(&mut self, count: usize) {
        assert!(self.end + count <= self.page.len(), "more bytes filled than there was room for");
        self.end += count;
    }

    /// What has arrived and was not consumed.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.page[self.start..self.end]
    }

    /// The first `count` bytes of [`data`](Self::data) are done with.
    pub fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
    }

    /// Bytes the page occupies now.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.page.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(buffer: &mut RecvBuffer, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let spare = buffer.spare();
            let n = spare.len().min(rest.len());
            spare[..n].copy_from_slice(&rest[..n]);
            buffer.filled(n);
            rest = &rest[n..];
        }
    }

    #[test]
    fn keeps_order_across_moves_and_growth() {
        let mut buffer = RecvBuffer::new(8);
        read(&mut buffer, b"abcdef");
        buffer.consume(4);
        read(&mut buffer, b"ghijklmnopqrstuvwxyz");
        assert_eq!(buffer.data(), b"efghijklmnopqrstuvwxyz");
        assert!(buffer.capacity() >= 22);
    }

    #[test]
    fn shrinks_back_when_empty() {
        let mut buffer = RecvBuffer::new(8);
        read(&mut buffer, &[7; 100]);
        buffer.consume(100);
        assert_eq!(buffer.spare().len(), 8);
    }
}
