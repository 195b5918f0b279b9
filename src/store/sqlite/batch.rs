//! Writes a batch into the window store, within the transaction that makes it count.

use std::collections::BTreeMap;

use rusqlite::{CachedStatement, Connection, params};

use super::{relaying, signed};
use crate::store::bounds::{self, cut};
use crate::store::{Batch, Delta, NewRecord, Sets};

/// Writes all that a batch changes.
pub(super) fn write(connection: &Connection, batch: &Batch) -> rusqlite::Result<()> {
    let window = signed(batch.window);
    Writer { connection, window }.batch(batch)
}

struct Writer<'c> {
    connection: &'c Connection,
    window: i64,
}

impl<'c> Writer<'c> {
    fn batch(&self, batch: &Batch) -> rusqlite::Result<()> {
        for (seq, delta) in &batch.deltas {
            if let Some(record) = &delta.new {
                self.insert(signed(*seq), record, delta)?;
            }
        }
        self.days(batch)?;
        self.values(batch, "links", bounds::LINK, |sets| &sets.links)?;
        self.values(batch, "sources", bounds::ADDRESS, |sets| &sets.ips)?;
        self.values(batch, "sensors", bounds::ADDRESS, |sets| &sets.sensors)?;
        self.values(batch, "recipients", bounds::ADDRESS, |sets| {
            &sets.recipients
        })?;
        self.values(batch, "users", bounds::ADDRESS, |sets| &sets.users)?;
        self.parts(batch)?;
        let undeliverable = &batch.undeliverable;
        self.reasons("undeliverable", undeliverable, |reason| reason.as_str())?;
        self.reasons("unrelayed", &batch.unrelayed, |reason| reason)?;
        relaying::write(self.connection, batch)
    }

    /// Adds to the counts of what was not done, by date and reason.
    fn reasons<R>(
        &self,
        table: &str,
        counts: &BTreeMap<(String, R), u64>,
        text: impl Fn(&R) -> &str,
    ) -> rusqlite::Result<()> {
        let mut count = self.prepare(&format!(
            "INSERT INTO {table} VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET counter = \
             counter + excluded.counter"
        ))?;
        for ((date, reason), counter) in counts {
            count.execute(params![self.window, date, text(reason), signed(*counter)])?;
        }
        Ok(())
    }

    fn prepare(&self, sql: &str) -> rusqlite::Result<CachedStatement<'c>> {
        self.connection.prepare_cached(sql)
    }

    fn insert(&self, seq: i64, record: &NewRecord, delta: &Delta) -> rusqlite::Result<()> {
        let total = delta.total();
        let digest =
            |values: &[String], separator| bounds::digest(values, values.len() as u64, separator);
        let or_unknown = |values: &[String]| match values {
            [] => "unknown".to_owned(),
            values => digest(values, ", "),
        };
        self.prepare(
            "INSERT INTO spam (window, seq, id, ssdeep, \"to\", \"from\", textMessage, \
             htmlMessage, subject, headers, sourceIP, sensorID, firstSeen, lastSeen, \
             totalCounter, length, bodyChars, hasText, user, sample) VALUES (?1, ?2, ?3, ?4, \
             ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)",
        )?
        .execute(params![
            self.window,
            seq,
            record.known.id,
            record.known.ssdeep,
            digest(&delta.sets.recipients, ","),
            cut(&record.from, bounds::FROM),
            cut(&record.text, bounds::BODY),
            cut(&record.html, bounds::BODY),
            cut(&record.subject, bounds::SUBJECT),
            cut(&record.headers, bounds::HEADERS),
            or_unknown(&delta.sets.ips),
            or_unknown(&delta.sets.sensors),
            total.first_seen.datetime(),
            total.last_seen.datetime(),
            signed(total.count),
            signed(record.known.length),
            signed(record.known.body_chars),
            record.known.has_text,
            digest(&delta.sets.users, ", "),
            record.sample,
        ])?;
        Ok(())
    }

    fn days(&self, batch: &Batch) -> rusqlite::Result<()> {
        let mut statement = self.prepare(
            "INSERT INTO days VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE SET \
             todaysCounter = todaysCounter + excluded.todaysCounter, \
             firstSeen = min(firstSeen, excluded.firstSeen), \
             lastSeen = max(lastSeen, excluded.lastSeen)",
        )?;
        for (seq, delta) in &batch.deltas {
            for day in delta.days.values() {
                statement.execute(params![
                    self.window,
                    signed(*seq),
                    day.first_seen.date(),
                    day.first_seen.datetime(),
                    day.last_seen.datetime(),
                    signed(day.count)
                ])?;
            }
        }
        Ok(())
    }

    /// Adds what is new to one set of each record.
    fn values(
        &self,
        batch: &Batch,
        table: &str,
        bound: usize,
        set: impl Fn(&Sets) -> &Vec<String>,
    ) -> rusqlite::Result<()> {
        let mut statement = self.prepare(&format!(
            "INSERT OR IGNORE INTO {table} VALUES (?1, ?2, ?3, ?4, ?5)"
        ))?;
        for (seq, delta) in &batch.deltas {
            let values = set(&delta.sets);
            if values.is_empty() {
                continue;
            }
            let date = delta.total().first_seen.date();
            for value in values {
                let value = cut(value, bound);
                statement.execute(params![self.window, signed(*seq), delta.id, value, date])?;
            }
        }
        Ok(())
    }

    fn parts(&self, batch: &Batch) -> rusqlite::Result<()> {
        let mut statement = self.prepare(
            "INSERT OR IGNORE INTO attachments VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, \
             ?11)",
        )?;
        for (seq, delta) in &batch.deltas {
            for part in &delta.sets.parts {
                statement.execute(params![
                    self.window,
                    signed(*seq),
                    delta.id,
                    cut(&part.name, bounds::FILE_NAME),
                    if part.inline { "inline" } else { "attach" },
                    part.path,
                    part.md5,
                    part.sha256,
                    signed(part.size),
                    cut(&part.media_type, bounds::MEDIA_TYPE),
                    delta.total().first_seen.date()
                ])?;
            }
        }
        Ok(())
    }
}
