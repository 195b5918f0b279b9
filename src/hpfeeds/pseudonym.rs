//! Keeps the addresses of the trap out of what is shared: each is replaced by its pseudonym.
//!
//! A spam's recipients are the honeypot's own addresses, or those of people a spammer meant it
//! for. Spam names them in many places: whoever got a feed with them in it could tell the trap
//! from other machines, or go on writing to them. So of everything that is published a [`Cover`]
//! is made, from the envelope recipients of all copies of the record, that replaces them.
//!
//! # The pseudonym
//! [`Pseudonyms::address`] gives `p-`, 16 letters and `@recipient.invalid`, [`LENGTH`] bytes: the
//! first 80 bits of HMAC-SHA-256, by the [`Key`] of this installation, of the address in its
//! normal form, in base32. The same mailbox always has the same one, so that a subscriber can
//! still count and correlate. Among a thousand million addresses the chance that any two share a
//! pseudonym is below one in two millions. Without the key nobody can tell whether an address
//! belongs to a pseudonym; with it and the stores, `shiva pseudonym --reverse` finds the way back.
//!
//! # What is replaced
//! The whole address, in any case, wherever local part and domain stand with one of these between
//! them: `@`, `=` (VERP return paths), `%` (old routes), ` at `, `(at)`, `[at]`, `_at_`. What is
//! between them stays as it was written. A local part of less than six characters counts only
//! where no letter or digit stands before it; what stands behind a domain does not matter. This
//! holds for text, HTML, links, header blocks and bodies alike, and through these disguises:
//!
//! - percent-encoding, of any of the characters, also twice (`%2540`);
//! - HTML's character references, decimal, hexadecimal and named, and the escapes of scripts;
//! - quoted-printable, with line breaks within the address, also twice; folded lines;
//! - base64, at each alignment, in both alphabets, and hexadecimal digits, also where the address
//!   is only part of what was encoded. In base64 up to two dots follow the pseudonym, so that what
//!   comes after it keeps its place;
//! - encoded words of headers, also where an address is cut in several;
//! - bodies in base64, at any depth of MIME, and text in UTF-16.
//!
//! The local part alone is replaced by the pseudonym's, where it is a whole word (no letter or
//! digit beside it) and tells a mailbox by itself: at least six characters, a letter among them
//! and a digit, a dot or an underscore (`Dear john.smith42,`). `info`, `sales` and `johnsmith` stay
//! where they stand alone, and so do a few words that mail is made of (`base64`).
//!
//! Attachments: text in any of its types, messages, and whatever looks like text (a page named
//! `application/octet-stream`) are treated as bodies are. Others stay, byte for byte.
//!
//! # What cannot be covered
//! - Hashes of an address, encrypted or random tokens, numbers by which a sender knows its
//!   recipients in links, Message-IDs and names of hosts.
//! - Pictures, and what is in archives, documents and other binary attachments.
//! - An address encoded twice in base64, or in base64 that runs over several lines of a text;
//!   ROT13, uuencode, UTF-7; taken apart by tags, comments or invisible characters, or put together
//!   by a script; a link that was cut within the address.
//! - Names of people; local parts that tell nothing by themselves, and the domain alone.
//! - Addresses below six bytes, and recipients that are no address; in a raw message also those
//!   with bytes that are no UTF-8.
//! - Addresses of the honeypot that no copy of the record was sent to.
//! - A guess: id, length, ssdeep and the hashes of attachments are those of what was received. Who
//!   puts the right address in the place of a pseudonym gets the same id, and whoever sent the spam
//!   knows what it sent to whom.
//!
//! # Guarantees
//! Nothing here panics or does I/O (but for the key's file). Time is linear in the text; at most
//! some ten times its size is held at once. What comes out is the very same bytes where there is
//! nothing to replace; a text grows to seven times its size at most, a message to [`GROWTH_MAX`]
//! times (short addresses in UTF-16, in quoted-printable within quoted-printable).

mod book;
mod edits;
mod key;
mod normal;
#[cfg(test)]
mod tests;
mod tokens;
mod view;

use std::borrow::Cow;
use std::collections::BTreeSet;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use self::book::Book;
use self::edits::{Edit, disjoint, made};
use self::view::Stack;
use crate::message;

pub use self::key::Key;

/// Bytes of a pseudonym.
pub const LENGTH: usize = PREFIX.len() + LETTERS + DOMAIN.len();
/// How many times as large as a message what comes of it may be.
pub const GROWTH_MAX: usize = 32;

const PREFIX: &str = "p-";
const LETTERS: usize = 16;
/// With its `@`. RFC 6761 keeps `.invalid` from ever being anybody's.
const DOMAIN: &str = "@recipient.invalid";

/// What the key is used for here; another use of it needs another word.
const PURPOSE: &[u8] = b"recipient:";

/// How often a text is gone through at most: replacing may, in theory, put together what was not
/// there before.
const ROUNDS_MAX: usize = 3;

/// Gives addresses their pseudonyms.
#[derive(Clone, Debug)]
pub struct Pseudonyms {
    key: Key,
}

impl Pseudonyms {
    /// The pseudonyms of an installation.
    pub fn new(key: &Key) -> Pseudonyms {
        Pseudonyms { key: key.clone() }
    }

    /// The pseudonym of an address.
    pub fn address(&self, address: &str) -> String {
        self.of_normal(normal::form(address).as_bytes())
    }

    /// The pseudonyms of a list, each once, in their own order: that of the addresses would tell
    /// something about them.
    pub fn list(&self, addresses: &[String]) -> Vec<String> {
        let pseudonyms: BTreeSet<String> = addresses
            .iter()
            .map(|address| self.address(address))
            .collect();
        pseudonyms.into_iter().collect()
    }

    fn of_normal(&self, address: &[u8]) -> String {
        let mut pseudonym = String::with_capacity(LENGTH);
        pseudonym.push_str(PREFIX);
        // A key of any length is right for HMAC.
        if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.key.bytes()) {
            mac.update(PURPOSE);
            mac.update(address);
            pseudonym.extend(base32(&mac.finalize().into_bytes()).take(LETTERS));
        }
        pseudonym.push_str(DOMAIN);
        pseudonym
    }

    /// What covers these recipients.
    pub fn cover<'a>(&self, recipients: impl IntoIterator<Item = &'a String>) -> Cover {
        let recipients: BTreeSet<String> = recipients
            .into_iter()
            .map(|address| normal::form(address))
            .collect();
        Cover {
            book: Book::new(&recipients),
            pseudonyms: self.clone(),
        }
    }
}

/// Whether a text is a pseudonym, whoever's; its normal form. The part before the `@` is enough.
pub fn recognised(text: &str) -> Option<String> {
    let text = normal::form(text);
    let local = text.strip_suffix(DOMAIN).unwrap_or(&text);
    let letters = local.strip_prefix(PREFIX)?;
    let right = letters.len() == LETTERS && letters.bytes().all(|byte| BASE32.contains(&byte));
    right.then(|| format!("{local}{DOMAIN}"))
}

/// RFC 4648's, in lower case.
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Five bits a letter, as far as whole letters go.
fn base32(bytes: &[u8]) -> impl Iterator<Item = char> {
    let bit = |at: usize| bytes.get(at / 8).map_or(0, |byte| byte >> (7 - at % 8) & 1);
    (0..bytes.len() * 8 / 5).map(move |letter| {
        let value = (0..5).fold(0, |value, at| value << 1 | bit(5 * letter + at));
        char::from(BASE32.get(usize::from(value)).copied().unwrap_or(b'a'))
    })
}

/// Replaces the recipients of a record in what is published of it.
#[derive(Debug)]
pub struct Cover {
    pseudonyms: Pseudonyms,
    book: Book,
}

impl Cover {
    /// Covers a decoded text: body, subject, sender, link, file name.
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        owned_or(text, self.bytes(text.as_bytes()))
    }

    /// Covers a header block: as [`text`](Cover::text), and in its encoded words.
    pub fn headers<'t>(&self, block: &'t str) -> Cow<'t, str> {
        owned_or(block, message::rewrite_header(block.as_bytes(), self))
    }

    /// Covers a whole message, as it was received.
    pub fn raw<'t>(&self, message: &'t [u8]) -> Cow<'t, [u8]> {
        match self.nothing() {
            true => None,
            false => message::rewrite(message, self),
        }
        .map_or(Cow::Borrowed(message), Cow::Owned)
    }

    /// Covers an attachment, decoded, where it is text. Its hashes are others then.
    pub fn attachment<'t>(&self, media_type: &str, content: &'t [u8]) -> Cow<'t, [u8]> {
        match self.nothing() {
            true => None,
            false => message::rewrite_content(media_type, content, self),
        }
        .map_or(Cow::Borrowed(content), Cow::Owned)
    }

    fn nothing(&self) -> bool {
        self.book.is_empty()
    }

    /// Covers bytes of text; none where there is nothing to replace.
    fn bytes(&self, text: &[u8]) -> Option<Vec<u8>> {
        if self.nothing() {
            return None;
        }
        let mut covered = None;
        for _ in 0..ROUNDS_MAX {
            let text = covered.as_deref().unwrap_or(text);
            let Some(next) = made(text, &self.edits(text, true)) else {
                break;
            };
            covered = Some(next);
        }
        covered
    }

    /// What is to be replaced in a text, through all disguises; with `tokens` in base64 and
    /// hexadecimal words, too.
    fn edits(&self, text: &[u8], tokens: bool) -> Vec<Edit> {
        let mut edits = Vec::new();
        let mut stack = Stack::new(text);
        self.search(&stack, tokens, &mut edits);
        if stack.undo(view::unfolded) {
            self.search(&stack, tokens, &mut edits);
        }
        self.climb(stack, tokens, &mut edits);
        for times in 1..=2 {
            let mut stack = Stack::new(text);
            if (0..times).all(|_| stack.undo(view::quoted_printable)) {
                self.search(&stack, tokens, &mut edits);
                self.climb(stack, tokens, &mut edits);
            }
        }
        disjoint(edits)
    }

    /// Undoes the escapes of HTML and URLs, twice each, one in the other.
    fn climb(&self, mut stack: Stack<'_>, tokens: bool, edits: &mut Vec<Edit>) {
        for kind in [
            view::references,
            view::percent,
            view::references,
            view::percent,
        ] {
            if stack.undo(kind) {
                self.search(&stack, tokens, edits);
            }
        }
    }

    /// What is to be replaced in the text on top of a stack, as it stands.
    fn search(&self, stack: &Stack<'_>, tokens: bool, edits: &mut Vec<Edit>) {
        let text = stack.top();
        let is_joined = |at: usize| stack.is_joined(at);
        self.book
            .search(&text.to_ascii_lowercase(), is_joined, |found| {
                let pseudonym = self.pseudonyms.of_normal(&found.address);
                let with = match &found.separator {
                    Some(separator) => {
                        let between = stack.source(separator);
                        let (local, domain) = pseudonym.split_once('@').unwrap_or_default();
                        [local.as_bytes(), between, domain.as_bytes()].concat()
                    }
                    None => pseudonym.trim_end_matches(DOMAIN).into(),
                };
                edits.push(Edit {
                    at: stack.place(&found.at),
                    with,
                });
            });
        if tokens {
            let mut found = Vec::new();
            tokens::search(text, &|bytes| self.edits(bytes, false), &mut found);
            edits.extend(found.into_iter().map(|edit| Edit {
                at: stack.place(&edit.at),
                with: edit.with,
            }));
        }
    }
}

impl message::Rewriter for Cover {
    fn text(&self, text: &[u8]) -> Option<Vec<u8>> {
        self.bytes(text)
    }
}

/// The changed text. It is UTF-8 as the unchanged one is: only whole characters are replaced.
fn owned_or(text: &str, changed: Option<Vec<u8>>) -> Cow<'_, str> {
    changed.map_or(Cow::Borrowed(text), |changed| {
        let lossy = |error: std::string::FromUtf8Error| {
            String::from_utf8_lossy(error.as_bytes()).into_owned()
        };
        Cow::Owned(String::from_utf8(changed).unwrap_or_else(lossy))
    })
}
