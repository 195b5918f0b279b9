//! The envelope: what the SMTP session knew of a message, and how it travels with it.
//!
//! In the queue a message begins with one header line of ours,
//! `X-Shiva-Envelope: {JSON}` CRLF, then come the message's bytes exactly as received. The line
//! is ASCII (JSON escapes for all else) and so still a header any mail tool skips. It never
//! leaves the queue and the sample: [`split`] takes it off.

use std::borrow::Cow;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::escape;
use crate::timestamp::Timestamp;

/// The name of the header line, colon and space included.
const FIELD: &str = "X-Shiva-Envelope: ";

/// What the session knew. Addresses are text: bytes that are not UTF-8 were replaced on entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Identifies the SMTP session; every message of one session has the same.
    pub session: String,
    /// When DATA began.
    #[serde(with = "rfc3339")]
    pub received_at: Timestamp,
    /// The receiver's `sensorname`.
    pub sensor: String,
    /// The client.
    pub src_ip: IpAddr,
    /// The client's port.
    pub src_port: u16,
    /// The address the client connected to.
    pub dst_ip: IpAddr,
    /// The port the client connected to.
    pub dst_port: u16,
    /// The name given with HELO or EHLO; empty when neither came.
    pub helo: String,
    /// The reverse-path; empty for `<>`.
    pub mail_from: String,
    /// The forward-paths, in order.
    pub rcpt_to: Vec<String>,
    /// The user who authenticated, if one did.
    pub user: Option<String>,
    /// The TLS version, if there was TLS.
    pub tls: Option<String>,
    /// It was put back into the queue by `shiva import`: the session is long over, or was never
    /// ours.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub imported: bool,
}

mod rfc3339 {
    use super::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub fn serialize<S: Serializer>(at: &Timestamp, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(at)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Timestamp, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        Timestamp::parse_rfc3339(&text)
            .ok_or_else(|| de::Error::custom("received_at is not RFC 3339 UTC"))
    }
}

impl Envelope {
    /// The header line, CRLF included.
    pub fn header_line(&self) -> Vec<u8> {
        let json = serde_json::to_string(self).unwrap_or_default();
        let mut line = String::with_capacity(FIELD.len() + json.len() + 2);
        line.push_str(FIELD);
        line.push_str(&escape::ascii_json(&json));
        line.push_str("\r\n");
        line.into_bytes()
    }
}

/// A first line as `shiva import` puts it into the queue: an envelope says that it was imported,
/// any other line is as it was.
pub fn imported(line: &[u8]) -> Cow<'_, [u8]> {
    match split(line) {
        (Some(envelope), []) => {
            let envelope = Envelope {
                imported: true,
                ..envelope
            };
            Cow::Owned(envelope.header_line())
        }
        _ => Cow::Borrowed(line),
    }
}

/// Longer than any envelope line that the receiver writes by its defaults, in bytes: 1000
/// recipients, each a command line of bytes that are not UTF-8, of which one is six in JSON.
pub const LINE_MAX: usize = 16 << 20;

/// Whether a file that begins so may begin with an envelope line.
pub fn may_begin(start: &[u8]) -> bool {
    let length = start.len().min(FIELD.len());
    start.get(..length) == FIELD.as_bytes().get(..length)
}

/// Takes the envelope line off a queue file or a sample: the envelope, if a well-formed one
/// stands there, and the message's bytes. A first line that only looks like one is part of the
/// message.
pub fn split(file: &[u8]) -> (Option<Envelope>, &[u8]) {
    let parsed = file.strip_prefix(FIELD.as_bytes()).and_then(|rest| {
        let end = memchr::memchr(b'\n', rest)?;
        let (line, message) = rest.split_at_checked(end + 1)?;
        let envelope = serde_json::from_slice(line.trim_ascii_end()).ok()?;
        Some((envelope, message))
    });
    match parsed {
        Some((envelope, message)) => (Some(envelope), message),
        None => (None, file),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope() -> Envelope {
        Envelope {
            session: "s1".into(),
            received_at: Timestamp::from_seconds(1_700_000_000, 123_456),
            sensor: "shiva".into(),
            src_ip: "2001:db8::1".parse().unwrap(),
            src_port: 4711,
            dst_ip: "192.0.2.1".parse().unwrap(),
            dst_port: 25,
            helo: "bot\r\nX-Evil: 1".into(),
            mail_from: String::new(),
            rcpt_to: vec!["jürgen@example.net".into(), "😀@x".into()],
            user: None,
            tls: None,
            imported: false,
        }
    }

    #[test]
    fn travels_as_one_ascii_line() {
        let line = envelope().header_line();
        assert!(line.is_ascii());
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        let mut file = line;
        file.extend_from_slice(b"Subject: x\r\n\r\n\xff\0body");
        let (read, message) = split(&file);
        assert_eq!(read, Some(envelope()));
        assert_eq!(message, b"Subject: x\r\n\r\n\xff\0body");
    }

    #[test]
    fn an_imported_envelope_says_so_and_nothing_else_changes() {
        let line = envelope().header_line();
        let expected = Envelope {
            imported: true,
            ..envelope()
        };
        assert_eq!(split(&imported(&line)).0, Some(expected));
        for line in [
            &b"Subject: x\r\n"[..],
            b"X-Shiva-Envelope: {}\r\n",
            b"x",
            b"",
        ] {
            assert_eq!(*imported(line), *line);
        }
        assert!(may_begin(b"X-Sh") && may_begin(&line) && !may_begin(b"X-Spam: x"));
    }

    #[test]
    fn what_only_looks_like_an_envelope_is_message() {
        for file in [
            &b"X-Shiva-Envelope: {\"session\":1}\r\n\r\nx"[..],
            b"X-Shiva-Envelope: no end",
            b"Subject: x\r\n",
            b"",
        ] {
            assert_eq!(split(file), (None, file));
        }
    }
}
