//! What is published of a record: JSON payloads for four channels. No I/O.
//!
//! - `shiva.parsed`: all that is known of a record, [`ParsedSpam`]. One that is longer than a
//!   message may be has its bodies cut, then its headers, then its lists, and says `truncated`.
//! - `shiva.ip.url`: `{"id","url"}` for each link, `{"id","source_ip"}` for each source address.
//! - `shiva.raw`: `{"s_id","name","ip","spamfile"}`, the sample in base64; with `"changed": true` where
//!   recipients were replaced in it.
//! - `shiva.attachments`: `{"s_id","name","attachment"}`, the content in base64, `changed` likewise.
//!
//! A sample or an attachment that is longer than a message may be is announced with
//! `"oversize": true` and its `size` in bytes, and not sent.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::parsed::ParsedSpam;

/// Channel of records.
pub const PARSED: &str = "shiva.parsed";
/// Channel of links and source addresses.
pub const IP_URL: &str = "shiva.ip.url";
/// Channel of samples.
pub const RAW: &str = "shiva.raw";
/// Channel of attachments.
pub const ATTACHMENTS: &str = "shiva.attachments";

/// Bytes that a body or a header block keeps at least, before lists are cut.
const BODY_LEAST: usize = 4096;

/// A payload and its channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The channel.
    pub channel: &'static str,
    /// JSON.
    pub json: Vec<u8>,
    /// It only says how large the content is.
    pub oversize: bool,
}

impl Payload {
    fn new(channel: &'static str, value: &impl Serialize) -> Payload {
        Payload {
            channel,
            json: serde_json::to_vec(value).unwrap_or_default(),
            oversize: false,
        }
    }
}

/// A record, in at most `most` bytes.
pub fn parsed(spam: &ParsedSpam, most: usize) -> Payload {
    let whole = Payload::new(PARSED, spam);
    if whole.json.len() <= most {
        return whole;
    }
    let mut spam = spam.clone();
    spam.truncated = true;
    loop {
        let cut = Payload::new(PARSED, &spam);
        if cut.json.len() <= most || !halve_the_longest(&mut spam) {
            return cut;
        }
    }
}

/// Makes the record shorter; false when nothing is left to be cut.
fn halve_the_longest(spam: &mut ParsedSpam) -> bool {
    let bodies = [&mut spam.text, &mut spam.html, &mut spam.headers];
    let longest = bodies.into_iter().max_by_key(|body| body.len());
    if let Some(body) = longest.filter(|body| body.len() > BODY_LEAST) {
        let mut end = body.len() / 2;
        while !body.is_char_boundary(end) {
            end -= 1;
        }
        body.truncate(end);
        return true;
    }
    let lists = [
        &mut spam.to,
        &mut spam.links,
        &mut spam.ips,
        &mut spam.users,
        &mut spam.sensors,
    ];
    let size = |list: &Vec<String>| list.iter().map(|value| value.len() + 3).sum::<usize>();
    let parts = spam.attachments.len();
    match lists.into_iter().max_by_key(|list| size(list)) {
        Some(list) if !list.is_empty() && size(list) > 256 * parts => {
            list.truncate(list.len() / 2);
            true
        }
        _ if parts > 0 => {
            spam.attachments.truncate(parts / 2);
            true
        }
        _ => false,
    }
}

/// The links and source addresses of a record, each a payload of its own.
pub fn links_and_addresses(spam: &ParsedSpam) -> impl Iterator<Item = Payload> {
    #[derive(Serialize)]
    struct Link<'a> {
        id: &'a str,
        url: &'a str,
    }
    #[derive(Serialize)]
    struct Address<'a> {
        id: &'a str,
        source_ip: &'a str,
    }
    let id = spam.id.as_str();
    let links = spam.links.iter().map(move |url| Link { id, url });
    let addresses = spam
        .ips
        .iter()
        .map(move |source_ip| Address { id, source_ip });
    links
        .map(|link| Payload::new(IP_URL, &link))
        .chain(addresses.map(|address| Payload::new(IP_URL, &address)))
}

/// A sample: its message's bytes, without the envelope line.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// The record's id.
    pub id: &'a str,
    /// The sample's name.
    pub name: &'a str,
    /// The source address that is known first, or nothing.
    pub ip: &'a str,
    /// The message as it is published.
    pub message: &'a [u8],
    /// Recipients were replaced in it.
    pub changed: bool,
}

/// A sample, in at most `most` bytes, or its announcement.
pub fn raw(sample: &Sample<'_>, most: usize) -> Payload {
    #[derive(Serialize)]
    struct Raw<'a> {
        s_id: &'a str,
        name: &'a str,
        ip: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        spamfile: Option<String>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        changed: bool,
        #[serde(flatten)]
        oversize: Option<Oversize>,
    }
    let payload = |spamfile, oversize| {
        Payload::new(
            RAW,
            &Raw {
                s_id: sample.id,
                name: sample.name,
                ip: sample.ip,
                spamfile,
                changed: sample.changed,
                oversize,
            },
        )
    };
    within(sample.message, most, payload)
}

/// An attachment's content under the sender's name for it, in at most `most` bytes, or its
/// announcement.
pub fn attachment(id: &str, name: &str, content: &[u8], changed: bool, most: usize) -> Payload {
    #[derive(Serialize)]
    struct Attached<'a> {
        s_id: &'a str,
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        attachment: Option<String>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        changed: bool,
        #[serde(flatten)]
        oversize: Option<Oversize>,
    }
    let payload = |attachment, oversize| {
        Payload::new(
            ATTACHMENTS,
            &Attached {
                s_id: id,
                name,
                attachment,
                changed,
                oversize,
            },
        )
    };
    within(content, most, payload)
}

#[derive(Serialize)]
struct Oversize {
    oversize: bool,
    size: u64,
}

/// The payload with this content, or with its size where it would be too long.
fn within(
    content: &[u8],
    most: usize,
    payload: impl Fn(Option<String>, Option<Oversize>) -> Payload,
) -> Payload {
    if content.len() / 3 * 4 <= most {
        let whole = payload(Some(STANDARD.encode(content)), None);
        if whole.json.len() <= most {
            return whole;
        }
    }
    let size = content.len() as u64;
    let announced = Oversize {
        oversize: true,
        size,
    };
    Payload {
        oversize: true,
        ..payload(None, Some(announced))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn value(payload: &Payload) -> Value {
        serde_json::from_slice(&payload.json).unwrap()
    }

    fn spam() -> ParsedSpam {
        ParsedSpam {
            id: "ab".repeat(16),
            text: "é".repeat(50_000),
            html: "x".repeat(300_000),
            headers: "Subject: x\n".into(),
            links: (0..1000)
                .map(|n| format!("http://example.net/{n}"))
                .collect(),
            ips: vec!["192.0.2.1".into()],
            ..ParsedSpam::default()
        }
    }

    #[test]
    fn a_record_that_fits_is_whole_and_one_that_does_not_is_cut_and_says_so() {
        let whole = parsed(&spam(), 1 << 20);
        assert_eq!(whole.channel, PARSED);
        assert_eq!(value(&whole)["truncated"], Value::Null);
        assert_eq!(value(&whole)["html"].as_str().unwrap().len(), 300_000);
        for most in [200_000, 50_000, 20_000] {
            let cut = parsed(&spam(), most);
            assert!(cut.json.len() <= most, "{most}: {}", cut.json.len());
            let cut = value(&cut);
            assert_eq!(cut["truncated"], true);
            assert_eq!(cut["id"], "ab".repeat(16));
        }
        // As long as bodies can be cut, the lists are whole.
        let cut = value(&parsed(&spam(), 200_000));
        assert_eq!(cut["links"].as_array().unwrap().len(), 1000);
    }

    #[test]
    fn links_and_addresses_are_told_one_by_one() {
        let payloads: Vec<Payload> = links_and_addresses(&spam()).collect();
        assert_eq!(payloads.len(), 1001);
        let id = "ab".repeat(16);
        let first = json!({ "id": id, "url": "http://example.net/0" });
        assert_eq!(value(&payloads[0]), first);
        let last = json!({ "id": id, "source_ip": "192.0.2.1" });
        assert_eq!(value(&payloads[1000]), last);
    }

    #[test]
    fn content_is_base64_or_announced_with_its_size() {
        let sample = |message, changed| Sample {
            id: "1",
            name: "1.eml",
            ip: "192.0.2.1",
            message,
            changed,
        };
        let whole = raw(&sample(b"\0\xff", false), 1000);
        let expected =
            json!({ "s_id": "1", "name": "1.eml", "ip": "192.0.2.1", "spamfile": "AP8=" });
        assert_eq!(value(&whole), expected);
        let changed = raw(&sample(b"x", true), 1000);
        assert_eq!(value(&changed)["changed"], true);
        let large = raw(&sample(&[0; 1000], false), 1000);
        let expected = json!({
            "s_id": "1", "name": "1.eml", "ip": "192.0.2.1", "oversize": true, "size": 1000
        });
        assert_eq!(value(&large), expected);
        let attached = attachment("1", "a.zip", b"abc", false, 1000);
        let expected = json!({ "s_id": "1", "name": "a.zip", "attachment": "YWJj" });
        assert_eq!(value(&attached), expected);
        let changed = attachment("1", "a.txt", b"abc", true, 1000);
        assert_eq!(value(&changed)["changed"], true);
        let large = attachment("1", "a.zip", &[0; 1000], false, 1000);
        assert_eq!(value(&large)["size"], 1000);
        // Just too long by its other keys.
        assert_eq!(
            value(&raw(&sample(&[0; 700], false), 940))["oversize"],
            true
        );
    }
}
