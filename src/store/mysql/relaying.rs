//! What both databases keep of relaying: slots, the ledger, what was not relayed, and the tests of
//! the relay. What is asked of it is in [`super::reader`].
//!
//! Every call can be repeated. A batch's rows are written once because the batch is; what is
//! settled stays as it is; and what goes into the main store is in the transaction with the
//! window's marker.

use std::collections::BTreeMap;

use mysql::{Conn, Value};

use super::fault::Tried;
use super::link::Session;
use super::rows::{Columns, Rows, all, bytes, execute, first, hash, room};
use crate::store::bounds::{self, cut};
use crate::store::relay::{BETWEEN_RECIPIENTS, join_recipients};
use crate::store::{Batch, Day, Fate, ProbeSeen, Reasons, Relay, Settlement, TakenRecord};
use crate::timestamp::Timestamp;
use crate::watchdog;

/// A relay's columns, in both databases.
pub(super) const RELAY: &str =
    "name, taken, settled, fate, answer, sender, recipients, sourceIP, sensorID";

/// What is said of a relay when nobody heard its answer.
const INTERRUPTED: &str = "the analyzer died before it heard the answer";

/// What an insert does about tests that are known.
const ADD_TESTS: &str = "ON DUPLICATE KEY UPDATE counter = counter + VALUES(counter), firstSeen = \
    LEAST(firstSeen, VALUES(firstSeen)), lastSeen = GREATEST(lastSeen, VALUES(lastSeen))";

/// Writes a batch's slots, its tests of the relay and what it does not relay.
pub(super) fn write(session: &mut Session, batch: &Batch) -> Tried<()> {
    write_slots(session, batch)?;
    write_probes(session, batch)?;
    let mut rows = insert(
        session,
        "unrelayed",
        "`window`, date, reason, counter",
        "ON DUPLICATE KEY UPDATE counter = counter + VALUES(counter)",
    );
    for ((date, reason), counter) in &batch.unrelayed {
        let (date, reason) = (bytes(date), bytes(reason));
        rows.push(vec![batch.window.into(), date, reason, (*counter).into()])?;
    }
    rows.send()
}

fn insert<'s>(
    session: &'s mut Session,
    table: &str,
    columns: &str,
    tail: &'static str,
) -> Rows<'s> {
    Rows::insert(&mut session.conn, session.packet, table, columns, tail)
}

fn write_slots(session: &mut Session, batch: &Batch) -> Tried<()> {
    let room = room(session.packet);
    let columns = format!("`window`, seq, spam_id, {RELAY}");
    let mut rows = insert(session, "relays", &columns, "");
    for (seq, relay) in &batch.relays {
        let id = batch.deltas.get(seq).map_or("", |delta| &delta.id);
        let mut row = vec![batch.window.into(), (*seq).into(), bytes(id)];
        row.extend(relay_row(relay, room));
        rows.push(row)?;
    }
    rows.send()
}

fn write_probes(session: &mut Session, batch: &Batch) -> Tried<()> {
    let columns = "`window`, recipient, sourceIP, firstSeen, lastSeen, counter, hash, sourceHash";
    let mut rows = insert(session, "probes", columns, ADD_TESTS);
    for probe in &batch.probes {
        let recipient = cut(&probe.recipient, bounds::ADDRESS);
        let source = cut(&probe.source, bounds::ADDRESS);
        rows.push(vec![
            batch.window.into(),
            bytes(&recipient),
            bytes(&source),
            bytes(&probe.seen.first_seen.datetime()),
            bytes(&probe.seen.last_seen.datetime()),
            probe.seen.count.into(),
            hash(&recipient),
            hash(&source),
        ])?;
    }
    rows.send()
}

/// The values of [`RELAY`]. The recipients are the only one that is not bounded before.
fn relay_row(relay: &Relay, room: usize) -> [Value; 9] {
    [
        bytes(&relay.name),
        bytes(&relay.taken.datetime()),
        relay.settled.map(Timestamp::datetime).into(),
        bytes(relay.fate.as_str()),
        bytes(&cut(&relay.answer, bounds::ANSWER)),
        bytes(&cut(&relay.sender, bounds::ADDRESS)),
        bytes(&cut(&join_recipients(&relay.recipients), room / 2)),
        bytes(&cut(&relay.source, bounds::ADDRESS)),
        bytes(&cut(&relay.sensor, bounds::ADDRESS)),
    ]
}

/// A relay from its columns.
pub(super) fn relay(row: &mut Columns) -> Relay {
    Relay {
        name: row.text(),
        taken: row.moment(),
        settled: Timestamp::parse_datetime(&row.text()),
        fate: fate(row),
        answer: row.text(),
        sender: row.text(),
        recipients: row
            .text()
            .split(BETWEEN_RECIPIENTS)
            .filter(|recipient| !recipient.is_empty())
            .map(str::to_owned)
            .collect(),
        source: row.text(),
        sensor: row.text(),
    }
}

/// A fate from its column.
pub(super) fn fate(row: &mut Columns) -> Fate {
    row.text().parse().unwrap_or(Fate::Unknown)
}

/// The slots in use in a window.
pub(super) fn slots(conn: &mut Conn, window: u64) -> Tried<Vec<(u64, u64)>> {
    let query = "SELECT seq, fate, COUNT(*) FROM relays WHERE `window` = ? GROUP BY seq, fate";
    let mut slots: BTreeMap<u64, u64> = BTreeMap::new();
    for (seq, fate, count) in all(conn, query, (window,), |row| {
        (row.number(), fate(row), row.number())
    })? {
        if fate.holds_slot() {
            *slots.entry(seq).or_default() += count;
        }
    }
    Ok(slots.into_iter().collect())
}

/// Writes what became of relays, within a transaction.
pub(super) fn settle(conn: &mut Conn, settled: &[Settlement]) -> Tried<()> {
    let statement = "UPDATE relays SET settled = ?, fate = ?, answer = ? WHERE `window` = ? AND \
        seq = ? AND name = ? AND settled IS NULL";
    for one in settled {
        let answer = cut(&one.answer, bounds::ANSWER);
        let (at, fate) = (one.at.datetime(), one.fate.as_str());
        let key = (one.window, one.seq, one.name.as_str());
        let values = (at, fate, answer.as_ref(), key.0, key.1, key.2);
        execute(conn, statement, values)?;
        watchdog::still_alive();
    }
    Ok(())
}

/// Settles what was under way when the process before died; returns how many.
pub(super) fn settle_interrupted(conn: &mut Conn, at: Timestamp) -> Tried<u64> {
    let statement = "UPDATE relays SET settled = ?, fate = ?, answer = ? WHERE settled IS NULL";
    let values = (at.datetime(), Fate::Unknown.as_str(), INTERRUPTED);
    execute(conn, statement, values)
}

/// Brings what the old columns tell of some records' relays up to date.
pub(super) fn refresh(conn: &mut Conn, window: u64, from: u64, to: u64) -> Tried<()> {
    let statement = "UPDATE spam JOIN (SELECT seq, COUNT(*) AS relayed, MAX(settled) AS last FROM \
        relays WHERE `window` = ? AND seq BETWEEN ? AND ? AND fate = ? GROUP BY seq) AS gone ON \
        gone.seq = spam.seq SET relayCounter = relayed, relayTime = last WHERE spam.`window` = ? \
        AND spam.seq BETWEEN ? AND ?";
    let accepted = Fate::Accepted.as_str();
    let values = (window, from, to, accepted, window, from, to);
    execute(conn, statement, values).map(drop)
}

/// The relays of the records of a page: the window, the first and the last.
pub(super) fn of_records(
    conn: &mut Conn,
    key: (u64, u64, u64),
    records: &mut BTreeMap<u64, TakenRecord>,
) -> Tried<()> {
    let query = format!(
        "SELECT seq, {RELAY} FROM relays WHERE `window` = ? AND seq BETWEEN ? AND ? ORDER BY seq, \
         taken, name"
    );
    for (seq, relay) in all(conn, &query, key, |row| (row.number(), relay(row)))? {
        if let Some(record) = records.get_mut(&seq) {
            record.relays.push(relay);
        }
    }
    Ok(())
}

/// What was not relayed in a window.
pub(super) fn unrelayed(conn: &mut Conn, window: u64) -> Tried<Reasons> {
    let query = "SELECT date, reason, counter FROM unrelayed WHERE `window` = ?";
    all(conn, query, (window,), |row| {
        (row.date(), row.text(), row.number())
    })
}

/// The tests of the relay in a window.
pub(super) fn probes(conn: &mut Conn, window: u64) -> Tried<Vec<ProbeSeen>> {
    let query = "SELECT recipient, sourceIP, firstSeen, lastSeen, counter FROM probes WHERE \
        `window` = ?";
    all(conn, query, (window,), |row| ProbeSeen {
        recipient: row.text(),
        source: row.text(),
        seen: super::page::day(row),
    })
}

/// The recipients of tests in all windows that are here.
pub(super) fn recipients_here(conn: &mut Conn) -> Tried<Vec<String>> {
    let query = "SELECT MIN(recipient) FROM probes GROUP BY hash";
    all(conn, query, (), |row| row.text())
}

/// Takes a record's relays into the main database: a line each, and the days' sums.
pub(super) fn take_in(session: &mut Session, id: &str, taken: &TakenRecord) -> Tried<()> {
    let Some(first) = taken.relays.first() else {
        return Ok(());
    };
    let room = room(session.packet);
    let mut rows = insert(session, "relay_log", &format!("spam_id, {RELAY}"), "");
    for relay in &taken.relays {
        let mut row = vec![bytes(id)];
        row.extend(relay_row(relay, room));
        rows.push(row)?;
    }
    rows.send()?;
    for day in taken.relayed_days().values() {
        take_in_day(&mut session.conn, id, &first.sensor, day)?;
    }
    Ok(())
}

/// Adds to a record's day in `relay`. An old row's values may be NULL or a date that is none, and
/// a day may have two rows.
fn take_in_day(conn: &mut Conn, id: &str, sensor: &str, day: &Day) -> Tried<()> {
    let statement = "UPDATE relay SET totalRelayed = COALESCE(totalRelayed, 0) + ?, firstRelayed = \
        CASE WHEN firstRelayed > '1000-01-01' THEN LEAST(firstRelayed, ?) ELSE ? END, \
        lastRelayed = CASE WHEN lastRelayed > '1000-01-01' THEN GREATEST(lastRelayed, ?) ELSE ? \
        END WHERE spam_id = ? AND date = ? ORDER BY id LIMIT 1";
    let (date, from, to) = (
        day.first_seen.date(),
        day.first_seen.datetime(),
        day.last_seen.datetime(),
    );
    if execute(
        conn,
        statement,
        (day.count, &from, &from, &to, &to, id, &date),
    )? > 0
    {
        return Ok(());
    }
    let statement = "INSERT INTO relay (date, firstRelayed, lastRelayed, totalRelayed, spam_id, \
        sensorID) VALUES (?, ?, ?, ?, ?, ?)";
    execute(conn, statement, (date, from, to, day.count, id, sensor)).map(drop)
}

/// Takes what was not relayed into the main database.
pub(super) fn take_in_unrelayed(
    conn: &mut Conn,
    date: &str,
    reason: &str,
    count: u64,
) -> Tried<()> {
    let statement = "INSERT INTO unrelayed (date, reason, counter) VALUES (?, ?, ?) ON DUPLICATE \
        KEY UPDATE counter = counter + VALUES(counter)";
    execute(conn, statement, (date, reason, count)).map(drop)
}

/// Takes a window's tests of the relay into the main database, all at once: a window may have many.
pub(super) fn take_in_probes(session: &mut Session, probes: &[ProbeSeen]) -> Tried<()> {
    if probes.is_empty() {
        return Ok(());
    }
    let columns = "recipient, firstSeen, lastSeen, counter, hash";
    let mut rows = insert(session, "probe", columns, ADD_TESTS);
    for probe in probes {
        rows.push(vec![
            bytes(&probe.recipient),
            bytes(&probe.seen.first_seen.datetime()),
            bytes(&probe.seen.last_seen.datetime()),
            probe.seen.count.into(),
            hash(&probe.recipient),
        ])?;
    }
    rows.send()?;
    let mut rows = insert(
        session,
        "probe_source",
        "recipient, sourceIP, firstSeen, hash, sourceHash",
        "ON DUPLICATE KEY UPDATE firstSeen = LEAST(firstSeen, VALUES(firstSeen))",
    );
    for probe in probes {
        rows.push(vec![
            bytes(&probe.recipient),
            bytes(&probe.source),
            bytes(&probe.seen.first_seen.datetime()),
            hash(&probe.recipient),
            hash(&probe.source),
        ])?;
    }
    rows.send()?;
    renew_whitelist(&mut session.conn)
}

/// Renews the row that the first SHIVA had the recipients in.
fn renew_whitelist(conn: &mut Conn) -> Tried<()> {
    let count = first(conn, "SELECT COUNT(*) FROM probe", (), |row| row.number())?;
    let latest = probe_recipients(conn, bounds::DIGEST)?;
    let digest = bounds::digest(&latest, count.unwrap_or(0), ",");
    let statement = "INSERT INTO whitelist (id, recipients) VALUES (1, ?) ON DUPLICATE KEY UPDATE \
        recipients = VALUES(recipients)";
    execute(conn, statement, (digest,)).map(drop)
}

/// Recipients that tests were sent to, those of late first.
pub(super) fn probe_recipients(conn: &mut Conn, most: usize) -> Tried<Vec<String>> {
    let query = "SELECT recipient FROM probe ORDER BY lastSeen DESC, recipient LIMIT ?";
    all(conn, query, (most,), |row| row.text())
}
