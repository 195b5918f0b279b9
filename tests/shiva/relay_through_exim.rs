//! `relay::delivery` through a real exim4: what it writes to files, and that no bounce comes of it.

use std::fs;
use std::path::{Path, PathBuf};

use shiva::relay::delivery::{Mail, Outcome};
use shiva::relay::smuggling::smuggles;

use crate::relay_delivery::{PATIENT, awkward, delivery, to};
use crate::relay_exim::Exim;
use crate::rig::Client;

/// The message as exim4 writes it: lines end in LF, and the last one ends. To a message whose first
/// line ends in CRLF a bare LF is no line end: Debian's exim4 makes a space of it. In any other it is
/// one, and a dot behind it counts as stuffed: it goes.
fn in_a_file(message: &[u8]) -> Vec<u8> {
    let first = memchr::memchr(b'\n', message).and_then(|end| message.get(..end));
    let bare_lf = match first.is_some_and(|line| line.ends_with(b"\r")) {
        true => b' ',
        false => b'\n',
    };
    let mut lines = Vec::with_capacity(message.len() + 1);
    let mut before = b'\0';
    for &byte in message {
        match (before, byte) {
            (b'\r', b'\n') => {} // written with the CR
            (b'\n', b'.') if bare_lf == b'\n' => {}
            (_, b'\n') => lines.push(bare_lf),
            (_, b'\r') => lines.push(b'\n'),
            (_, byte) => lines.push(byte),
        }
        before = byte;
    }
    if !message.ends_with(b"\r\n") {
        lines.push(b'\n');
    }
    lines
}

/// Whether the one is the other with an empty line in it: exim4 puts one where it finds that headers
/// and body are not apart.
fn has_a_line_more(arrived: &[u8], sent: &[u8]) -> bool {
    let same = arrived.iter().zip(sent).take_while(|(a, b)| a == b).count();
    let (before, after) = sent.split_at(same);
    (before.is_empty() || before.ends_with(b"\n")) && arrived == [before, b"\n", after].concat()
}

/// Relays messages through exim4, each to a recipient of its own, and compares what it wrote.
fn through_exim(messages: &[Vec<u8>]) {
    let exim = Exim::new();
    let mut delivery = delivery(exim.port, PATIENT);
    for (number, message) in messages.iter().enumerate() {
        let to = [format!("m{number:04}@example.com")];
        let mail = Mail {
            from: "forged@example.net",
            to: &to,
            message,
        };
        let outcome = delivery.deliver(&mail);
        let Outcome::Accepted(text) = outcome else {
            panic!("message {number}: {outcome:?}");
        };
        assert!(text.starts_with("OK id="), "{text}");
    }
    delivery.hang_up();
    exim.settle(messages.len());
    let delivered = exim.delivered();
    assert_eq!(delivered.len(), messages.len());
    for (mail, sent) in delivered.iter().zip(messages) {
        assert_eq!(mail.from, "<forged@example.net>");
        let sent = in_a_file(sent);
        let same = mail.message == sent || has_a_line_more(&mail.message, &sent);
        let differs = sent.iter().zip(&mail.message).take_while(|(a, b)| a == b);
        let differs = differs.count();
        let shown = |bytes: &[u8]| {
            let from = differs.saturating_sub(40).min(bytes.len());
            let near = bytes[from..].iter().take(80).copied();
            near.flat_map(std::ascii::escape_default)
                .map(char::from)
                .collect::<String>()
        };
        let (sent, arrived) = (shown(&sent), shown(&mail.message));
        assert!(
            same,
            "{} at {differs}: sent {sent}, arrived {arrived}",
            mail.to
        );
    }
}

#[test]
fn exim_delivers_awkward_messages_as_they_are() {
    // Where headers and body are not apart, exim4 puts a line between them.
    let has_both = |message: &Vec<u8>| {
        message.starts_with(b"Subject:") && memchr::memmem::find(message, b"\r\n\r\n").is_some()
    };
    let messages: Vec<_> = awkward().into_iter().filter(has_both).collect();
    assert_eq!(messages.len(), 8);
    through_exim(&messages);
}

/// The shared messages, or none where this machine has none (see `shared_messages`).
fn shared() -> Vec<Vec<u8>> {
    let shared = std::env::var_os("SHIVA_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"),
        PathBuf::from,
    );
    let files = crate::rig::files_under(&shared.join("mime"));
    let messages = files
        .iter()
        .filter(|path| path.extension().is_some_and(|it| it == "eml"));
    messages.map(|path| fs::read(path).unwrap()).collect()
}

#[test]
fn exim_delivers_shared_messages_as_they_are() {
    let mut messages = shared();
    if messages.is_empty() {
        let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
        assert!(!ci, "no shared messages");
        println!("no shared messages: nothing tested");
        return;
    }
    messages.retain(|message| !smuggles(message));
    through_exim(&messages);
}

#[test]
fn a_bounce_never_goes_to_a_forged_sender() {
    let recipients = to(&["undeliverable@example.com"]);
    let mail = Mail {
        from: "forged@example.net",
        to: &recipients,
        message: b"Subject: spam\r\n\r\nspam\r\n",
    };
    let relayed = |exim: &Exim| {
        let outcome = delivery(exim.port, PATIENT).deliver(&mail);
        assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
        exim.settle(1);
        exim.delivered()
    };
    // As it comes, exim4 bounces: so this test can fail.
    let bounced = relayed(&Exim::with_bounces());
    assert_eq!(bounced.len(), 1);
    assert_eq!(
        (bounced[0].from.as_str(), bounced[0].to.as_str()),
        ("<>", "forged@example.net")
    );

    // With the package's settings it does not even make one, for it heard NOTIFY=NEVER...
    let exim = Exim::new();
    assert_eq!(relayed(&exim).len(), 0);
    let log = exim.log();
    assert!(log.contains("** undeliverable@example.com"), "{log}");
    assert!(!log.contains(" <= <>"), "{log}");

    // ...and one that it makes all the same goes nowhere.
    let mut client = Client::connect(exim.port);
    let reply = client.mail(mail.from, &recipients[0], mail.message);
    assert!(reply.is_some_and(|reply| reply.starts_with("250")));
    exim.settle(2);
    let log = exim.log();
    assert!(log.contains("=> discarded (system filter)"), "{log}");
    assert_eq!(exim.delivered().len(), 0);

    // A spam that has no sender is no bounce of ours.
    let recipients = to(&["somebody@example.com"]);
    let from = "";
    let outcome = delivery(exim.port, PATIENT).deliver(&Mail {
        from,
        to: &recipients,
        ..mail
    });
    assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
    exim.settle(3);
    assert_eq!(exim.delivered().len(), 1);
}
