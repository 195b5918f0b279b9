//! Promise 2: every received spam is counted once, in one record, whenever the process dies.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};
use shiva::fingerprint::hex;

use crate::rig::{Rig, files_under, wait_until};

/// Every crash point of the analyzer, with where to die: at once, or on a later pass.
pub const ANALYZER_POINTS: &[&str] = &[
    "batch-entered=return",
    "batch-archived=return",
    "batch-committed=return",
    "batch-half-unlinked=return",
    "batch-unlinked=return",
    "batch-settled=return",
    "window-closed=return",
    "window-half-taken=return",
    "window-half-taken=3*off->return",
    "window-before-commit=return",
    "window-taken=return",
    "window-samples-removed=return",
];

const RECEIVER_POINTS: &[&str] = &[
    "spool-written",
    "spool-synced",
    "spool-renamed",
    "spool-durable",
];

/// Points that need a death before them, a relay host or a broker, that a test message reaches, or that a
/// test pauses at.
const OTHER_POINTS: &[&str] = &[
    "recovery-unlinked",
    "poison",
    "spool-directory-opened",
    "relay-before-delivery",
    "relay-answered",
    "feed-sent",
    "feed-taken",
    "feed-moved",
];

/// Messages of which some are copies, with links, attachments and an unreadable one.
pub fn fill(rig: &Rig) {
    for n in 0..12 {
        let kind = n % 4;
        let message = format!(
            "From: a@example.net\r\nSubject: kind {kind}\r\nMIME-Version: 1.0\r\nContent-Type: \
             multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nSee http://example.net/{n}\r\n--b\r\n\
             Content-Type: application/zip; name=a.zip\r\nContent-Disposition: attachment\r\n\r\n\
             content {kind}\r\n--b--\r\n"
        );
        // The first line differs, the body is what its kind is: copies match by id.
        let message = message.replace(
            &format!("See http://example.net/{n}"),
            &format!("See http://example.net/{kind}"),
        );
        rig.drop_file(&format!("{n}.eml"), message.as_bytes());
    }
    rig.drop_file("empty.eml", b"");
}

/// What the operator sees, and what lies on the disk.
pub fn check_findings(rig: &Rig, point: &str, times: u64) {
    let report = rig.report();
    let total = |name: &str| report["totals"][name].as_u64().unwrap();
    assert_eq!(total("spams"), 12 * times, "{point}");
    assert_eq!(total("distinct"), 4, "{point}");
    assert_eq!(total("links"), 4, "{point}");
    assert_eq!(total("attachments"), 4, "{point}");
    assert_eq!(total("undeliverable"), times, "{point}");
    assert_eq!(report["queue"], 0, "{point}");
    let kept = files_under(&rig.path("attachment"));
    assert_eq!(kept.len(), 4, "{point}");
    for file in kept {
        let sha256 = hex(&Sha256::digest(fs::read(&file).unwrap()));
        assert_eq!(
            file.file_name().unwrap().to_str().unwrap(),
            sha256,
            "{point}"
        );
    }
    for top in report["top"].as_array().unwrap() {
        assert_eq!(top["count"], 3 * times, "{point}");
        let raw = rig.run("shiva", &["show", top["id"].as_str().unwrap(), "--raw"]);
        assert!(raw.status.success() && !raw.stdout.is_empty(), "{point}");
    }
}

fn check(rig: &Rig, point: &str, times: u64) {
    check_findings(rig, point, times);
    let main = rig.database("Shiva.sqlite");
    let days: i64 = main
        .query_row("SELECT sum(todaysCounter) FROM sdate", [], |row| row.get(0))
        .unwrap();
    assert_eq!(days, 12 * times as i64, "{point}");
}

#[test]
fn killed_at_every_step_of_the_analyzer() {
    for point in ANALYZER_POINTS {
        let rig = Rig::new();
        fill(&rig);
        assert!(rig.once_crashing(point), "{point} was never reached");
        rig.once();
        check(&rig, point, 1);
        // And again onto records that the main store knows.
        fill(&rig);
        let _ = rig.once_crashing(point);
        rig.once();
        check(&rig, point, 2);
    }
}

#[test]
fn killed_again_while_it_recovers() {
    let rig = Rig::new();
    fill(&rig);
    assert!(rig.once_crashing("batch-committed=return"));
    assert!(rig.once_crashing("recovery-unlinked=return"));
    assert!(rig.once_crashing("batch-unlinked=return") || rig.queue().is_empty());
    rig.once();
    check(&rig, "recovery-unlinked", 1);
}

#[test]
fn no_crash_point_is_without_a_test() {
    let mut tested: BTreeSet<String> = OTHER_POINTS.iter().map(ToString::to_string).collect();
    tested.extend(RECEIVER_POINTS.iter().map(ToString::to_string));
    let names = ANALYZER_POINTS
        .iter()
        .filter_map(|point| point.split('=').next());
    tested.extend(names.map(ToOwned::to_owned));
    let mut found = BTreeSet::new();
    for file in files_under(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let text = fs::read_to_string(file).unwrap();
        for call in text.split("point(\"").skip(1) {
            found.extend(call.split('"').next().map(ToOwned::to_owned));
        }
    }
    found.remove("name"); // the example in the documentation
    assert_eq!(found, tested);
}

#[test]
fn every_250_is_one_spam_when_the_receiver_is_killed() {
    for (round, point) in RECEIVER_POINTS.iter().enumerate() {
        let rig = Rig::new();
        let mut command = rig.command("shiva-receiver");
        command.env("FAILPOINTS", format!("{point}={}*off->return", 5 + round));
        let receiver = rig.receiver_with(command);
        let answered = send_until_dead(&rig, round);
        receiver.kill();
        verify(&rig, &answered, point);
    }
}

#[test]
fn every_250_is_one_spam_when_the_receiver_is_killed_under_load() {
    let rig = Rig::new();
    let receiver = rig.receiver();
    let answered = std::thread::scope(|scope| {
        let sending = scope.spawn(|| send_until_dead(&rig, 9));
        wait_until("some mail lies in the queue", || rig.queue().len() > 200);
        receiver.kill();
        sending.join().unwrap()
    });
    // Those under way when it died were not answered, eight at most.
    assert!(answered.len() > 190, "{}", answered.len());
    verify(&rig, &answered, "under load");
}

/// Sends from several connections until the receiver is gone; returns the subjects answered 250.
fn send_until_dead(rig: &Rig, round: usize) -> Vec<String> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                scope.spawn(move || {
                    let mut answered = Vec::new();
                    let mut client = rig.client();
                    for n in 0..100_000 {
                        let subject = format!("{round}-{thread}-{n}");
                        let message = format!("Subject: {subject}\r\n\r\nshort\r\n");
                        match client.mail("a@b", "c@d", message.as_bytes()) {
                            Some(reply) if reply.starts_with("250") => answered.push(subject),
                            _ => break,
                        }
                    }
                    answered
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    })
}

/// Restarts, analyses, and compares: each 250 is one spam, and nothing else is there but what
/// was in the eight connections when the receiver died.
fn verify(rig: &Rig, answered: &[String], point: &str) {
    rig.receiver().stop();
    assert_eq!(files_under(&rig.path("queue/tmp")).len(), 0, "{point}");
    rig.once();
    let main = rig.database("Shiva.sqlite");
    let mut statement = main
        .prepare("SELECT subject, totalCounter FROM spam")
        .unwrap();
    let rows = statement.query_map([], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
    });
    let counted: Vec<(String, i64)> = rows.unwrap().map(Result::unwrap).collect();
    assert!(counted.iter().all(|(_, count)| *count == 1), "{point}");
    let subjects: BTreeSet<&str> = counted
        .iter()
        .map(|(subject, _)| subject.as_str())
        .collect();
    for subject in answered {
        assert!(
            subjects.contains(subject.as_str()),
            "{point}: {subject} was answered 250 and is lost"
        );
    }
    assert!(
        counted.len() <= answered.len() + 8,
        "{point}: {} > {}",
        counted.len(),
        answered.len()
    );
}

#[test]
fn a_file_dropped_under_a_name_used_before_counts_again() {
    let rig = Rig::new();
    let receiver = rig.receiver();
    rig.client()
        .mail("a@b", "c@d", b"Subject: x\r\n\r\nfirst\r\n")
        .unwrap();
    receiver.stop();
    let first = rig.queue().remove(0);
    let aside = rig.path("aside");
    fs::copy(&first, &aside).unwrap();
    // Counted, but the process dies before the file is unlinked; then another file takes the name.
    assert!(rig.once_crashing("batch-committed=return"));
    fs::remove_file(&first).unwrap();
    fs::rename(&aside, &first).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(2100));
    rig.once();
    assert_eq!(rig.total("spams"), 2);
    assert!(rig.queue().is_empty());
}

#[test]
fn a_mail_that_kills_the_process_twice_is_set_aside_unread() {
    let rig = Rig::new();
    let poison = b"Subject: p\r\nX-Shiva-Test: poison\r\n\r\nkills\r\n";
    rig.drop_file("poison.eml", poison);
    for n in 0..5 {
        rig.drop_file(
            &format!("{n}.eml"),
            format!("Subject: {n}\r\n\r\n{n}\r\n").as_bytes(),
        );
    }
    let mut deaths = 0;
    while rig.once_crashing("poison=return") {
        deaths += 1;
        assert!(deaths < 5, "it kills for ever");
    }
    assert_eq!(deaths, 3, "once among others, twice alone");
    assert_eq!(rig.total("spams"), 5);
    assert_eq!(rig.total("undeliverable"), 1);
    let aside = files_under(&rig.path("undeliverable"));
    assert_eq!(aside.len(), 2);
    assert_eq!(fs::read(&aside[0]).unwrap(), poison);
    assert!(
        fs::read_to_string(&aside[1])
            .unwrap()
            .contains("died twice")
    );
}

#[test]
fn a_directory_renewed_under_the_receivers_hands_loses_nothing() {
    let rig = Rig::new();
    let mut command = rig.command("shiva-receiver");
    command.env("FAILPOINTS", "spool-directory-opened=sleep(700)");
    let _receiver = rig.receiver_with(command);
    let mut client = rig.client();
    client.send(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n");
    for _ in 0..3 {
        client.reply().unwrap();
    }
    client.send(b"Subject: x\r\n\r\nx\r\n.\r\n");
    wait_until("the message is written", || {
        !files_under(&rig.path("queue/tmp")).is_empty()
    });
    std::thread::sleep(std::time::Duration::from_millis(200));
    // While the receiver holds the directory it opened, another takes its name and it is removed.
    let (new, old) = (rig.path("queue/new"), rig.path("queue/.new.old"));
    fs::rename(&new, &old).unwrap();
    fs::create_dir(&new).unwrap();
    fs::remove_dir(&old).unwrap();
    assert!(client.reply().unwrap().starts_with("250 "));
    assert_eq!(rig.queue().len(), 1);
}

/// Moves what lies in `new/` to `cur/`, as a mail tool does that shows the queue.
fn show_in_a_mail_tool(rig: &Rig) {
    for file in rig.queue() {
        let name = file.file_name().unwrap().to_str().unwrap();
        fs::rename(&file, rig.path("queue/cur").join(format!("{name}:2,S"))).unwrap();
    }
}

#[test]
fn a_mail_tool_that_moves_mail_in_work_does_not_make_it_count_twice() {
    let rig = Rig::new();
    fill(&rig);
    assert!(rig.once_crashing("batch-committed=return"));
    show_in_a_mail_tool(&rig);
    rig.once();
    check(&rig, "moved after a death", 1);
    // And while it is in work: between its examination and its commit.
    fill(&rig);
    std::thread::scope(|scope| {
        let analysing = scope.spawn(|| rig.once_crashing("batch-entered=sleep(3000)"));
        std::thread::sleep(std::time::Duration::from_millis(1500));
        assert_eq!(rig.queue().len(), 13);
        show_in_a_mail_tool(&rig);
        assert!(!analysing.join().unwrap());
    });
    check(&rig, "moved while in work", 2);
    assert!(files_under(&rig.path("queue/cur")).is_empty());
}
