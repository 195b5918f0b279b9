//! `relay::delivery` against a sink: what arrives, byte for byte, and what comes of a mail when
//! something goes wrong.

use std::time::Duration;

use shiva::relay::delivery::{Delivery, MAILS_MAX, Mail, Outcome, Timeouts};

use crate::relay_host::{Act, At, Sink};
use crate::rig::free_port;

pub const ALL: &[&str] = &["PIPELINING", "SIZE 50000000", "8BITMIME", "DSN", "SMTPUTF8"];

/// For tests in which nothing may take long.
pub const PATIENT: Timeouts = Timeouts {
    connect: Duration::from_secs(60),
    reply: Duration::from_secs(60),
    mail: Duration::from_secs(120),
    end: Duration::from_secs(60),
};

/// For an answer that never comes.
const HASTY: Timeouts = Timeouts {
    reply: Duration::from_millis(300),
    ..PATIENT
};

/// For an answer to the end of the message that never comes.
const HASTY_END: Timeouts = Timeouts {
    end: Duration::from_millis(300),
    ..PATIENT
};

pub fn delivery(port: u16, timeouts: Timeouts) -> Delivery {
    Delivery::with_timeouts("127.0.0.1", port, "mx.example.net", timeouts)
}

pub fn to(addresses: &[&str]) -> Vec<String> {
    addresses
        .iter()
        .map(|&address| address.to_owned())
        .collect()
}

/// Delivers a message to one recipient.
pub fn deliver(delivery: &mut Delivery, message: &[u8]) -> Outcome {
    let to = to(&["b@example.com"]);
    let from = "a@example.net";
    delivery.deliver(&Mail {
        from,
        to: &to,
        message,
    })
}

pub fn accepted() -> Outcome {
    Outcome::Accepted("OK id=sink".to_owned())
}

pub fn refused(code: u16, text: &str) -> Outcome {
    let text = text.to_owned();
    Outcome::Refused { code, text }
}

/// Messages that are easily altered on the way.
pub fn awkward() -> Vec<Vec<u8>> {
    let mut messages: Vec<Vec<u8>> = [
        &b"Subject: plain\r\n\r\nbody\r\n"[..],
        b"",
        b".",
        b"\r\n",
        b"Subject: header only\r\n",
        b"Subject: no final line end\r\n\r\nbody",
        b"Subject: dots\r\n\r\n.\r\n..\r\n.a\r\n...\r\nb.\r\n.",
        b"Subject: bare\r\n\r\na\nb\rc\n\rd\r\r\ne\n.f\r.g\n\n",
        b"Subject: ends in CR\r\n\r\na\r",
        b"Subject: ends in LF\r\n\r\na\n",
        b"Subject: NUL\r\n\r\na\0b\0\r\n\0",
        b"\xff\xfe: 8-bit\r\n\r\n\xe4\xf6\xfc \xf0\x9f\x98\x80\r\n",
        b".Subject: dot first\r\n\r\n",
        b"QUIT\r\nRSET\r\nMAIL FROM:<x@y>\r\n",
    ]
    .map(<[u8]>::to_vec)
    .to_vec();
    messages.push([&b"Subject: long line\r\n\r\n"[..], &b"x".repeat(200_000)].concat());
    messages.push(b"..\r\n.\r\n".repeat(40_000));
    let lines = (0..200_000u32).flat_map(|n| format!("line {n}\r\n.{n}\n").into_bytes());
    messages.push(lines.collect());
    messages
}

/// The message as it arrives at a server: its last line ends.
fn with_end(message: &[u8]) -> Vec<u8> {
    let ends = message.is_empty() || message.ends_with(b"\r\n");
    [message, if ends { b"" } else { &b"\r\n"[..] }].concat()
}

#[test]
fn messages_arrive_byte_for_byte() {
    for offers in [&[][..], ALL] {
        let sink = Sink::new(offers);
        let mut delivery = delivery(sink.port, PATIENT);
        for message in awkward() {
            assert_eq!(deliver(&mut delivery, &message), accepted());
        }
        let taken: Vec<_> = sink.taken().into_iter().map(|mail| mail.message).collect();
        let sent: Vec<_> = awkward().iter().map(|message| with_end(message)).collect();
        assert!(sent.iter().any(|message| message.len() > 3_000_000));
        for (taken, sent) in taken.iter().zip(&sent) {
            let shown = sent.get(..60).unwrap_or(sent).escape_ascii();
            assert!(taken == sent, "{shown} arrived as {} bytes", taken.len());
        }
        assert_eq!(taken.len(), sent.len());
        let connections = sent.len().div_ceil(MAILS_MAX as usize);
        assert_eq!(sink.connections(), connections);
    }
}

#[test]
fn the_envelope_is_the_spammers_own() {
    let sink = Sink::new(ALL);
    let mut delivery = delivery(sink.port, PATIENT);
    let recipients = to(&["\"b c\"@example.com", "é@example.org", "postmaster"]);
    for from in ["", "a@example.net"] {
        let mail = Mail {
            from,
            to: &recipients,
            message: b"\xe9\r\n",
        };
        assert_eq!(delivery.deliver(&mail), accepted());
    }
    let taken = sink.taken();
    assert_eq!(taken[0].from, "MAIL FROM:<> SIZE=3 BODY=8BITMIME SMTPUTF8");
    assert_eq!(
        taken[1].from,
        "MAIL FROM:<a@example.net> SIZE=3 BODY=8BITMIME SMTPUTF8"
    );
    let said: Vec<_> = recipients
        .iter()
        .map(|address| format!("RCPT TO:<{address}> NOTIFY=NEVER"))
        .collect();
    assert_eq!(taken[1].to, said);
}

#[test]
fn an_envelope_that_cannot_be_said_is_not() {
    let sink = Sink::new(ALL);
    let mut delivery = delivery(sink.port, PATIENT);
    let good = to(&["b@example.com"]);
    let forged = to(&["b@example.com>\r\nRCPT TO:<c@example.com"]);
    for (from, to) in [("a@b> X=<", &good), ("", &forged), ("", &Vec::new())] {
        let outcome = delivery.deliver(&Mail {
            from,
            to,
            message: b"",
        });
        assert!(
            matches!(outcome, Outcome::Refused { code: 553, .. }),
            "{outcome:?}"
        );
    }
    assert_eq!(sink.connections(), 0);
}

/// What comes of a mail to two recipients when one place of the dialogue goes another way.
#[track_caller]
fn comes_of(place: &'static str, act: Act, timeouts: Timeouts) -> [Outcome; 2] {
    [&ALL[1..], ALL].map(|offers| {
        let sink = Sink::with(offers, None, move |_, at| match at {
            At::Command(line) if line.starts_with(place) => act,
            At::Greeting if place == "greeting" => act,
            At::End if place == "end" => act,
            At::Content(taken) if place == "content" && taken > 0 => act,
            _ => Act::Serve,
        });
        let to = to(&["b@example.com", "c@example.com"]);
        // What is to be cut off must be more than fits between the two sockets.
        let lines = if place == "content" { 5_000_000 } else { 5 };
        let message = b"line\r\n".repeat(lines);
        let mail = Mail {
            from: "a@example.net",
            to: &to,
            message: &message,
        };
        let mut delivery = delivery(sink.port, timeouts);
        let outcome = delivery.deliver(&mail);
        let was_accepted = matches!(outcome, Outcome::Accepted(_));
        assert_eq!(
            sink.taken().len(),
            usize::from(was_accepted),
            "{place} {outcome:?}"
        );
        outcome
    })
}

#[test]
fn refusals() {
    let all = "b@example.com 550 5.1.1 no; c@example.com 550 5.1.1 no";
    let some = "OK id=sink (refused: c@example.com 450 later)";
    for (place, act, expected) in [
        (
            "MAIL",
            Act::Say("451 4.3.0 later\r\n"),
            refused(451, "4.3.0 later"),
        ),
        (
            "MAIL",
            Act::SayAndClose("421 too many\r\n"),
            refused(421, "too many"),
        ),
        (
            "MAIL",
            Act::SayAndClose("550 go away\r\n"),
            refused(550, "go away"),
        ),
        ("RCPT", Act::Say("550 5.1.1 no\r\n"), refused(550, all)),
        (
            "RCPT TO:<c",
            Act::Say("450 later\r\n"),
            Outcome::Accepted(some.to_owned()),
        ),
        (
            "DATA",
            Act::Say("452-full\r\n452 disk\r\n"),
            refused(452, "full disk"),
        ),
        (
            "content",
            Act::SayAndClose("552 too big\r\n"),
            refused(552, "too big"),
        ),
        ("end", Act::Say("554 spam\r\n"), refused(554, "spam")),
        (
            "end",
            Act::SayAndClose("421 4.3.2 shutdown\r\n"),
            refused(421, "4.3.2 shutdown"),
        ),
    ] {
        for outcome in comes_of(place, act, PATIENT) {
            assert_eq!(outcome, expected, "{place} {act:?}");
        }
    }
}

#[test]
fn what_breaks_before_the_end_did_not_get_there() {
    let drip = Act::Drip(Duration::from_millis(10));
    for place in ["greeting", "EHLO", "MAIL", "RCPT", "DATA"] {
        for (act, timeouts) in [
            (Act::Close, PATIENT),
            (Act::Silence, HASTY),
            (drip, HASTY),
            (Act::Say("hello\r\n"), PATIENT),
            (Act::Say("250-a\r\n550 b\r\n"), PATIENT),
            (Act::Say("234 what\r\n354 go on\r\n250 OK\r\n"), PATIENT),
        ] {
            for outcome in comes_of(place, act, timeouts) {
                assert!(
                    matches!(outcome, Outcome::Unreached(_)),
                    "{place} {act:?}: {outcome:?}"
                );
            }
        }
    }
    for (place, act) in [
        ("greeting", Act::Say("554 no service\r\n")),
        ("EHLO", Act::Say("421 busy\r\n")),
        ("content", Act::Close),
        ("content", Act::SayAndClose("250 OK already\r\n")),
    ] {
        for outcome in comes_of(place, act, PATIENT) {
            assert!(
                matches!(outcome, Outcome::Unreached(_)),
                "{place} {act:?}: {outcome:?}"
            );
        }
    }
}

#[test]
fn what_breaks_after_the_end_is_unknown() {
    for (act, timeouts) in [
        (Act::Close, PATIENT),
        (Act::Silence, HASTY_END),
        (Act::Drip(Duration::from_millis(10)), HASTY_END),
        (Act::Say("hello\r\n"), PATIENT),
        (Act::Say("354 go on\r\n"), PATIENT),
    ] {
        for outcome in comes_of("end", act, timeouts) {
            assert!(
                matches!(outcome, Outcome::Unknown(_)),
                "{act:?}: {outcome:?}"
            );
        }
    }
}

#[test]
fn an_endless_answer_is_not_read_to_its_end() {
    for outcome in comes_of("MAIL", Act::Drip(Duration::ZERO), PATIENT) {
        let text = "the answer to MAIL is too long".to_owned();
        assert_eq!(outcome, Outcome::Unreached(text));
    }
}

#[test]
fn slow_answers_are_not_waited_for_one_by_one() {
    let (short, long) = (Duration::from_millis(300), Duration::from_secs(1));
    for (mail, what) in [(short, "no answer to its greeting"), (3 * long / 2, "")] {
        let sink = Sink::with(&[], None, move |_, _| {
            std::thread::sleep(long);
            Act::Serve
        });
        let mut hasty = delivery(sink.port, Timeouts { mail, ..PATIENT });
        let outcome = deliver(&mut hasty, b"a");
        let text = match &outcome {
            Outcome::Unreached(text) => text,
            other => panic!("{other:?}"),
        };
        assert!(text.contains(what) && text.ends_with("in time"), "{text}");
        assert!(sink.taken().is_empty());
    }
}

#[test]
fn nobody_listens() {
    let outcome = deliver(&mut delivery(free_port(), PATIENT), b"");
    assert!(
        matches!(&outcome, Outcome::Unreached(text) if text.contains("refused")),
        "{outcome:?}"
    );
}

#[test]
fn a_slow_server_is_waited_for() {
    let sink = Sink::with(ALL, None, |_, at| {
        if at == At::End {
            std::thread::sleep(Duration::from_millis(500));
        }
        Act::Serve
    });
    let mut patient = delivery(sink.port, PATIENT);
    assert_eq!(deliver(&mut patient, b"a"), accepted());
}

#[test]
fn who_knows_no_ehlo_is_told_helo() {
    let sink = Sink::with(&[], None, |_, at| match at {
        At::Command(line) if line.starts_with("EHLO") => Act::Say("502 what\r\n"),
        _ => Act::Serve,
    });
    assert_eq!(deliver(&mut delivery(sink.port, PATIENT), b"a"), accepted());
    let said = [
        "EHLO mx.example.net",
        "HELO mx.example.net",
        "MAIL FROM:<a@example.net>",
    ];
    assert_eq!(sink.commands()[..3], said);
}

#[test]
fn answers_are_read_wherever_they_are_cut() {
    let refuse_second = |_, at: At| match at {
        At::Command(line) if line.starts_with("RCPT TO:<c") => {
            Act::Say("550-5.1.1 no\r\n550 5.1.1 one\r\n")
        }
        _ => Act::Serve,
    };
    // The longest of what the sink writes at once is its answer to EHLO.
    for cut in 1..95 {
        let sink = Sink::with(ALL, Some(cut), refuse_second);
        let to = to(&["b@example.com", "c@example.com"]);
        let mail = Mail {
            from: "",
            to: &to,
            message: b"a",
        };
        let text = "OK id=sink (refused: c@example.com 550 5.1.1 no 5.1.1 one)";
        let outcome = delivery(sink.port, PATIENT).deliver(&mail);
        assert_eq!(outcome, Outcome::Accepted(text.to_owned()), "cut at {cut}");
        assert_eq!(sink.taken().len(), 1);
    }
}

#[test]
fn a_lone_dot_leaves_data_when_nobody_is_left() {
    let sink = Sink::with(ALL, None, |_, at| match at {
        At::Command(line) if line.starts_with("RCPT TO:<b") => Act::Say("550 no\r\n"),
        At::Command("DATA") => Act::Say("354 go on\r\n"),
        At::End => Act::Say("554 no valid recipients\r\n"),
        _ => Act::Serve,
    });
    let mut delivery = delivery(sink.port, PATIENT);
    assert_eq!(deliver(&mut delivery, b"secret"), refused(550, "no"));
    assert_eq!(deliver(&mut delivery, b"secret"), refused(550, "no"));
    assert_eq!(sink.connections(), 1);
    let again = "RSET";
    assert_eq!(
        sink.commands().iter().filter(|&line| line == again).count(),
        1
    );
    assert!(sink.taken().is_empty());
}
