//! Changes text in a message where it stands: the message stays what it was but for that.
//!
//! [`rewrite`] hands each piece of a message that is text to a [`Rewriter`]: header blocks, as
//! they stand and what their encoded words say; bodies and attached text, base64 undone; what
//! stands between parts. Where it changes one, the changed piece takes its place, encoded as it
//! was; every other byte stays. Boundaries stand in header blocks and between parts, and keep
//! together because the same text is always changed to the same.
//!
//! Text in UTF-16 is handed over in UTF-8. In any other charset ASCII means itself, but for UTF-7.
//! Messages in messages are gone into as `parts` goes; in one that it gives up on, everything is
//! one text.

use std::ops::Range;

use super::block::{Block, line_end};
use super::leaf::Leaf;
use super::parts::{self, Sink};
use super::transfer::Encoding;
use super::words;

/// Changes text.
pub trait Rewriter {
    /// The changed text; none where nothing changes. Its bytes are most often UTF-8; percent- and
    /// quoted-printable encoding and character references are not undone.
    fn text(&self, text: &[u8]) -> Option<Vec<u8>>;
}

/// The message with its text changed; none where nothing changes.
pub fn rewrite(raw: &[u8], rewriter: &dyn Rewriter) -> Option<Vec<u8>> {
    let mut pieces = Pieces {
        rewriter,
        levels: vec![Vec::new()],
    };
    if parts::walk(raw, &mut pieces).is_err() {
        let block = Block::read(raw, 0, |_| false);
        let header = rewrite_header(block.bytes(raw), rewriter);
        pieces.levels = vec![vec![(block.range(), header)]];
    }
    pieces.changed(raw)
}

/// A header block with its text changed; none where nothing changes.
pub fn rewrite_header(block: &[u8], rewriter: &dyn Rewriter) -> Option<Vec<u8>> {
    let change = |text: &str| {
        let changed = rewriter.text(text.as_bytes())?;
        Some(String::from_utf8_lossy(&changed).into_owned())
    };
    let mut out = Vec::with_capacity(block.len());
    let mut at = 0;
    while at < block.len() {
        let mut end = line_end(block, at);
        while matches!(block.get(end), Some(b' ' | b'\t')) {
            end = line_end(block, end);
        }
        let field = block.get(at..end).unwrap_or_default();
        match words::rewrite(field, &change) {
            Some(field) => out.extend_from_slice(&field),
            None => out.extend_from_slice(field),
        }
        at = end;
    }
    let words = out != block;
    rewriter.text(&out).or(words.then_some(out))
}

/// Decoded content of a part with its text changed; none where nothing changes or it is no text.
pub fn rewrite_content(
    media_type: &str,
    content: &[u8],
    rewriter: &dyn Rewriter,
) -> Option<Vec<u8>> {
    if !is_text(media_type, content) {
        return None;
    }
    let utf16 = Utf16::of(content, None).and_then(|utf16| utf16.rewrite(content, rewriter));
    utf16.or_else(|| rewriter.text(content))
}

/// Whether content is text: by its type, or because it looks so. A PDF may look so, and its bytes
/// are counted in it.
fn is_text(media_type: &str, content: &[u8]) -> bool {
    let control = |byte: &u8| *byte < b' ' && !matches!(byte, 7..=13 | 27);
    let kind = media_type.split('/').next().unwrap_or_default();
    matches!(kind, "text" | "message" | "multipart")
        || !content.iter().any(control) && !content.starts_with(b"%PDF")
}

/// What stands at a place, where it changed.
type Piece = (Range<usize>, Option<Vec<u8>>);

/// The pieces of a message, and of the encoded messages in it that are open.
struct Pieces<'r> {
    rewriter: &'r dyn Rewriter,
    levels: Vec<Vec<Piece>>,
}

impl Pieces<'_> {
    fn add(&mut self, at: Range<usize>, changed: Option<Vec<u8>>) {
        if let Some(pieces) = self.levels.last_mut() {
            pieces.push((at, changed));
        }
    }

    /// The innermost message with its pieces in their places; none where nothing changed.
    fn changed(&mut self, raw: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(raw.len());
        let mut any = false;
        let mut done = 0;
        let pieces = self.levels.pop().unwrap_or_default();
        let end = (raw.len()..raw.len(), None);
        for (at, changed) in pieces.into_iter().chain([end]) {
            let between = raw.get(done..at.start).unwrap_or_default();
            let beside = self.rewriter.text(between);
            any |= beside.is_some() || changed.is_some();
            out.extend_from_slice(beside.as_deref().unwrap_or(between));
            let unchanged = raw.get(at.clone()).unwrap_or_default();
            out.extend_from_slice(changed.as_deref().unwrap_or(unchanged));
            done = at.end;
        }
        any.then_some(out)
    }

    fn content(&self, leaf: &Leaf<'_>) -> Option<Vec<u8>> {
        let (header, encoding) = (leaf.header, leaf.header.encoding);
        let decoded = encoding.decode(leaf.content);
        if !is_text(&header.media_type(), &decoded) {
            return None;
        }
        if let Some(utf16) = Utf16::of(&decoded, header.charset())
            && let Some(changed) = utf16.rewrite(&decoded, self.rewriter)
        {
            return Some(encoding.encode(changed, leaf.content));
        }
        // The escapes of quoted-printable are undone by who looks through them.
        if encoding != Encoding::Base64 {
            return self.rewriter.text(leaf.content);
        }
        self.encoded(self.rewriter.text(&decoded), leaf)
    }

    /// The content of a leaf, decoded and changed or not, encoded as it was. What is no base64 is
    /// passed over by who decodes it, and still stands there: it is gone through, too.
    fn encoded(&self, decoded: Option<Vec<u8>>, leaf: &Leaf<'_>) -> Option<Vec<u8>> {
        let changed = decoded.map(|decoded| leaf.header.encoding.encode(decoded, leaf.content));
        let shown = changed.as_deref().unwrap_or(leaf.content);
        self.rewriter.text(shown).or(changed)
    }
}

impl Sink for Pieces<'_> {
    fn block(&mut self, block: &[u8], at: Range<usize>) {
        let changed = rewrite_header(block, self.rewriter);
        self.add(at, changed);
    }

    fn leaf(&mut self, leaf: &Leaf<'_>, at: Range<usize>) {
        let changed = self.content(leaf);
        self.add(at, changed);
    }

    fn decoded_begins(&mut self) {
        self.levels.push(Vec::new());
    }

    fn decoded_ends(&mut self, decoded: &[u8], leaf: &Leaf<'_>, at: Range<usize>) {
        let changed = self.changed(decoded);
        let changed = self.encoded(changed, leaf);
        self.add(at, changed);
    }
}

/// Text in UTF-16, as mail-parser reads it.
struct Utf16 {
    big_endian: bool,
}

impl Utf16 {
    /// Whether content is in UTF-16: by its byte order mark, or because its charset says so and
    /// there is a letter of ASCII in it.
    fn of(content: &[u8], charset: Option<&str>) -> Option<Utf16> {
        const NAMES: [&str; 8] = [
            "utf-16",
            "utf-16le",
            "utf-16be",
            "utf16",
            "ucs-2",
            "iso-10646-ucs-2",
            "unicode",
            "csunicode",
        ];
        let charset = charset.unwrap_or_default().to_ascii_lowercase();
        match content {
            [0xfe, 0xff, ..] => Some(Utf16 { big_endian: true }),
            [0xff, 0xfe, ..] => Some(Utf16 { big_endian: false }),
            _ if NAMES.contains(&charset.as_str()) && content.contains(&0) => Some(Utf16 {
                big_endian: charset.ends_with("be"),
            }),
            _ => None,
        }
    }

    fn rewrite(&self, content: &[u8], rewriter: &dyn Rewriter) -> Option<Vec<u8>> {
        let (units, rest) = content.as_chunks::<2>();
        let unit = |bytes: &[u8; 2]| match self.big_endian {
            true => u16::from_be_bytes(*bytes),
            false => u16::from_le_bytes(*bytes),
        };
        let text = char::decode_utf16(units.iter().map(unit))
            .map(|character| character.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect::<String>();
        let changed = rewriter.text(text.as_bytes())?;
        let changed = String::from_utf8_lossy(&changed);
        let mut out: Vec<u8> = changed
            .encode_utf16()
            .flat_map(|unit| match self.big_endian {
                true => unit.to_be_bytes(),
                false => unit.to_le_bytes(),
            })
            .collect();
        out.extend_from_slice(rest);
        Some(out)
    }
}
