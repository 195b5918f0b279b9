//! Reads message content after `354` (RFC 5321 §4.1.1.4, §4.5.2) without keeping it.
//!
//! # Contract
//!
//! - The only end of data is `<CR><LF>.<CR><LF>`, or `.<CR><LF>` as the very first bytes, which
//!   is the empty message. The CRLF before the dot belongs to the content.
//! - A line starts at the beginning of data and after CRLF, nowhere else. One dot at a line start
//!   that does not end the data is removed (dot-unstuffing).
//! - Everything else is content and stays byte for byte: NUL, bare CR, bare LF, and the sequences
//!   that some servers take for an end of data (`<LF>.<LF>`, `<LF>.<CR><LF>`, `<CR>.<CR>`,
//!   `<CR><LF>.<LF>` and their kin). Were one of them an end here and not at the sender's relay,
//!   a second message could be smuggled inside the first (CVE-2023-51764 and relatives).
//! - The result does not depend on where the input is cut. At most two bytes (`.` and CR) wait
//!   for what follows; they are remembered as a state, not stored.
//!
//! It cannot fail: any bytes are content until the end of data comes. How long that may be is for
//! the caller to bound.
//!
//! Content is handed out as slices of the input, each reaching to the next stuffed dot or to the
//! end of the input, so that the cost is one vectorised search for the three bytes CR LF dot.

use memchr::memmem::Finder;

/// What [`DataReader::next`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// Unstuffed content, never empty.
    Content(&'a [u8]),
    /// The end of data. The reader is spent; what follows in the input is commands.
    End,
    /// The input is used up and more is needed.
    More,
}

/// Where in a line the reader stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// At the start of data or right after CRLF.
    LineStart,
    /// After a dot at a line start; the dot waits.
    Dot,
    /// After a dot and a CR at a line start; both wait.
    DotCr,
    /// After a CR that was handed out as content.
    Cr,
    /// Anywhere else.
    Within,
}

/// The state of one message's content. Make a new one for each message.
#[derive(Debug, Clone)]
pub struct DataReader {
    at: At,
    stuffed: Finder<'static>,
}

impl Default for DataReader {
    fn default() -> Self {
        Self::new()
    }
}

impl DataReader {
    /// A reader at the beginning of a message.
    pub fn new() -> Self {
        DataReader {
            at: At::LineStart,
            stuffed: Finder::new(b"\r\n."),
        }
    }

    /// Takes bytes from the front of `input`; returns how many were taken and what they mean.
    ///
    /// Call it again with the rest of the input until it returns [`Event::More`] (all is taken
    /// then) or [`Event::End`]. It may return content and take nothing, when a CR that waited
    /// turns out to be content. After `End` the reader must not be used again: it would read what
    /// follows as a further message.
    pub fn next<'a>(&mut self, input: &'a [u8]) -> (usize, Event<'a>) {
        let mut used = 0;
        loop {
            let rest = input.get(used..).unwrap_or_default();
            let Some(&first) = rest.first() else {
                return (used, Event::More);
            };
            match (self.at, first) {
                (At::LineStart, b'.') => {
                    self.at = At::Dot;
                    used += 1;
                }
                (At::Dot, b'\r') => {
                    self.at = At::DotCr;
                    used += 1;
                }
                // The dot was stuffing: it is dropped, and what follows is content.
                (At::Dot, _) => self.at = At::Within,
                (At::DotCr, b'\n') => {
                    self.at = At::LineStart;
                    return (used + 1, Event::End);
                }
                // The dot was stuffing, the CR is content, and it may yet begin a CRLF.
                (At::DotCr, _) => {
                    self.at = At::Cr;
                    return (used, Event::Content(held_cr(input, used)));
                }
                (At::LineStart | At::Cr | At::Within, _) => {
                    let content = self.content(rest);
                    return (used + content.len(), Event::Content(content));
                }
            }
        }
    }

    /// The longest run of content at the front of `rest`, which is not empty and does not begin
    /// with a dot at a line start.
    fn content<'a>(&mut self, rest: &'a [u8]) -> &'a [u8] {
        let dot = if self.at == At::Cr && rest.starts_with(b"\n.") {
            Some(1)
        } else {
            self.stuffed.find(rest).map(|crlf| crlf + 2)
        };
        if let Some(before) = dot.and_then(|dot| rest.get(..dot)) {
            self.at = At::LineStart;
            return before;
        }
        self.at = match rest {
            b"\n" if self.at == At::Cr => At::LineStart,
            [.., b'\r', b'\n'] => At::LineStart,
            [.., b'\r'] => At::Cr,
            _ => At::Within,
        };
        rest
    }
}

/// The CR before `input[at]`: the input's own byte, or a constant when it came with an earlier
/// input.
fn held_cr(input: &[u8], at: usize) -> &[u8] {
    at.checked_sub(1)
        .and_then(|cr| input.get(cr..at))
        .unwrap_or(b"\r")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Content and, if the end of data came, the bytes after it.
    type Reading = (Vec<u8>, Option<Vec<u8>>);

    /// Reads `stream` cut into pieces of the sizes given, cycling through them.
    fn read(stream: &[u8], sizes: &[usize]) -> Reading {
        let mut reader = DataReader::new();
        let mut content = Vec::new();
        let mut sizes = sizes.iter().cycle();
        let mut from = 0;
        while from < stream.len() {
            let to = (from + sizes.next().unwrap()).min(stream.len());
            loop {
                let (used, event) = reader.next(&stream[from..to]);
                from += used;
                match event {
                    Event::Content(slice) => {
                        assert!(!slice.is_empty());
                        content.extend_from_slice(slice);
                    }
                    Event::End => return (content, Some(stream[from..].to_vec())),
                    Event::More => break,
                }
            }
            assert_eq!(from, to, "More must mean that all was taken");
        }
        (content, None)
    }

    /// The contract again, as plainly as it can be said: split at CRLF, look at each line.
    fn reference(stream: &[u8]) -> Reading {
        let mut content = Vec::new();
        let mut rest = stream;
        while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
            let line = &rest[..end];
            rest = &rest[end + 2..];
            if line == b"." {
                return (content, Some(rest.to_vec()));
            }
            content.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
            content.extend_from_slice(b"\r\n");
        }
        if rest != b"." && rest != b".\r" {
            content.extend_from_slice(rest.strip_prefix(b".").unwrap_or(rest));
        }
        (content, None)
    }

    /// What a client sends for `content` (RFC 5321 §4.5.2), end marker included.
    fn stuff(content: &[u8]) -> Vec<u8> {
        let mut wire = Vec::new();
        let mut line_start = true;
        for (at, &byte) in content.iter().enumerate() {
            if line_start && byte == b'.' {
                wire.push(b'.');
            }
            wire.push(byte);
            line_start = byte == b'\n' && at > 0 && content[at - 1] == b'\r';
        }
        wire.extend_from_slice(b".\r\n");
        wire
    }

    fn both_ways(stream: &[u8]) -> Reading {
        let whole = read(stream, &[usize::MAX / 2]);
        for size in 1..=stream.len().min(8) {
            assert_eq!(read(stream, &[size]), whole, "in pieces of {size}");
        }
        for cut in 1..stream.len() {
            assert_eq!(read(stream, &[cut, stream.len()]), whole, "cut at {cut}");
        }
        assert_eq!(whole, reference(stream));
        whole
    }

    #[test]
    fn ends_at_crlf_dot_crlf_and_leaves_what_follows() {
        let (content, rest) = both_ways(b"a\r\nb\r\n.\r\nQUIT\r\n");
        assert_eq!(content, b"a\r\nb\r\n");
        assert_eq!(rest.unwrap(), b"QUIT\r\n");
    }

    #[test]
    fn a_dot_line_at_the_start_is_the_empty_message() {
        assert_eq!(both_ways(b".\r\nQUIT"), (vec![], Some(b"QUIT".to_vec())));
    }

    #[test]
    fn removes_one_dot_at_each_line_start() {
        let (content, _) = both_ways(b"..\r\n.a\r\n...\r\na.b\r\n.\r\n");
        assert_eq!(content, b".\r\na\r\n..\r\na.b\r\n");
    }

    #[test]
    fn smuggled_ends_are_content() {
        for kin in [
            &b"\n.\n"[..],
            b"\n.\r\n",
            b"\r.\r",
            b"\r.\r\n",
            b"\r\n\n.\r\n",
            b"\r\n\x00.\r\n",
            b"\n\r\n\r.\r\n",
            b"\r\r\n\r.\n",
        ] {
            let mut stream = b"a".to_vec();
            stream.extend_from_slice(kin);
            stream.extend_from_slice(b"MAIL FROM:<x>");
            let (content, end) = both_ways(&stream);
            assert_eq!(end, None, "{kin:?}");
            assert_eq!(content, stream, "{kin:?}");
        }
    }

    #[test]
    fn after_crlf_only_the_stuffed_dot_goes() {
        for (stream, expected) in [
            (&b"a\r\n.\nb"[..], &b"a\r\n\nb"[..]),
            (b"a\r\n.\rb", b"a\r\n\rb"),
            (b"a\r\n.\r\r\nb", b"a\r\n\r\r\nb"),
            (b"a\r\n.\r.\r\nb", b"a\r\n\r.\r\nb"),
            (b"a\r\n.\r\r\n.\r\n", b"a\r\n\r\r\n"),
            (b".\n.\r\nb", b"\n.\r\nb"),
        ] {
            assert_eq!(both_ways(stream).0, expected, "{stream:?}");
        }
    }

    #[test]
    fn the_common_case_is_one_slice() {
        let mut wire = b"Subject: x\r\n\r\nline\r\n".repeat(1000);
        let content = wire.len();
        wire.extend_from_slice(b".\r\n");
        let mut reader = DataReader::new();
        let (used, event) = reader.next(&wire);
        assert_eq!((used, event), (content, Event::Content(&wire[..content])));
        assert_eq!(reader.next(&wire[used..]), (3, Event::End));
    }

    fn alphabet(length: usize) -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(&b"\r\n.a\0"[..]), 0..length)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn stuffed_content_comes_back(
            mut content in alphabet(60),
            sizes in prop::collection::vec(1usize..7, 1..8),
        ) {
            // A client can only send whole lines: content that does not end in CRLF gets one.
            if !content.is_empty() && !content.ends_with(b"\r\n") {
                content.extend_from_slice(b"\r\n");
            }
            let mut wire = stuff(&content);
            wire.extend_from_slice(b"NOOP\r\n");
            prop_assert_eq!(read(&wire, &sizes), (content, Some(b"NOOP\r\n".to_vec())));
        }

        #[test]
        fn any_stream_reads_as_the_reference_says(
            stream in alphabet(80),
            sizes in prop::collection::vec(1usize..9, 1..8),
        ) {
            prop_assert_eq!(read(&stream, &sizes), reference(&stream));
        }
    }
}
