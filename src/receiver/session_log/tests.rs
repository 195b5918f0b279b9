use std::fs;
use std::path::Path;

use super::*;
use crate::receiver::party::Protocol;
use crate::receiver::tls::Seen;
use crate::smtp::{Attempt, Mechanism, Secret};

fn party() -> Party {
    Party {
        session: "s1".into(),
        src: "[2001:db8::7]:4711".parse().unwrap(),
        dst: "192.0.2.1:25".parse().unwrap(),
        protocol: Protocol::Smtp,
        connected_at: at(),
    }
}

fn at() -> Timestamp {
    Timestamp::from_seconds(1_700_000_000, 7)
}

/// The line of an event without what every line begins with.
fn own(event: &Event<'_>, id: &str) -> String {
    let line = String::from_utf8(event::line(&party(), "rig", at(), event)).unwrap();
    let begins = format!(
        "{{\"eventid\":\"{id}\",\"timestamp\":\"2023-11-14T22:13:20.000007Z\",\"session\":\"s1\",\
         \"sensor\":\"rig\",\"src_ip\":\"2001:db8::7\",\"src_port\":4711,\"dst_ip\":\"192.0.2.1\",\
         \"dst_port\":25,\"protocol\":\"smtp\""
    );
    let rest = line.strip_prefix(&begins);
    let rest = rest.unwrap_or_else(|| panic!("{line} does not begin with {begins}"));
    rest.strip_suffix("}\n")
        .unwrap()
        .trim_start_matches(',')
        .into()
}

#[test]
fn every_event_has_its_line() {
    assert_eq!(own(&Event::Connect, "shiva.session.connect"), "");
    let event = Event::Command(b"MAIL FROM:<\xff\"J\xc3\xbcrgen\"\0\x1b>\t");
    let said = r#""input":"MAIL FROM:<\\xff\"J\u00fcrgen\"\u0000\u001b>\t""#;
    assert_eq!(own(&event, "shiva.command"), said);
    let mail = Mail {
        mail_from: String::new(),
        rcpt_to: vec!["a@b".into()],
        rcpt_count: 2,
        size: 42,
    };
    let said = r#""mail_from":"","rcpt_to":["a@b"],"rcpt_count":2,"size":42,"outcome":"#;
    for (outcome, word) in [
        (Outcome::Kept("Q1"), r#""kept","queue_id":"Q1""#),
        (Outcome::Full, r#""full""#),
        (Outcome::Failed, r#""failed""#),
        (Outcome::TooBig, r#""too_big""#),
    ] {
        let event = Event::Mail(&mail, outcome);
        assert_eq!(own(&event, "shiva.mail.received"), format!("{said}{word}"));
    }
    let event = Event::Closed(Closed {
        duration: Duration::from_micros(1_234_567),
        commands: 4,
        logins: 1,
        messages: 2,
    });
    let said = r#""duration_ms":1234,"commands":4,"logins":1,"messages":2"#;
    assert_eq!(own(&event, "shiva.session.closed"), said);
    assert_eq!(
        event::lost("rig", at(), 3),
        b"{\"eventid\":\"shiva.log.lost\",\"timestamp\":\"2023-11-14T22:13:20.000007Z\",\
          \"sensor\":\"rig\",\"lines\":3}\n"
    );
}

#[test]
fn a_login_says_what_was_tried() {
    let mut attempt = Attempt {
        mechanism: Mechanism::Plain,
        user: b"Bob".to_vec(),
        acting_for: b"root".to_vec(),
        secret: Secret::Password(b"a\xff".to_vec()),
        accepted: true,
    };
    let said = r#""mechanism":"PLAIN","username":"Bob","password":"a\\xff","acting_for":"root""#;
    assert_eq!(own(&Event::Login(&attempt), "shiva.login.success"), said);
    attempt = Attempt {
        mechanism: Mechanism::CramMd5,
        acting_for: Vec::new(),
        secret: Secret::Digest {
            challenge: "<1@x>".into(),
            digest: b"00ff".to_vec(),
        },
        accepted: false,
        ..attempt
    };
    let said = r#""mechanism":"CRAM-MD5","username":"Bob","challenge":"<1@x>","digest":"00ff""#;
    assert_eq!(own(&Event::Login(&attempt), "shiva.login.failed"), said);
    attempt.mechanism = Mechanism::Login;
    attempt.secret = Secret::Raw(b"hunter2\xff".to_vec());
    let said = r#""mechanism":"LOGIN","username":"Bob","response":"hunter2\\xff""#;
    assert_eq!(own(&Event::Login(&attempt), "shiva.login.failed"), said);
    attempt.secret = Secret::Unsent;
    let said = r#""mechanism":"LOGIN","username":"Bob""#;
    assert_eq!(own(&Event::Login(&attempt), "shiva.login.failed"), said);
}

#[test]
fn a_handshake_shows_what_there_was() {
    let done = Seen {
        version: Some("TLSv1.3"),
        cipher: Some("TLS_AES_128_GCM_SHA256".into()),
        ..Seen::default()
    };
    let said = r#""version":"TLSv1.3","cipher":"TLS_AES_128_GCM_SHA256","sni":null,"ja4":null"#;
    assert_eq!(own(&Event::Tls(&done), "shiva.tls"), said);
    let failed = Seen {
        error: Some("no cipher".into()),
        ..Seen::default()
    };
    let said = r#""version":null,"cipher":null,"sni":null,"ja4":null,"error":"no cipher""#;
    assert_eq!(own(&Event::Tls(&failed), "shiva.tls"), said);
}

#[test]
fn a_value_is_bounded() {
    let line = own(&Event::Command(&[0xff; 12_000]), "shiva.command");
    let expected = format!(r#""input":"{}\u2026""#, r"\\xff".repeat(4096));
    assert_eq!(line, expected);
    let mail = Mail {
        mail_from: "a".repeat(6000),
        rcpt_to: vec!["b".repeat(6000)],
        ..Mail::default()
    };
    let line = own(&Event::Mail(&mail, Outcome::Full), "shiva.mail.received");
    let (a, b) = ("a".repeat(4096), "b".repeat(4096));
    let expected = format!(r#""mail_from":"{a}\u2026","rcpt_to":["{b}\u2026"],"#);
    assert!(line.starts_with(&expected), "{line}");
}

fn lines(file: &Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "a line was cut");
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Records numbered commands.
fn record(log: &SessionLog, numbers: std::ops::Range<u32>) {
    for number in numbers {
        log.record(&party(), &Event::Command(number.to_string().as_bytes()));
    }
}

/// The numbers of the commands in these files, in order.
fn numbers(files: &[&Path]) -> Vec<u32> {
    let lines = files.iter().flat_map(|file| lines(file));
    lines
        .map(|line| line["input"].as_str().unwrap().parse().unwrap())
        .collect()
}

#[test]
fn nothing_is_lost_when_the_file_is_moved_away() {
    let scratch = tempfile::tempdir().unwrap();
    let (file, moved) = (scratch.path().join("log"), scratch.path().join("log.1"));
    fs::write(&file, "").unwrap();
    let (log, thread) = SessionLog::open(file.clone(), "rig", 0).unwrap();
    record(&log, 0..1000);
    fs::rename(&file, &moved).unwrap();
    log.reopen();
    record(&log, 1000..2000);
    drop(log);
    thread.join().unwrap();
    assert_eq!(numbers(&[&moved, &file]), (0..2000).collect::<Vec<_>>());
    assert_eq!(numbers(&[&file]).last(), Some(&1999));
}

#[test]
fn the_old_file_is_written_while_no_new_one_can_be_opened() {
    let scratch = tempfile::tempdir().unwrap();
    let (file, moved) = (scratch.path().join("log"), scratch.path().join("log.1"));
    let (log, thread) = SessionLog::open(file.clone(), "rig", 0).unwrap();
    fs::rename(&file, &moved).unwrap();
    fs::create_dir(&file).unwrap();
    log.reopen();
    record(&log, 0..3);
    drop(log);
    thread.join().unwrap();
    assert_eq!(numbers(&[&moved]), [0, 1, 2]);
}

#[test]
fn a_pipe_is_no_log() {
    let error = SessionLog::open("/dev/null".into(), "rig", 0).unwrap_err();
    assert_eq!(error.to_string(), "it is not a regular file");
}

#[test]
fn what_finds_no_room_is_counted_and_told() {
    let backlog = Backlog::default();
    assert!(backlog.enter(WAITING_MAX));
    assert!(!backlog.enter(1));
    assert!(!backlog.enter(WAITING_MAX));
    backlog.leave(1);
    assert!(backlog.enter(1));
    assert_eq!(backlog.lost.into_inner(), 2);
    assert_eq!(backlog.untold.into_inner(), 2);

    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("log");
    let (log, thread) = SessionLog::open(file.clone(), "rig", 0).unwrap();
    log.0.as_ref().unwrap().backlog.lose(5);
    record(&log, 0..1);
    assert_eq!((log.take_lost(), log.take_lost()), (5, 0));
    drop(log);
    thread.join().unwrap();
    let lines = lines(&file);
    assert_eq!(
        (&lines[0]["eventid"], &lines[0]["lines"]),
        (&"shiva.log.lost".into(), &5.into())
    );
    assert_eq!(lines[1]["input"], "0");
    assert_eq!(lines.len(), 2);
}
