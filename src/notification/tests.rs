use super::*;

use std::sync::Mutex;

fn config() -> config::Notification {
    config::Notification {
        enabled: true,
        sender: String::new(),
        recipient: "me@example.net".into(),
        host: "trap.example".into(),
        analyzer: "first".into(),
    }
}

/// A sender that keeps the mails, and answers so.
fn sink(answer: Result<(), String>) -> (SendMail, Arc<Mutex<Vec<Mail>>>) {
    let sent: Arc<Mutex<Vec<Mail>>> = Arc::default();
    let kept = Arc::clone(&sent);
    let send = move |mail: &Mail| {
        kept.lock().unwrap().push(mail.clone());
        answer.clone()
    };
    (Box::new(send), sent)
}

/// One run of the service, in which so many reports come.
fn run(directory: &Path, reports: usize, answer: Result<(), String>) -> Vec<Mail> {
    let (send, sent) = sink(answer);
    let (notifier, mailer) = Mailer::start(&config(), directory, send).unwrap();
    for n in 0..reports {
        notifier.report(Kind::Undeliverable, &format!("message {n}"));
    }
    mailer.unwrap().finish();
    notifier.report(Kind::Undeliverable, "after the end");
    std::mem::take(&mut *sent.lock().unwrap())
}

#[test]
fn starting_again_and_again_mails_once() {
    let scratch = tempfile::tempdir().unwrap();
    let first = run(scratch.path(), 3, Ok(()));
    assert_eq!(first.len(), 1);
    assert!(first[0].message.contains("message 0"));
    for _ in 0..3 {
        assert_eq!(run(scratch.path(), 2, Ok(())), []);
    }
    let kept = std::fs::read_to_string(scratch.path().join(STATE)).unwrap();
    assert!(kept.starts_with("undeliverable "), "{kept}");
    assert!(kept.ends_with(" 8\n"), "{kept}");
}

#[test]
fn a_broken_or_unwritable_state_file_stops_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    std::fs::write(scratch.path().join(STATE), b"\xff\0 broken\n").unwrap();
    assert_eq!(run(scratch.path(), 2, Ok(())).len(), 1);
    let missing = scratch.path().join("missing");
    assert_eq!(run(&missing, 2, Ok(())).len(), 1);
    let directory = scratch.path().join("directory");
    std::fs::create_dir_all(directory.join(STATE)).unwrap();
    assert_eq!(run(&directory, 2, Ok(())).len(), 1);
}

#[test]
fn a_link_in_the_place_of_the_state_file_is_not_followed() {
    let scratch = tempfile::tempdir().unwrap();
    let target = scratch.path().join("target");
    std::fs::write(&target, "somebody's").unwrap();
    std::os::unix::fs::symlink(&target, scratch.path().join(STATE)).unwrap();
    assert_eq!(run(scratch.path(), 1, Ok(())).len(), 1);
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "somebody's");
}

#[test]
fn what_could_not_be_sent_is_not_tried_at_once() {
    let scratch = tempfile::tempdir().unwrap();
    let away = || Err("connection refused".to_owned());
    assert_eq!(run(scratch.path(), 3, away()).len(), 1);
    assert_eq!(run(scratch.path(), 3, away()), []);
    let kept = std::fs::read_to_string(scratch.path().join(STATE)).unwrap();
    assert!(
        kept.starts_with("undeliverable - ") && kept.ends_with(" 6\n"),
        "{kept}"
    );
}

#[test]
fn reporting_never_waits_and_what_finds_no_room_is_counted() {
    let scratch = tempfile::tempdir().unwrap();
    let (let_go, held) = bounded::<()>(0);
    let (begin, began) = bounded::<()>(0);
    let send: SendMail = Box::new(move |_| {
        begin.send(()).unwrap();
        held.recv().unwrap();
        Ok(())
    });
    let (notifier, mailer) = Mailer::start(&config(), scratch.path(), send).unwrap();
    notifier.report(Kind::Undeliverable, "the first");
    began.recv().unwrap();
    // The thread is busy with the first mail: these all come back at once.
    for _ in 0..REPORTS_MAX + 10 {
        notifier.report(Kind::Undeliverable, "one more");
    }
    let_go.send(()).unwrap();
    mailer.unwrap().finish();
    let kept = std::fs::read_to_string(scratch.path().join(STATE)).unwrap();
    assert!(
        kept.ends_with(&format!(" {}\n", REPORTS_MAX + 10)),
        "{kept}"
    );
}

#[test]
fn where_it_is_off_nothing_happens() {
    let scratch = tempfile::tempdir().unwrap();
    let off = config::Notification {
        enabled: false,
        ..config()
    };
    let (send, sent) = sink(Ok(()));
    let (notifier, mailer) = Mailer::start(&off, scratch.path(), send).unwrap();
    assert!(mailer.is_none());
    notifier.report(Kind::DatabaseGone, "x");
    assert!(sent.lock().unwrap().is_empty());
    assert!(!scratch.path().join(STATE).exists());
}

#[test]
fn a_long_detail_is_cut_between_characters() {
    let (notifier, heard) = Notifier::to_channel();
    notifier.report(Kind::Undeliverable, &"\u{20ac}".repeat(DETAIL_MAX));
    let detail = heard.recv().unwrap().detail;
    assert_eq!(detail, "\u{20ac}".repeat(DETAIL_MAX / 3));
}
