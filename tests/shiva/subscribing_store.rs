//! `shiva subscribe --store`: what many sensors publish, gathered in one main store.

use std::fs;

use serde_json::Value;
use shiva::parsed::ParsedSpam;

use crate::broker::{Broker, SITE, SUBSCRIBER, secret};
use crate::mariadb::{Databases, MariaDb};
use crate::mariadb_programs::installed;
use crate::rig::{Rig, wait_until};
use crate::subscribing::{Subscribing, configure, publish, record};

/// Publishes records in `shiva.parsed`.
fn share(broker: &Broker, records: &[ParsedSpam]) {
    let values: Vec<Value> = records
        .iter()
        .map(|record| serde_json::to_value(record).unwrap())
        .collect();
    let payloads: Vec<_> = values.iter().map(|value| ("shiva.parsed", value)).collect();
    publish(broker, &payloads);
}

/// A record as this sensor saw it so often.
fn by(sensor: &str, n: u64, count: u64) -> ParsedSpam {
    ParsedSpam {
        sensors: vec![sensor.into()],
        ..record(n, "a campaign", count)
    }
}

fn gather(rig: &Rig) {
    let broker = Broker::start();
    let subscribing = Subscribing::receiving(rig, &broker, &["--store"]);
    share(
        &broker,
        &[by("one", 7, 5), by("two", 7, 7), by("two", 8, 1)],
    );
    // As a publisher does who could not be sure.
    share(&broker, &[by("two", 7, 7), by("one", 7, 5)]);
    wait_until("all is gathered", || rig.total("spams") >= 13);
    broker.kill();
    subscribing.wait_until_said("the next try is in");
    broker.start_again();
    subscribing.wait_until_it_receives(&broker, 1);
    share(&broker, &[by("one", 7, 5), by("three", 7, 100)]);
    subscribing.lines(7);
    // What was received and is not in the store yet goes in at the end.
    let said = subscribing.stop();
    assert!(!said.contains("not in the main store"), "{said}");
    assert_eq!((rig.total("spams"), rig.total("distinct")), (113, 2));
    let shown = rig.show(&crate::subscribing::id(7));
    assert_eq!(shown["count"], 112);
    let raw = rig.run("shiva", &["show", &crate::subscribing::id(7), "--raw"]);
    assert_eq!(raw.status.code(), Some(66));
    assert!(String::from_utf8_lossy(&raw.stderr).contains("received over hpfeeds"));
    assert_eq!(shown["sensors"], serde_json::json!(["one", "three", "two"]));
}

#[test]
fn records_are_gathered_in_embedded_stores() {
    let rig = Rig::new();
    gather(&rig);
    let main = rig.database("Shiva.sqlite");
    let marks = "SELECT count(*) FROM windows_taken WHERE analyzer = 'hpfeeds'";
    assert_eq!(main.query_row(marks, [], |row| row.get::<_, i64>(0)), Ok(4));
}

#[test]
fn records_are_gathered_on_a_server() {
    let databases = Databases::fresh(MariaDb::shared());
    gather(&installed(&databases));
    let marks = "SELECT COUNT(*) FROM {m}.windows_taken WHERE analyzer = 'hpfeeds'";
    assert_eq!(databases.value::<u64>(marks), 4);
}

#[test]
fn a_database_that_is_away_is_waited_for() {
    let server = MariaDb::start(&[]);
    let databases = Databases::fresh(&server);
    let rig = installed(&databases);
    let broker = Broker::start();
    let subscribing = Subscribing::receiving(&rig, &broker, &["--store"]);
    server.kill();
    share(&broker, &[by("one", 7, 5)]);
    subscribing.wait_until_said("records wait in memory");
    share(&broker, &[by("one", 8, 2)]);
    subscribing.lines(2);
    server.start_again();
    subscribing.wait_until_said("the database is there again");
    wait_until("all is gathered", || rig.total("spams") == 7);
    server.kill();
    share(&broker, &[by("one", 9, 1)]);
    subscribing.lines(3);
    let said = subscribing.fail(69);
    assert!(
        said.contains("1 records were received and are not in the main store"),
        "{said}"
    );
}

#[test]
fn a_store_that_is_none_is_said_at_once() {
    let databases = Databases::fresh(MariaDb::shared());
    let account = databases.account(crate::mariadb_databases::Rights::Analyzer);
    let rig = Rig::with(&databases.config(&account));
    let broker = Broker::start();
    configure(&rig, &broker, SUBSCRIBER, &secret(SUBSCRIBER));
    let output = rig.run("shiva", &["subscribe", "--store"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(69));
    assert!(said.contains("shiva-dbcreate"), "{said}");
}

#[test]
fn what_this_machine_shares_itself_is_in_its_store_already() {
    let (broker, rig) = (Broker::start(), Rig::new());
    configure(&rig, &broker, SITE, &secret(SITE));
    let root = rig.path("").display().to_string();
    let conf = fs::read_to_string(rig.path("shiva.conf")).unwrap();
    let sharing = format!("enabled : True\noutboxpath : {root}outbox\npseudonymkey : {root}key\n");
    fs::write(rig.path("shiva.conf"), conf + &sharing).unwrap();
    let subscribing = Subscribing::start(&rig, &["--store", "--channel", "shiva.parsed"]);
    subscribing.wait_until_said("subscribed to");
    let own = serde_json::to_vec(&by("own", 8, 1)).unwrap();
    wait_until("its own and another's record arrived", || {
        share(&broker, &[by("another", 7, 5)]);
        broker.publish_as(SITE, [("shiva.parsed", own.as_slice())].into_iter());
        let lines = subscribing.lines(0);
        let from = |ident: &str| lines.iter().any(|line| line.starts_with(ident));
        from("sensor ") && from("site ")
    });
    subscribing.stop();
    assert_eq!(rig.total("spams"), 5);
}
