//! The main store in SQLite. See [`MainStore`] for what each call promises.

use std::path::Path;

use rusqlite::{CachedStatement, Connection, OptionalExtension, Params, params};

use super::{Errors, moment, relaying, signed, unsigned};
use crate::store::bounds::{self, cut};
use crate::store::{
    Day, Known, MainStore, Part, Place, ProbeSeen, Result, Sets, TakeIn, TakenRecord, WindowKey,
};
use crate::timestamp::Timestamp;

/// The main store.
pub struct SqliteMain {
    connection: Connection,
    errors: Errors,
    keep_bodies: bool,
}

impl SqliteMain {
    pub(super) fn new(connection: Connection, file: &Path, keep_bodies: bool) -> SqliteMain {
        SqliteMain {
            connection,
            errors: Errors(file.to_owned()),
            keep_bodies,
        }
    }

    fn change(&mut self, sql: &str, params: impl Params) -> Result<()> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(params))
            .map(drop)
            .map_err(|error| self.errors.of(&error))
    }
}

impl MainStore for SqliteMain {
    fn each_known(
        &mut self,
        after: u64,
        each: &mut dyn FnMut(u64, Known) -> Result<()>,
    ) -> Result<()> {
        each_known(&self.connection, &self.errors, after, each)
    }

    fn is_taken(&mut self, key: &WindowKey) -> Result<bool> {
        self.connection
            .prepare_cached(
                "SELECT 1 FROM windows_taken WHERE analyzer = ?1 AND window = ?2 AND token = ?3",
            )
            .and_then(|mut statement| {
                statement.exists(params![key.analyzer, signed(key.window), key.token])
            })
            .map_err(|error| self.errors.of(&error))
    }

    fn add(&mut self, fill: &mut dyn FnMut(&mut dyn TakeIn) -> Result<()>) -> Result<()> {
        let errors = self.errors.clone();
        let failed = |error: rusqlite::Error| errors.of(&error);
        let transaction = self
            .connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .map_err(failed)?;
        let mut taking = Taking {
            connection: &transaction,
            errors: &errors,
            keep_bodies: self.keep_bodies,
            tested: false,
        };
        fill(&mut taking)?;
        if taking.tested {
            relaying::renew_whitelist(&transaction).map_err(failed)?;
        }
        transaction.commit().map_err(failed)
    }

    fn keeps_sample(&mut self, id: &str, sample: &str) -> Result<bool> {
        self.connection
            .prepare_cached("SELECT 1 FROM spam WHERE id = ?1 AND sample = ?2")
            .and_then(|mut statement| statement.exists([id, sample]))
            .map_err(|error| self.errors.of(&error))
    }

    fn move_sample(&mut self, id: &str, from: &str, to: &str) -> Result<()> {
        let moved = "UPDATE spam SET sample = ?3 WHERE id = ?1 AND sample = ?2";
        self.change(moved, params![id, from, to])
    }

    fn move_part(&mut self, sha256: &str, to: &str) -> Result<()> {
        for table in ["attachment", "inline"] {
            let moved = format!("UPDATE {table} SET {table}_file_path = ?2 WHERE sha256 = ?1");
            self.change(&moved, params![sha256, to])?;
        }
        Ok(())
    }

    fn probe_recipients(&mut self, most: usize) -> Result<Vec<String>> {
        relaying::probe_recipients(&self.connection, most).map_err(|error| self.errors.of(&error))
    }
}

fn each_known(
    connection: &Connection,
    errors: &Errors,
    after: u64,
    each: &mut dyn FnMut(u64, Known) -> Result<()>,
) -> Result<()> {
    let failed = |error: rusqlite::Error| errors.of(&error);
    let mut statement = connection
        .prepare_cached(
            "SELECT seq, id, ssdeep, length, bodyChars FROM spam WHERE seq > ?1 ORDER BY seq",
        )
        .map_err(failed)?;
    let rows = statement
        .query_map([signed(after)], |row| {
            let known = Known {
                id: row.get(1)?,
                ssdeep: row.get::<_, Option<String>>(2)?.unwrap_or_default(),
                length: row.get(3).map(unsigned)?,
                body_chars: row.get(4).map(unsigned)?,
                has_text: true,
            };
            Ok((row.get(0).map(unsigned)?, known))
        })
        .map_err(failed)?;
    for row in rows {
        let (seq, known) = row.map_err(failed)?;
        each(seq, known)?;
    }
    Ok(())
}

/// The open transaction.
struct Taking<'c> {
    connection: &'c Connection,
    errors: &'c Errors,
    keep_bodies: bool,
    /// The window had tests of the relay.
    tested: bool,
}

impl TakeIn for Taking<'_> {
    fn mark(&mut self, key: &WindowKey) -> Result<bool> {
        self.prepare("INSERT OR IGNORE INTO windows_taken VALUES (?1, ?2, ?3, ?4)")
            .and_then(|mut statement| {
                statement.execute(params![
                    key.analyzer,
                    signed(key.window),
                    key.token,
                    Timestamp::now().datetime()
                ])
            })
            .map(|marked| marked > 0)
            .map_err(|error| self.errors.of(&error))
    }

    fn each_known(
        &mut self,
        after: u64,
        each: &mut dyn FnMut(u64, Known) -> Result<()>,
    ) -> Result<()> {
        each_known(self.connection, self.errors, after, each)
    }

    fn record(&mut self, record: &TakenRecord, place: &Place) -> Result<()> {
        let write = || -> rusqlite::Result<()> {
            let id = match place {
                Place::Into(id) if self.count(id, record)? => id,
                _ => {
                    self.insert(record)?;
                    record.record.known.id.as_str()
                }
            };
            for day in &record.days {
                self.day(id, day)?;
            }
            self.sets(id, record)?;
            self.digests(id, &record.sets)?;
            relaying::take_in(self.connection, id, record)
        };
        write().map_err(|error| self.errors.of(&error))
    }

    fn undeliverable(&mut self, date: &str, reason: &str, count: u64) -> Result<()> {
        self.reason("undeliverable", date, reason, count)
    }

    fn unrelayed(&mut self, date: &str, reason: &str, count: u64) -> Result<()> {
        self.reason("unrelayed", date, reason, count)
    }

    fn probe(&mut self, probe: &ProbeSeen) -> Result<()> {
        self.tested = true;
        relaying::take_in_probe(self.connection, probe).map_err(|error| self.errors.of(&error))
    }
}

impl Taking<'_> {
    fn prepare(&self, sql: &str) -> rusqlite::Result<CachedStatement<'_>> {
        self.connection.prepare_cached(sql)
    }

    fn execute(&self, sql: &str, params: impl Params) -> rusqlite::Result<()> {
        self.prepare(sql)?.execute(params).map(drop)
    }

    fn reason(&self, table: &str, date: &str, reason: &str, count: u64) -> Result<()> {
        let sql = format!(
            "INSERT INTO {table} VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET counter = counter \
             + excluded.counter"
        );
        self.execute(&sql, params![date, reason, signed(count)])
            .map_err(|error| self.errors.of(&error))
    }

    fn insert(&self, taken: &TakenRecord) -> rusqlite::Result<()> {
        let record = &taken.record;
        let body = |text| self.keep_bodies.then(|| cut(text, bounds::BODY));
        self.execute(
            "INSERT INTO spam (id, \"from\", subject, textMessage, htmlMessage, totalCounter, \
             ssdeep, headers, length, bodyChars, sample) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, \
             ?8, ?9, ?10, ?11)",
            params![
                record.known.id,
                record.from,
                record.subject,
                body(&record.text),
                body(&record.html),
                signed(taken.count),
                record.known.ssdeep,
                self.keep_bodies.then_some(&record.headers),
                signed(record.known.length),
                signed(record.known.body_chars),
                record.sample
            ],
        )
    }

    /// Counts, and gives a record without a sample one. False when there is no such record any more.
    fn count(&self, id: &str, taken: &TakenRecord) -> rusqlite::Result<bool> {
        let sql = "UPDATE spam SET totalCounter = totalCounter + ?2, sample = CASE WHEN sample = '' \
            THEN ?3 ELSE sample END WHERE id = ?1";
        let changed =
            self.prepare(sql)?
                .execute(params![id, signed(taken.count), taken.record.sample])?;
        Ok(changed > 0)
    }

    fn day(&self, id: &str, day: &Day) -> rusqlite::Result<()> {
        let date = day.first_seen.date();
        let known = self
            .prepare(
                "SELECT sdate.id, firstSeen, lastSeen, todaysCounter FROM sdate_spam JOIN sdate \
                 ON sdate.id = date_id WHERE spam_id = ?1 AND date = ?2",
            )?
            .query_row(params![id, date], |row| {
                let day = Day {
                    first_seen: moment(&row.get::<_, String>(1)?),
                    last_seen: moment(&row.get::<_, String>(2)?),
                    count: row.get(3).map(unsigned)?,
                };
                Ok((row.get::<_, i64>(0)?, day))
            })
            .optional()?;
        if let Some((row, mut sum)) = known {
            sum.add(day);
            return self.execute(
                "UPDATE sdate SET firstSeen = ?2, lastSeen = ?3, todaysCounter = ?4 WHERE id = ?1",
                params![
                    row,
                    sum.first_seen.datetime(),
                    sum.last_seen.datetime(),
                    signed(sum.count)
                ],
            );
        }
        self.execute(
            "INSERT INTO sdate (date, firstSeen, lastSeen, todaysCounter) VALUES (?1, ?2, ?3, ?4)",
            params![
                date,
                day.first_seen.datetime(),
                day.last_seen.datetime(),
                signed(day.count)
            ],
        )?;
        let row = self.connection.last_insert_rowid();
        self.execute(
            "INSERT INTO sdate_spam (spam_id, date_id) VALUES (?1, ?2)",
            params![id, row],
        )
    }

    fn sets(&self, id: &str, taken: &TakenRecord) -> rusqlite::Result<()> {
        let date = taken
            .days
            .first()
            .map_or_else(String::new, |day| day.first_seen.date());
        let sets = &taken.sets;
        for link in &sets.links {
            self.execute(
                "INSERT INTO links (date, hyperLink, spam_id) SELECT ?1, ?2, ?3 WHERE NOT EXISTS \
                 (SELECT 1 FROM links WHERE spam_id = ?3 AND hyperLink = ?2)",
                params![date, link, id],
            )?;
        }
        for ip in &sets.ips {
            self.shared("ip", "sourceIP", id, &date, ip)?;
        }
        for sensor in &sets.sensors {
            self.shared("sensor", "sensorID", id, &date, sensor)?;
        }
        for recipient in &sets.recipients {
            self.execute(
                "INSERT OR IGNORE INTO recipient_spam (date, recipient, spam_id) VALUES (?1, ?2, ?3)",
                params![date, recipient, id],
            )?;
        }
        for user in &sets.users {
            self.execute(
                "INSERT OR IGNORE INTO user_spam (date, user, spam_id) VALUES (?1, ?2, ?3)",
                params![date, user, id],
            )?;
        }
        sets.parts
            .iter()
            .try_for_each(|part| self.part(id, &date, part))
    }

    /// A value whose row is shared between records: `ip` and `sensor`.
    fn shared(
        &self,
        table: &str,
        column: &str,
        id: &str,
        date: &str,
        value: &str,
    ) -> rusqlite::Result<()> {
        let known = self
            .prepare(&format!(
                "SELECT id FROM {table} WHERE {column} = ?1 LIMIT 1"
            ))?
            .query_row([value], |row| row.get::<_, i64>(0))
            .optional()?;
        let row = match known {
            Some(row) => row,
            None => {
                self.execute(
                    &format!("INSERT INTO {table} (date, {column}) VALUES (?1, ?2)"),
                    params![date, value],
                )?;
                self.connection.last_insert_rowid()
            }
        };
        self.execute(
            &format!(
                "INSERT INTO {table}_spam ({table}_id, spam_id) SELECT ?1, ?2 WHERE NOT EXISTS \
                 (SELECT 1 FROM {table} CROSS JOIN {table}_spam ON {table}_id = {table}.id AND \
                 spam_id = ?2 WHERE {column} = ?3)"
            ),
            params![row, id, value],
        )
    }

    fn part(&self, id: &str, date: &str, part: &Part) -> rusqlite::Result<()> {
        let (table, prefix) = if part.inline {
            ("inline", "inline")
        } else {
            ("attachment", "attachment")
        };
        self.execute(
            &format!(
                "INSERT INTO {table} (date, md5, {prefix}_file_name, {prefix}_file_path, \
                 {prefix}_file_type, spam_id, sha256, size) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 \
                 WHERE NOT EXISTS (SELECT 1 FROM {table} WHERE spam_id = ?6 AND sha256 = ?7 AND \
                 {prefix}_file_name = ?3)"
            ),
            params![
                date,
                part.md5,
                part.name,
                part.path,
                part.media_type,
                id,
                part.sha256,
                signed(part.size)
            ],
        )
    }

    /// Renews the old columns that hold a digest of a set this window added to.
    fn digests(&self, id: &str, sets: &Sets) -> rusqlite::Result<()> {
        if !sets.recipients.is_empty() {
            let to = self.digest("recipient_spam", "recipient", id, ",")?;
            self.execute("UPDATE spam SET \"to\" = ?2 WHERE id = ?1", [id, &to])?;
        }
        if !sets.users.is_empty() {
            let user = self.digest("user_spam", "user", id, ", ")?;
            self.execute("UPDATE spam SET user = ?2 WHERE id = ?1", [id, &user])?;
        }
        Ok(())
    }

    fn digest(
        &self,
        table: &str,
        column: &str,
        id: &str,
        separator: &str,
    ) -> rusqlite::Result<String> {
        let count = format!("SELECT count(*) FROM {table} WHERE spam_id = ?1");
        let count = self
            .prepare(&count)?
            .query_row([id], |row| row.get(0).map(unsigned))?;
        let first = format!("SELECT {column} FROM {table} WHERE spam_id = ?1 LIMIT ?2");
        let mut first = self.prepare(&first)?;
        let values =
            first.query_map(params![id, signed(bounds::DIGEST as u64)], |row| row.get(0))?;
        let values: Vec<String> = values.collect::<rusqlite::Result<_>>()?;
        Ok(bounds::digest(&values, count, separator))
    }
}
