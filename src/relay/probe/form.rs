//! The forms in which a token may stand in a message, and the search for one.
//!
//! | form | of | at least |
//! |---|---|---|
//! | as it is, in any case, as a whole word | both | [`super::TOKEN_MIN`] characters |
//! | hex digits of its characters | both | [`HEX_MIN`] digits |
//! | base64 of its characters, wherever in a text that was encoded whole | both | [`BASE64_MIN`] characters |
//! | IPv6 with all its digits | address | |
//! | decimal number | address | [`DECIMAL_MIN`] digits |
//! | hexadecimal number, 8 or 32 digits, after `0x` or with a letter in it | address | |
//!
//! A whole word has no ASCII letter or digit beside it; an address besides is no part of a longer
//! run of numbers and dots, or of groups and colons. A hexadecimal number without a letter, and a
//! short decimal one, might be a date. Other forms of addresses (octal, reversed) are not known
//! from tests of relays and not looked for.

use std::fmt::Write;
use std::net::IpAddr;

use memchr::memmem::Finder;

/// Fewest hex digits of a word's characters: of four characters they might be any number.
pub const HEX_MIN: usize = 10;

/// Fewest characters of base64, those left out that also depend on what stands before or behind.
pub const BASE64_MIN: usize = 8;

/// Fewest digits of an address as a decimal number.
pub const DECIMAL_MIN: usize = 8;

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A piece of a message, ready to be searched.
#[derive(Debug)]
pub struct Text<'a> {
    exact: &'a [u8],
    lower: Vec<u8>,
}

impl<'a> Text<'a> {
    /// Prepares the search once for all forms of all tokens.
    pub fn new(piece: &'a [u8]) -> Text<'a> {
        Text {
            exact: piece,
            lower: piece.to_ascii_lowercase(),
        }
    }
}

/// What may not stand beside what was found.
#[derive(Clone, Copy, Debug)]
enum Border {
    /// Anything may, and case counts.
    Exact,
    /// Anything may.
    Free,
    /// No letter or digit.
    Word,
    /// As for a word, and no further number of an IPv4 address.
    Numbers,
    /// As for a word, and no further group of an IPv6 address.
    Groups,
}

/// One form of a token.
#[derive(Debug)]
pub struct Form {
    finder: Finder<'static>,
    border: Border,
}

impl Form {
    fn new(text: &str, border: Border) -> Form {
        Form {
            finder: Finder::new(text.as_bytes()).into_owned(),
            border,
        }
    }

    /// The forms of a word.
    pub fn of_word(word: &str) -> Vec<Form> {
        let lower = word.to_ascii_lowercase();
        let plain = Form::new(&lower, Border::Word);
        std::iter::once(plain).chain(encoded(word)).collect()
    }

    /// The forms of an address.
    pub fn of_address(address: IpAddr) -> Vec<Form> {
        let text = address.to_string();
        let (border, whole, decimal, hex) = match address {
            IpAddr::V4(v4) => {
                let number = v4.to_bits();
                let (decimal, hex) = (number.to_string(), format!("{number:08x}"));
                (Border::Numbers, None, decimal, hex)
            }
            IpAddr::V6(v6) => {
                let number = v6.to_bits();
                let groups = v6.segments().map(|group| format!("{group:04x}"));
                let (decimal, hex) = (number.to_string(), format!("{number:032x}"));
                (Border::Groups, Some(groups.join(":")), decimal, hex)
            }
        };
        let mut forms = vec![
            Form::new(&text, border),
            Form::new(&format!("0x{hex}"), Border::Word),
        ];
        forms.extend(whole.map(|whole| Form::new(&whole, border)));
        if decimal.len() >= DECIMAL_MIN {
            forms.push(Form::new(&decimal, Border::Word));
        }
        if hex.contains(|c: char| c.is_ascii_alphabetic()) {
            forms.push(Form::new(&hex, Border::Word));
        }
        forms.extend(encoded(&text));
        forms
    }

    /// Whether this form stands in the text.
    pub fn is_in(&self, text: &Text<'_>) -> bool {
        let haystack = match self.border {
            Border::Exact => text.exact,
            _ => &text.lower,
        };
        let length = self.finder.needle().len();
        self.finder.find_iter(haystack).any(|at| {
            let before = haystack.get(..at).unwrap_or_default();
            let behind = haystack.get(at + length..).unwrap_or_default();
            self.border.is_kept(before, behind)
        })
    }
}

impl Border {
    fn is_kept(self, before: &[u8], behind: &[u8]) -> bool {
        let is_word = !before.last().is_some_and(u8::is_ascii_alphanumeric)
            && !behind.first().is_some_and(u8::is_ascii_alphanumeric);
        match self {
            Border::Exact | Border::Free => true,
            Border::Word => is_word,
            Border::Numbers => is_word && !has_number(before, behind),
            Border::Groups => is_word && !has_group(before, behind),
        }
    }
}

fn has_number(before: &[u8], behind: &[u8]) -> bool {
    matches!(before, [.., b'0'..=b'9', b'.']) || matches!(behind, [b'.', b'0'..=b'9', ..])
}

/// Whether another group of hex digits adjoins; a word before a colon (`node:`) is none.
fn has_group(before: &[u8], behind: &[u8]) -> bool {
    let group_before = before.strip_suffix(b":").is_some_and(|rest| {
        let word = rest.rsplit(|byte| !byte.is_ascii_alphanumeric()).next();
        word.is_some_and(|word| {
            rest.ends_with(b":") || !word.is_empty() && word.len() <= 4 && is_hex(word)
        })
    });
    let group_behind = matches!(behind, [b':', next, ..] if next.is_ascii_hexdigit());
    group_before || group_behind
}

fn is_hex(word: &[u8]) -> bool {
    word.iter().all(u8::is_ascii_hexdigit)
}

/// The forms of a word's characters, in hex and in base64 at the three places that a text in front
/// of it can put it.
fn encoded(word: &str) -> impl Iterator<Item = Form> {
    let mut hex = String::new();
    for byte in word.bytes() {
        let _ = write!(hex, "{byte:02x}");
    }
    let hex = (hex.len() >= HEX_MIN).then(|| Form::new(&hex, Border::Free));
    let base64 = [0, 1, 2].map(|before| base64(word.as_bytes(), before));
    let base64 = base64.into_iter().filter(|text| text.len() >= BASE64_MIN);
    hex.into_iter()
        .chain(base64.map(|text| Form::new(&text, Border::Exact)))
}

/// Base64 of `bytes` with `before` other bytes in front, without the characters that also hold
/// bits of others.
fn base64(bytes: &[u8], before: usize) -> String {
    let byte = |at: usize| {
        let at = at.checked_sub(before);
        at.and_then(|at| bytes.get(at)).copied().unwrap_or(0)
    };
    let first = (8 * before).div_ceil(6);
    let end = 8 * (before + bytes.len()) / 6;
    let characters = (first..end).filter_map(|at| {
        let (byte_at, bit) = (6 * at / 8, 6 * at % 8);
        let two = u16::from_be_bytes([byte(byte_at), byte(byte_at + 1)]);
        BASE64.get(usize::from(two >> (10 - bit) & 63))
    });
    characters.map(|&character| char::from(character)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with another program: `printf 'mx.example' | base64`, and with `1` and `22` in front.
    #[test]
    fn base64_is_that_of_the_whole_text() {
        for (before, whole) in [
            (0, "bXguZXhhbXBsZQ=="),
            (1, "MW14LmV4YW1wbGU="),
            (2, "MjJteC5leGFtcGxl"),
        ] {
            let inside = base64(b"mx.example", before);
            assert!(whole.contains(&inside), "{inside} in {whole}");
            let lost = whole.trim_end_matches('=').len() - inside.len();
            assert!(lost <= 3, "{inside} in {whole}");
        }
    }

    #[test]
    fn borders() {
        let kept = |border: Border, before: &str, behind: &str| {
            border.is_kept(before.as_bytes(), behind.as_bytes())
        };
        for (before, behind) in [("", ""), ("_", "-"), ("@", "."), ("\u{e9}", "\u{4e2d}")] {
            assert!(kept(Border::Word, before, behind));
        }
        assert!(!kept(Border::Word, "a", "") && !kept(Border::Word, "", "1"));
        assert!(kept(Border::Numbers, "v4: ", ".") && kept(Border::Numbers, ".", ":25"));
        assert!(!kept(Border::Numbers, "1.", "") && !kept(Border::Numbers, "", ".1"));
        for (before, behind) in [("[", "]:25"), ("node:", ""), ("IP: ", ": "), ("", ":")] {
            assert!(kept(Border::Groups, before, behind), "{before} {behind}");
        }
        for (before, behind) in [("2001:", ""), ("::", ""), ("", ":1"), ("x:face:", "")] {
            assert!(!kept(Border::Groups, before, behind), "{before} {behind}");
        }
    }
}
