//! A part of the stores' suite: records whose spams span days, batches and windows.

use std::path::Path;

use mysql::prelude::Queryable;
use shiva::store::mysql::Mysql;
use shiva::store::sqlite::Sqlite;
use shiva::store::{Batch, Day, Engine, Find, Place, WindowStore};

use crate::mariadb::{Databases, MariaDb};
use crate::store_suite::{at, batch, create, id, on_each_engine, take_in, take_in_closed};

/// A batch that sees record `n` of a window on several days: how often, and the seconds of the
/// first and the last time.
fn batch_of_days(window: u64, n: u8, new: bool, days: &[(u64, i64, i64)]) -> Batch {
    let mut batch = batch(n, new, 1, days[0].1);
    batch.window = window;
    let days = days.iter().map(|&(count, first, last)| {
        let day = Day {
            count,
            first_seen: at(first),
            last_seen: at(last),
        };
        (at(first).day(), day)
    });
    batch.deltas.get_mut(&u64::from(n)).unwrap().days = days.collect();
    batch
}

#[test]
fn the_days_of_a_record_add_up_across_batches_and_windows() {
    // Midnight is at second 6400.
    on_each_engine(|engine| {
        let seen = |count: u64, first: i64, last: i64, what: &str| {
            let Find::One(spam) = engine.reader().unwrap().find(&id(1)).unwrap() else {
                panic!("not found {what}");
            };
            let found = (spam.count, spam.first_seen, spam.last_seen);
            assert_eq!(found, (count, at(first), at(last)), "{what}");
            let top = engine.reader().unwrap().top(1).unwrap().remove(0);
            let found = (top.count, top.first_seen, top.last_seen);
            assert_eq!(found, (count, at(first), at(last)), "{what}");
            let totals = engine.reader().unwrap().totals().unwrap();
            assert_eq!((totals.spams, totals.distinct), (count, 1), "{what}");
        };
        // The record's first batch sees two days, its next the second of them and a third.
        let mut windows = engine.windows().unwrap();
        let commit = |windows: &mut Box<dyn WindowStore>, batch| windows.commit(&batch).unwrap();
        let first = [(2, 6000, 6399), (3, 6400, 7000)];
        commit(&mut windows, batch_of_days(1, 1, true, &first));
        seen(5, 6000, 7000, "after a batch");
        let second = [(4, 6500, 9000), (1, 99_000, 99_000)];
        commit(&mut windows, batch_of_days(1, 1, false, &second));
        seen(10, 6000, 99_000, "after two");
        windows.close_window(at(100_000)).unwrap();
        let mut taken = Vec::new();
        windows
            .each_record(1, &mut |record| {
                let days = record.days.iter();
                let days = days.map(|day| (day.count, day.first_seen, day.last_seen));
                taken.push((record.count, days.collect::<Vec<_>>()));
                Ok(())
            })
            .unwrap();
        let days = vec![
            (2, at(6000), at(6399)),
            (7, at(6400), at(9000)),
            (1, at(99_000), at(99_000)),
        ];
        assert_eq!(taken, [(10, days)]);
        seen(10, 6000, 99_000, "of a window that waits");
        take_in_closed(engine, 1, |_| Place::New);
        seen(10, 6000, 99_000, "of a window taken in");
        // The next window has one more of the last day, one before all, and one after.
        let third = [(1, -500_000, -500_000), (2, 98_000, 99_500)];
        commit(&mut windows, batch_of_days(2, 1, true, &third));
        commit(
            &mut windows,
            batch_of_days(2, 1, false, &[(5, 200_000, 200_001)]),
        );
        seen(18, -500_000, 200_001, "of both stores");
        take_in(engine, 2, |id| Place::Into(id.to_owned()));
        seen(18, -500_000, 200_001, "of two windows taken in");
    });
}

type Seen = (String, String, String, i64);

/// What both engines must answer to a query of an operator's own: a name or date, two times and a
/// count. `{m}` and `{w}` stand before tables of the main and of the window store.
fn asked(scratch: &Path, databases: &Databases<'_>, query: &str) -> Vec<Seen> {
    let file = if query.contains("{m}") {
        "Shiva.sqlite"
    } else {
        "ShivaTemp.sqlite"
    };
    let sqlite = rusqlite::Connection::open(scratch.join(file)).unwrap();
    let plain = query.replace("{m}", "").replace("{w}", "");
    let mut statement = sqlite.prepare(&plain).unwrap();
    let rows = statement.query_map([], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
    });
    let embedded: Vec<Seen> = rows.unwrap().map(Result::unwrap).collect();
    let query = query
        .replace("{m}", &format!("{}.", databases.main))
        .replace("{w}", &format!("{}.", databases.window));
    let served: Vec<Seen> = databases.server().root().query(query).unwrap();
    assert_eq!(embedded, served);
    served
}

#[test]
fn what_an_operator_reads_in_the_tables_has_every_day() {
    let scratch = tempfile::tempdir().unwrap();
    let sqlite = Sqlite::new(scratch.path(), true);
    let databases = Databases::fresh(MariaDb::shared());
    let mysql = Mysql::new(databases.options());
    let each = |work: &dyn Fn(&dyn Engine)| {
        work(&sqlite);
        work(&mysql);
    };
    each(&create);
    let time = |second| at(second).datetime();
    let commit = |batch: &Batch| each(&|engine| engine.windows().unwrap().commit(batch).unwrap());
    let ask = |query: &str| asked(scratch.path(), &databases, query);
    commit(&batch_of_days(
        1,
        1,
        true,
        &[(2, 6000, 6399), (3, 6400, 7000)],
    ));
    // Of the record's first batch while the window is open, of all when it is closed.
    let record = "SELECT id, firstSeen, lastSeen, totalCounter FROM {w}spam";
    assert_eq!(ask(record), [(id(1), time(6000), time(7000), 5)]);
    commit(&batch_of_days(1, 1, false, &[(1, 6500, 9000)]));
    each(&|engine| engine.windows().unwrap().close_window(at(10_000)).unwrap());
    assert_eq!(ask(record), [(id(1), time(6000), time(9000), 6)]);
    each(&|engine| take_in_closed(engine, 1, |_| Place::New));
    commit(&batch_of_days(2, 1, true, &[(4, 6398, 6398)]));
    each(&|engine| take_in(engine, 2, |id| Place::Into(id.to_owned())));
    // A day has one row, however many windows see it.
    let days = "SELECT date, firstSeen, lastSeen, todaysCounter FROM {m}sdate AS d JOIN \
        {m}sdate_spam ON date_id = d.id ORDER BY date";
    let expected = [
        ("2023-11-14".to_owned(), time(6000), time(6399), 6),
        ("2023-11-15".to_owned(), time(6400), time(9000), 4),
    ];
    assert_eq!(ask(days), expected);
}
