//! The SMTP session as decisions: bytes in, steps out.
//!
//! This module plays an open mail relay that looks like a well-known mail server and accepts every
//! sender and every recipient. It does no I/O, knows no clock and spawns nothing: a shell reads
//! from the socket, calls [`Session::step`] with what it read, does what the returned [`Step`]
//! says, and writes [`Session::output`] before it waits for more input, so that the answers to
//! pipelined commands leave in one write (RFC 2920).
//!
//! The parts, in the order of the work: `line` cuts command lines out of the stream,
//! `command` tells which command a line is and reads its arguments, `path` reads addresses as
//! spam software writes them, `auth` takes the steps of one login, [`data`] reads message content,
//! `session` is the state and the order that commands must come in, `answer` is what it has to
//! say, and `personality` finds the words.
//!
//! # Guarantees
//!
//! - No byte sequence makes it panic, and memory is bounded whatever a client sends: one partial
//!   line of [`Limits::line`] bytes, or of [`MAX_RESPONSE`] within AUTH, at most
//!   [`Profile::max_recipients`] addresses each shorter than a line, and replies to the input of
//!   one `step` call. Message content is handed on as slices of the input and never kept.
//! - Replies do not depend on how the input was cut into reads.
//! - `250` to a message is put into the output by [`Session::finish`] with
//!   [`Outcome::Kept`], and by nothing else.
//! - Only `<CR><LF>.<CR><LF>` ends a message, see [`data`], or the size that BDAT told.
//! - [`Session::helo`], and the addresses and the user of a [`Transaction`], are UTF-8 without
//!   control characters: what was not valid is replaced by U+FFFD. An [`Attempt`] holds the bytes
//!   as they were sent.
//! - Nothing that came before a TLS handshake is done after it: what follows STARTTLS in one read
//!   is thrown away (CVE-2011-0411), and what the session knew is forgotten (RFC 3207 §4.2).
//! - A session ends by itself: after as many errors as the server it plays bears, or after more than
//!   [`Limits`] allow, it asks for [`Step::Close`].
//!
//! # Where it is not the server that it plays
//!
//! On purpose, and only in answers that no spam software depends on: bytes that are not UTF-8 are
//! accepted in commands (Postfix: `500 5.5.2`); Exim's lines end at 2 KiB and not at 16; and a
//! bare-LF end of data does not end a message, whatever the server would do. Addresses and
//! parameters are taken more leniently than by any server. There are no delays after errors, and
//! nobody is refused for coming early.
//!
//! # Failure
//!
//! Nothing here returns an error. What a client does wrong is answered in the protocol, and what
//! goes wrong in the shell (disk full, time out, shutdown) is told to the session, which finds the
//! words for it.

mod answer;
mod auth;
mod command;
pub mod data;
mod limits;
mod line;
mod path;
mod personality;
mod session;

use std::net::IpAddr;

pub use auth::{Accept, Attempt, Auth, MAX_USER, Mechanism, Pair, Secret};
pub use limits::{Limits, Met, Shortage};
pub use line::MAX_LINE;
pub use personality::Personality;
pub use session::{MAX_COMMANDS, MAX_RESPONSE, Session};

use crate::timestamp::Timestamp;

/// What a session says of itself and the limits it keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// The name in the greeting and in replies. Not checked: it must be a host name.
    pub hostname: String,
    /// Largest message in bytes, counted after dot-unstuffing; offered as SIZE (RFC 1870).
    pub max_message_size: u64,
    /// Most recipients of one message (RFC 5321 §4.5.3.1.8 asks for 100 at least). Bounds the
    /// memory of a session: each recipient can take a little less than [`Limits::line`] bytes, or
    /// three times that where it is not UTF-8.
    pub max_recipients: usize,
    /// Which server is played.
    pub personality: Personality,
    /// Who may log in, and who must.
    pub auth: Auth,
    /// How much of a session is borne.
    pub limits: Limits,
    /// Whether the shell can do TLS, so that STARTTLS can be offered (RFC 3207).
    pub tls: bool,
}

/// What the shell knows of a client before it has said anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Where it comes from; some servers greet with it.
    pub address: IpAddr,
    /// When it came; some servers greet with that.
    pub connected_at: Timestamp,
    /// Random bits, by which the challenges of CRAM-MD5 cannot be foreseen. A shell draws them
    /// for each client.
    pub nonce: u64,
}

/// The one line for a client that is turned away because there are too many, with its CRLF.
pub fn busy(profile: &Profile, client: &Client) -> Vec<u8> {
    let mut output = Vec::new();
    let context = personality::Context {
        profile,
        client,
        helo: "",
        extended: false,
        encrypted: false,
    };
    let mut face = profile.personality.face();
    face.say(&answer::Answer::Busy, &context, &mut output);
    output
}

/// What the shell must do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// The input is used up: write the output, then read more.
    Read,
    /// Somebody has tried to log in and was answered; for the record.
    Attempt(Attempt),
    /// A TLS handshake is to follow: write the output, do it, and call [`Session::tls`]. All input
    /// was taken, and what stood behind the command was thrown away. A message that had begun is to
    /// be discarded. If the handshake fails, close
    /// the connection; whatever else is fed to the session, it hears nothing.
    StartTls,
    /// A message begins; its content follows as `Content`. After DATA its `354` is in the output.
    /// After BDAT nothing is, and commands may come between the pieces of the content.
    Begin(Transaction),
    /// A piece of the message's content, as it is without what the protocol added, never empty.
    Content(&'a [u8]),
    /// The client took back the message that had begun: discard what there is of it.
    Reset,
    /// The message grew over `max_message_size`: discard what there is of it. The session passes
    /// over the rest and answers `552` itself; no `End` follows.
    Abandon,
    /// The message is complete: store it and call [`Session::finish`].
    End,
    /// Write the output, then close the connection. All further input is ignored.
    Close,
}

/// The envelope of a message that DATA or BDAT was accepted for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transaction {
    /// What the client called itself in HELO or EHLO; empty if it did not.
    pub helo: String,
    /// The reverse-path without brackets; empty for `<>`.
    pub mail_from: String,
    /// The forward-paths without brackets, at least one, in the order given, repetitions kept.
    pub rcpt_to: Vec<String>,
    /// Who the client is logged in as, if it is: not empty, of [`MAX_USER`] bytes at most as sent.
    pub user: Option<String>,
    /// The version of TLS, as the shell names it, if there is TLS.
    pub tls: Option<String>,
}

/// What a message is known by. The client is told, in the form of the server that is played.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageId {
    /// When it came.
    pub at: Timestamp,
    /// A number that no other message of this process has.
    pub number: u64,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is on disk for good: `250`.
    Kept(MessageId),
    /// No space left: `452 4.3.1`. The client is expected to come again.
    Full,
    /// It could not be stored for another reason: `451 4.3.0`.
    Failed,
}
