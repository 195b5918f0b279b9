//! Unstructured header values: unfolding (RFC 5322 section 2.2.3) and encoded words
//! (RFC 2047).
//!
//! [`decode`] is linear in the value and cannot fail: what is no encoded word stays
//! as it is, a broken one is decoded as far as it goes. Adjacent words of one
//! charset and encoding are joined before the charset is decoded, for many senders
//! cut a character in two.

use std::ops::Range;

use memchr::memmem;

use super::MAX_VALUE_BYTES;
use super::transfer;

/// Decodes a raw header value, at most [`MAX_VALUE_BYTES`] of it: folds undone, ends
/// trimmed, encoded words decoded, what is no UTF-8 replaced.
pub(super) fn decode(value: &[u8]) -> String {
    let value = value.get(..MAX_VALUE_BYTES).unwrap_or(value);
    let unfolded = unfolded(value);
    let value = unfolded.trim_ascii();
    if memmem::find(value, b"=?").is_none() {
        return String::from_utf8_lossy(value).into_owned();
    }
    let mut out = Decoder::default();
    out.value(value);
    out.text
}

/// Changes what the encoded words of a header field say, and gives the field with the changed
/// words encoded anew, in UTF-8. Adjacent words are one text. `None`: nothing changed.
pub(super) fn rewrite(field: &[u8], change: &dyn Fn(&str) -> Option<String>) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut done = 0;
    for run in runs(field) {
        if let Some(text) = change(&run.text) {
            out.extend_from_slice(field.get(done..run.at.start).unwrap_or_default());
            let fold = if field.ends_with(b"\r\n") {
                "\r\n "
            } else {
                "\n "
            };
            out.extend_from_slice(encode(&text, run.base64, fold).as_bytes());
            done = run.at.end;
        }
    }
    out.extend_from_slice(field.get(done..).unwrap_or_default());
    (done > 0).then_some(out)
}

/// Encoded words with nothing but white space between them.
struct Run {
    at: Range<usize>,
    text: String,
    /// The first is in base64.
    base64: bool,
}

fn runs(field: &[u8]) -> Vec<Run> {
    let mut runs: Vec<(Range<usize>, Decoder, bool)> = Vec::new();
    let mut ends_left = true;
    let mut at = 0;
    while ends_left {
        let rest = field.get(at..).unwrap_or_default();
        let Some(found) = memmem::find(rest, b"=?") else {
            break;
        };
        let start = at + found;
        let candidate = field.get(start..).unwrap_or_default();
        let Some((word, tail)) = word(candidate, &mut ends_left) else {
            at = start + 2;
            continue;
        };
        at = field.len() - tail.len();
        let content: Vec<u8> = unfolded(word.content);
        let word = Word {
            content: &content,
            ..word
        };
        match runs.last_mut() {
            Some((run, decoder, _))
                if field
                    .get(run.end..start)
                    .is_some_and(|between| between.iter().all(u8::is_ascii_whitespace)) =>
            {
                decoder.word(&word);
                run.end = at;
            }
            _ => {
                let mut decoder = Decoder::default();
                decoder.word(&word);
                runs.push((start..at, decoder, word.base64));
            }
        }
    }
    let run = |(at, mut decoder, base64): (Range<usize>, Decoder, bool)| {
        decoder.flush();
        let text = decoder.text;
        Run { at, text, base64 }
    };
    runs.into_iter().map(run).collect()
}

fn unfolded(value: &[u8]) -> Vec<u8> {
    let value = value.iter().copied();
    value
        .filter(|byte| !matches!(byte, b'\r' | b'\n'))
        .collect()
}

/// A text in encoded words of at most 75 letters, as RFC 2047 section 2 has it.
fn encode(text: &str, base64: bool, fold: &str) -> String {
    /// Bytes of text in a word: four letters for three bytes, or three for one.
    const BASE64: usize = 45;
    const QUOTED: usize = 21;
    let most = if base64 { BASE64 } else { QUOTED };
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (part, tail) = rest.split_at(rest.floor_char_boundary(most));
        rest = tail;
        words.push(if base64 {
            format!("=?utf-8?B?{}?=", transfer::base64_word(part.as_bytes()))
        } else {
            format!("=?utf-8?Q?{}?=", q_encoded(part))
        });
    }
    words.join(fold)
}

/// The Q encoding of RFC 2047 section 4.2, fit for any place in a header.
fn q_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('_'),
            b'!' | b'*' | b'+' | b'-' | b'/' => out.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            byte => out.push_str(&format!("={byte:02X}")),
        }
    }
    out
}

/// One encoded word, still encoded.
struct Word<'a> {
    charset: &'a [u8],
    base64: bool,
    content: &'a [u8],
}

#[derive(Default)]
struct Decoder {
    text: String,
    /// Decoded bytes of the words since the last plain text or change of charset.
    pending: Vec<u8>,
    charset: Vec<u8>,
}

impl Decoder {
    fn value(&mut self, value: &[u8]) {
        let mut rest = value;
        let mut after_word = false;
        // Once no "?=" follows, no later start needs to look for one.
        let mut ends_left = true;
        let mut searched = 0;
        while ends_left {
            let Some(found) = rest
                .get(searched..)
                .and_then(|tail| memmem::find(tail, b"=?"))
            else {
                break;
            };
            let start = searched + found;
            let (plain, candidate) = rest.split_at_checked(start).unwrap_or((rest, &[]));
            match word(candidate, &mut ends_left) {
                Some((word, tail)) => {
                    // White space between two encoded words is not part of the text.
                    if !(after_word && plain.iter().all(u8::is_ascii_whitespace)) {
                        self.plain(plain);
                    }
                    self.word(&word);
                    after_word = true;
                    rest = tail;
                    searched = 0;
                }
                None => searched = start + 2,
            }
        }
        self.plain(rest);
        self.flush();
    }

    fn plain(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.flush();
            self.text.push_str(&String::from_utf8_lossy(bytes));
        }
    }

    fn word(&mut self, word: &Word<'_>) {
        if !self.charset.eq_ignore_ascii_case(word.charset) {
            self.flush();
            self.charset = word.charset.to_vec();
        }
        if word.base64 {
            self.pending
                .extend_from_slice(&transfer::base64(word.content));
        } else {
            transfer::q_word(word.content, &mut self.pending);
        }
    }

    fn flush(&mut self) {
        if !self.pending.is_empty() {
            let bytes = std::mem::take(&mut self.pending);
            self.text
                .push_str(&transfer::charset(&bytes, Some(&self.charset)));
        }
    }
}

/// Takes the encoded word at the start of `bytes` (which begins with `=?`).
/// `ends_left` becomes false when there is no `?=` in the rest.
fn word<'a>(bytes: &'a [u8], ends_left: &mut bool) -> Option<(Word<'a>, &'a [u8])> {
    /// Longest charset name (with an RFC 2231 language) that is believed.
    const MAX_CHARSET: usize = 64;
    let rest = bytes.get(2..)?;
    let mark = rest.iter().take(MAX_CHARSET).position(|&b| b == b'?')?;
    let (charset, rest) = rest.split_at_checked(mark)?;
    if charset.is_empty() || !charset.iter().all(u8::is_ascii_graphic) {
        return None;
    }
    let [b'?', encoding, b'?', content @ ..] = rest else {
        return None;
    };
    let base64 = match encoding {
        b'b' | b'B' => true,
        b'q' | b'Q' => false,
        _ => return None,
    };
    let Some(end) = memmem::find(content, b"?=") else {
        *ends_left = false;
        return None;
    };
    // RFC 2231 section 5 allows "charset*language".
    let charset = charset.split(|&b| b == b'*').next().unwrap_or(charset);
    let (content, tail) = content.split_at_checked(end)?;
    let word = Word {
        charset,
        base64,
        content,
    };
    Some((word, tail.get(2..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_and_folded() {
        assert_eq!(decode(b" Hello\r\n\tworld \r\n"), "Hello\tworld");
        assert_eq!(decode(b"caf\xe9"), "caf\u{fffd}");
        assert_eq!(decode(b""), "");
    }

    #[test]
    fn encoded_words() {
        assert_eq!(decode(b"=?utf-8?B?SGVsbG8=?= you"), "Hello you");
        assert_eq!(decode(b"=?ISO-8859-1?Q?caf=E9_x?="), "caf\u{e9} x");
        assert_eq!(decode(b"a =?utf-8?q?b?=\r\n =?utf-8*en?Q?c?= d"), "a bc d");
        assert_eq!(decode(b"=?utf-8?q?Are you ready??="), "Are you ready?");
    }

    #[test]
    fn a_character_cut_in_two_words_is_joined() {
        assert_eq!(decode(b"=?utf-8?Q?=C3?= =?UTF-8?Q?=A9?="), "\u{e9}");
    }

    #[test]
    fn what_is_no_encoded_word_stays() {
        for text in ["=?", "=?utf-8?", "=?utf-8?x?a?=", "=?a b?q?c?=", "a=?b"] {
            assert_eq!(decode(text.as_bytes()), text);
        }
        assert_eq!(decode(b"=?utf-8?q?=ZZ=4?="), "=ZZ=4");
        assert_eq!(decode(b"=?utf-8?b?!!!?=x"), "x");
        assert_eq!(decode(b"=?nonsense?q?=41?="), "A");
    }

    fn rewritten(field: &str) -> Option<String> {
        let change = |text: &str| {
            text.contains("cat")
                .then(|| text.replace("cat", "\u{e9}a, x@y"))
        };
        let field = rewrite(field.as_bytes(), &change)?;
        Some(String::from_utf8(field).unwrap())
    }

    #[test]
    fn words_are_encoded_anew_where_they_change() {
        for (field, expected) in [
            ("Subject: a cat\r\n", None),
            ("Subject: =?utf-8?Q?a_dog?= and a cat\r\n", None),
            (
                "Subject: a =?iso-8859-1?Q?cat=E9?= =?utf-8?B?Yg==?=\r\n",
                Some("Subject: a =?utf-8?Q?=C3=A9a=2C_x=40y=C3=A9b?=\r\n"),
            ),
            (
                "To: =?utf-8?B?Y2F?=\n =?utf-8?Q?t?= <=?utf-8?q?cat?=>\n",
                Some("To: =?utf-8?B?w6lhLCB4QHk=?= <=?utf-8?Q?=C3=A9a=2C_x=40y?=>\n"),
            ),
            ("=?utf-8?Q?c\r\n at?=", None),
            ("=?utf-8?Q?cat", None),
        ] {
            assert_eq!(rewritten(field).as_deref(), expected, "{field}");
        }
    }

    #[test]
    fn long_words_are_many_and_say_the_same() {
        let text = "cat \u{e9}".repeat(50);
        for encoding in [true, false] {
            let field = format!("S: {}\n", encode(&text, encoding, " "));
            let changed = rewritten(&field).unwrap();
            let said = text.replace("cat", "\u{e9}a, x@y");
            assert_eq!(decode(changed.as_bytes()), format!("S: {said}"));
            assert!(changed.lines().all(|line| line.len() <= 75 + 3));
        }
    }

    #[test]
    fn a_flood_of_unfinished_words_is_linear() {
        let flood = b"=?xx?q?a".repeat(8_000);
        assert_eq!(decode(&flood).len(), flood.len());
    }
}
