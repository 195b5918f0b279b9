//! The operator's questions, over both databases at once.
//!
//! Each question is one read-only transaction with one view of both: a window that moves to the
//! main store meanwhile is seen before or after.

mod relaying;

use std::collections::BTreeSet;
use std::fmt::Write;

use mysql::Conn;
use mysql::prelude::Queryable;

use super::fault::Tried;
use super::link::Link;
use super::page::part;
use super::rows::{Columns, all, first};
use super::{Options, quoted};
use crate::store::{
    Fate, Find, Known, LedgerLine, NewRecord, Part, Probe, Reader, Result, Sets, Spam, TopSpam,
    Totals,
};
use crate::timestamp::Timestamp;

/// Ids shown when several records match.
const SEVERAL: usize = 20;

/// Both stores, to read.
pub(super) struct MysqlReader {
    link: Link,
    main: String,
    window: String,
}

impl MysqlReader {
    pub(super) fn new(link: Link, options: &Options) -> MysqlReader {
        MysqlReader {
            link,
            main: quoted(&options.main),
            window: quoted(&options.window),
        }
    }

    /// Answers within one view of both databases.
    fn run<T>(&mut self, mut work: impl FnMut(&mut View<'_>) -> Tried<T>) -> Result<T> {
        let (main, window) = (&self.main, &self.window);
        self.link.run(|session| {
            let conn = &mut session.conn;
            // A snapshot needs it; for the next transaction only.
            conn.query_drop("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")?;
            conn.query_drop("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")?;
            let open = open_windows(conn, main, window)?;
            let mut view = View {
                conn,
                main,
                window,
                open,
            };
            let answer = work(&mut view)?;
            view.conn.query_drop("ROLLBACK")?;
            Ok(answer)
        })
    }
}

/// The numbers of the windows that are in the window store only, as a condition on a row.
fn open_windows(conn: &mut Conn, main: &str, window: &str) -> Tried<String> {
    let query = format!(
        "SELECT number FROM {window}.windows WHERE NOT EXISTS (SELECT 1 FROM {main}.windows_taken \
         AS taken WHERE taken.`window` = number AND taken.token = windows.token AND taken.analyzer \
         IN (SELECT name FROM {window}.analyzer))"
    );
    let numbers = all(conn, &query, (), |row| row.number().to_string())?;
    Ok(match numbers.as_slice() {
        [] => "FALSE".into(),
        numbers => format!("`window` IN ({})", numbers.join(",")),
    })
}

/// One view of both databases.
struct View<'c> {
    conn: &'c mut Conn,
    main: &'c str,
    window: &'c str,
    open: String,
}

impl Reader for MysqlReader {
    fn totals(&mut self) -> Result<Totals> {
        self.run(|view| {
            Ok(Totals {
                spams: view.count("SELECT SUM(totalCounter) FROM {m}.spam")?
                    + view.count("SELECT SUM(todaysCounter) FROM {w}.days WHERE {open}")?,
                distinct: view.count("SELECT COUNT(*) FROM {m}.spam")?
                    + view.count(
                        "SELECT COUNT(DISTINCT id) FROM {w}.spam AS s WHERE {open} AND NOT EXISTS \
                         (SELECT 1 FROM {m}.spam AS t WHERE t.id = s.id)",
                    )?,
                links: view.count("SELECT COUNT(DISTINCT hash) FROM {m}.links")?
                    + view.count(
                        "SELECT COUNT(DISTINCT hash) FROM {w}.links AS s WHERE {open} AND NOT \
                         EXISTS (SELECT 1 FROM {m}.links AS t WHERE t.hash = s.hash)",
                    )?,
                ips: view.shared("ip", "sourceIP", "sources")?,
                sensors: view.shared("sensor", "sensorID", "sensors")?,
                attachments: view.count(
                    "SELECT COUNT(content) FROM (SELECT SHA2(COALESCE(sha256, md5), 256) AS content FROM \
                     {m}.attachment UNION SELECT SHA2(COALESCE(sha256, md5), 256) FROM {m}.inline UNION \
                     SELECT SHA2(COALESCE(NULLIF(sha256, ''), attachmentFileMd5), 256) FROM \
                     {w}.attachments WHERE {open}) AS contents",
                )?,
                undeliverable: view.count("SELECT SUM(counter) FROM {m}.undeliverable")?
                    + view.count("SELECT SUM(counter) FROM {w}.undeliverable WHERE {open}")?,
                relayed: view.count("SELECT SUM(totalRelayed) FROM {m}.relay")?
                    + view.accepted("{open}")?,
            })
        })
    }

    fn top(&mut self, most: usize) -> Result<Vec<TopSpam>> {
        self.run(|view| {
            let query = view.sql(
                "SELECT id, SUM(n) AS total FROM (SELECT id, totalCounter AS n FROM {m}.spam UNION \
                 ALL SELECT id, n FROM (SELECT `window`, seq, SUM(todaysCounter) AS n FROM \
                 {w}.days WHERE {open} GROUP BY `window`, seq) AS seen JOIN {w}.spam USING \
                 (`window`, seq)) AS counts GROUP BY id ORDER BY total DESC, id LIMIT ?",
            );
            let ids = all(view.conn, &query, (most,), |row| row.text())?;
            ids.iter().map(|id| view.top_spam(id)).collect()
        })
    }

    fn find(&mut self, id: &str) -> Result<Find> {
        let id = id.to_ascii_lowercase();
        if id.is_empty() || id.len() > 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Find::None);
        }
        self.run(|view| {
            let mut ids = BTreeSet::new();
            for query in [
                "SELECT id FROM {m}.spam WHERE id >= ? AND id < ? ORDER BY id LIMIT {several}",
                "SELECT DISTINCT id FROM {w}.spam WHERE id >= ? AND id < ? AND {open} ORDER BY id \
                 LIMIT {several}",
            ] {
                let query = view.sql(query).replace("{several}", &SEVERAL.to_string());
                ids.extend(all(view.conn, &query, (&id, format!("{id}g")), |row| {
                    row.text()
                })?);
            }
            let ids: Vec<String> = ids.into_iter().take(SEVERAL).collect();
            match ids.as_slice() {
                [] => Ok(Find::None),
                [id] => Ok(view
                    .spam(id)?
                    .map_or(Find::None, |spam| Find::One(Box::new(spam)))),
                _ => Ok(Find::Several(ids)),
            }
        })
    }

    fn each_recipient(&mut self, each: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
        self.run(|view| {
            for query in [
                "SELECT recipient FROM {m}.recipient_spam",
                "SELECT recipient FROM {w}.recipients WHERE {open}",
            ] {
                let query = view.sql(query);
                for row in view.conn.query_iter(query)? {
                    each(&Columns::of(row?).text())?;
                }
            }
            Ok(())
        })
    }

    fn relays(&mut self, most: usize) -> Result<Vec<LedgerLine>> {
        self.run(|view| view.ledger(most))
    }

    fn unrelayed(&mut self) -> Result<Vec<(String, u64)>> {
        self.run(|view| view.not_relayed())
    }

    fn fates(&mut self) -> Result<Vec<(Fate, u64)>> {
        self.run(|view| view.fates())
    }

    fn probes(&mut self, most: usize) -> Result<Vec<Probe>> {
        self.run(|view| view.followed_probes(most))
    }
}

impl View<'_> {
    /// A query with the databases' names and the open windows in their places.
    fn sql(&self, query: &str) -> String {
        query
            .replace("{m}", self.main)
            .replace("{w}", self.window)
            .replace("{open}", &self.open)
    }

    fn count(&mut self, query: &str) -> Tried<u64> {
        let query = self.sql(query);
        Ok(first(self.conn, &query, (), |row| row.number())?.unwrap_or(0))
    }

    /// How many values there are of a kind whose rows records share.
    fn shared(&mut self, table: &str, column: &str, own: &str) -> Tried<u64> {
        let main = format!("SELECT COUNT(DISTINCT SHA2({column}, 256)) FROM {{m}}.{table}");
        let open = format!(
            "SELECT COUNT(DISTINCT hash) FROM {{w}}.{own} AS s WHERE {{open}} AND NOT EXISTS \
             (SELECT 1 FROM {{m}}.{table} AS t WHERE t.{column} = s.{column} AND \
             SHA2(t.{column}, 256) = SHA2(s.{column}, 256))"
        );
        Ok(self.count(&main)? + self.count(&open)?)
    }

    /// A condition that is true for a record's rows in the open windows.
    fn mine(&mut self, id: &str) -> Tried<String> {
        let query = self.sql("SELECT `window`, seq FROM {w}.spam WHERE id = ? AND {open}");
        let keys = all(self.conn, &query, (id,), |row| (row.number(), row.number()))?;
        let mut condition = String::from("(FALSE");
        for (window, seq) in keys {
            let _ = write!(condition, " OR `window` = {window} AND seq = {seq}");
        }
        condition.push(')');
        Ok(condition)
    }

    /// Gathers a record from the main store and the windows not yet in it.
    fn spam(&mut self, id: &str) -> Tried<Option<Spam>> {
        let columns = "id, ssdeep, length, bodyChars, `from`, subject, textMessage, htmlMessage, \
                       headers, sample";
        let main = self.sql(&format!("SELECT {columns} FROM {{m}}.spam WHERE id = ?"));
        let open = self.sql(&format!(
            "SELECT {columns} FROM {{w}}.spam WHERE id = ? AND {{open}} ORDER BY `window` LIMIT 1"
        ));
        let record = match first(self.conn, &main, (id,), new_record)? {
            Some(record) => Some(record),
            None => first(self.conn, &open, (id,), new_record)?,
        };
        let Some(record) = record else {
            return Ok(None);
        };
        let mine = self.mine(id)?;
        let (count, first_seen, last_seen) = self.seen(id, &mine)?;
        Ok(Some(Spam {
            record,
            count,
            first_seen,
            last_seen,
            relayed: self.relayed(id, &mine)?,
            sets: self.sets(id, &mine)?,
        }))
    }

    /// How often a record was seen, and when first and last.
    fn seen(&mut self, id: &str, mine: &str) -> Tried<(u64, Timestamp, Timestamp)> {
        // Of days of the first SHIVA whose time is none, the date may be one.
        let query = self.sql(&format!(
            "SELECT SUM(n), MIN(a), MAX(b) FROM (SELECT todaysCounter AS n, CASE WHEN firstSeen > \
             '1000-01-01' THEN firstSeen WHEN date > '1000-01-01' THEN date END AS a, CASE WHEN \
             lastSeen > '1000-01-01' THEN lastSeen WHEN date > '1000-01-01' THEN date END AS b \
             FROM {{m}}.sdate_spam JOIN {{m}}.sdate ON sdate.id = date_id WHERE spam_id = ? UNION \
             ALL SELECT todaysCounter, firstSeen, lastSeen FROM {{w}}.days WHERE {mine}) AS days"
        ));
        let seen = first(self.conn, &query, (id,), |row| {
            (row.number(), row.moment(), row.moment())
        })?;
        let never = Timestamp::from_seconds(0, 0);
        Ok(seen.unwrap_or((0, never, never)))
    }

    /// A record for the top list: its sets are counted, not read.
    fn top_spam(&mut self, id: &str) -> Tried<TopSpam> {
        let mine = self.mine(id)?;
        let (count, first_seen, last_seen) = self.seen(id, &mine)?;
        Ok(TopSpam {
            id: id.to_owned(),
            subject: self.subject(id)?,
            count,
            first_seen,
            last_seen,
            ips: self.size(id, &mine, IPS)?,
            links: self.size(id, &mine, LINKS)?,
            attachments: self.parts_count(id, &mine)?,
        })
    }

    fn subject(&mut self, id: &str) -> Tried<String> {
        let main = self.sql("SELECT subject FROM {m}.spam WHERE id = ?");
        let open = self.sql("SELECT subject FROM {w}.spam WHERE id = ? AND {open} LIMIT 1");
        let subject = match first(self.conn, &main, (id,), |row| row.text())? {
            Some(subject) => Some(subject),
            None => first(self.conn, &open, (id,), |row| row.text())?,
        };
        Ok(subject.unwrap_or_default())
    }

    /// How many values a set of a record has.
    fn size(&mut self, id: &str, mine: &str, (column, from, own, theirs): Set) -> Tried<u64> {
        let query = self.sql(&format!(
            "SELECT COUNT(*) FROM (SELECT SHA2({column}, 256) FROM {from} WHERE spam_id = ? UNION SELECT \
             SHA2({theirs}, 256) FROM {{w}}.{own} WHERE {mine}) AS both_stores"
        ));
        Ok(first(self.conn, &query, (id,), |row| row.number())?.unwrap_or(0))
    }

    fn parts_count(&mut self, id: &str, mine: &str) -> Tried<u64> {
        let key = |kind: &str, name: &str, content: &str| {
            format!("SHA2(CONCAT_WS(' ', {kind}, {content}, {name}), 256)")
        };
        let main = |table: &str, kind: &str| {
            let name = format!("{table}_file_name");
            let key = key(kind, &name, "COALESCE(sha256, md5)");
            format!("SELECT {key} FROM {{m}}.{table} WHERE spam_id = ?")
        };
        let open = key(
            "attach_type",
            "file_name",
            "COALESCE(NULLIF(sha256, ''), attachmentFileMd5)",
        );
        let query = self.sql(&format!(
            "SELECT COUNT(*) FROM ({} UNION {} UNION SELECT {open} FROM {{w}}.attachments WHERE \
             {mine}) AS both_stores",
            main("attachment", "'attach'"),
            main("inline", "'inline'")
        ));
        Ok(first(self.conn, &query, (id, id), |row| row.number())?.unwrap_or(0))
    }

    fn sets(&mut self, id: &str, mine: &str) -> Tried<Sets> {
        Ok(Sets {
            links: self.values(id, mine, LINKS)?,
            ips: self.values(id, mine, IPS)?,
            sensors: self.values(id, mine, SENSORS)?,
            recipients: self.values(id, mine, RECIPIENTS)?,
            users: self.values(id, mine, USERS)?,
            parts: self.parts(id, mine)?,
        })
    }

    /// The values of a set, each once, in the order of their bytes.
    fn values(
        &mut self,
        id: &str,
        mine: &str,
        (column, from, own, theirs): Set,
    ) -> Tried<Vec<String>> {
        let main = self.sql(&format!("SELECT {column} FROM {from} WHERE spam_id = ?"));
        let open = self.sql(&format!("SELECT {theirs} FROM {{w}}.{own} WHERE {mine}"));
        let mut values: BTreeSet<String> = BTreeSet::new();
        values.extend(all(self.conn, &main, (id,), |row| row.text())?);
        values.extend(all(self.conn, &open, (), |row| row.text())?);
        Ok(values.into_iter().collect())
    }

    fn parts(&mut self, id: &str, mine: &str) -> Tried<Vec<Part>> {
        let mut parts = BTreeSet::new();
        for (table, kind) in [("attachment", "attach"), ("inline", "inline")] {
            let query = self.sql(&format!(
                "SELECT {table}_file_name, {table}_file_type, size, md5, sha256, '{kind}', \
                 {table}_file_path FROM {{m}}.{table} WHERE spam_id = ?"
            ));
            parts.extend(all(self.conn, &query, (id,), part)?);
        }
        let query = self.sql(&format!(
            "SELECT file_name, media_type, size, attachmentFileMd5, sha256, attach_type, \
             attachment_file_path FROM {{w}}.attachments WHERE {mine}"
        ));
        parts.extend(all(self.conn, &query, (), part)?);
        Ok(parts.into_iter().collect())
    }
}

/// A set of a record: its column and where the main store has it, then the window's table and
/// column.
type Set = (&'static str, &'static str, &'static str, &'static str);

const LINKS: Set = ("hyperLink", "{m}.links", "links", "hyperlink");
const IPS: Set = (
    "sourceIP",
    "{m}.ip_spam JOIN {m}.ip ON ip.id = ip_id",
    "sources",
    "sourceIP",
);
const SENSORS: Set = (
    "sensorID",
    "{m}.sensor_spam JOIN {m}.sensor ON sensor.id = sensor_id",
    "sensors",
    "sensorID",
);
const RECIPIENTS: Set = ("recipient", "{m}.recipient_spam", "recipients", "recipient");
const USERS: Set = ("user", "{m}.user_spam", "users", "user");

fn new_record(row: &mut Columns) -> NewRecord {
    let mut record = NewRecord {
        known: Known {
            id: row.text(),
            ssdeep: row.text(),
            length: row.number(),
            body_chars: row.number(),
            has_text: false,
        },
        from: row.text(),
        subject: row.text(),
        text: row.text(),
        html: row.text(),
        headers: row.text(),
        sample: row.text(),
    };
    record.known.has_text = !record.text.is_empty();
    record
}
