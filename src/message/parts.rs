//! The MIME tree (RFC 2046): finds the leaves of a message, in message order.
//!
//! [`walk`] goes through the message once, line by line, with a stack of the
//! multiparts and messages it is in. No tree is built and nothing recurses but into
//! a message/rfc822 that was itself encoded, at most [`MAX_ENCODED_DEPTH`] deep.
//!
//! A delimiter is a line of `--`, the boundary and white space, as RFC 2046 section
//! 5.1.1 has it; never a line that merely begins so, and never the middle of one. A
//! delimiter of an outer multipart closes the inner ones. What stands before the
//! first and after the last delimiter of a multipart is no part.
//!
//! It fails with [`Unreadable::TooDeep`] or [`Unreadable::TooManyParts`].

use std::ops::Range;

use memchr::memmem;

use super::Unreadable;
use super::block::{Block, line_end, without_break};
use super::leaf::{Leaf, PartHeader};
use super::transfer::Encoding;

/// How deep multiparts and messages may nest; more is refused. (Mail that people
/// send stays below ten.)
pub const MAX_DEPTH: usize = 100;
/// How many parts a message may have, multiparts and messages counted; more is
/// refused.
pub const MAX_PARTS: usize = 10_000;
/// How many message/rfc822 parts in base64 or quoted-printable may nest (RFC 2046
/// forbids them, mail clients open them); a deeper one is an attachment. Each
/// level holds a decoded copy of what it contains.
pub const MAX_ENCODED_DEPTH: usize = 3;

/// What the parts of a message are handed to, in message order, each with the place where it
/// stands. No two places overlap; between them are delimiters, and what is no part.
pub(super) trait Sink {
    /// The header block of a part, a multipart or a message.
    fn block(&mut self, block: &[u8], at: Range<usize>);
    /// A leaf, its content as it stands.
    fn leaf(&mut self, leaf: &Leaf<'_>, at: Range<usize>);
    /// A message in a transfer encoding begins; up to its end places are those in what was
    /// decoded.
    fn decoded_begins(&mut self);
    /// It ends: the content it was in stands at `at`.
    fn decoded_ends(&mut self, decoded: &[u8], leaf: &Leaf<'_>, at: Range<usize>);
}

/// Hands every part of a message to `sink`.
///
/// # Errors
/// `TooDeep` and `TooManyParts`; `sink` then has what came before.
pub(super) fn walk(raw: &[u8], sink: &mut dyn Sink) -> Result<(), Unreadable> {
    let mut count = 0;
    Walker::new(raw, 0, 0, &mut count, sink).run()
}

/// What the walk is within.
enum Frame {
    Multipart { boundary: Vec<u8>, digest: bool },
    Message,
}

/// Where a stretch of the message ended.
#[derive(Clone, Copy)]
enum End {
    /// At the end of the message.
    Message,
    /// At a delimiter of `frame` (an index into the stack), or its closing one.
    Delimiter {
        frame: usize,
        closing: bool,
        line: usize,
        next: usize,
    },
}

struct Walker<'a, 'c> {
    raw: &'a [u8],
    stack: Vec<Frame>,
    /// Depth of what encloses this walk.
    depth: usize,
    encoded_depth: usize,
    count: &'c mut usize,
    sink: &'c mut dyn Sink,
}

impl<'a, 'c> Walker<'a, 'c> {
    fn new(
        raw: &'a [u8],
        depth: usize,
        encoded_depth: usize,
        count: &'c mut usize,
        sink: &'c mut dyn Sink,
    ) -> Self {
        Self {
            raw,
            stack: Vec::new(),
            depth,
            encoded_depth,
            count,
            sink,
        }
    }

    fn run(&mut self) -> Result<(), Unreadable> {
        let mut at = Some(0);
        while let Some(start) = at {
            at = self.part(start)?;
        }
        Ok(())
    }

    /// Reads the part that begins at `start`; gives the start of the next one.
    fn part(&mut self, start: usize) -> Result<Option<usize>, Unreadable> {
        *self.count += 1;
        if *self.count > MAX_PARTS {
            return Err(Unreadable::TooManyParts);
        }
        let block = Block::read(self.raw, start, |line| self.delimiter(line).is_some());
        self.sink.block(block.bytes(self.raw), block.range());
        let mut header = PartHeader::read(self.raw, &block, self.in_digest());
        if header.is_message() && !header.is_attachment() {
            if header.encoding == Encoding::Identity {
                self.push(Frame::Message)?;
                return Ok(Some(block.body));
            }
            if self.encoded_depth < MAX_ENCODED_DEPTH {
                return self.encoded_message(&block, &header);
            }
        }
        if header.is_multipart() {
            if let Some(next) = self.first_part(&block, &header)? {
                return Ok(Some(next));
            }
            header.make_plain_text();
        }
        let end = self.end_from(block.body);
        self.leaf(&block, &header, end);
        Ok(self.after(end))
    }

    /// Enters a multipart; gives the start of its first part. None when it has none
    /// before the message or an outer multipart goes on: then it is not entered.
    fn first_part(
        &mut self,
        block: &Block,
        header: &PartHeader,
    ) -> Result<Option<usize>, Unreadable> {
        let Some(boundary) = header.boundary() else {
            return Ok(None);
        };
        let digest = header.is_digest();
        self.push(Frame::Multipart { boundary, digest })?;
        let top = self.stack.len() - 1;
        match self.end_from(block.body) {
            End::Delimiter {
                frame,
                closing: false,
                next,
                ..
            } if frame == top => Ok(Some(next)),
            _ => {
                self.stack.pop();
                Ok(None)
            }
        }
    }

    fn push(&mut self, frame: Frame) -> Result<(), Unreadable> {
        if self.depth + self.stack.len() >= MAX_DEPTH {
            return Err(Unreadable::TooDeep);
        }
        self.stack.push(frame);
        Ok(())
    }

    /// Whether the part that begins now is a direct child of a multipart/digest.
    fn in_digest(&self) -> bool {
        matches!(
            self.stack.last(),
            Some(Frame::Multipart { digest: true, .. })
        )
    }

    fn encoded_message(
        &mut self,
        block: &Block,
        header: &PartHeader,
    ) -> Result<Option<usize>, Unreadable> {
        let end = self.end_from(block.body);
        let at = self.content(block, end);
        let content = self.raw.get(at.clone()).unwrap_or_default();
        let decoded = header.encoding.decode(content);
        let depth = self.depth + self.stack.len() + 1;
        if depth > MAX_DEPTH {
            return Err(Unreadable::TooDeep);
        }
        let encoded_depth = self.encoded_depth + 1;
        self.sink.decoded_begins();
        Walker::new(&decoded, depth, encoded_depth, self.count, self.sink).run()?;
        self.sink
            .decoded_ends(&decoded, &Leaf { header, content }, at);
        Ok(self.after(end))
    }

    fn leaf(&mut self, block: &Block, header: &PartHeader, end: End) {
        let at = self.content(block, end);
        let content = self.raw.get(at.clone()).unwrap_or_default();
        self.sink.leaf(&Leaf { header, content }, at);
    }

    /// Where the body between a header block and its end stands; the line break before a
    /// delimiter belongs to the delimiter.
    fn content(&self, block: &Block, end: End) -> Range<usize> {
        let line = match end {
            End::Message => return block.body..self.raw.len(),
            End::Delimiter { line, .. } => line,
        };
        let body = self.raw.get(block.body..line).unwrap_or_default();
        let body = body.strip_suffix(b"\n").unwrap_or(body);
        let body = body.strip_suffix(b"\r").unwrap_or(body);
        block.body..block.body + body.len()
    }

    /// Leaves the frames that `end` closes; gives the start of the next part.
    fn after(&mut self, mut end: End) -> Option<usize> {
        loop {
            let End::Delimiter {
                frame,
                closing,
                next,
                ..
            } = end
            else {
                return None;
            };
            self.stack.truncate(frame + 1);
            if !closing {
                return Some(next);
            }
            self.stack.pop();
            end = self.end_from(next);
        }
    }

    /// Finds the first delimiter of any open multipart at or after `from`, which is
    /// the start of a line.
    fn end_from(&self, from: usize) -> End {
        if self.stack.is_empty() {
            return End::Message;
        }
        let mut line = from;
        loop {
            let rest = self.raw.get(line..).unwrap_or_default();
            if rest.starts_with(b"--") {
                let next = line_end(self.raw, line);
                let text = self.raw.get(line..next).unwrap_or_default();
                if let Some((frame, closing)) = self.delimiter(without_break(text)) {
                    return End::Delimiter {
                        frame,
                        closing,
                        line,
                        next,
                    };
                }
            }
            match memmem::find(rest, b"\n--") {
                Some(found) => line += found + 1,
                None => return End::Message,
            }
        }
    }

    /// Whose delimiter a line is, innermost first, and whether it is a closing one.
    fn delimiter(&self, line: &[u8]) -> Option<(usize, bool)> {
        let line = line.strip_prefix(b"--")?.trim_ascii_end();
        self.stack.iter().enumerate().rev().find_map(|(at, frame)| {
            let Frame::Multipart { boundary, .. } = frame else {
                return None;
            };
            if line == boundary.as_slice() {
                return Some((at, false));
            }
            (line.strip_suffix(b"--") == Some(boundary)).then_some((at, true))
        })
    }
}
