//! Our connection against the broker and the client of the Python package.

use std::time::Duration;

use shiva::hpfeeds::codec::payload_max;
use shiva::hpfeeds::connection::{Encryption, Timeouts};
use shiva::hpfeeds::{self, Connection, Fault, Message};

use crate::authority::Authority;
use crate::broker::{Broker, CHANNELS, NOBODY, PUBLISHER, SUBSCRIBER};
use crate::rig::{PATIENCE, wait_until};

const RAW: &str = "shiva.raw";

/// A payload of this length that no other number has.
fn payload(number: usize, length: usize) -> Vec<u8> {
    let mut payload = format!("{number:08} ").into_bytes();
    payload.extend((payload.len()..length).map(|at| (at * 31 + number) as u8));
    payload
}

/// Publishes and waits until all was taken.
fn publish(account: &hpfeeds::Broker, payloads: &[Vec<u8>]) -> Result<(), Fault> {
    let mut connection = Connection::open(account)?;
    for payload in payloads {
        connection.publish(RAW, payload)?;
    }
    connection.finish()
}

/// Publishes far more than fits into sockets.
fn publish_much(account: &hpfeeds::Broker) -> Result<(), Fault> {
    let mut connection = Connection::open(account)?;
    let payload = payload(0, 1 << 19);
    for _ in 0..64 {
        connection.publish(RAW, &payload)?;
    }
    connection.finish()
}

/// A subscriber of ours whose subscriptions the broker has taken.
fn subscriber(broker: &Broker, channels: &[&str]) -> Connection {
    let mut connection = Connection::open(&broker.account(SUBSCRIBER)).unwrap();
    for channel in channels {
        connection.subscribe(channel).unwrap();
    }
    connection.subscribe("tests.ready").unwrap();
    connection.publish("tests.ready", b"").unwrap();
    connection.flush().unwrap();
    assert_eq!(next(&mut connection).channel, "tests.ready");
    connection
}

fn next(connection: &mut Connection) -> Message {
    let message = connection.next(PATIENCE).unwrap();
    message.expect("a message in time")
}

#[test]
fn a_thousand_payloads_reach_a_python_subscriber_in_order() {
    let broker = Broker::start();
    let subscriber = broker.subscriber(&CHANNELS);
    let longest = payload_max(PUBLISHER, RAW);
    let payloads: Vec<Vec<u8>> = (0..1000)
        .map(|number| match number {
            500 => payload(number, longest),
            _ => payload(number, 9 + number * 37 % 5000),
        })
        .collect();
    assert_eq!(publish(&broker.account(PUBLISHER), &payloads), Ok(()));
    let received = subscriber.wait_for(payloads.len());
    assert_eq!(received.len(), payloads.len());
    for (message, payload) in received.iter().zip(&payloads) {
        assert_eq!(message.ident, PUBLISHER);
        assert_eq!(message.channel, RAW);
        assert!(message.payload == *payload, "{} bytes", payload.len());
    }
    assert_eq!(received[500].payload.len(), longest);
}

#[test]
fn what_a_broker_wakes_up_to_with_our_end_behind_it_is_handed_on() {
    let broker = Broker::start();
    let mut subscriber = subscriber(&broker, &[RAW]);
    let mut connection = Connection::open(&broker.account(PUBLISHER)).unwrap();
    connection.publish(RAW, &payload(0, 100)).unwrap();
    connection.flush().unwrap();
    assert_eq!(next(&mut subscriber).payload, payload(0, 100));
    broker.freeze();
    for number in 1..200 {
        connection.publish(RAW, &payload(number, 500)).unwrap();
    }
    let finish = std::thread::spawn(move || connection.finish());
    // It has all of it and our end in its socket, or finds them there in a moment.
    std::thread::sleep(Duration::from_millis(300));
    assert!(!finish.is_finished());
    broker.thaw();
    assert_eq!(finish.join().unwrap(), Ok(()));
    for number in 1..200 {
        assert_eq!(next(&mut subscriber).payload, payload(number, 500));
    }
}

#[test]
fn what_a_killed_broker_had_not_read_is_not_taken() {
    let broker = Broker::start();
    let mut connection = Connection::open(&broker.account(PUBLISHER)).unwrap();
    broker.freeze();
    connection.publish(RAW, b"lost").unwrap();
    let finish = std::thread::spawn(move || connection.finish());
    std::thread::sleep(Duration::from_millis(300));
    broker.kill();
    let fault = finish.join().unwrap();
    assert!(matches!(fault, Err(Fault::Lost(_))), "{fault:?}");
}

#[test]
fn wrong_credentials_are_told_by_the_broker_s_words() {
    let broker = Broker::start();
    let unknown = broker.account("stranger");
    let mut wrong = broker.account(PUBLISHER);
    wrong.secret.push('!');
    for account in [unknown, wrong] {
        let words = format!("Authentication failed for {}", account.ident);
        let refused = |fault: Result<(), Fault>| {
            let refused = matches!(&fault, Err(Fault::Credentials(text)) if text.contains(&words));
            assert!(refused, "{fault:?}");
        };
        refused(Connection::open(&account).unwrap().finish());
        refused(publish(&account, &[payload(0, 100)]));
        refused(publish_much(&account));
        let mut subscriber = Connection::open(&account).unwrap();
        let subscribed = subscriber.subscribe(RAW);
        refused(subscribed.and_then(|()| subscriber.next(PATIENCE).map(drop)));
    }
}

#[test]
fn a_channel_that_is_not_allowed_is_told_by_the_broker_s_words() {
    let broker = Broker::start();
    let account = broker.account(NOBODY);
    let refused = |fault: Result<(), Fault>, words: &str| {
        let refused = matches!(&fault, Err(Fault::Refused(text)) if text.contains(words));
        assert!(refused, "{fault:?}");
    };
    assert_eq!(Connection::open(&account).unwrap().finish(), Ok(()));
    let publishing = "not allowed to pub here. ident=nobody, chan=shiva.raw";
    refused(publish(&account, &[payload(0, 100)]), publishing);
    refused(publish_much(&account), publishing);
    let mut subscriber = Connection::open(&account).unwrap();
    subscriber.subscribe(RAW).unwrap();
    let received = subscriber.next(PATIENCE).map(drop);
    refused(
        received,
        "not allowed to sub here. ident=nobody, chan=shiva.raw",
    );
}

#[test]
fn a_broker_killed_in_the_middle_has_taken_nothing_and_gets_it_again() {
    let broker = Broker::start();
    let python = broker.subscriber(&[RAW]);
    let mut ours = subscriber(&broker, &[RAW]);
    let account = broker.account(PUBLISHER);
    let mut connection = Connection::open(&account).unwrap();
    let payloads: Vec<Vec<u8>> = (0..100).map(|number| payload(number, 20_000)).collect();
    for payload in &payloads[..20] {
        connection.publish(RAW, payload).unwrap();
    }
    broker.kill();
    let mut rest = payloads[20..].iter();
    let fault = rest.find_map(|payload| connection.publish(RAW, payload).err());
    assert!(matches!(&fault, Some(Fault::Lost(_))), "{fault:?}");
    let gone = loop {
        match ours.next(PATIENCE) {
            Ok(message) => assert!(message.is_some(), "the end in time"),
            Err(fault) => break fault,
        }
    };
    assert!(matches!(&gone, Fault::Lost(_)), "{gone:?}");
    let fault = Connection::open(&account).err();
    assert!(matches!(&fault, Some(Fault::Lost(text)) if text.contains("cannot connect")));
    broker.start_again();
    python.wait_until_ready(2);
    assert_eq!(publish(&account, &payloads), Ok(()));
    wait_until("each payload has come", || {
        let messages = python.messages();
        let has = |payload: &Vec<u8>| messages.iter().any(|message| message.payload == *payload);
        payloads.iter().all(has)
    });
}

#[test]
fn a_subscriber_of_ours_receives_what_python_publishes() {
    let broker = Broker::start();
    let mut subscriber = subscriber(&broker, &["shiva.parsed", RAW]);
    assert_eq!(subscriber.next(Duration::from_millis(10)), Ok(None));
    let longest = payload(0, payload_max(PUBLISHER, "shiva.parsed"));
    let binary: Vec<u8> = (0..=255).collect();
    let messages: [(&str, &[u8]); 5] = [
        ("shiva.parsed", b"{}"),
        (RAW, &binary),
        ("shiva.ip.url", b"not subscribed to"),
        ("shiva.parsed", &longest),
        (RAW, b""),
    ];
    broker.publish(messages.into_iter());
    for (channel, payload) in messages {
        if channel == "shiva.ip.url" {
            continue;
        }
        let message = next(&mut subscriber);
        assert_eq!(
            (message.ident.as_str(), message.channel.as_str()),
            (PUBLISHER, channel)
        );
        assert!(message.payload == payload, "{} bytes", payload.len());
    }
    assert_eq!(subscriber.next(Duration::from_millis(10)), Ok(None));
}

#[test]
fn over_tls_all_is_as_without_it() {
    let broker = Broker::encrypted();
    let mut subscriber = subscriber(&broker, &[RAW]);
    let payloads: Vec<Vec<u8>> = (0..40).map(|number| payload(number, 300_000)).collect();
    let mut account = broker.account(PUBLISHER);
    let publisher = {
        let (account, payloads) = (account.clone(), payloads.clone());
        std::thread::spawn(move || publish(&account, &payloads))
    };
    for payload in &payloads {
        assert!(next(&mut subscriber).payload == *payload);
    }
    assert_eq!(publisher.join().unwrap(), Ok(()));
    account.secret.push('!');
    for fault in [publish(&account, &payloads[..1]), publish_much(&account)] {
        assert!(matches!(&fault, Err(Fault::Credentials(_))), "{fault:?}");
    }
    broker.kill();
    let gone = loop {
        match subscriber.next(PATIENCE) {
            Ok(message) => assert!(message.is_some(), "the end in time"),
            Err(fault) => break fault,
        }
    };
    assert!(matches!(&gone, Fault::Lost(_)), "{gone:?}");
}

#[test]
fn a_broker_that_no_authority_of_ours_signed_learns_nothing() {
    let broker = Broker::encrypted();
    let scratch = tempfile::tempdir().unwrap();
    let other = Authority::new(scratch.path(), "other");
    let empty = scratch.path().join("empty");
    std::fs::write(&empty, "no certificate\n").unwrap();
    let authorities = broker.account(PUBLISHER).tls.unwrap().authorities;
    let cases = [
        (Some(other.certificate()), "localhost", "cafile must hold"),
        // The system's.
        (None, "localhost", "cafile must hold"),
        (authorities, "127.0.0.1", "not valid for name"),
        (
            Some(scratch.path().join("none")),
            "127.0.0.1",
            "No such file",
        ),
        (Some(empty), "localhost", "no certificate"),
    ];
    for (authorities, host, words) in cases {
        let mut account = broker.account(PUBLISHER);
        account.tls = Some(Encryption { authorities });
        account.host = host.into();
        let fault = Connection::open(&account).err();
        let untrusted = matches!(&fault, Some(Fault::Untrusted(text)) if text.contains(words));
        assert!(untrusted, "{words}: {fault:?}");
    }
}

#[test]
fn a_certificate_that_signed_itself_is_trusted_if_it_is_no_authority() {
    let broker = Broker::self_signed(false);
    let account = broker.account(PUBLISHER);
    assert_eq!(publish(&account, &[payload(0, 100)]), Ok(()));
    let broker = Broker::self_signed(true);
    let fault = Connection::open(&broker.account(PUBLISHER)).err();
    assert!(
        matches!(&fault, Some(Fault::Untrusted(text)) if text.contains("CA:FALSE")),
        "{fault:?}"
    );
}

#[test]
fn tls_and_no_tls_do_not_meet() {
    let plain = Broker::start();
    let mut account = plain.account(PUBLISHER);
    account.tls = Some(Encryption { authorities: None });
    let fault = Connection::open(&account).err();
    assert!(
        matches!(&fault, Some(Fault::Untrusted(text)) if text.contains("port for TLS?")),
        "{fault:?}"
    );
    let encrypted = Broker::encrypted();
    let mut account = encrypted.account(PUBLISHER);
    account.tls = None;
    let timeouts = Timeouts {
        greeting: Duration::from_millis(500),
        ..Timeouts::default()
    };
    let fault = Connection::with_timeouts(&account, timeouts).err();
    assert!(
        matches!(&fault, Some(Fault::Lost(text)) if text.contains("does it want TLS?")),
        "{fault:?}"
    );
}
