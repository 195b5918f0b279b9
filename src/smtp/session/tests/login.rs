//! AUTH and STARTTLS: what the shell is told, what stays, and what is forgotten.

use super::*;

/// A session that lets anybody log in.
fn open_session() -> Session {
    let mut session = session(100, 10);
    Arc::make_mut(&mut session.profile).auth.accept = Accept::Any;
    session
}

#[test]
fn a_login_is_told_to_the_shell_and_stays() {
    let mut session = open_session();
    let (step, replies) = say(&mut session, b"AUTH PLAIN AFDDpAA=\r\n");
    let Step::Attempt(attempt) = step else {
        panic!("{step:?}")
    };
    assert_eq!(replies, "235 2.7.0 Authentication successful\r\n");
    assert_eq!(attempt.user, "P\u{e4}".as_bytes());
    assert!(attempt.accepted);
    for _ in 0..2 {
        say(&mut session, b"RSET\r\nEHLO again\r\n");
        let (_, _) = say(&mut session, b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n");
        let (step, _) = say(&mut session, b"DATA\r\n");
        let Step::Begin(transaction) = step else {
            panic!("{step:?}")
        };
        assert_eq!(transaction.user.as_deref(), Some("P\u{e4}"));
        say(&mut session, b".\r\n");
    }
}

#[test]
fn guessing_comes_to_an_end() {
    let mut session = session(100, 10);
    Arc::make_mut(&mut session.profile).auth.required = true;
    for attempt in 1..=MAX_ERRORS {
        let (step, replies) = say(&mut session, b"AUTH PLAIN AGEAYg==\r\n");
        assert!(matches!(step, Step::Attempt(attempt) if !attempt.accepted));
        let last = "421 4.7.0 mx Error: too many errors\r\n";
        assert_eq!(replies.ends_with(last), attempt == MAX_ERRORS, "{replies}");
    }
    assert_eq!(say(&mut session, b"NOOP\r\n"), (Step::Close, String::new()));
}

#[test]
fn guessing_ends_at_the_limits_where_the_server_would_bear_it_for_ever() {
    for (_, personality) in Personality::NAMED {
        for (errors, commands) in [(7, 1000), (1000, 7)] {
            let mut session = session(100, 10);
            let profile = Arc::make_mut(&mut session.profile);
            profile.personality = personality;
            profile.auth.required = true;
            profile.limits.errors = errors;
            profile.limits.commands = commands;
            session.face = personality.face();
            say(&mut session, b"EHLO x\r\n");
            let attempts = (0..100)
                .map(|_| say(&mut session, b"AUTH PLAIN AGEAYg==\r\n").0)
                .take_while(|step| matches!(step, Step::Attempt(_)))
                .count();
            assert!((6..=7).contains(&attempts), "{personality:?}: {attempts}");
            assert_eq!(session.met().closed, 1, "{personality:?}");
        }
    }
}

#[test]
fn a_response_may_be_longer_than_a_command_and_no_longer_than_its_limit() {
    let mut session = open_session();
    let response = |bytes: usize| [vec![b'A'; bytes - 2], b"\r\n".to_vec()].concat();
    say(&mut session, b"AUTH PLAIN\r\n");
    // All of it is one zero byte after another: no name, but base64.
    let (_, replies) = say(&mut session, &response(MAX_RESPONSE - 2));
    assert!(replies.starts_with("535 5.7.8 "), "{replies}");
    say(&mut session, b"AUTH PLAIN\r\n");
    let too_long = response(MAX_RESPONSE + 1);
    let (step, replies) = say(&mut session, &too_long);
    assert_eq!(step, Step::Read);
    assert_eq!(replies, "500 5.5.6 SASL response limit exceeded\r\n");
    let (_, replies) = say(&mut session, b"NOOP\r\n");
    assert_eq!(replies, "250 2.0.0 Ok\r\n");
}

#[test]
fn no_two_challenges_are_the_same() {
    let asked = |nonce| {
        let mut session = open_session();
        session.client.nonce = nonce;
        [(); 2].map(|()| say(&mut session, b"AUTH CRAM-MD5\r\n*\r\n").1)
    };
    let ([a, b], [c, d]) = (asked(1), asked(2));
    for (one, other) in [(&a, &b), (&a, &c), (&b, &d), (&c, &d)] {
        assert_ne!(one, other);
    }
}

/// A session that can do TLS and lets anybody log in.
fn tls_session() -> Session {
    let mut session = open_session();
    Arc::make_mut(&mut session.profile).tls = true;
    session
}

#[test]
fn what_came_before_the_handshake_is_forgotten() {
    let mut session = tls_session();
    let (_, replies) = say(&mut session, b"EHLO before\r\n");
    assert!(replies.contains("250-STARTTLS\r\n"), "{replies}");
    say(&mut session, b"AUTH PLAIN AGEAYg==\r\n");
    say(&mut session, b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n");
    let (step, replies) = say(&mut session, b"STARTTLS\r\n");
    assert_eq!(step, Step::StartTls);
    assert_eq!(replies, "220 2.0.0 Ready to start TLS\r\n");
    assert!(!session.in_transaction());

    session.tls("TLSv1.3");
    assert_eq!(session.helo(), "");
    assert_eq!(session.output(), b"");
    let (_, replies) = say(&mut session, b"DATA\r\nSTARTTLS\r\nEHLO after\r\n");
    assert!(replies.starts_with("503 5.5.1 "), "{replies}");
    assert!(
        replies.contains("\r\n554 5.5.1 Error: TLS already active\r\n"),
        "{replies}"
    );
    assert!(!replies.contains("STARTTLS"), "{replies}");
    let (step, replies) = say(&mut session, b"AUTH PLAIN AGEAYg==\r\n");
    assert!(matches!(step, Step::Attempt(_)), "{replies}");
    say(&mut session, b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n");
    let (step, _) = say(&mut session, b"DATA\r\n");
    let Step::Begin(transaction) = step else {
        panic!("{step:?}")
    };
    assert_eq!(transaction.helo, "after");
    assert_eq!(transaction.tls.as_deref(), Some("TLSv1.3"));
    assert_eq!(transaction.user.as_deref(), Some("a"));
}

/// CVE-2011-0411: commands that were sent in the clear must not be done within TLS.
#[test]
fn what_follows_starttls_in_a_read_is_thrown_away() {
    let injected = b"STARTTLS\r\nMAIL FROM:<evil@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nNOO";
    for cut in 1..injected.len() {
        let mut session = tls_session();
        let (first, second) = injected.split_at(cut);
        let early = say(&mut session, first).0 == Step::StartTls;
        let step = say(&mut session, second).0;
        // Read before the handshake or after it, it is the shell's fault if it comes here.
        assert_eq!(step, if early { Step::Close } else { Step::StartTls });
        session.tls("TLSv1.3");
        assert!(!session.in_transaction());
        let (_, replies) = say(&mut session, b"P\r\nDATA\r\n");
        let expected = "500 5.5.2 Error: command not recognized\r\n\
                        503 5.5.1 Error: need RCPT command\r\n";
        assert_eq!(replies, expected);
    }
}

#[test]
fn without_a_handshake_nothing_more_is_heard() {
    let mut session = tls_session();
    say(&mut session, b"STARTTLS\r\n");
    assert_eq!(say(&mut session, b"NOOP\r\n"), (Step::Close, String::new()));
    let mut implicit = tls_session();
    implicit.tls("TLSv1.2");
    let (_, replies) = say(&mut implicit, b"EHLO x\r\n");
    assert!(!replies.contains("STARTTLS"), "{replies}");
}

#[test]
fn a_login_that_is_given_up_after_its_name_is_told() {
    let named = || {
        let mut session = open_session();
        say(&mut session, b"AUTH LOGIN\r\n");
        say(&mut session, b"Ym9i\r\n");
        session
    };
    let is_bob = |attempt: Option<Attempt>| {
        let attempt = attempt.unwrap();
        assert_eq!((&attempt.user[..], attempt.accepted), (&b"bob"[..], false));
        assert_eq!(attempt.secret, Secret::Unsent);
    };
    let (Step::Attempt(attempt), replies) = say(&mut named(), b"*\r\n") else {
        panic!("no attempt");
    };
    is_bob(Some(attempt));
    assert!(replies.starts_with("501 5.7.0 "), "{replies}");
    let mut session = named();
    session.timeout();
    is_bob(session.broken_off());
    let mut session = named();
    is_bob(session.broken_off());
    assert_eq!(session.broken_off(), None);
    // Nothing was said yet, or all.
    let mut session = open_session();
    say(&mut session, b"AUTH LOGIN\r\n");
    assert_eq!(session.broken_off(), None);
    let mut session = named();
    say(&mut session, b"Ym9i\r\n");
    assert_eq!(session.broken_off(), None);
}
