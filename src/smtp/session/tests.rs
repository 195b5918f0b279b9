//! What the golden dialogues do not show: the steps, the limits, and any bytes at all.

mod login;

use super::*;
use crate::smtp::{Accept, MAX_LINE, MessageId, Personality, Secret};
use crate::timestamp::Timestamp;
use proptest::prelude::*;

/// What Postfix bears; see its face.
const MAX_ERRORS: u32 = 20;

fn client() -> Client {
    Client {
        address: "192.0.2.7".parse().unwrap(),
        connected_at: Timestamp::from_seconds(1_700_000_000, 0),
        nonce: 1,
    }
}

fn kept(number: u64) -> Outcome {
    let at = Timestamp::from_seconds(1_700_000_000, 42);
    Outcome::Kept(MessageId { at, number })
}

fn session(max_message_size: u64, max_recipients: usize) -> Session {
    let profile = Profile {
        hostname: "mx".into(),
        max_message_size,
        max_recipients,
        ..Profile::default()
    };
    let mut session = Session::new(Arc::new(profile), client());
    session.output().clear();
    session
}

/// Feeds bytes that must be taken in one step; returns that step and the replies.
fn say<'a>(session: &mut Session, input: &'a [u8]) -> (Step<'a>, String) {
    let (used, step) = session.step(input);
    assert_eq!(used, input.len());
    let replies = String::from_utf8(mem::take(session.output())).unwrap();
    (step, replies)
}

/// Says one line `times` times over, in one input; returns the last step and the replies.
fn repeat(session: &mut Session, line: &[u8], times: u32) -> (Step<'static>, String) {
    match say(session, &line.repeat(times as usize)) {
        (Step::Read, replies) => (Step::Read, replies),
        (Step::Close, replies) => (Step::Close, replies),
        (step, _) => panic!("{step:?} in answer to commands"),
    }
}

fn begin(session: &mut Session) {
    let (step, _) = say(session, b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n");
    assert!(matches!(step, Step::Begin(_)));
}

#[test]
fn a_message_goes_by_in_steps() {
    let mut session = session(100, 10);
    assert!(!session.in_transaction());
    say(&mut session, b"EHLO  my host \r\n");
    assert_eq!(session.helo(), "my host");
    say(&mut session, b"MAIL FROM:<a@b> SIZE=5 BODY=8BITMIME\r\n");
    assert!(session.in_transaction());

    let input = b"RCPT TO:<c@d>\r\nRCPT TO:e@f\r\nDATA\r\n..x\r\n.\r\nQUIT\r\n";
    let (used, step) = session.step(input);
    assert_eq!(used, 34);
    let expected = Transaction {
        helo: "my host".into(),
        mail_from: "a@b".into(),
        rcpt_to: vec!["c@d".into(), "e@f".into()],
        user: None,
        tls: None,
    };
    assert_eq!(step, Step::Begin(expected));
    assert_eq!(session.step(&input[34..]), (5, Step::Content(b".x\r\n")));
    assert_eq!(session.step(&input[39..]), (3, Step::End));
    assert!(session.in_transaction());
    session.finish(kept(7));
    assert!(!session.in_transaction());
    assert_eq!(session.step(&input[42..]), (6, Step::Close));
    assert!(
        session
            .output()
            .ends_with(b"250 2.0.0 Ok: queued as 0002A7\r\n221 2.0.0 Bye\r\n")
    );
    assert_eq!(session.step(b"NOOP\r\n"), (6, Step::Close));
}

#[test]
fn a_message_nobody_answered_for_is_not_acknowledged() {
    let mut session = session(100, 10);
    begin(&mut session);
    assert_eq!(say(&mut session, b".\r\n").0, Step::End);
    let (_, replies) = say(&mut session, b"NOOP\r\n");
    assert_eq!(
        replies,
        "451 4.3.0 Error: queue file write error\r\n250 2.0.0 Ok\r\n"
    );
}

#[test]
fn finish_at_any_other_time_does_nothing() {
    let mut session = session(100, 10);
    session.finish(Outcome::Full);
    begin(&mut session);
    session.finish(kept(7));
    session.timeout();
    session.finish(Outcome::Full);
    session.shutdown();
    assert_eq!(
        session.output(),
        b"421 4.4.2 mx Error: timeout exceeded\r\n"
    );
    assert!(!session.in_transaction());
}

#[test]
fn the_size_limit_is_inclusive_and_counts_unstuffed_bytes() {
    let mut session = session(6, 10);
    begin(&mut session);
    assert_eq!(
        say(&mut session, b"...45\r\n").0,
        Step::Content(b"..45\r\n")
    );
    assert_eq!(say(&mut session, b"y").0, Step::Abandon);
    assert_eq!(say(&mut session, b"zzz").0, Step::Read);
    assert!(session.in_transaction());
    let (step, replies) = say(&mut session, b"\r\n.\r\nNOOP\r\n");
    assert_eq!(step, Step::Read);
    assert_eq!(
        replies,
        "552 5.3.4 Error: message file too big\r\n250 2.0.0 Ok\r\n"
    );
}

#[test]
fn endless_commands_end() {
    let mut session = session(100, 10);
    let (step, replies) = repeat(&mut session, b"NOOP\n", 5000);
    assert_eq!(step, Step::Close);
    assert_eq!(replies.matches("250 ").count(), MAX_COMMANDS as usize);
    assert!(replies.ends_with("421 4.7.0 mx Error: too many errors\r\n"));
}

#[test]
fn recipients_count_only_beyond_their_limit() {
    let mut session = session(100, 2000);
    say(&mut session, b"MAIL FROM:<a@b>\n");
    let (step, _) = repeat(&mut session, b"RCPT TO:<a@b>\n", 2000);
    assert_eq!(step, Step::Read);
    let (step, replies) = repeat(&mut session, b"RCPT TO:<a@b>\n", 2000);
    assert_eq!(step, Step::Close);
    assert_eq!(replies.matches("452 ").count(), MAX_COMMANDS as usize - 1);
}

#[test]
fn a_stored_message_forgives_errors() {
    let mut session = session(100, 10);
    for _ in 0..3 {
        let (step, _) = repeat(&mut session, b"HELP\n", MAX_ERRORS - 1);
        assert_eq!(step, Step::Read);
        begin(&mut session);
        say(&mut session, b".\r\n");
        session.finish(kept(7));
    }
    let (step, _) = repeat(&mut session, b"HELP\n", MAX_ERRORS);
    assert_eq!(step, Step::Close);
}

#[test]
fn a_line_without_end_is_passed_over() {
    let mut session = session(100, 10);
    for _ in 0..1000 {
        assert_eq!(
            say(&mut session, &[b'a'; MAX_LINE]),
            (Step::Read, String::new())
        );
    }
    let (_, replies) = say(&mut session, b"\r\nNOOP\r\n");
    assert_eq!(
        replies,
        "500 5.5.2 Error: command not recognized\r\n250 2.0.0 Ok\r\n"
    );
}

/// Drives a session to the end of `stream`, cut into pieces of `sizes`; returns all replies, all
/// content and names of users, and whether it closed.
fn drive(personality: Personality, stream: &[u8], sizes: &[usize]) -> (Vec<u8>, Vec<u8>, bool) {
    let mut profile = Profile {
        hostname: "mx".into(),
        max_message_size: 40,
        max_recipients: 2,
        personality,
        ..Profile::default()
    };
    profile.auth.accept = Accept::Any;
    let mut session = Session::new(Arc::new(profile), client());
    let (mut content, mut closed) = (Vec::new(), false);
    let mut sizes = sizes.iter().cycle();
    let mut from = 0;
    while from < stream.len() && !closed {
        let to = (from + sizes.next().unwrap()).min(stream.len());
        loop {
            let (used, step) = session.step(&stream[from..to]);
            from += used;
            match step {
                Step::Read => break assert_eq!(from, to),
                Step::Begin(transaction) => {
                    assert!((1..=2).contains(&transaction.rcpt_to.len()));
                    content.clear();
                }
                Step::Content(slice) => content.extend_from_slice(slice),
                Step::StartTls => panic!("TLS was not offered"),
                Step::Attempt(attempt) => content.extend(attempt.user),
                Step::Abandon | Step::Reset => content.clear(),
                Step::End => session.finish(kept(content.len() as u64)),
                Step::Close => {
                    closed = true;
                    break;
                }
            }
        }
    }
    (mem::take(session.output()), content, closed)
}

/// Pieces of dialogue and noise, so that random streams get far into a session.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let phrase = prop::sample::select(vec![
        "EHLO x\r\n",
        "BDAT 3\r\n",
        "BDAT 9 LAST\r\n",
        "BDAT 0\r\n",
        "HELO\n",
        "MAIL FROM:<a@b>\r\n",
        "MAIL FROM: a SIZE=50\r\n",
        "RCPT TO:<c>\r\n",
        "RCPT TO:\"d\r\n",
        "DATA\r\n",
        "\r\n.\r\n",
        ".",
        "\r",
        "\n",
        "\n.\n",
        "text",
        "\0",
        "<",
        "AUTH LOGIN\r\n",
        "AUTH PLAIN AGEAYg==\r\n",
        "AUTH CRAM-MD5\n",
        "Ym9i\r\n",
        "*\r\n",
        "VRFY x\n",
        "MAIL FROM:<>\u{1f4a9}\u{1f4a9}\r\n",
        "RCPT TO:<a> X=",
        "GET / \n",
        "BDAT 5\n",
        "HELP\n",
        "DATA x\n",
        "RSET\n",
        "QUIT\n",
    ]);
    let piece = prop_oneof![
        8 => phrase.prop_map(|phrase| phrase.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..9),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn replies_do_not_depend_on_the_cuts(
        stream in stream(),
        sizes in prop::collection::vec(1usize..30, 1..6),
        named in prop::sample::select(&Personality::NAMED[..]),
    ) {
        let (_, personality) = named;
        let whole = drive(personality, &stream, &[usize::MAX / 2]);
        prop_assert!(whole.0.ends_with(b"\r\n"));
        for line in String::from_utf8_lossy(&whole.0).split_terminator("\r\n") {
            let (code, separator) = (line.get(..3), line.get(3..4));
            prop_assert!(code.is_some_and(|code| code.parse::<u16>().is_ok()), "{}", line);
            prop_assert!(matches!(separator, Some(" " | "-")), "{}", line);
            prop_assert!(line.len() <= 510 && !line.contains(['\r', '\n']), "{}", line);
        }
        prop_assert_eq!(drive(personality, &stream, &sizes), whole);
    }
}

#[test]
fn chunks_of_a_message_that_is_too_big_come_to_an_end() {
    for (_, personality) in Personality::NAMED {
        let mut session = session(100, 10);
        let profile = Arc::make_mut(&mut session.profile);
        profile.personality = personality;
        profile.limits.commands = 50;
        session.face = personality.face();
        say(
            &mut session,
            b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n",
        );
        let chunk = [&b"BDAT 2000\r\n"[..], &[b'x'; 2000]].concat();
        let mut is_over = || {
            let mut input = &chunk[..];
            loop {
                match session.step(input) {
                    (_, Step::Close) => return true,
                    (_, Step::Read) => return false,
                    (used, _) => input = &input[used..],
                }
            }
        };
        assert!((0..200).any(|_| is_over()), "{personality:?}");
    }
}
