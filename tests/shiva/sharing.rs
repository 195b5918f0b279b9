//! What a window learnt is shared over a real broker: all of it, once or more, and nothing waits.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use shiva::hpfeeds::Message;

use crate::broker::{Broker, CHANNELS, PUBLISHER, secret};
use crate::cutting::Cutting;
use crate::rig::{Rig, Service, files_under, finish, wait_until};

/// The honeypot's own address, which nobody is to learn.
const RECIPIENT: &str = "trap.box7@example.org";

/// An installation that shares over the broker at this port; `keys` go on in `[hpfeeds]`.
fn sharing(port: u16, secret: &str, keys: &str) -> Rig {
    let rig = Rig::new();
    let root = rig.path("").display().to_string();
    let conf = rig.path("shiva.conf");
    let text = fs::read_to_string(&conf).unwrap();
    let more = format!(
        "[hpfeeds]\nenabled : True\nhost : 127.0.0.1\nport : {port}\nident : {PUBLISHER}\nsecret : \
         {secret}\nhpfeedspam : {root}sent/spam\nhpfeedattach : {root}sent/attachment\noutboxpath : \
         {root}outbox\npseudonymkey : {root}key\n{keys}\n"
    );
    fs::write(conf, text + &more).unwrap();
    rig
}

/// Spams of three kinds, each with a link of its own and two attachments, one of them the same in
/// all.
fn spam(kind: u32) -> Vec<u8> {
    format!(
        "From: a@example.net\r\nTo: {RECIPIENT}\r\nSubject: kind {kind}\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nDear {RECIPIENT}, see \
         http://example.net/{kind}?u=trap.box7%40example.org\r\n--b\r\nContent-Type: \
         application/zip\r\nContent-Disposition: attachment; filename=\"../{kind}.zip\"\r\n\r\n\
         content {kind}\r\n--b\r\nContent-Type: image/png\r\nContent-Disposition: inline; \
         filename=same.png\r\n\r\nsame\r\n--b--\r\n"
    )
    .into_bytes()
}

fn send(rig: &Rig, kinds: &[u32]) {
    let receiver = rig.receiver();
    let mut client = rig.client();
    for kind in kinds {
        let reply = client.mail("a@example.net", RECIPIENT, &spam(*kind));
        assert!(reply.unwrap().starts_with("250"));
    }
    receiver.stop();
}

fn payloads(messages: &[Message], channel: &str) -> Vec<Value> {
    messages
        .iter()
        .filter(|message| message.channel == channel)
        .map(|message| serde_json::from_slice(&message.payload).unwrap())
        .collect()
}

/// What a subscriber has for these kinds: three of each of records, samples; links, an address for
/// each record, attachments.
fn check(messages: &[Message], kinds: u32) {
    let kinds = kinds as usize;
    let distinct = |channel: &str| -> BTreeSet<String> {
        let payloads = payloads(messages, channel);
        payloads.iter().map(ToString::to_string).collect()
    };
    assert_eq!(distinct("shiva.parsed").len(), kinds);
    assert_eq!(distinct("shiva.ip.url").len(), 2 * kinds);
    assert_eq!(distinct("shiva.raw").len(), kinds);
    assert_eq!(distinct("shiva.attachments").len(), kinds + 1);
    for message in messages {
        assert_eq!(message.ident, PUBLISHER);
    }
}

#[test]
fn a_window_is_shared_whole_and_without_the_traps_addresses() {
    let broker = Broker::start();
    let subscriber = broker.subscriber(&CHANNELS);
    let rig = sharing(broker.account(PUBLISHER).port, &secret(PUBLISHER), "");
    send(&rig, &[1, 2, 3, 1, 1]);
    rig.once();
    let messages = subscriber.wait_for(3 + 6 + 3 + 4);
    check(&messages, 3);
    let records = payloads(&messages, "shiva.parsed");
    let first = records.iter().find(|record| record["subject"] == "kind 1");
    let first = first.unwrap();
    assert_eq!(first["count"], 3);
    assert_eq!(first["ips"][0], "127.0.0.1");
    assert_eq!(first["sensors"][0], "rig");
    let names = first["attachments"].as_array().unwrap().iter();
    let names: BTreeSet<_> = names.map(|part| part["name"].as_str().unwrap()).collect();
    assert_eq!(names, BTreeSet::from(["../1.zip", "same.png"]));
    let pseudonym = first["to"][0].as_str().unwrap();
    assert!(pseudonym.ends_with("@recipient.invalid"), "{pseudonym}");
    // Records before samples.
    let last_record = messages.iter().rposition(|m| m.channel == "shiva.parsed");
    let first_sample = messages.iter().position(|m| m.channel == "shiva.raw");
    assert!(last_record < first_sample);
    for raw in payloads(&messages, "shiva.raw") {
        assert_eq!(
            (&raw["changed"], &raw["ip"]),
            (&true.into(), &"127.0.0.1".into())
        );
        let sample = STANDARD.decode(raw["spamfile"].as_str().unwrap()).unwrap();
        let sample = String::from_utf8(sample).unwrap();
        assert!(sample.starts_with("From: a@example.net\r\n"), "{sample}");
        assert!(sample.contains(pseudonym), "{sample}");
    }
    for message in &messages {
        let text = String::from_utf8_lossy(&message.payload);
        assert!(!text.contains("trap.box7"), "{text}");
    }
    // Everything was sent and is forgotten; the files moved, and the store knows.
    assert!(files_under(&rig.path("outbox")).is_empty());
    assert!(files_under(&rig.path("rawspam")).is_empty());
    assert!(files_under(&rig.path("attachment")).is_empty());
    assert_eq!(files_under(&rig.path("sent/spam")).len(), 3);
    assert_eq!(files_under(&rig.path("sent/attachment")).len(), 4);
    let id = first["id"].as_str().unwrap();
    assert_eq!(rig.run("shiva", &["show", id, "--raw"]).stdout, spam(1));
    let shown = rig.show(id);
    assert_eq!(shown["to"][0], RECIPIENT);
    let parts =
        "SELECT attachment_file_path FROM attachment UNION SELECT inline_file_path FROM inline";
    let main = rig.database("Shiva.sqlite");
    let mut paths = main.prepare(parts).unwrap();
    let paths = paths.query_map([], |row| row.get::<_, String>(0)).unwrap();
    for path in paths.map(Result::unwrap) {
        assert!(Path::new(&path).exists(), "{path}");
    }
    // What comes again is counted, and its content is neither kept nor sent twice.
    send(&rig, &[1, 2]);
    rig.once();
    let more = subscriber.wait_for(messages.len() + 2 + 4 + 2);
    assert_eq!(payloads(&more, "shiva.attachments").len(), 4);
    assert!(files_under(&rig.path("attachment")).is_empty());
    assert_eq!(rig.total("attachments"), 4);
}

#[test]
fn addresses_are_shared_as_they_are_where_the_operator_says_so() {
    let broker = Broker::start();
    let subscriber = broker.subscriber(&CHANNELS);
    let rig = sharing(
        broker.account(PUBLISHER).port,
        &secret(PUBLISHER),
        "pseudonyms : none",
    );
    send(&rig, &[1]);
    rig.once();
    let messages = subscriber.wait_for(1 + 2 + 1 + 2);
    let raw = &payloads(&messages, "shiva.raw")[0];
    let sample = STANDARD.decode(raw["spamfile"].as_str().unwrap()).unwrap();
    assert_eq!(sample, spam(1));
    assert_eq!(raw["changed"], Value::Null);
    assert_eq!(payloads(&messages, "shiva.parsed")[0]["to"][0], RECIPIENT);
}

#[test]
fn nothing_is_lost_wherever_the_process_dies() {
    for point in [
        "window-before-commit=return",
        "window-taken=return",
        "feed-sent=return",
        "feed-sent=1*off->return",
        "feed-taken=return",
        "feed-moved=return",
        "feed-moved=1*off->return",
    ] {
        let broker = Broker::start();
        let subscriber = broker.subscriber(&CHANNELS);
        let rig = sharing(broker.account(PUBLISHER).port, &secret(PUBLISHER), "");
        send(&rig, &[1, 2, 3]);
        assert!(rig.once_crashing(point), "{point}");
        rig.once();
        wait_until("all has arrived", || {
            let messages = subscriber.messages();
            payloads(&messages, "shiva.raw").len() >= 3
                && payloads(&messages, "shiva.attachments").len() >= 4
        });
        check(&subscriber.messages(), 3);
        assert!(files_under(&rig.path("outbox")).is_empty(), "{point}");
        assert_eq!(files_under(&rig.path("sent/spam")).len(), 3, "{point}");
        assert_eq!(rig.total("spams"), 3, "{point}");
    }
}

#[test]
fn a_broker_that_is_away_is_waited_for_and_the_analysis_goes_on() {
    let broker = Broker::start();
    let rig = sharing(broker.account(PUBLISHER).port, &secret(PUBLISHER), "");
    broker.kill();
    send(&rig, &[1, 2, 3]);
    let output = finish(rig.command("shiva-analyzer").arg("--once"));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(69), "{errors}");
    assert!(errors.contains("event=hpfeeds.away"), "{errors}");
    assert!(errors.contains("the next run goes on"), "{errors}");
    // Analysed, counted and in the main store all the same.
    assert_eq!((rig.total("spams"), rig.total("distinct")), (3, 3));
    assert!(!files_under(&rig.path("outbox")).is_empty());
    // A service finds it waiting, and a broker that comes back.
    let log = rig.path("log");
    let analyzer = Service::logging(rig.command("shiva-analyzer"), &log);
    let says = |event: &str| {
        let log = fs::read_to_string(&log).unwrap_or_default();
        log.contains(&format!("event={event} "))
    };
    wait_until("it says that the broker is away", || says("hpfeeds.away"));
    broker.start_again();
    let subscriber = broker.subscriber(&CHANNELS);
    wait_until("it says that the broker is back", || says("hpfeeds.back"));
    wait_until("the outbox is empty", || {
        files_under(&rig.path("outbox")).is_empty()
    });
    analyzer.stop();
    check(&subscriber.wait_for(3 + 6 + 3 + 4), 3);
}

#[test]
fn a_connection_that_is_cut_loses_nothing() {
    let broker = Broker::start();
    let subscriber = broker.subscriber(&CHANNELS);
    let proxy = Cutting::to(broker.account(PUBLISHER).port, &[200, 2_000, 5_000]);
    let rig = sharing(proxy.port, &secret(PUBLISHER), "");
    send(&rig, &[1, 2, 3]);
    rig.once();
    wait_until("all has arrived", || {
        payloads(&subscriber.messages(), "shiva.attachments").len() >= 4
    });
    check(&subscriber.messages(), 3);
    assert!(proxy.connections() > 3);
    assert!(files_under(&rig.path("outbox")).is_empty());
}

#[test]
fn a_wrong_secret_is_said_once_and_tried_seldom() {
    let broker = Broker::start();
    let rig = sharing(broker.account(PUBLISHER).port, "another secret", "");
    send(&rig, &[1]);
    let output = finish(rig.command("shiva-analyzer").arg("--once"));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(69), "{errors}");
    assert_eq!(
        errors.matches("event=hpfeeds.refused").count(),
        1,
        "{errors}"
    );
    assert!(errors.contains("refuses ident or secret"), "{errors}");
    assert!(!errors.contains("another secret"), "{errors}");
    let log = rig.path("log");
    let analyzer = Service::logging(rig.command("shiva-analyzer"), &log);
    let said = || fs::read_to_string(&log).unwrap_or_default();
    wait_until("it says so", || said().contains("event=hpfeeds.refused"));
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(said().matches("event=hpfeeds").count(), 1, "{}", said());
    send(&rig, &[2]);
    wait_until("analysis goes on", || rig.total("spams") == 2);
    analyzer.stop();
}

#[test]
fn without_a_main_store_of_bodies_the_window_is_shared_all_the_same() {
    let broker = Broker::start();
    let subscriber = broker.subscriber(&CHANNELS);
    let rig = sharing(
        broker.account(PUBLISHER).port,
        &secret(PUBLISHER),
        "[database]\nlocaldb : False",
    );
    send(&rig, &[1, 1, 2]);
    rig.once();
    let messages = subscriber.wait_for(2 + 4 + 2 + 3);
    check(&messages, 2);
    let records = payloads(&messages, "shiva.parsed");
    assert!(
        records
            .iter()
            .all(|record| record["text"].as_str().unwrap().contains("Dear"))
    );
    assert_eq!((rig.total("spams"), rig.total("distinct")), (3, 2));
}

#[test]
fn what_is_too_large_is_announced_or_cut() {
    let broker = Broker::start();
    let subscriber = broker.subscriber(&CHANNELS);
    let rig = sharing(broker.account(PUBLISHER).port, &secret(PUBLISHER), "");
    let text = "long text ".repeat(200_000);
    let content = "A".repeat(900_000);
    let message = format!(
        "Subject: large\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
         --b\r\n\r\n{text}\r\n--b\r\nContent-Type: application/zip\r\nContent-Disposition: \
         attachment; filename=a.zip\r\n\r\n{content}\r\n--b--\r\n"
    );
    rig.drop_file("large.eml", message.as_bytes());
    rig.once();
    let messages = subscriber.wait_for(3);
    let record = &payloads(&messages, "shiva.parsed")[0];
    assert_eq!(record["truncated"], true);
    assert_eq!(record["length"], text.len() + "large".len());
    let raw = &payloads(&messages, "shiva.raw")[0];
    assert_eq!(
        (&raw["oversize"], &raw["size"]),
        (&true.into(), &message.len().into())
    );
    let attached = &payloads(&messages, "shiva.attachments")[0];
    assert_eq!(
        (&attached["oversize"], &attached["size"]),
        (&true.into(), &900_000.into())
    );
    // What was not sent stays where it is.
    assert_eq!(files_under(&rig.path("rawspam")).len(), 1);
    assert_eq!(files_under(&rig.path("attachment")).len(), 1);
    assert!(files_under(&rig.path("outbox")).is_empty());
}
