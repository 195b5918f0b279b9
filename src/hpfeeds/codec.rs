//! The hpfeeds protocol as bytes: frames are written to a buffer and cut out of a stream.
//!
//! This module does no I/O and knows no clock; a client, a broker or a dissector can be built on it.
//!
//! # The wire
//!
//! Both sides send frames: four bytes of length, big-endian, which count the whole frame; one byte
//! of operation; the body. A *string* is one byte of length and so many bytes. A *rest* goes to the
//! end of the frame.
//!
//! | | operation | from | body |
//! |---|---|---|---|
//! | 0 | error | broker | rest: what is wrong, in words |
//! | 1 | info | broker | string: its name; rest: nonce |
//! | 2 | auth | client | string: ident; rest: SHA-1 of nonce and secret |
//! | 3 | publish | both | string: ident; string: channel; rest: payload |
//! | 4 | subscribe | client | string: ident; rest: channel |
//! | 5 | unsubscribe | client | string: ident; rest: channel |
//!
//! The broker speaks first (info). The client's first frame is auth; right credentials are not
//! answered, wrong ones by an error. A published payload is answered by nothing, whatever becomes
//! of it, but by an error where the client may not publish there. It reaches subscribers as it was
//! sent, under the publisher's ident.
//!
//! # Limits
//!
//! Those of the Python package `hpfeeds` 3.1, whose broker closes without a word on a longer frame:
//! a body of [`BODY_MAX`] bytes for publish and error, a few hundred bytes for info and auth.
//! [`payload_max`] is what that leaves to a payload. [`Frame::encode`] writes no longer frame, and
//! [`Decoder`] takes none.
//!
//! # Guarantees
//!
//! - No byte sequence makes the decoder panic. What it finds does not depend on how the stream was
//!   cut into pieces.
//! - It holds one incomplete frame, refused by its first five bytes if it is too long, and what was
//!   pushed since [`Decoder::next`] last gave `None`.
//! - Names and texts that are not UTF-8 are no error, as no publisher may stop the subscribers of a
//!   channel: what is not valid is replaced by U+FFFD. Nobody has made them harmless for a screen.

use std::borrow::Cow;
use std::fmt;

use sha1::{Digest as _, Sha1};

/// Most bytes in the body of an error or of a publication, its two strings included.
pub const BODY_MAX: usize = 1 << 20;

/// Most bytes in a string.
pub const STRING_MAX: usize = 255;

/// Length and operation.
const HEADER: usize = 5;

/// Most bytes in the body of info and auth.
const GREETING_MAX: usize = 256 + 20;

/// The proof that a client knows the secret.
pub type Digest = [u8; 20];

/// The proof of a secret for a broker's nonce.
pub fn digest(nonce: &[u8], secret: &str) -> Digest {
    let mut sha1 = Sha1::new();
    sha1.update(nonce);
    sha1.update(secret.as_bytes());
    sha1.finalize().into()
}

/// The longest payload that this client may publish on this channel.
pub fn payload_max(ident: &str, channel: &str) -> usize {
    BODY_MAX.saturating_sub(2 + ident.len() + channel.len())
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// The broker refuses; in its words.
    Error(Cow<'a, str>),
    /// The broker greets.
    Info {
        /// Its name.
        broker: Cow<'a, str>,
        /// What the proof of the secret is made with.
        nonce: &'a [u8],
    },
    /// The client says who it is.
    Auth {
        /// Its name.
        ident: Cow<'a, str>,
        /// [`digest`] of the nonce and its secret.
        digest: Digest,
    },
    /// Somebody publishes.
    Publish {
        /// Who.
        ident: Cow<'a, str>,
        /// Where.
        channel: Cow<'a, str>,
        /// What.
        payload: &'a [u8],
    },
    /// The client asks for what is published on a channel.
    Subscribe {
        /// Its name.
        ident: Cow<'a, str>,
        /// The channel.
        channel: Cow<'a, str>,
    },
    /// The client asks for no more of it.
    Unsubscribe {
        /// Its name.
        ident: Cow<'a, str>,
        /// The channel.
        channel: Cow<'a, str>,
    },
}

/// A frame is not written: it would be longer than a broker takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooLong {
    what: &'static str,
    bytes: usize,
    max: usize,
}

/// The stream is not hpfeeds, or breaks its limits. There is no way to go on in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// No operation has this number.
    Operation(u8),
    /// A frame says that it is so many bytes long, and at most so many are allowed.
    Length(u32, usize),
    /// A string or a digest is not as long as it says or has to be.
    Body(&'static str),
}

/// What a frame is about: its operation's number.
#[derive(Clone, Copy)]
enum Operation {
    Error = 0,
    Info = 1,
    Auth = 2,
    Publish = 3,
    Subscribe = 4,
    Unsubscribe = 5,
}

impl Operation {
    fn of(number: u8) -> Result<Operation, Malformed> {
        Ok(match number {
            0 => Operation::Error,
            1 => Operation::Info,
            2 => Operation::Auth,
            3 => Operation::Publish,
            4 => Operation::Subscribe,
            5 => Operation::Unsubscribe,
            other => return Err(Malformed::Operation(other)),
        })
    }

    fn name(self) -> &'static str {
        match self {
            Operation::Error => "error",
            Operation::Info => "info",
            Operation::Auth => "auth",
            Operation::Publish => "publication",
            Operation::Subscribe => "subscription",
            Operation::Unsubscribe => "end of a subscription",
        }
    }

    /// Most bytes in its body. The package counts the header in where it sets no limit of its own.
    fn body_max(self) -> usize {
        match self {
            Operation::Error | Operation::Publish => BODY_MAX,
            Operation::Info | Operation::Auth => GREETING_MAX,
            Operation::Subscribe | Operation::Unsubscribe => BODY_MAX - HEADER,
        }
    }
}

impl Frame<'_> {
    /// Appends the frame to `out`, or leaves it as it was.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), TooLong> {
        match self {
            Frame::Error(text) => write(out, Operation::Error, &[], text.as_bytes()),
            Frame::Info { broker, nonce } => write(out, Operation::Info, &[broker], nonce),
            Frame::Auth { ident, digest } => write(out, Operation::Auth, &[ident], digest),
            Frame::Publish {
                ident,
                channel,
                payload,
            } => write(out, Operation::Publish, &[ident, channel], payload),
            Frame::Subscribe { ident, channel } => {
                write(out, Operation::Subscribe, &[ident], channel.as_bytes())
            }
            Frame::Unsubscribe { ident, channel } => {
                write(out, Operation::Unsubscribe, &[ident], channel.as_bytes())
            }
        }
    }
}

fn write(
    out: &mut Vec<u8>,
    operation: Operation,
    strings: &[&str],
    rest: &[u8],
) -> Result<(), TooLong> {
    let fits = |what, bytes, max| match bytes <= max {
        true => Ok(()),
        false => Err(TooLong { what, bytes, max }),
    };
    for string in strings {
        fits("name", string.len(), STRING_MAX)?;
    }
    let strings_length: usize = strings.iter().map(|string| 1 + string.len()).sum();
    let body = strings_length.saturating_add(rest.len());
    fits(operation.name(), body, operation.body_max())?;
    let length = u32::try_from(HEADER + body).unwrap_or(u32::MAX);
    out.reserve(HEADER + body);
    out.extend_from_slice(&length.to_be_bytes());
    out.push(operation as u8);
    for string in strings {
        out.push(u8::try_from(string.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(string.as_bytes());
    }
    out.extend_from_slice(rest);
    Ok(())
}

/// Cuts frames out of a stream.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// Where the next frame begins.
    start: usize,
}

impl Decoder {
    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether all that was pushed was taken out; the stream may end here.
    pub fn is_empty(&self) -> bool {
        self.start == self.buffer.len()
    }

    /// The next frame; `None` where more bytes are needed. An error comes again at each call.
    #[expect(
        clippy::should_implement_trait,
        reason = "a frame borrows from the decoder, which no iterator can say"
    )]
    pub fn next(&mut self) -> Result<Option<Frame<'_>>, Malformed> {
        let rest = self.buffer.get(self.start..).unwrap_or_default();
        let Some((header, _)) = rest.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let [a, b, c, d, number] = *header;
        let operation = Operation::of(number)?;
        let length = u32::from_be_bytes([a, b, c, d]);
        let most = HEADER + operation.body_max();
        let whole = usize::try_from(length)
            .ok()
            .filter(|length| (HEADER..=most).contains(length))
            .ok_or(Malformed::Length(length, most))?;
        let Some(body) = rest.get(HEADER..whole) else {
            return Ok(None);
        };
        let frame = read(operation, body)?;
        self.start += whole;
        Ok(Some(frame))
    }
}

fn read(operation: Operation, body: &[u8]) -> Result<Frame<'_>, Malformed> {
    let text = String::from_utf8_lossy;
    Ok(match operation {
        Operation::Error => Frame::Error(text(body)),
        Operation::Info => {
            let (broker, nonce) = string(body)?;
            Frame::Info { broker, nonce }
        }
        Operation::Auth => {
            let (ident, digest) = string(body)?;
            let digest = Digest::try_from(digest)
                .map_err(|_| Malformed::Body("a proof that is no SHA-1 digest"))?;
            Frame::Auth { ident, digest }
        }
        Operation::Publish => {
            let (ident, rest) = string(body)?;
            let (channel, payload) = string(rest)?;
            Frame::Publish {
                ident,
                channel,
                payload,
            }
        }
        Operation::Subscribe => {
            let (ident, channel) = string(body)?;
            let channel = text(channel);
            Frame::Subscribe { ident, channel }
        }
        Operation::Unsubscribe => {
            let (ident, channel) = string(body)?;
            let channel = text(channel);
            Frame::Unsubscribe { ident, channel }
        }
    })
}

/// A string and what follows it.
fn string(bytes: &[u8]) -> Result<(Cow<'_, str>, &[u8]), Malformed> {
    let (length, rest) = bytes
        .split_first()
        .ok_or(Malformed::Body("no string where one must be"))?;
    let (string, rest) = rest
        .split_at_checked(usize::from(*length))
        .ok_or(Malformed::Body("a string that goes over its end"))?;
    Ok((String::from_utf8_lossy(string), rest))
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TooLong { what, bytes, max } = self;
        write!(f, "a {what} of {bytes} bytes; at most {max} are allowed")
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Operation(number) => write!(f, "a frame of the unknown kind {number}"),
            Malformed::Length(length, most) => {
                write!(
                    f,
                    "a frame of {length} bytes where {HEADER} to {most} are allowed"
                )
            }
            Malformed::Body(what) => write!(f, "a frame with {what}"),
        }
    }
}

#[cfg(test)]
mod tests;
