//! The window store in SQLite. See [`WindowStore`] for what each call promises.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Params, Row};

use super::{Errors, moment, relaying, signed, unsigned};
use crate::queue::QueueName;
use crate::store::{
    Batch, Day, Known, NewRecord, OpenWindow, Part, ProbeSeen, Reasons, Result, Sets, Settlement,
    StoreError, StoreErrorKind, TakenRecord, WindowKey, WindowStore,
};
use crate::timestamp::Timestamp;

/// Rows deleted in one transaction when a window is dropped.
const DROP_STEP: i64 = 5000;

/// The tables whose rows belong to a window.
const WINDOW_TABLES: &[&str] = &[
    "attachments",
    "links",
    "sensors",
    "sources",
    "recipients",
    "users",
    "days",
    "undeliverable",
    "relays",
    "unrelayed",
    "probes",
    "spam",
];

/// Brings the counters in the open window's records up to date. While it is open they are kept
/// by day only: to rewrite a record's row, body and all, for each of its copies would cost more
/// than all else.
const REFRESH_COUNTERS: &str = "UPDATE spam SET (totalCounter, firstSeen, lastSeen) = (SELECT \
    sum(todaysCounter), min(days.firstSeen), max(days.lastSeen) FROM days WHERE days.window = \
    spam.window AND days.seq = spam.seq), (relayCounter, relayTime) = (SELECT count(*), \
    max(settled) FROM relays WHERE relays.window = spam.window AND relays.seq = spam.seq AND fate \
    = 'accepted') WHERE window IN (SELECT number FROM windows WHERE closed IS NULL)";

/// The window store.
pub struct SqliteWindows {
    connection: Connection,
    errors: Errors,
    /// The database's inode when it was opened.
    inode: Option<u64>,
    /// Keeps another analyzer from it.
    _lock: Option<File>,
}

impl SqliteWindows {
    pub(super) fn new(connection: Connection, file: &Path, lock: Option<File>) -> SqliteWindows {
        SqliteWindows {
            connection,
            _lock: lock,
            inode: inode(file),
            errors: Errors(file.to_owned()),
        }
    }

    /// Fails when the file was taken away or another put in its place: what is written to it
    /// would be seen by nobody.
    fn check_file(&self) -> Result<()> {
        if inode(&self.errors.0) == self.inode {
            return Ok(());
        }
        Err(StoreError {
            kind: StoreErrorKind::Unavailable,
            what: format!(
                "{} was taken away or replaced; put it back, or restart the analyzer to go on \
                 with what is there",
                self.errors.0.display()
            ),
        })
    }

    fn run<T>(&mut self, work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Result<T> {
        work(&mut self.connection).map_err(|error| self.errors.of(&error))
    }
}

impl WindowStore for SqliteWindows {
    fn bound_to(&mut self) -> Result<Option<String>> {
        self.run(|c| c.query_row("SELECT queue FROM analyzer", [], |row| row.get(0)))
    }

    fn bind(&mut self, queue: &str) -> Result<()> {
        // Nobody else can while we have the lock.
        self.run(|c| c.execute("UPDATE analyzer SET queue = ?1", [queue]))
            .map(drop)
    }

    fn key(&mut self, window: u64) -> Result<WindowKey> {
        let names = self.run(|c| {
            c.query_row(
                "SELECT name, token FROM windows, analyzer WHERE number = ?1",
                [signed(window)],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()
        })?;
        let (analyzer, token) = names.ok_or_else(|| WindowKey::none(window))?;
        Ok(WindowKey {
            analyzer,
            window,
            token,
        })
    }

    fn open_window(&mut self) -> Result<OpenWindow> {
        let (number, opened): (i64, String) = self.run(|c| {
            c.query_row(
                "SELECT number, opened FROM windows WHERE closed IS NULL",
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
        })?;
        let number = unsigned(number);
        let mut records = Vec::new();
        self.each_known(number, &mut |known| {
            records.push(known);
            Ok(())
        })?;
        Ok(OpenWindow {
            number,
            opened: moment(&opened),
            records,
            slots: self.run(|c| relaying::slots(c, number))?,
        })
    }

    fn counted_files(&mut self) -> Result<Vec<QueueName>> {
        self.run(|c| {
            let mut statement = c.prepare("SELECT name FROM queue_files")?;
            let names = statement.query_map([], |row| row.get::<_, String>(0))?;
            names
                .filter_map(|name| name.map(|name| QueueName::new(&name)).transpose())
                .collect()
        })
    }

    fn commit(&mut self, batch: &Batch) -> Result<()> {
        self.check_file()?;
        self.run(|connection| {
            let transaction =
                connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            if let Some(first) = batch.files.first()
                && transaction
                    .prepare_cached("SELECT 1 FROM queue_files WHERE name = ?1")?
                    .exists([first.as_str()])?
            {
                return Ok(()); // this very batch, counted before its answer was lost
            }
            transaction.execute("DELETE FROM queue_files", [])?;
            {
                let mut insert =
                    transaction.prepare_cached("INSERT INTO queue_files VALUES (?1)")?;
                for name in &batch.files {
                    insert.execute([name.as_str()])?;
                }
            }
            super::batch::write(&transaction, batch)?;
            transaction.commit()
        })
    }

    fn forget_files(&mut self) -> Result<()> {
        self.run(|c| c.execute("DELETE FROM queue_files", []).map(drop))
    }

    fn close_window(&mut self, at: Timestamp) -> Result<()> {
        let token = WindowKey::draw()?;
        self.run(|connection| {
            let transaction =
                connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            let at = at.datetime();
            transaction.execute(REFRESH_COUNTERS, [])?;
            transaction.execute("UPDATE windows SET closed = ?1 WHERE closed IS NULL", [&at])?;
            transaction.execute(
                "INSERT INTO windows (number, token, opened) SELECT max(number) + 1, ?1, ?2 FROM \
                 windows",
                [&token, &at],
            )?;
            transaction.commit()
        })
    }

    fn waiting(&mut self) -> Result<Vec<u64>> {
        self.run(|c| {
            let mut statement = c.prepare(
                "SELECT number FROM windows WHERE closed IS NOT NULL AND NOT EXISTS (SELECT 1 FROM \
                 relays WHERE window = number AND settled IS NULL) ORDER BY number",
            )?;
            let numbers = statement.query_map([], |row| row.get(0).map(unsigned))?;
            numbers.collect()
        })
    }

    fn settle_relays(&mut self, settled: &[Settlement]) -> Result<()> {
        self.run(|connection| {
            let transaction =
                connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            relaying::settle(&transaction, settled)?;
            transaction.commit()
        })
    }

    fn settle_interrupted(&mut self, at: Timestamp) -> Result<u64> {
        self.run(|c| relaying::settle_interrupted(c, at))
    }

    fn probe_recipients(&mut self) -> Result<Vec<String>> {
        self.run(|c| {
            let mut statement = c.prepare("SELECT DISTINCT recipient FROM probes")?;
            statement.query_map([], |row| row.get(0))?.collect()
        })
    }

    fn each_known(&mut self, window: u64, each: &mut dyn FnMut(Known) -> Result<()>) -> Result<()> {
        let errors = self.errors.clone();
        let failed = |error: rusqlite::Error| errors.of(&error);
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT id, ssdeep, length, bodyChars, hasText FROM spam WHERE window = ?1 \
                 ORDER BY seq",
            )
            .map_err(failed)?;
        let rows = statement
            .query_map([signed(window)], known)
            .map_err(failed)?;
        for row in rows {
            each(row.map_err(failed)?)?;
        }
        Ok(())
    }

    fn each_record(
        &mut self,
        window: u64,
        each: &mut dyn FnMut(TakenRecord) -> Result<()>,
    ) -> Result<()> {
        let errors = self.errors.clone();
        let failed = |error: rusqlite::Error| errors.of(&error);
        let sets = SetReader {
            connection: &self.connection,
        };
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT id, ssdeep, length, bodyChars, hasText, \"from\", subject, textMessage, \
                 htmlMessage, headers, sample, seq, totalCounter FROM spam WHERE window = ?1 \
                 ORDER BY seq",
            )
            .map_err(failed)?;
        let mut rows = statement.query([signed(window)]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let record = sets.taken(window, row).map_err(failed)?;
            each(record)?;
        }
        Ok(())
    }

    fn each_sample(
        &mut self,
        window: u64,
        each: &mut dyn FnMut(&str, &str) -> Result<()>,
    ) -> Result<()> {
        let samples = self.run(|c| {
            let mut statement =
                c.prepare_cached("SELECT id, coalesce(sample, '') FROM spam WHERE window = ?1")?;
            let rows = statement.query_map([signed(window)], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        samples.iter().try_for_each(|(id, sample)| each(id, sample))
    }

    fn undeliverable(&mut self, window: u64) -> Result<Reasons> {
        self.run(|c| reasons(c, "undeliverable", window))
    }

    fn unrelayed(&mut self, window: u64) -> Result<Reasons> {
        self.run(|c| reasons(c, "unrelayed", window))
    }

    fn probes(&mut self, window: u64) -> Result<Vec<ProbeSeen>> {
        self.run(|c| relaying::probes(c, window))
    }

    fn drop_window(&mut self, window: u64) -> Result<()> {
        for table in WINDOW_TABLES {
            // By the table's own key, so that it works where there is no row id.
            let key = match *table {
                "undeliverable" | "unrelayed" => "date",
                "probes" => "recipient",
                _ => "seq",
            };
            let statement = format!(
                "DELETE FROM {table} WHERE window = ?1 AND {key} <= (SELECT {key} FROM {table} \
                 WHERE window = ?1 ORDER BY {key} LIMIT 1 OFFSET {DROP_STEP})"
            );
            while self.run(|c| c.execute(&statement, [signed(window)]))? > 0 {}
            let rest = format!("DELETE FROM {table} WHERE window = ?1");
            self.run(|c| c.execute(&rest, [signed(window)]))?;
        }
        self.run(|c| c.execute("DELETE FROM windows WHERE number = ?1", [signed(window)]))?;
        Ok(())
    }
}

fn reasons(connection: &Connection, table: &str, window: u64) -> rusqlite::Result<Reasons> {
    let query = format!("SELECT date, reason, counter FROM {table} WHERE window = ?1");
    let mut statement = connection.prepare(&query)?;
    let rows = statement.query_map([signed(window)], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2).map(unsigned)?))
    })?;
    rows.collect()
}

fn inode(file: &Path) -> Option<u64> {
    file.metadata().ok().map(|metadata| metadata.ino())
}

fn known(row: &Row<'_>) -> rusqlite::Result<Known> {
    Ok(Known {
        id: row.get(0)?,
        ssdeep: row.get(1)?,
        length: row.get(2).map(unsigned)?,
        body_chars: row.get(3).map(unsigned)?,
        has_text: row.get(4)?,
    })
}

/// Reads the sets of a window's records.
struct SetReader<'c> {
    connection: &'c Connection,
}

impl SetReader<'_> {
    fn taken(&self, window: u64, row: &Row<'_>) -> rusqlite::Result<TakenRecord> {
        let key = (signed(window), row.get::<_, i64>(11)?);
        Ok(TakenRecord {
            record: NewRecord {
                known: known(row)?,
                from: row.get(5)?,
                subject: row.get(6)?,
                text: row.get(7)?,
                html: row.get(8)?,
                headers: row.get(9)?,
                sample: row.get(10)?,
            },
            count: row.get(12).map(unsigned)?,
            days: self.rows(
                "SELECT firstSeen, lastSeen, todaysCounter FROM days WHERE window = ?1 AND \
                 seq = ?2 ORDER BY date",
                key,
                |row| {
                    Ok(Day {
                        first_seen: moment(&row.get::<_, String>(0)?),
                        last_seen: moment(&row.get::<_, String>(1)?),
                        count: row.get(2).map(unsigned)?,
                    })
                },
            )?,
            sets: Sets {
                links: self.values("links", "hyperlink", key)?,
                ips: self.values("sources", "sourceIP", key)?,
                sensors: self.values("sensors", "sensorID", key)?,
                recipients: self.values("recipients", "recipient", key)?,
                users: self.values("users", "user", key)?,
                parts: self.rows(
                    "SELECT file_name, media_type, size, attachmentFileMd5, sha256, \
                     attach_type = 'inline', attachment_file_path FROM attachments WHERE \
                     window = ?1 AND seq = ?2",
                    key,
                    part,
                )?,
            },
            relays: relaying::of_record(self.connection, key)?,
        })
    }

    fn values(&self, table: &str, column: &str, key: (i64, i64)) -> rusqlite::Result<Vec<String>> {
        let sql = format!("SELECT {column} FROM {table} WHERE window = ?1 AND seq = ?2");
        self.rows(&sql, key, |row| row.get(0))
    }

    fn rows<T>(
        &self,
        sql: &str,
        key: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>> {
        let mut statement = self.connection.prepare_cached(sql)?;
        statement.query_map(key, read)?.collect()
    }
}

/// An attachment's row: name, type, size, md5, sha256, inline, path.
pub(super) fn part(row: &Row<'_>) -> rusqlite::Result<Part> {
    Ok(Part {
        name: row.get(0)?,
        media_type: row.get(1)?,
        size: row.get(2).map(unsigned)?,
        md5: row.get(3)?,
        sha256: row.get(4)?,
        inline: row.get(5)?,
        path: row.get(6)?,
    })
}
