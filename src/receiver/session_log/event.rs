//! The lines of the session log: an event in, one line of JSON out.
//!
//! The conventions are Cowrie's: `eventid`, `timestamp`, `session`, `sensor`, the two ends, and
//! then what the event itself has to say, so that what reads Cowrie's logs reads ours. A line is
//! ASCII, whatever a client sent: no terminal and no reader can take it for two, and bytes that are
//! not UTF-8 stand as `\xNN`.

use std::fmt::Write;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::super::ja4::Hello;
use super::super::party::Party;
use super::super::tls::Seen;
use crate::escape;
use crate::smtp::{Attempt, Secret, Transaction};
use crate::timestamp::Timestamp;

/// Most bytes of one value that a client sent; what is longer ends in `…`.
const TEXT_MAX: usize = 4096;

/// Most recipients of a message that are listed; `rcpt_count` counts them all.
pub const RECIPIENTS_LISTED: usize = 100;

/// What happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// A client has connected.
    Connect,
    /// A client has sent a command line; it came without its end.
    Command(&'a [u8]),
    /// A client has tried to log in.
    Login(&'a Attempt),
    /// A TLS handshake is over.
    Tls(&'a Seen),
    /// A client has sent a whole message.
    Mail(&'a Mail, Outcome<'a>),
    /// The connection is closed.
    Closed(Closed),
}

/// A message, as far as it is recorded.
#[derive(Debug, Default)]
pub struct Mail {
    /// The reverse-path.
    pub mail_from: String,
    /// The first [`RECIPIENTS_LISTED`] forward-paths.
    pub rcpt_to: Vec<String>,
    /// How many there were.
    pub rcpt_count: usize,
    /// Bytes of the message.
    pub size: u64,
}

impl Mail {
    /// A message of which nothing has come yet.
    pub fn of(transaction: &Transaction) -> Mail {
        let listed = transaction.rcpt_to.iter().take(RECIPIENTS_LISTED);
        Mail {
            mail_from: transaction.mail_from.clone(),
            rcpt_to: listed.cloned().collect(),
            rcpt_count: transaction.rcpt_to.len(),
            size: 0,
        }
    }

    /// Bytes of memory that it holds.
    pub fn held(&self) -> usize {
        let listed = self.rcpt_to.iter();
        let listed: usize = listed.map(|to| to.capacity() + size_of::<String>()).sum();
        self.mail_from.capacity() + listed
    }
}

/// What became of a message.
#[derive(Clone, Copy, Debug)]
pub enum Outcome<'a> {
    /// It is in the queue, by this id.
    Kept(&'a str),
    /// There was no room for it: the client was told to come again.
    Full,
    /// It could not be kept: the client was told to come again.
    Failed,
    /// It was larger than messages may be.
    TooBig,
}

/// What a session came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Closed {
    /// How long it was.
    pub duration: Duration,
    /// Command lines that came.
    pub commands: u64,
    /// Attempts to log in.
    pub logins: u64,
    /// Messages kept.
    pub messages: u64,
}

impl Event<'_> {
    fn id(&self) -> &'static str {
        match self {
            Event::Connect => "shiva.session.connect",
            Event::Command(_) => "shiva.command",
            Event::Login(attempt) if attempt.accepted => "shiva.login.success",
            Event::Login(_) => "shiva.login.failed",
            Event::Tls(_) => "shiva.tls",
            Event::Mail(..) => "shiva.mail.received",
            Event::Closed(_) => "shiva.session.closed",
        }
    }

    fn own(&self) -> Own<'_> {
        match self {
            Event::Connect => Own::Connect {},
            Event::Command(line) => Own::Command { input: Text(line) },
            Event::Login(attempt) => Own::Login(Login::of(attempt)),
            Event::Tls(seen) => Own::Tls(Handshake::of(seen)),
            Event::Mail(mail, outcome) => Own::Mail(Received::of(mail, *outcome)),
            Event::Closed(closed) => Own::Closed {
                duration_ms: u64::try_from(closed.duration.as_millis()).unwrap_or(u64::MAX),
                commands: closed.commands,
                logins: closed.logins,
                messages: closed.messages,
            },
        }
    }
}

/// What every line of a session begins with.
#[derive(Serialize)]
struct Line<'a> {
    eventid: &'static str,
    #[serde(serialize_with = "rfc3339")]
    timestamp: Timestamp,
    session: &'a str,
    sensor: &'a str,
    src_ip: IpAddr,
    src_port: u16,
    dst_ip: IpAddr,
    dst_port: u16,
    protocol: &'static str,
    #[serde(flatten)]
    own: Own<'a>,
}

/// An event's own keys.
#[derive(Serialize)]
#[serde(untagged)]
enum Own<'a> {
    Connect {},
    Command {
        input: Text<'a>,
    },
    Login(Login<'a>),
    Tls(Handshake<'a>),
    Mail(Received<'a>),
    Closed {
        duration_ms: u64,
        commands: u64,
        logins: u64,
        messages: u64,
    },
}

#[derive(Serialize)]
struct Login<'a> {
    mechanism: &'static str,
    username: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    challenge: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acting_for: Option<Text<'a>>,
}

impl Login<'_> {
    fn of(attempt: &Attempt) -> Login<'_> {
        let acting_for = &attempt.acting_for;
        let mut login = Login {
            mechanism: attempt.mechanism.name(),
            username: Text(&attempt.user),
            password: None,
            challenge: None,
            digest: None,
            response: None,
            acting_for: (!acting_for.is_empty()).then_some(Text(acting_for)),
        };
        match &attempt.secret {
            Secret::Password(password) => login.password = Some(Text(password)),
            Secret::Digest { challenge, digest } => {
                login.challenge = Some(challenge);
                login.digest = Some(Text(digest));
            }
            Secret::Raw(response) => login.response = Some(Text(response)),
            Secret::Unsent => {}
        }
        login
    }
}

#[derive(Serialize)]
struct Handshake<'a> {
    version: Option<&'a str>,
    cipher: Option<&'a str>,
    sni: Option<Text<'a>>,
    ja4: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

impl Handshake<'_> {
    fn of(seen: &Seen) -> Handshake<'_> {
        let hello = seen.hello.as_ref();
        Handshake {
            version: seen.version,
            cipher: seen.cipher.as_deref(),
            sni: hello.and_then(Hello::server_name).map(Text),
            ja4: hello.map(Hello::ja4),
            error: seen.error.as_deref(),
        }
    }
}

#[derive(Serialize)]
struct Received<'a> {
    mail_from: Text<'a>,
    rcpt_to: Vec<Text<'a>>,
    rcpt_count: usize,
    size: u64,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue_id: Option<&'a str>,
}

impl<'a> Received<'a> {
    fn of(mail: &'a Mail, outcome: Outcome<'a>) -> Received<'a> {
        let (outcome, queue_id) = match outcome {
            Outcome::Kept(id) => ("kept", Some(id)),
            Outcome::Full => ("full", None),
            Outcome::Failed => ("failed", None),
            Outcome::TooBig => ("too_big", None),
        };
        Received {
            mail_from: Text(mail.mail_from.as_bytes()),
            rcpt_to: mail.rcpt_to.iter().map(|to| Text(to.as_bytes())).collect(),
            rcpt_count: mail.rcpt_count,
            size: mail.size,
            outcome,
            queue_id,
        }
    }
}

/// The line of an event, with its end.
pub fn line(party: &Party, sensor: &str, at: Timestamp, event: &Event<'_>) -> Vec<u8> {
    encoded(&Line {
        eventid: event.id(),
        timestamp: at,
        session: &party.session,
        sensor,
        src_ip: party.src.ip(),
        src_port: party.src.port(),
        dst_ip: party.dst.ip(),
        dst_port: party.dst.port(),
        protocol: party.protocol.name(),
        own: event.own(),
    })
}

/// The line that says how many are missing before it.
pub fn lost(sensor: &str, at: Timestamp, lines: u64) -> Vec<u8> {
    #[derive(Serialize)]
    struct Lost<'a> {
        eventid: &'static str,
        #[serde(serialize_with = "rfc3339")]
        timestamp: Timestamp,
        sensor: &'a str,
        lines: u64,
    }
    encoded(&Lost {
        eventid: "shiva.log.lost",
        timestamp: at,
        sensor,
        lines,
    })
}

fn encoded(line: &impl Serialize) -> Vec<u8> {
    let json = serde_json::to_string(line).unwrap_or_default();
    let mut line = escape::ascii_json(&json);
    line.push('\n');
    line.into_bytes()
}

fn rfc3339<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

/// Bytes as a client sent them.
struct Text<'a>(&'a [u8]);

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (bytes, cut) = match self.0.get(..TEXT_MAX) {
            Some(head) if self.0.len() > TEXT_MAX => (head, "…"),
            _ => (self.0, ""),
        };
        let mut text = String::with_capacity(bytes.len());
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            for byte in chunk.invalid() {
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
        text.push_str(cut);
        serializer.serialize_str(&text)
    }
}
