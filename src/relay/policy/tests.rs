use super::*;
use crate::store::OpenWindow;
use crate::timestamp::Timestamp;

const SENDER: &str = "a@sender.example";

fn policy(which: config::Policy) -> Policy {
    Policy::new(&config::Relay {
        on: true,
        policy: which,
        individual: 2,
        global: 3,
        host: "127.0.0.1".into(),
        port: 2500,
        max_recipients: 2,
        deny: vec!["denied.example".into()],
        tokens: vec!["red-token".into()],
        own_names: vec!["mx.example".into(), "mailname.example".into()],
        hostname: "mx.example".into(),
    })
}

/// A first copy of this message to these recipients; `change` makes it another.
fn judged(
    which: config::Policy,
    (known, raw, to): (&KnownProbes, &str, &[&str]),
    change: impl Fn(&mut Candidate<'_>),
) -> (bool, Result<(), Reason>) {
    let message = crate::message::parse(raw.as_bytes()).unwrap();
    let recipients: Vec<String> = to.iter().map(|&to| to.to_owned()).collect();
    let mut spam = Candidate {
        sender: Some(SENDER),
        recipients: &recipients,
        dst_ip: Some("203.0.113.9".parse().unwrap()),
        is_first: true,
        message: &message,
        raw: raw.as_bytes(),
    };
    change(&mut spam);
    let Judged { is_probe, verdict } = policy(which).judge(&spam, known);
    (is_probe, verdict)
}

#[test]
fn the_envelope_decides_first() {
    let known = KnownProbes::default();
    let to = |to: &[&str]| judged(config::Policy::Counter, (&known, "Subject: x", to), |_| {}).1;
    assert_eq!(to(&["b@x.example"]), Ok(()));
    assert_eq!(to(&["b@x.example", "c@x.example"]), Ok(()));
    assert_eq!(to(&[]), Err(Reason::Recipients));
    assert_eq!(to(&["b@x.example"; 3]), Err(Reason::Recipients));
    assert_eq!(to(&["b@x.example", "|sh@x.example"]), Err(Reason::Address));
    for denied in ["b@denied.example", "b@in.Denied.example"] {
        assert_eq!(to(&[denied]), Err(Reason::Denied));
        assert_eq!(to(&["c@x.example", denied]), Err(Reason::Denied));
    }
    let from = |sender: Option<&'static str>| {
        let spam = (&known, "Subject: x", &["b@x.example"][..]);
        judged(config::Policy::Counter, spam, |spam| spam.sender = sender).1
    };
    assert_eq!(from(Some("")), Ok(()));
    assert_eq!(from(None), Err(Reason::NoEnvelope));
    assert_eq!(from(Some("a b@x.example")), Err(Reason::Address));
    assert_eq!(from(Some("a@denied.example")), Err(Reason::Denied));
}

#[test]
fn nothing_goes_to_the_mailboxes_of_this_machine() {
    let known = KnownProbes::default();
    for own in [
        "root@mx.example",
        "root@mailname.example",
        "root@a.mx.example",
    ] {
        let spam = (&known, "Subject: x", &[own][..]);
        let judged = judged(config::Policy::Counter, spam, |_| {});
        assert_eq!(judged, (false, Err(Reason::Denied)), "{own}");
    }
    let spam = (&known, "Subject: x", &["b@x.example"][..]);
    let from_it = |spam: &mut Candidate<'_>| spam.sender = Some("root@mx.example");
    assert_eq!(judged(config::Policy::Counter, spam, from_it).1, Ok(()));
}

#[test]
fn a_test_of_the_relay_is_a_first_mail_to_one_or_to_who_got_one() {
    let known = KnownProbes::default();
    known.add("Me@X.example");
    let (yes, no) = ((true, Ok(())), (false, Err(Reason::NoProbe)));
    let (one, two) = (&["b@x.example"][..], &["b@x.example", "c@x.example"][..]);
    let (token, none) = ("Subject: red-token", "Subject: x");
    for (spam, is_first, expected) in [
        ((&known, token, one), true, yes),
        ((&known, token, one), false, no),
        ((&known, token, two), true, no),
        ((&known, none, one), true, no),
        ((&known, "Subject: at 203.0.113.9", one), true, yes),
        ((&known, none, &["me@x.EXAMPLE"][..]), false, yes),
        (
            (&known, none, &["me@x.example", "b@x.example"][..]),
            true,
            no,
        ),
    ] {
        let found = judged(config::Policy::Probe, spam, |spam| spam.is_first = is_first);
        assert_eq!(found, expected, "{} {:?} {is_first}", spam.1, spam.2);
    }
    // Whoever it is, and whatever stands in it: that is none who may be relayed to.
    let denied = (&known, token, &["b@denied.example"][..]);
    let found = judged(config::Policy::Probe, denied, |_| {});
    assert_eq!(found, (false, Err(Reason::Denied)));
    // Where tests are not looked for, there are none.
    let found = judged(config::Policy::Counter, (&known, token, one), |_| {});
    assert_eq!(found, (false, Ok(())));
}

#[test]
fn the_counters_are_the_most_there_are() {
    let slots = |slots: &[(u64, u64)]| {
        Slots::of(&OpenWindow {
            number: 1,
            opened: Timestamp::now(),
            records: Vec::new(),
            slots: slots.to_vec(),
        })
    };
    let policy = policy(config::Policy::Counter);
    for (used, expected) in [
        (slots(&[]), Ok(())),
        (slots(&[(7, 1), (8, 1)]), Ok(())),
        (slots(&[(7, 2)]), Err(Reason::RecordLimit)),
        (slots(&[(8, 2)]), Ok(())),
        (slots(&[(8, 3)]), Err(Reason::WindowLimit)),
        (slots(&[(7, 2), (8, 1)]), Err(Reason::WindowLimit)),
    ] {
        assert_eq!(policy.within(&used, 7), expected, "{used:?}");
    }
}

#[test]
fn no_program_goes_on_wherever_it_hides() {
    let mixed = |part: &str| {
        format!(
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n--b\r\n{part}\r\n\
             --b--\r\n"
        )
    };
    let text = "Content-Type: text/plain; name=";
    for (raw, expected) in [
        (
            mixed("Content-Type: image/png; name=a.png\r\n\r\nx"),
            Ok(()),
        ),
        (
            mixed("Content-Type: image/png; name=a.exe\r\n\r\nx"),
            Err(Reason::Executable),
        ),
        // Text, but to many a mail program an attachment.
        (mixed(&format!("{text}notes.txt\r\n\r\nx")), Ok(())),
        (
            mixed(&format!("{text}a.bat\r\n\r\nx")),
            Err(Reason::Executable),
        ),
        (
            mixed(&format!("{text}a.zip\r\n\r\nPK")),
            Err(Reason::Executable),
        ),
        (
            "Content-Type: text/html; name*=utf-8''a%2Ehta\r\n\r\nx".to_owned(),
            Err(Reason::Executable),
        ),
        (
            mixed("Content-Type: application/ms-tnef\r\n\r\nx"),
            Err(Reason::Executable),
        ),
        (
            mixed("Content-Type: message/partial; id=1; number=1\r\n\r\nx"),
            Err(Reason::Executable),
        ),
        (
            "Subject: x\r\n\r\nbegin 644 a.exe\r\nx\r\nend\r\n".to_owned(),
            Err(Reason::Executable),
        ),
        // The same in base64.
        (
            "Content-Transfer-Encoding: base64\r\n\r\nYmVnaW4gNjQ0IGEuZXhlCg==\r\n".to_owned(),
            Err(Reason::Executable),
        ),
        ("Subject: x\r\n\r\nbegin 644 a.txt\r\n".to_owned(), Ok(())),
        ("Subject: x\r\n\r\nbegin with a.exe\r\n".to_owned(), Ok(())),
        (
            "Subject: x\r\n\r\none\n.\nMAIL FROM:<>\r\n".to_owned(),
            Err(Reason::Smuggling),
        ),
    ] {
        let message = crate::message::parse(raw.as_bytes()).unwrap();
        let spam = Candidate {
            sender: Some(SENDER),
            recipients: &[],
            dst_ip: None,
            is_first: true,
            message: &message,
            raw: raw.as_bytes(),
        };
        let found = policy(config::Policy::Counter).harmless(&spam);
        assert_eq!(found, expected, "{raw}");
    }
}
