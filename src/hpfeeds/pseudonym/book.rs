//! Finds addresses of a list in a text without escapes.
//!
//! A [`Book`] is made of addresses in normal form. [`Book::search`] takes text in lower case and
//! goes through it once; at each place where a domain of the list stands behind a separator it
//! looks up what stands before, one look for each length that local parts of that domain have. A
//! record may have a hundred thousand recipients: an automaton (Aho-Corasick) of all their
//! spellings would take hundreds of megabytes.

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Range;

use super::normal;

/// Shortest address that is looked for. No mailbox on the internet has a shorter one, and a short
/// one that a stranger made up would be found everywhere.
const ADDRESS_MIN: usize = 6;
/// A local part of so many characters is found glued to other letters, too (`toyourname@`); a
/// shorter one is another mailbox then.
const GLUED_MIN: usize = 6;
/// Shortest local part that tells a mailbox by itself.
const WORD_MIN: usize = 6;
/// Local parts that have a digit and tell nothing: MIME is made of such words.
const COMMON_WORDS: [&str; 8] = [
    "base64",
    "office365",
    "rfc822",
    "rfc2822",
    "rfc5322",
    "sha256",
    "utf8mb4",
    "windows10",
];
/// What may stand between local part and domain, in lower case: the sign itself, behind a quoted
/// local part, that of a VERP return path, that of an old route, and what hides an address from
/// harvesters.
const SEPARATORS: [&[u8]; 11] = [
    b"\"@", b"@", b"=", b"%", b" @ ", b" at ", b"_at_", b" (at) ", b"(at)", b" [at] ", b"[at]",
];

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub at: Range<usize>,
    /// The address, in normal form.
    pub address: Box<[u8]>,
    /// What stands between local part and domain; none where the local part stands alone.
    pub separator: Option<Range<usize>>,
}

/// Words that are looked for at a place in a text.
#[derive(Debug, Default)]
struct Words<T> {
    known: HashMap<Box<[u8]>, T>,
    /// Their lengths, longest first.
    lengths: Vec<usize>,
    /// For each two bytes whether a word begins so; none while there is no word.
    starts: Vec<u64>,
}

impl<T> Words<T> {
    fn new(known: HashMap<Box<[u8]>, T>) -> Self {
        let lengths: BTreeSet<usize> = known.keys().map(|word| word.len()).collect();
        let mut starts = vec![0; if known.is_empty() { 0 } else { 1024 }];
        for word in known.keys() {
            let seconds = match word.get(1) {
                Some(second) => *second..=*second,
                None => 0..=u8::MAX,
            };
            for second in seconds {
                let (cell, bit) = start(word.first().copied().unwrap_or(0), second);
                if let Some(cell) = starts.get_mut(cell) {
                    *cell |= bit;
                }
            }
        }
        Self {
            known,
            lengths: lengths.into_iter().rev().collect(),
            starts,
        }
    }

    /// Whether a word may stand at `at`.
    fn may_start(&self, text: &[u8], at: usize) -> bool {
        let Some(first) = text.get(at) else {
            return false;
        };
        let (cell, bit) = start(*first, text.get(at + 1).copied().unwrap_or(0));
        self.starts.get(cell).is_some_and(|cell| cell & bit != 0)
    }

    /// The words that stand at `at` and have a length that `fits`, longest first.
    fn at<'t>(
        &'t self,
        text: &'t [u8],
        at: usize,
        fits: impl Fn(usize) -> bool + 't,
    ) -> impl Iterator<Item = (usize, &'t T)> {
        let lengths = self.lengths.iter().filter(move |length| fits(**length));
        lengths.filter_map(move |length| {
            let word = text.get(at..at.checked_add(*length)?)?;
            Some((*length, self.known.get(word)?))
        })
    }
}

/// Where the bit of two bytes stands.
fn start(first: u8, second: u8) -> (usize, u64) {
    (
        usize::from(first) << 2 | usize::from(second >> 6),
        1 << (second & 63),
    )
}

/// The local parts of a domain.
#[derive(Debug, Default)]
struct Locals {
    known: HashSet<Box<[u8]>>,
    /// Their lengths, longest first.
    lengths: Vec<usize>,
}

/// The addresses that are looked for.
#[derive(Debug)]
pub(super) struct Book {
    domains: Words<Locals>,
    /// Local parts that tell a mailbox by themselves, with the first of their addresses.
    words: Words<Box<[u8]>>,
}

impl Book {
    /// A book of these addresses, which are in normal form.
    pub fn new(addresses: &BTreeSet<String>) -> Self {
        let mut domains: HashMap<Box<[u8]>, Locals> = HashMap::new();
        let mut words: HashMap<Box<[u8]>, Box<[u8]>> = HashMap::new();
        for address in addresses {
            let Some((local, domain)) = normal::parts(address) else {
                continue;
            };
            if address.len() < ADDRESS_MIN || local.is_empty() || domain.is_empty() {
                continue;
            }
            let locals = domains.entry(domain.as_bytes().into()).or_default();
            locals.known.insert(local.as_bytes().into());
            if tells_by_itself(local) {
                let first = words.entry(local.as_bytes().into());
                first.or_insert_with(|| address.as_bytes().into());
            }
        }
        for locals in domains.values_mut() {
            let lengths: BTreeSet<usize> = locals.known.iter().map(|local| local.len()).collect();
            locals.lengths = lengths.into_iter().rev().collect();
        }
        Self {
            domains: Words::new(domains),
            words: Words::new(words),
        }
    }

    /// Whether there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.domains.known.is_empty()
    }

    /// Gives each address that stands in `text`, which is in lower case, to `found`. `is_joined`
    /// says whether a byte stands behind the one before it in the source, too.
    pub fn search(
        &self,
        text: &[u8],
        is_joined: impl Fn(usize) -> bool,
        mut found: impl FnMut(Found),
    ) {
        // Behind an address another one may begin: words of a header may have been put together.
        let last_end = Cell::new(0);
        let begins_word = |at: usize| {
            let before = at.checked_sub(1).and_then(|before| text.get(before));
            let letter = before.is_some_and(u8::is_ascii_alphanumeric);
            !letter || at == last_end.get() || !is_joined(at)
        };
        for at in 0..text.len() {
            if let Some(address) = self.address(text, at, &begins_word) {
                last_end.set(address.at.end);
                found(address);
            }
            if !self.words.may_start(text, at) || !begins_word(at) {
                continue;
            }
            let ends_word = |length: usize| {
                let end = at + length;
                !text.get(end).is_some_and(u8::is_ascii_alphanumeric) || !is_joined(end)
            };
            if let Some((length, address)) = self.words.at(text, at, ends_word).next() {
                found(Found {
                    at: at..at + length,
                    address: address.clone(),
                    separator: None,
                });
            }
        }
    }

    /// The address whose domain stands at `at`.
    fn address(
        &self,
        text: &[u8],
        at: usize,
        begins_word: &impl Fn(usize) -> bool,
    ) -> Option<Found> {
        let last = text.get(at.checked_sub(1)?)?;
        let ends_separator = matches!(last, b'@' | b'=' | b'%' | b' ' | b'_' | b')' | b']');
        if !ends_separator || !self.domains.may_start(text, at) {
            return None;
        }
        let before = text.get(..at)?;
        for (length, locals) in self.domains.at(text, at, |_| true) {
            for separator in SEPARATORS {
                let Some(local) = before.strip_suffix(separator) else {
                    continue;
                };
                let end = local.len();
                let start = locals.lengths.iter().find_map(|length| {
                    let start = end.checked_sub(*length)?;
                    let free = *length >= GLUED_MIN || begins_word(start);
                    let known = locals.known.contains(local.get(start..)?);
                    (free && known).then_some(start)
                });
                if let Some(start) = start {
                    let at = start..at + length;
                    let domain = text.get(at.end - length..at.end)?;
                    let address = [local.get(start..)?, b"@", domain].concat();
                    return Some(Found {
                        at,
                        address: address.into(),
                        separator: Some(end..end + separator.len()),
                    });
                }
            }
        }
        None
    }
}

/// Whether a local part tells a mailbox without its domain: long, a letter in it, and a digit, dot
/// or underscore. `info` and `sales` are everybody's.
fn tells_by_itself(local: &str) -> bool {
    local.len() >= WORD_MIN
        && local.bytes().any(|byte| byte.is_ascii_alphabetic())
        && local
            .bytes()
            .any(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'_'))
        && !COMMON_WORDS.contains(&local)
}
