//! What others published: their payloads, read as ours are written ([`payload`](super::payload)).
//! No I/O.
//!
//! Whoever may publish on a channel is a stranger: a payload is taken whole or refused whole, with
//! what is wrong with it. Taken are JSON objects with the keys of [`payload`](super::payload), others
//! beside them; an id is 32 hex digits, base64 is strict, a number is one that a database holds.
//! Texts are not made harmless here.
//!
//! No payload makes this panic. Its memory is a few times the payload's, which a broker bounds
//! ([`BODY_MAX`]); JSON is read at most 128 deep.
//!
//! The first SHIVA published Python pickles. They are programs that whoever reads them runs. They are
//! known by their first bytes and never read.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::codec::BODY_MAX;
use super::payload::{ATTACHMENTS, IP_URL, PARSED, RAW};
use crate::fingerprint::{Ctph, SpamId};
use crate::parsed::{ParsedAttachment, ParsedSpam};
use crate::timestamp::Timestamp;

/// The largest count or size that is believed.
const NUMBER_MAX: u64 = 1_000_000_000_000;

/// A payload that was taken.
#[derive(Clone, Debug, PartialEq)]
pub enum Received {
    /// All that is known of a record.
    Record(Box<ParsedSpam>),
    /// One of its links.
    Link {
        /// The record.
        id: SpamId,
        /// The link.
        url: String,
    },
    /// One of its source addresses.
    Address {
        /// The record.
        id: SpamId,
        /// The address.
        source_ip: String,
    },
    /// A sample.
    Sample(File),
    /// An attachment or inline part.
    Attachment(File),
    /// JSON on a channel that is none of ours.
    Other(Value),
}

/// A sample or an attachment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// The record.
    pub id: SpamId,
    /// What the publisher calls it. Data, never a path.
    pub name: String,
    /// A sample's source address, or nothing.
    pub ip: String,
    /// Recipients were replaced in it.
    pub changed: bool,
    /// What is in it.
    pub content: Content,
}

/// What is in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// This.
    Whole(Vec<u8>),
    /// So many bytes, which were too long for a message and stayed where they are.
    Oversize(u64),
}

impl Content {
    /// Bytes.
    pub fn size(&self) -> u64 {
        match self {
            Content::Whole(bytes) => bytes.len() as u64,
            Content::Oversize(size) => *size,
        }
    }
}

/// Why a payload was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A Python pickle.
    Pickle,
    /// What is wrong with it.
    Unfit(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Pickle => f.write_str(
                "a Python pickle, as the first SHIVA published; it is a program, and is not run",
            ),
            Refused::Unfit(what) => f.write_str(what),
        }
    }
}

/// Reads a payload of this channel.
pub fn read(channel: &str, payload: &[u8]) -> Result<Received, Refused> {
    if is_pickle(payload) {
        return Err(Refused::Pickle);
    }
    if payload.len() > BODY_MAX {
        return unfit("longer than a message may be");
    }
    match channel {
        PARSED => record(json(payload)?).map(|record| Received::Record(Box::new(record))),
        IP_URL => link_or_address(json(payload)?),
        RAW => file(json(payload)?).map(Received::Sample),
        ATTACHMENTS => file(json(payload)?).map(Received::Attachment),
        _ => json(payload).map(Received::Other),
    }
}

/// Whether this is a pickle of any protocol of Python 2: no JSON begins so.
fn is_pickle(payload: &[u8]) -> bool {
    matches!(
        payload,
        [b'(', b'd' | b'l' | b't' | b'c' | b'i', ..] | [b'}' | b']', b'q', ..] | [0x80, 1..=5, ..]
    ) || payload.starts_with(b"ccopy_reg\n")
        || payload.starts_with(b"c__builtin__\n")
}

fn json<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Refused> {
    serde_json::from_slice(payload).map_err(|error| Refused::Unfit(error.to_string()))
}

fn unfit<T>(what: impl Into<String>) -> Result<T, Refused> {
    Err(Refused::Unfit(what.into()))
}

fn id(text: &str) -> Result<SpamId, Refused> {
    match text.parse() {
        Ok(id) => Ok(id),
        Err(_) => unfit("the id is not 32 hexadecimal digits"),
    }
}

fn record(mut record: ParsedSpam) -> Result<ParsedSpam, Refused> {
    record.id = id(&record.id)?.to_string();
    if !record.ssdeep.is_empty() && record.ssdeep.parse::<Ctph>().is_err() {
        return unfit("ssdeep is none");
    }
    if record.count == 0 || record.count.max(record.length) > NUMBER_MAX {
        return unfit("count or length is out of range");
    }
    let first = moment(&record.first_seen)?;
    if first > moment(&record.last_seen)? {
        return unfit("last_seen is before first_seen");
    }
    record.attachments.iter().try_for_each(part)?;
    Ok(record)
}

/// A moment since the epoch.
fn moment(text: &str) -> Result<Timestamp, Refused> {
    match Timestamp::parse_rfc3339(text).filter(|moment| moment.seconds() >= 0) {
        Some(moment) => Ok(moment),
        None => unfit("first_seen or last_seen is no time"),
    }
}

fn part(part: &ParsedAttachment) -> Result<(), Refused> {
    let is_hash = |text: &str, digits| {
        text.is_empty() || text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    if !is_hash(&part.md5, 32) || !is_hash(&part.sha256, 64) {
        return unfit("the md5 or sha256 of an attachment is none");
    }
    if part.size > NUMBER_MAX {
        return unfit("the size of an attachment is out of range");
    }
    Ok(())
}

#[derive(Deserialize)]
struct LinkOrAddress {
    id: String,
    url: Option<String>,
    source_ip: Option<String>,
}

fn link_or_address(payload: LinkOrAddress) -> Result<Received, Refused> {
    let id = id(&payload.id)?;
    match (payload.url, payload.source_ip) {
        (Some(url), None) => Ok(Received::Link { id, url }),
        (None, Some(source_ip)) => Ok(Received::Address { id, source_ip }),
        _ => unfit("neither a link nor an address, or both"),
    }
}

#[derive(Deserialize)]
struct Enclosed {
    s_id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    ip: String,
    #[serde(rename = "spamfile", alias = "attachment")]
    content: Option<String>,
    #[serde(default)]
    changed: bool,
    #[serde(default)]
    oversize: bool,
    size: Option<u64>,
}

fn file(payload: Enclosed) -> Result<File, Refused> {
    let content = match (payload.content, payload.oversize, payload.size) {
        (Some(base64), false, None) => match STANDARD.decode(base64) {
            Ok(bytes) => Content::Whole(bytes),
            Err(error) => return unfit(format!("no base64: {error}")),
        },
        (None, true, Some(size)) if size <= NUMBER_MAX => Content::Oversize(size),
        _ => return unfit("neither a content nor the size of one that is too long, or both"),
    };
    Ok(File {
        id: id(&payload.s_id)?,
        name: payload.name,
        ip: payload.ip,
        changed: payload.changed,
        content,
    })
}

#[cfg(test)]
mod tests;
