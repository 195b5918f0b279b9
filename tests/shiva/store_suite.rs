//! One suite for every engine of the stores: what the traits promise.

use std::collections::BTreeMap;

use shiva::queue::QueueName;
use shiva::store::mysql::Mysql;
use shiva::store::sqlite::Sqlite;
use shiva::store::{
    Batch, Day, Delta, Engine, Find, Known, NewRecord, Part, Place, Sets, StoreError,
    StoreErrorKind, WindowKey,
};
use shiva::timestamp::Timestamp;

use crate::mariadb::{Databases, MariaDb};

/// Runs a part of the suite on a fresh pair of stores of each engine.
pub fn on_each_engine(part: impl Fn(&dyn Engine)) {
    let scratch = tempfile::tempdir().unwrap();
    let sqlite = Sqlite::new(scratch.path(), true);
    create(&sqlite);
    part(&sqlite);
    let databases = Databases::fresh(MariaDb::shared());
    let mysql = Mysql::new(databases.options());
    create(&mysql);
    part(&mysql);
}

pub fn create(engine: &dyn Engine) {
    let made = |now: bool| engine.create().unwrap().iter().all(|part| part.now == now);
    assert!(made(true));
    assert!(made(false), "run twice it changes nothing");
}

pub fn at(second: i64) -> Timestamp {
    Timestamp::from_seconds(1_700_000_000 + second, 0)
}

pub fn id(n: u8) -> String {
    format!("{n:032x}")
}

/// Values that a database could stumble over.
const AWKWARD: &str = "'; DROP TABLE spam; -- \0 \u{1f600} \\ \" % _ é \u{feff}";

fn record(n: u8) -> NewRecord {
    NewRecord {
        known: Known {
            id: id(n),
            ssdeep: "3:abc:abc".into(),
            length: 1000 + u64::from(n),
            body_chars: 900,
            has_text: n.is_multiple_of(2),
        },
        from: format!("{AWKWARD}<a@b>"),
        subject: format!("{AWKWARD}{n}"),
        text: AWKWARD.repeat(10),
        html: String::new(),
        headers: "Subject: x\n".into(),
        sample: format!("/samples/{n}"),
    }
}

fn part(n: u8) -> Part {
    Part {
        name: AWKWARD.into(),
        media_type: "application/zip".into(),
        size: u64::from(n),
        md5: id(n),
        sha256: format!("{n:064x}"),
        inline: !n.is_multiple_of(2),
        path: format!("/parts/{n}"),
    }
}

fn sets(n: u8) -> Sets {
    Sets {
        links: vec![
            format!("http://example.net/{n}"),
            "http://example.net/shared".into(),
        ],
        ips: vec!["2001:db8::1".into()],
        sensors: vec!["sensor".into()],
        recipients: vec![format!("{n}@example.org")],
        users: vec![],
        parts: vec![part(n)],
    }
}

/// A batch that sees record `n` of window 1 `count` times at second `second`.
pub fn batch(n: u8, new: bool, count: u64, second: i64) -> Batch {
    let day = Day {
        count,
        ..Day::once(at(second))
    };
    let delta = Delta {
        new: new.then(|| Box::new(record(n))),
        id: id(n),
        days: BTreeMap::from([(at(second).day(), day)]),
        sets: sets(n),
    };
    Batch {
        window: 1,
        deltas: BTreeMap::from([(u64::from(n), delta)]),
        files: QueueName::new(&format!("file-{n}-{second}"))
            .into_iter()
            .collect(),
        ..Batch::default()
    }
}

#[test]
fn a_batch_counts_once_however_often_it_is_committed() {
    on_each_engine(|engine| {
        let mut windows = engine.windows().unwrap();
        for _ in 0..3 {
            windows.commit(&batch(0, true, 5, 0)).unwrap();
        }
        let names = windows.counted_files().unwrap();
        assert_eq!(names.len(), 1);
        assert_eq!(engine.reader().unwrap().totals().unwrap().spams, 5);
        // The next batch forgets the names of the one before.
        windows.commit(&batch(0, false, 2, 60)).unwrap();
        assert_eq!(windows.counted_files().unwrap()[0].as_str(), "file-0-60");
        windows.forget_files().unwrap();
        assert!(windows.counted_files().unwrap().is_empty());
        assert_eq!(engine.reader().unwrap().totals().unwrap().spams, 7);
    });
}

#[test]
fn what_goes_in_comes_out() {
    on_each_engine(|engine| {
        let mut windows = engine.windows().unwrap();
        windows.commit(&batch(3, true, 2, 10)).unwrap();
        windows.commit(&batch(3, false, 1, -90_000)).unwrap();
        let check = |engine: &dyn Engine| {
            let Find::One(spam) = engine.reader().unwrap().find(&id(3)).unwrap() else {
                panic!("not found");
            };
            assert_eq!(spam.count, 3);
            assert_eq!((spam.first_seen, spam.last_seen), (at(-90_000), at(10)));
            assert_eq!(spam.sets, sets(3));
            let mut expected = record(3);
            // Whether there was a text part is known from the text itself.
            expected.known.has_text = true;
            assert_eq!(spam.record, expected);
        };
        check(engine);
        take_in(engine, 1, |_| Place::New);
        check(engine);
        let top = engine.reader().unwrap().top(5).unwrap();
        assert_eq!(top.len(), 1);
        assert_eq!(
            (top[0].count, top[0].subject.clone()),
            (3, record(3).subject)
        );
        assert_eq!((top[0].first_seen, top[0].last_seen), (at(-90_000), at(10)));
        assert_eq!((top[0].ips, top[0].links, top[0].attachments), (1, 2, 1));
        let totals = engine.reader().unwrap().totals().unwrap();
        assert_eq!((totals.spams, totals.distinct, totals.links), (3, 1, 2));
        assert_eq!((totals.ips, totals.attachments, totals.sensors), (1, 1, 1));
    });
}

/// Closes the open window and takes it in, each record where `place` says.
pub fn take_in(engine: &dyn Engine, window: u64, place: impl Fn(&str) -> Place) {
    engine.windows().unwrap().close_window(at(3600)).unwrap();
    take_in_closed(engine, window, place);
}

/// Takes in a window that is closed, each record where `place` says.
pub fn take_in_closed(engine: &dyn Engine, window: u64, place: impl Fn(&str) -> Place) {
    let mut windows = engine.windows().unwrap();
    assert_eq!(windows.waiting().unwrap(), [window]);
    let key = windows.key(window).unwrap();
    // Twice: the second changes nothing, for the marker says that it was done.
    for _ in 0..2 {
        engine
            .main()
            .unwrap()
            .take_in(&key, &mut |taking| {
                windows.each_record(window, &mut |record| {
                    taking.record(&record, &place(&record.record.known.id))
                })?;
                for (date, reason, count) in windows.undeliverable(window)? {
                    taking.undeliverable(&date, &reason, count)?;
                }
                for (date, reason, count) in windows.unrelayed(window)? {
                    taking.unrelayed(&date, &reason, count)?;
                }
                for probe in windows.probes(window)? {
                    taking.probe(&probe)?;
                }
                Ok(())
            })
            .unwrap();
        // Taken in and not yet dropped, it is not counted twice.
        assert!(engine.main().unwrap().is_taken(&key).unwrap());
    }
    windows.drop_window(window).unwrap();
    assert!(windows.waiting().unwrap().is_empty());
}

#[test]
fn every_recipient_of_both_stores_is_given() {
    on_each_engine(|engine| {
        let mut windows = engine.windows().unwrap();
        windows.commit(&batch(1, true, 2, 0)).unwrap();
        take_in(engine, 1, |_| Place::New);
        let mut next = batch(2, true, 3, 100_000);
        next.window = 2;
        windows.commit(&next).unwrap();
        let mut reader = engine.reader().unwrap();
        let mut found = Vec::new();
        let mut keep = |recipient: &str| {
            found.push(recipient.to_owned());
            Ok(())
        };
        reader.each_recipient(&mut keep).unwrap();
        found.sort();
        assert_eq!(found, ["1@example.org", "2@example.org"]);
        let mut calls = 0;
        let error = reader.each_recipient(&mut |_| {
            calls += 1;
            Err(StoreError {
                kind: StoreErrorKind::Refused,
                what: "enough".into(),
            })
        });
        assert_eq!((error.unwrap_err().what.as_str(), calls), ("enough", 1));
        assert_eq!(reader.totals().unwrap().distinct, 2, "and it can go on");
    });
}

#[test]
fn a_window_adds_to_the_records_it_belongs_to() {
    on_each_engine(|engine| {
        engine
            .windows()
            .unwrap()
            .commit(&batch(1, true, 2, 0))
            .unwrap();
        take_in(engine, 1, |_| Place::New);
        let mut next = batch(2, true, 3, 100_000);
        next.window = 2;
        engine.windows().unwrap().commit(&next).unwrap();
        take_in(engine, 2, |_| Place::Into(id(1)));
        let Find::One(spam) = engine.reader().unwrap().find(&id(1)).unwrap() else {
            panic!("not found");
        };
        assert_eq!(spam.count, 5);
        assert_eq!((spam.first_seen, spam.last_seen), (at(0), at(100_000)));
        assert_eq!(spam.sets.links.len(), 3);
        assert_eq!(spam.sets.recipients.len(), 2);
        assert_eq!(spam.sets.parts.len(), 2);
        assert_eq!(spam.sets.ips.len(), 1);
        assert!(matches!(
            engine.reader().unwrap().find(&id(2)).unwrap(),
            Find::None
        ));
        assert!(
            engine
                .main()
                .unwrap()
                .keeps_sample(&id(1), "/samples/1")
                .unwrap()
        );
        assert!(
            !engine
                .main()
                .unwrap()
                .keeps_sample(&id(2), "/samples/2")
                .unwrap()
        );
        let mut numbers = Vec::new();
        let mut known = Vec::new();
        engine
            .main()
            .unwrap()
            .each_known(0, &mut |number, record| {
                numbers.push(number);
                known.push(record.id);
                Ok(())
            })
            .unwrap();
        assert_eq!(known, [id(1)]);
        let mut after = 0;
        engine
            .main()
            .unwrap()
            .each_known(numbers[0], &mut |_, _| {
                after += 1;
                Ok(())
            })
            .unwrap();
        assert_eq!(after, 0);
    });
}

#[test]
fn a_window_that_belongs_to_a_record_that_is_no_more_is_not_lost() {
    on_each_engine(|engine| {
        let mut windows = engine.windows().unwrap();
        windows.commit(&batch(1, true, 4, 0)).unwrap();
        take_in(engine, 1, |_| Place::Into(id(9)));
        assert_eq!(engine.reader().unwrap().totals().unwrap().spams, 4);
        let found = engine.reader().unwrap().find(&id(1)).unwrap();
        assert!(matches!(found, Find::One(spam) if spam.count == 4));
    });
}

#[test]
fn what_others_added_is_seen_within_the_transaction() {
    on_each_engine(|engine| {
        engine
            .windows()
            .unwrap()
            .commit(&batch(1, true, 1, 0))
            .unwrap();
        take_in(engine, 1, |_| Place::New);
        let key = WindowKey {
            analyzer: "another".into(),
            window: 1,
            token: "0123456789abcdef".into(),
        };
        let mut seen = Vec::new();
        let mut main = engine.main().unwrap();
        main.take_in(&key, &mut |taking| {
            taking.each_known(0, &mut |_, known| {
                seen.push(known.id);
                Ok(())
            })
        })
        .unwrap();
        assert_eq!(seen, [id(1)]);
    });
}

#[test]
fn the_window_store_has_one_analyzer() {
    on_each_engine(|engine| {
        let first = engine.own_windows().unwrap();
        let second = engine.own_windows().err().map(|error| error.kind);
        assert_eq!(second, Some(StoreErrorKind::Taken));
        assert!(engine.windows().is_ok(), "another thread of the first");
        drop(first);
        assert!(engine.own_windows().is_ok());
    });
}

#[test]
fn a_window_that_failed_half_way_leaves_nothing_in_the_main_store() {
    on_each_engine(|engine| {
        let mut windows = engine.windows().unwrap();
        windows.commit(&batch(0, true, 1, 0)).unwrap();
        windows.close_window(at(60)).unwrap();
        let key = windows.key(1).unwrap();
        let failed = engine.main().unwrap().take_in(&key, &mut |taking| {
            windows.each_record(1, &mut |record| taking.record(&record, &Place::New))?;
            Err(shiva::store::StoreError {
                kind: StoreErrorKind::Unavailable,
                what: "the power went".into(),
            })
        });
        assert!(failed.is_err());
        assert!(!engine.main().unwrap().is_taken(&key).unwrap());
        assert_eq!(engine.reader().unwrap().totals().unwrap().spams, 1);
    });
}

#[test]
fn the_open_window_survives_with_its_number_and_start() {
    on_each_engine(|engine| {
        let opened = engine.windows().unwrap().open_window().unwrap();
        assert_eq!(opened.number, 1);
        engine
            .windows()
            .unwrap()
            .commit(&batch(0, true, 1, 0))
            .unwrap();
        engine
            .windows()
            .unwrap()
            .commit(&batch(1, true, 1, 1))
            .unwrap();
        let again = engine.windows().unwrap().open_window().unwrap();
        assert_eq!(again.opened, opened.opened);
        let ids: Vec<String> = again.records.iter().map(|known| known.id.clone()).collect();
        assert_eq!(ids, [id(0), id(1)], "in the order first seen");
        engine.windows().unwrap().close_window(at(3600)).unwrap();
        let next = engine.windows().unwrap().open_window().unwrap();
        assert_eq!((next.number, next.opened), (2, at(3600)));
        assert!(next.records.is_empty());
        // Both count while one waits.
        assert_eq!(engine.reader().unwrap().totals().unwrap().distinct, 2);
    });
}

#[test]
fn undeliverable_messages_are_counted_by_date_and_reason() {
    on_each_engine(|engine| {
        let reason = ("2023-11-14".to_owned(), AWKWARD.to_owned());
        let mut batch = Batch {
            window: 1,
            undeliverable: BTreeMap::from([(reason.clone(), 2)]),
            files: QueueName::new("a").into_iter().collect(),
            ..Batch::default()
        };
        engine.windows().unwrap().commit(&batch).unwrap();
        batch.files = QueueName::new("b").into_iter().collect();
        engine.windows().unwrap().commit(&batch).unwrap();
        let counts = engine.windows().unwrap().undeliverable(1).unwrap();
        assert_eq!(counts, [(reason.0, reason.1, 4)]);
        take_in(engine, 1, |_| Place::New);
        assert_eq!(engine.reader().unwrap().totals().unwrap().undeliverable, 4);
    });
}

#[test]
fn what_is_longer_than_its_column_is_cut_and_marked() {
    on_each_engine(|engine| {
        let mut batch = batch(0, true, 1, 0);
        let delta = batch.deltas.get_mut(&0).unwrap();
        delta.new.as_mut().unwrap().subject = "é".repeat(10_000);
        delta.sets.links = vec![format!("http://x/{}", "y".repeat(100_000))];
        engine.windows().unwrap().commit(&batch).unwrap();
        take_in(engine, 1, |_| Place::New);
        let Find::One(top) = engine.reader().unwrap().find(&id(0)).unwrap() else {
            panic!("not found");
        };
        assert!(top.record.subject.len() <= 4096);
        assert!(top.record.subject.ends_with("[cut by SHIVA]"));
        assert!(top.sets.links[0].len() <= 8192);
    });
}

#[test]
fn ids_are_found_by_their_beginning() {
    on_each_engine(|engine| {
        engine
            .windows()
            .unwrap()
            .commit(&batch(0x1a, true, 1, 0))
            .unwrap();
        engine
            .windows()
            .unwrap()
            .commit(&batch(0x1b, true, 1, 1))
            .unwrap();
        let mut reader = engine.reader().unwrap();
        assert!(matches!(reader.find("0").unwrap(), Find::Several(ids) if ids.len() == 2));
        assert!(matches!(
            reader.find(&id(0x1a)[..32].to_uppercase()).unwrap(),
            Find::One(_)
        ));
        assert!(matches!(reader.find("f").unwrap(), Find::None));
        assert!(matches!(reader.find("' OR 1=1").unwrap(), Find::None));
        assert!(matches!(reader.find("").unwrap(), Find::None));
    });
}

#[test]
fn a_missing_store_and_one_of_another_version_are_told_apart() {
    let scratch = tempfile::tempdir().unwrap();
    let databases = Databases::fresh(MariaDb::shared());
    let sqlite = Sqlite::new(scratch.path(), true);
    let mysql = Mysql::new(databases.options());
    let engines: [&dyn Engine; 2] = [&sqlite, &mysql];
    for engine in engines {
        let missing = engine.reader().err().unwrap();
        assert_eq!(missing.kind, StoreErrorKind::Missing, "{missing}");
        assert!(missing.what.contains("shiva-dbcreate"), "{missing}");
        engine.create().unwrap();
    }
    let newer = rusqlite::Connection::open(scratch.path().join("Shiva.sqlite")).unwrap();
    newer
        .execute("UPDATE schema_version SET version = 99", [])
        .unwrap();
    let main = &databases.main;
    let newer = format!("UPDATE {main}.schema_version SET version = 99");
    MariaDb::shared().sql(&[&newer]);
    for engine in engines {
        let unfit = engine.main().err().unwrap();
        assert_eq!(unfit.kind, StoreErrorKind::Unfit, "{unfit}");
        assert!(unfit.what.contains("99"), "{unfit}");
        let unfit = engine.reader().err().unwrap();
        assert_eq!(unfit.kind, StoreErrorKind::Unfit, "{unfit}");
    }
}

#[test]
fn values_that_differ_in_trailing_spaces_or_in_case_are_different() {
    on_each_engine(|engine| {
        let alike = |value: &str| vec![value.to_owned(), format!("{value} "), value.to_uppercase()];
        let mut batch = batch(0, true, 1, 0);
        let sets = &mut batch.deltas.get_mut(&0).unwrap().sets;
        *sets = Sets {
            links: alike("http://x/a"),
            ips: alike("unknown"),
            sensors: alike("sensor"),
            recipients: alike("a@b"),
            users: alike("user"),
            parts: sets.parts.clone(),
        };
        for name in alike("name") {
            let mut part = part(0);
            part.name = name;
            sets.parts.push(part);
        }
        let all = |engine: &dyn Engine| {
            let totals = engine.reader().unwrap().totals().unwrap();
            assert_eq!((totals.links, totals.ips, totals.sensors), (3, 3, 3));
            let Find::One(spam) = engine.reader().unwrap().find(&id(0)).unwrap() else {
                panic!("not found");
            };
            let sets = spam.sets;
            let found = [
                &sets.links,
                &sets.ips,
                &sets.sensors,
                &sets.recipients,
                &sets.users,
            ];
            assert!(found.iter().all(|set| set.len() == 3), "{found:?}");
            assert_eq!(sets.parts.len(), 4);
            let top = engine.reader().unwrap().top(1).unwrap().remove(0);
            assert_eq!((top.ips, top.links, top.attachments), (3, 3, 4));
        };
        engine.windows().unwrap().commit(&batch).unwrap();
        all(engine);
        take_in(engine, 1, |_| Place::New);
        all(engine);
        // Once more onto what the main store knows.
        batch.window = 2;
        batch.files = QueueName::new("again").into_iter().collect();
        engine.windows().unwrap().commit(&batch).unwrap();
        all(engine);
        take_in(engine, 2, |id| Place::Into(id.to_owned()));
        all(engine);
    });
}

/// Two texts of one MD5, the first that were found of letters and digits only (M. Stevens, 2024).
const SAME_MD5: [&str; 2] = [
    "TEXTCOLLBYfGiJUETHQ4hAcKSMd5zYpgqf1YRDhkmxHkhPWptrkoyz28wnI9V0aHeAuaKnak",
    "TEXTCOLLBYfGiJUETHQ4hEcKSMd5zYpgqf1YRDhkmxHkhPWptrkoyz28wnI9V0aHeAuaKnak",
];

#[test]
fn no_sender_hides_a_value_behind_another_of_the_same_md5() {
    use md5::{Digest, Md5};
    let [first, second] = SAME_MD5;
    assert_eq!(Md5::digest(first), Md5::digest(second));
    on_each_engine(|engine| {
        let both = || SAME_MD5.map(str::to_owned).to_vec();
        let mut batch = batch(0, true, 1, 0);
        let sets = &mut batch.deltas.get_mut(&0).unwrap().sets;
        for set in [
            &mut sets.links,
            &mut sets.ips,
            &mut sets.sensors,
            &mut sets.recipients,
            &mut sets.users,
        ] {
            *set = both();
        }
        for name in both() {
            sets.parts.push(Part { name, ..part(0) });
        }
        sets.parts.remove(0);
        sets.parts.sort();
        let expected = sets.clone();
        engine.windows().unwrap().commit(&batch).unwrap();
        let check = || {
            let Find::One(spam) = engine.reader().unwrap().find(&id(0)).unwrap() else {
                panic!("not found");
            };
            assert_eq!(spam.sets, expected);
            let totals = engine.reader().unwrap().totals().unwrap();
            assert_eq!((totals.links, totals.ips, totals.sensors), (2, 2, 2));
            let top = engine.reader().unwrap().top(1).unwrap().remove(0);
            assert_eq!((top.ips, top.links, top.attachments), (2, 2, 2));
        };
        check();
        take_in(engine, 1, |_| Place::New);
        check();
    });
}

#[test]
fn a_store_of_many_records_is_read_whole() {
    on_each_engine(|engine| {
        const RECORDS: u64 = 12_000;
        let mut windows = engine.windows().unwrap();
        let mut batch = Batch {
            window: 1,
            files: QueueName::new("many").into_iter().collect(),
            ..Batch::default()
        };
        for n in 0..RECORDS {
            let mut new = record(0);
            new.known.id = format!("{n:032x}");
            new.text = "x".repeat(usize::try_from(n % 300).unwrap());
            let delta = Delta {
                id: new.known.id.clone(),
                new: Some(Box::new(new)),
                days: BTreeMap::from([(at(0).day(), Day::once(at(0)))]),
                sets: Sets {
                    links: vec![format!("http://x/{n}")],
                    ..Sets::default()
                },
            };
            batch.deltas.insert(n, delta);
        }
        windows.commit(&batch).unwrap();
        let records = windows.open_window().unwrap().records;
        let right = |ids: &[String]| {
            ids.len() as u64 == RECORDS
                && (0..RECORDS)
                    .zip(ids)
                    .all(|(n, id)| *id == format!("{n:032x}"))
        };
        let ids: Vec<_> = records.into_iter().map(|known| known.id).collect();
        assert!(right(&ids), "of the open window");
        take_in(engine, 1, |_| Place::New);
        let mut ids = Vec::new();
        let mut main = engine.main().unwrap();
        main.each_known(0, &mut |_, known| {
            ids.push(known.id);
            Ok(())
        })
        .unwrap();
        assert!(right(&ids), "of the main store");
        let totals = engine.reader().unwrap().totals().unwrap();
        assert_eq!((totals.distinct, totals.links), (RECORDS, RECORDS));
    });
}

#[test]
fn the_largest_message_fits() {
    on_each_engine(|engine| {
        let mut batch = batch(0, true, 1, 0);
        let new = batch.deltas.get_mut(&0).unwrap().new.as_mut().unwrap();
        new.text = "t".repeat(20 << 20);
        new.html = "h".repeat(20 << 20);
        new.headers = "k".repeat(2 << 20);
        engine.windows().unwrap().commit(&batch).unwrap();
        take_in(engine, 1, |_| Place::New);
        let Find::One(spam) = engine.reader().unwrap().find(&id(0)).unwrap() else {
            panic!("not found");
        };
        for kept in [&spam.record.text, &spam.record.html, &spam.record.headers] {
            assert!(kept.len() > 500_000 && kept.ends_with("[cut by SHIVA]"));
        }
        assert_eq!(spam.record.known.length, 1000, "of the whole");
    });
}
