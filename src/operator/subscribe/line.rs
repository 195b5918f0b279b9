//! What is printed of a payload: one line.

use serde::Serialize;
use serde_json::Value;

use crate::escape;
use crate::hpfeeds::Message;
use crate::hpfeeds::received::{Content, File, Received};
use crate::operator::report::grouped;

/// Characters shown of a payload on a channel that is none of ours.
const OTHER_MOST: usize = 200;

/// For a person: who published it, what it is, the record's id, and the rest.
pub(super) fn text(message: &Message, received: &Received) -> String {
    let (kind, id, rest) = match received {
        Received::Record(record) => {
            let rest = format!("{}  {}", grouped(record.count), record.subject);
            ("record", record.id.clone(), rest)
        }
        Received::Link { id, url } => ("link", id.to_string(), url.clone()),
        Received::Address { id, source_ip } => ("address", id.to_string(), source_ip.clone()),
        Received::Sample(file) => ("sample", file.id.to_string(), named(file)),
        Received::Attachment(file) => ("attachment", file.id.to_string(), named(file)),
        Received::Other(value) => {
            let shown: String = value.to_string().chars().take(OTHER_MOST).collect();
            ("other", message.channel.clone(), shown)
        }
    };
    let line = format!("{}  {kind:<10}  {id}  {rest}", message.ident);
    format!("{}\n", escape::line(&line))
}

fn named(file: &File) -> String {
    let size = grouped(file.content.size());
    let sent = match file.content {
        Content::Whole(_) => "",
        Content::Oversize(_) => ", too long to be sent",
    };
    format!("{size} bytes{sent}  {}", file.name)
}

/// For a program: an object with the payload as it came. `None` where it is no JSON.
pub(super) fn json(message: &Message) -> Option<String> {
    #[derive(Serialize)]
    struct Line<'a> {
        channel: &'a str,
        ident: &'a str,
        payload: Value,
    }
    let line = Line {
        channel: &message.channel,
        ident: &message.ident,
        payload: serde_json::from_slice(&message.payload).ok()?,
    };
    Some(serde_json::to_string(&line).ok()? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hpfeeds::payload::{IP_URL, PARSED, RAW};
    use crate::hpfeeds::received;

    const ID: &str = "0123456789abcdef0123456789abcdef";

    fn message(channel: &str, payload: &str) -> Message {
        Message {
            ident: "sen\u{202e}sor".into(),
            channel: channel.into(),
            payload: payload.into(),
        }
    }

    fn shown(channel: &str, payload: &str) -> String {
        let message = message(channel, payload);
        text(
            &message,
            &received::read(channel, &message.payload).unwrap(),
        )
    }

    #[test]
    fn a_payload_is_one_harmless_line() {
        let time = r#""first_seen":"2026-11-21T21:07:55Z","last_seen":"2026-11-21T21:07:55Z""#;
        let record = format!(r#"{{"id":"{ID}","count":1234,"subject":"a\u001b[2J\nb",{time}}}"#);
        let ident = "sen\\u{202e}sor";
        assert_eq!(
            shown(PARSED, &record),
            format!("{ident}  record      {ID}  1,234  a\\u{{1b}}[2J b\n")
        );
        let link = format!(r#"{{"id":"{ID}","url":"http://example.net/\r\nx"}}"#);
        assert_eq!(
            shown(IP_URL, &link),
            format!("{ident}  link        {ID}  http://example.net/  x\n")
        );
        let large = format!(r#"{{"s_id":"{ID}","name":"../x","oversize":true,"size":2000000}}"#);
        assert_eq!(
            shown(RAW, &large),
            format!("{ident}  sample      {ID}  2,000,000 bytes, too long to be sent  ../x\n")
        );
        let other = format!(r#"["{}"]"#, "\\n".repeat(10_000));
        let other = shown("other\nchannel", &other);
        assert_eq!(
            (other.lines().count(), other.len() < 300),
            (1, true),
            "{other}"
        );
    }

    #[test]
    fn json_holds_the_payload_as_it_came() {
        let line = json(&message("x", "{\"a\": [1,\n \"\\n\"]}")).unwrap();
        assert_eq!(
            line,
            "{\"channel\":\"x\",\"ident\":\"sen\u{202e}sor\",\"payload\":{\"a\":[1,\"\\n\"]}}\n"
        );
        assert_eq!(json(&message("x", "no json")), None);
    }
}
