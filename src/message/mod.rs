//! From a raw message's bytes to what an analyst needs of it.
//!
//! [`parse`] takes the bytes of one message as an SMTP client sent them and gives
//! a [`Message`]: subject, sender, addressees, header block, the two bodies, the
//! links and the attachments. It does no I/O and keeps no state.
//!
//! The way of a message through the files: `block` finds the header block and
//! its fields, `parts` walks the MIME tree and hands over each leaf, `leaf` says
//! what a leaf is (body, attachment, both), `transfer` undoes
//! Content-Transfer-Encoding and charset, `header` and `words` decode header
//! values, `page`, `links` and `url` find what a reader could follow. `rewrite` goes the same
//! way to change text where it stands.
//!
//! The library mail-parser gives the decoders of single values (RFC 2231
//! parameters, addresses, base64, charsets). It does not split the message: its
//! splitter nests messages in one another and drops them recursively, takes a
//! boundary in the middle of a line for a delimiter, and searches to the end of
//! the message for every boundary that never comes. On hostile mail these mean a
//! stack overflow, hidden parts and quadratic time.
//!
//! # What is guaranteed
//! - Any bytes give a `Message` or an [`Unreadable`]; never a panic.
//! - Time and memory grow linearly with the message: a bounded number of passes,
//!   and at most about ten times its size held at once (charset decoding alone
//!   can triple a text).
//! - Stack depth does not depend on the message.
//! - A body is never made from the other one: `html` is what a text/html part
//!   said, `text` what a text/plain part said.
//!
//! # How a doubtful message is read
//! - Headers end at the first empty line, at a line that is no header field, or at
//!   a boundary of an enclosing multipart. A message whose first line is no header
//!   field is all body. An mbox `From ` line at the very start is passed over.
//! - A multipart that never shows its boundary is one text/plain leaf: there is
//!   nothing else to show.
//! - A Content-Type that is none (no `type/subtype`) counts as text/plain
//!   (RFC 2045 section 5.2); the first field of a name is the one that counts.
//! - Content-Disposition of a multipart says nothing about its parts.

mod block;
mod header;
mod leaf;
mod links;
mod page;
mod parts;
mod rewrite;
mod transfer;
mod url;
mod words;

use std::fmt;

pub use leaf::Attachment;
pub use links::{MAX_LINK_BYTES, MAX_LINKS};
pub use parts::{MAX_DEPTH, MAX_ENCODED_DEPTH, MAX_PARTS};
pub use rewrite::{Rewriter, rewrite, rewrite_content, rewrite_header};
pub(crate) use transfer::escape as quoted_printable_escape;

/// Most bytes of one header value that are decoded (Subject, From). The rest is
/// cut off; `Message::headers` still has all of it.
pub const MAX_VALUE_BYTES: usize = 64 * 1024;
/// Most addresses taken from the To fields. The true recipients of a spam are in
/// its envelope; what To says is decoration.
pub const MAX_RECIPIENTS: usize = 1_000;

/// What the analyzer sees in one message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// First Subject field: unfolded, trimmed, RFC 2047 words decoded. At most
    /// [`MAX_VALUE_BYTES`] of the raw value are read.
    pub subject: String,
    /// First From field as the sender wrote it (`Name <address>`), unfolded and
    /// decoded, within the same bound.
    pub from: String,
    /// Addresses (RFC 5322 addr-spec) of all To fields, each once, in order; at most
    /// [`MAX_RECIPIENTS`].
    pub to: Vec<String>,
    /// The message's own header block, without the empty line that ends it; LF line
    /// ends; bytes that are no UTF-8 replaced by U+FFFD.
    pub headers: String,
    /// First non-empty text/plain leaf that is no attachment; UTF-8, LF line ends.
    pub text: String,
    /// First non-empty text/html leaf that is no attachment; UTF-8, LF line ends.
    pub html: String,
    /// Distinct links in order of first appearance, those of `html` before those of
    /// `text`; at most [`MAX_LINKS`], each at most [`MAX_LINK_BYTES`].
    pub links: Vec<String>,
    /// All leaves that are dispositioned attachment, carry a file name in their
    /// Content-Disposition, or are neither text/plain nor text/html; message order.
    pub attachments: Vec<Attachment>,
    /// File names of the leaves that are no attachment here and that a mail program may show as one:
    /// text whose Content-Type has a `name`.
    pub text_names: Vec<String>,
}

impl Message {
    /// The body that is fingerprinted: `html` when there is any, else `text`.
    pub fn body(&self) -> &str {
        if self.html.is_empty() {
            &self.text
        } else {
            &self.html
        }
    }

    /// Whether the message has a non-empty text/plain body.
    pub fn has_text_part(&self) -> bool {
        !self.text.is_empty()
    }
}

/// Why a message was not read. `Display` gives the reason for log and quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// There was not a single byte.
    Empty,
    /// Multiparts and messages nest deeper than [`MAX_DEPTH`].
    TooDeep,
    /// There are more than [`MAX_PARTS`] parts.
    TooManyParts,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the message is empty"),
            Self::TooDeep => write!(
                f,
                "multiparts and messages are nested more than {MAX_DEPTH} deep"
            ),
            Self::TooManyParts => write!(f, "the message has more than {MAX_PARTS} parts"),
        }
    }
}

impl std::error::Error for Unreadable {}

/// Reads one message.
///
/// # Errors
/// [`Unreadable`] for a message without bytes, nested too deep or with too many
/// parts. Everything else is read, however malformed.
pub fn parse(raw: &[u8]) -> Result<Message, Unreadable> {
    if raw.is_empty() {
        return Err(Unreadable::Empty);
    }
    let mut message = top_fields(raw);
    let mut leaves = leaf::Leaves::default();
    parts::walk(raw, &mut leaves)?;
    message.html = leaves.html;
    message.text = leaves.text;
    message.attachments = leaves.attachments;
    message.text_names = leaves.text_names;
    let mut found = links::Collector::default();
    page::collect(&message.html, &mut found);
    found.text(&message.text);
    message.links = found.into_links();
    Ok(message)
}

/// The fields of the message's own header block; the rest is left empty.
fn top_fields(raw: &[u8]) -> Message {
    let block = block::Block::read(raw, 0, |_| false);
    let mut message = Message {
        headers: transfer::lf_text(block.bytes(raw)),
        ..Message::default()
    };
    let (mut subject, mut from) = (None, None);
    let mut to = header::Recipients::default();
    for (name, value) in block.fields(raw) {
        if subject.is_none() && name.eq_ignore_ascii_case(b"subject") {
            subject = Some(words::decode(value));
        } else if from.is_none() && name.eq_ignore_ascii_case(b"from") {
            from = Some(words::decode(value));
        } else if name.eq_ignore_ascii_case(b"to") {
            to.add(value);
        }
    }
    message.subject = subject.unwrap_or_default();
    message.from = from.unwrap_or_default();
    message.to = to.addresses;
    message
}
