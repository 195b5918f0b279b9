//! A text with one kind of escape undone, and where each byte of it stood before.
//!
//! Each function makes a [`View`], or nothing where there is no such escape. What is no whole
//! escape stays as it is. Views are made of views; [`Stack`] finds the way back to the source.

use std::ops::Range;

use memchr::{memchr_iter, memchr2_iter};

use crate::message::quoted_printable_escape;

/// Longest number of a character reference, leading zeros included.
const DIGITS_MAX: usize = 8;

/// A text with one kind of escape undone.
#[derive(Debug)]
pub(super) struct View {
    pub bytes: Vec<u8>,
    /// From `.0` on, bytes of the view are those that stand from `.1` on below, up to the next
    /// joint. Before and behind what an escape became there is a joint each.
    joints: Vec<(usize, usize)>,
}

impl View {
    /// Undoes the escapes that begin at `candidates`. `escape` gives what one at the start of a
    /// text stands for, if for anything, and its length.
    fn of(
        below: &[u8],
        candidates: impl Iterator<Item = usize>,
        escape: impl Fn(&[u8]) -> Option<(Option<u8>, usize)>,
    ) -> Option<View> {
        let mut view = View {
            bytes: Vec::new(),
            joints: Vec::new(),
        };
        let mut done = 0;
        for start in candidates {
            // Part of an escape that was undone.
            if start < done {
                continue;
            }
            let Some((byte, length)) = below.get(start..).and_then(&escape) else {
                continue;
            };
            view.bytes
                .extend_from_slice(below.get(done..start).unwrap_or_default());
            view.joint(start);
            view.bytes.extend(byte);
            done = start + length;
            view.joint(done);
        }
        if view.joints.is_empty() {
            return None;
        }
        view.bytes
            .extend_from_slice(below.get(done..).unwrap_or_default());
        Some(view)
    }

    fn joint(&mut self, below: usize) {
        let joint = (self.bytes.len(), below);
        if self.joints.last() != Some(&joint) {
            self.joints.push(joint);
        }
    }

    /// Where a stretch of the view stands below. What was left out at either end is not in it.
    fn below(&self, at: &Range<usize>) -> Range<usize> {
        let place = |position: usize, joint: usize| match self.joints.get(..joint) {
            Some([.., (view, below)]) => below + (position - view),
            _ => position,
        };
        let begins = self.joints.partition_point(|(view, _)| *view <= at.start);
        let ends = self.joints.partition_point(|(view, _)| *view < at.end);
        let end = match self.joints.get(ends) {
            Some((view, below)) if *view == at.end => *below,
            _ => place(at.end, ends),
        };
        place(at.start, begins)..end
    }
}

/// Views, each made of the one before, over a source.
#[derive(Debug)]
pub(super) struct Stack<'a> {
    source: &'a [u8],
    views: Vec<View>,
}

impl<'a> Stack<'a> {
    pub fn new(source: &'a [u8]) -> Self {
        Self {
            source,
            views: Vec::new(),
        }
    }

    /// The text on top.
    pub fn top(&self) -> &[u8] {
        match self.views.last() {
            Some(view) => &view.bytes,
            None => self.source,
        }
    }

    /// Undoes one more kind of escape; false where there is none.
    pub fn undo(&mut self, kind: fn(&[u8]) -> Option<View>) -> bool {
        let view = kind(self.top());
        let found = view.is_some();
        self.views.extend(view);
        found
    }

    /// Where a stretch of the top stands in the source.
    pub fn place(&self, at: &Range<usize>) -> Range<usize> {
        let views = self.views.iter().rev();
        views.fold(at.clone(), |at, view| view.below(&at))
    }

    /// Whether the byte at `at` of the top stands right behind the one before it in the source.
    pub fn is_joined(&self, at: usize) -> bool {
        let before = at.saturating_sub(1);
        self.place(&(before..at)).end == self.place(&(at..at + 1)).start
    }

    /// The source's bytes of a stretch of the top.
    pub fn source(&self, at: &Range<usize>) -> &'a [u8] {
        self.source.get(self.place(at)).unwrap_or_default()
    }
}

/// `%40`, as in URLs (RFC 3986 section 2.1).
pub(super) fn percent(text: &[u8]) -> Option<View> {
    View::of(text, memchr_iter(b'%', text), |escape| match escape {
        [b'%', high, low, ..] => Some((Some(hex(*high)? << 4 | hex(*low)?), 3)),
        _ => None,
    })
}

/// `&#64;`, `&#x40;`, `&commat;` of HTML, and `\u0040`, `\x40` of scripts; ASCII only.
pub(super) fn references(text: &[u8]) -> Option<View> {
    View::of(text, memchr2_iter(b'&', b'\\', text), |escape| {
        let (byte, length) = match escape {
            [b'&', b'#', b'x' | b'X', rest @ ..] => number(rest, 16, 3)?,
            [b'&', b'#', rest @ ..] => number(rest, 10, 2)?,
            [b'&', rest @ ..] => named(rest)?,
            [b'\\', b'u', b'0', b'0', high, low, ..] => (hex(*high)? << 4 | hex(*low)?, 6),
            [b'\\', b'x', high, low, ..] => (hex(*high)? << 4 | hex(*low)?, 4),
            _ => return None,
        };
        byte.is_ascii().then_some((Some(byte), length))
    })
}

/// The number of a reference, with or without its semicolon, after `before` bytes.
fn number(digits: &[u8], radix: u32, before: usize) -> Option<(u8, usize)> {
    let is_digit = |byte: &&u8| char::from(**byte).is_digit(radix);
    let count = digits.iter().take_while(is_digit).count();
    let text = str::from_utf8(digits.get(..count.min(DIGITS_MAX + 1))?).ok()?;
    let number = (count <= DIGITS_MAX).then(|| u32::from_str_radix(text, radix).ok())??;
    let semicolon = usize::from(digits.get(count) == Some(&b';'));
    Some((u8::try_from(number).ok()?, before + count + semicolon))
}

/// The names that HTML has for what stands in addresses, and in escapes of them.
fn named(rest: &[u8]) -> Option<(u8, usize)> {
    const NAMES: [(&[u8], u8); 8] = [
        (b"commat;", b'@'),
        (b"period;", b'.'),
        (b"lowbar;", b'_'),
        (b"plus;", b'+'),
        (b"equals;", b'='),
        (b"percnt;", b'%'),
        (b"amp;", b'&'),
        (b"num;", b'#'),
    ];
    let (name, byte) = NAMES.iter().find(|(name, _)| rest.starts_with(name))?;
    Some((*byte, 1 + name.len()))
}

/// Quoted-printable, soft line breaks too.
pub(super) fn quoted_printable(text: &[u8]) -> Option<View> {
    View::of(text, memchr_iter(b'=', text), |escape| {
        match quoted_printable_escape(escape) {
            // It stands for itself.
            (Some(b'='), 1) => None,
            undone => Some(undone),
        }
    })
}

/// Folded lines, their white space gone: some senders fold within a word.
pub(super) fn unfolded(text: &[u8]) -> Option<View> {
    View::of(text, memchr2_iter(b'\r', b'\n', text), |fold| {
        let line_break = match fold {
            [b'\r', b'\n', ..] => 2,
            [b'\n', ..] => 1,
            _ => return None,
        };
        let blanks = fold.iter().skip(line_break);
        let blanks = blanks
            .take_while(|byte| matches!(byte, b' ' | b'\t'))
            .count();
        (blanks > 0).then_some((None, line_break + blanks))
    })
}

/// The value of a hexadecimal digit.
pub(super) fn hex(byte: u8) -> Option<u8> {
    let value = char::from(byte).to_digit(16)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(kind: fn(&[u8]) -> Option<View>, text: &str) -> Option<String> {
        let view = kind(text.as_bytes())?;
        Some(String::from_utf8_lossy(&view.bytes).into_owned())
    }

    #[test]
    fn escapes() {
        let is = |kind, text, expected: &str| {
            assert_eq!(seen(kind, text).as_deref(), Some(expected), "{text}");
        };
        is(percent, "a%40b%2eC%zz%4", "a@b.C%zz%4");
        is(references, "a&#64;b&#X40z&commat;d&#00064;", "a@b@z@d@");
        is(references, "&#x40c;&#64 &#33", "&#x40c;@ !");
        is(
            references,
            r"a\u0040b\x40c&eacute;&#233;",
            "a@b@c&eacute;&#233;",
        );
        is(quoted_printable, "a=40b=\r\nc=3D=d=zz", "a@bc==d=zz");
        is(unfolded, "a\r\n b\n\t c\nd\r\n", "abc\nd\r\n");
        for kind in [percent, references, quoted_printable, unfolded] {
            assert_eq!(seen(kind, "plain\n\\ & = % text"), None);
        }
        assert_eq!(seen(references, "&#000000064;&#x;&#;&#99999999;"), None);
    }

    #[test]
    fn the_way_back() {
        let source = b"x=\r\na%2540=\r\n=62=\r\n y";
        let mut stack = Stack::new(source);
        for kind in [quoted_printable, percent, percent] {
            assert!(stack.undo(kind));
        }
        assert_eq!(stack.top(), b"xa@b y");
        let text = |at: Range<usize>| str::from_utf8(stack.source(&at)).unwrap();
        assert_eq!(text(0..1), "x");
        assert_eq!(text(1..2), "a");
        assert_eq!(text(2..3), "%2540");
        assert_eq!(text(3..4), "=62");
        assert_eq!(text(1..4), "a%2540=\r\n=62");
        assert_eq!(text(4..6), " y");
        assert_eq!(text(0..6), str::from_utf8(source).unwrap());
    }
}
