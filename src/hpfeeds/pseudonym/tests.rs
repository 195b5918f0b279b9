//! Each form an address is covered in, and each it is not.

use super::*;

const ADDRESS: &str = "john.smith42@example.org";
const SHORT: &str = "info@example.org";

fn pseudonyms() -> Pseudonyms {
    Pseudonyms::new(&Key::new([7; 32]))
}

fn cover() -> Cover {
    pseudonyms().cover(&[ADDRESS.to_owned(), SHORT.to_owned()])
}

/// What is expected: `{J}`, `{j}` and `{I}`, `{i}` stand for the pseudonyms of both and what is
/// before their `@`, `{D}` for what is behind it.
fn filled(text: &str) -> String {
    let mut text = text.replace("{D}", "recipient.invalid");
    for (whole, local, address) in [("{J}", "{j}", ADDRESS), ("{I}", "{i}", SHORT)] {
        let pseudonym = pseudonyms().address(address);
        text = text.replace(whole, &pseudonym);
        text = text.replace(local, pseudonym.split_once('@').unwrap().0);
    }
    text
}

fn is(text: &str, expected: &str) {
    assert_eq!(cover().text(text), filled(expected), "{text}");
}

#[test]
fn a_pseudonym_is_the_same_for_the_same_mailbox_and_key() {
    let one = pseudonyms();
    let pseudonym = one.address(ADDRESS);
    // Whoever changes this gives every address of every installation another pseudonym.
    assert_eq!(pseudonym, "p-5czs3zt6qwmlrktr@recipient.invalid");
    assert_eq!(pseudonym.len(), LENGTH);
    assert_eq!(one.address("<John.Smith42@Example.ORG.>"), pseudonym);
    assert_ne!(one.address(SHORT), pseudonym);
    assert_ne!(one.address(""), one.address("postmaster"));
    let other = Pseudonyms::new(&Key::new([8; 32]));
    assert_ne!(other.address(ADDRESS), pseudonym);
}

#[test]
fn a_list_has_each_pseudonym_once_and_says_nothing_by_its_order() {
    let known: Vec<String> = (0..20).map(|n| format!("{n:02}@example.org")).collect();
    let list = pseudonyms().list(&known);
    assert!(list.is_sorted() && list.len() == known.len());
    let twice = [ADDRESS.to_owned(), ADDRESS.to_uppercase()];
    assert_eq!(pseudonyms().list(&twice), [pseudonyms().address(ADDRESS)]);
}

#[test]
fn pseudonyms_are_recognised() {
    let pseudonym = pseudonyms().address(ADDRESS);
    let local = pseudonym.split_once('@').unwrap().0;
    for text in [
        &pseudonym,
        local,
        &pseudonym.to_uppercase(),
        " p-AAAAaaaa22227777 ",
    ] {
        let normal = normal::form(text);
        let normal = normal.strip_suffix(DOMAIN).unwrap_or(&normal);
        assert_eq!(recognised(text), Some(format!("{normal}{DOMAIN}")));
    }
    for text in [
        "",
        "p-",
        ADDRESS,
        "p-aaaaaaaaaaaaaaa1",
        "p-aaaaaaaaaaaaaaa",
        "p-aaaaaaaaaaaaaaaa@x",
    ] {
        assert_eq!(recognised(text), None, "{text}");
    }
}

#[test]
fn base32_is_that_of_the_rfc() {
    let encoded = |text: &str| base32(text.as_bytes()).collect::<String>();
    assert_eq!(encoded("fooba"), "mzxw6ytb");
    assert_eq!(encoded("foobar"), "mzxw6ytboi"[..9]);
}

#[test]
fn plain() {
    for (text, expected) in [
        ("john.smith42@example.org", "{J}"),
        ("JOHN.Smith42@Example.Org", "{J}"),
        (
            "<info@example.org>, \"info@example.org\" <x@y>",
            "<{I}>, \"{I}\" <x@y>",
        ),
        ("mailto:info@example.org?subject=x", "mailto:{I}?subject=x"),
        ("Hi info@example.org.\nBye", "Hi {I}.\nBye"),
        ("info@example.orgClick", "{I}Click"),
        (
            "\u{60a8}\u{597d}info@example.org\u{ff0c}",
            "\u{60a8}\u{597d}{I}\u{ff0c}",
        ),
        ("info@example.org,john.smith42@example.org", "{I},{J}"),
        ("info@example.orginfo@example.org", "{I}{I}"),
        ("dearjohn.smith42@example.org", "dear{J}"),
        (
            "bounce-info=example.org@list.test",
            "bounce-{i}={D}@list.test",
        ),
        (
            "bounces+1-john.smith42=example.org@m.test",
            "bounces+1-{j}={D}@m.test",
        ),
        ("info%example.org@relay.test", "{i}%{D}@relay.test"),
        ("info at example.org", "{i} at {D}"),
        (
            "info (AT) example.org, info[at]example.org",
            "{i} (AT) {D}, {i}[at]{D}",
        ),
        ("\"info\"@example.org", "\"{i}\"@{D}"),
    ] {
        is(text, expected);
    }
}

#[test]
fn the_local_part_alone() {
    for (text, expected) in [
        ("Dear john.smith42,", "Dear {j},"),
        ("Dear JOHN.SMITH42!", "Dear {j}!"),
        ("?n=john.smith42&x", "?n={j}&x"),
        ("/u/john%2esmith42/", "/u/{j}/"),
        ("john.smith42@other.test", "{j}@other.test"),
    ] {
        is(text, expected);
    }
}

#[test]
fn in_links() {
    for (link, expected) in [
        (
            "http://h.test/?e=john.smith42%40example.org",
            "http://h.test/?e={j}%40{D}",
        ),
        (
            "http://h.test/?e=john.smith42%2540example%252Eorg&x=1",
            "http://h.test/?e={j}%2540{D}&x=1",
        ),
        (
            "http://h.test/%69NFO%40%65xample.org/",
            "http://h.test/{i}%40{D}/",
        ),
        (
            "http://h.test/?e&#61;info&#x40;example&period;org",
            "http://h.test/?e&#61;{i}&#x40;{D}",
        ),
        (
            "http://h.test/?e=info&commat;example.org",
            "http://h.test/?e={i}&commat;{D}",
        ),
        (
            "http://h.test/?e=info&amp;#64;example.org",
            "http://h.test/?e={i}&amp;#64;{D}",
        ),
        (
            "http://h.test/u/info=example.org",
            "http://h.test/u/{i}={D}",
        ),
        ("http://h.test/#info@example.org", "http://h.test/#{I}"),
        (
            "http://info@example.org:80@h.test/",
            "http://{I}:80@h.test/",
        ),
        (
            r#"{"e":"info\u0040example.org"}"#,
            r#"{"e":"{i}\u0040{D}"}"#,
        ),
    ] {
        is(link, expected);
    }
}

fn base64(text: &str) -> String {
    use crate::message::Rewriter;
    struct Whole(String);
    impl Rewriter for Whole {
        fn text(&self, text: &[u8]) -> Option<Vec<u8>> {
            text.starts_with(b"x").then(|| self.0.clone().into_bytes())
        }
    }
    let mail = b"Content-Transfer-Encoding: base64\n\neHh4";
    let mail = message::rewrite(mail, &Whole(text.to_owned())).unwrap();
    String::from_utf8(mail).unwrap().split_off(35)
}

#[test]
fn in_base64_and_hexadecimal_words_of_links() {
    for before in ["", ":", "1:", "id=", "{\"e\":\""] {
        for after in ["", "&", "&x", "\"}."] {
            let plain = format!("{before}info@example.org{after}");
            // 16 bytes become 36: a dot keeps what follows in its place.
            let covered = filled(&[before, "{I}.", after].concat());
            let (word, expected) = (base64(&plain), base64(&covered));
            is(
                &format!("http://h.test/u/{word}"),
                &format!("http://h.test/u/{expected}"),
            );
            let bare = |word: &str| {
                word.trim_end_matches('=')
                    .replace('+', "-")
                    .replace('/', "_")
            };
            is(
                &format!("http://h.test/{}/x", bare(&word)),
                &format!("http://h.test/{}/x", bare(&expected)),
            );
            let escaped = |word: &str| word.replace('=', "%3D");
            is(
                &format!("?t={}&x", escaped(&word)),
                &format!("?t={}&x", escaped(&expected)),
            );
            let digits = |text: &str| {
                text.bytes()
                    .map(|byte| format!("{byte:02x}"))
                    .collect::<String>()
            };
            let covered = filled(&[before, "{I}", after].concat());
            is(
                &format!("?h={}", digits(&plain)),
                &format!("?h={}", digits(&covered)),
            );
        }
    }
    let inner = base64("e=info%40example.org");
    is(&inner, &base64(&filled("e={i}%40{D}.")));
}

#[test]
fn what_stays() {
    for text in [
        "",
        "info",
        "Dear Info, our sales at example.org",
        "info@example.net",
        "info@sub.example.org",
        "newsinfo@example.org",
        "example.org",
        "xjohn.smith42x",
        "john.smith4",
        "smith42",
        "johnxsmith42",
        "info&#9999999964;example.org",
        "bmV3c2xldHRlciBpbmZvQGV4YW1wbGUubmV0",
        "5d41402abc4b2a76b9719d911017c592",
    ] {
        let covered = cover().text(text).into_owned();
        assert_eq!(covered, text);
    }
}

#[test]
fn which_local_parts_tell_a_mailbox() {
    let covered = |address: &str, text: &str| {
        let cover = pseudonyms().cover(&[address.to_owned()]);
        cover.text(text) != text
    };
    for local in ["john.smith", "user_x", "abc123"] {
        assert!(covered(&format!("{local}@x.test"), local), "{local}");
    }
    for local in ["johnsmith", "a.b42", "123456789", "base64", "a-long-name"] {
        let address = format!("{local}@x.test");
        assert!(!covered(&address, local), "{local}");
        assert!(covered(&address, &address), "{local}");
    }
}

#[test]
fn addresses_that_are_none_replace_nothing() {
    let odd = ["", "@", "a@b", "root", "@example.org", "info@", "\u{fffd}"].map(str::to_owned);
    let cover = pseudonyms().cover(&odd);
    for text in ["a@b @example.org info@ root \u{fffd} @", "root"] {
        assert!(matches!(cover.text(text), Cow::Borrowed(_)));
    }
}

#[test]
fn the_longer_of_two_addresses_counts() {
    let known = ["b.c@x.test", "a-b.c@x.test", "a-b.c@x.test.org"].map(str::to_owned);
    let cover = pseudonyms().cover(&known);
    for address in &known {
        assert_eq!(cover.text(address), pseudonyms().address(address));
    }
}
