//! Header blocks (RFC 5322 section 2.2): where one ends, and its fields.
//!
//! A [`Block`] is two offsets into the message; nothing is copied. Reading one
//! takes one pass over its lines. It cannot fail: a block may have no field at
//! all, and its body then begins where the block does.

use std::ops::Range;

use memchr::memchr;

/// A header block within a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    start: usize,
    end: usize,
    /// Offset of the first byte of the body.
    pub body: usize,
}

impl Block {
    /// Reads the block that begins at `start`. It ends at an empty line, at the end
    /// of the message, at a line that is no header field (RFC 5322 leaves no other
    /// reading; Postfix, Exim and Python do the same), or at a line for which
    /// `is_boundary` says true (it gets the line without its line break).
    pub fn read(raw: &[u8], start: usize, is_boundary: impl Fn(&[u8]) -> bool) -> Self {
        let mut start = start;
        let mut at = start;
        let mut body = None;
        while at < raw.len() {
            let next = line_end(raw, at);
            let line = without_break(raw.get(at..next).unwrap_or_default());
            if line.is_empty() {
                body = Some(next);
                break;
            }
            let first = at == start;
            if first && (line.starts_with(b"From ") || line.starts_with(b">From ")) {
                start = next;
            } else if !is_field_line(line, first) || is_boundary(line) {
                body = Some(at);
                break;
            }
            at = next;
        }
        Self {
            start,
            end: at,
            body: body.unwrap_or(raw.len()),
        }
    }

    /// Where the block stands, without the empty line that ends it.
    pub fn range(&self) -> Range<usize> {
        self.start..self.end
    }

    /// The block's bytes, without the empty line that ends it.
    pub fn bytes<'a>(&self, raw: &'a [u8]) -> &'a [u8] {
        raw.get(self.start..self.end).unwrap_or_default()
    }

    /// The fields in order: name without white space, and the raw value with its
    /// folds and final line break.
    pub fn fields<'a>(&self, raw: &'a [u8]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut rest = self.bytes(raw);
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let mut end = line_end(rest, 0);
            while matches!(rest.get(end), Some(b' ' | b'\t')) {
                end = line_end(rest, end);
            }
            let (field, tail) = rest.split_at_checked(end)?;
            rest = tail;
            let colon = memchr(b':', field)?;
            let (name, value) = field.split_at_checked(colon)?;
            Some((name.trim_ascii_end(), value.get(1..).unwrap_or_default()))
        })
    }
}

/// Offset just behind the line that begins at `at`.
pub(super) fn line_end(raw: &[u8], at: usize) -> usize {
    raw.get(at..)
        .and_then(|rest| memchr(b'\n', rest))
        .map_or(raw.len(), |lf| at + lf + 1)
}

/// A line without its LF and any CRs before it.
pub(super) fn without_break(line: &[u8]) -> &[u8] {
    let mut line = line.strip_suffix(b"\n").unwrap_or(line);
    while let Some(shorter) = line.strip_suffix(b"\r") {
        line = shorter;
    }
    line
}

/// Whether a non-empty line belongs to a header block: a continuation, or a name of
/// printable ASCII, optional white space (obsolete syntax) and a colon.
fn is_field_line(line: &[u8], first: bool) -> bool {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return !first;
    }
    let name = line
        .iter()
        .take_while(|&&byte| byte.is_ascii_graphic() && byte != b':')
        .count();
    let after = line.get(name..).unwrap_or_default();
    let blanks = after
        .iter()
        .take_while(|byte| matches!(byte, b' ' | b'\t'))
        .count();
    name > 0 && after.get(blanks) == Some(&b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(raw: &[u8]) -> (Vec<String>, &[u8]) {
        let block = Block::read(raw, 0, |line| line == b"--b");
        let names = block
            .fields(raw)
            .map(|(name, value)| {
                let value = String::from_utf8_lossy(value).into_owned();
                format!("{}|{value}", String::from_utf8_lossy(name))
            })
            .collect();
        (names, &raw[block.body..])
    }

    #[test]
    fn fields_and_folds() {
        let (fields, body) = split(b"A: 1\r\nB : 2\r\n\t3\r\n\r\nrest");
        assert_eq!(fields, ["A| 1\r\n", "B| 2\r\n\t3\r\n"]);
        assert_eq!(body, b"rest");
    }

    #[test]
    fn a_line_that_is_no_field_begins_the_body() {
        let (fields, body) = split(b"A: 1\nno field here\nB: 2\n");
        assert_eq!(fields, ["A| 1\n"]);
        assert_eq!(body, b"no field here\nB: 2\n");
        assert_eq!(split(b"hello\r\n"), (vec![], &b"hello\r\n"[..]));
        assert_eq!(split(b" hello"), (vec![], &b" hello"[..]));
        assert_eq!(split(b"\nA: 1\n"), (vec![], &b"A: 1\n"[..]));
    }

    #[test]
    fn boundary_end_of_input_and_mbox_line() {
        assert_eq!(split(b"A: 1\n--b\nx").1, b"--b\nx");
        assert_eq!(split(b"A: 1"), (vec!["A| 1".to_owned()], &b""[..]));
        let (fields, body) = split(b"From me Fri Aug 23 11:03:31 2002\nA: 1\n\nx");
        assert_eq!(fields, ["A| 1\n"]);
        assert_eq!(body, b"x");
    }

    #[test]
    fn a_line_of_blanks_is_a_continuation() {
        let (fields, body) = split(b"A: 1\n \nB: 2\n\nx");
        assert_eq!(fields, ["A| 1\n \n", "B| 2\n"]);
        assert_eq!(body, b"x");
    }
}
