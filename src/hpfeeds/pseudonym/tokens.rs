//! Base64 and hexadecimal words, in which senders put the recipient's address into links.
//!
//! Where such a word begins and ends cannot be told: `/` and `-` are of base64's alphabets and
//! between words of a path. So a whole run of letters is decoded at each alignment it can have,
//! and only the letters that hold what is replaced are changed. What follows must keep its
//! alignment: dots behind the replacement see to it, two at most.

use std::ops::Range;

use super::edits::Edit;
use super::view::hex;

/// Shortest run that can hold an address: six bytes.
const BASE64_MIN: usize = 8;
const HEX_MIN: usize = 12;

/// Finds what is to be changed in decoded bytes: changes that are disjoint and in order.
pub(super) type Search<'s> = &'s dyn Fn(&[u8]) -> Vec<Edit>;

/// The changes to base64 and hexadecimal words of a text.
pub(super) fn search(text: &[u8], search: Search<'_>, edits: &mut Vec<Edit>) {
    for run in runs(text, BASE64_MIN, |byte| sextet(byte).is_some()) {
        let letters = text.get(run.clone()).unwrap_or_default();
        // Each alignment of an "@" or another separator has a capital in it, and each of a
        // domain a small letter or a digit.
        let capital = letters.iter().any(u8::is_ascii_uppercase);
        if capital && !letters.iter().all(u8::is_ascii_uppercase) {
            for skip in 0..4 {
                base64(letters, skip, run.start, search, edits);
            }
        }
    }
    for run in runs(text, HEX_MIN, |byte| byte.is_ascii_hexdigit()) {
        let digits = text.get(run.clone()).unwrap_or_default();
        for skip in 0..2 {
            hexadecimal(digits, skip, run.start, search, edits);
        }
    }
}

/// The longest stretches of bytes of a kind that have a length.
fn runs(text: &[u8], shortest: usize, is: fn(u8) -> bool) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let rest = text.get(at..)?;
            let start = at + rest.iter().position(|byte| is(*byte))?;
            let run = text.get(start..)?;
            let length = run.iter().position(|byte| !is(*byte)).unwrap_or(run.len());
            at = start + length;
            if length >= shortest {
                return Some(start..at);
            }
        }
    })
}

/// Both alphabets of RFC 4648.
fn sextet(letter: u8) -> Option<u8> {
    match letter {
        b'A'..=b'Z' => Some(letter - b'A'),
        b'a'..=b'z' => Some(letter - b'a' + 26),
        b'0'..=b'9' => Some(letter - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

fn letter(sextet: u8, for_urls: bool) -> u8 {
    match (sextet & 63, for_urls) {
        (value @ 0..=25, _) => b'A' + value,
        (value @ 26..=51, _) => b'a' + value - 26,
        (value @ 52..=61, _) => b'0' + value - 52,
        (62, false) => b'+',
        (62, true) => b'-',
        (_, false) => b'/',
        (_, true) => b'_',
    }
}

/// The changes to a run of letters that begins at `start`, of which `skip` are passed over.
fn base64(letters: &[u8], skip: usize, start: usize, search: Search<'_>, edits: &mut Vec<Edit>) {
    let for_urls = letters.iter().any(|letter| b"-_".contains(letter));
    let word = letters.get(skip..).unwrap_or_default();
    // Bytes that only the bits of a missing letter would make whole are none of the word's.
    let whole = word.len() * 6 / 8;
    let bytes = bytes_of(word);
    let mut found = search(bytes.get(..whole).unwrap_or_default())
        .into_iter()
        .peekable();
    while let Some(edit) = found.next() {
        let from = edit.at.start;
        let mut end = edit.at.end;
        let mut with = aligned(edit);
        // Another change in the same three bytes is made together with this one.
        while let Some(next) = found.next_if(|next| next.at.start / 3 <= (end - 1) / 3) {
            with.extend_from_slice(bytes.get(end..next.at.start).unwrap_or_default());
            end = next.at.end;
            with.extend(aligned(next));
        }
        let group = from / 3 * 3;
        let mut changed = bytes.get(group..from).unwrap_or_default().to_vec();
        changed.extend(with);
        let behind = end.div_ceil(3) * 3;
        changed.extend_from_slice(bytes.get(end..behind).unwrap_or_default());
        // Letters of the first and last group that hold only bytes beside the change stay.
        let first = group / 3 * 4 + (from - group);
        let last = behind / 3 * 4 - (behind - end);
        let written = letters_of(&changed, for_urls);
        let written = written.get(from - group..written.len() - (behind - end));
        edits.push(Edit {
            at: start + skip + first..start + skip + last,
            with: written.unwrap_or_default().to_vec(),
        });
    }
}

/// What replaces a stretch, with dots behind it so that its length differs by whole groups of
/// three.
fn aligned(edit: Edit) -> Vec<u8> {
    let mut with = edit.with;
    while with.len() % 3 != edit.at.len() % 3 {
        with.push(b'.');
    }
    with
}

/// The bytes of a word, its last group filled up with zeros.
fn bytes_of(word: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(word.len().div_ceil(4) * 3);
    for group in word.chunks(4) {
        let value = (0..4).fold(0u32, |value, at| {
            let sextet = group.get(at).and_then(|letter| sextet(*letter));
            value << 6 | u32::from(sextet.unwrap_or(0))
        });
        let [_, first, second, third] = value.to_be_bytes();
        bytes.extend([first, second, third]);
    }
    bytes
}

/// The letters of whole groups.
fn letters_of(bytes: &[u8], for_urls: bool) -> Vec<u8> {
    let mut word = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let value = (0..3).fold(0u32, |value, at| {
            value << 8 | u32::from(group.get(at).copied().unwrap_or(0))
        });
        let sextets = [value >> 18, value >> 12, value >> 6, value];
        word.extend(sextets.map(|sextet| letter((sextet & 63) as u8, for_urls)));
    }
    word
}

/// The changes to a run of digits that begins at `start`, of which `skip` are passed over.
fn hexadecimal(
    digits: &[u8],
    skip: usize,
    start: usize,
    search: Search<'_>,
    edits: &mut Vec<Edit>,
) {
    let word = digits.get(skip..).unwrap_or_default();
    let pairs = word.chunks_exact(2);
    let bytes: Vec<u8> = pairs
        .map(|pair| match pair {
            [high, low] => hex(*high).unwrap_or(0) << 4 | hex(*low).unwrap_or(0),
            _ => 0,
        })
        .collect();
    let capitals = word.iter().any(u8::is_ascii_uppercase);
    for edit in search(&bytes) {
        let digits = edit.with.iter().flat_map(|byte| {
            [byte >> 4, byte & 15].map(|digit| match (digit, capitals) {
                (0..=9, _) => b'0' + digit,
                (_, true) => b'A' + digit - 10,
                (_, false) => b'a' + digit - 10,
            })
        });
        edits.push(Edit {
            at: start + skip + 2 * edit.at.start..start + skip + 2 * edit.at.end,
            with: digits.collect(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hpfeeds::pseudonym::edits::{disjoint, made};

    /// Replaces `secret` and `other`.
    fn found(bytes: &[u8]) -> Vec<Edit> {
        let words = [("secret", "#####"), ("other", "+")];
        let edits = words.iter().flat_map(|(word, with)| {
            memchr::memmem::find_iter(bytes, word).map(|at| Edit {
                at: at..at + word.len(),
                with: with.as_bytes().to_vec(),
            })
        });
        disjoint(edits.collect())
    }

    fn changed(text: &str) -> String {
        let mut edits = Vec::new();
        search(text.as_bytes(), &found, &mut edits);
        match made(text.as_bytes(), &disjoint(edits)) {
            Some(text) => String::from_utf8(text).unwrap(),
            None => text.to_owned(),
        }
    }

    fn encoded(text: &str) -> String {
        let mut word = String::from_utf8(letters_of(text.as_bytes(), false)).unwrap();
        let letters = (text.len() * 8).div_ceil(6);
        word.truncate(letters);
        word
    }

    #[test]
    fn base64_at_each_alignment() {
        for before in ["", "x", "xy", "xyz", "wxyz"] {
            for after in ["", "1", "12", "123", "&id=7"] {
                let word = encoded(&format!("{before}secret{after}"));
                let expected = encoded(&format!("{before}#####.{after}"));
                let beside = [
                    ("", ""),
                    ("/u/", "/x"),
                    ("?e=", "=="),
                    ("A-", "_B"),
                    ("//", "//"),
                ];
                for (left, right) in beside {
                    let text = format!("{left}{word}{right}");
                    let expected = format!("{left}{expected}{right}");
                    assert_eq!(changed(&text), expected, "{before}secret{after}");
                }
            }
        }
    }

    #[test]
    fn two_in_one_word() {
        for between in ["", ",", "--", " and "] {
            let word = encoded(&format!("secret{between}other!"));
            let expected = encoded(&format!("#####.{between}+.!"));
            assert_eq!(changed(&word), expected, "{between}");
        }
    }

    #[test]
    fn hexadecimal_words() {
        let digits = |text: &str| {
            text.bytes()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        };
        let (word, expected) = (digits("a secret b"), digits("a ##### b"));
        assert_eq!(changed(&format!("x={word}&")), format!("x={expected}&"));
        assert_eq!(changed(&format!("1{word}")), format!("1{expected}"));
        assert_eq!(changed(&word.to_uppercase()), expected.to_uppercase());
    }

    #[test]
    fn what_holds_nothing_stays() {
        for text in [
            "",
            "newsletter unsubscribe",
            "AAAAAAAAaaaaaaaa",
            "0123456789abcdef0",
        ] {
            assert_eq!(changed(text), text);
        }
    }
}
