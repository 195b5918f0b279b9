//! Writes a batch into the window store, within the transaction that makes it count.

use std::borrow::Cow;

use mysql::Value;

use super::fault::Tried;
use super::link::Session;
use super::relaying;
use super::rows::{Rows, bytes, hash, room};
use crate::store::bounds::{self, cut};
use crate::store::{Batch, Delta, NewRecord, Sets};

/// What an insert does about a row that is there: nothing, where `INSERT IGNORE` would hide what
/// the server refuses.
const KEEP: &str = "ON DUPLICATE KEY UPDATE seq = VALUES(seq)";

/// Writes all that a batch changes.
pub(super) fn write(session: &mut Session, batch: &Batch) -> Tried<()> {
    files(session, batch)?;
    records(session, batch)?;
    days(session, batch)?;
    values(
        session,
        batch,
        ("links", "hyperlink", bounds::LINK),
        |sets| &sets.links,
    )?;
    let address = bounds::ADDRESS;
    values(session, batch, ("sources", "sourceIP", address), |sets| {
        &sets.ips
    })?;
    values(session, batch, ("sensors", "sensorID", address), |sets| {
        &sets.sensors
    })?;
    values(
        session,
        batch,
        ("recipients", "recipient", address),
        |sets| &sets.recipients,
    )?;
    values(session, batch, ("users", "user", address), |sets| {
        &sets.users
    })?;
    parts(session, batch)?;
    undeliverable(session, batch)?;
    relaying::write(session, batch)
}

fn insert<'s>(
    session: &'s mut Session,
    table: &str,
    columns: &str,
    tail: &'static str,
) -> Rows<'s> {
    Rows::insert(&mut session.conn, session.packet, table, columns, tail)
}

fn files(session: &mut Session, batch: &Batch) -> Tried<()> {
    let mut rows = insert(session, "queue_files", "name", "");
    for name in &batch.files {
        rows.push(vec![bytes(name.as_str())])?;
    }
    rows.send()
}

fn records(session: &mut Session, batch: &Batch) -> Tried<()> {
    let room = room(session.packet);
    let mut rows = insert(
        session,
        "spam",
        "`window`, seq, id, ssdeep, `to`, `from`, textMessage, htmlMessage, subject, headers, \
         sourceIP, sensorID, firstSeen, lastSeen, totalCounter, length, bodyChars, hasText, user, \
         sample",
        "",
    );
    for (seq, delta) in &batch.deltas {
        if let Some(record) = &delta.new {
            rows.push(record_row(batch.window, *seq, record, delta, room))?;
        }
    }
    rows.send()
}

fn record_row(window: u64, seq: u64, record: &NewRecord, delta: &Delta, room: usize) -> Vec<Value> {
    let total = delta.total();
    let digest =
        |values: &[String], separator| bounds::digest(values, values.len() as u64, separator);
    let or_unknown = |values: &[String]| match values {
        [] => "unknown".to_owned(),
        values => digest(values, ", "),
    };
    let headers = cut(&record.headers, bounds::HEADERS.min(room / 4));
    let (text, html) = fitting(&record.text, &record.html, room / 2);
    vec![
        window.into(),
        seq.into(),
        bytes(&record.known.id),
        bytes(&record.known.ssdeep),
        bytes(&digest(&delta.sets.recipients, ",")),
        bytes(&cut(&record.from, bounds::FROM)),
        bytes(&text),
        bytes(&html),
        bytes(&cut(&record.subject, bounds::SUBJECT)),
        bytes(&headers),
        bytes(&or_unknown(&delta.sets.ips)),
        bytes(&or_unknown(&delta.sets.sensors)),
        bytes(&total.first_seen.datetime()),
        bytes(&total.last_seen.datetime()),
        total.count.into(),
        record.known.length.into(),
        record.known.body_chars.into(),
        record.known.has_text.into(),
        bytes(&digest(&delta.sets.users, ", ")),
        bytes(&record.sample),
    ]
}

/// Both bodies, so that together they are no longer than `room` bytes: a statement has to fit into
/// the server's `max_allowed_packet`.
pub(super) fn fitting<'t>(
    text: &'t str,
    html: &'t str,
    room: usize,
) -> (Cow<'t, str>, Cow<'t, str>) {
    let room = room.min(2 * bounds::BODY);
    let (short, long) = (text.len().min(html.len()), text.len().max(html.len()));
    // The longer one gives way, down to the length of the other.
    let short = short.min(room / 2);
    let long = long.min(room - short).min(bounds::BODY);
    if text.len() <= html.len() {
        (cut(text, short), cut(html, long))
    } else {
        (cut(text, long), cut(html, short))
    }
}

fn days(session: &mut Session, batch: &Batch) -> Tried<()> {
    let mut rows = insert(
        session,
        "days",
        "`window`, seq, date, firstSeen, lastSeen, todaysCounter",
        "ON DUPLICATE KEY UPDATE todaysCounter = todaysCounter + VALUES(todaysCounter), \
         firstSeen = LEAST(firstSeen, VALUES(firstSeen)), \
         lastSeen = GREATEST(lastSeen, VALUES(lastSeen))",
    );
    for (seq, delta) in &batch.deltas {
        for day in delta.days.values() {
            rows.push(vec![
                batch.window.into(),
                (*seq).into(),
                bytes(&day.first_seen.date()),
                bytes(&day.first_seen.datetime()),
                bytes(&day.last_seen.datetime()),
                day.count.into(),
            ])?;
        }
    }
    rows.send()
}

/// Adds what is new to one set of each record: the set's table, its column and the bytes that a
/// value may have.
fn values(
    session: &mut Session,
    batch: &Batch,
    (table, column, bound): (&str, &str, usize),
    set: impl Fn(&Sets) -> &Vec<String>,
) -> Tried<()> {
    let columns = format!("`window`, seq, spam_id, {column}, date, hash");
    let mut rows = insert(session, table, &columns, KEEP);
    for (seq, delta) in &batch.deltas {
        let values = set(&delta.sets);
        if values.is_empty() {
            continue;
        }
        let date = delta.total().first_seen.date();
        for value in values {
            let value = cut(value, bound);
            rows.push(vec![
                batch.window.into(),
                (*seq).into(),
                bytes(&delta.id),
                bytes(&value),
                bytes(&date),
                hash(&value),
            ])?;
        }
    }
    rows.send()
}

fn parts(session: &mut Session, batch: &Batch) -> Tried<()> {
    let mut rows = insert(
        session,
        "attachments",
        "`window`, seq, spam_id, file_name, attach_type, attachment_file_path, \
         attachmentFileMd5, sha256, size, media_type, date, hash",
        KEEP,
    );
    for (seq, delta) in &batch.deltas {
        for part in &delta.sets.parts {
            let name = cut(&part.name, bounds::FILE_NAME);
            rows.push(vec![
                batch.window.into(),
                (*seq).into(),
                bytes(&delta.id),
                bytes(&name),
                bytes(if part.inline { "inline" } else { "attach" }),
                bytes(&part.path),
                bytes(&part.md5),
                bytes(&part.sha256),
                part.size.into(),
                bytes(&cut(&part.media_type, bounds::MEDIA_TYPE)),
                bytes(&delta.total().first_seen.date()),
                hash(&name),
            ])?;
        }
    }
    rows.send()
}

fn undeliverable(session: &mut Session, batch: &Batch) -> Tried<()> {
    let mut rows = insert(
        session,
        "undeliverable",
        "`window`, date, reason, counter, hash",
        "ON DUPLICATE KEY UPDATE counter = counter + VALUES(counter)",
    );
    for ((date, reason), counter) in &batch.undeliverable {
        rows.push(vec![
            batch.window.into(),
            bytes(date),
            bytes(&cut(reason, bounds::REASON)),
            (*counter).into(),
            hash(reason),
        ])?;
    }
    rows.send()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_fit_together() {
        let (small, large) = ("a".repeat(100), "b".repeat(1000));
        for (text, html, room, expected) in [
            (&small, &large, 2000, (100, 1000)),
            (&small, &large, 500, (100, 400)),
            (&large, &small, 500, (400, 100)),
            (&large, &large, 500, (250, 250)),
            (&small, &small, 0, (0, 0)),
        ] {
            let (text, html) = fitting(text, html, room);
            // What is cut ends with a mark, which needs room itself.
            assert!(text.len() <= expected.0.max(15), "{} {room}", text.len());
            assert!(html.len() <= expected.1.max(15), "{} {room}", html.len());
            if expected == (100, 1000) {
                assert_eq!((text.len(), html.len()), expected);
            }
        }
    }
}
