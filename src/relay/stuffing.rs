//! A message as it goes over the wire, up to the dot that ends it (RFC 5321 section 4.5.2).
//!
//! A dot is put before every dot at the start of a line, and CRLF behind the last line where it is
//! missing; nothing else changes: NUL, bare CR, bare LF and long lines go as they are. A line starts
//! at the beginning and after CRLF, nowhere else: a dot after a bare LF that were doubled would stay
//! doubled at the other side. Nothing is copied: what comes out are pieces of the message.

use memchr::memmem::Finder;

/// The pieces, in order, none of them empty.
pub struct Stuffed<'m> {
    rest: &'m [u8],
    next: Next,
    stuffed: Finder<'static>,
    ends: bool,
}

/// What the next piece is.
enum Next {
    /// A dot, if one stands at the front.
    LineStart,
    Content,
    /// The line end that the message has not.
    LineEnd,
}

impl<'m> Stuffed<'m> {
    /// The pieces of this message.
    pub fn new(message: &'m [u8]) -> Stuffed<'m> {
        Stuffed {
            rest: message,
            next: Next::LineStart,
            stuffed: Finder::new(b"\r\n."),
            ends: message.is_empty() || message.ends_with(b"\r\n"),
        }
    }
}

impl<'m> Iterator for Stuffed<'m> {
    type Item = &'m [u8];

    fn next(&mut self) -> Option<&'m [u8]> {
        if let (Next::LineStart, [b'.', ..]) = (&self.next, self.rest) {
            self.next = Next::Content;
            return Some(b".");
        }
        if self.rest.is_empty() {
            let missing = !self.ends && !matches!(self.next, Next::LineEnd);
            self.next = Next::LineEnd;
            return missing.then_some(b"\r\n");
        }
        let end = self.stuffed.find(self.rest);
        let (piece, rest) = match end.and_then(|crlf| self.rest.split_at_checked(crlf + 2)) {
            Some(halves) => {
                self.next = Next::LineStart;
                halves
            }
            None => (self.rest, Default::default()),
        };
        self.rest = rest;
        Some(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::data::{DataReader, Event};
    use proptest::prelude::*;

    fn wire(message: &[u8]) -> Vec<u8> {
        Stuffed::new(message)
            .inspect(|piece| assert!(!piece.is_empty()))
            .flatten()
            .copied()
            .collect()
    }

    #[test]
    fn dots_and_ends_of_lines() {
        for (message, expected) in [
            (&b""[..], &b""[..]),
            (b"a", b"a\r\n"),
            (b"a\r\n", b"a\r\n"),
            (b".", b"..\r\n"),
            (b".\r\n.\r\n", b"..\r\n..\r\n"),
            (b"..\r\n...", b"...\r\n....\r\n"),
            (b"a.b\r\n.c", b"a.b\r\n..c\r\n"),
            (b"a\n.b\n", b"a\n.b\n\r\n"),
            (b"a\r.b\r", b"a\r.b\r\r\n"),
            (b"\r\n\r\n.", b"\r\n\r\n..\r\n"),
            (b"\0\xff\r\n", b"\0\xff\r\n"),
        ] {
            assert_eq!(wire(message), expected, "{}", message.escape_ascii());
        }
    }

    #[test]
    fn a_message_without_dots_is_one_piece() {
        let message = b"Subject: x\r\n\r\nline\r\n".repeat(1000);
        let pieces: Vec<_> = Stuffed::new(&message).collect();
        assert_eq!(pieces, [&message[..]]);
    }

    /// What the receiver's own reader makes of it, in pieces of the sizes given.
    fn read_back(wire: &[u8], sizes: &[usize]) -> (Vec<u8>, bool) {
        let mut reader = DataReader::new();
        let mut content = Vec::new();
        let (mut from, mut sizes) = (0, sizes.iter().cycle());
        while from < wire.len() {
            let to = (from + sizes.next().unwrap()).min(wire.len());
            loop {
                let (used, event) = reader.next(&wire[from..to]);
                from += used;
                match event {
                    Event::Content(bytes) => content.extend_from_slice(bytes),
                    Event::End => return (content, from == wire.len()),
                    Event::More => break,
                }
            }
        }
        (content, false)
    }

    /// The rule again, as plainly as it can be said: line by line.
    fn unstuffed(wire: &[u8]) -> Vec<u8> {
        let mut content = Vec::new();
        let mut rest = wire;
        while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
            let (line, after) = rest.split_at(end + 2);
            content.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
            rest = after;
        }
        assert!(rest.is_empty(), "the last line ends");
        content
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_comes_out_is_what_went_in(
            message in prop::collection::vec(prop::sample::select(&b"\r\n.a\0"[..]), 0..40),
            sizes in prop::collection::vec(1usize..9, 1..6),
        ) {
            let mut expected = message.clone();
            if !message.is_empty() && !message.ends_with(b"\r\n") {
                expected.extend_from_slice(b"\r\n");
            }
            let mut wire = wire(&message);
            prop_assert_eq!(unstuffed(&wire), &expected[..]);
            wire.extend_from_slice(b".\r\n");
            prop_assert_eq!(read_back(&wire, &sizes), (expected, true));
        }
    }
}
