//! A counted few spams go on to the relay host, each once at most, and nothing waits for it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::relay_host::{Act, At, Sink};
use crate::rig::{Rig, Service, wait_until};

/// What a usual server offers.
const OFFERS: &[&str] = &["PIPELINING", "SIZE", "8BITMIME"];

/// An installation that relays to this port; `keys` go on in `[analyzer]`.
fn relaying_to(port: u16, keys: &str) -> Rig {
    Rig::with(&format!(
        "[analyzer]\nrelay : True\nrelayport : {port}\n{keys}\n"
    ))
}

/// One spam of a kind: all of a kind have the same id.
fn spam(kind: u32) -> Vec<u8> {
    format!("From: a@example.net\r\nSubject: kind {kind}\r\n\r\n.short {kind}\r\n").into_bytes()
}

/// Puts spams of these kinds into the queue, by SMTP.
fn send(rig: &Rig, kinds: &[u32]) {
    let receiver = rig.receiver();
    let mut client = rig.client();
    for kind in kinds {
        let reply = client.mail("a@example.net", "b@example.org", &spam(*kind));
        assert!(reply.unwrap().starts_with("250"));
    }
    receiver.stop();
}

fn ledger(rig: &Rig) -> Value {
    serde_json::from_str(&rig.ok("shiva", &["relay", "--json"])).unwrap()
}

fn copies(rig: &Rig, fate: &str) -> u64 {
    ledger(rig)["copies"][fate].as_u64().unwrap_or(0)
}

fn not_relayed(rig: &Rig, reason: &str) -> u64 {
    ledger(rig)["not_relayed"][reason].as_u64().unwrap_or(0)
}

/// The analyzer as a service, at work.
fn service(rig: &Rig) -> Service {
    let log = rig.path("log");
    let _ = std::fs::remove_file(&log);
    let service = Service::logging(rig.command("shiva-analyzer"), &log);
    let said = |event: &str| said(&log, event);
    wait_until("the analyzer is at work", || said("analyzer.started"));
    service
}

fn said(log: &Path, event: &str) -> bool {
    let log = std::fs::read_to_string(log).unwrap_or_default();
    log.contains(&format!("event={event}"))
}

fn wait_until_counted(rig: &Rig, spams: u64) {
    wait_until("all is counted", || {
        rig.queue().is_empty() && rig.total("spams") == spams
    });
}

#[test]
fn a_counted_few_go_on_with_their_own_envelope_and_bytes() {
    let sink = Sink::new(OFFERS);
    let rig = relaying_to(sink.port, "individualcounter : 2\nglobalcounter : 5");
    send(&rig, &[1, 2, 3, 1, 2, 3, 1, 2, 3, 1]);
    rig.once();
    let taken = sink.taken();
    assert_eq!(taken.len(), 5);
    for kind in 1..=3 {
        let copies = taken.iter().filter(|mail| mail.message == spam(kind));
        assert!((1..=2).contains(&copies.count()), "kind {kind}");
    }
    for mail in &taken {
        assert!(
            mail.from.starts_with("MAIL FROM:<a@example.net>"),
            "{mail:?}"
        );
        assert_eq!(mail.to, ["RCPT TO:<b@example.org>"]);
    }
    assert_eq!(sink.connections(), 1);
    assert_eq!(rig.total("relayed"), 5);
    assert_eq!(rig.total("spams"), 10);
    let ledger = ledger(&rig);
    assert_eq!(ledger["copies"], serde_json::json!({ "accepted": 5 }));
    let reasons = ledger["not_relayed"].as_object().unwrap();
    let sum: u64 = reasons.values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(sum, 5, "{reasons:?}");
    let line = &ledger["ledger"][0];
    assert_eq!(line["answer"], "OK id=sink");
    assert_eq!(line["recipients"][0], "b@example.org");
    assert_eq!(line["source_ip"], "127.0.0.1");
    let id = line["id"].as_str().unwrap();
    let relayed = rig.show(id)["relayed"].as_u64().unwrap();
    assert!((1..=2).contains(&relayed));
}

#[test]
fn a_restart_gives_no_second_helping_and_the_next_window_does() {
    let sink = Sink::new(OFFERS);
    let rig = relaying_to(sink.port, "individualcounter : 1");
    send(&rig, &[1, 1]);
    let analyzer = service(&rig);
    wait_until_counted(&rig, 2);
    wait_until("the answer is written", || copies(&rig, "accepted") == 1);
    analyzer.kill();
    send(&rig, &[1, 1]);
    rig.once();
    assert_eq!(
        (sink.taken().len(), not_relayed(&rig, "record-limit")),
        (1, 3)
    );
    send(&rig, &[1, 1]);
    rig.once();
    assert_eq!(
        (sink.taken().len(), not_relayed(&rig, "record-limit")),
        (2, 4)
    );
    assert_eq!(rig.total("relayed"), 2);
}

#[test]
fn wherever_the_process_dies_a_spam_goes_on_once_at_most() {
    for (point, sent, accepted) in [
        // Not counted: all of it is done again.
        ("batch-archived=return", 1, 1),
        // Counted with its slot: nobody knows, so it is never sent again.
        ("batch-committed=return", 0, 0),
        ("relay-before-delivery=return", 0, 0),
        ("relay-answered=return", 1, 0),
    ] {
        let sink = Sink::new(OFFERS);
        let rig = relaying_to(sink.port, "individualcounter : 1");
        send(&rig, &[1, 1, 1]);
        assert!(rig.once_crashing(point), "{point}");
        for _ in 0..2 {
            rig.once();
        }
        assert_eq!(sink.taken().len(), sent, "{point}");
        assert_eq!(copies(&rig, "accepted"), accepted, "{point}");
        assert_eq!(copies(&rig, "unknown"), 1 - accepted, "{point}");
        assert_eq!(rig.total("relayed"), accepted, "{point}");
        assert_eq!(rig.total("spams"), 3, "{point}");
    }
}

#[test]
fn a_relay_host_that_is_away_is_left_alone_and_its_slots_are_free_again() {
    let port = crate::rig::free_port();
    let rig = relaying_to(port, "individualcounter : 3\nglobalcounter : 3");
    send(&rig, &[1; 20]);
    rig.once();
    assert_eq!(rig.total("spams"), 20);
    let ledger = ledger(&rig);
    let unreached = ledger["copies"]["unreached"].as_u64().unwrap();
    let reasons = ledger["not_relayed"].as_object().unwrap();
    let skipped: u64 = reasons.values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(unreached + skipped, 20);
    assert_eq!(ledger["copies"]["accepted"], Value::Null);
    let lines = ledger["ledger"].as_array().unwrap();
    let answers = |line: &Value| line["answer"].as_str().unwrap().contains("cannot connect");
    assert!(lines.iter().any(answers), "{lines:?}");
}

#[test]
fn the_analysis_does_not_wait_for_a_relay_host_that_is_silent() {
    let sink = Sink::with(OFFERS, None, |_, at| match at {
        At::End => Act::Silence,
        _ => Act::Serve,
    });
    let rig = relaying_to(sink.port, "individualcounter : 100");
    let analyzer = service(&rig);
    for round in 1..=3 {
        send(&rig, &[1, 2, 3, 4]);
        wait_until_counted(&rig, 4 * round);
    }
    let under_way = copies(&rig, "taken");
    assert!(under_way > 0 && sink.taken().is_empty());
    // A service that stops does not wait for it, either; what was under way is not sent again.
    analyzer.stop();
    rig.ok("shiva", &["relay", "off"]);
    rig.once();
    assert_eq!(copies(&rig, "taken"), 0);
    assert_eq!(copies(&rig, "unknown"), 1);
    assert_eq!(rig.total("spams"), 12);
}

#[test]
fn a_refusal_gives_its_slot_back_and_a_lost_answer_keeps_it() {
    for (act, fate, second) in [
        (Act::Say("451 later\r\n"), "refused", 1),
        (Act::Say("550 never\r\n"), "refused", 1),
        (Act::Close, "unknown", 0),
    ] {
        let sink = Sink::with(OFFERS, None, move |connection, at| match at {
            At::End if connection == 0 => act,
            _ => Act::Serve,
        });
        let rig = relaying_to(sink.port, "individualcounter : 1");
        let analyzer = service(&rig);
        send(&rig, &[1]);
        wait_until("the first is settled", || copies(&rig, fate) == 1);
        sink.hang_up();
        // Behind the first pause.
        std::thread::sleep(Duration::from_millis(1200));
        send(&rig, &[1]);
        wait_until_counted(&rig, 2);
        analyzer.stop();
        assert_eq!(copies(&rig, "accepted"), second, "{fate}");
        assert_eq!(not_relayed(&rig, "record-limit"), 1 - second, "{fate}");
        assert_eq!(sink.taken().len() as u64, second, "{fate}");
    }
}

#[test]
fn the_kill_switch_works_at_once_and_survives_a_restart() {
    let held = Arc::new(AtomicBool::new(true));
    let holding = Arc::clone(&held);
    let sink = Sink::with(OFFERS, None, move |_, at| {
        while at == At::End && holding.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        Act::Serve
    });
    let rig = relaying_to(sink.port, "individualcounter : 100");
    let analyzer = service(&rig);
    send(&rig, &[1, 2, 3]);
    wait_until_counted(&rig, 3);
    wait_until("one is under way", || {
        sink.commands().iter().any(|line| line == "DATA")
    });
    let said = rig.ok("shiva", &["relay", "off"]);
    assert!(said.contains("switched off"), "{said}");
    held.store(false, Ordering::SeqCst);
    wait_until("all are settled", || copies(&rig, "taken") == 0);
    // The one under way went on; those that waited did not.
    assert_eq!(
        (copies(&rig, "accepted"), copies(&rig, "withdrawn")),
        (1, 2)
    );
    send(&rig, &[4]);
    wait_until_counted(&rig, 4);
    assert_eq!(not_relayed(&rig, "switched-off"), 1);
    analyzer.stop();
    let analyzer = service(&rig);
    assert!(said_in(&rig, "relay.switched_off"));
    send(&rig, &[5]);
    wait_until_counted(&rig, 5);
    assert_eq!(not_relayed(&rig, "switched-off"), 2);
    assert_eq!(ledger(&rig)["switched_on"], false);
    rig.ok("shiva", &["relay", "on"]);
    send(&rig, &[6]);
    wait_until("the next goes on", || copies(&rig, "accepted") == 2);
    analyzer.stop();
    assert_eq!(sink.taken().len(), 2);
}

fn said_in(rig: &Rig, event: &str) -> bool {
    said(&rig.path("log"), event)
}

#[test]
fn what_must_not_go_on_does_not() {
    let sink = Sink::new(OFFERS);
    let keys = "relaydeny : example.com\nrelaymaxrcpt : 2";
    let rig = relaying_to(sink.port, keys);
    let receiver = rig.receiver();
    let program = b"Subject: x\r\nContent-Type: application/octet-stream; name=\"invoice.pdf.exe\"\
        \r\nContent-Disposition: attachment\r\n\r\nMZ\r\n";
    let smuggled = b"Subject: x\r\n\r\none\n.\r\nMAIL FROM:<a@b>\r\n";
    let mut client = rig.client();
    for (from, to, message) in [
        (
            "a@example.net",
            "b@EXAMPLE.com",
            &b"Subject: 1\r\n\r\nx\r\n"[..],
        ),
        (
            "a@example.net",
            "b@mail.example.com",
            b"Subject: 2\r\n\r\nx\r\n",
        ),
        (
            "a@example.net",
            "b%example.org@example.net",
            b"Subject: 3\r\n\r\nx\r\n",
        ),
        ("a@example.net", "b@example.org", program),
        ("a@example.net", "b@example.org", smuggled),
    ] {
        assert!(client.mail(from, to, message).unwrap().starts_with("250"));
    }
    for command in [
        "MAIL FROM:<>",
        "RCPT TO:<a@b.c>",
        "RCPT TO:<b@b.c>",
        "RCPT TO:<c@b.c>",
    ] {
        assert!(client.say(command).starts_with("250"));
    }
    assert!(client.say("DATA").starts_with("354"));
    assert!(client.say("Subject: 4\r\n\r\nx\r\n.").starts_with("250"));
    receiver.stop();
    rig.drop_file(
        "dropped.eml",
        b"Subject: 5\r\nTo: b@example.org\r\n\r\nx\r\n",
    );
    rig.once();
    let expected = serde_json::json!({
        "address": 1, "denied": 2, "executable": 1, "no-envelope": 1, "recipients": 1,
        "smuggling": 1
    });
    assert_eq!(ledger(&rig)["not_relayed"], expected);
    assert!(sink.taken().is_empty());
    assert_eq!(rig.total("spams"), 7);
}

#[test]
fn only_tests_of_the_relay_go_on_where_that_is_the_policy() {
    let sink = Sink::new(OFFERS);
    let keys = "relaypolicy : probe\nprobetokens : hello-relay\nindividualcounter : 100";
    let rig = relaying_to(sink.port, keys);
    let mail = |to: &str, subject: &str, body: &str| {
        let receiver = rig.receiver();
        let message = format!("Subject: {subject}\r\n\r\n{body}\r\n");
        let reply = rig.client().mail("a@example.net", to, message.as_bytes());
        assert!(reply.unwrap().starts_with("250"));
        receiver.stop();
    };
    mail("v@example.org", "Cheap watches", "buy now");
    mail("me@example.org", "test", "mx.example.net works");
    rig.once();
    assert_eq!(sink.taken().len(), 1);
    assert_eq!(not_relayed(&rig, "no-probe"), 1);
    // A later window, another process: the recipient is known, whatever the mail says.
    mail("me@example.org", "again", "without a token");
    mail("other@example.org", "HELLO-RELAY", "x");
    mail("v@example.org", "again", "without a token, too");
    rig.once();
    assert_eq!(sink.taken().len(), 3);
    assert_eq!(not_relayed(&rig, "no-probe"), 2);
    let probes: Value = serde_json::from_str(&rig.ok("shiva", &["probes", "--json"])).unwrap();
    let found: Vec<_> = probes
        .as_array()
        .unwrap()
        .iter()
        .map(|probe| {
            (
                probe["recipient"].as_str().unwrap(),
                probe["count"].as_u64().unwrap(),
            )
        })
        .collect();
    assert!(found.contains(&("me@example.org", 2)), "{found:?}");
    assert!(found.contains(&("other@example.org", 1)), "{found:?}");
    let followed = probes[0]["followed"].as_array().unwrap().len();
    assert!(followed >= 3, "{probes}");
    assert_eq!(probes[0]["sources"][0], "127.0.0.1");
    let said = rig.ok("shiva", &["probes"]);
    assert!(
        said.contains("me@example.org") && said.contains("followed by"),
        "{said}"
    );
}

#[test]
fn tests_of_the_relay_are_found_while_nothing_is_relayed() {
    let sink = Sink::new(OFFERS);
    let rig = Rig::with(&format!(
        "[analyzer]\nrelayport : {}\nrelaypolicy : probe\nprobetokens : hello-relay\n",
        sink.port
    ));
    let receiver = rig.receiver();
    let message = b"Subject: hello-relay\r\n\r\nx\r\n";
    assert!(
        rig.client()
            .mail("a@example.net", "me@example.org", message)
            .is_some()
    );
    receiver.stop();
    rig.once();
    let probes: Value = serde_json::from_str(&rig.ok("shiva", &["probes", "--json"])).unwrap();
    assert_eq!(probes[0]["recipient"], "me@example.org");
    assert_eq!(sink.connections(), 0);
    assert_eq!(ledger(&rig)["relay"], false);
    assert_eq!(ledger(&rig)["not_relayed"], serde_json::json!({}));
}

#[test]
fn what_is_imported_does_not_go_on() {
    let sink = Sink::new(OFFERS);
    let rig = relaying_to(sink.port, "relay : False");
    send(&rig, &[1]);
    let sample = std::fs::read(&rig.queue()[0]).unwrap();
    rig.once();
    let mbox = [&b"From a@b Thu Nov 26 10:00:00 2026\n"[..], &sample].concat();
    std::fs::write(rig.path("sample.eml"), &sample).unwrap();
    std::fs::write(rig.path("mbox"), mbox).unwrap();
    let rig_on = std::fs::read_to_string(rig.path("shiva.conf")).unwrap();
    std::fs::write(rig.path("shiva.conf"), format!("{rig_on}\nrelay : True\n")).unwrap();
    for stored in ["sample.eml", "mbox"] {
        let path = rig.path(stored).display().to_string();
        rig.ok("shiva", &["import", &path]);
    }
    rig.once();
    assert!(sink.taken().is_empty());
    assert_eq!(not_relayed(&rig, "no-envelope"), 2);
    // What the session was is known all the same, and the message is as it was.
    assert_eq!(
        (
            rig.total("spams"),
            rig.total("distinct"),
            rig.total("sensors")
        ),
        (3, 1, 1)
    );
    let id = rig.report()["top"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(rig.run("shiva", &["show", &id, "--raw"]).stdout, spam(1));
}

#[test]
fn a_batch_that_the_database_refuses_gives_its_slots_back() {
    let sink = Sink::new(OFFERS);
    let rig = relaying_to(sink.port, "globalcounter : 3");
    rig.once();
    // As a server that does not take what stands in a mail.
    let windows = rusqlite::Connection::open(rig.path("db/ShivaTemp.sqlite")).unwrap();
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON spam WHEN NEW.subject = 'kind 3' BEGIN \
                  SELECT RAISE(ABORT, 'not this one'); END";
    windows.execute_batch(refuse).unwrap();
    send(&rig, &[1, 2, 3, 4]);
    rig.once();
    let mut taken: Vec<_> = sink.taken().into_iter().map(|mail| mail.message).collect();
    taken.sort();
    assert_eq!(taken, [spam(1), spam(2), spam(4)]);
    assert_eq!((rig.total("spams"), rig.total("undeliverable")), (3, 1));
    let ledger = ledger(&rig);
    assert_eq!(ledger["copies"], serde_json::json!({ "accepted": 3 }));
    assert_eq!(ledger["not_relayed"], serde_json::json!({}));
}

#[test]
fn a_mail_that_is_refused_for_good_holds_up_no_other() {
    let sink = Sink::with(OFFERS, None, |_, at| match at {
        At::Command(line) if line.starts_with("MAIL FROM:<nobody@") => {
            Act::Say("550 Sender verify failed\r\n")
        }
        _ => Act::Serve,
    });
    let rig = relaying_to(sink.port, "individualcounter : 100");
    let analyzer = service(&rig);
    let receiver = rig.receiver();
    let mut client = rig.client();
    for refused in 1..=5 {
        let reply = client.mail("nobody@example.net", "b@example.org", &spam(1));
        assert!(reply.unwrap().starts_with("250"));
        wait_until("it is refused", || copies(&rig, "refused") == refused);
        let reply = client.mail("a@example.net", "b@example.org", &spam(2));
        assert!(reply.unwrap().starts_with("250"));
        wait_until("the next is judged", || rig.total("spams") == 2 * refused);
    }
    receiver.stop();
    wait_until("all are settled", || copies(&rig, "taken") == 0);
    analyzer.stop();
    assert_eq!(copies(&rig, "accepted"), 5);
    assert_eq!(ledger(&rig)["not_relayed"], serde_json::json!({}));
}

#[test]
fn once_waits_for_a_relay_host_that_is_slow() {
    let sink = Sink::with(OFFERS, None, |_, at| {
        if at == At::End {
            std::thread::sleep(Duration::from_millis(400));
        }
        Act::Serve
    });
    let rig = relaying_to(sink.port, "");
    send(&rig, &[1, 2, 3]);
    rig.once();
    assert_eq!(sink.taken().len(), 3);
    assert_eq!(ledger(&rig)["copies"], serde_json::json!({ "accepted": 3 }));
}
