//! The mail that a notice becomes: plain ASCII, CRLF line ends, no line longer than [`WIDTH`].
//!
//! Header fields are made of the configuration and of our own words. What was reported stands in
//! the body, escaped, and can neither end a line nor begin a field.

use std::fmt::Write;

use super::notices::{EVERY, Kind, Notice};
use crate::config;
use crate::escape;

/// Columns of the body.
const WIDTH: usize = 72;

/// Columns of its captions.
const CAPTION: usize = 11;

/// A mail, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// The sender of the envelope; empty, so that nothing bounces, where none is configured.
    pub sender: String,
    /// The recipient of the envelope.
    pub recipient: String,
    /// Header and body.
    pub message: String,
}

/// What is said about a kind.
struct Words {
    subject: &'static str,
    happened: &'static str,
    shiva: &'static str,
    operator: &'static str,
}

fn words(kind: Kind) -> Words {
    match kind {
        Kind::Undeliverable => Words {
            subject: "a message could not be read",
            happened: "A message could not be read and was set aside as undeliverable.",
            shiva: "It keeps the message byte for byte under undeliverable_path, with the reason \
                    beside it, counts it, and goes on.",
            operator: "Look at the reason. If messages of one kind come again and again, report \
                       it as a fault of SHIVA.",
        },
        Kind::DatabaseGone => Words {
            subject: "the database is gone",
            happened: "The database has been out of reach for five minutes or longer.",
            shiva: "It takes mail as before, keeps it in the queue, and tries the database again \
                    every few seconds. Nothing is lost.",
            operator: "See that the database server runs and lets the analyzer in. shiva(7) \
                       says more under TROUBLESHOOTING.",
        },
        Kind::DiskNearlyFull => Words {
            subject: "a disk is nearly full",
            happened: "A disk that SHIVA writes to is nearly full.",
            shiva: "It goes on as long as there is room. Then the receiver takes no more mail \
                    (452), and the analyzer waits. Nothing is lost.",
            operator: "Make room, or move a directory to a larger disk. shiva(7) says more under \
                       TROUBLESHOOTING.",
        },
        Kind::BrokerRefuses => Words {
            subject: "the hpfeeds broker refuses us",
            happened: "The hpfeeds broker refuses our credentials.",
            shiva: "It keeps what is to be published on disk and tries again. Analysis goes on.",
            operator: "Compare ident and secret of [hpfeeds] with what the broker's \
                       administrator gave you.",
        },
    }
}

/// The mail of a notice.
pub fn compose(notice: &Notice, config: &config::Notification) -> Mail {
    let host = host_name(&config.host);
    let from = match config.sender.as_str() {
        "" => format!("shiva@{host}"),
        sender => sender.to_owned(),
    };
    let words = words(notice.kind);
    let (seconds, micros) = (notice.at.seconds(), notice.at.subsecond_micros());
    let fields = [
        ("From", format!("SHIVA <{from}>")),
        ("To", config.recipient.clone()),
        ("Subject", format!("SHIVA on {host}: {}", words.subject)),
        ("Date", notice.at.mail_date()),
        (
            "Message-ID",
            format!("<{seconds}.{micros}.{}@{host}>", notice.kind.name()),
        ),
        ("Auto-Submitted", "auto-generated".to_owned()),
        ("MIME-Version", "1.0".to_owned()),
        ("Content-Type", "text/plain; charset=us-ascii".to_owned()),
    ];
    let mut message = String::new();
    for (name, value) in fields {
        let _ = write!(message, "{name}: {value}\r\n");
    }
    for line in body(notice, &words, config) {
        message.push_str("\r\n");
        message.push_str(&line);
    }
    message.push_str("\r\n");
    Mail {
        sender: config.sender.clone(),
        recipient: config.recipient.clone(),
        message,
    }
}

/// The lines of the body.
fn body(notice: &Notice, words: &Words, config: &config::Notification) -> Vec<String> {
    let held_back = match (notice.held_back, notice.last) {
        (0, _) => "none".to_owned(),
        (count, None) => format!("{count} more"),
        (count, Some(last)) => {
            format!(
                "{count} more since the last notice, {}",
                last.rfc3339_seconds()
            )
        }
    };
    let minutes = EVERY.as_secs() / 60;
    let mut lines = wrapped("", words.happened);
    for (caption, value) in [
        ("", ""),
        ("What:", notice.detail.as_str()),
        ("When:", &notice.at.rfc3339_seconds()),
        ("Host:", &config.host),
        ("Analyzer:", &config.analyzer),
        ("Held back:", &held_back),
        ("", ""),
    ] {
        lines.extend(wrapped(caption, value));
    }
    lines.extend(wrapped("", &format!("What SHIVA does: {}", words.shiva)));
    lines.push(String::new());
    lines.extend(wrapped("", &format!("What you can do: {}", words.operator)));
    lines.push(String::new());
    let rarely = format!(
        "Of each kind at most one notice in {minutes} minutes is mailed. All of them are in the \
         log (journalctl -u shiva-analyzer). [notification] in shiva.conf(5) turns notices off."
    );
    lines.extend(wrapped("", &rarely));
    lines
}

/// A text as lines of ASCII, the first led by the caption and the others by as much space. Words
/// longer than a line are broken.
fn wrapped(caption: &str, text: &str) -> Vec<String> {
    let indent = if caption.is_empty() { 0 } else { CAPTION };
    let mut lines = Vec::new();
    let mut line = format!("{caption:indent$}");
    let text = ascii(text);
    for word in text.split_ascii_whitespace() {
        if line.len() > indent && line.len() + word.len() > WIDTH {
            lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
        }
        for c in word.chars() {
            if line.len() == WIDTH {
                lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
            }
            line.push(c);
        }
        line.push(' ');
    }
    lines.push(line);
    for line in &mut lines {
        line.truncate(line.trim_end().len());
    }
    lines
}

/// One line of printable ASCII.
fn ascii(text: &str) -> String {
    let mut out = String::new();
    for c in escape::line(text).chars() {
        match c {
            c if c.is_ascii() => out.push(c),
            c => _ = write!(out, "{}", c.escape_unicode()),
        }
    }
    out
}

/// The machine's name, fit for an address and a header.
fn host_name(host: &str) -> String {
    let fit = |c: char| {
        if c.is_ascii_alphanumeric() || c == '.' {
            c
        } else {
            '-'
        }
    };
    let name: String = host.chars().map(fit).collect();
    match name.trim_matches(['-', '.']) {
        "" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timestamp::Timestamp;

    fn config() -> config::Notification {
        config::Notification {
            enabled: true,
            sender: String::new(),
            recipient: "me@example.net".into(),
            host: "trap.example".into(),
            analyzer: "first".into(),
        }
    }

    fn notice(detail: &str) -> Notice {
        Notice {
            kind: Kind::Undeliverable,
            at: Timestamp::from_seconds(1_800_003_600, 5),
            detail: detail.into(),
            held_back: 3,
            last: Some(Timestamp::from_seconds(1_800_000_000, 0)),
        }
    }

    #[test]
    fn the_mail_says_all_an_operator_needs() {
        let mail = compose(&notice("1.x: the message is empty"), &config());
        assert_eq!(mail.sender, "");
        assert_eq!(mail.recipient, "me@example.net");
        assert_eq!(
            mail.message.lines().collect::<Vec<_>>(),
            [
                "From: SHIVA <shiva@trap.example>",
                "To: me@example.net",
                "Subject: SHIVA on trap.example: a message could not be read",
                "Date: Fri, 15 Jan 2027 09:00:00 +0000",
                "Message-ID: <1800003600.5.undeliverable@trap.example>",
                "Auto-Submitted: auto-generated",
                "MIME-Version: 1.0",
                "Content-Type: text/plain; charset=us-ascii",
                "",
                "A message could not be read and was set aside as undeliverable.",
                "",
                "What:      1.x: the message is empty",
                "When:      2027-01-15T09:00:00Z",
                "Host:      trap.example",
                "Analyzer:  first",
                "Held back: 3 more since the last notice, 2027-01-15T08:00:00Z",
                "",
                "What SHIVA does: It keeps the message byte for byte under",
                "undeliverable_path, with the reason beside it, counts it, and goes on.",
                "",
                "What you can do: Look at the reason. If messages of one kind come again",
                "and again, report it as a fault of SHIVA.",
                "",
                "Of each kind at most one notice in 60 minutes is mailed. All of them are",
                "in the log (journalctl -u shiva-analyzer). [notification] in",
                "shiva.conf(5) turns notices off.",
            ]
        );
    }

    #[test]
    fn every_kind_has_its_words_and_the_sender_is_the_operators() {
        let config = config::Notification {
            sender: "trap@example.org".into(),
            ..config()
        };
        let mut subjects = Vec::new();
        for kind in Kind::ALL {
            let mail = compose(&Notice { kind, ..notice("") }, &config);
            assert_eq!(mail.sender, "trap@example.org");
            assert!(
                mail.message
                    .starts_with("From: SHIVA <trap@example.org>\r\n")
            );
            let subject = mail.message.lines().nth(2).unwrap().to_owned();
            assert!(!subjects.contains(&subject), "{subject}");
            subjects.push(subject);
        }
    }

    #[test]
    fn a_stranger_writes_no_header_and_no_line() {
        let hostile = [
            "x\r\n\r\nBcc: you@example.com\r\n.\r\nMAIL FROM:<>",
            "\u{202e}\u{1b}[2J\0\u{85}\u{2028}gr\u{fc}\u{df}e \u{1f600}",
            &"w".repeat(2000),
            &"\u{fc}".repeat(500),
        ];
        let innocent = compose(&notice(""), &config()).message;
        let (innocent, _) = innocent.split_once("\r\n\r\n").unwrap();
        for detail in hostile {
            let mail = compose(&notice(detail), &config());
            let (header, body) = mail.message.split_once("\r\n\r\n").unwrap();
            assert_eq!(header, innocent);
            assert!(body.is_ascii(), "{body}");
            for line in body.split_inclusive("\r\n") {
                let line = line.strip_suffix("\r\n").unwrap();
                assert!(line.len() <= WIDTH, "{line}");
                assert!(!line.contains(|c: char| c.is_control()), "{line}");
                let from_outside = line.starts_with("Bcc") || line.starts_with('.');
                assert!(!from_outside, "{line}");
            }
        }
    }

    #[test]
    fn a_strange_name_of_the_machine_makes_no_header() {
        for (host, name) in [
            ("trap", "trap"),
            ("a b\r\nBcc: x", "a-b--Bcc--x"),
            ("-.", "localhost"),
            ("tr\u{e4}p.example", "tr-p.example"),
        ] {
            assert_eq!(host_name(host), name, "{host}");
        }
    }
}
