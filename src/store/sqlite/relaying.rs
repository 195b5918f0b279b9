//! What both SQLite databases keep of relaying: slots, the ledger, what was not relayed, and the
//! tests of the relay.

use rusqlite::{Connection, Row, params};

use super::reader::OPEN;
use super::{moment, signed, unsigned};
use crate::store::bounds::{self, cut};
use crate::store::relay::{BETWEEN_RECIPIENTS, RECORDS_AFTER_PROBE, join_recipients};
use crate::store::{
    Batch, Day, Fate, LedgerLine, Probe, ProbeSeen, Relay, Settlement, TakenRecord,
};
use crate::timestamp::Timestamp;

/// A relay's columns, in both databases.
const RELAY: &str = "name, taken, settled, fate, answer, sender, recipients, sourceIP, sensorID";

/// Writes a batch's slots and its tests of the relay.
pub(super) fn write(connection: &Connection, batch: &Batch) -> rusqlite::Result<()> {
    let window = signed(batch.window);
    let insert = format!(
        "INSERT INTO relays (window, seq, spam_id, {RELAY}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, \
         ?9, ?10, ?11, ?12)"
    );
    for (seq, relay) in &batch.relays {
        let id = batch.deltas.get(seq).map_or("", |delta| &delta.id);
        connection.prepare_cached(&insert)?.execute(params![
            window,
            signed(*seq),
            id,
            relay.name,
            relay.taken.datetime(),
            relay.settled.map(Timestamp::datetime),
            relay.fate.as_str(),
            cut(&relay.answer, bounds::ANSWER),
            cut(&relay.sender, bounds::ADDRESS),
            join_recipients(&relay.recipients),
            cut(&relay.source, bounds::ADDRESS),
            cut(&relay.sensor, bounds::ADDRESS),
        ])?;
    }
    for probe in &batch.probes {
        connection
            .prepare_cached(
                "INSERT INTO probes VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE SET \
                 counter = counter + excluded.counter, firstSeen = min(firstSeen, \
                 excluded.firstSeen), lastSeen = max(lastSeen, excluded.lastSeen)",
            )?
            .execute(params![
                window,
                cut(&probe.recipient, bounds::ADDRESS),
                cut(&probe.source, bounds::ADDRESS),
                probe.seen.first_seen.datetime(),
                probe.seen.last_seen.datetime(),
                signed(probe.seen.count),
            ])?;
    }
    Ok(())
}

/// The slots in use in a window.
pub(super) fn slots(connection: &Connection, window: u64) -> rusqlite::Result<Vec<(u64, u64)>> {
    let mut statement =
        connection.prepare("SELECT seq, fate FROM relays WHERE window = ?1 ORDER BY seq")?;
    let rows = statement.query_map([signed(window)], |row| {
        Ok((row.get(0).map(unsigned)?, fate(row, 1)?))
    })?;
    let mut slots: Vec<(u64, u64)> = Vec::new();
    for row in rows {
        let (seq, fate) = row?;
        match slots.last_mut() {
            _ if !fate.holds_slot() => {}
            Some((last, count)) if *last == seq => *count += 1,
            _ => slots.push((seq, 1)),
        }
    }
    Ok(slots)
}

/// Writes what became of relays.
pub(super) fn settle(connection: &Connection, settled: &[Settlement]) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "UPDATE relays SET settled = ?4, fate = ?5, answer = ?6 WHERE window = ?1 AND seq = ?2 AND \
         name = ?3 AND settled IS NULL",
    )?;
    for one in settled {
        statement.execute(params![
            signed(one.window),
            signed(one.seq),
            one.name,
            one.at.datetime(),
            one.fate.as_str(),
            cut(&one.answer, bounds::ANSWER),
        ])?;
    }
    Ok(())
}

/// Settles what was under way when the process before died.
pub(super) fn settle_interrupted(connection: &Connection, at: Timestamp) -> rusqlite::Result<u64> {
    let settled = connection.execute(
        "UPDATE relays SET settled = ?1, fate = ?2, answer = ?3 WHERE settled IS NULL",
        params![
            at.datetime(),
            Fate::Unknown.as_str(),
            "the analyzer died before it heard the answer"
        ],
    )?;
    Ok(settled as u64)
}

/// The relays of a window's record: window and number.
pub(super) fn of_record(connection: &Connection, key: (i64, i64)) -> rusqlite::Result<Vec<Relay>> {
    let query =
        format!("SELECT {RELAY} FROM relays WHERE window = ?1 AND seq = ?2 ORDER BY taken, name");
    let mut statement = connection.prepare_cached(&query)?;
    statement.query_map(key, |row| relay(row, 0))?.collect()
}

/// The tests of the relay in a window.
pub(super) fn probes(connection: &Connection, window: u64) -> rusqlite::Result<Vec<ProbeSeen>> {
    let mut statement = connection.prepare(
        "SELECT recipient, sourceIP, firstSeen, lastSeen, counter FROM probes WHERE window = ?1",
    )?;
    let rows = statement.query_map([signed(window)], |row| {
        Ok(ProbeSeen {
            recipient: row.get(0)?,
            source: row.get(1)?,
            seen: seen(row, 2)?,
        })
    })?;
    rows.collect()
}

/// Takes a record's relays into the main database: a line each, and the days' sums.
pub(super) fn take_in(
    connection: &Connection,
    id: &str,
    taken: &TakenRecord,
) -> rusqlite::Result<()> {
    let insert = format!(
        "INSERT INTO relay_log (spam_id, {RELAY}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
    );
    for relay in &taken.relays {
        connection.prepare_cached(&insert)?.execute(params![
            id,
            relay.name,
            relay.taken.datetime(),
            relay.settled.map(Timestamp::datetime),
            relay.fate.as_str(),
            relay.answer,
            relay.sender,
            join_recipients(&relay.recipients),
            relay.source,
            relay.sensor,
        ])?;
    }
    let sensor = taken.relays.first().map_or("", |relay| &relay.sensor);
    for day in taken.relayed_days().values() {
        take_in_day(connection, id, sensor, day)?;
    }
    Ok(())
}

fn take_in_day(connection: &Connection, id: &str, sensor: &str, day: &Day) -> rusqlite::Result<()> {
    let (date, first, last) = (
        day.first_seen.date(),
        day.first_seen.datetime(),
        day.last_seen.datetime(),
    );
    let known = connection
        .prepare_cached(
            "UPDATE relay SET totalRelayed = totalRelayed + ?3, firstRelayed = min(firstRelayed, \
             ?4), lastRelayed = max(lastRelayed, ?5) WHERE id = (SELECT min(id) FROM relay WHERE \
             spam_id = ?1 AND date = ?2)",
        )?
        .execute(params![id, date, signed(day.count), first, last])?;
    if known == 0 {
        connection
            .prepare_cached(
                "INSERT INTO relay (date, firstRelayed, lastRelayed, totalRelayed, spam_id, \
                 sensorID) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![date, first, last, signed(day.count), id, sensor])?;
    }
    Ok(())
}

/// Takes a test of the relay into the main database; [`renew_whitelist`] has to follow the last.
pub(super) fn take_in_probe(connection: &Connection, probe: &ProbeSeen) -> rusqlite::Result<()> {
    let (first, last) = (
        probe.seen.first_seen.datetime(),
        probe.seen.last_seen.datetime(),
    );
    connection
        .prepare_cached(
            "INSERT INTO probe VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET counter = counter \
             + excluded.counter, firstSeen = min(firstSeen, excluded.firstSeen), lastSeen = \
             max(lastSeen, excluded.lastSeen)",
        )?
        .execute(params![
            probe.recipient,
            first,
            last,
            signed(probe.seen.count)
        ])?;
    connection
        .prepare_cached(
            "INSERT INTO probe_source VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET firstSeen = \
             min(firstSeen, excluded.firstSeen)",
        )?
        .execute(params![probe.recipient, probe.source, first])?;
    Ok(())
}

/// Renews the row that the first SHIVA had the recipients in: once a window, for it counts them all.
pub(super) fn renew_whitelist(connection: &Connection) -> rusqlite::Result<()> {
    let count = connection.query_row("SELECT count(*) FROM probe", [], |row| {
        row.get(0).map(unsigned)
    })?;
    let digest = bounds::digest(&probe_recipients(connection, bounds::DIGEST)?, count, ",");
    connection
        .prepare_cached(
            "INSERT INTO whitelist (id, recipients) VALUES (1, ?1) ON CONFLICT DO UPDATE SET \
             recipients = excluded.recipients",
        )?
        .execute([digest])?;
    Ok(())
}

/// Recipients that tests were sent to, those of late first.
pub(super) fn probe_recipients(
    connection: &Connection,
    most: usize,
) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection
        .prepare_cached("SELECT recipient FROM probe ORDER BY lastSeen DESC, recipient LIMIT ?1")?;
    statement
        .query_map([signed(most as u64)], |row| row.get(0))?
        .collect()
}

/// The ledger, newest line first.
pub(super) fn ledger(connection: &Connection, most: usize) -> rusqlite::Result<Vec<LedgerLine>> {
    let query = format!(
        "SELECT spam_id, {RELAY} FROM store.relay_log UNION ALL SELECT spam_id, {RELAY} FROM \
         main.relays WHERE {OPEN} ORDER BY taken DESC, name DESC LIMIT ?1"
    );
    let mut statement = connection.prepare(&query)?;
    let rows = statement.query_map([signed(most as u64)], |row| {
        Ok(LedgerLine {
            id: row.get(0)?,
            relay: relay(row, 1)?,
        })
    })?;
    rows.collect()
}

/// What was not relayed, by reason, most frequent first.
pub(super) fn unrelayed(connection: &Connection) -> rusqlite::Result<Vec<(String, u64)>> {
    let query = format!(
        "SELECT reason, sum(counter) AS total FROM (SELECT reason, counter FROM store.unrelayed \
         UNION ALL SELECT reason, counter FROM main.unrelayed WHERE {OPEN}) GROUP BY reason ORDER \
         BY total DESC, reason"
    );
    let mut statement = connection.prepare(&query)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1).map(unsigned)?)))?;
    rows.collect()
}

/// How many lines of the ledger have each fate.
pub(super) fn fates(connection: &Connection) -> rusqlite::Result<Vec<(Fate, u64)>> {
    let query = format!(
        "SELECT fate, count(*) FROM (SELECT fate FROM store.relay_log UNION ALL SELECT fate FROM \
         main.relays WHERE {OPEN}) GROUP BY fate ORDER BY fate"
    );
    let mut statement = connection.prepare(&query)?;
    let rows = statement.query_map([], |row| Ok((fate(row, 0)?, row.get(1).map(unsigned)?)))?;
    rows.collect()
}

/// The recipients of tests, and the records that came from the same clients since.
pub(super) fn followed_probes(
    connection: &Connection,
    most: usize,
) -> rusqlite::Result<Vec<Probe>> {
    let query = format!(
        "SELECT recipient, min(a), max(b), sum(n) FROM (SELECT recipient, firstSeen AS a, lastSeen \
         AS b, counter AS n FROM store.probe UNION ALL SELECT recipient, firstSeen, lastSeen, \
         counter FROM main.probes WHERE {OPEN}) GROUP BY recipient ORDER BY max(b) DESC, recipient \
         LIMIT ?1"
    );
    let mut statement = connection.prepare(&query)?;
    let rows = statement.query_map([signed(most as u64)], |row| {
        Ok((row.get::<_, String>(0)?, seen(row, 1)?))
    })?;
    let probes: Vec<(String, Day)> = rows.collect::<rusqlite::Result<_>>()?;
    let probe = |(recipient, seen): (String, Day)| {
        Ok(Probe {
            sources: sources(connection, &recipient)?,
            records: records_after(connection, &recipient, seen.first_seen)?,
            recipient,
            seen,
        })
    };
    probes.into_iter().map(probe).collect()
}

/// The clients of a recipient's tests, `?1`.
fn sources_query() -> String {
    format!(
        "SELECT sourceIP FROM store.probe_source WHERE recipient = ?1 UNION SELECT sourceIP FROM \
         main.probes WHERE recipient = ?1 AND {OPEN}"
    )
}

fn sources(connection: &Connection, recipient: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare_cached(&sources_query())?;
    statement
        .query_map([recipient], |row| row.get(0))?
        .collect()
}

/// The most frequent records from the clients of a recipient's tests, seen since the first.
fn records_after(
    connection: &Connection,
    recipient: &str,
    first: Timestamp,
) -> rusqlite::Result<Vec<(String, String, u64)>> {
    let clients = sources_query();
    let query = format!(
        "SELECT id, max(subject), sum(n) AS total FROM (SELECT spam.id, subject, todaysCounter AS n \
         FROM store.spam JOIN store.sdate_spam ON sdate_spam.spam_id = spam.id JOIN store.sdate ON \
         sdate.id = date_id WHERE sdate.lastSeen >= ?2 AND spam.id IN (SELECT spam_id FROM store.ip \
         JOIN store.ip_spam ON ip_id = ip.id WHERE sourceIP IN ({clients})) UNION ALL SELECT \
         spam.id, subject, todaysCounter FROM main.spam JOIN main.days USING (window, seq) WHERE \
         days.lastSeen >= ?2 AND (window, seq) IN (SELECT window, seq FROM main.sources WHERE \
         sourceIP IN ({clients}) AND {OPEN})) GROUP BY id ORDER BY total DESC, id LIMIT ?3"
    );
    let mut statement = connection.prepare_cached(&query)?;
    let most = signed(RECORDS_AFTER_PROBE);
    let rows = statement.query_map(params![recipient, first.datetime(), most], |row| {
        let subject: Option<String> = row.get(1)?;
        Ok((
            row.get(0)?,
            subject.unwrap_or_default(),
            row.get(2).map(unsigned)?,
        ))
    })?;
    rows.collect()
}

/// A relay from its columns, the first of them at `at`.
fn relay(row: &Row<'_>, at: usize) -> rusqlite::Result<Relay> {
    let settled: Option<String> = row.get(at + 2)?;
    let recipients: String = row.get(at + 6)?;
    Ok(Relay {
        name: row.get(at)?,
        taken: moment(&row.get::<_, String>(at + 1)?),
        settled: settled.as_deref().map(moment),
        fate: fate(row, at + 3)?,
        answer: row.get(at + 4)?,
        sender: row.get(at + 5)?,
        recipients: recipients
            .split(BETWEEN_RECIPIENTS)
            .map(str::to_owned)
            .collect(),
        source: row.get(at + 7)?,
        sensor: row.get(at + 8)?,
    })
}

fn fate(row: &Row<'_>, at: usize) -> rusqlite::Result<Fate> {
    let word: String = row.get(at)?;
    Ok(word.parse().unwrap_or(Fate::Unknown))
}

/// First, last and how many, from three columns.
fn seen(row: &Row<'_>, at: usize) -> rusqlite::Result<Day> {
    Ok(Day {
        first_seen: moment(&row.get::<_, String>(at)?),
        last_seen: moment(&row.get::<_, String>(at + 1)?),
        count: row.get(at + 2).map(unsigned)?,
    })
}
