//! What is computed from a spam's text to tell it from others.
//!
//! Two values, each computable alone: [`id`] (MD5 of subject ‖ body) names a
//! spam and finds its exact copies; [`ctph`] (of body ‖ " " ‖ subject) finds
//! those that were altered a little. A copy of a known id needs no CTPH, which
//! is the dearer of the two, so nothing here computes both unasked.
//!
//! Subject and body are what the parser gives: decoded, UTF-8, CRLF made LF.
//! Nothing is padded, cut or folded here.
//!
//! Nothing in this module fails on what a stranger sent. Reading an id or a
//! CTPH back from text (a database, an argument) can fail, as an error value.

use md5::{Digest, Md5};
use ssdeep::{FuzzyHash, Generator, RawFuzzyHash};
use std::fmt;
use std::str::FromStr;

/// Name of a distinct spam: MD5 of subject ‖ body, written as 32 lower-case
/// hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpamId([u8; 16]);

/// Text that should have been a [`SpamId`] and is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotASpamId;

/// Text that should have been a [`Ctph`] and is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotACtph;

/// A context triggered piecewise hash ("ssdeep"), in the raw form in which it
/// is stored and published: runs of equal characters are kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ctph(RawFuzzyHash);

/// All that matching looks at in one spam.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// Finds exact copies.
    pub id: SpamId,
    /// Finds near copies.
    pub ssdeep: Ctph,
    /// Bytes of body plus bytes of subject.
    pub length: u64,
    /// Characters (not bytes) of the body.
    pub body_chars: u64,
    /// Whether the mail had a text part that could serve as body.
    pub has_text: bool,
}

impl Fingerprint {
    /// Both values and the measures of one spam.
    pub fn of(subject: &str, body: &str, has_text: bool) -> Self {
        Fingerprint {
            id: id(subject, body),
            ssdeep: ctph(subject, body),
            length: length(subject, body),
            body_chars: body.chars().count() as u64,
            has_text,
        }
    }
}

/// MD5 of subject ‖ body.
pub fn id(subject: &str, body: &str) -> SpamId {
    let mut md5 = Md5::new();
    md5.update(subject.as_bytes());
    md5.update(body.as_bytes());
    SpamId(md5.finalize().into())
}

/// CTPH of body ‖ " " ‖ subject, bit for bit what libfuzzy's `fuzzy_hash_buf`
/// makes of that buffer.
pub fn ctph(subject: &str, body: &str) -> Ctph {
    ctph_of(&[body.as_bytes(), b" ", subject.as_bytes()])
}

/// Bytes of subject plus bytes of body: the length that the rule compares.
pub fn length(subject: &str, body: &str) -> u64 {
    subject.len() as u64 + body.len() as u64
}

/// CTPH of the pieces joined, without joining them in memory.
fn ctph_of(pieces: &[&[u8]]) -> Ctph {
    let mut generator = Generator::new();
    // Told the size beforehand, the generator skips the block sizes that
    // cannot be chosen; the result is the same. It refuses sizes of 192 GiB
    // and more only, which no mail in memory can have: the empty digest then.
    let size = pieces.iter().map(|piece| piece.len() as u64).sum();
    if generator.set_fixed_input_size(size).is_err() {
        return Ctph::empty();
    }
    for piece in pieces {
        generator.update(piece);
    }
    Ctph(generator.finalize().unwrap_or_default())
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    let mut out = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

impl Ctph {
    /// The digest of nothing.
    pub fn empty() -> Ctph {
        Ctph(RawFuzzyHash::new())
    }

    /// The form that is compared: runs of more than three equal characters cut
    /// to three in both block hashes, as libfuzzy does before it compares.
    pub fn normalised(&self) -> FuzzyHash {
        self.0.normalize()
    }
}

impl SpamId {
    /// The sixteen bytes of the MD5.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl From<[u8; 16]> for SpamId {
    fn from(md5: [u8; 16]) -> Self {
        SpamId(md5)
    }
}

impl fmt::Display for SpamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for SpamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpamId({self})")
    }
}

impl FromStr for SpamId {
    type Err = NotASpamId;

    /// Takes upper-case digits as well; what it gives is written lower-case.
    fn from_str(text: &str) -> Result<Self, NotASpamId> {
        let digits: &[u8; 32] = text.as_bytes().try_into().map_err(|_| NotASpamId)?;
        let mut md5 = [0; 16];
        for (byte, pair) in md5.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Ok(SpamId(md5))
    }
}

fn nibble(digit: u8) -> Result<u8, NotASpamId> {
    match char::from(digit).to_digit(16) {
        Some(value) => Ok(value as u8),
        None => Err(NotASpamId),
    }
}

impl fmt::Display for Ctph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Ctph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ctph({self})")
    }
}

impl FromStr for Ctph {
    type Err = NotACtph;

    fn from_str(text: &str) -> Result<Self, NotACtph> {
        text.parse().map(Ctph).map_err(|_| NotACtph)
    }
}

impl fmt::Display for NotASpamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a spam id: 32 hexadecimal digits are expected")
    }
}

impl fmt::Display for NotACtph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a CTPH: blocksize:hash:hash is expected")
    }
}

impl std::error::Error for NotASpamId {}
impl std::error::Error for NotACtph {}
