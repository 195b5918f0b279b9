//! Any bytes as a message: what is read of them keeps its bounds, and does not depend on the
//! wrapping.
#![no_main]

use std::collections::HashSet;

use libfuzzer_sys::fuzz_target;
use shiva::message::{
    MAX_DEPTH, MAX_LINK_BYTES, MAX_LINKS, MAX_PARTS, MAX_RECIPIENTS, MAX_VALUE_BYTES, Message,
    Rewriter, Unreadable, parse, rewrite,
};

fuzz_target!(|data: &[u8]| {
    assert!(rewrite(data, &Unchanged).is_none(), "changed by nothing");
    match parse(data) {
        Ok(message) => {
            keeps_bounds(data, &message);
            behind_an_mbox_line(data, &message);
            forwarded(data, &message);
        }
        Err(Unreadable::Empty) => assert!(data.is_empty()),
        Err(Unreadable::TooDeep) => assert!(data.len() > MAX_DEPTH),
        Err(Unreadable::TooManyParts) => assert!(data.len() > MAX_PARTS),
    }
});

fn keeps_bounds(raw: &[u8], message: &Message) {
    // Charset decoding triples a text at most, and what no UTF-8 has is replaced by three bytes.
    let most = 3 * raw.len();
    for text in [&message.text, &message.html, &message.headers] {
        assert!(text.len() <= most, "{} bytes of {}", text.len(), raw.len());
    }
    let lines = String::from_utf8_lossy(raw).replace("\r\n", "\n");
    assert!(lines.contains(&message.headers), "headers that never were");
    for value in [&message.subject, &message.from] {
        assert!(value.len() <= 3 * MAX_VALUE_BYTES && value.len() <= most);
    }
    assert!(message.to.len() <= MAX_RECIPIENTS && all_differ(&message.to));
    assert!(message.links.len() <= MAX_LINKS && all_differ(&message.links));
    assert!(
        message
            .links
            .iter()
            .all(|link| link.len() <= MAX_LINK_BYTES)
    );
    assert!(message.attachments.len() + message.text_names.len() <= MAX_PARTS);
    let content: usize = message
        .attachments
        .iter()
        .map(|part| part.content.len())
        .sum();
    assert!(content <= raw.len(), "more content than message");
}

fn all_differ(list: &[String]) -> bool {
    list.iter().collect::<HashSet<_>>().len() == list.len()
}

/// An mbox line at the very start is passed over.
fn behind_an_mbox_line(raw: &[u8], message: &Message) {
    if raw.starts_with(b"From ") || raw.starts_with(b">From ") {
        return;
    }
    let behind = [b"From a Fri Aug 23 11:03:31 2002\r\n", raw].concat();
    assert_eq!(parse(&behind).as_ref(), Ok(message));
}

/// What a message shows, it shows when it is forwarded in another, too.
fn forwarded(raw: &[u8], message: &Message) {
    const BOUNDARY: &str = "=_forwarded";
    if raw
        .windows(BOUNDARY.len())
        .any(|at| at == BOUNDARY.as_bytes())
    {
        return;
    }
    let within = [b"Content-Type: message/rfc822\r\n\r\n", raw].concat();
    let head = format!(
        "Content-Type: multipart/mixed; boundary=\"{BOUNDARY}\"\r\n\r\n\
         --{BOUNDARY}\r\nContent-Type: message/rfc822\r\n\r\n"
    );
    let tail = format!("\r\n--{BOUNDARY}--\r\n");
    let beside = [head.as_bytes(), raw, tail.as_bytes()].concat();
    for wrapped in [within, beside] {
        match parse(&wrapped) {
            Ok(outer) => {
                assert_eq!(outer.text, message.text);
                assert_eq!(outer.html, message.html);
                assert_eq!(outer.links, message.links);
                assert_eq!(outer.attachments, message.attachments);
                assert_eq!(outer.text_names, message.text_names);
            }
            Err(Unreadable::Empty) => panic!("it is not empty"),
            Err(Unreadable::TooDeep | Unreadable::TooManyParts) => {}
        }
    }
}

/// Looks at every piece of text and changes none.
struct Unchanged;

impl Rewriter for Unchanged {
    fn text(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}
