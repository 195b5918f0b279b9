//! What a MariaDB server keeps of relaying: on the least rights, in small packets, once whatever
//! answer is lost, and where people look who knew the first SHIVA.

use std::cell::OnceCell;
use std::sync::atomic::Ordering;

use shiva::store::mysql::{Mysql, Options};
use shiva::store::{Batch, Day, Engine, Fate, Place, ProbeSeen, Relay, Settlement};

use crate::mariadb::{Databases, MariaDb};
use crate::mariadb_databases::Rights;
use crate::mariadb_site::Proxy;
use crate::store_suite::{at, batch, id, take_in};

fn relay(name: &str, second: i64) -> Relay {
    Relay {
        name: name.into(),
        taken: at(second),
        settled: None,
        fate: Fate::Taken,
        answer: String::new(),
        sender: "a@example.net".into(),
        recipients: vec!["b@example.org".into()],
        source: "2001:db8::1".into(),
        sensor: "sensor".into(),
    }
}

/// A batch of window 1 with record 0, a slot of each of these names, and something of all else.
fn everything(names: &[&str]) -> Batch {
    let mut batch = batch(0, true, 1, 10);
    batch.relays = names.iter().map(|name| (0, relay(name, 10))).collect();
    batch.unrelayed.insert((at(10).date(), "busy"), 2);
    batch.probes = vec![ProbeSeen {
        recipient: "me@example.org".into(),
        source: "2001:db8::1".into(),
        seen: Day::once(at(10)),
    }];
    batch
}

fn settlement(name: &str, second: i64, fate: Fate) -> Settlement {
    Settlement {
        window: 1,
        seq: 0,
        name: name.into(),
        at: at(second),
        fate,
        answer: "250 OK".into(),
    }
}

/// What is left of relaying in a window database.
fn rows_left(databases: &Databases<'_>) -> u64 {
    ["relays", "unrelayed", "probes"]
        .iter()
        .map(|table| {
            let query = format!("SELECT COUNT(*) FROM {}.{table}", databases.window);
            databases.value::<u64>(&query)
        })
        .sum()
}

#[test]
fn the_least_rights_are_enough_to_relay() {
    let databases = Databases::fresh(MariaDb::shared());
    databases.make();
    let account = databases.account(Rights::Analyzer);
    let engine = Mysql::new(Options {
        user: account.user.clone(),
        password: account.password.clone(),
        ..databases.options()
    });
    let mut windows = engine.own_windows().unwrap();
    windows.commit(&everything(&["a", "b"])).unwrap();
    let settled = [settlement("a", 20, Fate::Accepted)];
    windows.settle_relays(&settled).unwrap();
    assert_eq!(windows.settle_interrupted(at(30)).unwrap(), 1);
    take_in(&engine, 1, |_| Place::New);
    assert_eq!(rows_left(&databases), 0);
    let mut reader = engine.reader().unwrap();
    assert_eq!(reader.relays(10).unwrap().len(), 2);
    assert_eq!(reader.unrelayed().unwrap(), [("busy".to_owned(), 2)]);
    assert_eq!(reader.probes(10).unwrap()[0].records[0].0, id(0));
}

#[test]
fn an_answer_that_is_lost_writes_nothing_twice() {
    let databases = Databases::fresh(MariaDb::shared());
    databases.make();
    let proxy = Proxy::to(databases.server(), 0);
    let engine = Mysql::new(Options {
        port: proxy.port,
        ..databases.options()
    });
    let lose = |answers: u32| proxy.drops.store(answers, Ordering::SeqCst);
    let is_lost = || assert_eq!(proxy.drops.load(Ordering::SeqCst), 0);
    let mut windows = engine.windows().unwrap();
    lose(1);
    windows.commit(&everything(&["a", "b", "c"])).unwrap();
    is_lost();
    assert_eq!(windows.open_window().unwrap().slots, [(0, 3)]);
    lose(1);
    let settled = [
        settlement("a", 20, Fate::Accepted),
        settlement("b", 20, Fate::Refused),
    ];
    windows.settle_relays(&settled).unwrap();
    is_lost();
    assert_eq!(windows.open_window().unwrap().slots, [(0, 2)]);
    lose(1);
    assert_eq!(windows.settle_interrupted(at(30)).unwrap(), 1);
    is_lost();
    // Of the window's close, and of its way into the main store.
    lose(2);
    take_in(&engine, 1, |_| Place::New);
    is_lost();
    let mut reader = engine.reader().unwrap();
    let fates = [(Fate::Accepted, 1), (Fate::Refused, 1), (Fate::Unknown, 1)];
    assert_eq!(reader.fates().unwrap(), fates);
    assert_eq!(reader.totals().unwrap().relayed, 1);
    assert_eq!(reader.unrelayed().unwrap(), [("busy".to_owned(), 2)]);
    assert_eq!(reader.probes(10).unwrap()[0].seen.count, 1);
}

#[test]
fn as_many_recipients_as_may_be_fit_into_small_packets() {
    let server = MariaDb::start(&["--max-allowed-packet=1M"]);
    let databases = Databases::fresh(&server);
    databases.make();
    let engine = Mysql::new(databases.options());
    let recipients: Vec<String> = (0..1000)
        .map(|n| format!("{n:04}{}@{}.example", "l".repeat(60), "d".repeat(180)))
        .collect();
    let names: Vec<String> = (0..8).map(|n| format!("name {n}")).collect();
    let mut batch = everything(&[]);
    for name in &names {
        let relay = Relay {
            recipients: recipients.clone(),
            ..relay(name, 10)
        };
        batch.relays.push((0, relay));
    }
    let mut windows = engine.windows().unwrap();
    windows.commit(&batch).unwrap();
    assert_eq!(windows.settle_interrupted(at(20)).unwrap(), 8);
    take_in(&engine, 1, |_| Place::New);
    let lines = engine.reader().unwrap().relays(100).unwrap();
    assert_eq!(lines.len(), 8);
    for line in lines {
        assert_eq!(line.relay.recipients, recipients);
    }
}

#[test]
fn old_columns_tell_what_was_relayed() {
    let databases = Databases::fresh(MariaDb::shared());
    databases.make();
    let engine = Mysql::new(databases.options());
    // A day of the same record as an old database may have it, twice.
    for first in ["'0000-00-00 00:00:00'", "NULL"] {
        databases.server().sql(&[&format!(
            "INSERT IGNORE INTO {}.relay (date, firstRelayed, spam_id) VALUES ('{}', {first}, '{}')",
            databases.main,
            at(10).date(),
            id(0)
        )]);
    }
    let mut windows = engine.windows().unwrap();
    windows.commit(&everything(&["a", "b", "c"])).unwrap();
    windows.commit(&batch(1, true, 1, 20)).unwrap();
    windows
        .settle_relays(&[
            settlement("a", 30, Fate::Accepted),
            settlement("b", 40, Fate::Accepted),
            settlement("c", 50, Fate::Refused),
        ])
        .unwrap();
    let counted = OnceCell::new();
    take_in(&engine, 1, |_| {
        counted.get_or_init(|| {
            databases.value::<String>(&format!(
                "SELECT GROUP_CONCAT(seq, ':', relayCounter, ' ', COALESCE(relayTime, 'never') \
                 ORDER BY seq) FROM {}.spam",
                databases.window
            ))
        });
        Place::New
    });
    let at_the_close = format!("0:2 {},1:0 never", at(40).datetime());
    assert_eq!(counted.into_inner(), Some(at_the_close));
    let relayed: String = databases.value(
        "SELECT GROUP_CONCAT(CONCAT_WS(' ', totalRelayed, firstRelayed, lastRelayed) ORDER BY id) \
         FROM {m}.relay",
    );
    let (from, to) = (at(30).datetime(), at(40).datetime());
    assert_eq!(relayed, format!("2 {from} {to},0"));
    let whitelist: String = databases.value("SELECT recipients FROM {m}.whitelist WHERE id = 1");
    assert_eq!(whitelist, "me@example.org");
}
