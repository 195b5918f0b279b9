//! What the stores keep of relaying, on every engine.

use shiva::store::sqlite::Sqlite;
use shiva::store::{Batch, Day, Engine, Fate, Place, ProbeSeen, Relay, Settlement};

use crate::store_suite::{at, batch, create, id, on_each_engine, take_in};

fn relay(name: &str, second: i64) -> Relay {
    Relay {
        name: name.into(),
        taken: at(second),
        settled: None,
        fate: Fate::Taken,
        answer: String::new(),
        sender: "a@example.net".into(),
        recipients: vec!["b@example.org".into(), "c@example.org".into()],
        source: "2001:db8::1".into(),
        sensor: "sensor".into(),
    }
}

/// A batch that sees record `n` in this window, with these slots.
fn slots(window: u64, n: u8, second: i64, names: &[&str]) -> Batch {
    Batch {
        window,
        relays: names
            .iter()
            .map(|name| (u64::from(n), relay(name, second)))
            .collect(),
        ..batch(n, true, names.len() as u64, second)
    }
}

fn settlement(n: u8, name: &str, second: i64, fate: Fate) -> Settlement {
    Settlement {
        window: 1,
        seq: u64::from(n),
        name: name.into(),
        at: at(second),
        fate,
        answer: format!("answer to {name}"),
    }
}

/// The ledger, newest first: record, name, fate, answer.
fn ledger(engine: &dyn Engine) -> Vec<(String, String, Fate, String)> {
    let lines = engine.reader().unwrap().relays(100).unwrap();
    lines
        .into_iter()
        .map(|line| (line.id, line.relay.name, line.relay.fate, line.relay.answer))
        .collect()
}

#[test]
fn a_slot_is_in_use_until_it_is_given_back() {
    on_each_engine(|engine| {
        let mut windows = engine.windows().unwrap();
        // Twice, as after a lost answer.
        for _ in 0..2 {
            windows.commit(&slots(1, 0, 10, &["a", "b", "c"])).unwrap();
        }
        windows.commit(&slots(1, 1, 20, &["d", "e"])).unwrap();
        assert_eq!(windows.open_window().unwrap().slots, [(0, 3), (1, 2)]);
        let settled = [
            settlement(0, "a", 30, Fate::Accepted),
            settlement(0, "b", 31, Fate::Refused),
            settlement(0, "c", 32, Fate::Unknown),
            settlement(1, "d", 33, Fate::Unreached),
        ];
        for _ in 0..2 {
            windows.settle_relays(&settled).unwrap();
        }
        assert_eq!(windows.open_window().unwrap().slots, [(0, 2), (1, 1)]);
        // What is settled stays as it is.
        let again = settlement(0, "a", 40, Fate::Refused);
        windows.settle_relays(&[again]).unwrap();
        assert_eq!(windows.settle_interrupted(at(50)).unwrap(), 1);
        assert_eq!(windows.settle_interrupted(at(60)).unwrap(), 0);
        let known: Vec<_> = ledger(engine)
            .into_iter()
            .map(|(id, name, fate, _)| (id, name, fate))
            .collect();
        let line = |n: u8, name: &str, fate| (id(n), name.to_owned(), fate);
        assert_eq!(
            known,
            [
                line(1, "e", Fate::Unknown),
                line(1, "d", Fate::Unreached),
                line(0, "c", Fate::Unknown),
                line(0, "b", Fate::Refused),
                line(0, "a", Fate::Accepted),
            ]
        );
        assert_eq!(engine.reader().unwrap().totals().unwrap().relayed, 1);
    });
}

#[test]
fn a_window_waits_for_its_last_relay() {
    on_each_engine(|engine| {
        let mut windows = engine.windows().unwrap();
        windows.commit(&slots(1, 0, 10, &["a"])).unwrap();
        windows.close_window(at(3600)).unwrap();
        assert!(windows.waiting().unwrap().is_empty());
        assert!(windows.open_window().unwrap().slots.is_empty());
        let settled = settlement(0, "a", 3601, Fate::Accepted);
        windows.settle_relays(&[settled]).unwrap();
        assert_eq!(windows.waiting().unwrap(), [1]);
    });
}

#[test]
fn the_ledger_goes_into_the_main_store() {
    on_each_engine(|engine| {
        let mut windows = engine.windows().unwrap();
        windows.commit(&slots(1, 0, 10, &["a", "b", "c"])).unwrap();
        windows
            .settle_relays(&[
                settlement(0, "a", 20, Fate::Accepted),
                settlement(0, "b", 90_000, Fate::Accepted),
                settlement(0, "c", 30, Fate::Refused),
            ])
            .unwrap();
        let before = engine.reader().unwrap().relays(100).unwrap();
        assert_eq!(before[0].relay.recipients, relay("", 0).recipients);
        assert_eq!(before[0].relay.settled, Some(at(30)));
        let check = |relayed: u64, fates: &[(Fate, u64)]| {
            let mut reader = engine.reader().unwrap();
            assert_eq!(reader.totals().unwrap().relayed, relayed);
            assert_eq!(reader.fates().unwrap(), fates);
            let shiva::store::Find::One(spam) = reader.find(&id(0)).unwrap() else {
                panic!("not found");
            };
            assert_eq!(spam.relayed, relayed);
        };
        check(2, &[(Fate::Accepted, 2), (Fate::Refused, 1)]);
        take_in(engine, 1, |_| Place::New);
        assert_eq!(engine.reader().unwrap().relays(100).unwrap(), before);
        assert_eq!(engine.reader().unwrap().relays(2).unwrap(), before[..2]);
        check(2, &[(Fate::Accepted, 2), (Fate::Refused, 1)]);
        // Another window adds to the same record and day.
        windows.commit(&slots(2, 0, 60, &["d"])).unwrap();
        let settled = Settlement {
            window: 2,
            ..settlement(0, "d", 70, Fate::Accepted)
        };
        windows.settle_relays(&[settled]).unwrap();
        take_in(engine, 2, |_| Place::Into(id(0)));
        check(3, &[(Fate::Accepted, 3), (Fate::Refused, 1)]);
        assert_eq!(ledger(engine).len(), 4);
    });
}

#[test]
fn what_is_not_relayed_is_counted_by_reason() {
    on_each_engine(|engine| {
        let mut windows = engine.windows().unwrap();
        let with = |window: u64, second: i64, reason: &'static str, count: u64| {
            let mut batch = slots(window, 0, second, &[]);
            batch.unrelayed.insert((at(second).date(), reason), count);
            engine.windows().unwrap().commit(&batch).unwrap();
        };
        with(1, 0, "busy", 2);
        take_in(engine, 1, |_| Place::New);
        with(2, 10, "busy", 3);
        let mut more = batch(0, false, 1, 20);
        more.window = 2;
        more.unrelayed.insert((at(20).date(), "recipients"), 7);
        windows.commit(&more).unwrap();
        let expected = [("recipients".to_owned(), 7), ("busy".to_owned(), 5)];
        assert_eq!(engine.reader().unwrap().unrelayed().unwrap(), expected);
        take_in(engine, 2, |_| Place::Into(id(0)));
        assert_eq!(engine.reader().unwrap().unrelayed().unwrap(), expected);
    });
}

fn probe(recipient: &str, source: &str, second: i64) -> ProbeSeen {
    ProbeSeen {
        recipient: recipient.into(),
        source: source.into(),
        seen: Day::once(at(second)),
    }
}

#[test]
fn a_test_of_the_relay_is_known_with_what_followed_it() {
    on_each_engine(|engine| {
        let mut windows = engine.windows().unwrap();
        // A record before the test, from the same address: it did not follow.
        windows.commit(&batch(0, true, 1, 0)).unwrap();
        let mut tested = batch(1, true, 1, 100);
        tested.probes = vec![
            probe("me@example.org", "2001:db8::1", 100),
            probe("me@example.org", "192.0.2.9", 110),
            probe("me@example.org", "2001:db8::1", 120),
        ];
        windows.commit(&tested).unwrap();
        assert_eq!(windows.probe_recipients().unwrap(), ["me@example.org"]);
        let check = |count: u64, records: &[(String, u64)]| {
            let probes = engine.reader().unwrap().probes(10).unwrap();
            let [probe] = probes.as_slice() else {
                panic!("{probes:?}");
            };
            assert_eq!(probe.recipient, "me@example.org");
            assert_eq!(probe.sources, ["192.0.2.9", "2001:db8::1"]);
            assert_eq!((probe.seen.count, probe.seen.first_seen), (count, at(100)));
            let found: Vec<(String, u64)> = probe
                .records
                .iter()
                .map(|(id, _, count)| (id.clone(), *count))
                .collect();
            assert_eq!(found, records);
        };
        check(3, &[(id(1), 1)]);
        take_in(engine, 1, |_| Place::New);
        check(3, &[(id(1), 1)]);
        let mut main = engine.main().unwrap();
        assert_eq!(main.probe_recipients(10).unwrap(), ["me@example.org"]);
        let mut next = batch(2, true, 5, 200);
        next.window = 2;
        next.probes = vec![probe("me@example.org", "192.0.2.9", 200)];
        windows.commit(&next).unwrap();
        check(4, &[(id(2), 5), (id(1), 1)]);
        take_in(engine, 2, |_| Place::New);
        check(4, &[(id(2), 5), (id(1), 1)]);
        assert!(windows.probe_recipients().unwrap().is_empty());
    });
}

#[test]
fn the_old_whitelist_is_written_once_a_window() {
    let scratch = tempfile::tempdir().unwrap();
    let engine = Sqlite::new(scratch.path(), true);
    create(&engine);
    let main = rusqlite::Connection::open(scratch.path().join("Shiva.sqlite")).unwrap();
    main.execute_batch(
        "CREATE TABLE written (recipients TEXT);
         CREATE TRIGGER made AFTER INSERT ON whitelist BEGIN
             INSERT INTO written VALUES (NEW.recipients); END;
         CREATE TRIGGER renewed AFTER UPDATE ON whitelist BEGIN
             INSERT INTO written VALUES (NEW.recipients); END;",
    )
    .unwrap();
    let mut windows = engine.windows().unwrap();
    for (window, recipients) in [(1, ["a@x.example", "b@x.example"]), (2, ["c@x.example"; 2])] {
        let mut tested = batch(u8::try_from(window).unwrap(), true, 1, 100);
        tested.window = window;
        let at = i64::try_from(window).unwrap() * 100;
        tested.probes = recipients.map(|to| probe(to, "192.0.2.9", at)).into();
        windows.commit(&tested).unwrap();
        take_in(&engine, window, |_| Place::New);
    }
    let mut written = main.prepare("SELECT recipients FROM written").unwrap();
    let written = written.query_map([], |row| row.get::<_, String>(0));
    let written: Result<Vec<_>, _> = written.unwrap().collect();
    assert_eq!(
        written.unwrap(),
        [
            "a@x.example,b@x.example",
            "c@x.example,a@x.example,b@x.example"
        ]
    );
}
