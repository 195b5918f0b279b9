//! Command lines, each where a sender and where a recipient is awaited.
//!
//! Whatever a line holds, it is answered once, if it does not take what follows it (BDAT). The address that was read from it reads the same
//! when it is sent on as we send it, between brackets.
#![no_main]

use std::iter;

use libfuzzer_sys::fuzz_target;
use shiva::smtp::{MAX_LINE, Transaction};
use shiva_fuzz::dialogue::{hold, is_bdat};
use shiva_fuzz::input::Choices;
use shiva_fuzz::reply;
use shiva_fuzz::settings::Settings;

fuzz_target!(|data: &[u8]| {
    let (choices, lines) = Choices::split(data);
    let settings = Settings::plain(choices);
    for line in lines.split(|&byte| byte == b'\n') {
        is_sender(&settings, line);
        is_recipient(&settings, line);
    }
});

fn is_sender(settings: &Settings<'_>, line: &[u8]) {
    let read = |line: &[u8]| {
        let transaction = transaction(settings, line, b"RCPT TO:<b@example.org>");
        transaction.map(|transaction| transaction.mail_from)
    };
    if let Some(address) = read(line) {
        let again = format!("MAIL FROM:<{address}>");
        assert!(is_too_long(&again) || read(again.as_bytes()) == Some(address));
    }
}

fn is_recipient(settings: &Settings<'_>, line: &[u8]) {
    let read = |line: &[u8]| {
        let transaction = transaction(settings, b"MAIL FROM:<>", line);
        transaction.map(|transaction| transaction.rcpt_to)
    };
    if let Some(addresses) = read(line) {
        let again = format!("RCPT TO:<{}>", addresses[0]);
        assert!(is_too_long(&again) || read(again.as_bytes()) == Some(addresses));
    }
}

/// U+FFFD takes more room than what it stands for.
fn is_too_long(line: &str) -> bool {
    line.len() + 2 > MAX_LINE
}

/// The envelope that two lines and DATA make, if they do.
fn transaction(settings: &Settings<'_>, sender: &[u8], recipient: &[u8]) -> Option<Transaction> {
    let stream = [sender, recipient, b"DATA", b""].join(&b"\r\n"[..]);
    let heard = hold(settings, &stream, iter::once);
    if !heard.closed && !is_bdat(sender) && !is_bdat(recipient) {
        assert_eq!(reply::codes(&heard.output).len(), 4);
    }
    let message = heard.messages.into_iter().next()?;
    Some(message.transaction)
}
