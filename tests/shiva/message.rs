//! What `message::parse` makes of messages written for each of its rules.

use shiva::message::{Message, Unreadable, parse};

fn read(raw: &str) -> Message {
    parse(raw.replace('\n', "\r\n").as_bytes()).expect("a readable message")
}

/// Name, type, inline and content of each attachment.
fn listed(message: &Message) -> Vec<(&str, &str, bool, &[u8])> {
    let list = message.attachments.iter();
    list.map(|a| (&*a.name, &*a.media_type, a.inline, &*a.content))
        .collect()
}

/// A multipart/mixed of the given parts.
fn mixed(parts: &[&str]) -> Message {
    let mut raw = "Content-Type: multipart/mixed; boundary=\"b\"\n\nno part\n".to_owned();
    for part in parts {
        raw.push_str(&format!("--b\n{part}\n"));
    }
    raw.push_str("--b--\nno part\n");
    read(&raw)
}

#[test]
fn header_fields() {
    let message = read(concat!(
        "Received: from x\n\tby y\nSubject: =?utf-8?B?w6k=?=\n =?utf-8?Q?_a?= b\n",
        "From: =?iso-8859-1?Q?Jos=E9?= <J@x.test>\nTo: <a@x.test>, B <b@x.test>\n",
        "SUBJECT: second\nTo: b@x.test, c@x.test\nFrom: second@x.test\n\nhi\nthere\n",
    ));
    assert_eq!(message.subject, "\u{e9} a b");
    assert_eq!(message.from, "Jos\u{e9} <J@x.test>");
    assert_eq!(message.to, ["a@x.test", "b@x.test", "c@x.test"]);
    assert!(message.headers.starts_with("Received: from x\n\tby y\nSub"));
    assert!(message.headers.ends_with("From: second@x.test\n"));
    assert_eq!((&*message.text, &*message.html), ("hi\nthere\n", ""));
    assert_eq!(message.body(), "hi\nthere\n");
    assert!(message.has_text_part());
}

#[test]
fn html_is_the_body_and_neither_is_made_from_the_other() {
    let both = mixed(&[
        "\nfirst text",
        "Content-Type: text/html\n\n<p>html",
        "Content-Type: text/plain\n\nsecond text",
    ]);
    assert_eq!((&*both.text, &*both.html), ("first text", "<p>html"));
    assert_eq!(both.body(), "<p>html");
    let html = read("Content-Type: text/html\n\n<p>only");
    assert_eq!((&*html.text, &*html.html), ("", "<p>only"));
    assert!(!html.has_text_part());
    assert!(html.attachments.is_empty());
}

#[test]
fn the_first_body_that_is_not_empty_and_no_attachment() {
    let message = mixed(&[
        "Content-Type: text/html\n",
        "Content-Type: text/html\nContent-Disposition: ATTACHMENT\n\n<p>attached",
        "Content-Type: text/html\nContent-Transfer-Encoding: base64\n\n=",
        "Content-Type: text/html\nContent-Disposition: inline; filename=a.html\n\n<p>shown",
        "Content-Type: text/html; name=b.html\n\n<p>later",
    ]);
    assert_eq!(message.html, "<p>shown");
    let expected: [(&str, &str, bool, &[u8]); 2] = [
        ("", "text/html", false, b"<p>attached"),
        ("a.html", "text/html", true, b"<p>shown"),
    ];
    assert_eq!(listed(&message), expected);
}

#[test]
fn bodies_are_decoded() {
    let message = read(concat!(
        "Content-Type: text/plain; charset=iso-8859-1\n",
        "Content-Transfer-Encoding: quoted-printable\n\ncaf=E9 =\nau lait\rlone\n"
    ));
    assert_eq!(message.text, "caf\u{e9} au lait\rlone\n");
    let message = read(concat!(
        "Content-Type: text/html; charset=\"windows-1251\"\n",
        "Content-Transfer-Encoding: base64\n\nz/Do\n4uXy\n"
    ));
    assert_eq!(message.html, "\u{41f}\u{440}\u{438}\u{432}\u{435}\u{442}");
}

#[test]
fn attachments() {
    let message = mixed(&[
        "Content-Type: text/csv; charset=iso-8859-1; name=t.csv\n\n\u{e9};1",
        "Content-Type: Application/PDF\nContent-Transfer-Encoding: base64\nContent-Disposition: \
         attachment; filename=\"../../etc/passwd\"\n\nJVBERg==",
        "Content-Type: image/png\nContent-ID: <1@x>\n\npng",
        "Content-Type: image/png\nContent-ID: <2@x>\nContent-Disposition: attachment\n\npng",
        "Content-Type: application/zip; name=a.zip\nContent-Disposition: attachment; \
         filename*=utf-8''b%C3%A9.zip\nContent-Transfer-Encoding: base64\n\n",
        "Content-Type: text/x-amp-html\n\n<html amp>",
        "Content-Disposition: attachment\n\nplain",
    ]);
    let expected: [(&str, &str, bool, &[u8]); 7] = [
        ("t.csv", "text/csv", false, "\u{e9};1".as_bytes()),
        ("../../etc/passwd", "application/pdf", false, b"%PDF"),
        ("", "image/png", true, b"png"),
        ("", "image/png", false, b"png"),
        ("b\u{e9}.zip", "application/zip", false, b""),
        ("", "text/x-amp-html", false, b"<html amp>"),
        ("", "text/plain", false, b"plain"),
    ];
    assert_eq!(listed(&message), expected);
    assert_eq!(message.body(), "");
    let zip = &message.attachments[4];
    assert_eq!(zip.md5[..4], [0xd4, 0x1d, 0x8c, 0xd9]);
    assert_eq!(zip.sha256[..4], [0xe3, 0xb0, 0xc4, 0x42]);
}

#[test]
fn messages_within_messages() {
    let inner = "Subject: inner\nContent-Type: text/html\n\n<p>inner";
    let message = mixed(&[&format!("Content-Type: message/rfc822\n\n{inner}")]);
    assert_eq!(message.html, "<p>inner");
    assert_eq!(message.subject, "");
    assert!(message.attachments.is_empty());
    let attached = "Content-Type: message/rfc822\nContent-Disposition: attachment; filename=a.eml";
    let message = mixed(&[&format!("{attached}\n\n{inner}"), "\nafter"]);
    assert_eq!(message.body(), "after");
    let content = inner.replace('\n', "\r\n");
    let expected = [("a.eml", "message/rfc822", false, content.as_bytes())];
    assert_eq!(listed(&message), expected);
}

#[test]
fn encoded_messages_are_opened() {
    let message = mixed(&[
        "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogeAoKaGVsbG8=",
        "Content-Type: image/png\n\npng",
    ]);
    assert_eq!(message.text, "hello");
    assert_eq!(message.attachments.len(), 1);
}

#[test]
fn children_of_a_digest_are_messages() {
    let message = read(concat!(
        "Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: x\n",
        "Content-Type: text/html\n\n<p>digested\n--b\nContent-Type: text/plain\n\nplain\n--b--\n",
    ));
    assert_eq!((&*message.html, &*message.text), ("<p>digested", "plain"));
}

#[test]
fn boundaries_are_whole_lines() {
    let message = read(concat!(
        "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n",
        "x --b\n--bb\n--b x\n-- b\n--b \nContent-Type: text/html\n\n<p>\n--b--",
    ));
    assert_eq!(message.text, "x --b\n--bb\n--b x\n-- b");
    assert_eq!(message.html, "<p>");
}

#[test]
fn an_outer_boundary_closes_the_inner_multipart() {
    let message = mixed(&[
        "Content-Type: multipart/alternative; boundary=inner\n\n--inner\n\ntext",
        "Content-Type: text/html\n\n<p>",
    ]);
    assert_eq!((&*message.text, &*message.html), ("text", "<p>"));
}

#[test]
fn a_multipart_that_cannot_be_split_is_plain_text() {
    for kind in ["multipart/mixed", "multipart/mixed; boundary=never"] {
        let message = read(&format!("Content-Type: {kind}\n\n--b\n\nshown\n"));
        assert_eq!(message.text, "--b\n\nshown\n");
        assert!(message.attachments.is_empty());
    }
    let closed = read("Content-Type: multipart/mixed; boundary=b\n\nshown\n--b--\n");
    assert_eq!(closed.text, "shown\n--b--\n");
    let within = mixed(&["Content-Type: multipart/mixed; boundary=never\n\nx", "\ny"]);
    assert_eq!(within.text, "x");
}

#[test]
fn a_type_that_is_none_is_plain_text() {
    for kind in ["text", "html", "", ";charset=x", "/"] {
        let message = read(&format!("Content-Type: {kind}\n\nhi"));
        assert_eq!(message.text, "hi", "{kind:?}");
    }
}

#[test]
fn without_headers_or_without_body() {
    assert_eq!(parse(b""), Err(Unreadable::Empty));
    for raw in [
        "hello",
        "hello there\nfriend\n",
        " hello",
        "\nhello",
        "\0",
        "\u{fffd}",
    ] {
        let message = parse(raw.as_bytes()).expect("readable");
        assert_eq!(message.body(), raw.trim_start_matches('\n'), "{raw:?}");
        assert_eq!(message.headers, "");
    }
    for raw in ["Subject: a", "Subject: a\r\n", "Subject: a\n\n"] {
        let message = parse(raw.as_bytes()).expect("readable");
        assert_eq!((&*message.subject, message.body()), ("a", ""));
    }
}

#[test]
fn links_of_html_then_text() {
    let message = mixed(&[
        "\nsee http://text.test/ and http://both.test/.",
        "Content-Type: text/html\n\n<a href=\"http://both.test/\">x</a> www.html.test",
    ]);
    let expected = [
        "http://both.test/",
        "http://www.html.test",
        "http://text.test/",
    ];
    assert_eq!(message.links, expected);
}

#[test]
fn the_reasons_are_plain_sentences() {
    assert_eq!(Unreadable::Empty.to_string(), "the message is empty");
    let deep = "multiparts and messages are nested more than 100 deep";
    assert_eq!(Unreadable::TooDeep.to_string(), deep);
    let many = "the message has more than 10000 parts";
    assert_eq!(Unreadable::TooManyParts.to_string(), many);
}
