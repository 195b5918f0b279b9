//! Nothing of a recipient's address is left in what is published of a message, and the message
//! stays what it was but for that.

use std::borrow::Cow;
use std::fs;

use proptest::prelude::*;
use shiva::hpfeeds::pseudonym::{Cover, GROWTH_MAX, Key, Pseudonyms};
use shiva::message::{Message, parse};

use crate::rig::Rig;
use crate::shared_messages::{corpora, files};

fn pseudonyms() -> Pseudonyms {
    Pseudonyms::new(&Key::new([42; 32]))
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut word = String::new();
    for group in bytes.chunks(3) {
        let mut bits = [0; 4];
        bits[1..1 + group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes(bits);
        for at in 0..=group.len() {
            word.push(char::from(LETTERS[(bits >> (18 - 6 * at) & 63) as usize]));
        }
    }
    word + ["", "==", "="][bytes.len() % 3]
}

fn hexadecimal(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// What must not be found, in lower case and as it is: spellings of an address that are covered.
fn spellings(address: &str) -> (Vec<String>, Vec<String>) {
    let address = address.to_lowercase();
    let (local, domain) = address.split_once('@').unwrap();
    let lower = vec![
        address.clone(),
        format!("{local}={domain}"),
        format!("{local}=3d{domain}"),
        format!("{local}=40{domain}"),
        format!("{local}%40{domain}"),
        format!("{local}%2540{domain}"),
        format!("{local}&#64;{domain}"),
        format!("{local}&#x40;{domain}"),
        percent(&address).to_lowercase(),
        hexadecimal(&address),
    ];
    // The letters that hold nothing but the address, at each alignment.
    let exact = (0..3).map(|before| {
        let word = base64(&[&b"\0\0"[..before], address.as_bytes()].concat());
        let whole = (before + address.len()) * 8 / 6;
        word[(before * 8usize).div_ceil(6)..whole].to_owned()
    });
    (lower, exact.collect())
}

fn assert_gone(address: &str, from: &[u8], place: &str) {
    let text = String::from_utf8_lossy(from);
    let lower = text.to_lowercase();
    let (any_case, exact) = spellings(address);
    for spelling in any_case {
        assert!(!lower.contains(&spelling), "{spelling} in {place}: {text}");
    }
    for spelling in exact {
        assert!(!text.contains(&spelling), "{spelling} in {place}: {text}");
    }
}

/// What is read in a changed message is what would be covered of the message as it was.
fn assert_same_but_for_addresses(cover: &Cover, before: &Message, after: &Message) {
    assert_eq!(after.subject, cover.text(&before.subject));
    assert_eq!(after.from, cover.text(&before.from));
    assert_eq!(after.headers, cover.headers(&before.headers));
    assert_eq!(after.text, cover.text(&before.text));
    assert_eq!(after.html, cover.text(&before.html));
    let links: Vec<_> = before.links.iter().map(|link| cover.text(link)).collect();
    assert_eq!(after.links, links);
    let parts = |message: &Message| -> Vec<_> {
        let parts = message.attachments.iter();
        parts.map(|part| part.media_type.clone()).collect()
    };
    assert_eq!(parts(after), parts(before));
    for (after, before) in after.attachments.iter().zip(&before.attachments) {
        let content = cover.attachment(&before.media_type, &before.content);
        assert!(after.content == *content, "{}", before.name);
        assert_eq!(after.name, cover.text(&before.name));
    }
}

#[test]
fn real_spam() {
    let Some(directories) = corpora() else { return };
    let mut found = Vec::new();
    for directory in &directories {
        files(directory, &mut found);
    }
    let mut changed = 0;
    for path in &found {
        let raw = fs::read(path).unwrap();
        let mut before = parse(&raw).unwrap();
        // The bytes such a character stands for are another in each charset.
        before.to.retain(|to| !to.contains('\u{fffd}'));
        let cover = pseudonyms().cover(&before.to);
        let covered = cover.raw(&raw);
        let after = parse(&covered).unwrap();
        println!("{}", path.display());
        assert_same_but_for_addresses(&cover, &before, &after);
        let is_address = |to: &&String| to.len() >= 6 && !to.starts_with('@');
        for address in before.to.iter().filter(is_address) {
            for (place, text) in [
                ("subject", &after.subject),
                ("from", &after.from),
                ("headers", &after.headers),
                ("text", &after.text),
                ("html", &after.html),
                ("links", &after.links.join("\n")),
            ] {
                assert_gone(address, text.as_bytes(), place);
            }
            assert_gone(address, &covered, "raw");
        }
        changed += usize::from(covered != raw);
        assert!(
            matches!(cover.raw(&covered), Cow::Borrowed(_)),
            "once is enough"
        );
        let nothing = pseudonyms().cover(&[]);
        assert!(matches!(nothing.raw(&raw), Cow::Borrowed(_)));
    }
    println!("{changed} of {} messages changed", found.len());
    assert!(changed > found.len() / 2, "{changed} of {}", found.len());
}

#[test]
fn the_operator_finds_the_way_there_and_back() {
    let rig = Rig::new();
    let path = rig.path("hpfeeds/pseudonym.key");
    let mut config = fs::read_to_string(rig.path("shiva.conf")).unwrap();
    config.push_str(&format!("[hpfeeds]\npseudonymkey : {}\n", path.display()));
    fs::write(rig.path("shiva.conf"), config).unwrap();
    let failed = |arguments: &[&str]| {
        let output = rig.run("shiva", arguments);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        (
            output.status.code().unwrap(),
            errors,
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let (code, errors, _) = failed(&["pseudonym", ADDRESS]);
    assert_eq!(code, 66);
    assert!(
        errors.contains("pseudonym.key") && errors.contains("analyzer makes"),
        "{errors}"
    );
    let pseudonyms = Pseudonyms::new(&Key::make(&path).unwrap());
    let pseudonym = pseudonyms.address(ADDRESS);
    let shown = rig.ok("shiva", &["pseudonym", ADDRESS, "John.Smith42@EXAMPLE.org"]);
    assert_eq!(
        shown,
        format!("{ADDRESS}\t{pseudonym}\nJohn.Smith42@EXAMPLE.org\t{pseudonym}\n")
    );
    let receiver = rig.receiver();
    let mut client = rig.client();
    let known = ["john.smith42@example.org", "Info@example.org"];
    for (to, body) in known.iter().zip(["one", "two"]) {
        let message = format!("Subject: {body}\r\n\r\n{body}\r\n");
        client.mail("a@example.net", to, message.as_bytes());
    }
    receiver.stop();
    rig.once();
    let info = pseudonyms.address("info@example.org");
    let local = info.split_once('@').unwrap().0.to_uppercase();
    let mut back: Vec<String> = rig
        .ok("shiva", &["pseudonym", "--reverse", &pseudonym, &local])
        .lines()
        .map(str::to_owned)
        .collect();
    back.sort();
    assert_eq!(
        back,
        [
            format!("Info@example.org\t{info}"),
            format!("{ADDRESS}\t{pseudonym}")
        ]
    );
    let unknown = pseudonyms.address("nobody@example.org");
    let (code, errors, out) = failed(&["pseudonym", "--reverse", &unknown, &pseudonym]);
    assert_eq!((code, out), (66, format!("{ADDRESS}\t{pseudonym}\n")));
    assert!(errors.contains(&unknown), "{errors}");
    let (code, errors, _) = failed(&["pseudonym", "--reverse", ADDRESS]);
    assert_eq!(code, 64);
    assert!(errors.contains("no pseudonym"), "{errors}");
}

const ADDRESS: &str = "john.smith42@example.org";

/// `{J}` stands for the pseudonym, `{j}` and `{d}` for what is before and behind its `@`.
fn filled(text: &str) -> String {
    let pseudonym = pseudonyms().address(ADDRESS);
    let (local, domain) = pseudonym.split_once('@').unwrap();
    text.replace("{J}", &pseudonym)
        .replace("{j}", local)
        .replace("{d}", domain)
}

#[test]
fn a_newsletter_in_every_disguise() {
    let mail = |address: &str, local: &str, domain: &str| {
        let word = base64(format!("id=7&to={address}").as_bytes());
        let word = word.trim_end_matches('=');
        let encoded = base64(format!("Gru\u{df} an {local}").as_bytes());
        format!(
            "Return-Path: <bounce-7-{local}={domain}@list.test>\r\n\
             Delivered-To: {address}\r\n\
             Received: from mx.test (mx.test [192.0.2.1])\r\n\tby mail.test for <{address}>;\r\n\
             \tFri, 1 Mar 2024 10:00:00 +0000\r\n\
             From: \"Shop\" <shop@shop.test>\r\n\
             To: \"{address}\" <{address}>\r\n\
             Cc: {address}, other@example.net\r\n\
             Subject: =?utf-8?B?{encoded}?=\r\n\
             List-Unsubscribe: <http://l.test/?u={local}%40{domain}>,\r\n <mailto:u+{local}={domain}@l.test>\r\n\
             MIME-Version: 1.0\r\n\
             Content-Type: multipart/alternative; boundary=\"--=_{address}\"\r\n\r\n\
             ----=_{address}\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
             Dear {local},=20\r\nyour address is {local}=40{domain}. Caf=C3=A9.\r\n\
             ----=_{address}\r\n\
             Content-Type: text/html; charset=iso-8859-1\r\n\r\n\
             <a href=\"http://l.test/c/{word}/x?e={local}%40{domain}&amp;f=1\">{local}&#64;{domain}</a>\r\n\
             ----=_{address}--\r\n"
        )
    };
    let (local, domain) = ADDRESS.split_once('@').unwrap();
    let cover = pseudonyms().cover(&[ADDRESS.to_owned()]);
    let raw = mail(ADDRESS, local, domain);
    let covered = cover.raw(raw.as_bytes());
    let expected = mail(&filled("{J}"), &filled("{j}"), &filled("{d}"));
    assert_eq!(String::from_utf8_lossy(&covered), expected);
}

#[test]
fn bodies_in_base64_utf16_and_messages_in_messages() {
    let cover = pseudonyms().cover(&[ADDRESS.to_owned()]);
    let lines = |bytes: &[u8]| {
        let word = base64(bytes);
        let lines: Vec<_> = word.as_bytes().chunks(60).collect();
        String::from_utf8(lines.join(&b"\r\n"[..])).unwrap() + "\r\n"
    };
    let part = |kind: &str, bytes: &[u8]| {
        let body = lines(bytes);
        format!("Content-Type: {kind}\r\nContent-Transfer-Encoding: base64\r\n\r\n{body}")
    };
    let utf16 = |text: &str| -> Vec<u8> {
        let units = text.encode_utf16();
        units.flat_map(u16::to_le_bytes).collect()
    };
    let mail = |address: &str| {
        let text = format!("{}\u{e9} {address}!\r\n", "filler ".repeat(20));
        let inner = part("text/html", text.as_bytes());
        [
            part("text/plain; charset=utf-8", text.as_bytes()),
            part("text/plain; charset=utf-16le", &utf16(&text)),
            part(
                "message/rfc822",
                format!("To: {address}\r\n{inner}").as_bytes(),
            ),
            part("application/octet-stream", text.as_bytes()),
        ]
    };
    let (before, after) = (mail(ADDRESS), mail(&filled("{J}")));
    for (before, after) in before.iter().zip(&after) {
        let covered = cover.raw(before.as_bytes());
        assert_eq!(String::from_utf8_lossy(&covered), *after);
    }
    let whole = |parts: &[String]| {
        let parts: String = parts
            .iter()
            .map(|part| format!("--b\r\n{part}\r\n"))
            .collect();
        format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{parts}--b--\r\n")
    };
    let covered = cover.raw(whole(&before).as_bytes()).into_owned();
    assert_eq!(String::from_utf8_lossy(&covered), whole(&after));
    // What is no text stays, whatever is in it.
    let binary = part("image/png", format!("\0{ADDRESS}").as_bytes());
    assert!(matches!(cover.raw(binary.as_bytes()), Cow::Borrowed(_)));
}

#[test]
fn a_body_that_is_said_to_be_base64_and_is_not() {
    let cover = pseudonyms().cover(&[ADDRESS.to_owned()]);
    let raw = format!("Content-Transfer-Encoding: base64\n\nwrite to {ADDRESS}\n");
    assert_gone(ADDRESS, &cover.raw(raw.as_bytes()), "raw");
}

#[test]
fn a_message_that_cannot_be_read_is_covered_too() {
    let cover = pseudonyms().cover(&[ADDRESS.to_owned()]);
    let deep = "Content-Type: message/rfc822\n\n".repeat(200);
    let raw = format!("To: {ADDRESS}\n{deep}{ADDRESS} john.smith42=40example.org");
    assert!(parse(raw.as_bytes()).is_err());
    let covered = cover.raw(raw.as_bytes());
    let expected = filled(&format!("To: {{J}}\n{deep}{{J}} {{j}}=40{{d}}"));
    assert_eq!(String::from_utf8_lossy(&covered), expected);
}

/// A spelling of an address that is covered, by number.
fn spelled(address: &str, how: usize) -> String {
    let (local, domain) = address.split_once('@').unwrap();
    match how {
        0 => address.to_owned(),
        1 => address.to_uppercase(),
        2 => format!("<{address}>"),
        3 => format!("bounce-{local}={domain}@list.test"),
        4 => format!("http://h.test/?e={local}%40{domain}"),
        5 => format!("http://h.test/{}/x", percent(address)),
        6 => format!("http://h.test/?e={local}%2540{domain}&f"),
        7 => format!("{local}&#64;{domain}"),
        8 => format!("{local}&#x40;{domain}"),
        9 => format!("/u/{}/x", base64(address.as_bytes()).trim_end_matches('=')),
        10 => format!(
            "?t={}&x",
            base64(format!("id=1&e={address}&y=2").as_bytes())
        ),
        11 => format!("?h={}", hexadecimal(address)),
        12 => format!(
            "=?utf-8?B?{}?=",
            base64(format!("Hi {address}!").as_bytes())
        ),
        _ => format!("=?utf-8?Q?{}=40{domain}?=", local.replace('_', "=5F")),
    }
}

const SPELLINGS: usize = 14;

/// A header block and a body in a transfer encoding, with `text` in both.
fn mail(text: &[String], encoding: usize) -> Vec<u8> {
    let text = text.join(" ");
    let header = format!("X-Header: {text}\r\nSubject: {text}\r\nContent-Type: text/html\r\n");
    let (name, body) = match encoding {
        0 => ("8bit", text),
        1 => ("base64", base64(text.as_bytes())),
        _ => {
            let escaped = text.bytes().enumerate().map(|(at, byte)| match byte {
                b'=' => "=3D".to_owned(),
                // Soft line breaks wherever they fall.
                byte if at % 30 == 29 => format!("{}=\r\n", char::from(byte)),
                byte => char::from(byte).to_string(),
            });
            ("quoted-printable", escaped.collect())
        }
    };
    format!("{header}Content-Transfer-Encoding: {name}\r\n\r\n{body}\r\n").into_bytes()
}

fn words() -> impl Strategy<Value = Vec<String>> {
    let word = prop_oneof![
        "[a-zA-Z]{1,12}",
        "[!-~]{1,20}",
        Just("http://h.test/?a=1&b=2".to_owned()),
        Just("<b>\"x\"</b>".to_owned()),
    ];
    prop::collection::vec(word, 0..12)
}

proptest! {
    #[test]
    fn no_spelling_of_a_recipient_is_left(
        addresses in prop::collection::vec("[a-z][a-z0-9.+_-]{0,14}[a-z0-9]@[a-z][a-z0-9-]{0,8}[a-z0-9]\\.(org|co\\.uk)", 1..5),
        mut text in words(),
        places in prop::collection::vec((any::<usize>(), any::<usize>(), 0..SPELLINGS), 1..6),
        encoding in 0usize..3,
    ) {
        let mut used = Vec::new();
        for (place, which, how) in places {
            let address = &addresses[which % addresses.len()];
            text.insert(place % (text.len() + 1), spelled(address, how));
            used.push(address);
        }
        let raw = mail(&text, encoding);
        let cover = pseudonyms().cover(&addresses);
        let covered = cover.raw(&raw);
        let after = parse(&covered).unwrap();
        for address in used {
            if encoding != 1 {
                assert_gone(address, &covered, "raw");
            }
            assert_gone(address, after.headers.as_bytes(), "headers");
            assert_gone(address, after.subject.as_bytes(), "subject");
            assert_gone(address, after.html.as_bytes(), "html");
        }
        prop_assert!(covered.len() <= GROWTH_MAX * raw.len());
        prop_assert!(matches!(cover.raw(&covered), Cow::Borrowed(_)));
        let nobody = pseudonyms().cover(&["nobody.here7@nowhere.test".to_owned()]);
        prop_assert_eq!(&*nobody.raw(&raw), &*raw);
    }

    #[test]
    fn any_bytes_are_covered_without_a_panic(
        raw in prop::collection::vec(any::<u8>(), 0..2_000),
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "Content-Type: multipart/mixed; boundary=ab.c42\n\n", "--ab.c42\n", "--ab.c42--\n",
                "Content-Type: message/rfc822\n", "Content-Transfer-Encoding: base64\n",
                "Content-Transfer-Encoding: quoted-printable\n", "Content-Type: text/html; charset=utf-16\n",
                "\n", "\r\n ", "=\r\n", "=?utf-8?B?", "=?utf-8?q?", "?=", "=40", "%40", "%25", "&#64;", "&#x",
                "ab.c42@x.org", "AB.C42", "x.org", "@", "=", " at ", "YWIuYzQyQHgub3Jn", "61", "\\u0040", "\u{e9}",
            ]),
            0..60,
        ),
    ) {
        let cover = pseudonyms().cover(&["ab.c42@x.org".to_owned(), "\u{e9}@x.org".to_owned()]);
        let raw = [&raw[..], pieces.concat().as_bytes(), &raw[..raw.len() / 2]].concat();
        let pieces = pieces.concat();
        let _ = cover.raw(&raw);
        let covered = cover.raw(pieces.as_bytes()).into_owned();
        prop_assert!(covered.len() <= GROWTH_MAX * pieces.len().max(1));
        prop_assert!(cover.text(&pieces).len() <= 7 * pieces.len());
        let _ = cover.headers(&pieces);
        let _ = cover.text(&pieces);
        let _ = cover.attachment("text/plain", &raw);
        prop_assert!(!cover.text(&pieces).to_lowercase().contains("ab.c42@x.org"));
        prop_assert!(!String::from_utf8_lossy(&covered).to_lowercase().contains("ab.c42@x.org"));
    }
}
