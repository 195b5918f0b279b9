//! Nothing of a recipient's address is left in what is published of a message, and the message
//! stays what it was but for that.

use std::borrow::Cow;
use std::fs;

use proptest::prelude::*;
use shiva::hpfeeds::pseudonym::{Cover, GROWTH_MAX, Key, Pseudonyms};
use shiva::message::{Message, parse};

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
