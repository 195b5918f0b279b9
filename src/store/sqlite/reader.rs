//! The operator's questions, over both SQLite databases at once.
//!
//! The window database is read first: a window that moves to the main store meanwhile is then
//! seen in both, its marker in the main store says so, and it is counted once.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Row};

use super::window_store::part;
use super::{Errors, moment, relaying, signed, unsigned};
use crate::store::{
    Fate, Find, Known, LedgerLine, NewRecord, Probe, Reader, Result, Sets, Spam, TopSpam, Totals,
};
use crate::timestamp::Timestamp;

/// Ids shown when several records match.
const SEVERAL: usize = 20;

/// Both stores, to read.
pub struct SqliteReader {
    connection: Connection,
    errors: Errors,
}

/// The windows that are in the window store only.
pub(super) const OPEN: &str = "window IN (SELECT number FROM windows WHERE NOT EXISTS (SELECT 1 FROM \
                    store.windows_taken t WHERE t.window = number AND t.token = windows.token AND \
                    t.analyzer IN (SELECT name FROM analyzer)))";

/// The rows of one record, `?1`, in those windows: by the key of their tables.
const MINE: &str = "(window, seq) IN (SELECT s.window, s.seq FROM main.spam s WHERE s.id = ?1 AND \
                    s.window IN (SELECT number FROM windows WHERE NOT EXISTS (SELECT 1 FROM \
                    store.windows_taken t WHERE t.window = number AND t.token = windows.token AND \
                    t.analyzer IN (SELECT name FROM analyzer))))";

impl SqliteReader {
    pub(super) fn new(connection: Connection, window: &Path, main: &Path) -> Result<SqliteReader> {
        let errors = Errors(window.to_owned());
        let main = main.to_string_lossy().into_owned();
        connection
            .execute("ATTACH DATABASE ?1 AS store", [main])
            .map_err(|error| errors.of(&error))?;
        Ok(SqliteReader { connection, errors })
    }

    fn run<T>(&mut self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        let in_one_view = || -> rusqlite::Result<T> {
            let transaction = self.connection.transaction()?;
            transaction.query_row("SELECT count(*) FROM main.windows", [], |_| Ok(()))?;
            work(&transaction)
        };
        in_one_view().map_err(|error| self.errors.of(&error))
    }
}

impl Reader for SqliteReader {
    fn totals(&mut self) -> Result<Totals> {
        self.run(|connection| {
            let count = |sql: &str| -> rusqlite::Result<u64> {
                let sql = sql.replace("{open}", OPEN);
                connection.query_row(&sql, [], |row| {
                    Ok(unsigned(row.get::<_, Option<i64>>(0)?.unwrap_or(0)))
                })
            };
            let sum = |column: &str, table: &str| -> rusqlite::Result<u64> {
                Ok(count(&format!("SELECT sum({column}) FROM store.{table}"))?
                    + count(&format!(
                        "SELECT sum({column}) FROM main.{table} WHERE {{open}}"
                    ))?)
            };
            Ok(Totals {
                spams: count("SELECT sum(totalCounter) FROM store.spam")?
                    + count("SELECT sum(todaysCounter) FROM main.days WHERE {open}")?,
                distinct: count(
                    "SELECT count(*) FROM (SELECT id FROM store.spam UNION SELECT id FROM \
                     main.spam WHERE {open})",
                )?,
                links: count(
                    "SELECT count(*) FROM (SELECT hyperLink FROM store.links UNION SELECT \
                     hyperlink FROM main.links WHERE {open})",
                )?,
                ips: count(
                    "SELECT count(*) FROM (SELECT sourceIP FROM store.ip UNION SELECT sourceIP \
                     FROM main.sources WHERE {open})",
                )?,
                attachments: count(
                    "SELECT count(*) FROM (SELECT sha256 FROM store.attachment UNION SELECT \
                     sha256 FROM store.inline UNION SELECT sha256 FROM main.attachments WHERE \
                     {open})",
                )?,
                sensors: count(
                    "SELECT count(*) FROM (SELECT sensorID FROM store.sensor UNION SELECT \
                     sensorID FROM main.sensors WHERE {open})",
                )?,
                undeliverable: sum("counter", "undeliverable")?,
                relayed: count("SELECT sum(totalRelayed) FROM store.relay")?
                    + count("SELECT count(*) FROM main.relays WHERE fate = 'accepted' AND {open}")?,
            })
        })
    }

    fn top(&mut self, most: usize) -> Result<Vec<TopSpam>> {
        self.run(|connection| {
            let sql = format!(
                "SELECT id, sum(n) AS total FROM (SELECT id, totalCounter AS n FROM store.spam \
                 UNION ALL SELECT id, (SELECT sum(todaysCounter) FROM main.days d WHERE d.window = \
                 spam.window AND d.seq = spam.seq) FROM main.spam WHERE {OPEN}) GROUP BY id \
                 ORDER BY total DESC, id LIMIT ?1"
            );
            let mut statement = connection.prepare(&sql)?;
            let ids = statement.query_map([signed(most as u64)], |row| row.get(0))?;
            let ids: Vec<String> = ids.collect::<rusqlite::Result<_>>()?;
            ids.iter().map(|id| top_spam(connection, id)).collect()
        })
    }

    fn find(&mut self, id: &str) -> Result<Find> {
        let id = id.to_ascii_lowercase();
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Find::None);
        }
        self.run(|connection| {
            let mut statement = connection.prepare(&format!(
                "SELECT id FROM store.spam WHERE id >= ?1 AND id < ?1 || 'g' UNION SELECT id \
                 FROM main.spam WHERE id >= ?1 AND id < ?1 || 'g' AND {OPEN} ORDER BY id LIMIT ?2"
            ))?;
            let ids = statement.query_map((&id, signed(SEVERAL as u64)), |row| row.get(0))?;
            let ids: Vec<String> = ids.collect::<rusqlite::Result<_>>()?;
            match ids.as_slice() {
                [] => Ok(Find::None),
                [id] => {
                    Ok(spam(connection, id)?.map_or(Find::None, |spam| Find::One(Box::new(spam))))
                }
                _ => Ok(Find::Several(ids)),
            }
        })
    }

    fn each_recipient(&mut self, each: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
        let mut failed = None;
        self.run(|connection| {
            let sql = format!(
                "SELECT recipient FROM main.recipients WHERE {OPEN} UNION ALL SELECT recipient FROM \
                 store.recipient_spam"
            );
            let mut statement = connection.prepare(&sql)?;
            let mut rows = statement.query([])?;
            while let (None, Some(row)) = (&failed, rows.next()?) {
                failed = each(row.get_ref(0)?.as_str()?).err();
            }
            Ok(())
        })?;
        failed.map_or(Ok(()), Err)
    }

    fn relays(&mut self, most: usize) -> Result<Vec<LedgerLine>> {
        self.run(|connection| relaying::ledger(connection, most))
    }

    fn unrelayed(&mut self) -> Result<Vec<(String, u64)>> {
        self.run(relaying::unrelayed)
    }

    fn fates(&mut self) -> Result<Vec<(Fate, u64)>> {
        self.run(relaying::fates)
    }

    fn probes(&mut self, most: usize) -> Result<Vec<Probe>> {
        self.run(|connection| relaying::followed_probes(connection, most))
    }
}

/// Gathers a record from the main store and the windows not yet in it.
fn spam(connection: &Connection, id: &str) -> rusqlite::Result<Option<Spam>> {
    let columns = "id, ssdeep, length, bodyChars, \"from\", subject, textMessage, htmlMessage, \
                   headers, sample";
    let record = connection
        .prepare_cached(&format!(
            "SELECT {columns} FROM store.spam WHERE id = ?1 UNION ALL SELECT {columns} FROM \
             main.spam WHERE id = ?1 AND {OPEN} LIMIT 1"
        ))?
        .query_row([id], new_record)
        .optional()?;
    let Some(record) = record else {
        return Ok(None);
    };
    let (count, first_seen, last_seen) = seen(connection, id)?;
    let relayed = format!(
        "SELECT sum(n) FROM (SELECT totalRelayed AS n FROM store.relay WHERE spam_id = ?1 UNION \
         ALL SELECT count(*) FROM main.relays WHERE fate = 'accepted' AND {MINE})"
    );
    let relayed = connection.query_row(&relayed, [id], |row| row.get::<_, Option<i64>>(0))?;
    Ok(Some(Spam {
        record,
        count,
        first_seen,
        last_seen,
        relayed: unsigned(relayed.unwrap_or(0)),
        sets: sets(connection, id)?,
    }))
}

/// How often a record was seen, and when first and last.
fn seen(connection: &Connection, id: &str) -> rusqlite::Result<(u64, Timestamp, Timestamp)> {
    let days = format!(
        "SELECT sum(n), min(a), max(b) FROM (SELECT todaysCounter AS n, firstSeen AS a, lastSeen \
         AS b FROM store.sdate_spam JOIN store.sdate ON sdate.id = date_id WHERE spam_id = ?1 \
         UNION ALL SELECT todaysCounter, firstSeen, lastSeen FROM main.days WHERE {MINE})"
    );
    connection.prepare_cached(&days)?.query_row([id], |row| {
        let time = |column| -> rusqlite::Result<Timestamp> {
            let text: Option<String> = row.get(column)?;
            Ok(moment(&text.unwrap_or_default()))
        };
        let count = unsigned(row.get::<_, Option<i64>>(0)?.unwrap_or(0));
        Ok((count, time(1)?, time(2)?))
    })
}

/// A record for the top list: its sets are counted, not read.
fn top_spam(connection: &Connection, id: &str) -> rusqlite::Result<TopSpam> {
    let count = |sets: &str| -> rusqlite::Result<u64> {
        let sql = format!("SELECT count(*) FROM ({sets})");
        connection
            .prepare_cached(&sql)?
            .query_row([id], |row| row.get(0).map(unsigned))
    };
    let subject = format!(
        "SELECT subject FROM store.spam WHERE id = ?1 UNION ALL SELECT subject FROM main.spam \
         WHERE id = ?1 AND {OPEN} LIMIT 1"
    );
    let subject: Option<String> = connection
        .prepare_cached(&subject)?
        .query_row([id], |row| row.get(0))?;
    let (times, first_seen, last_seen) = seen(connection, id)?;
    Ok(TopSpam {
        id: id.to_owned(),
        subject: subject.unwrap_or_default(),
        count: times,
        first_seen,
        last_seen,
        ips: count(&set(IPS))?,
        links: count(&set(LINKS))?,
        attachments: count(&parts())?,
    })
}

/// A set of a record, `?1`: where the main store has it, then table and column of the window's.
type Set = (&'static str, &'static str, &'static str);

const LINKS: Set = ("hyperLink FROM store.links", "links", "hyperlink");
const IPS: Set = (
    "sourceIP FROM store.ip_spam JOIN store.ip ON ip.id = ip_id",
    "sources",
    "sourceIP",
);
const SENSORS: Set = (
    "sensorID FROM store.sensor_spam JOIN store.sensor ON sensor.id = sensor_id",
    "sensors",
    "sensorID",
);
const RECIPIENTS: Set = (
    "recipient FROM store.recipient_spam",
    "recipients",
    "recipient",
);
const USERS: Set = ("user FROM store.user_spam", "users", "user");

/// The query for a set's values, each once.
fn set((main, table, column): Set) -> String {
    format!(
        "SELECT {main} WHERE spam_id = ?1 UNION SELECT {column} FROM main.{table} WHERE {MINE} \
         ORDER BY 1"
    )
}

/// The query for a record's attachments and inline parts.
fn parts() -> String {
    let kind = |inline: bool, table: &str, kind: &str| {
        format!(
            "SELECT {table}_file_name, coalesce({table}_file_type, ''), coalesce(size, 0), md5, \
             coalesce(sha256, ''), {inline}, coalesce({table}_file_path, '') FROM store.{table} \
             WHERE spam_id = ?1 UNION SELECT file_name, media_type, size, attachmentFileMd5, \
             sha256, {inline}, attachment_file_path FROM main.attachments WHERE attach_type = \
             '{kind}' AND {MINE}"
        )
    };
    let (attached, inline) = (
        kind(false, "attachment", "attach"),
        kind(true, "inline", "inline"),
    );
    format!("{attached} UNION {inline}")
}

fn new_record(row: &Row<'_>) -> rusqlite::Result<NewRecord> {
    let text = |column| {
        row.get::<_, Option<String>>(column)
            .map(Option::unwrap_or_default)
    };
    Ok(NewRecord {
        known: Known {
            id: text(0)?,
            ssdeep: text(1)?,
            length: row.get(2).map(unsigned)?,
            body_chars: row.get(3).map(unsigned)?,
            has_text: !text(6)?.is_empty(),
        },
        from: text(4)?,
        subject: text(5)?,
        text: text(6)?,
        html: text(7)?,
        headers: text(8)?,
        sample: text(9)?,
    })
}

fn sets(connection: &Connection, id: &str) -> rusqlite::Result<Sets> {
    let values = |of: Set| -> rusqlite::Result<Vec<String>> {
        let mut statement = connection.prepare_cached(&set(of))?;
        statement.query_map([id], |row| row.get(0))?.collect()
    };
    Ok(Sets {
        links: values(LINKS)?,
        ips: values(IPS)?,
        sensors: values(SENSORS)?,
        recipients: values(RECIPIENTS)?,
        users: values(USERS)?,
        parts: connection
            .prepare_cached(&parts())?
            .query_map([id], part)?
            .collect::<rusqlite::Result<_>>()?,
    })
}
