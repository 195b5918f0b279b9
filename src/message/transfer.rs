//! Undoing what was done to bytes on their way: Content-Transfer-Encoding (RFC 2045
//! section 6), charset, line ends.
//!
//! All are lenient and linear and cannot fail: a reader's mail client shows what
//! can be decoded, and a spammer must not hide from us what it shows. `encode` is the
//! way back, for what was changed.

use std::borrow::Cow;

use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::charsets::map::charset_decoder;
use memchr::memchr;

/// The Content-Transfer-Encodings that change bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Base64,
    QuotedPrintable,
}

impl Encoding {
    /// Reads a raw Content-Transfer-Encoding value; an unknown one changes nothing.
    pub fn from_value(value: &[u8]) -> Self {
        let token = value
            .trim_ascii()
            .split(|byte| byte.is_ascii_whitespace() || *byte == b';')
            .next()
            .unwrap_or_default();
        if token.eq_ignore_ascii_case(b"base64") {
            Self::Base64
        } else if token.eq_ignore_ascii_case(b"quoted-printable") {
            Self::QuotedPrintable
        } else {
            Self::Identity
        }
    }

    /// Encodes a body again, in lines as `like` has them.
    pub fn encode(self, body: Vec<u8>, like: &[u8]) -> Vec<u8> {
        match self {
            Self::Identity => body,
            Self::Base64 => base64_lines(&body, like),
            Self::QuotedPrintable => quoted_printable_lines(&body),
        }
    }

    /// Decodes a body.
    pub fn decode(self, body: &[u8]) -> Cow<'_, [u8]> {
        match self {
            Self::Identity => body.into(),
            Self::Base64 => base64(body).into(),
            Self::QuotedPrintable => quoted_printable(body).into(),
        }
    }
}

/// Decodes base64, passing over every byte outside its alphabet as RFC 2045
/// section 6.8 demands.
pub(super) fn base64(bytes: &[u8]) -> Vec<u8> {
    base64_decode(bytes).unwrap_or_else(|| {
        let clean: Vec<u8> = bytes
            .iter()
            .copied()
            .filter(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='))
            .collect();
        base64_decode(&clean).unwrap_or_default()
    })
}

/// Encodes base64 without line breaks.
pub(super) fn base64_word(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut word = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let value = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let sextet = value >> (18 - 6 * at) & 63;
            let letter = LETTERS.get(sextet as usize).copied().unwrap_or(b'A');
            word.push(if at > group.len() {
                '='
            } else {
                char::from(letter)
            });
        }
    }
    word
}

/// Encodes base64 in lines as long as the first of `like`, and with its line breaks.
fn base64_lines(body: &[u8], like: &[u8]) -> Vec<u8> {
    /// Shorter lines are no sender's habit.
    const SHORTEST: usize = 20;
    let trimmed = like.trim_ascii();
    let tail = like.trim_ascii_end().len();
    let first = trimmed
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or(trimmed);
    let has_lines = first.len() < trimmed.len();
    let line_break: &[u8] = if first.ends_with(b"\r") || !has_lines {
        b"\r\n"
    } else {
        b"\n"
    };
    let length = match first.trim_ascii_end().len() {
        _ if !has_lines => usize::MAX,
        short if short < SHORTEST => MAX_LINE,
        length => length,
    };
    let word = base64_word(body);
    let lines: Vec<&[u8]> = word.as_bytes().chunks(length).collect();
    let mut out = lines.join(line_break);
    out.extend_from_slice(like.get(tail..).unwrap_or_default());
    out
}

/// Longest encoded line (RFC 2045 section 6.7).
const MAX_LINE: usize = 76;

/// Encodes quoted-printable; line breaks stay.
fn quoted_printable_lines(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + body.len() / 8);
    let mut line = 0;
    for (at, byte) in body.iter().enumerate() {
        let next = body.get(at + 1);
        let ends_line = matches!(next, None | Some(b'\r' | b'\n'));
        let plain = match byte {
            b'\n' => true,
            b'\r' => next == Some(&b'\n'),
            b' ' | b'\t' => !ends_line,
            byte => byte.is_ascii_graphic() && *byte != b'=',
        };
        let length = if plain { 1 } else { 3 };
        if line + length >= MAX_LINE && !matches!(byte, b'\r' | b'\n') {
            out.extend_from_slice(b"=\r\n");
            line = 0;
        }
        if plain {
            out.push(*byte);
        } else {
            out.extend_from_slice(format!("={byte:02X}").as_bytes());
        }
        line = if *byte == b'\n' { 0 } else { line + length };
    }
    out
}

/// Decodes quoted-printable; an `=` that begins no escape stands for itself.
///
/// White space at a line's end is kept. RFC 2045 (section 6.7, rule 3) has it
/// dropped, as padding that relays added; here no relay came before us, and the
/// first SHIVA kept it, so that ids stay what they were.
fn quoted_printable(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = memchr(b'=', rest) {
        let (plain, tail) = rest.split_at_checked(at).unwrap_or((rest, &[]));
        out.extend_from_slice(plain);
        let (byte, length) = escape(tail);
        out.extend(byte);
        rest = tail.get(length..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out
}

/// What the escape at the start of `tail`, which is an `=`, stands for, if for anything, and its
/// length.
pub(crate) fn escape(tail: &[u8]) -> (Option<u8>, usize) {
    if let [b'=', high, low, ..] = tail
        && let (Some(high), Some(low)) = (hex(*high), hex(*low))
    {
        return (Some(high << 4 | low), 3);
    }
    let blanks = tail
        .iter()
        .skip(1)
        .take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
        .count();
    match tail.get(1 + blanks) {
        // A soft line break, or one that the end of the part cut short.
        Some(b'\n') => (None, 2 + blanks),
        None => (None, tail.len()),
        Some(_) => (Some(b'='), 1),
    }
}

/// Decodes the Q encoding of RFC 2047 section 4.2 into `out`.
pub(super) fn q_word(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match (*byte, tail) {
            (b'_', _) => out.push(b' '),
            (b'=', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    rest = after;
                }
                _ => out.push(b'='),
            },
            (byte, _) => out.push(byte),
        }
    }
}

fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Decodes bytes to UTF-8 by charset name. Without a name, or with one that is not
/// known, they are taken for UTF-8.
pub(super) fn charset(bytes: &[u8], name: Option<&[u8]>) -> String {
    if bytes.is_ascii() && name.is_some_and(extends_ascii) {
        return utf8(bytes);
    }
    match name.and_then(charset_decoder) {
        Some(decode) => {
            let text = decode(bytes);
            // For some charsets that browsers refuse (iso-2022-kr, hz-gb-2312) the
            // decoder gives one replacement character for any input, which would
            // make all such mails the same. They are seven-bit: show their bytes.
            if text == "\u{fffd}" && bytes.len() > 1 {
                utf8(bytes)
            } else {
                text
            }
        }
        None => utf8(bytes),
    }
}

/// Whether ASCII bytes mean the same in a charset. A shortcut for the common ones:
/// mail-parser decodes them a character at a time.
fn extends_ascii(name: &[u8]) -> bool {
    const PREFIXES: [&[u8]; 8] = [
        b"utf-8",
        b"iso-8859-",
        b"us-ascii",
        b"windows-125",
        b"gb2312",
        b"gbk",
        b"koi8-",
        b"big5",
    ];
    PREFIXES.iter().any(|prefix| {
        name.get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    })
}

fn utf8(bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// CRLF becomes LF; a CR that stands alone stays.
pub(super) fn lf(text: String) -> String {
    if memchr(b'\r', text.as_bytes()).is_none() {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = memchr(b'\r', rest.as_bytes()) {
        let (before, tail) = rest.split_at(at);
        out.push_str(before);
        if !tail.starts_with("\r\n") {
            out.push('\r');
        }
        rest = tail.get(1..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// Bytes as UTF-8 text with LF line ends.
pub(super) fn lf_text(bytes: &[u8]) -> String {
    lf(utf8(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn qp(text: &str) -> String {
        String::from_utf8_lossy(&quoted_printable(text.as_bytes())).into_owned()
    }

    #[test]
    fn quoted_printable_decodes_leniently() {
        assert_eq!(qp("a=3Db=3d"), "a=b=");
        assert_eq!(qp("soft=\r\nbreak= \t\nhere="), "softbreakhere");
        assert_eq!(
            qp("trailing \t \r\nspace \nx "),
            "trailing \t \r\nspace \nx "
        );
        assert_eq!(qp("kept=20\n"), "kept \n");
        assert_eq!(qp("=ZZ 1==2 =4"), "=ZZ 1==2 =4");
        assert_eq!(qp("x=0D\ny"), "x\r\ny");
        assert_eq!(qp(""), "");
    }

    #[test]
    fn base64_passes_over_junk() {
        assert_eq!(base64(b"SGVs\r\nbG8="), b"Hello");
        assert_eq!(base64(b"SG-Vs!\nbG8"), b"Hello");
        assert_eq!(base64(b"%%%"), b"");
    }

    #[test]
    fn encoded_again_it_decodes_to_the_same() {
        let body = "caf\u{e9} =40 \r\n trailing \t\n\r.\n"
            .repeat(9)
            .into_bytes();
        for like in ["QUJD", "QUJD\r\n", "\n QUJD\nQUJD\n", &"QUJD".repeat(8)] {
            let word = Encoding::Base64.encode(body.clone(), like.as_bytes());
            assert_eq!(base64(&word), body);
        }
        let encoded = Encoding::QuotedPrintable.encode(body.clone(), b"");
        assert_eq!(quoted_printable(&encoded), body);
        let mut lines = encoded.split(|byte| *byte == b'\n');
        assert!(lines.all(|line| line.len() <= MAX_LINE + 1 && line.is_ascii()));
        assert_eq!(Encoding::Identity.encode(body.clone(), b""), body);
    }

    #[test]
    fn base64_lines_are_as_they_were() {
        let like = format!("\r\n{}\r\nQUJD\r\n\r\n", "QUJD".repeat(6));
        let lines = Encoding::Base64.encode(b"ABC".repeat(7), like.as_bytes());
        let expected = format!("{}\r\nQUJD\r\n\r\n", "QUJD".repeat(6));
        assert_eq!(lines, expected.as_bytes());
        assert_eq!(base64_word(b"a"), "YQ==");
        assert_eq!(base64_word(b"ab"), "YWI=");
        assert_eq!(base64_word(b""), "");
    }

    #[test]
    fn charsets() {
        let decode = |bytes: &[u8], name: &[u8]| charset(bytes, Some(name));
        assert_eq!(decode(b"\xe9", b"ISO-8859-1"), "\u{e9}");
        assert_eq!(decode(b"\xc3\xa9", b"utf-8"), "\u{e9}");
        assert_eq!(decode(b"\xc4\xe3", b"gb2312"), "\u{4f60}");
        assert_eq!(decode(b"hi there", b"iso-2022-kr"), "hi there");
        assert_eq!(decode(b"+AGE-", b"utf-7"), "a");
        assert_eq!(decode(b"+AGE-", b"ISO-8859-15"), "+AGE-");
        assert_eq!(decode(b"x\xff", b"no-such"), "x\u{fffd}");
    }

    #[test]
    fn only_crlf_becomes_lf() {
        assert_eq!(lf("a\r\nb\rc\n\r\n\r".to_owned()), "a\nb\rc\n\n\r");
        assert_eq!(lf_text(b"a\r\n\xff\0"), "a\n\u{fffd}\0");
    }

    #[test]
    fn encodings() {
        assert_eq!(Encoding::from_value(b" BASE64\r\n"), Encoding::Base64);
        let qp = Encoding::from_value(b"Quoted-Printable; x");
        assert_eq!(qp, Encoding::QuotedPrintable);
        assert_eq!(Encoding::from_value(b"8bit"), Encoding::Identity);
    }
}
