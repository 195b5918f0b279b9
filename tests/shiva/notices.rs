//! What needs a person is mailed to one, through the relay host.

use crate::relay_host::{Sink, Taken};
use crate::rig::{Rig, finish, free_port, wait_until};

fn notifying(port: u16) -> Rig {
    Rig::with(&format!(
        "[analyzer]\nrelayport : {port}\n[notification]\nenabled : True\nsender : \
         shiva@example.net\nrecipient : operator@example.org\n"
    ))
}

/// A message that cannot be read: it has nothing in it.
fn unreadable(rig: &Rig, name: &str) {
    rig.drop_file(name, b"");
}

/// The notices of unreadable messages; the disk of whoever runs this may be nearly full, too.
fn notices(sink: &Sink) -> Vec<Taken> {
    let about = b"Subject: SHIVA on ";
    let subject = |mail: &Taken| {
        let at = memchr::memmem::find(&mail.message, about).unwrap();
        let line = mail.message[at..].split(|&byte| byte == b'\r').next();
        line.unwrap().ends_with(b": a message could not be read")
    };
    sink.taken().into_iter().filter(subject).collect()
}

#[test]
fn an_undeliverable_message_is_mailed_once_an_hour_whatever_restarts() {
    let sink = Sink::new(&["PIPELINING"]);
    let rig = notifying(sink.port);
    unreadable(&rig, "\u{202e}evil.eml");
    unreadable(&rig, "2.eml");
    rig.once();
    let taken = notices(&sink);
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].from, "MAIL FROM:<shiva@example.net>");
    assert_eq!(taken[0].to, ["RCPT TO:<operator@example.org>"]);
    let mail = String::from_utf8(taken[0].message.clone()).unwrap();
    assert!(mail.is_ascii(), "{mail}");
    assert!(
        mail.contains("Auto-Submitted: auto-generated\r\n"),
        "{mail}"
    );
    assert!(mail.contains("undeliverable"), "{mail}");
    unreadable(&rig, "3.eml");
    rig.once();
    assert_eq!(notices(&sink).len(), 1);
    assert_eq!(rig.total("undeliverable"), 3);
    // Nothing of it counts as relayed.
    assert_eq!(rig.total("relayed"), 0);
}

#[test]
fn where_the_relay_host_is_away_the_log_has_it() {
    let rig = notifying(free_port());
    unreadable(&rig, "1.eml");
    let output = finish(rig.command("shiva-analyzer").arg("--once"));
    assert!(output.status.success());
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let not_sent = "event=notification.not_sent kind=undeliverable";
    let line = log.lines().find(|line| line.contains(not_sent));
    let line = line.unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains("cannot connect"), "{line}");
}

#[test]
fn a_service_mails_while_it_works() {
    let sink = Sink::new(&[]);
    let rig = notifying(sink.port);
    let analyzer = rig.analyzer();
    wait_until("the queue is there", || rig.path("queue/new").exists());
    unreadable(&rig, "1.eml");
    wait_until("the notice arrives", || notices(&sink).len() == 1);
    analyzer.stop();
}
