use super::*;
use crate::relay::reply::Replies;

fn reply(line: &str) -> Reply {
    let mut replies = Replies::default();
    replies.push(format!("{line}\r\n").as_bytes());
    replies.next().unwrap().unwrap()
}

fn to(addresses: &[&str]) -> Vec<String> {
    addresses
        .iter()
        .map(|&address| address.to_owned())
        .collect()
}

fn lines(from: &str, to: &[String], message: &[u8], offers: Offers, reset: bool) -> String {
    let mail = Mail { from, to, message };
    let commands = commands(&mail, offers, reset);
    commands.into_iter().map(|(_, line)| line).collect()
}

const ALL: Offers = Offers {
    pipelining: true,
    size: true,
    eight_bit: true,
    utf8: true,
    dsn: true,
};

#[test]
fn parameters_are_used_where_they_are_offered() {
    let some = to(&["b@c", "d@e"]);
    assert_eq!(
        lines("", &some, b"\xff", Offers::default(), false),
        "MAIL FROM:<>\r\nRCPT TO:<b@c>\r\nRCPT TO:<d@e>\r\nDATA\r\n"
    );
    assert_eq!(
        lines("a@b", &some, b"x\xff", ALL, true),
        "RSET\r\nMAIL FROM:<a@b> SIZE=2 BODY=8BITMIME\r\nRCPT TO:<b@c> NOTIFY=NEVER\r\n\
         RCPT TO:<d@e> NOTIFY=NEVER\r\nDATA\r\n"
    );
    assert_eq!(
        lines("a@b", &to(&["é@c"]), b"", ALL, false),
        "MAIL FROM:<a@b> SIZE=0 SMTPUTF8\r\nRCPT TO:<é@c> NOTIFY=NEVER\r\nDATA\r\n"
    );
}

#[test]
fn no_address_ends_its_path_or_its_line() {
    let long = "a".repeat(ADDRESS_MAX + 1);
    for address in [
        "a\r\nRCPT TO:<b@c>",
        "a@b> NOTIFY=SUCCESS",
        "a@b>",
        "<a@b",
        "a b@c",
        "a\0@b",
        "a\u{7f}",
        "\"a@b",
        "\"a\\\"@b",
        "a\\ b@c",
        "\"a\r\n\"@b",
        &long,
    ] {
        assert!(!is_sayable(address), "{address:?}");
        let (good, bad) = (to(&["b@c"]), to(&["b@c", address]));
        let message = b"";
        assert!(
            check(&Mail {
                from: address,
                to: &good,
                message
            })
            .is_err()
        );
        assert!(
            check(&Mail {
                from: "",
                to: &bad,
                message
            })
            .is_err()
        );
    }
    for address in [
        "a@b",
        "postmaster",
        "\"a b>\\\"\"@c",
        "a@[127.0.0.1]",
        "é@ü",
        "a\\b@c",
    ] {
        assert!(is_sayable(address), "{address:?}");
    }
    for bad in [to(&[]), to(&[""])] {
        assert!(
            check(&Mail {
                from: "",
                to: &bad,
                message: b""
            })
            .is_err()
        );
    }
}

fn outcome(code: u16, text: &str) -> Outcome {
    let text = text.to_owned();
    Outcome::Refused { code, text }
}

/// What comes after these answers to MAIL, two RCPTs and DATA.
fn after(answers: [&str; 4]) -> Result<Next, String> {
    let to = to(&["b@c", "d@e"]);
    let mail = Mail {
        from: "a@b",
        to: &to,
        message: b"",
    };
    let mut taken = Answers::new(&mail);
    for ((command, _), answer) in commands(&mail, ALL, false).into_iter().zip(answers) {
        taken.take(command, reply(answer))?;
    }
    Ok(taken.next())
}

#[test]
fn answers_in_one_go() {
    let both = "b@c 550 no; d@e 450 later";
    let closed = "503 none";
    for (answers, expected) in [
        (["250", "250", "251", "354"], Next::Content),
        (["250", "550 no", "250", "354"], Next::Content),
        (
            ["550 x", "503", "503", closed],
            Next::Over(outcome(550, "x")),
        ),
        (
            ["421 x", "503", "503", closed],
            Next::Over(outcome(421, "x")),
        ),
        (
            ["250", "550 no", "450 later", closed],
            Next::Over(outcome(550, both)),
        ),
        (
            ["250", "550 no", "450 later", "354"],
            Next::LoneDot(outcome(550, both)),
        ),
        (
            ["550 x", "503", "503", "354"],
            Next::LoneDot(outcome(550, "x")),
        ),
        (
            ["550 x", "250", "503", "354"],
            Next::Close(outcome(550, "x")),
        ),
        (
            ["250", "250", "250", "451 4.3.0 x"],
            Next::Over(outcome(451, "4.3.0 x")),
        ),
    ] {
        assert_eq!(after(answers), Ok(expected), "{answers:?}");
    }
}

#[test]
fn answers_that_fit_no_command() {
    for answers in [
        ["354", "250", "250", "354"],
        ["250", "354", "250", "354"],
        ["250", "250", "250", "250 done already"],
        ["250", "250", "250", "355"],
        ["250", "250", "250", "221 bye"],
    ] {
        assert!(after(answers).is_err(), "{answers:?}");
    }
}

#[test]
fn an_acceptance_says_who_was_refused() {
    let to = to(&["b@c", "d\u{202e}@e"]);
    let mail = Mail {
        from: "",
        to: &to,
        message: b"",
    };
    let mut answers = Answers::new(&mail);
    assert_eq!(
        answers.accepted(&reply("250 OK id=1")),
        Outcome::Accepted("OK id=1".to_owned())
    );
    answers.take(Command::To(0), reply("250 OK")).unwrap();
    answers.take(Command::To(1), reply("550 5.1.1 no")).unwrap();
    let text = "OK id=1 (refused: d\\u{202e}@e 550 5.1.1 no)".to_owned();
    assert_eq!(
        answers.accepted(&reply("250 OK id=1")),
        Outcome::Accepted(text)
    );
}
