//! Reads addresses and words of a command as spam software writes them.
//!
//! RFC 5321 §4.1.2 is strict about paths; a Postfix with `strict_rfc821_envelopes = no` is not,
//! and what it lets through is evidence. So any run of bytes is an address: with or without
//! brackets, with white space inside them, with a display name before them, with 8-bit
//! characters, without a domain. Refused is only what leaves open where the address ends (a
//! bracket or quote that is not closed, a backslash) or which it is (two bracketed addresses).
//!
//! The address is kept in the form in which it stood on the wire, quotes included, so that it can
//! be sent on. A source route is cut off (RFC 5321 §4.1.1.3).

/// The address is open at its end, or there were two.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// What separates the words of a command line; CR and LF are there because lines come with their
/// ends.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// The line without white space at either end.
pub(super) fn trim(bytes: &[u8]) -> &[u8] {
    let Some(first) = bytes.iter().position(|&byte| !is_space(byte)) else {
        return &[];
    };
    let end = bytes.iter().rposition(|&byte| !is_space(byte));
    end.and_then(|last| bytes.get(first..=last))
        .unwrap_or_default()
}

/// Follows quoting and bracketing through a line.
#[derive(Default)]
struct Syntax {
    escaped: bool,
    quoted: bool,
    depth: usize,
}

impl Syntax {
    /// Takes in one byte and says whether it stands for itself: neither quoted nor escaped.
    fn plain(&mut self, byte: u8) -> bool {
        if self.escaped {
            self.escaped = false;
            return false;
        }
        match byte {
            b'\\' => self.escaped = true,
            b'"' => self.quoted = !self.quoted,
            _ if self.quoted => {}
            b'<' => {
                self.depth += 1;
                return true;
            }
            b'>' => {
                self.depth = self.depth.saturating_sub(1);
                return true;
            }
            _ => return true,
        }
        false
    }
}

/// Splits off the first word and returns it with what follows. White space ends a word, but not
/// inside brackets or quotes.
pub(super) fn word(line: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let line = trim(line);
    let mut syntax = Syntax::default();
    for (at, &byte) in line.iter().enumerate() {
        if syntax.plain(byte) && syntax.depth == 0 && is_space(byte) {
            return line.split_at_checked(at).ok_or(Malformed);
        }
    }
    if syntax.quoted || syntax.depth > 0 {
        return Err(Malformed);
    }
    Ok((line, &[]))
}

/// The address in `word`; empty for the null path `<>`.
pub(super) fn address(word: &[u8]) -> Result<String, Malformed> {
    let mut syntax = Syntax::default();
    let (mut start, mut end) = (None, None);
    for (at, &byte) in word.iter().enumerate() {
        let plain = syntax.plain(byte);
        match byte {
            b'<' if plain && end.is_some() => return Err(Malformed),
            b'<' if plain => start = Some(at + 1),
            b'>' if plain => end = end.or(Some(at)),
            _ => {}
        }
    }
    if syntax.escaped {
        return Err(Malformed);
    }
    let inner = word
        .get(start.unwrap_or(0)..end.unwrap_or(word.len()))
        .ok_or(Malformed)?;
    Ok(text(without_route(inner)))
}

/// Cuts off `@a,@b:` before an address, as often as there is one: what is sent on has none.
fn without_route(path: &[u8]) -> &[u8] {
    let mut path = trim(path);
    while path.first() == Some(&b'@') {
        let mut syntax = Syntax::default();
        let colon = path
            .iter()
            .position(|&byte| syntax.plain(byte) && byte == b':');
        match colon.and_then(|colon| path.get(colon + 1..)) {
            Some(rest) => path = trim(rest),
            None => break,
        }
    }
    path
}

/// A stranger's bytes as text: UTF-8 with U+FFFD for what is none and for control characters,
/// which nothing that is later made from it (a relayed command, a log line) can do with.
pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_they_are_seen_in_the_wild() {
        for (given, expected) in [
            ("<a@b>", "a@b"),
            ("a@b", "a@b"),
            ("< a@b >", "a@b"),
            ("<>", ""),
            ("< >", ""),
            ("<<a@b>>", "a@b"),
            ("Name<a@b>", "a@b"),
            ("<a@b>x", "a@b"),
            ("a@b>", "a@b"),
            ("<postmaster>", "postmaster"),
            ("<@x,@y:a@b>", "a@b"),
            ("<@x: @y:@z:a@b>", "a@b"),
            ("<@x>", "@x"),
            ("<@\"x:y\">", "@\"x:y\""),
            ("<\"a b\"@c>", "\"a b\"@c"),
            ("<\"a>b<\"@c>", "\"a>b<\"@c"),
            ("<a\\>b@c>", "a\\>b@c"),
            ("<a@b@c>", "a@b@c"),
            ("<a@[192.0.2.1]>", "a@[192.0.2.1]"),
            ("<jos\u{e9}@b>", "jos\u{e9}@b"),
            ("<a b@c>", "a b@c"),
        ] {
            assert_eq!(
                address(given.as_bytes()).as_deref(),
                Ok(expected),
                "{given}"
            );
        }
    }

    #[test]
    fn what_is_two_addresses_or_open_at_its_end_is_refused() {
        for given in ["<a@b>,<c@d>", ">a@b<", "a@b\\"] {
            assert_eq!(address(given.as_bytes()), Err(Malformed), "{given}");
        }
    }

    #[test]
    fn text_is_free_of_control_characters() {
        assert_eq!(
            text(b"a\r\x00\x1b\x7f\xffb"),
            "a\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}b"
        );
    }

    #[test]
    fn words_keep_quotes_and_brackets_together() {
        assert_eq!(
            word(b" <a b> SIZE=1\r\n"),
            Ok((&b"<a b>"[..], &b" SIZE=1"[..]))
        );
        assert_eq!(word(b"\"a b\"@c d"), Ok((&b"\"a b\"@c"[..], &b" d"[..])));
        assert_eq!(word(b"a\\ b c"), Ok((&b"a\\ b"[..], &b" c"[..])));
        assert_eq!(word(b"\r\n"), Ok((&b""[..], &b""[..])));
        assert_eq!(word(b"<a@b SIZE=1"), Err(Malformed));
        assert_eq!(word(b"\"a@b"), Err(Malformed));
    }
}
