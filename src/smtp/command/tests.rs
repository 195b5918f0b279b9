//! Which command a line is, and what its arguments say.

use super::*;

fn sender(line: &str) -> Result<Sender<'_>, Answer<'_>> {
    Command::new(line.as_bytes()).sender()
}

fn recipient(line: &str) -> Result<String, Answer<'_>> {
    let recipient = Command::new(line.as_bytes()).recipient();
    recipient.map(|recipient| recipient.address)
}

#[test]
fn verbs() {
    for (line, expected, arguments) in [
        (&b"EHLO a b\r\n"[..], Verb::Ehlo, &b"a b"[..]),
        (b"  quit  \n", Verb::Quit, b""),
        (b"\tNoOp\tx\r\n", Verb::Noop, b"x"),
        (b"HELO x\0y\r\n", Verb::Helo, b"x"),
        (b"\r\n", Verb::Empty, b""),
        (b"\0EHLO\r\n", Verb::Empty, b""),
        (b"HELP\r\n", Verb::Help, b""),
        (b"XYZZY list\r\n", Verb::Unknown, b"list"),
        (b"GET / HTTP/1.1\r\n", Verb::Http, b"/ HTTP/1.1"),
        (b"Subject: x\r\n", Verb::Foreign, b"x"),
        (b"\x16\x03\x01\x02\0\x01\n", Verb::Foreign, b""),
        (b".\r\n", Verb::Foreign, b""),
    ] {
        let command = Command::new(line);
        assert_eq!(
            (command.verb, command.arguments),
            (expected, arguments),
            "{line:?}"
        );
    }
}

/// For the lines that both readers take, it does not matter which one reads them.
#[test]
fn both_readers_agree() {
    for line in [
        "MAIL FROM:<a@b.c>",
        "mail from:<a@b.c> size=12 body=8bitmime",
        "MAIL FROM: <a@b.c> BODY=7BIT SMTPUTF8",
        "MAIL FROM:<a@b.c> RET=HDRS ENVID=x",
        "MAIL FROM:<@x,@y:a@b.c>",
        "MAIL FROM:<jos\u{e9}@b.c> SIZE=0",
    ] {
        let line = format!("{line}\r\n");
        let command = Command::new(line.as_bytes());
        let strict = command.strict_sender();
        assert!(strict.is_some(), "{line}");
        assert_eq!(strict, command.lenient_sender().ok(), "{line}");
    }
    for line in [
        "RCPT TO:<a@b.c>",
        "rcpt to: <a@b.c> notify=success,delay orcpt=rfc822;a@b.c",
    ] {
        let line = format!("{line}\r\n");
        let command = Command::new(line.as_bytes());
        let strict = command.strict_recipient();
        assert!(strict.is_some(), "{line}");
        assert_eq!(strict, command.lenient_recipient().ok(), "{line}");
    }
}

#[test]
fn odd_addresses_are_taken() {
    for (line, expected) in [
        ("MAIL FROM:<>", ""),
        ("MAIL FROM: <>  SIZE=3", ""),
        ("MAIL FROM:a@b", "a@b"),
        ("MAIL FROM:<a>", "a"),
        ("MAIL FROM:<postmaster>", "postmaster"),
        ("MAIL FROM:<\"a b\"@c>", "\"a b\"@c"),
        ("MAIL FROM:<a..b@c>", "a..b@c"),
        ("MAIL FROM:<a@b", "refused"),
    ] {
        let found = sender(line).map_or("refused".into(), |sender| sender.address);
        assert_eq!(found, expected, "{line}");
    }
    assert_eq!(recipient("RCPT TO:a@b").as_deref(), Ok("a@b"));
    let long = format!("RCPT TO:<{}@b>", "a".repeat(1000));
    assert_eq!(recipient(&long).map(|address| address.len()), Ok(1002));
    assert_eq!(recipient("RCPT TO:<>"), Err(Answer::NullRecipient(b"<>")));
    let no_path = |arguments| Err(Answer::NoPath(Verb::Rcpt, arguments));
    assert_eq!(recipient("RCPT a@b"), no_path(b"a@b"));
    assert_eq!(recipient("RCPT TO:"), no_path(b"TO:"));
}

#[test]
fn not_utf8_is_replaced() {
    let command = Command::new(b"RCPT TO:<jos\xe9@b.c>\r\n");
    let recipient = command.recipient().unwrap();
    assert_eq!(recipient.path, b"<jos\xe9@b.c>");
    assert_eq!(recipient.address, "jos\u{fffd}@b.c");
}

#[test]
fn parameters() {
    let size = |line| sender(line).map(|sender| sender.size);
    assert_eq!(size("MAIL FROM:<a@b> SIZE=42"), Ok(Size::Bytes(42)));
    assert_eq!(size("MAIL FROM:a@b SIZE=42"), Ok(Size::Bytes(42)));
    assert_eq!(size("MAIL FROM:<a@b> SIZE=x"), Ok(Size::Junk(b"x")));
    assert_eq!(
        size("MAIL FROM:<a@b> SIZE=99999999999999999999"),
        Ok(Size::Overflow)
    );
    for line in [
        "MAIL FROM:<a@b> BY=3;R",
        "MAIL FROM:<a@b> BODY=BINARYMIME",
        "MAIL FROM:<a@b> foo=\"x",
    ] {
        let parameter = line.split(' ').next_back().unwrap_or_default();
        assert_eq!(
            sender(line),
            Err(Answer::Unsupported(
                Verb::Mail,
                b"<a@b>",
                parameter.as_bytes()
            ))
        );
    }
}
