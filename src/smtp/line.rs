//! Cuts command lines out of the byte stream (RFC 5321 §2.3.8, §4.5.3.1.4).
//!
//! A line ends in LF; a CR before it belongs to the line end and is left to the reader of the
//! line, who takes it for white space. A bare LF is accepted here, as Postfix does: between
//! commands it cannot be abused, since no message content is near (for content see
//! [`data`](super::data)).
//!
//! Lines that lie whole in the input are lent from it without a copy. A partial line is kept, up
//! to the limit that the caller gives, mostly [`MAX_LINE`] bytes. Of a longer one only so much is
//! kept: the rest is passed over up to the next LF, and its beginning is handed out once, at its
//! end.

use std::mem;

/// Longest command line in bytes, line end included. RFC 5321 §4.5.3.1.4 asks for 512 at least;
/// this is the default of Postfix's `line_length_limit`.
pub const MAX_LINE: usize = 2048;

/// What [`LineBuffer::next`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// The input ended before the line did.
    Partial,
    /// A line, its LF included.
    Whole(&'a [u8]),
    /// The beginning of a line longer than the limit, which has ended now.
    TooLong(&'a [u8]),
}

/// Holds the line that the last read left unfinished.
#[derive(Debug, Default)]
pub(super) struct LineBuffer {
    partial: Vec<u8>,
    /// The line has outgrown its limit; the rest of it is passed over.
    overflowed: bool,
    /// `partial` was lent out as a whole line and is stale.
    lent: bool,
}

impl LineBuffer {
    /// Bytes that it holds.
    pub(super) fn held(&self) -> usize {
        self.partial.capacity()
    }

    /// Takes bytes from `input` up to the first LF; returns how many, and what they made. A line
    /// of more than `limit` bytes is too long.
    pub(super) fn next<'a>(&'a mut self, input: &'a [u8], limit: usize) -> (usize, Line<'a>) {
        if self.lent {
            self.partial.clear();
            self.lent = false;
        }
        let (head, ended) = match memchr::memchr(b'\n', input) {
            Some(at) => (input.get(..=at).unwrap_or(input), true),
            None => (input, false),
        };
        let used = head.len();
        let room = limit.saturating_sub(self.partial.len());
        self.overflowed |= used > room;
        let kept = head.get(..room).unwrap_or(head);
        let whole = match self.partial.is_empty() {
            true if ended => kept,
            _ => {
                self.partial.extend_from_slice(kept);
                if !ended {
                    return (used, Line::Partial);
                }
                self.lent = true;
                &self.partial
            }
        };
        match mem::take(&mut self.overflowed) {
            true => (used, Line::TooLong(whole)),
            false => (used, Line::Whole(whole)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lends_whole_lines_and_joins_partial_ones() {
        let mut lines = LineBuffer::default();
        assert_eq!(
            lines.next(b"NOOP\r\nQU", MAX_LINE),
            (6, Line::Whole(b"NOOP\r\n"))
        );
        assert_eq!(lines.next(b"QU", MAX_LINE), (2, Line::Partial));
        assert_eq!(lines.next(b"", MAX_LINE), (0, Line::Partial));
        assert_eq!(lines.next(b"IT\nX", MAX_LINE), (3, Line::Whole(b"QUIT\n")));
        assert_eq!(lines.next(b"X", MAX_LINE), (1, Line::Partial));
        assert_eq!(lines.next(b"\n", MAX_LINE), (1, Line::Whole(b"X\n")));
    }

    #[test]
    fn the_limit_is_the_same_however_the_line_arrives() {
        for (length, fits) in [(MAX_LINE, true), (MAX_LINE + 1, false)] {
            let mut line = vec![b'a'; length - 1];
            line.push(b'\n');
            let mut whole = LineBuffer::default();
            let (used, found) = whole.next(&line, MAX_LINE);
            assert_eq!(used, length);
            assert_eq!(found == Line::Whole(&line), fits);
            assert_eq!(found == Line::TooLong(&line[..MAX_LINE.min(length)]), !fits);

            let mut bytewise = LineBuffer::default();
            let (last, rest) = line.split_last().unwrap();
            for byte in rest {
                assert_eq!(
                    bytewise.next(std::slice::from_ref(byte), MAX_LINE),
                    (1, Line::Partial)
                );
            }
            let (_, found) = bytewise.next(std::slice::from_ref(last), MAX_LINE);
            assert_eq!(found == Line::Whole(&line), fits);
            assert_eq!(found == Line::TooLong(&line[..MAX_LINE.min(length)]), !fits);
        }
    }

    #[test]
    fn an_endless_line_keeps_its_beginning_only() {
        let mut lines = LineBuffer::default();
        for _ in 0..1000 {
            assert_eq!(lines.next(&[b'a'; 999], MAX_LINE), (999, Line::Partial));
            assert!(lines.partial.capacity() <= 2 * MAX_LINE);
        }
        let beginning = [b'a'; MAX_LINE];
        assert_eq!(
            lines.next(b"\nNOOP\n", MAX_LINE),
            (1, Line::TooLong(&beginning))
        );
        assert_eq!(lines.next(b"NOOP\n", MAX_LINE), (5, Line::Whole(b"NOOP\n")));
    }
}
