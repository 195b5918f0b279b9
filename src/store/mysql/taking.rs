//! The transaction that takes a window into the main store: its records, one after the other,
//! each in a bounded number of statements.

use std::collections::{BTreeMap, BTreeSet};

use mysql::{Conn, Params, Value};

use super::batch::fitting;
use super::fault::{Fault, Tried};
use super::link::Session;
use super::main_store::{is_taken, known};
use super::page::day;
use super::relaying;
use super::rows::{Rows, all, bytes, execute, first, hash, room};
use crate::store::bounds::{self, cut};
use crate::store::{
    Day, Known, Part, Place, ProbeSeen, Result, Sets, StoreError, StoreErrorKind, TakeIn,
    TakenRecord, WindowKey,
};
use crate::timestamp::Timestamp;

/// Values asked for by one query.
const CHUNK: usize = 500;

/// The open transaction.
pub(super) struct Taking<'s> {
    session: &'s mut Session,
    keep_bodies: bool,
    /// Tests of the relay, which go in together at the end.
    probes: Vec<ProbeSeen>,
    /// Why it failed, for those who decide whether to repeat it.
    pub(super) fault: Option<Fault>,
}

impl<'s> Taking<'s> {
    pub(super) fn new(session: &'s mut Session, keep_bodies: bool) -> Taking<'s> {
        Taking {
            session,
            keep_bodies,
            probes: Vec::new(),
            fault: None,
        }
    }

    /// Writes what was kept for the end.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.run(|taking| relaying::take_in_probes(taking.session, &taking.probes))
    }

    /// Runs a piece of work, and keeps its fault: the error is replaced by whoever gave us the
    /// transaction.
    fn run<T>(&mut self, work: impl FnOnce(&mut Taking<'s>) -> Tried<T>) -> Result<T> {
        work(self).map_err(|fault| {
            self.fault = Some(fault);
            StoreError {
                kind: StoreErrorKind::Unavailable,
                what: "the transaction failed".into(),
            }
        })
    }
}

impl TakeIn for Taking<'_> {
    fn mark(&mut self, key: &WindowKey) -> Result<bool> {
        let statement = "INSERT INTO windows_taken (analyzer, `window`, token, taken) VALUES (?, ?, \
            ?, ?)";
        self.run(|taking| {
            if is_taken(taking.session, key)? {
                return Ok(false);
            }
            let now = Timestamp::now().datetime();
            let marker = (&key.analyzer, key.window, &key.token, now);
            execute(taking.conn(), statement, marker)?;
            Ok(true)
        })
    }

    fn each_known(
        &mut self,
        after: u64,
        each: &mut dyn FnMut(u64, Known) -> Result<()>,
    ) -> Result<()> {
        let mut after = after;
        loop {
            let page = self.run(|taking| known(taking.session, after))?;
            let Some((last, _)) = page.last() else {
                return Ok(());
            };
            after = *last;
            for (number, known) in page {
                each(number, known)?;
            }
        }
    }

    fn record(&mut self, record: &TakenRecord, place: &Place) -> Result<()> {
        self.run(|taking| {
            let id = match place {
                Place::Into(id) if taking.count(id, record)? => id,
                _ => {
                    taking.insert(record)?;
                    record.record.known.id.as_str()
                }
            };
            for day in &record.days {
                taking.day(id, day)?;
            }
            taking.sets(id, record)?;
            taking.digests(id, &record.sets)?;
            relaying::take_in(taking.session, id, record)
        })
    }

    fn undeliverable(&mut self, date: &str, reason: &str, count: u64) -> Result<()> {
        let statement = "INSERT INTO undeliverable (date, reason, hash, counter) VALUES (?, ?, ?, \
            ?) ON DUPLICATE KEY UPDATE counter = counter + VALUES(counter)";
        self.run(|taking| {
            let values = (date, reason, hash(reason), count);
            execute(taking.conn(), statement, values).map(drop)
        })
    }

    fn unrelayed(&mut self, date: &str, reason: &str, count: u64) -> Result<()> {
        self.run(|taking| relaying::take_in_unrelayed(taking.conn(), date, reason, count))
    }

    fn probe(&mut self, probe: &ProbeSeen) -> Result<()> {
        self.probes.push(probe.clone());
        Ok(())
    }
}

impl Taking<'_> {
    fn conn(&mut self) -> &mut Conn {
        &mut self.session.conn
    }

    fn insert_rows(&mut self, table: &str, columns: &str, tail: &'static str) -> Rows<'_> {
        let packet = self.session.packet;
        Rows::insert(&mut self.session.conn, packet, table, columns, tail)
    }

    fn insert(&mut self, taken: &TakenRecord) -> Tried<()> {
        let record = &taken.record;
        let room = room(self.session.packet);
        let (text, html) = fitting(&record.text, &record.html, room / 2);
        let headers = cut(&record.headers, bounds::HEADERS.min(room / 4));
        let kept = |text: &str| match self.keep_bodies {
            true => bytes(text),
            false => Value::NULL,
        };
        let row = vec![
            bytes(&record.known.id),
            bytes(&record.from),
            bytes(&record.subject),
            kept(&text),
            kept(&html),
            taken.count.into(),
            bytes(&record.known.ssdeep),
            kept(&headers),
            record.known.length.into(),
            record.known.body_chars.into(),
            bytes(&record.sample),
        ];
        let columns = "id, `from`, subject, textMessage, htmlMessage, totalCounter, ssdeep, \
                       headers, length, bodyChars, sample";
        let mut rows = self.insert_rows("spam", columns, "");
        rows.push(row)?;
        rows.send()
    }

    /// Counts, and gives a record without a sample one. False when there is no such record any more.
    fn count(&mut self, id: &str, taken: &TakenRecord) -> Tried<bool> {
        let statement = "UPDATE spam SET totalCounter = COALESCE(totalCounter, 0) + ?, sample = CASE \
            WHEN sample = '' THEN ? ELSE sample END WHERE id = ?";
        let values = (taken.count, &taken.record.sample, id);
        Ok(execute(self.conn(), statement, values)? > 0)
    }

    fn day(&mut self, id: &str, new: &Day) -> Tried<()> {
        let date = new.first_seen.date();
        let (from, to) = (new.first_seen.datetime(), new.last_seen.datetime());
        // What the first SHIVA left may have no times.
        let query = "SELECT sdate.id, CASE WHEN firstSeen > '1000-01-01' THEN firstSeen ELSE ? END, \
            CASE WHEN lastSeen > '1000-01-01' THEN lastSeen ELSE ? END, todaysCounter FROM \
            sdate_spam JOIN sdate ON sdate.id = date_id WHERE spam_id = ? AND date = ? LIMIT 1";
        let known = first(self.conn(), query, (&from, &to, id, &date), |row| {
            (row.number(), day(row))
        })?;
        if let Some((row, mut sum)) = known {
            sum.add(new);
            let statement = "UPDATE sdate SET firstSeen = ?, lastSeen = ?, todaysCounter = ? \
                WHERE id = ?";
            let (from, to) = (sum.first_seen.datetime(), sum.last_seen.datetime());
            return execute(self.conn(), statement, (from, to, sum.count, row)).map(drop);
        }
        let statement =
            "INSERT INTO sdate (date, firstSeen, lastSeen, todaysCounter) VALUES (?, ?, ?, ?)";
        execute(self.conn(), statement, (date, from, to, new.count))?;
        let row = self.conn().last_insert_id();
        let statement = "INSERT INTO sdate_spam (spam_id, date_id) VALUES (?, ?)";
        execute(self.conn(), statement, (id, row)).map(drop)
    }

    fn sets(&mut self, id: &str, taken: &TakenRecord) -> Tried<()> {
        let date = taken.days.first().map(|day| day.first_seen.date());
        let date = date.map_or(Value::NULL, |date| bytes(&date));
        let sets = &taken.sets;
        for links in sets.links.chunks(CHUNK) {
            self.links(id, &date, links)?;
        }
        for ips in sets.ips.chunks(CHUNK) {
            self.shared("ip", "sourceIP", id, &date, ips)?;
        }
        for sensors in sets.sensors.chunks(CHUNK) {
            self.shared("sensor", "sensorID", id, &date, sensors)?;
        }
        self.own("recipient_spam", "recipient", id, &date, &sets.recipients)?;
        self.own("user_spam", "user", id, &date, &sets.users)?;
        for parts in sets.parts.chunks(CHUNK) {
            self.parts(id, &date, parts)?;
        }
        Ok(())
    }

    /// Links; no key of theirs is unique, for old rows repeat.
    fn links(&mut self, id: &str, date: &Value, links: &[String]) -> Tried<()> {
        let query = format!(
            "SELECT hyperLink FROM links WHERE spam_id = ? AND hash IN ({})",
            marks(links.len())
        );
        let mut values = vec![bytes(id)];
        values.extend(links.iter().map(|link| hash(link)));
        let known = self.known_values(&query, values)?;
        let mut rows = self.insert_rows("links", "date, hyperLink, spam_id, hash", "");
        for link in links.iter().filter(|link| !known.contains(*link)) {
            rows.push(vec![date.clone(), bytes(link), bytes(id), hash(link)])?;
        }
        rows.send()
    }

    fn known_values(&mut self, query: &str, values: Vec<Value>) -> Tried<BTreeSet<String>> {
        let values = all(self.conn(), query, Params::Positional(values), |row| {
            row.text()
        })?;
        Ok(values.into_iter().collect())
    }

    /// Values whose rows are shared between records: `ip` and `sensor`. What the server takes for
    /// equal (trailing spaces) is told apart here.
    fn shared(
        &mut self,
        table: &str,
        column: &str,
        id: &str,
        date: &Value,
        values: &[String],
    ) -> Tried<()> {
        let known = self.shared_rows(table, column, values)?;
        let mut rows = self.insert_rows(table, &format!("date, {column}"), "");
        for value in values.iter().filter(|value| !known.contains_key(*value)) {
            rows.push(vec![date.clone(), bytes(value)])?;
        }
        rows.send()?;
        let known = self.shared_rows(table, column, values)?;
        // Of a value that an old database has twice, either row may be tied to the record.
        let query = format!(
            "SELECT {column} FROM {table}_spam JOIN {table} ON {table}.id = {table}_id WHERE \
             spam_id = ? AND {column} IN ({})",
            marks(values.len())
        );
        let mut params = vec![bytes(id)];
        params.extend(values.iter().map(|value| bytes(value)));
        let tied = self.known_values(&query, params)?;
        let columns = format!("{table}_id, spam_id");
        let mut rows = self.insert_rows(&format!("{table}_spam"), &columns, "");
        for value in values.iter().filter(|value| !tied.contains(*value)) {
            if let Some(row) = known.get(value) {
                rows.push(vec![(*row).into(), bytes(id)])?;
            }
        }
        rows.send()
    }

    /// The first row of each of these values.
    fn shared_rows(
        &mut self,
        table: &str,
        column: &str,
        values: &[String],
    ) -> Tried<BTreeMap<String, u64>> {
        let query = format!(
            "SELECT {column}, id FROM {table} WHERE {column} IN ({}) ORDER BY id DESC",
            marks(values.len())
        );
        let params = values.iter().map(|value| bytes(value)).collect();
        let rows = all(self.conn(), &query, Params::Positional(params), |row| {
            (row.text(), row.number())
        })?;
        Ok(rows.into_iter().collect())
    }

    /// Values of which each record has rows of its own, told apart by their hash.
    fn own(
        &mut self,
        table: &str,
        column: &str,
        id: &str,
        date: &Value,
        values: &[String],
    ) -> Tried<()> {
        let columns = format!("date, {column}, spam_id, hash");
        let keep = "ON DUPLICATE KEY UPDATE hash = VALUES(hash)";
        let mut rows = self.insert_rows(table, &columns, keep);
        for value in values {
            rows.push(vec![date.clone(), bytes(value), bytes(id), hash(value)])?;
        }
        rows.send()
    }

    fn parts(&mut self, id: &str, date: &Value, parts: &[Part]) -> Tried<()> {
        for (table, inline) in [("attachment", false), ("inline", true)] {
            let parts: Vec<&Part> = parts.iter().filter(|part| part.inline == inline).collect();
            if parts.is_empty() {
                continue;
            }
            let query = format!(
                "SELECT md5, sha256, {table}_file_name FROM {table} WHERE spam_id = ? AND md5 IN \
                 ({})",
                marks(parts.len())
            );
            let mut params = vec![bytes(id)];
            params.extend(parts.iter().map(|part| bytes(&part.md5)));
            let params = Params::Positional(params);
            let known = all(self.conn(), &query, params, |row| {
                (row.text(), row.text(), row.text())
            })?;
            let is_known = |part: &Part| {
                known.iter().any(|(md5, sha256, name)| {
                    // Parts of the first SHIVA have no SHA-256.
                    let told = !sha256.is_empty() && !part.sha256.is_empty();
                    *md5 == part.md5 && (!told || *sha256 == part.sha256) && *name == part.name
                })
            };
            let columns = format!(
                "date, md5, {table}_file_name, {table}_file_path, {table}_file_type, spam_id, \
                 sha256, size"
            );
            let mut rows = self.insert_rows(table, &columns, "");
            for part in parts.into_iter().filter(|part| !is_known(part)) {
                rows.push(vec![
                    date.clone(),
                    bytes(&part.md5),
                    bytes(&part.name),
                    bytes(&part.path),
                    bytes(&part.media_type),
                    bytes(id),
                    Some(&part.sha256).filter(|hash| !hash.is_empty()).into(),
                    part.size.into(),
                ])?;
            }
            rows.send()?;
        }
        Ok(())
    }

    /// Renews the old columns that hold a digest of a set this window added to.
    fn digests(&mut self, id: &str, sets: &Sets) -> Tried<()> {
        if !sets.recipients.is_empty() {
            let to = self.digest("recipient_spam", "recipient", id, ",")?;
            execute(
                self.conn(),
                "UPDATE spam SET `to` = ? WHERE id = ?",
                (to, id),
            )?;
        }
        if !sets.users.is_empty() {
            let user = self.digest("user_spam", "user", id, ", ")?;
            execute(
                self.conn(),
                "UPDATE spam SET user = ? WHERE id = ?",
                (user, id),
            )?;
        }
        Ok(())
    }

    fn digest(&mut self, table: &str, column: &str, id: &str, separator: &str) -> Tried<String> {
        let count = format!("SELECT COUNT(*) FROM {table} WHERE spam_id = ?");
        let count = first(self.conn(), &count, (id,), |row| row.number())?;
        let values = format!(
            "SELECT {column} FROM {table} WHERE spam_id = ? ORDER BY id LIMIT {}",
            bounds::DIGEST
        );
        let values = all(self.conn(), &values, (id,), |row| row.text())?;
        Ok(bounds::digest(&values, count.unwrap_or(0), separator))
    }
}

/// That many placeholders.
fn marks(count: usize) -> String {
    ["?"].repeat(count).join(",")
}
