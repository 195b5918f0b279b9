//! Messages made to hurt the parser: each must be read or refused in time that grows
//! with its size only, on a small stack, without a panic.
//!
//! An optimised build takes messages of 25 MiB, a debug build smaller ones. The
//! time bound is far above what is needed, and far below what any quadratic step
//! would take.

use std::time::{Duration, Instant};

use shiva::message::{
    MAX_DEPTH, MAX_LINK_BYTES, MAX_LINKS, MAX_PARTS, MAX_RECIPIENTS, Message, Unreadable, parse,
};

const SIZE: usize = if cfg!(debug_assertions) {
    512
} else {
    25 * 1024
} * 1024;
const LIMIT: Duration = Duration::from_secs(10);
const STACK: usize = 2 * 1024 * 1024;

/// Parses on a small stack, within the time bound.
fn read(name: &str, raw: Vec<u8>) -> Result<Message, Unreadable> {
    let name = name.to_owned();
    let reader = name.clone();
    std::thread::Builder::new()
        .stack_size(STACK)
        .spawn(move || {
            let begun = Instant::now();
            let result = parse(&raw);
            let took = begun.elapsed();
            println!("{reader}: {} bytes in {took:?}", raw.len());
            assert!(took < LIMIT, "{reader} took {took:?}");
            result
        })
        .expect("a thread starts")
        .join()
        .unwrap_or_else(|_| panic!("{name} panicked"))
}

/// `head`, then `unit` repeated up to [`SIZE`], then `tail`.
fn flood(head: &str, unit: &str, tail: &str) -> Vec<u8> {
    let mut raw = head.as_bytes().to_vec();
    raw.extend(unit.as_bytes().repeat(SIZE / unit.len()));
    raw.extend_from_slice(tail.as_bytes());
    raw
}

fn numbered(head: &str, unit: impl Fn(usize) -> String) -> Vec<u8> {
    let mut raw = head.to_owned();
    for n in 0.. {
        raw.push_str(&unit(n));
        if raw.len() > SIZE {
            break;
        }
    }
    raw.into_bytes()
}

fn readable(name: &str, raw: Vec<u8>) -> Message {
    read(name, raw).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn deep_nesting_is_refused() {
    let multiparts: String = (0..100_000)
        .map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n"))
        .collect();
    let deep = Err(Unreadable::TooDeep);
    assert_eq!(read("multiparts", multiparts.into_bytes()), deep);
    let messages = "Content-Type: message/rfc822\n\n".repeat(100_000);
    assert_eq!(read("messages", messages.clone().into_bytes()), deep);
    let digests: String = (0..100_000)
        .map(|n| format!("Content-Type: multipart/digest; boundary=b{n}\n\n--b{n}\n\n"))
        .collect();
    assert_eq!(read("digests", digests.into_bytes()), deep);
    let mut hidden = "Content-Type: message/rfc822\nContent-Transfer-Encoding: ".to_owned();
    hidden.push_str("quoted-printable\n\n");
    hidden.push_str(&messages);
    assert_eq!(read("encoded messages", hidden.into_bytes()), deep);
}

#[test]
fn nesting_up_to_the_bound_is_read() {
    let nested = |depth| {
        let mut raw = "Content-Type: message/rfc822\n\n".repeat(depth);
        raw.push_str("Subject: x\n\nhello");
        read("nested", raw.into_bytes())
    };
    assert_eq!(nested(MAX_DEPTH).map(|m| m.text), Ok("hello".to_owned()));
    assert_eq!(nested(MAX_DEPTH + 1), Err(Unreadable::TooDeep));
}

#[test]
fn encoded_messages_within_one_another() {
    // These layers have nothing to decode: each leaves the next as it was.
    let layer = "Content-Type: message/rfc822\nContent-Transfer-Encoding: quoted-printable\n\n";
    let message = readable("encoded layers", layer.repeat(50_000).into_bytes());
    assert_eq!(message.attachments.len(), 1);
    assert_eq!(message.attachments[0].media_type, "message/rfc822");
}

#[test]
fn too_many_parts_are_refused() {
    let head = "Content-Type: multipart/mixed; boundary=b\n\n";
    let parts = flood(head, "--b\n\n", "");
    assert_eq!(read("tiny parts", parts), Err(Unreadable::TooManyParts));
    let fits = format!("{head}{}", "--b\n\nx\n".repeat(MAX_PARTS - 1));
    assert_eq!(readable("parts", fits.into_bytes()).text, "x");
}

#[test]
fn boundaries_that_never_come() {
    // Each part announces one, and a careless splitter looks for it to the end.
    let unit = "--b\nContent-Type: multipart/mixed; boundary=never\n\n";
    let mut raw = "Content-Type: multipart/mixed; boundary=b\n\n".to_owned();
    raw.push_str(&unit.repeat(MAX_PARTS - 1));
    raw.push_str(&"x\n".repeat(SIZE / 2));
    readable("boundaries that never come", raw.into_bytes());
}

#[test]
fn lines_that_almost_are_delimiters() {
    let long = "-".repeat(900);
    let head = format!("Content-Type: multipart/mixed; boundary=\"{long}x\"\n\n");
    readable("dashes", flood(&head, "-", ""));
    let lines = flood(&head, &format!("--{long}\n"), "");
    readable("lines of dashes", lines);
    readable("short lines of dashes", flood(&head, "--\n", ""));
    let mut open = String::new();
    for n in 0..MAX_DEPTH - 1 {
        let boundary = format!("{}{n:03}", "b".repeat(60));
        let kind = "Content-Type: multipart/mixed; boundary=";
        open.push_str(&format!("{kind}{boundary}\n\n--{boundary}\n"));
    }
    let almost = format!("--{}xxx\n", "b".repeat(60));
    readable("99 open boundaries", flood(&open, &almost, ""));
}

#[test]
fn headers_without_end() {
    let line = readable("one line", flood("Subject: ", "a", "\n\nx"));
    assert!(line.subject.starts_with("aaaa"));
    assert_eq!(line.text, "x");
    for unit in ["=?utf-8?q?a", "=?utf-8?b?YWJj?= ", "=?utf-8?q?=?", "=?"] {
        readable("words", flood("Subject: ", unit, "\n\nx"));
    }
    readable("fields", flood("", "X: y\n", "\nx"));
    readable("subjects", flood("", "Subject: =?utf-8?q?a?=\n", "\nx"));
    readable("folds", flood("Subject: a\n", " a\n", "\nx"));
    readable("no colon", flood("", "a", ""));
    readable("blanks", flood("a", " ", ":"));
}

#[test]
fn addressees_without_number() {
    let to = readable("To", numbered("To: ", |n| format!("u{n}@x.test, ")));
    assert_eq!(to.to.len(), MAX_RECIPIENTS);
    let fields = numbered("", |n| format!("To: u{n}@x.test\n"));
    readable("To fields", fields);
    for unit in [
        "\"",
        "(",
        "<",
        "\\",
        ":",
        ";",
        "a <",
        "=?xx?q?",
        " =?xx?b?a",
        "(\"<@,",
    ] {
        readable("To of junk", flood("To: ", unit, "\n\nx"));
    }
}

#[test]
fn parameters_without_number() {
    type Unit = fn(usize) -> String;
    let units: [(&'static str, Unit); 6] = [
        ("continuations", |n| format!("filename*{n}=a;")),
        ("encoded continuations", |n| format!("filename*{n}*=a;")),
        ("parameters", |n| format!("a{n}=a;")),
        ("comments", |_| "(".to_owned()),
        ("words", |_| "a==?xx?q?a ".to_owned()),
        ("quotes", |_| "a*='x'y'".to_owned()),
    ];
    for (name, unit) in units {
        readable(name, numbered("Content-Type: a/b;", unit));
        // As many values of the longest size that is read as the message holds.
        let value: String = (0..8_000).map(unit).collect();
        let value = value.get(..8_000).unwrap_or(&value);
        let head = "Content-Type: multipart/mixed; boundary=b\n\n";
        let part = format!("--b\nContent-Disposition: attachment;{value}\n\n");
        readable(name, flood(head, &part, ""));
    }
}

#[test]
fn bodies_that_decode_badly() {
    let head = "Content-Transfer-Encoding: quoted-printable\n\n";
    for unit in [
        "=", "==", " ", " \n", "=\n", "=4", "=41", "= ", "\r", "= \r\n",
    ] {
        readable("quoted-printable", flood(head, unit, ""));
    }
    let head = "Content-Transfer-Encoding: base64\n\n";
    for unit in ["=", "A", "A=", "-", "--\n", "\n", "%"] {
        readable("base64", flood(head, unit, ""));
    }
    for charset in [
        "utf-8",
        "utf-7",
        "utf-16",
        "iso-2022-jp",
        "gb18030",
        "big5",
        "x",
    ] {
        for unit in ["\u{ff}", "+", "+A", "\x1b$B", "\0"] {
            let head = format!("Content-Type: text/plain; charset={charset}\n\n");
            readable("charset", flood(&head, unit, ""));
        }
    }
}

#[test]
fn attachments_by_thousands() {
    let head = "Content-Type: multipart/mixed; boundary=b\n\n";
    let part = "--b\nContent-Type: a/b\nContent-Transfer-Encoding: base64\n\nAA==\n";
    let raw = format!("{head}{}", part.repeat(MAX_PARTS - 1));
    let message = readable("attachments", raw.into_bytes());
    assert_eq!(message.attachments.len(), MAX_PARTS - 1);
    assert!(message.attachments.iter().all(|a| a.content == [0]));
}

#[test]
fn pages_without_end() {
    let head = "Content-Type: text/html; charset=utf-8\n\n";
    for unit in [
        "<",
        "<a ",
        "<a href=",
        "<a href=http://h/a>",
        "<!--",
        "<!-- --!>",
        "<![CDATA[",
        "&",
        "&amp",
        "&#x41;",
        "&#",
        "<script>",
        "<script><!--<script>",
        "<title>",
        "</",
        "</a ",
        "<a b='",
        "\0",
        "<textarea></text",
        "<plaintext>",
        "<base href=http://h/../>",
        "<a href=../x>",
        "<?",
        "<!d ",
        "<meta content=0;url=http://h http-equiv=refresh>",
        "<img srcset=\"a,b,c\">",
        "=\"",
        "<a href=http://h/",
        "<a http://h/ ",
        "<!doctype \"",
        "<style></styl",
        "http://a.b<br>",
        "<p>www.a.b",
    ] {
        readable(&format!("html {unit:?}"), flood(head, unit, ""));
    }
}

#[test]
fn links_without_end() {
    let head = "Content-Type: text/html; charset=utf-8\n\n";
    let srcset = format!("{head}<img srcset=\"");
    readable("srcset", numbered(&srcset, |n| format!("http://h/{n} 1x,")));
    let head_of_link = format!("{head}<a href=\"http://h/");
    let long = readable("long link", flood(&head_of_link, "x", "\">"));
    assert_eq!(long.links[0].len(), MAX_LINK_BYTES);
    let base = format!("{head}<base href='http://h/{}'>", "a/".repeat(240));
    let relative = numbered(&base, |n| format!("<a href='{n}/../x{n}'>"));
    assert_eq!(readable("relative", relative).links.len(), MAX_LINKS);
    let same = flood(&base, "<a href=x>", "");
    assert_eq!(readable("one relative", same).links.len(), 1);
}

#[test]
fn texts_full_of_almost_links() {
    for unit in [
        ":",
        "://",
        "a://",
        "http://",
        "http://a",
        "http://a.b/(",
        "http://a.b/)",
        "http://a@",
        "www.",
        "www.a",
        "www.a.b/)",
        " www.a.b/)",
        ";www.a/_",
        "www.a_",
        "http://_",
        "a.",
        "a_.",
        "://a ",
        "http://a.b/! ",
        "\"http://a.b",
        "'http://a.b/'",
        "http://[",
        "1http://a.b ",
        "@://",
        "http://-",
        ";www.a.b:",
        ";www.a.1",
    ] {
        readable(&format!("text {unit:?}"), flood("\n", unit, ""));
    }
    let many = numbered("\n", |n| format!("http://h.test/{n} www.h.test/{n} "));
    let many = readable("text of links", many);
    assert_eq!(many.links.len(), MAX_LINKS);
}

#[test]
fn odd_bytes_everywhere() {
    let raw = concat!(
        "From: a <a@x.test>\r\nTo: b <b@x.test>\r\nSubject: =?utf-8?q?a?= b\r\n",
        "Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\n--b\r\n",
        "Content-Type: text/html; charset=utf-7\r\nContent-Transfer-Encoding: base64\r\n\r\n",
        "PGEgaHJlZj0iaHR0cDovL2guLy4uL3giPg==\r\n--b\r\nContent-Type: a/b; name*0*=utf-8''%41",
        "\r\nContent-Disposition: attachment; filename=\"=?utf-8?b?YQ==?=\"\r\n\r\nx=\r\n--b--",
    )
    .as_bytes();
    for at in 0..raw.len() {
        for byte in *b"\0\n\r \"()*-<=?\\;:'/\xff" {
            let mut damaged = raw.to_vec();
            damaged[at] = byte;
            parse(&damaged).expect("damaged, but readable");
        }
        parse(&raw[..=at]).expect("cut, but readable");
    }
}
