//! The JSON of one distinct spam: the payload `shiva.parsed`, which `shiva show --json` prints,
//! and of one message, which `shiva parse` prints.

use serde::{Deserialize, Serialize};

use crate::fingerprint::{self, Fingerprint};
use crate::message::Message;
use crate::store::{Part, Spam};

/// An attachment or inline part.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ParsedAttachment {
    /// The sender's file name.
    pub name: String,
    /// The media type.
    #[serde(rename = "type")]
    pub media_type: String,
    /// Bytes of decoded content.
    pub size: u64,
    /// MD5 of the content, hex.
    pub md5: String,
    /// SHA-256 of the content, hex.
    pub sha256: String,
    /// Inline part rather than attachment.
    pub inline: bool,
}

impl From<&Part> for ParsedAttachment {
    fn from(part: &Part) -> ParsedAttachment {
        ParsedAttachment {
            name: part.name.clone(),
            media_type: part.media_type.clone(),
            size: part.size,
            md5: part.md5.clone(),
            sha256: part.sha256.clone(),
            inline: part.inline,
        }
    }
}

/// A distinct spam with all that is known of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ParsedSpam {
    /// MD5 of subject and body, hex.
    pub id: String,
    /// The subject, decoded.
    pub subject: String,
    /// The From header, decoded.
    pub from: String,
    /// Recipients.
    pub to: Vec<String>,
    /// The header block.
    pub headers: String,
    /// The text/plain body.
    pub text: String,
    /// The text/html body.
    pub html: String,
    /// CTPH of body and subject.
    pub ssdeep: String,
    /// Bytes of body and subject.
    pub length: u64,
    /// Spams.
    pub count: u64,
    /// RFC 3339, UTC.
    pub first_seen: String,
    /// RFC 3339, UTC.
    pub last_seen: String,
    /// Source addresses.
    pub ips: Vec<String>,
    /// Sensors.
    pub sensors: Vec<String>,
    /// Authenticated users.
    pub users: Vec<String>,
    /// Links.
    pub links: Vec<String>,
    /// Attachments and inline parts.
    pub attachments: Vec<ParsedAttachment>,
    /// Spams relayed.
    pub relayed: u64,
    /// It was too long for a message of hpfeeds, and was cut.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

impl From<&Spam> for ParsedSpam {
    fn from(spam: &Spam) -> ParsedSpam {
        let (record, sets) = (spam.record.clone(), spam.sets.clone());
        ParsedSpam {
            attachments: sets.parts.iter().map(ParsedAttachment::from).collect(),
            id: record.known.id,
            subject: record.subject,
            from: record.from,
            to: sets.recipients,
            headers: record.headers,
            text: record.text,
            html: record.html,
            ssdeep: record.known.ssdeep,
            length: record.known.length,
            count: spam.count,
            first_seen: spam.first_seen.rfc3339_seconds(),
            last_seen: spam.last_seen.rfc3339_seconds(),
            ips: sets.ips,
            sensors: sets.sensors,
            users: sets.users,
            links: sets.links,
            relayed: spam.relayed,
            truncated: false,
        }
    }
}

/// What the analyzer sees in one message.
#[derive(Clone, Debug, Serialize)]
pub struct ParsedMessage<'a> {
    file: &'a str,
    id: String,
    subject: &'a str,
    from: &'a str,
    to: &'a [String],
    headers: &'a str,
    text: &'a str,
    html: &'a str,
    ssdeep: String,
    length: u64,
    links: &'a [String],
    attachments: Vec<ParsedAttachment>,
}

impl<'a> ParsedMessage<'a> {
    /// The JSON of a message read from `file`, sent to the addresses `to`.
    pub fn new(file: &'a str, message: &'a Message, to: &'a [String]) -> ParsedMessage<'a> {
        let fingerprint =
            Fingerprint::of(&message.subject, message.body(), message.has_text_part());
        ParsedMessage {
            file,
            id: fingerprint.id.to_string(),
            subject: &message.subject,
            from: &message.from,
            to,
            headers: &message.headers,
            text: &message.text,
            html: &message.html,
            ssdeep: fingerprint.ssdeep.to_string(),
            length: fingerprint.length,
            links: &message.links,
            attachments: message
                .attachments
                .iter()
                .map(|part| ParsedAttachment {
                    name: part.name.clone(),
                    media_type: part.media_type.clone(),
                    size: part.content.len() as u64,
                    md5: fingerprint::hex(&part.md5),
                    sha256: fingerprint::hex(&part.sha256),
                    inline: part.inline,
                })
                .collect(),
        }
    }
}
